//! From matchers to metrics and entities: the one select algorithm.
//!
//! It works on [`Inverted`], which the index in memory and the index on disk both are; each turns the [`Selection`]
//! into its own series afterwards. The rules are Prometheus': a series without a label has its empty value.
//!
//! 1. Matchers on the metric name choose metrics, by look-up or by a walk over the dictionary of metrics.
//! 2. Every other matcher becomes a term: a set of values of one label, whose entities are kept or dropped. A matcher
//!    that refuses the empty value keeps the entities of the values it accepts; one that takes it drops the entities
//!    of the values it refuses, so that what has no such label stays.
//! 3. Values that can be looked up are. A pattern is walked over the dictionary, unless so few candidates are to be
//!    expected that testing the value of each is cheaper.
//! 4. The smallest set that keeps becomes the candidates: a sorted list, which the others then only shorten, those that
//!    keep first and by their exact numbers of entities. The entities of the metrics are such a set too.

use std::borrow::Cow;

use roaring::RoaringBitmap;

use super::postings::{Postings, retain_sorted, sort};
use crate::labels::{METRIC_NAME, Matcher, Pattern};

/// What both indexes are: dictionaries of label values with sets of entities.
pub(crate) trait Inverted {
    /// What reading can fail with; nothing, in memory.
    type Error;
    /// A label name.
    type Label: Copy;
    /// A value of some label; of the metric name, a metric.
    type Value: Copy;

    /// The label of the metric name, whose values include the empty one where series have no metric.
    fn metric_label(&self) -> Self::Label;
    /// Returns the label called `name`.
    fn label(&self, name: &str) -> Option<Self::Label>;
    /// Calls `visit` with every label, in no particular order.
    fn each_label(&self, visit: impl FnMut(Self::Label, &str));
    /// Returns how many values the label has.
    fn value_count(&self, label: Self::Label) -> usize;
    /// Returns the set of entities that have the label; for the metric name, all.
    fn label_entities(&self, label: Self::Label) -> Result<Cow<'_, Postings>, Self::Error>;
    /// Returns the value `text` of the label.
    fn value(&self, label: Self::Label, text: &str) -> Result<Option<Self::Value>, Self::Error>;
    /// Calls `visit` with every value of the label that starts with `prefix`, in no particular order.
    fn each_value(
        &self,
        label: Self::Label,
        prefix: &str,
        visit: impl FnMut(Self::Value, &str) -> Result<(), Self::Error>,
    ) -> Result<(), Self::Error>;
    /// Calls `visit` with every value of the label whose text `pattern` matches, in no particular order.
    fn each_match(
        &self,
        label: Self::Label,
        pattern: &Pattern,
        mut visit: impl FnMut(Self::Value) -> Result<(), Self::Error>,
    ) -> Result<(), Self::Error> {
        self.each_value(label, prefix_of(pattern), |value, text| {
            if pattern.matches(text) {
                visit(value)
            } else {
                Ok(())
            }
        })
    }
    /// Returns how many entities carry the value, without reading their set.
    fn entity_count(&self, value: Self::Value) -> u32;
    /// Returns the set of entities that carry the value.
    fn entities(&self, value: Self::Value) -> Result<Cow<'_, Postings>, Self::Error>;
    /// Appends the entities that carry the value, ascending.
    fn append_entities(&self, value: Self::Value, out: &mut Vec<u32>) -> Result<(), Self::Error> {
        out.extend(self.entities(value)?.iter());
        Ok(())
    }
    /// Returns the text of the value.
    fn text(&self, value: Self::Value) -> Result<&str, Self::Error>;
    /// Returns the entity's value of the label, which is not the metric name; `""` where it has none.
    fn entity_value(&self, entity: u32, label: Self::Label) -> Result<&str, Self::Error>;
}

/// The series of these metrics that these entities have.
#[derive(Debug)]
pub(crate) struct Selection<V> {
    /// In no particular order.
    pub(crate) metrics: Vec<V>,
    /// Ascending; `None` stands for all.
    pub(crate) entities: Option<Vec<u32>>,
}

impl<V> Selection<V> {
    fn nothing() -> Self {
        Self {
            metrics: Vec::new(),
            entities: None,
        }
    }
}

/// Returns what all of `matchers` select together.
pub(crate) fn select<I: Inverted>(
    index: &I,
    matchers: &[Matcher],
) -> Result<Selection<I::Value>, I::Error> {
    let (of_metric, of_entity): (Vec<&Matcher>, Vec<&Matcher>) = matchers
        .iter()
        .partition(|matcher| matcher.name() == METRIC_NAME);

    let mut terms = Vec::with_capacity(of_entity.len());
    for matcher in of_entity {
        match term(index, matcher)? {
            Resolved::Everything => {}
            Resolved::Nothing => return Ok(Selection::nothing()),
            Resolved::Term(term) => terms.push(term),
        }
    }
    let metrics = metrics(index, &of_metric)?;
    if metrics.is_empty() || terms.is_empty() {
        return Ok(Selection {
            metrics,
            entities: None,
        });
    }

    let candidates = candidates(index, &metrics, !of_metric.is_empty(), terms)?;
    if candidates.is_empty() {
        return Ok(Selection::nothing());
    }
    Ok(Selection {
        metrics,
        entities: Some(candidates),
    })
}

