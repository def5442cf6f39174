//! The series that matchers select, one after the other with their labels.
//!
//! A series is a metric and an entity. The metrics come in order, and of each the entities in order. Entities are read in
//! batches: the labels of a batch are packed into one text that its series share. Other metrics mostly have the same
//! entities, so a batch is kept and taken again when the next metric has exactly its entities.

use std::ops::Range;
use std::sync::Arc;

use super::batch::{Batch, BatchReader};
use super::reader::{IndexReader, METRIC_ID, Value};
use crate::error::{Error, Result};
use crate::index::postings::Postings;
use crate::index::select::{Selection, select};
use crate::labels::{EntityPacker, Matcher, SeriesLabels, SharedLabels};

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
    reader: BatchReader,
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
        let empty = Arc::new(Batch::default());
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
            reader: BatchReader::default(),
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
            let mut entities = Vec::new();
            while row.peek(selected).is_some() {
                entities.clear();
                row.take_below(u32::MAX, selected, &mut entities, &mut ordinals);
            }
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
        let Some(first) = self.row.peek(selected) else {
            return false;
        };
        let number = first / self.span;
        let end = number.saturating_add(1).saturating_mul(self.span);
        let mut entities = Vec::with_capacity(BATCH_AIMED as usize);
        self.row
            .take_below(end, selected, &mut entities, &mut self.ordinals);
        let place = number as usize % self.kept.len();
        if self.kept[place].entities != entities {
            self.kept[place] = Arc::new(self.reader.read(index, entities));
        }
        self.batch = Arc::clone(&self.kept[place]);
        true
    }

    #[cold]
    fn why_unreadable(&self, index: &IndexReader, position: usize) -> Error {
        let entity = self.batch.entities[position];
        match index.pack_entity(entity, &mut EntityPacker::default()) {
            Err(error) => error,
            Ok(_) => Error::invalid(format!("entity {entity} could not be read before")),
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
    /// Returns the next entity.
    fn peek(&self, selected: Option<&[u32]>) -> Option<u32> {
        match (self, selected) {
            (Self::Run { positions, .. }, None) => positions.clone().next(),
            (Self::Run { positions, .. }, Some(selected)) => {
                let position = positions.clone().next()?;
                selected.get(position as usize).copied()
            }
            (Self::Listed(list), _) => list.as_slice().first().map(|(entity, _)| *entity),
        }
    }

    /// Takes the next entities below `end`, at most [`BATCH_MAX`], and the ordinals of their series.
    fn take_below(
        &mut self,
        end: u32,
        selected: Option<&[u32]>,
        entities: &mut Vec<u32>,
        ordinals: &mut Vec<u32>,
    ) {
        match (self, selected) {
            (
                Self::Run {
                    positions,
                    start,
                    base,
                },
                selected,
            ) => {
                let before = entities.len();
                let positions_max = positions.end.min(positions.start + BATCH_MAX as u32);
                match selected {
                    None => entities.extend(positions.start..positions_max.min(end)),
                    Some(selected) => {
                        let range = positions.start as usize..positions_max as usize;
                        let next = selected.get(range).unwrap_or_default();
                        entities.extend(next.iter().take_while(|entity| **entity < end));
                    }
                }
                let taken = &entities[before..];
                positions.start += taken.len() as u32;
                ordinals.extend(taken.iter().map(|entity| *base + (entity - *start)));
            }
            (Self::Listed(list), _) => {
                let next = list.as_slice().iter().take(BATCH_MAX);
                let taken = next.take_while(|(entity, _)| *entity < end).count();
                for (entity, ordinal) in list.take(taken) {
                    entities.push(entity);
                    ordinals.push(ordinal);
                }
            }
        }
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
