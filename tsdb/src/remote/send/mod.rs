//! Making requests of samples, and reading what became of them: everything of a sender but its threads.
//!
//! 1. [`SenderOptions`] says what a remote speaks and how patient to be with it.
//! 2. `Preparer` makes of a series' labels what is sent: external labels, relabeling, OpenTSDB's mapping. Once per series.
//! 3. `BatchBuilder` collects samples of series that go the same way; `Batch` has them series by series, each series once.
//! 4. `Pieces` says which part of a batch is sent next, and finds out what of one that is refused is bad.
//! 5. `RequestBuilder` encodes a part of a batch into one request.
//! 6. `Verdict` is what the answer says: stored, again, refused, or that somebody has to look.
//! 7. `Backoff` says how long to wait before again.
//!
//! Threads, queues and the log are the database's: see [`Db::start_sender`](crate::Db::start_sender).

mod backoff;
mod batch;
mod options;
mod pieces;
mod prepare;
mod request;
mod verdict;

pub(crate) use backoff::Backoff;
pub(crate) use batch::{Batch, BatchBuilder};
pub use options::{OpenTsdbOptions, Protocol, SenderOptions};
pub(crate) use pieces::{GivenUp, Pieces, Search};
pub(crate) use prepare::{Prepared, Preparer};
pub(crate) use request::{Built, RequestBuilder, Wanted};
pub(crate) use verdict::{Outcome, Verdict};

/// Why samples were not sent, or not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnsentReason {
    /// A rule of [`SenderOptions::relabel`] dropped the series.
    Relabeled,
    /// They were older than [`SenderOptions::sample_age_limit`].
    TooOld,
    /// The protocol has no form for the series' labels.
    Unmappable,
    /// The protocol has no form for the value or the timestamp: NaN, infinity, a staleness marker for OpenTSDB.
    Unrepresentable,
    /// The definition of the series is lost to damage of the log.
    Unnamed,
    /// The remote refused them for good; they are in the dead-letter file.
    Refused,
    /// The remote refused them after an attempt of which no answer came, or after a restart that may have cut one off:
    /// that attempt has stored them, most likely. They are in the dead-letter file.
    Unconfirmed,
}

impl UnsentReason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Relabeled,
        Self::TooOld,
        Self::Unmappable,
        Self::Unrepresentable,
        Self::Unnamed,
        Self::Refused,
        Self::Unconfirmed,
    ];

    /// Returns a word for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Relabeled => "relabeled",
            Self::TooOld => "too_old",
            Self::Unmappable => "unmappable",
            Self::Unrepresentable => "unrepresentable",
            Self::Unnamed => "unnamed",
            Self::Refused => "refused",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}
