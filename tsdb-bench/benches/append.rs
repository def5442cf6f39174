//! What does the commit of one scrape cost: a thousand known series by reference, from staging to visible, the log
//! written and not synced? What does a commit of as many samples with timestamps of their own? And what does the first
//! scrape, which makes the series?

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tsdb_bench::cluster::{Shape, TARGET_SERIES};
use tsdb_bench::scraper::{Lone, START_MS, Scraper, open};
use tsdb_bench::scratch::Scratch;

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    group.throughput(Throughput::Elements(TARGET_SERIES));
    let scratch = Scratch::new().expect("a directory");
    let db = open(scratch.path()).expect("a database");
    // The values are part of the time: about a tenth of it.
    let mut scraper = Scraper::new(&db, TARGET_SERIES, Shape::new(START_MS)).expect("new series");
    group.bench_function("scrape", |bencher| {
        bencher.iter(|| scraper.scrape(1).expect("a commit"));
    });
    drop((scraper, db));
    let scratch = Scratch::new().expect("a directory");
    let db = open(scratch.path()).expect("a database");
    let mut lone = Lone::new(&db, TARGET_SERIES, Shape::new(START_MS)).expect("new series");
    group.bench_function("lone", |bencher| {
        bencher.iter(|| lone.commit().expect("a commit"));
    });
    drop((lone, db));
    group.bench_function("first_scrape", |bencher| {
        let new = || {
            let scratch = Scratch::new().expect("a directory");
            let db = open(scratch.path()).expect("a database");
            (scratch, db)
        };
        let create = |(scratch, db)| {
            let scraper =
                Scraper::new(&db, TARGET_SERIES, Shape::new(START_MS)).expect("new series");
            (scraper, db, scratch)
        };
        bencher.iter_batched(new, create, BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
