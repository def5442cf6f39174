//! Places between the samples that a remote is sent.

use crate::time::Timestamp;

/// A place between two samples of what a remote is sent: first the backfill of a remote that starts at a time, then the
/// log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Position {
    /// Before a sample of the backfill, whose samples come in the order of time and within a millisecond in that of keys.
    /// The place of a sample does not depend on what else is there, so it stays the same whatever is flushed, merged or
    /// removed meanwhile.
    Backfill {
        /// When the sample was taken.
        timestamp: Timestamp,
        /// Its [key](super::SpooledSample::key).
        key: u32,
    },
    /// Before a sample of the log.
    Log {
        /// Sequence of a frame, from 1 on.
        sequence: u64,
        /// Number of the sample in the frame, in the order of the frame's sections.
        index: u32,
    },
}

impl Position {
    /// Returns the place before the first sample of a frame.
    pub fn before(sequence: u64) -> Self {
        Self::Log { sequence, index: 0 }
    }

    /// Returns the place in a backfill before all samples of a time.
    pub(crate) fn at(timestamp: Timestamp) -> Self {
        Self::Backfill { timestamp, key: 0 }
    }

    /// Tells whether it lies before everything in the log.
    pub fn is_backfill(self) -> bool {
        matches!(self, Self::Backfill { .. })
    }

    /// Returns the sequence of the frame; 0 in a backfill.
    pub fn sequence(self) -> u64 {
        match self {
            Self::Backfill { .. } => 0,
            Self::Log { sequence, .. } => sequence,
        }
    }

    /// Returns the place behind the sample that stands here.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::Backfill { timestamp, key } => match key.checked_add(1) {
                Some(key) => Self::Backfill { timestamp, key },
                None => Self::at(timestamp.saturating_add(1)),
            },
            Self::Log { sequence, index } => Self::Log {
                sequence,
                index: index + 1,
            },
        }
    }

    /// Returns a place in a backfill whose [next](Self::next) is this one.
    pub(crate) fn previous(timestamp: Timestamp, key: u32) -> Self {
        match key.checked_sub(1) {
            Some(key) => Self::Backfill { timestamp, key },
            None => Self::Backfill {
                timestamp: timestamp.saturating_sub(1),
                key: u32::MAX,
            },
        }
    }
}

impl Default for Position {
    /// Returns the place before everything.
    fn default() -> Self {
        Self::at(Timestamp::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backfill_precedes_the_log_in_the_order_of_time_and_keys() {
        let places = [
            Position::default(),
            Position::at(-1),
            Position::Backfill {
                timestamp: -1,
                key: u32::MAX,
            },
            Position::at(0),
            Position::at(0).next(),
            Position::at(i64::MAX),
            Position::before(1),
            Position::before(1).next(),
            Position::before(2),
        ];
        assert!(places.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn previous_is_undone_by_next() {
        for (timestamp, key) in [(5, 0), (5, 7), (5, u32::MAX), (-3, 0)] {
            let here = Position::Backfill { timestamp, key };
            assert_eq!(Position::previous(timestamp, key).next(), here);
        }
    }
}
