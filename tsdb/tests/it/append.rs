//! What goes in comes out: rows, lone samples, membership changes, restarts, flushes.

use std::collections::BTreeMap;
use std::path::Path;

use tsdb::{Db, Durability, Rejection, SeriesRef, Task};

use crate::support::{DIR, T0, World, labels, read};

/// Appends `scrapes` scrapes of `n` series, 15 s apart from `start`.
fn scrape(db: &Db, n: usize, start: i64, scrapes: i64) {
    let names: Vec<_> = (0..n)
        .map(|i| labels(&format!("metric_{i}{{job=\"a\",i=\"{i}\"}}")))
        .collect();
    let mut appender = db.appender().unwrap();
    let mut refs = vec![SeriesRef::default(); n];
    for s in 0..scrapes {
        for i in 0..n {
            let value = (i as f64) + (s * i as i64) as f64 / 10.0;
            refs[i] = appender
                .append_cached(refs[i], &names[i], start + s * 15_000, value)
                .unwrap();
        }
        let commit = appender.commit().unwrap();
        assert_eq!(commit.rejected, []);
        assert_eq!(commit.accepted, n as u64);
    }
}

fn check(db: &Db, n: usize, start: i64, scrapes: i64) {
    let found = read(db, "{job=\"a\"}");
    assert_eq!(found.len(), n);
    for (name, samples) in found {
        let i: i64 = name.get("i").unwrap().parse().unwrap();
        let expected: Vec<_> = (0..scrapes)
            .map(|s| {
                (
                    start + s * 15_000,
                    ((i as f64) + (s * i) as f64 / 10.0).to_bits(),
                )
            })
            .collect();
        assert_eq!(samples, expected, "{name}");
    }
}

#[test]
fn scrapes_come_back_from_memory_log_checkpoint_and_blocks() {
    for n in [3, 40] {
        let world = World::new();
        world.clock.set(T0 + 10 * 3_600_000);
        let db = world.open();
        scrape(&db, n, T0, 100);
        check(&db, n, T0, 100);
        drop(db);
        let db = world.open();
        check(&db, n, T0, 100);
        scrape(&db, n, T0 + 100 * 15_000, 1);
        db.close().unwrap();
        let db = world.open();
        assert_eq!(db.stats().replayed_samples, 0);
        assert_eq!(read(&db, "{job=\"a\"}")[0].1.len(), 101);
        let report = db.flush().unwrap();
        assert_eq!((report.blocks, report.samples), (1, 101 * n as u64));
        assert_eq!(read(&db, "{job=\"a\"}")[0].1.len(), 101);
        assert_eq!(db.stats().head_chunks, 0);
        drop(db);
        let db = world.open();
        assert_eq!(read(&db, "{job=\"a\"}").len(), n);
        assert_eq!(read(&db, "{job=\"a\"}")[0].1.len(), 101);
    }
}

#[test]
fn hours_of_scrapes_are_flushed_and_merged_on_the_way() {
    let world = World::new();
    let db = world.open();
    for hour in 0..30 {
        world.clock.set(T0 + (hour + 1) * 3_600_000);
        scrape(&db, 20, T0 + hour * 3_600_000, 240);
        while db.step(Task::Flush).unwrap() {}
        db.step(Task::Compact).unwrap();
    }
    let stats = db.stats();
    assert!(
        stats.blocks.iter().any(|block| block.level > 1),
        "{stats:?}"
    );
    let found = read(&db, "{job=\"a\"}");
    assert_eq!(found.len(), 20);
    assert!(found.iter().all(|(_, samples)| samples.len() == 30 * 240));
    drop(db);
    let db = world.open();
    assert!(
        read(&db, "{job=\"a\"}")
            .iter()
            .all(|(_, samples)| samples.len() == 30 * 240)
    );
}

#[test]
fn late_duplicate_and_old_samples_are_judged_one_by_one() {
    let world = World::new();
    let db = world.open();
    scrape(&db, 20, T0, 40);
    let mut appender = db.appender().unwrap();
    let series = appender
        .append(
            &labels("metric_3{job=\"a\",i=\"3\"}"),
            T0 + 39 * 15_000,
            3.0 + 39.0 * 3.0 / 10.0,
        )
        .unwrap();
    appender.append_ref(series, T0 + 7_500, 1.0).unwrap();
    appender.append_ref(series, T0 + 15_000, 99.0).unwrap();
    appender
        .append_ref(series, T0 - 2 * 3_600_000, 1.0)
        .unwrap();
    assert_eq!(
        appender.append_ref(series, T0 + 3_600_000_000, 1.0),
        Err(Rejection::TooFarAhead)
    );
    appender
        .append_ref(SeriesRef::from_raw(999_999), T0, 1.0)
        .unwrap();
    let commit = appender.commit().unwrap();
    assert_eq!(commit.accepted, 2);
    assert_eq!(
        commit.rejected,
        [
            (2, Rejection::Duplicate),
            (3, Rejection::TooOld),
            (4, Rejection::UnknownSeries)
        ]
    );
    let found = read(&db, "metric_3");
    assert_eq!(found[0].1.len(), 41);
    assert_eq!(found[0].1[1], (T0 + 7_500, 1.0f64.to_bits()));
}

