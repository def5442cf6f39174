//! Samples leave for a remote.
//!
//! 1. `reader` is one thread: it reads what is durable in the log, finds out what goes out for each series, and collects
//!    batches, part by part of each shard. `series` is what it knows of those it has met, `rate` how fast it may go.
//! 2. `lanes` are the queues between: short, so that memory is bounded and shards stay together in time.
//! 3. `shard` is a thread for each shard: it sends one batch at a time, waits, finds out what is refused, gives that up, and
//!    makes durable how far it has come before it takes the next.
//! 4. `dead_letter` keeps what was refused, `status` counts, `metrics` names what is counted.
//!
//! No queue outlives the process and none needs to: what is not acknowledged is read from the log again. A crash repeats
//! at most one batch of each shard.

mod dead_letter;
mod lanes;
mod metrics;
mod rate;
mod reader;
mod series;
mod shard;
mod status;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::fs::names;
use crate::remote::SenderOptions;
use crate::remote::transport::Transport;
use crate::ship::{Position, SHARDS_MAX};
use crate::time::{Clock, SystemClock};

use super::Db;
use super::inner::Inner;
use super::options::to_ms;
use super::spool::{Spool, SpoolAck, SpoolStart};
use dead_letter::DeadLetters;
use lanes::Lanes;
use reader::Reader;
use shard::Shard;

pub(super) use metrics::visit_metrics;
pub(super) use status::Counters;
pub use status::SenderStatus;

/// Sends what is committed to one remote, until it is stopped or dropped. Made by [`Db::start_sender`].
///
/// Dropping it is as good as [`Self::stop`] without time: requests under way are waited for, at most for their timeout, and
/// what is not acknowledged stays in the log.
#[derive(Debug)]
pub struct Sender {
    db: Db,
    remote: String,
    ack: SpoolAck,
    /// Locked by the thread that reads, as long as it runs.
    spool: Arc<Mutex<Spool>>,
    running: Option<Running>,
}

/// What the threads of a sender share.
struct Shared {
    inner: Arc<Inner>,
    remote: String,
    options: SenderOptions,
    /// How many parts the series of each shard are in.
    parts: usize,
    time_spread_ms: i64,
    transport: Arc<dyn Transport>,
    ack: SpoolAck,
    lanes: Lanes,
    counters: Arc<Counters>,
    dead_letters: DeadLetters,
}

/// The threads of a sender. They end when it is dropped.
struct Running {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}

impl Db {
    /// Starts to send to the remote called `name`; see [`Db::spool`] for names, `start`, and what is kept.
    ///
    /// Each sample is sent at least once, and the samples of a series in the order in which they were committed. A sample
    /// is sent again after a crash, after a failure of which it is not known what became of the request, and when the
    /// sender is stopped while a request is under way: at most [`SenderOptions::batch_samples`] for each shard.
    ///
    /// A remote that is behind is sent many samples of each series in a request.
    ///
    /// One thread reads and one for each shard sends. Memory: two batches for each shard, sixteen more that are collected while
    /// the remote is behind (24 bytes a sample), and the labels of [`SenderOptions::cached_series`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) for options that cannot work, those of [`Db::spool`], or a
    /// thread that cannot be started.
    pub fn start_sender(
        &self,
        name: &str,
        start: SpoolStart,
        transport: Arc<dyn Transport>,
        options: SenderOptions,
    ) -> Result<Sender> {
        options.check()?;
        let spool = self.spool(name, start)?;
        let mut sender = Sender {
            db: self.clone(),
            remote: name.to_owned(),
            ack: spool.ack(),
            spool: Arc::new(Mutex::new(spool)),
            running: None,
        };
        sender.start(transport, options)?;
        Ok(sender)
    }
}

impl Sender {
    /// Goes on with another transport or other options. Requests under way are waited for, at most for their timeout;
    /// nothing is lost.
    ///
    /// # Errors
    ///
    /// Those of [`Db::start_sender`]. With options that cannot work everything stays as it was; after a fault of the disk
    /// nothing is sent until the next call.
    pub fn reconfigure(
        &mut self,
        transport: Arc<dyn Transport>,
        options: SenderOptions,
    ) -> Result<()> {
        options.check()?;
        SpoolAck::check_shards(options.shards)?;
        self.running = None;
        self.start(transport, options)
    }