/// Returns the entities that all of `terms` leave, ascending; those without any of `metrics` may be among them.
fn candidates<I: Inverted>(
    index: &I,
    metrics: &[I::Value],
    metrics_are_chosen: bool,
    terms: Vec<Term<'_, I>>,
) -> Result<Vec<u32>, I::Error> {
    let of_metrics = if metrics_are_chosen {
        metrics
            .iter()
            .map(|metric| u64::from(index.entity_count(*metric)))
            .sum()
    } else {
        u64::MAX
    };
    let kept = terms.iter().filter(|term| term.action == Action::Keep);
    let smallest = kept.filter_map(|term| term.values.count()).min();
    let expected = match smallest.unwrap_or(u64::MAX).min(of_metrics) {
        u64::MAX => label_len(index, index.metric_label())?,
        expected => expected,
    };

    // What stays a pattern is tested candidate by candidate.
    let (mut known, mut patterns) = (Vec::new(), Vec::new());
    for mut term in terms {
        if let Values::Matching { pattern, negated } = term.values {
            if expected * CANDIDATE_COST < index.value_count(term.label) as u64 {
                patterns.push(term);
                continue;
            }
            term.values = walk(index, term.label, pattern, negated)?;
        }
        known.push(term);
    }
    known.sort_by_key(|term| (term.action, term.values.count()));

    let mut known = known.into_iter().peekable();
    let mut candidates = match known.peek() {
        Some(first) if first.action == Action::Keep && first.values.count() <= Some(of_metrics) => {
            let term = known.next().expect("it was looked at");
            term.entities(index)?
        }
        _ if metrics_are_chosen => {
            let mut entities = RoaringBitmap::new();
            for metric in metrics {
                index.entities(*metric)?.union_into(&mut entities);
            }
            entities.into_iter().collect()
        }
        _ => index.label_entities(index.metric_label())?.iter().collect(),
    };
    for term in known {
        if candidates.is_empty() {
            break;
        }
        term.shorten(index, &mut candidates)?;
    }
    for term in patterns {
        let mut left = Vec::new();
        for entity in candidates {
            if term
                .matcher
                .matches(index.entity_value(entity, term.label)?)
            {
                left.push(entity);
            }
        }
        candidates = left;
    }
    Ok(candidates)
}

/// Testing a candidate costs this many times what testing a value of the dictionary does.
const CANDIDATE_COST: u64 = 2;

/// Returns the values of the label whose text `pattern` matches, or does not.
fn walk<'a, I: Inverted>(
    index: &I,
    label: I::Label,
    pattern: &'a Pattern,
    negated: bool,
) -> Result<Values<'a, I::Value>, I::Error> {
    let (mut values, mut count) = (Vec::new(), 0);
    let mut add = |value| {
        count += u64::from(index.entity_count(value));
        values.push(value);
        Ok(())
    };
    if negated {
        index.each_value(label, "", |value, text| {
            if pattern.matches(text) {
                Ok(())
            } else {
                add(value)
            }
        })?;
    } else {
        index.each_match(label, pattern, add)?;
    }
    Ok(Values::These(values, count))
}

fn metrics<I: Inverted>(index: &I, matchers: &[&Matcher]) -> Result<Vec<I::Value>, I::Error> {
    let label = index.metric_label();
    let accepted = |name: &str| matchers.iter().all(|matcher| matcher.matches(name));
    let mut metrics = Vec::new();
    let mut prefix = "";
    for matcher in matchers
        .iter()
        .filter(|matcher| !matcher.op().is_negative())
    {
        match matcher.pattern() {
            Pattern::Literals(names) => {
                for name in names.iter().filter(|name| accepted(name)) {
                    metrics.extend(index.value(label, name)?);
                }
                return Ok(metrics);
            }
            pattern => prefix = longer(prefix, prefix_of(pattern)),
        }
    }
    index.each_value(label, prefix, |metric, name| {
        if accepted(name) {
            metrics.push(metric);
        }
        Ok(())
    })?;
    Ok(metrics)
}

enum Resolved<'a, I: Inverted> {
    Everything,
    Nothing,
    Term(Term<'a, I>),
}

/// What one matcher asks of entities.
struct Term<'a, I: Inverted> {
    matcher: &'a Matcher,
    label: I::Label,
    action: Action,
    values: Values<'a, I::Value>,
}

/// What happens to the entities of a term's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Action {
    Keep,
    Drop,
}

