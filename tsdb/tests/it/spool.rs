//! Samples wait in the log for remotes and arrive once, in order, whatever happens in between.

use std::collections::BTreeMap;
use std::time::Duration;

use tsdb::fs::CrashChoice;
use tsdb::{
    Db, DropReason, Durability, Event, Options, Position, Sample, Spool, SpoolBatch, SpoolBudget,
    SpoolStart, Task, shard_of, stale_marker,
};

use crate::support::{DIR, Draw, T0, World, labels};

pub type Received = BTreeMap<String, Vec<(i64, u64)>>;

/// What a remote got, series by series in the order of arrival.
#[derive(Debug, Default, Clone)]
pub struct Receiver {
    pub got: Received,
}

impl Receiver {
    pub fn take(&mut self, spool: &mut Spool, batch: &[(u64, Sample)]) {
        let mut ids: Vec<u64> = batch.iter().map(|(series, _)| *series).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut texts = BTreeMap::new();
        spool
            .labels(&ids, &mut |id, labels| {
                texts.insert(id, labels.expect("a known series").to_string());
            })
            .unwrap();
        for (series, sample) in batch {
            let samples = self.got.entry(texts[series].clone()).or_default();
            samples.push((sample.timestamp, sample.value.to_bits()));
        }
    }

    pub fn count(&self) -> usize {
        self.got.values().map(Vec::len).sum()
    }
}

pub fn scrape(world: &World, db: &Db, from: usize, to: usize, timestamp: i64) {
    world.clock.set(timestamp);
    let mut appender = db.appender().unwrap();
    for number in from..to {
        let name = labels(&format!("metric{{number=\"{number}\"}}"));
        let value = (number as i64 * 7 + timestamp / 1000) as f64 / 10.0;
        appender.append(&name, timestamp, value).unwrap();
    }
    assert_eq!(appender.commit().unwrap().rejected, []);
}

/// Returns how many frames and rows of the log the one remote has lost to damage.
pub fn lost(db: &Db) -> (u64, u64) {
    let [status] = &db.spools()[..] else {
        panic!("more than one remote");
    };
    (status.lost_frames, status.lost_rows)
}

/// Reads and acknowledges everything that is durable.
pub fn drain(spool: &mut Spool, receiver: &mut Receiver) {
    read_all(spool, receiver, |spool, batch| {
        let ack = spool.ack();
        let places: Vec<_> = (0..ack.shards()).map(|shard| (shard, batch.end)).collect();
        ack.advance(&places).unwrap();
    });
}

/// Reads everything and acknowledges nothing.
pub fn drain_all(spool: &mut Spool, receiver: &mut Receiver) {
    read_all(spool, receiver, |_, _| {});
}

fn read_all(spool: &mut Spool, receiver: &mut Receiver, taken: impl Fn(&Spool, &SpoolBatch)) {
    let mut batch = SpoolBatch::default();
    loop {
        batch.clear();
        let more = spool.read(1_000, &mut batch).unwrap();
        let samples: Vec<_> = batch.samples.iter().map(|s| (s.series, s.sample)).collect();
        receiver.take(spool, &samples);
        taken(spool, &batch);
        if !more {
            return;
        }
    }
}

