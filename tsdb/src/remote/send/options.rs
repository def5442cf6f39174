//! What a remote speaks, and how patient to be with it.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::remote::ExternalLabels;
use crate::remote::opentsdb::{DEFAULT_BODY_BYTES, Mapping};
use crate::remote::relabel::Rule;
use crate::remote::wire::Compression;

/// What a remote speaks.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub enum Protocol {
    /// Remote write 2.0. A receiver that turns out to know only 1.0 is sent that until the sender is started anew.
    #[default]
    RemoteWrite2,
    /// Remote write 1.0.
    RemoteWrite1,
    /// OpenTSDB's `/api/put`; the address ends before that path.
    OpenTsdb(Box<OpenTsdbOptions>),
}

impl Protocol {
    /// Returns its name.
    pub fn dialect(&self) -> &'static str {
        match self {
            Self::RemoteWrite2 => "remote write 2.0",
            Self::RemoteWrite1 => "remote write 1.0",
            Self::OpenTsdb(_) => "OpenTSDB",
        }
    }
}

/// How OpenTSDB is written to.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenTsdbOptions {
    /// How series become metrics with tags.
    pub mapping: Mapping,
    /// Bytes of a body on the wire. Defaults to [`DEFAULT_BODY_BYTES`], what a server as it is installed takes.
    pub body_bytes: usize,
    /// Whether bodies are compressed with gzip. Defaults to true.
    pub gzip: bool,
}

impl Default for OpenTsdbOptions {
    fn default() -> Self {
        Self {
            mapping: Mapping::default(),
            body_bytes: DEFAULT_BODY_BYTES,
            gzip: true,
        }
    }
}

/// How samples are sent to one remote.
#[derive(Debug, Clone)]
pub struct SenderOptions {
    /// What it speaks.
    pub protocol: Protocol,
    /// How bodies of remote write are compressed. Defaults to snappy; a receiver that turns out not to know zstd is sent
    /// snappy.
    pub compression: Compression,
    /// Requests under way at the same time. Each series belongs to one of them, together with all metrics that have its other
    /// labels. Defaults to 4.
    pub shards: usize,
    /// Samples of a request, and of what a crash repeats for each shard. Defaults to 10,000.
    pub batch_samples: usize,
    /// Bytes of a message, before compression, above which it is closed. Defaults to 4 MiB.
    pub batch_bytes: usize,
    /// How long samples wait for a request to be full; ten times as long while the reader is behind. Defaults to 5 seconds.
    pub batch_deadline: Duration,
    /// How long an answer may take. Defaults to 30 seconds.
    pub timeout: Duration,
    /// Longest wait after the first failure; doubles with each one. Defaults to 30 milliseconds.
    pub backoff_min: Duration,
    /// Longest wait after any failure that names none. Defaults to 30 seconds.
    pub backoff_max: Duration,
    /// How long to wait before a remote is asked again that needs somebody to look: wrong credentials, wrong address.
    /// Defaults to a minute.
    pub pause: Duration,
    /// Age above which samples are not sent but counted. Defaults to none.
    pub sample_age_limit: Option<Duration>,
    /// Samples a second over all shards. Defaults to no limit.
    pub samples_per_second: Option<u32>,
    /// How far apart in time samples may be that are under way, out-of-order ones aside. Prometheus refuses what is an
    /// hour older than its newest sample. Defaults to 30 minutes.
    pub time_spread: Duration,
    /// Labels that every series carries outside.
    pub external_labels: ExternalLabels,
    /// Rules for labels, after the external ones were added.
    pub relabel: Vec<Rule>,
    /// Series whose outgoing labels stay in memory, a few hundred bytes each; the labels of others are looked up for each
    /// batch. Defaults to 500,000.
    pub cached_series: usize,
    /// Bytes of refused samples that are kept in each of two files. Defaults to 1 MiB.
    pub dead_letter_bytes: u64,
}

impl Default for SenderOptions {
    fn default() -> Self {
        Self {
            protocol: Protocol::default(),
            compression: Compression::Snappy,
            shards: 4,
            batch_samples: 10_000,
            batch_bytes: 4 << 20,
            batch_deadline: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            backoff_min: Duration::from_millis(30),
            backoff_max: Duration::from_secs(30),
            pause: Duration::from_secs(60),
            sample_age_limit: None,
            samples_per_second: None,
            time_spread: Duration::from_secs(30 * 60),
            external_labels: ExternalLabels::default(),
            relabel: Vec::new(),
            cached_series: 500_000,
            dead_letter_bytes: 1 << 20,
        }
    }
}

impl SenderOptions {
    /// Refuses what cannot work. The number of shards is the spool's to judge.
    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |what| Err(Error::invalid(format!("sender: {what}")));
        if self.batch_samples == 0 {
            return refuse("batches of no sample");
        }
        if self.timeout.is_zero() {
            return refuse("no time for an answer");
        }
        if self.samples_per_second == Some(0) {
            return refuse("no sample a second");
        }
        Ok(())
    }
}
