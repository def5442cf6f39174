//! From samples in any order to commits.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use anyhow::anyhow;
use tsdb::{Appender, Db, Labels, Rejection, SeriesRef, Timestamp};

use crate::exposition::parse_series;

use super::reader::Located;

/// Collects samples and commits them.
pub(super) struct Importer<'a> {
    db: &'a Db,
    appender: Appender,
    extra: &'a [(String, String)],
    /// Time of samples that have none.
    now: Timestamp,
    /// By the text of the series as it stands in the input.
    known: HashMap<Box<str>, u32>,
    series: Vec<Series>,
    samples: Vec<Staged>,
    imported: Imported,
}

/// What an import did.
#[derive(Debug, Default)]
pub(super) struct Imported {
    pub(super) lines: u64,
    pub(super) samples: u64,
    pub(super) commits: u64,
    pub(super) oldest: Option<Timestamp>,
    pub(super) newest: Option<Timestamp>,
    pub(super) refused: BTreeMap<Rejection, Refused>,
}

/// Samples that were refused for one reason.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) count: u64,
    /// File and line of the first.
    pub(super) first: String,
}

struct Series {
    labels: Labels,
    reference: SeriesRef,
    input: Rc<str>,
}

/// A sample that waits for its commit.
#[derive(Clone, Copy)]
struct Staged {
    timestamp: Timestamp,
    value: f64,
    series: u32,
    line: u32,
}

impl<'a> Importer<'a> {
    pub(super) fn new(
        db: &'a Db,
        extra: &'a [(String, String)],
        now: Timestamp,
    ) -> tsdb::Result<Self> {
        let appender = db.appender()?;
        let (known, series, samples) = Default::default();
        Ok(Self {
            db,
            appender,
            extra,
            now,
            known,
            series,
            samples,
            imported: Imported::default(),
        })
    }

    /// Adds a sample; commits when there are many.
    pub(super) fn add(&mut self, located: &Located<'_>) -> anyhow::Result<()> {
        let sample = &located.sample;
        let series = match self.known.get(sample.series) {
            Some(&series) => series,
            None => self.add_series(located)?,
        };
        self.samples.push(Staged {
            timestamp: sample.timestamp.unwrap_or(self.now),
            value: sample.value,
            series,
            // Only told to people; a file of more lines has its last place named.
            line: u32::try_from(located.line_number).unwrap_or(u32::MAX),
        });
        if self.samples.len() >= CHUNK_SAMPLES {
            self.commit()?;
        }
        Ok(())
    }

    fn add_series(&mut self, located: &Located<'_>) -> anyhow::Result<u32> {
        let sample = &located.sample;
        let at = |offset: usize, what| crate::exposition::Fault {
            offset: sample.offset + offset,
            what,
        };
        let pairs = parse_series(sample.series)
            .map_err(|fault| located.error(at(fault.offset, fault.what)))?;
        let own = pairs
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_ref()));
        let own = own.filter(|(name, _)| self.extra.iter().all(|(extra, _)| extra != name));
        let all = own.chain(
            self.extra
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        let labels = Labels::from_pairs(all).map_err(|rejection| {
            let place = located.error(at(0, "this series cannot be stored"));
            anyhow!("{place}: {rejection}")
        })?;
        let series = u32::try_from(self.series.len())
            .map_err(|_error| anyhow!("more series than a chunk of samples"))?;
        self.series.push(Series {
            labels,
            reference: SeriesRef::default(),
            input: Rc::clone(located.input),
        });
        self.known.insert(sample.series.into(), series);
        Ok(series)
    }

    /// Notes the end of an input that had so many lines.
    pub(super) fn end_of_input(&mut self, lines: u64) {
        self.imported.lines += lines;
        // Refusals name the input a series was first seen in, so each input begins with none.
        self.known.clear();
    }

    /// Commits what was added, in order of time.
    pub(super) fn commit(&mut self) -> anyhow::Result<()> {
        let mut samples = std::mem::take(&mut self.samples);
        // Stable, so that of two samples for one time the first in the file wins.
        samples.sort_by_key(|sample| sample.timestamp);
        for together in samples.chunk_by(|one, other| one.timestamp == other.timestamp) {
            self.commit_together(together)?;
        }
        samples.clear();
        self.samples = samples;
        if self.series.len() > SERIES_KEPT_MAX {
            self.series.clear();
            self.known.clear();
        }
        self.relieve()?;
        Ok(())
    }

    /// Commits samples that share a timestamp.
    fn commit_together(&mut self, samples: &[Staged]) -> tsdb::Result<()> {
        let mut appended = Vec::with_capacity(samples.len());
        for sample in samples {
            let series = &mut self.series[sample.series as usize];
            match self.appender.append_cached(
                series.reference,
                &series.labels,
                sample.timestamp,
                sample.value,
            ) {
                Ok(reference) => {
                    series.reference = reference;
                    appended.push(sample);
                }
                Err(rejection) => self.refuse(rejection, sample),
            }
        }
        let commit = self.appender.commit()?;
        for (index, rejection) in commit.rejected {
            self.refuse(rejection, appended[index]);
        }
        self.imported.samples += commit.accepted;
        self.imported.commits += u64::from(commit.sequence.is_some());
        if let (true, Some(sample)) = (commit.accepted > 0, samples.first()) {
            let time = sample.timestamp;
            self.imported.oldest =
                Some(self.imported.oldest.map_or(time, |oldest| oldest.min(time)));
            self.imported.newest =
                Some(self.imported.newest.map_or(time, |newest| newest.max(time)));
        }
        Ok(())
    }

    fn refuse(&mut self, rejection: Rejection, sample: &Staged) {
        let series = &self.series[sample.series as usize];
        let place = || format!("{}:{}", series.input, sample.line);
        let refused = self
            .imported
            .refused
            .entry(rejection)
            .or_insert_with(|| Refused {
                count: 0,
                first: place(),
            });
        refused.count += 1;
    }

    /// Moves a large head into blocks.
    fn relieve(&self) -> tsdb::Result<()> {
        if self.db.stats().memory.head_bytes() > HEAD_BYTES_MAX {
            self.db.flush()?;
            self.db.compact()?;
        }
        Ok(())
    }

    /// Commits the rest and returns what was done.
    pub(super) fn finish(mut self) -> anyhow::Result<Imported> {
        self.commit()?;
        Ok(self.imported)
    }
}

/// Samples that are put in order together: 24 MB, and a day of a thousand series at a scrape a minute fits.
const CHUNK_SAMPLES: usize = 1_000_000;

/// Series remembered from one chunk to the next.
const SERIES_KEPT_MAX: usize = 1_000_000;

/// Memory of the head above which it is flushed.
const HEAD_BYTES_MAX: u64 = 512 << 20;
