//! Label names and values.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::slab::Slab;
use super::table::{IdTable, widen};
use crate::index::postings::Postings;
use crate::labels::METRIC_NAME;

/// Every label name and every value in use.
///
/// The metric name is a label like any other, except that it always exists, under [`METRIC_LABEL`], and that series
/// without a metric name count as having the empty one.
#[derive(Debug)]
pub(crate) struct Dictionary {
    labels: Slab<Label>,
    label_table: HashTable<u32>,
    values: Slab<Value>,
    value_table: IdTable,
    hasher: RandomState,
    /// Text and sets of labels and values.
    heap_bytes: usize,
}

/// A label name.
#[derive(Debug, Default)]
pub(crate) struct Label {
    pub(crate) name: Box<str>,
    /// Ids of its values.
    pub(crate) values: Postings,
    /// The entities that have the label; for the metric name, all.
    pub(crate) entities: Postings,
}

/// A label value; under [`METRIC_LABEL`], a metric.
#[derive(Debug, Default)]
pub(crate) struct Value {
    pub(crate) text: Box<str>,
    pub(crate) label: u32,
    hash: u32,
    /// The entities that carry it, at least one.
    pub(crate) entities: Postings,
}

/// The label `__name__`.
pub(crate) const METRIC_LABEL: u32 = 0;

impl Dictionary {
    pub(crate) fn new() -> Self {
        let mut dictionary = Self {
            labels: Slab::default(),
            label_table: HashTable::new(),
            values: Slab::default(),
            value_table: IdTable::default(),
            hasher: RandomState::default(),
            heap_bytes: 0,
        };
        let metric = dictionary.intern_label(METRIC_NAME);
        debug_assert_eq!(metric, METRIC_LABEL);
        dictionary
    }

    /// Returns the state that hashes texts; a new one for every process.
    pub(crate) fn hasher(&self) -> &RandomState {
        &self.hasher
    }

    /// Returns the label with `id`.
    #[inline]
    pub(crate) fn label(&self, id: u32) -> &Label {
        &self.labels[id]
    }

    /// Returns the value with `id`.
    #[inline]
    pub(crate) fn value(&self, id: u32) -> &Value {
        &self.values[id]
    }

    /// Returns how many value ids were given out: every id is smaller.
    pub(crate) fn value_places(&self) -> usize {
        self.values.places()
    }

    /// Returns the label called `name`.
    pub(crate) fn find_label(&self, name: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(name);
        self.label_table
            .find(hash, |id| *self.labels[*id].name == *name)
            .copied()
    }

    /// Returns the value `text` of `label`.
    #[inline]
    pub(crate) fn find_value(&self, label: u32, text: &str) -> Option<u32> {
        self.find_hashed(self.hash_value(label, text), label, text)
    }

    /// Returns every label with its id, in no particular order.
    pub(crate) fn labels(&self) -> impl Iterator<Item = (u32, &Label)> {
        (0..self.labels.places() as u32)
            .map(|id| (id, &self.labels[id]))
            .filter(|(_, label)| !label.name.is_empty())
    }

    /// Returns the label called `name`, which from now on exists.
    pub(crate) fn intern_label(&mut self, name: &str) -> u32 {
        if let Some(id) = self.find_label(name) {
            return id;
        }
        let id = self.labels.insert(Label {
            name: name.into(),
            ..Label::default()
        });
        self.heap_bytes += text_bytes(name);
        let (labels, hasher) = (&self.labels, &self.hasher);
        self.label_table
            .insert_unique(hasher.hash_one(name), id, |id| {
                hasher.hash_one(&*labels[*id].name)
            });
        id
    }

    /// Returns the value `text` of `label`, which from now on exists; whoever adds it must give it an entity.
    #[inline]
    pub(crate) fn intern_value(&mut self, label: u32, text: &str) -> u32 {
        let hash = self.hash_value(label, text);
        match self.find_hashed(hash, label, text) {
            Some(id) => id,
            None => self.insert_value(hash, label, text),
        }
    }

