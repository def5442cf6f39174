//! `outage`: a remote is away for a day while the cluster is scraped, and then takes everything.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tsdb::limits::WRITE_BODY_BYTES_MAX;
use tsdb::remote::SenderOptions;
use tsdb::remote::transport::{Request, Response, Transport, TransportError};
use tsdb::remote::wire::{Compression, Message, WriteRequest, Written, decompress};
use tsdb::{Db, ManualClock, Options, Sender, SpoolStart};
use tsdb_bench::json::Line;
use tsdb_bench::measure::{Stopwatch, peak_kb, resident_kb, size_bytes};
use tsdb_bench::{Error, Result};

use crate::ingest::{Plan, RETENTION, Run, SeriesFile, Worker};
use crate::open::report;

/// Parts of the day. The program restarts after each but the last, in the middle of which the number of shards changes.
const PARTS: u64 = 4;

/// Shards, before and after that.
const SHARDS: (usize, usize) = (4, 7);

/// Scrapes between looks at what the log takes on the disk.
const LOOK_INTERVAL: usize = 100;

/// The longest the remote may take to catch up.
const CATCH_UP_MAX: Duration = Duration::from_secs(3600);

/// Prints what commits cost meanwhile, what the log took, and how fast it left.
pub fn run(plan: &Plan<'_>) -> Result<()> {
    let base_kb = resident_kb()?;
    let clock = Arc::new(ManualClock::new(plan.shape.start_ms));
    let remote = Arc::new(Remote::default());
    let part = |number: u64| plan.scrapes * number / PARTS;
    let mut day = Day {
        plan,
        clock: &clock,
        file: SeriesFile::read(plan)?,
        worker: None,
        created: 0,
        log_bytes_max: 0,
    };
    for number in 0..PARTS - 1 {
        let db = open(plan.dir, &clock)?;
        let sender = start(&db, &remote)?;
        day.scrape(&db, part(number)..part(number + 1))?;
        drop(sender);
        db.close()?;
    }
    let db = open(plan.dir, &clock)?;
    let mut sender = start(&db, &remote)?;
    let middle = (part(PARTS - 1) + plan.scrapes) / 2;
    day.scrape(&db, part(PARTS - 1)..middle)?;
    let transport = Arc::clone(&remote) as Arc<dyn Transport>;
    sender.reconfigure(transport, options(SHARDS.1))?;
    day.scrape(&db, middle..plan.scrapes)?;

    let rss_kb = resident_kb()?;
    remote.is_there.store(true, Ordering::Relaxed);
    sender.resume();
    let watch = Stopwatch::start();
    let is_sent = sender.wait_until_sent(CATCH_UP_MAX)?;
    let spent = watch.spent();
    let worker = day.worker.as_ref().ok_or("a day without scrapes")?;
    let (appended, latencies) = (day.created + worker.samples, &worker.latencies);
    let arrived = remote.samples.load(Ordering::Relaxed);
    let spools = db.spools();
    let dropped = spools.iter().flat_map(|spool| &spool.dropped);
    let dropped: u64 = dropped.map(|(_, count)| count).sum();
    if !is_sent || arrived != appended || dropped != 0 {
        return Err(Error::from(format!(
            "{arrived} of {appended} samples have arrived, {dropped} were dropped: {:?}",
            sender.status()
        )));
    }
    Line::new("outage")
        .count("samples", appended)
        .number("commit_p50_us", latencies.quantile_us(0.5))
        .number("commit_p99_us", latencies.quantile_us(0.99))
        .number("commit_max_us", latencies.max_us())
        .count("log_bytes_max", day.log_bytes_max)
        .count("base_kb", base_kb)
        .count("rss_kb", rss_kb)
        .count("peak_kb", peak_kb()?)
        .seconds("catch_up_s", spent.wall_s)
        .number("samples_per_s", appended as f64 / spent.wall_s)
        .number("cpu_ns_per_sample", spent.cpu_s / appended as f64 * 1e9)
        .print()?;
    drop(sender);
    Ok(db.close()?)
}

/// What stays the same over restarts.
struct Day<'a> {
    plan: &'a Plan<'a>,
    clock: &'a ManualClock,
    file: SeriesFile,
    worker: Option<Worker>,
    /// Samples appended by labels.
    created: u64,
    log_bytes_max: u64,
}

impl Day<'_> {
    /// Appends some scrapes, the first of them by labels.
    fn scrape(&mut self, db: &Db, scrapes: Range<u64>) -> Result<()> {
        let run = Run::new(self.plan, db, self.clock);
        let worker = self
            .worker
            .get_or_insert_with(|| run.workers().swap_remove(0));
        worker.create(&run, &self.file, scrapes.start)?;
        self.created += self.plan.series;
        for start in (scrapes.start + 1..scrapes.end).step_by(LOOK_INTERVAL) {
            let end = scrapes.end.min(start + LOOK_INTERVAL as u64);
            worker.scrape_all(&run, start..end)?;
            let log_bytes = size_bytes(&self.plan.dir.join("log"))?;
            self.log_bytes_max = self.log_bytes_max.max(log_bytes);
        }
        Ok(())
    }
}

fn open(dir: &Path, clock: &Arc<ManualClock>) -> Result<Db> {
    let options = Options::default()
        .with_clock(Arc::clone(clock) as Arc<_>)
        .with_retention(Some(RETENTION))
        .with_listener(Some(Arc::new(report)));
    Ok(Db::open(dir, options)?)
}

fn options(shards: usize) -> SenderOptions {
    SenderOptions {
        shards,
        ..SenderOptions::default()
    }
}

fn start(db: &Db, remote: &Arc<Remote>) -> Result<Sender> {
    let transport = Arc::clone(remote) as Arc<dyn Transport>;
    let options = options(SHARDS.0);
    Ok(db.start_sender("away", SpoolStart::Now, transport, options)?)
}

/// Cannot be reached at first, then counts what arrives.
#[derive(Default)]
struct Remote {
    is_there: AtomicBool,
    samples: AtomicU64,
}

impl Transport for Remote {
    fn send(&self, request: &Request<'_>) -> std::result::Result<Response, TransportError> {
        // Relaxed: nothing else is read because of it.
        if !self.is_there.load(Ordering::Relaxed) {
            return Err(TransportError::Connection("nobody is there".into()));
        }
        let invalid = |error| TransportError::Invalid(format!("{error}"));
        let body =
            decompress(Compression::Snappy, request.body, WRITE_BODY_BYTES_MAX).map_err(invalid)?;
        let request = WriteRequest::parse(Message::V2, &body).map_err(invalid)?;
        let samples = request.totals().samples as u64;
        self.samples.fetch_add(samples, Ordering::Relaxed);
        let written = Written {
            samples,
            ..Written::default()
        };
        Ok(Response {
            status: 204,
            headers: written.headers().into(),
            body: Vec::new(),
        })
    }
}
