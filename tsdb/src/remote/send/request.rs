//! One request of a part of a batch.

use std::ops::Range;
use std::time::Duration;

use super::UnsentReason;
use super::batch::Batch;
use super::options::{OpenTsdbOptions, Protocol, SenderOptions};
use super::pieces::Pieces;
use super::prepare::{Form, Prepared};
use super::verdict::{Outcome, Sent, Verdict, reason};
use crate::remote::opentsdb::{
    self, Answer, BodyBuilder, Mapping, PUT_PATH, PointOutcome, SentPoint, judge,
};
use crate::remote::transport::{DEFAULT_ANSWER_BYTES_MAX, Request, Response};
use crate::remote::wire::{
    Compression, Compressor, EncoderV1, EncoderV2, Message, VERSION_HEADER, WireError,
};
use crate::sample::Sample;
use crate::time::Timestamp;

/// Makes requests, one after the other in the same memory.
#[derive(Debug)]
pub(crate) struct RequestBuilder {
    dialect: Dialect,
    batch_bytes: usize,
    timeout: Duration,
    body: Vec<u8>,
    /// Places in the batch of the samples in the request, if they are not all of a part.
    sent: Vec<usize>,
    sent_count: usize,
    /// Whether there is a series with more than one sample in the request.
    has_runs: bool,
    is_confirmed: bool,
}

#[derive(Debug)]
enum Dialect {
    Write(Encoder, Compressor),
    Points(Box<Points>),
}

#[derive(Debug)]
enum Encoder {
    V1(EncoderV1),
    V2(Box<EncoderV2>),
}

#[derive(Debug)]
struct Points {
    mapping: Mapping,
    body: BodyBuilder,
    point: String,
    /// What the server will name the points by.
    timestamps: Vec<i64>,
}

/// Which samples go into a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// None that are older.
    pub(crate) not_before: Timestamp,
    /// Those that are left.
    pub(crate) pieces: &'a Pieces,
}

/// What a request was made of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Built {
    /// Samples of the part that are in it, skipped or settled; those behind did not fit.
    pub(crate) taken: usize,
    /// Samples in it.
    pub(crate) sent: usize,
    /// Samples that are not sent, and why.
    pub(crate) skipped: Vec<(UnsentReason, usize)>,
}

impl RequestBuilder {
    /// Returns a builder for what a remote speaks.
    pub(crate) fn new(options: &SenderOptions) -> Result<Self, WireError> {
        let dialect = match &options.protocol {
            Protocol::OpenTsdb(options) => Dialect::Points(Box::new(Points::new(options))),
            Protocol::RemoteWrite2 | Protocol::RemoteWrite1 => {
                let compressor = Compressor::new(options.compression)?;
                Dialect::Write(Encoder::new(&options.protocol), compressor)
            }
        };
        Ok(Self {
            dialect,
            batch_bytes: options.batch_bytes,
            timeout: options.timeout,
            body: Vec::new(),
            sent: Vec::new(),
            sent_count: 0,
            has_runs: false,
            is_confirmed: false,
        })
    }

    /// Builds the request of as much as one takes of what is wanted of a part.
    ///
    /// # Errors
    ///
    /// The compressor's; nothing is wrong with the samples.
    pub(crate) fn build(
        &mut self,
        batch: &Batch,
        part: Range<usize>,
        wanted: Wanted<'_>,
    ) -> Result<Built, WireError> {
        let mut built = Built::default();
        self.has_runs = false;
        self.sent.clear();
        self.body.clear();
        match &mut self.dialect {
            Dialect::Points(points) => {
                points.fill(batch, part, wanted, &mut built, &mut self.sent);
                self.body = points.body.finish().unwrap_or_default();
            }
            Dialect::Write(encoder, compressor) => {
                encoder.clear();
                self.has_runs = encoder.fill(batch, part, self.batch_bytes, wanted, &mut built);
                let body = compressor.compress(encoder.message())?;
                self.body.extend_from_slice(body);
            }
        }
        self.sent_count = built.sent;
        Ok(built)
    }

