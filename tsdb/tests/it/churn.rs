//! Series come and go between the scrapes of a target: whichever way a commit takes, the samples are the same.

use std::collections::BTreeMap;
use std::time::Duration;

use tsdb::fs::CrashChoice;
use tsdb::{Db, Labels, Rejection, SpoolStart, Target, stale_marker};

use crate::support::{Draw, T0, World, labels, read};

/// A sample of a commit.
type Staged = (Labels, i64, f64);

fn commit(db: &Db, target: &Target, samples: &[Staged]) -> Vec<(usize, Rejection)> {
    let mut appender = db.appender().unwrap();
    appender.set_target(target);
    for (labels, timestamp, value) in samples {
        appender.append(labels, *timestamp, *value).unwrap();
    }
    appender.commit().unwrap().rejected
}

fn name(number: u64) -> Labels {
    labels(&format!("metric{{pod=\"{number}\"}}"))
}

/// A target whose members change.
struct Scraped {
    draw: Draw,
    members: Vec<u64>,
    gone: Vec<u64>,
    next: u64,
}

impl Scraped {
    fn new(seed: u64) -> Self {
        let mut draw = Draw(seed);
        let count = 3 + draw.below(60);
        Self {
            draw,
            members: (0..count).collect(),
            gone: Vec::new(),
            next: count,
        }
    }

    /// Changes some members and returns the next scrape.
    fn scrape(&mut self, timestamp: i64) -> Vec<Staged> {
        let mut stale = Vec::new();
        for _ in 0..self.draw.below(4) {
            let at = self.draw.below(self.members.len() as u64) as usize;
            match self.draw.below(12) {
                0..5 => {
                    let gone = std::mem::replace(&mut self.members[at], self.next);
                    self.next += 1;
                    self.gone.push(gone);
                    stale.push(gone);
                }
                5 => {
                    self.members.insert(at, self.next);
                    self.next += 1;
                }
                6 if self.members.len() > 3 => self.gone.push(self.members.remove(at)),
                7 => self.members.extend(self.gone.pop()),
                8 => self.members.rotate_left(at),
                9 => self.members.swap(0, at),
                10 if self.draw.below(10) == 0 => {
                    let fresh = self.next..self.next + self.members.len() as u64;
                    self.next = fresh.end;
                    self.gone.append(&mut self.members);
                    self.members.extend(fresh);
                }
                _ => {}
            }
        }
        let absent = self.draw.below(40) as usize;
        let present = self.members.iter().enumerate();
        let present = present.filter(|(at, _)| *at != absent || self.members.len() < 4);
        let mut samples: Vec<Staged> = present
            .map(|(_, &number)| (number, timestamp, self.draw.below(3) as f64 / 4.0))
            .map(|(number, timestamp, value)| (name(number), timestamp, value + number as f64))
            .collect();
        if self.draw.below(2) == 0 {
            let stale = stale
                .into_iter()
                .filter(|number| !self.members.contains(number));
            samples.extend(stale.map(|number| (name(number), timestamp, stale_marker())));
        }
        samples
    }
}

type Content = BTreeMap<Labels, Vec<(i64, u64)>>;

fn content(db: &Db) -> Content {
    read(db, "metric").into_iter().collect()
}

