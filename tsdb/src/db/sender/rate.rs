//! How fast samples may leave.

use std::time::Duration;

/// A limit of samples a second.
pub(super) struct Rate {
    per_second: Option<f64>,
    /// When all samples given out so far are allowed.
    paid_until: Option<Duration>,
}

impl Rate {
    pub(super) fn new(per_second: Option<u32>) -> Self {
        Self {
            per_second: per_second.map(f64::from),
            paid_until: None,
        }
    }

    /// Takes samples out and returns how long to wait before they are sent.
    pub(super) fn take(&mut self, samples: usize, now: Duration) -> Duration {
        let Some(per_second) = self.per_second else {
            return Duration::ZERO;
        };
        let start = self.paid_until.map_or(now, |until| until.max(now));
        self.paid_until = Some(start + Duration::from_secs_f64(samples as f64 / per_second));
        start - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_is_not_saved_up() {
        let seconds = Duration::from_secs_f64;
        let mut rate = Rate::new(Some(100));
        assert_eq!(rate.take(100, seconds(0.0)), Duration::ZERO);
        assert_eq!(rate.take(200, seconds(0.5)), seconds(0.5));
        assert_eq!(rate.take(100, seconds(1.0)), seconds(2.0));
        assert_eq!(rate.take(100, seconds(10.0)), Duration::ZERO);
        assert_eq!(rate.take(100, seconds(10.0)), seconds(1.0));
        assert_eq!(Rate::new(None).take(1 << 20, seconds(0.0)), Duration::ZERO);
    }
}
