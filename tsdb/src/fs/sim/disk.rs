//! The gate every change of the simulated disk goes through.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Weak;

use super::fault::{FaultKind, Faults};
use super::tree::{Inode, Op, Tree};
use crate::fs::LockMode;

/// Tells of a path whether its syncs are ignored.
pub(super) type SyncFilter = Box<dyn Fn(&Path) -> bool + Send + Sync>;

/// The state behind all handles on one simulated disk.
pub(super) struct Disk {
    /// What was there before the first operation.
    pub(super) base: Tree,
    pub(super) ops: Vec<Op>,
    /// What is there after the last.
    pub(super) tree: Tree,
    pub(super) faults: Faults,
    pub(super) capacity: Option<u64>,
    pub(super) ignored_syncs: Option<SyncFilter>,
    /// The modes in which each locked file is held.
    pub(super) locks: BTreeMap<Inode, Vec<LockMode>>,
    /// The mappings given out that may still be read.
    pub(super) mapped: Vec<(Inode, Weak<[u8]>)>,
}

impl Disk {
    pub(super) fn new(tree: Tree) -> Self {
        Self {
            base: tree.clone(),
            ops: Vec::new(),
            tree,
            faults: Faults::default(),
            capacity: None,
            ignored_syncs: None,
            locks: BTreeMap::new(),
            mapped: Vec::new(),
        }
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<Inode> {
        let at = self.tree.slot(path)?;
        if self.tree.lookup(&at).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = self.tree.next_inode();
        self.mutate(Op::Create { at, inode })?;
        Ok(inode)
    }

    pub(super) fn append(&mut self, inode: Inode, bytes: &[u8]) -> io::Result<()> {
        let offset = self.tree.file(inode)?.len() as u64;
        let append = |count: usize| Op::Append {
            inode,
            offset,
            bytes: bytes[..count].into(),
        };
        let whole = append(bytes.len());
        let fits = usize::try_from(self.free()).unwrap_or(usize::MAX);
        match self.faults.strike(self.ops.len(), &whole) {
            Some(kind @ FaultKind::ShortWrite) => {
                self.log(append(bytes.len() / 2));
                Err(kind.error())
            }
            Some(kind) => self.fail(kind),
            None if fits < bytes.len() => {
                self.log(append(fits));
                Err(FaultKind::Enospc.error())
            }
            None => {
                self.log(whole);
                Ok(())
            }
        }
    }

    pub(super) fn truncate(&mut self, inode: Inode, len: u64) -> io::Result<()> {
        if self.tree.file(inode)?.len() < len as usize {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (mapped, map) in &self.mapped {
            let cuts = *mapped == inode && map.upgrade().is_some_and(|map| map.len() as u64 > len);
            assert!(
                !cuts,
                "reading what is mapped would end a process: cut to {len} bytes"
            );
        }
        self.mutate(Op::Truncate { inode, len })
    }

    pub(super) fn sync(&mut self, path: &Path, op: Op) -> io::Result<()> {
        let ignored = self
            .ignored_syncs
            .as_ref()
            .is_some_and(|ignored| ignored(path));
        self.mutate(if ignored { Op::Nothing } else { op })
    }

    /// Does what `op` says, or fails as planned.
    pub(super) fn mutate(&mut self, op: Op) -> io::Result<()> {
        match (self.faults.strike(self.ops.len(), &op), &op) {
            (None, _) => {
                self.log(op);
                Ok(())
            }
            (Some(kind @ FaultKind::LostSync), Op::SyncFile { inode }) => {
                let lost = self.unsynced(*inode);
                self.log(lost);
                Err(kind.error())
            }
            (Some(kind), _) => self.fail(kind),
        }
    }

    fn fail(&mut self, kind: FaultKind) -> io::Result<()> {
        self.log(Op::Nothing);
        Err(kind.error())
    }

    pub(super) fn log(&mut self, op: Op) {
        self.tree.apply(&op);
        self.ops.push(op);
    }

    /// Returns the loss of everything appended to a file since its last sync.
    fn unsynced(&self, inode: Inode) -> Op {
        let since_sync = self
            .ops
            .iter()
            .rev()
            .take_while(|op| !matches!(op, Op::SyncFile { inode: synced } if *synced == inode));
        let (mut lost_from, mut lost_to) = (u64::MAX, 0);
        for op in since_sync {
            match op {
                Op::Append {
                    inode: appended,
                    offset,
                    bytes,
                } if *appended == inode => {
                    lost_from = lost_from.min(*offset);
                    lost_to = lost_to.max(offset + bytes.len() as u64);
                }
                _ => {}
            }
        }
        if lost_from < lost_to {
            Op::Lose {
                inode,
                offset: lost_from,
                end: lost_to,
            }
        } else {
            Op::Nothing
        }
    }

    pub(super) fn free(&self) -> u64 {
        self.capacity.map_or(u64::MAX, |capacity| {
            capacity.saturating_sub(self.tree.used())
        })
    }
}
