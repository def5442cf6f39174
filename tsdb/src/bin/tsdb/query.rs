//! `tsdb query`: samples of some series.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use tsdb::{Labels, Matcher, Samples, SeriesSet, parse_selector};

use crate::console::{Console, complain};
use crate::output::{Format, SeriesWriter};
use crate::plot::{Plot, plot};
use crate::times::RangeArgs;
use crate::{Outcome, open};

/// Shows the samples of the series that a selector matches.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tsdb query /var/lib/metrics 'up{job=\"node\"}' --start -1h
  tsdb query /var/lib/metrics 'node_load1' --start -1d --plot
  tsdb query /var/lib/metrics '{__name__=~\"node_.*\"}' --last --output csv")]
pub(crate) struct QueryArgs {
    /// Directory of the database.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Which series: `name{label="value",other=~"regex"}`.
    #[arg(value_name = "SELECTOR", value_parser = parse_matchers)]
    selector: Matchers,
    #[command(flatten)]
    range: RangeArgs,
    /// Only the newest sample of each series.
    #[arg(long)]
    last: bool,
    /// Draw each series instead of listing its samples, unless --output asks for something to read by a program.
    #[arg(long, conflicts_with = "last")]
    plot: bool,
    /// Width of a drawing in characters.
    #[arg(long, value_name = "COUNT", default_value_t = 96, requires = "plot", value_parser = clap::value_parser!(u16).range(24..=1000))]
    width: u16,
    /// Height of a drawing in lines.
    #[arg(long, value_name = "COUNT", default_value_t = 8, requires = "plot", value_parser = clap::value_parser!(u16).range(2..=200))]
    height: u16,
}

/// What a selector asks for.
pub(crate) type Matchers = std::sync::Arc<[Matcher]>;

pub(crate) fn parse_matchers(text: &str) -> Result<Matchers, String> {
    parse_selector(text)
        .map(Matchers::from)
        .map_err(|error| error.to_string())
}

pub(crate) fn run(args: &QueryArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let opened = open::open(&args.dir, console)?;
    let warned = opened.warn();
    let selected = opened
        .db
        .querier(args.range.range())?
        .select(&args.selector)?;
    let format = console.format();
    let is_drawn = args.plot && matches!(console.asked_format(), None | Some(Format::Table));
    let read = if is_drawn {
        draw(args, selected, console.out())?
    } else {
        let mut writer = SeriesWriter::new(format, console.out())?;
        let read = for_each_series(selected, |labels, samples| {
            if args.last {
                keep_last(samples);
            }
            writer.write(labels, samples)
        })?;
        writer.finish()?;
        read
    };
    Ok(if warned == Outcome::Findings {
        warned
    } else {
        read
    })
}

fn keep_last(samples: &mut Samples) {
    let behind = samples.len().saturating_sub(1);
    samples.timestamps.drain(..behind);
    samples.values.drain(..behind);
}

fn draw(args: &QueryArgs, selected: SeriesSet, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let size = Plot {
        columns: args.width.into(),
        lines: args.height.into(),
    };
    let mut is_first = true;
    for_each_series(selected, |labels, samples| {
        if !is_first {
            writeln!(out)?;
        }
        is_first = false;
        writeln!(out, "{labels}")?;
        out.write_all(plot(samples, size).as_bytes())
    })
}

/// Gives each series that has samples to `visit`. Damage costs what it hit and is told on standard error.
pub(crate) fn for_each_series(
    selected: SeriesSet,
    mut visit: impl FnMut(&Labels, &mut Samples) -> io::Result<()>,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::Done;
    let mut samples = Samples::default();
    for series in selected {
        let damage = match series {
            Ok(series) => {
                let read = series.read(&mut samples);
                if !samples.is_empty() {
                    visit(&series.labels().to_labels(), &mut samples)?;
                }
                read.err()
            }
            Err(error) => Some(error),
        };
        if let Some(error) = damage {
            complain("warning", &error.to_string());
            outcome = Outcome::Findings;
        }
    }
    Ok(outcome)
}
