//! Writing OpenMetrics.

use std::io::{self, Write};

use tsdb::{Labels, Sample};

use super::{is_label_name, is_metric_name};

/// Writes name and labels of a series.
pub(crate) fn write_series(out: &mut dyn Write, labels: &Labels) -> io::Result<()> {
    let metric = labels.metric();
    let mut separator = "{";
    if is_metric_name(metric) {
        out.write_all(metric.as_bytes())?;
    } else if !metric.is_empty() {
        out.write_all(b"{")?;
        write_quoted(out, metric)?;
        separator = ",";
    }
    for (name, value) in labels.iter().filter(|(name, _)| *name != "__name__") {
        out.write_all(separator.as_bytes())?;
        separator = ",";
        if is_label_name(name) {
            out.write_all(name.as_bytes())?;
        } else {
            write_quoted(out, name)?;
        }
        out.write_all(b"=")?;
        write_quoted(out, value)?;
    }
    if separator == "," {
        out.write_all(b"}")
    } else {
        Ok(())
    }
}

/// Writes what stands behind the series: value and timestamp.
pub(crate) fn write_sample(out: &mut dyn Write, sample: Sample) -> io::Result<()> {
    let sign = if sample.timestamp < 0 { "-" } else { "" };
    let ms = sample.timestamp.unsigned_abs();
    writeln!(
        out,
        " {} {sign}{}.{:03}",
        format_value(sample.value),
        ms / 1000,
        ms % 1000
    )
}

fn write_quoted(out: &mut dyn Write, text: &str) -> io::Result<()> {
    out.write_all(b"\"")?;
    for part in text.split_inclusive(['\\', '"', '\n']) {
        let plain = part.trim_end_matches(['\\', '"', '\n']);
        out.write_all(plain.as_bytes())?;
        // Each part but the last ends with one character to escape.
        match part.strip_prefix(plain) {
            Some("\\") => out.write_all(b"\\\\")?,
            Some("\"") => out.write_all(b"\\\"")?,
            Some("\n") => out.write_all(b"\\n")?,
            _ => {}
        }
    }
    out.write_all(b"\"")
}

/// Writes a value with the digits that read back the same bits, and special values as Go spells them.
pub(crate) fn format_value(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else if value == 0.0 || (1e-5..1e17).contains(&value.abs()) {
        value.to_string()
    } else {
        format!("{value:e}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::exposition::{Line, Syntax, parse_line, parse_series};

    fn line(labels: &Labels, sample: Sample) -> String {
        let mut out = Vec::new();
        write_series(&mut out, labels).unwrap();
        write_sample(&mut out, sample).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn series_are_written_as_prometheus_writes_them() {
        let sample = Sample {
            timestamp: 1500,
            value: 1.0,
        };
        for (pairs, expected) in [
            (vec![("__name__", "up")], "up 1 1.500\n"),
            (
                vec![("__name__", "up"), ("a", "b\\\"\n")],
                "up{a=\"b\\\\\\\"\\n\"} 1 1.500\n",
            ),
            (
                vec![("__name__", "a.b"), ("c.d", "e")],
                "{\"a.b\",\"c.d\"=\"e\"} 1 1.500\n",
            ),
            (vec![("__name__", "a.b")], "{\"a.b\"} 1 1.500\n"),
            (vec![("a", "b")], "{a=\"b\"} 1 1.500\n"),
        ] {
            assert_eq!(line(&Labels::from_pairs(pairs).unwrap(), sample), expected);
        }
    }

    #[test]
    fn values_are_short() {
        for (value, expected) in [
            (1.0, "1"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (1e300, "1e300"),
            (4.311649072e9, "4311649072"),
            (5e-324, "5e-324"),
        ] {
            assert_eq!(format_value(value), expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            metric in "[a-z.\"\\\\ä\n]{0,4}",
            pairs in prop::collection::btree_map("[a-z.\"\\\\ä\n{}=]{1,4}", "[a-z\"\\\\ä\n{}=, #]{1,6}", 1..4),
            timestamp in any::<i64>(),
            bits in any::<u64>(),
        ) {
            let value = f64::from_bits(bits);
            let all = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain([("__name__", metric.as_str())]);
            let labels = Labels::from_pairs(all).unwrap();
            let line = line(&labels, Sample { timestamp, value });
            let Ok(Line::Sample(read)) = parse_line(line.trim_end_matches('\n'), Syntax::OpenMetrics) else {
                panic!("{line}");
            };
            prop_assert_eq!(Labels::from_pairs(parse_series(read.series).unwrap()).unwrap(), labels);
            prop_assert_eq!(read.timestamp, Some(timestamp));
            prop_assert!(read.value.to_bits() == bits || (value.is_nan() && read.value.is_nan()));
        }
    }
}
