//! A block read like any other source of series.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::block::Block;
use crate::block::chunks::Readings;
use crate::error::Result;
use crate::index::{Cardinality, Found};
use crate::labels::Matcher;
use crate::sample::{Sample, Samples};
use crate::source::{SeriesCursor, SeriesData, SeriesSource, SeriesWalk, SourceSeries};
use crate::time::TimeRange;
use crate::tombstone::Tombstones;

/// A block as a source of series, without what was deleted when the source was made. Later deletions do not change it.
#[derive(Debug, Clone)]
pub(crate) struct BlockSource {
    block: Arc<Block>,
    tombstones: Arc<Tombstones>,
}

impl BlockSource {
    pub(crate) fn new(block: Arc<Block>) -> Self {
        Self {
            tombstones: block.tombstones(),
            block,
        }
    }
}

impl SeriesSource for BlockSource {
    fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<SeriesWalk> {
        let block = &self.block;
        let found = if range.overlaps(&block.meta().range) {
            Some(block.index.find(matchers)?)
        } else {
            None
        };
        let view = Arc::new(View {
            source: self.clone(),
            readings: Readings::default(),
        });
        Ok(SeriesWalk::new(Box::new(BlockCursor { view, found })))
    }

    fn label_names(&self, matchers: &[Matcher], range: TimeRange) -> Result<BTreeSet<String>> {
        if range.overlaps(&self.block.meta().range) {
            self.block.index.label_names(matchers)
        } else {
            Ok(BTreeSet::new())
        }
    }

    fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<BTreeSet<String>> {
        if range.overlaps(&self.block.meta().range) {
            self.block.index.label_values(name, matchers)
        } else {
            Ok(BTreeSet::new())
        }
    }

    fn cardinality(&self, cardinality: &mut Cardinality) -> Result<()> {
        self.block.index.cardinality(cardinality)
    }
}

/// What the series of a selection share.
struct View {
    source: BlockSource,
    readings: Readings,
}

struct BlockCursor {
    view: Arc<View>,
    /// `None` where nothing of the block is asked for.
    found: Option<Found>,
}

impl SeriesCursor for BlockCursor {
    fn next_batch(&mut self, out: &mut VecDeque<SourceSeries>) -> Result<bool> {
        let Some(found) = &mut self.found else {
            return Ok(false);
        };
        found.next_batch(&self.view.source.block.index, |ordinal, labels| {
            out.push_back(SourceSeries {
                labels,
                data: self.view.clone(),
                number: ordinal,
            });
        })
    }
}

/// The number of a series is its ordinal.
impl SeriesData for View {
    fn read(&self, number: u32, range: TimeRange, out: &mut Samples) -> Result<()> {
        let Self { source, readings } = self;
        let BlockSource { block, tombstones } = source;
        let start = out.len();
        let outcome = readings.lend(|reading| block.chunks.read(number, range, reading, out));
        if let Some(deleted) = tombstones.get(number) {
            deleted.remove_from(out, start);
        }
        outcome
    }

    fn latest(&self, number: u32, range: TimeRange) -> Result<Option<Sample>> {
        let Self { source, readings } = self;
        let BlockSource { block, tombstones } = source;
        let mut samples = Samples::default();
        let deleted = tombstones.get(number);
        let is_enough = |samples: &mut Samples| {
            if let Some(deleted) = deleted {
                deleted.remove_from(samples, 0);
            }
            !samples.is_empty()
        };
        readings.lend(|reading| {
            let chunks = &block.chunks;
            chunks.read_latest(number, range, reading, &mut samples, is_enough)
        })?;
        let newest = samples.timestamps.last().zip(samples.values.last());
        Ok(newest.map(|(&timestamp, &value)| Sample { timestamp, value }))
    }
}
