//! A scrape in which series come and go: a pod is gone, another has come, a metric is missing.
//!
//! Who is absent keeps its position, who is new gets one behind the others with the row of its first sample, and the
//! group remembers in which order the scrape stood: the next one is compared with that.
//!
//! 1. If so many have joined or gone that it is worth it, the order of the scrape before becomes the layout.
//! 2. Compare the scrape with the one before, run by run. Only what differs is looked up.
//! 3. Encode a row as wide as the group will be, and write it with the definitions of new series.
//! 4. Apply it. The new members' home is the group.
//!
//! It is all or nothing: what is late, belongs elsewhere or is too much at once goes through the plan.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::{RwLockUpgradableReadGuard, RwLockWriteGuard};

use crate::error::Result;
use crate::head::{Group, GroupState, Head, Layout, ScrapeOrder};
use crate::limits::GROUP_SERIES_MAX;
use crate::piece::put_ids;
use crate::time::Timestamp;

use super::commit::{Committed, Committer};
use super::members::{Entry, joiners_max};
use super::staged::{Batch, Staged};

/// References that are looked at to find the group: those before it may be new series.
const LOOKED_AT: usize = 16;

impl Committer {
    /// Commits the batch as one row of a group that it is a scrape of, or answers `None`.
    pub(super) fn commit_scrape(
        &mut self,
        staged: &Staged,
        batch: Batch,
    ) -> Result<Option<Committed>> {
        let head = Arc::clone(&self.head);
        let mut looked_at = staged.ids.iter().take(LOOKED_AT);
        let Some((index, group)) = looked_at.find_map(|&id| head.group_of(id)) else {
            return Ok(None);
        };
        let is_scrape = |state: &GroupState| staged.ids.len() * 4 >= state.layout.len();
        if !is_scrape(&group.state.read()) {
            return Ok(None);
        }
        let _structure = head.structure.write();
        if !is_alive(&head, index, &group) {
            return Ok(None);
        }
        let state = group.state.upgradable_read();
        if batch.timestamp <= state.newest || batch.timestamp < head.boundary() {
            return Ok(None);
        }
        let state = self.settle_if_due(index, &group, state);
        let Some(scrape) = Scrape::compare(&head, index, &state, staged, batch.timestamp) else {
            return Ok(None);
        };
        let width = state.layout.len() + scrape.joining.len();
        if !is_scrape(&state) || width > GROUP_SERIES_MAX {
            return Ok(None);
        }
        self.values.resize(width, 0.0);
        scrape.order.spread(&staged.values, &mut self.values);
        self.grown.integers.clear();
        self.grown.integers.extend_from_slice(&state.state.integers);
        self.grown.integers.resize(width, 0);
        self.grown.scales.clear();
        self.grown.scales.extend_from_slice(&state.state.scales);
        self.grown.scales.resize(width, 0);
        self.row.clear();
        let absent = scrape.order.absent();
        self.encoder
            .encode(&self.values, absent, &self.grown, &mut self.row);
        let ids: Vec<u64> = scrape.joining.iter().map(|entry| entry.id).collect();
        self.joiners.clear();
        put_ids(&mut self.joiners, &ids);
        let first = state.layout.len();
        let mut written = self.write_row(&group, state, batch.timestamp, &scrape.joining)?;
        let state = &mut written.state;
        state.order = (!scrape.order.is_plain(width)).then_some(scrape.order);
        head.seal_if_due(&group, state, &mut self.sealer);
        drop(written.state);
        if !scrape.joining.is_empty() {
            let mut slots = head.slots.write();
            for (position, entry) in (first..).zip(&scrape.joining) {
                slots.set_home(entry.slot, index, position as u16);
            }
        }
        written.committed.in_rows = staged.ids.len() as u64;
        Ok(Some(written.committed))
    }

    /// Makes the order of the latest scrape the layout if it is time.
    fn settle_if_due<'a>(
        &mut self,
        index: u32,
        group: &'a Group,
        state: RwLockUpgradableReadGuard<'a, GroupState>,
    ) -> RwLockUpgradableReadGuard<'a, GroupState> {
        if !state.is_order_due(joiners_max(state.layout.len())) {
            return state;
        }
        let mut state = RwLockUpgradableReadGuard::upgrade(state);
        self.settle_layout(index, group, &mut state);
        RwLockWriteGuard::downgrade_to_upgradable(state)
    }
}

