//! The index of the head: label sets come and go.
//!
//! A series has a slot, which stays the same while the series exists. A slot that was given back is given out again,
//! so slots stay dense and whoever keeps something per slot can use plain pages.
//!
//! 1. [`MemIndex::insert`] hashes the labels beside the metric name once and finds their entity, or interns it.
//! 2. A table in shards maps (metric, entity) to the slot; the slot's page maps back. Together 17 bytes per series.
//! 3. [`MemIndex::select`] takes metrics and entities from the common algorithm, sorts each of them once, and looks
//!    every pair up in the table.

mod order;
#[cfg(test)]
mod tests;
mod view;

use super::interner::{Dictionary, Entities, IdTable, METRIC_LABEL, Slab};
use crate::labels::{Labels, METRIC_NAME};

/// Finds series by their labels and by matchers; in memory, for label sets that come and go.
#[derive(Debug)]
pub struct MemIndex {
    dictionary: Dictionary,
    entities: Entities,
    series: Slab<Series>,
    table: IdTable,
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

/// The answer to [`MemIndex::insert`]: the slot, and whether the series is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Insertion {
    /// The series was there.
    Known(u32),
    /// The series was added.
    New(u32),
}

impl Insertion {
    /// Returns the slot of the series.
    pub fn slot(self) -> u32 {
        match self {
            Self::Known(slot) | Self::New(slot) => slot,
        }
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
        }
    }

    /// Returns the slot of the series with `labels`.
    pub fn get(&self, labels: &Labels) -> Option<u32> {
        self.get_pairs(labels.iter())
    }

    /// Returns the slot of the series with these labels, which are sorted by name and have no empty values.
    pub fn get_pairs<'a>(
        &self,
        pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    ) -> Option<u32> {
        let labels = entity_labels(&pairs);
        let hash = Entities::hash(&self.dictionary, labels.clone());
        let entity = self.entities.find(&self.dictionary, hash, &labels)?;
        let metric = self
            .dictionary
            .find_value(METRIC_LABEL, metric_name(pairs))?;
        self.find(Series { metric, entity })
    }

    /// Returns the slot of the series with `labels`; adds the series if there is none.
    pub fn insert(&mut self, labels: &Labels) -> Insertion {
        self.insert_pairs(labels.iter())
    }

    /// Like [`Self::insert`], for labels that are sorted by name, without repetition and without empty values.
    pub fn insert_pairs<'a>(
        &mut self,
        pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    ) -> Insertion {
        let labels = entity_labels(&pairs);
        let hash = Entities::hash(&self.dictionary, labels.clone());
        let entity = match self.entities.find(&self.dictionary, hash, &labels) {
            Some(entity) => entity,
            None => self.entities.insert(&mut self.dictionary, hash, labels),
        };
        let metric = self
            .dictionary
            .intern_value(METRIC_LABEL, metric_name(pairs));
        let series = Series { metric, entity };
        if let Some(slot) = self.find(series) {
            return Insertion::Known(slot);
        }
        self.dictionary.add_entity(metric, entity);
        self.entities.add_series(entity);
        let slot = self.series.insert(series);
        let slots = &self.series;
        self.table
            .insert(series.hash(), slot, |slot| slots[slot].hash());
        Insertion::New(slot)
    }

    /// Removes the series in `slot`, and with it every text and entity that no other series has.
    ///
    /// # Panics
    ///
    /// Panics if there is no series in the slot: its owner removed it before.
    pub fn remove(&mut self, slot: u32) {
        let series = *self.series_in(slot);
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
        let metric = self.metric_of(slot);
        let labels = || {
            self.entities.values(series.entity).iter().map(|id| {
                let value = self.dictionary.value(*id);
                (&*self.dictionary.label(value.label).name, &*value.text)
            })
        };
        super::pack(metric, labels)
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

fn entity_labels<'a, P>(pairs: &P) -> impl Iterator<Item = (&'a str, &'a str)> + Clone + use<'a, P>
where
    P: Iterator<Item = (&'a str, &'a str)> + Clone,
{
    pairs.clone().filter(|(name, _)| *name != METRIC_NAME)
}

fn metric_name<'a>(mut pairs: impl Iterator<Item = (&'a str, &'a str)>) -> &'a str {
    pairs
        .find(|(name, _)| *name == METRIC_NAME)
        .map_or("", |(_, value)| value)
}
