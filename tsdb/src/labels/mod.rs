//! What names a series, and how series are asked for.
//!
//! [`Labels`] is the identity of a series, [`SeriesLabels`] the same as answers share it, [`Matcher`] a condition on one label, [`parse_selector`] the text form of a
//! list of conditions. The module knows nothing of series, postings or files: it compares words.
//!
//! The rules are Prometheus': a label with an empty value is the same as no label; names and values are any UTF-8;
//! a regular expression must match the whole value, and its dot matches a newline too.
//!
//! 1. A program hands over pairs; [`Labels::from_pairs`] drops the empty ones, checks the limits, sorts and packs them.
//! 2. A query hands over a selector; [`parse_selector`] makes matchers of it.
//! 3. [`Matcher::new`] reads off the syntax tree of a regular expression what the label index can look up instead of
//!    testing every value: a few literals, a prefix, anything at all.

mod analysis;
mod builder;
mod glob;
mod matcher;
mod pack;
mod pattern;
mod plain;
mod quote;
mod re2;
mod selector;
mod set;
mod view;

pub(crate) use builder::{LabelsBuilder, packed_len};
pub use matcher::{MatchOp, Matcher};
pub(crate) use pack::{EntityPacker, EntityTexts, PackedName, SLACK_BYTES, pack_label};
pub(crate) use pattern::Pattern;
#[cfg(feature = "remote-write")]
pub(crate) use pattern::compile_with_groups;
pub use selector::parse_selector;
pub(crate) use set::is_set;
pub use set::{LabelIter, Labels};
pub(crate) use view::SharedLabels;
pub use view::{SeriesLabelIter, SeriesLabels};

/// The label that holds the name of the metric.
pub const METRIC_NAME: &str = "__name__";
