//! The log as it is written and read again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::SEGMENT_HEADERS_BYTES;
use super::*;
use crate::error::{ErrorKind, Result};
use crate::fs::{CrashChoice, Fs, SimFs};

pub(super) const DIR: &str = "log";

pub(super) fn config() -> WalConfig {
    WalConfig {
        segment_bytes: 400,
        unsynced_bytes: 1 << 20,
        sync_due_bytes: 1 << 18,
        salt_seed: 42,
    }
}

pub(crate) fn disk() -> SimFs {
    let fs = SimFs::new();
    fs.create_dir(Path::new(DIR)).unwrap();
    fs.sync_dir(Path::new("")).unwrap();
    fs
}

pub(super) fn path(segment: u64) -> PathBuf {
    Path::new(DIR).join(format!("{segment:08}"))
}

pub(super) fn read(fs: &SimFs) -> Log {
    read_log(fs, Path::new(DIR), 0, Writers::None).unwrap()
}

pub(crate) fn open(fs: &SimFs) -> Result<Wal> {
    Wal::open(
        Arc::new(fs.clone()),
        Path::new(DIR),
        config(),
        read(fs).start(),
    )
}

pub(crate) fn append(wal: &Wal, body: &[u8]) -> Result<u64> {
    let mut frame = FrameBuffer::new();
    frame.out().extend_from_slice(body);
    let mut segment = wal.segment();
    loop {
        match wal.append(&mut frame, segment, 0)? {
            Appended::Written { sequence } => return Ok(sequence),
            Appended::Rotated { segment: open } => segment = open,
        }
    }
}

/// Returns a body that tells which one it is.
pub(super) fn body(index: u64) -> Vec<u8> {
    let mut body = format!("frame {index} ").into_bytes();
    body.resize(body.len() + (index * 7 % 40) as usize, index as u8);
    body
}

pub(super) fn frames(log: &Log) -> BTreeMap<u64, Vec<u8>> {
    let mut found = BTreeMap::new();
    log.for_each(|_segment, sequence, body| {
        assert!(
            found
                .last_key_value()
                .is_none_or(|(&last, _)| last < sequence),
            "sequences ascend"
        );
        found.insert(sequence, body.to_vec());
        Ok(())
    })
    .unwrap();
    found
}

pub(super) fn bodies(fs: &SimFs) -> Vec<Vec<u8>> {
    frames(&read(fs)).into_values().collect()
}

pub(super) fn expected(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(body).collect()
}

#[test]
fn frames_come_back_in_order_across_segments() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    for index in 0..40 {
        assert_eq!(append(&wal, &body(index)).unwrap(), index + 1);
    }
    assert!(wal.segments().len() > 2);
    assert_eq!(bodies(&fs), expected(40));
    assert_eq!(
        wal.size_bytes(),
        fs.files().iter().map(|(_, len)| len).sum::<u64>()
    );
    let log = read(&fs);
    assert_eq!(log.start().segments, wal.segments());
    assert_eq!((log.torn, log.damage.len()), (None, 0));
}

#[test]
fn full_segment_is_left_before_the_frame_is_written() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    let mut frame = FrameBuffer::new();
    frame.out().extend_from_slice(&[7; 500]);
    assert_eq!(
        wal.append(&mut frame, 1, 0).unwrap(),
        Appended::Written { sequence: 1 }
    );
    assert_eq!(
        wal.append(&mut frame, 1, 0).unwrap(),
        Appended::Rotated { segment: 2 }
    );
    assert_eq!(wal.last_sequence(), 1);
    assert_eq!(
        wal.append(&mut frame, 2, 0).unwrap(),
        Appended::Written { sequence: 2 }
    );
}

#[test]
fn segment_is_at_least_sixteen_times_its_bases() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    let mut frame = FrameBuffer::new();
    frame.out().extend_from_slice(&[7; 400]);
    assert_eq!(
        wal.append(&mut frame, 1, 100).unwrap(),
        Appended::Written { sequence: 1 }
    );
    let mut written = 1;
    while let Appended::Written { .. } = wal.append(&mut frame, 1, 0).unwrap() {
        written += 1;
    }
    assert_eq!(written, (1600 - SEGMENT_HEADERS_BYTES as u64).div_ceil(420));
}

#[test]
fn reading_starts_at_the_segment_asked_for() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    append(&wal, &body(0)).unwrap();
    let second = wal.rotate().unwrap();
    append(&wal, &body(1)).unwrap();
    let log = read_log(&fs, Path::new(DIR), second, Writers::Perhaps).unwrap();
    assert_eq!(frames(&log), BTreeMap::from([(2, body(1))]));
    assert_eq!(log.last_sequence(), 2);
}

#[test]
fn empty_and_oversized_frames_are_refused() {
    let wal = open(&disk()).unwrap();
    assert_eq!(append(&wal, b"").unwrap_err().kind(), ErrorKind::Invalid);
    let long = vec![0; crate::limits::FRAME_BYTES_MAX + 1];
    assert_eq!(append(&wal, &long).unwrap_err().kind(), ErrorKind::Limit);
    assert_eq!(append(&wal, b"ok").unwrap(), 1);
}