#[test]
fn scrape_of_changing_members_is_the_same_whichever_way_it_goes() {
    let (mut rows_grew, mut steps) = (0, 0);
    for seed in 0..30 {
        let worlds = [World::new(), World::new()];
        let mut open: Vec<(Db, Target)> = worlds
            .iter()
            .map(|world| {
                let db = world.open();
                let target = db.target();
                (db, target)
            })
            .collect();
        let mut scraped = Scraped::new(seed);
        let mut expected = Content::new();
        let mut latest = Vec::new();
        for step in 0..150_i64 {
            let now = T0 + step * 15_000;
            worlds.iter().for_each(|world| world.clock.set(now));
            match scraped.draw.below(40) {
                0 => open.iter().for_each(|(db, _)| db.checkpoint().unwrap()),
                1 => {
                    open.clear();
                    for world in &worlds {
                        let db = world.open();
                        let target = db.target();
                        open.push((db, target));
                    }
                }
                2 => {
                    for (db, _) in &open {
                        assert!(!db.flush().unwrap().is_waiting_for_readers);
                    }
                }
                3 => {
                    // What was sent before is there already, except that something else may be in between.
                    let again = |(db, target): &(Db, Target)| commit(db, target, &latest);
                    assert_eq!(again(&open[0]), again(&open[1]), "seed {seed}, step {step}");
                }
                _ => {}
            }
            let samples = scraped.scrape(now);
            for (labels, timestamp, value) in &samples {
                let known = expected.entry(labels.clone()).or_default();
                known.push((*timestamp, value.to_bits()));
            }
            let before = open[0].0.stats().samples_alone;
            assert_eq!(commit(&open[0].0, &open[0].1, &samples), []);
            rows_grew += u64::from(open[0].0.stats().samples_alone == before);
            // A sample with a time of its own: this commit is no scrape, and each of its samples is judged by itself.
            let mut mixed = samples.clone();
            mixed.insert(0, (labels("other"), now - 1, step as f64));
            assert_eq!(commit(&open[1].0, &open[1].1, &mixed), []);
            latest = samples;
            steps += 1;
            if step % 10 == 9 {
                for (at, (db, _)) in open.iter().enumerate() {
                    assert!(
                        content(db) == expected,
                        "seed {seed}, step {step}, way {at}"
                    );
                }
            }
        }
    }
    assert!(
        rows_grew * 10 > steps * 8,
        "{rows_grew} of {steps} commits were rows"
    );
}

#[test]
fn series_that_join_a_target_are_in_its_rows_at_once() {
    let world = World::new();
    let db = world.open();
    let target = db.target();
    let scrape = |step: i64| -> Vec<Staged> {
        let numbers = (0..100).map(|number| {
            if number == 50 {
                1000 + step as u64
            } else {
                number
            }
        });
        let timestamp = T0 + step * 15_000;
        numbers
            .map(|number| (name(number), timestamp, step as f64))
            .collect()
    };
    for step in 0..200 {
        world.clock.set(T0 + step * 15_000);
        assert_eq!(commit(&db, &target, &scrape(step)), []);
        if step % 20 == 0 {
            db.checkpoint().unwrap();
        }
        let querier = db.querier(tsdb::TimeRange::ALL).unwrap();
        let count = querier.select(&[]).unwrap().count();
        assert_eq!(count as i64, 100 + step);
    }
    assert_eq!(db.stats().samples_alone, 0);
    let all = content(&db);
    assert_eq!(all[&name(0)].len(), 200);
    assert_eq!(all[&name(1100)], [(T0 + 100 * 15_000, 100f64.to_bits())]);
    drop(db);
    let db = world.open();
    assert!(content(&db) == all);
    db.flush().unwrap();
    assert!(content(&db) == all);
}

#[test]
fn reader_from_before_a_series_joined_sees_nothing_of_it() {
    let world = World::new();
    let db = world.open();
    let target = db.target();
    let scrape = |members: std::ops::Range<u64>, timestamp: i64| {
        let samples: Vec<Staged> = members
            .map(|number| (name(number), timestamp, 1.5))
            .collect();
        assert_eq!(commit(&db, &target, &samples), []);
    };
    scrape(0..20, T0);
    scrape(0..20, T0 + 1000);
    let before = db.querier(tsdb::TimeRange::ALL).unwrap();
    scrape(1..23, T0 + 2000);
    assert_eq!(before.select(&[]).unwrap().count(), 20);
    db.checkpoint().unwrap();
    assert_eq!(
        before.select(&[]).unwrap().count(),
        20,
        "the rows are sealed"
    );
    let after = db.querier(tsdb::TimeRange::ALL).unwrap();
    assert_eq!(after.select(&[]).unwrap().count(), 23);
}

/// The values of a life: few differences between scrapes, many scales, and bit patterns.
fn value(draw: &mut Draw, number: u64) -> f64 {
    match number % 7 {
        0 => f64::from_bits(draw.below(u64::MAX >> 33) << 33 | draw.below(1 << 31)),
        1 => draw.below(1000) as f64 / 10f64.powi(draw.below(7) as i32),
        2 => 1.0,
        3 => [-0.0, f64::INFINITY, f64::NAN, 0.1, 1e300][draw.below(5) as usize],
        _ => (number + draw.below(3)) as f64 / 4.0,
    }
}

