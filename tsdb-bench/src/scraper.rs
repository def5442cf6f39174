//! Scrapes of the synthetic cluster into a database, for benches and tests; the workload program has a richer one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tsdb::{Appender, Background, Db, Durability, Labels, ManualClock, Options, SeriesRef, Target};

use crate::Result;
use crate::cluster::{METRICS, Pod, Shape, Walk, metric};

/// Noon of a day that begins a block range.
pub const START_MS: i64 = 1_795_305_600_000;

/// Returns options under which nothing happens by itself and any data counts as recent.
pub fn options() -> Options {
    Options::default()
        .with_clock(Arc::new(ManualClock::new(START_MS)))
        .with_future_limit(Duration::MAX)
        .with_retention(None)
        .with_durability(Durability::Os)
        .with_background(Background::Manual)
}

/// Opens a database with [`options`].
pub fn open(dir: &Path) -> Result<Db> {
    Ok(Db::open(dir, options())?)
}

/// Scrapes targets one after the other.
#[derive(Debug)]
pub struct Scraper {
    shape: Shape,
    appender: Appender,
    targets: Vec<ScrapedTarget>,
    values: Vec<f64>,
    next: u64,
}

#[derive(Debug)]
struct ScrapedTarget {
    target: Target,
    series: Vec<SeriesRef>,
    walk: Walk,
}

impl Scraper {
    /// Appends scrape 0 of the first `series` series, which makes them.
    pub fn new(db: &Db, series: u64, shape: Shape) -> Result<Self> {
        let mut scraper = Self {
            shape,
            appender: db.appender()?,
            targets: Vec::new(),
            values: Vec::new(),
            next: 1,
        };
        for number in 0..series.div_ceil(shape.group) {
            let numbers = number * shape.group..series.min((number + 1) * shape.group);
            let count = (numbers.end - numbers.start) as usize;
            let mut walk = Walk::new(numbers.start, count, shape.values);
            scraper.values.resize(count, 0.0);
            walk.scrape(0, &mut scraper.values);
            let target = db.target();
            scraper.appender.set_target(&target);
            let timestamp = shape.timestamp(number, 0);
            let mut references = Vec::with_capacity(count);
            for (series, value) in numbers.zip(&scraper.values) {
                let pod = Pod::new(series / METRICS);
                let labels = Labels::from_pairs(pod.labels(&metric(series % METRICS)))?;
                references.push(scraper.appender.append(&labels, timestamp, *value)?);
            }
            scraper.commit(count)?;
            scraper.targets.push(ScrapedTarget {
                target,
                series: references,
                walk,
            });
        }
        Ok(scraper)
    }

    /// Appends the next `count` scrapes of all targets.
    pub fn scrape(&mut self, count: u64) -> Result<()> {
        for scrape in self.next..self.next + count {
            for number in 0..self.targets.len() {
                let target = &mut self.targets[number];
                self.values.resize(target.series.len(), 0.0);
                target.walk.scrape(scrape, &mut self.values);
                self.appender.set_target(&target.target);
                self.appender.append_scrape(
                    self.shape.timestamp(number as u64, scrape),
                    &target.series,
                    &self.values,
                )?;
                self.commit(self.values.len())?;
            }
        }
        self.next += count;
        Ok(())
    }

    fn commit(&mut self, expected: usize) -> Result<()> {
        commit(&mut self.appender, expected)
    }
}

/// Appends samples of one target that have timestamps of their own, so that nothing is a scrape.
#[derive(Debug)]
pub struct Lone {
    shape: Shape,
    appender: Appender,
    series: Vec<SeriesRef>,
    walk: Walk,
    values: Vec<f64>,
    next: u64,
}

impl Lone {
    /// Makes the first `count` series, with a sample each.
    pub fn new(db: &Db, count: u64, shape: Shape) -> Result<Self> {
        let mut lone = Self {
            shape,
            appender: db.appender()?,
            series: Vec::new(),
            walk: Walk::new(0, count as usize, shape.values),
            values: vec![0.0; count as usize],
            next: 1,
        };
        lone.walk.scrape(0, &mut lone.values);
        for (series, value) in (0..).zip(&lone.values) {
            let pod = Pod::new(series / METRICS);
            let labels = Labels::from_pairs(pod.labels(&metric(series % METRICS)))?;
            let timestamp = shape.due(0) + series as i64;
            lone.series
                .push(lone.appender.append(&labels, timestamp, *value)?);
        }
        commit(&mut lone.appender, lone.values.len())?;
        Ok(lone)
    }

    /// Appends a sample to each series, in one commit.
    pub fn commit(&mut self) -> Result<()> {
        self.walk.scrape(self.next, &mut self.values);
        let due = self.shape.due(self.next);
        for ((place, series), value) in (0..).zip(&self.series).zip(&self.values) {
            self.appender.append_ref(*series, due + place, *value)?;
        }
        self.next += 1;
        commit(&mut self.appender, self.values.len())
    }
}

/// Commits; everything staged must be taken.
fn commit(appender: &mut Appender, expected: usize) -> Result<()> {
    let commit = appender.commit()?;
    if commit.accepted == expected as u64 {
        return Ok(());
    }
    Err(format!(
        "{} of {expected} samples were taken: {:?}",
        commit.accepted,
        commit.rejected.first()
    )
    .into())
}
