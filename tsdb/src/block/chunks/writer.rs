//! Writing the file of chunks, front to back.

use std::collections::HashMap;
use std::path::Path;

use foldhash::fast::RandomState;

use crate::block::FileMeta;
use crate::chunk::{ChunkEncoding, column, cut, dense, gorilla};
use crate::encoding::{crc32, seal};
use crate::error::{Error, Result};
use crate::fs::{Fs, Ulid};
use crate::limits::CHUNK_SAMPLES_MAX;
use crate::sample::Samples;
use crate::time::Timestamp;

use super::batch::{BatchColumn, ChunkBatch};
use super::directory::{
    self, CHUNK_BYTES_MAX, ChunkEntry, ColumnEntry, Extent, Form, Inline, Place, State,
};
use super::file::FileWriter;
use super::layout::{self, Footer};
use super::pages::PagesWriter;
use super::window::Window;

/// Writes the samples of series after series. Memory holds the directories, a write buffer, the windows in which equal
/// chunks and columns are found, recent columns and the bases of differences: some 6 bytes per series, and what grows to a
/// constant.
pub(crate) struct ChunksWriter {
    file: FileWriter,
    encoding: ChunkEncoding,
    dense: dense::Encoder,
    series: PagesWriter,
    series_state: State,
    columns: PagesWriter,
    column_state: State,
    known_columns: Window<u32>,
    recent_columns: RecentColumns,
    known_chunks: Window<Known>,
    /// Made for the first dense chunk.
    bases: Option<dense::Bases>,
    base: Timestamp,
    counts: Counts,
    scratch: Scratch,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) series: u64,
    pub(crate) samples: u64,
    pub(crate) chunks: u64,
    /// Chunks that are equal to an earlier one, other than those that are always inline.
    pub(crate) shared_chunks: u64,
    /// Chunks that are the difference to another one, without those that are shared.
    pub(crate) differences: u64,
    /// Bytes of all chunks that are in the file by themselves, with their checksums.
    pub(crate) chunk_bytes: u64,
    pub(crate) columns: u64,
    /// Bytes of all columns with their checksums.
    pub(crate) column_bytes: u64,
}

/// Buffers kept from one series to the next.
#[derive(Default)]
struct Scratch {
    encoded: Vec<u8>,
    related: Vec<u8>,
    decoded: Samples,
    timestamps: Vec<Timestamp>,
    /// The chunks of one series.
    entries: Vec<ChunkEntry>,
}

/// What became of a chunk.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Its samples. Chunks of different counts may have equal bytes, but never the same base.
    count: usize,
    place: Place,
    base: Option<Extent>,
}

impl ChunksWriter {
    /// Creates the file. Times are stored relative to `base`, the start of the block's range.
    pub(crate) fn create(
        fs: &dyn Fs,
        path: &Path,
        encoding: ChunkEncoding,
        base: Timestamp,
    ) -> Result<Self> {
        let mut file = FileWriter::create(fs, path)?;
        file.append(&layout::header())?;
        Ok(Self {
            file,
            encoding,
            dense: dense::Encoder::new(),
            series: PagesWriter::default(),
            series_state: State::new(base),
            columns: PagesWriter::default(),
            column_state: State::new(base),
            known_columns: Window::new(WINDOW_BYTES),
            recent_columns: RecentColumns::default(),
            known_chunks: Window::new(WINDOW_BYTES),
            bases: None,
            base,
            counts: Counts::default(),
            scratch: Scratch::default(),
        })
    }

    /// Writes the samples of the next series, of which there is at least one.
    pub(crate) fn add(&mut self, timestamps: &[Timestamp], values: &[f64]) -> Result<()> {
        let chunk_samples_max = match self.encoding {
            ChunkEncoding::Dense => CHUNK_SAMPLES_MAX,
            ChunkEncoding::Gorilla => cut::SAMPLES_AIMED,
        };
        self.scratch.entries.clear();
        for (start, end) in split_evenly(timestamps.len(), chunk_samples_max) {
            self.add_chunk(&timestamps[start..end], &values[start..end])?;
        }
        self.add_record(timestamps.len())
    }

