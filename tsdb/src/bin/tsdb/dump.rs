//! `tsdb dump`: a database as text.

use std::path::PathBuf;

use clap::Args;
use tsdb::is_stale;

use crate::console::Console;
use crate::exposition::{write_sample, write_series};
use crate::output::SeriesWriter;
use crate::query::{Matchers, for_each_series, parse_matchers};
use crate::times::RangeArgs;
use crate::{Outcome, open};

/// Writes samples as OpenMetrics text, ordered by series and time.
///
/// `tsdb import` and `promtool tsdb create-blocks-from openmetrics` read it. Staleness markers are left out: the format
/// has no word for them. With --output the samples are written as by `tsdb query`, markers included.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  tsdb dump /var/lib/metrics --start -1d 'up' | zstd > up.om.zst"
)]
pub(crate) struct DumpArgs {
    /// Directory of the database.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Which series; all unless given.
    #[arg(value_name = "SELECTOR", value_parser = parse_matchers)]
    selector: Option<Matchers>,
    #[command(flatten)]
    range: RangeArgs,
}

pub(crate) fn run(args: &DumpArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let opened = open::open(&args.dir, console)?;
    let warned = opened.warn();
    let selected = opened
        .db
        .querier(args.range.range())?
        .select(args.selector.as_deref().unwrap_or_default())?;
    let asked = console.asked_format();
    let out = console.out();
    let read = match asked {
        Some(format) => {
            let mut writer = SeriesWriter::new(format, out)?;
            let read = for_each_series(selected, |labels, samples| writer.write(labels, samples))?;
            writer.finish()?;
            read
        }
        None => {
            let mut series = Vec::new();
            let read = for_each_series(selected, |labels, samples| {
                series.clear();
                write_series(&mut series, labels)?;
                for sample in samples.iter().filter(|sample| !is_stale(sample.value)) {
                    out.write_all(&series)?;
                    write_sample(out, sample)?;
                }
                Ok(())
            })?;
            out.write_all(b"# EOF\n")?;
            read
        }
    };
    Ok(if warned == Outcome::Findings {
        warned
    } else {
        read
    })
}