fn is_alive(head: &Head, index: u32, group: &Arc<Group>) -> bool {
    let groups = head.groups.read();
    groups
        .get(index)
        .is_some_and(|known| Arc::ptr_eq(known, group))
}

/// A scrape beside the one before.
struct Scrape {
    order: ScrapeOrder,
    /// Series that are in no group yet.
    joining: Vec<Entry>,
}

impl Scrape {
    /// Compares staged samples with the latest scrape of a group; `None` if there is something else among them.
    fn compare(
        head: &Head,
        index: u32,
        state: &GroupState,
        staged: &Staged,
        timestamp: Timestamp,
    ) -> Option<Self> {
        let slots = head.slots.read();
        let layout = &state.layout;
        let mut comparison = Comparison::new(state);
        let mut joining: Vec<Entry> = Vec::new();
        let mut at = 0;
        while at < staged.ids.len() {
            let same = comparison.take(&staged.ids[at..]);
            at += same;
            if same > 0 || at == staged.ids.len() {
                continue;
            }
            let entry = Entry::find(&slots, staged, at)?;
            match entry.home {
                Some((home, position)) if home == index => {
                    comparison.jump(usize::from(position));
                }
                Some(_) => return None,
                None => {
                    let newest = head.lone.newest(entry.slot);
                    let is_late = newest.is_some_and(|newest| newest >= timestamp);
                    if is_late || joining.len() + 1 >= joiners_max(layout.len()) {
                        return None;
                    }
                    let position = layout.len() + joining.len();
                    comparison.order.push(position..position + 1);
                    joining.push(entry);
                }
            }
            at += 1;
        }
        let mut order = comparison.order;
        let is_each_once = order.close(layout.len() + joining.len())
            && (joining.iter().enumerate()).all(|(index, entry)| {
                joining[..index]
                    .iter()
                    .all(|other| other.slot != entry.slot)
            });
        is_each_once.then_some(Self { order, joining })
    }
}

/// Follows the order of the latest scrape.
struct Comparison<'a> {
    layout: &'a Layout,
    before: Vec<Range<usize>>,
    /// The run of it that comes next.
    next: usize,
    /// Positions that are left of the present one.
    expected: Range<usize>,
    order: ScrapeOrder,
}

impl<'a> Comparison<'a> {
    fn new(state: &'a GroupState) -> Self {
        let whole = 0..state.layout.len();
        let before = match &state.order {
            Some(order) => order.runs().collect(),
            None => vec![whole],
        };
        Self {
            layout: &state.layout,
            // Each difference splits a run in two.
            order: ScrapeOrder::with_capacity(before.len() + 8),
            before,
            next: 0,
            expected: 0..0,
        }
    }

    /// Takes the series of `scraped` that are those expected up to the end of a run; returns how many they are.
    fn take(&mut self, scraped: &[u64]) -> usize {
        while self.expected.is_empty() && self.next < self.before.len() {
            self.expected = self.before[self.next].clone();
            self.next += 1;
        }
        let (body, tail) = self.layout.range(self.expected.clone());
        let mut same = common(body, scraped);
        if same == body.len() {
            same += common(tail, &scraped[same..]);
        }
        let end = self.expected.start + same;
        self.order.push(self.expected.start..end);
        self.expected.start = end;
        same
    }

    /// Takes the series at a position, and goes on behind it.
    fn jump(&mut self, position: usize) {
        self.order.push(position..position + 1);
        // Most likely the one that was expected is gone.
        if self.expected.contains(&position) {
            self.expected.start = position + 1;
            return;
        }
        let holds = |run: &Range<usize>| run.contains(&position);
        let (before, behind) = self.before.split_at(self.next);
        let found = behind.iter().position(holds).map(|run| self.next + run);
        if let Some(run) = found.or_else(|| before.iter().position(holds)) {
            self.expected = position + 1..self.before[run].end;
            self.next = run + 1;
        }
    }
}

/// Returns how many elements two lists have in common at their beginning.
fn common(a: &[u64], b: &[u64]) -> usize {
    const AT_ONCE: usize = 32;
    if b.starts_with(a) {
        return a.len();
    }
    let whole = a.chunks_exact(AT_ONCE).zip(b.chunks_exact(AT_ONCE));
    let same = whole.take_while(|(a, b)| a == b).count() * AT_ONCE;
    let rest = a[same..].iter().zip(&b[same..]);
    same + rest.take_while(|(a, b)| a == b).count()
}
