//! Names of series: metrics and entities are listed once, and series are runs over both lists.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::encoding::{ByteReader, Malformed, put_uvarint, put_varint};
use crate::labels::METRIC_NAME;
use crate::limits::LABELS_PER_SERIES_MAX;

use super::{TAG_DEFINITIONS, put_section};

const _: () = assert!(
    LABELS_PER_SERIES_MAX <= 64,
    "the bitmap of pairs has 64 bits"
);

/// A series by numbers: in a section those of its lists, for a writer whatever the caller knows metrics and entities by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition {
    /// The series.
    pub id: u64,
    /// Its metric name, which may be the empty one.
    pub metric: u32,
    /// Its other labels.
    pub entity: u32,
}

/// Consecutive ids along one of the lists.
#[derive(Debug, Clone, Copy)]
struct Run {
    first: Definition,
    len: u32,
    /// The metric stays and the entities ascend; otherwise it is the other way round.
    is_of_entities: bool,
}

/// Appends a definitions section. `metric` and `labels` tell what the numbers of the series stand for; labels come in
/// order of name, without the metric name.
pub fn put_definitions<'a, L>(
    out: &mut Vec<u8>,
    series: &[Definition],
    metric: impl Fn(u32) -> &'a str,
    labels: impl Fn(u32) -> L,
) where
    L: Iterator<Item = (&'a str, &'a str)>,
{
    let (mut metrics, mut entities) = (Numbers::default(), Numbers::default());
    let mut runs = Vec::new();
    let mut last_id = 0;
    let mut open: Option<Run> = None;
    for series in series {
        let numbered = Definition {
            id: series.id,
            metric: metrics.number(series.metric),
            entity: entities.number(series.entity),
        };
        if open.as_mut().is_some_and(|run| run.extend(numbered)) {
            continue;
        }
        if let Some(run) = open {
            run.put(&mut runs, &mut last_id);
        }
        open = Some(Run {
            first: numbered,
            len: 1,
            is_of_entities: false,
        });
    }
    if let Some(run) = open {
        run.put(&mut runs, &mut last_id);
    }
    put_section(out, TAG_DEFINITIONS, |out| {
        put_uvarint(out, metrics.listed.len() as u64);
        for &number in &metrics.listed {
            put_text(out, metric(number));
        }
        put_uvarint(out, entities.listed.len() as u64);
        let (mut before, mut pairs) = (Vec::new(), Vec::new());
        for &number in &entities.listed {
            pairs.clear();
            pairs.extend(labels(number));
            put_pairs(out, &before, &pairs);
            std::mem::swap(&mut before, &mut pairs);
        }
        out.extend_from_slice(&runs);
    });
}

