//! `tsdb info`: one screen about a database.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use tsdb::fs::{DiskFs, Fs, IoMode};
use tsdb::{Mode, Stats};

use crate::console::Console;
use crate::output::{Cell, Report};
use crate::{Outcome, open};

/// Shows what a database holds and what it takes.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tsdb info /var/lib/metrics")]
pub(crate) struct InfoArgs {
    /// Directory of the database.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(crate) fn run(args: &InfoArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let opened = open::open(&args.dir, console)?;
    let outcome = opened.warn();
    let stats = opened.db.stats();
    let report = Report::default()
        .record("database", database(&args.dir, &stats))
        .list("files", &["part", "files", "size_bytes"], files(&args.dir)?);
    console.report(&report)?;
    Ok(outcome)
}

fn database(dir: &Path, stats: &Stats) -> Vec<(&'static str, Cell)> {
    let mode = match &stats.mode {
        Mode::Degraded { damaged_units } => format!("degraded: {damaged_units} damaged"),
        Mode::ReadOnly { reason } => format!("read-only: {reason}"),
        _ => "healthy".to_owned(),
    };
    let blocks = &stats.blocks;
    let samples = blocks.iter().map(|block| block.samples).sum();
    let size_bytes = blocks.iter().map(|block| block.size_bytes).sum();
    let time = |time: Option<i64>| time.map_or(Cell::Empty, Cell::Time);
    let head_is_empty = stats.head_min_time > stats.head_max_time;
    let head_time = |time: i64| {
        if head_is_empty {
            Cell::Empty
        } else {
            Cell::Time(time)
        }
    };
    vec![
        ("directory", Cell::text(dir.display().to_string())),
        ("mode", Cell::Text(mode)),
        ("last_commit", Cell::Count(stats.last_sequence)),
        ("head_start_ms", head_time(stats.head_min_time)),
        (
            "head_end_ms",
            head_time(stats.head_max_time.saturating_add(1)),
        ),
        ("head_series", Cell::Count(stats.head_series)),
        ("head_samples_in_log", Cell::Count(stats.replayed_samples)),
        ("blocks", Cell::Count(blocks.len() as u64)),
        (
            "block_start_ms",
            time(blocks.iter().map(|block| block.range.start).min()),
        ),
        (
            "block_end_ms",
            time(blocks.iter().map(|block| block.range.end).max()),
        ),
        ("block_samples", Cell::Count(samples)),
        ("block_size_bytes", Cell::Size(size_bytes)),
        (
            "bytes_per_block_sample",
            Cell::per_sample(size_bytes, samples),
        ),
    ]
}

/// Adds up what lies in the directory, by the parts it has at the top.
fn files(dir: &Path) -> io::Result<Vec<Vec<Cell>>> {
    let fs = DiskFs::new(IoMode::Read);
    let (mut count, mut size_bytes) = (0, 0);
    let mut rows = Vec::new();
    for entry in fs.read_dir(dir)? {
        let part = if entry.is_dir {
            tree(&fs, &dir.join(&entry.name))?
        } else {
            (1, entry.len)
        };
        count += part.0;
        size_bytes += part.1;
        rows.push(vec![
            Cell::Text(entry.name),
            Cell::Count(part.0),
            Cell::Size(part.1),
        ]);
    }
    rows.push(vec![
        Cell::text("total"),
        Cell::Count(count),
        Cell::Size(size_bytes),
    ]);
    Ok(rows)
}

/// Returns how many files lie below a directory, and their bytes.
fn tree(fs: &dyn Fs, dir: &Path) -> io::Result<(u64, u64)> {
    let (mut count, mut size_bytes) = (0, 0);
    let entries = match fs.read_dir(dir) {
        // Whoever writes the database removes blocks while they are counted.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, 0)),
        entries => entries?,
    };
    for entry in entries {
        let below = if entry.is_dir {
            tree(fs, &dir.join(&entry.name))?
        } else {
            (1, entry.len)
        };
        count += below.0;
        size_bytes += below.1;
    }
    Ok((count, size_bytes))
}
