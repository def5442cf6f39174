//! Label names, values and entities, each stored once.
//!
//! Shared by the index in memory, which looks series up in it, and by the writer of the index on disk, which only
//! collects. Everything is named by a `u32` that stays the same while the thing is in use and is given out again
//! afterwards, so churn of pods costs no memory in the long run. It knows nothing of series.
//!
//! 1. [`Dictionary`] keeps label names and, per name, values; every value has the set of entities that carry it.
//! 2. [`Entities`] keeps label sets without the metric name, as lists of value ids, found by one hash of their text.

mod dictionary;
mod entities;
mod slab;
mod table;

pub(crate) use dictionary::{Dictionary, METRIC_LABEL};
pub(crate) use entities::Entities;
pub(crate) use slab::Slab;
pub(crate) use table::IdTable;
