#![doc = include_str!("FORMAT.md")]

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::decode;
pub use encode::encode;

/// Tags.
const GRID: u8 = 1;
const IRREGULAR: u8 = 2;
