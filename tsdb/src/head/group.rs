//! A group of series that are scraped together: its state, its open rows, its pieces.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;

use crate::encoding::Malformed;
use crate::error::Result;
use crate::frame::{Base, RowSection, parse_row};
use crate::piece::{PieceEncoder, PieceRow};
use crate::row::{RowState, RowView};
use crate::time::{TimeRange, Timestamp};

use super::layout::Layout;
use super::memory::OVERHEAD_BYTES;
use super::open_rows::OpenRows;
use super::order::ScrapeOrder;
use super::piece_files::{Piece, PieceFiles};

/// Rows after which a group is sealed. 32 rows cost 57 bytes a series while they are open; 64 cost half as much again
/// and save nothing that is kept, because a flush joins the pieces of a block anyway.
const ROWS_SEALED: usize = 32;

/// Rows a piece can hold. More are open only if sealing has failed for long.
const PIECE_ROWS_MAX: usize = u16::MAX as usize;

/// Open bytes for each series after which a group is sealed early: noise does not compress, so waiting only costs memory.
const OPEN_BYTES_PER_SERIES: usize = 128;

/// Rows in a row that hold less than a quarter of the group, after which the layout is made anew.
pub(crate) const THIN_ROWS_MAX: u8 = 4;

/// Absent positions in rows for each series of a layout, beyond which the next layout pays: it takes some three bytes of the
/// log for each series.
const ABSENCES_PER_SERIES: usize = 2;

/// Series that room is made for when some join.
const JOINERS_EXPECTED: usize = 16;

/// A group. Whoever commits to it holds the upgradable lock from looking at the state to applying the row; readers
/// hold the shared lock while they copy. Groups are locked in ascending order of their index; the log, the piece files
/// and the lone stripes are locked after them.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: u64,
    pub(crate) state: RwLock<GroupState>,
}

/// What a group holds.
#[derive(Debug)]
pub(crate) struct GroupState {
    pub(crate) layout: Arc<Layout>,
    pub(crate) state: RowState,
    /// The state fits the newest row. False after a restart until the log gives a base.
    pub(crate) is_known: bool,
    /// Timestamp of the newest row, [`i64::MIN`] before the first.
    pub(crate) last_timestamp: Timestamp,
    /// No member has a sample newer than this, in a row or alone.
    pub(crate) newest: Timestamp,
    /// Number of the newest row or layout, modulo 65536: both count.
    pub(crate) chain: u16,
    /// The segment of the log that has a base for the present layout; 0 for none.
    pub(crate) segment: u64,
    /// Positions whose newest row is older than the newest row of the group, with its timestamp.
    pub(crate) absentees: BTreeMap<u16, Timestamp>,
    /// How the series of the latest scrape stood, if not as in the layout.
    pub(crate) order: Option<ScrapeOrder>,
    /// Rows that are not sealed, each as wide as the layout was. Readers share them; a row that comes meanwhile goes to a copy.
    pub(crate) open: Arc<OpenRows>,
    #[expect(
        clippy::rc_buffer,
        reason = "readers share the list, and the group appends to it while nobody does"
    )]
    pub(crate) pieces: Arc<Vec<Arc<Piece>>>,
    /// Above this sequence no row is in a piece; below it [`GroupState::is_sealed`] tells.
    pub(crate) sealed_through: u64,
    /// Absent positions of all rows of this layout.
    absences: usize,
    /// How many of the last commits held less than a quarter of the group.
    pub(crate) thin_rows: u8,
    /// Rows that were read behind a lost frame and wait for the next base.
    waiting: Vec<WaitingRow>,
}

#[derive(Debug)]
struct WaitingRow {
    sequence: u64,
    timestamp_delta: i64,
    chain: u16,
    joiners: Vec<u64>,
    row: Vec<u8>,
}

/// A row does not fit the state that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowFault {
    /// A frame before it is lost: the row waits for the next base.
    Gap,
    /// Its bytes are no row of this width.
    Malformed(Malformed),
}

