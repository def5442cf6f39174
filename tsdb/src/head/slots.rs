//! Where each series of the head is.
//!
//! A series has a slot of the index while it is in the head, and an id for ever. References that callers hold are ids:
//! they are never given out twice, so a stale one is noticed.

use std::collections::HashMap;

use crate::time::Timestamp;

use super::memory::{OVERHEAD_BYTES, shrink_table, table_bytes};
use super::naming::Stamp;
use super::pages::Pages;

/// No slot, or no group.
const NONE: u32 = u32::MAX;

/// Ids of one page of the id table.
const ID_PAGE: u64 = 4096;

/// What is known of the series in a slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    /// The series; 0 if the slot is free.
    pub(crate) id: u64,
    group: u32,
    /// Position in the group's layout.
    pub(crate) position: u16,
    /// The log holds its definition.
    pub(crate) is_defined: bool,
    /// When an appender last named it without a home.
    pub(crate) named: Stamp,
}

impl Slot {
    /// Returns the series' home group.
    pub(crate) fn home(&self) -> Option<u32> {
        (self.group != NONE).then_some(self.group)
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            id: 0,
            group: NONE,
            position: 0,
            is_defined: false,
            named: Stamp::default(),
        }
    }
}

/// The slots, and the way to them by id.
#[derive(Debug)]
pub(crate) struct Slots {
    slots: Pages<Slot>,
    /// Slots by id. Ids only grow, so the first pages empty under churn and are let go.
    by_id: Vec<Option<Box<[u32; ID_PAGE as usize]>>>,
    /// Groups a series was in before, while they hold data of it.
    former: HashMap<u32, Vec<u32>>,
    /// Older ids of a series that was forgotten and came back.
    aliases: HashMap<u32, Vec<u64>>,
}

