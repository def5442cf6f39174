//! The index of the head: label sets come and go.
//!
//! A series has a slot, which stays the same while the series exists. A slot that was given back is given out again,
//! so slots stay dense and whoever keeps something per slot can use plain pages.
//!
//! 1. [`MemIndex::look_up`] hashes the labels beside the metric name once and finds their entity;
//!    [`MemIndex::insert_wanted`] goes on from what that found, and interns what is new.
//! 2. A table in shards maps (metric, entity) to the slot; the slot's page maps back. Together 17 bytes per series.
//! 3. [`MemIndex::select`] takes metrics and entities from the common algorithm, sorts each of them once, and looks
//!    every pair up in the table.

mod insert;
mod labels;
mod order;
#[cfg(test)]
mod tests;
mod view;

use super::interner::{Dictionary, Entities, IdTable, Slab};
use crate::labels::Labels;

pub use insert::{Insertion, NO_ENTITY};

/// Finds series by their labels and by matchers; in memory, for label sets that come and go.
#[derive(Debug)]
pub struct MemIndex {
    dictionary: Dictionary,
    entities: Entities,
    series: Slab<Series>,
    table: IdTable,
    /// Grows with each removal: what was found before may be gone.
    generation: u64,
}

/// What a slot stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Series {
    /// A value of the label `__name__`.
    metric: u32,
    entity: u32,
}

/// The content of a free slot.
const FREE: Series = Series {
    metric: u32::MAX,
    entity: u32::MAX,
};

impl Default for Series {
    fn default() -> Self {
        FREE
    }
}

impl Default for MemIndex {
    fn default() -> Self {
        Self::new()
    }
}

impl MemIndex {
    /// Returns an index without series.
    pub fn new() -> Self {
        Self {
            dictionary: Dictionary::new(),
            entities: Entities::default(),
            series: Slab::default(),
            table: IdTable::default(),
            generation: 0,
        }
    }

    /// Removes the series in `slot`, and with it every text and entity that no other series has.
    ///
    /// # Panics
    ///
    /// Panics if there is no series in the slot: its owner removed it before.
    pub fn remove(&mut self, slot: u32) {
        let series = *self.series_in(slot);
        self.generation += 1;
        self.series.remove(slot);
        self.table.remove(series.hash(), slot);
        self.dictionary.remove_entity(series.metric, series.entity);
        self.entities
            .remove_series(&mut self.dictionary, series.entity);
    }

    /// Returns the labels of the series in `slot`.
    ///
    /// # Panics
    ///
    /// Panics if there is no series in the slot.
    pub fn labels(&self, slot: u32) -> Labels {
        let series = self.series_in(slot);
        super::pack(self.metric_of(slot), || self.entity_labels(series.entity))
    }

    /// Returns the metric and the entity of the series in `slot`.
    ///
    /// # Panics
    ///
    /// Panics if there is no series in the slot.
    pub fn parts(&self, slot: u32) -> (u32, u32) {
        let series = self.series_in(slot);
        (series.metric, series.entity)
    }

    /// Returns the name of a metric that a series has.
    pub fn metric_text(&self, metric: u32) -> &str {
        &self.dictionary.value(metric).text
    }

    /// Walks the labels of an entity that a series has, in order of name.
    pub fn entity_labels(&self, entity: u32) -> impl Iterator<Item = (&str, &str)> {
        self.entities.values(entity).iter().map(|id| {
            let value = self.dictionary.value(*id);
            (&*self.dictionary.label(value.label).name, &*value.text)
        })
    }

    /// Returns the ids of the metric and the entity of the series in `slot`: the same ids are the same texts as long as
    /// no series is removed.
    ///
    /// # Panics
    ///
    /// Panics if there is no series in the slot.
    pub(in crate::index) fn ids(&self, slot: u32) -> (u32, u32) {
        let series = self.series_in(slot);
        (series.metric, series.entity)
    }

    /// Returns the metric name of the series in `slot`; empty when it has none.
    ///
    /// # Panics
    ///
    /// Panics if there is no series in the slot.
    pub fn metric_of(&self, slot: u32) -> &str {
        &self.dictionary.value(self.series_in(slot).metric).text
    }

    /// Returns the number of series.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Tells whether there are no series.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes the index takes, the allocator's overhead for small texts included. Constant time.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.dictionary.heap_bytes()
            + self.entities.heap_bytes()
            + self.series.heap_bytes()
            + self.table.heap_bytes()
    }

    fn find(&self, series: Series) -> Option<u32> {
        self.table
            .find(series.hash(), |slot| self.series[slot] == series)
    }

    fn series_in(&self, slot: u32) -> &Series {
        let series = self.series.get(slot).filter(|series| **series != FREE);
        series.expect("whoever names a slot keeps its series alive")
    }
}

impl Series {
    /// Ids are the index's own, so that nobody can choose them to collide: multiplying is enough.
    #[inline]
    fn hash(self) -> u64 {
        let ids = u64::from(self.metric) << 32 | u64::from(self.entity);
        let product =
            u128::from(ids ^ 0x243f_6a88_85a3_08d3) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
        product as u64 ^ (product >> 64) as u64
    }
}
