#![doc = include_str!("FORMAT.md")]
//!
//! ## The head: the recent past, in memory and writable
//!
//! 1. A series is named once ([`Head::resolve`]): the index gives it a slot, the head an id that is its reference.
//! 2. A commit is a frame. [`Head::apply`] takes a frame's sections up, the same for a commit and for replay: a row goes
//!    to its [`Group`], a lone sample to the [`LoneStore`], a tombstone to [`HeadTombstones`].
//! 3. [`Publisher::publish`] makes it visible, in the order of the sequences.
//! 4. A group with enough open rows is sealed: the rows become a piece in a file. Seals are not logged; replay makes
//!    them again.
//! 5. A [`HeadView`] reads: pieces, open rows backwards from the state, lone chunks. A [`FlushView`] reads whole groups.
//! 6. [`Head::truncate`] drops what blocks hold, and series nothing is known of any more.
//! 7. A [`Checkpoint`] makes all of it durable without the log, so that the log can be cut.
//!
//! The head does not know that it is logged, and not which blocks exist. It starts no thread and reads no clock.

mod apply;
mod checkpoint;
mod flush;
mod flushed;
mod group;
mod layout;
mod lone;
mod memory;
mod naming;
mod open_rows;
mod order;
mod pages;
mod piece_files;
mod publish;
mod recent;
mod slots;
mod tombstones;
mod truncate;
mod view;

use std::collections::HashMap;
use std::iter::Zip;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::vec::IntoIter;

use parking_lot::{Mutex, RwLock};

use crate::encoding::Malformed;
use crate::error::{Error, Rejection, Result};
use crate::frame::{Definition, DefinitionReader, put_definitions};
use crate::fs::Fs;
use crate::index::{Insertion, MemIndex};
use crate::labels::{Labels, SeriesLabels};
use crate::time::Timestamp;

pub(crate) use apply::{ApplyReport, ReplayWork};
pub(crate) use checkpoint::Checkpoint;
pub(crate) use flush::{FlushValues, FlushView};
use flushed::Flushed;
pub(crate) use group::{Group, GroupState, Sealer, THIN_ROWS_MAX};
pub(crate) use layout::Layout;
pub(crate) use lone::{Announced, LoneRow, LoneStore};
pub(crate) use naming::Naming;
pub(crate) use order::ScrapeOrder;
pub(crate) use piece_files::PieceFiles;
pub(crate) use publish::Publisher;
pub(crate) use recent::{Readers, RecentCommits};
pub(crate) use slots::{Slot, Slots};
pub(crate) use tombstones::HeadTombstones;
pub(crate) use view::HeadView;

/// Series whose definitions are made under one hold of the index: a fraction of a millisecond.
const DEFINED_AT_ONCE: usize = 1024;

/// What the head needs to know of the options.
#[derive(Debug, Clone)]
pub(crate) struct HeadConfig {
    /// Width of the aligned ranges that blocks begin with.
    pub(crate) range_ms: i64,
    /// Series beyond which new ones are refused.
    pub(crate) series_limit: Option<u64>,
    /// Accounted bytes beyond which new series are refused.
    pub(crate) memory_limit: Option<u64>,
    /// Nothing may be written: rows are sealed into memory.
    pub(crate) seals_in_memory: bool,
}

