//! The common commit: one scrape, exactly the layout of one group, newer than everything in it.

use parking_lot::RwLockUpgradableReadGuard;

use crate::error::Result;
use crate::frame::{RowSection, put_base, put_row, timestamp_delta};
use crate::head::GroupState;
use crate::wal::Appended;

use super::commit::{Committed, Committer};
use super::staged::{Batch, Staged};

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
        if !is_in_order || state.layout.ids() != staged.ids {
            return Ok(None);
        }
        let chain = state.chain.wrapping_add(1);
        let timestamp_delta = timestamp_delta(state.last_timestamp, batch.timestamp);
        self.row.clear();
        self.encoder
            .encode(&staged.values, &[], &state.state, &mut self.row);
        let (sequence, segment) = loop {
            let segment = self.wal.segment();
            self.frame.clear();
            let base_bytes = if state.segment == segment {
                0
            } else {
                put_group_base(self.frame.out(), group.id, &state)
            };
            put_row(
                self.frame.out(),
                &RowSection {
                    group: group.id,
                    timestamp_delta,
                    chain,
                    row: &self.row,
                },
            );
            match self.wal.append(&mut self.frame, segment, base_bytes)? {
                Appended::Written { sequence } => break (sequence, segment),
                Appended::Rotated { .. } => {}
            }
        };
        let mut state = RwLockUpgradableReadGuard::upgrade(state);
        let section = RowSection {
            group: group.id,
            timestamp_delta,
            chain,
            row: &self.row,
        };
        state
            .apply_row(sequence, &section)
            .expect("the row was encoded from this state");
        state.segment = segment;
        state.thin_rows = 0;
        self.head.note_time(batch.timestamp);
        self.head.seal_if_due(&group, &mut state, &mut self.sealer);
        Ok(Some(Committed {
            sequence: Some(sequence),
            in_rows: staged.ids.len() as u64,
            ..Committed::default()
        }))
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
        state.layout.ids(),
        state.last_timestamp,
        state.chain,
        &state.state,
        &absentees,
    );
    out.len() - start
}
