//! What can go wrong: [`Error`] for a fault of the disk or the caller, [`Rejection`] for a sample that is not taken.
//!
//! An [`Error`] says what failed, where, and through its [`ErrorKind`] what to do about it. It names no other
//! module of the crate, so every layer can use it. A [`Rejection`] is an ordinary answer to one sample, copied
//! around on the hot path without an allocation.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The result of an operation that touches the disk or checks what the caller gave.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A fault of the disk or of the caller; one word wide.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    path: Option<PathBuf>,
    offset: Option<u64>,
    source: Option<io::Error>,
}

/// What the caller of a failed operation can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument or option is wrong: correct it and call again.
    Invalid,
    /// A cap of [`crate::limits`] or a budget is reached: ask for less, or raise the budget.
    Limit,
    /// Bytes on disk are not what was written. The unit they belong to is lost, its neighbours are not.
    Corruption,
    /// The operating system reported an error: look at [`Error::io_kind`].
    Io,
    /// The disk is full. Reads go on; writes are taken again as soon as there is room.
    StorageFull,
    /// The database takes no writes at the moment, or was opened read-only.
    ReadOnly,
    /// Another process or handle has the database open for writing.
    Locked,
    /// The database or appender was closed before.
    Closed,
    /// The file was written by a newer version of the format.
    Unsupported,
    /// A callback asked to stop.
    Aborted,
}

impl Error {
    #[cold]
    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            path: None,
            offset: None,
            source: None,
        }))
    }

    /// Returns an error for an argument or option that is wrong.
    #[cold]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Returns an error for a cap or budget that is reached.
    #[cold]
    pub fn limit(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Limit, message)
    }

    /// Returns an error for bytes at `offset` of `path` that are not what was written.
    #[cold]
    pub fn corruption(path: impl Into<PathBuf>, offset: u64, message: impl Into<String>) -> Self {
        let mut error = Self::new(ErrorKind::Corruption, message);
        error.0.path = Some(path.into());
        error.0.offset = Some(offset);
        error
    }

    /// Returns an error for an operation on `path` that the operating system refused.
    ///
    /// `operation` is a verb such as `"create"`. A full disk or an exhausted quota becomes
    /// [`ErrorKind::StorageFull`].
    #[cold]
    pub fn io(operation: &str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => ErrorKind::StorageFull,
            _ => ErrorKind::Io,
        };
        let mut error = Self::new(kind, format!("cannot {operation}"));
        error.0.path = Some(path.into());
        error.0.source = Some(source);
        error
    }

    /// Returns an error for a write to a database that takes none.
    #[cold]
    pub fn read_only(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::ReadOnly, message)
    }

    /// Returns an error for a database directory that is in use.
    #[cold]
    pub fn locked(path: impl Into<PathBuf>) -> Self {
        let mut error = Self::new(ErrorKind::Locked, "another process has this database open");
        error.0.path = Some(path.into());
        error
    }

    /// Returns an error for a handle that was closed.
    #[cold]
    pub fn closed(what: &str) -> Self {
        Self::new(ErrorKind::Closed, format!("{what} is closed"))
    }

    /// Returns an error for a file of a newer format version.
    #[cold]
    pub fn unsupported(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        let mut error = Self::new(ErrorKind::Unsupported, message);
        error.0.path = Some(path.into());
        error
    }

    /// Returns an error for work that a callback stopped.
    #[cold]
    pub fn aborted(what: &str) -> Self {
        Self::new(
            ErrorKind::Aborted,
            format!("{what} was stopped by the caller"),
        )
    }

    /// Returns what the caller can do about the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the file or directory concerned.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// Returns the position in the file of the first byte of the damaged unit.
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// Returns the kind of the underlying I/O error.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        self.0.source.as_ref().map(io::Error::kind)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if inner.kind == ErrorKind::Corruption {
            f.write_str("corrupted file ")?;
        }
        match (inner.kind, &inner.path) {
            (ErrorKind::Corruption, Some(path)) => write!(f, "{}", path.display())?,
            (_, Some(path)) => write!(f, "{}: {}", path.display(), inner.message)?,
            (_, None) => f.write_str(&inner.message)?,
        }
        if let Some(offset) = inner.offset {
            write!(f, " at byte {offset}")?;
        }
        if inner.kind == ErrorKind::Corruption {
            write!(f, ": {}", inner.message)?;
        }
        if let Some(source) = &inner.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source as _)
    }
}

/// Why a sample was not taken. The others of its commit are not affected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Rejection {
    /// The label set is empty once labels with an empty value are dropped.
    EmptyLabels,
    /// A label name is empty or stands twice.
    InvalidLabelName,
    /// There are more labels, or longer ones, than [`crate::limits`] allows.
    LabelsTooLong,
    /// The series has a sample with this timestamp and another value.
    Duplicate,
    /// The sample is older than the newest one of its series and the out-of-order window is off.
    OutOfOrder,
    /// The sample is older than the out-of-order window reaches back.
    TooOld,
    /// The timestamp lies further ahead of the clock than the future limit allows.
    TooFarAhead,
    /// The series is new and the series budget is spent.
    SeriesLimit,
    /// The series is new and the memory budget is spent.
    MemoryLimit,
    /// The reference is stale or was never given out, and no labels came with it.
    UnknownSeries,
}

impl Rejection {
    /// Every reason, in the order in which counters list them.
    pub const ALL: [Self; 10] = [
        Self::EmptyLabels,
        Self::InvalidLabelName,
        Self::LabelsTooLong,
        Self::Duplicate,
        Self::OutOfOrder,
        Self::TooOld,
        Self::TooFarAhead,
        Self::SeriesLimit,
        Self::MemoryLimit,
        Self::UnknownSeries,
    ];

    /// Returns the reason as a label value for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EmptyLabels => "empty_labels",
            Self::InvalidLabelName => "invalid_label_name",
            Self::LabelsTooLong => "labels_too_long",
            Self::Duplicate => "duplicate",
            Self::OutOfOrder => "out_of_order",
            Self::TooOld => "too_old",
            Self::TooFarAhead => "too_far_ahead",
            Self::SeriesLimit => "series_limit",
            Self::MemoryLimit => "memory_limit",
            Self::UnknownSeries => "unknown_series",
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyLabels => "empty label set",
            Self::InvalidLabelName => "label name is empty or not unique",
            Self::LabelsTooLong => "too many labels, or a label is too long",
            Self::Duplicate => "duplicate sample for timestamp",
            Self::OutOfOrder => "out of order sample",
            Self::TooOld => "too old sample",
            Self::TooFarAhead => "timestamp is too far ahead of the clock",
            Self::SeriesLimit => "series budget is spent",
            Self::MemoryLimit => "memory budget is spent",
            Self::UnknownSeries => "unknown series reference",
        })
    }
}

impl std::error::Error for Rejection {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_is_one_word() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }

    #[test]
    fn corruption_names_file_offset_and_unit() {
        let error = Error::corruption(
            "b/index",
            4096,
            "symbol table checksum is 0x1, expected 0x2",
        );
        assert_eq!(
            error.to_string(),
            "corrupted file b/index at byte 4096: symbol table checksum is 0x1, expected 0x2"
        );
        assert_eq!(error.kind(), ErrorKind::Corruption);
    }

    #[test]
    fn full_disk_has_its_own_kind() {
        let error = Error::io("append to", "log/1", io::ErrorKind::StorageFull.into());
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert!(error.to_string().starts_with("log/1: cannot append to"));
    }
}
