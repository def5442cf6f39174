//! The records of the two directories: where the chunks of a series lie, and where a timestamp column lies.

use crate::chunk::dense;
use crate::encoding::{ByteReader, Malformed, put_uvarint, put_varint};
use crate::limits::CHUNK_SAMPLES_MAX;
use crate::time::Timestamp;

/// Chunks up to this size stand in the directory itself: a reference and a checksum of their own would cost as much.
pub(super) const INLINE_BYTES_MAX: usize = 12;

/// Bytes of one chunk, for a check before anything is allocated; a dense chunk of incompressible values has some 20 kB.
pub(super) const CHUNK_BYTES_MAX: usize = 1 << 20;

/// One chunk of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkEntry {
    pub(crate) form: Form,
    pub(crate) place: Place,
}

/// How a chunk is encoded, and what reading it needs to know beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Values; the timestamps are those of a column. If there is a base, they are the difference to that chunk.
    Dense { column: u32, base: Option<Extent> },
    /// Timestamps and values.
    Gorilla { first: Timestamp, last: Timestamp },
}

/// Where the bytes of a chunk are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Inline(Inline),
    File(Extent),
}

/// A chunk in the file: its bytes, with the checksum behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) len: usize,
}

/// A chunk in the directory, 1 to [`INLINE_BYTES_MAX`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inline {
    len: u8,
    bytes: [u8; INLINE_BYTES_MAX],
}

impl Extent {
    /// Returns the end of the chunk, checksum included.
    fn end(self) -> u64 {
        self.offset.saturating_add(self.len as u64 + 4)
    }
}

impl Inline {
    /// Returns `None` if the chunk is too long, or empty.
    pub(super) fn new(chunk: &[u8]) -> Option<Self> {
        let mut bytes = [0; INLINE_BYTES_MAX];
        bytes.get_mut(..chunk.len())?.copy_from_slice(chunk);
        (!chunk.is_empty()).then_some(Self {
            len: chunk.len() as u8,
            bytes,
        })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// What deltas refer to; anew in each page, and times anew in each record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    base: Timestamp,
    time: Timestamp,
    column: u32,
    offset: u64,
}

const PLACE_MASK: u8 = 0x03;
const PLACE_INLINE: u8 = 1;
const PLACE_NEXT: u8 = 2;
const PLACE_FAR: u8 = 3;
const GORILLA: u8 = 0x04;
const INLINE_SHIFT: u32 = 3;
const INLINE_MASK: u8 = 0x0f;
/// Takes the place of the length of an inline chunk, which says by itself that it is a difference.
const DIFFERENCE: u8 = 0x08;
const MORE: u8 = 0x80;

impl State {
    pub(super) fn new(base: Timestamp) -> Self {
        Self {
            base,
            time: base,
            column: 0,
            offset: 0,
        }
    }

    fn begin_record(&mut self) {
        self.time = self.base;
    }

    fn pass(&mut self, extent: Extent) {
        // A chunk stored before is pointed back at, and does not move the position.
        self.offset = self.offset.max(extent.end());
    }

    /// What the distance of a base is counted back from: the chunk itself if it is in the file.
    fn difference_at(&self, place: &Place) -> u64 {
        match place {
            Place::Inline(_) => self.offset,
            Place::File(extent) => extent.offset,
        }
    }
}

/// Appends the record of one series.
pub(super) fn put_series(out: &mut Vec<u8>, state: &mut State, chunks: &[ChunkEntry]) {
    state.begin_record();
    for (position, chunk) in chunks.iter().enumerate() {
        let more = if position + 1 < chunks.len() { MORE } else { 0 };
        put_chunk(out, state, chunk, more);
    }
}

fn put_chunk(out: &mut Vec<u8>, state: &mut State, chunk: &ChunkEntry, more: u8) {
    let (gorilla, base) = match chunk.form {
        Form::Dense { base, .. } => (0, base),
        Form::Gorilla { .. } => (GORILLA, None),
    };
    let difference = if base.is_some() { DIFFERENCE } else { 0 };
    let place = match &chunk.place {
        Place::Inline(inline) => PLACE_INLINE | inline.len << INLINE_SHIFT,
        Place::File(extent) if extent.offset == state.offset => PLACE_NEXT | difference,
        Place::File(_) => PLACE_FAR | difference,
    };
    out.push(place | gorilla | more);
    match chunk.form {
        Form::Dense { column, .. } => {
            put_varint(out, i64::from(column) - i64::from(state.column));
            state.column = column;
        }
        Form::Gorilla { first, last } => {
            put_varint(out, first.wrapping_sub(state.time));
            put_uvarint(out, last.wrapping_sub(first) as u64);
            state.time = last;
        }
    }
    match &chunk.place {
        Place::Inline(inline) => out.extend_from_slice(inline.bytes()),
        Place::File(extent) => {
            if place & PLACE_MASK == PLACE_FAR {
                put_varint(out, extent.offset.wrapping_sub(state.offset) as i64);
            }
            put_uvarint(out, extent.len as u64);
        }
    }
    if let Some(base) = base {
        let distance = state.difference_at(&chunk.place).wrapping_sub(base.offset);
        put_uvarint(out, distance);
        put_uvarint(out, base.len as u64);
    }
    if let Place::File(extent) = chunk.place {
        state.pass(extent);
    }
}

/// Where a record begins in its page, and what its deltas refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordPlace {
    position: usize,
    state: State,
}

