//! The threads that send.

use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::db::event::Event;
use crate::db::options::to_ms;
use crate::error::{Error, ErrorKind, Result};
use crate::remote::transport::TransportError;
use crate::remote::{
    Backoff, Batch, Built, Outcome, Prepared, RequestBuilder, UnsentReason, Verdict,
};
use crate::sample::Sample;
use crate::ship::Position;
use crate::time::Timestamp;

use super::Shared;

/// Sends what one shard is given, one load after the other.
pub(super) struct Shard {
    shared: Arc<Shared>,
    number: usize,
    requests: RequestBuilder,
    backoff: Backoff,
}

/// A request, and the samples it is about: those `taken`, a beginning of `part`.
struct Attempt {
    part: Range<usize>,
    taken: Range<usize>,
    built: Built,
}

/// The sender is being stopped.
#[derive(Debug)]
struct Stopped;

impl Shard {
    pub(super) fn new(shared: Arc<Shared>, number: usize) -> Result<Self> {
        let options = &shared.options;
        Ok(Self {
            requests: RequestBuilder::new(options)
                .map_err(|error| Error::invalid(error.to_string()))?,
            backoff: Backoff::new(options.backoff_min, options.backoff_max),
            shared,
            number,
        })
    }

    /// Sends until the sender is stopped or the database closed.
    pub(super) fn run(mut self) {
        while let Some(load) = self.shared.lanes.take(self.number) {
            if self.deliver(&load.batch).is_err() {
                return;
            }
            // Also if all of it was refused: the remote takes part.
            self.shared.counters.end_trouble();
            if let Err(error) = self.shared.dead_letters.sync() {
                self.fail_refused(&error);
            }
            let places = self.shared.lanes.delivered(self.number, &load.ends);
            if self.acknowledge(&places).is_err() {
                return;
            }
        }
    }

