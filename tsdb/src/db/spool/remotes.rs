//! What the database remembers of each remote.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::db::event::Event;
use crate::db::inner::Inner;
#[cfg(feature = "remote-write")]
use crate::db::sender::Counters;
use crate::error::{Error, Result};
use crate::fs::names;
use crate::ship::{BackfillEnd, CursorFile, DropReason, Position, Progress, Remembered};
use crate::time::TimeRange;
use crate::wal::Wal;

use super::{SpoolStart, SpoolStatus};

/// The remotes of a database.
#[derive(Debug, Default)]
pub(in crate::db) struct Remotes(pub(super) Mutex<BTreeMap<String, Arc<Remote>>>);

#[derive(Debug)]
pub(super) struct Remote {
    pub(super) name: String,
    pub(super) state: Mutex<State>,
    /// Taken before `state`, and held while the file is written.
    pub(super) file: Mutex<File>,
    pub(super) is_open: AtomicBool,
    lost_frames: AtomicU64,
    lost_rows: AtomicU64,
    /// What senders to it count.
    #[cfg(feature = "remote-write")]
    pub(in crate::db) counters: Arc<Counters>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) remembered: Remembered,
    /// Counts changes of what is remembered.
    pub(super) changes: u64,
    /// Counts how often the budget moved the place on.
    pub(super) skips: u64,
    pub(super) is_removed: bool,
}

#[derive(Debug)]
pub(super) struct File {
    cursor: CursorFile,
    /// Changes that are durable.
    written: u64,
}

impl Remote {
    /// Makes everything remembered durable, unless somebody has done so since the change numbered `wanted`.
    pub(super) fn write(&self, wanted: u64) -> Result<()> {
        let mut file = self.file.lock();
        if file.written >= wanted {
            return Ok(());
        }
        let (remembered, changes) = {
            let state = self.state.lock();
            if state.is_removed {
                return Err(Error::closed("remote"));
            }
            (state.remembered.clone(), state.changes)
        };
        file.cursor.write(&remembered)?;
        file.written = changes;
        Ok(())
    }

    pub(super) fn status(&self, wal: &Wal) -> SpoolStatus {
        let state = self.state.lock();
        let progress = &state.remembered.progress;
        let (acknowledged, needed) = (progress.low(), progress.low_in_log().sequence());
        let backfill = match (acknowledged, progress.backfill()) {
            (Position::Backfill { timestamp, .. }, Some(backfill)) => {
                Some(TimeRange::new(timestamp, backfill.end))
            }
            _ => None,
        };
        let dropped = state.remembered.dropped;
        drop(state);
        let segments = wal.segments();
        let pending = segments
            .iter()
            .filter(|info| info.last_sequence >= needed.max(info.first_sequence));
        SpoolStatus {
            name: self.name.clone(),
            acknowledged,
            backfill,
            last_sequence: wal.last_sequence(),
            pending_bytes: pending.map(|info| info.bytes).sum(),
            dropped: std::array::from_fn(|at| (DropReason::ALL[at], dropped[at])),
            lost_frames: self.lost_frames.load(Ordering::Relaxed),
            lost_rows: self.lost_rows.load(Ordering::Relaxed),
        }
    }

    /// Counts samples that are not sent any more, durably.
    pub(super) fn count_dropped(&self, samples: u64, reason: DropReason) -> Result<()> {
        let mine = {
            let mut state = self.state.lock();
            state.remembered.dropped[reason as usize] += samples;
            state.changes += 1;
            state.changes
        };
        self.write(mine)
    }

    pub(super) fn count_lost(&self, frames: u64, rows: u64) {
        self.lost_frames.fetch_add(frames, Ordering::Relaxed);
        self.lost_rows.fetch_add(rows, Ordering::Relaxed);
    }
}

impl Remotes {
    pub(super) fn all(&self) -> Vec<Arc<Remote>> {
        self.0.lock().values().cloned().collect()
    }

    pub(in crate::db) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

impl Inner {
    /// Finds the remotes the directory knows. One whose file says nothing begins with the oldest sample: to send twice is
    /// better than to lose.
    pub(in crate::db) fn load_remotes(&self) -> Result<()> {
        let Some(wal) = &self.wal else {
            return Ok(());
        };
        let dir = self.dir.join(names::SPOOL);
        let fs = &self.options.fs;
        let entries = fs
            .read_dir(&dir)
            .map_err(|error| Error::io("list", &dir, error))?;
        for entry in entries {
            if entry.is_dir || !names::is_remote(&entry.name) {
                continue;
            }
            let path = dir.join(&entry.name);
            let remembered = match CursorFile::read(&**fs, &path)? {
                Some(remembered) => remembered,
                None => {
                    self.counters.damaged_units.fetch_add(1, Ordering::Relaxed);
                    self.emit(&Event::Damaged {
                        message: format!("{} remembers nothing", path.display()),
                    });
                    begin(Progress::new(oldest(wal), 1))
                }
            };
            self.add_remote(entry.name, remembered)?;
        }
        #[cfg(feature = "remote-write")]
        for remote in self.remotes.all() {
            remote.counters.note_unsure();
        }
        Ok(())
    }

    pub(super) fn remote(&self, name: &str, start: SpoolStart) -> Result<Arc<Remote>> {
        if !names::is_remote(name) {
            return Err(Error::invalid(format!("{name:?} is no name for a remote")));
        }
        // Held until the new remote is there: no checkpoint may cut what it begins with.
        let _flushing = self.flushing.lock();
        if let Some(remote) = self.remotes.0.lock().get(name) {
            return Ok(Arc::clone(remote));
        }
        let wal = self.writer()?;
        let next = wal.last_sequence() + 1;
        let progress = match start {
            SpoolStart::Now => Progress::new(Position::before(next), 1),
            SpoolStart::Oldest => Progress::new(oldest(wal), 1),
            SpoolStart::At(time) => {
                // What is sent before the log is must be durable, and what is not in the log behind `next` visible.
                self.sync_log()?;
                self.head.publisher.wait(next - 1);
                let backfill = BackfillEnd {
                    end: self.stored_before()?,
                    sequence: next,
                };
                if time < backfill.end {
                    Progress::with_backfill(time, backfill)
                } else {
                    Progress::new(Position::before(next), 1)
                }
            }
        };
        self.add_remote(name.to_owned(), begin(progress))
    }

    fn add_remote(&self, name: String, remembered: Remembered) -> Result<Arc<Remote>> {
        let path = self.dir.join(names::SPOOL).join(&name);
        let cursor = CursorFile::create(Arc::clone(&self.options.fs), path, &remembered)?;
        let remote = Arc::new(Remote {
            name: name.clone(),
            state: Mutex::new(State {
                remembered,
                changes: 0,
                skips: 0,
                is_removed: false,
            }),
            file: Mutex::new(File { cursor, written: 0 }),
            is_open: AtomicBool::new(false),
            lost_frames: AtomicU64::new(0),
            lost_rows: AtomicU64::new(0),
            #[cfg(feature = "remote-write")]
            counters: Arc::default(),
        });
        self.remotes.0.lock().insert(name, Arc::clone(&remote));
        Ok(remote)
    }
}

fn begin(progress: Progress) -> Remembered {
    Remembered {
        progress,
        dropped: Default::default(),
    }
}

/// Returns the first place of the log.
pub(super) fn oldest(wal: &Wal) -> Position {
    let segments = wal.segments();
    Position::before(segments.first().map_or(1, |info| info.first_sequence))
}
