//! Labels of series of the head, as answers share them.

use std::ops::Range;
use std::sync::Arc;

use super::MemIndex;
use crate::labels::{LabelsBuilder, SeriesLabels, SharedLabels};

impl MemIndex {
    /// Returns the labels of the series in `slots`. All of them share one text, in which an entity that several series
    /// have stands once, mostly.
    ///
    /// # Panics
    ///
    /// Panics if there is no series in one of the slots.
    pub fn series_labels(&self, slots: &[u32]) -> Vec<SeriesLabels> {
        let mut texts = LabelsBuilder::default();
        // What was packed last of the entities that share a place here: series come metric by metric, and metrics have
        // much the same entities.
        let mut packed = vec![(u32::MAX, 0..0); slots.len().next_power_of_two()];
        let mut ranges: Vec<Range<u32>> = Vec::with_capacity(slots.len());
        for slot in slots {
            let entity = self.series_in(*slot).entity;
            let place = entity as usize & (packed.len() - 1);
            if packed[place].0 != entity {
                let is_first = texts.len() == 0;
                packed[place] = (entity, self.pack_entity(entity, &mut texts));
                if is_first {
                    // The others are mostly about as long.
                    texts.reserve(texts.len() * slots.len());
                }
            }
            ranges.push(packed[place].1.clone());
        }
        let texts = Arc::new(texts.finish_entities());

        let mut shared = Arc::new(SharedLabels {
            metric: Arc::default(),
            texts,
        });
        let mut labels = Vec::with_capacity(slots.len());
        for (slot, range) in slots.iter().zip(ranges) {
            let name = self.metric_of(*slot);
            if *shared.metric != *name {
                shared = Arc::new(SharedLabels {
                    metric: name.into(),
                    texts: Arc::clone(&shared.texts),
                });
            }
            labels.push(SeriesLabels::new(Arc::clone(&shared), range));
        }
        labels
    }

    fn pack_entity(&self, entity: u32, texts: &mut LabelsBuilder) -> Range<u32> {
        let start = texts.len();
        for id in self.entities.values(entity) {
            let value = self.dictionary.value(*id);
            let name = &self.dictionary.label(value.label).name;
            texts.push(name, &value.text);
        }
        let place = |at| u32::try_from(at).expect("labels of a batch are within the limits");
        place(start)..place(texts.len())
    }
}
