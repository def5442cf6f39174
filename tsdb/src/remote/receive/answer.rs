//! Counting what was refused, and saying so.

use std::fmt::{self, Write};

use crate::error::{Error, Rejection};
use crate::limits::{WRITE_BODY_BYTES_MAX, WRITE_MESSAGE_BYTES_MAX};
use crate::remote::wire::{
    Compression, Message, PairFault, WireError, WriteSeries, Written, decompress,
};
use crate::time::Timestamp;

/// The headers of a write request that say what its body is.
#[derive(Debug, Clone, Copy, Default)]
pub struct WriteHeaders<'h> {
    /// `Content-Type`.
    pub content_type: Option<&'h str>,
    /// `Content-Encoding`.
    pub content_encoding: Option<&'h str>,
}

impl WriteHeaders<'_> {
    /// Returns which message a body is, decompressed. Who reads bodies from a socket stops at
    /// [`WRITE_BODY_BYTES_MAX`] bytes.
    ///
    /// # Errors
    ///
    /// A header that is not known, a body that is too large or not what its header says.
    pub fn decode(self, body: &[u8]) -> Result<(Message, Vec<u8>), WireError> {
        let message = Message::negotiate(self.content_type)?;
        let compression = Compression::negotiate(self.content_encoding)?;
        if body.len() > WRITE_BODY_BYTES_MAX {
            return Err(WireError::too_large(
                "bytes of a body",
                WRITE_BODY_BYTES_MAX,
            ));
        }
        Ok((
            message,
            decompress(compression, body, WRITE_MESSAGE_BYTES_MAX)?,
        ))
    }
}

/// Why samples of a request are not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The labels of the series cannot be told.
    Labels(PairFault),
    /// The series has no metric name.
    NoMetricName,
    /// The series has neither samples nor histograms, which 2.0 forbids.
    NoSamples,
    /// There are only float samples in this database.
    Histogram,
    /// The database does not take the sample.
    Sample(Rejection),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Labels(fault) => fault.fmt(f),
            Self::NoMetricName => f.write_str("series has no metric name"),
            Self::NoSamples => f.write_str("series has no samples"),
            Self::Histogram => f.write_str("histogram samples are not supported"),
            Self::Sample(rejection) => rejection.fmt(f),
        }
    }
}

/// Collects what became of a request.
#[derive(Debug, Default)]
pub struct WriteReport {
    written: Written,
    refused: Vec<(Refusal, u64)>,
    named: Vec<String>,
}

impl WriteReport {
    /// Counts samples that are stored.
    pub fn write(&mut self, samples: u64) {
        self.written.samples += samples;
    }

    /// Counts `count` samples or series that are not stored; the first few are named in the answer.
    pub fn refuse(
        &mut self,
        series: &WriteSeries<'_>,
        timestamp: Option<Timestamp>,
        refusal: Refusal,
        count: u64,
    ) {
        if count == 0 {
            return;
        }
        match self.refused.iter_mut().find(|(known, _)| *known == refusal) {
            Some((_, sum)) => *sum += count,
            None => self.refused.push((refusal, count)),
        }
        if self.named.len() < NAMED_MAX {
            self.named.push(name(series, timestamp, refusal));
        }
    }

    /// Returns what is stored.
    pub fn written(&self) -> Written {
        self.written
    }

    /// Returns what is not, by reason.
    pub fn refused(&self) -> &[(Refusal, u64)] {
        &self.refused
    }
}

fn name(series: &WriteSeries<'_>, timestamp: Option<Timestamp>, refusal: Refusal) -> String {
    let mut text = String::new();
    let mut separator = '{';
    // As it came: the labels may be what is wrong.
    for (name, value) in series.pairs().flatten() {
        text.push(separator);
        separator = ',';
        text.extend(name.chars().take(NAME_CHARS_MAX));
        text.push('=');
        text.extend(value.chars().take(NAME_CHARS_MAX));
        if text.len() > NAME_CHARS_MAX {
            text.push_str(",...");
            break;
        }
    }
    let written = match timestamp {
        Some(timestamp) => write!(text, "}} at {timestamp}: {refusal}"),
        None => write!(text, "}}: {refusal}"),
    };
    written.expect("a string takes what is written to it");
    text
}

/// What to answer to a write request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteAnswer {
    /// The HTTP status.
    pub status: u16,
    /// What is stored; goes into the headers of answers to 2.0. `None` if the body never was a message.
    pub written: Option<Written>,
    /// What is not, by reason.
    pub refused: Vec<(Refusal, u64)>,
    /// The body, plain text: what is wrong and where, for the log of the sender. Empty if all is well.
    pub text: String,
}

impl WriteAnswer {
    /// Returns the headers besides `Content-Type: text/plain`. Receivers of 1.0 send them too: senders pass over them.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        self.written
            .map_or_else(Vec::new, |written| written.headers().into())
    }
}

impl From<WireError> for WriteAnswer {
    fn from(error: WireError) -> Self {
        Self {
            status: error.status(),
            written: None,
            refused: Vec::new(),
            text: error.to_string(),
        }
    }
}

impl From<WriteReport> for WriteAnswer {
    fn from(report: WriteReport) -> Self {
        let mut text = String::new();
        for (refusal, count) in &report.refused {
            writeln!(text, "{count} refused: {refusal}")
                .expect("a string takes what is written to it");
        }
        for line in &report.named {
            text.push_str(line);
            text.push('\n');
        }
        Self {
            status: if report.refused.is_empty() { 204 } else { 400 },
            written: Some(report.written),
            refused: report.refused,
            text,
        }
    }
}

impl From<Error> for WriteAnswer {
    /// A commit failed. What earlier commits of the request stored is not told: all of it has to come again.
    fn from(error: Error) -> Self {
        Self {
            status: 503,
            written: Some(Written::default()),
            refused: Vec::new(),
            text: error.to_string(),
        }
    }
}

/// Refusals that are named.
const NAMED_MAX: usize = 10;

/// Letters of a text in an answer, and bytes after which a series is cut short.
const NAME_CHARS_MAX: usize = 200;
