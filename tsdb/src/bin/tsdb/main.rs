//! The `tsdb` command: looks into a database, fills it and gets data out of it.
//!
//! 1. The arguments become one [`Command`]; each has a file of its own with its arguments and its `run`.
//! 2. Commands that read open the database read-only, so they work beside the process that writes it.
//! 3. What a command found becomes a `Report` or a stream of series; `output` knows how to write either.
//! 4. The answer goes to standard output, everything about the work to standard error, the outcome is the exit code.

mod analyze;
mod completions;
mod console;
mod dump;
mod exposition;
mod import;
mod info;
mod list;
mod man;
mod open;
mod output;
mod plot;
mod query;
mod span;
mod stats;
mod times;
mod verify;
mod wal;

use std::io;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use console::{Console, ProgressMode};
use output::Format;

/// Looks into a tsdb database, fills it and gets data out of it.
#[derive(Debug, Parser)]
#[command(name = "tsdb", bin_name = "tsdb", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    general: General,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
struct General {
    /// How the answer is written [default: table on a terminal, ndjson elsewhere].
    ///
    /// In tables, sizes and times are for reading. Elsewhere sizes are bytes and times are Unix milliseconds, as the
    /// ends of the names say.
    #[arg(long, short, global = true, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
    /// Whether long work shows how far it is, on standard error
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = ProgressMode::Auto)]
    progress: ProgressMode,
}

#[derive(Debug, Subcommand)]
enum Command {
    Info(info::InfoArgs),
    List(list::ListArgs),
    Analyze(analyze::AnalyzeArgs),
    Query(query::QueryArgs),
    Dump(dump::DumpArgs),
    Import(import::ImportArgs),
    Verify(verify::VerifyArgs),
    Wal(wal::WalArgs),
    Stats(stats::StatsArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// What a command came to, apart from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Everything is as it should be.
    Done,
    /// The command did its work and found something that somebody should look at.
    Findings,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Where help cannot be written there is nobody to tell.
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { USAGE } else { DONE });
        }
    };
    let mut console = Console::new(cli.general.output, cli.general.progress);
    let result = run(&cli.command, &mut console).and_then(|outcome| {
        console.flush()?;
        Ok(outcome)
    });
    match result {
        Ok(Outcome::Done) => ExitCode::from(DONE),
        Ok(Outcome::Findings) => ExitCode::from(FINDINGS),
        // Whoever reads has enough, as `head` does.
        Err(error) if is_broken_pipe(&error) => ExitCode::from(DONE),
        Err(error) => {
            console::complain("error", &message(&error));
            ExitCode::from(FAILED)
        }
    }
}

fn run(command: &Command, console: &mut Console) -> anyhow::Result<Outcome> {
    match command {
        Command::Info(args) => info::run(args, console),
        Command::List(args) => list::run(args, console),
        Command::Analyze(args) => analyze::run(args, console),
        Command::Query(args) => query::run(args, console),
        Command::Dump(args) => dump::run(args, console),
        Command::Import(args) => import::run(args, console),
        Command::Verify(args) => verify::run(args, console),
        Command::Wal(args) => wal::run(args, console),
        Command::Stats(args) => stats::run(args, console),
        Command::Completions(args) => completions::run(args, console),
        Command::Man(args) => man::run(args, console),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Joins an error and its causes, leaving out a cause whose words the error says already.
fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if message.is_empty() {
            message = cause;
        } else if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

const DONE: u8 = 0;
const FAILED: u8 = 1;
const USAGE: u8 = 2;
const FINDINGS: u8 = 3;

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  failed; standard error says why
  2  the command line is wrong
  3  done, with findings: damage, or samples that were refused

Times are RFC 3339 (2026-11-22T13:45:00Z), Unix seconds or milliseconds, or relative to now (now, -15m, -1d).

Example:
  tsdb query /var/lib/metrics 'up{job=\"node\"}' --start -1h --plot";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_declared_without_contradiction() {
        Cli::command().debug_assert();
    }

    #[test]
    fn cause_that_is_told_already_is_not_repeated() {
        let io_error = || io::Error::new(io::ErrorKind::NotFound, "no such file");
        let error = anyhow::Error::new(tsdb::Error::io("list", "log", io_error()));
        assert_eq!(message(&error), "log: cannot list: no such file");
        let error = anyhow::Error::new(io_error()).context("cannot read a.prom");
        assert_eq!(message(&error), "cannot read a.prom: no such file");
    }
}
