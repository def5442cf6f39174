//! Commits of lone samples that a reader may not see.
//!
//! A row knows its sequence; a lone sample in its chunk does not. So each commit notes which lone samples it brings
//! before it adds them, and the note stays while somebody reads the head as it was before that commit: a reader leaves
//! out what is noted with a sequence above its own.
//!
//! 1. [`Readers::enter`] fixes the sequence a reader sees, [`Readers::oldest`] tells which notes are needed by none.
//! 2. [`RecentCommits::note`] comes before the samples, so whoever finds a sample in a chunk finds the note too.
//! 3. A reader takes the notes up as it goes on ([`Hidden::update`]), each once however many series it reads.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::time::Timestamp;

/// The sequences at which the head is being read.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    /// How many read at each sequence. No other lock is taken under it.
    counts: Mutex<BTreeMap<u64, usize>>,
}

impl Readers {
    /// Notes a reader at the sequence that `published` answers. It is asked under the lock: a reader that is not counted
    /// yet sees no less than what [`Readers::oldest`] is told.
    pub(crate) fn enter(&self, published: impl FnOnce() -> u64) -> u64 {
        let mut counts = self.counts.lock();
        let sequence = published();
        *counts.entry(sequence).or_default() += 1;
        sequence
    }

    pub(crate) fn leave(&self, sequence: u64) {
        let mut counts = self.counts.lock();
        if let Some(count) = counts.get_mut(&sequence) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&sequence);
            }
        }
    }

    /// Returns a sequence that every reader sees, those of the future too.
    pub(crate) fn oldest(&self, published: impl FnOnce() -> u64) -> u64 {
        let counts = self.counts.lock();
        let published = published();
        counts
            .first_key_value()
            .map_or(published, |(&oldest, _)| oldest.min(published))
    }
}

/// What the latest commits brought of lone samples, as slots and timestamps.
#[derive(Debug, Default)]
pub(crate) struct RecentCommits {
    /// No other lock is taken under it.
    commits: Mutex<Commits>,
}

#[derive(Debug, Default)]
struct Commits {
    notes: VecDeque<Note>,
    /// Memory of a note that was dropped, for the next one.
    spare: Vec<(u32, Timestamp)>,
    /// Notes that were dropped, so that readers can count on.
    dropped: u64,
}

#[derive(Debug, Clone)]
struct Note {
    sequence: u64,
    samples: Arc<NotedSamples>,
}

/// The lone samples of one commit, shared by the note of them and by who adds them.
#[derive(Debug)]
pub(crate) struct NotedSamples {
    /// Slots and timestamps.
    pub(crate) places: Vec<(u32, Timestamp)>,
}

impl RecentCommits {
    /// Notes the lone samples of a commit that is about to add them; forgets commits that all see who read from
    /// `oldest` on. Takes the samples and leaves memory for others.
    pub(crate) fn note(
        &self,
        sequence: u64,
        samples: &mut Vec<(u32, Timestamp)>,
        oldest: u64,
    ) -> Arc<NotedSamples> {
        let mut commits = self.commits.lock();
        let spare = std::mem::take(&mut commits.spare);
        let samples = Arc::new(NotedSamples {
            places: std::mem::replace(samples, spare),
        });
        while commits
            .notes
            .front()
            .is_some_and(|note| note.sequence <= oldest)
        {
            let dropped = commits.notes.pop_front();
            commits.dropped += 1;
            if let Some(samples) = dropped.and_then(|note| Arc::into_inner(note.samples))
                && samples.places.capacity() <= SPARE_SAMPLES_MAX
            {
                commits.spare = samples.places;
                commits.spare.clear();
            }
        }
        commits.notes.push_back(Note {
            sequence,
            samples: Arc::clone(&samples),
        });
        samples
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let commits = self.commits.lock();
        let samples: usize = commits
            .notes
            .iter()
            .map(|note| note.samples.places.capacity())
            .sum();
        (samples + commits.spare.capacity()) * size_of::<(u32, Timestamp)>()
            + commits.notes.capacity() * size_of::<Note>()
    }
}

