#![doc = include_str!("FORMAT.md")]

mod appender;
mod bits;
mod encoder;
mod reader;
mod shared;
#[cfg(test)]
mod tests;

pub use appender::Appender;
pub use encoder::{Encoder, SAMPLES_MAX};
pub use reader::{Iter, decode};
pub(crate) use shared::{SHARED_MAX, SharedTimes};
