//! The disk, and the disk that fails.
//!
//! Everything that changes a file or a directory goes through [`Fs`], and so does opening files to read: a test can then
//! stop the machine at any step, or let any step fail, and look at what is left.
//!
//! The module does not know what the bytes mean, nor when something has to be durable: its callers decide what to sync.
//!
//! 1. A file is created, appended to and synced through [`AppendFile`]; nothing is overwritten in place.
//! 2. The name of a new, renamed or removed file is durable after [`Fs::sync_dir`] on its directory, not before.
//! 3. What does not change any more is read through a [`MappedFile`]; what still grows, through a [`ReadFile`].
//! 4. A small file that changes as a whole goes through `replace`: a reader finds the old or the new content.
//! 5. [`DiskFs`] is the disk of the operating system; `SimFs` (feature `testing`) one in memory that fails and crashes.

mod disk;
mod mapped;
pub(crate) mod names;
mod replace;
#[cfg(any(test, feature = "testing"))]
mod sim;
mod ulid;

pub use disk::{DiskFs, IoMode};
pub use mapped::MappedFile;
pub(crate) use replace::{remove_tree, replace, replace_by, sweep_tmp};
#[cfg(any(test, feature = "testing"))]
pub use sim::{CrashChoice, Fault, FaultKind, FaultRepeat, SimFs};
pub use ulid::Ulid;

use std::any::Any;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The last component of its path.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Its size in bytes, 0 for a directory.
    pub len: u64,
}

/// Who else may hold a lock at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Nobody.
    Exclusive,
    /// Others that share it.
    Shared,
}

/// A file system. Object-safe; one instance serves a database from all its threads.
pub trait Fs: Send + Sync + fmt::Debug {
    /// Creates an empty file to append to; fails if the name exists.
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;

    /// Opens an existing file to append at its end.
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;

    /// Opens a file to read.
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>>;

    /// Gives access to the first `len` bytes of a file, which must never change any more; the file may grow behind them.
    fn map(&self, path: &Path, len: u64) -> io::Result<MappedFile>;

    /// Creates a directory; its parent must exist.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Gives a file or directory another name, replacing a file that has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Lists a directory, sorted by name.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Tells whether a file or directory has this name.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Takes an advisory lock on the file, creating it; [`io::ErrorKind::WouldBlock`] if somebody else has it. Dropping
    /// the answer releases it, and so does the death of the process.
    fn lock(&self, path: &Path, mode: LockMode) -> io::Result<Box<dyn Any + Send + Sync>>;

    /// Returns the bytes still free for files under `path`.
    fn free_space(&self, path: &Path) -> io::Result<u64>;
}

/// A file that is being written.
pub trait AppendFile: Send {
    /// Adds all of `bytes` at the end. After an error an unknown part of them is in the file: truncate it away.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file to its first `len` bytes; it is an error if there are fewer.
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    /// Makes the content durable. After an error nothing is known about what was appended since the last success, and
    /// trying again proves nothing.
    fn sync(&mut self) -> io::Result<()>;

    /// Returns the length, counting what was appended.
    fn len(&self) -> u64;

    /// Tells whether the file has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A file that is being read.
pub trait ReadFile: Send + Sync {
    /// Fills `buffer` from `offset` on; an error if the file ends before.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Returns the length.
    fn len(&self) -> io::Result<u64>;

    /// Tells whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

#[cfg(test)]
mod tests;
