//! Chunks.

pub mod cut;
#[cfg(test)]
mod fixtures;
pub mod gorilla;
mod ints;
