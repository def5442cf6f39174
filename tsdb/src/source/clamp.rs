//! A cursor limited to a span of time.

use std::sync::Arc;

use crate::error::Result;
use crate::sample::{Sample, Samples};
use crate::source::{SeriesCursor, SeriesData, SourceSeries};
use crate::time::TimeRange;

/// Limits what can be read through `cursor` to `range`. Series that have no sample there still come.
pub(crate) fn clamp(cursor: Box<dyn SeriesCursor>, range: TimeRange) -> Box<dyn SeriesCursor> {
    if range == TimeRange::ALL {
        return cursor;
    }
    Box::new(ClampCursor { cursor, range })
}

struct ClampCursor {
    cursor: Box<dyn SeriesCursor>,
    range: TimeRange,
}

impl SeriesCursor for ClampCursor {
    fn next(&mut self) -> Result<Option<SourceSeries>> {
        let Some(SourceSeries { labels, data }) = self.cursor.next()? else {
            return Ok(None);
        };
        let data = Arc::new(ClampedData {
            data,
            range: self.range,
        });
        Ok(Some(SourceSeries { labels, data }))
    }
}

struct ClampedData {
    data: Arc<dyn SeriesData>,
    range: TimeRange,
}

impl SeriesData for ClampedData {
    fn read(&self, range: TimeRange, out: &mut Samples) -> Result<()> {
        self.data.read(range.intersect(&self.range), out)
    }

    fn latest(&self, range: TimeRange) -> Result<Option<Sample>> {
        self.data.latest(range.intersect(&self.range))
    }
}
