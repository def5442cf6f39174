//! The series of a run of slots.

use crate::time::Timestamp;

use super::PAGE;
use super::blocks::Blocks;
use super::closed::ClosedChunk;
use super::cursor::Announced;
use super::front::Front;
use super::pending::Pending;
use super::series::LoneSeries;
use super::snapshot::Snapshot;
use super::stream::Stream;

/// No series of the page has this place.
const NO_PLACE: u16 = u16::MAX;

/// The series of a run of slots.
#[derive(Debug)]
pub(super) struct Page {
    /// Where in `fronts` and `streams` a slot's are: most series are in rows only and take two bytes here.
    places: [u16; PAGE],
    fronts: Vec<Front>,
    /// Without the samples in `pending`.
    streams: Vec<Stream>,
    free: Vec<u16>,
    pending: Pending,
    /// Of the samples that are or were in `streams`.
    newest_sequence: u64,
    /// How many of the samples in `pending` belong to the snapshot that is to be taken before anything else changes, and
    /// their newest sequence.
    marked: Option<(usize, u64)>,
    snapshot: Option<Snapshot>,
    /// What the streams hold beyond themselves, once it was added up; commits seldom change it.
    heap_bytes: Option<usize>,
}

/// Places that follow each other, as many as there are samples: the first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row(u16);

impl Row {
    fn places(self, count: usize) -> std::ops::Range<usize> {
        let first = usize::from(self.0);
        first..first + count
    }
}

