//! Taking frames up: what replay does with each, section by section.
//!
//! Rows and bases of different groups do not touch each other, so replay reads names, lone samples and tombstones of a
//! segment first and then applies the groups' sections on several threads ([`ReplayWork`]).

use std::collections::HashMap;
use std::sync::Arc;

use crate::encoding::Malformed;
use crate::error::{Error, Result};
use crate::frame::{Base, DeletedRange, LoneReader, RowSection, Section, sections};
use crate::time::Timestamp;

use super::group::{Group, RowFault, Sealer};
use super::layout::Layout;
use super::recent::NotedSamples;
use super::tombstones::Deleted;
use super::{GroupState, Head};

/// Sections of groups, in the order of the log, that one thread applies.
#[derive(Debug, Default)]
pub(crate) struct ReplayWork<'a> {
    steps: Vec<(u64, GroupStep<'a>)>,
}

#[derive(Debug)]
enum GroupStep<'a> {
    Base(Box<Base>),
    Row(RowSection<'a>),
}

/// What replay met.
#[derive(Debug, Default)]
pub(crate) struct ApplyReport {
    /// Samples in rows and alone.
    pub(crate) samples: u64,
    /// Rows that nothing could be done with.
    pub(crate) lost_rows: u64,
    /// Lone samples and tombstones whose series has no definition.
    pub(crate) unknown_series: u64,
    /// Sections that are not what the format says though their checksum is right.
    pub(crate) malformed: u64,
    /// The disk failed to take rows that had to be sealed: replay cannot go on.
    pub(crate) failure: Option<Error>,
}

impl ApplyReport {
    pub(crate) fn add(&mut self, other: Self) {
        self.samples += other.samples;
        self.lost_rows += other.lost_rows;
        self.unknown_series += other.unknown_series;
        self.malformed += other.malformed;
        self.failure = self.failure.take().or(other.failure);
    }
}

impl Head {
    /// Takes up what a frame says of series, and hands what it says of groups to `work`, by group.
    ///
    /// `through` is the sequence a checkpoint covers: up to it only definitions count.
    pub(crate) fn read_frame<'a>(
        &self,
        sequence: u64,
        body: &'a [u8],
        through: u64,
        work: &mut [ReplayWork<'a>],
        report: &mut ApplyReport,
    ) {
        for section in sections(body) {
            let result = match section {
                Ok(Section::Definitions(reader)) => self.define_all(reader),
                Ok(Section::Base(base)) => {
                    self.note_group(base.group);
                    self.note_ids(base.ids.iter().copied());
                    let lane = (base.group % work.len() as u64) as usize;
                    work[lane]
                        .steps
                        .push((sequence, GroupStep::Base(Box::new(base))));
                    Ok(())
                }
                Ok(Section::Row(row)) => {
                    self.note_group(row.group);
                    self.note_ids(row.joiners.ids());
                    let lane = (row.group % work.len() as u64) as usize;
                    work[lane].steps.push((sequence, GroupStep::Row(row)));
                    Ok(())
                }
                Ok(Section::Lone(reader))
                    if sequence > through && !self.lone.has_restored(sequence) =>
                {
                    self.replay_lone(sequence, reader, report)
                }
                Ok(Section::Tombstones(ranges)) if sequence > through => {
                    self.apply_tombstones(sequence, &ranges, report);
                    Ok(())
                }
                Ok(Section::Lone(_) | Section::Tombstones(_) | Section::Unknown) => Ok(()),
                Err(malformed) => Err(malformed),
            };
            report.malformed += u64::from(result.is_err());
        }
    }

    /// Adds the lone samples of a section; of a damaged one, those before the damage.
    fn replay_lone(
        &self,
        sequence: u64,
        mut reader: LoneReader<'_>,
        report: &mut ApplyReport,
    ) -> Result<(), Malformed> {
        let (mut places, mut values) = (Vec::new(), Vec::new());
        let slots = self.slots.read();
        let read = loop {
            let sample = match reader.next() {
                Ok(Some(sample)) => sample,
                Ok(None) => break Ok(()),
                Err(malformed) => break Err(malformed),
            };
            match slots.find(sample.id) {
                Some(slot) => {
                    places.push((slot, sample.timestamp));
                    values.push(sample.value);
                }
                None => {
                    self.note_ids([sample.id]);
                    report.unknown_series += 1;
                }
            }
        };
        drop(slots);
        self.lone.cursor().push_all(&places, &values, sequence);
        let timestamps = places.iter().map(|&(_, timestamp)| timestamp);
        for bound in [timestamps.clone().min(), timestamps.max()] {
            bound.into_iter().for_each(|bound| self.note_time(bound));
        }
        report.samples += places.len() as u64;
        read
    }

