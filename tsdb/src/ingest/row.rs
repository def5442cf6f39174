//! The common commit: one scrape, exactly the series of the one before, newer than everything in the group.

use parking_lot::{RwLockUpgradableReadGuard, RwLockWriteGuard};

use crate::error::Result;
use crate::frame::{Joiners, RowSection, put_base, put_row, timestamp_delta};
use crate::head::{Group, GroupState};
use crate::time::Timestamp;
use crate::wal::Appended;

use super::commit::{Committed, Committer};
use super::members::{Entry, joiners_max};
use super::staged::{Batch, Staged};

/// A row the log has, and the group that took it up.
pub(super) struct WrittenRow<'a> {
    pub(super) state: RwLockWriteGuard<'a, GroupState>,
    pub(super) committed: Committed,
}

impl Committer {
    /// Commits the batch as one row, or answers `None` if it is not that simple.
    pub(super) fn commit_row(
        &mut self,
        staged: &Staged,
        batch: Batch,
    ) -> Result<Option<Committed>> {
        let Some((_, group)) = self.head.group_of(staged.ids[0]) else {
            return Ok(None);
        };
        let state = group.state.upgradable_read();
        // The group's lock is held, so the boundary cannot pass a row that is not applied yet.
        let is_in_order = batch.timestamp > state.newest && batch.timestamp >= self.head.boundary();
        if !is_in_order {
            return Ok(None);
        }
        self.row.clear();
        match &state.order {
            None if state.layout.is(&staged.ids) => {
                self.encoder
                    .encode(&staged.values, &[], &state.state, &mut self.row);
            }
            // Making it the layout changes homes: not here.
            Some(order)
                if !state.is_order_due(joiners_max(state.layout.len()))
                    && order.matches(&state.layout, &staged.ids) =>
            {
                self.values.resize(state.layout.len(), 0.0);
                order.spread(&staged.values, &mut self.values);
                self.encoder
                    .encode(&self.values, order.absent(), &state.state, &mut self.row);
            }
            _ => return Ok(None),
        }
        let mut written = self.write_row(&group, state, batch.timestamp, &[])?;
        written.committed.in_rows = staged.ids.len() as u64;
        self.head
            .seal_if_due(&group, &mut written.state, &mut self.sealer);
        Ok(Some(written.committed))
    }

    /// Writes and applies the row that was encoded, with which `joining` join.
    pub(super) fn write_row<'a>(
        &mut self,
        group: &'a Group,
        state: RwLockUpgradableReadGuard<'a, GroupState>,
        timestamp: Timestamp,
        joining: &[Entry],
    ) -> Result<WrittenRow<'a>> {
        let section = RowSection {
            group: group.id,
            timestamp_delta: timestamp_delta(state.last_timestamp, timestamp),
            chain: state.chain.wrapping_add(1),
            joiners: Joiners::new(joining.len(), &self.joiners),
            row: &self.row,
        };
        let undefined: Vec<(u64, u32)> = joining
            .iter()
            .filter(|entry| entry.is_new)
            .map(|entry| (entry.id, entry.slot))
            .collect();
        let mut committed = Committed::default();
        let (sequence, segment) = loop {
            let segment = self.wal.segment();
            self.frame.clear();
            let out = self.frame.out();
            if !undefined.is_empty() {
                self.head.put_definitions(&undefined, out);
                committed.definition_bytes = out.len() as u64;
            }
            let base_bytes = if state.segment == segment {
                0
            } else {
                put_group_base(out, group.id, &state)
            };
            put_row(out, &section);
            let appended = self.wal.append(&mut self.frame, segment, base_bytes)?;
            if let Appended::Written { sequence } = appended {
                break (sequence, segment);
            }
        };
        committed.sequence = Some(sequence);
        if !undefined.is_empty() {
            self.head.note_defined(undefined.into_iter());
        }
        let mut state = RwLockUpgradableReadGuard::upgrade(state);
        state
            .apply_row(sequence, &section)
            .expect("the row was encoded from this state");
        state.segment = segment;
        state.thin_rows = 0;
        self.head.note_time(timestamp);
        Ok(WrittenRow { state, committed })
    }
}

/// Appends a group's base and returns how many bytes it takes.
pub(super) fn put_group_base(out: &mut Vec<u8>, group: u64, state: &GroupState) -> usize {
    let start = out.len();
    let absentees: Vec<(u16, i64)> = state
        .absentees
        .iter()
        .map(|(&position, &newest)| (position, newest))
        .collect();
    put_base(
        out,
        group,
        &state.layout.to_vec(),
        state.last_timestamp,
        state.chain,
        &state.state,
        &absentees,
    );
    out.len() - start
}
