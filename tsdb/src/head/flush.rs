//! Reading the head for a flush: group by group, for that is how it lies in the piece files.
//!
//! 1. [`FlushView::new`] fixes the sequence and finds all series, in label order.
//! 2. [`FlushView::read`] takes a run of them, and gives each whose samples are all sealed rows of one group, as they come
//!    in the pieces. Pieces hold decimals as integers, and so they are given.
//! 3. The others - few, unless something is unusual - are named in the answer, to be read one by one as a query does.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::Result;
use crate::piece::{ColumnCursor, IntegerColumn, PieceView};
use crate::sample::Samples;
use crate::time::{TimeRange, Timestamp};

use super::piece_files::Piece;
use super::recent::Hidden;
use super::{Head, HeadView};

/// Series that are looked up under one hold of the locks.
const BATCH: usize = 4096;

/// The head below a boundary at one sequence, to be written as a block of `range`.
pub(crate) struct FlushView {
    head: Arc<Head>,
    view: HeadView,
    sequence: u64,
    range: TimeRange,
    /// Slots of all series in label order. No series leaves the head while it is flushed.
    slots: Vec<u32>,
    /// Kept from series to series: each takes up only what was noted since the one before.
    hidden: Mutex<Hidden>,
}

/// The samples of one series.
pub(crate) struct FlushSeries<'a> {
    /// Its place among the series that were asked for.
    pub(crate) rank: u32,
    /// Equal numbers say that the timestamps are the same as before.
    pub(crate) column: u32,
    pub(crate) timestamps: &'a [Timestamp],
    pub(crate) values: FlushValues<'a>,
}

