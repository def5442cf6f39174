//! `ingest`: a cluster is scraped.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tsdb::{Appender, Background, Db, Labels, ManualClock, Options, SeriesRef, Target, Task};
use tsdb_bench::cluster::{Arrival, METRICS, Pod, Shape, Walk, metric, parse_line};
use tsdb_bench::json::Line;
use tsdb_bench::measure::{Latencies, Stopwatch, anonymous_kb, peak_kb, resident_kb};
use tsdb_bench::{Error, Result};

use crate::open::report;
use crate::sizes;

/// Milliseconds of the data's time between looks for background work.
const STEP_MS: i64 = 60_000;

/// How long the scrapes and the thread beside them wait for each other.
const BESIDE_PAUSE: Duration = Duration::from_millis(1);

/// How far the scrapes go ahead of the thread beside them: a cluster leaves a flush minutes, where this takes seconds.
const AHEAD_MS: i64 = 30 * STEP_MS;

/// What is to be ingested, and how.
pub struct Plan<'a> {
    pub dir: &'a Path,
    pub file: &'a Path,
    pub series: u64,
    pub scrapes: u64,
    pub workers: usize,
    pub shape: Shape,
    pub ending: Ending,
    pub steps: Steps,
    pub compaction: bool,
}

/// How a run ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Close,
    Kill,
}

/// What paces flushes and checkpoints, besides the database's own threads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Steps {
    /// The time the samples show, between two scrapes.
    Data,
    /// The same time, on a thread of its own while scrapes go on.
    Beside,
    /// Nothing.
    Wall,
    /// Nothing, and the database has no threads either: all stays in the head and in the log.
    None,
}

/// Ten years, so that nothing is too old.
pub const RETENTION: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

pub fn run(plan: &Plan<'_>) -> Result<()> {
    let (base_kb, base_anonymous_kb) = (resident_kb()?, anonymous_kb()?);
    let clock = Arc::new(ManualClock::new(plan.shape.start_ms));
    let options = Options::default()
        .with_clock(Arc::clone(&clock) as Arc<_>)
        .with_retention(Some(RETENTION))
        .with_compaction(plan.compaction)
        .with_background(match plan.steps {
            Steps::Data | Steps::Beside | Steps::Wall => Background::Threads,
            Steps::None => Background::Manual,
        })
        .with_listener(Some(Arc::new(report)));
    let db = Db::open(plan.dir, options)?;
    let run = Run::new(plan, &db, &clock);

    let mut workers = run.workers();
    let file = SeriesFile::read(plan)?;
    let watch = Stopwatch::start();
    for_each(&mut workers, |worker| worker.create(&run, &file, 0))?;
    let create = watch.spent();
    drop(file);
    let definition_bytes = db.stats().log_definition_bytes;

    let watch = Stopwatch::start();
    run.beside(|| {
        for_each(&mut workers, |worker| {
            worker.scrape_all(&run, 1..plan.scrapes)
        })
    })?;
    let spent = watch.spent();
    let (rss_kb, peak_kb) = (resident_kb()?, peak_kb()?);
    let anonymous_kb = anonymous_kb()? - base_anonymous_kb;
    let driver_bytes: usize = workers.iter().map(Worker::memory_bytes).sum();

    let samples: u64 = workers.iter().map(|worker| worker.samples).sum();
    let mut latencies = Latencies::default();
    workers
        .iter()
        .for_each(|worker| latencies.merge(&worker.latencies));
    let stats = db.stats();
    let memory = stats.memory;
    let line = Line::new("ingest")
        .count("series", plan.series)
        .count("scrapes", plan.scrapes)
        .count("workers", plan.workers as u64)
        .seconds("create_s", create.wall_s)
        .seconds("create_cpu_s", create.cpu_s)
        .seconds("wall_s", spent.wall_s)
        .seconds("cpu_s", spent.cpu_s)
        .number("samples_per_s", samples as f64 / spent.wall_s)
        .number("samples_per_cpu_s", samples as f64 / spent.cpu_s)
        .number("commit_p50_us", latencies.quantile_us(0.5))
        .number("commit_p99_us", latencies.quantile_us(0.99))
        .number("commit_max_us", latencies.max_us())
        .count("base_kb", base_kb)
        .count("rss_kb", rss_kb)
        .count("peak_kb", peak_kb)
        .count(
            "log_bytes",
            stats
                .log_written_bytes
                .saturating_sub(stats.log_definition_bytes),
        )
        .count("definition_bytes", stats.log_definition_bytes)
        .count("created_definition_bytes", definition_bytes)
        .count("index_memory_bytes", memory.index_bytes)
        .count("slot_memory_bytes", memory.slot_bytes)
        .count("group_memory_bytes", memory.group_bytes)
        .count("lone_memory_bytes", memory.lone_bytes)
        .count("log_memory_bytes", memory.log_bytes)
        .count("block_memory_bytes", memory.block_bytes)
        .count("accounted_bytes", memory.total_bytes())
        .count("driver_bytes", driver_bytes as u64)
        .count("anonymous_kb", anonymous_kb)
        .number(
            "accounted_share",
            (memory.total_bytes() as f64 + driver_bytes as f64) / (anonymous_kb * 1024) as f64,
        )
        .count("samples_in_rows", stats.samples_in_rows)
        .count("samples_alone", stats.samples_alone)
        .count("flushes", stats.flushes)
        .count("merges", stats.merges)
        .count("checkpoints", stats.checkpoints);
    drop(workers);
    match plan.ending {
        Ending::Close => {
            db.close()?;
            Ok(sizes::add(line, plan.dir)?.print()?)
        }
        Ending::Kill => {
            sizes::add(line, plan.dir)?.print()?;
            Ok(rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            )?)
        }
    }
}

