//! Blocks: immutable directories that hold the samples of a span of time.
//!
//! A block is written once, from anything that can be read in label order, and then only read, until a larger block
//! takes its place. Deleting samples writes down what is deleted; the block itself stays as it is. The module does not
//! know where samples come from, which blocks there are beside this one, nor when to merge or drop one.
//!
//! ```text
//! blocks/<ULID>/chunks       samples and where those of each series lie (chunks/FORMAT.md)
//! blocks/<ULID>/index        labels and postings (the module `index`)
//! blocks/<ULID>/tombstones   what is deleted; missing if nothing is (the module `tombstone`)
//! blocks/<ULID>/meta         what all that is, with lengths and checksums (META.md)
//! ```
//!
//! 1. [`BlockWriter`] writes into `<ULID>.tmp`, syncs every file and then the directory, renames it, syncs the parent and
//!    opens the result. A crash leaves the whole block, or a directory whose name says that it is none.
//! 2. [`Block::open`] checks what is cheap: the meta file, lengths, headers. Everything else is checked when it is read.
//! 3. [`BlockSource`] makes a block readable like the head. Series are named by their position in label order.
//! 4. [`Block::delete`] replaces the file of tombstones as a whole; a [`BlockSource`] keeps what it began with.
//! 5. [`remove`] renames to `<ULID>.del` before it removes; whoever reads the block goes on undisturbed.

mod chunks;
mod meta;
mod open;
mod source;
mod writer;

pub(crate) use chunks::{BatchValues, ChunkBatch, Counts};
pub use meta::{BlockMeta, FileMeta};
pub(crate) use open::{Block, remove};
pub(crate) use source::BlockSource;
pub(crate) use writer::{BlockSpec, BlockWriter};

#[cfg(test)]
mod tests;