impl Group {
    pub(crate) fn new(id: u64, layout: Arc<Layout>) -> Self {
        Self {
            id,
            state: RwLock::new(GroupState::new(layout)),
        }
    }
}

impl GroupState {
    fn new(layout: Arc<Layout>) -> Self {
        let n = layout.len();
        Self {
            state: RowState::new(n),
            is_known: true,
            last_timestamp: i64::MIN,
            newest: i64::MIN,
            chain: 0,
            segment: 0,
            absentees: BTreeMap::new(),
            order: None,
            open: Arc::default(),
            pieces: Arc::new(Vec::new()),
            sealed_through: 0,
            absences: 0,
            thin_rows: 0,
            waiting: Vec::new(),
            layout,
        }
    }

    /// Returns the timestamp of a member's newest row, if it has one.
    pub(crate) fn newest_row_of(&self, position: u16) -> Option<Timestamp> {
        let newest = self
            .absentees
            .get(&position)
            .copied()
            .unwrap_or(self.last_timestamp);
        (newest != i64::MIN).then_some(newest)
    }

    /// Takes the row of the frame `sequence` up: the same for a commit and for replay.
    pub(crate) fn apply_row(
        &mut self,
        sequence: u64,
        section: &RowSection<'_>,
    ) -> Result<(), RowFault> {
        if !self.is_known || section.chain != self.chain.wrapping_add(1) {
            self.is_known = false;
            self.waiting.push(WaitingRow {
                sequence,
                timestamp_delta: section.timestamp_delta,
                chain: section.chain,
                joiners: section.joiners.ids(),
                row: section.row.to_vec(),
            });
            return Err(RowFault::Gap);
        }
        let view = section
            .parse(self.layout.len())
            .map_err(RowFault::Malformed)?;
        if !section.joiners.is_empty() {
            self.grow(&section.joiners.ids());
        }
        let timestamp = section.timestamp_after(self.last_timestamp);
        self.note_presence(&view, timestamp);
        view.apply(&mut self.state);
        self.chain = section.chain;
        self.last_timestamp = timestamp;
        self.newest = self.newest.max(timestamp);
        if !self.is_sealed(sequence, timestamp) {
            Arc::make_mut(&mut self.open).push(
                timestamp,
                sequence,
                self.layout.len() as u16,
                section.row,
            );
        }
        Ok(())
    }

    /// Puts series behind the others. Rows before stay as they are: narrower.
    fn grow(&mut self, joiners: &[u64]) {
        let width = self.layout.len() + joiners.len();
        // Doubling would leave half of the states of all groups unused.
        let spare = joiners.len().max(JOINERS_EXPECTED);
        if self.state.integers.capacity() < width {
            self.state.integers.reserve_exact(spare);
            self.state.scales.reserve_exact(spare);
        }
        self.state.integers.resize(width, 0);
        self.state.scales.resize(width, 0);
        self.layout = Arc::new(self.layout.grown(joiners));
        self.order = None;
    }

    /// Tells whether it is time to make the order of the latest scrape the layout: `joiners_max` have joined, or half of
    /// them, or the rows say so often who is absent that another layout costs less. The latter wait until no row is open.
    pub(crate) fn is_order_due(&self, joiners_max: usize) -> bool {
        let joined = self.layout.joined();
        let is_worth_it =
            joined * 2 >= joiners_max || self.absences >= ABSENCES_PER_SERIES * self.layout.len();
        self.order.is_some() && (joined >= joiners_max || is_worth_it && self.open.len() == 0)
    }

    /// Tells whether a row is in a piece. A piece covers a run of rows: all of the group between its first and its last.
    fn is_sealed(&self, sequence: u64, timestamp: Timestamp) -> bool {
        if sequence > self.sealed_through {
            return false;
        }
        // One frame may hold several rows, so the sequence alone does not tell.
        let from = self
            .pieces
            .partition_point(|piece| piece.header.last_sequence < sequence);
        let candidates = self.pieces[from..].iter().map(|piece| &piece.header);
        candidates
            .take_while(|header| header.first_sequence <= sequence)
            .any(|header| (header.first_timestamp..=header.last_timestamp).contains(&timestamp))
    }

