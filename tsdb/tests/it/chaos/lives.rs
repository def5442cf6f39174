//! Databases that send while they are stopped, killed and opened again.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use tsdb::fs::{CrashChoice, Fs};
use tsdb::remote::wire::Compression;
use tsdb::remote::{Protocol, SenderOptions};
use tsdb::{Db, Sender, SpoolStart, Task};

use super::endpoint::{Endpoint, Got};
use super::kinds::{KINDS, Kind, is_poison, is_strict, takes_poison};
use crate::support::{DIR, Draw, T0, World, labels, read};

/// Runs each kind through so many restarts and kills, or as many as the environment wishes for.
const CUTS: usize = 8;

/// Names the number of restarts and kills of each kind.
const CUTS_WISHED: &str = "TSDB_CHAOS_CUTS";

const SERIES: u64 = 12;
const BATCH_SAMPLES: usize = 40;

#[test]
fn nothing_is_lost_or_out_of_order_whatever_the_remote_does_and_whenever_it_is_cut() {
    let wish = std::env::var(CUTS_WISHED).ok();
    let cuts = wish.map_or(CUTS, |wish| wish.parse().unwrap());
    let (mut requests, mut repeated, mut samples) = (0, 0, 0);
    for (number, kind) in KINDS.iter().enumerate() {
        // Shown if the test fails.
        println!("{}, seed {number}", kind.name);
        let mut run = Run::new(kind, number as u64);
        for _ in 0..cuts {
            run.live();
        }
        run.end();
        let counts = run.endpoint.counts();
        requests += counts.0;
        repeated += counts.1;
        samples += run.appended.values().map(Vec::len).sum::<usize>();
    }
    println!(
        "{} kinds, {cuts} cuts each: {samples} samples, {requests} requests, {repeated} samples repeated",
        KINDS.len()
    );
}

/// A database and its remote over many lives.
struct Run {
    kind: &'static Kind,
    draw: Draw,
    world: World,
    endpoint: Endpoint,
    now: i64,
    /// What the database holds, in the order of commits.
    appended: Got,
    /// Of the sender that runs.
    shards: usize,
}

impl Run {
    fn new(kind: &'static Kind, seed: u64) -> Self {
        let world = World::new();
        Self {
            kind,
            draw: Draw(seed),
            endpoint: Endpoint::new(*kind, &world.clock, seed),
            world,
            now: T0,
            appended: Got::new(),
            shards: 1,
        }
    }

    fn open(&self) -> Db {
        let options = self.world.options().with_segment_bytes(16 << 10);
        Db::open(DIR, options).unwrap()
    }

    fn options(&mut self) -> SenderOptions {
        let draw = &mut self.draw;
        if draw.below(3) == 0 {
            self.shards = 1 + draw.below(5) as usize;
        }
        SenderOptions {
            protocol: if draw.below(2) == 0 {
                Protocol::RemoteWrite1
            } else {
                Protocol::RemoteWrite2
            },
            compression: if draw.below(2) == 0 {
                Compression::Snappy
            } else {
                Compression::Zstd
            },
            shards: self.shards,
            batch_samples: BATCH_SAMPLES,
            batch_deadline: Duration::from_millis(draw.below(3)),
            cached_series: 4 + draw.below(20) as usize,
            ..crate::sender::options()
        }
    }

    fn start(&mut self, db: &Db) -> Sender {
        let options = self.options();
        let line = self.endpoint.line();
        db.start_sender("chaos", SpoolStart::Oldest, line, options)
            .unwrap()
    }

    /// Opens the database, sends and appends, and stops one way or another.
    fn live(&mut self) {
        let db = self.open();
        let mut sender = self.start(&db);
        for _ in 0..self.draw.below(20) {
            self.step(&db, &mut sender);
        }
        let patience = Duration::from_millis(self.draw.below(12));
        sender.wait_until_sent(patience).unwrap();
        let under_way = self.shards * BATCH_SAMPLES;
        match self.draw.below(4) {
            0 => {
                drop(sender);
                db.close().unwrap();
            }
            1 => drop((sender, db)),
            2 => drop((db, sender)),
            _ => {
                let choice = match self.draw.below(5) {
                    0 => CrashChoice::All,
                    1 => CrashChoice::None,
                    2 => CrashChoice::NamesOnly,
                    3 => CrashChoice::DataOnly,
                    _ => CrashChoice::Seeded(self.draw.below(1_000_000)),
                };
                let fs = self.endpoint.kill(&self.world.fs, choice);
                drop((sender, db));
                self.world.fs = fs;
                self.forget_lost();
            }
        }
        self.endpoint.cut(under_way);
    }

    fn step(&mut self, db: &Db, sender: &mut Sender) {
        match self.draw.below(20) {
            0..10 => self.scrape(db),
            10..12 => db.sync().unwrap(),
            12 => db.checkpoint().map(drop).unwrap(),
            13 => {
                self.pass(1_800_000);
                db.step(Task::Flush).unwrap();
            }
            14 => {
                sender.pause();
                self.scrape(db);
                db.sync().unwrap();
                sender.resume();
            }
            15 => {
                let under_way = self.shards * BATCH_SAMPLES;
                let options = self.options();
                sender.reconfigure(self.endpoint.line(), options).unwrap();
                self.endpoint.cut(under_way);
            }
            // Ends long waits.
            16..18 => sender.resume(),
            _ => drop(sender.wait_until_sent(Duration::from_millis(3)).unwrap()),
        }
    }

