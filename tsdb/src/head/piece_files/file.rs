//! One piece file, and a piece in it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::encoding::Malformed;
use crate::error::{Error, Result};
use crate::fs::{AppendFile, Fs, MappedFile, ReadFile};
use crate::piece::{HEADER_BYTES, PieceHeader, PieceView};
use crate::time::TimeRange;

use super::Layout;
use super::OVERHEAD_BYTES;
use super::PieceFiles;

/// A sealed run of rows of one group.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) header: PieceHeader,
    pub(crate) layout: Arc<Layout>,
    pub(super) file: Arc<PieceFile>,
    /// Where the body begins.
    pub(super) offset: u64,
    /// The body's checksum was compared since the database was opened.
    pub(super) is_verified: AtomicBool,
}

impl Piece {
    /// Tells whether a sync of the file it is in has failed.
    pub(crate) fn is_distrusted(&self) -> bool {
        self.file.is_distrusted()
    }

    /// Returns the bytes of memory it takes beside what is mapped, without its layout.
    pub(crate) fn memory_bytes(&self) -> usize {
        let body = match self.file.number {
            IN_MEMORY => size_of::<PieceFile>() + HEADER_BYTES + self.header.body_bytes as usize,
            _ => 0,
        };
        size_of::<Self>() + OVERHEAD_BYTES + body
    }

    /// Writes the piece to the open file of its range, if what is read of it now is what was written.
    pub(crate) fn copy(&self, files: &PieceFiles) -> Result<Arc<Self>> {
        self.verify()?;
        let body_bytes = self.header.body_bytes as usize;
        let mapped = self.file.mapped(self.offset + body_bytes as u64)?;
        let body = read(&mapped, &self.file.path, self.offset, body_bytes)?;
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body_bytes);
        self.header.write(&mut bytes);
        bytes.extend_from_slice(&body);
        files.append(self.file.range, &bytes, &self.layout)
    }

    /// Compares the body with its checksum, whether or not that was done before.
    pub(crate) fn verify(&self) -> Result<()> {
        self.is_verified.store(false, Ordering::Relaxed);
        self.with_view(|_view| Ok(()))
    }

    /// Appends the body to `out`, compared with its checksum as far as it was not before. The file is read, not mapped:
    /// who reads everything once would leave all of it resident.
    pub(crate) fn read_body(&self, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        out.resize(start + self.header.body_bytes as usize, 0);
        let body = &mut out[start..];
        self.file.read_at(body, self.offset)?;
        let view = PieceView::new(self.header, body);
        view.and_then(|view| self.compare(view))
            .map_err(|malformed| self.damaged(malformed))
    }

    /// Returns the error for a body that does not say what it should.
    pub(crate) fn damaged(&self, malformed: Malformed) -> Error {
        let offset = self.offset + malformed.offset as u64;
        Error::corruption(&self.file.path, offset, malformed.what)
    }

    /// Compares a body with its checksum unless that was done before.
    fn compare(&self, view: PieceView<'_>) -> Result<(), Malformed> {
        // Relaxed: comparing twice does no harm. After a failed sync the system may have put older bytes in the place
        // of those that were compared, so there every look compares.
        if !self.is_verified.load(Ordering::Relaxed) || self.is_distrusted() {
            view.verify()?;
            self.is_verified.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Calls `read` with the piece's content.
    pub(crate) fn with_view<T>(
        &self,
        read: impl FnOnce(PieceView<'_>) -> Result<T, Malformed>,
    ) -> Result<T> {
        self.with_body(|header, body| read(PieceView::new(header, body)?))
    }

    /// Calls `read` with the header and the verified body.
    pub(crate) fn with_body<T>(
        &self,
        read: impl FnOnce(PieceHeader, &[u8]) -> Result<T, Malformed>,
    ) -> Result<T> {
        let mapped = self.file.mapped(self.end())?;
        let body = self.body(&mapped)?;
        self.verified(&body)
            .and_then(|_view| read(self.header, &body))
            .map_err(|malformed| self.damaged(malformed))
    }

    /// Returns where in the file the body ends.
    fn end(&self) -> u64 {
        self.offset + u64::from(self.header.body_bytes)
    }

    fn body<'a>(&self, mapped: &'a MappedFile) -> Result<Cow<'a, [u8]>> {
        read(
            mapped,
            &self.file.path,
            self.offset,
            self.header.body_bytes as usize,
        )
    }

    fn verified<'a>(&self, body: &'a [u8]) -> Result<PieceView<'a>, Malformed> {
        let view = PieceView::new(self.header, body)?;
        self.compare(view)?;
        Ok(view)
    }
}

