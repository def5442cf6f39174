//! Reading lines.

use std::borrow::Cow;

use tsdb::Timestamp;

use super::cursor::Cursor;
use super::{Fault, is_label_name, is_metric_name};

/// Which format a text is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// Timestamps in seconds, exemplars, `# EOF` at the end.
    OpenMetrics,
    /// Timestamps in milliseconds.
    Prometheus,
}

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Line<'a> {
    /// Nothing that is stored: a comment, a type, an empty line.
    Other,
    /// The end of an OpenMetrics text.
    End,
    /// A sample.
    Sample(Sample<'a>),
}

/// One sample of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample<'a> {
    /// Name and labels as they stand in the line; [`parse_series`] takes them apart.
    pub(crate) series: &'a str,
    /// Where they begin.
    pub(crate) offset: usize,
    /// The value.
    pub(crate) value: f64,
    /// The timestamp, if there is one.
    pub(crate) timestamp: Option<Timestamp>,
}

/// Name and value of a label.
pub(crate) type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Takes a line apart, which has no line end any more.
pub(crate) fn parse_line(line: &str, syntax: Syntax) -> Result<Line<'_>, Fault> {
    let mut cursor = Cursor::new(line);
    cursor.skip_space();
    match cursor.peek() {
        None => return Ok(Line::Other),
        Some('#') => {
            let is_end = syntax == Syntax::OpenMetrics && line.trim_end() == "# EOF";
            return Ok(if is_end { Line::End } else { Line::Other });
        }
        Some(_) => {}
    }
    let offset = cursor.offset();
    skip_series(&mut cursor)?;
    let series = cursor.since(offset).trim_end();
    cursor.skip_space();
    let value = parse_value(&mut cursor)?;
    cursor.skip_space();
    let mut timestamp = None;
    if !matches!(
        (cursor.peek(), syntax),
        (None, _) | (Some('#'), Syntax::OpenMetrics)
    ) {
        timestamp = Some(parse_timestamp(&mut cursor, syntax)?);
        cursor.skip_space();
    }
    match (cursor.peek(), syntax) {
        // Exemplars are not stored, so nobody looks at what they say.
        (None, _) | (Some('#'), Syntax::OpenMetrics) => Ok(Line::Sample(Sample {
            series,
            offset,
            value,
            timestamp,
        })),
        _ => Err(cursor.fault("expected the end of the line")),
    }
}

/// Makes label pairs of the text of a series. Offsets of faults count from the start of that text.
pub(crate) fn parse_series(text: &str) -> Result<Vec<Pair<'_>>, Fault> {
    let mut cursor = Cursor::new(text);
    let mut pairs = Vec::new();
    let name = cursor.take_while(is_name_letter);
    if !name.is_empty() {
        pairs.push((Cow::Borrowed(METRIC_NAME), Cow::Borrowed(name)));
        cursor.skip_space();
    }
    if !cursor.eat('{') {
        return Ok(pairs);
    }
    loop {
        cursor.skip_space();
        if cursor.eat('}') {
            return Ok(pairs);
        }
        let start = cursor.clone();
        let name = if cursor.peek() == Some('"') {
            unescape(cursor.quoted()?)
        } else {
            label_name(&mut cursor)?
        };
        cursor.skip_space();
        if cursor.eat('=') {
            cursor.skip_space();
            pairs.push((name, unescape(cursor.quoted()?)));
        } else if start.peek() == Some('"') && pairs.is_empty() {
            // A metric name that needs quotes stands inside the braces, and first.
            pairs.push((Cow::Borrowed(METRIC_NAME), name));
        } else {
            return Err(cursor.fault("expected `=`"));
        }
        cursor.skip_space();
        if !cursor.eat(',') && cursor.peek() != Some('}') {
            return Err(cursor.fault("expected `,` or `}`"));
        }
    }
}

/// Finds the end of a series without taking it apart.
fn skip_series(cursor: &mut Cursor<'_>) -> Result<(), Fault> {
    let start = cursor.clone();
    let name = cursor.take_while(is_name_letter);
    if !name.is_empty() && !is_metric_name(name) {
        return Err(start.fault("a metric name cannot begin with a digit"));
    }
    let behind_name = cursor.clone();
    cursor.skip_space();
    if !cursor.eat('{') {
        if name.is_empty() {
            return Err(start.fault("expected a metric name"));
        }
        if cursor.offset() == behind_name.offset() {
            return Err(cursor.fault("expected a space or `{` behind the metric name"));
        }
        *cursor = behind_name;
        return Ok(());
    }
    loop {
        cursor.take_while(|c| c != '"' && c != '}');
        match cursor.peek() {
            Some('"') => drop(cursor.quoted()?),
            Some(_) => {
                cursor.eat('}');
                return Ok(());
            }
            None => return Err(cursor.fault("the labels have no end: expected `}`")),
        }
    }
}

