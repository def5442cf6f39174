//! Samples that are in no scrape: in order and late, from several threads, deleted, stored and read again.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::time::Duration;

use tsdb::fs::{Fault, FaultKind};
use tsdb::{Db, Samples, TimeRange, parse_selector};

use crate::support::{DIR, T0, World, labels, read, read_range};

fn open(world: &World) -> Db {
    let options = world
        .options()
        .with_future_limit(Duration::MAX)
        .with_out_of_order_window(Duration::from_secs(24 * 3600));
    Db::open(DIR, options).unwrap()
}

/// Returns the next of a series of numbers.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    *seed >> 33
}

/// Returns values of all kinds: integers, decimals, bit patterns, markers of staleness.
fn value(seed: &mut u64) -> f64 {
    match next(seed) % 8 {
        0..3 => (next(seed) % 1000) as f64,
        3..5 => (next(seed) % 100_000) as f64 / 1000.0,
        5 => f64::from_bits(next(seed) << 20),
        6 => -0.0,
        _ => tsdb::stale_marker(),
    }
}

#[test]
fn known_series_in_order_are_taken_as_all_others_are() {
    let (fast_world, slow_world) = (World::new(), World::new());
    let (mut fast, mut slow) = (open(&fast_world), open(&slow_world));
    let mut seed = 7;
    let mut times = [T0; 20];
    for commit in 0..600 {
        let mut samples = Vec::new();
        for _ in 0..next(&mut seed) % 40 {
            let series = (next(&mut seed) % 20) as usize;
            times[series] +=
                (next(&mut seed) % 20_000) as i64 - if commit % 7 == 0 { 9_000 } else { 0 };
            samples.push((series, times[series], value(&mut seed)));
        }
        let append = |db: &Db, odd_one: bool| {
            let mut appender = db.appender().unwrap();
            for (series, timestamp, value) in &samples {
                let name = labels(&format!("alone{{number=\"{series}\"}}"));
                appender.append(&name, *timestamp, *value).unwrap();
            }
            if odd_one {
                // A series the log does not define yet makes a commit an uncommon one.
                let name = labels(&format!("odd{{number=\"{commit}\"}}"));
                appender.append(&name, T0, 1.0).unwrap();
            }
            appender.commit().unwrap().rejected
        };
        assert_eq!(append(&fast, false), append(&slow, true), "commit {commit}");
        if commit % 150 == 149 {
            assert_eq!(read(&fast, "alone"), read(&slow, "alone"));
            fast.checkpoint().unwrap();
            drop((fast, slow));
            (fast, slow) = (open(&fast_world), open(&slow_world));
            assert_eq!(read(&fast, "alone"), read(&slow, "alone"));
        }
    }
    fast.flush().unwrap();
    assert_eq!(read(&fast, "alone"), read(&slow, "alone"));
}

#[test]
fn threads_that_push_the_same_series_lose_nothing() {
    let world = World::new();
    let db = open(&world);
    std::thread::scope(|scope| {
        for thread in 0..4i64 {
            let db = &db;
            scope.spawn(move || {
                let mut appender = db.appender().unwrap();
                for round in 0..300i64 {
                    // Each thread has times of its own in series that all of them write.
                    for series in 0..12 {
                        let name = labels(&format!("shared{{number=\"{series}\"}}"));
                        let at = T0 + round * 1000 + series * 20 + thread;
                        appender.append(&name, at, thread as f64).unwrap();
                    }
                    assert_eq!(appender.commit().unwrap().rejected, []);
                }
            });
        }
    });
    let check = |db: &Db| {
        let found = read(db, "shared");
        assert_eq!(found.len(), 12);
        for (name, samples) in found {
            assert_eq!(samples.len(), 1200, "{name}");
            assert!(samples.is_sorted_by(|a, b| a.0 < b.0), "{name}");
        }
    };
    check(&db);
    db.checkpoint().unwrap();
    drop(db);
    let db = world.open();
    check(&db);
    db.flush().unwrap();
    check(&db);
}

