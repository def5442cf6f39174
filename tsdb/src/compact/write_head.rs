//! From the head to a block.

use std::path::Path;
use std::sync::Arc;

use crate::block::{BatchValues, Block, BlockSpec, BlockWriter, ChunkBatch};
use crate::error::Result;
use crate::fs::Fs;
use crate::head::{FlushValues, FlushView};
use crate::sample::Samples;

/// Writes what `view` shows as the block `spec`, with dense chunks, and opens it. `None` if there is no sample at all.
///
/// A block is in label order and the head in groups, so series are encoded group by group and wait until their turn
/// has come, one part of them at a time. Blocks until the block is durable.
pub(crate) fn write_head(
    fs: Arc<dyn Fs>,
    blocks_dir: &Path,
    spec: BlockSpec,
    view: &FlushView,
) -> Result<Option<Block>> {
    let mut writer = BlockWriter::create(fs, blocks_dir, spec)?;
    let mut batch = ChunkBatch::new();
    let mut samples = Samples::default();
    let series = view.slots().len();
    let size_bytes = view.size_bytes() as usize;
    let parts = (size_bytes / PART_BYTES).isqrt() + 1;
    for part in 0..parts {
        let ranks = series * part / parts..series * (part + 1) / parts;
        batch.begin(ranks.len(), size_bytes / parts);
        let alone = fill(&mut batch, view, ranks.clone())?;
        let mut alone = alone.iter().copied().peekable();
        let ranked = (0..).zip(&view.slots()[ranks]);
        for (rank, &slot) in ranked {
            let is_alone = alone.next_if_eq(&rank).is_some();
            if is_alone {
                samples.clear();
                view.read_alone(slot, &mut samples)?;
            }
            // Held for one series at a time: whoever names a new one waits.
            let index = view.head().index.read();
            if is_alone {
                writer.add_samples(&index, slot, &samples)?;
            } else {
                writer.add_chunks(&index, slot, &mut batch, rank)?;
            }
        }
    }
    if writer.counts().series == 0 {
        return Ok(None);
    }
    drop(batch);
    writer.finish().map(Some)
}

/// Encodes the series at `ranks`, and returns the ranks of those that have to be read alone.
fn fill(
    batch: &mut ChunkBatch,
    view: &FlushView,
    ranks: std::ops::Range<usize>,
) -> Result<Vec<u32>> {
    let mut last = None;
    view.read(ranks, &mut |series| {
        let timestamps = match last {
            Some((column, timestamps)) if column == series.column => timestamps,
            _ => batch.add_timestamps(series.timestamps),
        };
        last = Some((series.column, timestamps));
        let Some(timestamps) = timestamps else {
            return Ok(false);
        };
        let values = match series.values {
            FlushValues::Constant(integer, exponent) => BatchValues::Constant(integer, exponent),
            FlushValues::Decimal(integers, exponent) => BatchValues::Decimal(integers, exponent),
            FlushValues::Floats(values) => BatchValues::Floats(values),
        };
        batch.add(series.rank, timestamps, values)?;
        Ok(true)
    })
}

/// Sealed rows of this size are encoded at once, of four times the size in two parts, of nine times in three: more parts
/// take less memory, and each goes through all groups.
const PART_BYTES: usize = 4 << 20;
