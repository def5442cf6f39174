#![doc = include_str!("FORMAT.md")]

mod columns;
mod directory;
mod file;
mod layout;
mod pages;
mod reader;
mod window;
mod writer;

pub(crate) use file::FileWriter;
pub(crate) use reader::{ChunksReader, Walk, open_sized};
pub(crate) use writer::{ChunksWriter, Counts};

#[cfg(test)]
mod tests;
