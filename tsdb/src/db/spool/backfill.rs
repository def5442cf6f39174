//! What was stored before a remote was made, in the order of time.
//!
//! The walk goes in windows of time over blocks and head as they are then, so it pins nothing between two windows. What was
//! committed since the remote was made may lie in a window too; it comes from the log later, so the log is read ahead once
//! and the samples in it that are as old as the backfill are left out of the walk.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

use crate::db::event::Event;
use crate::db::inner::Inner;
use crate::error::{Error, ErrorKind, Result};
use crate::labels::{Labels, SeriesLabels};
use crate::query::Querier;
use crate::sample::{Sample, Samples};
use crate::ship::{
    BackfillEnd, LogReader, Position, Progress, SpoolBatch, SpooledSample, put_key_bytes, shard_key,
};
use crate::time::{TimeRange, Timestamp};
use crate::wal::Wal;

/// Reads what is left of a backfill.
pub(super) struct Backfill {
    progress: Progress,
    end: BackfillEnd,
    ids: Ids,
    /// None once all of it has been read.
    late: Option<Late>,
    /// Samples of the present window, in the order of their positions, and how many of them have been read.
    window: Vec<SpooledSample>,
    taken: usize,
    /// Everything older was in a window.
    next: Timestamp,
    /// Length of the next window.
    width_ms: i64,
    /// Labels of what is in the present window and the one before.
    names: [HashMap<u64, SeriesLabels>; 2],
}

/// Gives series ids of their own: blocks know none.
#[derive(Default)]
struct Ids {
    /// A key of its own for each reader, so that nobody chooses labels that get the same id.
    hasher: foldhash::quality::RandomState,
    bytes: Vec<u8>,
}

impl Ids {
    /// Returns an id that no series of the head has, and the key. Sixty-three bits: a million series share none, but once in
    /// twenty million times.
    fn of<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> (u64, u32) {
        self.bytes.clear();
        put_key_bytes(labels.clone(), &mut self.bytes);
        (
            self.hasher.hash_one(&self.bytes) | ID_BIT,
            shard_key(labels),
        )
    }
}

/// Tells whether an id was given by a backfill.
pub(super) fn is_own_id(id: u64) -> bool {
    id & ID_BIT != 0
}

impl Backfill {
    /// Returns a reader of what `progress` does not cover of its backfill; none if it has no backfill.
    pub(super) fn new(wal: &Wal, progress: Progress) -> Option<Self> {
        let end = progress.backfill()?;
        let Position::Backfill { timestamp, .. } = progress.low() else {
            return None;
        };
        Some(Self {
            late: Some(Late::new(wal, end)),
            progress,
            end,
            ids: Ids::default(),
            window: Vec::new(),
            taken: 0,
            next: timestamp,
            width_ms: WIDTH_MS_FIRST,
            names: Default::default(),
        })
    }

    /// Tells whether all of it has been read.
    pub(super) fn is_done(&self) -> bool {
        self.next >= self.end.end && self.taken == self.window.len()
    }

    /// Lets go of memory once all of it has been read.
    pub(super) fn release(&mut self) {
        if self.late.take().is_some() {
            self.window = Vec::new();
            self.taken = 0;
            self.names = Default::default();
        }
    }

    /// Returns the place before which everything has been read.
    pub(super) fn position(&self) -> Position {
        match self.window.get(self.taken) {
            Some(sample) => Position::Backfill {
                timestamp: sample.sample.timestamp,
                key: sample.key,
            },
            None if self.next < self.end.end => Position::at(self.next),
            None => Position::before(self.end.sequence),
        }
    }

    /// Adds up to `limit` samples to `batch`, of one window.
    ///
    /// # Errors
    ///
    /// The disk's; the next call goes on where this one stopped. What is damaged is passed over and reported.
    pub(super) fn read(
        &mut self,
        inner: &Inner,
        wal: &Wal,
        limit: usize,
        batch: &mut SpoolBatch,
    ) -> Result<()> {
        while self.taken == self.window.len() && self.next < self.end.end {
            self.next_window(inner, wal)?;
        }
        let end = self.window.len().min(self.taken.saturating_add(limit));
        batch
            .samples
            .extend_from_slice(&self.window[self.taken..end]);
        self.taken = end;
        batch.end = self.position();
        Ok(())
    }

