//! From a directory to a database, and from a crash to the last commit.
//!
//! 1. Take the lock, make what directories are missing, sweep what no name was given to.
//! 2. Open the blocks; one that cannot be opened goes to the quarantine, one that a larger block replaces is removed.
//! 3. Load the checkpoint and the series it names, attach the pieces and lone samples it covers.
//! 4. Read the log from there and put its frames through the head.
//! 5. Begin a new segment of the log.
//!
//! Damage never stops any of this: it costs what it hit, is reported as an event and counted.

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use crate::block::Block;
use crate::error::{Error, ErrorKind, Result};
use crate::fs::names::{self, BlockStage};
use crate::fs::{self, Fs, LockMode};
use crate::head::{Checkpoint, Head, HeadConfig};
use crate::ingest::{Lane, replay};
use crate::series::{Loaded, SeriesStore};
use crate::ship::CursorFile;
use crate::time::TimeRange;
use crate::wal::{Log, Wal, WalConfig, Writers, read_log};

use super::event::Event;
use super::inner::{Counters, FlushState, Inner, Parts};
use super::options::Options;
use super::view::warm;

/// Bytes of frames with which a sync is due, where a thread syncs. A few MiB are seconds of commits; memory beyond costs
/// more to touch for the first time than the write itself.
const SYNC_DUE_BYTES: usize = 1 << 20;

/// Copies of frames that are not synced yet take at most about so much memory, where a thread syncs: commits go on while the
/// disk is busy with a flush.
const UNSYNCED_BYTES: usize = 32 << 20;

/// The same where nobody syncs but commits.
const UNSYNCED_BYTES_ALONE: usize = 4 << 20;

/// Times a read-only open begins because the writer has changed what it read.
const READ_ONLY_TRIES: usize = 8;

/// Who opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Write,
    /// Beside a writer, perhaps: nothing is locked or changed.
    Read,
}

/// Opens the database in `dir`.
pub(super) fn open(dir: &Path, options: &Options, access: Access) -> Result<Inner> {
    options.check()?;
    let started = options.clock.monotonic();
    let opening = Opening {
        dir,
        fs: Arc::clone(&options.fs),
        options,
        counters: Counters::default(),
        held: (access == Access::Read).then(Mutex::default),
    };
    let parts = match access {
        Access::Write => opening.write()?,
        Access::Read => opening.read_undisturbed()?,
    };
    let duration = options.clock.monotonic().saturating_sub(started);
    let replayed = parts.counters.replayed_samples.load(Ordering::Relaxed);
    parts.counters.replay_ms.store(
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        Ordering::Relaxed,
    );
    let inner = Inner::new(parts);
    inner.load_remotes()?;
    inner.emit(&Event::Opened {
        samples_replayed: replayed,
        duration,
    });
    Ok(inner)
}

struct Opening<'a> {
    dir: &'a Path,
    fs: Arc<dyn Fs>,
    options: &'a Options,
    counters: Counters,
    /// Events that are told once it is certain that they are not about a writer's work half done.
    held: Option<Mutex<Vec<Event>>>,
}

/// What a writer replaces before it removes what came before: the blocks' names and the checkpoint. Whoever finds the same
/// again has read what belongs together.
#[derive(PartialEq, Eq)]
struct Moment {
    blocks: Vec<String>,
    /// None as well if it is damaged.
    checkpoint: Option<Checkpoint>,
}

