//! How many series there are, and of what.

use super::select::Inverted;
use crate::labels::METRIC_NAME;

/// What takes up the index: the metrics, labels and label values with the most behind them.
///
/// Filled from the head and from blocks, which mostly hold the same series. Where several sources know a name, the
/// largest number counts: their sum would count a series once per block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cardinality {
    series: u64,
    metrics: Top,
    labels: Top,
    pairs: Top,
}

/// A name and how many there are of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// A metric name, a label name, or `name=value`.
    pub name: String,
    /// How many series or values it has.
    pub count: u64,
}

impl Cardinality {
    /// Returns an empty collection that keeps the `limit` largest numbers of each kind.
    pub fn new(limit: usize) -> Self {
        Self {
            series: 0,
            metrics: Top::new(limit),
            labels: Top::new(limit),
            pairs: Top::new(limit),
        }
    }

    /// Returns the number of series.
    pub fn series(&self) -> u64 {
        self.series
    }

    /// Returns the metrics with the most series, the largest first.
    pub fn metrics(&self) -> &[Count] {
        &self.metrics.counts
    }

    /// Returns the label names with the most values, the largest first.
    pub fn labels(&self) -> &[Count] {
        &self.labels.counts
    }

    /// Returns the label values with the most series as `name=value`, the largest first.
    pub fn pairs(&self) -> &[Count] {
        &self.pairs.counts
    }

    /// Takes in what `other` counted.
    pub fn merge(&mut self, other: &Self) {
        self.series = self.series.max(other.series);
        self.metrics.merge(&other.metrics);
        self.labels.merge(&other.labels);
        self.pairs.merge(&other.pairs);
    }

    /// Takes in what `index` holds; reads all of it.
    pub(crate) fn add<I: Inverted>(&mut self, index: &I) -> Result<(), I::Error> {
        let mut found = Self::new(self.metrics.limit);
        let metric_label = index.metric_label();

        let mut series_of_entity = Vec::new();
        index.each_value(metric_label, "", |metric, name| {
            let entities = index.entities(metric)?;
            found.series += u64::from(entities.len());
            if !name.is_empty() {
                found
                    .metrics
                    .offer(entities.len().into(), || name.to_owned());
            }
            if let Some(max) = entities.max()
                && max as usize >= series_of_entity.len()
            {
                series_of_entity.resize(max as usize + 1, 0u32);
            }
            for entity in entities.iter() {
                series_of_entity[entity as usize] += 1;
            }
            Ok(())
        })?;

        let mut labels = Vec::new();
        index.each_label(|label, name| labels.push((label, name.to_owned())));
        for (label, name) in labels {
            let mut values = 0;
            index.each_value(label, "", |value, text| {
                if text.is_empty() {
                    // The empty metric name stands for none.
                    return Ok(());
                }
                values += 1;
                let entities = index.entities(value)?;
                let series = match name.as_str() {
                    METRIC_NAME => entities.len().into(),
                    _ => entities
                        .iter()
                        .filter_map(|entity| series_of_entity.get(entity as usize))
                        .map(|count| u64::from(*count))
                        .sum(),
                };
                found.pairs.offer(series, || format!("{name}={text}"));
                Ok(())
            })?;
            found.labels.offer(values, || name.clone());
        }
        for top in [&mut found.metrics, &mut found.labels, &mut found.pairs] {
            top.settle();
        }
        self.merge(&found);
        Ok(())
    }
}

/// The largest counts, kept in a list that is cut now and then.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Top {
    limit: usize,
    counts: Vec<Count>,
    /// No smaller count can be among the largest any more.
    floor: u64,
}

impl Top {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            counts: Vec::new(),
            floor: 1,
        }
    }

    /// Takes a name that was not offered before.
    fn offer(&mut self, count: u64, name: impl FnOnce() -> String) {
        if count < self.floor {
            return;
        }
        self.counts.push(Count {
            name: name(),
            count,
        });
        if self.counts.len() >= self.limit.saturating_mul(2).saturating_add(64) {
            self.settle();
            if self.counts.len() == self.limit {
                self.floor = self.counts.last().map_or(u64::MAX, |last| last.count);
            }
        }
    }

    fn settle(&mut self) {
        self.counts.sort_unstable_by(|one, other| {
            other
                .count
                .cmp(&one.count)
                .then_with(|| one.name.cmp(&other.name))
        });
        self.counts.truncate(self.limit);
    }

    fn merge(&mut self, other: &Self) {
        for theirs in &other.counts {
            match self.counts.iter_mut().find(|ours| ours.name == theirs.name) {
                Some(ours) => ours.count = ours.count.max(theirs.count),
                None => self.counts.push(theirs.clone()),
            }
        }
        self.settle();
    }
}
