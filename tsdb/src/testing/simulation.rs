//! A database on a simulated disk and its model, side by side.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::db::{Background, Db, Durability, Options, SeriesRef, Target, Task};
use crate::error::{Rejection, Result};
use crate::fs::{CrashChoice, SimFs};
use crate::labels::{Labels, MatchOp, Matcher};
use crate::sample::Samples;
use crate::time::{ManualClock, TimeRange, Timestamp};

use super::life::{Life, Operation, StagedSample};
use super::model::Model;
use super::random::Random;

/// What a reader sees.
type Content = BTreeMap<Labels, Vec<(Timestamp, u64)>>;

/// The rules a simulation runs under.
#[derive(Debug, Clone)]
pub struct SimulationOptions {
    /// What a crash may take.
    pub durability: Durability,
    /// The out-of-order window; zero for none.
    pub window: Duration,
    /// Age at which blocks go.
    pub retention: Option<Duration>,
    /// Bytes of a segment of the log; small ones rotate often.
    pub segment_bytes: u64,
}

impl SimulationOptions {
    /// Draws the rules from a seed.
    pub fn draw(seed: u64) -> Self {
        let mut random = Random::new(!seed);
        let durability = if random.one_in(2) {
            Durability::Commit
        } else {
            Durability::Interval(Duration::from_secs(1))
        };
        Self {
            durability,
            window: Duration::from_secs(if random.one_in(4) { 0 } else { 300 }),
            retention: random.one_in(4).then(|| Duration::from_secs(3_600)),
            segment_bytes: if random.one_in(2) { 4_096 } else { 1 << 20 },
        }
    }
}

/// A database, its model and their clock.
#[derive(Debug)]
pub struct Simulation {
    options: SimulationOptions,
    fs: SimFs,
    clock: Arc<ManualClock>,
    life: Life,
    db: Option<Db>,
    refs: Vec<SeriesRef>,
    targets: Vec<Target>,
    model: Model,
    /// The model at each commit a crash may go back to, the oldest known to be durable.
    history: Vec<Model>,
    /// The history before the last operation.
    before: Vec<Model>,
    /// The last operation, and the number of the first operation of the disk in it.
    last: Option<(Operation, usize)>,
    /// Samples before it may be gone for their age.
    retired_before: Timestamp,
    steps: usize,
    snapshots: usize,
}

/// When a simulation begins.
const START: Timestamp = 1_795_305_600_000;

/// Width of the ranges that blocks begin with.
const BLOCK_RANGE: Duration = Duration::from_secs(600);

const TARGETS: usize = 4;

impl Simulation {
    /// Opens an empty database.
    ///
    /// # Errors
    ///
    /// Those of [`Db::open`].
    pub fn new(seed: u64, options: SimulationOptions) -> Result<Self> {
        let life = Life::new(seed, START);
        let model = Model::new(options.window.as_millis() as i64);
        let mut simulation = Self {
            fs: SimFs::new(),
            clock: Arc::new(ManualClock::new(START)),
            refs: vec![SeriesRef::default(); life.series().len()],
            targets: vec![Target::default(); TARGETS],
            history: vec![model.clone()],
            before: Vec::new(),
            db: None,
            last: None,
            retired_before: i64::MIN,
            steps: 0,
            snapshots: 0,
            model,
            life,
            options,
        };
        simulation.db = Some(simulation.open(Path::new(DIR))?);
        Ok(simulation)
    }

    fn open(&self, dir: &Path) -> Result<Db> {
        let options = Options::default()
            .with_fs(Arc::new(self.fs.clone()))
            .with_clock(Arc::clone(&self.clock) as Arc<_>)
            .with_background(Background::Manual)
            .with_durability(self.options.durability)
            .with_block_range(BLOCK_RANGE)
            .with_out_of_order_window(self.options.window)
            .with_retention(self.options.retention)
            .with_segment_bytes(self.options.segment_bytes)
            .with_checkpoint_interval(Duration::from_secs(120))
            .with_replay_threads(2);
        Db::open(dir, options)
    }

    fn db(&self) -> &Db {
        self.db
            .as_ref()
            .expect("a database is open between operations")
    }

