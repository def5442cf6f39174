//! One value of a report.

use serde_json::{Value, json};
use tsdb::Timestamp;

use crate::{span, times};

/// A value and what it means, so that people and programs each get it as they like it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    /// Words.
    Text(String),
    /// How many.
    Count(u64),
    /// How many bytes.
    Size(u64),
    /// A point in time.
    Time(Timestamp),
    /// A length of time in milliseconds.
    Span(i64),
    /// A number that is read with two decimals.
    Ratio(f64),
    /// A number as it is.
    Number(f64),
    /// Nothing to say.
    Empty,
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Returns bytes per sample.
    pub(crate) fn per_sample(size_bytes: u64, samples: u64) -> Self {
        if samples == 0 {
            Self::Empty
        } else {
            Self::Ratio(size_bytes as f64 / samples as f64)
        }
    }

    /// Tells whether columns of such values end at the same place.
    pub(crate) fn is_number(&self) -> bool {
        matches!(
            self,
            Self::Count(_) | Self::Size(_) | Self::Span(_) | Self::Ratio(_) | Self::Number(_)
        )
    }

    /// Returns the value for a reader.
    pub(crate) fn human(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Count(count) => group_digits(*count),
            Self::Size(bytes) => human_size(*bytes),
            Self::Time(timestamp) => times::format(*timestamp),
            Self::Span(ms) => span::format(*ms),
            Self::Ratio(ratio) => format!("{ratio:.2}"),
            Self::Number(number) => super::format_value(*number),
            Self::Empty => "-".to_owned(),
        }
    }

    /// Returns the value for a program.
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Count(number) | Self::Size(number) => json!(number),
            Self::Time(number) | Self::Span(number) => json!(number),
            // Digits behind the third say nothing about a size.
            Self::Ratio(ratio) => json!((ratio * 1000.0).round() / 1000.0),
            Self::Number(number) => super::series::value_json(*number),
            Self::Empty => Value::Null,
        }
    }

    /// Returns the value for a cell of a CSV file.
    pub(crate) fn plain(&self) -> String {
        match self.json() {
            Value::String(text) => text,
            Value::Null => String::new(),
            value => value.to_string(),
        }
    }
}

/// Writes a count with commas between thousands.
fn group_digits(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Writes a number of bytes with a unit that leaves at most four digits.
fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(group_digits),
            ["0", "999", "1,000", "1,234,567"]
        );
    }

    #[test]
    fn sizes_have_the_unit_that_fits() {
        assert_eq!(
            [0, 1023, 1024, 1_500_000, u64::MAX].map(human_size),
            ["0 B", "1023 B", "1.0 KiB", "1.4 MiB", "16.0 EiB"]
        );
    }

    #[test]
    fn programs_get_numbers() {
        assert_eq!(Cell::Size(2048).plain(), "2048");
        assert_eq!(Cell::Time(-5).json(), json!(-5));
        assert_eq!(Cell::Ratio(1.234_567).plain(), "1.235");
        assert_eq!(Cell::Empty.json(), Value::Null);
        assert_eq!(Cell::Number(f64::INFINITY).plain(), "+Inf");
    }
}
