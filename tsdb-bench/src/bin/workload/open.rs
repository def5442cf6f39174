//! `open`: what a restart takes, and whether everything is there.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use tsdb::{Background, Db, Event, Options, Samples, TimeRange};
use tsdb_bench::Result;
use tsdb_bench::cluster::Checksum;
use tsdb_bench::json::Line;
use tsdb_bench::measure::{Stopwatch, peak_kb, resident_kb};

use crate::ingest::RETENTION;
use crate::sizes;

/// Opens a database that nothing happens to by itself.
pub fn open(dir: &Path) -> Result<Db> {
    let options = Options::default()
        .with_retention(Some(RETENTION))
        .with_compaction(false)
        .with_background(Background::Manual)
        .with_listener(Some(Arc::new(report)));
    Ok(Db::open(dir, options)?)
}

/// Shows what must not happen in a run.
pub fn report(event: &Event) {
    if let Event::Damaged { message }
    | Event::Failed { message }
    | Event::ReadOnly { reason: message } = event
    {
        // If nobody reads it, the counters in the output still tell.
        drop(writeln!(std::io::stderr(), "{message}"));
    }
}

pub fn run(dir: &Path) -> Result<()> {
    let watch = Stopwatch::start();
    let db = open(dir)?;
    let opened = watch.spent();
    let (rss_kb, peak_kb) = (resident_kb()?, peak_kb()?);
    let stats = db.stats();

    let watch = Stopwatch::start();
    let (series, checksum) = read_all(&db)?;
    let scanned = watch.spent();
    let line = Line::new("open")
        .seconds("wall_s", opened.wall_s)
        .seconds("cpu_s", opened.cpu_s)
        .count("series", series)
        .count("rss_kb", rss_kb)
        .count("peak_kb", peak_kb)
        .count("samples", checksum.samples)
        .hex("checksum", checksum.sum)
        .seconds("scan_s", scanned.wall_s)
        .number("samples_per_s", checksum.samples as f64 / opened.wall_s)
        .number("samples_per_cpu_s", checksum.samples as f64 / opened.cpu_s)
        .number("scan_ns", scanned.wall_s * 1e9 / checksum.samples as f64)
        .count("replayed_samples", stats.replayed_samples)
        .count("damaged_units", stats.damaged_units);
    Ok(sizes::add(line, dir)?.print()?)
}

/// Reads every sample; returns how many series have one, and the checksum.
fn read_all(db: &Db) -> Result<(u64, Checksum)> {
    let mut checksum = Checksum::default();
    let mut series_count = 0;
    let mut samples = Samples::default();
    for series in db.querier(TimeRange::ALL)?.select(&[])? {
        series?.read(&mut samples)?;
        series_count += u64::from(!samples.is_empty());
        for (timestamp, value) in samples.timestamps.iter().zip(&samples.values) {
            checksum.add(*timestamp, *value);
        }
    }
    Ok((series_count, checksum))
}
