use std::collections::BTreeSet;
use std::io::ErrorKind;

use super::*;
use crate::fs::{replace, sweep_tmp};

const A: &str = "/a";

#[test]
fn unsynced_content_and_names_are_lost_or_kept_as_chosen() {
    let fs = SimFs::new();
    let mut file = fs.create(Path::new(A)).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    file.append(b"settled").unwrap();
    file.sync().unwrap();
    file.append(b"pending").unwrap();
    drop(fs.create(Path::new("/b")).unwrap());

    let after = |choice| {
        let left = fs.crash(choice);
        (content(&left, A), left.exists(Path::new("/b")).unwrap())
    };
    assert_eq!(after(CrashChoice::All), (b"settledpending".to_vec(), true));
    assert_eq!(after(CrashChoice::None), (b"settled".to_vec(), false));
    let zeroed = b"settled\0\0\0\0\0\0\0".to_vec();
    assert_eq!(after(CrashChoice::NamesOnly), (zeroed, true));
    assert_eq!(
        after(CrashChoice::DataOnly),
        (b"settledpending".to_vec(), false)
    );
    assert_eq!(after(CrashChoice::AllBut(0)), (b"settled".to_vec(), true));
    assert_eq!(
        after(CrashChoice::Only(0)),
        (b"settledpending".to_vec(), false)
    );
}

#[test]
fn later_operations_without_earlier_ones_leave_a_gap_of_zeros() {
    let fs = SimFs::new();
    let mut file = fs.create(Path::new(A)).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    file.append(b"one").unwrap();
    file.append(b"two").unwrap();
    assert_eq!(content(&fs.crash(CrashChoice::Only(1)), A), b"\0\0\0two");
}

#[test]
fn rename_into_another_directory_needs_both_synced() {
    for (synced, settled) in [(&["/"][..], false), (&["/d"], false), (&["/d", "/"], true)] {
        let fs = SimFs::new();
        drop(fs.create(Path::new(A)).unwrap());
        fs.create_dir(Path::new("/d")).unwrap();
        fs.sync_dir(Path::new("/")).unwrap();
        fs.rename(Path::new(A), Path::new("/d/a")).unwrap();
        for dir in synced {
            fs.sync_dir(Path::new(dir)).unwrap();
        }
        let left = fs.crash(CrashChoice::None);
        assert_eq!(
            left.exists(Path::new("/d/a")).unwrap(),
            settled,
            "{synced:?}"
        );
        assert_eq!(left.exists(Path::new(A)).unwrap(), !settled, "{synced:?}");
    }
}

#[test]
fn what_a_killed_process_left_unsynced_can_still_be_lost() {
    let fs = SimFs::new();
    fs.create(Path::new(A)).unwrap().append(b"x").unwrap();
    let killed = fs.crash(CrashChoice::All);
    assert_eq!(content(&killed, A), b"x");
    assert!(
        !killed
            .crash(CrashChoice::None)
            .exists(Path::new(A))
            .unwrap()
    );
    let lost = fs.crash(CrashChoice::NamesOnly);
    assert_eq!(
        content(&lost.crash(CrashChoice::None), A),
        b"\0",
        "a power loss settles what it leaves"
    );
}

#[test]
fn torn_appends_keep_settled_bytes_and_tear_at_sectors() {
    let fs = SimFs::new();
    let mut file = fs.create(Path::new(A)).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    file.append(&[1; 100]).unwrap();
    file.sync().unwrap();
    file.append(&[2; 2000]).unwrap();
    let mut lengths = BTreeSet::new();
    let mut torn = 0;
    for seed in 0..200 {
        let left = content(&fs.crash(CrashChoice::Seeded(seed)), A);
        assert_eq!(left[..100], [1; 100]);
        lengths.insert(left.len());
        torn += usize::from(left[100..].iter().any(|&byte| byte != 2));
        assert_eq!(
            left,
            content(&fs.crash(CrashChoice::Seeded(seed)), A),
            "seed {seed}"
        );
    }
    assert_eq!(
        lengths.into_iter().collect::<Vec<_>>(),
        [100, 512, 1024, 1536, 2048, 2100]
    );
    assert!(torn > 20, "{torn}");
}

