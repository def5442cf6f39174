//! How fast does a database open after a crash: from the log alone, and from a checkpoint?

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tsdb_bench::cluster::Shape;
use tsdb_bench::scraper::{START_MS, Scraper, open};
use tsdb_bench::scratch::Scratch;

const SERIES: u64 = 2_000;
const SCRAPES: u64 = 240;

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("replay");
    group.sample_size(20);
    group.throughput(Throughput::Elements(SERIES * SCRAPES));
    for (name, has_checkpoint) in [("log", false), ("checkpoint", true)] {
        let scratch = Scratch::new().expect("a directory");
        let db = open(scratch.path()).expect("a database");
        let mut scraper = Scraper::new(&db, SERIES, Shape::new(START_MS)).expect("new series");
        scraper.scrape(SCRAPES - 1).expect("scrapes");
        if has_checkpoint {
            db.checkpoint().expect("a checkpoint");
        }
        // Dropped without a close: what a crash of the process leaves.
        drop((scraper, db));
        group.bench_function(name, |bencher| {
            let copy = || Scratch::copy_of(scratch.path()).expect("a copy");
            let reopen = |copy: Scratch| (open(copy.path()).expect("a database"), copy);
            bencher.iter_batched(copy, reopen, BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
