//! `tsdb man`: manual pages.

use anyhow::bail;
use clap::{Args, CommandFactory};
use clap_mangen::Man;

use crate::console::Console;
use crate::output::{Cell, Format, Report};
use crate::{Cli, Outcome};

/// Writes a manual page in roff, of the whole program or of one command.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tsdb man query > tsdb-query.1 && man ./tsdb-query.1")]
pub(crate) struct ManArgs {
    /// The command the page is about.
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

pub(crate) fn run(args: &ManArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let mut program = Cli::command();
    program.build();
    let command = match &args.command {
        None => program,
        Some(name) => match program.find_subcommand(name) {
            Some(command) => command.clone(),
            None => bail!("there is no command `{name}`"),
        },
    };
    let man = Man::new(command);
    let mut page = Vec::new();
    man.render(&mut page)?;
    match console.asked_format() {
        Some(Format::Json | Format::Ndjson | Format::Csv) => {
            let page = String::from_utf8_lossy(&page).into_owned();
            console.report(&Report::default().record(
                "man",
                [
                    ("file", Cell::Text(man.get_filename())),
                    ("page", Cell::Text(page)),
                ],
            ))?;
        }
        // Whatever the stream is: the page is meant for a file.
        Some(Format::Table) | None => console.out().write_all(&page)?,
    }
    Ok(Outcome::Done)
}