/// What all workers see.
pub struct Run<'a> {
    plan: &'a Plan<'a>,
    db: &'a Db,
    clock: &'a ManualClock,
    /// The newest scrape any worker has begun.
    scrape: AtomicU64,
    /// How far in the data's time steps have come that are done beside the scrapes.
    stepped_ms: AtomicI64,
}

impl<'a> Run<'a> {
    pub fn new(plan: &'a Plan<'a>, db: &'a Db, clock: &'a ManualClock) -> Self {
        Self {
            plan,
            db,
            clock,
            scrape: AtomicU64::new(0),
            stepped_ms: AtomicI64::new(plan.shape.start_ms),
        }
    }

    /// Deals the targets out round robin.
    pub fn workers(&self) -> Vec<Worker> {
        let mut workers: Vec<Worker> = (0..self.plan.workers).map(Worker::new).collect();
        for number in 0..self.plan.series.div_ceil(self.plan.shape.group) {
            let first = number * self.plan.shape.group;
            let count = (self.plan.series - first).min(self.plan.shape.group) as usize;
            let target = ScrapedTarget {
                number,
                first,
                count,
                target: self.db.target(),
                series: Vec::with_capacity(count),
                walk: Walk::new(first, count, self.plan.shape.values),
            };
            let worker = number as usize % self.plan.workers;
            workers[worker].targets.push(target);
        }
        workers
    }

    /// Does `work`; steps go on beside it, if the plan has them there.
    fn beside(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let is_over = AtomicBool::new(self.plan.steps != Steps::Beside);
        std::thread::scope(|scope| {
            let steps = scope.spawn(|| self.step_until(&is_over));
            let worked = work();
            // Relaxed: it orders nothing.
            is_over.store(true, Ordering::Relaxed);
            steps.join().map_err(|_panic| "the steps panicked")??;
            worked
        })
    }

    /// Looks for background work whenever the data's time has moved on.
    fn step_until(&self, is_over: &AtomicBool) -> Result<()> {
        while !is_over.load(Ordering::Relaxed) {
            let now_ms = self.plan.shape.due(self.scrape.load(Ordering::Relaxed));
            if now_ms - self.stepped_ms.load(Ordering::Relaxed) < STEP_MS {
                std::thread::sleep(BESIDE_PAUSE);
                continue;
            }
            let stepped = self.db.step(Task::Flush);
            // Nobody waits for steps that do not go on.
            let reached_ms = if stepped.is_ok() { now_ms } else { i64::MAX };
            self.stepped_ms.store(reached_ms, Ordering::Relaxed);
            stepped?;
        }
        Ok(())
    }