/// What a life has committed, and what of it is not deleted.
#[derive(Default)]
struct Known {
    ever: BTreeMap<Labels, BTreeMap<i64, u64>>,
    left: BTreeMap<Labels, BTreeMap<i64, u64>>,
}

impl Known {
    fn content(&self) -> Content {
        let series = self.left.iter().filter(|(_, samples)| !samples.is_empty());
        series
            .map(|(labels, samples)| {
                let samples = samples.iter().map(|(&at, &bits)| (at, bits));
                (labels.clone(), samples.collect())
            })
            .collect()
    }

    /// Commits, and notes what was taken.
    fn commit(&mut self, db: &Db, target: Option<&Target>, samples: &[Staged]) {
        let mut appender = db.appender().unwrap();
        if let Some(target) = target {
            appender.set_target(target);
        }
        for (labels, timestamp, value) in samples {
            appender.append(labels, *timestamp, *value).unwrap();
        }
        let rejected = appender.commit().unwrap().rejected;
        for (at, (labels, timestamp, value)) in samples.iter().enumerate() {
            if !rejected.iter().any(|(place, _)| *place == at) {
                for known in [&mut self.ever, &mut self.left] {
                    let series = known.entry(labels.clone()).or_default();
                    series.entry(*timestamp).or_insert(value.to_bits());
                }
            }
        }
    }

    /// Tells whether all samples are such as were committed.
    fn has(&self, labels: &Labels, samples: &[(i64, u64)]) -> bool {
        let known = self.ever.get(labels);
        samples
            .iter()
            .all(|(at, bits)| known.and_then(|known| known.get(at)) == Some(bits))
    }
}

/// The last row before a base is lost, so nothing between them tells of the gap.
#[test]
fn rows_before_a_lost_row_and_a_base_keep_their_values() {
    let world = World::new();
    let db = world.open();
    let target = db.target();
    let scrape = |db: &Db, target: &Target, step: i64| {
        let timestamp = T0 + step * 15_000;
        world.clock.set(timestamp);
        let samples: Vec<Staged> = (0..20)
            .map(|number| (name(number), timestamp, (step * step) as f64))
            .collect();
        assert_eq!(commit(db, target, &samples), []);
    };
    let files = || {
        world
            .fs
            .files()
            .into_iter()
            .filter(|(path, _)| path.starts_with("/db/log"))
    };
    (0..3).for_each(|step| scrape(&db, &target, step));
    let (log, before) = files().next_back().unwrap();
    scrape(&db, &target, 3);
    let (_, behind) = files().next_back().unwrap();
    db.sync().unwrap();
    drop(db);
    let db = world.open();
    scrape(&db, &db.target(), 4);
    db.sync().unwrap();
    drop(db);
    world.fs.flip_bit(&log, (before + behind) * 4).unwrap();
    let db = world.open();
    assert!(db.stats().damaged_units > 0);
    let kept = [0, 1, 2, 4].map(|step| (T0 + step * 15_000, ((step * step) as f64).to_bits()));
    let found = content(&db);
    assert_eq!(found.len(), 20);
    for samples in found.values() {
        assert_eq!(samples[..], kept);
    }
}

/// Random lives over several block ranges: series of a target come, go and come back, alone and late in between, are deleted;
/// readers stay; the process and the power end. At the end the log is damaged: then nothing is there that was not committed.
#[test]
fn lives_of_changing_members_lose_and_invent_nothing() {
    for seed in crate::support::seeds("TSDB_CHURN", 20) {
        life_of_changing_members(seed);
    }
}