/// Values as the pieces have them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FlushValues<'a> {
    /// The same integer at each timestamp, and the digits behind the point.
    Constant(i64, u8),
    /// Integers, and the digits behind the point.
    Decimal(&'a [i64], u8),
    Floats(&'a [f64]),
}

/// A series to be read with its group.
#[derive(Debug, Clone, Copy)]
struct Member {
    group: u32,
    rank: u32,
    id: u64,
    position: u16,
}

impl FlushView {
    /// Returns a view of everything up to `sequence` in `range`.
    pub(crate) fn new(head: Arc<Head>, sequence: u64, range: TimeRange) -> Self {
        let slots = head.index.read().select(&[]);
        Self {
            view: HeadView::at(Arc::clone(&head), sequence),
            head,
            sequence,
            range,
            slots,
            hidden: Mutex::default(),
        }
    }

    /// Returns the slots of all series in label order.
    pub(crate) fn slots(&self) -> &[u32] {
        &self.slots
    }

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    /// Returns about how many bytes the sealed rows in the range take.
    pub(crate) fn size_bytes(&self) -> u64 {
        let groups = self.head.all_groups();
        let of_group = |state: &super::group::GroupState| -> u64 {
            let pieces = state.pieces.iter();
            let inside = pieces.filter(|piece| overlaps(piece, self.range));
            inside.map(|piece| u64::from(piece.header.body_bytes)).sum()
        };
        groups
            .iter()
            .map(|(_, group)| of_group(&group.state.read()))
            .sum()
    }

    /// Reads the samples of one series, whatever it is.
    pub(crate) fn read_alone(&self, slot: u32, out: &mut Samples) -> Result<()> {
        self.view
            .read_slot(slot, self.range, &mut self.hidden.lock(), out)
    }

    /// Gives the series at `ranks` to `visit` in the order of their groups, and returns the ranks of those that have to
    /// be read alone: also those for which `visit` says no. Ranks are counted from the first one.
    pub(crate) fn read(
        &self,
        ranks: Range<usize>,
        visit: &mut dyn FnMut(FlushSeries<'_>) -> Result<bool>,
    ) -> Result<Vec<u32>> {
        let mut alone = Vec::new();
        let mut members = self.members(ranks, &mut alone);
        members.sort_unstable_by_key(|member| (member.group, member.position));
        let mut reader = GroupReader::default();
        for members in members.chunk_by(|one, other| one.group == other.group) {
            if self.load(members[0].group, &mut reader)? {
                reader.read(members, visit, &mut alone)?;
            } else {
                alone.extend(members.iter().map(|member| member.rank));
            }
        }
        alone.sort_unstable();
        Ok(alone)
    }

    /// Finds the group and position of each series; those that are not in one group alone go to `alone`.
    fn members(&self, ranks: Range<usize>, alone: &mut Vec<u32>) -> Vec<Member> {
        let mut members = Vec::with_capacity(ranks.len());
        let mut rank = 0;
        for batch in self.slots[ranks].chunks(BATCH) {
            let slots = self.head.slots.read();
            let tombstones = self.head.tombstones.read();
            for &slot in batch {
                let known = slots.get(slot);
                match known.home() {
                    Some(group)
                        if known.is_defined
                            && slots.former(slot).is_empty()
                            && tombstones.get(slot).is_empty()
                            && !self.head.lone.has_samples(slot) =>
                    {
                        members.push(Member {
                            group,
                            rank,
                            id: known.id,
                            position: known.position,
                        });
                    }
                    _ => alone.push(rank),
                }
                rank += 1;
            }
        }
        members
    }

    /// Loads the pieces of a group that lie in the range. Tells whether they are all there is of it.
    fn load(&self, group: u32, reader: &mut GroupReader) -> Result<bool> {
        reader.clear();
        let Some(group) = self.head.groups.read().get(group).cloned() else {
            return Ok(false);
        };
        let (pieces, has_open_rows) = {
            let state = group.state.read();
            let is_open = (state.open.rows().iter())
                .any(|row| row.sequence <= self.sequence && self.range.contains(row.timestamp));
            (Arc::clone(&state.pieces), is_open)
        };
        if has_open_rows {
            return Ok(false);
        }
        let mut last = None;
        for piece in pieces.iter().filter(|piece| overlaps(piece, self.range)) {
            let header = &piece.header;
            let span = TimeRange::closed(header.first_timestamp, header.last_timestamp);
            let is_plain = header.last_sequence <= self.sequence
                && self.range.covers(&span)
                && last < Some(header.first_timestamp);
            if !is_plain {
                return Ok(false);
            }
            last = Some(header.last_timestamp);
            reader.add(piece)?;
        }
        Ok(reader
            .timestamps
            .is_sorted_by(|before, after| before < after))
    }
}

fn overlaps(piece: &Piece, range: TimeRange) -> bool {
    let header = &piece.header;
    TimeRange::closed(header.first_timestamp, header.last_timestamp).overlaps(&range)
}

/// The pieces of one group, in memory.
#[derive(Default)]
struct GroupReader {
    pieces: Vec<Loaded>,
    bodies: Vec<u8>,
    /// Of all rows.
    timestamps: Vec<Timestamp>,
    /// Column numbers given out.
    columns: u32,
    /// The columns of one series, one of each piece.
    found: Vec<IntegerColumn>,
    integers: Vec<i64>,
    samples: Samples,
    scratch: Vec<f64>,
}

/// A piece whose body is in memory.
struct Loaded {
    piece: Arc<Piece>,
    body: Range<usize>,
    cursor: ColumnCursor,
}

impl GroupReader {
    fn clear(&mut self) {
        self.pieces.clear();
        self.bodies.clear();
        self.timestamps.clear();
    }

    fn add(&mut self, piece: &Arc<Piece>) -> Result<()> {
        let start = self.bodies.len();
        piece.read_body(&mut self.bodies)?;
        let loaded = Loaded {
            piece: Arc::clone(piece),
            body: start..self.bodies.len(),
            cursor: ColumnCursor::default(),
        };
        (loaded.view(&self.bodies)?).timestamps(&mut self.timestamps);
        self.pieces.push(loaded);
        Ok(())
    }

    fn read(
        &mut self,
        members: &[Member],
        visit: &mut dyn FnMut(FlushSeries<'_>) -> Result<bool>,
        alone: &mut Vec<u32>,
    ) -> Result<()> {
        if self.pieces.is_empty() {
            return Ok(());
        }
        self.columns += 1;
        let whole = self.columns;
        for member in members {
            let decimals = if !self.find_columns(member)? {
                None
            } else if let Some((integer, scale)) = self.constant() {
                Some(FlushValues::Constant(integer, scale))
            } else {
                let scale = self.read_integers()?;
                scale.map(|scale| FlushValues::Decimal(&self.integers, scale))
            };
            let taken = match decimals {
                Some(values) => visit(FlushSeries {
                    rank: member.rank,
                    column: whole,
                    timestamps: &self.timestamps,
                    values,
                })?,
                None => {
                    self.read_values(member)?;
                    if self.samples.is_empty() {
                        continue;
                    }
                    let is_whole = self.samples.len() == self.timestamps.len();
                    self.columns += u32::from(!is_whole);
                    visit(FlushSeries {
                        rank: member.rank,
                        column: if is_whole { whole } else { self.columns },
                        timestamps: &self.samples.timestamps,
                        values: FlushValues::Floats(&self.samples.values),
                    })?
                }
            };
            if !taken {
                alone.push(member.rank);
            }
        }
        Ok(())
    }

    /// Finds the columns of a series; tells whether it has an integer in each row.
    fn find_columns(&mut self, member: &Member) -> Result<bool> {
        self.found.clear();
        for loaded in &mut self.pieces {
            let Some(position) = loaded.position_of(member) else {
                return Ok(false);
            };
            let view = loaded.view(&self.bodies)?;
            let column = view
                .integer_column(position, &mut loaded.cursor)
                .map_err(|malformed| loaded.piece.damaged(malformed))?;
            match column {
                Some(column) => self.found.push(column),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Returns the one integer of a series that never changes, and its scale.
    fn constant(&self) -> Option<(i64, u8)> {
        let first = self.found.first()?;
        let is_same = |column: &IntegerColumn| {
            column.is_constant() && column.first == first.first && column.scale == first.scale
        };
        self.found
            .iter()
            .all(is_same)
            .then_some((first.first, first.scale))
    }

    /// Reads the integers of a series at one scale, and returns that if they have one.
    fn read_integers(&mut self) -> Result<Option<u8>> {
        self.integers.clear();
        let mut scale = 0;
        for (loaded, &column) in self.pieces.iter().zip(&self.found) {
            let before = self.integers.len();
            (loaded.view(&self.bodies)?).read_integers(column, &mut self.integers);
            let (earlier, these) = self.integers.split_at_mut(before);
            let fits = match scale.cmp(&column.scale) {
                Ordering::Equal => true,
                Ordering::Less => rescale(earlier, column.scale - scale),
                Ordering::Greater => rescale(these, scale - column.scale),
            };
            if !fits {
                return Ok(None);
            }
            scale = scale.max(column.scale);
        }
        Ok(Some(scale))
    }

    /// Reads whatever a series has.
    fn read_values(&mut self, member: &Member) -> Result<()> {
        self.samples.clear();
        for loaded in &self.pieces {
            let Some(position) = loaded.position_of(member) else {
                continue;
            };
            (loaded.view(&self.bodies)?)
                .read_all(position, &mut self.scratch, &mut self.samples)
                .map_err(|malformed| loaded.piece.damaged(malformed))?;
        }
        Ok(())
    }
}

impl Loaded {
    fn view<'a>(&self, bodies: &'a [u8]) -> Result<PieceView<'a>> {
        PieceView::new(self.piece.header, &bodies[self.body.clone()])
            .map_err(|malformed| self.piece.damaged(malformed))
    }

    fn position_of(&self, member: &Member) -> Option<usize> {
        let layout = &self.piece.layout;
        layout.position_of(member.id, usize::from(member.position))
    }
}

/// Gives integers `digits` more behind the point. Tells whether they stand for the same values, which they do where both
/// are exact as floats.
fn rescale(integers: &mut [i64], digits: u8) -> bool {
    let factor = 10i64.pow(u32::from(digits));
    integers.iter_mut().all(|integer| {
        let scaled = integer.checked_mul(factor);
        *integer = scaled.unwrap_or(0);
        scaled.is_some_and(|scaled| scaled.unsigned_abs() < 1 << 53)
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::fs::SimFs;
    use crate::head::HeadConfig;

    const RANGE_MS: i64 = 7_200_000;

    fn head() -> Arc<Head> {
        let config = HeadConfig {
            range_ms: RANGE_MS,
            series_limit: None,
            memory_limit: None,
            seals_in_memory: false,
        };
        Arc::new(Head::new(
            config,
            Arc::new(SimFs::new()),
            PathBuf::from("head"),
        ))
    }

    /// Adds a lone sample to each series, as a commit does.
    fn commit(head: &Head, slots: &[u32], sequence: u64) {
        let timestamp = sequence as i64 * 1000;
        let places = slots.iter().map(|&slot| (slot, timestamp));
        head.hide_lone(sequence, &mut places.collect());
        let mut cursor = head.lone.cursor();
        for &slot in slots {
            cursor.push(slot, timestamp, 1.0, sequence);
        }
        drop(cursor);
        head.publisher.publish(sequence);
    }

    #[test]
    fn each_sample_that_comes_during_a_flush_is_taken_up_once() {
        const SERIES: u64 = 40;
        const LATER: u64 = 25;
        let head = head();
        let numbers: Vec<String> = (0..SERIES).map(|number| format!("{number:03}")).collect();
        let slots: Vec<u32> = (1..)
            .zip(&numbers)
            .map(|(id, number)| {
                let pairs = [("__name__", "alone"), ("number", number.as_str())];
                head.define(id, pairs.into_iter())
            })
            .collect();
        commit(&head, &slots, 1);
        let view = FlushView::new(Arc::clone(&head), 1, TimeRange::new(0, RANGE_MS));
        for sequence in 2..2 + LATER {
            commit(&head, &slots, sequence);
        }
        let mut samples = Samples::default();
        for &slot in view.slots() {
            samples.clear();
            view.read_alone(slot, &mut samples).unwrap();
            assert_eq!(samples.timestamps, [1000]);
        }
        assert_eq!(view.slots().len() as u64, SERIES);
        assert_eq!(view.hidden.lock().taken() as u64, SERIES * LATER);
    }
}