#[test]
fn crash_points_replay_the_past() {
    let fs = SimFs::new();
    let mut file = fs.create(Path::new(A)).unwrap();
    for byte in 0..5 {
        file.append(&[byte]).unwrap();
    }
    fs.remove_file(Path::new(A)).unwrap();
    for at in 1..=6 {
        let left = fs.crash_at(at, CrashChoice::All);
        assert_eq!(left.operations(), at);
        assert_eq!(content(&left, A), [0, 1, 2, 3, 4][..at - 1]);
    }
    assert!(fs.crash_at(7, CrashChoice::All).files().is_empty());
    assert_eq!(fs.crash(CrashChoice::All).digest(), fs.digest());
}

#[test]
fn faults_strike_the_operation_they_are_planned_for() {
    let fs = SimFs::new();
    let mut file = fs.create(Path::new(A)).unwrap();
    fs.fail_nth(2, Fault::once(FaultKind::Eio));
    file.append(b"ok").unwrap();
    assert_eq!(file.append(b"no").unwrap_err().raw_os_error(), Some(5));
    file.append(b"ok").unwrap();
    assert_eq!(content(&fs, A), b"okok");
    assert_eq!((fs.failures(), fs.operations()), (1, 4));

    fs.fail_nth(fs.operations(), Fault::forever(FaultKind::Enospc));
    for _ in 0..3 {
        assert_eq!(
            file.append(b"no").unwrap_err().kind(),
            ErrorKind::StorageFull
        );
    }
    file.truncate(2).unwrap();
    fs.heal();
    file.append(b"!").unwrap();
    assert_eq!(content(&fs, A), b"ok!");

    fs.fail_nth(0, Fault::once(FaultKind::ShortWrite));
    file.sync().unwrap();
    assert!(file.append(b"1234").is_err());
    assert_eq!(content(&fs, A), b"ok!12");
}

#[test]
fn a_lost_sync_takes_the_bytes_and_hides_it() {
    let fs = SimFs::new();
    let mut file = fs.create(Path::new(A)).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    file.append(b"safe").unwrap();
    file.sync().unwrap();
    file.append(b"lost").unwrap();
    fs.fail_nth(0, Fault::once(FaultKind::LostSync));
    assert!(file.sync().is_err());
    file.append(b"more").unwrap();
    file.sync().unwrap();
    assert_eq!(content(&fs, A), b"safe\0\0\0\0more");
    assert_eq!(
        content(&fs.crash(CrashChoice::None), A),
        b"safe\0\0\0\0more"
    );
}

#[test]
fn a_full_disk_takes_what_fits_and_recovers_with_room() {
    let fs = SimFs::new();
    fs.set_capacity(Some(6));
    let mut file = fs.create(Path::new(A)).unwrap();
    file.append(b"1234").unwrap();
    assert_eq!(fs.free_space(Path::new("/")).unwrap(), 2);
    assert_eq!(
        file.append(b"5678").unwrap_err().kind(),
        ErrorKind::StorageFull
    );
    assert_eq!(content(&fs, A), b"123456");
    file.truncate(4).unwrap();
    fs.set_capacity(Some(8));
    file.append(b"5678").unwrap();
    assert_eq!(content(&fs, A), b"12345678");
}

#[test]
fn damage_shows_now_and_after_a_crash() {
    let fs = SimFs::new();
    fs.create(Path::new(A)).unwrap().append(&[0; 4]).unwrap();
    fs.flip_bit(Path::new(A), 17).unwrap();
    fs.truncate_file(Path::new(A), 3).unwrap();
    assert_eq!(content(&fs, A), [0, 0, 2]);
    assert_eq!(content(&fs.crash(CrashChoice::All), A), [0, 0, 2]);
}