    /// Tells whether open rows must be sealed before replay takes up a row that is in a piece already: they walk back from
    /// a state that moves on without an open row. That is so where a piece before it was damaged and the log still has it.
    pub(crate) fn must_seal_before_row(&self, sequence: u64, section: &RowSection<'_>) -> bool {
        self.open.len() > 0
            && self.is_sealed(sequence, section.timestamp_after(self.last_timestamp))
    }

    fn note_presence(&mut self, view: &RowView<'_>, timestamp: Timestamp) {
        if view.is_full() && self.absentees.is_empty() {
            return;
        }
        let before = self.last_timestamp;
        debug_assert!(timestamp > before);
        // Nearly always both lists are the same.
        let mut known = self.absentees.keys().copied().peekable();
        let (mut leaving, mut back) = (Vec::new(), Vec::new());
        view.for_each_absent(|position| {
            self.absences += 1;
            let position = position as u16;
            back.extend(std::iter::from_fn(|| {
                known.next_if(|known| *known < position)
            }));
            if known.next_if_eq(&position).is_none() {
                leaving.push(position);
            }
        });
        back.extend(known);
        for position in back {
            self.absentees.remove(&position);
        }
        for position in leaving {
            self.absentees.insert(position, before);
        }
    }

    /// Tells whether the open rows must be sealed before `base` is taken up: they walk back from the present state. The
    /// base is of a later one if the group's last rows before it are lost.
    pub(crate) fn must_seal_before(&self, base: &Base) -> bool {
        let is_present = self.is_known && self.chain == base.chain && self.layout.is(&base.ids);
        self.open.len() > 0 && !is_present
    }

    /// Takes a base up: the layout and the whole state become what it says.
    ///
    /// Rows that wait for it are walked back from it. The answer counts those that stay lost, and names members of the
    /// old layout that the new one does not have, with their newest timestamps.
    pub(crate) fn apply_base(&mut self, base: &Base, segment: u64) -> BaseOutcome {
        debug_assert!(!self.must_seal_before(base));
        let mut leaving = Vec::new();
        if !self.layout.is(&base.ids) {
            let layout = self.layout.changed_to(base.ids.clone());
            leaving = self.leaving(&layout);
            self.set_layout(Arc::new(layout));
        }
        let lost_rows = self.recover(base);
        self.state.clone_from(&base.state);
        self.is_known = true;
        self.last_timestamp = base.last_timestamp;
        self.newest = self.newest.max(base.last_timestamp);
        self.chain = base.chain;
        self.segment = segment;
        self.absentees = base.absentees.iter().copied().collect();
        BaseOutcome { lost_rows, leaving }
    }

    /// Returns members that `next` does not have, with the timestamps of their newest rows, [`i64::MIN`] for none.
    fn leaving(&self, next: &Layout) -> Vec<(u64, Timestamp)> {
        let members = self.layout.iter().enumerate();
        let newest_of = |position: usize, id| {
            if self.is_known {
                self.newest_row_of(position as u16)
            } else {
                // No row is open.
                self.newest_sealed_of(id, position)
            }
        };
        members
            .filter(|&(position, id)| next.position_of(id, position).is_none())
            .map(|(position, id)| (id, newest_of(position, id).unwrap_or(i64::MIN)))
            .collect()
    }

    /// Returns the timestamp of the newest row in a piece that has a sample of a series. Of a piece that does not decode it
    /// may be any: the last.
    fn newest_sealed_of(&self, id: u64, hint: usize) -> Option<Timestamp> {
        self.pieces.iter().rev().find_map(|piece| {
            let position = piece.layout.position_of(id, hint)?;
            let newest = piece.with_view(|view| view.last_timestamp_of(position));
            newest.unwrap_or(Some(piece.header.last_timestamp))
        })
    }

