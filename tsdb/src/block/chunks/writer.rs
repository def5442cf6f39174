//! Writing the file of chunks, front to back.

use std::path::Path;

use crate::block::FileMeta;
use crate::chunk::{ChunkEncoding, column, cut, dense, gorilla};
use crate::encoding::seal;
use crate::error::{Error, Result};
use crate::fs::{Fs, Ulid};
use crate::limits::CHUNK_SAMPLES_MAX;
use crate::sample::Samples;
use crate::time::Timestamp;

use super::directory::{self, ChunkEntry, ColumnEntry, Form, INLINE_BYTES_MAX, Place, State};
use super::file::FileWriter;
use super::layout::{self, Footer};
use super::pages::PagesWriter;
use super::window::Window;

/// Writes the samples of series after series. Memory holds the directories, a write buffer and the windows in which
/// equal chunks and columns are found: some 6 bytes per series and a constant.
pub(crate) struct ChunksWriter {
    file: FileWriter,
    encoding: ChunkEncoding,
    dense: dense::Encoder,
    series: PagesWriter,
    series_state: State,
    columns: PagesWriter,
    column_state: State,
    known_columns: Window,
    known_chunks: Window,
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
    /// Chunks that are stored once for several series.
    pub(crate) shared_chunks: u64,
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
    decoded: Samples,
    timestamps: Vec<Timestamp>,
    /// Bytes of the inline chunks of one series, and its entries with the end of each one's bytes.
    inline: Vec<u8>,
    entries: Vec<(Form, Stored)>,
}

#[derive(Clone, Copy)]
enum Stored {
    Inline { start: usize, end: usize },
    File { offset: u64, len: usize },
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
            known_chunks: Window::new(WINDOW_BYTES),
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
        self.scratch.inline.clear();
        self.scratch.entries.clear();
        for (start, end) in split_evenly(timestamps.len(), chunk_samples_max) {
            self.add_chunk(&timestamps[start..end], &values[start..end])?;
        }
        let Scratch {
            inline, entries, ..
        } = &self.scratch;
        let entries: Vec<ChunkEntry<'_>> = entries
            .iter()
            .map(|&(form, stored)| ChunkEntry {
                form,
                place: match stored {
                    Stored::Inline { start, end } => Place::Inline(&inline[start..end]),
                    Stored::File { offset, len } => Place::File { offset, len },
                },
            })
            .collect();
        let (is_first, out) = self.series.begin()?;
        if is_first {
            self.series_state = State::new(self.base);
        }
        directory::put_series(out, &mut self.series_state, &entries);
        self.counts.series += 1;
        self.counts.samples += timestamps.len() as u64;
        self.counts.chunks += entries.len() as u64;
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
                Form::Dense { column }
            }
            ChunkEncoding::Gorilla => {
                let mut appender = gorilla::Appender::new();
                for (&timestamp, &value) in timestamps.iter().zip(values) {
                    appender.push(timestamp, value);
                }
                self.scratch.encoded.clear();
                self.scratch.encoded.extend_from_slice(appender.bytes());
                Form::Gorilla {
                    first: timestamps[0],
                    last: timestamps[timestamps.len() - 1],
                }
            }
        };
        self.verify(form, timestamps, values)?;
        let stored = self.store()?;
        self.scratch.entries.push((form, stored));
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
    fn store(&mut self) -> Result<Stored> {
        let Scratch {
            encoded, inline, ..
        } = &mut self.scratch;
        let len = encoded.len();
        if len <= INLINE_BYTES_MAX {
            let start = inline.len();
            inline.extend_from_slice(encoded);
            return Ok(Stored::Inline {
                start,
                end: inline.len(),
            });
        }
        let hash = self.known_chunks.hash(encoded.as_slice());
        if let Some(offset) = self
            .known_chunks
            .find(hash, |known| known == encoded.as_slice())
        {
            self.counts.shared_chunks += 1;
            return Ok(Stored::File { offset, len });
        }
        let offset = self.file.offset;
        self.known_chunks.add(hash, offset, encoded);
        seal(encoded, 0);
        self.counts.chunk_bytes += encoded.len() as u64;
        self.file.append(encoded)?;
        Ok(Stored::File { offset, len })
    }

    /// Returns the number of the column with these timestamps, writing it if it is new.
    fn column(&mut self, timestamps: &[Timestamp]) -> Result<u32> {
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
        let hash = self.known_columns.hash(timestamps);
        if let Some(number) = self.known_columns.find(hash, &mut is_equal) {
            return Ok(u32::try_from(number).expect("numbers of columns are added as u32"));
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
            offset: self.file.offset,
            len: encoded.len(),
            count: timestamps.len(),
            first: timestamps[0],
            last: timestamps[timestamps.len() - 1],
        };
        let (is_first, out) = self.columns.begin()?;
        if is_first {
            self.column_state = State::new(self.base);
        }
        directory::put_column(out, &mut self.column_state, &entry);
        self.known_columns.add(hash, u64::from(number), encoded);
        seal(encoded, 0);
        self.counts.columns += 1;
        self.counts.column_bytes += encoded.len() as u64;
        self.file.append(encoded)?;
        Ok(number)
    }
}

/// Bytes that each of the two windows remembers. Equal chunks and columns are found again within some 100,000 series,
/// which holds the copies among neighbours (buckets of a histogram) and, in all but the largest blocks, all of them.
const WINDOW_BYTES: usize = 16 << 20;

/// Returns the bounds of the fewest parts of at most `max` that together are `len` long and differ by at most one.
fn split_evenly(len: usize, max: usize) -> impl Iterator<Item = (usize, usize)> {
    let parts = len.div_ceil(max);
    (0..parts).map(move |part| (len * part / parts, len * (part + 1) / parts))
}

fn are_same_bits(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

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