#[test]
fn empty_segments_stand_however_often_the_log_is_opened() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    append(&wal, &body(0)).unwrap();
    wal.rotate().unwrap();
    wal.cut_before(2).unwrap();
    drop(wal);
    for _ in 0..3 {
        let log = read_log(&fs, Path::new(DIR), 2, Writers::None).unwrap();
        assert_eq!(
            (&log.unusable[..], &log.damage[..], log.torn),
            (&[][..], &[][..], None)
        );
        assert_eq!(log.last_sequence(), 1);
        drop(open(&fs).unwrap());
    }
}

#[test]
fn newer_version_is_refused() {
    let fs = disk();
    let mut header = Vec::from(b"tsdb-log\x02\0");
    header.resize(48, 0);
    crate::encoding::seal(&mut header, 0);
    fs.create(&path(1)).unwrap().append(&header).unwrap();
    let error = read_log(&fs, Path::new(DIR), 0, Writers::None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn cut_removes_whole_segments_and_never_the_open_one() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    for index in 0..40 {
        append(&wal, &body(index)).unwrap();
    }
    let segments = wal.segments();
    wal.cut_before(segments[1].number).unwrap();
    assert_eq!(wal.segments(), segments[1..]);
    wal.cut_before(u64::MAX).unwrap();
    assert_eq!(wal.segments(), segments[segments.len() - 1..]);
    let log = read(&fs.crash(CrashChoice::None));
    assert_eq!((log.torn, log.damage.len()), (None, 0));
    assert_eq!(read(&fs).last_sequence(), 40);
}

#[test]
fn mark_of_a_sync_followed_by_silence_reaches_the_log_once_and_is_there_twice() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    wal.note_synced().unwrap();
    assert_eq!(wal.stats().frames, 0);
    append(&wal, &body(0)).unwrap();
    wal.note_synced().unwrap();
    assert_eq!(wal.stats().frames, 1);
    assert_eq!(read(&fs).known_synced(), 0);
    for _ in 0..3 {
        wal.sync().unwrap();
        wal.note_synced().unwrap();
    }
    assert_eq!(wal.stats().frames, 3);
    let log = read(&fs);
    assert_eq!((log.known_synced(), log.last_sequence()), (1, 3));
    assert_eq!(frames(&log).into_keys().collect::<Vec<_>>(), [1]);
}

#[test]
fn segment_without_a_frame_is_durable_after_a_sync() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    append(&wal, &body(0)).unwrap();
    wal.sync().unwrap();
    let syncs = wal.stats().syncs;
    wal.sync().unwrap();
    assert_eq!(wal.stats().syncs, syncs);
    let segment = wal.rotate().unwrap();
    wal.sync().unwrap();
    let left = fs.crash(CrashChoice::None);
    let log = read_log(&left, Path::new(DIR), segment, Writers::None).unwrap();
    assert_eq!((log.known_synced(), &log.damage[..]), (1, &[][..]));
}

#[test]
fn memory_for_unsynced_frames_is_bounded() {
    let fs = disk();
    let config = WalConfig {
        unsynced_bytes: 300,
        ..config()
    };
    let wal = Wal::open(
        Arc::new(fs.clone()),
        Path::new(DIR),
        config,
        read(&fs).start(),
    )
    .unwrap();
    for index in 0..40 {
        append(&wal, &body(index)).unwrap();
        assert!(wal.writer.lock().tail.bytes() < 300);
    }
    assert!(wal.synced_sequence() > 0);
}

#[test]
fn sync_is_due_long_before_an_append_has_to_do_it() {
    let fs = disk();
    let config = WalConfig {
        sync_due_bytes: 25_000,
        ..config()
    };
    let wal = Wal::open(
        Arc::new(fs.clone()),
        Path::new(DIR),
        config,
        read(&fs).start(),
    )
    .unwrap();
    let frame = [7; 5000];
    for _ in 0..4 {
        append(&wal, &frame).unwrap();
        assert!(!wal.is_sync_due());
    }
    append(&wal, &frame).unwrap();
    assert!(wal.is_sync_due());
    assert_eq!(wal.synced_sequence(), 0);
    wal.sync().unwrap();
    assert!(!wal.is_sync_due());
}

#[test]
fn one_sync_serves_many_threads_and_none_returns_before_its_frame_is_durable() {
    let fs = disk();
    let config = WalConfig {
        segment_bytes: 4000,
        ..config()
    };
    let wal = Wal::open(
        Arc::new(fs.clone()),
        Path::new(DIR),
        config,
        read(&fs).start(),
    )
    .unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let wal = &wal;
            scope.spawn(move || {
                for index in 0..50 {
                    let sequence = append(wal, &body(thread * 100 + index)).unwrap();
                    let synced = if index % 2 == 0 {
                        wal.sync()
                    } else {
                        wal.sync().and(wal.wait_synced(sequence))
                    };
                    assert!(synced.unwrap() >= sequence);
                }
            });
        }
    });
    assert_eq!(wal.synced_sequence(), 200);
    let log = read(&fs.crash(CrashChoice::None));
    assert_eq!(frames(&log).len(), 200);
    assert_eq!(log.torn, None);
}

#[test]
fn reader_beside_a_writer_stops_at_the_last_whole_frame() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    append(&wal, &body(0)).unwrap();
    let mut file = fs.open_append(&path(1)).unwrap();
    file.append(&[1, 2, 3]).unwrap();
    let log = read_log(&fs, Path::new(DIR), 0, Writers::Perhaps).unwrap();
    assert_eq!(frames(&log).into_values().collect::<Vec<_>>(), expected(1));
}
