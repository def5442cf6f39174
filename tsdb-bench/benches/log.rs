//! What does a frame of the log cost to write, by its size, without syncs, and what to find again and verify?

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tsdb::fs::{DiskFs, Fs, IoMode};
use tsdb::internals::log::{LogWriter, read_all};
use tsdb_bench::cluster::h;
use tsdb_bench::scratch::Scratch;

const SEGMENT_BYTES: u64 = 16 << 20;
const FRAMES: u64 = 2_000;

fn body(len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|index| h(len as u64, index) as u8)
        .collect()
}

fn bench(criterion: &mut Criterion) {
    let fs: Arc<dyn Fs> = Arc::new(DiskFs::new(IoMode::Map));
    let mut group = criterion.benchmark_group("log");
    for len in [64, 1024, 65_536] {
        let body = body(len);
        let scratch = Scratch::new().expect("a directory");
        let mut log =
            LogWriter::open(Arc::clone(&fs), scratch.path(), SEGMENT_BYTES).expect("a log");
        let mut bytes = 0;
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(format!("append/{len}"), |bencher| {
            bencher.iter(|| {
                bytes += len as u64;
                if bytes > 16 * SEGMENT_BYTES {
                    // Rare enough not to show, and the disk does not fill.
                    bytes = 0;
                    log.cut().expect("a cut");
                }
                log.append(&body).expect("a frame")
            });
        });
    }
    let body = body(1024);
    let scratch = Scratch::new().expect("a directory");
    let mut log = LogWriter::open(Arc::clone(&fs), scratch.path(), SEGMENT_BYTES).expect("a log");
    for _ in 0..FRAMES {
        log.append(&body).expect("a frame");
    }
    drop(log);
    group.throughput(Throughput::Bytes(FRAMES * body.len() as u64));
    group.bench_function("read", |bencher| {
        bencher.iter(|| {
            let read = read_all(&*fs, scratch.path()).expect("a log");
            assert_eq!(read.0, FRAMES);
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
