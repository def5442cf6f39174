//! A disk in memory that fails and crashes on demand.
//!
//! Its purpose is to show that a database keeps its promises on a disk that does everything a disk is allowed to do. It
//! models the least that POSIX promises, not one file system: a name may be there without its content, the content
//! without its name, a later change without an earlier one.
//!
//! It does not know time, permissions or symbolic links, and reading never fails unless the bytes were damaged before.
//!
//! 1. Each change is an operation; operations have numbers from 0 on ([`SimFs::operations`]) and are logged.
//! 2. [`SimFs::fail_nth`] makes the operation with a number fail, [`SimFs::set_capacity`] those that need room.
//! 3. [`SimFs::crash_at`] replays the log up to a number, keeps what syncs have settled, and of the rest what a
//!    [`CrashChoice`] says. [`SimFs::crash_states`] lists all choices worth trying there.
//! 4. The answer is a file system of its own: run the recovery on it, look at what it finds, crash it again.

mod crash;
mod disk;
mod fault;
mod handle;
mod tree;

use std::any::Any;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

pub use crash::CrashChoice;
pub use fault::{Fault, FaultKind, FaultRepeat};

use self::disk::Disk;
use self::handle::{SimAppendFile, SimLock, SimReadFile};
use self::tree::{Inode, Op, Tree};
use crate::fs::{AppendFile, DirEntry, Fs, LockMode, MappedFile, ReadFile};

/// A simulated disk; a clone is another handle on the same one. Paths count from its root, with or without a slash.
#[derive(Clone)]
pub struct SimFs(Arc<Mutex<Disk>>);

impl SimFs {
    /// Returns an empty disk without limits.
    pub fn new() -> Self {
        Self::with(Disk::new(Tree::new()))
    }

    /// Returns the number of operations so far, which is the number the next one gets. What fails counts as well.
    pub fn operations(&self) -> usize {
        self.0.lock().ops.len()
    }

    /// Makes the operation with this number fail, or the first one after it that can fail in this way.
    pub fn fail_nth(&self, number: usize, fault: Fault) {
        self.0.lock().faults.plan(number, fault);
    }

    /// Returns how many operations [`fail_nth`](Self::fail_nth) has made fail.
    pub fn failures(&self) -> usize {
        self.0.lock().faults.struck()
    }

    /// Forgets the faults that are still to come.
    pub fn heal(&self) {
        self.0.lock().faults.clear();
    }

    /// Lets the disk hold `bytes` of content, or any number: an append beyond that puts in what fits and fails.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().capacity = bytes;
    }

    /// Ignores the syncs of files and directories whose path `matches`: they succeed and settle nothing. A test that
    /// passes with a sync ignored does not cover it, or does not need it.
    ///
    /// A file goes by the path it was opened with.
    pub fn ignore_syncs(&self, matches: impl Fn(&Path) -> bool + Send + Sync + 'static) {
        self.0.lock().ignored_syncs = Some(Box::new(matches));
    }

    /// Turns one bit of a file over, on the medium: no mapping and no later sync sees to it.
    pub fn flip_bit(&self, path: &Path, bit: u64) -> io::Result<()> {
        self.damage(path, |inode| Op::FlipBit { inode, bit })
    }

    /// Cuts a file to `len` bytes, on the medium.
    pub fn truncate_file(&self, path: &Path, len: u64) -> io::Result<()> {
        self.damage(path, |inode| Op::Cut { inode, len })
    }

    /// Returns the file system as the next process finds it if everything stops now.
    pub fn crash(&self, choice: CrashChoice) -> Self {
        self.crash_at(self.operations(), choice)
    }

    /// Returns the file system as the next process finds it if everything stops before the operation with this number.
    /// It holds no locks, no faults are planned, and nothing on it is pending, except after [`CrashChoice::All`].
    ///
    /// # Panics
    ///
    /// If there have not been so many operations.
    pub fn crash_at(&self, number: usize, choice: CrashChoice) -> Self {
        let disk = self.0.lock();
        let ops = &disk.ops[..number];
        let tree = crash::after_crash(&disk.base, ops, choice);
        let mut left = Disk::new(tree);
        left.capacity = disk.capacity;
        if choice == CrashChoice::All {
            left.base = disk.base.clone();
            left.ops = ops.to_vec();
        }
        Self::with(left)
    }

    /// Returns each state worth looking at if everything stops before the operation with this number: with `p`
    /// operations pending, `4 + 2 p` of them and `seeds` drawn ones. Many are equal: see [`digest`](Self::digest).
    pub fn crash_states(
        &self,
        number: usize,
        seeds: u64,
    ) -> impl Iterator<Item = (CrashChoice, Self)> + use<> {
        let pending = crash::pending_count(&self.0.lock().ops[..number]);
        let fs = self.clone();
        CrashChoice::enumerate(pending, seeds)
            .into_iter()
            .map(move |choice| (choice, fs.crash_at(number, choice)))
    }

    /// Returns a number that is equal for disks with equal names and content.
    pub fn digest(&self) -> u64 {
        let disk = self.0.lock();
        let mut hasher = DefaultHasher::new();
        for (path, inode) in disk.tree.walk() {
            path.hash(&mut hasher);
            disk.tree.file(inode).ok().hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Lists all files with their lengths.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let disk = self.0.lock();
        let found = disk.tree.walk().into_iter();
        found
            .filter_map(|(path, inode)| Some((path, disk.tree.file(inode).ok()?.len() as u64)))
            .collect()
    }

    fn with(disk: Disk) -> Self {
        Self(Arc::new(Mutex::new(disk)))
    }

    fn damage(&self, path: &Path, op: impl FnOnce(Inode) -> Op) -> io::Result<()> {
        let mut disk = self.0.lock();
        let inode = disk.tree.resolve_file(path)?;
        disk.log(op(inode));
        Ok(())
    }

    fn append_file(&self, path: &Path, inode: Inode, len: u64) -> Box<dyn AppendFile> {
        Box::new(SimAppendFile {
            fs: self.clone(),
            path: path.to_path_buf(),
            inode,
            len,
        })
    }
}

