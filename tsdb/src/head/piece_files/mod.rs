//! The files that hold sealed rows.
//!
//! A file is open for one block range, and takes pieces until something fails: an append of which half could not be cut
//! off closes it, a failed sync makes it distrusted. A closed file is still synced and named by checkpoints. The pieces
//! of a distrusted one are copied to another first; it is released then, and removed once a checkpoint stands that does
//! not name it. Files of flushed ranges are released the same way: at every moment the checkpoint on disk names files
//! that are there.

mod file;
mod load;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::encoding::seal;
use crate::error::{Error, Result};
use crate::fs::{Fs, MappedFile, names};
use crate::piece::{HEADER_BYTES, PieceHeader};
use crate::time::TimeRange;

use super::layout::Layout;
use super::memory::OVERHEAD_BYTES;
use file::{IN_MEMORY, PieceFile};
pub(crate) use file::{Piece, read_each};
pub(crate) use load::LoadedPiece;

const MAGIC: &[u8; 8] = b"TSDBPCE1";
const FILE_HEADER_BYTES: usize = 8 + 8 + 8 + 4;

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
    /// Files that take no more pieces: of an earlier run, or after a failure.
    closed: Vec<Arc<PieceFile>>,
    /// Files that nothing in memory needs; a checkpoint on disk may name them.
    released: Vec<Arc<PieceFile>>,
    /// Files of an earlier run that could not be read.
    unread: Vec<PieceFileLen>,
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
        let Some(open) = writer.as_mut().filter(|writer| !writer.is_closed) else {
            return Err(Error::read_only("piece file is not open for writing"));
        };
        let start = open.output.len();
        if let Err(error) = open.output.append(bytes) {
            // Half a piece would hide the next one. If it cannot be cut off, the file takes no more.
            if open.output.truncate(start).is_err() {
                open.is_closed = true;
                drop(writer);
                self.close(&file);
            }
            return Err(Error::io("append to", &file.path, error));
        }
        // Release: readers that see the length find the bytes.
        file.len.store(open.output.len(), Ordering::Release);
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
        let mapping = (bytes.len() as u64, MappedFile::from_bytes(bytes));
        let path = self.dir.join("memory");
        let file = PieceFile::closed(IN_MEMORY, range, path, Arc::clone(&self.fs), mapping);
        Arc::new(Piece {
            header,
            layout: Arc::clone(layout),
            file: Arc::new(file),
            offset: HEADER_BYTES as u64,
            is_verified: AtomicBool::new(true),
        })
    }

    fn open_file(&self, range: TimeRange) -> Result<Arc<PieceFile>> {
        let mut files = self.files.lock();
        if let Some(file) = files.open.get(&range.start) {
            return Ok(Arc::clone(file));
        }
        // The number is spent even if this fails: a file that cannot be removed again is never in the way.
        let number = files.next_number;
        files.next_number += 1;
        let path = self.dir.join(names::pieces(number));
        let mut output = self
            .fs
            .create(&path)
            .map_err(|error| Error::io("create", &path, error))?;
        let mut header = Vec::with_capacity(FILE_HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&range.start.to_le_bytes());
        header.extend_from_slice(&range.end.to_le_bytes());
        seal(&mut header, 0);
        if let Err(error) = output.append(&header) {
            // Left over, it is removed by the next open; on a full disk each retry would leave one more.
            drop(self.fs.remove_file(&path));
            return Err(Error::io("append to", &path, error));
        }
        let file = Arc::new(PieceFile::open(
            number,
            range,
            path,
            Arc::clone(&self.fs),
            output,
        ));
        files.open.insert(range.start, Arc::clone(&file));
        Ok(file)
    }

    /// Takes no more pieces into a file: the next one of its range goes to a new file.
    fn close(&self, file: &Arc<PieceFile>) {
        let mut files = self.files.lock();
        let is_open = files
            .open
            .get(&file.range.start)
            .is_some_and(|open| Arc::ptr_eq(open, file));
        if is_open {
            files.open.remove(&file.range.start);
            files.closed.push(Arc::clone(file));
        }
    }

    /// Returns how long each file is now, for a checkpoint that syncs them next.
    pub(crate) fn lengths(&self) -> Vec<PieceFileLen> {
        let files = self.files.lock();
        let mut lengths: Vec<PieceFileLen> = files
            .open
            .values()
            .chain(&files.closed)
            .map(|file| PieceFileLen {
                number: file.number,
                len: file.len.load(Ordering::Acquire),
            })
            .chain(files.unread.iter().copied())
            .collect();
        lengths.sort_by_key(|file| file.number);
        lengths
    }

    /// Makes everything appended so far durable.
    ///
    /// # Errors
    ///
    /// The disk's. What was appended to the file concerned since its last sync may be gone, whatever a second sync says:
    /// the file is distrusted and takes no more, and the log still holds its rows until a checkpoint succeeds.
    pub(crate) fn sync(&self) -> Result<()> {
        let files: Vec<Arc<PieceFile>> = {
            let files = self.files.lock();
            files.open.values().chain(&files.closed).cloned().collect()
        };
        for file in &files {
            let mut writer = file.writer.lock();
            let Some(open) = writer.as_mut() else {
                continue;
            };
            if let Err(error) = open.output.sync() {
                file.distrust();
                *writer = None;
                drop(writer);
                self.close(file);
                return Err(Error::io("sync", &file.path, error));
            }
            if open.is_closed {
                *writer = None;
            }
        }
        if let Err(error) = self.fs.sync_dir(&self.dir) {
            // As with a file: a name that was not made durable may never be.
            for file in files
                .iter()
                .filter(|file| !file.is_named.load(Ordering::Relaxed))
            {
                file.distrust();
                *file.writer.lock() = None;
                self.close(file);
            }
            return Err(Error::io("sync", &self.dir, error));
        }
        for file in &files {
            // Relaxed: only the one who makes checkpoints looks at it.
            file.is_named.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Tells whether a sync has failed and the pieces concerned are not written elsewhere yet.
    pub(crate) fn are_distrusted(&self) -> bool {
        let files = self.files.lock();
        files.closed.iter().any(|file| file.is_distrusted())
    }

    /// Lets go of files whose sync has failed, now that no piece is in them.
    pub(crate) fn release_distrusted(&self) {
        self.release(PieceFile::is_distrusted);
    }

    /// Lets go of files whose range ends at or before `boundary`.
    pub(crate) fn release_before(&self, boundary: i64) {
        self.release(|file| file.range.end <= boundary);
    }

    fn release(&self, is_done: impl Fn(&PieceFile) -> bool) {
        let mut files = self.files.lock();
        let Files {
            open,
            closed,
            released,
            ..
        } = &mut *files;
        released.extend(
            open.extract_if(|_, file| is_done(file))
                .map(|(_, file)| file),
        );
        released.extend(closed.extract_if(.., |file| is_done(file)));
    }

    /// Removes the released files, now that the checkpoint on disk names none of them. Readers that have one mapped keep
    /// it.
    pub(crate) fn remove_released(&self) -> Result<()> {
        loop {
            let Some(file) = self.files.lock().released.last().cloned() else {
                return Ok(());
            };
            // A mapping made now keeps readers of the last moment going.
            drop(file.mapped(file.len.load(Ordering::Acquire)));
            match self.fs.remove_file(&file.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", &file.path, error));
                }
                _ => self
                    .files
                    .lock()
                    .released
                    .retain(|released| !Arc::ptr_eq(released, &file)),
            }
        }
    }

    /// Numbers of new files start above every number that was seen.
    pub(crate) fn skip_number(&self, number: u64) {
        let mut files = self.files.lock();
        files.next_number = files.next_number.max(number.saturating_add(1));
    }

    /// Returns the bytes of all files.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.lengths().iter().map(|file| file.len).sum()
    }
}
