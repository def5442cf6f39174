//! `tsdb verify`: whether everything on disk is what was written.

use std::path::PathBuf;

use clap::Args;
use tsdb::VerifyDepth;

use crate::console::Console;
use crate::output::{Cell, Report};
use crate::{Outcome, open};

/// Reads every file and compares it with its checksums, and decodes every sample.
///
/// Ends with 3 if anything is damaged. Changes nothing: what is damaged is moved aside when the database is opened for
/// writing the next time.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tsdb verify /var/lib/metrics || echo 'look at it'")]
pub(crate) struct VerifyArgs {
    /// Directory of the database.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Compare checksums only and decode no sample.
    #[arg(long)]
    checksums: bool,
}

pub(crate) fn run(args: &VerifyArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let opened = open::open(&args.dir, console)?;
    let depth = if args.checksums {
        VerifyDepth::Checksums
    } else {
        VerifyDepth::Decode
    };
    let verified = opened.db.verify(depth)?;
    // What opening met is left out of the database and so not met again, unless it is in the log.
    let mut damaged = opened.damage;
    for error in &verified.damaged {
        let error = error.to_string();
        if !damaged.contains(&error) {
            damaged.push(error);
        }
    }
    let decoded = |count| {
        if args.checksums {
            Cell::Empty
        } else {
            Cell::Count(count)
        }
    };
    let report = Report::default()
        .record(
            "checked",
            [
                ("blocks", Cell::Count(verified.blocks as u64)),
                ("log_frames", Cell::Count(verified.log_frames)),
                ("series", decoded(verified.series)),
                ("samples", decoded(verified.samples)),
                ("damaged", Cell::Count(damaged.len() as u64)),
            ],
        )
        .list(
            "damage",
            &["damage"],
            damaged.iter().map(|damage| vec![Cell::text(damage)]),
        );
    console.report(&report)?;
    Ok(if damaged.is_empty() {
        Outcome::Done
    } else {
        Outcome::Findings
    })
}
