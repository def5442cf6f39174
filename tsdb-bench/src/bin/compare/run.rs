//! Runs the steps: each engine in turn, in processes of their own.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;
use tsdb_bench::Result;
use tsdb_bench::cluster::write_series;

use crate::engines::{self, Engine};
use crate::machine::{Machine, output};
use crate::options::Options;
use crate::plan::{Part, Step, Verb, stem, steps};
use crate::result::{OURS, Record, Report};

/// Above this many series their labels are not put into a file.
const FILE_SERIES_MAX: u64 = 5_000_000;

/// Measures everything that is asked for.
pub fn run(options: &Options, command: String) -> Result<Report> {
    let began = Instant::now();
    std::fs::create_dir_all(&options.dir)?;
    let mut run = Run {
        options,
        engines: Vec::new(),
        report: Report {
            format: 1,
            started: output("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_default(),
            took_s: 0.0,
            command,
            machine: Machine::here(&options.dir),
            versions: BTreeMap::new(),
            records: Vec::new(),
            skipped: Vec::new(),
            errors: Vec::new(),
        },
    };
    run.find_engines()?;
    let steps = steps(options);
    for (number, step) in steps.iter().enumerate() {
        let minutes = began.elapsed().as_secs_f64() / 60.0;
        if began.elapsed() > options.budget {
            run.skip(&format!("{}: {minutes:.0} minutes are over", step.title()))?;
            continue;
        }
        say(&format!(
            "[{:2}/{}] {:4.1} min  {}",
            number + 1,
            steps.len(),
            minutes,
            step.title()
        ))?;
        run.step(step)?;
    }
    run.report.took_s = began.elapsed().as_secs_f64();
    run.remove_files()?;
    Ok(run.report)
}

struct Run<'a> {
    options: &'a Options,
    engines: Vec<Engine>,
    report: Report,
}

