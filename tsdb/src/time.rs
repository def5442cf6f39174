//! Points and spans of time, and the clock everything takes them from.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Milliseconds since the Unix epoch. Any `i64` but [`i64::MAX`] can be stored.
pub type Timestamp = i64;

/// A span of time: `start` belongs to it, `end` does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// First millisecond inside.
    pub start: Timestamp,
    /// First millisecond after.
    pub end: Timestamp,
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self {
        start: i64::MIN,
        end: i64::MAX,
    };

    /// Returns the span from `start` up to, not including, `end`.
    pub const fn new(start: Timestamp, end: Timestamp) -> Self {
        Self { start, end }
    }

    /// Returns the span that holds both `first` and `last`.
    pub const fn closed(first: Timestamp, last: Timestamp) -> Self {
        Self {
            start: first,
            end: last.saturating_add(1),
        }
    }

    /// Returns the span of `width_ms` milliseconds, aligned to a multiple of it, that holds `timestamp`.
    pub const fn aligned(timestamp: Timestamp, width_ms: i64) -> Self {
        let start = timestamp.div_euclid(width_ms).saturating_mul(width_ms);
        Self {
            start,
            end: start.saturating_add(width_ms),
        }
    }

    /// Tells whether `timestamp` lies inside.
    pub const fn contains(&self, timestamp: Timestamp) -> bool {
        self.start <= timestamp && timestamp < self.end
    }

    /// Tells whether the two spans share a millisecond.
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Tells whether `other` lies inside.
    pub const fn covers(&self, other: &Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Returns the milliseconds both spans share; empty when they share none.
    pub fn intersect(&self, other: &Self) -> Self {
        Self {
            start: self.start.max(other.start),
            end: self.end.min(other.end),
        }
    }

    /// Tells whether no millisecond lies inside.
    pub const fn is_empty(&self) -> bool {
        self.start >= self.end
    }
}

/// Where the time comes from. The database asks it for the present when it judges samples, ages and retention.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Returns the wall clock in milliseconds since the Unix epoch.
    fn now_ms(&self) -> Timestamp;

    /// Returns a reading that never goes back, for measuring durations.
    fn monotonic(&self) -> Duration;
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clock"
)]
impl Clock for SystemClock {
    fn now_ms(&self) -> Timestamp {
        let now = std::time::SystemTime::now();
        match now.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
        }
    }

    fn monotonic(&self) -> Duration {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        START.get_or_init(std::time::Instant::now).elapsed()
    }
}

/// A clock that stands still until it is told the time: for tests and for replaying recorded data.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_ms: AtomicI64,
}

impl ManualClock {
    /// Returns a clock that shows `now_ms`.
    pub const fn new(now_ms: Timestamp) -> Self {
        Self {
            now_ms: AtomicI64::new(now_ms),
        }
    }

    /// Sets the time; it may go back.
    pub fn set(&self, now_ms: Timestamp) {
        // Relaxed: the time orders nothing else.
        self.now_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Moves the time on.
    pub fn advance_ms(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> Timestamp {
        self.now_ms.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.now_ms()).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alignment_rounds_down_on_both_sides_of_the_epoch() {
        assert_eq!(
            TimeRange::aligned(7_199_999, 7_200_000),
            TimeRange::new(0, 7_200_000)
        );
        assert_eq!(
            TimeRange::aligned(-1, 7_200_000),
            TimeRange::new(-7_200_000, 0)
        );
    }

    #[test]
    fn end_is_outside() {
        let range = TimeRange::new(10, 20);
        assert!(range.contains(10) && !range.contains(20));
        assert!(!range.overlaps(&TimeRange::new(20, 30)));
        assert!(range.intersect(&TimeRange::new(20, 30)).is_empty());
    }
}
