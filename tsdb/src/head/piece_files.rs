//! The files that hold sealed rows.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::encoding::{ByteReader, seal};
use crate::error::{Error, Result};
use crate::fs::{AppendFile, Fs, MappedFile, names};
use crate::piece::{HEADER_BYTES, PieceHeader, PieceView};
use crate::time::TimeRange;

use super::layout::Layout;

const MAGIC: &[u8; 8] = b"TSDBPCE1";
const FILE_HEADER_BYTES: usize = 8 + 8 + 8 + 4;

/// A sealed run of rows of one group.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) header: PieceHeader,
    pub(crate) layout: Arc<Layout>,
    file: Arc<PieceFile>,
    /// Where the body begins.
    offset: u64,
    /// The body's checksum was compared since the database was opened.
    is_verified: AtomicBool,
}

impl Piece {
    /// Tells whether a sync of the file it is in has failed.
    pub(crate) fn is_distrusted(&self) -> bool {
        self.file.is_distrusted.load(Ordering::Relaxed)
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

    /// Calls `read` with the piece's content.
    pub(crate) fn with_view<T>(
        &self,
        read: impl FnOnce(PieceView<'_>) -> Result<T, crate::encoding::Malformed>,
    ) -> Result<T> {
        let body_bytes = self.header.body_bytes as usize;
        let mapped = self.file.mapped(self.offset + body_bytes as u64)?;
        let body: Cow<'_, [u8]> = mapped
            .bytes(self.offset, body_bytes)
            .map_err(|error| Error::io("read", &self.file.path, error))?;
        let damaged = |malformed: crate::encoding::Malformed| {
            Error::corruption(
                &self.file.path,
                self.offset + malformed.offset as u64,
                malformed.what,
            )
        };
        let view = PieceView::new(self.header, &body).map_err(damaged)?;
        // Relaxed: comparing twice does no harm.
        if !self.is_verified.load(Ordering::Relaxed) {
            view.verify().map_err(damaged)?;
            self.is_verified.store(true, Ordering::Relaxed);
        }
        read(view).map_err(damaged)
    }
}

/// One file of pieces.
struct PieceFile {
    number: u64,
    range: TimeRange,
    path: PathBuf,
    fs: Arc<dyn Fs>,
    /// Held while a piece is appended or the file synced; taken after a group's lock, before none.
    writer: Mutex<Option<Box<dyn AppendFile>>>,
    len: AtomicU64,
    /// A sync failed: nobody knows what of the file is on disk.
    is_distrusted: AtomicBool,
    /// The mapping readers share; it is made anew when the file has grown beyond it.
    mapping: Mutex<Option<(u64, MappedFile)>>,
}

impl std::fmt::Debug for PieceFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PieceFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl PieceFile {
    /// Returns access to at least the first `len` bytes, which are settled.
    fn mapped(&self, len: u64) -> Result<MappedFile> {
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

/// A piece file as a checkpoint remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PieceFileLen {
    pub(crate) number: u64,
    pub(crate) len: u64,
}

/// All piece files, one open for each block range that is being written.
#[derive(Debug)]
pub(crate) struct PieceFiles {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    /// Pieces stay in memory: the database is only read.
    in_memory: bool,
    /// Taken after a group's lock.
    files: Mutex<Files>,
}

#[derive(Debug, Default)]
struct Files {
    open: HashMap<i64, Arc<PieceFile>>,
    /// Files of an earlier run: read only.
    old: Vec<Arc<PieceFile>>,
    next_number: u64,
}

impl PieceFiles {
    pub(crate) fn new(fs: Arc<dyn Fs>, dir: PathBuf, in_memory: bool) -> Self {
        Self {
            fs,
            dir,
            in_memory,
            files: Mutex::new(Files {
                next_number: 1,
                ..Files::default()
            }),
        }
    }

    /// Appends an encoded piece of `range` and returns access to it.
    pub(crate) fn append(
        &self,
        range: TimeRange,
        bytes: &[u8],
        layout: &Arc<Layout>,
    ) -> Result<Arc<Piece>> {
        let header = PieceHeader::read(bytes).expect("the encoder wrote a header");
        if self.in_memory {
            return Ok(self.keep_in_memory(range, bytes, header, layout));
        }
        let file = self.open_file(range)?;
        let mut writer = file.writer.lock();
        let Some(output) = writer.as_mut() else {
            return Err(Error::read_only("piece file is not open for writing"));
        };
        let start = output.len();
        if let Err(error) = output.append(bytes) {
            // Half a piece would hide the next one. If it cannot be cut off, the file takes no more.
            if output.truncate(start).is_err() {
                *writer = None;
                drop(writer);
                self.retire(range);
            }
            return Err(Error::io("append to", &file.path, error));
        }
        // Release: readers that see the length find the bytes.
        file.len.store(output.len(), Ordering::Release);
        drop(writer);
        Ok(Arc::new(Piece {
            header,
            layout: Arc::clone(layout),
            offset: start + HEADER_BYTES as u64,
            is_verified: AtomicBool::new(true),
            file,
        }))
    }

    fn keep_in_memory(
        &self,
        range: TimeRange,
        bytes: &[u8],
        header: PieceHeader,
        layout: &Arc<Layout>,
    ) -> Arc<Piece> {
        let len = bytes.len() as u64;
        let file = Arc::new(PieceFile {
            number: 0,
            is_distrusted: AtomicBool::new(false),
            range,
            path: self.dir.join("memory"),
            fs: Arc::clone(&self.fs),
            writer: Mutex::new(None),
            len: AtomicU64::new(len),
            mapping: Mutex::new(Some((len, MappedFile::from_bytes(bytes)))),
        });
        let is_verified = AtomicBool::new(true);
        Arc::new(Piece {
            header,
            layout: Arc::clone(layout),
            file,
            offset: HEADER_BYTES as u64,
            is_verified,
        })
    }

    fn open_file(&self, range: TimeRange) -> Result<Arc<PieceFile>> {
        let mut files = self.files.lock();
        if let Some(file) = files.open.get(&range.start) {
            return Ok(Arc::clone(file));
        }
        let number = files.next_number;
        let path = self.dir.join(names::pieces(number));
        let mut writer = self
            .fs
            .create(&path)
            .map_err(|error| Error::io("create", &path, error))?;
        files.next_number += 1;
        let mut header = Vec::with_capacity(FILE_HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&range.start.to_le_bytes());
        header.extend_from_slice(&range.end.to_le_bytes());
        seal(&mut header, 0);
        writer
            .append(&header)
            .map_err(|error| Error::io("append to", &path, error))?;
        let file = Arc::new(PieceFile {
            number,
            is_distrusted: AtomicBool::new(false),
            range,
            path,
            fs: Arc::clone(&self.fs),
            len: AtomicU64::new(writer.len()),
            writer: Mutex::new(Some(writer)),
            mapping: Mutex::new(None),
        });
        files.open.insert(range.start, Arc::clone(&file));
        Ok(file)
    }

    /// Takes no more pieces into the open file of a range: the next one goes to a new file.
    fn retire(&self, range: TimeRange) {
        let mut files = self.files.lock();
        if let Some(file) = files.open.remove(&range.start) {
            files.old.push(file);
        }
    }

    /// Returns how long each file is now, for a checkpoint that syncs them next.
    pub(crate) fn lengths(&self) -> Vec<PieceFileLen> {
        let files = self.files.lock();
        let mut lengths: Vec<PieceFileLen> = files
            .open
            .values()
            .chain(&files.old)
            .map(|file| PieceFileLen {
                number: file.number,
                len: file.len.load(Ordering::Acquire),
            })
            .collect();
        lengths.sort_by_key(|file| file.number);
        lengths
    }

    /// Makes everything appended so far durable.
    pub(crate) fn sync(&self) -> Result<()> {
        let open: Vec<Arc<PieceFile>> = self.files.lock().open.values().cloned().collect();
        for file in open {
            let mut writer = file.writer.lock();
            let Some(output) = writer.as_mut() else {
                continue;
            };
            if let Err(error) = output.sync() {
                // What was appended since the last sync may be gone, whatever a second sync says: the file is left
                // alone, and the log still holds its rows until a checkpoint succeeds.
                file.is_distrusted.store(true, Ordering::Relaxed);
                *writer = None;
                drop(writer);
                self.retire(file.range);
                return Err(Error::io("sync", &file.path, error));
            }
        }
        self.fs
            .sync_dir(&self.dir)
            .map_err(|error| Error::io("sync", &self.dir, error))
    }

    /// Tells whether a sync has failed and the pieces concerned are not written elsewhere yet.
    pub(crate) fn are_distrusted(&self) -> bool {
        let files = self.files.lock();
        files
            .old
            .iter()
            .any(|file| file.is_distrusted.load(Ordering::Relaxed))
    }

    /// Removes files whose sync has failed, now that no piece is in them.
    pub(crate) fn remove_distrusted(&self) -> Result<()> {
        let mut gone = Vec::new();
        self.files.lock().old.retain(|file| {
            let keep = !file.is_distrusted.load(Ordering::Relaxed);
            if !keep {
                gone.push(Arc::clone(file));
            }
            keep
        });
        for file in gone {
            drop(file.mapped(file.len.load(Ordering::Acquire)));
            self.fs
                .remove_file(&file.path)
                .map_err(|error| Error::io("remove", &file.path, error))?;
        }
        Ok(())
    }

    /// Opens a file of an earlier run and calls `visit` with each piece below the synced length.
    ///
    /// A header that does not verify ends the file: behind it nothing can be found.
    pub(crate) fn load(
        &self,
        known: PieceFileLen,
        mut visit: impl FnMut(PieceHeader, LoadedPiece<'_>) -> Result<()>,
    ) -> Result<()> {
        let path = self.dir.join(names::pieces(known.number));
        let mapped = self
            .fs
            .map(&path, known.len)
            .map_err(|error| Error::io("map", &path, error))?;
        let header = read(&mapped, &path, 0, FILE_HEADER_BYTES)?;
        let range = read_file_header(&header)
            .ok_or_else(|| Error::corruption(&path, 0, "not a piece file of version 1"))?;
        let file = Arc::new(PieceFile {
            number: known.number,
            is_distrusted: AtomicBool::new(false),
            range,
            path,
            fs: Arc::clone(&self.fs),
            writer: Mutex::new(None),
            len: AtomicU64::new(known.len),
            mapping: Mutex::new(Some((known.len, mapped.clone()))),
        });
        let mut files = self.files.lock();
        files.next_number = files.next_number.max(known.number + 1);
        files.old.push(Arc::clone(&file));
        drop(files);
        let mut offset = FILE_HEADER_BYTES as u64;
        while offset < known.len {
            let bytes = read(&mapped, &file.path, offset, HEADER_BYTES)?;
            let header = PieceHeader::read(&bytes)
                .map_err(|malformed| Error::corruption(&file.path, offset, malformed.what))?;
            let body = offset + HEADER_BYTES as u64;
            visit(
                header,
                LoadedPiece {
                    file: &file,
                    offset: body,
                },
            )?;
            offset = body + u64::from(header.body_bytes);
        }
        Ok(())
    }

    /// Numbers of new files start above every number that was seen.
    pub(crate) fn skip_number(&self, number: u64) {
        let mut files = self.files.lock();
        files.next_number = files.next_number.max(number + 1);
    }

    /// Removes files whose range ends at or before `boundary`. Readers that have one mapped keep it.
    pub(crate) fn remove_before(&self, boundary: i64) -> Result<()> {
        let mut gone = Vec::new();
        {
            let mut files = self.files.lock();
            files.open.retain(|_, file| {
                let keep = file.range.end > boundary;
                if !keep {
                    gone.push(Arc::clone(file));
                }
                keep
            });
            files.old.retain(|file| {
                let keep = file.range.end > boundary;
                if !keep {
                    gone.push(Arc::clone(file));
                }
                keep
            });
        }
        for file in gone {
            // A mapping made now keeps readers of the last moment going.
            drop(file.mapped(file.len.load(Ordering::Acquire)));
            self.fs
                .remove_file(&file.path)
                .map_err(|error| Error::io("remove", &file.path, error))?;
        }
        Ok(())
    }

    /// Returns the bytes of all files.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.lengths().iter().map(|file| file.len).sum()
    }
}

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

    /// Returns the series ids of the piece; its whole body is verified for that.
    pub(crate) fn ids(&self, header: PieceHeader) -> Result<Vec<u64>> {
        self.attach(header, Arc::new(Layout::new(Vec::new())))
            .with_view(|view| view.ids())
    }
}

fn read<'a>(mapped: &'a MappedFile, path: &Path, offset: u64, len: usize) -> Result<Cow<'a, [u8]>> {
    mapped
        .bytes(offset, len)
        .map_err(|error| Error::io("read", path, error))
}

fn read_file_header(bytes: &[u8]) -> Option<TimeRange> {
    let mut reader = ByteReader::checked(bytes).ok()?;
    if reader.bytes(MAGIC.len()).ok()? != MAGIC {
        return None;
    }
    Some(TimeRange::new(reader.i64().ok()?, reader.i64().ok()?))
}