    /// Returns the request that was built, to be posted.
    pub(crate) fn with_request<R>(&self, post: impl FnOnce(&Request<'_>) -> R) -> R {
        let request = |path, headers: &[(&str, &str)], answer_bytes_max| {
            post(&Request {
                path,
                headers,
                body: &self.body,
                timeout: self.timeout,
                answer_bytes_max,
            })
        };
        match &self.dialect {
            Dialect::Points(points) => {
                let headers = [
                    ("Content-Type", "application/json"),
                    (
                        "Content-Encoding",
                        points.body.content_encoding().unwrap_or_default(),
                    ),
                ];
                let used = 1 + usize::from(points.body.content_encoding().is_some());
                request(PUT_PATH, &headers[..used], opentsdb::ANSWER_BYTES_MAX)
            }
            Dialect::Write(encoder, compressor) => {
                let message = encoder.kind();
                let headers = [
                    ("Content-Type", message.content_type()),
                    (
                        "Content-Encoding",
                        compressor.compression().content_encoding(),
                    ),
                    (VERSION_HEADER, message.version()),
                ];
                request("", &headers, DEFAULT_ANSWER_BYTES_MAX)
            }
        }
    }

    /// Returns the bytes of the body that was built.
    pub(crate) fn body_len(&self) -> usize {
        self.body.len()
    }

    /// Reads the answer to the request that was built of this batch.
    pub(crate) fn judge(
        &mut self,
        response: &Response,
        batch: &Batch,
        now_ms: Timestamp,
    ) -> Verdict {
        let verdict = match &self.dialect {
            Dialect::Points(points) => points.judge(response, batch, &self.sent, now_ms),
            Dialect::Write(encoder, compressor) => {
                let sent = Sent {
                    message: encoder.kind(),
                    compression: compressor.compression(),
                    samples: self.sent_count,
                    has_runs: self.has_runs,
                    is_confirmed: self.is_confirmed,
                };
                Verdict::of_write(response, sent, now_ms)
            }
        };
        self.is_confirmed |= matches!(verdict, Verdict::Stored | Verdict::Partly { .. });
        verdict
    }

    /// Returns the place in the batch of a sample of the request, for [`Verdict::Outcomes`].
    pub(crate) fn place(&self, number: usize) -> usize {
        self.sent[number]
    }

    /// Goes on with something older: snappy, then remote write 1.0. Answers whether there is any.
    pub(crate) fn downgrade(&mut self) -> Result<bool, WireError> {
        let Dialect::Write(encoder, compressor) = &mut self.dialect else {
            return Ok(false);
        };
        match (&encoder, compressor.compression()) {
            (_, Compression::Zstd) => *compressor = Compressor::new(Compression::Snappy)?,
            (Encoder::V2(_), Compression::Snappy) => *encoder = Encoder::V1(EncoderV1::new()),
            (Encoder::V1(_), Compression::Snappy) => return Ok(false),
        }
        self.is_confirmed = false;
        Ok(true)
    }

    /// Returns what is spoken at the moment, in a word.
    pub(crate) fn dialect(&self) -> &'static str {
        match &self.dialect {
            Dialect::Points(_) => Protocol::OpenTsdb(Box::default()).dialect(),
            Dialect::Write(Encoder::V1(_), _) => Protocol::RemoteWrite1.dialect(),
            Dialect::Write(Encoder::V2(_), _) => Protocol::RemoteWrite2.dialect(),
        }
    }
}

impl Encoder {
    fn new(protocol: &Protocol) -> Self {
        match protocol {
            Protocol::RemoteWrite2 => Self::V2(Box::default()),
            Protocol::RemoteWrite1 | Protocol::OpenTsdb(_) => Self::V1(EncoderV1::new()),
        }
    }

    fn kind(&self) -> Message {
        match self {
            Self::V1(_) => Message::V1,
            Self::V2(_) => Message::V2,
        }
    }

    fn clear(&mut self) {
        match self {
            Self::V1(encoder) => encoder.clear(),
            Self::V2(encoder) => encoder.clear(),
        }
    }

    /// Adds a series and returns the bytes of the message so far.
    fn push(&mut self, series: &Prepared, samples: &[Sample]) -> usize {
        match (self, &series.form) {
            (Self::V1(encoder), Form::Fields(fields)) => {
                encoder.push_encoded(fields, samples);
                encoder.size()
            }
            // What was prepared for something newer.
            (Self::V1(encoder), _) => {
                encoder.push(&series.labels, samples);
                encoder.size()
            }
            (Self::V2(encoder), Form::Numbers(numbers)) => {
                encoder.push_numbered(numbers, &series.labels, samples);
                encoder.size()
            }
            (Self::V2(encoder), _) => {
                encoder.push(&series.labels, samples);
                encoder.size()
            }
        }
    }

    fn message(&mut self) -> &[u8] {
        match self {
            Self::V1(encoder) => encoder.message(),
            Self::V2(encoder) => encoder.message(),
        }
    }