impl Opening<'_> {
    fn write(self) -> Result<Parts> {
        self.make_dirs()?;
        let lock = self.lock()?;
        for dir in [
            PathBuf::new(),
            names::HEAD.into(),
            names::SERIES.into(),
            names::SPOOL.into(),
            names::BLOCKS.into(),
        ] {
            let dir = self.dir.join(dir);
            fs::sweep_tmp(&*self.fs, &dir).map_err(|error| Error::io("sweep", &dir, error))?;
        }
        let blocks = self.open_blocks(Access::Write)?;
        let (checkpoint, was_damaged) = self.load_checkpoint(&blocks)?;
        let head = self.new_head(Access::Write);
        let seed = random_seed();
        let (mut store, stored_definitions) = self.open_series(&head, seed)?;
        self.restore(&head, &checkpoint, Access::Write)?;
        let log_dir = self.dir.join(names::LOG);
        let log = read_log(&*self.fs, &log_dir, checkpoint.segment, Writers::None)?;
        self.replay(&head, &log, &checkpoint)?;
        let mut start = log.start();
        // A log that was taken away must not give out sequences that pieces have, or that a remote has acknowledged.
        start.sequence = start.sequence.max(checkpoint.sequence + 1);
        start.sequence = start.sequence.max(self.unsent_from()?);
        start.previous = start.previous.max(checkpoint.sequence);
        start.segment = start.segment.max(checkpoint.segment + 1);
        // Where no later header says it, a segment before the checkpoint's ends with what the checkpoint covers.
        for info in &mut start.segments {
            info.last_sequence = info.last_sequence.min(start.sequence - 1);
        }
        let unusable = log.unusable.clone();
        drop(log);
        let config = WalConfig {
            segment_bytes: self.options.segment_bytes,
            unsynced_bytes: if self.options.syncs_in_background() {
                UNSYNCED_BYTES
            } else {
                UNSYNCED_BYTES_ALONE
            },
            sync_due_bytes: SYNC_DUE_BYTES,
            salt_seed: random_seed(),
        };
        let wal = Wal::open(Arc::clone(&self.fs), &log_dir, config, start)?;
        self.set_segments_aside(&wal, &unusable)?;
        head.publisher.restart(wal.last_sequence());
        head.note_blank();
        head.update_memory_estimate();
        if store.is_distrusted() {
            store.rewrite(head.all_definitions())?;
        }
        let flush = FlushState {
            store: Some(store),
            stored_definitions,
            checkpoint_sequence: if was_damaged { 0 } else { checkpoint.sequence },
            checkpoint_ms: self.options.clock.now_ms(),
            lone_file: self.newest_lone_file()?,
            ..FlushState::default()
        };
        Ok(Parts {
            dir: self.dir.to_owned(),
            options: self.options.clone(),
            head: Arc::new(head),
            wal: Some(Arc::new(wal)),
            blocks,
            flush,
            counters: self.counters,
            lock: Some(lock),
        })
    }

    /// Reads until no writer has changed meanwhile what was read.
    fn read_undisturbed(mut self) -> Result<Parts> {
        let mut tries = 1;
        let result = loop {
            let result = self.read();
            let was_disturbed = matches!(
                result.as_ref().err().and_then(Error::io_kind),
                Some(io::ErrorKind::NotFound | io::ErrorKind::Interrupted)
            );
            if !was_disturbed || tries == READ_ONLY_TRIES {
                break result;
            }
            tries += 1;
            self.counters = Counters::default();
            self.held = Some(Mutex::default());
        };
        let held = self.held.take().map(Mutex::into_inner);
        held.iter().flatten().for_each(|event| self.emit(event));
        result
    }

    fn read(&mut self) -> Result<Parts> {
        if !self
            .fs
            .exists(&self.dir.join(names::LOG))
            .map_err(|error| Error::io("look for", self.dir, error))?
        {
            return Err(Error::invalid(format!(
                "{} holds no database",
                self.dir.display()
            )));
        }
        let before = self.moment()?;
        let blocks = self.open_blocks(Access::Read)?;
        let (checkpoint, _) = self.load_checkpoint(&blocks)?;
        let head = self.new_head(Access::Read);
        self.read_series(&head)?;
        self.restore(&head, &checkpoint, Access::Read)?;
        let log = read_log(
            &*self.fs,
            &self.dir.join(names::LOG),
            checkpoint.segment,
            Writers::Perhaps,
        )?;
        self.replay(&head, &log, &checkpoint)?;
        head.note_blank();
        if self.moment()? != before {
            let changed = io::Error::new(io::ErrorKind::Interrupted, "a writer has changed it");
            return Err(Error::io("read", self.dir, changed));
        }
        Ok(Parts {
            dir: self.dir.to_owned(),
            options: self.options.clone(),
            head: Arc::new(head),
            wal: None,
            blocks,
            flush: FlushState::default(),
            counters: std::mem::take(&mut self.counters),
            lock: None,
        })
    }

    fn moment(&self) -> Result<Moment> {
        let dir = self.dir.join(names::BLOCKS);
        let entries = self
            .fs
            .read_dir(&dir)
            .map_err(|error| Error::io("list", &dir, error))?;
        let is_published = |name: &String| {
            names::parse_block(name).is_some_and(|(_, stage)| stage == BlockStage::Published)
        };
        let names = entries.into_iter().map(|entry| entry.name);
        let mut blocks: Vec<String> = names.filter(is_published).collect();
        blocks.sort_unstable();
        let checkpoint = match Checkpoint::load(&*self.fs, self.dir) {
            Err(error) if error.kind() == ErrorKind::Corruption => None,
            loaded => loaded?,
        };
        Ok(Moment { blocks, checkpoint })
    }

    fn make_dirs(&self) -> Result<()> {
        let mut missing = vec![self.dir.to_owned()];
        missing.extend(
            [
                names::LOG,
                names::HEAD,
                names::SERIES,
                names::SPOOL,
                names::BLOCKS,
                names::QUARANTINE,
            ]
            .map(|name| self.dir.join(name)),
        );
        for dir in missing {
            if !self
                .fs
                .exists(&dir)
                .map_err(|error| Error::io("look for", &dir, error))?
            {
                self.fs
                    .create_dir(&dir)
                    .map_err(|error| Error::io("create", &dir, error))?;
                let parent = dir
                    .parent()
                    .filter(|parent| !parent.as_os_str().is_empty())
                    .unwrap_or(Path::new("."));
                self.fs
                    .sync_dir(parent)
                    .map_err(|error| Error::io("sync", parent, error))?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> Result<Box<dyn Any + Send + Sync>> {
        let path = self.dir.join(names::LOCK);
        self.fs
            .lock(&path, LockMode::Exclusive)
            .map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => Error::locked(self.dir),
                _ => Error::io("lock", &path, error),
            })
    }

    fn damaged(&self, error: &Error) {
        self.counters.damaged_units.fetch_add(1, Ordering::Relaxed);
        self.emit(&Event::Damaged {
            message: error.to_string(),
        });
    }

    fn emit(&self, event: &Event) {
        if let Some(held) = &self.held {
            held.lock().push(event.clone());
        } else if let Some(listener) = &self.options.listener {
            listener.event(event);
        }
    }

    /// Moves something aside that cannot be used.
    fn quarantine(&self, path: &Path, name: &str) -> Result<()> {
        let mut to = self.dir.join(names::QUARANTINE).join(name);
        let mut attempt = 1;
        while self
            .fs
            .exists(&to)
            .map_err(|error| Error::io("look for", &to, error))?
        {
            to = self
                .dir
                .join(names::QUARANTINE)
                .join(format!("{name}.{attempt}"));
            attempt += 1;
        }
        self.fs
            .rename(path, &to)
            .map_err(|error| Error::io("move aside", path, error))?;
        for dir in [path.parent(), to.parent()].into_iter().flatten() {
            self.fs
                .sync_dir(dir)
                .map_err(|error| Error::io("sync", dir, error))?;
        }
        self.counters.quarantined.fetch_add(1, Ordering::Relaxed);
        self.emit(&Event::Quarantined { path: to });
        Ok(())
    }

    fn open_blocks(&self, access: Access) -> Result<Vec<Arc<Block>>> {
        let dir = self.dir.join(names::BLOCKS);
        let mut blocks = Vec::new();
        for entry in self
            .fs
            .read_dir(&dir)
            .map_err(|error| Error::io("list", &dir, error))?
        {
            let Some((_, stage)) = names::parse_block(&entry.name) else {
                continue;
            };
            let path = dir.join(&entry.name);
            match (stage, access) {
                (BlockStage::Published, _) => match Block::open(Arc::clone(&self.fs), &path) {
                    Ok(block) => blocks.push(Arc::new(block)),
                    Err(error) if error.kind() == ErrorKind::Corruption => {
                        self.damaged(&error);
                        if access == Access::Write {
                            self.quarantine(&path, &entry.name)?;
                        }
                    }
                    // A file that is missing is damage too, but a writer may be removing the block this very moment.
                    Err(error)
                        if error.io_kind() == Some(io::ErrorKind::NotFound)
                            && access == Access::Write =>
                    {
                        self.damaged(&error);
                        self.quarantine(&path, &entry.name)?;
                    }
                    Err(error) => return Err(error),
                },
                (BlockStage::Unfinished | BlockStage::Removing, Access::Write) => {
                    fs::remove_tree(&*self.fs, &path)
                        .map_err(|error| Error::io("remove", &path, error))?;
                }
                (BlockStage::Unfinished | BlockStage::Removing, Access::Read) => {}
            }
        }
        let blocks = self.drop_parents(blocks, access)?;
        warm(&blocks);
        Ok(blocks)
    }

    /// Leaves out blocks that another one replaces: a crash came between its rename and their removal.
    fn drop_parents(&self, blocks: Vec<Arc<Block>>, access: Access) -> Result<Vec<Arc<Block>>> {
        let replaced: Vec<_> = blocks
            .iter()
            .flat_map(|block| block.meta().parents.iter().copied())
            .collect();
        let (gone, kept): (Vec<_>, Vec<_>) = blocks
            .into_iter()
            .partition(|block| replaced.contains(&block.meta().ulid));
        if access == Access::Write {
            for block in gone {
                crate::block::remove(&*self.fs, &self.dir.join(names::BLOCKS), block.meta().ulid)?;
            }
        }
        Ok(kept)
    }

    /// Loads the checkpoint; if it is damaged, makes one of what there is, which the whole log is replayed over.
    fn load_checkpoint(&self, blocks: &[Arc<Block>]) -> Result<(Checkpoint, bool)> {
        let loaded =
            Checkpoint::load(&*self.fs, self.dir).and_then(|checkpoint| match checkpoint {
                // Without a checkpoint piece files would be taken for what a crash left of the log's own rows.
                None if self.is_log_cut()? => Err(Error::corruption(
                    self.dir.join(names::CHECKPOINT),
                    0,
                    "the checkpoint is missing that the log was cut for",
                )),
                checkpoint => Ok(checkpoint.unwrap_or_else(Checkpoint::empty)),
            });
        match loaded {
            Ok(checkpoint) => Ok((checkpoint, false)),
            Err(error) if error.kind() == ErrorKind::Corruption => {
                self.damaged(&error);
                let boundary = blocks
                    .iter()
                    .map(|block| block.meta().range.end)
                    .max()
                    .unwrap_or(i64::MIN);
                Ok((Checkpoint::rebuild(&*self.fs, self.dir, boundary)?, true))
            }
            Err(error) => Err(error),
        }
    }

    /// Tells whether there are head files of which the log does not have everything: it does not begin at its first
    /// segment any more.
    fn is_log_cut(&self) -> Result<bool> {
        let list = |name: &str| {
            let dir = self.dir.join(name);
            self.fs
                .read_dir(&dir)
                .map_err(|error| Error::io("list", &dir, error))
        };
        let segments = list(names::LOG)?;
        let is_whole = segments
            .iter()
            .any(|entry| names::parse_numbered(&entry.name) == Some(1));
        let is_head_file =
            |name: &str| names::parse_pieces(name).is_some() || names::parse_lone(name).is_some();
        Ok(!is_whole
            && list(names::HEAD)?
                .iter()
                .any(|entry| is_head_file(&entry.name)))
    }

    fn new_head(&self, access: Access) -> Head {
        let config = HeadConfig {
            range_ms: self.options.block_range_ms(),
            series_limit: self.options.series_limit,
            memory_limit: self.options.memory_limit,
            seals_in_memory: access == Access::Read,
        };
        Head::new(config, Arc::clone(&self.fs), self.dir.join(names::HEAD))
    }

    fn open_series(&self, head: &Head, seed: u64) -> Result<(SeriesStore, u64)> {
        let dir = self.dir.join(names::SERIES);
        let fs = Arc::clone(&self.fs);
        let (store, loaded) = SeriesStore::open(fs, &dir, seed, |definition| {
            head.define(definition.id(), definition.pairs());
        })?;
        self.tell_damage_of(&loaded, &dir);
        Ok((store, loaded.definitions))
    }

    fn read_series(&self, head: &Head) -> Result<()> {
        let dir = self.dir.join(names::SERIES);
        let loaded = SeriesStore::read(Arc::clone(&self.fs), &dir, |definition| {
            head.define(definition.id(), definition.pairs());
        })?;
        self.tell_damage_of(&loaded, &dir);
        Ok(())
    }

    fn tell_damage_of(&self, loaded: &Loaded, dir: &Path) {
        for pages in loaded.damage.iter().filter(|pages| !pages.at_end) {
            let path = dir.join(names::numbered(pages.file));
            self.damaged(&Error::corruption(
                path,
                pages.offset,
                format!("{} bytes of series definitions do not verify", pages.bytes),
            ));
        }
    }

    fn restore(&self, head: &Head, checkpoint: &Checkpoint, access: Access) -> Result<()> {
        let mut report = head.restore(checkpoint, &*self.fs, self.dir)?;
        let is_missing = |error: &Error| error.io_kind() == Some(io::ErrorKind::NotFound);
        if access == Access::Read
            && let Some(missing) = report.damage.iter().position(is_missing)
        {
            // A writer has moved on meanwhile: start over from its new checkpoint.
            return Err(report.damage.swap_remove(missing));
        }
        report.damage.iter().for_each(|error| self.damaged(error));
        Ok(())
    }

    fn replay(&self, head: &Head, log: &Log, checkpoint: &Checkpoint) -> Result<()> {
        let log_dir = self.dir.join(names::LOG);
        // What the checkpoint covers is needed no more: a crash may have removed some of it already.
        super::inspect::damage(log, &log_dir, checkpoint.sequence)
            .iter()
            .for_each(|error| self.damaged(error));
        let callback = self.options.replay_progress.clone();
        let mut progress = |done, total| {
            callback
                .as_ref()
                .is_none_or(|callback| callback(done, total))
        };
        let report = replay(
            head,
            log,
            checkpoint.sequence,
            self.options.replay_threads,
            &mut progress,
            &run_lanes,
        )?;
        self.counters
            .replayed_samples
            .store(report.applied.samples, Ordering::Relaxed);
        let lost =
            report.applied.lost_rows + report.applied.unknown_series + report.applied.malformed;
        if lost > 0 {
            let message = format!(
                "{} rows behind lost frames, {} samples of series without a name and {} malformed sections were left out",
                report.applied.lost_rows, report.applied.unknown_series, report.applied.malformed
            );
            self.damaged(&Error::corruption(&log_dir, 0, message));
        }
        Ok(())
    }

    /// Returns a sequence that no remote has a place behind.
    fn unsent_from(&self) -> Result<u64> {
        let dir = self.dir.join(names::SPOOL);
        let entries = self.fs.read_dir(&dir);
        let mut unsent_from = 0;
        for entry in entries.map_err(|error| Error::io("list", &dir, error))? {
            if entry.is_dir || !names::is_remote(&entry.name) {
                continue;
            }
            if let Some(remote) = CursorFile::read(&*self.fs, &dir.join(&entry.name))? {
                unsent_from = unsent_from.max(remote.progress.untouched_from());
            }
        }
        Ok(unsent_from)
    }

    /// Moves segments aside that nothing could be read from, now that the open segment has taken over what they knew.
    fn set_segments_aside(&self, wal: &Wal, unusable: &[u64]) -> Result<()> {
        let to = self.dir.join(names::QUARANTINE);
        wal.set_aside(unusable, &to)?;
        for &number in unusable {
            self.counters.quarantined.fetch_add(1, Ordering::Relaxed);
            self.emit(&Event::Quarantined {
                path: to.join(format!("{}-{}", names::LOG, names::numbered(number))),
            });
        }
        Ok(())
    }

    fn newest_lone_file(&self) -> Result<u64> {
        let dir = self.dir.join(names::HEAD);
        let entries = self
            .fs
            .read_dir(&dir)
            .map_err(|error| Error::io("list", &dir, error))?;
        Ok(entries
            .iter()
            .filter_map(|entry| names::parse_lone(&entry.name))
            .max()
            .unwrap_or(0))
    }
}

