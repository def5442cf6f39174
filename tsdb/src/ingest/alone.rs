//! The common commit of lone samples: known series without a home, each newer than all before it.
//!
//! 1. Find the series. A reader of homes and layouts stays one until the end, so none of them gets a home meanwhile.
//! 2. Announce each sample to its series and encode it. A series that has something as new, or for which somebody else
//!    has announced a sample, sends the whole commit the slow way, which waits until commits like this one are done and
//!    judges again.
//! 3. Write the frame. If that fails the announcements are taken back.
//! 4. Note the samples, so that older readers leave them out, and add them.
//!
//! Commits of different series go on at the same time; locks of the lone samples are held in between, not throughout.

use crate::error::Result;
use crate::frame::LoneEncoder;
use crate::head::{Head, LoneStore};
use crate::limits::GROUP_SERIES_MIN;
use crate::time::Timestamp;
use crate::wal::Appended;

use super::commit::{Committed, Committer};
use super::staged::Staged;

/// Scratch memory of these commits.
#[derive(Debug)]
pub(super) struct AloneScratch {
    /// Tells this committer's announcements from those of others.
    token: u32,
    encoder: LoneEncoder,
    /// Slot and timestamp of each sample.
    places: Vec<(u32, Timestamp)>,
    /// What is written for the slots.
    ids: Vec<u64>,
    /// Newest of the series before the samples were announced.
    before: Vec<Timestamp>,
}

impl AloneScratch {
    pub(super) fn new(head: &Head) -> Self {
        Self {
            token: head.lone.next_token(),
            encoder: LoneEncoder::default(),
            places: Vec::new(),
            ids: Vec::new(),
            before: Vec::new(),
        }
    }
}

impl Committer {
    /// Commits samples that are all alone and in order, or answers `None` if it is not that simple.
    pub(super) fn commit_alone(&mut self, staged: &Staged) -> Result<Option<Committed>> {
        if staged.shares_timestamp(GROUP_SERIES_MIN)
            || staged.target.is_some() && staged.single().is_some()
        {
            // Series that come together found a group.
            return Ok(None);
        }
        let _structure = self.head.structure.read();
        let scratch = &mut self.alone;
        if !find(&self.head, staged, scratch) {
            return Ok(None);
        }
        // Read under the lock: the boundary cannot pass samples that are not applied yet.
        let boundary = self.head.boundary();
        let Some((oldest, newest)) = announce(&self.head, staged, boundary, scratch) else {
            return Ok(None);
        };
        self.frame.clear();
        scratch.encoder.put(self.frame.out());
        let sequence = loop {
            match self.wal.append(&mut self.frame, self.wal.segment(), 0) {
                Ok(Appended::Written { sequence }) => break sequence,
                Ok(Appended::Rotated { .. }) => {}
                Err(error) => {
                    take_back(&self.head, scratch);
                    return Err(error);
                }
            }
        };
        let noted = self.head.hide_lone(sequence, &mut scratch.places);
        let mut cursor = self.head.lone.cursor();
        let mut values = staged.values.as_slice();
        for run in runs(&noted.places) {
            let (own, rest) = values.split_at(run.len());
            let mut page = cursor.page(run[0].0);
            page.push(run, own, sequence, scratch.token);
            values = rest;
        }
        drop(cursor);
        self.head.note_time(oldest);
        self.head.note_time(newest);
        self.head.spill_if_due();
        Ok(Some(Committed {
            sequence: Some(sequence),
            alone: staged.len() as u64,
            ..Committed::default()
        }))
    }
}

/// Finds the series of all samples; answers `false` if one is unknown, has a home, or is not in the log yet.
fn find(head: &Head, staged: &Staged, scratch: &mut AloneScratch) -> bool {
    scratch.places.clear();
    scratch.ids.clear();
    let slots = head.slots.read();
    for (id, timestamp, _) in staged.samples() {
        // An older id of the series leads to the same slot; what is written names the newest.
        let Some((slot, id)) = slots.find_alone(id) else {
            return false;
        };
        scratch.places.push((slot, timestamp));
        scratch.ids.push(id);
    }
    true
}

/// Announces and encodes all samples and returns their oldest and newest timestamp; announces none if one is not in
/// order.
fn announce(
    head: &Head,
    staged: &Staged,
    boundary: Timestamp,
    scratch: &mut AloneScratch,
) -> Option<(Timestamp, Timestamp)> {
    let mut cursor = head.lone.cursor();
    let (mut oldest, mut newest) = (i64::MAX, i64::MIN);
    scratch.encoder.clear();
    scratch.before.clear();
    let mut samples = scratch.ids.iter().zip(&staged.values);
    for run in runs(&scratch.places) {
        let mut page = cursor.page(run[0].0);
        for (&(slot, timestamp), (&id, &value)) in run.iter().zip(&mut samples) {
            let front = page.front(slot);
            let announced = if timestamp >= boundary {
                front.reserve(timestamp, scratch.token)
            } else {
                None
            };
            let Some(before) = announced else {
                drop(cursor);
                take_back(head, scratch);
                return None;
            };
            scratch.before.push(before);
            // Whatever becomes of the commit, it is no more than a hint.
            front.scale_hint = scratch.encoder.push(id, timestamp, value, front.scale_hint);
            oldest = oldest.min(timestamp);
            newest = newest.max(timestamp);
        }
    }
    Some((oldest, newest))
}

/// Takes announcements back, the latest first: a series may stand here several times.
fn take_back(head: &Head, scratch: &AloneScratch) {
    let mut cursor = head.lone.cursor();
    let announced = scratch.places.iter().zip(&scratch.before);
    for (&(slot, _), &before) in announced.clone().rev() {
        cursor.page(slot).front(slot).release(before);
    }
    for (&(slot, _), _) in announced {
        cursor.page(slot).front(slot).settle(scratch.token);
    }
}

/// Splits samples into runs whose series lie in one page.
fn runs(places: &[(u32, Timestamp)]) -> impl Iterator<Item = &[(u32, Timestamp)]> {
    places.chunk_by(|a, b| LoneStore::page_of(a.0) == LoneStore::page_of(b.0))
}