/// One large commit must not hold its memory for ever.
const SPARE_SAMPLES_MAX: usize = 16 * 1024;

/// A lone sample that a reader must not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HiddenSample {
    timestamp: Timestamp,
    sequence: u64,
}

impl HiddenSample {
    /// Tells whether this is the sample at a time in a chunk whose newest sample has this sequence. One that was deleted
    /// and has come again is there twice, the first time in a chunk that ended before.
    pub(crate) fn is_at(self, timestamp: Timestamp, sequence: u64) -> bool {
        self.timestamp == timestamp && self.sequence <= sequence
    }
}

/// The lone samples that one reader must not see.
#[derive(Debug, Default)]
pub(crate) struct Hidden {
    by_slot: HashMap<u32, Vec<HiddenSample>, foldhash::fast::RandomState>,
    /// Notes looked at so far.
    seen: u64,
}

impl Hidden {
    /// Takes up what was noted since the last time. To be called after the samples were copied.
    pub(crate) fn update(&mut self, recent: &RecentCommits, published: u64) {
        let notes: Vec<Note> = {
            let commits = recent.commits.lock();
            let skipped = self.seen.saturating_sub(commits.dropped) as usize;
            self.seen = commits.dropped + commits.notes.len() as u64;
            let unseen = commits.notes.iter().skip(skipped);
            unseen
                .filter(|note| note.sequence > published)
                .cloned()
                .collect()
        };
        for note in notes {
            for &(slot, timestamp) in &note.samples.places {
                self.by_slot.entry(slot).or_default().push(HiddenSample {
                    timestamp,
                    sequence: note.sequence,
                });
            }
        }
    }

    pub(crate) fn of(&self, slot: u32) -> &[HiddenSample] {
        self.by_slot.get(&slot).map_or(&[], Vec::as_slice)
    }

    /// Returns how many samples were taken up so far.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> usize {
        self.by_slot.values().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(hidden: &Hidden) -> Vec<Timestamp> {
        let samples = hidden.of(7).iter();
        samples.map(|sample| sample.timestamp).collect()
    }

    fn hidden(recent: &RecentCommits, published: u64) -> Vec<Timestamp> {
        let mut hidden = Hidden::default();
        hidden.update(recent, published);
        times(&hidden)
    }

    #[test]
    fn notes_stay_while_an_older_reader_lives() {
        let (readers, recent) = (Readers::default(), RecentCommits::default());
        let early = readers.enter(|| 4);
        recent.note(5, &mut vec![(7, 50)], readers.oldest(|| 4));
        let late = readers.enter(|| 5);
        recent.note(6, &mut vec![(7, 60), (8, 60)], readers.oldest(|| 5));
        assert_eq!(hidden(&recent, early), [50, 60]);
        assert_eq!(hidden(&recent, late), [60]);
        readers.leave(early);
        recent.note(7, &mut vec![(7, 70)], readers.oldest(|| 6));
        assert_eq!(hidden(&recent, late), [60, 70]);
        assert_eq!(hidden(&recent, 0), [60, 70], "the note of 5 is dropped");
        readers.leave(late);
        recent.note(8, &mut vec![(7, 80)], readers.oldest(|| 7));
        assert_eq!(hidden(&recent, 7), [80]);
    }

    #[test]
    fn reader_takes_each_note_once() {
        let recent = RecentCommits::default();
        let mut hidden = Hidden::default();
        recent.note(5, &mut vec![(7, 50)], 4);
        hidden.update(&recent, 4);
        hidden.update(&recent, 4);
        recent.note(6, &mut vec![(7, 60)], 4);
        hidden.update(&recent, 4);
        assert_eq!(times(&hidden), [50, 60]);
        assert!(hidden.of(7)[1].is_at(60, 6));
        assert!(
            !hidden.of(7)[1].is_at(60, 5),
            "an earlier sample of that time"
        );
    }
}
