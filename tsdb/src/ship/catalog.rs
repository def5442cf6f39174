//! What the series of a log are called, and which shards they belong to.

use std::collections::HashMap;

use crate::encoding::Malformed;
use crate::error::Result;
use crate::frame::{DefinitionReader, Section, sections};
use crate::labels::{Labels, METRIC_NAME};

use super::progress::shard_key;

/// [Keys](shard_key) of series by id.
pub(crate) type Keys = HashMap<u64, u32, foldhash::fast::RandomState>;

/// Adds the keys of series that the log did not name on the way, as far as they are known.
pub(crate) type FindKeys<'a> = dyn FnMut(&[u64], &mut Keys) -> Result<()> + 'a;

/// Names and keys of the series that a reader of the log comes across.
#[derive(Default)]
pub(super) struct Catalog {
    /// Names that passed by. A series may be gone from everywhere else by the time it is read here.
    pub(super) names: HashMap<u64, Labels, foldhash::fast::RandomState>,
    /// Of the series that were met since the segment began.
    keys: Keys,
    /// Of those that were met in the segment before.
    old_keys: Keys,
}

impl Catalog {
    /// A segment begins that continues no other: series that are not met in it are forgotten with its end.
    pub(super) fn age(&mut self) {
        self.old_keys = std::mem::take(&mut self.keys);
    }

    /// Makes the key of each series known that a frame names for the first time in its segment.
    ///
    /// # Errors
    ///
    /// What `find_keys` says. A sample whose shard is guessed would be acknowledged by the wrong one, and lost by a restart.
    pub(super) fn learn(&mut self, body: &[u8], find_keys: &mut FindKeys<'_>) -> Result<()> {
        let mut missing = Vec::new();
        // A section that does not decode names nobody; who reads its samples counts it.
        for section in sections(body).flatten() {
            match section {
                Section::Definitions(reader) => drop(self.define(reader)),
                Section::Base(base) => base.ids.iter().for_each(|&id| self.meet(id, &mut missing)),
                Section::Lone(mut reader) => {
                    while let Ok(Some(lone)) = reader.next() {
                        self.meet(lone.id, &mut missing);
                    }
                }
                Section::Row(row) => {
                    let joiners = row.joiners.ids();
                    joiners
                        .into_iter()
                        .for_each(|id| self.meet(id, &mut missing));
                }
                Section::Tombstones(_) | Section::Unknown => {}
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        find_keys(&missing, &mut self.keys)?;
        for id in missing {
            // Its definition is lost to damage, and so are its samples, whatever their shard.
            self.keys.entry(id).or_insert(0);
        }
        Ok(())
    }

    /// Returns the key of a series that a frame learned from names.
    pub(super) fn key(&self, id: u64) -> u32 {
        self.keys.get(&id).copied().unwrap_or(0)
    }

    fn meet(&mut self, id: u64, missing: &mut Vec<u64>) {
        if self.keys.contains_key(&id) {
            return;
        }
        let known = self.old_keys.remove(&id);
        match known.or_else(|| self.names.get(&id).map(|labels| shard_key(labels.iter()))) {
            Some(key) => drop(self.keys.insert(id, key)),
            None => missing.push(id),
        }
    }

    fn define(&mut self, mut reader: DefinitionReader<'_>) -> Result<(), Malformed> {
        let metrics = reader.metrics().to_vec();
        let mut entities = Vec::with_capacity(reader.entity_count());
        while let Some(entity) = reader.next_entity()? {
            entities.push(entity.to_vec());
        }
        while let Some(series) = reader.next()? {
            let metric = [(METRIC_NAME, metrics[series.metric as usize])];
            let entity = &entities[series.entity as usize];
            // Labels that are none would have been refused before they came to the log.
            if let Ok(labels) = Labels::from_pairs(metric.iter().chain(entity).copied()) {
                self.names.insert(series.id, labels);
            }
        }
        Ok(())
    }
}
