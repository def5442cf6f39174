//! Label sets without the metric name.

use std::hash::{BuildHasher, Hasher};

use super::dictionary::{Dictionary, METRIC_LABEL};
use super::slab::Slab;
use super::table::{IdTable, widen};

/// Every entity in use, found by one hash of its labels.
#[derive(Debug, Default)]
pub(crate) struct Entities {
    slab: Slab<Entity>,
    table: IdTable,
    key_bytes: usize,
}

#[derive(Debug, Default)]
struct Entity {
    /// Value ids in the order of the labels' names.
    values: Box<[u32]>,
    hash: u32,
    /// Series that have it.
    series: u32,
}

impl Entities {
    /// Returns the hash under which an entity with these labels is kept.
    #[inline]
    pub(crate) fn hash<'a>(
        dictionary: &Dictionary,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> u32 {
        let mut hasher = dictionary.hasher().build_hasher();
        for (name, value) in labels {
            hasher.write(name.as_bytes());
            hasher.write(value.as_bytes());
        }
        hasher.finish() as u32
    }

    /// Returns the entity with these labels, which are sorted by name.
    #[inline]
    pub(crate) fn find<'a>(
        &self,
        dictionary: &Dictionary,
        hash: u32,
        labels: &(impl Iterator<Item = (&'a str, &'a str)> + Clone),
    ) -> Option<u32> {
        self.table.find(widen(hash), |id| {
            self.slab[id].hash == hash && self.has_labels(dictionary, id, labels.clone())
        })
    }

    /// Tells whether the entity exists and has exactly these labels.
    #[inline]
    pub(crate) fn has_labels<'a>(
        &self,
        dictionary: &Dictionary,
        id: u32,
        mut labels: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> bool {
        let Some(entity) = self.slab.get(id).filter(|entity| entity.series > 0) else {
            return false;
        };
        entity.values.iter().all(|id| {
            let value = dictionary.value(*id);
            // Values differ more often than names do.
            labels.next().is_some_and(|(name, text)| {
                *value.text == *text && *dictionary.label(value.label).name == *name
            })
        }) && labels.next().is_none()
    }

    /// Adds an entity without series, which must not be there yet.
    #[cold]
    pub(crate) fn insert<'a>(
        &mut self,
        dictionary: &mut Dictionary,
        hash: u32,
        labels: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    ) -> u32 {
        let mut values = Vec::with_capacity(labels.clone().count());
        for (name, text) in labels {
            let label = dictionary.intern_label(name);
            values.push(dictionary.intern_value(label, text));
        }
        let values = values.into_boxed_slice();
        self.key_bytes += key_bytes(&values);
        let id = self.slab.insert(Entity {
            values,
            hash,
            series: 0,
        });
        for value in &self.slab[id].values {
            dictionary.add_entity(*value, id);
        }
        let slab = &self.slab;
        self.table
            .insert(widen(hash), id, |id| widen(slab[id].hash));
        id
    }

    /// Counts one more series of the entity; tells whether it is the first.
    #[inline]
    pub(crate) fn add_series(&mut self, id: u32) -> bool {
        let series = &mut self.slab[id].series;
        *series += 1;
        *series == 1
    }

    /// Counts one series less, and drops the entity with the last one.
    pub(crate) fn remove_series(&mut self, dictionary: &mut Dictionary, id: u32) {
        self.slab[id].series -= 1;
        if self.slab[id].series > 0 {
            return;
        }
        let entity = self.slab.remove(id);
        self.key_bytes -= key_bytes(&entity.values);
        self.table.remove(widen(entity.hash), id);
        for value in &entity.values {
            // The label's set goes first: the label itself may go with its last value.
            dictionary.remove_entity_of_label(dictionary.value(*value).label, id);
            dictionary.remove_entity(*value, id);
        }
        dictionary.remove_entity_of_label(METRIC_LABEL, id);
    }

    /// Returns the ids of the entity's values, in the order of the labels' names.
    #[inline]
    pub(crate) fn values(&self, id: u32) -> &[u32] {
        &self.slab[id].values
    }

    /// Returns how many entities there are.
    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    /// Returns the bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.slab.heap_bytes() + self.table.heap_bytes() + self.key_bytes
    }
}

/// A list of value ids with what the allocator adds.
fn key_bytes(values: &[u32]) -> usize {
    if values.is_empty() {
        0
    } else {
        (values.len() * 4 + 8).next_multiple_of(16).max(32)
    }
}
