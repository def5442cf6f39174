//! `corpus`: recorded scrapes go in, and every bit must come out.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tsdb::{
    Appender, Background, Db, Labels, ManualClock, Options, Samples, SeriesRef, Target, TimeRange,
};
use tsdb_bench::corpus::{Corpus, read};
use tsdb_bench::json::Line;
use tsdb_bench::measure::{Spent, Stopwatch};
use tsdb_bench::{Error, Result};

use crate::ingest::RETENTION;
use crate::open::{open, report};

pub fn run(file: &Path, dir: &Path) -> Result<()> {
    let corpus = read(file)?;
    let labels: Vec<Labels> = corpus
        .series
        .iter()
        .map(|series| series.text.parse())
        .collect::<tsdb::Result<_>>()?;
    let samples: u64 = corpus
        .series
        .iter()
        .map(|series| series.values.len() as u64)
        .sum();
    let clock = Arc::new(ManualClock::new(
        corpus
            .columns
            .iter()
            .flatten()
            .copied()
            .min()
            .unwrap_or_default(),
    ));
    let options = Options::default()
        .with_clock(Arc::clone(&clock) as Arc<_>)
        .with_retention(Some(RETENTION))
        .with_compaction(false)
        .with_listener(Some(Arc::new(report)))
        .with_background(Background::Manual);
    let db = Db::open(dir, options)?;
    let appended = append(&corpus, &labels, &db, &clock)?;
    let stats = db.stats();
    db.flush()?;
    db.close()?;
    tsdb::internals::merge_all_blocks(dir)?;

    let db = open(dir)?;
    let watch = Stopwatch::start();
    let read = read_all(&db)?;
    let scanned = watch.spent();
    compare(&corpus, &labels, &db)?;
    let [block] = db
        .stats()
        .blocks
        .try_into()
        .map_err(|blocks: Vec<_>| format!("{} blocks instead of one", blocks.len()))?;
    if (read, block.samples) != (samples, samples) {
        return Err(Error::from(format!(
            "{samples} samples went in, {read} came out, {} are in the block",
            block.samples
        )));
    }
    let per_sample = |value: f64| value / samples as f64;
    Line::new("corpus")
        .count("samples", samples)
        .count("series", labels.len() as u64)
        .number("append_ns", per_sample(appended.cpu_s * 1e9))
        .number("scan_ns", per_sample(scanned.wall_s * 1e9))
        .number(
            "bytes_per_sample",
            per_sample((block.chunk_bytes + block.index_bytes) as f64),
        )
        .count("chunk_bytes", block.chunk_bytes)
        .count("index_bytes", block.index_bytes)
        .count(
            "log_bytes",
            stats
                .log_written_bytes
                .saturating_sub(stats.log_definition_bytes),
        )
        .count("definition_bytes", stats.log_definition_bytes)
        .count("samples_in_rows", stats.samples_in_rows)
        .count("samples_alone", stats.samples_alone)
        .print()?;
    Ok(())
}

/// One scraped target of the recording.
#[derive(Default)]
struct Job {
    target: Target,
    series: Vec<JobSeries>,
    columns: Vec<JobColumn>,
}

struct JobSeries {
    /// Its place in the corpus.
    index: usize,
    /// The place of its column in [`Job::columns`].
    column: usize,
    /// What the database calls it, once it was appended.
    reference: Option<SeriesRef>,
}

struct JobColumn {
    /// Its place in the corpus.
    index: usize,
    /// The next timestamp to append.
    next: usize,
    /// Whether that is the one of the scrape being appended.
    is_scraped: bool,
}

impl Job {
    fn add(&mut self, index: usize, column_index: usize) {
        let known = self
            .columns
            .iter()
            .position(|column| column.index == column_index);
        let column = known.unwrap_or_else(|| {
            self.columns.push(JobColumn {
                index: column_index,
                next: 0,
                is_scraped: false,
            });
            self.columns.len() - 1
        });
        self.series.push(JobSeries {
            index,
            column,
            reference: None,
        });
    }

