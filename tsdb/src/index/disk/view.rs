//! Asking the index on disk.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::page::PER_PAGE;
use super::reader::{IndexReader, METRIC_ID, Value, Walk};
use super::set::SetKind;
use crate::error::{Error, Result};
use crate::index::browse;
use crate::index::cardinality::Cardinality;
use crate::index::postings::Postings;
use crate::index::select::{Inverted, prefix_of};
use crate::labels::{Matcher, Pattern};

impl IndexReader {
    /// Returns the ordinals of the series that all of `matchers` select, ascending: in label order.
    ///
    /// # Errors
    ///
    /// Damage to a unit that the answer depends on.
    pub fn select(&self, matchers: &[Matcher]) -> Result<Vec<u32>> {
        self.find(matchers)?.ordinals(self)
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
                if prefix.is_empty() || text.starts_with(prefix) {
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

    fn each_match(
        &self,
        label: u32,
        pattern: &Pattern,
        mut visit: impl FnMut(Value) -> Result<()>,
    ) -> Result<()> {
        let word = match pattern {
            Pattern::Glob(glob) if glob.prefix().is_empty() => glob.longest(),
            _ => None,
        };
        let Some(word) = word else {
            return self.each_value(label, prefix_of(pattern), |value, text| {
                if pattern.matches(text) {
                    visit(value)
                } else {
                    Ok(())
                }
            });
        };
        // The texts of a page are searched as one; few are looked at by themselves.
        for number in 0..self.directory.labels[label as usize].pages.len() {
            let (page, values) = self.value_page(label, number)?;
            let damaged = |malformed| self.damaged_page(page, malformed);
            let mut index = 0;
            while let Some(found) = values.find_word(index, word).map_err(damaged)? {
                if pattern.matches(values.text(found).map_err(damaged)?) {
                    visit(Value {
                        label,
                        ordinal: (number * PER_PAGE + found) as u32,
                        set: values.set(found).map_err(damaged)?,
                    })?;
                }
                index = found + 1;
            }
        }
        Ok(())
    }

    fn append_entities(&self, value: Value, out: &mut Vec<u32>) -> Result<()> {
        // Most values belong to one entity.
        if let (SetKind::Run, 1) = (value.set.kind, value.set.count)
            && value.set.at < self.entity_total()
        {
            out.push(value.set.at);
            return Ok(());
        }
        out.extend(self.read_set(value.set)?.iter());
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
