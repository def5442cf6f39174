//! Samples as text: OpenMetrics and Prometheus' own format, both ways.
//!
//! 1. [`parse_line`] takes one line apart: the series as it stands there, the value, the timestamp. Lines without a
//!    sample are told apart.
//! 2. [`parse_series`] makes labels of the text of a series. A reader that has seen the text before need not ask again.
//! 3. [`write_series`] and [`write_sample`] write OpenMetrics.
//!
//! The two formats differ in what a timestamp counts (seconds and milliseconds), in exemplars and in how they end. Types,
//! help and units are read over: the database holds samples only. Where the specifications ask for one space, any
//! number of spaces and tabs is taken.

mod cursor;
mod parse;
mod write;

pub(crate) use parse::{Line, Sample, Syntax, parse_line, parse_seconds, parse_series};
pub(crate) use write::{format_value, write_sample, write_series};

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The byte of the line where it shows.
    pub(crate) offset: usize,
    /// What is wrong there.
    pub(crate) what: &'static str,
}

impl Fault {
    /// Returns the number of the character where it shows, as editors count them.
    pub(crate) fn column(&self, line: &str) -> usize {
        line.char_indices()
            .take_while(|(offset, _)| *offset < self.offset)
            .count()
            + 1
    }
}

/// Tells whether `name` needs no quotes before the braces.
fn is_metric_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
}

/// Tells whether `name` needs no quotes inside the braces.
fn is_label_name(name: &str) -> bool {
    is_metric_name(name) && !name.contains(':')
}
