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
use crate::head::{Announced, Head, LoneRow, LoneStore};
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
    timestamps: Vec<Timestamp>,
    /// What is written for the series, if that is not what is staged.
    ids: Vec<u64>,
    /// Slot and timestamp of each sample.
    places: Vec<(u32, Timestamp)>,
    announced: Vec<Announced>,
    /// Samples whose series lie in one page.
    runs: Vec<Run>,
}

/// Consecutive samples whose series lie in one page.
#[derive(Debug, Clone, Copy)]
struct Run {
    end: usize,
    /// Where the series are, if they follow each other.
    row: Option<LoneRow>,
}

impl AloneScratch {
    pub(super) fn new(head: &Head) -> Self {
        Self {
            token: head.lone.next_token(),
            encoder: LoneEncoder::default(),
            timestamps: Vec::new(),
            ids: Vec::new(),
            places: Vec::new(),
            announced: Vec::new(),
            runs: Vec::new(),
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
        let mut start = 0;
        for &Run { end, row } in &scratch.runs {
            let run = &noted.places[start..end];
            cursor.page(run[0].0).push_announced(
                run,
                row,
                &scratch.announced[start..end],
                &staged.values[start..end],
                sequence,
                scratch.token,
            );
            start = end;
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
    staged.timestamps(&mut scratch.timestamps);
    scratch.ids.clear();
    let slots = head.slots.read();
    let found = slots.find_all_alone(&staged.ids, &scratch.timestamps, &mut scratch.places);
    if found == Some(false) {
        // An older id of a series leads to the same slot; what is written names the newest.
        let places = scratch.places.iter();
        scratch
            .ids
            .extend(places.map(|&(slot, _)| slots.get(slot).id));
    }
    found.is_some()
}

/// Announces and encodes all samples and returns their oldest and newest timestamp; announces none if one is not in
/// order.
fn announce(
    head: &Head,
    staged: &Staged,
    boundary: Timestamp,
    scratch: &mut AloneScratch,
) -> Option<(Timestamp, Timestamp)> {
    let (oldest, newest) = span(&scratch.timestamps);
    if oldest < boundary {
        return None;
    }
    scratch.encoder.clear();
    scratch.runs.clear();
    scratch.announced.clear();
    scratch.announced.resize(staged.len(), Announced::default());
    let mut cursor = head.lone.cursor();
    let ids = if scratch.ids.is_empty() {
        &staged.ids
    } else {
        &scratch.ids
    };
    let mut start = 0;
    for run in LoneStore::runs(&scratch.places) {
        let end = start + run.len();
        let (ids, values) = (&ids[start..end], &staged.values[start..end]);
        let own = &mut scratch.announced[start..end];
        let mut page = cursor.page(run[0].0);
        let row = page.find_row(run);
        let count = page.announce(run, row, scratch.token, own);
        if count < run.len() {
            drop(cursor);
            scratch.announced.truncate(start + count);
            take_back(head, scratch);
            return None;
        }
        let samples = ids.iter().zip(run).zip(values).zip(own);
        let samples = samples.map(|(((&id, &(_, timestamp)), &value), announced)| {
            (id, timestamp, value, &mut announced.scale_hint)
        });
        scratch.encoder.extend(samples);
        scratch.runs.push(Run { end, row });
        start = end;
    }
    Some((oldest, newest))
}

/// Returns the oldest and the newest of timestamps, of which there is one at least.
fn span(timestamps: &[Timestamp]) -> (Timestamp, Timestamp) {
    timestamps
        .iter()
        .fold((i64::MAX, i64::MIN), |(oldest, newest), &timestamp| {
            (oldest.min(timestamp), newest.max(timestamp))
        })
}

/// Takes announcements back, the latest first: a series may stand here several times.
fn take_back(head: &Head, scratch: &AloneScratch) {
    let mut cursor = head.lone.cursor();
    let announced = scratch.places.iter().zip(&scratch.announced);
    for (&(slot, _), announced) in announced.clone().rev() {
        cursor.page(slot).front(slot).release(announced.before);
    }
    for (&(slot, _), _) in announced {
        cursor.page(slot).front(slot).settle(scratch.token);
    }
}