impl Default for SimFs {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SimFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFs")
            .field("operations", &self.operations())
            .finish_non_exhaustive()
    }
}

impl Fs for SimFs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let inode = self.0.lock().create(path)?;
        Ok(self.append_file(path, inode, 0))
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let disk = self.0.lock();
        let inode = disk.tree.resolve_file(path)?;
        let len = disk.tree.file(inode)?.len() as u64;
        drop(disk);
        Ok(self.append_file(path, inode, len))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        let inode = self.0.lock().tree.resolve_file(path)?;
        Ok(Arc::new(SimReadFile {
            fs: self.clone(),
            inode,
        }))
    }

    fn map(&self, path: &Path, len: u64) -> io::Result<MappedFile> {
        let mut disk = self.0.lock();
        let inode = disk.tree.resolve_file(path)?;
        let content = disk.tree.file(inode)?;
        let settled = content
            .get(..len as usize)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let snapshot: Arc<[u8]> = settled.into();
        disk.mapped.retain(|(_, map)| map.strong_count() > 0);
        disk.mapped.push((inode, Arc::downgrade(&snapshot)));
        Ok(MappedFile::from_bytes(snapshot))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        let at = disk.tree.slot(path)?;
        if disk.tree.lookup(&at).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = disk.tree.next_inode();
        disk.mutate(Op::Mkdir { at, inode })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        let tree = &disk.tree;
        let inode = tree.resolve(from)?;
        let is_dir = tree.dir(inode).is_ok();
        if is_dir && to.starts_with(from) && to != from {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (from, to) = (tree.slot(from)?, tree.slot(to)?);
        if let Some(replaced) = tree.lookup(&to) {
            if replaced == inode {
                return Ok(());
            }
            match (is_dir, tree.dir(replaced)) {
                (false, Err(_)) => {}
                (false, Ok(_)) => return Err(io::ErrorKind::IsADirectory.into()),
                (true, Ok(names)) if names.is_empty() => {}
                (true, Ok(_)) => return Err(io::ErrorKind::DirectoryNotEmpty.into()),
                (true, Err(error)) => return Err(error),
            }
        }
        disk.mutate(Op::Rename { from, to, inode })
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        let inode = disk.tree.resolve_file(from)?;
        let at = disk.tree.slot(to)?;
        if disk.tree.lookup(&at).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        disk.mutate(Op::Link { at, inode })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.tree.resolve_file(path)?;
        let at = disk.tree.slot(path)?;
        disk.mutate(Op::Unlink { at })
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        let inode = disk.tree.resolve(path)?;
        if !disk.tree.dir(inode)?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let at = disk.tree.slot(path)?;
        disk.mutate(Op::Rmdir { at })
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let disk = self.0.lock();
        let names = disk.tree.dir(disk.tree.resolve(path)?)?;
        let entry = |(name, &inode): (&String, &Inode)| {
            let content = disk.tree.file(inode).ok();
            DirEntry {
                name: name.clone(),
                is_dir: content.is_none(),
                len: content.map_or(0, <[u8]>::len) as u64,
            }
        };
        Ok(names.iter().map(entry).collect())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        let dir = disk.tree.resolve(path)?;
        disk.tree.dir(dir)?;
        disk.sync(path, Op::SyncDir { dir })
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let resolved = self.0.lock().tree.resolve(path);
        match resolved {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn lock(&self, path: &Path, mode: LockMode) -> io::Result<Box<dyn Any + Send + Sync>> {
        let mut disk = self.0.lock();
        let inode = match disk.tree.resolve_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(path)?,
            resolved => resolved?,
        };
        let holders = disk.locks.entry(inode).or_default();
        let free = holders.is_empty()
            || mode == LockMode::Shared && holders.iter().all(|held| *held == LockMode::Shared);
        if !free {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        holders.push(mode);
        drop(disk);
        Ok(Box::new(SimLock {
            fs: self.clone(),
            inode,
        }))
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let disk = self.0.lock();
        disk.tree.resolve(path)?;
        Ok(disk.free())
    }
}

#[cfg(test)]
mod tests;