    /// Waits for the steps beside the scrapes if they are far behind.
    fn wait_for_steps(&self, scrape: u64) {
        // That before is begun, so the steps come to it.
        let due_ms = self.plan.shape.due(scrape.saturating_sub(1));
        while self.plan.steps == Steps::Beside
            && due_ms - self.stepped_ms.load(Ordering::Relaxed) > AHEAD_MS
        {
            std::thread::sleep(BESIDE_PAUSE);
        }
    }

    /// Moves the clock on to a scrape, unless another worker is ahead.
    fn begin_scrape(&self, scrape: u64) {
        // Relaxed: the clock orders nothing, and the future limit is far wider than the workers are apart.
        let newest = self.scrape.fetch_max(scrape, Ordering::Relaxed).max(scrape);
        self.clock.set(self.plan.shape.due(newest));
    }
}

/// A target and what the scraper remembers of it.
struct ScrapedTarget {
    number: u64,
    first: u64,
    count: usize,
    target: Target,
    series: Vec<SeriesRef>,
    walk: Walk,
}

pub struct Worker {
    number: usize,
    targets: Vec<ScrapedTarget>,
    values: Vec<f64>,
    /// What commits by reference took.
    pub latencies: Latencies,
    /// Samples appended by reference.
    pub samples: u64,
}

impl Worker {
    fn new(number: usize) -> Self {
        Self {
            number,
            targets: Vec::new(),
            values: Vec::new(),
            latencies: Latencies::default(),
            samples: 0,
        }
    }

    /// Returns the bytes of memory that are not the database's.
    fn memory_bytes(&self) -> usize {
        let targets = self.targets.iter();
        let of_targets = targets.map(|target| {
            target.series.capacity() * size_of::<SeriesRef>() + target.walk.memory_bytes()
        });
        self.targets.capacity() * size_of::<ScrapedTarget>() + of_targets.sum::<usize>()
    }

    /// Appends a scrape by labels, as whoever has no references does.
    pub fn create(&mut self, run: &Run<'_>, file: &SeriesFile, scrape: u64) -> Result<()> {
        let shape = &run.plan.shape;
        run.begin_scrape(scrape);
        let mut appender = run.db.appender()?;
        let mut pairs = Vec::new();
        for target in &mut self.targets {
            let timestamp = shape.timestamp(target.number, scrape);
            let count = target.count;
            self.values.resize(count, 0.0);
            target.walk.scrape(scrape, &mut self.values);
            target.target = run.db.target();
            target.series.clear();
            target.name(shape, &mut appender);
            let values = self.values.iter().enumerate();
            let mut append = |labels: &[(&str, &str)], place, value| {
                let timestamp = shape.sample_timestamp(timestamp, place);
                appender.append_pairs(labels, timestamp, value)
            };
            match file.lines(target.number)? {
                Some(lines) => {
                    for (line, (place, value)) in lines.zip(values) {
                        pairs.clear();
                        pairs.extend(parse_line(line));
                        target.series.push(append(&pairs, place, *value)?);
                    }
                }
                None => {
                    for (number, (place, value)) in (target.first..).zip(values) {
                        let (pod, metric) = (Pod::new(number / METRICS), metric(number % METRICS));
                        let pairs: Vec<_> = pod.labels(&metric).collect();
                        target.series.push(append(&pairs, place, *value)?);
                    }
                }
            }
            commit(&mut appender, count)?;
        }
        Ok(())
    }

    /// Appends scrapes by reference.
    pub fn scrape_all(&mut self, run: &Run<'_>, scrapes: Range<u64>) -> Result<()> {
        let mut stepped_ms = run.plan.shape.due(scrapes.start);
        let mut appender = run.db.appender()?;
        for scrape in scrapes {
            run.wait_for_steps(scrape);
            run.begin_scrape(scrape);
            for target in &mut self.targets {
                self.values.resize(target.count, 0.0);
                target.walk.scrape(scrape, &mut self.values);
                let start = Instant::now();
                let appended =
                    target.append(&run.plan.shape, scrape, &self.values, &mut appender)?;
                commit(&mut appender, appended)?;
                self.latencies.add(start.elapsed());
                self.samples += appended as u64;
            }
            let now_ms = run.plan.shape.due(scrape);
            if self.number == 0 && run.plan.steps == Steps::Data && now_ms - stepped_ms >= STEP_MS {
                stepped_ms = now_ms;
                run.db.step(Task::Flush)?;
            }
        }
        Ok(())
    }
}

