//! Samples as points.

use crate::sample::is_stale;
use crate::time::Timestamp;

/// The unit of timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Resolution {
    /// As they are.
    #[default]
    Milliseconds,
    /// Cut to seconds: rows take less room in HBase, and of several samples in a second the last one sent stays.
    Seconds,
}

/// Why a sample is no point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SkipReason {
    /// The staleness marker: OpenTSDB has nothing like it.
    Stale,
    /// A NaN other than the staleness marker.
    NotANumber,
    /// An infinity.
    Infinite,
    /// OpenTSDB would refuse the timestamp, or take milliseconds for seconds, as it does before 1970-02-19.
    TimestampOutOfRange,
}

impl SkipReason {
    /// Returns the reason as a label value for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::NotANumber => "nan",
            Self::Infinite => "infinite",
            Self::TimestampOutOfRange => "timestamp_out_of_range",
        }
    }
}

/// Returns a value that can be stored. Its `Debug` text is the shortest that reads back as the same bits, and always has a
/// point or an exponent.
pub(super) fn number(value: f64) -> Result<f64, SkipReason> {
    if is_stale(value) {
        Err(SkipReason::Stale)
    } else if value.is_nan() {
        Err(SkipReason::NotANumber)
    } else if value.is_infinite() {
        Err(SkipReason::Infinite)
    } else {
        Ok(value)
    }
}

/// Returns a timestamp as OpenTSDB reads it: seconds if 32 bits hold it, milliseconds otherwise.
pub(super) fn timestamp(timestamp: Timestamp, resolution: Resolution) -> Result<i64, SkipReason> {
    let (timestamp, range) = match resolution {
        Resolution::Milliseconds => (timestamp, MS_MIN..=MS_MAX),
        // The last second of 32 bits is taken, and never found again.
        Resolution::Seconds => (timestamp.div_euclid(1000), 1..=MS_MIN - 2),
    };
    if range.contains(&timestamp) {
        Ok(timestamp)
    } else {
        Err(SkipReason::TimestampOutOfRange)
    }
}

const MS_MIN: i64 = 1 << 32;
const MS_MAX: i64 = 9_999_999_999_999;