    /// Hides lone samples that a commit is about to add from those who read the head as it was before. Takes the samples,
    /// shares them, and leaves memory for others.
    pub(crate) fn hide_lone(
        &self,
        sequence: u64,
        samples: &mut Vec<(u32, Timestamp)>,
    ) -> Arc<NotedSamples> {
        let oldest = self.readers.oldest(|| self.publisher.published());
        self.recent.note(sequence, samples, oldest)
    }

    /// Takes tombstones up. Chunks of lone samples end here: each lies before a tombstone or behind it as a whole.
    pub(crate) fn apply_tombstones(
        &self,
        sequence: u64,
        ranges: &[DeletedRange],
        report: &mut ApplyReport,
    ) {
        let slots = self.slots.read();
        let mut tombstones = self.tombstones.write();
        for range in ranges {
            let Some(slot) = slots.find(range.id) else {
                self.note_ids([range.id]);
                report.unknown_series += 1;
                continue;
            };
            tombstones.add(
                slot,
                Deleted {
                    sequence,
                    first: range.first,
                    last: range.last,
                },
            );
            self.lone.close(slot);
        }
    }

    /// Applies the groups' sections of one lane.
    pub(crate) fn apply_work(
        &self,
        segment: u64,
        work: ReplayWork<'_>,
        sealer: &mut Sealer,
    ) -> ApplyReport {
        let mut report = ApplyReport::default();
        let mut latest: Option<(u64, Arc<Group>)> = None;
        for (sequence, step) in work.steps {
            let id = match &step {
                GroupStep::Base(base) => base.group,
                GroupStep::Row(row) => row.group,
            };
            let group = match &latest {
                Some((known, group)) if *known == id => Arc::clone(group),
                _ => match (self.find_group(id), &step) {
                    (Some(group), _) => group,
                    (None, GroupStep::Base(base)) => {
                        self.create_group(id, &Arc::new(Layout::new(base.ids.clone())))
                    }
                    (None, GroupStep::Row(_)) => {
                        // Its base is in a lost frame and no later one can tell how wide the row is.
                        report.lost_rows += 1;
                        continue;
                    }
                },
            };
            let mut state = group.state.write();
            match step {
                GroupStep::Base(base) => {
                    self.replay_base(&group, &mut state, &base, segment, sealer, &mut report);
                }
                GroupStep::Row(row) => {
                    self.replay_row(&group, &mut state, sequence, &row, sealer, &mut report);
                }
            }
            drop(state);
            if report.failure.is_some() {
                break;
            }
            latest = Some((id, group));
        }
        report
    }

    pub(super) fn find_group(&self, id: u64) -> Option<Arc<Group>> {
        let groups = self.groups.read();
        groups.get(groups.find(id)?).cloned()
    }

    /// Makes a group that the log or a piece names.
    pub(crate) fn create_group(&self, id: u64, layout: &Arc<Layout>) -> Arc<Group> {
        self.note_group(id);
        let group = Arc::new(Group::new(id, Arc::clone(layout)));
        group.state.write().is_known = false;
        self.groups.write().insert(Arc::clone(&group));
        group
    }

    fn replay_base(
        &self,
        group: &Group,
        state: &mut GroupState,
        base: &Base,
        segment: u64,
        sealer: &mut Sealer,
        report: &mut ApplyReport,
    ) {
        let range_ms = self.config.range_ms;
        if state.must_seal_before(base)
            && let Err(error) = state.seal(group.id, i64::MAX, range_ms, &self.pieces, sealer)
        {
            // Nothing may go on from here: the base would take the open rows' state away.
            report.failure = Some(error);
            return;
        }
        let outcome = state.apply_base(base, segment);
        report.lost_rows += outcome.lost_rows as u64;
        for (id, newest) in outcome.leaving {
            let slot = self.slots.read().find(id);
            if let Some(slot) = slot {
                self.lone.note_newest(slot, newest);
            }
        }
    }