    /// Writes the chunks of the next series, which `batch` has at `rank`. Tells whether it has any.
    pub(crate) fn add_from(&mut self, batch: &mut ChunkBatch, rank: u32) -> Result<bool> {
        self.scratch.entries.clear();
        let mut samples = 0;
        for index in batch.chunks_of(rank) {
            let column = match batch.column_of(index) {
                BatchColumn::Written(column) => column,
                BatchColumn::New(timestamps) => {
                    let column = self.column(timestamps)?;
                    batch.note_column(index, column);
                    column
                }
            };
            samples += batch.count_of(index);
            let place = self.place(batch, index)?;
            self.counts.shared_chunks += u64::from(batch.is_shared(index));
            let form = Form::Dense { column, base: None };
            self.scratch.entries.push(ChunkEntry { form, place });
        }
        if samples == 0 {
            return Ok(false);
        }
        self.add_record(samples)?;
        Ok(true)
    }

    /// Returns where a chunk of `batch` is, writing it unless it was before.
    fn place(&mut self, batch: &mut ChunkBatch, index: u32) -> Result<Place> {
        let (bytes, offset) = batch.bytes_of(index);
        if let Some(inline) = Inline::new(bytes) {
            return Ok(Place::Inline(inline));
        }
        let len = bytes.len();
        if let Some(offset) = offset {
            return Ok(Place::File(Extent { offset, len }));
        }
        let offset = self.file.offset;
        self.file.append(bytes)?;
        self.file.append(&crc32(bytes).to_le_bytes())?;
        batch.note_offset(index, offset);
        self.counts.chunk_bytes += self.file.offset - offset;
        Ok(Place::File(Extent { offset, len }))
    }

    /// Writes what the directory says of a series whose chunks are in [`Scratch::entries`].
    fn add_record(&mut self, samples: usize) -> Result<()> {
        let (is_first, out) = self.series.begin()?;
        if is_first {
            self.series_state = State::new(self.base);
        }
        directory::put_series(out, &mut self.series_state, &self.scratch.entries);
        self.counts.series += 1;
        self.counts.samples += samples as u64;
        self.counts.chunks += self.scratch.entries.len() as u64;
        Ok(())
    }

    /// Returns what was written so far.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Writes directories and footer and makes the file durable.
    pub(crate) fn finish(mut self, ulid: Ulid) -> Result<(FileMeta, Counts)> {
        let (bytes, columns) = self.columns.finish(self.file.offset)?;
        self.file.append(&bytes)?;
        let (bytes, series) = self.series.finish(self.file.offset)?;
        self.file.append(&bytes)?;
        self.file.append(
            &Footer {
                columns,
                series,
                base: self.base,
                ulid,
            }
            .encode(),
        )?;
        Ok((self.file.finish()?, self.counts))
    }

    fn add_chunk(&mut self, timestamps: &[Timestamp], values: &[f64]) -> Result<()> {
        let form = match self.encoding {
            ChunkEncoding::Dense => {
                let column = self.column(timestamps)?;
                self.scratch.encoded.clear();
                self.dense.encode(values, &mut self.scratch.encoded);
                Form::Dense { column, base: None }
            }
            ChunkEncoding::Gorilla => {
                let mut appender = gorilla::Appender::new();
                for (&timestamp, &value) in timestamps.iter().zip(values) {
                    appender.push(timestamp, value);
                }
                self.scratch.encoded.clear();
                appender.write(&mut self.scratch.encoded);
                Form::Gorilla {
                    first: timestamps[0],
                    last: timestamps[timestamps.len() - 1],
                }
            }
        };
        self.verify(form, timestamps, values)?;
        let entry = self.store(form, values.len())?;
        self.scratch.entries.push(entry);
        Ok(())
    }

    /// Decodes what was encoded and compares all bits: the source of these samples is deleted once they are written.
    fn verify(&mut self, form: Form, timestamps: &[Timestamp], values: &[f64]) -> Result<()> {
        let Scratch {
            encoded, decoded, ..
        } = &mut self.scratch;
        decoded.clear();
        let outcome = match form {
            Form::Dense { .. } => dense::decode(encoded, values.len(), &mut decoded.values),
            Form::Gorilla { .. } => gorilla::decode(encoded, decoded),
        };
        let is_equal = outcome.is_ok()
            && (matches!(form, Form::Dense { .. }) || decoded.timestamps == timestamps)
            && are_same_bits(&decoded.values, values);
        if is_equal {
            return Ok(());
        }
        let message = format!("{} samples do not decode to what was encoded", values.len());
        Err(Error::corruption(
            &self.file.path,
            self.file.offset,
            message,
        ))
    }

