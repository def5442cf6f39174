//! From labels to series and from matchers to series, in memory and on disk.
//!
//! A series is a metric name and an *entity*: the labels beside the metric name. Real exporters give dozens of metrics
//! the same labels - everything known about one container, one disk, one node - so an entity is stored once, and the
//! postings of a label value are a set of entities rather than of series: forty times smaller for a container with
//! forty metrics. Per metric there is the set of entities that have it. The module knows nothing of samples, chunks,
//! time or durability.
//!
//! 1. [`MemIndex`] is the index of the head: it gives every label set a slot and takes it back again.
//! 2. [`IndexWriter`] collects the series of a block in label order and writes them as [`disk`] describes;
//!    [`IndexReader`] reads that. A series is named by its ordinal in label order.
//! 3. Both are [`Inverted`](select::Inverted): `select` finds metrics and entities for matchers, `browse` finds label
//!    names and values, [`Cardinality`] counts.

mod browse;
mod cardinality;
pub(crate) mod disk;
mod interner;
mod memory;
mod postings;
mod select;
#[cfg(test)]
mod tests;

pub use cardinality::{Cardinality, Count};
pub use disk::{Found, IndexReader, IndexWriter};
pub use memory::{Insertion, MemIndex, NO_ENTITY};

use crate::labels::{Labels, LabelsBuilder, METRIC_NAME, packed_len};

/// Packs a metric name, which may be empty, and the labels of an entity, which `labels` walks sorted by name.
pub(crate) fn pack<'a, L>(metric: &str, labels: impl Fn() -> L) -> Labels
where
    L: Iterator<Item = (&'a str, &'a str)>,
{
    let others: usize = labels().map(|(name, value)| packed_len(name, value)).sum();
    let mut builder = LabelsBuilder::with_capacity(packed_len(METRIC_NAME, metric) + others);
    let mut metric = Some(metric).filter(|metric| !metric.is_empty());
    for (name, value) in labels() {
        if name > METRIC_NAME
            && let Some(metric) = metric.take()
        {
            builder.push(METRIC_NAME, metric);
        }
        builder.push(name, value);
    }
    if let Some(metric) = metric {
        builder.push(METRIC_NAME, metric);
    }
    builder.finish()
}
