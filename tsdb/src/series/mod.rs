//! The names of series, durable.
//!
//! Logs, pieces and cursors name a series by its id; this store keeps what the ids stand for, so that a segment of the
//! log can be cut although series live on that were defined in it. It does not know which series are alive, nor when a
//! definition has to be durable: its caller does.
//!
//! 1. [`SeriesStore::open`] gives every definition to a visitor, in file order.
//! 2. [`SeriesStore::append`] packs definitions into pages. Series that differ in nothing but the metric are put next to
//!    each other: such a neighbour takes about ten bytes.
//! 3. [`SeriesStore::sync`] makes them durable. If that fails, the store takes nothing until it is rewritten.
//! 4. [`SeriesStore::rewrite`] replaces all files by one with the definitions that are still needed.
#![doc = include_str!("FORMAT.md")]

mod cluster;
mod format;
mod page;
mod store;
mod texts;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

pub(crate) use page::Definition;
pub(crate) use store::{Loaded, SeriesStore};
