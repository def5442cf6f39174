//! What does it cost to write an hour of the head as a block, per sample?

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tsdb_bench::cluster::Shape;
use tsdb_bench::scraper::{START_MS, Scraper, open};
use tsdb_bench::scratch::Scratch;

const SERIES: u64 = 2_000;
const SCRAPES: u64 = 240;

fn bench(criterion: &mut Criterion) {
    let scratch = Scratch::new().expect("a directory");
    let db = open(scratch.path()).expect("a database");
    // A minute into the range, so that no jitter reaches the one before.
    let mut scraper = Scraper::new(&db, SERIES, Shape::new(START_MS + 60_000)).expect("new series");
    scraper.scrape(SCRAPES - 1).expect("scrapes");
    drop(scraper);
    db.close().expect("a close");
    let mut group = criterion.benchmark_group("flush");
    group.sample_size(20);
    group.throughput(Throughput::Elements(SERIES * SCRAPES));
    group.bench_function("hour", |bencher| {
        let reopen = || {
            let copy = Scratch::copy_of(scratch.path()).expect("a copy");
            (open(copy.path()).expect("a database"), copy)
        };
        let flush = |(db, copy): (tsdb::Db, Scratch)| {
            db.flush().expect("a flush");
            (db, copy)
        };
        bencher.iter_batched(reopen, flush, BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
