//! Why a body is not taken.

use std::fmt;

use crate::encoding::Malformed;

/// Why a body is not taken; nothing of it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// The message is not what its format says.
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// Where in the decompressed body.
        offset: usize,
    },
    /// The body cannot be decompressed.
    Corrupt {
        /// What was said to be its compression.
        compression: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A cap of [`crate::limits`] is exceeded.
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: usize,
    },
    /// A content type, a compression or a kind of answer that is not known here.
    Unsupported {
        /// What was asked for.
        what: &'static str,
        /// In these words, cut short.
        value: String,
    },
    /// A value is well-formed and means nothing, such as a matcher with a broken regular expression.
    Invalid(String),
}

impl WireError {
    /// Returns the HTTP status that tells the sender: all are 4xx, for sending the same again would not help.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed { .. } | Self::Corrupt { .. } | Self::Invalid(_) => 400,
            Self::TooLarge { .. } => 413,
            Self::Unsupported { .. } => 415,
        }
    }

    #[cold]
    pub(crate) fn too_large(what: &'static str, limit: usize) -> Self {
        Self::TooLarge { what, limit }
    }

    #[cold]
    pub(crate) fn unsupported(what: &'static str, value: &str) -> Self {
        let value = value.chars().take(VALUE_CHARS_MAX).collect();
        Self::Unsupported { what, value }
    }
}

/// Letters of a foreign header that go into a message.
const VALUE_CHARS_MAX: usize = 80;

impl From<Malformed> for WireError {
    #[cold]
    fn from(Malformed { what, offset }: Malformed) -> Self {
        Self::Malformed { what, offset }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { what, offset } => {
                write!(f, "malformed message: {what} at byte {offset}")
            }
            Self::Corrupt {
                compression,
                reason,
            } => write!(f, "body is not {compression}: {reason}"),
            Self::TooLarge { what, limit } => {
                write!(f, "too large: at most {limit} {what} are taken")
            }
            Self::Unsupported { what, value } => write!(f, "{what} {value:?} is not supported"),
            Self::Invalid(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for WireError {}
