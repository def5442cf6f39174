//! The log at every crash and every fault of a workload.

use std::collections::BTreeMap;
use std::path::Path;

use super::tests::{DIR, append, body, disk, frames, open, read};
use super::{Writers, read_log};
use crate::fs::{CrashChoice, Fault, FaultKind, SimFs};

/// What a workload was told, with the number of operations at that time.
#[derive(Default)]
struct Told {
    appended: Vec<(usize, u64)>,
    synced: Vec<(usize, u64)>,
    /// Last sequence before the segment that reading starts at from then on, and that segment.
    cut: Option<(usize, u64, u64)>,
    bodies: BTreeMap<u64, Vec<u8>>,
}

impl Told {
    fn before(claims: &[(usize, u64)], operation: usize) -> u64 {
        claims
            .iter()
            .filter(|(at, _)| *at <= operation)
            .map(|&(_, sequence)| sequence)
            .max()
            .unwrap_or(0)
    }

    /// Checks what a crash before `operation` has left.
    fn check(&self, left: &SimFs, operation: usize, process_only: bool) {
        let (_, cut, from) = self
            .cut
            .filter(|&(at, ..)| at <= operation)
            .unwrap_or_default();
        let log = read_log(left, Path::new(DIR), from, Writers::None).unwrap();
        assert_eq!(log.damage, [], "crash before operation {operation}");
        let mut found = frames(&log);
        // What a recovery in between has appended may take a sequence that nobody was told.
        found.retain(|_, body| body != b"after");
        for (sequence, body) in &found {
            // A frame whose write failed half-way may be there if the process died before the caller heard of it.
            assert!(
                self.bodies.get(sequence).is_none_or(|told| told == body),
                "frame {sequence} is another one"
            );
        }
        let claims = if process_only {
            &self.appended
        } else {
            &self.synced
        };
        for sequence in cut + 1..=Self::before(claims, operation) {
            assert!(
                found.contains_key(&sequence) || !self.bodies.contains_key(&sequence),
                "frame {sequence} is lost"
            );
        }
        if let (Some((&first, _)), Some((&last, _))) =
            (found.first_key_value(), found.last_key_value())
        {
            let told = self.bodies.range(first..=last).count();
            assert!(told <= found.len(), "there is a hole");
        }
    }
}

fn workload(fs: &SimFs) -> Told {
    let mut told = Told::default();
    let Ok(wal) = open(fs) else { return told };
    for index in 0..24 {
        let body = body(index);
        if let Ok(sequence) = append(&wal, &body) {
            assert_eq!(
                told.bodies.insert(sequence, body),
                None,
                "sequences do not repeat"
            );
            told.appended.push((fs.operations(), sequence));
        }
        if index % 5 == 4 && wal.sync().is_ok() {
            told.synced.push((fs.operations(), wal.synced_sequence()));
        }
        if index == 15 && wal.sync().is_ok() {
            drop(wal.note_synced());
        }
        if index == 18 {
            // A checkpoint: frames before the new segment are not needed once it is durable.
            let Ok(segment) = wal.rotate() else { continue };
            if wal.sync().is_ok() {
                told.cut = Some((fs.operations(), wal.last_sequence(), segment));
                drop(wal.cut_before(segment));
            }
        }
    }
    if wal.sync().is_ok() {
        told.synced.push((fs.operations(), wal.synced_sequence()));
    }
    told
}

fn check_all_crashes(fs: &SimFs, told: &Told, from: usize, seeds: u64, memory: Memory) {
    for operation in from..=fs.operations() {
        for (choice, left) in fs.crash_states(operation, seeds) {
            let process_only = choice == CrashChoice::All && memory == Memory::Kept;
            told.check(&left, operation, process_only);
        }
    }
}

/// Whether the operating system keeps what a process has written until it is synced. A disk that loses a sync takes
/// it from memory as well, and nothing can be done about a process that dies before it has written the frames again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    Kept,
    Lost,
}

#[test]
fn crash_at_any_step_loses_nothing_that_was_promised() {
    let fs = disk();
    let from = fs.operations();
    let told = workload(&fs);
    assert_eq!(told.bodies.len(), 24);
    check_all_crashes(&fs, &told, from, 4, Memory::Kept);
}

#[test]
fn crash_during_and_after_recovery_loses_nothing_either() {
    let fs = disk();
    let told = workload(&fs);
    for operation in (fs.operations() / 2..=fs.operations()).step_by(3) {
        for (choice, left) in fs.crash_states(operation, 2) {
            let from = left.operations();
            let before = frames(&read(&left));
            let wal = open(&left).unwrap();
            let sequence = append(&wal, b"after").unwrap();
            for step in from..=left.operations() {
                for (_, again) in left.crash_states(step, 1) {
                    told.check(&again, operation, false);
                    if choice != CrashChoice::All {
                        let found = frames(&read(&again));
                        assert!(before.iter().all(|(at, body)| found.get(at) == Some(body)));
                    }
                }
            }
            wal.sync().unwrap();
            let log = read(&left.crash(CrashChoice::None));
            assert_eq!(
                frames(&log).last_key_value(),
                Some((&sequence, &b"after".to_vec()))
            );
            assert_eq!(frames(&log).len(), before.len() + 1, "{choice:?}");
        }
    }
}

#[test]
fn fault_at_any_step_breaks_no_promise() {
    for kind in [
        FaultKind::Eio,
        FaultKind::Enospc,
        FaultKind::ShortWrite,
        FaultKind::LostSync,
    ] {
        for pair in [0, 1, 3] {
            for operation in 0.. {
                let fs = disk();
                let from = fs.operations();
                fs.fail_nth(from + operation, Fault::once(kind));
                if pair > 0 {
                    fs.fail_nth(from + operation + pair, Fault::once(kind));
                }
                let told = workload(&fs);
                if fs.failures() == 0 {
                    break;
                }
                let end = fs.operations();
                let memory = match kind {
                    FaultKind::LostSync => Memory::Lost,
                    _ => Memory::Kept,
                };
                let from = match operation % 4 {
                    0 => from.max(end.saturating_sub(12)),
                    _ => end,
                };
                check_all_crashes(&fs, &told, from, 1, memory);
            }
        }
    }
}

#[test]
fn ignoring_the_sync_of_files_or_of_the_directory_is_noticed() {
    for ignore_dir in [false, true] {
        let fs = disk();
        fs.ignore_syncs(move |path| (path == Path::new(DIR)) == ignore_dir);
        let told = workload(&fs);
        let end = fs.operations();
        let lost = fs.crash_states(end, 0).any(|(choice, left)| {
            choice != CrashChoice::All && frames(&read(&left)).len() < told.bodies.len() / 4
        });
        assert!(lost);
    }
}
