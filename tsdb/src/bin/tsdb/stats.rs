//! `tsdb stats`: the metrics a database exports.

use std::path::PathBuf;

use clap::Args;

use crate::console::Console;
use crate::output::{Cell, Report};
use crate::{Outcome, open};

/// Shows every metric the library exports, under the names dashboards for Prometheus' storage use.
///
/// These are the numbers of a reader that opened the database just now: what only the process that writes it can count,
/// such as commits and refused samples, is 0.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  tsdb stats /var/lib/metrics --output json | jq '.[] | select(.value > 0)'"
)]
pub(crate) struct StatsArgs {
    /// Directory of the database.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(crate) fn run(args: &StatsArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let opened = open::open(&args.dir, console)?;
    let outcome = opened.warn();
    let mut rows = Vec::new();
    opened.db.metrics(&mut |metric| {
        let labels = metric.labels.iter();
        let labels: Vec<String> = labels
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let labels = match labels.as_slice() {
            [] => Cell::Empty,
            labels => Cell::Text(labels.join(",")),
        };
        rows.push(vec![
            Cell::text(metric.name),
            labels,
            Cell::Number(metric.value),
            Cell::text(metric.help),
        ]);
    });
    console.report(&Report::default().list(
        "metrics",
        &["metric", "label", "value", "help"],
        rows,
    ))?;
    Ok(outcome)
}