/// Announces samples, each with the front and the place of its series, up to the first one that is not in order; returns
/// how many.
#[inline(always)]
fn announce<'a>(
    samples: impl Iterator<Item = ((&'a mut Front, u16), Timestamp)>,
    by: u32,
    announced: &mut [Announced],
) -> usize {
    let mut count = 0;
    for (((front, place), timestamp), announced) in samples.zip(announced) {
        let Some(before) = front.reserve(timestamp, by) else {
            break;
        };
        *announced = Announced {
            before,
            place,
            scale_hint: front.scale_hint,
        };
        count += 1;
    }
    count
}

/// Whom to tell of a chunk that was closed: its slot within the page, and its bytes.
pub(super) type NoteClosed<'a> = &'a mut dyn FnMut(u16, usize);

impl Page {
    pub(super) fn new() -> Self {
        Self {
            places: [NO_PLACE; PAGE],
            fronts: Vec::new(),
            streams: Vec::new(),
            free: Vec::new(),
            pending: Pending::default(),
            newest_sequence: 0,
            marked: None,
            snapshot: None,
            heap_bytes: None,
        }
    }

    fn place_of(&self, slot: u32) -> Option<usize> {
        let place = self.places[slot as usize % PAGE];
        (place != NO_PLACE).then_some(usize::from(place))
    }

    #[inline]
    fn place(&mut self, slot: u32) -> u16 {
        match self.places[slot as usize % PAGE] {
            NO_PLACE => self.add(slot),
            place => place,
        }
    }

    #[cold]
    fn add(&mut self, slot: u32) -> u16 {
        let slot = (slot as usize % PAGE) as u16;
        let front = Front::new(slot);
        let place = match self.free.pop() {
            Some(place) => {
                self.fronts[usize::from(place)] = front;
                place
            }
            None => {
                self.fronts.push(front);
                self.streams.push(Stream::new());
                (self.fronts.len() - 1) as u16
            }
        };
        self.places[usize::from(slot)] = place;
        place
    }

    /// Returns the front of a slot's series; one that has no lone samples begins without any.
    #[inline]
    pub(super) fn front(&mut self, slot: u32) -> &mut Front {
        let place = self.place(slot);
        &mut self.fronts[usize::from(place)]
    }

    pub(super) fn get_front(&self, slot: u32) -> Option<&Front> {
        Some(&self.fronts[self.place_of(slot)?])
    }

    /// Returns the place of the first series if the samples are of series that follow each other in slots and places: those
    /// that were created together do.
    #[inline]
    pub(super) fn find_row(&self, samples: &[(u32, Timestamp)]) -> Option<Row> {
        let &(slot, _) = samples.first()?;
        let start = slot as usize % PAGE;
        let places = self.places.get(start..start + samples.len())?;
        let first = *places.first()?;
        if first == NO_PLACE {
            return None;
        }
        // Looks at all of them: an end on the way would cost more than it saves.
        let slots = (slot..).zip(samples);
        let are_slots = slots.fold(true, |all, (slot, sample)| all & (slot == sample.0));
        let are_places = (first..).zip(places);
        let are_places = are_places.fold(true, |all, (place, known)| all & (place == *known));
        (are_slots && are_places).then_some(Row(first))
    }

    /// Announces samples for `by` and puts what is known of each then into `announced`, of which there are as many; answers
    /// how many are in order, up to the first one that is not.
    pub(super) fn announce(
        &mut self,
        samples: &[(u32, Timestamp)],
        row: Option<Row>,
        by: u32,
        announced: &mut [Announced],
    ) -> usize {
        let timestamps = samples.iter().map(|&(_, timestamp)| timestamp);
        if let Some(row) = row {
            let fronts = &mut self.fronts[row.places(samples.len())];
            let fronts = fronts.iter_mut().zip(row.0..);
            return announce(fronts.zip(timestamps), by, announced);
        }
        let mut count = 0;
        for &(slot, timestamp) in samples {
            let place = self.place(slot);
            let front = &mut self.fronts[usize::from(place)];
            let one = std::iter::once(((front, place), timestamp));
            if announce(one, by, &mut announced[count..]) == 0 {
                break;
            }
            count += 1;
        }
        count
    }

    /// Adds samples, as many values as slots and timestamps. [`Page::is_due`] tells when to drain the page.
    pub(super) fn push(&mut self, samples: &[(u32, Timestamp)], values: &[f64], sequence: u64) {
        for &(slot, timestamp) in samples {
            self.front(slot).note_newest(timestamp);
        }
        let places = &self.places;
        let samples = samples.iter();
        let samples = samples.map(|&(slot, time)| (places[slot as usize % PAGE], time));
        self.pending.extend(samples, values, sequence);
    }

    /// Adds samples that `by` has announced and settles that, like [`Page::push`].
    pub(super) fn push_announced(
        &mut self,
        samples: &[(u32, Timestamp)],
        row: Option<Row>,
        announced: &[Announced],
        values: &[f64],
        sequence: u64,
        by: u32,
    ) {
        let times = samples.iter().map(|&(_, time)| time);
        if let Some(row) = row {
            let places = row.places(samples.len());
            for (front, announced) in self.fronts[places].iter_mut().zip(announced) {
                front.settle(by);
                front.scale_hint = announced.scale_hint;
            }
            let places = row.0..row.0 + samples.len() as u16;
            self.pending.extend(places.zip(times), values, sequence);
            return;
        }
        for announced in announced {
            let front = &mut self.fronts[usize::from(announced.place)];
            front.settle(by);
            front.scale_hint = announced.scale_hint;
        }
        let places = announced.iter().map(|announced| announced.place);
        self.pending.extend(places.zip(times), values, sequence);
    }

    /// Tells whether enough samples have gathered to give them to their series.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        self.pending.is_due(self.streams.len())
    }

    /// Gives the samples that have gathered to their series. What changes a series comes after this.
    #[inline]
    pub(super) fn drain(&mut self, range_ms: i64, blocks: &mut Blocks, note: NoteClosed<'_>) {
        if self.marked.is_some() {
            self.snapshot = self.take_snapshot(range_ms, blocks, note);
        }
        if !self.pending.is_empty() {
            let (count, sequence) = (self.pending.len(), self.pending.sequence());
            self.drain_first(count, sequence, range_ms, blocks, note);
        }
    }

    /// Gives the first samples to their series; none of them has a newer sequence.
    fn drain_first(
        &mut self,
        count: usize,
        sequence: u64,
        range_ms: i64,
        blocks: &mut Blocks,
        note: NoteClosed<'_>,
    ) {
        self.newest_sequence = self.newest_sequence.max(sequence);
        let (fronts, streams) = (&self.fronts, self.streams.as_mut_slice());
        let mut is_rest_same = true;
        self.pending.take(count, streams.len(), |place, samples| {
            let closed = streams[place].push_all(samples, sequence, range_ms, blocks);
            if let Some(bytes) = closed {
                is_rest_same = false;
                note(fronts[place].slot, bytes);
            }
        });
        if !is_rest_same {
            self.heap_bytes = None;
        }
    }

    /// Sets the moment of the next snapshot: now.
    pub(super) fn mark(&mut self) {
        self.marked = Some((self.pending.len(), self.pending.sequence()));
        self.snapshot = None;
    }

    /// Takes the snapshot, unless a change has had it taken; there is one after [`Page::mark`].
    pub(super) fn take_snapshot(
        &mut self,
        range_ms: i64,
        blocks: &mut Blocks,
        note: NoteClosed<'_>,
    ) -> Option<Snapshot> {
        let Some((count, sequence)) = self.marked.take() else {
            return self.snapshot.take();
        };
        self.drain_first(count, sequence, range_ms, blocks, note);
        let mut snapshot = Snapshot::default();
        for (slot, &place) in (0..).zip(&self.places) {
            if place == NO_PLACE {
                continue;
            }
            let stream = &self.streams[usize::from(place)];
            snapshot.add(slot, |bytes| stream.write(blocks, bytes));
        }
        Some(snapshot)
    }

    /// Forgets that a snapshot was wanted.
    pub(super) fn unmark(&mut self) {
        (self.marked, self.snapshot) = (None, None);
    }

    pub(super) fn is_drained(&self) -> bool {
        self.pending.is_empty()
    }

    /// Returns a slot's series, if it has lone samples or a floor. The page is drained.
    pub(super) fn get<'a>(&'a self, slot: u32, blocks: &'a Blocks) -> Option<LoneView<'a>> {
        debug_assert!(self.is_drained(), "what gathers is not seen");
        let place = self.place_of(slot)?;
        Some(LoneView {
            front: &self.fronts[place],
            stream: &self.streams[place],
            blocks,
        })
    }

    pub(super) fn stream_mut(&mut self, slot: u32) -> Option<&mut Stream> {
        debug_assert!(
            self.is_drained(),
            "what gathers would come twice or too late"
        );
        let place = self.place_of(slot)?;
        self.heap_bytes = None;
        Some(&mut self.streams[place])
    }

    /// Notes that a series has samples up to `newest`, which are not here.
    pub(super) fn note_newest(&mut self, slot: u32, newest: Timestamp) {
        let place = usize::from(self.place(slot));
        self.fronts[place].note_newest(newest);
        self.streams[place].note_newest(newest);
    }

    /// Puts a chunk back.
    pub(super) fn restore_closed(&mut self, slot: u32, chunk: ClosedChunk) {
        self.newest_sequence = self.newest_sequence.max(chunk.last_sequence);
        self.note_newest(slot, chunk.last);
        if let Some(stream) = self.stream_mut(slot) {
            stream.restore_closed(chunk);
        }
    }

    /// Adds what another part of a checkpoint knows of a series.
    pub(super) fn restore(&mut self, slot: u32, series: LoneSeries, blocks: &mut Blocks) {
        self.newest_sequence = self.newest_sequence.max(series.newest_sequence());
        self.note_newest(slot, series.newest);
        if let Some(stream) = self.stream_mut(slot) {
            stream.restore(series, blocks);
        }
    }

    /// Returns the newest sequence of the samples that are or were here.
    pub(super) fn newest_sequence(&self) -> u64 {
        self.newest_sequence.max(self.pending.sequence())
    }

    pub(super) fn remove(&mut self, slot: u32, blocks: &mut Blocks) {
        debug_assert!(self.is_drained(), "what gathers would go to another series");
        let Some(place) = self.place_of(slot) else {
            return;
        };
        self.streams[place].drop_open(blocks);
        self.streams[place] = Stream::new();
        self.places[slot as usize % PAGE] = NO_PLACE;
        self.free.push(place as u16);
    }

    /// Visits all series; the page is drained.
    pub(super) fn for_each<'a>(
        &'a self,
        blocks: &'a Blocks,
        mut visit: impl FnMut(u16, LoneView<'a>),
    ) {
        for slot in 0..PAGE as u16 {
            if let Some(series) = self.get(u32::from(slot), blocks) {
                visit(slot, series);
            }
        }
    }

    /// Returns the streams of all series, in no order; the page is drained.
    pub(super) fn streams(&self) -> &[Stream] {
        &self.streams
    }

    /// Returns the streams of all series to change them; the page is drained.
    pub(super) fn streams_mut(&mut self) -> &mut [Stream] {
        self.heap_bytes = None;
        &mut self.streams
    }

    /// Drops closed chunks that lie before `boundary` and hold nothing after `sequence`, and series with nothing left.
    pub(super) fn truncate(&mut self, boundary: Timestamp, sequence: u64, blocks: &mut Blocks) {
        for slot in 0..PAGE as u32 {
            if let Some(stream) = self.stream_mut(slot) {
                stream.truncate(boundary, sequence);
            }
            if self
                .get(slot, blocks)
                .is_some_and(|series| !series.is_needed(boundary))
            {
                self.remove(slot, blocks);
            }
        }
    }

    /// Returns the number of series.
    pub(super) fn len(&self) -> usize {
        self.streams.len() - self.free.len()
    }

    pub(super) fn memory_bytes(&mut self) -> usize {
        let streams = &self.streams;
        let heap_bytes = *self
            .heap_bytes
            .get_or_insert_with(|| streams.iter().map(Stream::heap_bytes).sum());
        size_of::<Self>()
            + self.fronts.capacity() * size_of::<Front>()
            + self.streams.capacity() * size_of::<Stream>()
            + self.free.capacity() * size_of::<u16>()
            + self.pending.memory_bytes()
            + self.snapshot.as_ref().map_or(0, Snapshot::memory_bytes)
            + heap_bytes
    }
}

/// A series where it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoneView<'a> {
    front: &'a Front,
    pub(super) stream: &'a Stream,
    pub(super) blocks: &'a Blocks,
}

impl LoneView<'_> {
    /// Returns the timestamp of the newest sample, or of the newest row in a group the series left.
    pub(crate) fn newest(&self) -> Option<Timestamp> {
        (self.front.newest != i64::MIN || self.has_samples()).then_some(self.front.newest)
    }

    pub(crate) fn has_samples(&self) -> bool {
        self.stream.has_samples()
    }

    pub(super) fn is_needed(&self, boundary: Timestamp) -> bool {
        self.has_samples() || self.newest().is_some_and(|newest| newest >= boundary)
    }

    /// Copies what a reader needs.
    pub(super) fn copy(&self) -> LoneSeries {
        self.stream.copy(self.blocks)
    }
}
