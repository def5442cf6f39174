//! Collects series in label order and writes their index.

use std::io;
use std::sync::OnceLock;

use super::directory::{Directory, Label, LabelPage, Page, write_header};
use super::page::{PER_PAGE, write_entities, write_values};
use super::set::SetRef;
use crate::error::{Error, Result};
use crate::index::interner::{Dictionary, Entities, METRIC_LABEL};
use crate::index::memory::MemIndex;
use crate::index::postings::Postings;
use crate::labels::PackedName;
use crate::labels::{Labels, METRIC_NAME};

/// Writes the index of a block from its series in label order.
///
/// Keeps every entity and label value once, and per metric a set of entities: a few bytes per series.
#[derive(Debug)]
pub struct IndexWriter {
    dictionary: Dictionary,
    entities: Entities,
    last: Option<Labels>,
    last_entity: u32,
    series: u32,
    translated: Translated,
}

/// What ids of an index in memory are here, plus one; 0 for those not met yet.
#[derive(Debug, Default)]
struct Translated {
    metrics: Vec<u32>,
    entities: Vec<u32>,
}

impl Default for IndexWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl IndexWriter {
    /// Returns a writer that has seen no series.
    pub fn new() -> Self {
        Self {
            dictionary: Dictionary::new(),
            entities: Entities::default(),
            last: None,
            last_entity: 0,
            series: 0,
            translated: Translated::default(),
        }
    }

    /// Adds the next series and returns its ordinal.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) unless `labels` come after those of every series before.
    pub fn add(&mut self, labels: &Labels) -> Result<u32> {
        if self.last.as_ref().is_some_and(|last| last >= labels) {
            // An ordinal is a rank among all series: out of order it would name another one.
            return Err(Error::invalid(format!(
                "series {labels} is added to an index out of order"
            )));
        }
        let entity = self.entity(labels);
        let metric = self.dictionary.intern_value(METRIC_LABEL, labels.metric());
        self.last = Some(labels.clone());
        Ok(self.add_pair(metric, entity))
    }

    /// Adds the series in a slot of `index`, in the order in which [`MemIndex::select`] gives slots, and returns its
    /// ordinal. Texts are looked at only where a metric or an entity is new. A writer takes series in this way only,
    /// of one index, from which no series goes meanwhile.
    pub fn add_from(&mut self, index: &MemIndex, slot: u32) -> u32 {
        debug_assert!(
            self.is_behind(&index.labels(slot)),
            "series come in label order"
        );
        let (metric_there, entity_there) = index.ids(slot);
        let known = |ids: &[u32], id: u32| ids.get(id as usize).and_then(|id| id.checked_sub(1));
        let entity = known(&self.translated.entities, entity_there).unwrap_or_else(|| {
            let entity = self.entity(&index.labels(slot));
            note(&mut self.translated.entities, entity_there, entity);
            entity
        });
        let metric = known(&self.translated.metrics, metric_there).unwrap_or_else(|| {
            let metric = self
                .dictionary
                .intern_value(METRIC_LABEL, index.metric_of(slot));
            note(&mut self.translated.metrics, metric_there, metric);
            metric
        });
        self.add_pair(metric, entity)
    }

    /// Remembers the labels, and tells whether they come behind those before. Checks that cost as much as they find.
    fn is_behind(&mut self, labels: &Labels) -> bool {
        let is_behind = self.last.as_ref().is_none_or(|last| last < labels);
        self.last = Some(labels.clone());
        is_behind
    }

    fn add_pair(&mut self, metric: u32, entity: u32) -> u32 {
        self.dictionary.add_entity(metric, entity);
        self.entities.add_series(entity);
        self.last_entity = entity;
        let ordinal = self.series;
        self.series += 1;
        ordinal
    }