fn label_name<'a>(cursor: &mut Cursor<'a>) -> Result<Cow<'a, str>, Fault> {
    let start = cursor.clone();
    let name = cursor.take_while(is_name_letter);
    if is_label_name(name) {
        Ok(Cow::Borrowed(name))
    } else {
        Err(start.fault("expected a label name"))
    }
}

fn parse_value(cursor: &mut Cursor<'_>) -> Result<f64, Fault> {
    let start = cursor.clone();
    let word = cursor.word();
    if word.is_empty() {
        return Err(start.fault("expected a value"));
    }
    word.parse()
        .map_err(|_error| start.fault("this is no number"))
}

fn parse_timestamp(cursor: &mut Cursor<'_>, syntax: Syntax) -> Result<Timestamp, Fault> {
    let start = cursor.clone();
    let word = cursor.word();
    match syntax {
        Syntax::OpenMetrics => {
            parse_seconds(word).ok_or_else(|| start.fault("expected a timestamp in seconds"))
        }
        Syntax::Prometheus => word
            .parse()
            .map_err(|_error| start.fault("expected a timestamp in whole milliseconds")),
    }
}

/// Reads seconds as milliseconds. Decimals are read digit by digit: a float would lose milliseconds in the far past and
/// future.
pub(crate) fn parse_seconds(text: &str) -> Option<Timestamp> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if !(whole
        .bytes()
        .chain(fraction.bytes())
        .all(|byte| byte.is_ascii_digit()))
        || whole.is_empty()
    {
        return parse_float_seconds(text);
    }
    let digit = |index: usize| {
        fraction
            .as_bytes()
            .get(index)
            .map_or(0, |byte| i64::from(byte - b'0'))
    };
    let thousandths = digit(0) * 100 + digit(1) * 10 + digit(2) + i64::from(digit(3) >= 5);
    let sign = if is_negative { -1 } else { 1 };
    // Signed from the start: the earliest timestamp has no positive twin.
    let signed = if is_negative {
        format!("-{whole}")
    } else {
        whole.to_owned()
    };
    signed
        .parse::<i64>()
        .ok()?
        .checked_mul(1000)?
        .checked_add(sign * thousandths)
}

fn parse_float_seconds(text: &str) -> Option<Timestamp> {
    let ms = (text.parse::<f64>().ok()? * 1000.0).round();
    (ms.abs() < i64::MAX as f64).then_some(ms as Timestamp)
}

/// Replaces the three escapes there are; a backslash before anything else stands for itself.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let behind = letters.clone().next();
        let replaced = match (letter, behind) {
            ('\\', Some('n')) => '\n',
            ('\\', Some(escaped @ ('\\' | '"'))) => escaped,
            _ => {
                out.push(letter);
                continue;
            }
        };
        out.push(replaced);
        letters.next();
    }
    Cow::Owned(out)
}