    /// Notes who is absent from the newest row, where the log did not tell: all rows are in pieces.
    fn note_absentees(&mut self) {
        let Some(newest) = self.pieces.last() else {
            return;
        };
        self.last_timestamp = self.last_timestamp.max(newest.header.last_timestamp);
        let has_last_row = newest.header.last_timestamp == self.last_timestamp
            && newest.layout.is_same(&self.layout);
        let absent = has_last_row.then(|| newest.with_view(|view| view.absent_from_last_row()));
        let all = || (0..self.layout.len() as u16).collect();
        let absent = absent.and_then(Result::ok).unwrap_or_else(all);
        let absentees = absent.into_iter().filter_map(|position| {
            let id = self.layout.get(usize::from(position))?;
            let newest = self.newest_sealed_of(id, usize::from(position));
            Some((position, newest.unwrap_or(i64::MIN)))
        });
        self.absentees = absentees
            .filter(|(_, newest)| *newest != self.last_timestamp)
            .collect();
    }

    fn set_layout(&mut self, layout: Arc<Layout>) {
        OpenRows::restart(&mut self.open);
        self.layout = layout;
        self.order = None;
        self.absences = 0;
    }

    /// Walks rows that wait back from the base behind them; returns how many cannot be.
    ///
    /// As layouts count in the chain, a row without a gap to the base is of the base's layout, or of one that grew to it by
    /// the rows in between.
    fn recover(&mut self, base: &Base) -> usize {
        let waiting = std::mem::take(&mut self.waiting);
        let mut chain = base.chain;
        let mut timestamp = base.last_timestamp;
        let mut ids = &base.ids[..];
        let mut found = Vec::new();
        for row in waiting.iter().rev() {
            let Some(before) = ids.strip_suffix(&row.joiners[..]) else {
                break;
            };
            if row.chain != chain || parse_row(&row.row, before.len(), row.joiners.len()).is_err() {
                break;
            }
            found.push((timestamp, row.sequence, ids.len() as u16, &row.row));
            timestamp = timestamp.wrapping_sub(row.timestamp_delta);
            chain = chain.wrapping_sub(1);
            ids = before;
        }
        // Open rows are the newest ones without a gap.
        let open = found
            .iter()
            .position(|(timestamp, sequence, ..)| self.is_sealed(*sequence, *timestamp))
            .unwrap_or(found.len());
        let left = found[open..].iter();
        let left = left.filter(|(timestamp, sequence, ..)| !self.is_sealed(*sequence, *timestamp));
        let lost = self.count_lost(&waiting[..waiting.len() - found.len()]) + left.count();
        for (timestamp, sequence, width, row) in found[..open].iter().rev() {
            Arc::make_mut(&mut self.open).push(*timestamp, *sequence, *width, row);
        }
        lost
    }

    /// Returns how many of some rows that waited are in no piece. Their timestamps are not known: where a frame has several
    /// rows of which only some may be sealed, all count.
    fn count_lost(&self, waiting: &[WaitingRow]) -> usize {
        let frames = waiting.chunk_by(|a, b| a.sequence == b.sequence);
        let lost = frames.filter(|rows| {
            let sequence = rows[0].sequence;
            !self.pieces.iter().any(|piece| {
                let (first, last) = (piece.header.first_sequence, piece.header.last_sequence);
                (first..=last).contains(&sequence)
                    && (rows.len() == 1 || sequence != first && sequence != last)
            })
        });
        lost.map(<[_]>::len).sum()
    }

    /// Ends a replay; returns rows whose base never came. The open rows must have been sealed if the state is not known.
    ///
    /// A group the log told nothing of begins with an empty state: its next row is preceded by a base anyway.
    pub(crate) fn finish_replay(&mut self) -> u64 {
        let waiting = std::mem::take(&mut self.waiting);
        if !self.is_known {
            debug_assert_eq!(self.open.len(), 0);
            // The log still has these rows: the numbers that come next are none of theirs, and the next base is that of none.
            let last = waiting.last();
            self.chain = last.map_or(self.chain, |row| row.chain.wrapping_add(1));
            self.state = RowState::new(self.layout.len());
            self.note_absentees();
            self.is_known = true;
        }
        self.segment = 0;
        self.count_lost(&waiting) as u64
    }

