//! Letting go of what blocks hold, and of series nothing is known of.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::Result;
use crate::time::{TimeRange, Timestamp};

use super::flushed::FlushedPart;
use super::group::Sealer;
use super::layout::Layout;
use super::naming::{Epochs, Stamp};
use super::piece_files::Piece;
use super::{Head, Slot};

/// Series that are removed under one hold of the index' lock.
const BATCH: u32 = 256;

impl Head {
    /// Prepares what lies below `boundary` for a flush: nothing goes there in order any more, rows there are sealed and
    /// lone chunks closed. Returns the sequence through which everything below the boundary now stands still.
    pub(crate) fn settle(
        &self,
        boundary: Timestamp,
        last_sequence: impl FnOnce() -> u64,
    ) -> Result<u64> {
        self.raise_boundary(boundary);
        // Waits for a commit that looked at the boundary before it moved and has yet to make its group.
        drop(self.structure.write());
        let mut sealer = Sealer::default();
        for (_, group) in self.all_groups() {
            // Taking the lock waits for a commit that looked at the boundary before it moved.
            let mut state = group.state.write();
            let Some(first) = state.open.rows().first() else {
                continue;
            };
            if first.timestamp < boundary {
                let newest = state
                    .open
                    .rows()
                    .last()
                    .map_or(boundary, |row| row.timestamp);
                let keep_from = if newest >= boundary { newest } else { i64::MAX };
                state.seal(
                    group.id,
                    keep_from,
                    self.config.range_ms,
                    &self.pieces,
                    &mut sealer,
                )?;
            }
        }
        let structure = self.structure.write();
        self.lone.close_all();
        let sequence = last_sequence();
        drop(structure);
        self.publisher.wait(sequence);
        Ok(sequence)
    }

    /// Returns the aligned ranges below `boundary` that the head has data in, oldest first.
    pub(crate) fn ranges_before(&self, boundary: Timestamp) -> Vec<TimeRange> {
        let mut ranges = self.lone.ranges_before(boundary);
        for (_, group) in self.all_groups() {
            let state = group.state.read();
            let rows = state.open.rows().iter().map(|row| row.timestamp);
            let pieces = state
                .pieces
                .iter()
                .map(|piece| piece.header.first_timestamp);
            for timestamp in rows.chain(pieces).filter(|timestamp| *timestamp < boundary) {
                let range = TimeRange::aligned(timestamp, self.config.range_ms);
                if !ranges.contains(&range) {
                    ranges.push(range);
                }
            }
        }
        ranges.sort_by_key(|range| range.start);
        ranges
    }

    /// Drops what lies below `boundary` and came up to `sequence`: blocks hold it, and no reader needs the head for it.
    pub(crate) fn truncate(&self, boundary: Timestamp, sequence: u64) {
        let flushed = FlushedPart {
            before: boundary,
            through: sequence,
        };
        self.flushed.lock().add(flushed);
        for (_, group) in self.all_groups() {
            let mut state = group.state.write();
            let is_flushed = |piece: &Arc<Piece>| {
                flushed.covers(piece.header.last_timestamp, piece.header.last_sequence)
            };
            if state.pieces.iter().any(is_flushed) {
                state.pieces = Arc::new(
                    state
                        .pieces
                        .iter()
                        .filter(|piece| !is_flushed(piece))
                        .cloned()
                        .collect(),
                );
            }
        }
        self.lone.truncate(boundary, sequence);
        // A flush up to the last commit must not make the head forget series that are still scraped.
        let boundary_of_series =
            boundary.min(self.max_time().saturating_sub(self.config.range_ms / 2));
        self.collect(boundary_of_series, sequence);
        self.update_span();
        self.note_blank();
        self.update_memory_estimate();
        self.pieces.release_before(boundary);
    }

    /// Notes if nothing is left: until the next commit readers need not look at every group to find that out.
    pub(crate) fn note_blank(&self) {
        // Asked before looking: what it covers was applied before, and would be seen.
        let published = self.publisher.published();
        let is_blank = |(_, group): &(u32, Arc<super::Group>)| {
            let state = group.state.read();
            state.open.len() == 0 && state.pieces.is_empty()
        };
        if self.all_groups().iter().all(is_blank) && self.lone.is_blank(TimeRange::ALL) {
            // Relaxed: the number guards no other memory. It only grows, and what it says stays true.
            self.blank_through.fetch_max(published, Ordering::Relaxed);
        }
    }

    /// Forgets groups without data, series that are in none, and tombstones that hide nothing that came after `sequence`.
    fn collect(&self, boundary: Timestamp, sequence: u64) {
        let structure = self.structure.write();
        let dead: Vec<u32> = {
            let groups = self.groups.read();
            let is_dead = |group: &super::Group| {
                let state = group.state.read();
                state.open.len() == 0 && state.pieces.is_empty() && state.last_timestamp < boundary
            };
            groups
                .all()
                .iter()
                .filter(|(_, group)| is_dead(group))
                .map(|(index, _)| *index)
                .collect()
        };
        for &index in &dead {
            self.bury(index);
        }
        self.collect_former();
        drop(structure);
        self.collect_series(boundary, sequence);
    }

