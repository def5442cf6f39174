//! The log as a whole: its state, opening, rotation and cutting.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Condvar, Mutex};

use super::format::SegmentHeader;
use super::segment::{SegmentWriter, SyncHandle};
use super::sync::SyncState;
use super::tail::Tail;
use crate::encoding::salt;
use crate::error::{Error, Result};
use crate::fs::{Fs, names};

/// How a log behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WalConfig {
    /// A segment of at least so many bytes takes no further frame.
    pub(crate) segment_bytes: u64,
    /// Copies of frames that are not synced yet take about so much memory; an append that finds more syncs by itself, and
    /// takes as long as the disk then does.
    pub(crate) unsynced_bytes: usize,
    /// With so many a sync is due, so that no append has to do it.
    pub(crate) sync_due_bytes: usize,
    /// Where the salts of segments are drawn from. It must not be known to whoever chooses label values.
    pub(crate) salt_seed: u64,
}

/// Where a log goes on: what [`Log::start`](super::Log::start) answers after reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WalStart {
    /// Number of the segment to create: higher than any that exists or existed.
    pub(crate) segment: u64,
    /// Sequence of the next frame: higher than any that anybody has seen.
    pub(crate) sequence: u64,
    /// Last sequence that stands; what older segments hold above it becomes void.
    pub(crate) previous: u64,
    /// Sequence up to which the log is known to be durable.
    pub(crate) known_synced: u64,
    /// The segments there are, in order.
    pub(crate) segments: Vec<SegmentInfo>,
}

/// One segment of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentInfo {
    /// Number in its file name.
    pub(crate) number: u64,
    /// Sequence of its first frame.
    pub(crate) first_sequence: u64,
    /// Sequence of its last frame that stands; below the first one if there is none.
    pub(crate) last_sequence: u64,
    /// Length of the file.
    pub(crate) bytes: u64,
    /// Whether it decodes only behind its predecessor.
    pub(crate) continues: bool,
}

/// What a log has done since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct WalStats {
    /// Frames written, empty ones included.
    pub(crate) frames: u64,
    /// Bytes of these frames with their headers.
    pub(crate) bytes: u64,
    /// Segments begun.
    pub(crate) segments: u64,
    /// Syncs of a file or of the directory that succeeded.
    pub(crate) syncs: u64,
    /// Syncs that failed.
    pub(crate) sync_failures: u64,
    /// Writes that failed.
    pub(crate) write_failures: u64,
    /// Frames written again after a failed sync.
    pub(crate) frames_rewritten: u64,
}

/// The log that takes frames. All methods may be called from any thread.
pub(crate) struct Wal {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) dir: PathBuf,
    pub(super) config: WalConfig,
    /// The append lock. Held across the write of a frame, which is its purpose, and never across a sync unless a failed
    /// one is being made good. Taken before `sync`, never while holding it.
    pub(super) writer: Mutex<Writer>,
    pub(super) sync: Mutex<SyncState>,
    pub(super) sync_ended: Condvar,
    pub(super) last: AtomicU64,
    pub(super) synced: AtomicU64,
    /// Number of the open segment.
    pub(super) begun: AtomicU64,
    /// Number of the newest segment whose header and name are durable.
    pub(super) named: AtomicU64,
    /// Bytes of the tail, for who does not hold the append lock.
    pub(super) tail_bytes: AtomicUsize,
    pub(super) counters: Counters,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) frames: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) segments: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) sync_failures: AtomicU64,
    pub(super) write_failures: AtomicU64,
    pub(super) frames_rewritten: AtomicU64,
}

/// What the append lock protects.
pub(super) struct Writer {
    pub(super) segment: SegmentWriter,
    pub(super) next_segment: u64,
    /// Segments that are left, in order.
    pub(super) closed: Vec<SegmentInfo>,
    /// Files with bytes that are not synced, in order; the last is the open segment.
    pub(super) unsynced: Vec<(u64, SyncHandle)>,
    /// Whether a name in the directory is not synced.
    pub(super) names_unsynced: bool,
    pub(super) tail: Tail,
    /// Last sequence with a body.
    pub(super) last_body: u64,
    /// Highest known-synced mark written to the log.
    pub(super) marked: u64,
    /// A sync failed: the tail has to be written again before anything else.
    pub(super) distrusted: bool,
    /// The open segment holds frames written again: it takes no others.
    pub(super) leave: bool,
}

