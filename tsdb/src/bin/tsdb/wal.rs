//! `tsdb wal`: what stands in the log.

use std::path::PathBuf;

use clap::Args;
use tsdb::fs::{DiskFs, IoMode};
use tsdb::{LogReport, inspect_log};

use crate::Outcome;
use crate::console::Console;
use crate::output::{Cell, Report};

/// Shows the segments of the log, what their frames hold and what is damaged.
///
/// Ends with 3 if anything is damaged. A torn end is no damage: nobody was told that it was durable.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tsdb wal /var/lib/metrics --output json | jq .sections")]
pub(crate) struct WalArgs {
    /// Directory of the database.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(crate) fn run(args: &WalArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let log = inspect_log(&DiskFs::new(IoMode::Map), &args.dir)?;
    let segments = log.segments.iter().map(|segment| {
        vec![
            Cell::Count(segment.number),
            Cell::Count(segment.first_sequence),
            Cell::Count(segment.last_sequence),
            Cell::Count(segment.frames),
            Cell::Count(segment.marks),
            Cell::Count(segment.samples),
            Cell::Size(segment.size_bytes),
            Cell::per_sample(segment.size_bytes, segment.samples),
        ]
    });
    let total_bytes = log.size_bytes().max(1);
    let sections = log
        .sections
        .iter()
        .filter(|sections| sections.count > 0)
        .map(|sections| {
            vec![
                Cell::text(sections.kind.as_str()),
                Cell::Count(sections.count),
                Cell::Count(sections.items),
                Cell::Size(sections.size_bytes),
                Cell::Ratio(sections.size_bytes as f64 * 100.0 / total_bytes as f64),
            ]
        });
    let report = Report::default()
        .record("log", totals(&log))
        .list(
            "segments",
            &[
                "segment",
                "first_sequence",
                "last_sequence",
                "frames",
                "marks",
                "samples",
                "size_bytes",
                "bytes_per_sample",
            ],
            segments,
        )
        .list(
            "sections",
            &["kind", "sections", "items", "size_bytes", "percent"],
            sections,
        )
        .list(
            "damage",
            &["damage"],
            log.damaged
                .iter()
                .map(|error| vec![Cell::text(error.to_string())]),
        );
    console.report(&report)?;
    Ok(if log.damaged.is_empty() {
        Outcome::Done
    } else {
        Outcome::Findings
    })
}

fn totals(log: &LogReport) -> Vec<(&'static str, Cell)> {
    let torn = log.torn.map_or(Cell::Empty, |torn| {
        Cell::Text(format!(
            "segment {} at byte {}: {} bytes",
            torn.segment, torn.offset, torn.size_bytes
        ))
    });
    vec![
        ("segments", Cell::Count(log.segments.len() as u64)),
        ("size_bytes", Cell::Size(log.size_bytes())),
        (
            "frames",
            Cell::Count(log.segments.iter().map(|segment| segment.frames).sum()),
        ),
        ("samples", Cell::Count(log.samples())),
        (
            "bytes_per_sample",
            Cell::per_sample(log.size_bytes(), log.samples()),
        ),
        ("last_sequence", Cell::Count(log.last_sequence)),
        ("synced_sequence", Cell::Count(log.synced_sequence)),
        ("torn", torn),
    ]
}
