#![doc = include_str!("FORMAT.md")]

mod batch;
mod columns;
mod directory;
mod file;
mod layout;
mod pages;
mod reader;
mod reading;
mod window;
mod writer;

pub(crate) use batch::{BatchValues, ChunkBatch};
pub(crate) use file::FileWriter;
pub(crate) use reader::{ChunksReader, open_sized};
pub(crate) use reading::{Reading, Readings};
pub(crate) use writer::{ChunksWriter, Counts};

#[cfg(test)]
mod tests;
