//! What a series of the head holds, as it was copied from there.

use std::cell::Cell;
use std::sync::Arc;

use crate::error::Result;
use crate::head::lone::LoneSeries;
use crate::head::open_rows::OpenRows;
use crate::head::piece_files::{Piece, read_each};
use crate::head::recent::HiddenSample;
use crate::head::tombstones::Deleted;
use crate::row::walk_back;
use crate::sample::{Sample, Samples};
use crate::source::SeriesData;
use crate::time::{TimeRange, Timestamp};

/// What all series of a group share in a view.
#[derive(Debug)]
pub(super) struct GroupCopy {
    pub(super) open: Arc<OpenRows>,
    #[expect(clippy::rc_buffer, reason = "it is the group's own list, shared")]
    pub(super) pieces: Arc<Vec<Arc<Piece>>>,
}

/// One series of the head.
#[derive(Debug)]
pub(super) struct HeadSeries {
    pub(super) id: u64,
    pub(super) published: u64,
    pub(super) home: Option<Home>,
    /// Other groups that may have data of the series.
    pub(super) former: Vec<Arc<GroupCopy>>,
    pub(super) lone: Option<LoneSeries>,
    /// Lone samples that came after the view.
    pub(super) hidden: Box<[HiddenSample]>,
    pub(super) deleted: Vec<Deleted>,
}

/// Series that were copied together. The number of a series is its place.
#[derive(Debug)]
pub(super) struct HeadBatch(pub(super) Vec<HeadSeries>);

impl SeriesData for HeadBatch {
    fn read(&self, number: u32, range: TimeRange, out: &mut Samples) -> Result<()> {
        self.0[number as usize].read(range, out)
    }

    fn latest(&self, number: u32, range: TimeRange) -> Result<Option<Sample>> {
        self.0[number as usize].latest(range)
    }
}

/// The open rows of a series, in the group whose layout it stands in.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) group: Arc<GroupCopy>,
    pub(super) position: usize,
    /// The position's integer and scale after the newest open row.
    pub(super) integer: i64,
    pub(super) scale: u8,
}

impl HeadSeries {
    /// Returns the groups that may have data of the series and its likely position in their pieces.
    fn groups(&self) -> impl Iterator<Item = (&GroupCopy, usize)> {
        let former = self.former.iter().map(|group| (&**group, 0));
        former.chain(self.home.iter().map(|home| (&*home.group, home.position)))
    }

    fn keeps(&self, range: TimeRange, timestamp: Timestamp, sequence: u64) -> bool {
        sequence <= self.published
            && range.contains(timestamp)
            && !self.deleted.iter().any(|deleted| {
                deleted.sequence <= self.published && deleted.hides(timestamp, sequence)
            })
    }

    /// Tells whether no sample of a piece has to be left out.
    fn keeps_all_of(&self, piece: &Piece, range: TimeRange) -> bool {
        let header = &piece.header;
        self.deleted.is_empty()
            && header.last_sequence <= self.published
            && range.covers(&TimeRange::closed(
                header.first_timestamp,
                header.last_timestamp,
            ))
    }

    /// Tells whether a sample may lie in `range`; cheap, so it may say yes where only absence is recorded.
    pub(super) fn overlaps(&self, range: TimeRange) -> bool {
        if self.lone_overlaps(range) {
            return true;
        }
        let in_rows = |home: &Home| {
            home.group.open.rows().iter().any(|row| {
                row.sequence <= self.published
                    && range.contains(row.timestamp)
                    && home.position < usize::from(row.width)
            })
        };
        let in_piece = |piece: &Piece, hint: usize| {
            let position = self.position_in(piece, hint, range);
            position.is_some_and(|position| self.is_seen_in(piece, position, range))
        };
        self.home.as_ref().is_some_and(in_rows)
            || self
                .groups()
                .any(|(group, hint)| group.pieces.iter().any(|piece| in_piece(piece, hint)))
    }

    /// Tells whether a series may have been in a piece when the view was made: in one that was sealed later it may have
    /// joined later.
    fn is_seen_in(&self, piece: &Piece, position: usize, range: TimeRange) -> bool {
        if piece.header.last_sequence <= self.published {
            return true;
        }
        let (mut scratch, mut samples) = (Vec::new(), Samples::default());
        let keep = |timestamp, sequence| self.keeps(range, timestamp, sequence);
        let read = piece.with_view(|view| view.read(position, keep, &mut scratch, &mut samples));
        // What is damaged is told by who reads it.
        read.is_err() || !samples.is_empty()
    }

    fn lone_overlaps(&self, range: TimeRange) -> bool {
        let Some(lone) = &self.lone else { return false };
        if !lone.overlaps(range) {
            return false;
        }
        // A series whose first samples came after the view must not show even by name.
        let mut visible = Samples::default();
        self.hidden.is_empty()
            || self.read_lone(lone, range, &mut visible).is_err()
            || !visible.is_empty()
    }

    fn read_lone(&self, lone: &LoneSeries, range: TimeRange, out: &mut Samples) -> Result<()> {
        let is_deleted = |timestamp, sequence| {
            self.deleted.iter().any(|deleted| {
                deleted.sequence <= self.published && deleted.hides(timestamp, sequence)
            })
        };
        lone.read(range, &self.hidden, is_deleted, out)
    }

