//! Cost against size: a table for each thing that grows.

use std::fmt::Write as _;

use tsdb_bench::Result;

use crate::result::{OURS, Record, Report, Spread};
use crate::tables::number;
use crate::verdict::{series_bytes, size};

/// A figure: its title, and how it is made of a run and what stands beside it.
type Figure = (&'static str, fn(&Report, &Record) -> Option<f64>);

/// What is plotted and tabled against the number of series.
pub const FIGURES: [Figure; 7] = [
    ("ingest CPU ns per sample", |_, r| {
        Some(1e9 / r.number("samples_per_cpu_s")?)
    }),
    ("create CPU µs per series", |_, r| {
        Some(r.number("create_cpu_s")? * 1e6 / r.series as f64)
    }),
    ("resident B per series", |_, r| series_bytes(r)),
    ("restart ns per sample", |report, r| {
        let open = beside(report, r, "open")?;
        Some(open.number("wall_s")? * 1e9 / open.number("samples")?)
    }),
    ("flush CPU ns per sample", |report, r| {
        let flush = beside(report, r, "flush")?;
        Some(flush.number("head_cpu_s")? * 1e9 / flush.number("samples")?)
    }),
    ("disk B per sample", |report, r| {
        let flush = beside(report, r, "flush")?;
        Some(flush.number("block_bytes")? / flush.number("samples")?)
    }),
    ("select µs per series found", |report, r| {
        // Of cases that find something, so that the time has something to be divided by.
        let cases = report
            .of("growth", OURS, "select")
            .filter(|case| is_beside(case, r));
        let each = cases.filter_map(|case| {
            let found = case.number("found").filter(|found| *found > 0.0)?;
            Some(case.number("first_s")? * 1e6 / found)
        });
        Some(Spread::of(each.collect())?.median)
    }),
];

/// Tells whether two lines are about the same database.
fn is_beside(one: &Record, other: &Record) -> bool {
    (one.series, one.scrapes, &one.shape) == (other.series, other.scrapes, &other.shape)
}

/// Finds what another verb printed about the same database.
fn beside<'a>(report: &'a Report, record: &Record, verb: &'a str) -> Option<&'a Record> {
    report
        .of("growth", OURS, verb)
        .find(|other| is_beside(other, record))
}

/// Walks the runs in which only the number of series differs.
pub fn by_size(report: &Report) -> impl Iterator<Item = &Record> {
    // The others, at 100 k, run for twice as long.
    let plain = report
        .of("growth", OURS, "ingest")
        .filter(|record| record.shape.is_empty());
    plain.filter(|record| record.scrapes < 240)
}

/// Walks the runs with something in the environment, with its value.
pub fn by_shape<'a>(report: &'a Report, name: &'a str) -> impl Iterator<Item = (f64, &'a Record)> {
    report
        .of("growth", OURS, "ingest")
        .filter_map(move |record| {
            let value = record.shape.strip_prefix(name)?.strip_prefix('=')?;
            Some((value.parse().ok()?, record))
        })
}

/// Writes the tables there are figures for.
pub fn write(report: &Report, out: &mut String) -> Result<()> {
    if report.of("growth", OURS, "ingest").next().is_none() {
        return Ok(());
    }
    out.push_str("## Growth\n\nThis library alone; one round.\n\n");
    let mut rows: Vec<(String, &Record)> = by_size(report)
        .map(|record| (size(record.series), record))
        .collect();
    table(report, "series", &rows, out)?;
    out.push_str(
        "What a series costs rises where the head outgrows the processor's caches: a flush walks groups for their rows and series in label \
         order for the index, and a restart puts definitions into hash tables; with half an hour of samples that weighs most. The share of \
         files and threads is in the figures of 10 k series.\n\n",
    );
    for (name, title) in [
        ("GROUP", "series a target"),
        ("CHURN", "series replaced an hour, percent"),
    ] {
        rows = by_shape(report, name)
            .map(|(value, record)| {
                // In 100,000 at each scrape but the first.
                let percent = value * (record.scrapes as f64 - 1.0) / 1000.0;
                let value = if name == "CHURN" { percent } else { value };
                (number(value), record)
            })
            .collect();
        table(report, title, &rows, out)?;
        if name == "GROUP" && !rows.is_empty() {
            out.push_str("A scrape is a commit, and a commit costs some two and a half microseconds whatever is in it.\n\n");
        }
    }
    rows = ["NOISE=1", "MODE=lone"]
        .into_iter()
        .flat_map(|shape| {
            let records = report
                .of("growth", OURS, "ingest")
                .filter(move |record| record.shape == shape);
            records.map(move |record| (format!("`{shape}`"), record))
        })
        .collect();
    table(report, "values and arrival", &rows, out)
}

fn table(report: &Report, title: &str, rows: &[(String, &Record)], out: &mut String) -> Result<()> {
    let of = |record: &Record, figure: usize| FIGURES[figure].1(report, record);
    let shown: Vec<usize> = (0..FIGURES.len())
        .filter(|figure| rows.iter().any(|(_, record)| of(record, *figure).is_some()))
        .collect();
    if rows.is_empty() || shown.is_empty() {
        return Ok(());
    }
    let titles: Vec<&str> = shown.iter().map(|figure| FIGURES[*figure].0).collect();
    writeln!(
        out,
        "| {title} | {} | log B per sample |",
        titles.join(" | ")
    )?;
    writeln!(out, "|--:|{}--:|", "--:|".repeat(titles.len()))?;
    for (name, record) in rows {
        let log = record
            .number("log_bytes")
            .map(|bytes| bytes / (record.series as f64 * (record.scrapes as f64 - 1.0)));
        let figures = shown.iter().map(|figure| of(record, *figure)).chain([log]);
        let texts: Vec<String> = figures
            .map(|figure| figure.map_or_else(|| "-".to_owned(), number))
            .collect();
        writeln!(out, "| {name} | {} |", texts.join(" | "))?;
    }
    out.push('\n');
    Ok(())
}
