//! The log on a disk that fails and crashes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::{FRAME_HEADER_BYTES, FrameHeader, SEGMENT_HEADERS_BYTES, body_crc};
use super::read::Torn;
use super::*;
use crate::error::{ErrorKind, Result};
use crate::fs::{CrashChoice, Fault, FaultKind, Fs, SimFs};

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
fn tail_torn_at_any_length_leaves_the_frames_before_it() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    for index in 0..6 {
        append(&wal, &body(index)).unwrap();
    }
    let len = wal.size_bytes();
    let whole = frames(&read(&fs));
    for cut in 0..=len {
        let torn = fs.crash(CrashChoice::All);
        torn.truncate_file(&path(1), cut).unwrap();
        let log = read(&torn);
        let left = frames(&log);
        assert!(
            whole.iter().take(left.len()).eq(left.iter()),
            "cut at {cut}"
        );
        assert_eq!(log.damage, []);

        let again = open(&torn).unwrap();
        append(&again, b"behind").unwrap();
        let mut with_new: Vec<_> = left.into_values().collect();
        with_new.push(b"behind".to_vec());
        let log = read(&torn);
        assert_eq!(frames(&log).into_values().collect::<Vec<_>>(), with_new);
        assert_eq!(
            (log.torn, log.damage.len()),
            (None, 0),
            "the tear is settled by the next segment"
        );
    }
}

#[test]
fn flipped_bit_costs_its_own_frame_where_the_log_was_synced() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    for index in 0..12 {
        append(&wal, &body(index)).unwrap();
    }
    wal.sync().unwrap();
    wal.note_synced().unwrap();
    let whole = frames(&read(&fs));
    for info in wal.segments() {
        for bit in 0..info.bytes * 8 {
            let damaged = fs.crash(CrashChoice::All);
            damaged.flip_bit(&path(info.number), bit).unwrap();
            let log = read(&damaged);
            let left = frames(&log);
            assert!(
                left.iter()
                    .all(|(sequence, body)| whole.get(sequence) == Some(body))
            );
            assert!(
                left.len() + 1 >= whole.len(),
                "segment {} bit {bit}",
                info.number
            );
            let lost: Vec<_> = whole
                .keys()
                .filter(|sequence| !left.contains_key(sequence))
                .copied()
                .collect();
            let reported: Vec<_> = log
                .damage
                .iter()
                .flat_map(|damage| damage.first_sequence..=damage.last_sequence)
                .collect();
            assert_eq!(lost, reported, "segment {} bit {bit}", info.number);
        }
    }
}

#[test]
fn flipped_bit_above_what_was_synced_ends_the_log_there() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    for index in 0..4 {
        append(&wal, &body(index)).unwrap();
    }
    let at = SEGMENT_HEADERS_BYTES + FRAME_HEADER_BYTES + body(0).len();
    fs.flip_bit(&path(1), at as u64 * 8).unwrap();
    let log = read(&fs);
    assert_eq!(frames(&log).into_values().collect::<Vec<_>>(), expected(1));
    assert_eq!(log.damage, []);
    let bytes = wal.size_bytes() - at as u64;
    assert_eq!(
        log.torn,
        Some(Torn {
            segment: 1,
            offset: at as u64,
            bytes
        })
    );
}

#[test]
fn missing_segment_in_the_middle_is_reported_and_the_rest_is_read() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    append(&wal, &body(0)).unwrap();
    wal.rotate().unwrap();
    append(&wal, &body(1)).unwrap();
    append(&wal, &body(2)).unwrap();
    wal.sync().unwrap();
    wal.rotate().unwrap();
    append(&wal, &body(3)).unwrap();
    fs.remove_file(&path(2)).unwrap();
    let log = read(&fs);
    assert_eq!(frames(&log).into_keys().collect::<Vec<_>>(), [1, 4]);
    let [damage] = &log.damage[..] else {
        panic!("{:?}", log.damage)
    };
    assert_eq!(
        (damage.segment, damage.first_sequence, damage.last_sequence),
        (1, 2, 3)
    );
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
fn segment_with_both_headers_damaged_is_reported_and_the_rest_is_read() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    for index in 0..3 {
        append(&wal, &body(index)).unwrap();
        wal.rotate().unwrap();
    }
    wal.sync().unwrap();
    append(&wal, &body(3)).unwrap();
    wal.sync().unwrap();
    wal.note_synced().unwrap();
    for (segment, lost) in [(1, 1), (2, 2), (3, 3)] {
        let damaged = fs.crash(CrashChoice::All);
        damaged.flip_bit(&path(segment), 99).unwrap();
        damaged.flip_bit(&path(segment), 499).unwrap();
        let log = read(&damaged);
        assert_eq!(frames(&log).len(), 3);
        assert!(!frames(&log).contains_key(&lost));
        assert_eq!(log.unusable, [segment]);
        assert_eq!(
            log.damage
                .iter()
                .map(|damage| damage.last_sequence)
                .collect::<Vec<_>>(),
            [lost]
        );
    }
}

