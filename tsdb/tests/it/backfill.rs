//! A remote that starts at a time gets what is stored since then, and then the log: everything once, in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tsdb::fs::CrashChoice;
use tsdb::{
    Db, DropReason, Event, Options, Spool, SpoolBatch, SpoolBudget, SpoolStart, Task, TimeRange,
    shard_of, stale_marker,
};

use crate::spool::{Received, Receiver, drain, lost, scrape};
use crate::support::{DIR, Draw, T0, World, labels, read_range};

/// Returns what a query finds from `start` on.
fn stored(db: &Db, start: i64) -> Received {
    let everything = TimeRange::new(start, i64::MAX);
    let found = [r#"{__name__=~".+"}"#].map(|selector| read_range(db, selector, everything));
    found
        .into_iter()
        .flatten()
        .map(|(labels, samples)| (labels.to_string(), samples))
        .collect()
}

/// Reads, gives one shard its samples and acknowledges them, once.
fn read_some(spool: &mut Spool, limit: usize, receiver: &mut Receiver) {
    let mut batch = SpoolBatch::default();
    spool.read(limit, &mut batch).unwrap();
    let samples: Vec<_> = batch.samples.iter().map(|s| (s.series, s.sample)).collect();
    receiver.take(spool, &samples);
    let ack = spool.ack();
    let places: Vec<_> = (0..ack.shards()).map(|shard| (shard, batch.end)).collect();
    ack.advance(&places).unwrap();
}

fn small_segments(world: &World) -> Options {
    world.options().with_segment_bytes(16 << 10)
}

#[test]
fn blocks_head_and_log_arrive_once_in_the_order_of_each_series() {
    let world = World::new();
    let db = world.open();
    let minute = 60_000;
    for round in 0..600_i64 {
        // The second half has other series, so the first ones are in blocks only.
        let from = if round < 300 { 0 } else { 30 };
        scrape(&world, &db, from, from + 40, T0 + round * minute);
        if round % 100 == 99 {
            let mut appender = db.appender().unwrap();
            let values = [stale_marker(), f64::from_bits(0x7ff8_dead_beef_0001), -0.0];
            for (number, value) in values.into_iter().enumerate() {
                let name = labels(&format!("bits{{number=\"{number}\"}}"));
                let timestamp = T0 + round * minute + 17;
                appender.append(&name, timestamp, value).unwrap();
            }
            appender.commit().unwrap();
        }
        if round == 450 {
            db.flush().unwrap();
        }
    }
    assert!(db.stats().blocks.len() > 2);
    let start = T0 + 75 * minute + 5;
    let mut spool = db.spool("since", SpoolStart::At(start)).unwrap();
    let left = db.spools()[0].backfill.unwrap();
    assert_eq!(left, TimeRange::new(start, T0 + 599 * minute + 18));
    assert!(spool.position().is_backfill());
    let mut receiver = Receiver::default();
    for round in 600..650_i64 {
        scrape(&world, &db, 30, 70, T0 + round * minute);
        read_some(&mut spool, 100, &mut receiver);
    }
    assert!(db.spools()[0].backfill.unwrap().start > start);
    db.sync().unwrap();
    drain(&mut spool, &mut receiver);
    assert_eq!(db.spools()[0].backfill, None);
    assert_eq!(receiver.got, stored(&db, start));
    assert!(receiver.got.contains_key("metric{number=\"0\"}"));
}

#[test]
fn late_samples_committed_during_the_walk_arrive_once() {
    for restarts in [false, true] {
        let world = World::new();
        let mut db = world.open();
        for round in 0..200_i64 {
            scrape(&world, &db, 0, 20, T0 + round * 10_000);
        }
        let mut spool = db.spool("late", SpoolStart::At(T0)).unwrap();
        let mut receiver = Receiver::default();
        let mut late = Received::new();
        for round in 0..150_i64 {
            read_some(&mut spool, 20, &mut receiver);
            // On both sides of where the walk is.
            let timestamp = T0 + (round * 7919 % 200) * 10_000 + 1;
            let mut appender = db.appender().unwrap();
            for number in 0..3 {
                let name = format!("metric{{number=\"{number}\"}}");
                appender
                    .append(&labels(&name), timestamp, round as f64)
                    .unwrap();
                late.entry(name)
                    .or_default()
                    .push((timestamp, (round as f64).to_bits()));
            }
            assert_eq!(appender.commit().unwrap().rejected, []);
            drop(appender);
            if round == 70 {
                db.flush().unwrap();
            }
            if restarts && round % 40 == 39 {
                drop(spool);
                db.close().unwrap();
                db = world.open();
                spool = db.spool("late", SpoolStart::Now).unwrap();
            }
        }
        db.sync().unwrap();
        drain(&mut spool, &mut receiver);
        let is_late = |name: &str, sample: &(i64, u64)| {
            late.get(name).is_some_and(|late| late.contains(sample))
        };
        for (name, samples) in &receiver.got {
            let in_order = samples.iter().filter(|sample| !is_late(name, sample));
            assert!(in_order.is_sorted(), "{name}");
            let late: Vec<_> = samples.iter().filter(|one| is_late(name, one)).collect();
            assert_eq!(late.len(), if late.is_empty() { 0 } else { 150 });
        }
        receiver
            .got
            .values_mut()
            .for_each(|samples| samples.sort_unstable());
        assert_eq!(receiver.got, stored(&db, T0), "restarts: {restarts}");
    }
}

#[test]
fn what_retention_takes_before_it_was_read_is_counted() {
    let world = World::new();
    let told = Arc::new(Mutex::new(0));
    let events = Arc::clone(&told);
    let listener = move |event: &Event| {
        if let Event::SpoolDropped {
            samples, reason, ..
        } = event
        {
            assert_eq!(*reason, DropReason::Retention);
            *events.lock() += samples;
        }
    };
    let hour = 3_600_000;
    let options = world
        .options()
        .with_retention(Some(Duration::from_secs(6 * 3_600)))
        .with_listener(Some(Arc::new(listener)));
    let db = Db::open(DIR, options).unwrap();
    for round in 0..12 * 60 {
        scrape(&world, &db, 0, 10, T0 + round * 60_000);
    }
    // Two remotes: one has some of what goes, the other comes later.
    let mut first = db.spool("first", SpoolStart::At(T0)).unwrap();
    let second = db.spool("second", SpoolStart::At(T0 + hour)).unwrap();
    let mut receiver = Receiver::default();
    let count = |got: &Received| got.values().map(Vec::len).sum::<usize>() as u64;
    while count(&receiver.got) < 1_000 {
        read_some(&mut first, 100, &mut receiver);
    }
    let had = count(&receiver.got);
    db.flush().unwrap();
    let before = stored(&db, T0);
    assert!(db.compact().unwrap().dropped > 0);
    let after = stored(&db, T0);
    let gone = count(&before) - count(&after);
    assert!(gone > had);
    // A process that reads now reads nothing of it any more.
    drop(first);
    let mut first = db.spool("first", SpoolStart::Now).unwrap();
    db.sync().unwrap();
    drain(&mut first, &mut receiver);
    let dropped = |name: &str| {
        let spools = db.spools();
        let known = spools.iter().find(|spool| spool.name == name).unwrap();
        known.dropped[DropReason::Retention as usize].1
    };
    assert_eq!(count(&receiver.got) + dropped("first"), count(&before));
    assert_eq!(dropped("first"), gone - had);
    assert_eq!(dropped("second"), gone - 600);
    assert_eq!(*told.lock(), dropped("first") + dropped("second"));
    let mut text = Vec::new();
    tsdb::write_metrics(&db, &mut text).unwrap();
    let line = format!(
        "tsdb_spool_dropped_samples_total{{remote_name=\"second\",reason=\"retention\"}} {}",
        gone - 600
    );
    assert!(String::from_utf8(text).unwrap().contains(&line));
    let kept = (dropped("first"), dropped("second"));
    drop((first, second, db));
    let db = world.open();
    let again: Vec<u64> = db.spools().iter().map(|spool| spool.dropped[3].1).collect();
    assert_eq!(again, [kept.0, kept.1]);
}

#[test]
fn backfill_goes_on_while_the_budget_drops_log() {
    let world = World::new();
    let budget = SpoolBudget {
        bytes: 8 << 10,
        ..SpoolBudget::default()
    };
    let db = Db::open(DIR, small_segments(&world).with_spool_budget(budget)).unwrap();
    for round in 0..100_i64 {
        scrape(&world, &db, 0, 20, T0 + round * 10_000);
    }
    let mut spool = db.spool("behind", SpoolStart::At(T0)).unwrap();
    let mut receiver = Receiver::default();
    read_some(&mut spool, 300, &mut receiver);
    for round in 100..1_000_i64 {
        scrape(&world, &db, 0, 20, T0 + round * 10_000);
        if round % 100 == 0 {
            db.checkpoint().unwrap();
        }
    }
    db.sync().unwrap();
    drain(&mut spool, &mut receiver);
    let dropped: u64 = db.spools()[0].dropped.iter().map(|(_, count)| count).sum();
    assert!(dropped > 0);
    assert_eq!(receiver.count() as u64 + dropped, 1_000 * 20);
    for samples in receiver.got.values() {
        let stored = samples.iter().filter(|(time, _)| *time < T0 + 1_000_000);
        assert_eq!(stored.count(), 100, "what is stored is not dropped");
        assert!(samples.is_sorted());
    }
    assert_eq!(lost(&db), (0, 0));
}

#[test]
fn start_behind_everything_is_as_good_as_now() {
    let world = World::new();
    let db = world.open();
    scrape(&world, &db, 0, 20, T0);
    let mut spool = db.spool("new", SpoolStart::At(T0 + 1)).unwrap();
    assert!(!spool.position().is_backfill());
    scrape(&world, &db, 0, 20, T0 + 15_000);
    db.sync().unwrap();
    let mut receiver = Receiver::default();
    drain(&mut spool, &mut receiver);
    assert_eq!(receiver.got, stored(&db, T0 + 1));
}

/// Random lives from before the remote is made until it has everything: late samples, flushes, merges, restarts, power cuts,
/// shards that are acknowledged unevenly and change in number. Whatever was acknowledged is not sent again.
#[test]
fn random_lives_with_a_backfill_lose_nothing_and_repeat_nothing() {
    for seed in 0..40 {
        let mut draw = Draw(seed);
        let mut world = World::new();
        let mut db = Db::open(DIR, small_segments(&world)).unwrap();
        let mut now = T0;
        let mut late = BTreeMap::new();
        let mut write = |db: &Db, world: &World, draw: &mut Draw, now: &mut i64| {
            *now += 5_000 + draw.below(60_000) as i64;
            world.clock.set(*now);
            let mut appender = db.appender().unwrap();
            let from = draw.below(3) as usize * 10;
            for number in from..from + 20 {
                let is_late = draw.below(60) == 0;
                let timestamp = *now - i64::from(is_late) * (1 + draw.below(1_000_000) as i64);
                let name = format!("metric{{number=\"{number}\"}}");
                let value = draw.below(1_000) as f64 / 4.0;
                appender.append(&labels(&name), timestamp, value).unwrap();
                if is_late {
                    late.insert((name, timestamp), value.to_bits());
                }
            }
            appender.commit().unwrap();
        };
        for round in 0..150 {
            write(&db, &world, &mut draw, &mut now);
            if round % 50 == 49 && draw.below(3) > 0 {
                db.flush().unwrap();
            }
            if draw.below(100) == 0 {
                db.checkpoint().unwrap();
            }
        }
        let start = T0 + draw.below(2_000_000) as i64;
        let mut spool = db.spool("life", SpoolStart::At(start)).unwrap();
        let mut receiver = Receiver::default();
        let mut pending: Vec<tsdb::SpooledSample> = Vec::new();
        for _ in 0..150 {
            match draw.below(20) {
                0..6 => write(&db, &world, &mut draw, &mut now),
                6 => db.sync().unwrap(),
                7..13 => {
                    let mut batch = SpoolBatch::default();
                    let limit = 1 + draw.below(100) as usize;
                    spool.read(limit, &mut batch).unwrap();
                    pending.extend(batch.samples);
                    let ack = spool.ack();
                    let shards = ack.shards();
                    let shard = draw.below(shards as u64) as usize;
                    let is_mine = |s: &tsdb::SpooledSample| shard_of(s.key, shards) == shard;
                    let mine: Vec<_> = pending.extract_if(.., |s| is_mine(s)).collect();
                    let samples: Vec<_> = mine.iter().map(|s| (s.series, s.sample)).collect();
                    receiver.take(&mut spool, &samples);
                    ack.advance(&[(shard, batch.end)]).unwrap();
                }
                13 => db.checkpoint().unwrap(),
                14 => drop(db.flush().unwrap()),
                15 => drop(db.compact().unwrap()),
                16 => {
                    now += 600_000;
                    world.clock.set(now);
                    db.step(Task::Flush).unwrap();
                }
                17 => {
                    spool.rewind().unwrap();
                    pending.clear();
                }
                _ => {
                    drop(spool);
                    pending.clear();
                    match draw.below(3) {
                        0 => db.close().unwrap(),
                        1 => drop(db),
                        _ => {
                            let choice = CrashChoice::Seeded(draw.below(1 << 30));
                            let after = World::on(world.fs.crash(choice));
                            drop(db);
                            world = after;
                            world.clock.set(now);
                        }
                    }
                    db = Db::open(DIR, small_segments(&world)).unwrap();
                    spool = db.spool("life", SpoolStart::Now).unwrap();
                    if draw.below(2) == 0 {
                        spool.ack().reshard(1 + draw.below(5) as usize).unwrap();
                        spool.rewind().unwrap();
                    }
                }
            }
        }
        db.sync().unwrap();
        spool.rewind().unwrap();
        drain(&mut spool, &mut receiver);
        assert_eq!(lost(&db), (0, 0), "seed {seed}");
        for (name, samples) in &receiver.got {
            let in_order = samples
                .iter()
                .filter(|(timestamp, _)| !late.contains_key(&(name.clone(), *timestamp)));
            assert!(in_order.is_sorted(), "seed {seed}: {name}");
        }
        // Late samples that came after the remote was made are sent however old they are.
        for samples in receiver.got.values_mut() {
            samples.retain(|(timestamp, _)| *timestamp >= start);
            samples.sort_unstable();
        }
        receiver.got.retain(|_, samples| !samples.is_empty());
        assert_eq!(receiver.got, stored(&db, start), "seed {seed}");
    }
}

#[cfg(feature = "remote-write")]
#[test]
fn sender_sends_the_backfill_and_goes_over_to_the_log() {
    use tsdb::remote::SenderOptions;

    use crate::sender::{Remote, options};

    for shards in [1, 3] {
        let world = World::new();
        let db = world.open();
        let write = |from: i64, to: i64| {
            for round in from..to {
                scrape(&world, &db, 0, 50, T0 + round * 15_000);
            }
        };
        write(0, 200);
        db.flush().unwrap();
        write(200, 300);
        let remote = Remote::good();
        let options = SenderOptions {
            shards,
            ..options()
        };
        let start = T0 + 50 * 15_000 + 1;
        let transport = Arc::new(remote.clone());
        let sender = db
            .start_sender("since", SpoolStart::At(start), transport, options)
            .unwrap();
        write(300, 400);
        assert!(sender.wait_until_sent(Duration::from_secs(60)).unwrap());
        write(400, 410);
        assert!(sender.stop(Duration::from_secs(60)).unwrap());
        assert_eq!(remote.got(), stored(&db, start));
    }
}
