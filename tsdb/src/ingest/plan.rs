//! Every other commit: several timestamps or groups, absent and new series, samples that are late or alone.
//!
//! One such commit runs at a time: it may change homes, layouts and groups.
//!
//! 1. Look every reference up and lock the home groups in ascending order.
//! 2. Go through the batches in order of time and judge each sample. A group that is present by a quarter gets a row;
//!    homeless series that come together found a group; everything else is alone.
//! 3. Write the frame: definitions, bases where the segment has none, rows, lone samples.
//! 4. Apply it. Groups whose membership drifted are sealed and get the latest scrape as their layout.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::{RwLockUpgradableReadGuard, RwLockWriteGuard};

use crate::error::{Rejection, Result};
use crate::frame::{Joiners, LoneSample, RowSection, put_lone, put_row, timestamp_delta};
use crate::head::{Group, GroupState, Head, HeadView, Layout, THIN_ROWS_MAX};
use crate::limits::{GROUP_SERIES_MAX, GROUP_SERIES_MIN};
use crate::row::{RowState, RowView};
use crate::time::Timestamp;
use crate::wal::Appended;

use super::commit::{Committed, Committer};
use super::judge::{Judge, Way};
use super::members::{Entry, joiners_max, look_up};
use super::row::put_group_base;
use super::staged::Staged;

type Guard<'a> = RwLockUpgradableReadGuard<'a, GroupState>;

/// What a commit does to one group.
struct GroupPlan<'a> {
    index: u32,
    group: &'a Arc<Group>,
    guard: Option<Guard<'a>>,
    /// The state after the rows planned so far; made for the second row of a commit.
    after: Option<RowState>,
    last_timestamp: Timestamp,
    chain: u16,
    rows: Vec<PlannedRow>,
    /// Samples of the batch being judged: positions, and indexes among the staged ones.
    hits: Vec<(u16, usize)>,
    /// Newest lone sample of a member.
    newest_alone: Timestamp,
    was_thin: bool,
    /// Homeless series of the latest batch that belong here.
    joiners: usize,
}

struct PlannedRow {
    timestamp: Timestamp,
    chain: u16,
    bytes: Vec<u8>,
}

struct NewGroup {
    group: Arc<Group>,
    timestamp: Timestamp,
    ids: Vec<u64>,
    slots: Vec<u32>,
    values: Vec<f64>,
    row: Vec<u8>,
}

/// Everything a frame will say.
#[derive(Default)]
struct Plan {
    alone: Vec<(u32, LoneSample)>,
    /// Lone samples of this commit, by series and time.
    taken: HashMap<(u64, Timestamp), u64, foldhash::fast::RandomState>,
    founded: Vec<NewGroup>,
    /// Series the log does not define yet.
    undefined: Vec<(u64, u32)>,
    committed: Committed,
}

/// Where a frame went, and what of it defines series.
struct WrittenFrame {
    sequence: u64,
    segment: u64,
    definition_bytes: usize,
}

impl Committer {
    pub(super) fn commit_planned(&mut self, staged: &Staged) -> Result<Committed> {
        let head = Arc::clone(&self.head);
        let _structure = head.structure.write();
        let mut plan = Plan::default();
        let mut entries = vec![None; staged.ids.len()];
        let mut homes = BTreeSet::new();
        let rejected = &mut plan.committed.rejected;
        look_up(&head, staged, &mut entries, &mut homes, rejected);
        let groups: Vec<(u32, Arc<Group>)> = {
            let groups = head.groups.read();
            homes
                .iter()
                .filter_map(|&index| Some((index, Arc::clone(groups.get(index)?))))
                .collect()
        };
        let mut plans: Vec<GroupPlan<'_>> = groups
            .iter()
            .map(|(index, group)| GroupPlan::new(*index, group))
            .collect();
        // Read under the groups' locks: the boundary cannot pass samples that are not applied yet.
        let judge = self.judge();
        self.judge_batches(staged, &entries, &judge, &mut plans, &mut plan)?;
        let is_empty = plan.alone.is_empty()
            && plan.founded.is_empty()
            && plans.iter().all(|group| group.rows.is_empty());
        if is_empty {
            return Ok(plan.committed);
        }
        note_undefined(&head, &plans, &mut plan);
        let written = self.write(&plans, &plan)?;
        let (sequence, segment) = (written.sequence, written.segment);
        plan.committed.sequence = Some(sequence);
        plan.committed.definition_bytes = written.definition_bytes as u64;
        self.apply(sequence, segment, plans, &mut plan, staged);
        Ok(plan.committed)
    }

