//! The oracle: which samples are taken, and which are there.

use std::collections::BTreeMap;

use crate::error::Rejection;
use crate::labels::Labels;
use crate::time::{TimeRange, Timestamp};

/// The samples of a database, by the rules alone.
///
/// What the rules leave open is left open here too: after a restart a floor may be higher than before and the head may
/// know samples again that blocks hold; then [`Model::judge`] allows several answers.
#[derive(Debug, Clone)]
pub struct Model {
    window_ms: i64,
    /// Below it nothing is in order.
    boundary: Timestamp,
    /// Newest timestamp taken.
    newest: Timestamp,
    /// Since a restart floors may be as high as this.
    floors_through: Timestamp,
    /// The lowest boundary a crash may have left.
    boundary_low: Timestamp,
    /// The lowest newest timestamp a crash may have left.
    newest_low: Timestamp,
    series: BTreeMap<Labels, ModelSeries>,
}

/// The samples of one series, as bit patterns.
#[derive(Debug, Clone, Default)]
struct ModelSeries {
    newest: Option<Timestamp>,
    /// What late samples are compared with.
    recent: BTreeMap<Timestamp, u64>,
    /// Flushed samples; they win over recent ones.
    flushed: BTreeMap<Timestamp, u64>,
}

/// The answers that are right for a sample.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// It may be accepted.
    pub accept: bool,
    /// It may be refused for these reasons.
    pub reject: Vec<Rejection>,
}

impl Verdict {
    fn taken() -> Self {
        Self {
            accept: true,
            reject: Vec::new(),
        }
    }

    fn refused(rejection: Rejection) -> Self {
        Self {
            accept: false,
            reject: vec![rejection],
        }
    }

    fn or(mut self, other: Self) -> Self {
        self.accept |= other.accept;
        self.reject.extend(other.reject);
        self
    }
}

impl Model {
    /// Returns an empty model with an out-of-order window, 0 for none.
    pub fn new(window_ms: i64) -> Self {
        Self {
            window_ms,
            boundary: i64::MIN,
            newest: i64::MIN,
            floors_through: i64::MIN,
            boundary_low: i64::MIN,
            newest_low: i64::MIN,
            series: BTreeMap::new(),
        }
    }

    /// Returns what may become of the samples of a commit; `samples` are in order of time, equal times in order of
    /// appending. `answer` says what did, and the model follows it where it is right.
    ///
    /// # Errors
    ///
    /// The index of the first sample whose answer is wrong, with the verdicts that are right.
    pub fn commit<'a>(
        &mut self,
        samples: impl Iterator<Item = (&'a Labels, Timestamp, u64)>,
        answer: impl Fn(usize) -> Option<Rejection>,
    ) -> Result<(), (usize, Verdict)> {
        let before = (self.newest, self.newest_low);
        for (index, (labels, timestamp, bits)) in samples.enumerate() {
            let verdict = self.judge(labels, timestamp, bits, before);
            let answer = answer(index);
            let is_right = answer.map_or(verdict.accept, |rejection| {
                verdict.reject.contains(&rejection)
            });
            if !is_right {
                return Err((index, verdict));
            }
            if answer.is_none() {
                self.take(labels, timestamp, bits);
            }
        }
        Ok(())
    }

    fn judge(
        &self,
        labels: &Labels,
        timestamp: Timestamp,
        bits: u64,
        newest: (Timestamp, Timestamp),
    ) -> Verdict {
        let empty = ModelSeries::default();
        let series = self.series.get(labels).unwrap_or(&empty);
        let late = || {
            let mut verdict = self.judge_late(timestamp, newest.0);
            if newest.1 < newest.0 {
                verdict = verdict.or(self.judge_late(timestamp, newest.1));
            }
            match series.recent.get(&timestamp) {
                Some(known) if *known == bits => return Verdict::taken(),
                Some(_) => return Verdict::refused(Rejection::Duplicate),
                None => {}
            }
            match series.flushed.get(&timestamp) {
                Some(known) if *known == bits => verdict.or(Verdict::taken()),
                Some(_) => verdict.or(Verdict::refused(Rejection::Duplicate)),
                None => verdict,
            }
        };
        if series.newest.is_some_and(|newest| timestamp <= newest) || timestamp < self.boundary_low
        {
            return late();
        }
        // A floor or a boundary that a restart may have moved.
        if timestamp < self.boundary || timestamp <= self.floors_through {
            return late().or(Verdict::taken());
        }
        Verdict::taken()
    }

