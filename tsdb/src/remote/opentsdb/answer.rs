//! What a server says about the points it was sent.

use std::collections::BTreeMap;

use serde_json::Value;

use super::mapping::{MappedSeries, prefix};

/// Bytes of an answer that are worth reading: an error for each point of a body of [`DEFAULT_BODY_BYTES`](super::DEFAULT_BODY_BYTES),
/// and the stack trace that a server as it is installed adds.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A point of the body that is answered.
#[derive(Debug, Clone, Copy)]
pub struct SentPoint<'p> {
    /// The series.
    pub series: &'p MappedSeries,
    /// What [`Mapping::point`](super::Mapping::point) returned.
    pub timestamp: i64,
}

/// What became of a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PointOutcome {
    /// It is stored.
    Stored,
    /// It is not, or not known to be, and may be if it is sent again.
    Retry(String),
    /// It never will be.
    Refused(String),
    /// It will be when somebody changes the server's configuration: the metric is unknown and may not be made.
    Config(String),
}

/// What became of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// What became of each point, in the order of the body.
    Points(Vec<PointOutcome>),
    /// The server does not say which points are wrong, or could not read the body: send halves.
    Split,
    /// The body is longer than the server takes.
    TooLarge,
    /// Send all of it again, later.
    Retry,
    /// Somebody has to look: the address or the credentials are wrong.
    Config,
}

/// Reads the answer to a body of `points`, which may be cut at [`ANSWER_BYTES_MAX`].
pub fn judge(status: u16, body: &[u8], points: &[SentPoint<'_>]) -> Answer {
    match status {
        200 | 400 => match serde_json::from_slice::<Value>(body) {
            Ok(answer) if answer.get("errors").is_some() => details(&answer, points),
            Ok(answer) if answer.get("success").is_some() => summary(&answer, points.len()),
            Ok(answer) if status == 400 => error(&answer),
            // Some receivers answer 200 with no body, or with one that says nothing.
            _ if status == 200 => stored(points.len()),
            _ => page(body),
        },
        201..=299 => stored(points.len()),
        413 => Answer::TooLarge,
        408 | 429 => Answer::Retry,
        300..=499 | 501 => Answer::Config,
        _ => Answer::Retry,
    }
}

fn stored(count: usize) -> Answer {
    Answer::Points(vec![PointOutcome::Stored; count])
}

fn count(answer: &Value, name: &str) -> u64 {
    answer.get(name).and_then(Value::as_u64).unwrap_or_default()
}

/// `?details`: an error for each point that is not stored, in no particular order, under 200 as well as under 400.
fn details(answer: &Value, points: &[SentPoint<'_>]) -> Answer {
    let errors = answer
        .get("errors")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let mut outcomes = vec![None; points.len()];
    for entry in errors {
        let text = entry
            .get("error")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let Some(index) = find(entry, points, &outcomes) else {
            // Not one of ours: what the others became cannot be told either.
            return Answer::Split;
        };
        outcomes[index] = Some(classify(text));
    }
    let expected = count(answer, "failed") + count(answer, "timeouts");
    if (errors.len() as u64) < expected {
        return Answer::Retry;
    }
    let outcomes = outcomes.into_iter();
    Answer::Points(
        outcomes
            .map(|outcome| outcome.unwrap_or(PointOutcome::Stored))
            .collect(),
    )
}

/// Returns the place of the point an error is about, the first of equal ones that has none yet.
fn find(
    entry: &Value,
    points: &[SentPoint<'_>],
    outcomes: &[Option<PointOutcome>],
) -> Option<usize> {
    let point = entry.get("datapoint")?;
    let tags = point.get("tags")?.as_object()?.iter();
    let tags: BTreeMap<String, String> = tags
        .map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect::<Option<_>>()?;
    let prefix = prefix(point.get("metric")?.as_str()?, &tags);
    let timestamp = point.get("timestamp")?.as_i64()?;
    let is_it = |(index, sent): (usize, &SentPoint<'_>)| {
        outcomes[index].is_none() && sent.timestamp == timestamp && sent.series.prefix == prefix
    };
    points.iter().enumerate().position(is_it)
}

/// `?summary`, or a server that does not know `details`.
fn summary(answer: &Value, sent: usize) -> Answer {
    if count(answer, "failed") + count(answer, "timeouts") == 0 {
        return stored(sent);
    }
    if count(answer, "timeouts") > 0 {
        Answer::Retry
    } else {
        Answer::Split
    }
}

/// `{"error":{"code":400,"message":...}}`: an answer about the whole body.
fn error(answer: &Value) -> Answer {
    let message = answer
        .pointer("/error/message")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if message.contains("timedout") {
        // The points may be stored later; sent again they overwrite themselves.
        Answer::Retry
    } else if message.contains(CHUNKED) {
        Answer::TooLarge
    } else {
        Answer::Split
    }
}

/// No JSON: the page that Netty's handler makes, or an answer that was cut.
fn page(body: &[u8]) -> Answer {
    if String::from_utf8_lossy(body).contains(CHUNKED) {
        Answer::TooLarge
    } else {
        Answer::Split
    }
}

const CHUNKED: &str = "Chunked request not supported";

fn classify(error: &str) -> PointOutcome {
    const RETRY: [&str; 5] = [
        "Please throttle",
        "Storage exception",
        "Timeout exception",
        "Write timedout",
        "Unexpected exception",
    ];
    let text = error.chars().take(ERROR_CHARS_MAX).collect();
    if RETRY.iter().any(|start| error.starts_with(start)) {
        PointOutcome::Retry(text)
    } else if error.starts_with("Unknown metric") {
        PointOutcome::Config(text)
    } else {
        // What is not known is taken for final: the point is put aside, and its neighbours go on.
        PointOutcome::Refused(text)
    }
}

/// Letters of an error that are kept: it may quote tags of any length.
const ERROR_CHARS_MAX: usize = 200;