impl Slots {
    pub(crate) fn new() -> Self {
        Self {
            slots: Pages::new(),
            by_id: Vec::new(),
            former: HashMap::new(),
            aliases: HashMap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns the slot of a series.
    #[inline]
    pub(crate) fn find(&self, id: u64) -> Option<u32> {
        let page = self.by_id.get((id / ID_PAGE) as usize)?.as_ref()?;
        let slot = page[(id % ID_PAGE) as usize];
        (slot != NONE).then_some(slot)
    }

    /// Puts the slots of series that have no home and are defined in the log into `places`, with their timestamps, one for
    /// each; `None` if a series is another or unknown. Answers whether all ids are the newest of their series.
    pub(crate) fn find_all_alone(
        &self,
        ids: &[u64],
        timestamps: &[Timestamp],
        places: &mut Vec<(u32, Timestamp)>,
    ) -> Option<bool> {
        places.clear();
        places.resize(ids.len(), (NONE, 0));
        let (mut are_newest, mut at) = (true, 0);
        while at < ids.len() {
            // Series that were created together follow each other in both tables.
            let (first, by_id, known) = self.row(ids[at])?;
            let row = places[at..].iter_mut().zip(&timestamps[at..]);
            let row = row.zip(&ids[at..]).zip(by_id).zip(known);
            let mut count = 0;
            for ((((place, &timestamp), &id), &slot), known) in row {
                if id != ids[at] + count || slot != first + count as u32 {
                    break;
                }
                if known.group != NONE || !known.is_defined {
                    return None;
                }
                are_newest &= known.id == id;
                *place = (slot, timestamp);
                count += 1;
            }
            at += count as usize;
        }
        Some(are_newest)
    }

    /// Returns the slot of a series, the slots of the ids from its own on, and what is known of the slots from its own on,
    /// each to the end of its page.
    fn row(&self, id: u64) -> Option<(u32, &[u32], &[Slot])> {
        let slot = self.find(id)?;
        let by_id = self.by_id[(id / ID_PAGE) as usize].as_ref()?;
        Some((
            slot,
            &by_id[(id % ID_PAGE) as usize..],
            self.slots.rest_of_page(slot as usize)?,
        ))
    }

    /// Returns what is known of a slot.
    #[inline]
    pub(crate) fn get(&self, slot: u32) -> Slot {
        self.slots.get(slot as usize).copied().unwrap_or_default()
    }

    /// Puts a series into a slot. A slot may be reached by several ids: a series that came back after it was forgotten.
    pub(crate) fn put(&mut self, slot: u32, id: u64) {
        let page = (id / ID_PAGE) as usize;
        if self.by_id.len() <= page {
            self.by_id.resize(page + 1, None);
        }
        let page = self.by_id[page].get_or_insert_with(|| Box::new([NONE; ID_PAGE as usize]));
        page[(id % ID_PAGE) as usize] = slot;
        let known = self.slots.slot(slot as usize);
        if known.id != 0 && known.id != id {
            self.aliases.entry(slot).or_default().push(known.id.min(id));
        }
        // The newest id is the one that is written from now on.
        known.id = known.id.max(id);
    }

    /// Frees a slot and forgets the ids that lead to it.
    pub(crate) fn remove(&mut self, slot: u32) {
        self.former.remove(&slot);
        let id = self.get(slot).id;
        for id in self
            .aliases
            .remove(&slot)
            .unwrap_or_default()
            .into_iter()
            .chain([id])
        {
            if let Some(Some(page)) = self.by_id.get_mut((id / ID_PAGE) as usize) {
                page[(id % ID_PAGE) as usize] = NONE;
            }
        }
        *self.slots.slot(slot as usize) = Slot::default();
    }

    /// Lets go of pages of the id table that no id leads through any more.
    pub(crate) fn release_pages(&mut self) {
        for page in &mut self.by_id {
            if page
                .as_ref()
                .is_some_and(|slots| slots.iter().all(|slot| *slot == NONE))
            {
                *page = None;
            }
        }
    }

    pub(crate) fn mark_defined(&mut self, slot: u32) {
        self.slots.slot(slot as usize).is_defined = true;
    }

    pub(crate) fn set_named(&mut self, slot: u32, named: Stamp) {
        self.slots.slot(slot as usize).named = named;
    }

    /// Gives a series a home.
    pub(crate) fn set_home(&mut self, slot: u32, group: u32, position: u16) {
        self.leave(slot, group);
        let known = self.slots.slot(slot as usize);
        known.group = group;
        known.position = position;
    }

    /// Takes a series' home away; the group still holds what it has of it.
    pub(crate) fn clear_home(&mut self, slot: u32) {
        self.leave(slot, NONE);
        self.slots.slot(slot as usize).group = NONE;
    }

    fn leave(&mut self, slot: u32, to: u32) {
        let from = self.get(slot).group;
        if from != NONE && from != to {
            self.note_former(slot, from);
        }
    }

    /// Notes that a group that is not the series' home holds data of it.
    pub(crate) fn note_former(&mut self, slot: u32, group: u32) {
        let groups = self.former.entry(slot).or_default();
        if !groups.contains(&group) {
            groups.push(group);
        }
    }

    /// Returns the groups that hold data of a series besides its home.
    pub(crate) fn former(&self, slot: u32) -> &[u32] {
        self.former.get(&slot).map_or(&[], Vec::as_slice)
    }

    /// Returns the ids of the series in a slot.
    pub(crate) fn ids(&self, slot: u32) -> impl Iterator<Item = u64> + Clone {
        let aliases = self.aliases.get(&slot).into_iter().flatten().copied();
        aliases.chain([self.get(slot).id])
    }

    /// Walks the series with former homes: slots and groups.
    pub(crate) fn all_former(&self) -> impl Iterator<Item = (u32, &[u32])> {
        let former = self.former.iter();
        former.map(|(&slot, groups)| (slot, groups.as_slice()))
    }

    /// Forgets former homes that `keep` does not want.
    pub(crate) fn retain_former(&mut self, mut keep: impl FnMut(u32, u32) -> bool) {
        self.former.retain(|&slot, groups| {
            groups.retain(|&group| keep(slot, group));
            !groups.is_empty()
        });
        shrink_table(&mut self.former);
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let ids = self.by_id.iter().flatten().count() * ID_PAGE as usize * size_of::<u32>()
            + self.by_id.capacity() * size_of::<usize>();
        // Lists of one or two are as small as allocations are.
        let lists = (self.former.len() + self.aliases.len()) * 2 * OVERHEAD_BYTES;
        let tables = table_bytes(&self.former) + table_bytes(&self.aliases);
        self.slots.memory_bytes() + ids + tables + lists
    }
}
