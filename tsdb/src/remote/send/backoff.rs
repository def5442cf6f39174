//! How long to wait before trying again.

use std::hash::BuildHasher;
use std::time::Duration;

/// Exponential backoff with full jitter: any time from nothing to a limit that doubles with each failure, so that senders
/// that failed together do not come back together. After "Exponential Backoff And Jitter", Marc Brooker, 2015.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
    /// A source of random numbers: a keyed hash of a counter. The fast variant spreads those too unevenly under some keys.
    hasher: foldhash::quality::RandomState,
    drawn: u64,
}

impl Backoff {
    /// Returns a backoff whose first limit is `min` and whose last is `max`.
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max: max.max(min),
            failures: 0,
            hasher: foldhash::quality::RandomState::default(),
            drawn: 0,
        }
    }

    /// Forgets failures.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Notes a failure and returns how long to wait. What the server wished for is kept, and jitter added to it.
    pub(crate) fn next(&mut self, wish: Option<Duration>) -> Duration {
        let doubled = self.min.saturating_mul(1 << self.failures.min(30));
        let limit = doubled.min(self.max);
        self.failures = self.failures.saturating_add(1);
        self.drawn += 1;
        let fraction = self.hasher.hash_one(self.drawn) as f64 / u64::MAX as f64;
        match wish {
            Some(wish) => wish.saturating_add(spread(self.min, fraction)),
            None => spread(limit, fraction),
        }
    }
}

/// Returns a part of a time, however long that is.
fn spread(time: Duration, fraction: f64) -> Duration {
    Duration::try_from_secs_f64(time.as_secs_f64() * fraction).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_spread_below_a_limit_that_doubles() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(30), ms(5_000));
        for limit in [30, 60, 120, 240, 480, 960, 1_920, 3_840, 5_000, 5_000] {
            let wait = backoff.next(None);
            assert!(wait <= ms(limit), "{wait:?} of {limit} ms");
        }
        // Seven standard deviations of the mean, whatever the key.
        for _ in 0..100 {
            let mut backoff = Backoff::new(ms(30), ms(5_000));
            let mut sum = Duration::ZERO;
            for _ in 0..1_000 {
                sum += backoff.next(None);
                backoff.reset();
            }
            let mean = sum / 1_000;
            assert!(mean > ms(13) && mean < ms(17), "{mean:?}");
        }
    }

    #[test]
    fn limits_may_be_as_long_as_they_like() {
        let mut backoff = Backoff::new(Duration::MAX, Duration::MAX);
        for _ in 0..100 {
            assert!(backoff.next(None) <= Duration::MAX);
            assert!(backoff.next(Some(Duration::MAX)) == Duration::MAX);
        }
    }

    #[test]
    fn a_servers_wish_is_the_least() {
        let mut backoff = Backoff::new(Duration::from_millis(30), Duration::from_secs(5));
        let wish = Duration::from_secs(7);
        let wait = backoff.next(Some(wish));
        assert!(wait >= wish && wait <= wish + Duration::from_millis(30));
    }
}
