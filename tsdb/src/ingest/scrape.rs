//! Who belongs to a group: a scrape is nearly its layout, but a pod has gone, another has come, a metric is missing.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::error::Rejection;
use crate::head::{Group, GroupState, Head, Slots};
use crate::limits::GROUP_SERIES_MAX;
use crate::time::Timestamp;

use super::commit::Committer;
use super::staged::Staged;

/// A staged sample and where its series is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) index: usize,
    pub(super) id: u64,
    pub(super) slot: u32,
    /// Its home group, and its position there.
    pub(super) home: Option<(u32, u16)>,
    /// No frame has named the series yet, so it has no sample.
    pub(super) is_new: bool,
}

/// Staged samples with one timestamp, told apart by the layout of the group they come from.
#[derive(Debug)]
pub(super) struct Scrape {
    /// The group.
    pub(super) home: u32,
    /// Positions in its layout, and where the samples stand among the staged ones.
    pub(super) members: Vec<(u16, usize)>,
    /// Where the others stand.
    pub(super) others: Vec<usize>,
}

/// References that are looked at to find the group: those before it may be new series.
const LOOKED_AT: usize = 16;

impl Scrape {
    /// Compares the samples with the layout of the group they come from, if they share a timestamp and have one. Whoever
    /// calls it holds the lock that keeps layouts as they are.
    pub(super) fn of(head: &Head, staged: &Staged) -> Option<Self> {
        staged.single()?;
        let slots = head.slots.read();
        let home = staged
            .ids
            .iter()
            .take(LOOKED_AT)
            .find_map(|&id| slots.get(slots.find(id)?).home())?;
        let layout = {
            let groups = head.groups.read();
            let state = groups.get(home)?.state.read();
            Arc::clone(&state.layout)
        };
        let ids = layout.ids();
        let mut scrape = Self {
            home,
            members: Vec::with_capacity(staged.ids.len()),
            others: Vec::new(),
        };
        let mut expected = 0;
        for (index, &id) in staged.ids.iter().enumerate() {
            let position = if ids.get(expected) == Some(&id) {
                Some(expected)
            } else {
                let known = slots.find(id).map(|slot| slots.get(slot));
                known
                    .filter(|known| known.home() == Some(home))
                    .map(|known| usize::from(known.position))
            };
            match position {
                Some(position) => {
                    scrape.members.push((position as u16, index));
                    expected = position + 1;
                }
                // Most likely it stands for the series that was there.
                None => {
                    scrape.others.push(index);
                    expected += 1;
                }
            }
        }
        Some(scrape)
    }
}

impl Entry {
    pub(super) fn find(slots: &Slots, staged: &Staged, index: usize) -> Option<Self> {
        let slot = slots.find(staged.ids[index])?;
        let known = slots.get(slot);
        Some(Self {
            index,
            // An older id of the series leads to the same slot; what is written names the newest.
            id: known.id,
            slot,
            home: known.home().map(|home| (home, known.position)),
            is_new: !known.is_defined,
        })
    }
}

/// Finds the series of staged samples, and their home groups.
pub(super) fn look_up(
    head: &Head,
    staged: &Staged,
    indexes: impl Iterator<Item = usize>,
    entries: &mut [Option<Entry>],
    homes: &mut BTreeSet<u32>,
    rejected: &mut Vec<(usize, Rejection)>,
) {
    let slots = head.slots.read();
    for index in indexes {
        let entry = Entry::find(&slots, staged, index);
        match entry {
            Some(entry) => homes.extend(entry.home.map(|(home, _)| home)),
            None => rejected.push((index, Rejection::UnknownSeries)),
        }
        entries[index] = entry;
    }
}

impl Committer {
    /// Makes the latest scrape the layout of a group: members it does not name leave, homeless series it names join.
    pub(super) fn renew_layout(
        &mut self,
        index: u32,
        group: &Group,
        state: &mut GroupState,
        staged: &Staged,
    ) {
        if state
            .seal(
                group.id,
                i64::MAX,
                self.head.config.range_ms,
                &self.head.pieces,
                &mut self.sealer,
            )
            .is_err()
        {
            // The rows stay open, so the layout has to stay too; the next scrape tries again.
            return;
        }
        let Some(latest) = staged.batches().last().copied() else {
            return;
        };
        let mut ids = Vec::new();
        let mut floors = HashMap::new();
        {
            let slots = self.head.slots.read();
            for &id in &staged.ids[latest.start..latest.end] {
                let Some(slot) = slots.find(id) else { continue };
                let known = slots.get(slot);
                match known.home() {
                    Some(home) if home != index => {}
                    // Its sample was not taken: no frame has named it yet.
                    _ if !known.is_defined => {}
                    _ if ids.len() == GROUP_SERIES_MAX || floors.contains_key(&id) => {}
                    _ => {
                        floors.insert(id, self.head.lone.newest(slot).unwrap_or(i64::MIN));
                        ids.push(id);
                    }
                }
            }
        }
        if ids.is_empty() || ids == state.layout.ids() {
            return;
        }
        let leaving = state.change_layout(ids.clone(), &floors);
        state.newest = floors.values().copied().fold(state.newest, Timestamp::max);
        let mut slots = self.head.slots.write();
        for (id, newest) in leaving {
            if let Some(slot) = slots.find(id) {
                slots.clear_home(slot);
                self.head.lone.note_newest(slot, newest);
            }
        }
        for (position, id) in ids.into_iter().enumerate() {
            if let Some(slot) = slots.find(id) {
                slots.set_home(slot, index, position as u16);
            }
        }
    }
}
