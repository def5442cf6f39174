//! The rows of a group that are not sealed yet.
//!
//! Their bytes lie in blocks of about four rows. A block never grows, so that no row is copied and the allocator keeps no
//! holes where smaller blocks were; sealing empties the blocks and leaves them to the next rows, which are about as many
//! and about as long.

use std::sync::Arc;

use crate::row::RowView;
use crate::time::Timestamp;

use super::memory::OVERHEAD_BYTES;

/// Rows for which a block has room, as long as the one it is made for, and a quarter: the next ones may be longer.
const BLOCK_ROWS: usize = 4;

/// The last block grows if it has to. So many rows are open only if sealing has failed for long.
const BLOCKS_MAX: usize = u16::MAX as usize;

/// The smallest block: those of small groups are not worth an allocation each.
const BLOCK_BYTES_MIN: usize = 256;

/// Rows of one layout, which may have grown meanwhile, and one block range.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenRows {
    rows: Vec<OpenRow>,
    /// Those behind the last row's are empty.
    blocks: Vec<Vec<u8>>,
    /// Bytes of all rows.
    bytes: usize,
}

/// One open row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenRow {
    pub(crate) timestamp: Timestamp,
    pub(crate) sequence: u64,
    offset: u32,
    block: u16,
    /// Positions the group had: what joined later is not in the row.
    pub(crate) width: u16,
}

impl OpenRows {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns the rows, oldest first.
    pub(crate) fn rows(&self) -> &[OpenRow] {
        &self.rows
    }

    /// Returns the bytes of all rows.
    pub(crate) fn size_bytes(&self) -> usize {
        self.bytes
    }

    /// Returns a row. The bytes were checked when they came in.
    pub(crate) fn view(&self, index: usize) -> RowView<'_> {
        RowView::split(self.bytes_of(index), usize::from(self.rows[index].width))
            .expect("rows are parsed before they are kept")
    }

    fn bytes_of(&self, index: usize) -> &[u8] {
        let row = &self.rows[index];
        let block = &self.blocks[usize::from(row.block)];
        let next = self.rows.get(index + 1);
        let end = next
            .filter(|next| next.block == row.block)
            .map_or(block.len(), |next| next.offset as usize);
        &block[row.offset as usize..end]
    }

    pub(crate) fn push(&mut self, timestamp: Timestamp, sequence: u64, width: u16, row: &[u8]) {
        if self.rows.len() == self.rows.capacity() {
            self.rows.reserve_exact(8);
        }
        let (block, offset) = self.room_for(row.len());
        self.blocks[block].extend_from_slice(row);
        self.bytes += row.len();
        self.rows.push(OpenRow {
            timestamp,
            sequence,
            offset: offset as u32,
            block: block as u16,
            width,
        });
    }

    /// Returns a block that takes `len` bytes, behind the last row or empty, and how many it has.
    fn room_for(&mut self, len: usize) -> (usize, usize) {
        let last = self.rows.last().map_or(0, |row| usize::from(row.block));
        if let Some(block) = self.blocks.get(last)
            && (block.capacity() - block.len() >= len || last == BLOCKS_MAX)
        {
            return (last, block.len());
        }
        let next = last + usize::from(!self.rows.is_empty());
        if self.blocks.len() == next {
            self.blocks.push(Vec::new());
        }
        let block = &mut self.blocks[next];
        if block.capacity() < len {
            let wanted = len * BLOCK_ROWS + len / 4;
            *block = Vec::with_capacity(wanted.max(BLOCK_BYTES_MIN));
        }
        (next, 0)
    }

    /// Empties `open`. The blocks that were in use stay, unless somebody reads them.
    pub(crate) fn restart(open: &mut Arc<Self>) {
        let Some(open) = Arc::get_mut(open) else {
            *open = Arc::default();
            return;
        };
        let used = open.rows.last().map_or(0, |row| usize::from(row.block) + 1);
        open.blocks.truncate(used);
        open.blocks.iter_mut().for_each(Vec::clear);
        open.rows.clear();
        open.bytes = 0;
    }

    /// Lets go of the first `count` rows.
    pub(crate) fn drop_first(open: &mut Arc<Self>, count: usize) {
        if count >= open.len() {
            return Self::restart(open);
        }
        let mut left = Self::default();
        for index in count..open.len() {
            let row = open.rows[index];
            left.push(row.timestamp, row.sequence, row.width, open.bytes_of(index));
        }
        *open = Arc::new(left);
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let blocks: usize = self.blocks.iter().map(Vec::capacity).sum();
        size_of::<Self>()
            + OVERHEAD_BYTES
            + self.rows.capacity() * size_of::<OpenRow>()
            + self.blocks.capacity() * size_of::<Vec<u8>>()
            + blocks
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type PlainRows = Vec<(Timestamp, Vec<u8>)>;

    fn content(open: &OpenRows) -> Vec<(Timestamp, &[u8])> {
        (0..open.len())
            .map(|index| (open.rows()[index].timestamp, open.bytes_of(index)))
            .collect()
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(usize),
        DropFirst(usize),
        Restart,
        Read,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => prop_oneof![0usize..40, 0usize..3000].prop_map(Step::Push),
            1 => (0usize..12).prop_map(Step::DropFirst),
            1 => Just(Step::Restart),
            1 => Just(Step::Read),
        ]
    }

    proptest! {
        /// Whatever is done, the rows are those of a plain list; a reader keeps those it saw.
        #[test]
        fn rows_are_those_of_a_list(steps in prop::collection::vec(step(), 1..80)) {
            let mut open = Arc::new(OpenRows::default());
            let mut plain = PlainRows::new();
            let mut reader: Option<(Arc<OpenRows>, PlainRows)> = None;
            for (at, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Push(len) => {
                        let row = vec![at as u8; len];
                        Arc::make_mut(&mut open).push(at as i64, at as u64, 1, &row);
                        plain.push((at as i64, row));
                    }
                    Step::DropFirst(count) => {
                        OpenRows::drop_first(&mut open, count);
                        plain.drain(..count.min(plain.len()));
                    }
                    Step::Restart => {
                        OpenRows::restart(&mut open);
                        plain.clear();
                    }
                    Step::Read => reader = Some((Arc::clone(&open), plain.clone())),
                }
                let bytes = plain.iter().map(|(_, row)| row.len()).sum::<usize>();
                prop_assert_eq!(open.size_bytes(), bytes);
                for (open, plain) in reader.iter().map(|(open, plain)| (open, plain)).chain([(&open, &plain)]) {
                    let plain: Vec<_> = plain.iter().map(|(at, row)| (*at, row.as_slice())).collect();
                    prop_assert_eq!(content(open), plain);
                }
            }
        }
    }

    #[test]
    fn memory_is_used_again() {
        let mut open = Arc::new(OpenRows::default());
        let mut sizes = Vec::new();
        for _ in 0..4 {
            for at in 0..32 {
                Arc::make_mut(&mut open).push(at, 0, 1000, &[0; 1000]);
            }
            sizes.push(open.memory_bytes());
            OpenRows::restart(&mut open);
        }
        assert!(sizes[0] < 32 * 1000 * 11 / 10 + 32 * 24 + 512, "{sizes:?}");
        assert!(sizes.iter().all(|size| *size == sizes[0]), "{sizes:?}");
        // A short run lets go of what a long one needed.
        Arc::make_mut(&mut open).push(0, 0, 1000, &[0; 1000]);
        OpenRows::restart(&mut open);
        assert!(open.memory_bytes() < 6_000);
    }
}
