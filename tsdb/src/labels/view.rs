//! The labels of a series that was found, shared with the series found beside it.

use std::cmp::Ordering;
use std::fmt;
use std::iter::FusedIterator;
use std::ops::Range;
use std::sync::Arc;

use super::builder::{LabelsBuilder, label_end, packed_len, value_start};
use super::set::{LabelIter, Labels, write_selector};
use super::{EntityPacker, EntityTexts, METRIC_NAME};

/// The labels of a series of an answer: what [`Labels`] holds, without an allocation for each series.
///
/// The text is that of a batch of series, which every one of them keeps alive; cloning counts references. What is kept
/// for longer than the answer is better kept as [`Labels`].
///
/// Ordered like [`Labels`]: by metric name and then label by label over the others.
///
/// ```
/// use tsdb::Labels;
/// use tsdb::labels::SeriesLabels;
///
/// let labels = Labels::from_pairs([("__name__", "up"), ("job", "node")])?;
/// let found = SeriesLabels::from(&labels);
/// assert_eq!(found.metric(), "up");
/// assert_eq!(found.get("job"), Some("node"));
/// assert_eq!(found.to_labels(), labels);
/// # Ok::<(), tsdb::error::Rejection>(())
/// ```
#[derive(Clone)]
pub struct SeriesLabels {
    shared: Arc<SharedLabels>,
    start: u32,
    end: u32,
}

/// What the labels of several series of one metric stand in.
#[derive(Debug)]
pub(crate) struct SharedLabels {
    /// May be empty.
    pub(crate) metric: Arc<str>,
    pub(crate) texts: Arc<EntityTexts>,
}

impl SeriesLabels {
    /// Returns the labels of a series with the metric name of `shared` and of the entity that its texts hold in `range`.
    #[inline]
    pub(crate) fn new(shared: Arc<SharedLabels>, range: Range<u32>) -> Self {
        Self {
            shared,
            start: range.start,
            end: range.end,
        }
    }

    /// Returns the name of the metric; empty when there is none.
    #[inline]
    pub fn metric(&self) -> &str {
        &self.shared.metric
    }

    /// Returns the value of the label `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        if name == METRIC_NAME {
            return Some(self.metric()).filter(|metric| !metric.is_empty());
        }
        self.entity()
            .find(|&(present, _)| present == name)
            .map(|(_, value)| value)
    }

    /// Walks the labels in the bytewise order of their names.
    #[inline]
    pub fn iter(&self) -> SeriesLabelIter<'_> {
        SeriesLabelIter {
            metric: Some(self.metric()).filter(|metric| !metric.is_empty()),
            entity: self.entity(),
        }
    }

    /// Returns the labels as a set of their own; takes one allocation.
    pub fn to_labels(&self) -> Labels {
        let metric_len = packed_len(METRIC_NAME, self.metric());
        let mut builder = LabelsBuilder::with_capacity(metric_len + self.packed().len());
        if self.metric().is_empty() {
            builder.push_packed(self.packed());
        } else if self
            .entity()
            .next()
            .is_none_or(|(name, _)| name > METRIC_NAME)
        {
            builder.push(METRIC_NAME, self.metric());
            builder.push_packed(self.packed());
        } else {
            for (name, value) in self {
                builder.push(name, value);
            }
        }
        builder.finish()
    }

    /// Walks the labels other than the metric name.
    #[inline]
    fn entity(&self) -> LabelIter<'_> {
        LabelIter::new(self.packed())
    }

    /// Returns the labels other than the metric name as one text, which is the same for the same labels.
    #[inline]
    pub(crate) fn packed(&self) -> &str {
        self.shared.texts.get(self.start..self.end)
    }
}

impl From<&Labels> for SeriesLabels {
    fn from(labels: &Labels) -> Self {
        let mut packer = EntityPacker::default();
        for (name, value) in labels.entity() {
            packer.push(name.as_bytes(), value.as_bytes());
        }
        let range = packer.end().expect("a label set is not too long");
        let shared = SharedLabels {
            metric: labels.metric().into(),
            texts: packer.finish(&mut []),
        };
        Self::new(Arc::new(shared), range)
    }
}

/// The labels of a found series in the bytewise order of their names.
#[derive(Debug, Clone)]
pub struct SeriesLabelIter<'a> {
    /// The metric name while it has not come.
    metric: Option<&'a str>,
    entity: LabelIter<'a>,
}

impl<'a> Iterator for SeriesLabelIter<'a> {
    type Item = (&'a str, &'a str);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.metric.is_some() && self.is_metric_next() {
            return self.metric.take().map(|metric| (METRIC_NAME, metric));
        }
        self.entity.next()
    }
}