    fn judge_late(&self, timestamp: Timestamp, newest: Timestamp) -> Verdict {
        if self.window_ms == 0 {
            let refused = |boundary| {
                if timestamp < boundary {
                    Rejection::TooOld
                } else {
                    Rejection::OutOfOrder
                }
            };
            return Verdict {
                accept: false,
                reject: vec![refused(self.boundary), refused(self.boundary_low)],
            };
        }
        if timestamp < newest.saturating_sub(self.window_ms) {
            Verdict::refused(Rejection::TooOld)
        } else {
            Verdict::taken()
        }
    }

    fn take(&mut self, labels: &Labels, timestamp: Timestamp, bits: u64) {
        let series = self.series.entry(labels.clone()).or_default();
        // Of one that a block has, nobody sees whether a crash took it from the head.
        if series.flushed.get(&timestamp) != Some(&bits) {
            series.recent.entry(timestamp).or_insert(bits);
        }
        series.newest = series.newest.max(Some(timestamp));
        self.newest = self.newest.max(timestamp);
    }

    /// Deletes the samples in `range` of the series that `matches`.
    pub fn delete(&mut self, range: TimeRange, matches: impl Fn(&Labels) -> bool) {
        for (labels, series) in &mut self.series {
            if matches(labels) {
                series
                    .recent
                    .retain(|timestamp, _| !range.contains(*timestamp));
                series
                    .flushed
                    .retain(|timestamp, _| !range.contains(*timestamp));
            }
        }
    }

    /// Everything below `boundary` went to blocks.
    pub fn flush(&mut self, boundary: Timestamp) {
        self.boundary = self.boundary.max(boundary);
        self.boundary_low = self.boundary;
        for series in self.series.values_mut() {
            let kept = series.recent.split_off(&boundary);
            for (timestamp, bits) in std::mem::replace(&mut series.recent, kept) {
                series.flushed.entry(timestamp).or_insert(bits);
            }
        }
    }

    /// A flush up to `boundary` found nothing to write, or was interrupted: a restart may not know of it.
    pub fn flush_unsure(&mut self, boundary: Timestamp) {
        let low = self.boundary_low;
        self.flush(boundary);
        self.boundary_low = low;
    }

    /// The database was closed and opened again.
    pub fn reopen(&mut self) {
        self.floors_through = self.newest;
    }

    /// The database was opened after a crash. `unsure` is the boundary of a flush that was under way: whether what lies
    /// below it left the head is not known.
    pub fn recover(&mut self, unsure: Option<Timestamp>) {
        self.reopen();
        self.newest_low = self
            .series
            .values()
            .filter_map(ModelSeries::last)
            .max()
            .unwrap_or(i64::MIN);
        if let Some(boundary) = unsure {
            self.flush_unsure(boundary);
            self.boundary_low = self.boundary_low.min(boundary);
        }
    }

    /// Forgets samples that are not in `found`: a delete that a crash interrupted did this much of its work.
    pub fn keep_only(&mut self, found: &BTreeMap<Labels, Vec<(Timestamp, u64)>>) {
        for (labels, series) in &mut self.series {
            let kept = found.get(labels).map_or(&[][..], Vec::as_slice);
            let is_kept = |timestamp: Timestamp| {
                kept.binary_search_by_key(&timestamp, |sample| sample.0)
                    .is_ok()
            };
            series.recent.retain(|timestamp, _| is_kept(*timestamp));
            series.flushed.retain(|timestamp, _| is_kept(*timestamp));
        }
    }

    /// Describes a series for the message of a failure.
    pub fn series(&self, labels: &Labels) -> String {
        format!(
            "{:?} below {} with {:?}",
            self.newest,
            self.boundary,
            self.series.get(labels)
        )
    }

    /// Returns the newest timestamp taken, [`i64::MIN`] before the first.
    pub fn newest(&self) -> Timestamp {
        self.newest
    }

    /// Returns what a reader sees in `range`, series without a sample left out.
    pub fn visible(&self, range: TimeRange) -> BTreeMap<Labels, Vec<(Timestamp, u64)>> {
        let mut visible = BTreeMap::new();
        for (labels, series) in &self.series {
            let mut samples = series.recent.clone();
            samples.extend(
                series
                    .flushed
                    .iter()
                    .map(|(timestamp, bits)| (*timestamp, *bits)),
            );
            samples.retain(|timestamp, _| range.contains(*timestamp));
            if !samples.is_empty() {
                visible.insert(labels.clone(), samples.into_iter().collect());
            }
        }
        visible
    }
}

impl ModelSeries {
    fn last(&self) -> Option<Timestamp> {
        self.recent
            .keys()
            .next_back()
            .max(self.flushed.keys().next_back())
            .copied()
    }
}
