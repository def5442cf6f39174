//! Finding the pieces of a file an earlier run wrote, past whatever is damaged.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::encoding::ByteReader;
use crate::error::{Error, Result};
use crate::fs::{Fs, MappedFile, names};
use crate::piece::{HEADER_BYTES, PieceChunk, PieceHeader, read_chunks};
use crate::time::TimeRange;

use super::Layout;
use super::file::{Piece, PieceFile, read};
use super::{FILE_HEADER_BYTES, MAGIC, PieceFileLen, PieceFiles};

/// Bytes that are looked through at a time for the next header behind damage.
const WINDOW_BYTES: u64 = 64 * 1024;

/// A piece found in a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoadedPiece<'a> {
    file: &'a Arc<PieceFile>,
    offset: u64,
}

impl LoadedPiece<'_> {
    /// Returns the piece under `layout`, which [`LoadedPiece::ids`] told.
    pub(crate) fn attach(&self, header: PieceHeader, layout: Arc<Layout>) -> Arc<Piece> {
        Arc::new(Piece {
            header,
            layout,
            file: Arc::clone(self.file),
            offset: self.offset,
            is_verified: AtomicBool::new(false),
        })
    }

    /// Returns the piece of chunks, and what it says of each; its whole body is verified for that.
    pub(crate) fn chunks(&self, header: PieceHeader) -> Result<(Arc<Piece>, Vec<PieceChunk>)> {
        let piece = self.attach(header, Arc::new(Layout::new(Vec::new())));
        let chunks = piece.with_body(|header, body| read_chunks(&header, body))?;
        Ok((piece, chunks))
    }

    /// Returns the series ids of the piece; its whole body is verified for that.
    pub(crate) fn ids(&self, header: PieceHeader) -> Result<Vec<u64>> {
        self.attach(header, Arc::new(Layout::new(Vec::new())))
            .with_view(|view| view.ids())
    }
}

impl PieceFiles {
    /// Opens a file of an earlier run and calls `visit` with each piece below the synced length.
    ///
    /// What is damaged costs what it held, and goes to `damage`: behind a header that does not verify the next one that
    /// does is looked for. A file that is shorter than it was gives what is left; one that cannot be read now is kept
    /// for the next open to try again.
    pub(crate) fn load(
        &self,
        known: PieceFileLen,
        range_ms: i64,
        damage: &mut Vec<Error>,
        mut visit: impl FnMut(PieceHeader, LoadedPiece<'_>, &mut Vec<Error>),
    ) {
        // Even if the file is gone: until the next checkpoint its number stands for what it held.
        self.skip_number(known.number);
        let path = self.dir.join(names::pieces(known.number));
        let (mapped, len) = match map(&*self.fs, &path, known.len) {
            Ok(mapped) => mapped,
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    self.keep_unread(known);
                }
                damage.push(Error::io("map", &path, error));
                return;
            }
        };
        let scan = Scan {
            mapped: &mapped,
            path: &path,
            len,
        };
        let range = match scan.range(range_ms) {
            Ok(range) => range,
            Err(error) => {
                self.keep_unread(known);
                damage.push(error);
                return;
            }
        };
        if range.is_damaged {
            damage.push(Error::corruption(&path, 0, "not a piece file of version 1"));
        }
        let file = Arc::new(PieceFile::closed(
            known.number,
            range.range,
            path.clone(),
            Arc::clone(&self.fs),
            (len, mapped.clone()),
        ));
        self.files.lock().closed.push(Arc::clone(&file));
        let visited = scan.pieces(range.range, damage, |header, offset, damage| {
            let found = LoadedPiece {
                file: &file,
                offset,
            };
            visit(header, found, damage);
        });
        if let Err(error) = visited {
            damage.push(error);
        }
        if len < known.len {
            damage.push(Error::corruption(
                &path,
                len,
                format!("{} bytes of pieces are missing", known.len - len),
            ));
        }
    }

    /// Keeps a file that could not be read in the next checkpoint, so that nothing removes it.
    fn keep_unread(&self, known: PieceFileLen) {
        self.files.lock().unread.push(known);
    }
}

/// Maps the first `len` bytes of a file, or all of it if it is shorter.
fn map(fs: &dyn Fs, path: &Path, len: u64) -> std::io::Result<(MappedFile, u64)> {
    let len = fs.open_read(path)?.len()?.min(len);
    Ok((fs.map(path, len)?, len))
}

