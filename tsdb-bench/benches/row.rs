//! What does one scrape of a thousand series cost as a row: to encode it against the state before, to apply it to that
//! state, and to follow one series back through an hour of rows?

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tsdb::internals::row::{RowEncoder, RowState, RowView, walk_back};
use tsdb_bench::cluster::{TARGET_SERIES, Values, Walk};

const WIDTH: usize = TARGET_SERIES as usize;
const ROWS: u64 = 240;

/// Rows of one target, the state before the last one and after it, and the values of the last one.
struct Rows {
    rows: Vec<Vec<u8>>,
    before: RowState,
    after: RowState,
    values: Vec<f64>,
}

fn rows() -> Rows {
    let mut walk = Walk::new(0, WIDTH, Values::Metrics);
    let mut encoder = RowEncoder::default();
    let mut values = vec![0.0; WIDTH];
    let mut after = RowState::new(WIDTH);
    let mut before = after.clone();
    let mut rows = Vec::new();
    for scrape in 0..ROWS {
        walk.scrape(scrape, &mut values);
        before.clone_from(&after);
        let mut row = Vec::new();
        encoder.encode(&values, &[], &after, &mut row);
        parse(&row).apply(&mut after);
        rows.push(row);
    }
    Rows {
        rows,
        before,
        after,
        values,
    }
}

fn parse(row: &[u8]) -> RowView<'_> {
    RowView::parse(row, WIDTH).expect("the encoder wrote it")
}

fn bench(criterion: &mut Criterion) {
    let Rows {
        rows,
        before,
        after,
        values,
    } = rows();
    let mut group = criterion.benchmark_group("row");
    group.throughput(Throughput::Elements(WIDTH as u64));
    let mut encoder = RowEncoder::default();
    let mut out = Vec::new();
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            out.clear();
            encoder.encode(black_box(&values), &[], &before, &mut out);
        });
    });
    let last = rows.last().expect("there are rows");
    let mut state = before.clone();
    group.bench_function("apply", |bencher| {
        bencher.iter(|| {
            state.clone_from(&before);
            parse(black_box(last)).apply(&mut state);
        });
    });
    let views: Vec<RowView<'_>> = rows.iter().map(|row| parse(row)).collect();
    group.throughput(Throughput::Elements(ROWS));
    for (name, position) in [("constant", 1), ("counter", 4), ("thousandths", 8)] {
        let (integer, scale) = (after.integers[position], after.scales[position]);
        group.bench_function(format!("walk_back/{name}"), |bencher| {
            bencher.iter(|| {
                let mut sum = 0.0;
                walk_back(
                    views.iter().rev().copied(),
                    position,
                    integer,
                    scale,
                    |_, value| sum += value,
                );
                sum
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