    fn judge_batches(
        &mut self,
        staged: &Staged,
        entries: &[Option<Entry>],
        judge: &Judge,
        plans: &mut [GroupPlan<'_>],
        plan: &mut Plan,
    ) -> Result<()> {
        let by_index: HashMap<u32, usize> = plans
            .iter()
            .enumerate()
            .map(|(at, group)| (group.index, at))
            .collect();
        let batches = staged.batches();
        let mut homeless = Vec::new();
        let mut touched: Vec<usize> = Vec::new();
        for same_time in batches.chunk_by(|a, b| a.timestamp == b.timestamp) {
            let timestamp = same_time[0].timestamp;
            for entry in same_time
                .iter()
                .flat_map(|batch| &entries[batch.start..batch.end])
                .flatten()
            {
                if entry.is_new && timestamp >= judge.boundary {
                    homeless.push(*entry);
                    continue;
                }
                let home = entry
                    .home
                    .and_then(|(index, position)| Some((*by_index.get(&index)?, position)));
                let newest_row =
                    home.and_then(|(at, position)| plans[at].guard().newest_row_of(position));
                let newest = newest_row.max(self.head.lone.newest(entry.slot));
                match judge.way(timestamp, newest) {
                    Way::Late => self.judge_late(
                        entry,
                        timestamp,
                        staged.values[entry.index],
                        judge,
                        plans,
                        plan,
                    )?,
                    Way::InOrder => match home {
                        Some((at, position)) if timestamp > plans[at].last_timestamp => {
                            if plans[at].hits.is_empty() {
                                touched.push(at);
                            }
                            plans[at].hits.push((position, entry.index));
                        }
                        Some(_) => plan.push_alone(entry, timestamp, staged.values[entry.index]),
                        None => homeless.push(*entry),
                    },
                }
            }
            let multiple = batches.len() > same_time.len();
            self.close_batch(
                staged, timestamp, &touched, &homeless, multiple, plans, plan,
            );
            touched.clear();
            homeless.clear();
        }
        Ok(())
    }

    /// Decides what becomes of a batch's samples that are in order.
    #[expect(
        clippy::too_many_arguments,
        reason = "the state of one pass over the batches, not worth a name of its own"
    )]
    fn close_batch(
        &mut self,
        staged: &Staged,
        timestamp: Timestamp,
        touched: &[usize],
        homeless: &[Entry],
        multiple: bool,
        plans: &mut [GroupPlan<'_>],
        plan: &mut Plan,
    ) {
        for &at in touched {
            let group = &mut plans[at];
            let hits = std::mem::take(&mut group.hits);
            if hits.len() * 4 >= group.guard().layout.len() {
                self.plan_row(staged, timestamp, &hits, multiple, group, plan);
            } else {
                group.was_thin = true;
                group.newest_alone = group.newest_alone.max(timestamp);
                let slots = self.head.slots.read();
                for &(_, index) in &hits {
                    let entry = Entry::find(&slots, staged, index)
                        .expect("a member of a group is in the head");
                    plan.push_alone(&entry, timestamp, staged.values[index]);
                }
            }
        }
        let largest = touched
            .iter()
            .copied()
            .max_by_key(|&at| plans[at].guard().layout.len());
        let target = staged.target.as_ref();
        let home_of_target = target.and_then(|target| target.group());
        let known = plans
            .iter()
            .position(|group| Some(group.group.id) == home_of_target)
            .or(largest);
        // Several timestamps are no scrape, target or not: a group for each would cost more than the samples.
        let is_scrape = target.is_some() && !multiple && !homeless.is_empty();
        let founds = known.is_none() && (homeless.len() >= GROUP_SERIES_MIN || is_scrape);
        if founds {
            for members in homeless.chunks(GROUP_SERIES_MAX) {
                self.found(staged, timestamp, members, plan);
            }
            return;
        }
        for entry in homeless {
            plan.push_alone(entry, timestamp, staged.values[entry.index]);
        }
        if let Some(at) = known {
            plans[at].joiners = homeless.len();
        }
    }

    fn plan_row(
        &mut self,
        staged: &Staged,
        timestamp: Timestamp,
        hits: &[(u16, usize)],
        multiple: bool,
        group: &mut GroupPlan<'_>,
        plan: &mut Plan,
    ) {
        let n = group.guard().layout.len();
        let mut values = vec![0.0; n];
        let mut present = vec![false; n];
        let mut count = 0;
        for &(position, index) in hits {
            let position = usize::from(position);
            let value = staged.values[index];
            if std::mem::replace(&mut present[position], true) {
                plan.repeat(index, values[position], value);
            } else {
                values[position] = value;
                count += 1;
            }
        }
        let absent: Vec<u16> = if count == n {
            Vec::new()
        } else {
            (0..n)
                .filter(|&position| !present[position])
                .map(|position| position as u16)
                .collect()
        };
        let mut bytes = Vec::new();
        let state = group.after.as_ref().unwrap_or(&group.guard().state);
        self.encoder.encode(&values, &absent, state, &mut bytes);
        if multiple {
            let mut after = group
                .after
                .take()
                .unwrap_or_else(|| group.guard().state.clone());
            RowView::parse(&bytes, n)
                .expect("the row was just encoded")
                .apply(&mut after);
            group.after = Some(after);
        }
        group.last_timestamp = timestamp;
        group.chain = group.chain.wrapping_add(1);
        group.rows.push(PlannedRow {
            timestamp,
            chain: group.chain,
            bytes,
        });
        plan.committed.in_rows += count as u64;
    }

    fn found(&mut self, staged: &Staged, timestamp: Timestamp, members: &[Entry], plan: &mut Plan) {
        let mut ids = Vec::with_capacity(members.len());
        let mut slots = Vec::with_capacity(members.len());
        let mut values: Vec<f64> = Vec::with_capacity(members.len());
        // New series come with new ids; those of others are compared with all before.
        let ascend = members.is_sorted_by(|one, next| one.id < next.id);
        let mut positions: HashMap<u64, usize, foldhash::fast::RandomState> = HashMap::default();
        for entry in members {
            let value = staged.values[entry.index];
            if !ascend && let Some(&position) = positions.get(&entry.id) {
                plan.repeat(entry.index, values[position], value);
                continue;
            }
            if let Some((known_at, known)) = plan.founding_sample(entry.id) {
                // Its home is not settled before the frame is applied.
                if known_at == timestamp {
                    plan.repeat(entry.index, known, value);
                } else {
                    plan.push_alone(entry, timestamp, value);
                }
                continue;
            }
            if !ascend {
                positions.insert(entry.id, ids.len());
            }
            ids.push(entry.id);
            slots.push(entry.slot);
            values.push(value);
        }
        if ids.is_empty() {
            return;
        }
        let mut row = Vec::new();
        self.encoder
            .encode(&values, &[], &RowState::new(ids.len()), &mut row);
        plan.committed.in_rows += ids.len() as u64;
        let group = Arc::new(Group::new(
            self.head.next_group_id(),
            Arc::new(Layout::new(ids.clone())),
        ));
        plan.founded.push(NewGroup {
            group,
            timestamp,
            ids,
            slots,
            values,
            row,
        });
    }

    fn judge_late(
        &self,
        entry: &Entry,
        timestamp: Timestamp,
        value: f64,
        judge: &Judge,
        plans: &[GroupPlan<'_>],
        plan: &mut Plan,
    ) -> Result<()> {
        if let Some(&bits) = plan.taken.get(&(entry.id, timestamp)) {
            plan.repeat(entry.index, f64::from_bits(bits), value);
            return Ok(());
        }
        let states: HashMap<u32, &GroupState> = plans
            .iter()
            .map(|group| (group.index, group.guard()))
            .collect();
        match HeadView::value_at(&self.head, entry.slot, entry.id, timestamp, &states)? {
            Some(existing) => plan.repeat(entry.index, existing, value),
            None => match judge.late(timestamp) {
                Ok(()) => {
                    plan.push_alone(entry, timestamp, value);
                    plan.committed.late += 1;
                }
                Err(rejection) => plan.committed.rejected.push((entry.index, rejection)),
            },
        }
        Ok(())
    }

    /// Writes the frame, with bases for the segment it ends up in.
    fn write(&mut self, plans: &[GroupPlan<'_>], plan: &Plan) -> Result<WrittenFrame> {
        let alone: Vec<LoneSample> = plan.alone.iter().map(|(_, sample)| *sample).collect();
        loop {
            let segment = self.wal.segment();
            self.frame.clear();
            let out = self.frame.out();
            let mut base_bytes = 0;
            let start = out.len();
            if !plan.undefined.is_empty() {
                self.head.put_definitions(&plan.undefined, out);
            }
            let definition_bytes = out.len() - start;
            for group in plans.iter().filter(|group| !group.rows.is_empty()) {
                if group.guard().segment != segment {
                    base_bytes += put_group_base(out, group.group.id, group.guard());
                }
                let mut before = group.guard().last_timestamp;
                for row in &group.rows {
                    put_row(out, &row.section(group.group.id, before));
                    before = row.timestamp;
                }
            }
            for new in &plan.founded {
                base_bytes += put_group_base(out, new.group.id, &new.group.state.read());
                put_row(out, &new.section());
            }
            if !alone.is_empty() {
                put_lone(out, &alone);
            }
            if let Appended::Written { sequence } =
                self.wal.append(&mut self.frame, segment, base_bytes)?
            {
                return Ok(WrittenFrame {
                    sequence,
                    segment,
                    definition_bytes,
                });
            }
        }
    }

    fn apply(
        &mut self,
        sequence: u64,
        segment: u64,
        plans: Vec<GroupPlan<'_>>,
        plan: &mut Plan,
        staged: &Staged,
    ) {
        let head = Arc::clone(&self.head);
        head.note_defined(plan.undefined.iter().copied());
        if !plan.alone.is_empty() {
            let samples = plan.alone.iter();
            let samples = samples.map(|(slot, sample)| (*slot, sample.timestamp));
            head.hide_lone(sequence, &mut samples.collect());
        }
        let mut cursor = head.lone.cursor();
        for &(slot, sample) in &plan.alone {
            cursor.push(slot, sample.timestamp, sample.value, sequence);
            head.note_time(sample.timestamp);
        }
        drop(cursor);
        head.spill_if_due();
        plan.committed.alone = plan.alone.len() as u64;
        for new in std::mem::take(&mut plan.founded) {
            self.settle(sequence, segment, new, !plan.alone.is_empty(), staged);
        }
        for mut group in plans {
            let was_thin = group.was_thin;
            let mut state = group.upgrade();
            let mut before = state.last_timestamp;
            for row in &group.rows {
                state
                    .apply_row(sequence, &row.section(group.group.id, before))
                    .expect("the row was encoded from this state");
                before = row.timestamp;
                head.note_time(row.timestamp);
            }
            if !group.rows.is_empty() {
                state.segment = segment;
            }
            state.newest = state.newest.max(group.newest_alone);
            state.thin_rows = if was_thin {
                state.thin_rows.saturating_add(1)
            } else {
                0
            };
            let sealed = head.seal_if_due(group.group, &mut state, &mut self.sealer);
            let drifted = state.thin_rows >= THIN_ROWS_MAX
                || group.joiners >= joiners_max(state.layout.len());
            let differs = group.joiners > 0 || !state.absentees.is_empty() || was_thin;
            if differs && (sealed || drifted) {
                self.renew_layout(group.index, group.group, &mut state, staged);
            }
        }
    }

    fn settle(
        &mut self,
        sequence: u64,
        segment: u64,
        new: NewGroup,
        has_alone: bool,
        staged: &Staged,
    ) {
        let mut state = new.group.state.write();
        state
            .apply_row(sequence, &new.section())
            .expect("the row was encoded from this state");
        state.segment = segment;
        if has_alone {
            // Members may have newer samples alone, of this commit: no row may come before them. Older ones are older
            // than the row.
            state.newest = new
                .slots
                .iter()
                .filter_map(|&slot| self.head.lone.newest(slot))
                .fold(state.newest, Timestamp::max);
        }
        drop(state);
        if let Some(target) = &staged.target {
            target.set_group(new.group.id);
        }
        self.head.note_time(new.timestamp);
        let index = self.head.groups.write().insert(new.group);
        let mut slots = self.head.slots.write();
        for (position, slot) in new.slots.into_iter().enumerate() {
            slots.set_home(slot, index, position as u16);
        }
    }
}

impl<'a> GroupPlan<'a> {
    fn new(index: u32, group: &'a Arc<Group>) -> Self {
        let guard = group.state.upgradable_read();
        Self {
            index,
            group,
            after: None,
            last_timestamp: guard.last_timestamp,
            chain: guard.chain,
            guard: Some(guard),
            rows: Vec::new(),
            hits: Vec::new(),
            newest_alone: i64::MIN,
            was_thin: false,
            joiners: 0,
        }
    }

    fn guard(&self) -> &GroupState {
        self.guard
            .as_ref()
            .expect("the guard is given up only when the plan is applied")
    }

    fn upgrade(&mut self) -> RwLockWriteGuard<'a, GroupState> {
        RwLockUpgradableReadGuard::upgrade(
            self.guard.take().expect("the guard is given up only here"),
        )
    }
}

impl PlannedRow {
    fn section(&self, group: u64, before: Timestamp) -> RowSection<'_> {
        RowSection {
            group,
            timestamp_delta: timestamp_delta(before, self.timestamp),
            chain: self.chain,
            joiners: Joiners::default(),
            row: &self.bytes,
        }
    }
}

