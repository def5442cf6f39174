//! Drives tsink with the ingest of the workloads, for as many scrapes as it takes in half a minute.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use tsdb_bench::cluster::{Shape, TARGET_SERIES, Walk, parse_line};
use tsdb_bench::measure::{Latencies, Stopwatch, peak_kb, resident_kb};
use tsdb_bench::{Error, Result};
use tsink::{DataPoint, Label, Row, Storage, StorageBuilder, TimestampPrecision};

const TIME_MAX: Duration = Duration::from_secs(30);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ["ingest", dir, file, series, scrapes, start, "1"] = *arguments.as_slice() else {
        return Err("ingest DIR SERIES N SCRAPES T0 1".into());
    };
    ingest(
        Path::new(dir),
        Path::new(file),
        series.parse()?,
        scrapes.parse()?,
        start.parse()?,
    )
}

fn ingest(dir: &Path, file: &Path, count: u64, scrapes: u64, start_ms: i64) -> Result<()> {
    let base_kb = resident_kb()?;
    let shape = Shape::new(start_ms);
    let storage = StorageBuilder::new()
        .with_data_path(dir)
        .with_timestamp_precision(TimestampPrecision::Milliseconds)
        .with_retention(Duration::from_secs(10 * 365 * 24 * 3600))
        .build()?;
    let text = std::fs::read_to_string(file)?;
    let mut rows: Vec<Row> = text.lines().take(count as usize).map(parse).collect();
    drop(text);
    let mut targets: Vec<(Walk, &mut [Row])> = (0..)
        .step_by(TARGET_SERIES as usize)
        .zip(rows.chunks_mut(TARGET_SERIES as usize))
        .map(|(first, rows)| (Walk::new(first, rows.len(), shape.values), rows))
        .collect();
    let watch = Stopwatch::start();
    scrape(
        &*storage,
        &shape,
        &mut targets,
        0,
        &mut Latencies::default(),
    )?;
    let create = watch.spent();

    let (watch, began) = (Stopwatch::start(), Instant::now());
    let mut latencies = Latencies::default();
    let mut done = 1;
    // It can stop taking samples by itself; what it took until then is measured.
    let mut refusal = String::new();
    while done < scrapes && began.elapsed() < TIME_MAX && refusal.is_empty() {
        match scrape(&*storage, &shape, &mut targets, done, &mut latencies) {
            Ok(()) => done += 1,
            Err(error) => refusal = error.to_string().replace('"', "'"),
        }
    }
    let spent = watch.spent();
    let (rss_kb, peak_kb) = (resident_kb()?, peak_kb()?);
    if refusal.is_empty() {
        storage.close()?;
    }
    let samples = (count * (done - 1)) as f64;
    writeln!(
        std::io::stdout(),
        "{{\"engine\":\"tsink\",\"verb\":\"ingest\",\"series\":{count},\"scrapes\":{done},\"workers\":1,\
         \"create_s\":{},\"create_cpu_s\":{},\"wall_s\":{},\"cpu_s\":{},\"samples_per_s\":{},\"samples_per_cpu_s\":{},\
         \"commit_p50_us\":{},\"commit_p99_us\":{},\"commit_max_us\":{},\"base_kb\":{base_kb},\"rss_kb\":{rss_kb},\"peak_kb\":{peak_kb},\"refusal\":\"{refusal}\"}}",
        create.wall_s,
        create.cpu_s,
        spent.wall_s,
        spent.cpu_s,
        samples / spent.wall_s,
        samples / spent.cpu_s,
        latencies.quantile_us(0.5),
        latencies.quantile_us(0.99),
        latencies.max_us(),
    )?;
    Ok(())
}

/// Makes the row of a series; its interface wants the labels with every sample.
fn parse(line: &str) -> Row {
    let mut pairs = parse_line(line);
    // The metric name comes first.
    let (_, metric) = pairs.next().unwrap_or_default();
    let labels = pairs.map(|(name, value)| Label::new(name, value)).collect();
    Row::with_labels(metric, labels, DataPoint::new(0, 0.0))
}

/// Scrapes all targets, a commit each.
fn scrape(
    storage: &dyn Storage,
    shape: &Shape,
    targets: &mut [(Walk, &mut [Row])],
    scrape: u64,
    latencies: &mut Latencies,
) -> Result<()> {
    let mut values = Vec::new();
    for (number, (walk, rows)) in (0..).zip(targets) {
        values.resize(rows.len(), 0.0);
        walk.scrape(scrape, &mut values);
        let timestamp = shape.timestamp(number, scrape);
        let began = Instant::now();
        for (row, value) in rows.iter_mut().zip(&values) {
            row.set_data_point(DataPoint::new(timestamp, *value));
        }
        let inserted = storage.insert_rows(rows);
        inserted.map_err(|error| Error::from(format!("scrape {scrape}: {error}")))?;
        latencies.add(began.elapsed());
    }
    Ok(())
}