/// The recent past.
///
/// Locks, in the order in which they are taken: `structure`, `index`, `slots`, `groups`, a group's state (ascending),
/// `tombstones`, a lone stripe.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) config: HeadConfig,
    /// Held by commits that are no plain row of one group, and by whatever changes homes, layouts or groups; shared by
    /// commits of lone samples that change none of these.
    pub(crate) structure: RwLock<()>,
    pub(crate) index: RwLock<MemIndex>,
    pub(crate) slots: RwLock<Slots>,
    pub(crate) groups: RwLock<Groups>,
    pub(crate) tombstones: RwLock<HeadTombstones>,
    pub(crate) lone: LoneStore,
    /// The sequences at which the head is being read.
    pub(crate) readers: Readers,
    /// Lone samples that not all of them may see.
    pub(crate) recent: RecentCommits,
    pub(crate) pieces: PieceFiles,
    pub(crate) publisher: Publisher,
    /// Below it nothing is taken in order: blocks hold it.
    boundary: AtomicI64,
    /// What blocks hold of it. No other lock is taken under it.
    flushed: Mutex<Flushed>,
    /// Newest and oldest timestamp committed.
    max_time: AtomicI64,
    min_time: AtomicI64,
    /// The head has nothing of what came up to this sequence.
    blank_through: AtomicU64,
    next_series: AtomicU64,
    next_group: AtomicU64,
    /// Series named in the log since the series store was last written.
    unstored: Mutex<Vec<u64>>,
    /// Appenders that are open.
    pub(crate) open_appenders: AtomicUsize,
    /// Those of them that have named series no frame may have named yet.
    pub(crate) naming: Naming,
    /// Accounted bytes when they were last added up.
    memory_estimate: AtomicU64,
    /// Series refused for their memory since a refusal last had it added up.
    refused_for_memory: AtomicU64,
    pub(crate) counters: HeadCounters,
}

/// What happened in the head since it was opened.
#[derive(Debug, Default)]
pub(crate) struct HeadCounters {
    pub(crate) series_created: AtomicU64,
    pub(crate) series_removed: AtomicU64,
    pub(crate) seals: AtomicU64,
    pub(crate) seal_failures: AtomicU64,
}

/// The groups by index; indexes of groups that died are used again.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    by_index: Vec<Option<Arc<Group>>>,
    by_id: HashMap<u64, u32>,
    free: Vec<u32>,
}

impl Groups {
    pub(crate) fn get(&self, index: u32) -> Option<&Arc<Group>> {
        self.by_index.get(index as usize)?.as_ref()
    }

    pub(crate) fn find(&self, id: u64) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn insert(&mut self, group: Arc<Group>) -> u32 {
        let id = group.id;
        let index = match self.free.pop() {
            Some(index) => {
                self.by_index[index as usize] = Some(group);
                index
            }
            None => {
                self.by_index.push(Some(group));
                (self.by_index.len() - 1) as u32
            }
        };
        self.by_id.insert(id, index);
        index
    }

    fn remove(&mut self, index: u32) {
        if let Some(group) = self.by_index.get_mut(index as usize).and_then(Option::take) {
            self.by_id.remove(&group.id);
            self.free.push(index);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.by_index.iter().flatten().map(|group| &**group)
    }

    /// Returns the bytes of the lists, without the groups.
    fn memory_bytes(&self) -> usize {
        self.by_index.capacity() * size_of::<Option<Arc<Group>>>()
            + memory::table_bytes(&self.by_id)
            + self.free.capacity() * size_of::<u32>()
    }

    pub(crate) fn all(&self) -> Vec<(u32, Arc<Group>)> {
        let groups = self.by_index.iter().enumerate();
        groups
            .filter_map(|(index, group)| Some((index as u32, Arc::clone(group.as_ref()?))))
            .collect()
    }
}

impl Head {
    /// Returns an empty head whose piece files go to `dir`.
    pub(crate) fn new(config: HeadConfig, fs: Arc<dyn Fs>, dir: PathBuf) -> Self {
        Self {
            lone: LoneStore::new(config.range_ms),
            readers: Readers::default(),
            recent: RecentCommits::default(),
            pieces: PieceFiles::new(fs, dir, config.seals_in_memory),
            config,
            structure: RwLock::new(()),
            index: RwLock::new(MemIndex::new()),
            slots: RwLock::new(Slots::new()),
            groups: RwLock::default(),
            tombstones: RwLock::default(),
            publisher: Publisher::new(0),
            boundary: AtomicI64::new(i64::MIN),
            flushed: Mutex::default(),
            max_time: AtomicI64::new(i64::MIN),
            min_time: AtomicI64::new(i64::MAX),
            blank_through: AtomicU64::new(0),
            next_series: AtomicU64::new(1),
            next_group: AtomicU64::new(1),
            unstored: Mutex::default(),
            open_appenders: AtomicUsize::new(0),
            naming: Naming::default(),
            memory_estimate: AtomicU64::new(0),
            refused_for_memory: AtomicU64::new(0),
            counters: HeadCounters::default(),
        }
    }