    fn replay_row(
        &self,
        group: &Group,
        state: &mut GroupState,
        sequence: u64,
        row: &RowSection<'_>,
        sealer: &mut Sealer,
        report: &mut ApplyReport,
    ) {
        if state.must_seal_before_row(sequence, row)
            && let Err(error) = state.seal(
                group.id,
                i64::MAX,
                self.config.range_ms,
                &self.pieces,
                sealer,
            )
        {
            report.failure = Some(error);
            return;
        }
        match state.apply_row(sequence, row) {
            Ok(()) => {
                self.note_time(state.last_timestamp);
                report.samples += (state.layout.len() - state.absentees.len()) as u64;
                self.seal_if_due(group, state, sealer);
            }
            // Counted when the next base comes, or at the end of the log.
            Err(RowFault::Gap) => {}
            Err(RowFault::Malformed(_)) => report.malformed += 1,
        }
    }

    /// Ends a replay: homes are the groups' layouts, and groups whose state the log did not tell begin anew. Returns how
    /// many rows are lost.
    ///
    /// # Errors
    ///
    /// The disk's, when rows cannot be sealed: they would be lost with the next checkpoint.
    pub(crate) fn finish_replay(&self, sealer: &mut Sealer) -> Result<u64> {
        let mut lost = 0;
        let groups = self.all_groups();
        let mut slots = self.slots.write();
        for (index, group) in &groups {
            let mut state = group.state.write();
            if !state.is_known && state.open.len() > 0 {
                state.seal(
                    group.id,
                    i64::MAX,
                    self.config.range_ms,
                    &self.pieces,
                    sealer,
                )?;
            }
            lost += state.finish_replay();
            for (position, id) in state.layout.iter().enumerate() {
                let Some(slot) = slots.find(id) else { continue };
                // A series may stand in the old layout of one group and the present one of another: the newest wins.
                let rival = slots.get(slot).home().filter(|home| home != index);
                let rival =
                    rival.and_then(|rival| groups.binary_search_by_key(&rival, |(at, _)| *at).ok());
                if rival.is_none_or(|rival| {
                    groups[rival].1.state.read().last_timestamp <= state.last_timestamp
                }) {
                    slots.set_home(slot, *index, position as u16);
                } else {
                    slots.note_former(slot, *index);
                }
            }
            note_former_members(&mut slots, *index, &state);
        }
        for (index, group) in &groups {
            self.release_strangers(*index, group, &mut slots, sealer)?;
        }
        drop(slots);
        self.note_lone_members();
        Ok(lost)
    }

    /// Takes members out of a layout whose home is another group by now: only the home's rows are read and compared.
    fn release_strangers(
        &self,
        index: u32,
        group: &Group,
        slots: &mut super::Slots,
        sealer: &mut Sealer,
    ) -> Result<()> {
        let mut state = group.state.write();
        let is_member = |id: &u64| {
            slots
                .find(*id)
                .is_none_or(|slot| slots.get(slot).home() == Some(index))
        };
        let ids: Vec<u64> = state.layout.iter().filter(is_member).collect();
        if ids.len() == state.layout.len() {
            return Ok(());
        }
        state.seal(
            group.id,
            i64::MAX,
            self.config.range_ms,
            &self.pieces,
            sealer,
        )?;
        for (id, newest) in state.change_layout(ids.clone(), &HashMap::new()) {
            if let Some(slot) = slots.find(id) {
                self.lone.note_newest(slot, newest);
            }
        }
        for (position, id) in ids.into_iter().enumerate() {
            if let Some(slot) = slots.find(id) {
                slots.set_home(slot, index, position as u16);
            }
        }
        Ok(())
    }

    /// Tells groups of members that have newer samples alone: no row may come before those.
    fn note_lone_members(&self) {
        let mut floors = Vec::new();
        self.lone
            .for_each(|slot, series| floors.extend(series.newest().map(|newest| (slot, newest))));
        let slots = self.slots.read();
        let groups = self.groups.read();
        for (slot, newest) in floors {
            if let Some(group) = slots.get(slot).home().and_then(|home| groups.get(home)) {
                let mut state = group.state.write();
                state.newest = state.newest.max(newest);
            }
        }
    }
}

/// Notes series that stand in pieces of a group but not in its layout.
fn note_former_members(slots: &mut super::Slots, index: u32, state: &GroupState) {
    let mut seen = Vec::new();
    for piece in state.pieces.iter() {
        let layout = Arc::as_ptr(&piece.layout);
        if Arc::ptr_eq(&piece.layout, &state.layout) || seen.contains(&layout) {
            continue;
        }
        seen.push(layout);
        for (position, id) in piece.layout.iter().enumerate() {
            if state.layout.position_of(id, position).is_none()
                && let Some(slot) = slots.find(id)
            {
                slots.note_former(slot, index);
            }
        }
    }
}
