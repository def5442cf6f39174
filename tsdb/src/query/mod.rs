//! The way out: one view over all sources.
//!
//! A [`Querier`] holds sources and a span of time. A selection asks each source, merges their series by labels, and
//! decodes a series when its samples are asked for. It does not know which source is the head and which is a block.

mod series;

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::index::Cardinality;
use crate::labels::Matcher;
use crate::limits::MATCHERS_MAX;
use crate::source::{SeriesSource, SeriesWalk, merge};
use crate::time::{TimeRange, Timestamp};

pub use series::{Chunk, LatestSample, Series};

/// Reads one consistent state of the database over a span of time.
///
/// A commit is in it entirely or not at all. Nothing is locked while it lives, but the head keeps what it may still
/// read: drop it when done.
pub struct Querier {
    sources: Vec<Arc<dyn SeriesSource>>,
    range: TimeRange,
    /// What must stay while sources are read.
    keep: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for Querier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Querier")
            .field("range", &self.range)
            .field("sources", &self.sources.len())
            .finish_non_exhaustive()
    }
}

impl Querier {
    /// `sources` stand in the order in which they win where they disagree about a sample.
    pub(crate) fn new(
        sources: Vec<Arc<dyn SeriesSource>>,
        range: TimeRange,
        keep: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        Self {
            sources,
            range,
            keep,
        }
    }

    /// Returns the span of time that is read.
    pub fn range(&self) -> TimeRange {
        self.range
    }

    /// Finds the series that match all `matchers`, ordered by metric name and then by the other labels.
    ///
    /// Series without a sample in the span may be among them. No sample is decoded yet. The answer owns what it needs
    /// and may outlive the querier and move to another thread.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Limit`](crate::error::ErrorKind::Limit) for too many matchers; damage of an index.
    pub fn select(&self, matchers: &[Matcher]) -> Result<SeriesSet> {
        check(matchers)?;
        let walks = self
            .sources
            .iter()
            .map(|source| source.select(matchers, self.range))
            .collect::<Result<Vec<_>>>()?;
        Ok(SeriesSet {
            walk: merge(walks),
            range: self.range,
            _keep: Arc::clone(&self.keep),
        })
    }

    /// Returns the newest sample of each matching series at or before `at` and no more than `lookback_ms` older; series
    /// whose newest sample is a staleness marker are left out. What `/federate` answers and an instant query begins with.
    ///
    /// Whole chunks are decoded only where no newer data answers.
    pub fn latest(
        &self,
        matchers: &[Matcher],
        at: Timestamp,
        lookback_ms: i64,
    ) -> Result<Vec<LatestSample>> {
        check(matchers)?;
        let window = TimeRange::closed(at.saturating_sub(lookback_ms), at).intersect(&self.range);
        let walks = self
            .sources
            .iter()
            .map(|source| source.select(matchers, window))
            .collect::<Result<Vec<_>>>()?;
        let mut walk = merge(walks);
        let mut latest = Vec::new();
        while let Some(series) = walk.next()? {
            if let Some(sample) = series.latest(window)?
                && !crate::sample::is_stale(sample.value)
            {
                latest.push(LatestSample {
                    labels: series.labels.to_labels(),
                    sample,
                });
            }
        }
        Ok(latest)
    }

    /// Returns the label names of the series that match, in order, at most `limit`.
    pub fn label_names(&self, matchers: &[Matcher], limit: usize) -> Result<Vec<String>> {
        self.union(matchers, limit, |source| {
            source.label_names(matchers, self.range)
        })
    }

    /// Returns the values of label `name` in the series that match, in order, at most `limit`.
    pub fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        limit: usize,
    ) -> Result<Vec<String>> {
        self.union(matchers, limit, |source| {
            source.label_values(name, matchers, self.range)
        })
    }

    fn union(
        &self,
        matchers: &[Matcher],
        limit: usize,
        get: impl Fn(&dyn SeriesSource) -> Result<BTreeSet<String>>,
    ) -> Result<Vec<String>> {
        check(matchers)?;
        let mut all = BTreeSet::new();
        for source in &self.sources {
            all.append(&mut get(&**source)?);
        }
        Ok(all.into_iter().take(limit).collect())
    }

    /// Returns which metrics, labels and label pairs have the most series behind them, the `limit` largest of each.
    ///
    /// Of sources that know the same name the largest count is taken: exact where the head or one block holds all.
    pub fn cardinality(&self, limit: usize) -> Result<Cardinality> {
        let mut cardinality = Cardinality::new(limit);
        for source in &self.sources {
            source.cardinality(&mut cardinality)?;
        }
        Ok(cardinality)
    }
}

fn check(matchers: &[Matcher]) -> Result<()> {
    if matchers.len() > MATCHERS_MAX {
        return Err(Error::limit(format!(
            "{} matchers, at most {MATCHERS_MAX} are allowed",
            matchers.len()
        )));
    }
    Ok(())
}

/// The series of a selection, ordered by metric name and then by the other labels.
///
/// After an error the iterator goes on behind the damaged unit, so a caller that prefers most of the answer to none
/// just keeps the errors.
pub struct SeriesSet {
    walk: SeriesWalk,
    range: TimeRange,
    _keep: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for SeriesSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeriesSet")
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

impl Iterator for SeriesSet {
    type Item = Result<Series>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.walk.next() {
            Ok(Some(series)) => Some(Ok(Series::new(series, self.range))),
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        }
    }
}