/// Reads the records of a page of the series directory, in order.
#[derive(Debug)]
pub(super) struct SeriesRecords<'a> {
    reader: ByteReader<'a>,
    state: State,
}

impl<'a> SeriesRecords<'a> {
    pub(super) fn new(reader: ByteReader<'a>, base: Timestamp) -> Self {
        Self {
            reader,
            state: State::new(base),
        }
    }

    /// Returns a reader of what is behind `place`, which was taken from a reader of the same page.
    pub(super) fn resume(
        mut reader: ByteReader<'a>,
        place: RecordPlace,
    ) -> Result<Self, Malformed> {
        reader.bytes(place.position)?;
        Ok(Self {
            reader,
            state: place.state,
        })
    }

    /// Returns where the next record begins.
    pub(super) fn place(&self) -> RecordPlace {
        let mut state = self.state;
        state.begin_record();
        RecordPlace {
            position: self.reader.position(),
            state,
        }
    }

    pub(super) fn skip(&mut self, records: u32) -> Result<(), Malformed> {
        for _ in 0..records {
            while self.skip_chunk()? {}
        }
        Ok(())
    }

    /// Passes a chunk and tells whether another one follows. What the record is about does not matter, only what the
    /// deltas of those behind refer to.
    #[inline]
    fn skip_chunk(&mut self) -> Result<bool, Malformed> {
        let tag = self.reader.u8()?;
        if tag & GORILLA == 0 {
            self.column()?;
        } else {
            self.reader.varint()?;
            self.reader.uvarint()?;
        }
        let is_difference = match tag & PLACE_MASK {
            PLACE_INLINE => {
                let len = tag >> INLINE_SHIFT & INLINE_MASK;
                let bytes = self.reader.bytes(len.into())?;
                tag & GORILLA == 0 && dense::is_difference(bytes)
            }
            place @ (PLACE_NEXT | PLACE_FAR) => {
                let distance = match place {
                    PLACE_FAR => self.reader.varint()? as u64,
                    _ => 0,
                };
                let offset = self.state.offset.wrapping_add(distance);
                let len = self.len()?;
                self.state.pass(Extent { offset, len });
                tag & DIFFERENCE != 0
            }
            _ => return Err(self.reader.malformed("no such place of a chunk")),
        };
        if is_difference {
            self.reader.uvarint()?;
            self.reader.uvarint()?;
        }
        Ok(tag & MORE != 0)
    }

    /// Appends the chunks of the next record.
    pub(super) fn read(&mut self, out: &mut Vec<ChunkEntry>) -> Result<(), Malformed> {
        self.state.begin_record();
        loop {
            let (chunk, more) = self.chunk()?;
            out.push(chunk);
            if !more {
                return Ok(());
            }
        }
    }

    fn chunk(&mut self) -> Result<(ChunkEntry, bool), Malformed> {
        let tag = self.reader.u8()?;
        let mut form = if tag & GORILLA == 0 {
            self.dense()?
        } else {
            self.gorilla()?
        };
        let detail = tag >> INLINE_SHIFT & INLINE_MASK;
        let is_flagged = detail << INLINE_SHIFT == DIFFERENCE;
        let place = match tag & PLACE_MASK {
            PLACE_INLINE => self.inline(detail.into())?,
            PLACE_NEXT if detail == 0 || is_flagged => self.file(self.state.offset)?,
            PLACE_FAR if detail == 0 || is_flagged => {
                let distance = self.reader.varint()? as u64;
                self.file(self.state.offset.wrapping_add(distance))?
            }
            _ => return Err(self.reader.malformed("no such place of a chunk")),
        };
        let is_difference = match &place {
            Place::Inline(inline) => dense::is_difference(inline.bytes()),
            Place::File(_) => is_flagged,
        };
        match &mut form {
            Form::Dense { base, .. } if is_difference => *base = Some(self.base(&place)?),
            Form::Gorilla { .. } if is_flagged && matches!(place, Place::File(_)) => {
                return Err(self.reader.malformed("a Gorilla chunk is no difference"));
            }
            Form::Dense { .. } | Form::Gorilla { .. } => {}
        }
        if let Place::File(extent) = place {
            self.state.pass(extent);
        }
        Ok((ChunkEntry { form, place }, tag & MORE != 0))
    }

