//! Chunks encoded in any order, to be written in label order.
//!
//! A flush reads whole groups, whose series are spread over all of the block. What it encodes waits here, and
//! [`ChunksWriter::add_from`](super::ChunksWriter::add_from) takes it series by series.

use std::hash::BuildHasher;
use std::ops::Range;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::chunk::dense;
use crate::error::{Error, Result};
use crate::limits::CHUNK_SAMPLES_MAX;
use crate::time::Timestamp;

use super::directory::Inline;
use super::writer::{are_same_bits, split_evenly};

/// The encoded chunks of some series.
pub(crate) struct ChunkBatch {
    encoder: dense::Encoder,
    /// By the rank of the series: its first chunk, and how many it has.
    series: Vec<(u32, u32)>,
    chunks: Vec<BatchChunk>,
    columns: Vec<Column>,
    /// How many all columns have.
    timestamps: usize,
    /// All chunks, one after another.
    bytes: Vec<u8>,
    hasher: RandomState,
    /// The first chunk of those with equal bytes.
    known: HashTable<u32>,
    encoded: Vec<u8>,
    decoded: Vec<f64>,
}

/// Values to be encoded.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BatchValues<'a> {
    /// One integer throughout, with so many digits behind the point.
    Constant(i64, u8),
    /// Integers with so many digits behind the point.
    Decimal(&'a [i64], u8),
    /// Any values.
    Floats(&'a [f64]),
}

/// Timestamps that chunks share: the first column they are split into, and how many there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timestamps {
    first: u32,
    count: usize,
}

/// What is known of the column of a chunk.
pub(super) enum BatchColumn<'a> {
    /// Its number in the file.
    Written(u32),
    /// It is not written yet.
    New(&'a [Timestamp]),
}

struct Column {
    timestamps: Vec<Timestamp>,
    number: Option<u32>,
}

#[derive(Clone, Copy)]
struct BatchChunk {
    column: u32,
    /// The chunk that has its bytes: itself, or an earlier one with equal bytes.
    content: u32,
    start: u32,
    len: u32,
    /// Where it is in the file; 0, where the header is, if it is not.
    offset: u64,
}

/// 32 MiB: those of 8,000 targets that are scraped each 15 s.
const TIMESTAMPS_MAX: usize = 4 << 20;

impl ChunkBatch {
    /// Returns an empty batch.
    pub(crate) fn new() -> Self {
        Self {
            // A block that comes from the head is merged with its neighbours within hours. Until then it is read most, so
            // there are no differences to other chunks in it either.
            encoder: dense::Encoder::quick(),
            series: Vec::new(),
            chunks: Vec::new(),
            columns: Vec::new(),
            timestamps: 0,
            bytes: Vec::new(),
            hasher: RandomState::default(),
            known: HashTable::new(),
            encoded: Vec::new(),
            decoded: Vec::new(),
        }
    }

    /// Forgets everything, and takes series of the ranks below `series` from now on. They are expected to have a chunk
    /// each and `size_bytes` in all.
    pub(crate) fn begin(&mut self, series: usize, size_bytes: usize) {
        self.series.clear();
        self.series.resize(series, (0, 0));
        self.chunks.clear();
        self.columns.clear();
        self.timestamps = 0;
        self.bytes.clear();
        self.known.clear();
        // What is reserved and not used is never resident; growing step by step would leave holes.
        self.chunks.reserve_exact(series);
        self.bytes.reserve_exact(size_bytes);
    }

    /// Adds timestamps that chunks may have; they ascend. `None` if there is no more room for any: what has them is read
    /// when it is written.
    pub(crate) fn add_timestamps(&mut self, timestamps: &[Timestamp]) -> Option<Timestamps> {
        self.timestamps += timestamps.len();
        if self.timestamps > TIMESTAMPS_MAX {
            return None;
        }
        let first = self.columns.len() as u32;
        for (start, end) in split_evenly(timestamps.len(), CHUNK_SAMPLES_MAX) {
            self.columns.push(Column {
                timestamps: timestamps[start..end].to_vec(),
                number: None,
            });
        }
        Some(Timestamps {
            first,
            count: timestamps.len(),
        })
    }

