//! What does a commit cost whose samples are no scrape: 10,000 series by reference, with a timestamp each, with four
//! timestamps as a remote-write request of several targets has them, and with one in a hundred that is late?

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tsdb::{Db, Labels, SeriesRef};
use tsdb_bench::cluster::{METRICS, Pod, metric};
use tsdb_bench::scraper::{START_MS, options};
use tsdb_bench::scratch::Scratch;

const SERIES: u64 = 10_000;

/// Milliseconds between batches.
const STEP_MS: i64 = 15_000;

/// Milliseconds of a series behind the time of its batch.
type Offset = fn(i64) -> i64;

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("remote_write");
    group.throughput(Throughput::Elements(SERIES));
    let cases: [(&str, Offset); 3] = [
        ("alone", |place| place),
        ("four_timestamps", |place| place % 4 * 250),
        ("one_in_a_hundred_late", |place| {
            if place % 100 == 0 {
                place - 60_000
            } else {
                place
            }
        }),
    ];
    for (name, offset) in cases {
        let scratch = Scratch::new().expect("a directory");
        let options = options().with_out_of_order_window(Duration::from_secs(600));
        let db = Db::open(scratch.path(), options).expect("a database");
        let series = create(&db);
        let mut appender = db.appender().expect("an open database");
        let mut batch = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                batch += 1;
                for (place, series) in series.iter().enumerate() {
                    let at = START_MS + batch * STEP_MS + offset(place as i64);
                    let value = (batch * 7 + place as i64) as f64;
                    appender
                        .append_ref(*series, at, value)
                        .expect("a taken time");
                }
                appender.commit().expect("a log that takes it")
            });
        });
    }
    group.finish();
}

/// Makes the series, each with a sample of its own time.
fn create(db: &Db) -> Vec<SeriesRef> {
    let mut appender = db.appender().expect("an open database");
    let references = (0..SERIES)
        .map(|number| {
            let pod = Pod::new(number / METRICS);
            let labels = Labels::from_pairs(pod.labels(&metric(number % METRICS))).expect("labels");
            let at = START_MS - 700_000 + number as i64;
            appender.append(&labels, at, 0.0).expect("a new series")
        })
        .collect();
    appender.commit().expect("a log that takes it");
    references
}

criterion_group!(benches, bench);
criterion_main!(benches);