fn life_of_changing_members(seed: u64) {
    let mut world = World::new();
    let mut draw = Draw(seed ^ 0x5eed);
    let has_spool = seed.is_multiple_of(2);
    let open = |world: &World| {
        let options = world
            .options()
            .with_block_range(Duration::from_secs(600))
            .with_out_of_order_window(Duration::from_secs(1200))
            .with_segment_bytes(4096 << (seed % 4 * 2))
            .with_retention(None);
        Db::open(crate::support::DIR, options).unwrap()
    };
    let mut db = open(&world);
    let mut targets = [db.target(), db.target()];
    let mut spool = has_spool.then(|| db.spool("far", SpoolStart::Now).unwrap());
    let mut scraped = [Scraped::new(seed), Scraped::new(seed + 1000)];
    scraped[1]
        .members
        .iter_mut()
        .for_each(|number| *number += 100_000);
    scraped[1].next += 100_000;
    let mut known = Known::default();
    let mut readers: Vec<(tsdb::Querier, Content)> = Vec::new();
    let mut now = T0;
    for step in 0..160 {
        now += [1_000, 15_000, 15_000, 15_000, 60_000, 400_000][draw.below(6) as usize];
        world.clock.set(now);
        match draw.below(60) {
            0..2 => db.checkpoint().unwrap(),
            2 | 3 if readers.is_empty() => {
                db.flush().unwrap();
            }
            4 => {
                db.step(tsdb::Task::Flush).unwrap();
            }
            5 | 6 => {
                readers.clear();
                drop(spool);
                db.sync().unwrap();
                drop(db);
                if draw.below(2) == 0 {
                    world = World::on(world.fs.crash(CrashChoice::None));
                    world.clock.set(now);
                }
                db = open(&world);
                targets = [db.target(), db.target()];
                spool = has_spool.then(|| db.spool("far", SpoolStart::Now).unwrap());
            }
            7 => {
                let at = draw.below(60);
                let start = now - draw.below(900_000) as i64;
                let range = tsdb::TimeRange::new(start, start + draw.below(600_000) as i64);
                let selector = format!("metric{{pod=~\"{at}|1.*3\"}}");
                db.delete(range, &tsdb::parse_selector(&selector).unwrap())
                    .unwrap();
                let pattern = |labels: &Labels| {
                    let pod = labels.get("pod").unwrap();
                    pod == at.to_string()
                        || pod.len() > 1 && pod.starts_with('1') && pod.ends_with('3')
                };
                for (labels, samples) in &mut known.left {
                    if pattern(labels) {
                        samples.retain(|at, _| !range.contains(*at));
                    }
                }
            }
            8 | 9 => {
                // Late ones and new ones alone, of either target.
                let samples: Vec<Staged> = (0..1 + draw.below(3))
                    .map(|index| {
                        let scraped = &scraped[draw.below(2) as usize];
                        let number =
                            draw.below(scraped.next % 100_000) + scraped.next / 100_000 * 100_000;
                        let at = now - 7 - index as i64 - draw.below(1_000_000) as i64;
                        (name(number), at, value(&mut draw, number))
                    })
                    .collect();
                known.commit(&db, None, &samples);
            }
            10 | 11 if readers.len() < 2 => {
                readers.push((db.querier(tsdb::TimeRange::ALL).unwrap(), known.content()));
            }
            12 => readers.clear(),
            13 => {
                // A series of the other target.
                let stranger = scraped[0].members[0];
                scraped[1].members.push(stranger);
                scraped[0].members.retain(|number| *number != stranger);
                if scraped[0].members.is_empty() {
                    let next = scraped[0].next;
                    scraped[0].members.push(next);
                    scraped[0].next += 1;
                }
            }
            _ => {}
        }
        for which in 0..2 {
            if draw.below(4) == 0 {
                continue;
            }
            let mut samples = scraped[which].scrape(now);
            for (labels, _, value_of) in &mut samples {
                let number: u64 = labels.get("pod").unwrap().parse().unwrap();
                if value_of.to_bits() != stale_marker().to_bits() {
                    *value_of = value(&mut draw, number);
                }
            }
            known.commit(
                &db,
                (draw.below(8) > 0).then_some(&targets[which]),
                &samples,
            );
        }
        for (reader, before) in &readers {
            if draw.below(8) == 0 {
                let found: Content = read_with(reader).into_iter().collect();
                assert!(
                    found == *before,
                    "seed {seed}, step {step}: a reader sees what came later"
                );
            }
        }
        if draw.below(16) == 0 {
            let (found, expected) = (content(&db), known.content());
            if found != expected {
                for (labels, samples) in &expected {
                    if found.get(labels) != Some(samples) {
                        println!("{labels}: {:?} is not {samples:?}", found.get(labels));
                    }
                }
                panic!("seed {seed}, step {step}");
            }
        }
    }
    readers.clear();
    db.sync().unwrap();
    assert_eq!(db.stats().damaged_units, 0);
    db.step(tsdb::Task::Sync).unwrap();
    db.step(tsdb::Task::Sync).unwrap();
    if let Some(spool) = &mut spool {
        let mut receiver = crate::spool::Receiver::default();
        crate::spool::drain_all(spool, &mut receiver);
        for (labels, samples) in &known.ever {
            let got: BTreeMap<i64, u64> =
                receiver.got[&labels.to_string()].iter().copied().collect();
            assert!(got == *samples, "seed {seed}: {labels} {got:?} {samples:?}");
        }
    }
    drop(spool);
    drop(db);
    let left = world.fs.crash(CrashChoice::None);
    let logs: Vec<_> = left
        .files()
        .into_iter()
        .filter(|(path, len)| path.to_string_lossy().contains("log") && *len > 64)
        .collect();
    assert!(!logs.is_empty(), "{:?}", left.files());
    for _ in 0..6 {
        let world = World::on(left.crash(CrashChoice::All));
        world.clock.set(now);
        let mut flips = Vec::new();
        for _ in 0..1 + draw.below(2) {
            let (path, len) = &logs[draw.below(logs.len() as u64) as usize];
            let bit = draw.below(*len * 8);
            flips.push((path, bit));
            world.fs.flip_bit(path, bit).unwrap();
        }
        let db = open(&world);
        let found = content(&db);
        for (labels, samples) in &found {
            assert!(
                known.has(labels, samples),
                "seed {seed}: {labels} {samples:?}"
            );
        }
        if db.stats().damaged_units == 0 {
            assert!(
                found == known.content(),
                "seed {seed}: a silent loss by {flips:?} of {logs:?}"
            );
        }
        drop(db);
        let db = open(&world);
        let again = content(&db);
        for (labels, samples) in &again {
            assert!(
                known.has(labels, samples),
                "seed {seed}: {labels} {samples:?}"
            );
        }
        assert!(again == found, "seed {seed}: a second restart differs");
    }
}

