//! The threads that send.

use std::collections::HashSet;
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
    Backoff, Batch, Built, GivenUp, Outcome, Pieces, RequestBuilder, Search, UnsentReason, Verdict,
    Wanted,
};
use crate::ship::Position;
use crate::time::Timestamp;

use super::Shared;
use super::lanes::Load;

/// Sends what one shard is given, one load after the other.
pub(super) struct Shard {
    shared: Arc<Shared>,
    number: usize,
    requests: RequestBuilder,
    backoff: Backoff,
    /// Parts whose samples an earlier sender may have sent, until the remote takes some.
    unsure: HashSet<usize>,
    /// Whether the remote has taken anything of what is being delivered.
    has_stored: bool,
}

/// A request that was made, and the samples of the batch it is about.
struct Attempt {
    taken: Range<usize>,
    built: Built,
}

/// The sender is being stopped.
#[derive(Debug)]
struct Stopped;

impl Shard {
    pub(super) fn new(shared: Arc<Shared>, number: usize) -> Result<Self> {
        let options = &shared.options;
        let parts = number * shared.parts..(number + 1) * shared.parts;
        let is_unsure = shared.counters.is_unsure();
        Ok(Self {
            unsure: parts.filter(|_| is_unsure).collect(),
            has_stored: false,
            requests: RequestBuilder::new(options)
                .map_err(|error| Error::invalid(error.to_string()))?,
            backoff: Backoff::new(options.backoff_min, options.backoff_max),
            shared,
            number,
        })
    }

    /// Sends until the sender is stopped or the database closed.
    pub(super) fn run(mut self) {
        if self.deliver_all().is_err() || !self.unsure.is_empty() {
            self.shared.counters.note_unsure();
        }
    }

