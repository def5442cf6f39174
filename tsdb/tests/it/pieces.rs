//! Sealed rows: each sample is in a piece or in the log, and what is damaged costs no more than it held.

use std::path::PathBuf;

use tsdb::fs::CrashChoice;
use tsdb::{Db, SeriesRef};

use crate::support::{T0, World, labels, read};

const SERIES: usize = 20;

/// Rows of a group are sealed by so many.
const SEALED: i64 = 32;

fn scrape(db: &Db, timestamps: impl Iterator<Item = i64>) {
    let mut appender = db.appender().unwrap();
    for timestamp in timestamps {
        for number in 0..SERIES {
            let name = labels(&format!("metric{{number=\"{number}\"}}"));
            let value = (timestamp * number as i64) as f64 / 8.0;
            appender
                .append_cached(SeriesRef::default(), &name, timestamp, value)
                .unwrap();
        }
    }
    assert_eq!(appender.commit().unwrap().rejected, []);
}

/// Returns the timestamps all series have, which must be the same.
fn timestamps(db: &Db) -> Vec<i64> {
    let found = read(db, "metric");
    assert_eq!(found.len(), SERIES);
    let times = |samples: &[(i64, u64)]| -> Vec<i64> {
        samples.iter().map(|(timestamp, _)| *timestamp).collect()
    };
    let first = times(&found[0].1);
    assert!(found.iter().all(|(_, samples)| times(samples) == first));
    first
}

fn piece_file(world: &World) -> (PathBuf, u64) {
    let files = world.fs.files();
    let mut pieces = files
        .into_iter()
        .filter(|(path, _)| path.extension().is_some_and(|end| end == "pieces"));
    let file = pieces.next().expect("rows were sealed");
    assert_eq!(pieces.next(), None);
    file
}

#[test]
fn damaged_piece_behind_a_cut_log_costs_its_own_samples_only() {
    let world = World::new();
    let db = world.open();
    for round in 0..SEALED * 4 {
        scrape(&db, std::iter::once(T0 + round * 1000));
    }
    db.close().unwrap();
    let (path, len) = piece_file(&world);
    let all: Vec<i64> = (0..SEALED * 4).map(|round| T0 + round * 1000).collect();
    let mut whole = 0;
    // The header of the file, of each piece and the body of each.
    for byte in 0..len {
        let damaged = World::on(world.fs.crash(CrashChoice::None));
        damaged.fs.flip_bit(&path, byte * 8 + byte % 8).unwrap();
        let db = damaged.open();
        assert_eq!(db.stats().damaged_units, 1, "byte {byte}");
        let found = timestamps(&db);
        whole += u64::from(found == all);
        if found != all {
            let first = all.iter().position(|time| !found.contains(time)).unwrap();
            assert_eq!(first as i64 % SEALED, 0, "byte {byte}");
            let lost = first..first + SEALED as usize;
            let rest = [&all[..lost.start], &all[lost.end..]].concat();
            assert_eq!(found, rest, "byte {byte}");
        }
    }
    // Only the header of the file can be lost without a sample.
    assert_eq!(whole, 28);
}

#[test]
fn commit_of_many_scrapes_survives_a_kill() {
    let world = World::new();
    let db = world.open();
    scrape(&db, std::iter::once(T0));
    let rows = SEALED * 5 / 2;
    scrape(&db, (1..rows).map(|round| T0 + round * 1000));
    let all: Vec<i64> = (0..rows).map(|round| T0 + round * 1000).collect();
    assert_eq!(timestamps(&db), all);
    drop(db);
    assert_eq!(timestamps(&world.open()), all);
}

#[test]
fn commit_across_block_ranges_survives_a_checkpoint_and_a_kill() {
    let range_ms = 7_200_000;
    let times: Vec<i64> = (0..40).map(|round| T0 + round * range_ms / 16).collect();
    let world = World::new();
    world.clock.set(T0 + 3 * range_ms);
    let db = world.open();
    scrape(&db, times[..1].iter().copied());
    db.checkpoint().unwrap();
    scrape(&db, times[1..].iter().copied());
    assert_eq!(timestamps(&db), times);
    drop(db);
    let db = world.open();
    assert_eq!(timestamps(&db), times);
    db.checkpoint().unwrap();
    drop(db);
    assert_eq!(timestamps(&world.open()), times);
}

#[test]
fn missing_checkpoint_is_reported_and_pieces_stay() {
    let world = World::new();
    let db = world.open();
    for round in 0..SEALED * 2 {
        scrape(&db, std::iter::once(T0 + round * 1000));
    }
    db.close().unwrap();
    let all = timestamps(&world.open());
    world.remove_checkpoint();
    let db = world.open();
    assert_eq!(db.stats().damaged_units, 1);
    assert_eq!(timestamps(&db), all);
}

#[test]
fn damaged_piece_whose_rows_the_log_has_costs_nothing() {
    let world = World::new();
    let db = world.open();
    scrape(&db, std::iter::once(T0));
    db.checkpoint().unwrap();
    for round in 1..SEALED * 4 {
        scrape(&db, std::iter::once(T0 + round * 1000));
    }
    let all = timestamps(&db);
    drop(db);
    let (path, len) = piece_file(&world);
    for byte in 0..len {
        // Without the checkpoint every piece there is counts, and all of the log.
        let damaged = World::on(world.fs.crash(CrashChoice::All));
        damaged.remove_checkpoint();
        damaged.fs.flip_bit(&path, byte * 8 + byte % 8).unwrap();
        let db = damaged.open();
        let found = timestamps(&db);
        // The first piece lies before the log.
        let expected = if found.first() == Some(&T0) {
            &all[..]
        } else {
            &all[1..]
        };
        assert_eq!(found, expected, "byte {byte}");
        drop(db);
        assert_eq!(timestamps(&damaged.open()), expected, "byte {byte}");
    }
}

#[test]
fn rows_in_pieces_are_not_counted_as_lost_behind_a_lost_base() {
    let world = World::new();
    let db = world.open();
    // Keeps the log.
    drop(db.spool("far", tsdb::SpoolStart::Now).unwrap());
    let log = || {
        let mut files = world.fs.files().into_iter();
        files.find(|(path, _)| path.starts_with("/db/log")).unwrap()
    };
    let (_, before) = log();
    scrape(&db, std::iter::once(T0));
    let (path, behind) = log();
    for round in 1..SEALED * 3 / 2 {
        scrape(&db, std::iter::once(T0 + round * 1000));
    }
    let all = timestamps(&db);
    db.close().unwrap();
    let checkpoint = std::path::Path::new("/db/checkpoint");
    world.fs.flip_bit(checkpoint, 100).unwrap();
    let db = world.open();
    assert_eq!(
        (db.stats().damaged_units, timestamps(&db)),
        (1, all.clone())
    );
    drop(db);
    world.fs.flip_bit(&path, (before + behind) * 4).unwrap();
    let db = world.open();
    assert_eq!((db.stats().damaged_units, timestamps(&db)), (2, all));
}
