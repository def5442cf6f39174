//! How answers look.
//!
//! A command that counts things answers with a [`Report`]; one that reads samples gives its series to a
//! [`SeriesWriter`] one by one, so that no answer has to fit into memory. Both know every [`Format`]. This module knows
//! no database, only labels, samples and cells.

mod cell;
mod csv;
mod report;
mod series;

use clap::ValueEnum;

pub(crate) use cell::Cell;
pub(crate) use report::Report;
pub(crate) use series::{SeriesWriter, format_value};

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns, to be read.
    Table,
    /// One JSON document.
    Json,
    /// One JSON object per line.
    Ndjson,
    /// Comma-separated values with a header; parts of an answer are separated by an empty line.
    Csv,
}
