//! Which blocks a reader sees.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::block::Block;
use crate::fs::Ulid;

/// A set of blocks that does not change. Readers hold it; whoever changes the set makes another one.
#[derive(Debug)]
pub(super) struct View {
    blocks: Vec<Arc<Block>>,
}

impl View {
    /// Orders the blocks by time, then by name: where they disagree the older one wins.
    pub(super) fn new(mut blocks: Vec<Arc<Block>>) -> Self {
        blocks.sort_by_key(|block| (block.meta().range.start, block.meta().ulid));
        Self { blocks }
    }

    pub(super) fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }
}

/// The present view, and those before it that somebody still reads.
#[derive(Debug)]
pub(super) struct Views {
    views: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    current: Arc<View>,
    older: Vec<Weak<View>>,
}

impl Views {
    pub(super) fn new(view: View) -> Self {
        Self {
            views: Mutex::new(Known {
                current: Arc::new(view),
                older: Vec::new(),
            }),
        }
    }

    pub(super) fn current(&self) -> Arc<View> {
        Arc::clone(&self.views.lock().current)
    }

    /// Replaces blocks by others in one step; returns those that left.
    pub(super) fn swap(&self, added: &[Arc<Block>], removed: &[Ulid]) -> Vec<Arc<Block>> {
        warm(added);
        let mut known = self.views.lock();
        let is_removed = |block: &Arc<Block>| removed.contains(&block.meta().ulid);
        let (left, mut blocks): (Vec<_>, Vec<_>) =
            known.current.blocks.iter().cloned().partition(is_removed);
        blocks.extend(added.iter().cloned());
        let before = std::mem::replace(&mut known.current, Arc::new(View::new(blocks)));
        known.older.retain(|view| view.strong_count() > 0);
        known.older.push(Arc::downgrade(&before));
        left
    }

    /// Tells whether somebody reads a view older than the present one.
    pub(super) fn are_older_read(&self) -> bool {
        let mut known = self.views.lock();
        known.older.retain(|view| view.strong_count() > 0);
        !known.older.is_empty()
    }
}

/// Bytes of index that are read before anybody asks: a few milliseconds, and what queries of the last days of a million
/// series need.
const WARM_BYTES: u64 = 32 << 20;

/// Reads the indexes of the newest blocks, so that the first queries find them mapped and verified.
pub(super) fn warm(blocks: &[Arc<Block>]) {
    let mut newest: Vec<_> = blocks.iter().collect();
    newest.sort_by_key(|block| std::cmp::Reverse(block.meta().range.end));
    let mut left = WARM_BYTES;
    for block in newest {
        let index_bytes = block.meta().index_file.size_bytes;
        if index_bytes > left {
            break;
        }
        left -= index_bytes;
        block.warm_index();
    }
}
