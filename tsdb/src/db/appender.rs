//! The way in, as an embedder sees it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{Error, Rejection, Result};
use crate::index::NO_ENTITY;
use crate::ingest::{Committer, Staged, TargetGroup};
use crate::labels::{Labels, is_set};
use crate::time::Timestamp;

use super::inner::Inner;
use super::options::{Durability, to_ms};

/// Names a series for as long as it is in the head and the database is open. Never given out twice: one from before a
/// restart names no series. 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SeriesRef(u64);

impl SeriesRef {
    /// Returns the number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// Returns the reference with a number that [`SeriesRef::get`] gave; any other names no series.
    pub fn from_raw(raw: u64) -> Self {
        Self(raw)
    }
}

/// A scraped target: what is appended for it in one commit stays together, however few series it has.
///
/// Cheap to clone; clones are the same target.
#[derive(Debug, Clone, Default)]
pub struct Target {
    pub(super) group: Arc<TargetGroup>,
}

/// What a commit did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// Its place in the sequence of commits; `None` if nothing was written.
    pub sequence: Option<u64>,
    /// Samples that were taken, those that were there already included.
    pub accepted: u64,
    /// Samples that were not taken: their places in the order of appending, and why.
    pub rejected: Vec<(usize, Rejection)>,
}

/// Collects the samples of one commit. Not visible before [`Appender::commit`]; dropped, it leaves nothing behind but
/// series that are forgotten later.
///
/// An appender is short-lived: one per scrape, or one kept per scraper thread. Series it named by labels stay in memory at
/// least until it commits.
#[derive(Debug)]
pub struct Appender {
    inner: Arc<Inner>,
    committer: Committer,
    staged: Staged,
    future: Timestamp,
    /// What the series named last was, apart from its metric: often the next one is the same.
    near: u32,
    /// Since when it has named series that it has not committed.
    naming: Option<u64>,
}

impl Appender {
    pub(super) fn new(inner: Arc<Inner>) -> Result<Self> {
        let committer = inner.committer()?;
        inner.head.open_appenders.fetch_add(1, Ordering::SeqCst);
        let future = inner.future();
        Ok(Self {
            inner,
            committer,
            staged: Staged::default(),
            future,
            near: NO_ENTITY,
            naming: None,
        })
    }

    /// Adds a sample by labels and returns the reference to use from now on. About a microsecond for a new series.
    ///
    /// # Errors
    ///
    /// The budgets and the future limit, at once; what depends on samples that are there is judged by
    /// [`Appender::commit`].
    pub fn append(
        &mut self,
        labels: &Labels,
        timestamp: Timestamp,
        value: f64,
    ) -> Result<SeriesRef, Rejection> {
        self.check(timestamp)?;
        self.begin_naming();
        let id = self.inner.resolve(labels.iter(), &mut self.near)?;
        self.staged.push(id, timestamp, value);
        Ok(SeriesRef(id ^ self.inner.epoch))
    }

    /// Adds a sample by labels that are given as they were parsed: [`Appender::append`] without making [`Labels`] first,
    /// if they are sorted by name and none is empty. Others are sorted, and dropped if empty, as [`Labels::from_pairs`]
    /// does it.
    ///
    /// # Errors
    ///
    /// Those of [`Labels::from_pairs`] and of [`Appender::append`].
    pub fn append_pairs(
        &mut self,
        labels: &[(&str, &str)],
        timestamp: Timestamp,
        value: f64,
    ) -> Result<SeriesRef, Rejection> {
        if !is_set(labels) {
            let labels = Labels::from_pairs(labels.iter().copied())
                .inspect_err(|rejection| self.inner.count_rejection(*rejection, 1))?;
            return self.append(&labels, timestamp, value);
        }
        self.check(timestamp)?;
        self.begin_naming();
        let id = self.inner.resolve(labels.iter().copied(), &mut self.near)?;
        self.staged.push(id, timestamp, value);
        Ok(SeriesRef(id ^ self.inner.epoch))
    }

    /// Adds a sample by reference; a few nanoseconds. A reference that names no series any more is told by
    /// [`Appender::commit`] as [`Rejection::UnknownSeries`].
    #[inline]
    pub fn append_ref(
        &mut self,
        series: SeriesRef,
        timestamp: Timestamp,
        value: f64,
    ) -> Result<(), Rejection> {
        self.check(timestamp)?;
        self.staged
            .push(series.0 ^ self.inner.epoch, timestamp, value);
        Ok(())
    }

    /// Adds a sample by reference if it still names the series, by labels otherwise; returns the reference that does.
    pub fn append_cached(
        &mut self,
        series: SeriesRef,
        labels: &Labels,
        timestamp: Timestamp,
        value: f64,
    ) -> Result<SeriesRef, Rejection> {
        if self
            .inner
            .head
            .slots
            .read()
            .find(series.0 ^ self.inner.epoch)
            .is_some()
        {
            self.append_ref(series, timestamp, value)?;
            return Ok(series);
        }
        self.append(labels, timestamp, value)
    }

