//! Where the series of staged samples are, and who belongs to a group.

use std::collections::{BTreeSet, HashMap};

use crate::error::Rejection;
use crate::head::{Group, GroupState, Head, Slots};
use crate::limits::{GROUP_SERIES_MAX, GROUP_SERIES_MIN};
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
    entries: &mut [Option<Entry>],
    homes: &mut BTreeSet<u32>,
    rejected: &mut Vec<(usize, Rejection)>,
) {
    let slots = head.slots.read();
    for (index, place) in entries.iter_mut().enumerate() {
        let entry = Entry::find(&slots, staged, index);
        match entry {
            Some(entry) => homes.extend(entry.home.map(|(home, _)| home)),
            None => rejected.push((index, Rejection::UnknownSeries)),
        }
        *place = entry;
    }
}

/// Returns how many series may join a group of `members` before its layout is made anew.
pub(super) fn joiners_max(members: usize) -> usize {
    (members / 8).max(GROUP_SERIES_MIN)
}

impl Committer {
    /// Makes the order of the latest scrape the layout of a group, if its open rows can be sealed: members it does not name
    /// leave.
    pub(super) fn settle_layout(&mut self, index: u32, group: &Group, state: &mut GroupState) {
        let range_ms = self.head.config.range_ms;
        let (files, sealer) = (&self.head.pieces, &mut self.sealer);
        let sealed = state.seal(group.id, i64::MAX, range_ms, files, sealer);
        if sealed.is_err() {
            // The rows stay open, so the layout has to stay too; the next scrape tries again.
            return;
        }
        let leaving = state.settle_order();
        let mut slots = self.head.slots.write();
        for (id, newest) in leaving {
            if let Some(slot) = slots.find(id) {
                slots.clear_home(slot);
                self.head.lone.note_newest(slot, newest);
            }
        }
        for (position, id) in state.layout.iter().enumerate() {
            if let Some(slot) = slots.find(id) {
                slots.set_home(slot, index, position as u16);
            }
        }
    }

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
        if ids.is_empty() || state.layout.is(&ids) {
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