/// Appends the labels of an entity as far as they differ from those of the entity before.
fn put_pairs(out: &mut Vec<u8>, before: &[(&str, &str)], pairs: &[(&str, &str)]) {
    put_uvarint(out, pairs.len() as u64);
    let bitmap = (0..pairs.len())
        .filter(|&index| before.get(index) != pairs.get(index))
        .fold(0u64, |bits, index| bits | 1 << index);
    put_uvarint(out, bitmap);
    for (index, (name, value)) in pairs.iter().enumerate() {
        if bitmap >> index & 1 == 0 {
            continue;
        }
        let same_name = before.get(index).is_some_and(|(before, _)| before == name);
        put_text(out, if same_name { "" } else { name });
        put_text(out, value);
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_uvarint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

impl Run {
    /// Takes one more series if it goes on where the run ends.
    fn extend(&mut self, next: Definition) -> bool {
        let Definition { id, metric, entity } = self.first;
        if next.id != id.wrapping_add(u64::from(self.len)) {
            return false;
        }
        let along_metrics = next.entity == entity && next.metric == metric + self.len;
        let along_entities = next.metric == metric && next.entity == entity + self.len;
        let goes_on = if self.len == 1 {
            self.is_of_entities = along_entities;
            along_metrics || along_entities
        } else if self.is_of_entities {
            along_entities
        } else {
            along_metrics
        };
        self.len += u32::from(goes_on);
        goes_on
    }

    fn put(&self, out: &mut Vec<u8>, last_id: &mut u64) {
        put_varint(out, self.first.id.wrapping_sub(*last_id) as i64);
        put_uvarint(
            out,
            u64::from(self.len - 1) << 1 | u64::from(self.is_of_entities),
        );
        put_uvarint(out, u64::from(self.first.metric));
        put_uvarint(out, u64::from(self.first.entity));
        *last_id = self.first.id.wrapping_add(u64::from(self.len - 1));
    }
}

/// Numbers for what a section lists, in the order in which it comes.
#[derive(Debug, Default)]
struct Numbers {
    listed: Vec<u32>,
    numbers: HashMap<u32, u32, FixedState>,
    latest: usize,
}

impl Numbers {
    fn number(&mut self, item: u32) -> u32 {
        // Nearly always the one used last, or the one that was listed behind it.
        let near = (self.latest..self.latest + 2).find(|&at| self.listed.get(at) == Some(&item));
        self.latest = match near {
            Some(at) => at,
            None => {
                let next = self.listed.len() as u32;
                let number = *self.numbers.entry(item).or_insert(next);
                if number == next {
                    self.listed.push(item);
                }
                number as usize
            }
        };
        self.latest as u32
    }
}

/// Walks the definitions of a section: the metrics, then the entities, then the series.
#[derive(Debug)]
pub struct DefinitionReader<'a> {
    reader: ByteReader<'a>,
    metrics: Vec<&'a str>,
    entities: u32,
    entities_left: u32,
    pairs: Vec<(&'a str, &'a str)>,
    run: Option<Run>,
    last_id: u64,
    /// No two series of a section are the same.
    series_left: u64,
}

impl<'a> DefinitionReader<'a> {
    pub(super) fn new(mut reader: ByteReader<'a>) -> Result<Self, Malformed> {
        let count = reader.uvarint_max(reader.remaining(), "more metrics than bytes")?;
        let metrics = (0..count)
            .map(|_| reader.sized_str())
            .collect::<Result<Vec<_>, _>>()?;
        // An entity takes two bytes at the least.
        let entities = reader.uvarint_max(reader.remaining() / 2, "more entities than bytes")?;
        Ok(Self {
            series_left: metrics.len() as u64 * entities as u64,
            metrics,
            entities: entities as u32,
            entities_left: entities as u32,
            reader,
            pairs: Vec::new(),
            run: None,
            last_id: 0,
        })
    }

    /// Returns the metric names by number.
    pub fn metrics(&self) -> &[&'a str] {
        &self.metrics
    }

    /// Returns the number of entities.
    pub fn entity_count(&self) -> usize {
        self.entities as usize
    }

    /// Returns the labels of the next entity, in order of name and without the metric name.
    pub fn next_entity(&mut self) -> Result<Option<&[(&'a str, &'a str)]>, Malformed> {
        if self.entities_left == 0 {
            return Ok(None);
        }
        self.entities_left -= 1;
        let count = self
            .reader
            .uvarint_max(LABELS_PER_SERIES_MAX, "too many labels")?;
        let bitmap = self.reader.uvarint()?;
        let known = self.pairs.len().min(count);
        self.pairs.truncate(count);
        for index in 0..count {
            if bitmap >> index & 1 == 0 {
                if index >= known {
                    return Err(self.reader.malformed("label pair before it was given"));
                }
                continue;
            }
            let name = self.reader.sized_str()?;
            let value = self.reader.sized_str()?;
            match (name, self.pairs.get_mut(index)) {
                ("", Some(pair)) => pair.1 = value,
                ("", None) => return Err(self.reader.malformed("label name before it was given")),
                (name, Some(pair)) => *pair = (name, value),
                (name, None) => self.pairs.push((name, value)),
            }
        }
        let are_a_set = self.pairs.is_sorted_by(|(one, _), (next, _)| one < next)
            && self
                .pairs
                .iter()
                .all(|&(name, value)| name != METRIC_NAME && !name.is_empty() && !value.is_empty());
        if !are_a_set {
            return Err(self.reader.malformed("labels of an entity are no set"));
        }
        Ok(Some(&self.pairs))
    }

    /// Returns the next series; entities that were not asked for are passed over.
    pub fn next(&mut self) -> Result<Option<Definition>, Malformed> {
        while self.next_entity()?.is_some() {}
        let run = match self.run {
            Some(run) => run,
            None if self.reader.is_empty() => return Ok(None),
            None => self.read_run()?,
        };
        self.run = (run.len > 1).then(|| Run {
            first: Definition {
                id: run.first.id.wrapping_add(1),
                metric: run.first.metric + u32::from(!run.is_of_entities),
                entity: run.first.entity + u32::from(run.is_of_entities),
            },
            len: run.len - 1,
            ..run
        });
        Ok(Some(run.first))
    }

    fn read_run(&mut self) -> Result<Run, Malformed> {
        let id = self.last_id.wrapping_add(self.reader.varint()? as u64);
        let head = self.reader.uvarint()?;
        let metric = self
            .reader
            .uvarint_max(self.metrics.len(), "unknown metric")? as u32;
        let entity = self
            .reader
            .uvarint_max(self.entity_count(), "unknown entity")? as u32;
        let is_of_entities = head & 1 == 1;
        let more = head >> 1;
        let (metrics_left, entities_left) = (
            (self.metrics.len() as u64).saturating_sub(u64::from(metric)),
            u64::from(self.entities).saturating_sub(u64::from(entity)),
        );
        let along = if is_of_entities {
            entities_left
        } else {
            metrics_left
        };
        if metrics_left == 0 || entities_left == 0 || more >= along || more >= self.series_left {
            return Err(self.reader.malformed("series beyond what is listed"));
        }
        self.series_left -= more + 1;
        self.last_id = id.wrapping_add(more);
        Ok(Run {
            first: Definition { id, metric, entity },
            len: more as u32 + 1,
            is_of_entities,
        })
    }
}