#[test]
fn frames_behind_a_tear_stay_void_when_the_segment_after_it_is_moved_aside() {
    let fs = disk();
    let quarantine = Path::new("quarantine");
    fs.create_dir(quarantine).unwrap();
    // Twice the second of three frames is lost before it is synced: the third is void.
    for segment in 1..=2 {
        let wal = open(&fs).unwrap();
        for index in 0..3 {
            append(&wal, &body(index)).unwrap();
        }
        drop(wal);
        let at = match segment {
            1 => SEGMENT_HEADERS_BYTES + FRAME_HEADER_BYTES + body(0).len(),
            _ => SEGMENT_HEADERS_BYTES,
        };
        fs.flip_bit(&path(segment), at as u64 * 8).unwrap();
    }
    let log = read(&fs);
    assert_eq!(frames(&log).into_keys().collect::<Vec<_>>(), [1]);
    assert_eq!(log.unusable, [2]);
    let wal = open(&fs).unwrap();
    wal.set_aside(&log.unusable, quarantine).unwrap();
    assert_eq!(append(&wal, &body(3)).unwrap(), 7);
    let log = read(&fs);
    assert_eq!(frames(&log).into_keys().collect::<Vec<_>>(), [1, 7]);
    assert_eq!(log.damage, []);
}

#[test]
fn unusable_segments_are_moved_aside_and_the_log_goes_on() {
    let fs = disk();
    let quarantine = Path::new("quarantine");
    fs.create_dir(quarantine).unwrap();
    let wal = open(&fs).unwrap();
    append(&wal, &body(0)).unwrap();
    wal.rotate().unwrap();
    append(&wal, &body(1)).unwrap();
    wal.sync().unwrap();
    wal.rotate().unwrap();
    append(&wal, &body(2)).unwrap();
    wal.sync().unwrap();
    fs.flip_bit(&path(2), 99).unwrap();
    fs.flip_bit(&path(2), 499).unwrap();

    let log = read(&fs);
    let wal = open(&fs).unwrap();
    wal.set_aside(&log.unusable, quarantine).unwrap();
    assert!(fs.exists(&quarantine.join("log-00000002")).unwrap());
    append(&wal, &body(3)).unwrap();
    let log = read(&fs);
    assert_eq!(frames(&log).into_keys().collect::<Vec<_>>(), [1, 3, 4]);
    assert_eq!((log.unusable.len(), log.damage.len()), (0, 1));
    assert_eq!(log.start().segments, wal.segments());
}

#[test]
fn file_under_the_name_of_another_segment_is_not_read() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    append(&wal, &body(0)).unwrap();
    fs.rename(&path(1), &path(9)).unwrap();
    let log = read(&fs);
    assert_eq!(frames(&log), BTreeMap::new());
    assert_eq!((&log.unusable[..], log.start().segment), (&[9][..], 10));
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
fn frame_inside_a_body_is_not_taken_for_one() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    let inner = b"invented";
    let header = FrameHeader {
        body_len: 8,
        sequence_offset: 1,
        distance: 0,
        body_crc: body_crc(inner),
    };
    let mut evil = Vec::new();
    for salt_guess in 0..20 {
        evil.extend_from_slice(&header.encode(salt_guess));
        evil.extend_from_slice(inner);
    }
    append(&wal, &evil).unwrap();
    append(&wal, &body(1)).unwrap();
    wal.sync().unwrap();
    append(&wal, &body(2)).unwrap();
    // The length of the first frame is damaged, so the reader has to search through its body.
    fs.flip_bit(&path(1), SEGMENT_HEADERS_BYTES as u64 * 8)
        .unwrap();
    assert_eq!(bodies(&fs), [body(1), body(2)]);
}

#[test]
fn short_write_is_cut_off_before_the_next_frame() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    append(&wal, &body(0)).unwrap();
    fs.fail_nth(fs.operations(), Fault::once(FaultKind::ShortWrite));
    assert_eq!(append(&wal, &body(1)).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(wal.last_sequence(), 1);
    assert_eq!(append(&wal, &body(1)).unwrap(), 2);
    assert_eq!(bodies(&fs), expected(2));
    assert_eq!(wal.segments().len(), 1);
    assert_eq!(wal.stats().write_failures, 1);
}

#[test]
fn segment_that_cannot_be_cut_is_left() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    append(&wal, &body(0)).unwrap();
    let at = fs.operations();
    fs.fail_nth(at, Fault::once(FaultKind::ShortWrite));
    fs.fail_nth(at + 1, Fault::once(FaultKind::Eio));
    fs.fail_nth(at + 2, Fault::once(FaultKind::Eio));
    assert!(append(&wal, &body(1)).is_err());
    assert_eq!(append(&wal, &body(1)).unwrap(), 2);
    assert_eq!(wal.segments().len(), 2);
    let log = read(&fs);
    assert_eq!(frames(&log).into_values().collect::<Vec<_>>(), expected(2));
    assert_eq!((log.torn, log.damage.len()), (None, 0));
}

