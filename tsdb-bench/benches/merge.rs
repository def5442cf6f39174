//! What does it cost to merge two neighbouring blocks of the same series, per sample?

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tsdb_bench::cluster::Shape;
use tsdb_bench::scraper::{START_MS, Scraper, open};
use tsdb_bench::scratch::Scratch;

const SERIES: u64 = 2_000;

/// Four hours, a minute apart.
const SCRAPES: u64 = 238;

fn bench(criterion: &mut Criterion) {
    let scratch = Scratch::new().expect("a directory");
    let db = open(scratch.path()).expect("a database");
    let shape = Shape {
        interval_ms: 60_000,
        ..Shape::new(START_MS + 60_000)
    };
    let mut scraper = Scraper::new(&db, SERIES, shape).expect("new series");
    scraper.scrape(SCRAPES - 1).expect("scrapes");
    drop(scraper);
    let report = db.flush().expect("a flush");
    assert_eq!(report.blocks, 2, "there are two blocks to merge");
    db.close().expect("a close");
    let mut group = criterion.benchmark_group("merge");
    group.sample_size(20);
    group.throughput(Throughput::Elements(SERIES * SCRAPES));
    group.bench_function("two_blocks", |bencher| {
        let copy = || Scratch::copy_of(scratch.path()).expect("a copy");
        let merge = |copy: Scratch| {
            tsdb::internals::merge_all_blocks(copy.path()).expect("a merge");
            copy
        };
        bencher.iter_batched(copy, merge, BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
