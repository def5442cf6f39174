//! The identity of a series.

use std::cmp::Ordering;
use std::fmt;
use std::iter::FusedIterator;

use super::METRIC_NAME;
use super::builder::{LabelsBuilder, packed_len, take_str};
use super::quote::{Quoted, is_legacy_label_name, is_legacy_metric_name};
use crate::error::Rejection;
use crate::limits::{
    LABEL_NAME_BYTES_MAX, LABEL_SET_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_PER_SERIES_MAX,
};

/// A set of labels: at least one, sorted by name bytewise, every name once, no value empty.
///
/// Takes one allocation however many labels there are; a clone copies it. [`Ord`] puts series of one metric together:
/// by the metric name (missing is the empty name), then label by label, name before value, over the other labels; a
/// set that ends first comes first.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Box<str>);

impl Labels {
    /// Returns the set of the labels in `pairs`, which come in any order; those with an empty value are dropped.
    ///
    /// Sorted pairs are packed as they come, others once more after sorting.
    ///
    /// # Errors
    ///
    /// [`Rejection::InvalidLabelName`] for an empty name or one that comes twice, [`Rejection::LabelsTooLong`] past a cap
    /// of [`crate::limits`], [`Rejection::EmptyLabels`] when nothing is left.
    ///
    /// ```
    /// use tsdb::labels::Labels;
    ///
    /// let labels = Labels::from_pairs([("job", "node"), ("__name__", "up"), ("zone", "")])?;
    /// assert_eq!(labels.to_string(), r#"up{job="node"}"#);
    /// # Ok::<(), tsdb::error::Rejection>(())
    /// ```
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, Rejection>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let mut arrival = LabelsBuilder::with_capacity(CAPACITY);
        let mut last_name = String::new();
        let mut sorted = true;
        let mut count = 0;
        let mut text_len = 0;
        for (name, value) in pairs {
            let (name, value) = (name.as_ref(), value.as_ref());
            if value.is_empty() {
                continue;
            }
            if name.is_empty() {
                return Err(Rejection::InvalidLabelName);
            }
            count += 1;
            text_len += name.len() + value.len();
            if count > LABELS_PER_SERIES_MAX
                || name.len() > LABEL_NAME_BYTES_MAX
                || value.len() > LABEL_VALUE_BYTES_MAX
                || text_len > LABEL_SET_BYTES_MAX
            {
                return Err(Rejection::LabelsTooLong);
            }
            match name.cmp(last_name.as_str()) {
                Ordering::Greater => {}
                Ordering::Equal => return Err(Rejection::InvalidLabelName),
                Ordering::Less => sorted = false,
            }
            if sorted {
                last_name.clear();
                last_name.push_str(name);
            }
            arrival.push(name, value);
        }
        match (count, sorted) {
            (0, _) => Err(Rejection::EmptyLabels),
            (_, true) => Ok(arrival.finish()),
            (_, false) => sort(&arrival),
        }
    }

    pub(super) fn from_packed(packed: Box<str>) -> Self {
        Self(packed)
    }

    /// Returns the value of the label `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|&(present, _)| present == name)
            .map(|(_, value)| value)
    }

    /// Returns the name of the metric; empty when there is none.
    pub fn metric(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or_default()
    }

    /// Walks the labels in the bytewise order of their names.
    pub fn iter(&self) -> LabelIter<'_> {
        LabelIter::new(&self.0)
    }

    /// Walks the labels other than the metric name: what tells the series of one metric apart.
    pub(crate) fn entity(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.iter().filter(|&(name, _)| name != METRIC_NAME)
    }

    /// Returns the number of labels; takes a walk over them.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Tells whether there is no label, which no set made from pairs is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the bytes the set holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.0.len()
    }
}

/// Tells whether [`Labels::from_pairs`] keeps all of these labels, in this order.
pub(crate) fn is_set(pairs: &[(&str, &str)]) -> bool {
    let mut last_name = "";
    let mut text_len = 0;
    for &(name, value) in pairs {
        if name <= last_name
            || value.is_empty()
            || name.len() > LABEL_NAME_BYTES_MAX
            || value.len() > LABEL_VALUE_BYTES_MAX
        {
            return false;
        }
        text_len += name.len() + value.len();
        last_name = name;
    }
    (1..=LABELS_PER_SERIES_MAX).contains(&pairs.len()) && text_len <= LABEL_SET_BYTES_MAX
}

/// The labels of a set in the bytewise order of their names.
#[derive(Debug, Clone, Default)]
pub struct LabelIter<'a> {
    /// The packed labels still to come.
    rest: &'a str,
}

impl<'a> LabelIter<'a> {
    /// Walks packed labels.
    #[inline]
    pub(super) fn new(packed: &'a str) -> Self {
        Self { rest: packed }
    }
}

impl<'a> Iterator for LabelIter<'a> {
    type Item = (&'a str, &'a str);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let name = take_str(&mut self.rest)?;
        let value = take_str(&mut self.rest)?;
        Some((name, value))
    }
}

