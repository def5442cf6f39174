//! What the scenarios share: a database on a simulated disk under a manual clock.

use std::path::Path;
use std::sync::Arc;

use tsdb::fs::SimFs;
use tsdb::{Background, Db, Labels, ManualClock, Options, Samples, TimeRange, parse_selector};

/// Where the database lies on the simulated disk.
pub const DIR: &str = "/db";

/// Noon of a day that begins a block range.
pub const T0: i64 = 1_795_305_600_000;

/// A simulated disk and a clock; databases opened on it see each other's files.
#[derive(Debug, Clone)]
pub struct World {
    pub fs: SimFs,
    pub clock: Arc<ManualClock>,
}

impl World {
    pub fn new() -> Self {
        Self::on(SimFs::new())
    }

    /// Returns a world on a disk as a crash left it.
    pub fn on(fs: SimFs) -> Self {
        Self {
            fs,
            clock: Arc::new(ManualClock::new(T0)),
        }
    }

    pub fn options(&self) -> Options {
        Options::default()
            .with_fs(Arc::new(self.fs.clone()))
            .with_clock(Arc::clone(&self.clock) as Arc<_>)
            .with_background(Background::Manual)
            .with_replay_threads(2)
    }

    /// Takes the checkpoint away, as no crash does.
    pub fn remove_checkpoint(&self) {
        let path = Path::new(DIR).join("checkpoint");
        tsdb::fs::Fs::remove_file(&self.fs, &path).expect("there is a checkpoint");
    }

    pub fn open(&self) -> Db {
        Db::open(Path::new(DIR), self.options()).expect("the simulated disk has no fault now")
    }
}

pub fn labels(text: &str) -> Labels {
    text.parse().expect("a selector of equalities")
}

/// Returns the samples of all series that match, with their labels.
pub fn read(db: &Db, selector: &str) -> Vec<(Labels, Vec<(i64, u64)>)> {
    read_range(db, selector, TimeRange::ALL)
}

pub fn read_range(db: &Db, selector: &str, range: TimeRange) -> Vec<(Labels, Vec<(i64, u64)>)> {
    let matchers = parse_selector(selector).expect("a selector");
    let querier = db.querier(range).expect("an open database");
    let mut found = Vec::new();
    let mut samples = Samples::default();
    for series in querier.select(&matchers).expect("an index without damage") {
        let series = series.expect("a series without damage");
        series.read(&mut samples).expect("chunks without damage");
        if !samples.is_empty() {
            let bits = samples
                .iter()
                .map(|sample| (sample.timestamp, sample.value.to_bits()))
                .collect();
            found.push((series.labels().to_labels(), bits));
        }
    }
    found
}

/// Returns the seeds of `runs` lives; `NAME_SEED` and `NAME_RUNS` lead others.
pub fn seeds(name: &str, runs: u64) -> std::ops::Range<u64> {
    let number = |what: &str, default| {
        let text = std::env::var(format!("{name}_{what}"));
        text.map_or(default, |text| text.parse().expect("a number"))
    };
    let first = number("SEED", 1);
    first..first + number("RUNS", runs)
}

/// Draws numbers from a seed.
pub struct Draw(pub u64);

impl Draw {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}