#[test]
fn commits_at_once_that_all_fail_leave_no_trace_in_what_is_in_order() {
    let world = World::new();
    // No window for late samples: what is not newer than all others is refused.
    let options = world.options().with_future_limit(Duration::MAX);
    let db = Db::open(DIR, options).unwrap();
    let stage = |appender: &mut tsdb::Appender, from: i64| {
        for series in 0..4 {
            let name = labels(&format!("shared{{number=\"{series}\"}}"));
            appender.append(&name, from + series, 1.0).unwrap();
        }
    };
    let mut appender = db.appender().unwrap();
    stage(&mut appender, T0);
    appender.commit().unwrap();

    (world.fs).fail_nth(world.fs.operations(), Fault::forever(FaultKind::Eio));
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (db, barrier) = (&db, &barrier);
            scope.spawn(move || {
                let mut appender = db.appender().unwrap();
                for round in 0..2000 {
                    barrier.wait();
                    stage(&mut appender, T0 + 100_000 - round * 20 + thread * 10);
                    appender.commit().unwrap_err();
                    appender.rollback();
                }
            });
        }
    });
    world.fs.heal();

    stage(&mut appender, T0 + 10);
    assert_eq!(appender.commit().unwrap().rejected, []);
}

#[test]
fn deletion_hides_what_was_there_and_neither_what_comes_nor_what_older_queriers_see() {
    let world = World::new();
    let db = open(&world);
    let push = |db: &Db, at: i64, value: f64| {
        let mut appender = db.appender().unwrap();
        appender.append(&labels("alone"), at, value).unwrap();
        assert_eq!(appender.commit().unwrap().rejected, []);
    };
    let mut expected = BTreeMap::new();
    for second in 0..300 {
        push(&db, T0 + second * 1000, second as f64);
        expected.insert(T0 + second * 1000, (second as f64).to_bits());
    }
    let before = db.querier(TimeRange::ALL).unwrap();
    let range = TimeRange::closed(T0 + 100_000, T0 + 199_999);
    db.delete(range, &parse_selector("alone").unwrap()).unwrap();
    expected.retain(|&at, _| !range.contains(at));
    push(&db, T0 + 150_000, -1.0);
    expected.insert(T0 + 150_000, (-1.0f64).to_bits());
    push(&db, T0 + 300_000, -2.0);
    expected.insert(T0 + 300_000, (-2.0f64).to_bits());
    let expected: Vec<_> = expected.into_iter().collect();

    let mut samples = Samples::default();
    for series in before.select(&parse_selector("alone").unwrap()).unwrap() {
        series.unwrap().read(&mut samples).unwrap();
    }
    assert_eq!(samples.len(), 300, "the older querier sees what it saw");
    drop(before);
    assert_eq!(read(&db, "alone")[0].1, expected);
    db.checkpoint().unwrap();
    assert_eq!(read(&db, "alone")[0].1, expected);
    drop(db);
    let db = open(&world);
    assert_eq!(read(&db, "alone")[0].1, expected);
    push(&db, T0 + 120_000, -3.0);
    drop(db);
    let db = open(&world);
    assert_eq!(read(&db, "alone")[0].1.len(), expected.len() + 1);
    db.flush().unwrap();
    drop(db);
    let db = open(&world);
    assert_eq!(read(&db, "alone")[0].1.len(), expected.len() + 1);
    let alone = read_range(&db, "alone", range);
    assert_eq!(alone[0].1.len(), 2);
}

#[test]
fn closed_chunks_are_stored_once() {
    let world = World::new();
    let db = open(&world);
    let push = |from: i64, to: i64| {
        let mut appender = db.appender().unwrap();
        for second in from..to {
            for series in 0..10 {
                let name = labels(&format!("alone{{number=\"{series}\"}}"));
                let at = T0 + second * 10_000 + series;
                appender.append(&name, at, second as f64 / 7.0).unwrap();
            }
            appender.commit().unwrap();
        }
    };
    push(0, 500);
    db.checkpoint().unwrap();
    let pieces = db.verify(tsdb::VerifyDepth::Checksums).unwrap().pieces;
    assert!(pieces > 0);
    let stored = db.stats().head_file_bytes;
    push(500, 501);
    db.checkpoint().unwrap();
    assert_eq!(db.stats().head_file_bytes, stored);
    let found = read(&db, "alone");
    drop(db);
    let db = open(&world);
    assert_eq!(read(&db, "alone"), found);
    assert_eq!(
        db.verify(tsdb::VerifyDepth::Checksums).unwrap().pieces,
        pieces
    );
}