    /// Draws an operation, does it, and compares.
    ///
    /// # Errors
    ///
    /// What differs, with the operation.
    pub fn step(&mut self) -> Result<(), String> {
        let operation = self.life.operation();
        self.clock.set(self.life.now());
        self.steps += 1;
        let started = self.fs.operations();
        if !matches!(operation, Operation::Crash(..)) {
            self.before.clone_from(&self.history);
        }
        let done = self
            .run(&operation)
            .map_err(|error| format!("step {}: {operation:?}: {error}", self.steps))?;
        if !matches!(operation, Operation::Crash(..)) {
            self.last = Some((operation.clone(), started));
        }
        let is_quiet = matches!(
            operation,
            Operation::Commit { .. } | Operation::Sync | Operation::Advance(_)
        );
        if done && (!is_quiet || self.steps.is_multiple_of(16)) {
            let found = content(self.db(), TimeRange::ALL)
                .map_err(|error| format!("step {}: {operation:?}: {error}", self.steps))?;
            self.compare(&found, &self.model, TimeRange::ALL)
                .and_then(|()| self.compare_part())
                .map_err(|difference| {
                    format!("step {}: after {operation:?}: {difference}", self.steps)
                })?;
        }
        Ok(())
    }

    fn run(&mut self, operation: &Operation) -> Result<bool, String> {
        let failed = |error: crate::error::Error| error.to_string();
        match operation {
            Operation::Commit { samples, target } => self.commit(samples, *target)?,
            Operation::Rollback(samples) => self.roll_back(samples).map_err(failed)?,
            Operation::Delete(range, one) => {
                let matcher = self.matcher(*one);
                self.db().delete(*range, &[matcher]).map_err(failed)?;
                self.delete_from_model(*range, *one);
            }
            Operation::Flush => {
                let report = self.db().flush().map_err(failed)?;
                let boundary = self.db().stats().head_boundary;
                if report.blocks > 0 {
                    self.model.flush(boundary);
                    self.settle();
                } else {
                    self.model.flush_unsure(boundary);
                }
            }
            Operation::StepFlush => {
                while self.db().step(Task::Flush).map_err(failed)? {}
                let boundary = self.db().stats().head_boundary;
                self.history
                    .iter_mut()
                    .chain([&mut self.model])
                    .for_each(|model| model.flush_unsure(boundary));
            }
            Operation::Compact => {
                self.db().compact().map_err(failed)?;
                if let Some(retention) = self.options.retention {
                    let cutoff = self
                        .model
                        .newest()
                        .saturating_sub(retention.as_millis() as i64);
                    self.retired_before = self.retired_before.max(cutoff);
                }
            }
            Operation::Checkpoint => {
                self.db().checkpoint().map_err(failed)?;
                self.settle();
            }
            Operation::Sync => {
                self.db().sync().map_err(failed)?;
                self.settle();
            }
            Operation::Reopen { is_closed } => {
                let db = self
                    .db
                    .take()
                    .expect("a database is open between operations");
                if *is_closed {
                    db.close().map_err(failed)?;
                    self.settle();
                } else {
                    drop(db);
                }
                self.db = Some(self.open(Path::new(DIR)).map_err(failed)?);
                self.model.reopen();
                self.history.iter_mut().for_each(Model::reopen);
            }
            Operation::Crash(moment, choice) => return self.crash(*moment, *choice),
            Operation::Advance(_) => {}
            Operation::Snapshot => self.snapshot()?,
        }
        Ok(true)
    }

    /// What is committed survives from now on.
    fn settle(&mut self) {
        self.history = vec![self.model.clone()];
    }

    fn matcher(&self, one: Option<usize>) -> Matcher {
        let (op, value) = match one {
            Some(series) => (
                MatchOp::Equal,
                self.life.series()[series].get("number").unwrap_or_default(),
            ),
            None => (MatchOp::Regex, ".*[02468]"),
        };
        Matcher::new(op, "number", value).expect("a valid matcher")
    }

    /// A delete is durable at once; what was committed before it is not for that.
    fn delete_from_model(&mut self, range: TimeRange, one: Option<usize>) {
        let matcher = self.matcher(one);
        for model in self.history.iter_mut().chain([&mut self.model]) {
            model.delete(range, |labels| {
                matcher.matches(labels.get("number").unwrap_or_default())
            });
        }
    }

