//! Logs whose bytes are not what was written.

use std::collections::BTreeMap;
use std::path::Path;

use super::format::{FRAME_HEADER_BYTES, FrameHeader, SEGMENT_HEADERS_BYTES, body_crc};
use super::read::Torn;
use super::tests::{DIR, append, bodies, body, disk, expected, frames, open, path, read};
use super::*;
use crate::fs::{CrashChoice, Fs, SimFs};

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

/// Where a mark and what it speaks of are hit, or both headers of a segment, nothing behind them tells.
#[test]
fn no_two_flipped_bits_take_a_synced_frame_without_a_word() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    for index in 0..3 {
        append(&wal, &body(index)).unwrap();
        if index == 0 {
            wal.rotate().unwrap();
        }
    }
    wal.sync().unwrap();
    wal.note_synced().unwrap();
    wal.sync().unwrap();
    let fs = fs.crash(CrashChoice::None);
    let whole = frames(&read(&fs));
    assert_eq!(whole.len(), 3);
    let (path, len) = fs.files().pop().unwrap();
    let mut unreadable = 0;
    for first in 0..len {
        for second in first..len {
            let damaged = fs.crash(CrashChoice::All);
            // Every bit of a byte has its turn; where both bytes are one, so do its pairs.
            let bits = [first * 8 + second % 8, second * 8 + (first + 3) % 8];
            for bit in bits {
                damaged.flip_bit(&path, bit).unwrap();
            }
            let log = read(&damaged);
            let left = frames(&log);
            for (sequence, body) in &whole {
                let is_told = log.damage.iter().any(|damage| {
                    (damage.first_sequence..=damage.last_sequence).contains(sequence)
                });
                let is_there = left.get(sequence) == Some(body);
                assert!(is_told != is_there, "frame {sequence}, bits {bits:?}");
            }
            unreadable += usize::from(!log.unusable.is_empty());
        }
    }
    assert!(unreadable > 1000);
}

#[test]
fn segment_that_was_asked_for_is_reported_if_nothing_is_left_of_it() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    append(&wal, &body(0)).unwrap();
    let segment = wal.rotate().unwrap();
    append(&wal, &body(1)).unwrap();
    wal.sync().unwrap();
    let from = |fs: &SimFs| read_log(fs, Path::new(DIR), segment, Writers::None).unwrap();
    let lost_from = |fs: &SimFs| {
        let log = from(fs);
        let [damage] = &log.damage[..] else {
            panic!("{:?}", log.damage)
        };
        assert_eq!(
            (damage.segment, damage.last_sequence),
            (segment, LAST_UNKNOWN)
        );
        damage.first_sequence
    };
    for len in [0, 51] {
        let damaged = fs.crash(CrashChoice::All);
        damaged.truncate_file(&path(segment), len).unwrap();
        assert_eq!(lost_from(&damaged), 0);
        // Who asks for everything cannot tell it from what a power cut leaves.
        assert_eq!(read(&damaged).damage, []);
    }
    fs.remove_file(&path(segment)).unwrap();
    assert_eq!(lost_from(&fs), 2);
    fs.remove_file(&path(1)).unwrap();
    assert_eq!(lost_from(&fs), 0);
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
    assert_eq!((log.damage.len(), log.damage[0].segment), (1, 9));
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
