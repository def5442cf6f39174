//! When a streamed chunk ends: Prometheus' rule, as pure functions.
//!
//! A chunk that is too short pays its header too often, one that is too long is slow to read a part of. The aim is
//! chunks of about [`SAMPLES_AIMED`] samples and equal length that never cross a boundary of the block range: the time
//! of the end is predicted when a quarter of the samples is there, from how long they took.

use crate::time::Timestamp;

/// Samples a chunk should hold.
pub const SAMPLES_AIMED: usize = 120;

/// Samples after which the end is predicted.
pub const SAMPLES_TO_PREDICT: usize = SAMPLES_AIMED / 4;

/// Samples no chunk exceeds, whatever was predicted: a series may begin to be scraped faster.
pub const SAMPLES_MAX: usize = SAMPLES_AIMED * 2;

/// Bytes after which a chunk takes no more samples: a page of 1,024 less the longest sample.
pub const BYTES_MAX: usize = 1024 - SAMPLE_BYTES_MAX;

/// Bytes of the longest sample.
pub const SAMPLE_BYTES_MAX: usize = 19;

/// Predicts when a chunk that began at `start` and has [`SAMPLES_TO_PREDICT`] samples at `current` should end, so that
/// equal chunks fill the time up to `max`.
pub fn chunk_end(start: Timestamp, current: Timestamp, max: Timestamp) -> Timestamp {
    // Differences of 64-bit times need 65 bits; a float has the range and loses only what is beyond milliseconds.
    let left = max as f64 - start as f64;
    let elapsed = current as f64 - start as f64 + 1.0;
    let chunks = left / (elapsed * (SAMPLES_AIMED / SAMPLES_TO_PREDICT) as f64);
    if chunks <= 1.0 {
        return max;
    }
    (start as f64 + left / chunks.floor()) as Timestamp
}

/// Tells whether a chunk of `count` samples in `len` bytes, predicted to end at `end`, must be closed before a sample
/// at `timestamp`.
pub fn is_due(count: usize, len: usize, end: Timestamp, timestamp: Timestamp) -> bool {
    timestamp >= end || count >= SAMPLES_MAX || len > BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_divide_the_time_that_is_left_evenly() {
        // The cases of Prometheus' own test of this function.
        assert_eq!(chunk_end(0, 250, 1000), 1000);
        assert_eq!(chunk_end(100, 200, 1000), 550);
        assert_eq!(chunk_end(0, 500, 1000), 1000);
        assert_eq!(chunk_end(100, 100, 1000), 104);
    }

    #[test]
    fn a_steady_scrape_gives_chunks_of_about_the_aimed_length() {
        const SCRAPE: i64 = 15_000;
        const RANGE: i64 = 2 * 3_600_000;
        let (mut start, mut lengths) = (0, Vec::new());
        while start < RANGE {
            let end = chunk_end(
                start,
                start + SCRAPE * (SAMPLES_TO_PREDICT as i64 - 1),
                RANGE,
            );
            lengths.push((end - start) / SCRAPE);
            start = (end + SCRAPE - 1) / SCRAPE * SCRAPE;
        }
        assert_eq!(lengths, [120, 120, 120, 120]);
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        assert_eq!(chunk_end(i64::MIN, i64::MAX, i64::MAX), i64::MAX);
        assert!(chunk_end(i64::MIN, i64::MIN, i64::MAX) < 0);
        assert_eq!(chunk_end(i64::MAX, i64::MIN, i64::MIN), i64::MIN);
    }

    #[test]
    fn time_count_and_size_each_close_a_chunk() {
        assert!(!is_due(30, 300, 1000, 999));
        assert!(is_due(30, 300, 1000, 1000));
        assert!(is_due(SAMPLES_MAX, 300, 1000, 999));
        assert!(is_due(30, BYTES_MAX + 1, 1000, 999));
    }
}
