//! Which runs there are, in which order.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use tsdb_bench::{Error, Result};

use crate::options::Options;

/// A part of the comparison that can be run by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The synthetic cluster: ingest, restart, flush, select, scan.
    Cluster,
    /// The same, ingest only, at a size that every peer can do.
    Small,
    /// Samples that come one by one.
    Lone,
    /// Values that cannot be compressed.
    Noise,
    /// Two workers.
    Workers,
    /// Eight hours in the head, flushed and merged.
    Long,
    /// Memory after two hours.
    Memory,
    /// The log, sent to a receiver that counts samples and forgets them.
    Send,
    /// Recorded scrapes.
    Corpus,
    /// What this library promises in absolute numbers.
    Limits,
    /// Cost against the number of series, the size of targets, churn and noise.
    Growth,
}

impl Part {
    /// All, in the order in which they run: what says most for its time first.
    pub const ALL: [Self; 11] = [
        Self::Small,
        Self::Corpus,
        Self::Cluster,
        Self::Lone,
        Self::Noise,
        Self::Workers,
        Self::Send,
        Self::Long,
        Self::Limits,
        Self::Growth,
        Self::Memory,
    ];

    /// Returns its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Small => "small",
            Self::Lone => "lone",
            Self::Noise => "noise",
            Self::Workers => "workers",
            Self::Long => "long",
            Self::Memory => "memory",
            Self::Send => "send",
            Self::Corpus => "corpus",
            Self::Limits => "limits",
            Self::Growth => "growth",
        }
    }
}

impl FromStr for Part {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|part| part.name() == name)
            .ok_or_else(|| format!("{name} is no part").into())
    }
}

/// One verb of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Ingest,
    /// Ends with SIGKILL, where the engine has a log.
    IngestAndKill,
    Open,
    Flush,
    Select,
    Scan,
    /// By remote write in this version.
    Send(&'static str),
    /// A day of samples while the remote is away.
    Outage,
}

/// Who takes part in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// This library only.
    Ours,
    /// And Prometheus.
    Prometheus,
    /// And all but those that are only measured when small.
    Large,
    /// Everybody.
    All,
}

impl Field {
    /// Tells whether an engine takes part.
    pub fn has(self, engine: &str) -> bool {
        match engine {
            crate::result::OURS => true,
            "prometheus" => self != Self::Ours,
            "tsink" => self == Self::All,
            _ => matches!(self, Self::Large | Self::All),
        }
    }
}

/// Verbs that run one after the other on one database, by each engine in turn.
#[derive(Debug, Clone)]
pub struct Step {
    pub part: Part,
    pub field: Field,
    pub series: u64,
    pub scrapes: u64,
    pub workers: u32,
    /// Environment of the workload.
    pub shape: Vec<(&'static str, String)>,
    pub verbs: Vec<Verb>,
    /// The corpus, instead of a cluster.
    pub corpus: Option<PathBuf>,
    pub round: u32,
}

/// The value of a variable of the environment.
struct Setting(String);

impl From<u64> for Setting {
    fn from(value: u64) -> Self {
        Self(value.to_string())
    }
}

impl From<&str> for Setting {
    fn from(value: &str) -> Self {
        Self(value.to_owned())
    }
}

/// Scrapes in an hour.
const HOUR: u64 = 240;

impl Step {
    fn new(part: Part, field: Field, series: u64, scrapes: u64, verbs: &[Verb]) -> Self {
        Self {
            part,
            field,
            series,
            scrapes,
            workers: 1,
            shape: Vec::new(),
            verbs: verbs.to_vec(),
            corpus: None,
            round: 0,
        }
    }

    fn with(mut self, name: &'static str, value: impl Into<Setting>) -> Self {
        self.shape.push((name, value.into().0));
        self
    }

    /// Returns the environment as it is written before a command.
    pub fn shape_text(&self) -> String {
        let parts: Vec<String> = self
            .shape
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        parts.join(" ")
    }

