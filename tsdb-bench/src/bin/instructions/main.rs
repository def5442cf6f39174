//! Counts instructions for each sample in the hot loops, or for each series that is found, under callgrind: figures that
//! do not depend on what else the machine does, so that a regression shows.
//!
//! ```text
//! instructions                 counts and prints
//! instructions --write FILE    and writes what is printed
//! instructions --check FILE    and fails if a loop takes five percent more than the file says
//! ```
//!
//! Each loop runs in a process of its own, once short and once long; the difference is what the turns between take.

mod loops;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use tsdb_bench::{Error, Result};

use crate::loops::{LOOPS, Loop, dir_variable, prepare};

/// Turns of the short and of the long run.
const TURNS: [u64; 2] = [64, 192];

/// How many percent more a loop may take than it did.
const TOLERANCE_PERCENT: f64 = 5.0;

/// Instructions below which a difference of the same percentage is nothing.
const TOLERANCE_MIN: f64 = 0.1;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments.as_slice() {
        ["run", name, turns] => {
            let found = LOOPS.iter().find(|hot| hot.name == name);
            (found.ok_or("no such loop")?.run)(turns.parse()?)
        }
        [] => count().and_then(|counts| print(&table(&counts))),
        ["--write", file] => {
            let table = table(&count()?);
            print(&table)?;
            Ok(std::fs::write(file, table)?)
        }
        ["--check", file] => {
            let counts = count()?;
            print(&table(&counts))?;
            check(&counts, &std::fs::read_to_string(file)?)
        }
        _ => Err("one of: --write FILE, --check FILE, or nothing".into()),
    }
}

fn print(text: &str) -> Result<()> {
    Ok(write!(std::io::stdout(), "{text}")?)
}

/// Counts every loop.
fn count() -> Result<Vec<(&'static Loop, f64)>> {
    // Those that open a database need one to be there.
    let dirs = [prepare(TURNS[0])?, prepare(TURNS[1])?];
    let mut out = Vec::new();
    for hot in &LOOPS {
        let short = collected(hot, TURNS[0], dirs[0].path())?;
        let long = collected(hot, TURNS[1], dirs[1].path())?;
        let samples = (TURNS[1] - TURNS[0]) as f64 * hot.samples as f64;
        out.push((hot, (long as f64 - short as f64) / samples));
    }
    Ok(out)
}

/// Returns the instructions of a whole run of a loop.
fn collected(hot: &Loop, turns: u64, dir: &Path) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["run", hot.name, &turns.to_string()])
        .env(dir_variable(turns), dir)
        .output()
        .map_err(|error| format!("valgrind cannot be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{}: {text}", hot.name).into());
    }
    let line = text.lines().find_map(|line| line.split_once("Collected :"));
    let (_, number) = line.ok_or_else(|| format!("valgrind tells no number: {text}"))?;
    Ok(number.trim().parse()?)
}

/// Says which compiler it was: another one makes other instructions.
fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

fn table(counts: &[(&Loop, f64)]) -> String {
    let mut out = format!(
        "# Instructions for each sample, or series found, under callgrind: cargo run --release -p tsdb-bench --bin instructions\n# {}\n",
        compiler()
    );
    for (hot, count) in counts {
        writeln!(out, "{:15} {count:8.2}  {}", hot.name, hot.what)
            .expect("a string takes everything");
    }
    out
}

/// Compares with what was recorded.
fn check(counts: &[(&Loop, f64)], recorded: &str) -> Result<()> {
    let compiler = compiler();
    if !recorded
        .lines()
        .any(|line| line.trim_start_matches("# ") == compiler)
    {
        return print(&format!(
            "recorded with another compiler than {compiler}: nothing to compare with\n"
        ));
    }
    let mut slower = String::new();
    for (hot, count) in counts {
        let Some(before) = number_of(recorded, hot.name) else {
            return Err(Error::from(format!("{} is not recorded", hot.name)));
        };
        let more = count - before;
        if more > TOLERANCE_MIN && more > before * TOLERANCE_PERCENT / 100.0 {
            writeln!(slower, "{}: {count:.2}, it was {before:.2}", hot.name)?;
        }
    }
    if slower.is_empty() {
        return Ok(());
    }
    Err(format!("more instructions than recorded:\n{slower}").into())
}

fn number_of(recorded: &str, name: &str) -> Option<f64> {
    recorded.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(name)).then(|| words.next()?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(count: f64) -> Vec<(&'static Loop, f64)> {
        LOOPS.iter().map(|hot| (hot, count)).collect()
    }

    #[test]
    fn what_is_recorded_is_found_again() {
        let recorded = table(&counts(12.0));
        assert_eq!(number_of(&recorded, "append"), Some(12.0));
        assert!(check(&counts(12.5), &recorded).is_ok());
        assert!(check(&counts(1.0), &recorded).is_ok());
    }

    #[test]
    fn a_loop_that_takes_more_fails() {
        let recorded = table(&counts(12.0));
        let error = check(&counts(13.0), &recorded).unwrap_err().to_string();
        assert!(error.contains("append: 13.00, it was 12.00"), "{error}");
    }

    #[test]
    fn another_compiler_is_not_compared_with() {
        let recorded = table(&counts(1.0)).replace("rustc", "other");
        assert!(check(&counts(13.0), &recorded).is_ok());
    }

    #[test]
    fn every_loop_runs() {
        for hot in LOOPS.iter().filter(|hot| hot.name != "replay") {
            (hot.run)(1).unwrap_or_else(|error| panic!("{}: {error}", hot.name));
        }
    }
}
