//! Drives a database through a workload and prints what it cost, one JSON object a line.
//!
//! | verb | does |
//! |---|---|
//! | `gen N FILE` | writes the first N series of the synthetic cluster |
//! | `ingest DIR SERIES N SCRAPES T0 WORKERS` | creates the series, then appends scrapes |
//! | `open DIR` | opens a database and reads every sample |
//! | `checksum N SCRAPES T0` | prints the checksum that `open` must print, straight from the definition |
//! | `flush DIR` | writes the head into blocks and merges them |
//! | `select DIR` | runs every matcher set five times |
//! | `scan DIR` | the same with all samples decoded, for some sets |
//! | `corpus FILE DIR` | ingests a recorded corpus, flushes, merges, and compares every bit |
//! | `send DIR URL PROTOCOL SAMPLES` | sends the log by remote write, until that many samples have arrived |
//! | `outage DIR SERIES N` | a remote is away for a day over three restarts and a change of shards, then takes it all |
//! | `receive` | prints an address, and counts the samples that are sent to it |
//!
//! The environment changes the shape of `ingest` and `checksum`: `INTERVAL` in milliseconds, `MODE=lone`, `NOISE=1`,
//! `CHURN=p` replaces p in 100,000 series at every scrape, `GROUP=n` makes targets of n series. `KILL=1` ends `ingest`
//! with SIGKILL. What flushes and checkpoints wait for is looked for every minute of the data's time, as a running database
//! does: between commits, with `STEPS=beside` while they go on, with `STEPS=0` by the wall clock only. `FLUSH=0` leaves everything in the head, for `flush` to write;
//! `COMPACT=1` lets blocks be merged in the background. `-` instead of a file of series makes their labels as they are needed.

mod corpus;
mod flush;
mod ingest;
mod open;
mod outage;
mod receive;
mod select;
mod send;
mod sizes;

use std::io::Write as _;
use std::path::Path;

use tsdb_bench::cluster::{self, Arrival, Shape, Values};
use tsdb_bench::json::Line;
use tsdb_bench::{Error, Result};

/// When the outage begins.
const OUTAGE_START_MS: i64 = 1_795_320_000_000;

const DAY_MS: i64 = 24 * 3600 * 1000;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments.as_slice() {
        ["gen", count, file] => generate(count.parse()?, Path::new(file)),
        ["ingest", dir, series, count, scrapes, start, workers] => ingest::run(&ingest::Plan {
            dir: Path::new(dir),
            file: Path::new(series),
            series: count.parse()?,
            scrapes: scrapes.parse()?,
            workers: workers.parse()?,
            shape: shape(start.parse()?)?,
            ending: if is_set("KILL") { ingest::Ending::Kill } else { ingest::Ending::Close },
            steps: steps()?,
            compaction: is_set("COMPACT"),
        }),
        ["open", dir] => open::run(Path::new(dir)),
        ["checksum", series, scrapes, start] => checksum(series.parse()?, scrapes.parse()?, start.parse()?),
        ["flush", dir] => flush::run(Path::new(dir)),
        ["select", dir] => select::select(Path::new(dir)),
        ["scan", dir] => select::scan(Path::new(dir)),
        ["corpus", file, dir] => corpus::run(Path::new(file), Path::new(dir)),
        ["send", dir, url, protocol, samples] => {
            send::run(Path::new(dir), url, protocol, samples.parse()?)
        }
        ["outage", dir, series, count] => {
            let shape = shape(OUTAGE_START_MS)?;
            outage::run(&ingest::Plan {
                dir: Path::new(dir),
                file: Path::new(series),
                series: count.parse()?,
                scrapes: (DAY_MS / shape.interval_ms) as u64,
                workers: 1,
                shape,
                ending: ingest::Ending::Close,
                steps: ingest::Steps::Data,
                compaction: true,
            })
        }
        ["receive"] => receive::run(),
        _ => Err("one of: gen N FILE, ingest DIR SERIES N SCRAPES T0 WORKERS, open DIR, checksum N SCRAPES T0, flush DIR, select DIR, \
                  scan DIR, corpus FILE DIR, send DIR URL PROTOCOL SAMPLES, outage DIR SERIES N, receive"
            .into()),
    }
}

fn generate(count: u64, file: &Path) -> Result<()> {
    let mut out = std::io::BufWriter::new(std::fs::File::create(file)?);
    cluster::write_series(count, &mut out)?;
    Ok(out.flush()?)
}

fn checksum(series: u64, scrapes: u64, start_ms: i64) -> Result<()> {
    let shape = shape(start_ms)?;
    let expected = cluster::checksum(&shape, series, scrapes, tsdb::stale_marker());
    Ok(Line::new("checksum")
        .count("samples", expected.samples)
        .hex("checksum", expected.sum)
        .print()?)
}

/// Reads the shape of a run from the environment.
fn shape(start_ms: i64) -> Result<Shape> {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|value| value.parse::<u64>())
            .transpose()
    };
    let mut shape = Shape::new(start_ms);
    if let Some(interval) = number("INTERVAL")? {
        shape.interval_ms = interval.try_into()?;
    }
    if let Some(churn) = number("CHURN")? {
        shape.churn = churn;
    }
    if let Some(group) = number("GROUP")? {
        shape.group = group.max(1);
    }
    if is_set("NOISE") {
        shape.values = Values::Noise;
    }
    match std::env::var("MODE").as_deref() {
        Ok("lone") => shape.arrival = Arrival::Lone,
        Ok("") | Err(_) => {}
        Ok(other) => return Err(Error::from(format!("MODE={other}: only `lone` is known"))),
    }
    Ok(shape)
}

/// Reads from the environment what paces flushes and checkpoints.
fn steps() -> Result<ingest::Steps> {
    if is_off("FLUSH") {
        return Ok(ingest::Steps::None);
    }
    match std::env::var("STEPS").as_deref() {
        Ok("0") => Ok(ingest::Steps::Wall),
        Ok("beside") => Ok(ingest::Steps::Beside),
        Ok("") | Err(_) => Ok(ingest::Steps::Data),
        Ok(other) => Err(Error::from(format!(
            "STEPS={other}: only `0` and `beside` are known"
        ))),
    }
}

fn is_set(name: &str) -> bool {
    std::env::var(name).is_ok_and(|value| value == "1")
}

fn is_off(name: &str) -> bool {
    std::env::var(name).is_ok_and(|value| value == "0")
}
