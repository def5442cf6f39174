#![doc = include_str!("FORMAT.md")]

mod directory;
mod page;
mod reader;
mod set;
#[cfg(test)]
mod tests;
mod view;
mod writer;

pub use reader::{IndexReader, LabelReader};
pub use writer::IndexWriter;
