//! Whole databases, on a simulated disk.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::db::{Appender, Background, Db, Options, Task};
use crate::fs::SimFs;
use crate::labels::{Labels, Matcher, parse_selector};
use crate::sample::Samples;
use crate::time::{ManualClock, TimeRange, Timestamp};

use super::input::{Files, Input};

const DIR: &str = "/db";

/// Noon of a day that begins a block range.
const START_MS: Timestamp = 1_795_305_600_000;

/// Bits of values by series and time.
type Model = BTreeMap<Labels, BTreeMap<Timestamp, u64>>;

fn open(fs: &SimFs, clock: &Arc<ManualClock>) -> Db {
    let options = Options::default()
        .with_fs(Arc::new(fs.clone()))
        .with_clock(Arc::clone(clock) as Arc<_>)
        .with_background(Background::Manual)
        .with_retention(None)
        .with_replay_threads(1);
    Db::open(DIR, options).expect("damage does not stop an open")
}

fn labels(number: usize) -> Labels {
    let (metric, pod) = (
        format!("metric_{}", number % 3),
        format!("pod-{}", number / 3),
    );
    Labels::from_pairs([("__name__", metric.as_str()), ("pod", pod.as_str())])
        .expect("legal labels")
}

/// Reads everything that can be read; the second answer tells whether that was everything.
fn read(db: &Db) -> (Model, bool) {
    let (mut model, mut is_whole) = (Model::new(), true);
    let mut samples = Samples::default();
    let querier = db.querier(TimeRange::ALL).expect("the database is open");
    for series in querier
        .select(&[])
        .expect("there is no block whose index is damaged")
    {
        let Ok(series) = series else {
            is_whole = false;
            continue;
        };
        is_whole &= series.read(&mut samples).is_ok();
        if !samples.is_empty() {
            let bits = samples
                .iter()
                .map(|sample| (sample.timestamp, sample.value.to_bits()));
            model.insert(series.labels().to_labels(), bits.collect());
        }
    }
    (model, is_whole)
}

/// The file of lone samples: edited, it costs samples and invents none.
pub fn lone_file(data: &[u8]) {
    static VALID: OnceLock<(Files, Model)> = OnceLock::new();
    let (valid, model) = VALID.get_or_init(|| {
        let fs = SimFs::new();
        let db = open(&fs, &Arc::new(ManualClock::new(START_MS + 3_600_000)));
        let mut appender = db.appender().expect("the database is open");
        for scrape in 0..40 {
            for number in 0..5 {
                // Each at a time of its own, so that nothing is a row.
                let timestamp = START_MS + scrape * 15_000 + number as i64 * 7;
                appender
                    .append(
                        &labels(number),
                        timestamp,
                        scrape as f64 / 10.0 + number as f64,
                    )
                    .expect("a new sample");
                appender.commit().expect("the simulated disk has no fault");
            }
        }
        drop(appender);
        let (model, _) = read(&db);
        assert_eq!(model.values().map(BTreeMap::len).sum::<usize>(), 200);
        db.close().expect("the simulated disk has no fault");
        (Files::below(&fs, Path::new(DIR)), model)
    });
    let is_lone = |(path, _): &(std::path::PathBuf, Vec<u8>)| {
        path.extension()
            .is_some_and(|extension| extension == "lone")
    };
    let edited = valid
        .files
        .iter()
        .position(is_lone)
        .expect("a close writes a file of lone samples");
    let fs = valid.disk(edited, data);
    let db = open(&fs, &Arc::new(ManualClock::new(START_MS + 3_600_000)));
    let (found, _) = read(&db);
    for (labels, samples) in &found {
        let expected = model.get(labels).expect("no series is invented");
        assert!(
            samples
                .iter()
                .all(|(timestamp, bits)| expected.get(timestamp) == Some(bits)),
            "no sample is invented"
        );
    }
}

/// Operations on a database and on a map of samples: after each step both hold the same.
pub fn operations(data: &[u8]) {
    let mut run = Run::new();
    let mut input = Input::new(data);
    for _ in 0..64 {
        if input.is_empty() {
            break;
        }
        run.step(&mut input);
    }
    run.check();
}

/// Series that operations name.
const SERIES: usize = 24;