    /// Stages everything that was scraped at `timestamp`; returns how many samples that is.
    fn append(
        &mut self,
        corpus: &Corpus,
        labels: &[Labels],
        timestamp: i64,
        scratch: &mut Scratch,
        appender: &mut Appender,
    ) -> Result<usize> {
        for column in &mut self.columns {
            column.is_scraped = corpus.columns[column.index].get(column.next) == Some(&timestamp);
        }
        scratch.references.clear();
        scratch.values.clear();
        let mut is_known = true;
        for series in &self.series {
            let column = &self.columns[series.column];
            if column.is_scraped {
                is_known &= series.reference.is_some();
                scratch
                    .references
                    .push(series.reference.unwrap_or_default());
                scratch
                    .values
                    .push(corpus.series[series.index].values[column.next]);
            }
        }
        appender.set_target(&self.target);
        if is_known {
            appender.append_scrape(timestamp, &scratch.references, &scratch.values)?;
        } else {
            let scraped = self
                .series
                .iter_mut()
                .filter(|series| self.columns[series.column].is_scraped);
            for (series, value) in scraped.zip(&scratch.values) {
                let known = series.reference.unwrap_or_default();
                series.reference = Some(appender.append_cached(
                    known,
                    &labels[series.index],
                    timestamp,
                    *value,
                )?);
            }
        }
        for column in &mut self.columns {
            column.next += usize::from(column.is_scraped);
        }
        Ok(scratch.values.len())
    }
}

/// Columns of one scrape.
#[derive(Default)]
struct Scratch {
    references: Vec<SeriesRef>,
    values: Vec<f64>,
}

/// Appends the corpus in order of time, one commit per job and timestamp.
fn append(corpus: &Corpus, labels: &[Labels], db: &Db, clock: &ManualClock) -> Result<Spent> {
    let mut jobs: BTreeMap<&str, Job> = BTreeMap::new();
    for (index, labels) in labels.iter().enumerate() {
        jobs.entry(labels.get("job").unwrap_or_default())
            .or_default()
            .add(index, corpus.series[index].column);
    }
    let mut jobs: Vec<Job> = jobs.into_values().collect();
    let mut scrapes: Vec<(i64, usize)> = Vec::new();
    for (number, job) in jobs.iter().enumerate() {
        scrapes.extend(
            job.columns
                .iter()
                .flat_map(|column| &corpus.columns[column.index])
                .map(|&timestamp| (timestamp, number)),
        );
    }
    scrapes.sort_unstable();
    scrapes.dedup();

    let mut scratch = Scratch::default();
    let watch = Stopwatch::start();
    let mut appender = db.appender()?;
    for (timestamp, number) in scrapes {
        clock.set(timestamp);
        let expected =
            jobs[number].append(corpus, labels, timestamp, &mut scratch, &mut appender)?;
        let commit = appender.commit()?;
        if commit.accepted != expected as u64 {
            return Err(Error::from(format!(
                "{} of {expected} samples were taken: {:?}",
                commit.accepted,
                commit.rejected.first()
            )));
        }
    }
    Ok(watch.spent())
}

fn read_all(db: &Db) -> Result<u64> {
    let mut count = 0;
    let mut samples = Samples::default();
    for series in db.querier(TimeRange::ALL)?.select(&[])? {
        series?.read(&mut samples)?;
        count += samples.len() as u64;
    }
    Ok(count)
}

/// Compares every series with the recording, bit for bit.
fn compare(corpus: &Corpus, labels: &[Labels], db: &Db) -> Result<()> {
    let places: BTreeMap<&Labels, usize> = labels.iter().zip(0..).collect();
    let mut seen = 0;
    let mut samples = Samples::default();
    for series in db.querier(TimeRange::ALL)?.select(&[])? {
        let series = series?;
        let place = *places
            .get(&series.labels().to_labels())
            .ok_or_else(|| format!("{} was not appended", series.labels()))?;
        let recorded = &corpus.series[place];
        series.read(&mut samples)?;
        let is_same = samples.timestamps == corpus.columns[recorded.column]
            && samples.values.len() == recorded.values.len()
            && samples
                .values
                .iter()
                .zip(&recorded.values)
                .all(|(read, written)| read.to_bits() == written.to_bits());
        if !is_same {
            return Err(Error::from(format!(
                "{} differs from the recording",
                series.labels()
            )));
        }
        seen += 1;
    }
    if seen != labels.len() {
        return Err(Error::from(format!(
            "{seen} of {} series came back",
            labels.len()
        )));
    }
    Ok(())
}
