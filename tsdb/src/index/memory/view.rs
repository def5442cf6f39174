//! Asking the index in memory.

use std::borrow::Cow;
#[cfg(test)]
use std::collections::BTreeSet;
use std::convert::Infallible;

use roaring::RoaringBitmap;

use super::{MemIndex, Series};
#[cfg(test)]
use crate::index::browse;
use crate::index::cardinality::Cardinality;
use crate::index::interner::METRIC_LABEL;
use crate::index::postings::Postings;
use crate::index::select::{Inverted, Selection, select};
use crate::labels::Matcher;

impl MemIndex {
    /// Returns the slots of the series that all of `matchers` select, in label order.
    pub fn select(&self, matchers: &[Matcher]) -> Vec<u32> {
        let Ok(selection) = select(self, matchers);
        self.slots(selection)
    }

    /// Returns the label names of the series that all of `matchers` select.
    #[cfg(test)]
    pub fn label_names(&self, matchers: &[Matcher]) -> BTreeSet<String> {
        let Ok(names) = browse::label_names(self, matchers);
        names
    }

    /// Returns the values the label `name` has in the series that all of `matchers` select.
    #[cfg(test)]
    pub fn label_values(&self, name: &str, matchers: &[Matcher]) -> BTreeSet<String> {
        let Ok(values) = browse::label_values(self, name, matchers);
        values
    }

    /// Adds the numbers of the index to `cardinality`.
    pub fn cardinality(&self, cardinality: &mut Cardinality) {
        let Ok(()) = cardinality.add(self);
    }

    fn slots(
        &self,
        Selection {
            mut metrics,
            entities,
        }: Selection<u32>,
    ) -> Vec<u32> {
        metrics.sort_unstable_by_key(|metric| &*self.dictionary.value(*metric).text);
        let of_metrics: Vec<Vec<u32>> = metrics
            .iter()
            .map(|metric| {
                narrowed(
                    &self.dictionary.value(*metric).entities,
                    entities.as_deref(),
                )
            })
            .collect();

        // Entities are sorted once, however many metrics they have; the rank of each then sorts those of a metric.
        let mut order = match of_metrics.as_slice() {
            [only] => only.clone(),
            several => several
                .iter()
                .flatten()
                .copied()
                .collect::<RoaringBitmap>()
                .into_iter()
                .collect(),
        };
        self.sort_entities(&mut order);
        let mut rank = vec![0; order.iter().max().map_or(0, |max| *max as usize + 1)];
        for (position, entity) in order.iter().enumerate() {
            rank[*entity as usize] = position as u32;
        }

        let mut slots = Vec::with_capacity(of_metrics.iter().map(Vec::len).sum());
        for (metric, mut entities) in metrics.into_iter().zip(of_metrics) {
            if entities.len() == order.len() {
                entities.copy_from_slice(&order);
            } else {
                entities.sort_unstable_by_key(|entity| rank[*entity as usize]);
            }
            slots.extend(entities.into_iter().map(|entity| {
                let slot = self.find(Series { metric, entity });
                slot.expect("a metric's set holds the entities it has series with")
            }));
        }
        slots
    }
}

/// Returns the elements of `set` that are in `entities`; `None` stands for all.
fn narrowed(set: &Postings, entities: Option<&[u32]>) -> Vec<u32> {
    match entities {
        None => set.iter().collect(),
        Some(entities) => {
            let mut narrowed = entities.to_vec();
            set.retain_in(&mut narrowed, true);
            narrowed
        }
    }
}

impl Inverted for MemIndex {
    type Error = Infallible;
    type Label = u32;
    type Value = u32;

    fn metric_label(&self) -> u32 {
        METRIC_LABEL
    }

    fn label(&self, name: &str) -> Option<u32> {
        self.dictionary.find_label(name)
    }

    fn each_label(&self, mut visit: impl FnMut(u32, &str)) {
        for (id, label) in self.dictionary.labels() {
            visit(id, &label.name);
        }
    }

    fn value_count(&self, label: u32) -> usize {
        self.dictionary.label(label).values.len() as usize
    }

    fn label_entities(&self, label: u32) -> Result<Cow<'_, Postings>, Infallible> {
        Ok(Cow::Borrowed(&self.dictionary.label(label).entities))
    }

    fn value(&self, label: u32, text: &str) -> Result<Option<u32>, Infallible> {
        Ok(self.dictionary.find_value(label, text))
    }

    fn each_value(
        &self,
        label: u32,
        prefix: &str,
        mut visit: impl FnMut(u32, &str) -> Result<(), Infallible>,
    ) -> Result<(), Infallible> {
        for id in self.dictionary.label(label).values.iter() {
            let text = &self.dictionary.value(id).text;
            if prefix.is_empty() || text.starts_with(prefix) {
                visit(id, text)?;
            }
        }
        Ok(())
    }

    fn entity_count(&self, value: u32) -> u32 {
        self.dictionary.value(value).entities.len()
    }

    fn entities(&self, value: u32) -> Result<Cow<'_, Postings>, Infallible> {
        Ok(Cow::Borrowed(&self.dictionary.value(value).entities))
    }

    fn text(&self, value: u32) -> Result<&str, Infallible> {
        Ok(&self.dictionary.value(value).text)
    }

    fn entity_value(&self, entity: u32, label: u32) -> Result<&str, Infallible> {
        let values = self
            .entities
            .values(entity)
            .iter()
            .map(|id| self.dictionary.value(*id));
        Ok(values
            .into_iter()
            .find(|value| value.label == label)
            .map_or("", |value| &*value.text))
    }
}
