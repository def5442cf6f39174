//! Merging without a planner.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::block::Block;
use crate::chunk::ChunkEncoding;
use crate::compact::{MergeSpec, merge_blocks};
use crate::error::{Error, Result};
use crate::fs::names::{self, BlockStage};
use crate::fs::{DiskFs, Fs, IoMode, Ulid};

/// Merges all blocks of a database that nobody has open into one, whatever a planner would say. The next open removes
/// those it replaces.
pub fn merge_all_blocks(dir: &Path) -> Result<()> {
    let fs: Arc<dyn Fs> = Arc::new(DiskFs::new(IoMode::Map));
    let blocks_dir = dir.join(names::BLOCKS);
    let entries = fs
        .read_dir(&blocks_dir)
        .map_err(|error| Error::io("list", &blocks_dir, error))?;
    let mut blocks = Vec::new();
    for entry in entries {
        if let Some((_, BlockStage::Published)) = names::parse_block(&entry.name) {
            blocks.push(Arc::new(Block::open(
                Arc::clone(&fs),
                &blocks_dir.join(&entry.name),
            )?));
        }
    }
    if blocks.len() < 2 {
        return Ok(());
    }
    let newest = blocks.iter().map(|block| block.meta().ulid).max();
    let ulid = newest
        .and_then(Ulid::next)
        .ok_or_else(|| Error::limit("there is no name above the newest block's"))?;
    let spec = MergeSpec {
        ulid,
        created_ms: 0,
        encoding: ChunkEncoding::Dense,
    };
    merge_blocks(fs, &blocks_dir, &blocks, spec, &mut |_| {
        ControlFlow::Continue(())
    })
    .map(drop)
}
