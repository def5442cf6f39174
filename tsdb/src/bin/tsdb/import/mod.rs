//! `tsdb import`: text into a database.
//!
//! 1. [`reader`](self::reader) reads lines and takes them apart, until a chunk of samples is together.
//! 2. [`chunk`](self::chunk) orders it by time and commits what shares a timestamp together, as scrapes would have come.
//! 3. Where the head grows large it is flushed into blocks, so the memory needed does not depend on the input.
//! 4. At the end everything is made durable by a checkpoint.
//!
//! Samples that are there already are taken silently, so an import that failed half-way is simply done again.

mod chunk;
mod reader;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use tsdb::{Background, Clock, Db, Durability, Options, SystemClock, Timestamp};

use crate::console::{Console, complain};
use crate::exposition::Syntax;
use crate::output::{Cell, Report};
use crate::{Outcome, times};

use chunk::Importer;
use reader::{Input, Next};

/// Reads samples from OpenMetrics or Prometheus text and writes them into a database.
///
/// The database is made if there is none. Any age and any order is taken and retention is not applied, but the next
/// program that opens the database applies its own. Samples that are there already are not written twice; a sample that
/// differs from what is there is refused and reported, and the command ends with 3. A line that cannot be read ends it
/// with 1, and what stands before it may be in the database already: mend the file and import it again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tsdb import /var/lib/metrics backup.om
  tsdb dump old --start -7d | tsdb import new -
  curl -s localhost:9100/metrics | tsdb import /var/lib/metrics - --format prometheus --label instance=here")]
pub(crate) struct ImportArgs {
    /// Directory of the database.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Files to read; `-` is standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// What the files are.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = InputFormat::Auto)]
    format: InputFormat,
    /// Time of samples that have none [default: now].
    #[arg(long, value_name = "TIME", value_parser = times::parse, allow_hyphen_values = true)]
    time: Option<Timestamp>,
    /// A label that all series get, instead of one of that name in the file; may be repeated.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
}

/// What an input file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum InputFormat {
    /// OpenMetrics if the file ends with `# EOF` or is standard input, otherwise Prometheus.
    Auto,
    /// OpenMetrics: timestamps in seconds, `# EOF` at the end.
    #[value(name = "openmetrics")]
    OpenMetrics,
    /// Prometheus' text format: timestamps in milliseconds.
    Prometheus,
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    if name.is_empty() {
        Err("the name is empty".to_owned())
    } else {
        Ok((name.to_owned(), value.to_owned()))
    }
}

pub(crate) fn run(args: &ImportArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    // Before the database is touched: a file that is not there is the likeliest mistake.
    let mut inputs = Vec::with_capacity(args.files.len());
    for path in &args.files {
        inputs.push(
            Input::open(path, syntax(args.format))
                .with_context(|| format!("cannot read {}", path.display()))?,
        );
    }
    let options = Options::default()
        .with_retention(None)
        .with_out_of_order_window(Duration::MAX)
        .with_durability(Durability::Os)
        .with_background(Background::Manual);
    let db = Db::open(&args.dir, options)?;
    let now = args.time.unwrap_or_else(|| SystemClock.now_ms());
    let mut importer = Importer::new(&db, &args.labels, now)?;
    for input in inputs {
        read_input(input, &mut importer, console)?;
    }
    let imported = importer.finish()?;
    db.close()?;

    for (reason, refused) in &imported.refused {
        let (count, place) = (refused.count, &refused.first);
        complain(
            "warning",
            &format!("{count} refused: {reason}; the first at {place}"),
        );
    }
    let refused: u64 = imported.refused.values().map(|refused| refused.count).sum();
    let time = |time: Option<Timestamp>| time.map_or(Cell::Empty, Cell::Time);
    let report = Report::default().record(
        "imported",
        [
            ("files", Cell::Count(args.files.len() as u64)),
            ("lines", Cell::Count(imported.lines)),
            ("samples", Cell::Count(imported.samples)),
            ("commits", Cell::Count(imported.commits)),
            ("refused", Cell::Count(refused)),
            ("oldest_ms", time(imported.oldest)),
            ("newest_ms", time(imported.newest)),
        ],
    );
    console.report(&report)?;
    Ok(if refused == 0 {
        Outcome::Done
    } else {
        Outcome::Findings
    })
}

fn syntax(format: InputFormat) -> Option<Syntax> {
    match format {
        InputFormat::Auto => None,
        InputFormat::OpenMetrics => Some(Syntax::OpenMetrics),
        InputFormat::Prometheus => Some(Syntax::Prometheus),
    }
}

fn read_input(
    mut input: Input,
    importer: &mut Importer<'_>,
    console: &Console,
) -> anyhow::Result<()> {
    let bar = console.progress("importing", input.size_bytes());
    loop {
        match input.next()? {
            Next::Sample(sample) => importer.add(&sample)?,
            Next::Other => {}
            Next::End => break,
        }
        bar.set_position(input.bytes_read());
    }
    importer.end_of_input(input.line_number());
    bar.finish_and_clear();
    if input.syntax() == Syntax::OpenMetrics && !input.has_ended() {
        importer.commit()?;
        bail!(
            "{}: the text has no `# EOF` at its end: it may have been cut off",
            input.name()
        );
    }
    Ok(())
}