    /// Forgets former homes that have nothing of a series any more. Nobody changes homes or pieces meanwhile.
    fn collect_former(&self) {
        let mut layouts: HashMap<u32, Vec<Arc<Layout>>> = HashMap::new();
        for (index, group) in self.all_groups() {
            let state = group.state.read();
            let open = (state.open.len() > 0).then_some(&state.layout);
            let own = layouts.entry(index).or_default();
            for layout in state.pieces.iter().map(|piece| &piece.layout).chain(open) {
                // Most pieces of a group share one.
                if !own.iter().any(|known| Arc::ptr_eq(known, layout)) {
                    own.push(Arc::clone(layout));
                }
            }
        }
        let has = |group: u32, id: u64| {
            let mut layouts = layouts.get(&group).into_iter().flatten();
            layouts.any(|layout| layout.position_of(id, usize::MAX).is_some())
        };
        // Looked for before the slots are locked for themselves: every commit waits for those.
        let gone: HashSet<(u32, u32)> = {
            let slots = self.slots.read();
            let all = slots.all_former();
            all.flat_map(|(slot, groups)| {
                let is_gone = |group: u32| !slots.ids(slot).any(|id| has(group, id));
                let gone = groups.iter().filter(|group| is_gone(**group));
                gone.map(|&group| (slot, group)).collect::<Vec<_>>()
            })
            .collect()
        };
        if !gone.is_empty() {
            let keep = |slot, group| !gone.contains(&(slot, group));
            self.slots.write().retain_former(keep);
        }
    }

    fn bury(&self, index: u32) {
        let mut groups = self.groups.write();
        let Some(group) = groups.get(index).cloned() else {
            return;
        };
        groups.remove(index);
        drop(groups);
        let mut slots = self.slots.write();
        for id in group.state.read().layout.iter() {
            if let Some(slot) = slots.find(id)
                && slots.get(slot).home() == Some(index)
            {
                slots.clear_home(slot);
            }
        }
    }

    fn collect_series(&self, boundary: Timestamp, sequence: u64) {
        let epochs = self.naming.next();
        let count = self.slots.read().len() as u32;
        let is_gone = |slot: u32, known: &Slot, former: &[u32]| {
            known.id != 0
                && known.home().is_none()
                && former.is_empty()
                && !epochs.holds(known.named)
                && !self.lone.is_needed(slot, boundary)
        };
        let mut start = 0;
        while start < count {
            let end = (start + BATCH).min(count);
            // Keeps commits away that change homes and lone samples, for this batch only.
            let structure = self.structure.write();
            let any_gone = {
                let slots = self.slots.read();
                (start..end).any(|slot| is_gone(slot, &slots.get(slot), slots.former(slot)))
            };
            if any_gone {
                // Looked at again under both locks: a name that is resolved meanwhile keeps its series.
                let mut index = self.index.write();
                let mut slots = self.slots.write();
                for slot in start..end {
                    if is_gone(slot, &slots.get(slot), slots.former(slot)) {
                        index.remove(slot);
                        slots.remove(slot);
                        self.lone.remove(slot);
                        self.counters.series_removed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            self.renew_stamps(start..end, epochs);
            drop(structure);
            start = end;
        }
        let mut slots = self.slots.write();
        slots.release_pages();
        self.tombstones
            .write()
            .truncate(boundary, sequence, |slot| slots.get(slot).id == 0);
    }

    fn renew_stamps(&self, range: Range<u32>, epochs: Epochs) {
        let renewed: Vec<(u32, Stamp)> = {
            let slots = self.slots.read();
            let stamps = range.map(|slot| (slot, slots.get(slot).named));
            let renewed = stamps.map(|(slot, stamp)| (slot, stamp, epochs.renew(stamp)));
            let changed = renewed.filter(|(_, stamp, renewed)| stamp != renewed);
            changed.map(|(slot, _, renewed)| (slot, renewed)).collect()
        };
        if !renewed.is_empty() {
            let mut slots = self.slots.write();
            for (slot, stamp) in renewed {
                slots.set_named(slot, stamp);
            }
        }
    }

    /// Finds the oldest timestamp that is left.
    pub(crate) fn update_span(&self) {
        let mut oldest = self.lone.span().map_or(i64::MAX, |(first, _)| first);
        for (_, group) in self.all_groups() {
            let state = group.state.read();
            let pieces = state
                .pieces
                .first()
                .map(|piece| piece.header.first_timestamp);
            let rows = state.open.rows().first().map(|row| row.timestamp);
            oldest = pieces.into_iter().chain(rows).fold(oldest, Timestamp::min);
        }
        self.min_time.store(oldest, Ordering::Relaxed);
    }
}