#[test]
fn a_crash_releases_locks() {
    let fs = SimFs::new();
    let held = fs.lock(Path::new("/lock"), LockMode::Exclusive).unwrap();
    let left = fs.crash(CrashChoice::All);
    drop(left.lock(Path::new("/lock"), LockMode::Exclusive).unwrap());
    assert!(fs.lock(Path::new("/lock"), LockMode::Exclusive).is_err());
    drop(held);
}

#[test]
fn replacing_is_all_or_nothing_at_every_crash() {
    let (fs, from) = replaced_once();
    assert_eq!(
        outcomes(&fs, from),
        [b"new".to_vec(), b"old".to_vec()].into()
    );
    let done = fs.operations();
    for (choice, left) in fs.crash_states(done, 4) {
        assert_eq!(content(&left, A), b"new", "{choice:?}");
    }
}

#[test]
fn replacing_needs_each_of_its_syncs() {
    for sync in ["/a.tmp", "/"] {
        let fs = SimFs::new();
        replace(&fs, Path::new(A), b"old").unwrap();
        fs.ignore_syncs(move |path| path == Path::new(sync));
        let from = fs.operations();
        replace(&fs, Path::new(A), b"new").unwrap();
        let all_or_nothing = outcomes(&fs, from).len() == 2;
        let durable = content(&fs.crash(CrashChoice::None), A) == b"new";
        assert!(!(all_or_nothing && durable), "without the sync of {sync}");
    }
}

#[test]
fn replacing_fails_cleanly_at_every_operation() {
    let mut struck = 0;
    for kind in [
        FaultKind::Eio,
        FaultKind::Enospc,
        FaultKind::ShortWrite,
        FaultKind::LostSync,
    ] {
        for step in 0.. {
            let fs = SimFs::new();
            replace(&fs, Path::new(A), b"old").unwrap();
            fs.fail_nth(fs.operations() + step, Fault::once(kind));
            let replaced = replace(&fs, Path::new(A), b"new");
            if fs.failures() == 0 {
                break;
            }
            struck += 1;
            assert!(replaced.is_err(), "{kind:?} at step {step}");
            assert!(
                [&b"old"[..], b"new"].contains(&&*content(&fs, A)),
                "{kind:?} at step {step}"
            );
            replace(&fs, Path::new(A), b"third").unwrap();
            assert_eq!(content(&fs, A), b"third");
            assert_eq!(fs.files().len(), 1);
        }
    }
    assert_eq!(struck, 5 + 5 + 2 + 3);
}

#[test]

fn cutting_what_is_mapped_is_caught() {
    let fs = SimFs::new();
    let mut file = fs.create(Path::new(A)).unwrap();
    file.append(b"12345").unwrap();
    let map = fs.map(Path::new(A), 3).unwrap();
    file.truncate(3).unwrap();
    let cut = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| file.truncate(2)));
    assert!(cut.is_err());
    drop(map);
    file.truncate(2).unwrap();
}

/// Returns a disk on which `A` was replaced, and the number of the operation that began it.
fn replaced_once() -> (SimFs, usize) {
    let fs = SimFs::new();
    replace(&fs, Path::new(A), b"old").unwrap();
    let from = fs.operations();
    replace(&fs, Path::new(A), b"new").unwrap();
    (fs, from)
}

/// Returns every content of `A` that a crash from operation `from` on can leave behind.
fn outcomes(fs: &SimFs, from: usize) -> BTreeSet<Vec<u8>> {
    let mut outcomes = BTreeSet::new();
    for at in from..=fs.operations() {
        for (_, left) in fs.crash_states(at, 16) {
            sweep_tmp(&left, Path::new("/")).unwrap();
            assert_eq!(left.files().len(), 1);
            outcomes.insert(content(&left, A));
        }
    }
    outcomes
}

fn content(fs: &SimFs, path: &str) -> Vec<u8> {
    let reader = fs.open_read(Path::new(path)).unwrap();
    let mut buffer = vec![0; reader.len().unwrap() as usize];
    reader.read_at(&mut buffer, 0).unwrap();
    buffer
}