/// The bytes of one file.
struct Scan<'a> {
    mapped: &'a MappedFile,
    path: &'a Path,
    len: u64,
}

/// What a file is about.
struct FileRange {
    range: TimeRange,
    is_damaged: bool,
}

impl Scan<'_> {
    /// Returns the range the file header names, or that of the first piece if the header is damaged.
    fn range(&self, range_ms: i64) -> Result<FileRange> {
        if self.len >= FILE_HEADER_BYTES as u64
            && let Some(range) = read_file_header(&self.read(0, FILE_HEADER_BYTES)?)
        {
            return Ok(FileRange {
                range,
                is_damaged: false,
            });
        }
        let first = self.next_header(0, TimeRange::ALL)?;
        let range = first.map_or(TimeRange::new(i64::MIN, i64::MIN), |(_, header)| {
            TimeRange::aligned(header.first_timestamp, range_ms)
        });
        Ok(FileRange {
            range,
            is_damaged: true,
        })
    }

    /// Calls `visit` with each piece that may be one of `range`, and where its body begins.
    fn pieces(
        &self,
        range: TimeRange,
        damage: &mut Vec<Error>,
        mut visit: impl FnMut(PieceHeader, u64, &mut Vec<Error>),
    ) -> Result<()> {
        let mut offset = FILE_HEADER_BYTES as u64;
        while offset < self.len {
            let header = match self.header_at(offset, range)? {
                Ok(header) => header,
                Err(what) => {
                    damage.push(Error::corruption(self.path, offset, what));
                    let Some((found, header)) = self.next_header(offset + 1, range)? else {
                        return Ok(());
                    };
                    offset = found;
                    header
                }
            };
            let body = offset + HEADER_BYTES as u64;
            visit(header, body, damage);
            offset = body + u64::from(header.body_bytes);
        }
        Ok(())
    }

    fn header_at(
        &self,
        offset: u64,
        range: TimeRange,
    ) -> Result<Result<PieceHeader, &'static str>> {
        if self.len - offset < HEADER_BYTES as u64 {
            return Ok(Err("piece header is cut off"));
        }
        let bytes = self.read(offset, HEADER_BYTES)?;
        Ok(match PieceHeader::read(&bytes) {
            Ok(header) if self.fits(offset, &header, range) => Ok(header),
            Ok(_) => Err("piece does not fit its file"),
            Err(malformed) => Err(malformed.what),
        })
    }

    /// Returns the first header at or behind `from` that verifies and fits.
    fn next_header(&self, from: u64, range: TimeRange) -> Result<Option<(u64, PieceHeader)>> {
        let mut start = from;
        while start + HEADER_BYTES as u64 <= self.len {
            let bytes = (WINDOW_BYTES + HEADER_BYTES as u64 - 1).min(self.len - start);
            let window = self.read(start, bytes as usize)?;
            for (index, candidate) in window.windows(HEADER_BYTES).enumerate() {
                let offset = start + index as u64;
                if PieceHeader::may_start(candidate)
                    && let Ok(header) = PieceHeader::read(candidate)
                    && self.fits(offset, &header, range)
                {
                    return Ok(Some((offset, header)));
                }
            }
            start += WINDOW_BYTES;
        }
        Ok(None)
    }

    /// Tells whether a header can stand where it was found: its body is in the file and its rows are in the range.
    fn fits(&self, offset: u64, header: &PieceHeader, range: TimeRange) -> bool {
        let end = offset + HEADER_BYTES as u64 + u64::from(header.body_bytes);
        end <= self.len
            && range.contains(header.first_timestamp)
            && range.contains(header.last_timestamp)
    }

    fn read(&self, offset: u64, len: usize) -> Result<std::borrow::Cow<'_, [u8]>> {
        read(self.mapped, self.path, offset, len)
    }
}

fn read_file_header(bytes: &[u8]) -> Option<TimeRange> {
    let mut reader = ByteReader::checked(bytes).ok()?;
    if reader.bytes(MAGIC.len()).ok()? != MAGIC {
        return None;
    }
    Some(TimeRange::new(reader.i64().ok()?, reader.i64().ok()?))
}
