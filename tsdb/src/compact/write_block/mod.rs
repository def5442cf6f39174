//! From selections to a block.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::block::{Block, BlockSource, BlockSpec, BlockWriter, Counts};
use crate::chunk::ChunkEncoding;
use crate::error::{Error, Result};
use crate::fs::{Fs, Ulid};
use crate::sample::Samples;
use crate::source::{SeriesSource, SeriesWalk, merge};
use crate::time::{TimeRange, Timestamp};

/// What is asked how to go on, after every so many series.
pub(crate) type Progress<'a> = &'a mut dyn FnMut(&Counts) -> ControlFlow<()>;

/// Writes what `inputs` hold inside the block's range as the block `spec`, and opens it. Where they disagree about a
/// sample, the one that stands earlier in the list wins. `None` if there is no sample at all: then there is no block.
///
/// Streams: memory holds one series at a time and what [`BlockWriter`] keeps. Blocks until the block is durable.
///
/// # Errors
///
/// Any damage met in a source, so that nothing is lost by giving it a fresh checksum; and
/// [`ErrorKind::Aborted`](crate::error::ErrorKind::Aborted) if `progress` asks to stop. Nothing of the block is left then.
pub(crate) fn write_block(
    fs: Arc<dyn Fs>,
    blocks_dir: &Path,
    spec: BlockSpec,
    inputs: Vec<SeriesWalk>,
    progress: Progress<'_>,
) -> Result<Option<Block>> {
    let range = spec.range;
    let mut walk = merge(inputs);
    let mut writer = BlockWriter::create(fs, blocks_dir, spec)?;
    let mut samples = Samples::default();
    let mut read = 0u64;
    while let Some(series) = walk.next()? {
        samples.clear();
        series.read(range, &mut samples)?;
        writer.add(&series.labels.to_labels(), &samples)?;
        read += 1;
        if read.is_multiple_of(SERIES_PER_PROGRESS) && progress(&writer.counts()).is_break() {
            return Err(Error::aborted("writing a block"));
        }
    }
    if writer.counts().series == 0 {
        return Ok(None);
    }
    writer.finish().map(Some)
}

/// Some milliseconds of work lie between two calls.
const SERIES_PER_PROGRESS: u64 = 1024;

/// What a merged block is to be, beside what follows from its parents.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MergeSpec {
    pub(crate) ulid: Ulid,
    pub(crate) created_ms: Timestamp,
    pub(crate) encoding: ChunkEncoding,
}

/// Writes one block that replaces `blocks`, without what is deleted from them; one block alone is rewritten. Where they
/// disagree about a sample, the older one wins, as a block wins over the head.
pub(crate) fn merge_blocks(
    fs: Arc<dyn Fs>,
    blocks_dir: &Path,
    blocks: &[Arc<Block>],
    merged: MergeSpec,
    progress: Progress<'_>,
) -> Result<Option<Block>> {
    let mut blocks: Vec<&Arc<Block>> = blocks.iter().collect();
    // In order of time, which is the cheapest to merge; of those for one range the oldest first, which then wins.
    blocks.sort_by_key(|block| (block.meta().range.start, block.meta().ulid));
    let metas = || blocks.iter().map(|block| block.meta());
    let start = metas().map(|meta| meta.range.start).min();
    let end = metas().map(|meta| meta.range.end).max();
    let level = metas().map(|meta| meta.level).max();
    let (Some(start), Some(end), Some(level)) = (start, end, level) else {
        return Err(Error::invalid("there is no block to merge"));
    };
    let mut sources: Vec<Ulid> = metas()
        .flat_map(|meta| meta.sources.iter().copied())
        .collect();
    sources.sort_unstable();
    sources.dedup();
    let spec = BlockSpec {
        ulid: merged.ulid,
        range: TimeRange::new(start, end),
        level: level.saturating_add(u32::from(blocks.len() > 1)),
        sources,
        parents: metas().map(|meta| meta.ulid).collect(),
        created_ms: merged.created_ms,
        flushed_through: 0,
        encoding: merged.encoding,
    };
    let inputs: Result<Vec<_>> = blocks
        .iter()
        .map(|&block| BlockSource::new(block.clone()).select(&[], TimeRange::ALL))
        .collect();
    write_block(fs, blocks_dir, spec, inputs?, progress)
}

#[cfg(test)]
mod tests;