    fn dense(&mut self) -> Result<Form, Malformed> {
        let column = self.column()?;
        Ok(Form::Dense { column, base: None })
    }

    #[inline]
    fn column(&mut self) -> Result<u32, Malformed> {
        let column = i64::from(self.state.column).checked_add(self.reader.varint()?);
        let column = column.and_then(|column| u32::try_from(column).ok());
        let column = column.ok_or_else(|| self.reader.malformed("column is out of bounds"))?;
        self.state.column = column;
        Ok(column)
    }

    fn gorilla(&mut self) -> Result<Form, Malformed> {
        let first = self.state.time.wrapping_add(self.reader.varint()?);
        let last = first.wrapping_add(self.reader.uvarint()? as i64);
        if last < first {
            return Err(self.reader.malformed("chunk ends before it begins"));
        }
        self.state.time = last;
        Ok(Form::Gorilla { first, last })
    }

    fn inline(&mut self, len: usize) -> Result<Place, Malformed> {
        let inline = Inline::new(self.reader.bytes(len)?);
        let inline =
            inline.ok_or_else(|| self.reader.malformed("no such length of an inline chunk"))?;
        Ok(Place::Inline(inline))
    }

    fn file(&mut self, offset: u64) -> Result<Place, Malformed> {
        let len = self.len()?;
        Ok(Place::File(Extent { offset, len }))
    }

    fn base(&mut self, place: &Place) -> Result<Extent, Malformed> {
        let distance = self.reader.uvarint()?;
        let offset = self.state.difference_at(place).wrapping_sub(distance);
        let len = self.len()?;
        Ok(Extent { offset, len })
    }

    fn len(&mut self) -> Result<usize, Malformed> {
        self.reader
            .uvarint_max(CHUNK_BYTES_MAX, "chunk is too long")
    }
}

/// One timestamp column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ColumnEntry {
    pub(super) extent: Extent,
    pub(super) count: usize,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

/// Appends the record of one column.
pub(super) fn put_column(out: &mut Vec<u8>, state: &mut State, column: &ColumnEntry) {
    // Columns are written in the order of their numbers.
    put_uvarint(out, column.extent.offset - state.offset);
    put_uvarint(out, column.extent.len as u64);
    put_uvarint(out, column.count as u64);
    put_varint(out, column.first.wrapping_sub(state.base));
    put_uvarint(out, column.last.wrapping_sub(column.first) as u64);
    state.pass(column.extent);
}

/// Returns the `count` records of a page, of which `reader` stands at the first.
pub(super) fn read_columns(
    mut reader: ByteReader<'_>,
    base: Timestamp,
    count: u32,
) -> Result<Vec<ColumnEntry>, Malformed> {
    let mut state = State::new(base);
    (0..count)
        .map(|_| take_column(&mut reader, &mut state))
        .collect()
}

