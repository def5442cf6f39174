//! Points in time as people write them.

use jiff::{Span, SpanRelativeTo};
use tsdb::{Clock, SystemClock, TimeRange, Timestamp};

/// Reads a time: RFC 3339, Unix seconds or milliseconds, `now`, or relative to now.
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    parse_at(text, SystemClock.now_ms())
}

fn parse_at(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Some(timestamp) = parse_unix(text) {
        return Ok(timestamp);
    }
    if text == "now" {
        return Ok(now);
    }
    let relative = text.strip_prefix("now").unwrap_or(text);
    if let Some(span) = relative.strip_prefix('-') {
        return Ok(now.saturating_sub(parse_span(span)?));
    }
    if let Some(span) = relative.strip_prefix('+') {
        return Ok(now.saturating_add(parse_span(span)?));
    }
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    parsed.map(jiff::Timestamp::as_millisecond).map_err(|_error| {
        "expected RFC 3339 with a zone (2026-11-22T13:45:00Z), Unix seconds or milliseconds, `now`, or a span such as -15m".to_owned()
    })
}

/// Reads a number: with a decimal point or below a hundred thousand million it counts seconds, otherwise milliseconds.
/// As seconds that bound is the year 5138, as milliseconds 1973.
fn parse_unix(text: &str) -> Option<Timestamp> {
    if let Ok(number) = text.parse::<i64>() {
        let is_seconds = number.unsigned_abs() < 100_000_000_000;
        return Some(if is_seconds { number * 1000 } else { number });
    }
    let is_decimal = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'))
        && text.contains('.');
    is_decimal
        .then(|| crate::exposition::parse_seconds(text))
        .flatten()
}

/// Reads a length of time in milliseconds; a day has 24 hours.
fn parse_span(text: &str) -> Result<i64, String> {
    let wrong = || format!("`{text}` is no span of time such as 90s, 15m, 2h30m or 1d");
    if !text.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        // A sign stands before the span already.
        return Err(wrong());
    }
    let span: Span = text.parse().map_err(|_error| wrong())?;
    let duration = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_error| wrong())?;
    i64::try_from(duration.as_millis()).map_err(|_error| wrong())
}

/// Writes a time as RFC 3339; as milliseconds if it is beyond the calendar.
pub(crate) fn format(timestamp: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(timestamp) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => format!("{timestamp} ms"),
    }
}

/// The span of time a command looks at.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct RangeArgs {
    /// Oldest time that belongs to the answer.
    #[arg(long, value_name = "TIME", value_parser = parse, allow_hyphen_values = true)]
    start: Option<Timestamp>,
    /// Newest time that belongs to the answer.
    #[arg(long, value_name = "TIME", value_parser = parse, allow_hyphen_values = true)]
    end: Option<Timestamp>,
}

impl RangeArgs {
    /// Returns the span; all of time if nothing else was asked for.
    pub(crate) fn range(&self) -> TimeRange {
        TimeRange::closed(self.start.unwrap_or(i64::MIN), self.end.unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = 1_700_000_000_000;

    #[test]
    fn every_way_to_write_a_time_is_read() {
        for (text, expected) in [
            ("now", NOW),
            ("-1d", NOW - 86_400_000),
            ("now-15m", NOW - 900_000),
            ("-1h30m", NOW - 5_400_000),
            ("+10s", NOW + 10_000),
            ("-1w", NOW - 7 * 86_400_000),
            ("2023-11-14T22:13:20Z", NOW),
            ("2023-11-14T23:13:20.5+01:00", NOW + 500),
            ("1700000000", NOW),
            ("1700000000.25", NOW + 250),
            ("1700000000123", NOW + 123),
            ("0", 0),
            ("-60", -60_000),
        ] {
            assert_eq!(parse_at(text, NOW), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "-1x",
            "2023-11-14",
            "--1d",
            "1.2.3",
            "now1d",
        ] {
            assert!(parse_at(text, NOW).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_written_with_milliseconds() {
        assert_eq!(format(NOW + 7), "2023-11-14T22:13:20.007Z");
        assert_eq!(format(i64::MAX), "9223372036854775807 ms");
    }
}
