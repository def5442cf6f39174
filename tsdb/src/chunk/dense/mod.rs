#![doc = include_str!("FORMAT.md")]

mod bases;
mod decimal;
mod decode;
mod encode;
mod exceptions;
#[cfg(test)]
mod tests;

pub use bases::Bases;
pub use decode::{decode, decode_difference, holds_constant, holds_decimal, is_difference};
pub use encode::Encoder;

/// Tags. Decimal chunks carry their exponent and flags in the tag.
const CONSTANT_INTEGER: u8 = 1;
const CONSTANT_BITS: u8 = 2;
const BIT_PATTERNS: u8 = 3;
const BIT_PATTERNS_WITH_EXCEPTIONS: u8 = 4;
const DECIMAL: u8 = 0x40;
const DECIMAL_CORRECTED: u8 = 0x10;
const DECIMAL_WITH_EXCEPTIONS: u8 = 0x20;
const DECIMAL_EXPONENT: u8 = 0x0f;

/// Flag beside the tags with integers: these are differences to those of another chunk.
const DIFFERENCE: u8 = 0x80;