    /// Gives the labels of each of these series to `visit`. For one that was read long ago it looks at all there are.
    pub(super) fn labels(
        &mut self,
        inner: &Inner,
        series: &[u64],
        visit: &mut dyn FnMut(u64, Option<&Labels>),
    ) -> Result<()> {
        let mut missing = HashSet::new();
        for &id in series {
            match self.names.iter().find_map(|names| names.get(&id)) {
                Some(labels) => visit(id, Some(&labels.to_labels())),
                None => drop(missing.insert(id)),
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        for found in inner.querier(TimeRange::ALL)?.select(&[])? {
            let labels = found?.labels().to_labels();
            let (id, _) = self.ids.of(labels.iter());
            if missing.remove(&id) {
                visit(id, Some(&labels));
            }
        }
        missing.into_iter().for_each(|id| visit(id, None));
        Ok(())
    }

    fn next_window(&mut self, inner: &Inner, wal: &Wal) -> Result<()> {
        let left = TimeRange::new(self.next, self.end.end);
        let Some(start) = next_stored(inner, left) else {
            self.next = self.end.end;
            return Ok(());
        };
        let window = loop {
            let end = start.saturating_add(self.width_ms).min(left.end);
            // Before the log is read ahead: what is in both must be known.
            let querier = inner.querier(TimeRange::new(start, end))?;
            if let Some(late) = &mut self.late {
                late.read_ahead(inner, wal, &mut self.ids, left)?;
            }
            let is_divisible = self.width_ms > 1;
            if let Some(window) = self.collect(inner, &querier, is_divisible)? {
                break window;
            }
            self.width_ms = (self.width_ms / 4).max(1);
        };
        let Window {
            mut samples,
            names,
            end,
        } = window;
        samples.sort_unstable_by_key(place);
        set_apart(&mut samples);
        if samples.len() < WINDOW_SAMPLES / 4 {
            self.width_ms = (self.width_ms * 2).min(WIDTH_MS_MAX);
        }
        self.window = samples;
        self.taken = 0;
        self.names.rotate_right(1);
        self.names[0] = names;
        self.next = end;
        Ok(())
    }

    /// Collects the samples of a window; none if they are too many.
    fn collect(
        &mut self,
        inner: &Inner,
        querier: &Querier,
        is_divisible: bool,
    ) -> Result<Option<Window>> {
        let mut window = Window {
            samples: Vec::new(),
            names: HashMap::new(),
            end: querier.range().end,
        };
        let mut samples = Samples::default();
        let mut damage = None;
        for series in querier.select(&[])? {
            // What is damaged does not come back; what is not is sent.
            let Some(series) = undamaged(series, &mut damage)? else {
                continue;
            };
            undamaged(series.read(&mut samples), &mut damage)?;
            if samples.is_empty() {
                continue;
            }
            let (id, key) = self.ids.of(series.labels().iter());
            let before = window.samples.len();
            for sample in samples.iter() {
                let position = Position::Backfill {
                    timestamp: sample.timestamp,
                    key,
                };
                let late = self.late.as_ref();
                let is_late = late.is_some_and(|late| late.contains(id, sample));
                if !is_late && !self.progress.covers(key, position) {
                    window.samples.push(SpooledSample {
                        series: id,
                        key,
                        sample,
                        position,
                    });
                }
            }
            if window.samples.len() > before {
                window.names.insert(id, series.labels().clone());
            }
            if is_divisible && window.samples.len() > WINDOW_SAMPLES {
                return Ok(None);
            }
        }
        if let Some(error) = damage {
            inner.emit(&Event::Damaged {
                message: format!("left out of a backfill: {error}"),
            });
        }
        Ok(Some(window))
    }
}

/// What is stored in a span of time.
struct Window {
    samples: Vec<SpooledSample>,
    names: HashMap<u64, SeriesLabels>,
    end: Timestamp,
}

/// Keeps an error that says what is lost for good, and returns any other.
pub(super) fn undamaged<T>(result: Result<T>, damage: &mut Option<Error>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::Corruption => {
            *damage = Some(error);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn place(one: &SpooledSample) -> (Timestamp, u32) {
    (one.sample.timestamp, one.key)
}

/// Two series may have the same key. Whoever acknowledges the sample of the one must not acknowledge that of the other with
/// it, so all but the last of them are said to stand one place before: after a crash they are repeated with the last one.
fn set_apart(samples: &mut [SpooledSample]) {
    for at in 1..samples.len() {
        let (timestamp, key) = place(&samples[at]);
        if place(&samples[at - 1]) == (timestamp, key) {
            samples[at - 1].position = Position::previous(timestamp, key);
        }
    }
}

impl std::fmt::Debug for Backfill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backfill")
            .field("position", &self.position())
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

/// Samples of the log that are as old as what is left of a backfill.
struct Late {
    reader: LogReader,
    samples: HashSet<(u64, Timestamp, u64), foldhash::fast::RandomState>,
    batch: SpoolBatch,
}

impl Late {
    fn new(wal: &Wal, end: BackfillEnd) -> Self {
        let all = Progress::new(Position::before(end.sequence), 1);
        Self {
            reader: LogReader::new(wal, all),
            samples: HashSet::default(),
            batch: SpoolBatch::default(),
        }
    }

    fn contains(&self, id: u64, sample: Sample) -> bool {
        let late = (id, sample.timestamp, sample.value.to_bits());
        !self.samples.is_empty() && self.samples.contains(&late)
    }

    /// Takes note of what the log has by now. Forgets what is older than `left`; beyond [`LATE_MAX`] what comes is not
    /// noted, and is sent twice.
    fn read_ahead(
        &mut self,
        inner: &Inner,
        wal: &Wal,
        ids: &mut Ids,
        left: TimeRange,
    ) -> Result<()> {
        if wal.synced_sequence() < wal.last_sequence() {
            inner.sync_log()?;
        }
        let mut more = true;
        loop {
            // What came before an error does not come again.
            self.note(inner, ids, left)?;
            if !more {
                return Ok(());
            }
            let nobody = &mut |_: &[u64], _: &mut _| Ok(());
            more = self
                .reader
                .read(wal, READ_SAMPLES, nobody, &mut self.batch)?;
        }
    }

    fn note(&mut self, inner: &Inner, ids: &mut Ids, left: TimeRange) -> Result<()> {
        self.batch
            .samples
            .retain(|one| left.contains(one.sample.timestamp));
        if self.samples.len() + self.batch.samples.len() > LATE_MAX {
            self.samples
                .retain(|&(_, timestamp, _)| timestamp >= left.start);
        }
        let room = LATE_MAX.saturating_sub(self.samples.len());
        self.batch.samples.truncate(room);
        let mut series: Vec<u64> = self.batch.samples.iter().map(|one| one.series).collect();
        series.sort_unstable();
        series.dedup();
        let mut known = HashMap::new();
        inner.series_labels(&mut self.reader, &series, &mut |id, labels| {
            if let Some(labels) = labels {
                known.insert(id, ids.of(labels.iter()).0);
            }
        })?;
        for one in &self.batch.samples {
            if let Some(&id) = known.get(&one.series) {
                let sample = one.sample;
                self.samples
                    .insert((id, sample.timestamp, sample.value.to_bits()));
            }
        }
        self.batch.clear();
        self.reader.forget_names();
        Ok(())
    }
}

/// Returns a time inside `range` before which nothing is stored there; none if nothing is stored at all.
fn next_stored(inner: &Inner, range: TimeRange) -> Option<Timestamp> {
    // The head first: what it lets go of after that is in the view.
    let head = TimeRange::closed(inner.head.min_time(), inner.head.max_time());
    let view = inner.views.current();
    let blocks = view.blocks().iter().map(|block| block.meta().range);
    blocks
        .chain([head])
        .map(|stored| stored.intersect(&range))
        .filter(|stored| !stored.is_empty())
        .map(|stored| stored.start)
        .min()
}

impl Inner {
    /// Returns a time above everything committed by now, tight where the head has something.
    pub(super) fn stored_before(&self) -> Result<Timestamp> {
        let head = self.head.max_time();
        let view = self.views.current();
        let blocks = view.blocks().iter().map(|block| block.meta().range);
        let Some(newest) = blocks.max_by_key(|range| range.end) else {
            return Ok(head.saturating_add(1));
        };
        if head.saturating_add(1) >= newest.end {
            return Ok(head.saturating_add(1));
        }
        // Nothing came since the block was written: what comes next may belong to the same range, but not to the backfill.
        let mut end = head.max(newest.start);
        let mut damage = None;
        for series in self.querier(newest)?.select(&[])? {
            let newest = series.and_then(|series| series.latest());
            if let Some(Some(sample)) = undamaged(newest, &mut damage)? {
                end = end.max(sample.timestamp);
            }
        }
        if damage.is_some() {
            return Ok(newest.end);
        }
        Ok(end.saturating_add(1))
    }
}

/// Set in the ids a backfill gives; the head counts its own from below.
const ID_BIT: u64 = 1 << 63;

/// Samples of a window, unless one millisecond has more.
const WINDOW_SAMPLES: usize = 400_000;

const WIDTH_MS_FIRST: i64 = 60_000;

const WIDTH_MS_MAX: i64 = 86_400_000;

/// Late samples that are kept apart.
const LATE_MAX: usize = 1 << 20;

/// Samples of the log read at once.
const READ_SAMPLES: usize = 50_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_two_series_with_one_key_are_acknowledged_together_or_not_at_all() {
        let places = [
            (5, 0),
            (5, 3),
            (5, 4),
            (5, 4),
            (5, 4),
            (5, 9),
            (6, 0),
            (6, 0),
        ];
        let true_place = |timestamp, key| Position::Backfill { timestamp, key };
        let mut samples: Vec<_> = places
            .iter()
            .map(|&(timestamp, key)| SpooledSample {
                series: 1,
                key,
                sample: Sample {
                    timestamp,
                    value: 1.0,
                },
                position: true_place(timestamp, key),
            })
            .collect();
        set_apart(&mut samples);
        for (at, one) in samples.iter().enumerate() {
            // A shard says that it has sent everything up to this one, and the process dies.
            let mut progress = Progress::with_backfill(
                0,
                BackfillEnd {
                    end: 100,
                    sequence: 1,
                },
            );
            progress.advance(0, one.position.next());
            let is_covered =
                |(timestamp, key): (i64, u32)| progress.covers(key, true_place(timestamp, key));
            assert!(
                !places[at + 1..].iter().any(|&place| is_covered(place)),
                "{at}"
            );
            let is_last = places.get(at + 1) != Some(&places[at]);
            assert_eq!(is_covered(places[at]), is_last, "{at}");
            let before = places[..at].iter().filter(|&&place| place != places[at]);
            assert!(before.copied().all(is_covered), "{at}");
        }
    }
}