    /// Returns the id of the series with these labels, which are a set; makes it if it is new and the budgets allow it.
    /// `near` is the entity of the series the caller named before, and becomes that of this one.
    ///
    /// A series that no commit names is not visible, and is forgotten at a truncation.
    pub(crate) fn resolve<'a>(
        &self,
        pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone,
        near: &mut u32,
    ) -> Result<u64, Rejection> {
        let mut wanted = {
            // Held while the slot is touched: a series is only forgotten under the exclusive lock.
            let index = self.index.read();
            let wanted = index.look_up(pairs, *near);
            *near = wanted.entity();
            if let Some(slot) = index.slot_of(&wanted) {
                return Ok(self.touch(slot));
            }
            wanted
        };
        if self
            .config
            .series_limit
            .is_some_and(|limit| self.series_count() >= limit)
        {
            return Err(Rejection::SeriesLimit);
        }
        if self
            .config
            .memory_limit
            .is_some_and(|limit| self.is_beyond_memory(limit))
        {
            return Err(Rejection::MemoryLimit);
        }
        let mut index = self.index.write();
        let insertion = index.insert_wanted(&mut wanted);
        *near = wanted.entity();
        match insertion {
            Insertion::Known(slot) => Ok(self.touch(slot)),
            Insertion::New(slot) => {
                // Relaxed: ids only have to differ.
                let id = self.next_series.fetch_add(1, Ordering::Relaxed);
                let mut slots = self.slots.write();
                slots.put(slot, id);
                slots.set_named(slot, self.naming.stamp());
                drop(slots);
                let created = self.counters.series_created.fetch_add(1, Ordering::Relaxed) + 1;
                let count = index.len();
                drop(index);
                // A bomb of new series must meet its limit long before the next regular accounting.
                if self.config.memory_limit.is_some()
                    && (created.is_multiple_of(4096) || count < 4096 && created.is_multiple_of(256))
                {
                    self.update_memory_estimate();
                }
                Ok(id)
            }
        }
    }

    fn touch(&self, slot: u32) -> u64 {
        let known = self.slots.read().get(slot);
        let now = self.naming.stamp();
        if known.named != now && known.home().is_none() {
            self.slots.write().set_named(slot, now);
        }
        known.id
    }

