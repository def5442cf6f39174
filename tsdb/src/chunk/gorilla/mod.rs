#![doc = include_str!("FORMAT.md")]

mod appender;
mod bits;
mod reader;
#[cfg(test)]
mod tests;

pub use appender::{Appender, SAMPLES_MAX};
pub use reader::{Iter, decode};
