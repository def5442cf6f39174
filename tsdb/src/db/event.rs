//! What the database tells its embedder while it works.

use std::path::PathBuf;
use std::time::Duration;

use crate::fs::Ulid;
use crate::ship::DropReason;
use crate::time::TimeRange;

/// Something that happened. New kinds may come.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The database is open.
    Opened {
        /// Samples taken from the log.
        samples_replayed: u64,
        /// How long opening took.
        duration: Duration,
    },
    /// A unit on disk is not what was written. What it held is lost, or comes from somewhere else.
    Damaged {
        /// The unit and what is wrong with it.
        message: String,
    },
    /// Something that could not be used was moved aside.
    Quarantined {
        /// Where it is now.
        path: PathBuf,
    },
    /// Samples left the head as a block.
    Flushed {
        /// The block.
        block: Ulid,
        /// The span of time it answers for.
        range: TimeRange,
        /// How many samples it holds.
        samples: u64,
    },
    /// Blocks became one.
    Merged {
        /// The new block; none if every sample was deleted.
        block: Option<Ulid>,
        /// The blocks it replaces.
        parents: Vec<Ulid>,
    },
    /// Retention removed a block.
    Dropped {
        /// The block.
        block: Ulid,
    },
    /// Samples that a remote had not acknowledged were dropped from the log.
    SpoolDropped {
        /// The remote.
        remote: String,
        /// How many samples.
        samples: u64,
        /// Which part of the [`SpoolBudget`](crate::SpoolBudget) was exceeded.
        reason: DropReason,
    },
    /// A remote answers that its address, the credentials or something else is wrong. Everything is kept; the remote is
    /// asked again from time to time.
    RemotePaused {
        /// The remote.
        remote: String,
        /// What it said.
        reason: String,
    },
    /// A remote refused samples for good; they are in its dead-letter file.
    RemoteRefused {
        /// The remote.
        remote: String,
        /// How many samples.
        samples: u64,
        /// What it said.
        reason: String,
    },
    /// A remote turned out not to know what it was sent, and is sent something older.
    RemoteDowngraded {
        /// The remote.
        remote: String,
        /// What it is sent now.
        dialect: &'static str,
        /// What it said.
        reason: String,
    },
    /// Writes fail; reads go on. Writes are tried again by themselves.
    ReadOnly {
        /// Why.
        reason: String,
    },
    /// Writes work again.
    Healthy,
    /// Background work failed and will be tried again.
    Failed {
        /// What, and why.
        message: String,
    },
}

/// Takes events. Called on the thread where they happen, with no lock held: it must not take long.
pub trait EventListener: Send + Sync {
    /// Takes one event.
    fn event(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync> EventListener for F {
    fn event(&self, event: &Event) {
        self(event);
    }
}
