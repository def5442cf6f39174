//! An hour of real scrapes: appended, lost to a crash, found again, flushed, queried.
//!
//! A child process replays the recording into a database and then aborts, without closing anything. The parent opens
//! what it left.

#![expect(clippy::print_stdout, reason = "it is a program for a terminal")]

mod corpus;
mod plot;
#[path = "../support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tsdb::{
    Clock, Db, ManualClock, Options, Samples, SeriesRef, SystemClock, TimeRange, parse_selector,
};

use corpus::Recording;

/// The argument that makes this program the child.
const INGEST: &str = "ingest-and-abort";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    if arguments.next().is_some_and(|argument| argument == INGEST) {
        return ingest(Path::new(
            &arguments.next().ok_or("the child needs a directory")?,
        ));
    }
    let dir = support::ScratchDir::new("quickstart");
    let status = Command::new(env::current_exe()?)
        .arg(INGEST)
        .arg(dir.path())
        .status()?;
    println!("crash     the process ended with {status}: nothing was closed or flushed");
    let db = recover(dir.path())?;
    flush(&db)?;
    query(&db)?;
    db.close()?;
    Ok(())
}

/// Appends the recording, one commit per scrape, and ends as a crash would.
fn ingest(dir: &Path) -> Result<(), Box<dyn Error>> {
    let recording = Recording::load()?;
    let (db, clock) = open(dir)?;
    let started = SystemClock.monotonic();
    let mut targets = HashMap::new();
    // A scraper keeps the references, so that labels are looked up only once.
    let mut refs = vec![SeriesRef::default(); recording.series.len()];
    let mut samples = 0;
    for scrape in &recording.scrapes {
        clock.set(scrape.timestamp);
        let (target, appender) = match targets.entry(&scrape.job) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                new.insert((db.target(), db.appender()?))
            }
        };
        appender.set_target(target);
        for (&series, &value) in scrape.series.iter().zip(&scrape.values) {
            refs[series] = appender.append_cached(
                refs[series],
                &recording.series[series],
                scrape.timestamp,
                value,
            )?;
        }
        samples += appender.commit()?.accepted;
    }
    let took = SystemClock.monotonic() - started;
    let stats = db.stats();
    println!(
        "append    {samples} samples of {} series in {} commits: {}",
        stats.head_series,
        stats.commits,
        speed(samples, took)
    );
    println!(
        "log       {:.2} bytes per sample",
        stats.log_written_bytes as f64 / samples as f64
    );
    std::process::abort();
}

/// Opens what the crash left.
fn recover(dir: &Path) -> Result<Db, Box<dyn Error>> {
    let started = SystemClock.monotonic();
    let (db, clock) = open(dir)?;
    let took = SystemClock.monotonic() - started;
    let stats = db.stats();
    clock.set(stats.head_max_time);
    println!(
        "recover   {} samples from the log: {}",
        stats.replayed_samples,
        speed(stats.replayed_samples, took)
    );
    println!(
        "memory    {:.0} bytes per series",
        total_bytes(&db) as f64 / stats.head_series as f64
    );
    Ok(db)
}

/// Turns the head into blocks and compares their size with Prometheus' encoding of the same samples.
fn flush(db: &Db) -> Result<(), Box<dyn Error>> {
    let started = SystemClock.monotonic();
    let report = db.flush()?;
    println!(
        "flush     {} samples into {} block(s): {}",
        report.samples,
        report.blocks,
        speed(report.samples, SystemClock.monotonic() - started)
    );
    let mut xor_bytes = 0;
    for series in db.querier(TimeRange::ALL)?.select(&[])? {
        xor_bytes += series?
            .chunks()?
            .map(|chunk| chunk.bytes.len())
            .sum::<usize>();
    }
    let per_sample = |bytes: u64| bytes as f64 / report.samples as f64;
    let blocks = db.stats().blocks;
    let chunk_bytes = blocks.iter().map(|block| block.chunk_bytes).sum();
    let size_bytes = blocks.iter().map(|block| block.size_bytes).sum();
    println!(
        "block     {:.2} bytes per sample ({:.2} with index); Prometheus' XOR chunks of the same samples: {:.2}",
        per_sample(chunk_bytes),
        per_sample(size_bytes),
        per_sample(xor_bytes as u64)
    );
    Ok(())
}

/// Asks by matchers, and draws a series.
fn query(db: &Db) -> Result<(), Box<dyn Error>> {
    let querier = db.querier(TimeRange::ALL)?;
    let selector = r#"node_cpu_seconds_total{cpu="0",mode=~"user|system|i.*"}"#;
    println!("\n{selector}");
    for series in querier.select(&parse_selector(selector)?)? {
        let series = series?;
        let newest = series
            .latest()?
            .ok_or("a series of the block has a sample")?;
        println!(
            "  mode={:<8} {:6} samples, newest {}",
            series.labels().get("mode").unwrap_or_default(),
            series.samples()?.len(),
            newest.value
        );
    }
    let mut samples = Samples::default();
    for series in querier.select(&parse_selector("node_load1")?)? {
        let series = series?;
        series.read(&mut samples)?;
        println!("\n{}, one hour", series.labels());
        print!("{}", plot::plot(&samples, 60, 6));
    }
    Ok(())
}

/// Opens a database whose clock shows the time of the recording.
fn open(dir: &Path) -> tsdb::Result<(Db, Arc<ManualClock>)> {
    let clock = Arc::new(ManualClock::default());
    let options = Options::default().with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
    Ok((Db::open(dir, options)?, clock))
}

fn total_bytes(db: &Db) -> u64 {
    let memory = db.stats().memory;
    memory.index_bytes + memory.slot_bytes + memory.group_bytes + memory.lone_bytes
}

fn speed(samples: u64, took: Duration) -> String {
    format!(
        "{:.1} ms, {:.1} million samples/s",
        took.as_secs_f64() * 1e3,
        samples as f64 / took.as_secs_f64() / 1e6
    )
}
