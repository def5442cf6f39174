//! Each operation of the disk fails once, in every way; nothing acknowledged may be lost and everything goes on.

use tsdb::ErrorKind;
use tsdb::fs::{CrashChoice, Fault, FaultKind, FaultRepeat};

use crate::support::{T0, World};
use crate::workload::{Progress, STEPS, content, open, step};

#[test]
fn every_eio_is_survived() {
    fail_each(FaultKind::Eio);
}

#[test]
fn every_full_disk_is_survived() {
    fail_each(FaultKind::Enospc);
}

#[test]
fn every_short_write_is_survived() {
    fail_each(FaultKind::ShortWrite);
}

#[test]
fn every_lost_sync_is_survived() {
    fail_each(FaultKind::LostSync);
}

fn fail_each(kind: FaultKind) {
    let mut cases = 0;
    let mut number = 0;
    loop {
        let mut struck = false;
        for repeat in [FaultRepeat::Once, FaultRepeat::Forever] {
            struck |= survives(number, Fault { kind, repeat });
            cases += 1;
        }
        if !struck {
            break;
        }
        number += 1;
    }
    println!("{cases} cases of {kind:?}");
    assert!(cases > 20);
}

/// Does the workload with one fault; a step that fails is tried again after the fault is gone. Tells whether it struck.
fn survives(number: usize, fault: Fault) -> bool {
    let world = World::new();
    world.fs.fail_nth(number, fault);
    let place = format!("{fault:?} at {number}");
    let Ok(mut db) = open(&world) else {
        world.fs.heal();
        open(&world).unwrap_or_else(|error| panic!("{place}: not open after it is well: {error}"));
        return true;
    };
    let mut progress = Progress::default();
    for number in 0..STEPS {
        world.clock.set(T0 + number as i64 * 30_000);
        let mut tries = 0;
        // With a failed sync the commit may stand already; a second one of the same samples repeats them.
        while let Err(error) = step(&db, number, &mut progress) {
            let is_lost_piece =
                fault.kind == FaultKind::LostSync && error.kind() == ErrorKind::Corruption;
            assert!(
                error.io_kind().is_some() || is_lost_piece,
                "{place}: step {number} failed with {error}"
            );
            tries += 1;
            assert!(tries < 3, "{place}: step {number} still fails: {error}");
            world.fs.heal();
            if is_lost_piece {
                // Rows that were sealed into a file whose content the disk then lost are unreadable until the next open
                // takes them from the log, which no checkpoint has cut.
                drop(db);
                db = open(&world).unwrap_or_else(|error| panic!("{place}: reopen: {error}"));
            }
        }
    }
    let expected = progress.states.last().expect("there were steps");
    assert_eq!(&content(&db), expected, "{place}: in memory");
    let struck = world.fs.failures() > 0;
    drop(db);
    world.fs.heal();
    for choice in [CrashChoice::None, CrashChoice::All] {
        let left = World::on(world.fs.crash(choice));
        left.clock.set(T0 + STEPS as i64 * 30_000);
        let db = open(&left).unwrap_or_else(|error| panic!("{place}: {choice:?}: {error}"));
        assert_eq!(&content(&db), expected, "{place}: after {choice:?}");
    }
    struck
}