    /// Attaches a piece of an earlier run. They come file by file; the layout is that of the newest.
    ///
    /// One that repeats a piece which is attached already is left out: where a checkpoint is lost, a file whose sync had
    /// failed may be found beside its copy.
    pub(crate) fn attach(&mut self, piece: Arc<Piece>) {
        let header = piece.header;
        if self.is_sealed(header.first_sequence, header.first_timestamp)
            || self.is_sealed(header.last_sequence, header.last_timestamp)
        {
            return;
        }
        if header.last_sequence >= self.sealed_through && !self.layout.is_same(&piece.layout) {
            self.set_layout(Arc::clone(&piece.layout));
            self.state = RowState::new(self.layout.len());
            self.absentees.clear();
        }
        self.is_known = false;
        self.last_timestamp = self.last_timestamp.max(header.last_timestamp);
        self.newest = self.newest.max(header.last_timestamp);
        self.sealed_through = self.sealed_through.max(header.last_sequence);
        self.insert_piece(piece);
    }

    /// Puts a piece in its place: they are in the order of their rows.
    fn insert_piece(&mut self, piece: Arc<Piece>) {
        let key = |piece: &Piece| (piece.header.last_sequence, piece.header.last_timestamp);
        let at = self
            .pieces
            .partition_point(|known| key(known) < key(&piece));
        Arc::make_mut(&mut self.pieces).insert(at, piece);
    }

    /// Gives the group another list of members, in memory: the next row is preceded by a base. The open rows must have
    /// been sealed. `floors` are the newest timestamps of members the group did not have before.
    ///
    /// Returns the members that leave, with their newest timestamps.
    pub(crate) fn change_layout(
        &mut self,
        ids: Vec<u64>,
        floors: &HashMap<u64, Timestamp>,
    ) -> Vec<(u64, Timestamp)> {
        debug_assert_eq!(self.open.len(), 0);
        let layout = Layout::new(ids);
        let leaving = self.leaving(&layout);
        let mut state = RowState::new(layout.len());
        let mut absentees = BTreeMap::new();
        for (position, id) in layout.iter().enumerate() {
            let newest = match self.layout.position_of(id, position) {
                Some(before) => {
                    state.integers[position] = self.state.integers[before];
                    state.scales[position] = self.state.scales[before];
                    self.newest_row_of(before as u16).unwrap_or(i64::MIN)
                }
                None => floors.get(&id).copied().unwrap_or(i64::MIN),
            };
            if newest != self.last_timestamp {
                absentees.insert(position as u16, newest);
            }
        }
        self.replace_layout(layout, state, absentees);
        leaving
    }

    /// Makes the order of the latest scrape the layout, in memory: the next row is preceded by a base. The open rows must
    /// have been sealed.
    ///
    /// Returns the members that leave, with their newest timestamps.
    pub(crate) fn settle_order(&mut self) -> Vec<(u64, Timestamp)> {
        debug_assert_eq!(self.open.len(), 0);
        let Some(order) = self.order.take() else {
            return Vec::new();
        };
        let before = &self.layout;
        let leaving = order.absent().iter().filter_map(|&position| {
            let newest = self.newest_row_of(position).unwrap_or(i64::MIN);
            Some((before.get(usize::from(position))?, newest))
        });
        let leaving = leaving.collect();
        let mut state = RowState::default();
        let mut ids = Vec::new();
        for run in order.runs() {
            let (body, tail) = before.range(run.clone());
            ids.extend_from_slice(body);
            ids.extend_from_slice(tail);
            state
                .integers
                .extend_from_slice(&self.state.integers[run.clone()]);
            state.scales.extend_from_slice(&self.state.scales[run]);
        }
        let positions = order.runs().flatten().enumerate();
        let absentees = positions.filter_map(|(position, before)| {
            let newest = self.absentees.get(&(before as u16))?;
            Some((position as u16, *newest))
        });
        let absentees = absentees.collect();
        self.replace_layout(Layout::new(ids), state, absentees);
        leaving
    }