    /// Stops sending until [`Self::resume`]; requests under way end by themselves. The log keeps what waits.
    pub fn pause(&self) {
        self.with_running(|shared| shared.lanes.pause(true));
    }

    /// Ends a pause, and every wait of a shard for a better time.
    pub fn resume(&self) {
        self.with_running(|shared| shared.lanes.pause(false));
    }

    /// Syncs the log and waits until the remote has acknowledged all that is committed by now, at most for `timeout`.
    /// Answers whether it has.
    pub fn wait_until_sent(&self, timeout: Duration) -> Result<bool> {
        self.db.sync()?;
        let until = now().saturating_add(timeout);
        let end = Position::before(self.db.inner.writer()?.last_sequence() + 1);
        let is_sent = || self.ack.progress().low() >= end;
        let Some(Running { shared, .. }) = &self.running else {
            return Ok(is_sent());
        };
        let lanes = &shared.lanes;
        lanes.hurry(true);
        while !is_sent() && now() < until && self.db.inner.check_open().is_ok() {
            lanes.wait_progress(POLL);
        }
        lanes.hurry(false);
        Ok(is_sent())
    }

    /// Waits as [`Self::wait_until_sent`] does, and stops.
    pub fn stop(mut self, timeout: Duration) -> Result<bool> {
        let is_sent = self.wait_until_sent(timeout);
        self.running = None;
        is_sent
    }

    /// Returns what is known of it.
    pub fn status(&self) -> SenderStatus {
        let mut status = self.ack.counters().status(&self.remote);
        self.with_running(|shared| {
            status.oldest_queued = shared.lanes.oldest();
            if shared.lanes.is_paused() {
                status.paused = Some(String::from("paused"));
            }
        });
        status
    }

    fn with_running(&self, act: impl FnOnce(&Shared)) {
        if let Some(running) = &self.running {
            act(&running.shared);
        }
    }

    /// Starts the threads with nothing under way.
    fn start(&mut self, transport: Arc<dyn Transport>, options: SenderOptions) -> Result<()> {
        let inner = &self.db.inner;
        SpoolAck::check_shards(options.shards)?;
        let parts = PARTS.min(SHARDS_MAX / options.shards);
        self.ack.reshard(options.shards * parts)?;
        let counters = self.ack.counters();
        let shared = Arc::new(Shared {
            inner: Arc::clone(inner),
            remote: self.remote.clone(),
            parts,
            time_spread_ms: to_ms(options.time_spread),
            transport,
            ack: self.ack.clone(),
            lanes: Lanes::new(
                options.shards,
                parts,
                self.ack.progress().low(),
                Arc::clone(&counters),
            ),
            dead_letters: DeadLetters::new(
                Arc::clone(&inner.options.fs),
                inner.dir.join(names::SPOOL),
                &self.remote,
                options.dead_letter_bytes,
            ),
            counters: Arc::clone(&counters),
            options,
        });
        let shards =
            (0..shared.options.shards).map(|number| Shard::new(Arc::clone(&shared), number));
        let shards: Vec<Shard> = shards.collect::<Result<_>>()?;
        counters.begin(&shared.options);
        let reader = Reader::new(Arc::clone(&shared), Arc::clone(&self.spool));
        // From here on dropping ends what has begun.
        let mut running = Running {
            shared,
            threads: Vec::new(),
        };
        for shard in shards {
            running.spawn("send", move || shard.run())?;
        }
        running.spawn("read", move || reader.run())?;
        self.running = Some(running);
        Ok(())
    }
}

impl Running {
    fn spawn(&mut self, role: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
        let name = format!("tsdb-{role}-{}", self.shared.remote);
        let thread = thread::Builder::new().name(name).spawn(work);
        let thread = thread
            .map_err(|error| Error::io("start a thread for", &self.shared.inner.dir, error))?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.lanes.stop();
        for thread in self.threads.drain(..) {
            // One that panicked has said so; the log still has what it did not acknowledge.
            drop(thread.join());
        }
        self.shared.counters.end();
    }
}

/// Returns a reading of the machine's clock, by which remotes run, whatever clock the database is given.
fn now() -> Duration {
    SystemClock.monotonic()
}

/// Parts of a shard, at most. The more there are, the more samples of a series share a batch when a remote is behind: with
/// 100,000 series in four shards, six of each in a batch of 10,000. And the more are collected at the same time.
const PARTS: usize = 16;

/// Time between two looks at how far a remote has come.
const POLL: Duration = Duration::from_millis(5);