#[test]
fn everything_durable_is_read_once_in_the_order_of_each_series() {
    let world = World::new();
    let db = world.open();
    let mut spool = db.spool("far-away", SpoolStart::Now).unwrap();
    let mut receiver = Receiver::default();
    for round in 0..100_i64 {
        scrape(&world, &db, (round / 30) as usize, 40, T0 + round * 15_000);
        let mut appender = db.appender().unwrap();
        appender
            .append(&labels("alone"), T0 + round * 15_000 + 3, f64::NAN)
            .unwrap();
        appender.commit().unwrap();
        assert!(
            !spool.wait(Duration::ZERO),
            "nothing is shipped before it is durable"
        );
        if round % 10 == 9 {
            db.sync().unwrap();
            assert!(spool.wait(Duration::ZERO));
            drain(&mut spool, &mut receiver);
        }
    }
    assert_eq!(receiver.got["alone"].len(), 100);
    assert!(
        receiver.got["alone"]
            .iter()
            .all(|(_, bits)| *bits == f64::NAN.to_bits())
    );
    assert_eq!(receiver.count(), 100 + 30 * (40 + 39 + 38) + 10 * 37);
    for samples in receiver.got.values() {
        assert!(samples.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
    let zero = &receiver.got["metric{number=\"0\"}"];
    assert_eq!(
        zero[1],
        (
            T0 + 15_000,
            (((T0 + 15_000) / 1000) as f64 / 10.0).to_bits()
        )
    );
}

#[test]
fn log_stays_for_a_remote_through_flushes_restarts_and_series_that_are_gone() {
    let world = World::new();
    let open = || {
        let age = Duration::from_secs(10 * 86_400);
        let budget = SpoolBudget {
            age,
            ..SpoolBudget::default()
        };
        Db::open(DIR, world.options().with_spool_budget(budget)).unwrap()
    };
    let mut db = open();
    drop(db.spool("slow", SpoolStart::Now).unwrap());
    let (mut appended, mut forgotten) = (0, 0);
    for day in 0..4_i64 {
        for round in 0..50_i64 {
            // Other series each time, so that the head forgets those of the time before.
            let from = day as usize * 100;
            scrape(
                &world,
                &db,
                from,
                from + 60,
                T0 + day * 86_400_000 + round * 60_000,
            );
            appended += 60;
        }
        world.clock.set(T0 + day * 86_400_000 + 3_600_000);
        db.flush().unwrap();
        db.checkpoint().unwrap();
        forgotten += db.stats().series_removed;
        if day % 2 == 0 {
            db.close().unwrap();
        } else {
            drop(db);
        }
        db = open();
    }
    assert!(forgotten > 0, "the head has let go of series that wait");
    let mut spool = db.spool("slow", SpoolStart::Now).unwrap();
    let mut receiver = Receiver::default();
    drain(&mut spool, &mut receiver);
    assert_eq!(receiver.count(), appended);
    assert_eq!(receiver.got.len(), 240);
    let log_bytes = || -> u64 {
        let files = world.fs.files().into_iter();
        let log = files.filter(|(path, _)| path.starts_with("/db/log"));
        log.map(|(_, len)| len).sum()
    };
    let before = log_bytes();
    db.checkpoint().unwrap();
    assert!(log_bytes() < before / 10, "what is acknowledged is let go");
    assert_eq!(lost(&db), (0, 0));
}

#[test]
fn staleness_markers_and_every_bit_pattern_arrive() {
    let world = World::new();
    let db = world.open();
    let mut spool = db.spool("bits", SpoolStart::Now).unwrap();
    let values = [
        stale_marker(),
        -0.0,
        f64::INFINITY,
        f64::MIN_POSITIVE / 4.0,
        f64::from_bits(0x7ff8_dead_beef_0001),
        1e300,
        0.1,
    ];
    for round in 0..70_usize {
        let mut appender = db.appender().unwrap();
        for number in 0..20_usize {
            let name = labels(&format!("metric{{number=\"{number}\"}}"));
            let value = values[(round * 3 + number) % values.len()];
            appender
                .append(&name, T0 + round as i64 * 1000, value)
                .unwrap();
        }
        appender.commit().unwrap();
    }
    db.sync().unwrap();
    let mut receiver = Receiver::default();
    drain(&mut spool, &mut receiver);
    for number in 0..20_usize {
        let expected: Vec<_> = (0..70_usize)
            .map(|round| {
                let value = values[(round * 3 + number) % values.len()];
                (T0 + round as i64 * 1000, value.to_bits())
            })
            .collect();
        assert_eq!(
            receiver.got[&format!("metric{{number=\"{number}\"}}")],
            expected
        );
    }
}

#[test]
fn shards_that_were_ahead_repeat_nothing_after_a_restart_with_another_number_of_them() {
    let world = World::new();
    let db = world.open();
    let mut spool = db.spool("sharded", SpoolStart::Now).unwrap();
    spool.ack().reshard(3).unwrap();
    (0..40_i64).for_each(|round| scrape(&world, &db, 0, 30, T0 + round * 1000));
    db.sync().unwrap();
    let mut batch = SpoolBatch::default();
    spool.read(usize::MAX, &mut batch).unwrap();
    let mut receiver = Receiver::default();
    // Shard 0 sends nothing, shard 1 half, shard 2 everything.
    let half = batch.samples[batch.samples.len() / 2].position;
    let limits = [batch.samples[0].position, half, batch.end];
    for (shard, limit) in limits.into_iter().enumerate() {
        let mine: Vec<_> = batch
            .samples
            .iter()
            .filter(|s| shard_of(s.key, 3) == shard && s.position < limit)
            .map(|s| (s.series, s.sample))
            .collect();
        receiver.take(&mut spool, &mine);
        spool.ack().advance(&[(shard, limit)]).unwrap();
    }
    drop(spool);
    drop(db);
    let db = world.open();
    let mut spool = db.spool("sharded", SpoolStart::Now).unwrap();
    spool.ack().reshard(5).unwrap();
    drain(&mut spool, &mut receiver);
    assert_eq!(receiver.count(), 40 * 30);
    for samples in receiver.got.values() {
        assert!(samples.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}

fn budget(
    world: &World,
    budget: SpoolBudget,
    events: &std::sync::Arc<parking_lot::Mutex<Vec<String>>>,
) -> Db {
    let events = std::sync::Arc::clone(events);
    let listener = move |event: &Event| {
        if let Event::SpoolDropped {
            samples, reason, ..
        } = event
        {
            events.lock().push(format!("{reason:?} {samples}"));
        }
    };
    let options: Options = world
        .options()
        .with_segment_bytes(8 << 10)
        .with_spool_budget(budget)
        .with_listener(Some(std::sync::Arc::new(listener)));
    Db::open(DIR, options).unwrap()
}

#[test]
fn over_budget_the_oldest_are_dropped_and_counted_and_the_rest_arrives() {
    for (kind, reason) in [
        (
            SpoolBudget {
                bytes: 40 << 10,
                free_bytes: 0,
                ..SpoolBudget::default()
            },
            DropReason::Bytes,
        ),
        (
            SpoolBudget {
                age: Duration::from_secs(3600),
                free_bytes: 0,
                ..SpoolBudget::default()
            },
            DropReason::Age,
        ),
        (
            SpoolBudget {
                free_bytes: u64::MAX,
                ..SpoolBudget::default()
            },
            DropReason::FreeSpace,
        ),
    ] {
        let world = World::new();
        world.fs.set_capacity(Some(1 << 30));
        let events = std::sync::Arc::default();
        let db = budget(&world, kind, &events);
        drop(db.spool("down", SpoolStart::Now).unwrap());
        let mut quick = db.spool("quick", SpoolStart::Now).unwrap();
        let (mut all, mut late) = (Receiver::default(), Receiver::default());
        let mut appended = 0;
        for round in 0..400_i64 {
            world.clock.set(T0 + round * 60_000);
            scrape(&world, &db, 0, 30, T0 + round * 60_000);
            appended += 30;
            if round % 7 == 0 {
                db.sync().unwrap();
                drain(&mut quick, &mut all);
                db.step(Task::Flush).unwrap();
            }
        }
        db.checkpoint().unwrap();
        db.step(Task::Flush).unwrap();
        drain(&mut quick, &mut all);
        assert_eq!(
            all.count(),
            appended,
            "{reason:?}: the other remote is not harmed"
        );
        let status = &db.spools()[0];
        let dropped: u64 = status.dropped.iter().map(|(_, count)| count).sum();
        assert!(dropped > 0, "{reason:?}");
        assert!(
            status
                .dropped
                .iter()
                .all(|(of, count)| *of == reason || *count == 0)
        );
        assert!(!events.lock().is_empty());
        drop(quick);
        drop(db);
        let db = world.open();
        let mut down = db.spool("down", SpoolStart::Now).unwrap();
        drain(&mut down, &mut late);
        let status = &db.spools()[0];
        let after: u64 = status.dropped.iter().map(|(_, count)| count).sum();
        assert_eq!(after, dropped, "{reason:?}: the count survives a restart");
        assert_eq!(late.count() as u64 + dropped, appended as u64, "{reason:?}");
        for (name, samples) in &late.got {
            assert!(
                all.got[name].ends_with(samples),
                "{reason:?}: what arrives is the newest part"
            );
        }
    }
}

#[test]
fn remote_that_reads_on_while_the_budget_drops_is_moved_on_and_loses_nothing_else() {
    let world = World::new();
    let events = std::sync::Arc::default();
    let db = budget(
        &world,
        SpoolBudget {
            bytes: 16 << 10,
            ..SpoolBudget::default()
        },
        &events,
    );
    let mut spool = db.spool("slow", SpoolStart::Now).unwrap();
    let mut receiver = Receiver::default();
    let mut batch = SpoolBatch::default();
    for round in 0..600_i64 {
        world.clock.set(T0 + round * 15_000);
        scrape(&world, &db, 0, 30, T0 + round * 15_000);
        if round % 50 == 49 {
            db.checkpoint().unwrap();
            batch.clear();
            spool.read(200, &mut batch).unwrap();
            let samples: Vec<_> = batch.samples.iter().map(|s| (s.series, s.sample)).collect();
            receiver.take(&mut spool, &samples);
            spool.ack().advance(&[(0, batch.end)]).unwrap();
        }
    }
    db.sync().unwrap();
    drain(&mut spool, &mut receiver);
    let dropped: u64 = db.spools()[0].dropped.iter().map(|(_, count)| count).sum();
    assert!(dropped > 0);
    assert_eq!(receiver.count() as u64 + dropped, 600 * 30);
    assert_eq!(lost(&db), (0, 0));
}

#[test]
fn nothing_is_shipped_that_a_power_cut_takes() {
    let world = World::new();
    let db = world.open();
    let mut spool = db.spool("early", SpoolStart::Now).unwrap();
    let mut receiver = Receiver::default();
    for round in 0..60_i64 {
        scrape(&world, &db, 0, 20, T0 + round * 1000);
        if round % 13 == 0 {
            db.sync().unwrap();
        }
        drain(&mut spool, &mut receiver);
    }
    let after = World::on(world.fs.crash(CrashChoice::None));
    let db = after.open();
    for (name, samples) in crate::support::read(&db, "metric") {
        assert!(samples.starts_with(&receiver.got[&name.to_string()]));
    }
    // And what was shipped is not shipped again.
    let mut spool = db.spool("early", SpoolStart::Now).unwrap();
    let before = receiver.count();
    drain(&mut spool, &mut receiver);
    let kept: usize = crate::support::read(&db, "metric")
        .iter()
        .map(|(_, samples)| samples.len())
        .sum();
    assert_eq!(receiver.count(), kept);
    assert!(receiver.count() >= before);
}

#[test]
fn with_the_policy_os_the_log_is_synced_before_it_is_shipped() {
    let world = World::new();
    let db = Db::open(DIR, world.options().with_durability(Durability::Os)).unwrap();
    let mut spool = db.spool("os", SpoolStart::Now).unwrap();
    scrape(&world, &db, 0, 20, T0);
    let mut receiver = Receiver::default();
    drain(&mut spool, &mut receiver);
    assert_eq!(receiver.count(), 20);
    let after = World::on(world.fs.crash(CrashChoice::None));
    assert_eq!(crate::support::read(&after.open(), "metric").len(), 20);
}

#[test]
fn cursor_that_remembers_nothing_begins_with_the_oldest_sample() {
    let world = World::new();
    let db = world.open();
    let mut spool = db.spool("twice", SpoolStart::Now).unwrap();
    scrape(&world, &db, 0, 20, T0);
    db.sync().unwrap();
    let mut receiver = Receiver::default();
    drain(&mut spool, &mut receiver);
    drop(spool);
    drop(db);
    let path = std::path::Path::new(DIR).join("spool/twice");
    world.fs.truncate_file(&path, 20).unwrap();
    let db = world.open();
    assert_eq!(db.stats().damaged_units, 1);
    let mut spool = db.spool("twice", SpoolStart::Now).unwrap();
    drain(&mut spool, &mut receiver);
    assert_eq!(receiver.count(), 40, "twice is better than never");
}

#[test]
fn what_damage_takes_from_a_remote_is_counted() {
    let world = World::new();
    let db = world.open();
    let mut spool = db.spool("harmed", SpoolStart::Now).unwrap();
    for round in 0..40 {
        scrape(&world, &db, 0, 20, T0 + round * 15_000);
    }
    db.sync().unwrap();
    let logs = world.fs.files().into_iter();
    let (path, bytes) = logs
        .filter(|(path, _)| path.starts_with("/db/log"))
        .max_by_key(|(_, bytes)| *bytes)
        .unwrap();
    world.fs.flip_bit(&path, bytes * 8 * 3 / 4).unwrap();
    let mut receiver = Receiver::default();
    drain(&mut spool, &mut receiver);
    let (frames, rows) = lost(&db);
    // Each frame is a row; those behind the damaged one wait for the next base, and there is none.
    assert_eq!(frames, 1);
    assert_eq!(receiver.count() as u64, (40 - frames - rows) * 20);
    assert!((1..20).contains(&rows), "{rows}");
    let names = ["tsdb_spool_lost_frames_total", "tsdb_spool_lost_rows_total"];
    let mut told = Vec::new();
    db.metrics(&mut |metric| {
        if names.contains(&metric.name) {
            told.push(metric.value);
        }
    });
    assert_eq!(told, [frames as f64, rows as f64]);
}

#[test]
fn remotes_have_names_and_one_reader() {
    let world = World::new();
    let db = world.open();
    for name in ["", "a/b", ".hidden", "x".repeat(65).as_str()] {
        assert!(db.spool(name, SpoolStart::Now).is_err(), "{name:?}");
    }
    let first = db.spool("one", SpoolStart::Now).unwrap();
    let second = db.spool("one", SpoolStart::Now).unwrap_err();
    assert_eq!(second.kind(), tsdb::ErrorKind::Locked);
    let ack = first.ack();
    drop(first);
    assert!(db.spool("one", SpoolStart::Now).is_ok());
    assert!(db.remove_spool("one").unwrap());
    assert!(!db.remove_spool("one").unwrap());
    assert!(ack.advance(&[(0, Position::before(9))]).is_err());
    drop((ack, db));
    assert_eq!(world.open().spools(), []);
}

#[test]
fn remote_that_starts_with_the_oldest_gets_what_the_log_has() {
    let world = World::new();
    let db = world.open();
    scrape(&world, &db, 0, 20, T0);
    db.sync().unwrap();
    let mut receiver = Receiver::default();
    drain(
        &mut db.spool("all", SpoolStart::Oldest).unwrap(),
        &mut receiver,
    );
    assert_eq!(receiver.count(), 20);
    let mut none = Receiver::default();
    drain(&mut db.spool("none", SpoolStart::Now).unwrap(), &mut none);
    assert_eq!(none.count(), 0);
}

/// Random lives: scrapes, lone and late samples, changing members, flushes, checkpoints, clean and unclean ends, shards
/// that are acknowledged unevenly and change in number. What is repeated after an unclean end is at most what was read and
/// not acknowledged; nothing is missing, and without repetitions each series is in the order of its commits.
#[test]
fn random_lives_lose_nothing() {
    for seed in 0..60 {
        let mut draw = Draw(seed);
        let world = World::new();
        let open =
            |world: &World| Db::open(DIR, world.options().with_segment_bytes(16 << 10)).unwrap();
        let mut db = open(&world);
        let mut spool = db.spool("life", SpoolStart::Now).unwrap();
        let mut appended: Received = BTreeMap::new();
        let mut receiver = Receiver::default();
        let mut pending: Vec<tsdb::SpooledSample> = Vec::new();
        let mut now = T0;
        for _ in 0..250 {
            match draw.below(20) {
                0..10 => {
                    now += 5_000 + draw.below(20_000) as i64;
                    world.clock.set(now);
                    let from = draw.below(3) as usize * draw.below(2) as usize * 10;
                    let width = 20 + draw.below(20) as usize;
                    let mut appender = db.appender().unwrap();
                    let mut staged = Vec::new();
                    for number in from..from + width {
                        let name = labels(&format!("metric{{number=\"{number}\"}}"));
                        let value = if draw.below(50) == 0 {
                            f64::NAN
                        } else {
                            draw.below(1000) as f64 / 4.0
                        };
                        let timestamp = if draw.below(200) == 0 {
                            now - 60_000 - draw.below(1000) as i64
                        } else {
                            now
                        };
                        appender.append(&name, timestamp, value).unwrap();
                        staged.push((name.to_string(), timestamp, value.to_bits()));
                    }
                    let commit = appender.commit().unwrap();
                    let rejected: Vec<u32> =
                        commit.rejected.iter().map(|(at, _)| *at as u32).collect();
                    for (at, (name, timestamp, bits)) in staged.into_iter().enumerate() {
                        if !rejected.contains(&(at as u32)) {
                            appended.entry(name).or_default().push((timestamp, bits));
                        }
                    }
                }
                10 => db.sync().unwrap(),
                11..15 => {
                    let mut batch = SpoolBatch::default();
                    spool
                        .read(1 + draw.below(300) as usize, &mut batch)
                        .unwrap();
                    pending.extend(batch.samples);
                    let ack = spool.ack();
                    let shards = ack.shards();
                    let shard = draw.below(shards as u64) as usize;
                    let (mine, rest): (Vec<_>, Vec<_>) = pending
                        .drain(..)
                        .partition(|s| shard_of(s.key, shards) == shard);
                    pending = rest;
                    let samples: Vec<_> = mine.iter().map(|s| (s.series, s.sample)).collect();
                    receiver.take(&mut spool, &samples);
                    ack.advance(&[(shard, batch.end)]).unwrap();
                }
                15 => {
                    db.checkpoint().unwrap();
                }
                16 => {
                    db.flush().unwrap();
                }
                17 => {
                    let clean = draw.below(2) == 0;
                    assert_eq!(lost(&db), (0, 0), "seed {seed}");
                    drop(spool);
                    // Read and not acknowledged: the next handle reads it again.
                    pending.clear();
                    if clean {
                        db.close().unwrap();
                    } else {
                        drop(db);
                    }
                    db = open(&world);
                    spool = db.spool("life", SpoolStart::Now).unwrap();
                    if draw.below(3) == 0 {
                        spool.ack().reshard(1 + draw.below(5) as usize).unwrap();
                    }
                }
                _ => {
                    now += 1_800_000;
                    world.clock.set(now);
                    db.step(Task::Flush).unwrap();
                }
            }
        }
        db.sync().unwrap();
        drop(spool);
        let mut spool = db.spool("life", SpoolStart::Now).unwrap();
        drain(&mut spool, &mut receiver);
        assert_eq!(lost(&db), (0, 0), "seed {seed}");
        for (name, samples) in &appended {
            let mut expected = samples.clone();
            // A sample that is sent again with the same value is accepted and stands once.
            let mut seen = std::collections::BTreeSet::new();
            expected.retain(|(timestamp, _)| seen.insert(*timestamp));
            assert_eq!(
                receiver.got.get(name),
                Some(&expected),
                "seed {seed}: {name}"
            );
        }
    }
}

/// Nothing behind says where the segment ends, but the checkpoint does.
#[test]
fn a_log_whose_last_header_is_gone_ends_where_the_checkpoint_says() {
    let world = World::new();
    let db = world.open();
    let spool = db.spool("far-away", SpoolStart::Now).unwrap();
    for round in 0..10 {
        scrape(&world, &db, 0, 20, T0 + round * 15_000);
    }
    db.sync().unwrap();
    // It names a segment that has no frame yet, and the one before stays for the remote.
    db.checkpoint().unwrap();
    drop((spool, db));
    let files = world.fs.files();
    let log = files.iter().filter(|(path, _)| path.starts_with("/db/log"));
    let (open, _) = log.max().unwrap();
    world.fs.truncate_file(open, 0).unwrap();

    let db = world.open();
    let mut spool = db.spool("far-away", SpoolStart::Now).unwrap();
    for round in 10..20 {
        scrape(&world, &db, 0, 20, T0 + round * 15_000);
    }
    db.sync().unwrap();
    let mut receiver = Receiver::default();
    drain(&mut spool, &mut receiver);
    assert_eq!(receiver.count(), 20 * 20);
    assert_eq!(lost(&db), (0, 0));
    db.checkpoint().unwrap();
    let pending = db.spools()[0].pending_bytes;
    assert!(pending < 1_000, "{pending} bytes are kept for nobody");
}

/// The end of the log is lost, and with it what told how far sequences had come.
#[test]
fn what_comes_after_the_end_of_the_log_was_lost_is_sent() {
    let world = World::new();
    let db = world.open();
    let mut spool = db.spool("far", SpoolStart::Now).unwrap();
    let mut receiver = Receiver::default();
    for round in 0..10 {
        scrape(&world, &db, 0, 4, T0 + round * 15_000);
    }
    db.sync().unwrap();
    drain(&mut spool, &mut receiver);
    drop((spool, db));
    let logs = world.fs.files();
    let (log, _) = logs
        .iter()
        .rfind(|(path, _)| path.starts_with("/db/log"))
        .unwrap();
    world.fs.truncate_file(log, 104).unwrap();
    let db = world.open();
    let mut spool = db.spool("far", SpoolStart::Now).unwrap();
    let mut receiver = Receiver::default();
    for round in 20..23 {
        scrape(&world, &db, 0, 4, T0 + round * 15_000);
    }
    db.sync().unwrap();
    drain(&mut spool, &mut receiver);
    assert_eq!(receiver.count(), 12);
}
