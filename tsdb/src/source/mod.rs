//! The one seam for reading: the head, a block and a merge of both look the same from above.
//!
//! A query, a flush, a compaction and an export all read in the same steps:
//!
//! 1. [`SeriesSource::select`] finds the series of one source and returns a [`SeriesWalk`] in label order.
//! 2. [`merge()`] joins the walks of several sources; equal labels become one series.
//! 3. [`SourceSeries::read`] decodes one series inside a range, whole columns at a time: no call through a trait object
//!    per sample.
//!
//! Series come in batches ([`SeriesCursor::next_batch`]): what finding and merging them costs per call is paid once for
//! dozens of them, and what they share is shared by reference.
//!
//! This module knows nothing of files, chunks or indexes. It does not decide either what damage means: an error comes
//! back with the series it belongs to, and what could be read beside the damage is there as well.

mod merge;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::error::Result;
use crate::index::Cardinality;
use crate::labels::{Matcher, SeriesLabels};
use crate::sample::{Sample, Samples};
use crate::time::TimeRange;

pub(crate) use merge::merge;

/// The samples of series of a selection, not yet decoded. What a series is numbered by is between the source and itself.
pub trait SeriesData: Send + Sync {
    /// Appends the samples of a series inside `range` to `out`: in time order, each timestamp once, without what was
    /// deleted.
    ///
    /// # Errors
    ///
    /// The first damaged unit met. `out` then holds what the undamaged units gave, still in order: a strict caller
    /// drops it, a lenient one keeps it and reports the error.
    fn read(&self, number: u32, range: TimeRange, out: &mut Samples) -> Result<()>;

    /// Returns the newest sample of a series inside `range` without decoding the older ones.
    fn latest(&self, number: u32, range: TimeRange) -> Result<Option<Sample>>;
}

/// One series of a selection.
#[derive(Clone)]
pub struct SourceSeries {
    /// Its identity.
    pub labels: SeriesLabels,
    /// Its samples, and those of the series found beside it.
    pub data: Arc<dyn SeriesData>,
    /// Which of them it is.
    pub number: u32,
}

impl SourceSeries {
    /// Appends the samples inside `range` to `out`; see [`SeriesData::read`].
    pub fn read(&self, range: TimeRange, out: &mut Samples) -> Result<()> {
        self.data.read(self.number, range, out)
    }

    /// Returns the newest sample inside `range`.
    pub fn latest(&self, range: TimeRange) -> Result<Option<Sample>> {
        self.data.latest(self.number, range)
    }
}

impl std::fmt::Debug for SourceSeries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceSeries")
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}

/// Finds the series of a selection in strict label order.
pub trait SeriesCursor: Send {
    /// Appends the next series to `out`, possibly none; `false` behind the last one.
    ///
    /// # Errors
    ///
    /// A damaged unit; nothing is appended. The cursor has passed it: calling again goes on behind the damage or returns
    /// `false`, so a lenient caller may simply go on.
    fn next_batch(&mut self, out: &mut VecDeque<SourceSeries>) -> Result<bool>;
}

/// Walks the series of a selection in strict label order.
pub struct SeriesWalk {
    cursor: Box<dyn SeriesCursor>,
    /// Series that were found and not yet asked for.
    batch: VecDeque<SourceSeries>,
}

impl SeriesWalk {
    /// Begins where `cursor` is.
    pub fn new(cursor: Box<dyn SeriesCursor>) -> Self {
        Self {
            cursor,
            batch: VecDeque::new(),
        }
    }

    /// Returns the next series, or `None` behind the last one.
    ///
    /// # Errors
    ///
    /// A damaged unit, which is passed: calling again goes on behind it.
    #[inline]
    pub fn next(&mut self) -> Result<Option<SourceSeries>> {
        loop {
            if let Some(series) = self.batch.pop_front() {
                return Ok(Some(series));
            }
            if !self.cursor.next_batch(&mut self.batch)? {
                return Ok(None);
            }
        }
    }
}

/// Something that holds series: a view of the head, or a block.
pub trait SeriesSource: Send + Sync {
    /// Finds the series that match all `matchers`; those without a sample in `range` may be left out.
    fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<SeriesWalk>;

    /// Returns the label names of the series that match.
    fn label_names(&self, matchers: &[Matcher], range: TimeRange) -> Result<BTreeSet<String>>;

    /// Returns the values that label `name` has in the series that match.
    fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<BTreeSet<String>>;

    /// Adds what this source holds to `cardinality`.
    fn cardinality(&self, cardinality: &mut Cardinality) -> Result<()>;
}

#[cfg(test)]
mod tests;