    /// Adds one scrape: samples that share a timestamp. The fastest way in, if the references come in the same order
    /// each time.
    ///
    /// # Errors
    ///
    /// [`Rejection::TooFarAhead`]: then none is added.
    ///
    /// # Panics
    ///
    /// If the slices differ in length.
    pub fn append_scrape(
        &mut self,
        timestamp: Timestamp,
        series: &[SeriesRef],
        values: &[f64],
    ) -> Result<(), Rejection> {
        assert_eq!(
            series.len(),
            values.len(),
            "a scrape has a value for each series"
        );
        self.check(timestamp)?;
        let epoch = self.inner.epoch;
        self.staged.extend(
            timestamp,
            series.iter().map(|series| series.0 ^ epoch),
            values,
        );
        Ok(())
    }

    /// Says that the samples of this commit belong to one scraped target.
    pub fn set_target(&mut self, target: &Target) {
        self.staged.set_target(Arc::clone(&target.group));
    }

    /// Returns the number of samples added since the last commit.
    pub fn len(&self) -> usize {
        self.staged.len()
    }

    /// Tells whether nothing was added since the last commit.
    pub fn is_empty(&self) -> bool {
        self.staged.is_empty()
    }

    #[inline]
    fn check(&mut self, timestamp: Timestamp) -> Result<(), Rejection> {
        if timestamp > self.future {
            return self.check_again(timestamp);
        }
        Ok(())
    }

    #[cold]
    fn check_again(&mut self, timestamp: Timestamp) -> Result<(), Rejection> {
        // The limit was taken when the appender was made, and the clock goes on.
        self.future = self.inner.future();
        if timestamp > self.future {
            self.inner.count_rejection(Rejection::TooFarAhead, 1);
            return Err(Rejection::TooFarAhead);
        }
        Ok(())
    }

    /// Makes the samples visible, all at once. The appender is empty afterwards and can be used again.
    ///
    /// When it returns, the samples survive the death of the process; what a power cut may take depends on
    /// [`Durability`]. Samples that are refused are listed in the answer and do not affect the others.
    ///
    /// # Errors
    ///
    /// The log could not be written: nothing of the commit is in the database, the samples are still staged, and
    /// committing again tries again. With [`Durability::Commit`] also if the log could not be synced: the samples are
    /// visible then, and not known to be durable.
    pub fn commit(&mut self) -> Result<Commit> {
        self.inner.check_open()?;
        let committed = match self.committer.commit(&self.staged) {
            Ok(committed) => committed,
            Err(error) => {
                self.inner.note_write_failure(&error);
                return Err(error);
            }
        };
        self.staged.clear();
        self.end_naming();
        self.inner.count_commit(&committed);
        let mut answer = Commit {
            sequence: committed.sequence,
            accepted: committed.in_rows + committed.alone + committed.repeated,
            rejected: committed.rejected,
        };
        answer.rejected.sort_unstable_by_key(|(index, _)| *index);
        if let Some(sequence) = committed.sequence {
            let synced = match self.inner.options.durability {
                Durability::Commit => self.inner.sync_log(),
                Durability::Interval(_) => {
                    self.inner.want_sync_if_due();
                    Ok(())
                }
                Durability::Os => Ok(()),
            };
            // Even if the sync failed: the rows are applied, and later commits wait for this one.
            self.inner.head.publisher.publish(sequence);
            synced?;
            self.inner.note_write_success();
        } else if committed.repeated > 0 {
            // What it repeats may not be visible yet; what is acknowledged must be.
            self.inner.wait_published();
            if self.inner.options.durability == Durability::Commit {
                // A commit whose sync failed is visible; repeating it must not acknowledge what a power cut may take.
                self.inner.sync_log()?;
            }
        }
        self.future = self.inner.future();
        Ok(answer)
    }

    /// Forgets the samples added since the last commit.
    pub fn rollback(&mut self) {
        self.staged.clear();
        self.end_naming();
    }

    fn begin_naming(&mut self) {
        if self.naming.is_none() {
            self.naming = Some(self.inner.head.naming.begin());
        }
    }

    fn end_naming(&mut self) {
        if let Some(begun) = self.naming.take() {
            self.inner.head.naming.end(begun);
        }
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        self.end_naming();
        self.inner
            .head
            .open_appenders
            .fetch_sub(1, Ordering::SeqCst);
    }
}

impl Inner {
    pub(super) fn future(&self) -> Timestamp {
        self.options
            .clock
            .now_ms()
            .saturating_add(to_ms(self.options.future_limit))
            .min(i64::MAX - 1)
    }

    fn resolve<'a>(
        &self,
        pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone,
        near: &mut u32,
    ) -> Result<u64, Rejection> {
        self.head
            .resolve(pairs, near)
            .inspect_err(|rejection| self.count_rejection(*rejection, 1))
    }

    /// Has the log synced before so much has come that a commit would have to do it.
    fn want_sync_if_due(&self) {
        if self.wal.as_ref().is_some_and(|wal| wal.is_sync_due()) {
            self.lanes.want_sync();
        }
    }

    fn committer(&self) -> Result<Committer> {
        self.check_open()?;
        let Some(wal) = &self.wal else {
            return Err(Error::read_only("the database was opened read-only"));
        };
        Ok(Committer::new(
            Arc::clone(&self.head),
            Arc::clone(wal),
            self.rules(),
        ))
    }
}
