//! What does a selection cost, every label of every series read: in the head, and in a block?
//!
//! The cases are those of the workloads, over 20,000 series.

use criterion::{Criterion, criterion_group, criterion_main};
use tsdb::{Db, TimeRange};
use tsdb_bench::cases::{CASES, LabelsChecksum};
use tsdb_bench::cluster::Shape;
use tsdb_bench::scraper::{START_MS, Scraper, open};
use tsdb_bench::scratch::Scratch;

const SERIES: u64 = 20_000;

fn bench_source(criterion: &mut Criterion, source: &str, db: &Db) {
    let mut group = criterion.benchmark_group(format!("select/{source}"));
    for (number, case) in CASES.iter().enumerate() {
        let matchers = case.matchers().expect("a selector");
        group.bench_function(number.to_string(), |bencher| {
            bencher.iter(|| {
                let mut found = LabelsChecksum::default();
                let querier = db.querier(TimeRange::ALL).expect("a querier");
                for series in querier.select(&matchers).expect("a selection") {
                    found.add(series.expect("a series").labels());
                }
                found
            });
        });
    }
    group.finish();
}

fn bench(criterion: &mut Criterion) {
    let scratch = Scratch::new().expect("a directory");
    let db = open(scratch.path()).expect("a database");
    // No jitter of timestamps in the first scrapes would matter here: all is in one range but for a few.
    let shape = Shape {
        interval_ms: 1_000,
        ..Shape::new(START_MS + 60_000)
    };
    let mut scraper = Scraper::new(&db, SERIES, shape).expect("new series");
    scraper.scrape(1).expect("a scrape");
    drop(scraper);
    bench_source(criterion, "head", &db);
    db.flush().expect("a flush");
    db.close().expect("a close");
    // Opened anew, the head knows nothing of the series any more.
    let db = open(scratch.path()).expect("a database");
    bench_source(criterion, "block", &db);
}

criterion_group!(benches, bench);
criterion_main!(benches);
