//! The disk of the operating system.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this is the one place that touches the file system"
)]

use std::any::Any;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use super::{AppendFile, DirEntry, Fs, LockMode, MappedFile, ReadFile};

/// How settled files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IoMode {
    /// Through memory maps: no copy and no system call for what is in the page cache. A device that fails to deliver a
    /// page, or another program that truncates the file, ends the process with a signal.
    #[default]
    Map,
    /// With a system call and a copy for each read: a failing device is an ordinary error.
    Read,
}

/// The disk of the operating system. Directories it creates are for their owner alone (0700), and so are files (0600).
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskFs {
    io_mode: IoMode,
}

impl DiskFs {
    /// Returns the disk, its settled files to be read as `io_mode` says.
    pub const fn new(io_mode: IoMode) -> Self {
        Self { io_mode }
    }
}

impl Fs for DiskFs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(path)?;
        Ok(Box::new(DiskAppendFile { file, len: 0 }))
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let file = OpenOptions::new().append(true).open(path)?;
        let len = file.metadata()?.len();
        Ok(Box::new(DiskAppendFile { file, len }))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        Ok(Arc::new(DiskReadFile(File::open(path)?)))
    }

    fn map(&self, path: &Path, len: u64) -> io::Result<MappedFile> {
        let file = File::open(path)?;
        let there = file.metadata()?.len();
        // A read of a mapped page behind the end of the file is a signal, not an error: this check stands in for it.
        if there < len {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("file has {there} bytes, expected {len}"),
            ));
        }
        match self.io_mode {
            IoMode::Map => {
                let len = usize::try_from(len).map_err(io::Error::other)?;
                MappedFile::map(&file, len)
            }
            IoMode::Read => Ok(MappedFile::on_demand(Arc::new(DiskReadFile(file)), len)),
        }
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(DIR_MODE).create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Removed since the directory was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let is_dir = metadata.is_dir();
            entries.push(DirEntry {
                // A name that is not UTF-8 is none of ours; it is listed so that it can be told to the user.
                name: entry.file_name().to_string_lossy().into_owned(),
                is_dir,
                len: if is_dir { 0 } else { metadata.len() },
            });
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        fs::exists(path)
    }

    fn lock(&self, path: &Path, mode: LockMode) -> io::Result<Box<dyn Any + Send + Sync>> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(FILE_MODE)
            .open(path)?;
        match mode {
            LockMode::Exclusive => file.try_lock()?,
            LockMode::Shared => file.try_lock_shared()?,
        }
        Ok(Box::new(Lock(file)))
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        // `f_bavail`, not `f_bfree`: what is reserved for the superuser is no use to the others.
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// A lock that is held.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child that another thread has forked and that has not become its program yet
        // shares the open file, and the lock with it. If this fails, closing still releases it a little later.
        drop(self.0.unlock());
    }
}

struct DiskAppendFile {
    /// Opened with `O_APPEND`, so that a write after a cut lands at the new end.
    file: File,
    len: u64,
}

impl AppendFile for DiskAppendFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        // The length in memory is too small after a failed append, so the file is asked.
        if len > self.file.metadata()?.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.file.set_len(len)?;
        self.len = len;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> u64 {
        self.len
    }
}

struct DiskReadFile(File);

impl ReadFile for DiskReadFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