    fn pass(&mut self, ms: i64) {
        self.now += ms;
        self.world.clock.set(self.now);
    }

    fn scrape(&mut self, db: &Db) {
        let ms = 5_000 + self.draw.below(20_000) as i64;
        self.pass(ms);
        let from = self.draw.below(2) * self.draw.below(2) * 5;
        let mut appender = db.appender().unwrap();
        for number in from..from + SERIES {
            let name = format!("metric{{number=\"{number}\"}}");
            let is_late = self.draw.below(100) == 0;
            let timestamp = self.now - i64::from(is_late) * 61_007;
            let value = self.draw.below(1000) as f64 / 4.0;
            appender.append(&labels(&name), timestamp, value).unwrap();
            let series = self.appended.entry(name).or_default();
            series.push((timestamp, value.to_bits()));
        }
        assert_eq!(appender.commit().unwrap().rejected, []);
    }

    /// Forgets what was appended and did not survive; none of it may have been sent.
    fn forget_lost(&mut self) {
        let kept: Got = read(&self.open(), "metric")
            .into_iter()
            .map(|(name, samples)| (name.to_string(), samples))
            .collect();
        let holds = |name: &str, sample: &(i64, u64)| {
            let found = kept.get(name);
            found.is_some_and(|samples| samples.binary_search(sample).is_ok())
        };
        for (name, samples) in self.endpoint.got() {
            assert!(samples.iter().all(|sample| holds(&name, sample)), "{name}");
        }
        for (name, samples) in &mut self.appended {
            samples.retain(|sample| holds(name, sample));
        }
        self.appended.retain(|_, samples| !samples.is_empty());
    }

    /// Mends the remote, sends what is left, and checks what has arrived.
    fn end(&mut self) {
        self.endpoint.mend();
        let db = self.open();
        let sender = self.start(&db);
        let waits = std::iter::repeat_with(|| {
            // Long waits that were asked for have an end.
            sender.resume();
            sender.wait_until_sent(Duration::from_millis(100)).unwrap()
        });
        assert!(waits.take(600).any(|is_sent| is_sent), "{sender:?}");
        let status = sender.status();
        assert_eq!((&status.failing, &status.paused), (&None, &None));
        drop((sender, db));
        self.endpoint.cut(0);

        let refused = self.refused();
        let got = self.endpoint.got();
        let no_samples = Vec::new();
        for (name, samples) in &self.appended {
            let arrived = got.get(name).unwrap_or(&no_samples);
            let bad = self.bad(name, samples);
            // One that takes it now and then takes it after what it stored around it.
            let without_bad = |samples: &[(i64, u64)]| -> Vec<_> {
                let clean = samples.iter().filter(|sample| !bad.contains(&sample.0));
                clean.copied().collect()
            };
            assert_eq!(without_bad(arrived), without_bad(samples), "{name}");
            for sample in samples.iter().filter(|sample| bad.contains(&sample.0)) {
                let is_kept = refused.contains(&(name.clone(), sample.0));
                assert!(is_kept || arrived.contains(sample), "{name} {sample:?}");
            }
        }
        assert_eq!(
            got.keys().collect::<Vec<_>>(),
            self.appended.keys().collect::<Vec<_>>()
        );
        // It is stored, but its answer was lost, or did not say which samples it is about.
        let may_arrive = is_strict(self.kind) || self.kind.name.contains("others");
        for (name, timestamp) in &refused {
            let is_bad = self.bad(name, &self.appended[name]).contains(timestamp);
            let arrived = got[name].iter().any(|sample| sample.0 == *timestamp);
            assert!(
                is_bad || may_arrive && arrived,
                "{name} at {timestamp} was refused"
            );
        }
    }

    /// Returns the times of samples that receivers of the kind may refuse although they do not have them.
    fn bad(&self, name: &str, samples: &[(i64, u64)]) -> HashSet<i64> {
        let (refuses, is_strict) = (!takes_poison(self.kind), is_strict(self.kind));
        let mut newest = i64::MIN;
        let mut bad = HashSet::new();
        for &(timestamp, _) in samples {
            if is_strict && timestamp < newest || refuses && is_poison(name, timestamp) {
                bad.insert(timestamp);
            }
            newest = newest.max(timestamp);
        }
        bad
    }

    /// Returns series and timestamps of the dead-letter file.
    fn refused(&self) -> BTreeSet<(String, i64)> {
        let path = "/db/spool/chaos.refused".as_ref();
        if !self.world.fs.exists(path).unwrap() {
            return BTreeSet::new();
        }
        let file = self.world.fs.open_read(path).unwrap();
        let mut text = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_at(&mut text, 0).unwrap();
        let text = String::from_utf8_lossy(&text);
        // A power cut may leave anything in place of lines that were not synced.
        let line = |line: &str| {
            let (sample, _) = line.split_once(" # ")?;
            let (timestamp, rest) = sample.split_once(' ')?;
            let timestamp = timestamp.parse().ok()?;
            let name = rest.rsplit_once(' ')?.0;
            let appended = self.appended.get(name)?;
            let is_whole = appended.iter().any(|sample| sample.0 == timestamp);
            is_whole.then(|| (name.to_owned(), timestamp))
        };
        text.lines().filter_map(line).collect()
    }
}