    /// Sends until there is nothing more to come, or stops in between.
    fn deliver_all(&mut self) -> Result<(), Stopped> {
        while let Some(load) = self.shared.lanes.take(self.number) {
            self.deliver(&load)?;
            // Also if all of it was refused: the remote takes part.
            self.shared.counters.end_trouble();
            if let Err(error) = self.shared.dead_letters.sync() {
                self.fail_refused(&error);
            }
            let places = self.shared.lanes.delivered(self.number, &load.ends);
            self.acknowledge(&places)?;
        }
        Ok(())
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

    /// Sends a load until each sample is stored, refused for good or too old.
    fn deliver(&mut self, load: &Load) -> Result<(), Stopped> {
        let Load { batch, ends, .. } = load;
        let is_unsure = ends.iter().any(|(part, _)| self.unsure.contains(part));
        let mut pieces = Pieces::new(batch, is_unsure);
        self.has_stored = false;
        while let Some(part) = pieces.next() {
            let wanted = Wanted {
                not_before: self.not_before(),
                pieces: &pieces,
            };
            let built = match self.requests.build(batch, part.clone(), wanted) {
                Ok(built) => built,
                Err(error) => {
                    self.fail(format!("request to {}: {error}", self.shared.remote));
                    self.sleep(self.shared.options.pause)?;
                    continue;
                }
            };
            let taken = part.start..part.start + built.taken;
            if built.sent == 0 {
                self.count_skipped(&built);
                pieces.left_out(batch, &taken);
                continue;
            }
            let verdict = self.send(batch);
            let attempt = Attempt { taken, built };
            self.settle(verdict, batch, attempt, &mut pieces)?;
        }
        if self.has_stored {
            for (part, _) in ends {
                self.unsure.remove(part);
            }
        }
        Ok(())
    }

    /// Does what a verdict says about what a request was made of.
    fn settle(
        &mut self,
        verdict: Verdict,
        batch: &Batch,
        attempt: Attempt,
        pieces: &mut Pieces,
    ) -> Result<(), Stopped> {
        let Attempt { taken, built } = attempt;
        match verdict {
            Verdict::Stored => {
                self.backoff.reset();
                self.count_skipped(&built);
                self.note_newest(batch, taken.clone(), pieces);
                self.note_sent(built.sent);
                pieces.stored(&taken);
                Ok(())
            }
            Verdict::Outcomes(outcomes) => {
                self.count_skipped(&built);
                pieces.left_out(batch, &taken);
                self.settle_each(batch, &outcomes, pieces)
            }
            Verdict::Refused { reason } => {
                let given_up = pieces.refused(batch, &taken, Search::Soundings);
                self.give_up(batch, given_up, &reason);
                Ok(())
            }
            Verdict::Split { reason } => {
                let given_up = pieces.refused(batch, &taken, Search::Halves);
                self.give_up(batch, given_up, &reason);
                Ok(())
            }
            Verdict::Partly { stored, reason } => {
                self.count_skipped(&built);
                let refused = built.sent - stored;
                let reason = format!("{reason}; {refused} of {}, which is not said", built.sent);
                let not_before = self.not_before();
                let is_sent =
                    |at: &usize| pieces.is_left(*at) && batch.sample(*at).1.timestamp >= not_before;
                let sent: Vec<usize> = taken.clone().filter(is_sent).collect();
                self.put_aside(batch, &sent, pieces.is_unsure(), &reason);
                self.note_refused(refused, pieces.is_unsure(), &reason);
                self.note_sent(stored);
                pieces.left_out(batch, &taken);
                Ok(())
            }
            Verdict::Retry {
                after,
                may_be_stored,
                reason,
            } => {
                if may_be_stored {
                    pieces.unsure(&taken);
                }
                self.retry(after, built.sent, reason)
            }
            Verdict::Misconfigured { reason } => self.wait_for_somebody(reason),
            Verdict::Downgrade { reason } => match self.requests.downgrade() {
                Ok(true) => {
                    self.note_dialect(&reason);
                    Ok(())
                }
                Ok(false) => self.wait_for_somebody(reason),
                Err(error) => self.wait_for_somebody(error.to_string()),
            },
        }
    }

    /// Counts what was left out of a request that is done with; otherwise it would be counted again.
    fn count_skipped(&self, built: &Built) {
        for &(reason, samples) in &built.skipped {
            self.shared.counters.add_unsent(reason, samples as u64);
        }
    }

    /// Does what outcomes of single samples say.
    fn settle_each(
        &mut self,
        batch: &Batch,
        outcomes: &[Outcome],
        pieces: &mut Pieces,
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
                    let given_up = GivenUp {
                        places: vec![at],
                        is_unsure: false,
                    };
                    self.give_up(batch, given_up, reason);
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
            pieces.again(part[0]..part[part.len() - 1] + 1);
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

    /// Notes the newest of the samples that are left of a part.
    fn note_newest(&self, batch: &Batch, part: Range<usize>, pieces: &Pieces) {
        let newest = batch
            .series_in(part)
            .flat_map(|(_, samples, at)| samples.iter().zip(at..))
            .filter(|(_, at)| pieces.is_left(*at))
            .map(|(sample, _)| sample.timestamp)
            .max();
        if let Some(newest) = newest {
            self.shared.counters.note_sent(newest);
        }
    }

    fn note_sent(&mut self, samples: usize) {
        let counters = &self.shared.counters;
        if samples > 0 {
            self.has_stored = true;
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

    /// Gives samples up that the remote will never take.
    fn give_up(&mut self, batch: &Batch, given_up: GivenUp, reason: &str) {
        let GivenUp {
            mut places,
            is_unsure,
        } = given_up;
        let not_before = self.not_before();
        let all = places.len();
        places.retain(|at| batch.sample(*at).1.timestamp >= not_before);
        let too_old = all - places.len();
        self.shared
            .counters
            .add_unsent(UnsentReason::TooOld, too_old as u64);
        if !places.is_empty() {
            self.put_aside(batch, &places, is_unsure, reason);
            self.note_refused(places.len(), is_unsure, reason);
        }
    }

    /// Keeps samples in the dead-letter file.
    fn put_aside(&self, batch: &Batch, places: &[usize], is_unsure: bool, reason: &str) {
        let samples = places.iter().map(|at| {
            let (series, sample) = batch.sample(*at);
            (&**series, sample)
        });
        let put = if is_unsure {
            let reason = format!("refused after an attempt without an answer: {reason}");
            self.shared.dead_letters.put(samples, &reason)
        } else {
            self.shared.dead_letters.put(samples, reason)
        };
        if let Err(error) = put {
            self.fail_refused(&error);
        }
    }

    fn note_refused(&mut self, samples: usize, is_unsure: bool, reason: &str) {
        self.backoff.reset();
        let samples = samples as u64;
        let counters = &self.shared.counters;
        if is_unsure {
            // Nobody has to look: this is what restarts and broken connections bring with them.
            counters.add_unsent(UnsentReason::Unconfirmed, samples);
            return;
        }
        counters.add_unsent(UnsentReason::Refused, samples);
        self.shared.inner.emit(&Event::RemoteRefused {
            remote: self.shared.remote.clone(),
            samples,
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