/// A set of values of one label.
enum Values<'a, V> {
    /// These, with the number of entities they have together.
    These(Vec<V>, u64),
    /// All but these, with an upper bound for the number of entities.
    AllBut(Vec<V>, u64),
    /// Those whose text the pattern matches, or does not; to be found.
    Matching { pattern: &'a Pattern, negated: bool },
}

impl<V> Values<'_, V> {
    /// Returns how many entities have one of the values, or at most have one; `None` if that is not known yet.
    fn count(&self) -> Option<u64> {
        match self {
            Self::These(_, count) | Self::AllBut(_, count) => Some(*count),
            Self::Matching { .. } => None,
        }
    }
}

fn term<'a, I: Inverted>(index: &I, matcher: &'a Matcher) -> Result<Resolved<'a, I>, I::Error> {
    let takes_empty = matcher.matches_empty();
    let action = if takes_empty {
        Action::Drop
    } else {
        Action::Keep
    };
    let Some(label) = index.label(matcher.name()) else {
        return Ok(if takes_empty {
            Resolved::Everything
        } else {
            Resolved::Nothing
        });
    };
    // Kept are the values accepted, dropped the values refused. These are the values the pattern matches, unless the
    // operator and the empty value turn that round: `!=""` keeps what its pattern does not match.
    let pattern_values = matcher.op().is_negative() == takes_empty;
    let values = match matcher.pattern() {
        Pattern::Any => {
            return Ok(if takes_empty {
                Resolved::Everything
            } else {
                Resolved::Nothing
            });
        }
        Pattern::NonEmpty => Values::AllBut(Vec::new(), label_len(index, label)?),
        Pattern::Literals(texts) => {
            let mut values = Vec::with_capacity(texts.len());
            for text in texts.iter().filter(|text| !text.is_empty()) {
                values.extend(index.value(label, text)?);
            }
            if pattern_values {
                let count = values
                    .iter()
                    .map(|value| u64::from(index.entity_count(*value)))
                    .sum();
                Values::These(values, count)
            } else {
                Values::AllBut(values, label_len(index, label)?)
            }
        }
        pattern => Values::Matching {
            pattern,
            negated: !pattern_values,
        },
    };
    match (&values, action) {
        (Values::These(values, _), Action::Keep) if values.is_empty() => Ok(Resolved::Nothing),
        (Values::These(values, _), Action::Drop) if values.is_empty() => Ok(Resolved::Everything),
        _ => Ok(Resolved::Term(Term {
            matcher,
            label,
            action,
            values,
        })),
    }
}

fn label_len<I: Inverted>(index: &I, label: I::Label) -> Result<u64, I::Error> {
    Ok(index.label_entities(label)?.len().into())
}

impl<I: Inverted> Term<'_, I> {
    /// Takes out of `candidates` what the term does not leave.
    fn shorten(&self, index: &I, candidates: &mut Vec<u32>) -> Result<(), I::Error> {
        match (&self.values, self.action) {
            (Values::These(values, _), action) if values.len() == 1 => {
                index
                    .entities(values[0])?
                    .retain_in(candidates, action == Action::Keep);
            }
            (_, action) => {
                let entities = self.entities(index)?;
                retain_sorted(candidates, entities.into_iter(), action == Action::Keep);
            }
        }
        Ok(())
    }

    /// Returns the entities of the term's values, ascending.
    fn entities(&self, index: &I) -> Result<Vec<u32>, I::Error> {
        match &self.values {
            Values::These(values, _) => entities_of(index, values),
            Values::AllBut(values, _) => {
                let mut entities = index.label_entities(self.label)?.iter().collect();
                let others = entities_of(index, values)?;
                retain_sorted(&mut entities, others.into_iter(), false);
                Ok(entities)
            }
            Values::Matching { pattern, negated } => {
                let found = walk(index, self.label, pattern, *negated)?;
                match found {
                    Values::These(values, _) => entities_of(index, &values),
                    Values::AllBut(..) | Values::Matching { .. } => Ok(Vec::new()),
                }
            }
        }
    }
}

/// Returns the entities that carry one of `values`, ascending. Values of one label have none in common.
fn entities_of<I: Inverted>(index: &I, values: &[I::Value]) -> Result<Vec<u32>, I::Error> {
    let mut entities = Vec::new();
    for value in values {
        index.append_entities(*value, &mut entities)?;
    }
    if values.len() > 1 {
        sort(&mut entities);
    }
    Ok(entities)
}

/// Returns what every text starts with that `pattern` matches.
pub(crate) fn prefix_of(pattern: &Pattern) -> &str {
    match pattern {
        Pattern::StartsWith(prefix) | Pattern::Prefix { prefix, .. } => prefix,
        Pattern::Glob(glob) => glob.prefix(),
        Pattern::AnyOf(globs) => globs.prefix(),
        Pattern::Literals(_) | Pattern::Any | Pattern::NonEmpty | Pattern::General { .. } => "",
    }
}

fn longer<'a>(one: &'a str, other: &'a str) -> &'a str {
    if other.len() > one.len() { other } else { one }
}