    fn commit(&mut self, samples: &[StagedSample], target: Option<usize>) -> Result<(), String> {
        let mut appender = self.db().appender().map_err(|error| error.to_string())?;
        if let Some(target) = target {
            appender.set_target(&self.targets[target]);
        }
        let future = self.life.now() + crate::limits::FUTURE_MS_MAX;
        let mut staged = Vec::new();
        for sample in samples {
            let labels = &self.life.series()[sample.series];
            let value = f64::from_bits(sample.bits);
            match appender.append_cached(self.refs[sample.series], labels, sample.timestamp, value)
            {
                Ok(series) => {
                    self.refs[sample.series] = series;
                    staged.push(*sample);
                }
                Err(Rejection::TooFarAhead) if sample.timestamp > future => {}
                Err(rejection) => {
                    return Err(format!("{sample:?} was refused at once: {rejection}"));
                }
            }
        }
        let commit = appender.commit().map_err(|error| error.to_string())?;
        drop(appender);
        if commit.accepted as usize + commit.rejected.len() != staged.len() {
            return Err(format!("{} samples were staged, {commit:?}", staged.len()));
        }
        let mut order: Vec<usize> = (0..staged.len()).collect();
        order.sort_by_key(|&index| staged[index].timestamp);
        let answer = |index: usize| {
            commit
                .rejected
                .iter()
                .find(|(at, _)| *at == order[index])
                .map(|(_, rejection)| *rejection)
        };
        let in_order = order.iter().map(|&index| {
            let sample = staged[index];
            (
                &self.life.series()[sample.series],
                sample.timestamp,
                sample.bits,
            )
        });
        self.model.commit(in_order, answer).map_err(|(index, verdict)| {
            let (answer, sample) = (answer(index), staged[order[index]]);
            let stats = self.db().stats();
            let series = self.model.series(&self.life.series()[sample.series]);
            let staged: Vec<_> = staged.iter().filter(|other| other.series == sample.series).collect();
            let (boundary, newest) = (stats.head_boundary, stats.head_max_time);
            format!("{sample:?} was answered {answer:?}, right is {verdict:?}; boundary {boundary}, newest {newest}; {series}, staged {staged:?}")
        })?;
        if commit.sequence.is_some() {
            match self.options.durability {
                Durability::Commit => self.settle(),
                Durability::Interval(_) | Durability::Os => self.history.push(self.model.clone()),
            }
        }
        Ok(())
    }

    fn roll_back(&self, samples: &[StagedSample]) -> Result<()> {
        let mut appender = self.db().appender()?;
        for sample in samples {
            // What is refused is as little there as the rest.
            let _refused = appender.append(
                &self.life.series()[sample.series],
                sample.timestamp,
                f64::from_bits(sample.bits),
            );
        }
        appender.rollback();
        Ok(())
    }

    fn snapshot(&mut self) -> Result<(), String> {
        self.snapshots += 1;
        let dir = PathBuf::from(format!("/snapshot{}", self.snapshots));
        self.db()
            .snapshot(&dir)
            .map_err(|error| error.to_string())?;
        let copy = self.open(&dir).map_err(|error| error.to_string())?;
        let found = content(&copy, TimeRange::ALL).map_err(|error| error.to_string())?;
        self.compare(&found, &self.model, TimeRange::ALL)
            .map_err(|difference| format!("the copy: {difference}"))
    }

    /// Cuts the power at a moment of the last operation and recovers.
    fn crash(&mut self, moment: u64, choice: u64) -> Result<bool, String> {
        let Some((last, started)) = self.last.take() else {
            return Ok(false);
        };
        if matches!(
            last,
            Operation::Reopen { .. } | Operation::Snapshot | Operation::Advance(_)
        ) {
            return Ok(false);
        }
        let now = self.fs.operations();
        let number = started + (moment % (now - started + 1) as u64) as usize;
        let is_over = number == now;
        let choice = match choice % 8 {
            0 | 1 => CrashChoice::All,
            2 => CrashChoice::None,
            3 => CrashChoice::NamesOnly,
            4 => CrashChoice::DataOnly,
            _ => CrashChoice::Seeded(choice),
        };
        self.db = None;
        self.fs = self.fs.crash_at(number, choice);
        let db = self
            .open(Path::new(DIR))
            .map_err(|error| format!("{choice:?} in {last:?}: {error}"))?;
        let found = content(&db, TimeRange::ALL)
            .map_err(|error| format!("{choice:?} in {last:?}: {error}"))?;
        self.db = Some(db);
        let unsure = match last {
            Operation::Flush | Operation::StepFlush if !is_over => {
                Some(self.db().stats().head_boundary)
            }
            _ => None,
        };
        let candidates = self.candidates(&last, is_over, choice);
        let mut differences = Vec::new();
        for (low, high) in candidates.into_iter().rev() {
            let compared = if low.visible(TimeRange::ALL) == high.visible(TimeRange::ALL) {
                self.compare(&found, &high, TimeRange::ALL)
            } else {
                self.compare_between(&found, &low, &high)
            };
            match compared {
                Ok(()) => {
                    self.model = high;
                    self.model.keep_only(&found);
                    self.model.recover(unsure);
                    self.history = vec![self.model.clone()];
                    self.refs.fill(SeriesRef::default());
                    return Ok(true);
                }
                Err(difference) => differences.push(difference),
            }
        }
        Err(format!(
            "after {choice:?} at {} of {} in {last:?}: {differences:?}",
            number - started,
            now - started
        ))
    }

