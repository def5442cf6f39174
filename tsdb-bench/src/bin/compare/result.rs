//! The result of a comparison: everything that was printed, and where.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tsdb_bench::Result;

use crate::machine::Machine;

/// What this library is called in the output.
pub const OURS: &str = "tsdb-engine";

/// The whole of a comparison. What is rendered is a function of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// 1.
    pub format: u32,
    /// When it began.
    pub started: String,
    /// How long it took.
    pub took_s: f64,
    /// What was typed.
    pub command: String,
    pub machine: Machine,
    /// Of engines and compilers.
    pub versions: BTreeMap<String, String>,
    pub records: Vec<Record>,
    /// What was left out, and why.
    pub skipped: Vec<String>,
    /// What must not happen.
    pub errors: Vec<String>,
}

/// One line of output.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    pub part: String,
    pub engine: String,
    pub series: u64,
    pub scrapes: u64,
    /// The environment, or the name of the corpus.
    pub shape: String,
    pub round: u32,
    /// The command without directories.
    pub command: String,
    pub line: BTreeMap<String, Value>,
}

impl Record {
    /// Returns a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.line.get(name)?.as_f64()
    }

    /// Returns a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.line.get(name)?.as_str()
    }

    /// Tells which verb printed it.
    pub fn is(&self, verb: &str) -> bool {
        self.text("verb") == Some(verb)
    }

    /// Returns the number of its matcher set.
    pub fn case(&self) -> Option<u64> {
        self.line.get("case")?.as_u64()
    }
}

impl Report {
    /// Reads a result.
    pub fn read(path: &Path) -> Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }

    /// Writes the result.
    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(std::fs::write(path, text)?)
    }

    /// Walks what an engine printed in a part.
    pub fn of<'a>(
        &'a self,
        part: &'a str,
        engine: &'a str,
        verb: &'a str,
    ) -> impl Iterator<Item = &'a Record> {
        self.records
            .iter()
            .filter(move |record| record.part == part && record.engine == engine && record.is(verb))
    }

    /// Returns the sizes a part was measured at, ascending.
    pub fn sizes(&self, part: &str) -> Vec<u64> {
        let records = self.records.iter().filter(|record| record.part == part);
        let mut sizes: Vec<u64> = records.map(|record| record.series).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// Returns the engines in a part, this library first.
    pub fn engines(&self, part: &str) -> Vec<&str> {
        let mut engines: Vec<&str> = Vec::new();
        for record in self.records.iter().filter(|record| record.part == part) {
            if !engines.contains(&record.engine.as_str()) {
                engines.push(&record.engine);
            }
        }
        engines.sort_by_key(|engine| {
            let order = [OURS, "prometheus", "victoriametrics", "tsink"];
            order.iter().position(|known| known == engine)
        });
        engines
    }
}

/// The middle, the least and the most of some numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub count: usize,
}

impl Spread {
    /// Returns nothing for no numbers.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.retain(|value| value.is_finite());
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Some(Self {
            median,
            min,
            max,
            count: values.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let spread = Spread::of(vec![3.0, 1.0, f64::NAN, 2.0, 10.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (2.5, 1.0, 10.0));
        assert_eq!(Spread::of(Vec::new()), None);
    }
}
