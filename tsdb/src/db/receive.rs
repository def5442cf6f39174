//! Requests of other machines: samples that come in, queries that are answered.

use std::io::Write;

use crate::error::Result;
use crate::labels::METRIC_NAME;
use crate::remote::ExternalLabels;
use crate::remote::read::{ReadError, ReadRequest, answer};
use crate::remote::receive::{Refusal, WriteAnswer, WriteHeaders, WriteReport};
use crate::remote::wire::{WriteRequest, WriteSeries};

use super::{Appender, Db};

impl Db {
    /// Stores a request of remote write 1.0 or 2.0 and returns what to answer. Blocks as [`Appender::commit`] does.
    ///
    /// Samples that can be stored are, whatever the others are. Up to 32,768 samples are one commit; larger requests
    /// are several. Memory besides that of new series: the decompressed body, at most
    /// [`WRITE_MESSAGE_BYTES_MAX`](crate::limits::WRITE_MESSAGE_BYTES_MAX), and some fifteen mebibytes.
    ///
    /// ```
    /// use tsdb::remote::receive::WriteHeaders;
    /// use tsdb::remote::wire::{Compression, Compressor, EncoderV1, Message};
    /// use tsdb::{Db, Labels, Options, Sample};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = std::env::temp_dir().join(format!("tsdb-receive-{}", std::process::id()));
    /// let db = Db::open(&dir, Options::default())?;
    /// let up: Labels = r#"up{job="node"}"#.parse()?;
    /// let mut encoder = EncoderV1::new();
    /// encoder.push(&up, &[Sample { timestamp: 1_795_334_160_000, value: 1.0 }]);
    /// let mut compressor = Compressor::new(Compression::Snappy)?;
    /// let body = compressor.compress(encoder.message())?;
    ///
    /// let headers = WriteHeaders { content_type: Some(Message::V1.content_type()), content_encoding: Some("snappy") };
    /// let answer = db.receive_write(headers, body);
    /// assert_eq!(answer.status, 204, "{}", answer.text);
    /// # db.close()?;
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn receive_write(&self, headers: WriteHeaders<'_>, body: &[u8]) -> WriteAnswer {
        let (message, body) = match headers.decode(body) {
            Ok(decoded) => decoded,
            Err(error) => return error.into(),
        };
        match WriteRequest::parse(message, &body) {
            Ok(request) => self
                .store(&request)
                .map_or_else(WriteAnswer::from, WriteAnswer::from),
            Err(error) => error.into(),
        }
    }

    fn store(&self, request: &WriteRequest<'_>) -> Result<WriteReport> {
        let mut batch = Batch {
            appender: self.appender()?,
            series: Vec::new(),
            label_bytes: 0,
            report: WriteReport::default(),
        };
        for series in request.series() {
            batch.push(&series)?;
        }
        batch.commit()?;
        Ok(batch.report)
    }

    /// Answers a request of remote read into `out`, in the form the request asks for: see
    /// [`AnswerKind::content_type`](crate::remote::read::AnswerKind::content_type). `external` is what this database's
    /// series are called by outside.
    ///
    /// A streamed answer is written as it is read, a frame of at most a mebibyte at a time. Nothing is written before the
    /// request and its first series are known to be good, so a status can still be chosen by an error until then.
    ///
    /// # Errors
    ///
    /// [`ReadError::status`] says what to answer.
    pub fn answer_read(
        &self,
        request: &ReadRequest,
        external: &ExternalLabels,
        out: &mut dyn Write,
    ) -> Result<(), ReadError> {
        answer(request, external, |range| self.querier(range), out)
    }
}

/// Samples of a request on their way into a commit.
struct Batch<'r> {
    appender: Appender,
    /// The first staged sample of each series, to name those that are rejected.
    series: Vec<(usize, WriteSeries<'r>)>,
    /// Of the label sets since the last commit: new series are written with theirs.
    label_bytes: usize,
    report: WriteReport,
}

impl<'r> Batch<'r> {
    fn push(&mut self, series: &WriteSeries<'r>) -> Result<()> {
        let totals = series.totals();
        let labels = match series.labels() {
            Ok(labels) if labels.get(METRIC_NAME).is_none() => Err(Refusal::NoMetricName),
            Ok(labels) => Ok(labels),
            Err(fault) => Err(Refusal::Labels(fault)),
        };
        let labels = match labels {
            Ok(labels) => labels,
            Err(refusal) => {
                let count = (totals.samples + totals.histograms).max(1) as u64;
                self.report.refuse(series, None, refusal, count);
                return Ok(());
            }
        };
        if totals.samples + totals.histograms == 0 {
            self.report.refuse(series, None, Refusal::NoSamples, 1);
        }
        self.report
            .refuse(series, None, Refusal::Histogram, totals.histograms as u64);
        self.series.push((self.appender.len(), series.clone()));
        self.label_bytes += labels.heap_bytes();
        let mut known = None;
        for sample in series.samples() {
            let (timestamp, value) = (sample.timestamp, sample.value);
            let appended = match known {
                Some(series) => self.appender.append_ref(series, timestamp, value),
                None => self
                    .appender
                    .append(&labels, timestamp, value)
                    .map(|series| known = Some(series)),
            };
            if let Err(rejection) = appended {
                let refusal = Refusal::Sample(rejection);
                self.report.refuse(series, Some(timestamp), refusal, 1);
            }
            if self.appender.len() >= COMMIT_SAMPLES_MAX {
                self.commit()?;
                self.series.push((0, series.clone()));
            }
        }
        if self.label_bytes >= COMMIT_LABEL_BYTES_MAX || self.series.len() >= COMMIT_SAMPLES_MAX {
            self.commit()?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        let commit = self.appender.commit()?;
        self.report.write(commit.accepted);
        for (index, rejection) in commit.rejected {
            let at = self.series.partition_point(|(start, _)| *start <= index);
            let (_, series) = &self.series[at - 1];
            self.report
                .refuse(series, None, Refusal::Sample(rejection), 1);
        }
        self.series.clear();
        self.label_bytes = 0;
        Ok(())
    }
}

/// Samples of one commit.
const COMMIT_SAMPLES_MAX: usize = 32_768;

/// Bytes of labels of one commit: a frame of the log may have to hold them all.
const COMMIT_LABEL_BYTES_MAX: usize = 4 << 20;
