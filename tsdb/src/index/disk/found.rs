//! The series that matchers select, one after the other with their labels.
//!
//! A series is a metric and an entity. The metrics come in order, and of each the entities in order. Entities are read in
//! batches: the labels of a batch are packed into one text that its series share. Other metrics mostly have the same
//! entities, so a batch is kept and taken again when the next metric has exactly its entities.

use std::ops::Range;
use std::sync::Arc;

use super::reader::{IndexReader, METRIC_ID, Value};
use crate::error::{Error, Result};
use crate::index::postings::Postings;
use crate::index::select::{Selection, select};
use crate::labels::{EntityPacker, EntityTexts, Matcher, SeriesLabels, SharedLabels};

/// The series that matchers select, in label order.
#[derive(Debug)]
pub struct Found {
    /// Those still to come, ascending.
    metrics: std::vec::IntoIter<Value>,
    /// The entities selected, ascending; `None` stands for all.
    entities: Option<Vec<u32>>,
    row: Row,
    metric: Arc<str>,
    batch: Arc<Batch>,
    /// Ordinals of the series of the batch, and how many of them were given.
    ordinals: Vec<u32>,
    given: usize,
    /// Batches of the metrics before, each at the place its first entity says.
    kept: Vec<Arc<Batch>>,
    /// A batch ends where an entity ordinal is a multiple of this, so that metrics with about the same entities have
    /// mostly the same batches.
    span: u32,
    packer: EntityPacker,
}

/// Entities in order with their labels.
#[derive(Debug)]
struct Batch {
    entities: Vec<u32>,
    texts: Arc<EntityTexts>,
    /// Where the labels of each entity stand; `None` for one that cannot be read.
    ranges: Vec<Option<Range<u32>>>,
}

/// Entities aimed at in a batch: their text fits the level-one cache.
const BATCH_AIMED: u32 = 64;

/// The most entities of a batch.
const BATCH_MAX: usize = 256;

/// Batches that are kept, some four megabytes.
const BATCHES_KEPT: usize = 256;

impl IndexReader {
    /// Finds the series that all of `matchers` select.
    ///
    /// # Errors
    ///
    /// Damage to a unit that the answer depends on.
    pub fn find(&self, matchers: &[Matcher]) -> Result<Found> {
        let Selection {
            mut metrics,
            entities,
        } = select(self, matchers)?;
        metrics.sort_unstable_by_key(|metric| metric.ordinal);
        let selected = entities
            .as_ref()
            .map_or(self.entity_total(), |entities| entities.len() as u32);
        let share = self.entity_total() / selected.max(1);
        let kept = if metrics.len() > 1 { BATCHES_KEPT } else { 1 };
        let empty = Arc::new(Batch {
            entities: Vec::new(),
            texts: Arc::default(),
            ranges: Vec::new(),
        });
        Ok(Found {
            metrics: metrics.into_iter(),
            entities,
            row: Row::Listed(Vec::new().into_iter()),
            metric: "".into(),
            batch: Arc::clone(&empty),
            ordinals: Vec::new(),
            given: 0,
            kept: vec![empty; kept],
            span: share.max(1).saturating_mul(BATCH_AIMED),
            packer: EntityPacker::default(),
        })
    }
}