    /// Puts a series in that the log or the series store names.
    pub(crate) fn define<'a>(
        &self,
        id: u64,
        pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    ) -> u32 {
        let slot = self.index.write().insert_pairs(pairs).slot();
        let mut slots = self.slots.write();
        slots.put(slot, id);
        slots.mark_defined(slot);
        drop(slots);
        self.note_ids([id]);
        slot
    }

    /// Notes that the log or a file names series. Their ids are theirs even if the definitions are lost: whoever got one of
    /// them would get what is stored under it.
    pub(crate) fn note_ids(&self, ids: impl IntoIterator<Item = u64>) {
        if let Some(last) = ids.into_iter().max() {
            let next = last.saturating_add(1);
            self.next_series.fetch_max(next, Ordering::Relaxed);
        }
    }

    /// Notes that the log or a file names a group, in the same way.
    fn note_group(&self, id: u64) {
        let next = id.saturating_add(1);
        self.next_group.fetch_max(next, Ordering::Relaxed);
    }

    /// Puts the series in that a section of the log names.
    pub(crate) fn define_all(&self, mut reader: DefinitionReader<'_>) -> Result<(), Malformed> {
        let mut index = self.index.write();
        let mut slots = self.slots.write();
        let mut ids = Vec::new();
        let mut entities = Vec::with_capacity(reader.entity_count());
        let mut metrics = vec![None; reader.metrics().len()];
        let result = (|| {
            while let Some(labels) = reader.next_entity()? {
                entities.push(index.pin_entity(labels.iter().copied()));
            }
            while let Some(Definition { id, metric, entity }) = reader.next()? {
                let metric = metric as usize;
                let metric = *metrics[metric]
                    .get_or_insert_with(|| index.intern_metric(reader.metrics()[metric]));
                let slot = index.insert_parts(metric, entities[entity as usize]).slot();
                slots.put(slot, id);
                slots.mark_defined(slot);
                ids.push(id);
            }
            Ok(())
        })();
        for entity in entities {
            index.unpin_entity(entity);
        }
        drop((index, slots));
        self.note_ids(ids.iter().copied());
        self.unstored.lock().append(&mut ids);
        result
    }

    /// Returns every series that is defined, with its id.
    ///
    /// The labels of a few series are made at a time: those of all take more memory than the whole index.
    pub(crate) fn all_definitions(&self) -> impl Iterator<Item = (u64, SeriesLabels)> + '_ {
        let count = self.slots.read().len() as u32;
        (0..count).step_by(DEFINED_AT_ONCE).flat_map(move |first| {
            let slots = first..count.min(first + DEFINED_AT_ONCE as u32);
            self.defined(|known| {
                let with_id = slots.map(|slot| (known.get(slot), slot));
                let defined = with_id.filter(|(known, _)| known.id != 0 && known.is_defined);
                defined.map(|(known, slot)| (known.id, slot)).unzip()
            })
        })
    }

    /// Returns the definitions of series that are still there, for who takes many of them.
    pub(crate) fn shared_definitions<'a>(
        &'a self,
        ids: &'a [u64],
    ) -> impl Iterator<Item = (u64, SeriesLabels)> + 'a {
        ids.chunks(DEFINED_AT_ONCE).flat_map(|ids| {
            self.defined(|known| {
                let found = ids.iter().filter_map(|&id| Some((id, known.find(id)?)));
                found.unzip()
            })
        })
    }

    /// Returns the labels of the series that `find` finds, with their ids.
    fn defined(
        &self,
        find: impl FnOnce(&Slots) -> (Vec<u64>, Vec<u32>),
    ) -> Zip<IntoIter<u64>, IntoIter<SeriesLabels>> {
        // Held from looking for the slots to reading them: none is given to another series meanwhile.
        let index = self.index.read();
        let (ids, slots) = find(&self.slots.read());
        ids.into_iter().zip(index.series_labels(&slots))
    }

    /// Returns the definitions of series that are still there, one at a time.
    pub(crate) fn definitions<'a>(
        &'a self,
        ids: &'a [u64],
    ) -> impl Iterator<Item = (u64, Labels)> + 'a {
        ids.iter().filter_map(|&id| {
            let index = self.index.read();
            let slot = self.slots.read().find(id)?;
            Some((id, index.labels(slot)))
        })
    }

    /// Appends the definitions of series in these slots to a frame.
    pub(crate) fn put_definitions(&self, series: &[(u64, u32)], out: &mut Vec<u8>) {
        let index = self.index.read();
        let series: Vec<Definition> = series
            .iter()
            .map(|&(id, slot)| {
                let (metric, entity) = index.parts(slot);
                Definition { id, metric, entity }
            })
            .collect();
        put_definitions(
            out,
            &series,
            |metric| index.metric_text(metric),
            |entity| index.entity_labels(entity),
        );
    }

    /// Notes series that the log now defines.
    pub(crate) fn note_defined(&self, ids: impl Iterator<Item = (u64, u32)>) {
        let mut unstored = self.unstored.lock();
        let mut slots = self.slots.write();
        for (id, slot) in ids {
            slots.mark_defined(slot);
            unstored.push(id);
        }
    }

    /// Returns a group and its index by a member's home.
    pub(crate) fn group_of(&self, id: u64) -> Option<(u32, Arc<Group>)> {
        let slots = self.slots.read();
        let home = slots.get(slots.find(id)?).home()?;
        drop(slots);
        Some((home, Arc::clone(self.groups.read().get(home)?)))
    }

    /// Returns every group with its index; the table is not locked afterwards.
    pub(crate) fn all_groups(&self) -> Vec<(u32, Arc<Group>)> {
        self.groups.read().all()
    }

    /// Gives out the id of a new group.
    pub(crate) fn next_group_id(&self) -> u64 {
        self.next_group.fetch_add(1, Ordering::Relaxed)
    }

    /// Widens the span of time the head covers.
    pub(crate) fn note_time(&self, timestamp: Timestamp) {
        self.max_time.fetch_max(timestamp, Ordering::Relaxed);
        self.min_time.fetch_min(timestamp, Ordering::Relaxed);
    }

    /// Returns the newest timestamp committed, [`i64::MIN`] before the first.
    pub(crate) fn max_time(&self) -> Timestamp {
        self.max_time.load(Ordering::Relaxed)
    }

    /// Returns the oldest timestamp in the head, [`i64::MAX`] when it is empty.
    pub(crate) fn min_time(&self) -> Timestamp {
        self.min_time.load(Ordering::Relaxed)
    }

    /// Tells whether certainly nothing is left of what came up to `sequence`.
    pub(crate) fn is_blank_through(&self, sequence: u64) -> bool {
        sequence <= self.blank_through.load(Ordering::Relaxed)
    }

    /// Returns the time below which nothing is taken in order.
    pub(crate) fn boundary(&self) -> Timestamp {
        self.boundary.load(Ordering::Acquire)
    }

    /// Raises the in-order boundary. Commits that looked at it before still hold the lock of their group.
    pub(crate) fn raise_boundary(&self, boundary: Timestamp) {
        self.boundary.fetch_max(boundary, Ordering::AcqRel);
    }

    /// Returns the number of series.
    pub(crate) fn series_count(&self) -> u64 {
        self.index.read().len() as u64
    }

    /// Seals a group if it is due. A failure leaves the rows open: the next row tries again.
    pub(crate) fn seal_if_due(
        &self,
        group: &Group,
        state: &mut GroupState,
        sealer: &mut Sealer,
    ) -> bool {
        if !state.is_due(self.config.range_ms) {
            return false;
        }
        let newest = state
            .open
            .rows()
            .last()
            .map_or(i64::MAX, |row| row.timestamp);
        let oldest = state
            .open
            .rows()
            .first()
            .map_or(i64::MAX, |row| row.timestamp);
        let spans_ranges =
            !crate::time::TimeRange::aligned(oldest, self.config.range_ms).contains(newest);
        let keep_from = if spans_ranges { newest } else { i64::MAX };
        let sealed = state.seal(
            group.id,
            keep_from,
            self.config.range_ms,
            &self.pieces,
            sealer,
        );
        let counter = if sealed.is_ok() {
            &self.counters.seals
        } else {
            &self.counters.seal_failures
        };
        counter.fetch_add(1, Ordering::Relaxed);
        sealed.is_ok() && state.open.len() == 0
    }

    /// Writes closed chunks of lone samples to files if there are many. A failure leaves them in memory: the next commit
    /// tries again.
    pub(crate) fn spill_if_due(&self) {
        if self.lone.is_spill_due() && self.spill_lone().is_err() {
            self.counters.seal_failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes all closed chunks of lone samples to files.
    pub(crate) fn spill_lone(&self) -> Result<()> {
        let ids_of = |slots: &[u32]| {
            let known = self.slots.read();
            slots.iter().map(|&slot| known.get(slot).id).collect()
        };
        self.lone.spill(&self.pieces, self.boundary(), ids_of)
    }

    /// Compares every piece with its checksum; returns how many there are, and what is damaged.
    pub(crate) fn verify_pieces(&self) -> (u64, Vec<Error>) {
        let mut count = 0;
        let mut damaged = Vec::new();
        for (_, group) in self.all_groups() {
            let pieces = Arc::clone(&group.state.read().pieces);
            count += pieces.len() as u64;
            damaged.extend(pieces.iter().filter_map(|piece| piece.verify().err()));
        }
        let pieces = self.lone.pieces();
        count += pieces.len() as u64;
        damaged.extend(pieces.iter().filter_map(|piece| piece.verify().err()));
        (count, damaged)
    }

    /// Returns how many chunks the head holds: pieces, runs of open rows, lone chunks.
    pub(crate) fn chunk_count(&self) -> u64 {
        let mut chunks = self.lone.chunk_count() as u64;
        for (_, group) in self.all_groups() {
            let state = group.state.read();
            let pieces: usize = state
                .pieces
                .iter()
                .map(|piece| usize::from(piece.header.width))
                .sum();
            let open = if state.open.len() > 0 {
                state.layout.len()
            } else {
                0
            };
            chunks += (pieces + open) as u64;
        }
        chunks
    }
}
