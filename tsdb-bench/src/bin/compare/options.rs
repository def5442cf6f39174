//! What is asked of the program.

use std::path::PathBuf;
use std::time::Duration;

use tsdb_bench::{Error, Result};

use crate::plan::Part;

/// The words the program understands.
pub const USAGE: &str = "\
compare [OPTIONS]          runs the workloads and writes the result and what is rendered from it
compare growth [OPTIONS]   the same as --only growth
compare render FILE        renders again from a result

  --quick                  10,000 series, one round, no peers: a smoke test
  --series N[xR],...       sizes, each with a number of rounds (100000x2,1000000x1)
  --rounds R               rounds of the sizes that name none
  --only PART,...          cluster small lone noise workers send long memory corpus limits growth
  --peers NAME,...         prometheus victoriametrics tsink; none
  --others-max N           series up to which peers other than Prometheus take part (all)
  --dir DIR                where databases are put (the system's place for temporary files)
  --corpora DIR            where the recorded corpora are (../shared/data/corpus)
  --budget MINUTES         begins nothing new after that (35)
  --start T0               timestamp of the first scrape (ten hours ago, at the beginning of a block)
  --out DIR                where the result goes (docs of this repository; with --quick below --dir)
";

/// What is to be done.
#[derive(Debug)]
pub enum Command {
    /// Measure, then render.
    Run(Options),
    /// Say what can be asked for.
    Help,
    /// Render a result.
    Render { file: PathBuf, out: PathBuf },
}

/// How to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// Sizes with their rounds.
    pub series: Vec<(u64, u32)>,
    pub parts: Vec<Part>,
    pub peers: Vec<String>,
    /// Series up to which peers other than Prometheus take part.
    pub others_max: u64,
    pub dir: PathBuf,
    pub corpora: PathBuf,
    pub budget: Duration,
    pub start_ms: i64,
    /// The beginning of a block that is not yet: what Prometheus sends has to be newer than its start.
    pub ahead_ms: i64,
    pub out: PathBuf,
    /// Whether sizes that nobody chose are small too.
    pub is_quick: bool,
}

/// Two hours, in milliseconds: the blocks of every engine begin at multiples.
const BLOCK_MS: i64 = 2 * 3_600_000;

/// How long before now the data begins: eight hours of it are in the past.
const AGO_MS: i64 = 10 * 3_600_000;

/// All peers there are drivers for.
pub const PEERS: [&str; 3] = ["prometheus", "victoriametrics", "tsink"];

/// Reads the arguments; `now_ms` is the time.
pub fn parse(arguments: &[String], now_ms: i64) -> Result<Command> {
    let docs = crate::engines::repository().join("docs");
    let mut arguments = arguments.iter().map(String::as_str).peekable();
    let mut options = Options {
        series: Vec::new(),
        parts: Vec::new(),
        peers: Vec::new(),
        dir: std::env::temp_dir().join("tsdb-compare"),
        corpora: crate::engines::repository().join("../shared/data/corpus"),
        others_max: u64::MAX,
        budget: Duration::from_secs(35 * 60),
        start_ms: (now_ms - AGO_MS) / BLOCK_MS * BLOCK_MS,
        ahead_ms: (now_ms / BLOCK_MS + 2) * BLOCK_MS,
        out: PathBuf::new(),
        is_quick: false,
    };
    let mut rounds = 2;
    let mut sizes = "";
    let (mut out, mut peers) = (None, None);
    if arguments.next_if_eq(&"growth").is_some() {
        options.parts = vec![Part::Growth];
    }
    if arguments.next_if_eq(&"render").is_some() {
        let file = arguments.next().ok_or("render FILE")?.into();
        return match arguments.next() {
            None => Ok(Command::Render { file, out: docs }),
            Some("--out") => Ok(Command::Render {
                file,
                out: arguments.next().ok_or("--out DIR")?.into(),
            }),
            Some(other) => Err(unknown(other)),
        };
    }
    while let Some(name) = arguments.next() {
        if name == "--help" {
            return Ok(Command::Help);
        }
        if name == "--quick" {
            options.is_quick = true;
            continue;
        }
        let value = arguments
            .next()
            .ok_or_else(|| format!("{name} needs a value\n{USAGE}"))?;
        match name {
            "--series" => sizes = value,
            "--rounds" => rounds = value.parse()?,
            "--only" => options.parts = value.split(',').map(str::parse).collect::<Result<_>>()?,
            "--peers" => peers = Some(value),
            "--others-max" => options.others_max = value.parse()?,
            "--dir" => options.dir = value.into(),
            "--corpora" => options.corpora = value.into(),
            "--budget" => options.budget = Duration::from_secs_f64(value.parse::<f64>()? * 60.0),
            "--start" => options.start_ms = value.parse()?,
            "--out" => out = Some(PathBuf::from(value)),
            other => return Err(unknown(other)),
        }
    }
    let otherwise = if options.is_quick {
        "10000x1"
    } else {
        "100000,1000000x1"
    };
    options.series = parse_sizes(if sizes.is_empty() { otherwise } else { sizes }, rounds)?;
    options.peers = match peers {
        Some("none") => Vec::new(),
        Some(names) => names.split(',').map(str::to_owned).collect(),
        None if options.is_quick => Vec::new(),
        None => PEERS.map(str::to_owned).to_vec(),
    };
    if options.parts.is_empty() {
        options.parts = Part::ALL.to_vec();
    }
    options.out = out.unwrap_or_else(|| {
        if options.is_quick {
            options.dir.join("docs")
        } else {
            docs
        }
    });
    Ok(Command::Run(options))
}

fn unknown(argument: &str) -> Error {
    format!("{argument} is not known\n{USAGE}").into()
}

fn parse_sizes(text: &str, rounds: u32) -> Result<Vec<(u64, u32)>> {
    let size = |part: &str| match part.split_once('x') {
        Some((series, rounds)) => Ok((series.parse()?, rounds.parse()?)),
        None => Ok((part.parse()?, rounds)),
    };
    text.split(',').map(size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &[&str]) -> Options {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        match parse(&arguments, 1_795_360_000_000).unwrap() {
            Command::Run(options) => options,
            other => panic!("{other:?} was not asked for"),
        }
    }

    #[test]
    fn sizes_have_rounds() {
        let options = run(&["--series", "100000x3,1000000", "--rounds", "4"]);
        assert_eq!(options.series, [(100_000, 3), (1_000_000, 4)]);
        assert_eq!(options.peers, PEERS);
        assert_eq!(options.start_ms % BLOCK_MS, 0);
    }

    #[test]
    fn a_quick_run_is_small_and_without_peers() {
        let options = run(&["--quick"]);
        assert_eq!(options.series, [(10_000, 1)]);
        assert!(options.peers.is_empty());
        assert_eq!(
            run(&["--quick", "--peers", "prometheus"]).peers,
            ["prometheus"]
        );
    }

    #[test]
    fn growth_is_a_part() {
        assert_eq!(run(&["growth"]).parts, [Part::Growth]);
    }
}
