//! `tsdb list`: the blocks of a database.

use std::path::PathBuf;

use clap::Args;
use tsdb::{Stats, TimeRange};

use crate::console::Console;
use crate::output::{Cell, Format, Report};
use crate::{Outcome, open};

/// Lists the blocks with their spans of time and sizes, and the head.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tsdb list /var/lib/metrics --output csv")]
pub(crate) struct ListArgs {
    /// Directory of the database.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(crate) fn run(args: &ListArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let opened = open::open(&args.dir, console)?;
    let outcome = opened.warn();
    let stats = opened.db.stats();
    let mut columns = COLUMNS.to_vec();
    let mut rows = rows(&stats);
    if console.format() == Format::Table {
        columns.push("timeline");
        let ranges: Vec<TimeRange> = stats
            .blocks
            .iter()
            .map(|block| block.range)
            .chain(head_range(&stats))
            .collect();
        for (row, range) in rows.iter_mut().zip(&ranges) {
            row.push(Cell::Text(timeline(*range, &ranges)));
        }
    }
    console.report(&Report::default().list("blocks", &columns, rows))?;
    Ok(outcome)
}

fn rows(stats: &Stats) -> Vec<Vec<Cell>> {
    let block_rows = stats.blocks.iter().map(|block| {
        vec![
            Cell::text(block.ulid.to_string()),
            Cell::Time(block.range.start),
            Cell::Time(block.range.end),
            Cell::Span(block.range.end.saturating_sub(block.range.start)),
            Cell::Count(block.level.into()),
            Cell::Count(block.series),
            Cell::Count(block.samples),
            Cell::Count(block.chunks),
            Cell::Count(block.tombstoned_series),
            Cell::Size(block.size_bytes),
            Cell::per_sample(block.size_bytes, block.samples),
        ]
    });
    let head_row = head_range(stats).map(|range| {
        vec![
            Cell::text("head"),
            Cell::Time(range.start),
            Cell::Time(range.end),
            Cell::Span(stats.head_max_time.saturating_sub(range.start)),
            Cell::Count(0),
            Cell::Count(stats.head_series),
            Cell::Empty,
            Cell::Count(stats.head_chunks),
            Cell::Empty,
            Cell::Size(stats.head_file_bytes),
            Cell::Empty,
        ]
    });
    block_rows.chain(head_row).collect()
}

/// Returns the span of time the head has samples of, if it has any.
fn head_range(stats: &Stats) -> Option<TimeRange> {
    (stats.head_min_time <= stats.head_max_time)
        .then(|| TimeRange::closed(stats.head_min_time, stats.head_max_time))
}

/// Draws where a span lies within all of them.
fn timeline(range: TimeRange, all: &[TimeRange]) -> String {
    let start = all
        .iter()
        .map(|range| range.start)
        .min()
        .unwrap_or_default();
    let end = all.iter().map(|range| range.end).max().unwrap_or_default();
    let width = (end as f64 - start as f64).max(1.0);
    let place = |time: i64| (time as f64 - start as f64) / width * TIMELINE_CELLS as f64;
    let first = (place(range.start) as usize).min(TIMELINE_CELLS - 1);
    let last = (place(range.end).ceil() as usize).clamp(first + 1, TIMELINE_CELLS);
    let cells = (0..TIMELINE_CELLS).map(|cell| {
        if (first..last).contains(&cell) {
            '█'
        } else {
            '·'
        }
    });
    cells.collect()
}

const TIMELINE_CELLS: usize = 24;

const COLUMNS: [&str; 11] = [
    "block",
    "start_ms",
    "end_ms",
    "span_ms",
    "level",
    "series",
    "samples",
    "chunks",
    "deleted_from",
    "size_bytes",
    "bytes_per_sample",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeline_shows_where_a_block_lies() {
        let all = [
            TimeRange::new(0, 12),
            TimeRange::new(12, 24),
            TimeRange::new(23, 24),
        ];
        assert_eq!(timeline(all[0], &all), "████████████············");
        assert_eq!(timeline(all[2], &all), "·······················█");
        assert_eq!(
            timeline(TimeRange::new(24, 24), &all)
                .chars()
                .filter(|cell| *cell == '█')
                .count(),
            1
        );
    }
}