    /// Pushes series until the part ends or the message is full. Answers whether one has more than one sample.
    fn fill(
        &mut self,
        batch: &Batch,
        part: Range<usize>,
        bytes_max: usize,
        wanted: Wanted<'_>,
        built: &mut Built,
    ) -> bool {
        let Wanted { not_before, pieces } = wanted;
        let is_recent = |sample: &Sample| sample.timestamp >= not_before;
        let are_whole = pieces.are_whole();
        let mut chosen = Vec::new();
        let (mut too_old, mut has_runs) = (0, false);
        for (series, samples, at) in batch.series_in(part) {
            let wanted = if are_whole && samples.iter().all(is_recent) {
                samples
            } else {
                chosen.clear();
                for (sample, at) in samples.iter().zip(at..) {
                    if !pieces.is_left(at) {
                        continue;
                    }
                    if is_recent(sample) {
                        chosen.push(*sample);
                    } else {
                        too_old += 1;
                    }
                }
                &chosen
            };
            built.taken += samples.len();
            built.sent += wanted.len();
            has_runs |= wanted.len() > 1;
            if !wanted.is_empty() && self.push(series, wanted) >= bytes_max {
                break;
            }
        }
        built.skip(UnsentReason::TooOld, too_old);
        has_runs
    }
}

impl Built {
    fn skip(&mut self, reason: UnsentReason, count: usize) {
        if count > 0 {
            self.skipped.push((reason, count));
        }
    }
}

impl Points {
    fn new(options: &OpenTsdbOptions) -> Self {
        Self {
            mapping: options.mapping.clone(),
            body: if options.gzip {
                BodyBuilder::gzip(options.body_bytes)
            } else {
                BodyBuilder::plain(options.body_bytes)
            },
            point: String::new(),
            timestamps: Vec::new(),
        }
    }

    fn fill(
        &mut self,
        batch: &Batch,
        part: Range<usize>,
        wanted: Wanted<'_>,
        built: &mut Built,
        sent: &mut Vec<usize>,
    ) {
        self.timestamps.clear();
        let (mut too_old, mut unrepresentable) = (0, 0);
        'full: for (series, samples, at) in batch.series_in(part) {
            let Form::Point(mapped) = &series.form else {
                built.taken += samples.len();
                unrepresentable += samples.len();
                continue;
            };
            for (index, sample) in samples.iter().enumerate() {
                if sample.timestamp < wanted.not_before {
                    too_old += 1;
                    built.taken += 1;
                    continue;
                }
                self.point.clear();
                let Ok(timestamp) = self.mapping.point(mapped, *sample, &mut self.point) else {
                    unrepresentable += 1;
                    built.taken += 1;
                    continue;
                };
                if !self.body.push(&self.point) {
                    break 'full;
                }
                self.timestamps.push(timestamp);
                sent.push(at + index);
                built.taken += 1;
            }
        }
        built.sent = sent.len();
        built.skip(UnsentReason::TooOld, too_old);
        built.skip(UnsentReason::Unrepresentable, unrepresentable);
    }

    fn judge(
        &self,
        response: &Response,
        batch: &Batch,
        sent: &[usize],
        now_ms: Timestamp,
    ) -> Verdict {
        let points: Vec<SentPoint<'_>> = sent
            .iter()
            .zip(&self.timestamps)
            .filter_map(|(&at, &timestamp)| match &batch.sample(at).0.form {
                Form::Point(series) => Some(SentPoint { series, timestamp }),
                Form::Fields(_) | Form::Numbers(_) => None,
            })
            .collect();
        match judge(response.status, &response.body, &points) {
            Answer::Points(outcomes)
                if outcomes
                    .iter()
                    .all(|outcome| *outcome == PointOutcome::Stored) =>
            {
                Verdict::Stored
            }
            Answer::Points(outcomes) => {
                Verdict::Outcomes(outcomes.into_iter().map(Outcome::from).collect())
            }
            Answer::Split | Answer::TooLarge => Verdict::Split {
                reason: reason(response),
            },
            // A success that says of points that they are to be sent again has no status of a failure.
            Answer::Retry if response.status < 500 => {
                Verdict::of_status(429, response, now_ms, reason(response))
            }
            Answer::Retry => {
                Verdict::of_status(response.status, response, now_ms, reason(response))
            }
            Answer::Config => Verdict::Misconfigured {
                reason: reason(response),
            },
        }
    }
}

impl From<PointOutcome> for Outcome {
    fn from(outcome: PointOutcome) -> Self {
        match outcome {
            PointOutcome::Stored => Self::Stored,
            PointOutcome::Retry(reason) => Self::Retry(reason),
            PointOutcome::Refused(reason) => Self::Refused(reason),
            PointOutcome::Config(reason) => Self::Misconfigured(reason),
        }
    }
}
