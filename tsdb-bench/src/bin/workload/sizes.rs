//! What the parts of a database take on disk, and how they are printed.

use std::path::Path;

use tsdb_bench::Result;
use tsdb_bench::json::Line;
use tsdb_bench::measure::size_bytes;

/// Adds the bytes that stand on disk to a line.
pub fn add(line: Line, dir: &Path) -> Result<Line> {
    let of = |name: &str| size_bytes(&dir.join(name));
    Ok(line
        .count("head_bytes", of("head")? + of("checkpoint")?)
        .count("block_bytes", of("blocks")?)
        .count("series_bytes", of("series")?)
        .count("log_disk_bytes", of("log")?))
}
