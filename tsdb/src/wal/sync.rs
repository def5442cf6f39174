//! Making the log durable, and what to do when that fails.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::log::{SegmentPlace, Wal, Writer, count, info, segment_path, unfinished};
use super::segment::SyncHandle;
use crate::error::{Error, Result};

/// Who is syncing at the moment.
#[derive(Debug, Default)]
pub(super) struct SyncState {
    running: bool,
    failures: u64,
}

impl Wal {
    /// Makes all frames appended so far durable, and the open segment even if it has none: a checkpoint names it, and its
    /// header may carry a mark. Returns the highest sequence that is durable. Blocks for a sync of the disk; of several
    /// callers one syncs for all, and appends go on meanwhile.
    ///
    /// # Errors
    ///
    /// The disk took the frames neither where they are nor in a new segment. They stay in memory and appends fail;
    /// each append or sync tries again.
    pub(crate) fn sync(&self) -> Result<u64> {
        let wanted = self.last_sequence();
        // Pairs with the release in `begin_segment`.
        let wanted_segment = self.begun.load(Ordering::Acquire);
        loop {
            {
                let mut state = self.sync.lock();
                loop {
                    let synced = self.synced_sequence();
                    // Relaxed: it moves under the lock that is held.
                    let named = self.named.load(Ordering::Relaxed);
                    if synced >= wanted && named >= wanted_segment {
                        return Ok(synced);
                    }
                    if !state.running {
                        break;
                    }
                    self.sync_ended.wait(&mut state);
                }
                state.running = true;
            }
            let ended = SyncEnd(self);
            let result = self.sync_now();
            if result.is_err() {
                self.sync.lock().failures += 1;
            }
            drop(ended);
            result?;
        }
    }

    /// Blocks until a sync has ended, if `sequence` is not durable yet, at most for `timeout`; answers whether it is then.
    /// Syncs nothing itself.
    pub(crate) fn wait_durable(&self, sequence: u64, timeout: Duration) -> bool {
        let mut state = self.sync.lock();
        if self.synced_sequence() < sequence {
            self.sync_ended.wait_for(&mut state, timeout);
        }
        self.synced_sequence() >= sequence
    }

    /// Blocks until somebody's sync has covered `sequence`.
    ///
    /// # Errors
    ///
    /// A sync failed meanwhile, and what it was to cover could not be written elsewhere.
    #[cfg(test)]
    pub(crate) fn wait_synced(&self, sequence: u64) -> Result<u64> {
        let mut state = self.sync.lock();
        let failures = state.failures;
        loop {
            let synced = self.synced_sequence();
            if synced >= sequence {
                return Ok(synced);
            }
            if state.failures != failures {
                return Err(Error::read_only("the log cannot be synced"));
            }
            self.sync_ended.wait(&mut state);
        }
    }

    /// Tells whether a sync has failed and the frames concerned could not be written elsewhere yet.
    #[cfg(test)]
    pub(crate) fn is_distrusted(&self) -> bool {
        self.writer.lock().distrusted
    }

    /// Syncs what was appended before; the caller is the only one who does.
    fn sync_now(&self) -> Result<()> {
        let (files, names, target) = {
            let mut writer = self.writer.lock();
            if writer.distrusted {
                return self.write_tail_again(&mut writer);
            }
            writer.tail.seal();
            (
                writer.unsynced.clone(),
                writer.names_unsynced,
                writer.segment.last_sequence(),
            )
        };
        if let Err(error) = self.sync_files(&files, names) {
            count(&self.counters.sync_failures, 1);
            let mut writer = self.writer.lock();
            writer.distrusted = true;
            // The error is made good if the frames can be written elsewhere, and is the cause if they cannot.
            return self.write_tail_again(&mut writer).or(Err(error));
        }
        let mut writer = self.writer.lock();
        let open = files.last().map_or(0, |&(number, _)| number);
        writer.unsynced.retain(|&(number, _)| number >= open);
        if names && writer.unsynced.len() == 1 {
            writer.names_unsynced = false;
        }
        writer.tail.drop_through(target);
        self.tail_bytes
            .store(writer.tail.bytes(), Ordering::Relaxed);
        self.publish_synced(target, open);
        Ok(())
    }

    fn sync_files(&self, files: &[(u64, SyncHandle)], names: bool) -> Result<()> {
        for (number, file) in files {
            file.lock()
                .sync()
                .map_err(|error| Error::io("sync", segment_path(&self.dir, *number), error))?;
            count(&self.counters.syncs, 1);
        }
        if names {
            self.fs
                .sync_dir(&self.dir)
                .map_err(|error| Error::io("sync", &self.dir, error))?;
            count(&self.counters.syncs, 1);
        }
        Ok(())
    }

    /// Writes the tail again if a sync has failed before.
    pub(super) fn make_good(&self, writer: &mut Writer) -> Result<()> {
        if writer.distrusted {
            self.write_tail_again(writer)
        } else {
            Ok(())
        }
    }

    /// Writes all frames above the last successful sync to a segment that takes their old place's part. The rename is
    /// the moment: before it the old frames stand, after it the new ones, which are synced by then.
    fn write_tail_again(&self, writer: &mut Writer) -> Result<()> {
        let synced = self.synced_sequence();
        let mut segment = self.create_segment(writer, SegmentPlace::Continuation)?;
        let number = segment.header().number;
        let path = segment_path(&self.dir, number);
        let tmp = unfinished(&path);
        let result = segment
            .write_again(writer.tail.above(synced))
            .and_then(|()| {
                segment
                    .sync_handle()
                    .lock()
                    .sync()
                    .map_err(|error| Error::io("sync", &tmp, error))
            })
            .and_then(|()| {
                self.fs
                    .rename(&tmp, &path)
                    .map_err(|error| Error::io("rename", &tmp, error))
            });
        if let Err(error) = result {
            // Left-over files of this ending are swept when the database is opened.
            drop(self.fs.remove_file(&tmp));
            count(&self.counters.sync_failures, 1);
            return Err(error);
        }
        // From here on the new segment is in sight and voids what it repeats, so the log goes on behind it even if
        // the name is not durable yet.
        let last = segment.last_sequence();
        count(&self.counters.frames_rewritten, last - synced);
        let left = std::mem::replace(&mut writer.segment, segment);
        writer.closed.push(info(&left));
        for info in &mut writer.closed {
            info.last_sequence = info.last_sequence.min(synced);
        }
        writer.unsynced.clear();
        writer.unsynced.push((number, writer.segment.sync_handle()));
        writer.leave = true;
        self.fs.sync_dir(&self.dir).map_err(|error| {
            count(&self.counters.sync_failures, 1);
            Error::io("sync", &self.dir, error)
        })?;
        count(&self.counters.syncs, 2);
        writer.names_unsynced = false;
        writer.distrusted = false;
        writer.tail.drop_through(last);
        self.tail_bytes
            .store(writer.tail.bytes(), Ordering::Relaxed);
        self.publish_synced(last, number);
        Ok(())
    }

    fn publish_synced(&self, sequence: u64, segment: u64) {
        // Under the lock, so that no waiter misses it between looking and sleeping. Pairs with the acquire in
        // `synced_sequence`.
        let _state = self.sync.lock();
        self.named.store(segment, Ordering::Relaxed);
        self.synced.store(sequence, Ordering::Release);
        self.sync_ended.notify_all();
    }
}

/// Lets the next one sync, whatever way the present sync ends.
struct SyncEnd<'a>(&'a Wal);

impl Drop for SyncEnd<'_> {
    fn drop(&mut self) {
        self.0.sync.lock().running = false;
        self.0.sync_ended.notify_all();
    }
}