/// Runs one closure per lane at the same time.
///
/// Threads start in `db` only; these end before it goes on.
fn run_lanes(mut tasks: Vec<Lane<'_>>) {
    let last = tasks.pop();
    std::thread::scope(|scope| {
        for task in tasks {
            scope.spawn(task);
        }
        if let Some(task) = last {
            task();
        }
    });
}

pub(super) fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish()
}

impl Inner {
    /// Writes what the head holds as blocks under `blocks_dir`, and lets go of nothing.
    pub(super) fn write_head_blocks(&self, blocks_dir: &Path) -> Result<()> {
        use crate::source::SeriesSource;
        let view = crate::head::HeadView::new(Arc::clone(&self.head));
        for range in self.head.ranges_before(i64::MAX) {
            let spec = crate::block::BlockSpec {
                ulid: self.next_ulid(),
                range,
                level: 1,
                sources: Vec::new(),
                parents: Vec::new(),
                created_ms: self.options.clock.now_ms(),
                flushed_through: 0,
                encoding: self.options.chunk_encoding,
            };
            let cursor = view.select(&[], TimeRange::ALL)?;
            let mut go_on = |_: &_| std::ops::ControlFlow::Continue(());
            drop(crate::compact::write_block(
                Arc::clone(&self.options.fs),
                blocks_dir,
                spec,
                vec![cursor],
                &mut go_on,
            )?);
        }
        Ok(())
    }
}
