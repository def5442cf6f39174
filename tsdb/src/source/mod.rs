//! The one seam for reading: the head, a block and a merge of both look the same from above.
//!
//! A query, a flush, a compaction and an export all read in the same steps:
//!
//! 1. [`SeriesSource::select`] finds the series of one source and returns a [`SeriesCursor`] in label order.
//! 2. [`merge()`] joins the cursors of several sources; equal labels become one series.
//! 3. [`SeriesData::read`] decodes one series inside a range, whole columns at a time: no call through a trait object
//!    per sample.
//!
//! This module knows nothing of files, chunks or indexes. It does not decide either what damage means: an error comes
//! back with the series it belongs to, and what could be read beside the damage is there as well.

mod merge;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::Result;
use crate::index::Cardinality;
use crate::labels::{Matcher, SeriesLabels};
use crate::sample::{Sample, Samples};
use crate::time::TimeRange;

pub(crate) use merge::merge;

/// The samples of one series, not yet decoded.
pub trait SeriesData: Send + Sync {
    /// Appends the samples inside `range` to `out`: in time order, each timestamp once, without what was deleted.
    ///
    /// # Errors
    ///
    /// The first damaged unit met. `out` then holds what the undamaged units gave, still in order: a strict caller
    /// drops it, a lenient one keeps it and reports the error.
    fn read(&self, range: TimeRange, out: &mut Samples) -> Result<()>;

    /// Returns the newest sample inside `range` without decoding the older ones.
    fn latest(&self, range: TimeRange) -> Result<Option<Sample>>;
}

/// One series of a selection.
#[derive(Clone)]
pub struct SourceSeries {
    /// Its identity.
    pub labels: SeriesLabels,
    /// Its samples.
    pub data: Arc<dyn SeriesData>,
}

impl std::fmt::Debug for SourceSeries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceSeries")
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}

/// Walks series in strict label order.
pub trait SeriesCursor: Send {
    /// Returns the next series, or `None` behind the last one.
    ///
    /// # Errors
    ///
    /// A damaged unit. The cursor has passed it: calling again goes on behind the damage or returns `None`, so a
    /// lenient caller may simply go on.
    fn next(&mut self) -> Result<Option<SourceSeries>>;
}

/// Something that holds series: a view of the head, or a block.
pub trait SeriesSource: Send + Sync {
    /// Finds the series that match all `matchers`; those without a sample in `range` may be left out.
    fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Box<dyn SeriesCursor>>;

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