    /// Returns the states a crash may leave, each as what has to be there and what may be.
    fn candidates(
        &self,
        last: &Operation,
        is_over: bool,
        choice: CrashChoice,
    ) -> Vec<(Model, Model)> {
        let mut states = self.before.clone();
        if is_over {
            states.clear();
        }
        states.extend_from_slice(&self.history);
        if choice == CrashChoice::All {
            // The process died: everything acknowledged is there.
            let acknowledged = if is_over {
                states.len() - 1
            } else {
                self.before.len() - 1
            };
            states.drain(..acknowledged);
        }
        let low_of = |model: &Model| {
            let mut low = model.clone();
            if let (Operation::Delete(range, one), false) = (last, is_over) {
                let matcher = self.matcher(*one);
                low.delete(*range, |labels| {
                    matcher.matches(labels.get("number").unwrap_or_default())
                });
            }
            low
        };
        states
            .into_iter()
            .map(|high| (low_of(&high), high))
            .collect()
    }

    /// Compares `found` with what the model holds in `range`.
    fn compare(&self, found: &Content, model: &Model, range: TimeRange) -> Result<(), String> {
        let expected = model.visible(range);
        self.compare_content(found, &expected, &expected)
    }

    fn compare_between(&self, found: &Content, low: &Model, high: &Model) -> Result<(), String> {
        self.compare_content(
            found,
            &low.visible(TimeRange::ALL),
            &high.visible(TimeRange::ALL),
        )
    }

    fn compare_content(
        &self,
        found: &Content,
        low: &Content,
        high: &Content,
    ) -> Result<(), String> {
        for (labels, samples) in found {
            let allowed = high
                .get(labels)
                .ok_or_else(|| format!("{labels} should not be there"))?;
            if let Some(sample) = samples
                .iter()
                .find(|sample| allowed.binary_search(sample).is_err())
            {
                let known = self.model.series(labels);
                return Err(format!(
                    "{labels} has {sample:?}, which was not committed or is deleted: {known}"
                ));
            }
            if !samples.is_sorted_by(|a, b| a.0 < b.0) {
                return Err(format!("{labels} is not in order"));
            }
        }
        for (labels, samples) in low {
            let there = found.get(labels).map_or(&[][..], Vec::as_slice);
            let is_missing = |sample: &&(Timestamp, u64)| {
                sample.0 >= self.retired_before && there.binary_search(sample).is_err()
            };
            if let Some(sample) = samples.iter().find(is_missing) {
                return Err(format!("{labels} lacks {sample:?}"));
            }
        }
        Ok(())
    }

    /// Compares a span in the middle, and the newest sample of each series.
    fn compare_part(&self) -> Result<(), String> {
        let failed = |error: crate::error::Error| error.to_string();
        let end = self.life.now() - 60_000;
        let range = TimeRange::new(end - 300_000, end);
        self.compare(
            &content(self.db(), range).map_err(failed)?,
            &self.model,
            range,
        )
        .map_err(|difference| format!("in {range:?}: {difference}"))?;
        let querier = self.db().querier(TimeRange::ALL).map_err(failed)?;
        let expected = self.model.visible(TimeRange::ALL);
        for series in querier.select(&[]).map_err(failed)? {
            let series = series.map_err(failed)?;
            let latest = series
                .latest()
                .map_err(failed)?
                .map(|sample| (sample.timestamp, sample.value.to_bits()));
            let right = expected
                .get(&series.labels().to_labels())
                .and_then(|samples| samples.last().copied());
            if latest != right
                && latest
                    .or(right)
                    .is_some_and(|sample| sample.0 >= self.retired_before)
            {
                return Err(format!(
                    "the newest sample of {} is {latest:?}, right is {right:?}",
                    series.labels()
                ));
            }
        }
        Ok(())
    }
}

/// Where the database lies on the simulated disk.
const DIR: &str = "/db";

fn content(db: &Db, range: TimeRange) -> Result<Content> {
    let querier = db.querier(range)?;
    let mut content = Content::new();
    let mut samples = Samples::default();
    for series in querier.select(&[])? {
        let series = series?;
        series.read(&mut samples)?;
        if !samples.is_empty() {
            let bits = samples
                .iter()
                .map(|sample| (sample.timestamp, sample.value.to_bits()))
                .collect();
            content.insert(series.labels().to_labels(), bits);
        }
    }
    Ok(content)
}
