//! Answers that are samples: one series at a time.

use std::io::{self, Write};

use serde_json::{Map, Value, json};
use tsdb::{Labels, Samples, is_stale};

use super::{Format, csv};
use crate::times;

/// Writes series in a format.
pub(crate) struct SeriesWriter<'a> {
    format: Format,
    out: &'a mut dyn Write,
    series: usize,
}

impl<'a> SeriesWriter<'a> {
    /// Returns a writer; [`SeriesWriter::finish`] ends what it begins.
    pub(crate) fn new(format: Format, out: &'a mut dyn Write) -> io::Result<Self> {
        match format {
            Format::Json => out.write_all(b"[")?,
            Format::Csv => csv::write_line(out, ["series", "timestamp_ms", "value"])?,
            Format::Table | Format::Ndjson => {}
        }
        Ok(Self {
            format,
            out,
            series: 0,
        })
    }

    /// Writes one series.
    pub(crate) fn write(&mut self, labels: &Labels, samples: &Samples) -> io::Result<()> {
        match self.format {
            Format::Table => self.write_table(labels, samples)?,
            Format::Json => {
                self.out
                    .write_all(if self.series == 0 { b"\n" } else { b",\n" })?;
                serde_json::to_writer(&mut *self.out, &series_json(labels, samples))?;
            }
            Format::Ndjson => {
                serde_json::to_writer(&mut *self.out, &series_json(labels, samples))?;
                writeln!(self.out)?;
            }
            Format::Csv => {
                let series = labels.to_string();
                for sample in samples.iter() {
                    csv::write_line(
                        self.out,
                        [
                            &series,
                            &sample.timestamp.to_string(),
                            &format_value(sample.value),
                        ],
                    )?;
                }
            }
        }
        self.series += 1;
        Ok(())
    }

    fn write_table(&mut self, labels: &Labels, samples: &Samples) -> io::Result<()> {
        if self.series > 0 {
            writeln!(self.out)?;
        }
        writeln!(self.out, "{labels}")?;
        for sample in samples.iter() {
            writeln!(
                self.out,
                "  {}  {}",
                times::format(sample.timestamp),
                format_value(sample.value)
            )?;
        }
        Ok(())
    }

    /// Ends the answer.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self.format {
            Format::Json if self.series == 0 => self.out.write_all(b"]\n"),
            Format::Json => self.out.write_all(b"\n]\n"),
            Format::Table | Format::Ndjson | Format::Csv => Ok(()),
        }
    }
}

/// `{"labels": {..}, "samples": [[milliseconds, value], ..]}`
fn series_json(labels: &Labels, samples: &Samples) -> Value {
    let names: Map<String, Value> = labels
        .iter()
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    let samples: Vec<Value> = samples
        .iter()
        .map(|sample| json!([sample.timestamp, value_json(sample.value)]))
        .collect();
    json!({"labels": names, "samples": samples})
}

/// Returns a value as a number, or as a string if JSON has no number for it.
pub(super) fn value_json(value: f64) -> Value {
    if value.is_finite() {
        json!(value)
    } else {
        json!(format_value(value))
    }
}

/// Writes a value with the digits that read back the same bits, as Prometheus spells them; the staleness marker is
/// `stale`.
pub(crate) fn format_value(value: f64) -> String {
    if is_stale(value) {
        "stale".to_owned()
    } else {
        crate::exposition::format_value(value)
    }
}

#[cfg(test)]
mod tests {
    use tsdb::stale_marker;

    use super::*;

    fn written(format: Format) -> String {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "a\"b")]).unwrap();
        let mut samples = Samples::default();
        samples.push(1000, 1.5);
        samples.push(2000, stale_marker());
        let mut out = Vec::new();
        let mut writer = SeriesWriter::new(format, &mut out).unwrap();
        writer.write(&labels, &samples).unwrap();
        writer.write(&labels, &Samples::default()).unwrap();
        writer.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_format_says_the_same() {
        let series = "up{job=\"a\\\"b\"}";
        let expected = format!(
            "{series}\n  1970-01-01T00:00:01.000Z  1.5\n  1970-01-01T00:00:02.000Z  stale\n\n{series}\n"
        );
        assert_eq!(written(Format::Table), expected);
        let expected = "series,timestamp_ms,value\n\"up{job=\"\"a\\\"\"b\"\"}\",1000,1.5\n\"up{job=\"\"a\\\"\"b\"\"}\",2000,stale\n";
        assert_eq!(written(Format::Csv), expected);
        let document: Value = serde_json::from_str(&written(Format::Json)).unwrap();
        assert_eq!(
            document[0],
            json!({"labels": {"__name__": "up", "job": "a\"b"}, "samples": [[1000, 1.5], [2000, "stale"]]})
        );
        let lines: Vec<Value> = written(Format::Ndjson)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(Value::Array(lines), document);
    }

    #[test]
    fn answer_without_series_is_a_document_too() {
        let mut out = Vec::new();
        SeriesWriter::new(Format::Json, &mut out)
            .unwrap()
            .finish()
            .unwrap();
        assert_eq!(out, b"[]\n");
    }
}
