#![doc = include_str!("FORMAT.md")]
//!
//! ## The module
//!
//! [`RowEncoder::encode`] is pure: it compares a scrape with a [`RowState`] and writes bytes. [`RowView::parse`] checks
//! bytes once; [`RowView::apply`] takes a state forward over a row and [`RowView::invert`] back, and [`walk_back`]
//! follows one position through many rows. The module knows nothing of groups, logs or time.

mod decimal;
mod encode;
mod kernel;
mod positions;
mod view;

pub(crate) use decimal::{SCALE_BITS, SCALE_MAX, fit, is_valid_scale, to_integer, to_value};
pub use encode::RowEncoder;
pub use view::{RowView, walk_back};

const FLAG_ABSENT: u8 = 1;
const FLAG_STALE: u8 = 2;
const FLAG_RAW: u8 = 4;
const FLAG_STEPS: u8 = 8;
const FLAGS_KNOWN: u8 = 15;

/// Bytes of a mask over `n` positions.
const fn mask_bytes(n: usize) -> usize {
    n.div_ceil(4)
}

/// What every position of a group held last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowState {
    /// The value, scaled to an integer or as its bits.
    pub integers: Vec<i64>,
    /// How to read the integer.
    pub scales: Vec<u8>,
}

impl RowState {
    /// Returns the state of `n` positions that never had a value.
    pub fn new(n: usize) -> Self {
        Self {
            integers: vec![0; n],
            scales: vec![0; n],
        }
    }

    /// Returns the number of positions.
    pub fn len(&self) -> usize {
        self.integers.len()
    }

    /// Tells whether there is no position.
    pub fn is_empty(&self) -> bool {
        self.integers.is_empty()
    }

    /// Returns the last value of a position.
    pub fn value(&self, position: usize) -> f64 {
        to_value(self.integers[position], self.scales[position])
    }
}

#[cfg(test)]
mod tests;