    /// Puts the encoded chunk where it takes the least room.
    fn store(&mut self, form: Form, count: usize) -> Result<ChunkEntry> {
        let encoded = self.scratch.encoded.as_slice();
        if let Some(inline) = Inline::new(encoded) {
            let place = Place::Inline(inline);
            return Ok(ChunkEntry { form, place });
        }
        // Found by its own bytes: as differences, equal chunks may differ.
        let hash = self.known_chunks.hash(encoded);
        let known = self.known_chunks.find(hash, |bytes, known| {
            known.count == count && bytes == encoded
        });
        let known = if let Some(known) = known {
            self.counts.shared_chunks += 1;
            known
        } else {
            let known = self.store_new(form, count)?;
            self.known_chunks.add(hash, known, &self.scratch.encoded);
            known
        };
        let form = match form {
            Form::Dense { column, .. } => Form::Dense {
                column,
                base: known.base,
            },
            Form::Gorilla { .. } => form,
        };
        let place = known.place;
        Ok(ChunkEntry { form, place })
    }

    /// Stores a chunk that has no equal, as the difference to one that it resembles if there is one.
    fn store_new(&mut self, form: Form, count: usize) -> Result<Known> {
        let Scratch {
            encoded, related, ..
        } = &mut self.scratch;
        related.clone_from(encoded);
        let offset = self.file.offset;
        let base = match form {
            Form::Dense { column, .. } if offset <= PACKED_OFFSET_MAX => {
                let bases = self.bases.get_or_insert_default();
                let place = pack(Extent {
                    offset,
                    len: encoded.len(),
                });
                let base = self.dense.relate(bases, column, place, related);
                base.map(unpack)
            }
            Form::Dense { .. } | Form::Gorilla { .. } => None,
        };
        self.counts.differences += u64::from(base.is_some());
        let place = if let Some(inline) = Inline::new(related) {
            Place::Inline(inline)
        } else {
            let len = related.len();
            seal(related, 0);
            self.counts.chunk_bytes += related.len() as u64;
            self.file.append(related)?;
            Place::File(Extent { offset, len })
        };
        Ok(Known { count, place, base })
    }

    /// Returns the number of the column with these timestamps, writing it if it is new.
    fn column(&mut self, timestamps: &[Timestamp]) -> Result<u32> {
        let hash = self.known_columns.hash(timestamps);
        if let Some(number) = self.recent_columns.find(hash, timestamps) {
            return Ok(number);
        }
        let number = self.find_or_write_column(hash, timestamps)?;
        self.recent_columns.add(hash, number, timestamps);
        Ok(number)
    }

    fn find_or_write_column(&mut self, hash: u64, timestamps: &[Timestamp]) -> Result<u32> {
        let Scratch {
            encoded,
            timestamps: decoded,
            ..
        } = &mut self.scratch;
        let mut is_equal = |bytes: &[u8]| {
            decoded.clear();
            column::decode(bytes, timestamps.len(), decoded).is_ok()
                && decoded.as_slice() == timestamps
        };
        if let Some(number) = self.known_columns.find(hash, |bytes, _| is_equal(bytes)) {
            return Ok(number);
        }
        encoded.clear();
        column::encode(timestamps, encoded);
        if !is_equal(encoded) {
            let message = "timestamps do not decode to what was encoded";
            return Err(Error::corruption(
                &self.file.path,
                self.file.offset,
                message,
            ));
        }
        let number = self.columns.records();
        let entry = ColumnEntry {
            extent: Extent {
                offset: self.file.offset,
                len: encoded.len(),
            },
            count: timestamps.len(),
            first: timestamps[0],
            last: timestamps[timestamps.len() - 1],
        };
        let (is_first, out) = self.columns.begin()?;
        if is_first {
            self.column_state = State::new(self.base);
        }
        directory::put_column(out, &mut self.column_state, &entry);
        self.known_columns.add(hash, number, encoded);
        seal(encoded, 0);
        self.counts.columns += 1;
        self.counts.column_bytes += encoded.len() as u64;
        self.file.append(encoded)?;
        Ok(number)
    }
}

