//! What a database holds and has done, in one snapshot.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Rejection;
use crate::fs::Ulid;
use crate::time::TimeRange;

use super::inner::Inner;

/// Whether the database works as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Everything works.
    Healthy,
    /// The last write failed; reads go on, and the next write tries again.
    ReadOnly {
        /// Why it failed.
        reason: String,
    },
    /// Something was damaged and left out when the database was opened; everything else works.
    Degraded {
        /// Damaged units met.
        damaged_units: u64,
    },
}

/// Bytes of memory a database accounts for.
///
/// Capacities count, not what is in them, and what the allocator adds where allocations are small and many. Together that is
/// what the database has from the allocator, within a tenth. A process has more resident: its own, what the allocator keeps in
/// holes and in reserve, stacks, the program's text, what appenders and answers hold while they live, and those pages of
/// mapped files that were read, which the operating system takes back when it needs them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryStats {
    /// Of the head: labels, postings and the tables that find series by them.
    pub index_bytes: u64,
    /// Of the head: where each series is, what is deleted of it, and which the series store does not have yet.
    pub slot_bytes: u64,
    /// Of the head: layout, state, open rows and piece directories of groups.
    pub group_bytes: u64,
    /// Of the head: chunks of samples that are in no row.
    pub lone_bytes: u64,
    /// Copies of frames that the log keeps until a sync has covered them.
    pub log_bytes: u64,
    /// What open blocks have in memory to find their way in what is mapped.
    pub block_bytes: u64,
}

impl MemoryStats {
    /// Returns the bytes of the head: what [`Options::memory_limit`](super::Options::memory_limit) is compared with, and
    /// what a flush makes less.
    pub fn head_bytes(&self) -> u64 {
        self.index_bytes + self.slot_bytes + self.group_bytes + self.lone_bytes
    }

    /// Returns the bytes of all parts.
    pub fn total_bytes(&self) -> u64 {
        self.head_bytes() + self.log_bytes + self.block_bytes
    }
}

/// What one block is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockStats {
    /// Its name.
    pub ulid: Ulid,
    /// The span of time it answers for.
    pub range: TimeRange,
    /// 1 if it was written from the head, more if it was merged.
    pub level: u32,
    /// Number of series.
    pub series: u64,
    /// Number of samples.
    pub samples: u64,
    /// Number of chunks.
    pub chunks: u64,
    /// Series of which something is deleted.
    pub tombstoned_series: u64,
    /// Bytes of chunks, timestamp columns and chunk directories.
    pub chunk_bytes: u64,
    /// Bytes of labels and postings.
    pub index_bytes: u64,
    /// Bytes of all its files.
    pub size_bytes: u64,
}

/// What a database holds and has done since it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Whether it works as it should.
    pub mode: Mode,
    /// Series in the head.
    pub head_series: u64,
    /// Series made since the open.
    pub series_created: u64,
    /// Series forgotten since the open.
    pub series_removed: u64,
    /// Pieces, runs of open rows and lone chunks in the head, counted per series.
    pub head_chunks: u64,
    /// Oldest timestamp in the head, [`i64::MAX`] if it is empty.
    pub head_min_time: i64,
    /// Newest timestamp committed, [`i64::MIN`] if there is none.
    pub head_max_time: i64,
    /// Below it nothing is taken in order, because blocks hold it or are about to; [`i64::MIN`] before the first flush.
    pub head_boundary: i64,
    /// Appenders that are open.
    pub open_appenders: u64,
    /// Memory that is accounted for.
    pub memory: MemoryStats,
    /// Commits with samples.
    pub commits: u64,
    /// Samples that came as rows.
    pub samples_in_rows: u64,
    /// Samples that came alone.
    pub samples_alone: u64,
    /// Of those, out of order.
    pub samples_late: u64,
    /// Samples that were there already.
    pub samples_repeated: u64,
    /// Samples that were refused, by reason.
    pub rejected: Vec<(Rejection, u64)>,
    /// Sequence of the last commit.
    pub last_sequence: u64,
    /// Sequence of the last commit that survives a power cut.
    pub durable_sequence: u64,
    /// Number of the open segment of the log.
    pub log_segment: u64,
    /// Bytes of the log's segments.
    pub log_bytes: u64,
    /// Bytes ever written to the log.
    pub log_written_bytes: u64,
    /// Of those, bytes of series definitions.
    pub log_definition_bytes: u64,
    /// Syncs of the log.
    pub log_syncs: u64,
    /// Syncs of the log that failed.
    pub log_sync_failures: u64,
    /// Bytes of the head's piece files.
    pub head_file_bytes: u64,
    /// Commits and deletions that could not be written.
    pub write_failures: u64,
    /// Flushes of the head.
    pub flushes: u64,
    /// Flushes that failed.
    pub flush_failures: u64,
    /// Merges of blocks.
    pub merges: u64,
    /// Merges that failed.
    pub merge_failures: u64,
    /// Times the head let go of what blocks hold.
    pub truncations: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Checkpoints that failed.
    pub checkpoint_failures: u64,
    /// Blocks removed because of their age.
    pub blocks_dropped_age: u64,
    /// Blocks removed because of the byte budget.
    pub blocks_dropped_size: u64,
    /// Damaged units met.
    pub damaged_units: u64,
    /// Files and directories moved aside.
    pub quarantined: u64,
    /// Samples taken from the log by the last open.
    pub replayed_samples: u64,
    /// How long the last open took.
    pub replay_ms: u64,
    /// The blocks, in order of time.
    pub blocks: Vec<BlockStats>,
}

