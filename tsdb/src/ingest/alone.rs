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
use crate::head::{Head, LoneSeries};
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
    samples: Vec<LonePlace>,
}

impl AloneScratch {
    pub(super) fn new(head: &Head) -> Self {
        Self {
            token: head.lone.next_token(),
            encoder: LoneEncoder::default(),
            samples: Vec::new(),
        }
    }
}

/// What is remembered of a staged sample.
#[derive(Debug, Clone, Copy)]
struct LonePlace {
    slot: u32,
    /// For the next sample of the series.
    scale_hint: u8,
    id: u64,
    /// Newest of the series before this sample was announced.
    before: Timestamp,
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
        if !find(&self.head, staged, &mut self.alone.samples) {
            return Ok(None);
        }
        // Read under the lock: the boundary cannot pass samples that are not applied yet.
        let boundary = self.head.boundary();
        let Some((oldest, newest)) = announce(&self.head, staged, boundary, &mut self.alone) else {
            return Ok(None);
        };
        self.frame.clear();
        self.alone.encoder.put(self.frame.out());
        let sequence = loop {
            match self.wal.append(&mut self.frame, self.wal.segment(), 0) {
                Ok(Appended::Written { sequence }) => break sequence,
                Ok(Appended::Rotated { .. }) => {}
                Err(error) => {
                    take_back(&self.head, &self.alone.samples, self.alone.token);
                    return Err(error);
                }
            }
        };
        let timestamps = staged.samples().map(|(_, timestamp, _)| timestamp);
        let slots = self.alone.samples.iter().map(|sample| sample.slot);
        self.head.hide_lone(sequence, slots.zip(timestamps));
        let mut cursor = self.head.lone.cursor();
        for (place, (_, timestamp, value)) in self.alone.samples.iter().zip(staged.samples()) {
            let series = cursor.push(place.slot, timestamp, value, sequence);
            series.set_scale_hint(place.scale_hint);
            series.settle(self.alone.token);
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
fn find(head: &Head, staged: &Staged, places: &mut Vec<LonePlace>) -> bool {
    places.clear();
    let slots = head.slots.read();
    places.extend(staged.ids.iter().map_while(|&id| {
        let slot = slots.find(id)?;
        let known = slots.get(slot);
        // An older id of the series leads to the same slot; what is written names the newest.
        (known.home().is_none() && known.is_defined).then_some(LonePlace {
            slot,
            scale_hint: 0,
            id: known.id,
            before: i64::MIN,
        })
    }));
    places.len() == staged.len()
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
    for (index, (_, timestamp, value)) in staged.samples().enumerate() {
        let place = &mut scratch.samples[index];
        let series: &mut LoneSeries = cursor.series(place.slot);
        let announced = if timestamp >= boundary {
            series.reserve(timestamp, scratch.token)
        } else {
            None
        };
        let Some(before) = announced else {
            drop(cursor);
            take_back(head, &scratch.samples[..index], scratch.token);
            return None;
        };
        place.before = before;
        place.scale_hint = scratch
            .encoder
            .push(place.id, timestamp, value, series.scale_hint());
        oldest = oldest.min(timestamp);
        newest = newest.max(timestamp);
    }
    Some((oldest, newest))
}

/// Takes announcements back, the latest first: a series may stand here several times.
fn take_back(head: &Head, places: &[LonePlace], token: u32) {
    let mut cursor = head.lone.cursor();
    for place in places.iter().rev() {
        cursor.series(place.slot).release(place.before);
    }
    for place in places {
        cursor.series(place.slot).settle(token);
    }
}