impl Wal {
    /// Creates a new segment in `dir` and returns the log that writes to it.
    ///
    /// Older segments are synced first, as far as they are not known to be: what recovery has read may have come from
    /// memory of the operating system.
    pub(crate) fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        config: WalConfig,
        start: WalStart,
    ) -> Result<Self> {
        for segment in &start.segments {
            if segment.last_sequence > start.known_synced
                && segment.last_sequence >= segment.first_sequence
            {
                let path = segment_path(dir, segment.number);
                let mut file = fs
                    .open_append(&path)
                    .map_err(|error| Error::io("open", &path, error))?;
                file.sync()
                    .map_err(|error| Error::io("sync", &path, error))?;
            }
        }
        // The names as well, before a header claims that all of it is durable.
        sync_dir(&*fs, dir)?;
        let path = segment_path(dir, start.segment);
        let header = SegmentHeader {
            number: start.segment,
            salt: salt(config.salt_seed, start.segment),
            continues: false,
            first_sequence: start.sequence,
            previous: start.previous,
            known_synced: start.previous,
        };
        let segment = SegmentWriter::create(&*fs, &path, header)?;
        segment
            .sync_handle()
            .lock()
            .sync()
            .map_err(|error| Error::io("sync", &path, error))?;
        sync_dir(&*fs, dir)?;

        let last = start.sequence - 1;
        let writer = Writer {
            unsynced: vec![(start.segment, segment.sync_handle())],
            segment,
            next_segment: start.segment + 1,
            closed: start.segments,
            names_unsynced: false,
            tail: Tail::new(),
            last_body: last,
            marked: last,
            distrusted: false,
            leave: false,
        };
        let wal = Self {
            fs,
            dir: dir.to_owned(),
            config,
            writer: Mutex::new(writer),
            sync: Mutex::new(SyncState::default()),
            sync_ended: Condvar::new(),
            last: AtomicU64::new(last),
            synced: AtomicU64::new(last),
            begun: AtomicU64::new(start.segment),
            named: AtomicU64::new(start.segment),
            tail_bytes: AtomicUsize::new(0),
            counters: Counters::default(),
        };
        count(&wal.counters.segments, 1);
        count(&wal.counters.syncs, 3);
        Ok(wal)
    }

    /// Tells whether a sync now keeps appends from syncing by themselves later.
    pub(crate) fn is_sync_due(&self) -> bool {
        // Relaxed: whoever looks a moment too early looks again after the next append.
        self.tail_bytes.load(Ordering::Relaxed) >= self.config.sync_due_bytes
    }

    /// Leaves the open segment and returns the number of the new one. Frames that come now start with bases.
    pub(crate) fn rotate(&self) -> Result<u64> {
        let mut writer = self.writer.lock();
        self.make_good(&mut writer)?;
        self.begin_segment(&mut writer)?;
        Ok(writer.segment.header().number)
    }

    /// Removes the segments before `segment`, and makes that durable. A segment that is continued stays as long as the
    /// one that continues it; the open segment stays in any case.
    pub(crate) fn cut_before(&self, segment: u64) -> Result<()> {
        let removed: Vec<u64> = {
            let writer = self.writer.lock();
            let open = info(&writer.segment);
            let all: Vec<SegmentInfo> = writer.closed.iter().copied().chain([open]).collect();
            all[..needed_from(&all, segment)]
                .iter()
                .map(|info| info.number)
                .collect()
        };
        if removed.is_empty() {
            return Ok(());
        }
        // In ascending order: after a crash in between, what is left is still the end of the log.
        for &number in &removed {
            let path = segment_path(&self.dir, number);
            match self.fs.remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", path, error));
                }
                _ => self
                    .writer
                    .lock()
                    .closed
                    .retain(|info| info.number != number),
            }
        }
        sync_dir(&*self.fs, &self.dir)
    }

    /// Moves segments of which nothing stands, [`Log::unusable`](super::Log::unusable), to the directory `to`, which
    /// exists. Not before the log is open: its first header has taken over what those segments knew to be synced.
    pub(crate) fn set_aside(&self, segments: &[u64], to: &Path) -> Result<()> {
        if segments.is_empty() {
            return Ok(());
        }
        for &number in segments {
            let path = segment_path(&self.dir, number);
            let place = to.join(format!("{}-{}", names::LOG, names::numbered(number)));
            self.fs
                .rename(&path, &place)
                .map_err(|error| Error::io("move", path, error))?;
            let mut writer = self.writer.lock();
            writer.closed.retain(|info| info.number != number);
        }
        sync_dir(&*self.fs, to)?;
        sync_dir(&*self.fs, &self.dir)
    }

    /// Returns the segments in order; the last is the open one.
    pub(crate) fn segments(&self) -> Vec<SegmentInfo> {
        let writer = self.writer.lock();
        let mut segments = writer.closed.clone();
        segments.push(info(&writer.segment));
        segments
    }

    /// Returns the number of the open segment.
    pub(crate) fn segment(&self) -> u64 {
        self.writer.lock().segment.header().number
    }

    /// Returns the sequence from which the log is to be decoded so that the frame `sequence` can be: the first one of its
    /// segment, or of the one that this continues.
    pub(crate) fn decodable_from(&self, sequence: u64) -> u64 {
        let segments = self.segments();
        let open = segments.last().map_or(0, |info| info.number);
        // One that is not written yet comes to the open segment, whose rows need the bases before them.
        let number =
            super::follow::holder(&segments, sequence).map_or(open, |holder| holder.number);
        segments[needed_from(&segments, number)].first_sequence
    }

    /// Returns the number of the segment the frame `sequence` stands in, or will.
    pub(crate) fn segment_of(&self, sequence: u64) -> u64 {
        super::follow::holder(&self.segments(), sequence)
            .map_or_else(|| self.segment(), |info| info.number)
    }

    /// Returns the bytes of the segments that hold frames above `sequence`.
    pub(crate) fn bytes_above(&self, sequence: u64) -> u64 {
        let segments = self.segments();
        let above = segments.iter().filter(|info| info.last_sequence > sequence);
        above.map(|info| info.bytes).sum()
    }

    /// Returns the bytes of all segments.
    pub(crate) fn size_bytes(&self) -> u64 {
        let writer = self.writer.lock();
        writer.closed.iter().map(|info| info.bytes).sum::<u64>() + writer.segment.len()
    }

    /// Returns the sequence of the last frame, or the one before the first.
    pub(crate) fn last_sequence(&self) -> u64 {
        // Pairs with the release in `append`: who sees the number sees what its writer did before.
        self.last.load(Ordering::Acquire)
    }

    /// Returns the sequence up to which the log is durable.
    pub(crate) fn synced_sequence(&self) -> u64 {
        // Pairs with the release after a sync.
        self.synced.load(Ordering::Acquire)
    }

    /// Returns the bytes of memory that copies of frames take until a sync has covered them.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.writer.lock().tail.memory_bytes()
    }

    /// Returns what the log has done since it was opened.
    pub(crate) fn stats(&self) -> WalStats {
        // Counters are independent of each other and order nothing.
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WalStats {
            frames: read(&self.counters.frames),
            bytes: read(&self.counters.bytes),
            segments: read(&self.counters.segments),
            syncs: read(&self.counters.syncs),
            sync_failures: read(&self.counters.sync_failures),
            write_failures: read(&self.counters.write_failures),
            frames_rewritten: read(&self.counters.frames_rewritten),
        }
    }

    /// Creates the next segment and makes it the open one. No append waits for a sync: the sync that follows covers the
    /// segment left and the new name, and until then nothing of either counts as durable.
    pub(super) fn begin_segment(&self, writer: &mut Writer) -> Result<()> {
        // If this fails half-way, a header may stay that voids what would be written to the old segment from now on.
        writer.leave = true;
        let next = self.create_segment(writer, SegmentPlace::Open)?;
        let left = std::mem::replace(&mut writer.segment, next);
        writer.closed.push(info(&left));
        writer
            .unsynced
            .push((writer.segment.header().number, writer.segment.sync_handle()));
        writer.names_unsynced = true;
        writer.leave = false;
        // Pairs with the acquire in `sync`.
        self.begun
            .store(writer.segment.header().number, Ordering::Release);
        Ok(())
    }

    /// Creates the file of the next segment. Its number is spent even if that fails, so that a file that could not be
    /// removed is never in the way.
    pub(super) fn create_segment(
        &self,
        writer: &mut Writer,
        place: SegmentPlace,
    ) -> Result<SegmentWriter> {
        let number = writer.next_segment;
        writer.next_segment += 1;
        let synced = self.synced_sequence();
        let path = segment_path(&self.dir, number);
        let (path, continues, previous) = match place {
            SegmentPlace::Open => (path, false, writer.segment.last_sequence()),
            SegmentPlace::Continuation => (unfinished(&path), writer.continues(synced + 1), synced),
        };
        let header = SegmentHeader {
            number,
            salt: salt(self.config.salt_seed, number),
            continues,
            first_sequence: previous + 1,
            previous,
            known_synced: synced,
        };
        let segment = SegmentWriter::create(&*self.fs, &path, header)
            .inspect_err(|_| count(&self.counters.write_failures, 1))?;
        writer.marked = writer.marked.max(synced);
        count(&self.counters.segments, 1);
        Ok(segment)
    }
}

