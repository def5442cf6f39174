//! `tsdb completions`: what a shell needs to complete command lines.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::console::Console;
use crate::output::{Cell, Format, Report};
use crate::{Cli, Outcome};

/// Writes a script that completes the arguments of this command.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  tsdb completions bash > ~/.local/share/bash-completion/completions/tsdb"
)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tsdb", &mut script);
    match console.asked_format() {
        Some(Format::Json | Format::Ndjson | Format::Csv) => {
            let script = String::from_utf8_lossy(&script).into_owned();
            let fields = [
                ("shell", Cell::text(args.shell.to_string())),
                ("script", Cell::Text(script)),
            ];
            console.report(&Report::default().record("completions", fields))?;
        }
        // Whatever the stream is: the script is meant for a file.
        Some(Format::Table) | None => console.out().write_all(&script)?,
    }
    Ok(Outcome::Done)
}
