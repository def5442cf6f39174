//! `Stats::memory` says what the database has from the allocator, within a tenth.

use std::path::PathBuf;
use std::sync::Arc;

use tsdb::{
    Background, Db, ManualClock, Options, SeriesRef, Target, Task, TimeRange, parse_selector,
};

use crate::counting::{alone, taken};

/// The share of the truth that the account may be off by, in percent.
const OFF_BY_MAX: usize = 10;

const START_MS: i64 = 1_795_320_000_000;
const INTERVAL_MS: i64 = 60_000;

/// Series of a target, and how many there are.
const WIDTH: usize = 1000;
const TARGETS: usize = 30;

/// A cluster that is scraped, and what was taken before it.
struct Cluster {
    db: Db,
    clock: Arc<ManualClock>,
    before: usize,
    dir: PathBuf,
    targets: Vec<(Target, Vec<SeriesRef>)>,
    /// Scrapes so far.
    scrapes: i64,
}

impl Cluster {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("tsdb-memory-{name}-{}", std::process::id()));
        let before = taken();
        let clock = Arc::new(ManualClock::new(START_MS));
        Self {
            db: open(&dir, &clock),
            clock,
            before,
            dir,
            targets: Vec::new(),
            scrapes: 0,
        }
    }

    /// Makes a target and its series, with a sample each.
    fn create(&mut self, number: usize) {
        let target = self.db.target();
        let mut appender = self.db.appender().unwrap();
        appender.set_target(&target);
        let now = self.now();
        let series = (0..WIDTH).map(|place| {
            let metric = format!("container_metric_{}", place % 40);
            let pod = format!("app-{}-{:08x}", number % 7, number * 31 + place / 40);
            let labels = [
                ("__name__", metric.as_str()),
                ("cluster", "production"),
                ("job", "kubelet"),
                ("namespace", ["one", "other"][number % 2]),
                ("pod", &pod),
            ];
            appender.append_pairs(&labels, now, place as f64).unwrap()
        });
        let series = series.collect();
        appender.commit().unwrap();
        self.targets.push((target, series));
    }

    /// Scrapes all targets; one value in three changes.
    fn scrape(&mut self) {
        self.scrapes += 1;
        let now = self.now();
        self.clock.set(now);
        let mut appender = self.db.appender().unwrap();
        for (target, series) in &self.targets {
            let value = |place: usize| (place * 7 + place % 3 / 2 * self.scrapes as usize) as f64;
            let values: Vec<f64> = (0..series.len()).map(value).collect();
            appender.set_target(target);
            appender.append_scrape(now, series, &values).unwrap();
            appender.commit().unwrap();
        }
    }

    /// Appends a sample to each of the first `count` series of all targets, one a millisecond.
    fn append_alone(&mut self, count: usize) {
        self.scrapes += 1;
        let now = self.now();
        self.clock.set(now);
        let mut appender = self.db.appender().unwrap();
        for (_, series) in &self.targets {
            for (place, &series) in series.iter().take(count).enumerate() {
                let at = now + place as i64;
                appender.append_ref(series, at, at as f64 / 3.0).unwrap();
            }
            appender.commit().unwrap();
        }
    }

    /// Opens the database anew, without targets.
    fn reopen(self) -> Self {
        self.db.close().unwrap();
        Self {
            db: open(&self.dir, &self.clock),
            targets: Vec::new(),
            ..self
        }
    }

    fn now(&self) -> i64 {
        START_MS + self.scrapes * INTERVAL_MS
    }

    /// Compares the account with what the allocator gave, but for what the test itself keeps.
    fn check(&self, when: &str) {
        let kept: usize = self
            .targets
            .iter()
            .map(|(_, series)| series.capacity())
            .sum();
        let kept = kept * size_of::<SeriesRef>();
        let memory = self.db.stats().memory;
        let (accounted, true_bytes) = (memory.total_bytes() as usize, taken() - self.before - kept);
        assert!(
            accounted.abs_diff(true_bytes) * 100 <= true_bytes * OFF_BY_MAX,
            "{when}: {accounted} bytes are accounted for, {true_bytes} are taken: {memory:?}"
        );
    }
}

fn open(dir: &std::path::Path, clock: &Arc<ManualClock>) -> Db {
    let options = Options::default()
        .with_background(Background::Manual)
        .with_retention(None)
        .with_clock(Arc::clone(clock) as Arc<_>);
    Db::open(dir, options).unwrap()
}

#[test]
fn account_is_what_the_allocator_gave() {
    let _alone = alone();
    let mut cluster = Cluster::new("accounted");
    for number in 0..TARGETS {
        cluster.create(number);
    }
    cluster.check("created");
    let created = cluster.db.stats().memory.head_bytes();
    for scrape in 0..40 {
        cluster.scrape();
        if scrape % 10 == 9 {
            cluster.check(&format!("after {scrape} scrapes"));
        }
    }
    cluster.db.checkpoint().unwrap();
    cluster.check("after a checkpoint");
    for scrape in 0..12 {
        cluster.append_alone(700);
        if scrape % 4 == 3 {
            cluster.check(&format!("after {scrape} samples alone"));
        }
    }
    for number in TARGETS..TARGETS + 5 {
        cluster.create(number);
        cluster.scrape();
    }
    cluster.check("after new targets");
    let cpu = parse_selector("container_metric_7").unwrap();
    cluster.db.delete(TimeRange::ALL, &cpu).unwrap();
    cluster.check("after a deletion");
    for series in cluster
        .db
        .querier(TimeRange::ALL)
        .unwrap()
        .select(&cpu)
        .unwrap()
    {
        series.unwrap().samples().unwrap();
    }
    cluster.check("after a query");
    while cluster.scrapes < 4 * 3600 * 1000 / INTERVAL_MS {
        cluster.scrape();
        if cluster.scrapes % 10 == 0 {
            cluster.db.step(Task::Flush).unwrap();
        }
    }
    assert!(cluster.db.stats().flushes > 0);
    cluster.check("after flushes");
    cluster.db.flush().unwrap();
    cluster.db.compact().unwrap();
    cluster.check("after all is flushed");
    let head = cluster.db.stats().memory.head_bytes();
    assert!(
        head < created + created / 2,
        "{head} bytes stay of {created}"
    );
    let cluster = cluster.reopen();
    cluster.check("opened again");
    cluster.db.close().unwrap();
    std::fs::remove_dir_all(&cluster.dir).unwrap();
}
