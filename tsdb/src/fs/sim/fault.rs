//! Operations that fail on demand.

use std::io;

use rustix::io::Errno;

use super::tree::Op;

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// Any operation: an I/O error, and nothing has happened.
    Eio,
    /// What needs room - create, append, link, rename, sync: the disk is full, and nothing has happened. Removing and
    /// cutting files goes on working.
    Enospc,
    /// An append: half of the bytes are in the file, then an I/O error.
    ShortWrite,
    /// The sync of a file: an I/O error, what was not synced before reads as zeros, and the next sync succeeds without
    /// bringing it back.
    LostSync,
}

/// How often an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultRepeat {
    /// The first time it could.
    Once,
    /// Each time it could from then on.
    Forever,
}

/// A failure to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fault {
    /// How it shows.
    pub kind: FaultKind,
    /// How often.
    pub repeat: FaultRepeat,
}

impl Fault {
    /// Returns a fault that happens one time.
    pub const fn once(kind: FaultKind) -> Self {
        Self {
            kind,
            repeat: FaultRepeat::Once,
        }
    }

    /// Returns a fault that stays until [`SimFs::heal`](super::SimFs::heal).
    pub const fn forever(kind: FaultKind) -> Self {
        Self {
            kind,
            repeat: FaultRepeat::Forever,
        }
    }
}

impl FaultKind {
    pub(super) fn error(self) -> io::Error {
        match self {
            Self::Enospc => Errno::NOSPC.into(),
            Self::Eio | Self::ShortWrite | Self::LostSync => Errno::IO.into(),
        }
    }

    fn applies_to(self, op: &Op) -> bool {
        match self {
            Self::Eio => true,
            Self::Enospc => matches!(
                op,
                Op::Create { .. }
                    | Op::Mkdir { .. }
                    | Op::Link { .. }
                    | Op::Rename { .. }
                    | Op::Append { .. }
                    | Op::SyncFile { .. }
                    | Op::SyncDir { .. }
            ),
            Self::ShortWrite => matches!(op, Op::Append { .. }),
            Self::LostSync => matches!(op, Op::SyncFile { .. }),
        }
    }
}

/// The faults that are planned.
#[derive(Debug, Default)]
pub(super) struct Faults {
    plans: Vec<(usize, Fault)>,
    struck: usize,
}

impl Faults {
    pub(super) fn plan(&mut self, index: usize, fault: Fault) {
        self.plans.push((index, fault));
    }

    pub(super) fn clear(&mut self) {
        self.plans.clear();
    }

    /// Returns how many operations have failed so far.
    pub(super) fn struck(&self) -> usize {
        self.struck
    }

    /// Returns how `op`, the operation number `index`, has to fail.
    pub(super) fn strike(&mut self, index: usize, op: &Op) -> Option<FaultKind> {
        let hit = self
            .plans
            .iter()
            .position(|(from, fault)| *from <= index && fault.kind.applies_to(op))?;
        let (_, fault) = self.plans[hit];
        if fault.repeat == FaultRepeat::Once {
            self.plans.remove(hit);
        }
        self.struck += 1;
        Some(fault.kind)
    }
}
