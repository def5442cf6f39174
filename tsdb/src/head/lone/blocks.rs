//! Where the words of open chunks are: blocks of two lines of the cache, chained.
//!
//! Open chunks grow a word at a time, thousands of them in turns. A block more neither moves what is there nor asks the
//! allocator, and what is unused is half a block on average. Smaller blocks leave less unused, but each is a place in the
//! memory of its own, to wait for when a chunk grows or is read.

/// Words of a block.
const WORDS: usize = 15;

/// Blocks that are taken from the allocator together.
const SLAB: usize = 32;

/// No block.
const NONE: u32 = u32::MAX;

/// The chains of many chunks.
#[derive(Debug)]
pub(super) struct Blocks {
    slabs: Vec<Box<[Block; SLAB]>>,
    /// The first block that is in no chain; the others follow it.
    free: u32,
    /// Blocks in chains.
    used: usize,
}

#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Block {
    words: [u64; WORDS],
    /// The next block of the chain; of the last one, the first.
    next: u32,
}

const _: () = assert!(size_of::<Block>() == 128);

/// The words of one chunk.
#[derive(Debug)]
pub(super) struct Chain {
    last: u32,
    words: u32,
}

impl Chain {
    pub(super) const fn new() -> Self {
        Self {
            last: NONE,
            words: 0,
        }
    }

    /// Returns the number of words.
    pub(super) fn words(&self) -> usize {
        self.words as usize
    }
}

impl Blocks {
    pub(super) const fn new() -> Self {
        Self {
            slabs: Vec::new(),
            free: NONE,
            used: 0,
        }
    }

    /// Appends a word to a chain.
    #[inline]
    pub(super) fn push(&mut self, chain: &mut Chain, word: u64) {
        let place = chain.words() % WORDS;
        if place == 0 {
            self.extend(chain);
        }
        self.block(chain.last).words[place] = word;
        chain.words += 1;
    }

    #[inline(never)]
    fn extend(&mut self, chain: &mut Chain) {
        if self.free == NONE {
            self.add_slab();
        }
        let new = self.free;
        self.free = self.block(new).next;
        let first = if chain.last == NONE {
            new
        } else {
            std::mem::replace(&mut self.block(chain.last).next, new)
        };
        self.block(new).next = first;
        chain.last = new;
        self.used += 1;
    }

    #[cold]
    fn add_slab(&mut self) {
        let first = (self.slabs.len() * SLAB) as u32;
        let mut slab = Box::new(
            [Block {
                words: [0; WORDS],
                next: NONE,
            }; SLAB],
        );
        for (next, block) in (first + 1..).zip(&mut slab[..SLAB - 1]) {
            block.next = next;
        }
        self.slabs.push(slab);
        self.free = first;
    }

    /// Appends the bytes of a chain to `out`, the most significant of each word first.
    pub(super) fn write(&self, chain: &Chain, out: &mut Vec<u8>) {
        if chain.last == NONE {
            return;
        }
        let mut left = chain.words();
        let mut at = self.get(chain.last).next;
        while left > 0 {
            let block = self.get(at);
            let bytes = block.words.map(u64::to_be_bytes);
            out.extend_from_slice(bytes[..left.min(WORDS)].as_flattened());
            left -= left.min(WORDS);
            at = block.next;
        }
    }

    /// Brings all blocks near, in the order of the memory: who is about to write all chains waits for each block otherwise.
    pub(super) fn fetch(&self) {
        let blocks = self.slabs.iter().flat_map(|slab| slab.iter());
        std::hint::black_box(blocks.fold(0, |sum, block| sum ^ block.next));
    }

    /// Lets the blocks of a chain go.
    pub(super) fn release(&mut self, chain: &mut Chain) {
        if chain.last != NONE {
            let free = self.free;
            self.free = std::mem::replace(&mut self.block(chain.last).next, free);
            self.used -= chain.words().div_ceil(WORDS);
        }
        *chain = Chain::new();
    }

    /// Returns the bytes of the blocks that are in chains.
    pub(super) fn used_bytes(&self) -> usize {
        self.used * size_of::<Block>()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.slabs.len() * SLAB * size_of::<Block>()
            + self.slabs.capacity() * size_of::<Box<[Block; SLAB]>>()
    }

    fn get(&self, at: u32) -> &Block {
        &self.slabs[at as usize / SLAB][at as usize % SLAB]
    }

    #[inline]
    fn block(&mut self, at: u32) -> &mut Block {
        &mut self.slabs[at as usize / SLAB][at as usize % SLAB]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(blocks: &Blocks, chain: &Chain) -> Vec<u64> {
        let mut bytes = Vec::new();
        blocks.write(chain, &mut bytes);
        let words = bytes.chunks_exact(8);
        words
            .map(|word| u64::from_be_bytes(word.try_into().unwrap()))
            .collect()
    }

    #[test]
    fn chains_that_grow_in_turns_keep_their_words() {
        let mut blocks = Blocks::new();
        let mut chains: Vec<Chain> = (0..50).map(|_| Chain::new()).collect();
        for word in 0..40 {
            for (number, chain) in chains.iter_mut().enumerate().skip(word / 2) {
                blocks.push(chain, (number * 1000 + word) as u64);
            }
        }
        for (number, chain) in chains.iter().enumerate() {
            let count = (2 * number + 2).min(40);
            let expected: Vec<u64> = (0..count as u64)
                .map(|word| number as u64 * 1000 + word)
                .collect();
            assert_eq!(words(&blocks, chain), expected);
            assert_eq!(chain.words(), count);
        }
    }

    #[test]
    fn released_blocks_are_used_again() {
        let mut blocks = Blocks::new();
        let mut memory_bytes = 0;
        for round in 0..10 {
            let mut chains: Vec<Chain> = (0..30).map(|_| Chain::new()).collect();
            for word in 0..20 {
                chains
                    .iter_mut()
                    .for_each(|chain| blocks.push(chain, word + round));
            }
            if round == 0 {
                memory_bytes = blocks.memory_bytes();
            }
            for chain in &mut chains {
                let expected: Vec<u64> = (0..20).map(|word| word + round).collect();
                assert_eq!(words(&blocks, chain), expected);
                blocks.release(chain);
                assert!(words(&blocks, chain).is_empty());
            }
        }
        assert_eq!(blocks.memory_bytes(), memory_bytes);
        assert_eq!(blocks.used_bytes(), 0);
    }
}
