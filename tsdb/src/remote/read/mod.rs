//! Remote read: another server asks for series, and its query language does the rest.
//!
//! 1. [`ReadRequest::decode`] reads a body into a list of queries, within the caps of [`crate::limits`], and settles on a
//!    kind of answer: the first of the asker's list that is known.
//! 2. For each query a querier is opened over its span, the matchers are brought into local terms
//!    ([`ExternalLabels::localize`](super::ExternalLabels::localize)), and the series are put in Prometheus' order: by the
//!    bytes of their labels, external ones included, where ours is by metric first. Askers merge what several servers
//!    send, and rely on it.
//! 3. [`AnswerKind::Samples`] is one message with everything, compressed at the end. [`AnswerKind::StreamedChunks`] is a
//!    frame after the other, each of one series, with chunks in Prometheus' XOR encoding.
//!
//! A series without samples in the span is left out.

mod chunks;
mod request;
mod samples;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, Write};

use super::ExternalLabels;
use super::wire::WireError;
use crate::error::{Error, ErrorKind};
use crate::limits::READ_SERIES_MAX;
use crate::query::{Querier, Series};
use crate::time::TimeRange;

pub use chunks::FrameWriter;
pub use request::{AnswerKind, ReadQuery, ReadRequest};
pub use samples::SamplesWriter;

/// Why a request is not answered, or not to its end.
#[derive(Debug)]
pub enum ReadError {
    /// The request is wrong, or asks for too much.
    Request(WireError),
    /// The database cannot be read.
    Storage(Error),
    /// The answer could not be written; the asker is gone.
    Write(io::Error),
}

impl ReadError {
    /// Returns the HTTP status that says so, if nothing was written yet.
    pub fn status(&self) -> u16 {
        match self {
            Self::Request(error) => error.status(),
            Self::Storage(error) if error.kind() == ErrorKind::Limit => 400,
            Self::Storage(error) if error.kind() == ErrorKind::Closed => 503,
            Self::Storage(_) | Self::Write(_) => 500,
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(error) => error.fmt(f),
            Self::Storage(error) => error.fmt(f),
            Self::Write(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Request(error) => Some(error),
            Self::Storage(error) => Some(error),
            Self::Write(error) => Some(error),
        }
    }
}

impl From<WireError> for ReadError {
    fn from(error: WireError) -> Self {
        Self::Request(error)
    }
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        Self::Storage(error)
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

/// Answers `request` into `out` with series of the queriers that `open` opens.
///
/// # Errors
///
/// [`ReadError`]. With samples nothing is written then; a stream ends where it is.
pub fn answer(
    request: &ReadRequest,
    external: &ExternalLabels,
    mut open: impl FnMut(TimeRange) -> Result<Querier, Error>,
    out: &mut dyn Write,
) -> Result<(), ReadError> {
    let mut select = |query: &ReadQuery| {
        let matchers = query.matchers.iter().cloned();
        let matchers = matchers
            .map(|matcher| external.localize(matcher))
            .collect::<Result<Vec<_>, _>>()?;
        let mut found = Vec::new();
        for series in open(query.range)?.select(&matchers)? {
            if found.len() == READ_SERIES_MAX {
                return Err(WireError::too_large("series of a query", READ_SERIES_MAX).into());
            }
            found.push(series?);
        }
        found.sort_by(|left, right| order(external, left).cmp(order(external, right)));
        Ok::<_, ReadError>(found)
    };
    match request.kind() {
        AnswerKind::Samples => {
            let mut writer = SamplesWriter::new();
            for query in request.queries() {
                for series in select(&query?)? {
                    writer.push(external.merge(series.labels()), &series.samples()?)?;
                }
                writer.end_query()?;
            }
            out.write_all(&writer.finish()?)?;
        }
        AnswerKind::StreamedChunks => {
            let mut writer = FrameWriter::new(out);
            for (index, query) in request.queries().enumerate() {
                for series in select(&query?)? {
                    writer.write_series(
                        index,
                        external.merge(series.labels()),
                        series.chunks()?,
                    )?;
                }
            }
        }
    }
    Ok(())
}

fn order<'s>(
    external: &'s ExternalLabels,
    series: &'s Series,
) -> impl Iterator<Item = (&'s str, &'s str)> {
    external.merge(series.labels())
}