/// Columns met lately, as they are: hundreds of series share one, and come mixed with those of all others. To compare with
/// what was encoded would take decoding it for each.
#[derive(Default)]
struct RecentColumns {
    columns: HashMap<u64, (u32, Box<[Timestamp]>), RandomState>,
    /// How many all of them have.
    timestamps: usize,
}

impl RecentColumns {
    fn find(&self, hash: u64, timestamps: &[Timestamp]) -> Option<u32> {
        let (number, known) = self.columns.get(&hash)?;
        (**known == *timestamps).then_some(*number)
    }

    fn add(&mut self, hash: u64, number: u32, timestamps: &[Timestamp]) {
        if self.timestamps + timestamps.len() > RECENT_TIMESTAMPS_MAX {
            self.columns.clear();
            self.timestamps = 0;
        }
        self.timestamps += timestamps.len();
        if let Some((_, other)) = self.columns.insert(hash, (number, timestamps.into())) {
            self.timestamps -= other.len();
        }
    }
}

/// 16 MiB: those of a thousand targets over six hours at 15 s, and of more in a shorter block.
const RECENT_TIMESTAMPS_MAX: usize = 2 << 20;

/// Bytes that each of the two windows remembers. Equal chunks and columns are found again within some 100,000 series,
/// which holds the copies among neighbours (buckets of a histogram) and, in all but the largest blocks, all of them.
const WINDOW_BYTES: usize = 16 << 20;

/// Puts where a chunk is into the one number that is remembered with a base.
fn pack(extent: Extent) -> u64 {
    extent.offset << PACKED_LEN_BITS | extent.len as u64
}

fn unpack(packed: u64) -> Extent {
    Extent {
        offset: packed >> PACKED_LEN_BITS,
        len: (packed & ((1 << PACKED_LEN_BITS) - 1)) as usize,
    }
}

const PACKED_LEN_BITS: u32 = 24;
const _: () = assert!(CHUNK_BYTES_MAX < 1 << PACKED_LEN_BITS);

/// A chunk beyond, in a file of more than 1 TiB, becomes no base and no difference.
const PACKED_OFFSET_MAX: u64 = u64::MAX >> PACKED_LEN_BITS;

/// Returns the bounds of the fewest parts of at most `max` that together are `len` long and differ by at most one.
pub(super) fn split_evenly(len: usize, max: usize) -> impl Iterator<Item = (usize, usize)> {
    let parts = len.div_ceil(max);
    (0..parts).map(move |part| (len * part / parts, len * (part + 1) / parts))
}

pub(super) fn are_same_bits(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_columns_are_found_and_bounded() {
        let mut recent = RecentColumns::default();
        recent.add(7, 1, &[1, 2, 3]);
        assert_eq!(recent.find(7, &[1, 2, 3]), Some(1));
        assert_eq!(
            recent.find(7, &[1, 2, 4]),
            None,
            "only the hash is the same"
        );
        recent.add(7, 2, &[1, 2, 4]);
        assert_eq!(recent.find(7, &[1, 2, 4]), Some(2));
        assert_eq!(recent.timestamps, 3);
        let many = vec![0; RECENT_TIMESTAMPS_MAX / 2];
        for number in 3..9 {
            recent.add(number.into(), number, &many);
            assert_eq!(recent.find(number.into(), &many), Some(number));
            assert!(recent.timestamps <= RECENT_TIMESTAMPS_MAX);
        }
        assert_eq!(recent.find(7, &[1, 2, 4]), None);
    }

    #[test]
    fn parts_are_even_and_cover_everything() {
        assert_eq!(split_evenly(5, 10).collect::<Vec<_>>(), [(0, 5)]);
        assert_eq!(split_evenly(11, 10).collect::<Vec<_>>(), [(0, 5), (5, 11)]);
        let parts: Vec<_> = split_evenly(100_003, 2048).collect();
        assert_eq!(parts.len(), 49);
        assert!(parts.windows(2).all(|pair| pair[0].1 == pair[1].0));
        assert!(
            parts
                .iter()
                .all(|(start, end)| (2040..=2048).contains(&(end - start)))
        );
    }
}