#[test]
fn full_disk_is_told_and_appends_go_on_once_there_is_room() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    append(&wal, &body(0)).unwrap();
    fs.set_capacity(Some(wal.size_bytes() + 10));
    for _ in 0..3 {
        assert_eq!(
            append(&wal, &body(1)).unwrap_err().kind(),
            ErrorKind::StorageFull
        );
    }
    fs.set_capacity(None);
    assert_eq!(append(&wal, &body(1)).unwrap(), 2);
    assert_eq!(bodies(&fs), expected(2));
}

#[test]
fn full_disk_at_a_rotation_leaves_no_file_behind() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    append(&wal, &[1; 400]).unwrap();
    fs.set_capacity(Some(wal.size_bytes() + 10));
    for _ in 0..3 {
        assert_eq!(
            append(&wal, &body(1)).unwrap_err().kind(),
            ErrorKind::StorageFull
        );
        assert_eq!(fs.files().len(), 1);
    }
    fs.set_capacity(None);
    append(&wal, &body(1)).unwrap();
    assert_eq!(bodies(&fs).len(), 2);
}

#[test]
fn frames_of_a_failed_sync_are_written_again_with_their_sequences() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    append(&wal, &body(0)).unwrap();
    wal.sync().unwrap();
    for index in 1..30 {
        append(&wal, &body(index)).unwrap();
    }
    let before = frames(&read(&fs));
    fs.fail_nth(fs.operations(), Fault::once(FaultKind::LostSync));
    assert_eq!(wal.sync().unwrap(), 30);
    assert_eq!(
        (wal.stats().sync_failures, wal.stats().frames_rewritten),
        (1, 29)
    );

    let after_power_loss = fs.crash(CrashChoice::None);
    let log = read(&after_power_loss);
    assert_eq!(frames(&log), before);
    assert_eq!((log.torn, log.damage.len()), (None, 0));
    assert!(log.segments.iter().any(|segment| segment.continues));

    // The log goes on in a segment that starts with bases.
    let open = wal.segment();
    let mut frame = FrameBuffer::new();
    frame.out().extend_from_slice(&body(30));
    assert_eq!(
        wal.append(&mut frame, open, 0).unwrap(),
        Appended::Rotated { segment: open + 1 }
    );
    assert_eq!(
        wal.append(&mut frame, open + 1, 0).unwrap(),
        Appended::Written { sequence: 31 }
    );
    assert_eq!(bodies(&fs), expected(31));
}

#[test]
fn appends_fail_while_synced_frames_have_nowhere_to_go_and_recover_by_themselves() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    for index in 0..5 {
        append(&wal, &body(index)).unwrap();
    }
    fs.fail_nth(fs.operations(), Fault::forever(FaultKind::LostSync));
    assert_eq!(wal.sync().unwrap_err().kind(), ErrorKind::Io);
    assert!(wal.is_distrusted());
    assert!(append(&wal, &body(5)).is_err());
    assert!(wal.wait_synced(0).is_ok());
    assert_eq!(wal.synced_sequence(), 0);
    // The process may die here: what was acknowledged is still there.
    assert!(
        fs.files()
            .iter()
            .all(|(path, _)| path.extension().is_none())
    );

    fs.heal();
    assert_eq!(append(&wal, &body(5)).unwrap(), 6);
    assert_eq!(wal.synced_sequence(), 5);
    assert_eq!(wal.sync().unwrap(), 6);
    assert_eq!(bodies(&fs.crash(CrashChoice::None)), expected(6));
}

#[test]
fn segment_that_is_continued_stays_as_long_as_the_one_that_continues_it() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    append(&wal, &body(0)).unwrap();
    let base = wal.rotate().unwrap();
    append(&wal, &body(1)).unwrap();
    wal.sync().unwrap();
    append(&wal, &body(2)).unwrap();
    fs.fail_nth(fs.operations(), Fault::once(FaultKind::LostSync));
    wal.sync().unwrap();
    let continuation = wal.segment();
    append(&wal, &body(3)).unwrap();
    wal.cut_before(continuation).unwrap();
    assert_eq!(wal.segments()[0].number, base);
    let log = read_log(&fs, Path::new(DIR), continuation, Writers::None).unwrap();
    assert_eq!(frames(&log).into_keys().collect::<Vec<_>>(), [2, 3, 4]);
    wal.cut_before(continuation + 1).unwrap();
    assert_eq!(frames(&read(&fs)).into_keys().collect::<Vec<_>>(), [4]);
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
fn mark_of_a_sync_followed_by_silence_reaches_the_log_once() {
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
    assert_eq!(wal.stats().frames, 2);
    let log = read(&fs);
    assert_eq!((log.known_synced(), log.last_sequence()), (1, 2));
    assert_eq!(frames(&log).into_keys().collect::<Vec<_>>(), [1]);
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