impl FusedIterator for LabelIter<'_> {}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = LabelIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.metric()
            .cmp(other.metric())
            .then_with(|| self.entity().cmp(other.entity()))
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Labels {
    /// Writes the set as a selector that [`parse_selector`](super::parse_selector) reads back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_selector(f, self.metric(), self.entity())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Writes a metric name, which may be empty, and the other labels as a selector.
pub(super) fn write_selector<'a>(
    f: &mut fmt::Formatter<'_>,
    metric: &str,
    others: impl Iterator<Item = (&'a str, &'a str)>,
) -> fmt::Result {
    let mut separator = "{";
    if is_legacy_metric_name(metric) {
        f.write_str(metric)?;
    } else if !metric.is_empty() {
        write!(f, "{{{}", Quoted(metric))?;
        separator = ",";
    }
    for (name, value) in others {
        f.write_str(separator)?;
        separator = ",";
        if is_legacy_label_name(name) {
            f.write_str(name)?;
        } else {
            write!(f, "{}", Quoted(name))?;
        }
        write!(f, "={}", Quoted(value))?;
    }
    if separator == "," {
        f.write_str("}")
    } else {
        Ok(())
    }
}

/// Room for the labels of most series; what is left over is given back.
const CAPACITY: usize = 512;

fn sort(arrival: &LabelsBuilder) -> Result<Labels, Rejection> {
    let mut pairs: Vec<(&str, &str)> = LabelIter::new(arrival.packed()).collect();
    pairs.sort_unstable();
    if pairs.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(Rejection::InvalidLabelName);
    }
    let mut builder = LabelsBuilder::with_capacity(
        pairs
            .iter()
            .map(|(name, value)| packed_len(name, value))
            .sum(),
    );
    for (name, value) in pairs {
        builder.push(name, value);
    }
    Ok(builder.finish())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied()).unwrap()
    }

    #[test]
    fn labels_are_sorted_and_found() {
        let labels = labels(&[
            ("job", "node"),
            ("__name__", "up"),
            ("empty", ""),
            ("Zone", "b"),
        ]);
        assert_eq!(
            labels.iter().collect::<Vec<_>>(),
            [("Zone", "b"), ("__name__", "up"), ("job", "node")]
        );
        assert_eq!(
            (labels.get("job"), labels.get("empty"), labels.get("")),
            (Some("node"), None, None)
        );
        assert_eq!(
            (labels.metric(), labels.len(), labels.is_empty()),
            ("up", 3, false)
        );
    }

    #[test]
    fn handle_is_two_words() {
        assert_eq!(size_of::<Labels>(), 16);
    }

    #[test]
    fn unusable_sets_are_refused() {
        let refused =
            |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied()).unwrap_err();
        assert_eq!(refused(&[]), Rejection::EmptyLabels);
        assert_eq!(refused(&[("a", ""), ("", "")]), Rejection::EmptyLabels);
        assert_eq!(refused(&[("", "a")]), Rejection::InvalidLabelName);
        assert_eq!(
            refused(&[("a", "1"), ("a", "2")]),
            Rejection::InvalidLabelName
        );
        assert_eq!(
            refused(&[("b", "1"), ("a", "2"), ("b", "1")]),
            Rejection::InvalidLabelName
        );
    }

    #[test]
    fn every_cap_is_met_exactly() {
        let of_len = |name: usize, value: usize| {
            Labels::from_pairs([("n".repeat(name), "v".repeat(value))]).map(drop)
        };
        assert_eq!(of_len(LABEL_NAME_BYTES_MAX, LABEL_VALUE_BYTES_MAX), Ok(()));
        assert_eq!(
            of_len(LABEL_NAME_BYTES_MAX + 1, 1),
            Err(Rejection::LabelsTooLong)
        );
        assert_eq!(
            of_len(1, LABEL_VALUE_BYTES_MAX + 1),
            Err(Rejection::LabelsTooLong)
        );
        let of_count =
            |count: usize| Labels::from_pairs((0..count).map(|i| (format!("n{i}"), "v"))).map(drop);
        assert_eq!(of_count(LABELS_PER_SERIES_MAX), Ok(()));
        assert_eq!(
            of_count(LABELS_PER_SERIES_MAX + 1),
            Err(Rejection::LabelsTooLong)
        );
        let of_text = |last: usize| {
            let sizes = [4095, 4095, 4095, 4094, last].into_iter().enumerate();
            Labels::from_pairs(sizes.map(|(i, len)| (i.to_string(), "v".repeat(len)))).map(drop)
        };
        assert_eq!(of_text(0), Ok(()));
        assert_eq!(of_text(1), Err(Rejection::LabelsTooLong));
    }

    #[test]
    fn series_of_one_metric_stand_together() {
        let ordered = [
            labels(&[("a", "1")]),
            labels(&[("z", "1")]),
            labels(&[("__name__", "down"), ("a", "2")]),
            labels(&[("__name__", "up")]),
            labels(&[("__name__", "up"), ("Z", "1")]),
            labels(&[("__name__", "up"), ("a", "1")]),
            labels(&[("__name__", "up"), ("a", "1"), ("b", "1")]),
            labels(&[("__name__", "up"), ("a", "2")]),
            labels(&[("__name__", "up"), ("b", "0")]),
        ];
        assert!(ordered.is_sorted_by(|left, right| left < right));
    }

    #[test]
    fn display_is_a_selector() {
        assert_eq!(labels(&[("__name__", "up")]).to_string(), "up");
        assert_eq!(
            labels(&[("__name__", "a:b"), ("c", "d\"\\\n\u{7f}é")]).to_string(),
            r#"a:b{c="d\"\\\n\x7fé"}"#
        );
        assert_eq!(
            labels(&[("a", "b"), ("c.d", "e")]).to_string(),
            r#"{a="b","c.d"="e"}"#
        );
        assert_eq!(
            labels(&[("__name__", "my.metric"), ("a", "b")]).to_string(),
            r#"{"my.metric",a="b"}"#
        );
        assert_eq!(
            format!("{:?}", labels(&[("__name__", "1st")])),
            r#"{"1st"}"#
        );
    }

    fn some_pairs() -> impl Strategy<Value = Vec<(String, String)>> {
        let name = prop_oneof![
            Just(String::from(METRIC_NAME)),
            "[A-Za-c_]{1,2}",
            "\\PC{1,3}"
        ];
        let value = prop_oneof![
            "[ab]{1,2}",
            any::<String>().prop_filter("not empty", |value| !value.is_empty())
        ];
        prop::collection::btree_map(name, value, 1..8).prop_map(|pairs| pairs.into_iter().collect())
    }

    fn definition_of_order(left: &Labels, right: &Labels) -> Ordering {
        let others = |labels: &Labels| -> Vec<(String, String)> {
            labels
                .iter()
                .filter(|label| label.0 != METRIC_NAME)
                .map(|(name, value)| (name.into(), value.into()))
                .collect()
        };
        (left.metric(), others(left)).cmp(&(right.metric(), others(right)))
    }

    fn some_arrival() -> impl Strategy<Value = Vec<(String, String)>> {
        let name = prop_oneof!["[a-c]?", Just("x".repeat(LABEL_NAME_BYTES_MAX + 1))];
        let value = prop_oneof!["[ab]?", Just("x".repeat(LABEL_VALUE_BYTES_MAX + 1))];
        prop_oneof![
            prop::collection::vec(("[a-f]", "[ab]"), 0..5),
            prop::collection::vec((name, value), 0..4),
            (LABELS_PER_SERIES_MAX - 1..LABELS_PER_SERIES_MAX + 2).prop_map(|count| (0..count)
                .map(|i| (format!("{i:03}"), "v".into()))
                .collect()),
            (4000usize..=LABEL_VALUE_BYTES_MAX)
                .prop_map(|len| (0..4).map(|i| (i.to_string(), "v".repeat(len))).collect()),
        ]
    }

    proptest! {
        #[test]
        fn pairs_are_a_set_if_nothing_is_done_to_them(pairs in some_arrival()) {
            let pairs: Vec<(&str, &str)> =
                pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let made = Labels::from_pairs(pairs.iter().copied());
            let is_kept = made.is_ok_and(|labels| labels.iter().eq(pairs.iter().copied()));
            prop_assert_eq!(is_set(&pairs), is_kept);
        }

        #[test]
        fn order_of_arrival_does_not_matter(
            (pairs, shuffled) in some_pairs().prop_flat_map(|pairs| (Just(pairs.clone()), Just(pairs).prop_shuffle())),
        ) {
            let labels = Labels::from_pairs(pairs.clone()).unwrap();
            prop_assert_eq!(&labels, &Labels::from_pairs(shuffled).unwrap());
            prop_assert!(labels.iter().eq(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))));
        }

        #[test]
        fn order_is_total_and_as_defined(left in some_pairs(), right in some_pairs()) {
            let left = Labels::from_pairs(left).unwrap();
            let right = Labels::from_pairs(right).unwrap();
            prop_assert_eq!(left.cmp(&right), definition_of_order(&left, &right));
            prop_assert_eq!(left.cmp(&right), right.cmp(&left).reverse());
            prop_assert_eq!(left.cmp(&right) == Ordering::Equal, left == right);
        }

        #[test]
        fn display_reads_back(pairs in some_pairs()) {
            let labels = Labels::from_pairs(pairs).unwrap();
            let text = labels.to_string();
            prop_assert_eq!(text.parse::<Labels>().unwrap(), labels);
            for matcher in crate::labels::parse_selector(&text).unwrap() {
                let again = crate::labels::parse_selector(&format!("{{{matcher}}}")).unwrap();
                prop_assert_eq!(again, [matcher]);
            }
        }
    }
}
