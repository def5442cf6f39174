//! Names and values of labels, of everything or of what matchers select.

use std::collections::BTreeSet;

use roaring::RoaringBitmap;

use super::select::{Inverted, Selection, select};
use crate::labels::{METRIC_NAME, Matcher};

/// Returns the names of all labels that the selected series have.
pub(crate) fn label_names<I: Inverted>(
    index: &I,
    matchers: &[Matcher],
) -> Result<BTreeSet<String>, I::Error> {
    let selection = Selected::new(select(index, matchers)?);
    let mut names = BTreeSet::new();
    for metric in &selection.metrics {
        // A series without a metric name counts as having the empty one, which is as good as none.
        if !index.text(*metric)?.is_empty() && has_entity(index, &selection, *metric)? {
            names.insert(METRIC_NAME.to_owned());
            break;
        }
    }
    let entities = entities(index, &selection)?;
    let mut others = Vec::new();
    index.each_label(|label, name| {
        if name != METRIC_NAME {
            others.push((label, name.to_owned()));
        }
    });
    for (label, name) in others {
        if index.label_entities(label)?.intersects(&entities) {
            names.insert(name);
        }
    }
    Ok(names)
}

/// Returns the values that the label `name` has in the selected series.
pub(crate) fn label_values<I: Inverted>(
    index: &I,
    name: &str,
    matchers: &[Matcher],
) -> Result<BTreeSet<String>, I::Error> {
    let mut values = BTreeSet::new();
    let Some(label) = index.label(name) else {
        return Ok(values);
    };
    if matchers.is_empty() {
        index.each_value(label, "", |_, text| {
            values.insert(text.to_owned());
            Ok(())
        })?;
    } else if name == METRIC_NAME {
        let selection = Selected::new(select(index, matchers)?);
        for metric in &selection.metrics {
            if has_entity(index, &selection, *metric)? {
                values.insert(index.text(*metric)?.to_owned());
            }
        }
    } else {
        let entities = entities(index, &Selected::new(select(index, matchers)?))?;
        if entities.len() < index.value_count(label) as u64 {
            for entity in &entities {
                let value = index.entity_value(entity, label)?;
                if !values.contains(value) {
                    values.insert(value.to_owned());
                }
            }
        } else {
            index.each_value(label, "", |value, text| {
                if index.entities(value)?.intersects(&entities) {
                    values.insert(text.to_owned());
                }
                Ok(())
            })?;
        }
    }
    // The empty value stands for a missing label, of the metric name too.
    values.remove("");
    Ok(values)
}

/// A selection whose entities are asked for in sets.
struct Selected<V> {
    metrics: Vec<V>,
    entities: Option<RoaringBitmap>,
}

impl<V> Selected<V> {
    fn new(Selection { metrics, entities }: Selection<V>) -> Self {
        Self {
            metrics,
            entities: entities.map(|entities| entities.into_iter().collect()),
        }
    }
}

fn has_entity<I: Inverted>(
    index: &I,
    selection: &Selected<I::Value>,
    metric: I::Value,
) -> Result<bool, I::Error> {
    match &selection.entities {
        None => Ok(true),
        Some(entities) => Ok(index.entities(metric)?.intersects(entities)),
    }
}

/// Returns the entities of the selected series.
fn entities<I: Inverted>(
    index: &I,
    selection: &Selected<I::Value>,
) -> Result<RoaringBitmap, I::Error> {
    let mut entities = RoaringBitmap::new();
    for metric in &selection.metrics {
        index.entities(*metric)?.union_into(&mut entities);
    }
    if let Some(selected) = &selection.entities {
        entities &= selected;
    }
    Ok(entities)
}