    /// Says what it is.
    pub fn title(&self) -> String {
        if let Some(file) = &self.corpus {
            return format!("corpus {}", stem(file));
        }
        let shape = self.shape_text();
        let space = if shape.is_empty() { "" } else { " " };
        format!(
            "{}: {} x {}{space}{shape}, round {}",
            self.part.name(),
            self.series,
            self.scrapes,
            self.round + 1
        )
    }
}

/// Returns the name of a corpus.
pub fn stem(file: &Path) -> String {
    file.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Returns all steps, in the order in which they run.
pub fn steps(options: &Options) -> Vec<Step> {
    let mut out = Vec::new();
    for part in Part::ALL {
        if options.parts.contains(&part) {
            out.extend(steps_of(part, options));
        }
    }
    out
}

fn steps_of(part: Part, options: &Options) -> Vec<Step> {
    use Verb::{Flush, Ingest, IngestAndKill, Open, Scan, Select, Send};
    let sizes = || options.series.iter().copied();
    let (middle, rounds) = sizes().next().unwrap_or((10_000, 1));
    let (largest, _) = sizes().max().unwrap_or((10_000, 1));
    let repeat = |step: Step, rounds: u32| {
        (0..rounds).map(move |round| Step {
            round,
            ..step.clone()
        })
    };
    let checked = [IngestAndKill, Open];
    match part {
        Part::Cluster => sizes()
            .flat_map(|(series, rounds)| {
                let verbs = [IngestAndKill, Open, Flush, Select, Scan];
                repeat(Step::new(part, Field::Large, series, HOUR, &verbs), rounds)
            })
            .collect(),
        Part::Small => vec![Step::new(part, Field::All, 10_000, HOUR, &[Ingest])],
        Part::Lone => {
            let step = Step::new(part, Field::Prometheus, middle, HOUR, &checked);
            repeat(step.with("MODE", "lone"), rounds).collect()
        }
        Part::Noise => {
            let step = Step::new(part, Field::Prometheus, middle, HOUR, &checked);
            repeat(step.with("NOISE", 1), rounds).collect()
        }
        Part::Workers => {
            let mut step = Step::new(part, Field::Prometheus, middle, HOUR, &[Ingest]);
            step.workers = 2;
            repeat(step, rounds).collect()
        }
        Part::Send => {
            let verbs = [IngestAndKill, Send("rw2"), Send("rw1")];
            // A quarter of an hour, so that Prometheus' log is one segment; nothing is flushed, so that ours is whole.
            let step = Step::new(part, Field::Prometheus, middle, HOUR / 4, &verbs);
            repeat(step.with("FLUSH", 0), rounds).collect()
        }
        Part::Long | Part::Memory if options.is_quick => Vec::new(),
        Part::Long => {
            let step = Step::new(part, Field::Prometheus, middle, 8 * HOUR, &[Ingest, Flush]);
            vec![step.with("FLUSH", 0)]
        }
        Part::Memory => vec![Step::new(
            part,
            Field::Prometheus,
            largest,
            2 * HOUR,
            &[Ingest],
        )],
        Part::Corpus => corpora(options),
        Part::Limits if options.is_quick => vec![outage(1000)],
        Part::Limits => vec![
            outage(100_000),
            // Fourteen hours at a scrape a minute: blocks are written and merged while samples come in.
            Step::new(part, Field::Ours, 1_000_000, 14 * 60, &[Ingest])
                .with("CHURN", 100)
                .with("INTERVAL", 60_000)
                .with("STEPS", "beside")
                .with("COMPACT", 1),
            Step::new(part, Field::Ours, 10_000_000, 64, &[Ingest]).with("INTERVAL", 60_000),
        ],
        Part::Growth => growth(options),
    }
}

/// A day at a scrape a minute.
fn outage(series: u64) -> Step {
    let verbs = [Verb::Outage];
    Step::new(Part::Limits, Field::Ours, series, 24 * 60, &verbs).with("INTERVAL", 60_000)
}

fn corpora(options: &Options) -> Vec<Step> {
    let names = ["cluster-15s", "cluster-5s", "cluster-1s"];
    let names = if options.is_quick {
        &names[..1]
    } else {
        &names[..]
    };
    let files = names
        .iter()
        .map(|name| options.corpora.join(name).with_extension("zst"));
    files
        .map(|file| Step {
            corpus: Some(file),
            ..Step::new(Part::Corpus, Field::Large, 0, 0, &[])
        })
        .collect()
}

fn growth(options: &Options) -> Vec<Step> {
    use Verb::{Flush, Ingest, IngestAndKill, Open, Select};
    let part = Part::Growth;
    if options.is_quick {
        let step = Step::new(part, Field::Ours, 10_000, 60, &[Ingest]);
        return vec![step.clone(), step.with("GROUP", 10)];
    }
    let mut out = Vec::new();
    for series in [10_000, 100_000, 1_000_000, 5_000_000] {
        let verbs = [IngestAndKill, Open, Flush, Select];
        // Half an hour, so that five million series take seconds.
        out.push(Step::new(part, Field::Ours, series, HOUR / 2, &verbs));
    }
    let at_100k = || Step::new(part, Field::Ours, 100_000, HOUR, &[IngestAndKill, Open]);
    for group in [10, 30, 100, 300, 1000, 3000, 10_000] {
        out.push(at_100k().with("GROUP", group));
    }
    // Of 100,000 at each of 240 scrapes an hour: 0.24, 1, 5 and 20 percent.
    for churn in [1, 4, 21, 83] {
        out.push(at_100k().with("CHURN", churn));
    }
    out.push(at_100k().with("NOISE", 1));
    out.push(at_100k().with("MODE", "lone"));
    out
}
