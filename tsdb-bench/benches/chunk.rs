//! What does a sample cost to encode and to decode, in each encoding of a chunk, by what the values are?
//!
//! Each input is one series of the synthetic cluster over two hours at 15 s: constant, counter, integer walk, walk in
//! thousandths, or noise. Timestamps are those of its target, a few of them off by milliseconds.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tsdb::Samples;
use tsdb::internals::chunk::{column, dense, gorilla};
use tsdb_bench::cluster::{Shape, Values, Walk};
use tsdb_bench::scraper::START_MS;

const SAMPLES: usize = 480;

/// The kinds of values, and the number of a series that has them.
const KINDS: [(&str, u64, Values); 5] = [
    ("constant", 1, Values::Metrics),
    ("counter", 4, Values::Metrics),
    ("walk", 7, Values::Metrics),
    ("thousandths", 8, Values::Metrics),
    ("noise", 0, Values::Noise),
];

fn timestamps() -> Vec<i64> {
    let shape = Shape::new(START_MS);
    (0..SAMPLES as u64)
        .map(|scrape| shape.timestamp(0, scrape))
        .collect()
}

fn values(series: u64, kind: Values) -> Vec<f64> {
    let mut walk = Walk::new(series, 1, kind);
    let mut value = [0.0];
    let mut next = |scrape| {
        walk.scrape(scrape, &mut value);
        value[0]
    };
    (0..SAMPLES as u64).map(&mut next).collect()
}

fn bench_dense(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chunk/dense");
    group.throughput(Throughput::Elements(SAMPLES as u64));
    for (name, series, kind) in KINDS {
        let values = values(series, kind);
        let mut encoder = dense::Encoder::new();
        let mut bytes = Vec::new();
        group.bench_function(format!("encode/{name}"), |bencher| {
            bencher.iter(|| {
                bytes.clear();
                encoder.encode(black_box(&values), &mut bytes);
            });
        });
        bytes.clear();
        encoder.encode(&values, &mut bytes);
        let mut out = Vec::with_capacity(SAMPLES);
        group.bench_function(format!("decode/{name}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                dense::decode(black_box(&bytes), SAMPLES, &mut out)
            });
        });
    }
    group.finish();
}

fn bench_gorilla(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chunk/gorilla");
    group.throughput(Throughput::Elements(SAMPLES as u64));
    let timestamps = timestamps();
    for (name, series, kind) in KINDS {
        let values = values(series, kind);
        let encode = || {
            let mut appender = gorilla::Appender::new();
            for (timestamp, value) in timestamps.iter().zip(&values) {
                appender.push(*timestamp, *value);
            }
            appender.finish()
        };
        group.bench_function(format!("encode/{name}"), |bencher| bencher.iter(encode));
        let bytes = encode();
        let mut out = Samples::default();
        group.bench_function(format!("decode/{name}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                gorilla::decode(black_box(&bytes), &mut out)
            });
        });
    }
    group.finish();
}

fn bench_column(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chunk/column");
    group.throughput(Throughput::Elements(SAMPLES as u64));
    let timestamps = timestamps();
    let mut bytes = Vec::new();
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            bytes.clear();
            column::encode(black_box(&timestamps), &mut bytes);
        });
    });
    bytes.clear();
    column::encode(&timestamps, &mut bytes);
    let mut out = Vec::with_capacity(SAMPLES);
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            out.clear();
            column::decode(black_box(&bytes), SAMPLES, &mut out)
        });
    });
    group.finish();
}

criterion_group!(benches, bench_dense, bench_gorilla, bench_column);
criterion_main!(benches);