    fn replace_layout(
        &mut self,
        layout: Layout,
        state: RowState,
        absentees: BTreeMap<u16, Timestamp>,
    ) {
        self.state = state;
        self.absentees = absentees;
        self.set_layout(Arc::new(layout));
        self.chain = self.chain.wrapping_add(1);
        self.segment = 0;
        self.thin_rows = 0;
    }

    /// Tells whether it is time to seal.
    pub(crate) fn is_due(&self, range_ms: i64) -> bool {
        let rows = self.open.rows();
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return false;
        };
        rows.len() >= ROWS_SEALED
            || self.open.size_bytes() > OPEN_BYTES_PER_SERIES * self.layout.len() + 4096
            || !TimeRange::aligned(first.timestamp, range_ms).contains(last.timestamp)
    }

    /// Seals the open rows of block ranges before that of `keep_from`; all of them for [`i64::MAX`].
    ///
    /// After an error the rows that were not sealed are still open.
    pub(crate) fn seal(
        &mut self,
        group: u64,
        keep_from: Timestamp,
        range_ms: i64,
        files: &PieceFiles,
        sealer: &mut Sealer,
    ) -> Result<()> {
        let range_of = |timestamp| TimeRange::aligned(timestamp, range_ms);
        while let Some(first) = self.open.rows().first().copied() {
            let range = range_of(first.timestamp);
            if keep_from != i64::MAX && range.contains(keep_from) {
                break;
            }
            let end = self
                .open
                .rows()
                .partition_point(|row| range.contains(row.timestamp))
                .min(PIECE_ROWS_MAX);
            sealer.encode(group, self, end);
            let piece = files.append(range, &sealer.bytes, &self.layout)?;
            self.sealed_through = self.sealed_through.max(piece.header.last_sequence);
            self.insert_piece(piece);
            OpenRows::drop_first(&mut self.open, end);
        }
        Ok(())
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let state =
            self.state.integers.capacity() * size_of::<i64>() + self.state.scales.capacity();
        let pieces = self.pieces.iter().map(|piece| piece.memory_bytes());
        let pieces = pieces.sum::<usize>() + self.pieces.capacity() * size_of::<Arc<Piece>>();
        let absentees = self.absentees.len() * 2 * size_of::<(u16, Timestamp)>();
        let waiting = self.waiting.iter();
        let waiting = waiting.map(|row| row.row.capacity() + size_of::<WaitingRow>());
        size_of::<Group>()
            + OVERHEAD_BYTES
            + state
            + pieces
            + absentees
            + waiting.sum::<usize>()
            + self.open.memory_bytes()
            + self.order.as_ref().map_or(0, ScrapeOrder::memory_bytes)
    }
}

/// Scratch memory for sealing; each committer has its own.
#[derive(Debug, Default)]
pub(crate) struct Sealer {
    encoder: PieceEncoder,
    bytes: Vec<u8>,
}

impl Sealer {
    /// Encodes the first `end` open rows of a group.
    fn encode(&mut self, group: u64, state: &GroupState, end: usize) {
        let open = &state.open;
        let row = |index: usize| PieceRow {
            timestamp: open.rows()[index].timestamp,
            sequence: open.rows()[index].sequence,
            row: open.view(index),
        };
        let rows: Vec<PieceRow<'_>> = (0..end).map(row).collect();
        let ids = state.layout.to_vec();
        self.bytes.clear();
        if end == open.len() {
            self.encoder
                .encode(group, &ids, &rows, &state.state, &mut self.bytes);
            return;
        }
        let mut earlier = state.state.clone();
        for index in (end..open.len()).rev() {
            open.view(index).invert(&mut earlier);
        }
        self.encoder
            .encode(group, &ids, &rows, &earlier, &mut self.bytes);
    }
}

/// What became of a base.
#[derive(Debug)]
pub(crate) struct BaseOutcome {
    pub(crate) lost_rows: usize,
    pub(crate) leaving: Vec<(u64, Timestamp)>,
}