impl Found {
    /// Calls `add` with ordinal and labels of the next series, some dozens; `false` behind the last one. `index` is the
    /// one that found them.
    ///
    /// # Errors
    ///
    /// Damage to a unit that a series depends on, which is passed: the next call goes on behind it. It comes alone.
    pub fn next_batch(
        &mut self,
        index: &IndexReader,
        mut add: impl FnMut(u32, SeriesLabels),
    ) -> Result<bool> {
        while self.given >= self.ordinals.len() {
            if !self.read_batch(index) && !self.next_metric(index)? {
                return Ok(false);
            }
        }
        let readable = self.batch.ranges[self.given..]
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.ordinals.len() - self.given);
        if readable == 0 {
            self.given += 1;
            return Err(self.why_unreadable(index, self.given - 1));
        }
        let shared = Arc::new(SharedLabels {
            metric: Arc::clone(&self.metric),
            texts: Arc::clone(&self.batch.texts),
        });
        let given = self.given..self.given + readable;
        let ranges = self.batch.ranges[given.clone()].iter().flatten();
        for (ordinal, range) in self.ordinals[given].iter().zip(ranges) {
            add(
                *ordinal,
                SeriesLabels::new(Arc::clone(&shared), range.clone()),
            );
        }
        self.given += readable;
        Ok(true)
    }

    /// Returns the ordinals of all series still to come.
    ///
    /// # Errors
    ///
    /// Damage to a unit that one of them depends on.
    pub fn ordinals(mut self, index: &IndexReader) -> Result<Vec<u32>> {
        let mut ordinals = Vec::new();
        while let Some(metric) = self.metrics.next() {
            let mut row = self.row(index, metric)?;
            let selected = self.entities.as_deref();
            ordinals.extend(std::iter::from_fn(|| row.next(selected)).map(|(_, ordinal)| ordinal));
        }
        Ok(ordinals)
    }

    fn next_metric(&mut self, index: &IndexReader) -> Result<bool> {
        let Some(metric) = self.metrics.next() else {
            return Ok(false);
        };
        self.metric = index.value_text(METRIC_ID, metric.ordinal)?.into();
        self.row = self.row(index, metric)?;
        Ok(true)
    }

    /// Lists the series of a metric.
    fn row(&self, index: &IndexReader, metric: Value) -> Result<Row> {
        let base = index.base(metric)?;
        let set = index.read_set(metric.set)?;
        Ok(match (&set, self.entities.as_deref()) {
            (Postings::Run { start, len }, None) => Row::Run {
                positions: *start..*start + *len,
                start: *start,
                base,
            },
            (Postings::Run { start, len }, Some(selected)) => {
                let before = |end: u32| selected.partition_point(|entity| *entity < end) as u32;
                Row::Run {
                    positions: before(*start)..before(*start + *len),
                    start: *start,
                    base,
                }
            }
            (set, None) => Row::Listed(set.iter().zip(base..).collect::<Vec<_>>().into_iter()),
            (set, Some(selected)) => Row::Listed(ranked(set, selected, base).into_iter()),
        })
    }

    /// Reads the next entities of the metric; tells whether there are any.
    fn read_batch(&mut self, index: &IndexReader) -> bool {
        let selected = self.entities.as_deref();
        self.ordinals.clear();
        self.given = 0;
        let Some((first, ordinal)) = self.row.next(selected) else {
            return false;
        };
        let mut entities = vec![first];
        self.ordinals.push(ordinal);
        let number = first / self.span;
        let end = number.saturating_add(1).saturating_mul(self.span);
        while entities.len() < BATCH_MAX
            && let Some((entity, ordinal)) = self.row.next_if(selected, |entity| entity < end)
        {
            entities.push(entity);
            self.ordinals.push(ordinal);
        }
        let place = number as usize % self.kept.len();
        if self.kept[place].entities != entities {
            self.kept[place] = Arc::new(Batch::read(index, entities, &mut self.packer));
        }
        self.batch = Arc::clone(&self.kept[place]);
        true
    }

    #[cold]
    fn why_unreadable(&mut self, index: &IndexReader, position: usize) -> Error {
        let entity = self.batch.entities[position];
        match index.pack_unverified(entity, &mut self.packer) {
            Err(error) => error,
            Ok(_) => {
                // Nothing else is to be read into this packer.
                self.packer.finish(&mut []);
                Error::invalid(format!("entity {entity} could not be read before"))
            }
        }
    }
}

impl Batch {
    fn read(index: &IndexReader, entities: Vec<u32>, packer: &mut EntityPacker) -> Self {
        let mut ranges: Vec<_> = entities
            .iter()
            .map(|entity| index.pack_entity(*entity, packer).ok())
            .collect();
        let texts = packer.finish(&mut ranges);
        Self {
            entities,
            texts,
            ranges,
        }
    }
}

/// The series of one metric still to come, as (entity, ordinal), ascending.
#[derive(Debug)]
enum Row {
    /// The entities at these positions among those selected, of a metric that has all from `start` on.
    Run {
        positions: Range<u32>,
        start: u32,
        base: u32,
    },
    Listed(std::vec::IntoIter<(u32, u32)>),
}

impl Row {
    #[inline]
    fn next(&mut self, selected: Option<&[u32]>) -> Option<(u32, u32)> {
        self.next_if(selected, |_| true)
    }

    #[inline]
    fn next_if(
        &mut self,
        selected: Option<&[u32]>,
        is_wanted: impl Fn(u32) -> bool,
    ) -> Option<(u32, u32)> {
        let next = match self {
            Self::Run {
                positions,
                start,
                base,
            } => {
                let position = positions.clone().next()?;
                let entity = match selected {
                    None => position,
                    Some(selected) => *selected.get(position as usize)?,
                };
                (entity, *base + (entity - *start))
            }
            Self::Listed(list) => *list.as_slice().first()?,
        };
        if !is_wanted(next.0) {
            return None;
        }
        match self {
            Self::Run { positions, .. } => positions.start += 1,
            Self::Listed(list) => drop(list.next()),
        }
        Some(next)
    }
}

/// Finding the rank of an element in a set costs as much as passing this many of them.
const RANK_COST: usize = 64;

/// Returns every element of `set` that is selected, with `base` plus its rank.
fn ranked(set: &Postings, selected: &[u32], base: u32) -> Vec<(u32, u32)> {
    if selected.len() * RANK_COST < set.len() as usize {
        let ranks = selected
            .iter()
            .filter_map(|entity| Some((*entity, base + set.rank(*entity)?)));
        return ranks.collect();
    }
    let mut found = Vec::with_capacity(selected.len().min(set.len() as usize));
    let mut selected = selected.iter().copied().peekable();
    for (entity, ordinal) in set.iter().zip(base..) {
        while selected.next_if(|other| *other < entity).is_some() {}
        if selected.next_if_eq(&entity).is_some() {
            found.push((entity, ordinal));
        }
    }
    found
}
