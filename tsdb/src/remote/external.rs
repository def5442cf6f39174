//! The labels that tell this database from others once its samples are among theirs.

use std::iter::Peekable;

use crate::error::{Rejection, Result};
use crate::labels::{LabelIter, Labels, MatchOp, Matcher, SeriesLabelIter, SeriesLabels};

/// Labels that every series carries outside and none inside: added where samples leave, taken off matchers that come in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExternalLabels(Option<Labels>);

impl ExternalLabels {
    /// Returns the labels in `pairs`; none is as good as any.
    ///
    /// # Errors
    ///
    /// Those of [`Labels::from_pairs`] but for the empty set.
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, Rejection>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        match Labels::from_pairs(pairs) {
            Ok(labels) => Ok(Self(Some(labels))),
            Err(Rejection::EmptyLabels) => Ok(Self(None)),
            Err(rejection) => Err(rejection),
        }
    }

    /// Walks the labels by name.
    pub fn iter(&self) -> LabelIter<'_> {
        match &self.0 {
            Some(labels) => labels.iter(),
            None => LabelIter::default(),
        }
    }

    /// Walks the labels of a series with these among them, by name. Where both have a name, the series' own label stays.
    pub fn merge<'l>(&'l self, series: &'l SeriesLabels) -> MergedLabels<'l> {
        MergedLabels {
            series: series.iter().peekable(),
            external: self.iter().peekable(),
        }
    }

    /// Returns the matcher to select with inside: a label that is the same for all outside is on none of them here.
    pub fn localize(&self, matcher: Matcher) -> Result<Matcher> {
        let is_external = |(name, value)| name == matcher.name() && value == matcher.value();
        if matcher.op() == MatchOp::Equal && self.iter().any(is_external) {
            return Matcher::new(MatchOp::Equal, matcher.name(), "");
        }
        Ok(matcher)
    }
}

/// The labels of a series and the external ones, by name.
#[derive(Debug, Clone)]
pub struct MergedLabels<'l> {
    series: Peekable<SeriesLabelIter<'l>>,
    external: Peekable<LabelIter<'l>>,
}

impl<'l> Iterator for MergedLabels<'l> {
    type Item = (&'l str, &'l str);

    fn next(&mut self) -> Option<Self::Item> {
        let (Some((name, _)), Some((external, _))) = (self.series.peek(), self.external.peek())
        else {
            return self.series.next().or_else(|| self.external.next());
        };
        if external < name {
            return self.external.next();
        }
        if external == name {
            self.external.next();
        }
        self.series.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(external: &[(&str, &str)], series: &[(&str, &str)]) -> String {
        let external = ExternalLabels::from_pairs(external.iter().copied()).unwrap();
        let series = Labels::from_pairs(series.iter().copied()).unwrap();
        let series = SeriesLabels::from(&series);
        let pairs: Vec<_> = external.merge(&series).collect();
        assert!(pairs.is_sorted_by(|left, right| left.0 < right.0));
        let pairs = pairs.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join(",")
    }

    #[test]
    fn a_series_keeps_its_own_label() {
        assert_eq!(merged(&[], &[("a", "1")]), "a=1");
        assert_eq!(
            merged(&[("b", "x")], &[("a", "1"), ("c", "2")]),
            "a=1,b=x,c=2"
        );
        assert_eq!(merged(&[("a", "x"), ("z", "y")], &[("a", "1")]), "a=1,z=y");
    }

    #[test]
    fn only_the_equality_that_always_holds_is_taken_off() {
        let external = ExternalLabels::from_pairs([("cluster", "eu")]).unwrap();
        let local = |op, value: &str| {
            let matcher = Matcher::new(op, "cluster", value).unwrap();
            external.localize(matcher).unwrap().to_string()
        };
        assert_eq!(local(MatchOp::Equal, "eu"), r#"cluster="""#);
        assert_eq!(local(MatchOp::Equal, "us"), r#"cluster="us""#);
        assert_eq!(local(MatchOp::NotEqual, "eu"), r#"cluster!="eu""#);
        assert_eq!(local(MatchOp::Regex, "eu"), r#"cluster=~"eu""#);
    }
}