/// Calls `read` with each piece of a series, its content and the series' position in it, one after the other.
///
/// The pieces of a series lie far apart, and all series of a group before the next of them: nothing of them is in a
/// cache. What each read begins with is fetched for all pieces first, so that the processor waits once and not for each.
pub(crate) fn read_each(
    pieces: &[(&Piece, usize)],
    mut read: impl FnMut(&Piece, PieceView<'_>, usize) -> Result<(), Malformed>,
) -> Result<()> {
    // Mostly one file, that of the range.
    let mut files: Vec<(&Arc<PieceFile>, MappedFile)> = Vec::new();
    let mut places = Vec::with_capacity(pieces.len());
    for (piece, _) in pieces {
        let is_mapped = files.last().is_some_and(|(file, mapped)| {
            Arc::ptr_eq(file, &piece.file) && mapped.len() >= piece.end()
        });
        if !is_mapped {
            files.push((&piece.file, piece.file.mapped(piece.end())?));
        }
        places.push(files.len() - 1);
    }
    let bodies = pieces.iter().zip(places);
    let bodies: Vec<Cow<'_, [u8]>> = bodies
        .map(|((piece, _), place)| piece.body(&files[place].1))
        .collect::<Result<_>>()?;
    let mut fetched = 0;
    for ((piece, position), body) in pieces.iter().zip(&bodies) {
        fetched ^= PieceView::new(piece.header, body).map_or(0, |view| view.fetch(*position));
    }
    std::hint::black_box(fetched);
    for (&(piece, position), body) in pieces.iter().zip(&bodies) {
        let read = |view| read(piece, view, position);
        piece
            .verified(body)
            .and_then(read)
            .map_err(|malformed| piece.damaged(malformed))?;
    }
    Ok(())
}

/// The number of what is no file: rows sealed into memory.
pub(super) const IN_MEMORY: u64 = 0;

/// One file of pieces.
pub(super) struct PieceFile {
    pub(super) number: u64,
    pub(super) range: TimeRange,
    pub(super) path: PathBuf,
    pub(super) fs: Arc<dyn Fs>,
    /// Held while a piece is appended or the file synced; taken after a group's lock, before none. `None` once there is
    /// nothing left to sync.
    pub(super) writer: Mutex<Option<PieceWriter>>,
    /// The end of the last whole piece.
    pub(super) len: AtomicU64,
    is_distrusted: AtomicBool,
    /// The directory was synced since the file was made.
    pub(super) is_named: AtomicBool,
    /// The mapping readers share; it is made anew when the file has grown beyond it.
    pub(super) mapping: Mutex<Option<(u64, MappedFile)>>,
    /// The file, open to be read by a flush; what was never a file has a mapping for ever.
    reader: OnceLock<Arc<dyn ReadFile>>,
}

/// The writing end of a piece file.
pub(super) struct PieceWriter {
    pub(super) output: Box<dyn AppendFile>,
    /// Half a piece stands at the end and could not be cut off: what is before it is synced, and nothing is added.
    pub(super) is_closed: bool,
}

impl std::fmt::Debug for PieceFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PieceFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl PieceFile {
    /// Returns a file that is only read.
    pub(super) fn closed(
        number: u64,
        range: TimeRange,
        path: PathBuf,
        fs: Arc<dyn Fs>,
        mapping: (u64, MappedFile),
    ) -> Self {
        Self {
            number,
            range,
            path,
            fs,
            writer: Mutex::new(None),
            len: AtomicU64::new(mapping.0),
            is_distrusted: AtomicBool::new(false),
            is_named: AtomicBool::new(true),
            mapping: Mutex::new(Some(mapping)),
            reader: OnceLock::new(),
        }
    }

    /// Returns a file that pieces are appended to.
    pub(super) fn open(
        number: u64,
        range: TimeRange,
        path: PathBuf,
        fs: Arc<dyn Fs>,
        output: Box<dyn AppendFile>,
    ) -> Self {
        Self {
            number,
            range,
            path,
            fs,
            len: AtomicU64::new(output.len()),
            writer: Mutex::new(Some(PieceWriter {
                output,
                is_closed: false,
            })),
            is_distrusted: AtomicBool::new(false),
            is_named: AtomicBool::new(false),
            mapping: Mutex::new(None),
            reader: OnceLock::new(),
        }
    }

    /// Tells whether a sync has failed: nobody knows what of the file is on disk.
    pub(super) fn is_distrusted(&self) -> bool {
        // Acquire pairs with the release in `distrust`.
        self.is_distrusted.load(Ordering::Acquire)
    }

    /// Notes that a sync has failed.
    pub(super) fn distrust(&self) {
        self.is_distrusted.store(true, Ordering::Release);
    }

    /// Fills `buffer` with settled bytes.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        if self.number == IN_MEMORY {
            let mapped = self.mapped(offset + buffer.len() as u64)?;
            buffer.copy_from_slice(&read(&mapped, &self.path, offset, buffer.len())?);
            return Ok(());
        }
        let reader = match self.reader.get() {
            Some(reader) => reader,
            None => {
                let opened = self.fs.open_read(&self.path);
                let opened = opened.map_err(|error| Error::io("open", &self.path, error))?;
                self.reader.get_or_init(|| opened)
            }
        };
        reader
            .read_at(buffer, offset)
            .map_err(|error| Error::io("read", &self.path, error))
    }

    /// Returns access to at least the first `len` bytes, which are settled.
    pub(super) fn mapped(&self, len: u64) -> Result<MappedFile> {
        let mut mapping = self.mapping.lock();
        if let Some((mapped_len, mapped)) = &*mapping
            && *mapped_len >= len
        {
            return Ok(mapped.clone());
        }
        // Acquire pairs with the release in `append`: the bytes below the length are in the file.
        let settled = self.len.load(Ordering::Acquire).max(len);
        let mapped = self
            .fs
            .map(&self.path, settled)
            .map_err(|error| Error::io("map", &self.path, error))?;
        *mapping = Some((settled, mapped.clone()));
        Ok(mapped)
    }
}

/// Reads bytes of a mapped file.
pub(super) fn read<'a>(
    mapped: &'a MappedFile,
    path: &Path,
    offset: u64,
    len: usize,
) -> Result<Cow<'a, [u8]>> {
    mapped
        .bytes(offset, len)
        .map_err(|error| Error::io("read", path, error))
}