struct Run {
    fs: SimFs,
    clock: Arc<ManualClock>,
    db: Option<Db>,
    model: Model,
    now_ms: Timestamp,
}

impl Run {
    fn new() -> Self {
        let (fs, clock) = (SimFs::new(), Arc::new(ManualClock::new(START_MS)));
        let db = Some(open(&fs, &clock));
        Self {
            fs,
            clock,
            db,
            model: Model::new(),
            now_ms: START_MS,
        }
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("it is open between steps")
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(16) {
            0..=5 => self.scrape(input),
            6..=7 => self.trickle(input),
            8 => self.delete(input),
            9 => drop(self.db().flush().expect("the simulated disk has no fault")),
            10 => drop(
                self.db()
                    .compact()
                    .expect("the simulated disk has no fault"),
            ),
            11 => self
                .db()
                .checkpoint()
                .expect("the simulated disk has no fault"),
            12 => {
                for task in [Task::Sync, Task::Flush, Task::Compact] {
                    self.db()
                        .step(task)
                        .expect("the simulated disk has no fault");
                }
            }
            13 => {
                self.db
                    .take()
                    .expect("it is open between steps")
                    .close()
                    .expect("the simulated disk has no fault");
                self.db = Some(open(&self.fs, &self.clock));
            }
            14 => {
                drop(self.db.take());
                self.db = Some(open(&self.fs, &self.clock));
            }
            _ => self.check(),
        }
    }

    /// Moves the time on: by seconds mostly, by hours now and then.
    fn advance(&mut self, input: &mut Input<'_>) {
        let step = input.u8();
        self.now_ms += if step >= 250 {
            3_600_000
        } else {
            1 + i64::from(step) * 100
        };
        self.clock.set(self.now_ms);
    }

    /// Some consecutive series get a value at the same time.
    fn scrape(&mut self, input: &mut Input<'_>) {
        let (first, count) = (input.below(4), input.below(SERIES - 4) + 1);
        for _ in 0..=input.below(4) {
            self.advance(input);
            let mut appender = self.db().appender().expect("the database is open");
            for number in first..first + count {
                let value = input.value();
                self.append(&mut appender, number, value);
            }
            self.commit(appender, count);
        }
    }

    /// Single series get values, each at a time of its own, in one commit.
    fn trickle(&mut self, input: &mut Input<'_>) {
        let mut appender = self.db().appender().expect("the database is open");
        let count = input.below(6) + 1;
        for _ in 0..count {
            self.advance(input);
            let (number, value) = (input.below(SERIES), input.value());
            self.append(&mut appender, number, value);
        }
        self.commit(appender, count);
    }

    fn append(&mut self, appender: &mut Appender, number: usize, value: f64) {
        let labels = labels(number);
        appender
            .append(&labels, self.now_ms, value)
            .expect("within every limit");
        self.model
            .entry(labels)
            .or_default()
            .insert(self.now_ms, value.to_bits());
    }

    fn commit(&self, mut appender: Appender, count: usize) {
        let commit = appender.commit().expect("the simulated disk has no fault");
        assert_eq!(
            (commit.accepted, commit.rejected),
            (count as u64, Vec::new())
        );
    }

    fn delete(&mut self, input: &mut Input<'_>) {
        let text = [
            "metric_0",
            "{pod=\"pod-2\"}",
            "metric_1{pod=~\"pod-[0-3]\"}",
        ][input.below(3)];
        let matchers = parse_selector(text).expect("a selector");
        let end = self.now_ms + 1 - i64::from(input.u8()) * 1000;
        let range = TimeRange::new(end - i64::from(input.u8()) * 1000, end);
        self.db()
            .delete(range, &matchers)
            .expect("the simulated disk has no fault");
        for (labels, samples) in &mut self.model {
            if matches(&matchers, labels) {
                samples.retain(|timestamp, _| !range.contains(*timestamp));
            }
        }
        self.model.retain(|_, samples| !samples.is_empty());
    }

    fn check(&self) {
        let (found, is_whole) = read(self.db());
        assert!(is_whole, "nothing is damaged");
        assert_eq!(found, self.model);
        assert_eq!(self.db().stats().damaged_units, 0);
    }
}

fn matches(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers
        .iter()
        .all(|matcher| matcher.matches(labels.get(matcher.name()).unwrap_or_default()))
}