    /// Encodes the values of the series at `rank`, as many as there are `timestamps`.
    ///
    /// # Errors
    ///
    /// If they do not decode to what they are, bit for bit: their source is deleted once they are written.
    pub(crate) fn add(
        &mut self,
        rank: u32,
        timestamps: Timestamps,
        values: BatchValues<'_>,
    ) -> Result<()> {
        let first = self.chunks.len() as u32;
        for (column, (start, end)) in
            (timestamps.first..).zip(split_evenly(timestamps.count, CHUNK_SAMPLES_MAX))
        {
            self.encoded.clear();
            let is_equal = match values {
                BatchValues::Constant(integer, exponent) => {
                    (self.encoder).encode_constant(integer, exponent, &mut self.encoded);
                    dense::holds_constant(&self.encoded, integer, exponent)
                }
                BatchValues::Decimal(integers, exponent) => {
                    let integers = &integers[start..end];
                    (self.encoder).encode_decimal(integers, exponent, &mut self.encoded);
                    dense::holds_decimal(&self.encoded, integers, exponent)
                }
                BatchValues::Floats(values) => {
                    let values = &values[start..end];
                    self.encoder.encode(values, &mut self.encoded);
                    self.decoded.clear();
                    dense::decode(&self.encoded, values.len(), &mut self.decoded).is_ok()
                        && are_same_bits(&self.decoded, values)
                }
            };
            if !is_equal {
                let message = format!("{} samples do not decode to what was encoded", end - start);
                return Err(Error::invalid(message));
            }
            self.add_chunk(column)?;
        }
        self.series[rank as usize] = (first, self.chunks.len() as u32 - first);
        Ok(())
    }

    fn add_chunk(&mut self, column: u32) -> Result<()> {
        let index = self.chunks.len() as u32;
        let mut chunk = BatchChunk {
            column,
            content: index,
            start: 0,
            len: self.encoded.len() as u32,
            offset: 0,
        };
        if Inline::new(&self.encoded).is_none()
            && let Some(known) = self.find_or_insert(column, index)
        {
            chunk.content = known;
            chunk.start = self.chunks[known as usize].start;
        } else {
            chunk.start = u32::try_from(self.bytes.len())
                .map_err(|_too_large| Error::limit("the chunks of a batch exceed 4 GiB"))?;
            self.bytes.extend_from_slice(&self.encoded);
        }
        self.chunks.push(chunk);
        Ok(())
    }

    /// Returns the first chunk with the encoded bytes and as many samples as `column`. Without one, `index` is going to be
    /// that.
    fn find_or_insert(&mut self, column: u32, index: u32) -> Option<u32> {
        let count_of = |column: u32| self.columns[column as usize].timestamps.len();
        let bytes_of =
            |chunk: &BatchChunk| &self.bytes[chunk.start as usize..][..chunk.len as usize];
        let count = count_of(column);
        let hash = self.hasher.hash_one((count, self.encoded.as_slice()));
        let known = self.known.find(hash, |&known| {
            let known = &self.chunks[known as usize];
            bytes_of(known) == self.encoded && count_of(known.column) == count
        });
        if let Some(&known) = known {
            return Some(known);
        }
        self.known.insert_unique(hash, index, |&known| {
            let known = &self.chunks[known as usize];
            self.hasher
                .hash_one((count_of(known.column), bytes_of(known)))
        });
        None
    }

    /// Returns the chunks of a series in order of time.
    pub(super) fn chunks_of(&self, rank: u32) -> Range<u32> {
        let (first, count) = self.series[rank as usize];
        first..first + count
    }

    pub(super) fn column_of(&self, chunk: u32) -> BatchColumn<'_> {
        let column = &self.columns[self.chunks[chunk as usize].column as usize];
        match column.number {
            Some(number) => BatchColumn::Written(number),
            None => BatchColumn::New(&column.timestamps),
        }
    }

    pub(super) fn note_column(&mut self, chunk: u32, number: u32) {
        let column = self.chunks[chunk as usize].column;
        self.columns[column as usize].number = Some(number);
    }

    /// Returns how many samples a chunk has.
    pub(super) fn count_of(&self, chunk: u32) -> usize {
        let column = self.chunks[chunk as usize].column;
        self.columns[column as usize].timestamps.len()
    }

    /// Tells whether a chunk has the bytes of an earlier one.
    pub(super) fn is_shared(&self, chunk: u32) -> bool {
        self.chunks[chunk as usize].content != chunk
    }

    /// Returns the bytes of a chunk, and where they are in the file once they were written.
    pub(super) fn bytes_of(&self, chunk: u32) -> (&[u8], Option<u64>) {
        let chunk = &self.chunks[chunk as usize];
        let bytes = &self.bytes[chunk.start as usize..][..chunk.len as usize];
        let offset = self.chunks[chunk.content as usize].offset;
        (bytes, Some(offset).filter(|&offset| offset != 0))
    }

    pub(super) fn note_offset(&mut self, chunk: u32, offset: u64) {
        let content = self.chunks[chunk as usize].content;
        self.chunks[content as usize].offset = offset;
    }
}
