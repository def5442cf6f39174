//! `prometheus.ReadRequest`.

use crate::encoding::Malformed;
use crate::labels::{MatchOp, Matcher};
use crate::limits::{
    MATCHERS_MAX, READ_BODY_BYTES_MAX, READ_MESSAGE_BYTES_MAX, READ_QUERIES_MAX, READ_REGEXES_MAX,
};
use crate::remote::wire::{
    CONTENT_TYPE_PROTOBUF, Compression, Field, FieldReader, WireError, decompress,
};
use crate::time::TimeRange;

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AnswerKind {
    /// One snappy-compressed message with all samples.
    Samples,
    /// Frames of chunks, not compressed.
    StreamedChunks,
}

impl AnswerKind {
    /// Returns the `Content-Type` of an answer.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Samples => CONTENT_TYPE_PROTOBUF,
            Self::StreamedChunks => {
                "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"
            }
        }
    }

    /// Returns the `Content-Encoding` of an answer.
    pub const fn content_encoding(self) -> &'static str {
        match self {
            Self::Samples => "snappy",
            Self::StreamedChunks => "",
        }
    }

    fn of(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Samples),
            1 => Some(Self::StreamedChunks),
            _ => None,
        }
    }
}

/// One query of a request.
#[derive(Debug, Clone)]
pub struct ReadQuery {
    /// The span that is asked for.
    pub range: TimeRange,
    /// What the labels of a series have to be.
    pub matchers: Vec<Matcher>,
}

/// A request for series. Hints are passed over: they name what the asker computes, and all of it is sent anyway.
#[derive(Debug, Clone)]
pub struct ReadRequest {
    message: Vec<u8>,
    kind: AnswerKind,
}

impl ReadRequest {
    /// Reads a body as it comes, snappy-compressed. Who reads bodies from a socket stops at
    /// [`READ_BODY_BYTES_MAX`] bytes.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with a query, with [`WireError::Invalid`] for matchers that mean nothing.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        if body.len() > READ_BODY_BYTES_MAX {
            return Err(WireError::too_large("bytes of a body", READ_BODY_BYTES_MAX));
        }
        Self::parse(decompress(
            Compression::Snappy,
            body,
            READ_MESSAGE_BYTES_MAX,
        )?)
    }

    /// Reads a decompressed body.
    pub fn parse(message: Vec<u8>) -> Result<Self, WireError> {
        let mut accepted = None;
        let mut is_asked = false;
        let mut fields = FieldReader::new(&message);
        while let Some(field) = fields.next()? {
            if field.number == ACCEPTED_RESPONSE_TYPES {
                let mut numbers = field.numbers()?;
                while let Some(number) = numbers.next()? {
                    is_asked = true;
                    accepted = accepted.or(AnswerKind::of(number));
                }
            }
        }
        let kind = match accepted {
            None if is_asked => {
                return Err(WireError::Invalid(String::from(
                    "none of the accepted response types is known",
                )));
            }
            accepted => accepted.unwrap_or(AnswerKind::Samples),
        };
        let request = Self { message, kind };
        // A wrong query is told before the first is answered.
        for (index, query) in request.queries().enumerate() {
            if index == READ_QUERIES_MAX {
                return Err(WireError::too_large(
                    "queries of a request",
                    READ_QUERIES_MAX,
                ));
            }
            query?;
        }
        Ok(request)
    }

    /// Returns the form of the answer.
    pub fn kind(&self) -> AnswerKind {
        self.kind
    }

    /// Walks the queries; the regular expressions of one are compiled at a time.
    pub fn queries(&self) -> impl Iterator<Item = Result<ReadQuery, WireError>> + '_ {
        let mut fields = FieldReader::new(&self.message);
        std::iter::from_fn(move || {
            loop {
                match fields.next() {
                    Ok(Some(field)) if field.number == QUERIES => return Some(query(field)),
                    Ok(Some(_)) => {}
                    Ok(None) => return None,
                    Err(malformed) => return Some(Err(malformed.into())),
                }
            }
        })
    }
}

fn query(field: Field<'_>) -> Result<ReadQuery, WireError> {
    let (mut start, mut end) = (0, 0);
    let mut matchers = Vec::new();
    let mut regexes = 0;
    let mut fields = field.message()?;
    while let Some(field) = fields.next()? {
        match field.number {
            1 => start = field.number()? as i64,
            2 => end = field.number()? as i64,
            3 => {
                let parts = MatcherParts::read(field)?;
                regexes += usize::from(matches!(parts.op, MatchOp::Regex | MatchOp::NotRegex));
                if regexes > READ_REGEXES_MAX {
                    return Err(WireError::too_large(
                        "regular expressions of a query",
                        READ_REGEXES_MAX,
                    ));
                }
                if matchers.len() == MATCHERS_MAX {
                    return Err(WireError::too_large("matchers of a query", MATCHERS_MAX));
                }
                let matcher = Matcher::new(parts.op, parts.name, parts.value);
                matchers.push(matcher.map_err(|error| WireError::Invalid(error.to_string()))?);
            }
            _ => {}
        }
    }
    Ok(ReadQuery {
        range: TimeRange::closed(start, end),
        matchers,
    })
}

struct MatcherParts<'a> {
    op: MatchOp,
    name: &'a str,
    value: &'a str,
}

impl<'a> MatcherParts<'a> {
    fn read(field: Field<'a>) -> Result<Self, Malformed> {
        let mut parts = Self {
            op: MatchOp::Equal,
            name: "",
            value: "",
        };
        let mut fields = field.message()?;
        while let Some(field) = fields.next()? {
            match field.number {
                1 => {
                    parts.op = match field.number()? {
                        0 => MatchOp::Equal,
                        1 => MatchOp::NotEqual,
                        2 => MatchOp::Regex,
                        3 => MatchOp::NotRegex,
                        _ => return Err(field.malformed("unknown kind of matcher")),
                    };
                }
                2 => parts.name = field.text()?,
                3 => parts.value = field.text()?,
                _ => {}
            }
        }
        Ok(parts)
    }
}

/// `ReadRequest.queries`.
const QUERIES: u32 = 1;
/// `ReadRequest.accepted_response_types`.
const ACCEPTED_RESPONSE_TYPES: u32 = 2;
