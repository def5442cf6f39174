//! What does a sample cost to read, its series found and decoded whole: from open rows, from pieces, and from a block?
//! And what does the newest sample of a series cost?
//!
//! 4,000 series of 240 scrapes: all of them, which brings every kind of value; those of one metric, which do not change;
//! and a few, where what is found once for a whole selection weighs most.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tsdb::{Db, Samples, TimeRange, parse_selector};
use tsdb_bench::cluster::Shape;
use tsdb_bench::scraper::{START_MS, Scraper, open};
use tsdb_bench::scratch::Scratch;

const SERIES: u64 = 4_000;
const SCRAPES: u64 = 240;

/// Fewer rows than are sealed together.
const SCRAPES_OPEN: u64 = 31;

const SELECTORS: [(&str, &str); 3] = [
    ("all", r#"{job="kubelet"}"#),
    ("metric", "container_cpu_rss"),
    ("few", r#"container_cpu_rss{namespace="team-7"}"#),
];

fn read(db: &Db, selector: &str, samples: &mut Samples) -> u64 {
    let mut count = 0;
    let matchers = parse_selector(selector).expect("a selector");
    let querier = db.querier(TimeRange::ALL).expect("a querier");
    for series in querier.select(&matchers).expect("a selection") {
        let series = series.expect("a series");
        series.read(samples).expect("its samples");
        count += samples.len() as u64;
    }
    count
}

fn bench_source(criterion: &mut Criterion, source: &str, db: &Db) {
    let mut group = criterion.benchmark_group(format!("scan/{source}"));
    let mut samples = Samples::default();
    for (name, selector) in SELECTORS {
        group.throughput(Throughput::Elements(read(db, selector, &mut samples)));
        group.bench_function(name, |bencher| {
            bencher.iter(|| read(db, selector, &mut samples));
        });
    }
    group.throughput(Throughput::Elements(SERIES));
    group.bench_function("latest", |bencher| {
        bencher.iter(|| {
            let querier = db.querier(TimeRange::ALL).expect("a querier");
            let latest = querier.latest(&[], i64::MAX, i64::MAX);
            latest.expect("the newest samples").len()
        });
    });
    group.finish();
}

fn bench(criterion: &mut Criterion) {
    let scratch = Scratch::new().expect("a directory");
    let db = open(scratch.path()).expect("a database");
    // A minute behind the start of a range, so that no scrape is early enough for another one.
    let mut scraper = Scraper::new(&db, SERIES, Shape::new(START_MS + 60_000)).expect("new series");
    scraper.scrape(SCRAPES_OPEN - 1).expect("scrapes");
    bench_source(criterion, "open", &db);
    scraper.scrape(SCRAPES - SCRAPES_OPEN).expect("scrapes");
    drop(scraper);
    bench_source(criterion, "pieces", &db);
    db.flush().expect("a flush");
    db.close().expect("a close");
    // Opened anew, the head knows nothing of the series any more.
    let db = open(scratch.path()).expect("a database");
    bench_source(criterion, "block", &db);
}

criterion_group!(benches, bench);
criterion_main!(benches);