fn read_with(querier: &tsdb::Querier) -> Vec<(Labels, Vec<(i64, u64)>)> {
    let mut samples = tsdb::Samples::default();
    let mut found = Vec::new();
    for series in querier
        .select(&tsdb::parse_selector("metric").unwrap())
        .unwrap()
    {
        let series = series.unwrap();
        series.read(&mut samples).unwrap();
        if !samples.is_empty() {
            let bits = samples
                .iter()
                .map(|sample| (sample.timestamp, sample.value.to_bits()));
            found.push((series.labels().to_labels(), bits.collect()));
        }
    }
    found
}

/// Series that come and go for days while one appender is kept: those that are in blocks alone leave the head.
#[test]
fn gone_series_leave_the_head_though_their_target_and_its_appender_live_on() {
    const MEMBERS: u64 = 40;
    let world = World::new();
    let db = world.open();
    let target = db.target();
    let mut appender = db.appender().unwrap();
    let mut members: Vec<u64> = (0..MEMBERS).collect();
    let mut counts = Vec::new();
    for scrape in 0..2400i64 {
        let timestamp = T0 + scrape * 60_000;
        world.clock.set(timestamp);
        let place = (scrape as u64 % MEMBERS) as usize;
        let gone = std::mem::replace(&mut members[place], MEMBERS + scrape as u64);
        appender.set_target(&target);
        for &number in &members {
            appender.append(&name(number), timestamp, 1.5).unwrap();
        }
        appender
            .append(&name(gone), timestamp, stale_marker())
            .unwrap();
        assert_eq!(appender.commit().unwrap().rejected, []);
        db.step(tsdb::Task::Flush).unwrap();
        counts.push(db.stats().head_series);
    }
    assert!(db.stats().flushes > 5);
    // Three ranges of two hours: what a flush leaves, what comes until the next, and who waits for the one after.
    let most = *counts.iter().max().unwrap();
    assert!(most < MEMBERS + 6 * 120, "{most} series in the head");
}
