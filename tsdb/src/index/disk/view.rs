//! Asking the index on disk.

use std::borrow::Cow;
use std::collections::BTreeSet;

use roaring::RoaringBitmap;

use super::page::PER_PAGE;
use super::reader::{IndexReader, METRIC_ID, Value, Walk};
use crate::error::{Error, Result};
use crate::index::browse;
use crate::index::cardinality::Cardinality;
use crate::index::postings::Postings;
use crate::index::select::{Inverted, Selection, select};
use crate::labels::Matcher;

impl IndexReader {
    /// Returns the ordinals of the series that all of `matchers` select, ascending: in label order.
    ///
    /// # Errors
    ///
    /// Damage to a unit that the answer depends on.
    pub fn select(&self, matchers: &[Matcher]) -> Result<Vec<u32>> {
        let Selection {
            mut metrics,
            entities,
        } = select(self, matchers)?;
        metrics.sort_unstable_by_key(|metric| metric.ordinal);
        let mut ordinals = Vec::new();
        for metric in metrics {
            let base = self.base(metric)?;
            match &entities {
                None => ordinals.extend(base..base + metric.set.count),
                Some(entities) => {
                    push_ranks(&self.read_set(metric.set)?, entities, base, &mut ordinals);
                }
            }
        }
        Ok(ordinals)
    }

    /// Returns the label names of the series that all of `matchers` select.
    ///
    /// # Errors
    ///
    /// Damage to a unit that the answer depends on.
    pub fn label_names(&self, matchers: &[Matcher]) -> Result<BTreeSet<String>> {
        browse::label_names(self, matchers)
    }

    /// Returns the values the label `name` has in the series that all of `matchers` select.
    ///
    /// # Errors
    ///
    /// Damage to a unit that the answer depends on.
    pub fn label_values(&self, name: &str, matchers: &[Matcher]) -> Result<BTreeSet<String>> {
        browse::label_values(self, name, matchers)
    }

    /// Adds the numbers of the index to `cardinality`; reads all of it.
    ///
    /// # Errors
    ///
    /// Damage to any unit.
    pub fn cardinality(&self, cardinality: &mut Cardinality) -> Result<()> {
        cardinality.add(self)
    }
}

/// Finding the rank of an element in a bitmap costs as much as passing this many of them.
const RANK_COST: u64 = 64;

/// Appends base plus rank of every element of `set` that is in `entities`.
fn push_ranks(set: &Postings, entities: &RoaringBitmap, base: u32, ordinals: &mut Vec<u32>) {
    match set {
        Postings::Run { start, len } => {
            ordinals.extend(
                entities
                    .range(*start..*start + *len)
                    .map(|entity| base + (entity - start)),
            );
        }
        set if entities.len() * RANK_COST < u64::from(set.len()) => {
            ordinals.extend(
                entities
                    .iter()
                    .filter_map(|entity| set.rank(entity))
                    .map(|rank| base + rank),
            );
        }
        set => {
            ordinals.extend(
                (base..)
                    .zip(set.iter())
                    .filter(|(_, entity)| entities.contains(*entity))
                    .map(|(ordinal, _)| ordinal),
            );
        }
    }
}

impl Inverted for IndexReader {
    type Error = Error;
    type Label = u32;
    type Value = Value;

    fn metric_label(&self) -> u32 {
        METRIC_ID
    }

    fn label(&self, name: &str) -> Option<u32> {
        self.find_label(name)
    }

    fn each_label(&self, mut visit: impl FnMut(u32, &str)) {
        for (id, label) in self.directory.labels.iter().enumerate() {
            visit(id as u32, &label.name);
        }
    }

    fn value_count(&self, label: u32) -> usize {
        self.directory.labels[label as usize].values as usize
    }

    fn label_entities(&self, label: u32) -> Result<Cow<'_, Postings>> {
        self.read_set(self.directory.labels[label as usize].set)
            .map(Cow::Owned)
    }

    fn value(&self, label: u32, text: &str) -> Result<Option<Value>> {
        self.find_value(label, text)
    }

    fn each_value(
        &self,
        label: u32,
        prefix: &str,
        mut visit: impl FnMut(Value, &str) -> Result<()>,
    ) -> Result<()> {
        let pages = self.directory.labels[label as usize].pages.len();
        // The values wanted begin on the page that would hold the prefix itself.
        for number in self.page_of(label, prefix).saturating_sub(1)..pages {
            let (page, values) = self.value_page(label, number)?;
            for index in 0..values.len() {
                let text = values
                    .text(index)
                    .map_err(|malformed| self.damaged_page(page, malformed))?;
                if text.starts_with(prefix) {
                    let set = values
                        .set(index)
                        .map_err(|malformed| self.damaged_page(page, malformed))?;
                    visit(
                        Value {
                            label,
                            ordinal: (number * PER_PAGE + index) as u32,
                            set,
                        },
                        text,
                    )?;
                } else if text > prefix {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn entity_count(&self, value: Value) -> u32 {
        value.set.count
    }

    fn entities(&self, value: Value) -> Result<Cow<'_, Postings>> {
        self.read_set(value.set).map(Cow::Owned)
    }

    fn text(&self, value: Value) -> Result<&str> {
        self.value_text(value.label, value.ordinal)
    }

    fn entity_value(&self, entity: u32, label: u32) -> Result<&str> {
        let mut text = "";
        self.each_entity_label(entity, |id, value| {
            if id == label {
                text = self.value_text(id, value)?;
            }
            Ok(if id < label { Walk::On } else { Walk::Stop })
        })?;
        Ok(text)
    }
}
