//! The log on a disk that fails.

use std::path::Path;

use super::tests::{DIR, append, bodies, body, disk, expected, frames, open, read};
use super::*;
use crate::error::ErrorKind;
use crate::fs::{CrashChoice, Fault, FaultKind};

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