    /// Adds `entity` to the sets of the value and of its label.
    #[inline]
    pub(crate) fn add_entity(&mut self, value: u32, entity: u32) {
        let value = &mut self.values[value];
        let label = &mut self.labels[value.label];
        self.heap_bytes -= value.entities.heap_bytes() + label.entities.heap_bytes();
        value.entities.insert(entity);
        label.entities.insert(entity);
        self.heap_bytes += value.entities.heap_bytes() + label.entities.heap_bytes();
    }

    /// Adds `entity` to the set of a metric, and, with its first series, to that of all entities.
    #[inline]
    pub(crate) fn add_series(&mut self, metric: u32, entity: u32, is_first: bool) {
        if is_first {
            self.add_to_all(entity);
        }
        let value = &mut self.values[metric];
        self.heap_bytes -= value.entities.heap_bytes();
        value.entities.insert(entity);
        self.heap_bytes += value.entities.heap_bytes();
    }

    /// Adds `entity` to the set of all entities.
    pub(crate) fn add_to_all(&mut self, entity: u32) {
        let label = &mut self.labels[METRIC_LABEL];
        self.heap_bytes -= label.entities.heap_bytes();
        label.entities.insert(entity);
        self.heap_bytes += label.entities.heap_bytes();
    }

    /// Takes `entity` out of the set of the value, and drops the value with the last one.
    pub(crate) fn remove_entity(&mut self, id: u32, entity: u32) {
        let value = &mut self.values[id];
        self.heap_bytes -= value.entities.heap_bytes();
        value.entities.remove(entity);
        self.heap_bytes += value.entities.heap_bytes();
        if value.entities.is_empty() {
            self.remove_value(id);
        }
    }

    /// Takes `entity` out of the set of `label`, if the label still exists.
    pub(crate) fn remove_entity_of_label(&mut self, label: u32, entity: u32) {
        let label = &mut self.labels[label];
        self.heap_bytes -= label.entities.heap_bytes();
        label.entities.remove(entity);
        self.heap_bytes += label.entities.heap_bytes();
    }

    /// Returns the bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.heap_bytes
            + self.labels.heap_bytes()
            + self.label_table.allocation_size()
            + self.values.heap_bytes()
            + self.value_table.heap_bytes()
    }

    fn hash_value(&self, label: u32, text: &str) -> u32 {
        self.hasher.hash_one((label, text)) as u32
    }

    #[inline]
    fn find_hashed(&self, hash: u32, label: u32, text: &str) -> Option<u32> {
        self.value_table.find(widen(hash), |id| {
            let value = &self.values[id];
            value.hash == hash && value.label == label && *value.text == *text
        })
    }

    #[cold]
    fn insert_value(&mut self, hash: u32, label: u32, text: &str) -> u32 {
        let id = self.values.insert(Value {
            text: text.into(),
            label,
            hash,
            entities: Postings::Empty,
        });
        let values = &self.values;
        self.value_table
            .insert(widen(hash), id, |id| widen(values[id].hash));
        let of_label = &mut self.labels[label].values;
        self.heap_bytes += text_bytes(text);
        self.heap_bytes -= of_label.heap_bytes();
        of_label.insert(id);
        self.heap_bytes += of_label.heap_bytes();
        id
    }

    fn remove_value(&mut self, id: u32) {
        let value = self.values.remove(id);
        self.value_table.remove(widen(value.hash), id);
        let label = &mut self.labels[value.label];
        self.heap_bytes -= text_bytes(&value.text) + label.values.heap_bytes();
        label.values.remove(id);
        self.heap_bytes += label.values.heap_bytes();
        if label.values.is_empty() && value.label != METRIC_LABEL {
            self.remove_label(value.label);
        }
    }

    fn remove_label(&mut self, id: u32) {
        let label = self.labels.remove(id);
        self.heap_bytes -= text_bytes(&label.name) + label.entities.heap_bytes();
        let hash = self.hasher.hash_one(&*label.name);
        let entry = self.label_table.find_entry(hash, |other| *other == id);
        entry.expect("a label is found under its name").remove();
    }
}

/// A text with what the allocator adds: a word of its own, in steps of two words.
fn text_bytes(text: &str) -> usize {
    if text.is_empty() {
        0
    } else {
        (text.len() + 8).next_multiple_of(16).max(32)
    }
}