    fn entity(&mut self, labels: &Labels) -> u32 {
        // Metrics of one exporter have the same entities, which then come in the order in which they came before.
        let next = self.last_entity + 1;
        if self
            .entities
            .has_labels(&self.dictionary, next, labels.entity())
        {
            return next;
        }
        let hash = Entities::hash(&self.dictionary, labels.entity());
        match self.entities.find(&self.dictionary, hash, &labels.entity()) {
            Some(entity) => entity,
            None => self
                .entities
                .insert(&mut self.dictionary, hash, labels.entity()),
        }
    }

    /// Writes the index to `sink` in pieces and returns how many bytes it has.
    ///
    /// # Errors
    ///
    /// Those of `sink`, and [`io::ErrorKind::FileTooLarge`] past 4 GiB.
    pub fn finish(self, sink: &mut impl io::Write) -> io::Result<u64> {
        let sorted = Sorted::new(&self.dictionary, &self.entities);
        drop(self.entities);
        let mut output = Output {
            sink,
            offset: 0,
            buffer: Vec::new(),
        };
        let mut directory = Directory {
            series: self.series,
            entities: sorted.entity_count() as u32,
            ..Directory::default()
        };

        write_header(&mut output.buffer);
        for (label_id, values) in sorted.values.iter().enumerate() {
            directory
                .labels
                .push(output.label(&self.dictionary, &sorted, label_id, values)?);
        }
        for start in (0..sorted.entity_count()).step_by(PER_PAGE) {
            let keys = (start..sorted.entity_count().min(start + PER_PAGE))
                .map(|entity| sorted.key(entity));
            directory
                .entity_pages
                .push(output.page(|out| write_entities(keys, out))?);
        }
        directory
            .write(output.offset, &mut output.buffer)
            .ok_or_else(too_large)?;
        output.flush()?;
        Ok(output.offset)
    }
}

fn note(ids: &mut Vec<u32>, id: u32, translated: u32) {
    let place = id as usize;
    if ids.len() <= place {
        ids.resize(place + 1, 0);
    }
    ids[place] = translated + 1;
}

/// Everything renumbered: labels and values in the order of their texts, entities in label order.
struct Sorted {
    /// Per label id on disk, the values' ids in memory in order.
    values: Vec<Vec<u32>>,
    /// Per entity in memory, its ordinal.
    ordinals: Vec<u32>,
    /// Keys of all entities in order, and where each ends.
    keys: Vec<(u32, u32)>,
    ends: Vec<u32>,
    /// Per value in memory, the ordinals of its entities. Metrics are renumbered one by one instead.
    sets: Vec<Postings>,
}

impl Sorted {
    fn new(dictionary: &Dictionary, entities: &Entities) -> Self {
        let mut labels: Vec<(u32, &str)> = dictionary
            .labels()
            .map(|(id, label)| (id, &*label.name))
            .collect();
        labels.sort_unstable_by_key(|(_, name)| (*name != METRIC_NAME, *name));

        // What a value in memory is on disk. As both ids ascend with the texts, entities sort by numbers alone.
        let mut on_disk = vec![(0, 0); dictionary.value_places()];
        let mut values = Vec::with_capacity(labels.len());
        for (label_id, (id, _)) in labels.iter().enumerate() {
            let mut of_label: Vec<u32> = dictionary.label(*id).values.iter().collect();
            of_label.sort_unstable_by_key(|value| &*dictionary.value(*value).text);
            for (ordinal, value) in of_label.iter().enumerate() {
                on_disk[*value as usize] = (label_id as u32, ordinal as u32);
            }
            values.push(of_label);
        }

        let arrival = |entity: u32| {
            entities
                .values(entity)
                .iter()
                .map(|value| on_disk[*value as usize])
        };
        let mut order: Vec<u32> = (0..entities.len() as u32).collect();
        order.sort_by(|one, other| arrival(*one).cmp(arrival(*other)));

        let mut sorted = Self {
            values,
            ordinals: vec![0; order.len()],
            keys: Vec::new(),
            ends: Vec::with_capacity(order.len()),
            sets: vec![Postings::Empty; on_disk.len()],
        };
        for (ordinal, entity) in order.into_iter().enumerate() {
            sorted.ordinals[entity as usize] = ordinal as u32;
            sorted.keys.extend(arrival(entity));
            sorted.ends.push(sorted.keys.len() as u32);
            for value in entities.values(entity) {
                sorted.sets[*value as usize].insert(ordinal as u32);
            }
        }
        sorted
    }