impl NewGroup {
    fn section(&self) -> RowSection<'_> {
        RowSection {
            group: self.group.id,
            timestamp_delta: timestamp_delta(i64::MIN, self.timestamp),
            chain: 1,
            joiners: Joiners::default(),
            row: &self.row,
        }
    }
}

impl Plan {
    /// Returns the sample of a series in a group that this commit founds.
    fn founding_sample(&self, id: u64) -> Option<(Timestamp, f64)> {
        self.founded.iter().find_map(|group| {
            let position = group.ids.iter().position(|&known| known == id)?;
            Some((group.timestamp, group.values[position]))
        })
    }

    fn push_alone(&mut self, entry: &Entry, timestamp: Timestamp, value: f64) {
        if let Some(&bits) = self.taken.get(&(entry.id, timestamp)) {
            self.repeat(entry.index, f64::from_bits(bits), value);
            return;
        }
        self.taken.insert((entry.id, timestamp), value.to_bits());
        self.alone.push((
            entry.slot,
            LoneSample {
                id: entry.id,
                timestamp,
                value,
            },
        ));
    }

    /// Judges a sample whose time is taken.
    fn repeat(&mut self, index: usize, existing: f64, value: f64) {
        if existing.to_bits() == value.to_bits() {
            self.committed.repeated += 1;
        } else {
            self.committed.rejected.push((index, Rejection::Duplicate));
        }
    }
}

/// Collects the series in the frame that the log does not define yet.
fn note_undefined(head: &Head, plans: &[GroupPlan<'_>], plan: &mut Plan) {
    let slots = head.slots.read();
    // A layout that has been in the log names only series that are defined.
    let members = plans
        .iter()
        .filter(|group| !group.rows.is_empty() && group.guard().segment == 0)
        .flat_map(|group| group.guard().layout.iter());
    let founded = plan
        .founded
        .iter()
        .flat_map(|group| group.ids.iter().copied());
    let alone = plan.alone.iter().map(|(_, sample)| sample.id);
    let mut undefined: Vec<(u64, u32)> = members
        .chain(founded)
        .chain(alone)
        .filter_map(|id| Some((id, slots.find(id)?)))
        .filter(|&(_, slot)| !slots.get(slot).is_defined)
        .collect();
    undefined.sort_unstable();
    undefined.dedup();
    plan.undefined = undefined;
}