impl ScrapedTarget {
    /// Says whose samples these are, unless nothing is a scrape: whoever pushes single samples has no target.
    fn name(&self, shape: &Shape, appender: &mut Appender) {
        if shape.arrival == Arrival::Scrape {
            appender.set_target(&self.target);
        }
    }

    /// Stages one scrape; returns how many samples it has.
    fn append(
        &mut self,
        shape: &Shape,
        scrape: u64,
        values: &[f64],
        appender: &mut Appender,
    ) -> Result<usize> {
        let timestamp = shape.timestamp(self.number, scrape);
        self.name(shape, appender);
        let is_whole = shape.arrival == Arrival::Scrape
            && (shape.churn == 0
                || !(self.first..)
                    .take(values.len())
                    .any(|series| shape.is_replaced(series, scrape)));
        if is_whole {
            appender.append_scrape(timestamp, &self.series, values)?;
            return Ok(values.len());
        }
        let mut gone = Vec::new();
        for (place, (series, value)) in self.series.iter_mut().zip(values).enumerate() {
            let timestamp = shape.sample_timestamp(timestamp, place);
            let number = self.first + place as u64;
            if shape.is_replaced(number, scrape) {
                gone.push(*series);
                let pod = Pod::new(number / METRICS).replaced_at(scrape);
                let labels = Labels::from_pairs(pod.labels(&metric(number % METRICS)))?;
                *series = appender.append(&labels, timestamp, *value)?;
            } else {
                appender.append_ref(*series, timestamp, *value)?;
            }
        }
        for (place, series) in (values.len()..).zip(&gone) {
            appender.append_ref(
                *series,
                shape.sample_timestamp(timestamp, place),
                tsdb::stale_marker(),
            )?;
        }
        Ok(values.len() + gone.len())
    }
}

/// Commits; everything staged must be taken.
fn commit(appender: &mut Appender, expected: usize) -> Result<()> {
    let commit = appender.commit()?;
    if commit.accepted != expected as u64 {
        let reason = commit.rejected.first();
        return Err(Error::from(format!(
            "{} of {expected} samples were taken, {reason:?}",
            commit.accepted
        )));
    }
    Ok(())
}

/// The text of all series, and where the lines of each target begin; nothing, if labels are made as they are needed.
pub struct SeriesFile {
    text: String,
    offsets: Vec<usize>,
}

impl SeriesFile {
    pub fn read(plan: &Plan<'_>) -> Result<Self> {
        let (mut text, mut offsets) = (String::new(), Vec::new());
        if plan.file == Path::new("-") {
            return Ok(Self { text, offsets });
        }
        text = std::fs::read_to_string(plan.file)?;
        let mut number = 0;
        let mut offset = 0;
        for line in text.split_inclusive('\n').take(plan.series as usize) {
            if number % plan.shape.group == 0 {
                offsets.push(offset);
            }
            number += 1;
            offset += line.len();
        }
        if number < plan.series {
            return Err(Error::from(format!(
                "the file has {number} series, {} are wanted",
                plan.series
            )));
        }
        Ok(Self { text, offsets })
    }

    /// Returns the lines from a target's first on, if there is a file.
    fn lines(&self, target: u64) -> Result<Option<std::str::Lines<'_>>> {
        let Some(offset) = self.offsets.get(target as usize) else {
            return Ok(None);
        };
        let rest = self
            .text
            .get(*offset..)
            .ok_or("an offset outside the file")?;
        Ok(Some(rest.lines()))
    }
}

/// Runs all workers, each on a thread of its own.
fn for_each(workers: &mut [Worker], work: impl Fn(&mut Worker) -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let handles: Vec<_> = workers
            .iter_mut()
            .map(|worker| scope.spawn(|| work(worker)))
            .collect();
        handles
            .into_iter()
            .try_for_each(|handle| handle.join().map_err(|_panic| "a worker panicked")?)
    })
}