impl Writer {
    /// Tells whether a segment that repeats the frames from `sequence` on needs what stands before it. It does not where
    /// `sequence` is the first of a segment that does not either: that one's frames come with bases.
    fn continues(&self, sequence: u64) -> bool {
        let open = info(&self.segment);
        !self
            .closed
            .iter()
            .chain([&open])
            .any(|info| info.first_sequence == sequence && !info.continues)
    }
}

impl fmt::Debug for Wal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wal")
            .field("dir", &self.dir)
            .field("last_sequence", &self.last_sequence())
            .field("synced_sequence", &self.synced_sequence())
            .finish_non_exhaustive()
    }
}

/// Which frames a new segment is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SegmentPlace {
    /// Those to come.
    Open,
    /// Those whose sync failed.
    Continuation,
}

/// Returns the index of the first segment that is needed to decode from the one numbered `from` on.
///
/// Frames meant for a segment that is void stand in the one that continues; and that needs what stands before it.
fn needed_from(segments: &[SegmentInfo], from: u64) -> usize {
    let open = segments.len() - 1;
    let stands = |info: &SegmentInfo| info.last_sequence >= info.first_sequence;
    let wanted = segments[..open]
        .iter()
        .position(|info| info.number >= from && stands(info))
        .unwrap_or(open);
    if !segments[wanted].continues {
        return wanted;
    }
    segments[..wanted]
        .iter()
        .rposition(|info| stands(info) && !info.continues)
        .unwrap_or(0)
}

/// Returns the file of a segment.
pub(super) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(names::numbered(number))
}

/// Returns the name of a segment while it is not finished.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(names::TMP);
    name.into()
}

pub(super) fn sync_dir(fs: &dyn Fs, dir: &Path) -> Result<()> {
    fs.sync_dir(dir)
        .map_err(|error| Error::io("sync", dir, error))
}

pub(super) fn count(counter: &AtomicU64, by: u64) {
    // Counters order nothing.
    counter.fetch_add(by, Ordering::Relaxed);
}

pub(super) fn info(segment: &SegmentWriter) -> SegmentInfo {
    let header = segment.header();
    SegmentInfo {
        number: header.number,
        first_sequence: header.first_sequence,
        last_sequence: segment.last_sequence(),
        bytes: segment.len(),
        continues: header.continues,
    }
}