fn take_column(reader: &mut ByteReader<'_>, state: &mut State) -> Result<ColumnEntry, Malformed> {
    let offset = state
        .offset
        .checked_add(reader.uvarint()?)
        .ok_or_else(|| reader.malformed("offset is out of bounds"))?;
    let len = reader.uvarint_max(CHUNK_BYTES_MAX, "column is too long")?;
    let count = reader.uvarint_max(CHUNK_SAMPLES_MAX, "column has too many timestamps")?;
    let first = state.base.wrapping_add(reader.varint()?);
    let last = first.wrapping_add(reader.uvarint()? as i64);
    if count == 0 || last < first {
        return Err(reader.malformed("column has no timestamps"));
    }
    let extent = Extent { offset, len };
    state.pass(extent);
    Ok(ColumnEntry {
        extent,
        count,
        first,
        last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Timestamp = 1_000_000;

    fn file(offset: u64, len: usize) -> Place {
        Place::File(Extent { offset, len })
    }

    fn inline(bytes: &[u8]) -> Place {
        Place::Inline(Inline::new(bytes).unwrap())
    }

    fn dense(column: u32, place: Place) -> ChunkEntry {
        let form = Form::Dense { column, base: None };
        ChunkEntry { form, place }
    }

    fn difference(column: u32, place: Place, offset: u64, len: usize) -> ChunkEntry {
        let base = Some(Extent { offset, len });
        let form = Form::Dense { column, base };
        ChunkEntry { form, place }
    }

    fn gorilla(first: Timestamp, last: Timestamp, place: Place) -> ChunkEntry {
        let form = Form::Gorilla { first, last };
        ChunkEntry { form, place }
    }

    fn records() -> Vec<Vec<ChunkEntry>> {
        vec![
            vec![dense(3, inline(&[1, 2, 3]))],
            // At the start of a page nothing is behind: the distance wraps.
            vec![difference(3, inline(&[0xc0, 1, 1, 2]), 900, 30)],
            vec![dense(0, file(16, 100)), dense(4, file(120, 9))],
            // Shared with the series before, then on where the file went on, with a gap.
            vec![dense(u32::MAX, file(16, 100))],
            vec![
                dense(1, file(133, 20)),
                difference(1, file(157, 13), 16, 100),
            ],
            vec![difference(1, file(500, 20), 133, 20)],
            vec![difference(1, inline(&[0xe5; INLINE_BYTES_MAX]), 133, 20)],
            vec![
                // The first byte of a Gorilla chunk may be any.
                gorilla(BASE, BASE + 5, inline(&[0xff; INLINE_BYTES_MAX])),
                gorilla(BASE - 1, i64::MAX, file(u64::MAX - 9, 5)),
            ],
            vec![gorilla(i64::MIN, i64::MAX, file(524, 1))],
        ]
    }

    fn encoded() -> Vec<u8> {
        let mut out = Vec::new();
        let mut state = State::new(BASE);
        for record in records() {
            put_series(&mut out, &mut state, &record);
        }
        out
    }

    #[test]
    fn series_records_come_back_from_any_position() {
        let bytes = encoded();
        for (skipped, expected) in records().iter().enumerate() {
            let mut reader = SeriesRecords::new(ByteReader::new(&bytes), BASE);
            reader.skip(skipped as u32).unwrap();
            let mut chunks = Vec::new();
            reader.read(&mut chunks).unwrap();
            assert_eq!(&chunks, expected);
        }
    }

    #[test]
    fn neighbours_cost_few_bytes() {
        let mut out = Vec::new();
        let mut state = State::new(BASE);
        put_series(&mut out, &mut state, &[dense(0, file(16, 100))]);
        let before = out.len();
        put_series(&mut out, &mut state, &[dense(1, file(120, 100))]);
        assert_eq!(out.len() - before, 3);
        put_series(
            &mut out,
            &mut state,
            &[difference(1, file(224, 50), 120, 100)],
        );
        assert_eq!(out.len() - before, 3 + 5);
    }

    #[test]
    fn only_dense_chunks_are_differences() {
        let mut out = Vec::new();
        put_series(
            &mut out,
            &mut State::new(BASE),
            &[gorilla(BASE, BASE, file(0, 9))],
        );
        assert_eq!(out[0], PLACE_NEXT | GORILLA);
        out[0] |= DIFFERENCE;
        out.extend([0, 9]);
        assert!(
            SeriesRecords::new(ByteReader::new(&out), BASE)
                .read(&mut Vec::new())
                .is_err()
        );
    }

    #[test]
    fn truncated_and_altered_series_records_do_not_panic() {
        let bytes = encoded();
        let count = records().len() as u32;
        for len in 0..bytes.len() {
            let mut reader = SeriesRecords::new(ByteReader::new(&bytes[..len]), BASE);
            assert!(reader.skip(count).is_err());
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let mut skipping = SeriesRecords::new(ByteReader::new(&flipped), BASE);
            let mut reading = SeriesRecords::new(ByteReader::new(&flipped), BASE);
            // Whatever it says, it says so without a panic, and skipping leads to where reading does.
            for _ in 0..count {
                let skipped = skipping.skip(1);
                if reading.read(&mut Vec::new()).is_err() {
                    break;
                }
                assert_eq!(skipped, Ok(()));
                assert_eq!(skipping.place(), reading.place());
                assert!(skipping.place().position <= flipped.len());
            }
        }
    }

    #[test]
    fn zeros_are_not_a_record() {
        assert!(
            SeriesRecords::new(ByteReader::new(&[0; 64]), BASE)
                .skip(1)
                .is_err()
        );
    }

    #[test]
    fn columns_of_a_page_come_back() {
        let columns = [
            ColumnEntry {
                extent: Extent {
                    offset: 16,
                    len: 10,
                },
                count: 1,
                first: BASE - 1,
                last: BASE - 1,
            },
            ColumnEntry {
                extent: Extent {
                    offset: 30,
                    len: 10,
                },
                count: CHUNK_SAMPLES_MAX,
                first: BASE,
                last: BASE + 7_200_000,
            },
            ColumnEntry {
                extent: Extent {
                    offset: 1000,
                    len: 1,
                },
                count: 2,
                first: i64::MIN,
                last: i64::MAX,
            },
        ];
        let mut bytes = Vec::new();
        let mut state = State::new(BASE);
        for column in &columns {
            put_column(&mut bytes, &mut state, column);
        }
        let read = |bytes| read_columns(ByteReader::new(bytes), BASE, columns.len() as u32);
        assert_eq!(read(&bytes).as_deref(), Ok(&columns[..]));
        for len in 0..bytes.len() {
            assert!(read(&bytes[..len]).is_err());
        }
    }
}
