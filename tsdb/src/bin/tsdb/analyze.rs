//! `tsdb analyze`: what takes up the index.

use std::path::PathBuf;

use clap::Args;
use tsdb::{Count, TimeRange};

use crate::console::Console;
use crate::output::{Cell, Report};
use crate::{Outcome, open};

/// Shows which metrics, labels and label values have the most series.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tsdb analyze /var/lib/metrics --limit 5")]
pub(crate) struct AnalyzeArgs {
    /// Directory of the database.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// How many of each to show.
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    limit: usize,
}

pub(crate) fn run(args: &AnalyzeArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let opened = open::open(&args.dir, console)?;
    let outcome = opened.warn();
    let cardinality = opened.db.querier(TimeRange::ALL)?.cardinality(args.limit)?;
    let series = cardinality.series();
    let report = Report::default()
        .record("totals", [("series", Cell::Count(series))])
        .list(
            "metrics",
            &["metric", "series", "percent"],
            cardinality
                .metrics()
                .iter()
                .map(|count| with_share(count, series)),
        )
        .list(
            "labels",
            &["label", "values"],
            cardinality.labels().iter().map(row),
        )
        .list(
            "pairs",
            &["pair", "series", "percent"],
            cardinality
                .pairs()
                .iter()
                .map(|count| with_share(count, series)),
        );
    console.report(&report)?;
    Ok(outcome)
}

fn row(count: &Count) -> Vec<Cell> {
    vec![Cell::text(&count.name), Cell::Count(count.count)]
}

fn with_share(count: &Count, total: u64) -> Vec<Cell> {
    let mut cells = row(count);
    cells.push(Cell::Ratio(
        count.count as f64 * 100.0 / total.max(1) as f64,
    ));
    cells
}
