//! From timestamps to bytes.

use crate::chunk::ints;
use crate::encoding::{put_uvarint, put_varint};
use crate::time::Timestamp;

use super::{GRID, IRREGULAR};

/// Appends a column of strictly ascending timestamps.
pub fn encode(timestamps: &[Timestamp], out: &mut Vec<u8>) {
    debug_assert!(
        timestamps.is_sorted_by(|before, after| before < after),
        "a column ascends strictly"
    );
    if timestamps.is_empty() {
        return;
    }
    let mut integers = ints::Encoder::default();
    let start = out.len();
    write_grid(&Grid::fit(timestamps), timestamps, &mut integers, out);

    // Times that follow no grid, or one that drifts, have smaller steps than deviations.
    let mut irregular = vec![IRREGULAR];
    put_uvarint(&mut irregular, timestamps.len() as u64);
    integers.encode(timestamps, &mut irregular);
    if irregular.len() < out.len() - start {
        out.truncate(start);
        out.extend_from_slice(&irregular);
    }
}

fn write_grid(
    grid: &Grid,
    timestamps: &[Timestamp],
    integers: &mut ints::Encoder,
    out: &mut Vec<u8>,
) {
    out.push(GRID);
    put_uvarint(out, timestamps.len() as u64);
    put_varint(out, timestamps[0]);
    put_uvarint(out, grid.interval as u64);
    put_uvarint(out, grid.shifts.len() as u64);
    let mut next = 0;
    for &(position, shift) in &grid.shifts {
        put_uvarint(out, (position - next) as u64);
        put_varint(out, shift);
        next = position + 1;
    }
    integers.encode_small(&grid.deviations, out);
}

/// Equal distances that most timestamps keep, and where they do not.
struct Grid {
    interval: i64,
    /// Where the grid moves for good: after a missed scrape or a restart.
    shifts: Vec<(usize, i64)>,
    /// How far each timestamp is from the grid.
    deviations: Vec<i64>,
}

impl Grid {
    fn fit(timestamps: &[Timestamp]) -> Self {
        let interval = median_step(timestamps);
        let mut shifts = Vec::new();
        let mut deviations = Vec::with_capacity(timestamps.len());
        let mut at = timestamps[0];
        for (position, &timestamp) in timestamps.iter().enumerate() {
            let mut deviation = timestamp.wrapping_sub(at);
            if deviation != 0 && is_shift(deviation, interval, &timestamps[position..]) {
                shifts.push((position, deviation));
                at = timestamp;
                deviation = 0;
            }
            deviations.push(deviation);
            at = at.wrapping_add(interval);
        }
        Self {
            interval,
            shifts,
            deviations,
        }
    }
}

/// Tells a timestamp after which the grid has moved from one that is off by itself.
fn is_shift(deviation: i64, interval: i64, from_here: &[Timestamp]) -> bool {
    if deviation.unsigned_abs() > interval as u64 / 2 {
        return true;
    }
    from_here.len() > STEPS_OF_A_SHIFT
        && from_here
            .windows(2)
            .take(STEPS_OF_A_SHIFT)
            .all(|pair| pair[1].wrapping_sub(pair[0]) == interval)
}

/// A deviation that so many of the following timestamps share costs more than a shift.
const STEPS_OF_A_SHIFT: usize = 3;

fn median_step(timestamps: &[Timestamp]) -> i64 {
    let mut steps: Vec<i64> = timestamps
        .windows(2)
        .map(|pair| pair[1].wrapping_sub(pair[0]))
        .collect();
    if steps.is_empty() {
        return 0;
    }
    let middle = (steps.len() - 1) / 2;
    *steps.select_nth_unstable(middle).1
}
