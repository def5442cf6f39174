//! Finding a series by its labels and adding it. Texts are hashed once and compared once, whether the series is there or
//! not: what a look finds under a shared lock is used again under the exclusive one.

use super::{MemIndex, Series};
use crate::index::interner::{Entities, METRIC_LABEL};
#[cfg(test)]
use crate::labels::Labels;
use crate::labels::METRIC_NAME;

/// The answer to [`MemIndex::insert_wanted`]: the slot, and whether the series is new.
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

/// A hint of [`MemIndex::look_up`] for somebody who has none.
pub const NO_ENTITY: u32 = u32::MAX;

/// A series that is looked for, and what is known of it.
#[derive(Debug, Clone)]
pub struct Wanted<'a, L> {
    metric_name: &'a str,
    labels: L,
    /// Of the labels; only if it was needed.
    hash: Option<u32>,
    metric: Option<u32>,
    entity: Option<u32>,
    /// That of the index when it was looked for.
    generation: u64,
}

impl MemIndex {
    /// Returns the slot of the series with `labels`.
    #[cfg(test)]
    pub fn get(&self, labels: &Labels) -> Option<u32> {
        let wanted = self.look_up(labels.iter(), NO_ENTITY);
        self.slot_of(&wanted)
    }

    /// Returns the slot of the series with `labels`; adds the series if there is none.
    #[cfg(test)]
    pub fn insert(&mut self, labels: &Labels) -> Insertion {
        self.insert_pairs(labels.iter())
    }

    /// Returns the slot of the series with these labels, which are sorted by name, without repetition and without empty
    /// values; adds the series if there is none.
    pub fn insert_pairs<'a>(
        &mut self,
        pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    ) -> Insertion {
        let mut wanted = self.look_up(pairs, NO_ENTITY);
        self.insert_wanted(&mut wanted)
    }

    /// Finds what there is of the series with these labels, which are sorted by name and have no empty values. `near` is
    /// the entity it has if it has that of the series before; whether it exists does not matter.
    #[inline]
    pub fn look_up<'a, P>(
        &self,
        pairs: P,
        near: u32,
    ) -> Wanted<'a, impl Iterator<Item = (&'a str, &'a str)> + Clone + use<'a, P>>
    where
        P: Iterator<Item = (&'a str, &'a str)> + Clone,
    {
        let metric_name = pairs
            .clone()
            .find(|(name, _)| *name == METRIC_NAME)
            .map_or("", |(_, value)| value);
        let labels = pairs.filter(|(name, _)| *name != METRIC_NAME);
        let mut wanted = Wanted {
            metric_name,
            metric: self.dictionary.find_value(METRIC_LABEL, metric_name),
            labels,
            hash: None,
            entity: None,
            generation: self.generation,
        };
        let is_near = self
            .entities
            .has_labels(&self.dictionary, near, wanted.labels.clone());
        wanted.entity = if is_near {
            Some(near)
        } else {
            self.find_entity(&mut wanted)
        };
        wanted
    }

    /// Returns the slot of a series that was looked up under the lock that is still held.
    #[inline]
    pub fn slot_of<L>(&self, wanted: &Wanted<'_, L>) -> Option<u32> {
        self.find(Series {
            metric: wanted.metric?,
            entity: wanted.entity?,
        })
    }

    /// Returns the slot of a series that was looked up, now or earlier; adds the series if there is none.
    pub fn insert_wanted<'a, L>(&mut self, wanted: &mut Wanted<'a, L>) -> Insertion
    where
        L: Iterator<Item = (&'a str, &'a str)> + Clone,
    {
        if wanted.generation != self.generation {
            // Ids may stand for something else by now.
            (wanted.metric, wanted.entity) = (None, None);
            wanted.generation = self.generation;
        }
        let entity = match wanted.entity.or_else(|| self.find_entity(wanted)) {
            Some(entity) => entity,
            None => {
                let hash = self.hash_of(wanted);
                let labels = wanted.labels.clone();
                self.entities.insert(&mut self.dictionary, hash, labels)
            }
        };
        wanted.entity = Some(entity);
        let metric = match wanted.metric {
            Some(metric) => metric,
            None => self.intern_metric(wanted.metric_name),
        };
        wanted.metric = Some(metric);
        self.insert_parts(metric, entity)
    }

    /// Returns the metric called `name`, which from now on exists; whoever adds it must give it a series.
    pub fn intern_metric(&mut self, name: &str) -> u32 {
        self.dictionary.intern_value(METRIC_LABEL, name)
    }

    /// Returns the entity with these labels, which stays until [`Self::unpin_entity`] whether it has series or not.
    pub fn pin_entity<'a>(
        &mut self,
        labels: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    ) -> u32 {
        let hash = Entities::hash(&self.dictionary, labels.clone());
        let entity = match self.entities.find(&self.dictionary, hash, &labels) {
            Some(entity) => entity,
            None => self.entities.insert(&mut self.dictionary, hash, labels),
        };
        if self.entities.add_series(entity) {
            self.dictionary.add_to_all(entity);
        }
        entity
    }

    /// Lets go of an entity; it is gone unless it has got a series.
    pub fn unpin_entity(&mut self, entity: u32) {
        self.generation += 1;
        self.entities.remove_series(&mut self.dictionary, entity);
    }

    /// Returns the slot of a series whose metric and entity exist; adds the series if there is none.
    pub fn insert_parts(&mut self, metric: u32, entity: u32) -> Insertion {
        let series = Series { metric, entity };
        if let Some(slot) = self.find(series) {
            return Insertion::Known(slot);
        }
        let is_first = self.entities.add_series(entity);
        self.dictionary.add_series(metric, entity, is_first);
        let slot = self.series.insert(series);
        let slots = &self.series;
        self.table
            .insert(series.hash(), slot, |slot| slots[slot].hash());
        Insertion::New(slot)
    }

    fn find_entity<'a, L>(&self, wanted: &mut Wanted<'a, L>) -> Option<u32>
    where
        L: Iterator<Item = (&'a str, &'a str)> + Clone,
    {
        let hash = self.hash_of(wanted);
        self.entities.find(&self.dictionary, hash, &wanted.labels)
    }

    fn hash_of<'a, L>(&self, wanted: &mut Wanted<'a, L>) -> u32
    where
        L: Iterator<Item = (&'a str, &'a str)> + Clone,
    {
        *wanted
            .hash
            .get_or_insert_with(|| Entities::hash(&self.dictionary, wanted.labels.clone()))
    }
}

impl<L> Wanted<'_, L> {
    /// Returns the entity, if it exists: the hint for the next look.
    pub fn entity(&self) -> u32 {
        self.entity.unwrap_or(NO_ENTITY)
    }
}
