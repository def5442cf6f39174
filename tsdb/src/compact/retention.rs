//! Which blocks are too old, or too many.

use std::time::Duration;

use crate::compact::{Candidate, DropReason, Step};
use crate::time::Timestamp;

/// How much history is kept. What is `None` is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RetentionOptions {
    /// Age, against the [`Horizon`], at which a block goes.
    pub(crate) age_ms: Option<i64>,
    /// Bytes of the whole database above which the oldest blocks go.
    pub(crate) size_bytes: Option<u64>,
}

/// The time that ages are measured against. It follows the data, and is slow to believe a jump.
///
/// The wall clock alone would let one bad clock erase everything, the newest block alone one bad timestamp. So it is the
/// smaller of the two; and if both jump, it moves by one block and then by [`CATCH_UP`] times the time that really passes,
/// however often it is asked: fifteen days of history last for four more. After a legitimate pause it catches up likewise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Horizon {
    reached: Timestamp,
    /// How far it may move at once; grows with time up to the width of a block.
    allowance_ms: i64,
    monotonic: Duration,
}

impl Horizon {
    /// Returns the horizon at a start, when nothing is known of the time before: the end of the newest block but one, so
    /// that a single block from the future has no say. `block_ms` is the width of the narrowest blocks.
    pub(crate) fn start(blocks: &[Candidate], monotonic: Duration, block_ms: i64) -> Self {
        let mut ends: Vec<Timestamp> = blocks.iter().map(|block| block.range.end).collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        let reached = ends
            .get(1)
            .or(ends.first())
            .copied()
            .unwrap_or(Timestamp::MIN);
        Self {
            reached,
            allowance_ms: block_ms,
            monotonic,
        }
    }

    /// Returns the horizon after a look at the clocks and the blocks, and whether it was held back from a jump.
    #[must_use]
    pub(crate) fn advance(
        self,
        blocks: &[Candidate],
        now_ms: Timestamp,
        monotonic: Duration,
        block_ms: i64,
    ) -> (Self, bool) {
        let passed = monotonic.saturating_sub(self.monotonic).as_millis();
        let earned = i64::try_from(passed)
            .unwrap_or(i64::MAX)
            .saturating_mul(CATCH_UP);
        // Time that passes in one turn counts in full: who asks once a day is not slower than who asks each minute.
        let allowance_ms = self.allowance_ms.min(block_ms).saturating_add(earned);
        let Some(newest) = blocks.iter().map(|block| block.range.end).max() else {
            return (
                Self {
                    allowance_ms,
                    monotonic,
                    ..self
                },
                false,
            );
        };
        let wanted = newest.min(now_ms);
        // The first block ever sets the horizon; there is no history that it could erase.
        let limit = match self.reached {
            Timestamp::MIN => wanted,
            reached => reached.saturating_add(allowance_ms),
        };
        let reached = wanted.min(limit);
        let moved = if self.reached == Timestamp::MIN {
            0
        } else {
            reached.saturating_sub(self.reached).max(0)
        };
        (
            Self {
                reached,
                allowance_ms: allowance_ms - moved,
                monotonic,
            },
            wanted > limit,
        )
    }
}

/// How many times faster than time the horizon may move. With 1 a horizon that lags would lag for ever.
const CATCH_UP: i64 = 4;

