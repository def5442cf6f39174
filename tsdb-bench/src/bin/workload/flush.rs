//! `flush`: the head becomes blocks, and blocks become fewer.

use std::path::Path;

use tsdb_bench::Result;
use tsdb_bench::json::Line;
use tsdb_bench::measure::{Stopwatch, peak_kb, reset_peak, resident_kb};

use crate::open::open;
use crate::sizes;

pub fn run(dir: &Path) -> Result<()> {
    let db = open(dir)?;
    let before_kb = resident_kb()?;
    reset_peak()?;
    let watch = Stopwatch::start();
    db.flush()?;
    let head = watch.spent();
    let head_peak_kb = peak_kb()?;
    let watch = Stopwatch::start();
    db.compact()?;
    let merge = watch.spent();
    let (rss_kb, peak_kb) = (resident_kb()?, peak_kb()?);
    let blocks = db.stats().blocks;
    db.close()?;

    let sum = |of: fn(&tsdb::BlockStats) -> u64| blocks.iter().map(of).sum::<u64>();
    let samples = sum(|block| block.samples);
    let (chunk_bytes, index_bytes) = (
        sum(|block| block.chunk_bytes),
        sum(|block| block.index_bytes),
    );
    let line = Line::new("flush")
        .seconds("head_wall_s", head.wall_s)
        .seconds("head_cpu_s", head.cpu_s)
        .seconds("merge_wall_s", merge.wall_s)
        .seconds("merge_cpu_s", merge.cpu_s)
        .count("before_kb", before_kb)
        .count("rss_kb", rss_kb)
        .count("peak_kb", peak_kb)
        .count("head_peak_kb", head_peak_kb)
        .count("blocks", blocks.len() as u64)
        .count("samples", samples)
        .count("chunk_bytes", chunk_bytes)
        .count("index_bytes", index_bytes)
        .number(
            "bytes_per_sample",
            (chunk_bytes + index_bytes) as f64 / samples as f64,
        )
        .number(
            "index_bytes_per_series",
            index_bytes as f64 / sum(|block| block.series) as f64,
        )
        .number("head_cpu_ns", head.cpu_s * 1e9 / samples as f64);
    Ok(sizes::add(line, dir)?.print()?)
}