    /// Returns the position in a piece, if the series may have a sample in it that is in `range`.
    fn position_in(&self, piece: &Piece, hint: usize, range: TimeRange) -> Option<usize> {
        let header = &piece.header;
        let overlaps = header.first_sequence <= self.published
            && TimeRange::closed(header.first_timestamp, header.last_timestamp).overlaps(&range);
        overlaps
            .then(|| piece.layout.position_of(self.id, hint))
            .flatten()
    }

    fn read_rows(&self, range: TimeRange, out: &mut Samples) {
        let Some(home) = &self.home else { return };
        let open = &*home.group.open;
        let count = open.len();
        let start = out.len();
        let backwards = (0..count).rev().map(|index| open.view(index));
        walk_back(
            backwards,
            home.position,
            home.integer,
            home.scale,
            |back, value| {
                let row = open.rows()[count - 1 - back];
                if self.keeps(range, row.timestamp, row.sequence) {
                    out.push(row.timestamp, value);
                }
            },
        );
        out.timestamps[start..].reverse();
        out.values[start..].reverse();
    }

    /// Returns the newest sample of the open rows.
    fn latest_in_rows(&self, range: TimeRange) -> Option<Sample> {
        let home = self.home.as_ref()?;
        let open = &*home.group.open;
        let count = open.len();
        let newest = Cell::new(None);
        // The walk ends with the first sample that is found.
        let backwards = (0..count)
            .rev()
            .map_while(|index| newest.get().is_none().then(|| open.view(index)));
        walk_back(
            backwards,
            home.position,
            home.integer,
            home.scale,
            |back, value| {
                let row = open.rows()[count - 1 - back];
                if self.keeps(range, row.timestamp, row.sequence) {
                    newest.set(Some(Sample {
                        timestamp: row.timestamp,
                        value,
                    }));
                }
            },
        );
        newest.get()
    }

    /// Returns the newest sample of a group's sealed rows.
    fn latest_in_pieces(
        &self,
        group: &GroupCopy,
        hint: usize,
        range: TimeRange,
    ) -> Result<Option<Sample>> {
        let mut scratch = Vec::new();
        let mut samples = Samples::default();
        let mut newest: Option<Sample> = None;
        for piece in group.pieces.iter().rev() {
            let is_older =
                newest.is_some_and(|newest| piece.header.last_timestamp < newest.timestamp);
            if is_older {
                continue;
            }
            let Some(position) = self.position_in(piece, hint, range) else {
                continue;
            };
            samples.clear();
            let keep = |timestamp, sequence| self.keeps(range, timestamp, sequence);
            piece.with_view(|view| view.read(position, keep, &mut scratch, &mut samples))?;
            newest = samples
                .iter()
                .chain(newest)
                .max_by_key(|sample| sample.timestamp);
        }
        Ok(newest)
    }

    pub(super) fn read(&self, range: TimeRange, out: &mut Samples) -> Result<()> {
        let start = out.len();
        let mut is_in_order = true;
        let mut pieces = Vec::new();
        for (group, hint) in self.groups() {
            for piece in group.pieces.iter() {
                let position = self.position_in(piece, hint, range);
                pieces.extend(position.map(|position| (&**piece, position)));
            }
        }
        let mut scratch = Vec::new();
        read_each(&pieces, |piece, view, position| {
            let middle = out.len();
            if self.keeps_all_of(piece, range) {
                view.read_all(position, &mut scratch, out)?;
            } else {
                let keep = |timestamp, sequence| self.keeps(range, timestamp, sequence);
                view.read(position, keep, &mut scratch, out)?;
            }
            is_in_order &= follows(out, start, middle);
            Ok(())
        })?;
        let middle = out.len();
        self.read_rows(range, out);
        is_in_order &= follows(out, start, middle);
        if let Some(lone) = &self.lone {
            self.read_lone(lone, range, out)?;
        }
        // Rows ascend within a piece, and so do open ones.
        if !is_in_order || self.lone.is_some() {
            sort_from(out, start);
        }
        Ok(())
    }

    pub(super) fn latest(&self, range: TimeRange) -> Result<Option<Sample>> {
        // Sealed rows are only looked at when no open row answers.
        let mut newest = self.latest_in_rows(range);
        if newest.is_none() {
            for (group, hint) in self.groups() {
                let sealed = self.latest_in_pieces(group, hint, range)?;
                newest = newest
                    .into_iter()
                    .chain(sealed)
                    .max_by_key(|sample| sample.timestamp);
            }
        }
        if let Some(lone) = &self.lone {
            let mut samples = Samples::default();
            self.read_lone(lone, range, &mut samples)?;
            newest = samples
                .iter()
                .chain(newest)
                .max_by_key(|sample| sample.timestamp);
        }
        Ok(newest)
    }
}

/// Tells whether the samples from `middle` on are behind those before them, which begin at `start`.
fn follows(samples: &Samples, start: usize, middle: usize) -> bool {
    let timestamps = &samples.timestamps;
    middle == start || middle == timestamps.len() || timestamps[middle - 1] < timestamps[middle]
}

/// Puts the samples from `start` on in time order, each timestamp once: of equals the first stays.
fn sort_from(samples: &mut Samples, start: usize) {
    if samples.timestamps[start..].is_sorted_by(|a, b| a < b) {
        return;
    }
    let mut tail: Vec<Sample> = samples.iter().skip(start).collect();
    tail.sort_by_key(|sample| sample.timestamp);
    tail.dedup_by_key(|sample| sample.timestamp);
    samples.truncate(start);
    for sample in tail {
        samples.push(sample.timestamp, sample.value);
    }
}
