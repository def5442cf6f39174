//! Compares this library with its peers: one command, one result, from which all tables and plots are made.
//!
//! 1. [`options`] reads what is asked for, [`plan`] makes steps of it: a part, a size, verbs that follow one another.
//! 2. [`engines`] builds the programs that know the verbs; a peer that cannot be built here is left out, with a line.
//! 3. [`run`] lets each engine do each step in a process of its own, and compares what they read.
//! 4. [`result`] is everything that was printed. [`verdict`] holds it against what is promised; [`tables`], [`growth`]
//!    and [`plots`] render it.

mod engines;
mod growth;
mod machine;
mod options;
mod plan;
mod plots;
mod render;
mod result;
mod run;
#[cfg(test)]
mod sample;
mod svg;
mod tables;
mod verdict;

use std::time::SystemTime;

use tsdb_bench::Result;

use crate::options::Command;
use crate::result::Report;

/// The name of the result, beside the plots.
const RESULT: &str = "benchmarks/results.json";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    match options::parse(&arguments, now.as_millis() as i64)? {
        Command::Help => run::say(options::USAGE),
        Command::Render { file, out } => render::write(&Report::read(&file)?, &out),
        Command::Run(options) => {
            let report = run::run(&options, typed(&arguments))?;
            report.write(&options.out.join(RESULT))?;
            render::write(&report, &options.out)?;
            run::say(&render::summary(&report))?;
            if report.errors.is_empty() {
                return Ok(());
            }
            Err(format!(
                "{} errors:\n{}",
                report.errors.len(),
                report.errors.join("\n")
            )
            .into())
        }
    }
}

/// Returns what was typed; directories are no matter of the result.
fn typed(arguments: &[String]) -> String {
    let mut words = vec!["cargo run --release -p tsdb-bench --bin compare --"];
    for argument in arguments {
        let is_directory = words
            .last()
            .is_some_and(|word| ["--dir", "--out", "--corpora"].contains(word));
        words.push(if is_directory { "DIR" } else { argument });
    }
    words.join(" ").trim_end_matches(" --").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_left_out_of_the_command() {
        let arguments = ["--quick", "--dir", "/somewhere"].map(str::to_owned);
        assert!(typed(&arguments).ends_with(" -- --quick --dir DIR"));
        assert!(typed(&[]).ends_with("--bin compare"));
    }
}