impl Inner {
    pub(super) fn stats(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (head, counters) = (&self.head, &self.counters);
        let wal = self.wal.as_ref();
        let log = wal.map(|wal| wal.stats()).unwrap_or_default();
        let memory = head.memory();
        let view = self.views.current();
        let block_bytes: usize = view.blocks().iter().map(|block| block.memory_bytes()).sum();
        let damaged_units = get(&counters.damaged_units);
        let mode = match (self.read_only_reason(), damaged_units) {
            (Some(reason), _) => Mode::ReadOnly { reason },
            (None, 0) => Mode::Healthy,
            (None, damaged_units) => Mode::Degraded { damaged_units },
        };
        Stats {
            mode,
            head_series: head.series_count(),
            series_created: get(&head.counters.series_created),
            series_removed: get(&head.counters.series_removed),
            head_chunks: head.chunk_count(),
            head_min_time: head.min_time(),
            head_max_time: head.max_time(),
            head_boundary: head.boundary(),
            open_appenders: head.open_appenders.load(Ordering::Relaxed) as u64,
            memory: MemoryStats {
                index_bytes: memory.index as u64,
                slot_bytes: memory.slots as u64,
                group_bytes: memory.groups as u64,
                lone_bytes: memory.lone as u64,
                log_bytes: wal.map_or(0, |wal| wal.memory_bytes()) as u64,
                block_bytes: block_bytes as u64,
            },
            commits: get(&counters.commits),
            samples_in_rows: get(&counters.samples_in_rows),
            samples_alone: get(&counters.samples_alone),
            samples_late: get(&counters.samples_late),
            samples_repeated: get(&counters.samples_repeated),
            rejected: Rejection::ALL
                .iter()
                .zip(&counters.rejected)
                .map(|(&reason, count)| (reason, get(count)))
                .collect(),
            last_sequence: wal
                .map_or_else(|| head.publisher.published(), |wal| wal.last_sequence()),
            durable_sequence: wal.map_or(0, |wal| wal.synced_sequence()),
            log_segment: wal.map_or(0, |wal| wal.segment()),
            log_bytes: wal.map_or(0, |wal| wal.size_bytes()),
            log_written_bytes: log.bytes,
            log_definition_bytes: get(&counters.log_definition_bytes),
            log_syncs: log.syncs,
            log_sync_failures: log.sync_failures,
            head_file_bytes: head.pieces.size_bytes(),
            write_failures: get(&counters.write_failures),
            flushes: get(&counters.flushes),
            flush_failures: get(&counters.flush_failures),
            merges: get(&counters.merges),
            merge_failures: get(&counters.merge_failures),
            truncations: get(&counters.truncations),
            checkpoints: get(&counters.checkpoints),
            checkpoint_failures: get(&counters.checkpoint_failures),
            blocks_dropped_age: get(&counters.blocks_dropped_age),
            blocks_dropped_size: get(&counters.blocks_dropped_size),
            damaged_units,
            quarantined: get(&counters.quarantined),
            replayed_samples: get(&counters.replayed_samples),
            replay_ms: get(&counters.replay_ms),
            blocks: (view.blocks().iter())
                .map(|block| block_stats(block))
                .collect(),
        }
    }
}

fn block_stats(block: &crate::block::Block) -> BlockStats {
    let meta = block.meta();
    BlockStats {
        ulid: meta.ulid,
        range: meta.range,
        level: meta.level,
        series: meta.series,
        samples: meta.samples,
        chunks: meta.chunks,
        tombstoned_series: block.tombstones().len() as u64,
        chunk_bytes: meta.chunks_file.size_bytes,
        index_bytes: meta.index_file.size_bytes,
        size_bytes: block.size_bytes(),
    }
}
