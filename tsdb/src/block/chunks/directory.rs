//! The records of the two directories: where the chunks of a series lie, and where a timestamp column lies.

use crate::encoding::{ByteReader, Malformed, put_uvarint, put_varint};
use crate::limits::CHUNK_SAMPLES_MAX;
use crate::time::Timestamp;

/// Chunks up to this size stand in the directory itself: a reference and a checksum of their own would cost as much.
pub(super) const INLINE_BYTES_MAX: usize = 12;

/// Bytes of one chunk, for a check before anything is allocated; a dense chunk of incompressible values has some 20 kB.
pub(super) const CHUNK_BYTES_MAX: usize = 1 << 20;

/// One chunk of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkEntry<'a> {
    pub(crate) form: Form,
    pub(crate) place: Place<'a>,
}

/// How a chunk is encoded, and what reading it needs to know beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Values; the timestamps are those of a column.
    Dense { column: u32 },
    /// Timestamps and values.
    Gorilla { first: Timestamp, last: Timestamp },
}

/// Where the bytes of a chunk are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    Inline(&'a [u8]),
    File { offset: u64, len: usize },
}

/// What deltas refer to; anew in each page, and times anew in each record.
#[derive(Debug, Clone, Copy)]
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

    fn pass(&mut self, offset: u64, len: usize) {
        // Behind the chunk and its checksum. A chunk stored before is pointed back at, and does not move the position.
        self.offset = self.offset.max(offset.saturating_add(len as u64 + 4));
    }
}

/// Appends the record of one series.
pub(super) fn put_series(out: &mut Vec<u8>, state: &mut State, chunks: &[ChunkEntry<'_>]) {
    state.begin_record();
    for (position, chunk) in chunks.iter().enumerate() {
        let place = match chunk.place {
            // At most INLINE_BYTES_MAX, which fits the four bits.
            Place::Inline(bytes) => PLACE_INLINE | (bytes.len() as u8) << INLINE_SHIFT,
            Place::File { offset, .. } if offset == state.offset => PLACE_NEXT,
            Place::File { .. } => PLACE_FAR,
        };
        let form = if matches!(chunk.form, Form::Gorilla { .. }) {
            GORILLA
        } else {
            0
        };
        let more = if position + 1 < chunks.len() { MORE } else { 0 };
        out.push(place | form | more);
        match chunk.form {
            Form::Dense { column } => {
                put_varint(out, i64::from(column) - i64::from(state.column));
                state.column = column;
            }
            Form::Gorilla { first, last } => {
                put_varint(out, first.wrapping_sub(state.time));
                put_uvarint(out, last.wrapping_sub(first) as u64);
                state.time = last;
            }
        }
        match chunk.place {
            Place::Inline(bytes) => out.extend_from_slice(bytes),
            Place::File { offset, len } => {
                if place == PLACE_FAR {
                    put_varint(out, offset.wrapping_sub(state.offset) as i64);
                }
                put_uvarint(out, len as u64);
                state.pass(offset, len);
            }
        }
    }
}

/// Where a record begins in its page, and what its deltas refer to.
#[derive(Debug, Clone, Copy)]
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
        RecordPlace {
            position: self.reader.position(),
            state: self.state,
        }
    }

    pub(super) fn skip(&mut self, records: u32) -> Result<(), Malformed> {
        for _ in 0..records {
            self.state.begin_record();
            while self.chunk()?.1 {}
        }
        Ok(())
    }

    /// Appends the chunks of the next record.
    pub(super) fn read(&mut self, out: &mut Vec<ChunkEntry<'a>>) -> Result<(), Malformed> {
        self.state.begin_record();
        loop {
            let (chunk, more) = self.chunk()?;
            out.push(chunk);
            if !more {
                return Ok(());
            }
        }
    }

    fn chunk(&mut self) -> Result<(ChunkEntry<'a>, bool), Malformed> {
        let reader = &mut self.reader;
        let tag = reader.u8()?;
        let inline_len = usize::from(tag >> INLINE_SHIFT & INLINE_MASK);
        let form = if tag & GORILLA == 0 {
            let column = i64::from(self.state.column).checked_add(reader.varint()?);
            let column = column.and_then(|column| u32::try_from(column).ok());
            self.state.column = column.ok_or(reader.malformed("column is out of bounds"))?;
            Form::Dense {
                column: self.state.column,
            }
        } else {
            let first = self.state.time.wrapping_add(reader.varint()?);
            let last = first.wrapping_add(reader.uvarint()? as i64);
            if last < first {
                return Err(reader.malformed("chunk ends before it begins"));
            }
            self.state.time = last;
            Form::Gorilla { first, last }
        };
        let place = match (tag & PLACE_MASK, inline_len) {
            (PLACE_INLINE, 1..=INLINE_BYTES_MAX) => Place::Inline(reader.bytes(inline_len)?),
            (PLACE_NEXT, 0) => self.file(self.state.offset)?,
            (PLACE_FAR, 0) => {
                let offset = self.state.offset.wrapping_add(reader.varint()? as u64);
                self.file(offset)?
            }
            _ => return Err(reader.malformed("no such place of a chunk")),
        };
        Ok((ChunkEntry { form, place }, tag & MORE != 0))
    }

    fn file(&mut self, offset: u64) -> Result<Place<'a>, Malformed> {
        let len = self
            .reader
            .uvarint_max(CHUNK_BYTES_MAX, "chunk is too long")?;
        self.state.pass(offset, len);
        Ok(Place::File { offset, len })
    }
}