impl Run<'_> {
    fn find_engines(&mut self) -> Result<()> {
        self.engines.push(engines::ours()?);
        for name in &self.options.peers {
            match engines::peer(name, &self.options.dir) {
                Ok(engine) => self.engines.push(engine),
                Err(reason) => self.skip(&format!("{name}: {reason}"))?,
            }
        }
        for engine in &self.engines {
            let version = engine.version.clone();
            self.report.versions.insert(engine.name.clone(), version);
        }
        for (tool, argument) in [("rustc", "--version"), ("go", "version")] {
            if let Some(version) = output(tool, &[argument]) {
                self.report.versions.insert(tool.to_owned(), version);
            }
        }
        Ok(())
    }

    fn skip(&mut self, what: &str) -> Result<()> {
        say(&format!("SKIPPED {what}"))?;
        self.report.skipped.push(what.to_owned());
        Ok(())
    }

    fn error(&mut self, what: String) -> Result<()> {
        say(&format!("ERROR {what}"))?;
        self.report.errors.push(what);
        Ok(())
    }

    /// Runs a step by each engine that takes part, and compares what they found.
    fn step(&mut self, step: &Step) -> Result<()> {
        if step.corpus.as_ref().is_some_and(|file| !file.is_file()) {
            return self.skip(&format!("{}: there are no recorded scrapes", step.title()));
        }
        let first = self.report.records.len();
        // Whoever goes first in one round goes last in the next.
        let mut engines: Vec<Engine> = self.engines.clone();
        engines.retain(|engine| step.field.has(&engine.name));
        if step.round % 2 == 1 {
            engines.reverse();
        }
        for engine in &engines {
            let is_other = ![OURS, "prometheus"].contains(&engine.name.as_str());
            if is_other && step.series > self.options.others_max {
                self.skip(&format!(
                    "{}: {}: too many series",
                    step.title(),
                    engine.name
                ))?;
                continue;
            }
            self.step_of(step, engine)?;
        }
        if step.verbs.contains(&Verb::Open) {
            self.check_definition(step, first)?;
        }
        self.check_same(step, first)
    }

    fn step_of(&mut self, step: &Step, engine: &Engine) -> Result<()> {
        let dir = self.options.dir.join("db");
        remove(&dir)?;
        // What others left to be written must not be written on this one's time.
        drop(output("sync", &[]));
        let receiver = step
            .verbs
            .iter()
            .any(|verb| matches!(verb, Verb::Send(_)))
            .then(|| Receiver::start(&self.engines[0].program))
            .transpose()?;
        let url = receiver.as_ref().map_or("", |receiver| &receiver.url);
        for command in self.commands(step, engine, &dir, url)? {
            let began = Instant::now();
            let lines = match lines(&command, engine) {
                Ok(lines) => lines,
                Err(error) if engine.name == OURS => {
                    self.error(format!("{}: {}: {error}", step.title(), engine.name))?;
                    break;
                }
                // A peer that fails is a missing figure, not a failure of the comparison.
                Err(error) => {
                    self.skip(&format!("{}: {}: {error}", step.title(), engine.name))?;
                    break;
                }
            };
            say(&format!(
                "        {:15} {:7} {:6.1} s",
                engine.name,
                command.verb,
                began.elapsed().as_secs_f64()
            ))?;
            self.report.records.extend(lines.into_iter().map(|line| {
                Record {
                    part: step.part.name().to_owned(),
                    engine: engine.name.clone(),
                    series: step.series,
                    scrapes: step.scrapes,
                    shape: step
                        .corpus
                        .as_deref()
                        .map_or_else(|| step.shape_text(), stem),
                    round: step.round,
                    command: command.text(),
                    line,
                }
            }));
        }
        remove(&dir)
    }

    fn commands(&self, step: &Step, engine: &Engine, dir: &Path, url: &str) -> Result<Vec<Call>> {
        let dir = dir.to_string_lossy().into_owned();
        let call = |verb: &'static str, arguments: Vec<String>| Call {
            program: engine.program.clone(),
            environment: step.shape.clone(),
            verb,
            arguments,
        };
        if let Some(file) = &step.corpus {
            let file = file.to_string_lossy().into_owned();
            return Ok(vec![call("corpus", vec![file, dir])]);
        }
        let mut calls = Vec::new();
        for verb in &step.verbs {
            calls.push(match verb {
                Verb::Ingest | Verb::IngestAndKill => {
                    let file = self.series_file(step.series)?;
                    let numbers = [
                        step.series.to_string(),
                        step.scrapes.to_string(),
                        match step.part {
                            Part::Send => self.options.ahead_ms.to_string(),
                            _ => self.options.start_ms.to_string(),
                        },
                        step.workers.to_string(),
                    ];
                    let arguments = [dir.clone(), file].into_iter().chain(numbers);
                    let mut call = call("ingest", arguments.collect());
                    if *verb == Verb::IngestAndKill && engine.has_log {
                        call.environment.push(("KILL", "1".to_owned()));
                    }
                    call
                }
                Verb::Outage => {
                    let file = self.series_file(step.series)?;
                    call("outage", vec![dir.clone(), file, step.series.to_string()])
                }
                Verb::Open => call("open", vec![dir.clone()]),
                Verb::Flush => call("flush", vec![dir.clone()]),
                Verb::Select => call("select", vec![dir.clone()]),
                Verb::Scan => call("scan", vec![dir.clone()]),
                Verb::Send(protocol) => {
                    let samples = (step.series * step.scrapes).to_string();
                    let arguments =
                        vec![dir.clone(), url.to_owned(), (*protocol).to_owned(), samples];
                    call("send", arguments)
                }
            });
        }
        Ok(calls)
    }

    /// Returns the file with that many series, made when it is first needed.
    fn series_file(&self, series: u64) -> Result<String> {
        if series > FILE_SERIES_MAX {
            return Ok("-".to_owned());
        }
        let path = self.options.dir.join(format!("series-{series}"));
        if !path.exists() {
            let unfinished = path.with_extension("tmp");
            let mut out = std::io::BufWriter::new(std::fs::File::create(&unfinished)?);
            write_series(series, &mut out)?;
            out.flush()?;
            std::fs::rename(unfinished, &path)?;
        }
        Ok(path.to_string_lossy().into_owned())
    }

    fn remove_files(&self) -> Result<()> {
        for entry in std::fs::read_dir(&self.options.dir)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("series-") {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Compares what was read with the definition of the workload: it proves that everybody had the same input.
    fn check_definition(&mut self, step: &Step, first: usize) -> Result<()> {
        let ours = self.engines[0].clone();
        let call = Call {
            program: ours.program.clone(),
            environment: step.shape.clone(),
            verb: "checksum",
            arguments: [step.series, step.scrapes, self.options.start_ms as u64]
                .map(|number| number.to_string())
                .to_vec(),
        };
        let lines = lines(&call, &ours)?;
        let expected = lines.first().and_then(|line| line.get("checksum")).cloned();
        let mut wrong = Vec::new();
        for record in &self.report.records[first..] {
            let is_exact = self.is_exact(&record.engine);
            if is_exact && record.is("open") && record.line.get("checksum") != expected.as_ref() {
                wrong.push(format!(
                    "{}: {}: samples that were read have checksum {:?}, defined is {expected:?}",
                    step.title(),
                    record.engine,
                    record.text("checksum")
                ));
            }
        }
        wrong.into_iter().try_for_each(|what| self.error(what))
    }

    /// Compares what engines found for the same question.
    fn check_same(&mut self, step: &Step, first: usize) -> Result<()> {
        let records = &self.report.records[first..];
        let mut wrong = Vec::new();
        for ours in records.iter().filter(|record| record.engine == OURS) {
            let fields: &[&str] = match ours.text("verb") {
                Some("select") => &["found", "checksum"],
                Some("scan") => &["found", "samples", "checksum"],
                _ => continue,
            };
            let same = records.iter().filter(|theirs| {
                theirs.engine != OURS
                    && theirs.text("verb") == ours.text("verb")
                    && theirs.case() == ours.case()
            });
            for theirs in same {
                let is_lossy = !self.is_exact(&theirs.engine) && ours.is("scan");
                for field in fields
                    .iter()
                    .filter(|field| !(is_lossy && **field == "checksum"))
                {
                    if ours.line.get(*field) != theirs.line.get(*field) {
                        wrong.push(format!(
                            "{}: {} {}: {field} is {:?}, with {} {:?}",
                            step.title(),
                            ours.text("verb").unwrap_or_default(),
                            ours.case().unwrap_or_default(),
                            ours.line.get(*field),
                            theirs.engine,
                            theirs.line.get(*field)
                        ));
                    }
                }
            }
        }
        wrong.into_iter().try_for_each(|what| self.error(what))
    }

    fn is_exact(&self, name: &str) -> bool {
        let mut engines = self.engines.iter();
        engines.all(|engine| engine.name != name || engine.is_exact)
    }
}

/// Where everybody sends to: a process of its own, so that its CPU time is nobody's.
struct Receiver {
    process: Child,
    url: String,
}

impl Receiver {
    fn start(program: &Path) -> Result<Self> {
        let mut process = Command::new(program)
            .arg("receive")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let output = process.stdout.take().ok_or("a process without output")?;
        BufReader::new(output).read_line(&mut line)?;
        let mut receiver = Self {
            process,
            url: String::new(),
        };
        let line: Value = serde_json::from_str(&line)?;
        receiver.url = line["url"]
            .as_str()
            .ok_or("it says where it is")?
            .to_owned();
        Ok(receiver)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // One that has ended by itself needs nothing.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A process to run.
struct Call {
    program: PathBuf,
    environment: Vec<(&'static str, String)>,
    verb: &'static str,
    arguments: Vec<String>,
}

impl Call {
    /// Returns what one would type; of paths only the last part.
    fn text(&self) -> String {
        let short = |text: &str| text.rsplit('/').next().unwrap_or(text).to_owned();
        let environment = self
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let program = [short(&self.program.to_string_lossy()), self.verb.to_owned()];
        let arguments = self.arguments.iter().map(|argument| short(argument));
        let words: Vec<String> = environment.chain(program).chain(arguments).collect();
        words.join(" ")
    }
}

/// Runs a process and returns the objects it prints.
fn lines(call: &Call, engine: &Engine) -> Result<Vec<BTreeMap<String, Value>>> {
    let output = Command::new(&call.program)
        .arg(call.verb)
        .args(&call.arguments)
        .envs(call.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()?;
    let is_killed = call.environment.iter().any(|(name, _)| *name == "KILL");
    let is_as_asked = output.status.success() || (is_killed && output.status.code().is_none());
    if !is_as_asked {
        let text = String::from_utf8_lossy(&output.stderr);
        let last = text.lines().last().unwrap_or("no word of it");
        return Err(format!("{} ends with {}: {last}", call.verb, output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let lines = text.lines().map(|line| Ok(serde_json::from_str(line)?));
    let lines: Vec<BTreeMap<String, Value>> = lines.collect::<Result<_>>()?;
    if lines.is_empty() {
        return Err(format!("{}: {} prints nothing", engine.name, call.verb).into());
    }
    Ok(lines)
}

fn remove(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints a line of progress.
pub fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