impl SeriesLabelIter<'_> {
    /// Tells whether the next of the other labels stands behind the metric name. Apart, so that walking the others is
    /// short enough to become part of the caller's loop.
    #[inline(never)]
    fn is_metric_next(&self) -> bool {
        let next = self.entity.clone().next();
        next.is_none_or(|(name, _)| name > METRIC_NAME)
    }
}

impl FusedIterator for SeriesLabelIter<'_> {}

impl<'a> IntoIterator for &'a SeriesLabels {
    type Item = (&'a str, &'a str);
    type IntoIter = SeriesLabelIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Ord for SeriesLabels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.metric()
            .cmp(other.metric())
            .then_with(|| compare_packed(self.packed(), other.packed()))
    }
}

impl PartialOrd for SeriesLabels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for SeriesLabels {
    fn eq(&self, other: &Self) -> bool {
        self.packed() == other.packed() && self.metric() == other.metric()
    }
}

impl Eq for SeriesLabels {}

impl PartialEq<Labels> for SeriesLabels {
    fn eq(&self, other: &Labels) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Display for SeriesLabels {
    /// Writes the labels as a selector that [`parse_selector`](super::parse_selector) reads back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_selector(f, self.metric(), self.entity())
    }
}

impl fmt::Debug for SeriesLabels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Compares label by label. Where neighbours share most of their text, only the label in which they part is looked at.
fn compare_packed(left: &str, right: &str) -> Ordering {
    let common = common_len(left.as_bytes(), right.as_bytes());
    if common == left.len() && common == right.len() {
        return Ordering::Equal;
    }
    // A label that ends within what is common stands in both.
    let mut start = 0;
    while let Some(end) = label_end(left.as_bytes(), start).filter(|end| *end <= common) {
        start = end;
    }
    // Where both have the label and values of one length, the first byte that differs tells which comes first.
    if value_start(left.as_bytes(), start).is_some_and(|value| value <= common)
        && let Some((one, other)) = left
            .as_bytes()
            .get(common)
            .zip(right.as_bytes().get(common))
    {
        return one.cmp(other);
    }
    let [left, right] = [left, right].map(|packed| packed.get(start..).unwrap_or_default());
    LabelIter::new(left).cmp(LabelIter::new(right))
}

/// Returns how many bytes both begin with, eight at a time.
fn common_len(left: &[u8], right: &[u8]) -> usize {
    let (left_words, _) = left.as_chunks::<8>();
    let (right_words, _) = right.as_chunks::<8>();
    for (number, (one, other)) in left_words.iter().zip(right_words).enumerate() {
        let difference = u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other);
        if difference != 0 {
            return number * 8 + difference.trailing_zeros() as usize / 8;
        }
    }
    let start = left_words.len().min(right_words.len()) * 8;
    let rest = left.iter().zip(right).skip(start);
    start + rest.take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some_labels() -> impl Strategy<Value = Labels> {
        let name = prop_oneof![Just(METRIC_NAME.to_owned()), "[A-Za-c_]{1,2}", "\\PC{1,3}"];
        let value = prop_oneof!["[ab]{1,2}", "a{60,70}b?", "\\PC{1,9}"];
        prop::collection::btree_map(name, value, 1..8)
            .prop_map(|pairs| Labels::from_pairs(pairs).unwrap())
    }

    proptest! {
        #[test]
        fn view_says_what_the_labels_say(labels in some_labels()) {
            let view = SeriesLabels::from(&labels);
            prop_assert!(view.iter().eq(labels.iter()));
            prop_assert_eq!(view.to_labels(), labels.clone());
            prop_assert_eq!(view.to_string(), labels.to_string());
            prop_assert_eq!(view.metric(), labels.metric());
            prop_assert!(view == labels);
            for name in [METRIC_NAME, "a", "Z"] {
                prop_assert_eq!(view.get(name), labels.get(name));
            }
        }

        #[test]
        fn views_are_ordered_like_labels(left in some_labels(), right in some_labels()) {
            let (one, other) = (SeriesLabels::from(&left), SeriesLabels::from(&right));
            prop_assert_eq!(one.cmp(&other), left.cmp(&right));
            prop_assert_eq!(one == other, left == right);
            prop_assert_eq!(one == right, left == right);
        }
    }

    #[test]
    fn labels_that_part_late_are_told_apart_there() {
        let labels = |last: &str, more: &[(&str, &str)]| {
            let pairs = [("a", "x".repeat(100)), ("b", last.to_owned())];
            let more = more
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()));
            Labels::from_pairs(pairs.into_iter().chain(more)).unwrap()
        };
        let ordered = [
            labels("1", &[]),
            labels("1", &[("c", "0")]),
            labels("1", &[("c", "00")]),
            labels("1", &[("d", "0")]),
            labels("10", &[]),
            labels("2", &[]),
        ];
        let views = ordered.each_ref().map(SeriesLabels::from);
        assert!(views.is_sorted_by(|left, right| left < right));
    }
}