/// Decides which blocks go: those that ended at least the retention time before the horizon, then the oldest until the
/// blocks and `other_bytes` (the log and the head) fit the budget. The newest block always stays.
pub(crate) fn retire(
    blocks: &[Candidate],
    options: RetentionOptions,
    horizon: Horizon,
    other_bytes: u64,
) -> Vec<Step> {
    let mut newest_first: Vec<&Candidate> = blocks.iter().collect();
    newest_first.sort_by_key(|block| std::cmp::Reverse((block.range.end, block.ulid)));

    let mut steps = Vec::new();
    let mut kept_bytes = other_bytes;
    let mut is_full = false;
    for (position, block) in newest_first.into_iter().enumerate() {
        let is_old = options
            .age_ms
            .is_some_and(|age_ms| block.range.end <= horizon.reached.saturating_sub(age_ms));
        kept_bytes = kept_bytes.saturating_add(block.size_bytes);
        // Once one block does not fit, no older one stays: history has no holes.
        is_full |= options.size_bytes.is_some_and(|budget| kept_bytes > budget);
        if position == 0 {
            is_full = false;
            continue;
        }
        let reason = match (is_old, is_full) {
            (true, _) => DropReason::Age,
            (false, true) => DropReason::Size,
            (false, false) => continue,
        };
        steps.push(Step::Drop {
            block: block.ulid,
            reason,
        });
    }
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Ulid;
    use crate::time::TimeRange;

    const HOUR: i64 = 3_600_000;
    const YEAR: i64 = 365 * 24 * HOUR;
    const BLOCK: i64 = 2 * HOUR;

    /// Blocks of two hours and ten bytes that start at the given hours.
    fn candidates(hours: &[i64]) -> Vec<Candidate> {
        hours
            .iter()
            .map(|&hour| Candidate {
                ulid: Ulid::new(hour as u64, 0),
                range: TimeRange::new(hour * HOUR, hour * HOUR + BLOCK),
                level: 1,
                series: 1,
                tombstoned_series: 0,
                size_bytes: 10,
            })
            .collect()
    }

    fn hours(steps: &[Step]) -> Vec<(u64, DropReason)> {
        steps
            .iter()
            .map(|step| match step {
                Step::Drop { block, reason } => (block.ms(), *reason),
                other => panic!("not a drop: {other:?}"),
            })
            .collect()
    }

    fn at(reached: Timestamp) -> Horizon {
        Horizon {
            reached,
            allowance_ms: BLOCK,
            monotonic: Duration::ZERO,
        }
    }

    fn by_age(hours: i64) -> RetentionOptions {
        RetentionOptions {
            age_ms: Some(hours * HOUR),
            size_bytes: None,
        }
    }

    #[test]
    fn block_goes_when_it_ended_the_retention_time_ago() {
        let blocks = candidates(&[0, 2, 4, 6]);
        let steps = retire(&blocks, by_age(4), at(8 * HOUR), 0);
        assert_eq!(hours(&steps), [(0, DropReason::Age), (2, DropReason::Age)]);
        assert!(retire(&blocks, by_age(7), at(8 * HOUR), 0).is_empty());
    }

    #[test]
    fn nothing_is_limited_without_options() {
        assert!(
            retire(
                &candidates(&[0, 2]),
                RetentionOptions::default(),
                at(YEAR),
                u64::MAX
            )
            .is_empty()
        );
    }

    #[test]
    fn oldest_blocks_go_when_the_budget_is_spent() {
        let options = RetentionOptions {
            age_ms: None,
            size_bytes: Some(35),
        };
        let blocks = candidates(&[4, 0, 2, 6]);
        assert_eq!(
            hours(&retire(&blocks, options, at(0), 0)),
            [(0, DropReason::Size)]
        );
        assert_eq!(
            hours(&retire(&blocks, options, at(0), 15)),
            [(0, DropReason::Size), (2, DropReason::Size)]
        );
    }

    #[test]
    fn newest_block_always_stays() {
        let options = RetentionOptions {
            age_ms: Some(1),
            size_bytes: Some(1),
        };
        assert!(retire(&candidates(&[0]), options, at(YEAR), 100).is_empty());
        assert_eq!(
            hours(&retire(&candidates(&[0, 2]), options, at(YEAR), 100)),
            [(0, DropReason::Age)]
        );
    }

    #[test]
    fn clock_that_jumps_ahead_erases_nothing() {
        let blocks = candidates(&[0, 2, 4, 6]);
        let start = Horizon::start(&blocks, Duration::ZERO, BLOCK);
        let (horizon, held_back) =
            start.advance(&blocks, 30 * YEAR, Duration::from_secs(60), BLOCK);
        assert!(!held_back);
        assert!(retire(&blocks, by_age(8), horizon, 0).is_empty());
    }

    #[test]
    fn block_from_the_future_erases_nothing() {
        let mut blocks = candidates(&[0, 2, 4, 6]);
        blocks.extend(candidates(&[30 * 365 * 24]));
        let start = Horizon::start(&blocks, Duration::ZERO, BLOCK);
        let (horizon, _) = start.advance(&blocks, 8 * HOUR, Duration::from_secs(60), BLOCK);
        assert!(retire(&blocks, by_age(8), horizon, 0).is_empty());
    }

    #[test]
    fn jump_of_clock_and_data_together_is_followed_step_by_step() {
        let mut blocks = candidates(&[0, 2, 4, 6]);
        blocks.extend(candidates(&[30 * 365 * 24]));
        let mut horizon = Horizon::start(&blocks, Duration::ZERO, BLOCK);
        for minute in 1..=60 {
            let (next, held_back) =
                horizon.advance(&blocks, 30 * YEAR, Duration::from_secs(60 * minute), BLOCK);
            assert!(held_back);
            horizon = next;
        }
        assert_eq!(horizon.reached, 8 * HOUR + BLOCK + CATCH_UP * HOUR);
        assert!(retire(&blocks, by_age(14), horizon, 0).is_empty());
    }

    #[test]
    fn blocks_of_every_two_hours_are_followed_at_once() {
        let mut horizon = Horizon::start(&candidates(&[0, 2]), Duration::ZERO, BLOCK);
        for hour in (4..40).step_by(2) {
            let blocks = candidates(&[hour - 2, hour]);
            let monotonic = Duration::from_secs(3600 * hour as u64);
            let (next, held_back) = horizon.advance(&blocks, (hour + 3) * HOUR, monotonic, BLOCK);
            assert_eq!((next.reached, held_back), ((hour + 2) * HOUR, false));
            horizon = next;
        }
    }

    #[test]
    fn clock_that_goes_back_takes_the_horizon_along() {
        let blocks = candidates(&[0, 2, 4, 6]);
        let (horizon, held_back) = at(8 * HOUR).advance(&blocks, 3 * HOUR, Duration::ZERO, BLOCK);
        assert_eq!((horizon.reached, held_back), (3 * HOUR, false));
        assert!(retire(&blocks, by_age(4), horizon, 0).is_empty());
    }

    #[test]
    fn first_block_sets_the_horizon() {
        let none = Horizon::start(&[], Duration::ZERO, BLOCK);
        let blocks = candidates(&[1000]);
        let (horizon, held_back) = none.advance(&blocks, YEAR, Duration::ZERO, BLOCK);
        assert_eq!((horizon.reached, held_back), (1002 * HOUR, false));
    }
}
