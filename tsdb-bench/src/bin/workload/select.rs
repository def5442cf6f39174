//! `select` and `scan`: what finding series costs, and what decoding them does.

use std::path::Path;
use std::time::Instant;

use tsdb::{Db, Samples, TimeRange};
use tsdb_bench::Result;
use tsdb_bench::cases::{CASES, Case, LabelsChecksum, SCANNED};
use tsdb_bench::cluster::Checksum;
use tsdb_bench::json::Line;

use crate::open::open;

/// How often each case runs.
const TIMES: usize = 5;

pub fn select(dir: &Path) -> Result<()> {
    let db = open(dir)?;
    for (number, case) in CASES.iter().enumerate() {
        let (found, first_s, best_s) = repeat(|| find(&db, case))?;
        Line::new("select")
            .count("case", number as u64)
            .text("matchers", case.selector)
            .count("found", found.found)
            .hex("checksum", found.sum)
            .seconds("first_s", first_s)
            .seconds("best_s", best_s)
            .number("best_us_per_series", best_s * 1e6 / found.found as f64)
            .print()?;
    }
    Ok(())
}

pub fn scan(dir: &Path) -> Result<()> {
    let db = open(dir)?;
    for number in SCANNED {
        let case = &CASES[number];
        let ((found, checksum), first_s, best_s) = repeat(|| decode(&db, case))?;
        Line::new("scan")
            .count("case", number as u64)
            .text("matchers", case.selector)
            .count("found", found)
            .count("samples", checksum.samples)
            .hex("checksum", checksum.sum)
            .seconds("first_s", first_s)
            .seconds("best_s", best_s)
            .number("best_ns_per_sample", best_s * 1e9 / checksum.samples as f64)
            .print()?;
    }
    Ok(())
}

/// Does the same several times; returns the last answer, the first time and the best.
fn repeat<T>(mut work: impl FnMut() -> Result<T>) -> Result<(T, f64, f64)> {
    let mut timed = || {
        let start = Instant::now();
        let answer = work()?;
        Result::Ok((answer, start.elapsed().as_secs_f64()))
    };
    let (mut answer, first_s) = timed()?;
    let mut best_s = first_s;
    for _ in 1..TIMES {
        let (again, time_s) = timed()?;
        answer = again;
        best_s = best_s.min(time_s);
    }
    Ok((answer, first_s, best_s))
}

fn find(db: &Db, case: &Case) -> Result<LabelsChecksum> {
    let mut found = LabelsChecksum::default();
    for series in db.querier(TimeRange::ALL)?.select(&case.matchers()?)? {
        found.add(series?.labels());
    }
    Ok(found)
}

fn decode(db: &Db, case: &Case) -> Result<(u64, Checksum)> {
    let (mut found, mut checksum) = (0, Checksum::default());
    let mut samples = Samples::default();
    for series in db.querier(TimeRange::ALL)?.select(&case.matchers()?)? {
        series?.read(&mut samples)?;
        found += 1;
        for (timestamp, value) in samples.timestamps.iter().zip(&samples.values) {
            checksum.add(*timestamp, *value);
        }
    }
    Ok((found, checksum))
}
