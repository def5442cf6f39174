//! From matchers to metrics and entities: the one select algorithm.
//!
//! It works on [`Inverted`], which the index in memory and the index on disk both are; each turns the [`Selection`]
//! into its own series afterwards. The rules are Prometheus': a series without a label has its empty value.
//!
//! 1. Matchers on the metric name choose metrics, by look-up or by a walk over the dictionary of metrics.
//! 2. Every other matcher becomes a term: a set of values of one label, whose entities are kept or dropped. A matcher
//!    that refuses the empty value keeps the entities of the values it accepts; one that takes it drops the entities
//!    of the values it refuses, so that what has no such label stays.
//! 3. Values that can be looked up are; their exact numbers of entities put the terms in order, smallest first.
//! 4. Patterns come last: with fewer candidates left than the label has values, the candidates' values are tested
//!    instead of the dictionary's.

use std::borrow::Cow;

use roaring::RoaringBitmap;

use super::postings::Postings;
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
    /// Returns how many entities carry the value, without reading their set.
    fn entity_count(&self, value: Self::Value) -> u32;
    /// Returns the set of entities that carry the value.
    fn entities(&self, value: Self::Value) -> Result<Cow<'_, Postings>, Self::Error>;
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
    /// `None` stands for all.
    pub(crate) entities: Option<RoaringBitmap>,
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

    terms.sort_by_key(Term::order);
    let mut candidates = None;
    if !of_metric.is_empty()
        && metrics.len() <= METRICS_NARROWING_MAX
        && terms
            .iter()
            .any(|term| matches!(term.values, Values::Walk { .. }))
    {
        let mut entities = RoaringBitmap::new();
        for metric in &metrics {
            index.entities(*metric)?.union_into(&mut entities);
        }
        candidates = Some(entities);
    }
    for term in &terms {
        if candidates.as_ref().is_some_and(RoaringBitmap::is_empty) {
            return Ok(Selection::nothing());
        }
        candidates = Some(term.apply(index, candidates)?);
    }
    Ok(Selection {
        metrics,
        entities: candidates,
    })
}

/// Up to this many metrics, the union of their entities is worth making before a pattern is tested.
const METRICS_NARROWING_MAX: usize = 8;

/// Testing a candidate costs this many times what testing a value of the dictionary does.
const CANDIDATE_COST: u64 = 2;

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
    /// Those that start with `prefix` and which the action is for, to be found.
    Walk { prefix: &'a str },
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
        pattern => Values::Walk {
            prefix: if pattern_values {
                prefix_of(pattern)
            } else {
                ""
            },
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
    /// What is known and narrows most comes first, then what is known and drops, then patterns.
    fn order(&self) -> (bool, Action, u64) {
        match &self.values {
            Values::These(_, count) | Values::AllBut(_, count) => (false, self.action, *count),
            Values::Walk { .. } => (true, self.action, 0),
        }
    }

    /// Returns what is left of `candidates`; `None` stands for all entities.
    fn apply(
        &self,
        index: &I,
        candidates: Option<RoaringBitmap>,
    ) -> Result<RoaringBitmap, I::Error> {
        if let (Values::Walk { .. }, Some(candidates)) = (&self.values, &candidates)
            && candidates.len() * CANDIDATE_COST < index.value_count(self.label) as u64
        {
            return self.test_each(index, candidates);
        }
        match (candidates, self.action) {
            (None, Action::Keep) => self.entities(index),
            (Some(mut candidates), Action::Keep) => {
                match &self.values {
                    Values::These(values, _) if values.len() == 1 => {
                        index.entities(values[0])?.intersect_into(&mut candidates);
                    }
                    _ => candidates &= self.entities(index)?,
                }
                Ok(candidates)
            }
            (candidates, Action::Drop) => {
                let mut candidates = match candidates {
                    Some(candidates) => candidates,
                    None => {
                        let mut all = RoaringBitmap::new();
                        index
                            .label_entities(index.metric_label())?
                            .union_into(&mut all);
                        all
                    }
                };
                match &self.values {
                    Values::These(values, _) => {
                        for value in values {
                            index.entities(*value)?.subtract_from(&mut candidates);
                        }
                    }
                    _ => candidates -= self.entities(index)?,
                }
                Ok(candidates)
            }
        }
    }

    /// Returns the entities of the term's values.
    fn entities(&self, index: &I) -> Result<RoaringBitmap, I::Error> {
        let mut entities = RoaringBitmap::new();
        match &self.values {
            Values::These(values, _) => {
                for value in values {
                    index.entities(*value)?.union_into(&mut entities);
                }
            }
            Values::AllBut(values, _) => {
                index.label_entities(self.label)?.union_into(&mut entities);
                for value in values {
                    index.entities(*value)?.subtract_from(&mut entities);
                }
            }
            Values::Walk { prefix } => {
                let accepted = self.action == Action::Keep;
                index.each_value(self.label, prefix, |value, text| {
                    if self.matcher.matches(text) == accepted {
                        index.entities(value)?.union_into(&mut entities);
                    }
                    Ok(())
                })?;
            }
        }
        Ok(entities)
    }

    fn test_each(&self, index: &I, candidates: &RoaringBitmap) -> Result<RoaringBitmap, I::Error> {
        let mut left = Vec::new();
        for entity in candidates {
            if self
                .matcher
                .matches(index.entity_value(entity, self.label)?)
            {
                left.push(entity);
            }
        }
        Ok(left.into_iter().collect())
    }
}

fn prefix_of(pattern: &Pattern) -> &str {
    match pattern {
        Pattern::StartsWith(prefix) | Pattern::Prefix { prefix, .. } => prefix,
        Pattern::Literals(_)
        | Pattern::Any
        | Pattern::NonEmpty
        | Pattern::Contains(_)
        | Pattern::General { .. } => "",
    }
}

fn longer<'a>(one: &'a str, other: &'a str) -> &'a str {
    if other.len() > one.len() { other } else { one }
}