    /// Makes it durable how far the shards have come. Nothing more is sent before it is.
    fn acknowledge(&mut self, places: &[(usize, Position)]) -> Result<(), Stopped> {
        let mut has_failed = false;
        loop {
            match self.shared.ack.advance(places) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Closed => return Err(Stopped),
                Err(error) => {
                    if !std::mem::replace(&mut has_failed, true) {
                        self.fail(format!(
                            "acknowledgement of {}: {error}",
                            self.shared.remote
                        ));
                    }
                    self.sleep(ACKNOWLEDGE_WAIT)?;
                }
            }
        }
    }

    /// Sends a batch until each sample is stored, refused for good or too old.
    fn deliver(&mut self, batch: &Batch) -> Result<(), Stopped> {
        let mut parts = VecDeque::new();
        parts.push_back(0..batch.len());
        while let Some(part) = parts.pop_front() {
            if part.is_empty() {
                continue;
            }
            let not_before = self.not_before();
            let built = match self.requests.build(batch, part.clone(), not_before) {
                Ok(built) => built,
                Err(error) => {
                    self.fail(format!("request to {}: {error}", self.shared.remote));
                    self.sleep(self.shared.options.pause)?;
                    parts.push_front(part);
                    continue;
                }
            };
            let verdict = if built.sent > 0 {
                self.send(batch)
            } else {
                Verdict::Stored
            };
            let attempt = Attempt {
                taken: part.start..part.start + built.taken,
                part,
                built,
            };
            self.settle(verdict, batch, attempt, &mut parts)?;
        }
        Ok(())
    }

    /// Does what a verdict says about what a request was made of.
    fn settle(
        &mut self,
        verdict: Verdict,
        batch: &Batch,
        attempt: Attempt,
        parts: &mut VecDeque<Range<usize>>,
    ) -> Result<(), Stopped> {
        let sent = attempt.built.sent;
        match verdict {
            Verdict::Stored => {
                self.backoff.reset();
                let taken = self.go_on(attempt, parts);
                if sent > 0 {
                    self.note_stored(batch, taken, sent);
                }
                Ok(())
            }
            Verdict::Outcomes(outcomes) => {
                self.go_on(attempt, parts);
                self.settle_each(batch, &outcomes, parts)
            }
            Verdict::Split { reason } if attempt.taken.len() == 1 => {
                let taken = self.go_on(attempt, parts);
                self.refuse(taken.map(|at| batch.sample(at)), sent, &reason);
                Ok(())
            }
            Verdict::Split { .. } => {
                let Attempt { part, taken, .. } = attempt;
                let middle = taken.start + taken.len() / 2;
                parts.push_front(taken.end..part.end);
                parts.push_front(middle..taken.end);
                parts.push_front(taken.start..middle);
                Ok(())
            }
            Verdict::Retry { after, reason } => {
                parts.push_front(attempt.part);
                self.retry(after, sent, reason)
            }
            Verdict::Misconfigured { reason } => {
                parts.push_front(attempt.part);
                self.wait_for_somebody(reason)
            }
            Verdict::Downgrade { reason } => {
                parts.push_front(attempt.part);
                match self.requests.downgrade() {
                    Ok(true) => {
                        self.note_dialect(&reason);
                        Ok(())
                    }
                    Ok(false) => self.wait_for_somebody(reason),
                    Err(error) => self.wait_for_somebody(error.to_string()),
                }
            }
        }
    }

    /// Leaves what a request was made of behind, and returns it; what did not fit comes next.
    fn go_on(&self, attempt: Attempt, parts: &mut VecDeque<Range<usize>>) -> Range<usize> {
        let Attempt { part, taken, built } = attempt;
        // Those that were left out are only left out once.
        for (reason, samples) in built.skipped {
            self.shared.counters.add_unsent(reason, samples as u64);
        }
        parts.push_front(taken.end..part.end);
        taken
    }

    /// Does what outcomes of single samples say.
    fn settle_each(
        &mut self,
        batch: &Batch,
        outcomes: &[Outcome],
        parts: &mut VecDeque<Range<usize>>,
    ) -> Result<(), Stopped> {
        let mut again: Vec<usize> = Vec::new();
        let (mut trouble, mut somebody) = (None, None);
        let mut stored = 0;
        for (number, outcome) in outcomes.iter().enumerate() {
            let at = self.requests.place(number);
            match outcome {
                Outcome::Stored => {
                    stored += 1;
                    self.shared.counters.note_sent(batch.sample(at).1.timestamp);
                }
                Outcome::Refused(reason) => {
                    self.refuse(std::iter::once(batch.sample(at)), 1, reason);
                }
                Outcome::Retry(reason) => {
                    again.push(at);
                    trouble = Some(reason);
                }
                Outcome::Misconfigured(reason) => {
                    again.push(at);
                    somebody = Some(reason);
                }
            }
        }
        self.note_sent(stored);
        for part in again.chunk_by(|at, next| at + 1 == *next).rev() {
            parts.push_front(part[0]..part[part.len() - 1] + 1);
        }
        match (somebody, trouble) {
            (Some(reason), _) => self.wait_for_somebody(reason.clone()),
            (None, Some(reason)) => self.retry(None, again.len(), reason.clone()),
            (None, None) => {
                self.backoff.reset();
                Ok(())
            }
        }
    }

    fn send(&mut self, batch: &Batch) -> Verdict {
        let counters = &self.shared.counters;
        counters.requests.fetch_add(1, Ordering::Relaxed);
        let bytes = self.requests.body_len() as u64;
        counters.bytes.fetch_add(bytes, Ordering::Relaxed);
        let transport = &self.shared.transport;
        let answer = self.requests.with_request(|request| {
            // What is shared with it is only looked at again through its own methods.
            catch_unwind(AssertUnwindSafe(|| transport.send(request)))
                .unwrap_or_else(|_| Err(TransportError::Connection("a panic".into())))
        });
        let verdict = match answer {
            Ok(response) => {
                let now_ms = self.shared.inner.options.clock.now_ms();
                self.requests.judge(&response, batch, now_ms)
            }
            Err(error) => Verdict::of_failure(&error),
        };
        if !matches!(verdict, Verdict::Stored | Verdict::Outcomes(_)) {
            counters.requests_failed.fetch_add(1, Ordering::Relaxed);
        }
        verdict
    }

    fn retry(
        &mut self,
        after: Option<Duration>,
        samples: usize,
        reason: String,
    ) -> Result<(), Stopped> {
        let counters = &self.shared.counters;
        counters
            .retried
            .fetch_add(samples as u64, Ordering::Relaxed);
        *counters.failing.lock() = Some(reason);
        let wait = self.backoff.next(after);
        self.sleep(wait)
    }

    /// Waits until the remote may have been mended, or somebody says so.
    fn wait_for_somebody(&mut self, reason: String) -> Result<(), Stopped> {
        let counters = &self.shared.counters;
        *counters.failing.lock() = Some(reason.clone());
        let before = counters.paused.lock().replace(reason.clone());
        if before.as_ref() != Some(&reason) {
            self.shared.inner.emit(&Event::RemotePaused {
                remote: self.shared.remote.clone(),
                reason,
            });
        }
        self.sleep(self.shared.options.pause)
    }

    fn note_stored(&self, batch: &Batch, taken: Range<usize>, sent: usize) {
        let newest = batch
            .series_in(taken)
            .flat_map(|(_, samples, _)| samples.iter().map(|sample| sample.timestamp))
            .max();
        if let Some(newest) = newest {
            self.shared.counters.note_sent(newest);
        }
        self.note_sent(sent);
    }

    fn note_sent(&self, samples: usize) {
        let counters = &self.shared.counters;
        if samples > 0 {
            counters.sent.fetch_add(samples as u64, Ordering::Relaxed);
            counters.note_acknowledged(self.shared.inner.options.clock.now_ms());
            counters.end_trouble();
        }
    }

    fn note_dialect(&self, reason: &str) {
        let dialect = self.requests.dialect();
        let before = std::mem::replace(&mut *self.shared.counters.dialect.lock(), dialect);
        if before != dialect {
            self.shared.inner.emit(&Event::RemoteDowngraded {
                remote: self.shared.remote.clone(),
                dialect,
                reason: reason.to_owned(),
            });
        }
    }

    /// Puts samples aside that the remote will never take.
    fn refuse<'b>(
        &mut self,
        samples: impl Iterator<Item = (&'b Arc<Prepared>, Sample)>,
        count: usize,
        reason: &str,
    ) {
        self.backoff.reset();
        let not_before = self.not_before();
        let kept = samples
            .filter(|(_, sample)| sample.timestamp >= not_before)
            .map(|(series, sample)| (&**series, sample));
        if let Err(error) = self.shared.dead_letters.put(kept, reason) {
            self.fail_refused(&error);
        }
        self.shared
            .counters
            .add_unsent(UnsentReason::Refused, count as u64);
        self.shared.inner.emit(&Event::RemoteRefused {
            remote: self.shared.remote.clone(),
            samples: count as u64,
            reason: reason.to_owned(),
        });
    }

    /// Returns the time before which samples are too old to be sent.
    fn not_before(&self) -> Timestamp {
        let now_ms = self.shared.inner.options.clock.now_ms();
        let limit = self.shared.options.sample_age_limit;
        limit.map_or(Timestamp::MIN, |limit| now_ms.saturating_sub(to_ms(limit)))
    }

    /// Samples that nobody wants any more stop nothing, not even if the disk does not want them either.
    fn fail_refused(&self, error: &Error) {
        self.fail(format!(
            "samples refused by {}: {error}",
            self.shared.remote
        ));
    }

    fn fail(&self, message: String) {
        self.shared.inner.emit(&Event::Failed { message });
    }

    fn sleep(&self, time: Duration) -> Result<(), Stopped> {
        let lanes = &self.shared.lanes;
        if lanes.sleep(time) && lanes.wait_resumed() {
            Ok(())
        } else {
            Err(Stopped)
        }
    }
}

/// Wait after the cursor could not be written.
const ACKNOWLEDGE_WAIT: Duration = Duration::from_secs(1);