/// One timestamp column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ColumnEntry {
    pub(super) offset: u64,
    pub(super) len: usize,
    pub(super) count: usize,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

/// Appends the record of one column.
pub(super) fn put_column(out: &mut Vec<u8>, state: &mut State, column: &ColumnEntry) {
    // Columns are written in the order of their numbers.
    put_uvarint(out, column.offset - state.offset);
    put_uvarint(out, column.len as u64);
    put_uvarint(out, column.count as u64);
    put_varint(out, column.first.wrapping_sub(state.base));
    put_uvarint(out, column.last.wrapping_sub(column.first) as u64);
    state.pass(column.offset, column.len);
}

/// Reads the record `skipped` records behind the one `reader` stands at, which is the first of a page.
pub(super) fn read_column(
    mut reader: ByteReader<'_>,
    base: Timestamp,
    skipped: u32,
) -> Result<ColumnEntry, Malformed> {
    let mut state = State::new(base);
    for _ in 0..skipped {
        take_column(&mut reader, &mut state)?;
    }
    take_column(&mut reader, &mut state)
}

fn take_column(reader: &mut ByteReader<'_>, state: &mut State) -> Result<ColumnEntry, Malformed> {
    let offset = state
        .offset
        .checked_add(reader.uvarint()?)
        .ok_or(reader.malformed("offset is out of bounds"))?;
    let len = reader.uvarint_max(CHUNK_BYTES_MAX, "column is too long")?;
    let count = reader.uvarint_max(CHUNK_SAMPLES_MAX, "column has too many timestamps")?;
    let first = state.base.wrapping_add(reader.varint()?);
    let last = first.wrapping_add(reader.uvarint()? as i64);
    if count == 0 || last < first {
        return Err(reader.malformed("column has no timestamps"));
    }
    state.pass(offset, len);
    Ok(ColumnEntry {
        offset,
        len,
        count,
        first,
        last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Timestamp = 1_000_000;

    fn records() -> Vec<Vec<ChunkEntry<'static>>> {
        let dense = |column, place| ChunkEntry {
            form: Form::Dense { column },
            place,
        };
        let gorilla = |first, last, place| ChunkEntry {
            form: Form::Gorilla { first, last },
            place,
        };
        vec![
            vec![dense(3, Place::Inline(&[1, 2, 3]))],
            vec![
                dense(
                    0,
                    Place::File {
                        offset: 16,
                        len: 100,
                    },
                ),
                dense(
                    4,
                    Place::File {
                        offset: 120,
                        len: 9,
                    },
                ),
            ],
            // Shared with the second series, then on where the file went on, with a gap.
            vec![dense(
                u32::MAX,
                Place::File {
                    offset: 16,
                    len: 100,
                },
            )],
            vec![dense(
                1,
                Place::File {
                    offset: 133,
                    len: 20,
                },
            )],
            vec![dense(
                1,
                Place::File {
                    offset: 500,
                    len: 20,
                },
            )],
            vec![
                gorilla(BASE, BASE + 5, Place::Inline(&[7; INLINE_BYTES_MAX])),
                gorilla(
                    BASE - 1,
                    i64::MAX,
                    Place::File {
                        offset: u64::MAX - 9,
                        len: 5,
                    },
                ),
            ],
            vec![gorilla(
                i64::MIN,
                i64::MAX,
                Place::File {
                    offset: 524,
                    len: 1,
                },
            )],
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
        let place = Place::File {
            offset: 16,
            len: 100,
        };
        put_series(
            &mut out,
            &mut state,
            &[ChunkEntry {
                form: Form::Dense { column: 0 },
                place,
            }],
        );
        let before = out.len();
        let place = Place::File {
            offset: 120,
            len: 100,
        };
        put_series(
            &mut out,
            &mut state,
            &[ChunkEntry {
                form: Form::Dense { column: 1 },
                place,
            }],
        );
        assert_eq!(out.len() - before, 3);
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
            let mut reader = SeriesRecords::new(ByteReader::new(&flipped), BASE);
            // Whatever it says, it says so without a panic.
            if reader.skip(count).is_ok() {
                assert!(reader.place().position <= flipped.len());
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
    fn columns_come_back_from_any_position() {
        let columns = [
            ColumnEntry {
                offset: 16,
                len: 10,
                count: 1,
                first: BASE - 1,
                last: BASE - 1,
            },
            ColumnEntry {
                offset: 30,
                len: 10,
                count: CHUNK_SAMPLES_MAX,
                first: BASE,
                last: BASE + 7_200_000,
            },
            ColumnEntry {
                offset: 1000,
                len: 1,
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
        for (skipped, expected) in columns.iter().enumerate() {
            assert_eq!(
                read_column(ByteReader::new(&bytes), BASE, skipped as u32),
                Ok(*expected)
            );
        }
        for len in 0..bytes.len() {
            assert!(read_column(ByteReader::new(&bytes[..len]), BASE, 2).is_err());
        }
    }
}
