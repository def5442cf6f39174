//! What a simulated disk gives out: open files and held locks.

use std::io;
use std::path::PathBuf;

use super::SimFs;
use super::tree::{Inode, Op};
use crate::fs::{AppendFile, ReadFile};

pub(super) struct SimAppendFile {
    pub(super) fs: SimFs,
    pub(super) path: PathBuf,
    pub(super) inode: Inode,
    pub(super) len: u64,
}

impl AppendFile for SimAppendFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.fs.0.lock().append(self.inode, bytes)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.fs.0.lock().truncate(self.inode, len)?;
        self.len = len;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let op = Op::SyncFile { inode: self.inode };
        self.fs.0.lock().sync(&self.path, op)
    }

    fn len(&self) -> u64 {
        self.len
    }
}

pub(super) struct SimReadFile {
    pub(super) fs: SimFs,
    pub(super) inode: Inode,
}

impl ReadFile for SimReadFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let disk = self.fs.0.lock();
        let content = disk.tree.file(self.inode)?;
        let wanted = usize::try_from(offset)
            .ok()
            .and_then(|offset| content.get(offset..)?.get(..buffer.len()))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(wanted);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.fs.0.lock().tree.file(self.inode)?.len() as u64)
    }
}

pub(super) struct SimLock {
    pub(super) fs: SimFs,
    pub(super) inode: Inode,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut disk = self.fs.0.lock();
        if let Some(holders) = disk.locks.get_mut(&self.inode) {
            // Whoever holds it shared holds it in the same mode: which of them goes makes no difference.
            holders.pop();
        }
    }
}