    fn entity_count(&self) -> usize {
        self.ends.len()
    }

    fn key(&self, entity: usize) -> &[(u32, u32)] {
        let start = if entity == 0 {
            0
        } else {
            self.ends[entity - 1] as usize
        };
        &self.keys[start..self.ends[entity] as usize]
    }

    fn renumbered(&self, set: &Postings) -> Postings {
        let mut ordinals: Vec<u32> = set
            .iter()
            .map(|entity| self.ordinals[entity as usize])
            .collect();
        ordinals.sort_unstable();
        Postings::from_ascending(&ordinals)
    }
}

/// Bytes on their way to the sink.
struct Output<'a, W> {
    sink: &'a mut W,
    /// Bytes given to the sink.
    offset: u64,
    buffer: Vec<u8>,
}

/// Bytes gathered before the sink is called.
const BUFFER_BYTES: usize = 64 * 1024;

impl<W: io::Write> Output<'_, W> {
    fn label(
        &mut self,
        dictionary: &Dictionary,
        sorted: &Sorted,
        label_id: usize,
        values: &[u32],
    ) -> io::Result<Label> {
        let mut sets = Vec::with_capacity(values.len());
        let mut present = Postings::Empty;
        if label_id == METRIC_LABEL as usize {
            for value in values {
                sets.push(self.set(&sorted.renumbered(&dictionary.value(*value).entities))?);
            }
            present =
                Postings::from_ascending(&(0..sorted.entity_count() as u32).collect::<Vec<_>>());
        } else {
            let mut entities = roaring::RoaringBitmap::new();
            for value in values {
                let set = &sorted.sets[*value as usize];
                set.union_into(&mut entities);
                sets.push(self.set(set)?);
            }
            if !entities.is_empty() {
                present = Postings::from_bitmap(entities);
            }
        }
        let name = values.first().map_or(METRIC_NAME, |value| {
            &dictionary.label(dictionary.value(*value).label).name
        });
        let mut label = Label {
            name: name.to_owned(),
            values: values.len() as u32,
            set: self.set(&present)?,
            pages: Vec::new(),
            // For reading only.
            packed_name: PackedName::default(),
            packed: OnceLock::new(),
        };
        let mut before = 0;
        for (values, sets) in values.chunks(PER_PAGE).zip(sets.chunks(PER_PAGE)) {
            let texts = values.iter().map(|value| &*dictionary.value(*value).text);
            let page = self.page(|out| write_values(texts.zip(sets.iter().copied()), out))?;
            label.pages.push(LabelPage {
                page,
                before,
                first: dictionary.value(values[0]).text.as_ref().to_owned(),
            });
            before += sets.iter().map(|set| set.count).sum::<u32>();
        }
        Ok(label)
    }

    fn set(&mut self, set: &Postings) -> io::Result<SetRef> {
        let written = SetRef::write(set, self.offset, &mut self.buffer);
        self.flush_full()?;
        written.ok_or_else(too_large)
    }

    fn page(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> io::Result<Page> {
        let start = self.buffer.len();
        let offset =
            u32::try_from(self.offset + start as u64).map_err(|_past_4_gib| too_large())?;
        write(&mut self.buffer);
        let page = Page::new(offset, (self.buffer.len() - start) as u32);
        self.flush_full()?;
        Ok(page)
    }

    fn flush_full(&mut self) -> io::Result<()> {
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.write_all(&self.buffer)?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "an index takes at most 4 GiB")
}
