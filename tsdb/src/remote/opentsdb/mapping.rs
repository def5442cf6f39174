//! Labels as a metric and tags.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write;

use super::point::{Resolution, SkipReason, number, timestamp};
use crate::labels::METRIC_NAME;
use crate::sample::Sample;

/// Tags of a point, `tsd.storage.max_tags`.
pub const DEFAULT_TAGS_MAX: usize = 8;

/// How texts become what OpenTSDB takes: letters and digits of ASCII, `.`, `_`, `/` and `-`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Escaping {
    /// As Prometheus' example adapter: `_` is doubled, `:` is `_.`, any other byte is `_` and two hexadecimal digits. It can be
    /// undone. Names of labels stay as they are, unless they have letters that OpenTSDB refuses.
    #[default]
    PrometheusAdapter,
    /// Any other letter becomes `_`: easier to read, and different texts may become the same.
    LossyReplace,
}

/// What becomes of labels beyond [`Mapping::tags_max`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TagOverflow {
    /// They are left out. Series that differ in nothing else become one.
    Drop,
    /// They become the value of one tag with this name: `name=value` pairs with commas, escaped.
    Fold(String),
    /// The series is refused.
    Reject,
}

/// How series become metrics with tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Defaults to [`Escaping::PrometheusAdapter`].
    pub escaping: Escaping,
    /// Tags of a point, at least one. Defaults to [`DEFAULT_TAGS_MAX`].
    pub tags_max: usize,
    /// Labels that become tags before others, by name.
    pub priority: Vec<String>,
    /// Defaults to [`TagOverflow::Drop`].
    pub overflow: TagOverflow,
    /// The tag of series that have no label. Defaults to `source` and `tsdb`.
    pub default_tag: (String, String),
    /// Defaults to [`Resolution::Milliseconds`].
    pub resolution: Resolution,
}

impl Default for Mapping {
    fn default() -> Self {
        Self {
            escaping: Escaping::default(),
            tags_max: DEFAULT_TAGS_MAX,
            priority: Vec::new(),
            overflow: TagOverflow::Drop,
            default_tag: ("source".into(), "tsdb".into()),
            resolution: Resolution::default(),
        }
    }
}

/// Why a series cannot be mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MapRefusal {
    /// It has no metric name.
    NoMetricName,
    /// It has more labels than tags are allowed, and [`TagOverflow::Reject`] says so.
    TooManyLabels,
}

/// A series as OpenTSDB knows it; keep it for each series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedSeries {
    /// A point up to its timestamp.
    pub(super) prefix: String,
    /// Labels that are not told by any tag.
    pub labels_dropped: usize,
}

impl Mapping {
    /// Maps the labels of a series, which are sorted by name.
    pub fn map<'l>(
        &self,
        labels: impl IntoIterator<Item = (&'l str, &'l str)>,
    ) -> Result<MappedSeries, MapRefusal> {
        let mut metric = "";
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for (name, value) in labels {
            match name {
                METRIC_NAME => metric = value,
                _ => pairs.push((name, value)),
            }
        }
        if metric.is_empty() {
            return Err(MapRefusal::NoMetricName);
        }
        let place = |name: &str| {
            self.priority
                .iter()
                .position(|first| first == name)
                .unwrap_or(usize::MAX)
        };
        pairs.sort_by_key(|(name, _)| place(name));
        let tags_max = self.tags_max.max(1);
        let mut tags = BTreeMap::new();
        let mut labels_dropped = 0;
        let mut add = |tags: &mut BTreeMap<String, String>, name: String, value: String| {
            // Escaping may have made two names one; the first stays.
            match tags.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert(value);
                }
                Entry::Occupied(_) => labels_dropped += 1,
            }
        };
        let is_over = pairs.len() > tags_max;
        let kept = match &self.overflow {
            TagOverflow::Reject if is_over => return Err(MapRefusal::TooManyLabels),
            TagOverflow::Fold(_) if is_over => tags_max - 1,
            _ => pairs.len().min(tags_max),
        };
        let mut rest = pairs.split_off(kept);
        for (name, value) in pairs {
            add(&mut tags, self.name(name), self.text(value));
        }
        match &self.overflow {
            TagOverflow::Fold(tag) if is_over => {
                rest.sort_unstable();
                let folded: Vec<String> = rest
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                add(&mut tags, self.name(tag), self.text(&folded.join(",")));
            }
            _ => labels_dropped += rest.len(),
        }
        if tags.is_empty() {
            let (name, value) = &self.default_tag;
            tags.insert(self.name(name), self.text(value));
        }
        Ok(MappedSeries {
            prefix: prefix(&self.text(metric), &tags),
            labels_dropped,
        })
    }

    /// Appends the point of a sample to `out`, which the caller clears. The answer names the point by what this returns.
    pub fn point(
        &self,
        series: &MappedSeries,
        sample: Sample,
        out: &mut String,
    ) -> Result<i64, SkipReason> {
        let value = number(sample.value)?;
        let timestamp = timestamp(sample.timestamp, self.resolution)?;
        write!(out, "{}{timestamp},\"value\":{value:?}}}", series.prefix)
            .expect("a string takes what is written to it");
        Ok(timestamp)
    }

    fn text(&self, text: &str) -> String {
        match self.escaping {
            Escaping::PrometheusAdapter => escape(text),
            Escaping::LossyReplace => replace(text),
        }
    }

    fn name(&self, name: &str) -> String {
        match self.escaping {
            Escaping::PrometheusAdapter
                if name.chars().all(|letter| is_plain(letter) || letter == '_') =>
            {
                name.to_owned()
            }
            Escaping::PrometheusAdapter => escape(name),
            Escaping::LossyReplace => replace(name),
        }
    }
}

/// Returns a point up to its timestamp. Nothing here needs to be escaped for JSON: the texts have been for OpenTSDB.
pub(super) fn prefix(metric: &str, tags: &BTreeMap<String, String>) -> String {
    let mut out = format!("{{\"metric\":\"{metric}\",\"tags\":{{");
    for (index, (name, value)) in tags.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        write!(out, "{comma}\"{name}\":\"{value}\"").expect("a string takes what is written to it");
    }
    out.push_str("},\"timestamp\":");
    out
}

fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '.' | '/' | '-')
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        match byte {
            b'_' => out.push_str("__"),
            b':' => out.push_str("_."),
            _ if is_plain(char::from(byte)) => out.push(char::from(byte)),
            _ => write!(out, "_{byte:02X}").expect("a string takes what is written to it"),
        }
    }
    out
}

fn replace(text: &str) -> String {
    let plain = |letter| if is_plain(letter) { letter } else { '_' };
    text.chars().map(plain).collect()
}