fn is_name_letter(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

const METRIC_NAME: &str = "__name__";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(line: &str, syntax: Syntax) -> Sample<'_> {
        match parse_line(line, syntax) {
            Ok(Line::Sample(sample)) => sample,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn fault(line: &str, syntax: Syntax) -> (usize, &'static str) {
        let fault = match parse_line(line, syntax) {
            Ok(Line::Sample(sample)) => match parse_series(sample.series) {
                Ok(pairs) => panic!("{line}: {pairs:?}"),
                Err(fault) => Fault {
                    offset: fault.offset + sample.offset,
                    ..fault
                },
            },
            Ok(other) => panic!("{line}: {other:?}"),
            Err(fault) => fault,
        };
        (fault.column(line), fault.what)
    }

    fn pairs(series: &str) -> Vec<(String, String)> {
        let pairs = parse_series(series).unwrap().into_iter();
        pairs
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn timestamps_count_seconds_in_openmetrics_and_milliseconds_in_prometheus() {
        assert_eq!(
            sample("up 1 1700000000.5", Syntax::OpenMetrics).timestamp,
            Some(1_700_000_000_500)
        );
        assert_eq!(
            sample("up 1 1700000000500", Syntax::Prometheus).timestamp,
            Some(1_700_000_000_500)
        );
        assert_eq!(sample("up 1", Syntax::Prometheus).timestamp, None);
    }

    #[test]
    fn seconds_are_read_to_the_millisecond() {
        for (text, expected) in [
            ("1.5", Some(1500)),
            ("-1.5", Some(-1500)),
            ("0.0004", Some(0)),
            ("0.0005", Some(1)),
            ("-0.9996", Some(-1000)),
            ("1.7e9", Some(1_700_000_000_000)),
            ("9223372036854775.807", Some(i64::MAX)),
            ("-9223372036854775.808", Some(i64::MIN)),
            ("9223372036854775.808", None),
            ("99999999999999999999", None),
            ("NaN", None),
            ("", None),
            ("1.2.3", None),
        ] {
            assert_eq!(parse_seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn values_are_go_s() {
        for (text, expected) in [
            ("+Inf", f64::INFINITY),
            ("-Inf", f64::NEG_INFINITY),
            ("1e-7", 1e-7),
            ("-0", -0.0),
            (".5", 0.5),
        ] {
            assert_eq!(
                sample(&format!("a {text}"), Syntax::OpenMetrics)
                    .value
                    .to_bits(),
                expected.to_bits()
            );
        }
        assert!(sample("a NaN", Syntax::Prometheus).value.is_nan());
    }

    #[test]
    fn labels_are_unescaped() {
        let series = r#"a{path="C:\\dir\new\d",quote="\"x\"",}"#;
        let expected = [
            ("__name__", "a"),
            ("path", "C:\\dir\new\\d"),
            ("quote", "\"x\""),
        ];
        assert_eq!(pairs(series), owned(&expected));
    }

    #[test]
    fn names_that_need_quotes_stand_inside_the_braces() {
        let series = sample(
            r#"{"http.requests", "service.name"="a b"} 1"#,
            Syntax::OpenMetrics,
        )
        .series;
        assert_eq!(
            pairs(series),
            owned(&[("__name__", "http.requests"), ("service.name", "a b")])
        );
        assert_eq!(pairs(r#"{a="b"}"#), owned(&[("a", "b")]));
    }

    #[test]
    fn spaces_may_stand_between_all_parts() {
        let sample = sample("\ta { b = \"c d\" , e = \"}\" }  1  2 ", Syntax::Prometheus);
        assert_eq!(
            pairs(sample.series),
            owned(&[("__name__", "a"), ("b", "c d"), ("e", "}")])
        );
        assert_eq!((sample.value, sample.timestamp), (1.0, Some(2)));
    }

    #[test]
    fn exemplars_are_read_over() {
        let line = r#"a_bucket{le="1"} 5 1.5 # {trace_id="x"} 0.7 1.25"#;
        assert_eq!(sample(line, Syntax::OpenMetrics).timestamp, Some(1500));
        assert_eq!(sample("a 5 # {} 1", Syntax::OpenMetrics).timestamp, None);
        assert_eq!(
            fault("a 5 # {} 1", Syntax::Prometheus),
            (5, "expected a timestamp in whole milliseconds")
        );
        assert_eq!(
            fault("a 5 6 # {} 1", Syntax::Prometheus),
            (7, "expected the end of the line")
        );
    }

    #[test]
    fn lines_without_a_sample_are_told_apart() {
        for line in ["", "  ", "# HELP a b", "#x"] {
            assert_eq!(parse_line(line, Syntax::OpenMetrics), Ok(Line::Other));
        }
        assert_eq!(parse_line("# EOF", Syntax::OpenMetrics), Ok(Line::End));
        assert_eq!(parse_line("# EOF", Syntax::Prometheus), Ok(Line::Other));
    }

    #[test]
    fn faults_name_the_column() {
        use Syntax::{OpenMetrics, Prometheus};
        for (line, syntax, expected) in [
            (
                "1a 1",
                Prometheus,
                (1, "a metric name cannot begin with a digit"),
            ),
            ("ä 1", Prometheus, (1, "expected a metric name")),
            (
                "a",
                Prometheus,
                (2, "expected a space or `{` behind the metric name"),
            ),
            (
                "a-b 1",
                Prometheus,
                (2, "expected a space or `{` behind the metric name"),
            ),
            ("a ", Prometheus, (3, "expected a value")),
            ("a x", Prometheus, (3, "this is no number")),
            (
                "a 1 1.5",
                Prometheus,
                (5, "expected a timestamp in whole milliseconds"),
            ),
            ("a 1 x", OpenMetrics, (5, "expected a timestamp in seconds")),
            (
                "a{b=\"ä\" c=\"d\"} 1",
                Prometheus,
                (9, "expected `,` or `}`"),
            ),
            ("a{b=\"c} 1", Prometheus, (5, "this string has no end")),
            (
                "a{b=\"c\" 1",
                Prometheus,
                (10, "the labels have no end: expected `}`"),
            ),
            ("a{1=\"c\"} 1", Prometheus, (3, "expected a label name")),
            ("a{b} 1", Prometheus, (4, "expected `=`")),
            (
                "a{b=c} 1",
                Prometheus,
                (5, "expected a string in double quotes"),
            ),
        ] {
            assert_eq!(fault(line, syntax), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(line in r#"[a-c0-9{}=",\\ #."äE+-]{0,40}"#) {
            for syntax in [Syntax::OpenMetrics, Syntax::Prometheus] {
                if let Ok(Line::Sample(sample)) = parse_line(&line, syntax) {
                    drop(parse_series(sample.series));
                }
            }
        }
    }
}