#[test]
fn memory_budget_recovers_when_the_head_lets_go_whatever_the_durability() {
    for durability in [Durability::Os, Durability::Commit] {
        let world = World::new();
        let options = world
            .options()
            .with_durability(durability)
            .with_memory_limit(Some(3 << 20));
        let db = Db::open(Path::new(DIR), options).unwrap();
        let mut appender = db.appender().unwrap();
        let mut made = Vec::new();
        let refused = loop {
            let name = labels(&format!("{{number=\"{}\"}}", made.len()));
            match appender.append(&name, T0, 1.0) {
                Ok(series) => made.push(series),
                Err(rejection) => break rejection,
            }
        };
        assert_eq!(refused, Rejection::MemoryLimit);
        appender.commit().unwrap();

        // A day later only one of them goes on; the others are flushed and forgotten, and nothing is created meanwhile.
        let day = 24 * 3_600_000;
        world.clock.set(T0 + day);
        appender.append_ref(made[0], T0 + day, 2.0).unwrap();
        assert_eq!(appender.commit().unwrap().rejected, []);
        drop(appender);
        while db.step(Task::Flush).unwrap() {}
        let mut appender = db.appender().unwrap();
        let name = labels("{number=\"another\"}");
        assert_eq!(
            appender.append(&name, T0 + day, 1.0).map(drop),
            Ok(()),
            "{} series were made, {} are left, {:?}",
            made.len(),
            db.stats().head_series,
            db.stats().memory
        );
    }
}

#[test]
fn scrapes_with_changing_members_come_back_whole() {
    let world = World::new();
    world.clock.set(T0 + 10 * 3_600_000);
    let db = world.open();
    let target = db.target();
    // Splitmix64, so that each run is the same.
    let mut state = 1u64;
    let mut random = move |below: u64| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33) % below
    };
    let mut appender = db.appender().unwrap();
    let mut members: Vec<u64> = (0..50).collect();
    let mut next = 50;
    let mut expected: BTreeMap<u64, Vec<(i64, u64)>> = BTreeMap::new();
    for scrape in 0..150 {
        let timestamp = T0 + scrape * 15_000;
        match random(6) {
            0 => {
                let at = random(members.len() as u64) as usize;
                members[at] = next;
                next += 1;
            }
            1 => {
                let (one, other) = (random(members.len() as u64), random(members.len() as u64));
                members.swap(one as usize, other as usize);
            }
            2 => {
                members.insert(random(members.len() as u64) as usize, next);
                next += 1;
            }
            _ => {}
        }
        let mut accepted = 0;
        appender.set_target(&target);
        for &member in &members {
            // Some are missing, and some come twice.
            let copies = match random(60) {
                0 => 0,
                1 => 2,
                _ => 1,
            };
            for _ in 0..copies {
                let value = (member * 10 + scrape as u64) as f64 / 10.0;
                let (name, pod) = (format!("metric_{}", member % 5), format!("{member}"));
                let pairs = [("__name__", &*name), ("job", "a"), ("pod", &*pod)];
                appender.append_pairs(&pairs, timestamp, value).unwrap();
                accepted += 1;
                let samples = expected.entry(member).or_default();
                if samples.last().is_none_or(|last| last.0 < timestamp) {
                    samples.push((timestamp, value.to_bits()));
                }
            }
        }
        let commit = appender.commit().unwrap();
        assert_eq!((commit.rejected, commit.accepted), (vec![], accepted));
    }
    drop(appender);
    let check = |db: &Db| {
        let found: BTreeMap<u64, Vec<(i64, u64)>> = read(db, "{job=\"a\"}")
            .into_iter()
            .map(|(name, samples)| (name.get("pod").unwrap().parse().unwrap(), samples))
            .collect();
        assert_eq!(found, expected);
    };
    check(&db);
    drop(db);
    let db = world.open();
    check(&db);
    db.flush().unwrap();
    check(&db);
}
