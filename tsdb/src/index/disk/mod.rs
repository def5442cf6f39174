#![doc = include_str!("FORMAT.md")]

mod batch;
mod directory;
mod found;
mod page;
mod reader;
mod set;
#[cfg(test)]
mod tests;
mod view;
mod writer;

pub use found::Found;
pub use reader::IndexReader;
pub use writer::IndexWriter;
