//! Whether a sample is taken, and which way it goes.
//!
//! The rules are Prometheus' with the differences the crate documentation lists: the floor is the series' own newest
//! sample, and a sample that is there already is accepted silently wherever it lies in the window.

use crate::error::Rejection;
use crate::time::Timestamp;

/// Where a sample goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Behind the newest sample of its series.
    InOrder,
    /// Between or before others: look whether the time is taken.
    Late,
}

/// What samples are judged by; it does not change during a commit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judge {
    /// Below it nothing is in order.
    pub(super) boundary: Timestamp,
    /// Newest timestamp of the head before the commit.
    pub(super) max_time: Timestamp,
    /// How far behind it late samples are taken; 0 for not at all.
    pub(super) window_ms: i64,
}

impl Judge {
    /// Judges a sample by the newest timestamp of its series.
    #[inline]
    pub(super) fn way(&self, timestamp: Timestamp, newest: Option<Timestamp>) -> Way {
        if timestamp >= self.boundary && newest.is_none_or(|newest| timestamp > newest) {
            Way::InOrder
        } else {
            Way::Late
        }
    }

    /// Judges a late sample whose time is not taken.
    pub(super) fn late(&self, timestamp: Timestamp) -> Result<(), Rejection> {
        if self.window_ms == 0 {
            return Err(if timestamp < self.boundary {
                Rejection::TooOld
            } else {
                Rejection::OutOfOrder
            });
        }
        if timestamp < self.max_time.saturating_sub(self.window_ms) {
            return Err(Rejection::TooOld);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JUDGE: Judge = Judge {
        boundary: 1000,
        max_time: 5000,
        window_ms: 3000,
    };

    #[test]
    fn only_what_is_newer_than_its_series_and_the_boundary_is_in_order() {
        assert_eq!(JUDGE.way(1000, None), Way::InOrder);
        assert_eq!(JUDGE.way(999, None), Way::Late);
        assert_eq!(JUDGE.way(2000, Some(1999)), Way::InOrder);
        assert_eq!(JUDGE.way(2000, Some(2000)), Way::Late);
    }

    #[test]
    fn late_samples_are_taken_inside_the_window() {
        assert_eq!(JUDGE.late(2000), Ok(()));
        assert_eq!(JUDGE.late(1999), Err(Rejection::TooOld));
    }

    #[test]
    fn without_a_window_late_samples_are_out_of_order() {
        let judge = Judge {
            window_ms: 0,
            ..JUDGE
        };
        assert_eq!(judge.late(4999), Err(Rejection::OutOfOrder));
        assert_eq!(judge.late(999), Err(Rejection::TooOld));
    }
}
