//! Every file name of a database.
//!
//! ```text
//! lock                    held while the database is open
//! checkpoint              where replay of the log starts
//! log/00000001            segments of the log
//! head/00000001.pieces    sealed pieces of groups
//! head/00000001.lone      sealed chunks of lone series
//! series/00000001         ids and labels of series
//! spool/NAME              how far a remote has come
//! spool/NAME.refused      samples a remote has refused; `.refused.old` when there were more
//! blocks/<ULID>/          meta, index, chunks, tombstones; with `.tmp` not finished yet, with `.del` being removed
//! quarantine/             what could not be used
//! ```
//!
//! A number has at least eight decimal digits, so that up to a hundred million files are listed in the order of their
//! numbers. Parsing takes exactly what is written here: any other name is somebody else's file.

use std::io;
use std::path::Path;

use super::Fs;
use super::ulid::Ulid;

/// File: held while the database is open.
pub(crate) const LOCK: &str = "lock";
/// File: where replay of the log starts.
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// Directory: segments of the log.
pub(crate) const LOG: &str = "log";
/// Directory: what the head has sealed.
pub(crate) const HEAD: &str = "head";
/// Directory: ids and labels of series.
pub(crate) const SERIES: &str = "series";
/// Directory: how far each remote has come.
pub(crate) const SPOOL: &str = "spool";
/// Directory: one directory per block.
pub(crate) const BLOCKS: &str = "blocks";
/// Directory: what could not be used.
pub(crate) const QUARANTINE: &str = "quarantine";

/// File of a block: what it holds, and the lengths and checksums of the others.
pub(crate) const META: &str = "meta";
/// File of a block: labels and postings.
pub(crate) const INDEX: &str = "index";
/// File of a block: samples.
pub(crate) const CHUNKS: &str = "chunks";
/// File of a block: spans of samples that were deleted.
pub(crate) const TOMBSTONES: &str = "tombstones";

/// Ending of a file or directory that is not finished yet.
pub(crate) const TMP: &str = ".tmp";
const DEL: &str = ".del";
const PIECES: &str = ".pieces";
const LONE: &str = ".lone";

/// Returns the name of a segment of the log, or of a file of the series store.
pub(crate) fn numbered(number: u64) -> String {
    format!("{number:08}")
}

/// Reads what [`numbered`] writes.
pub(crate) fn parse_numbered(name: &str) -> Option<u64> {
    let number = name.parse().ok()?;
    // One number has one name: no sign, no further zeros.
    (numbered(number) == name).then_some(number)
}

/// Returns the numbers of the files in `dir` that [`numbered`] names, in order; 0 is none.
pub(crate) fn numbered_files(fs: &dyn Fs, dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> = fs
        .read_dir(dir)?
        .iter()
        .filter(|entry| !entry.is_dir)
        .filter_map(|entry| parse_numbered(&entry.name))
        .filter(|&number| number > 0)
        .collect();
    // Numbers of more than eight digits are not listed in their order.
    numbers.sort_unstable();
    Ok(numbers)
}

/// Tells whether a remote may be called this: it is the name of a file.
pub(crate) fn is_remote(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

/// Returns the name of the file of samples that a remote has refused.
pub(crate) fn dead_letters(remote: &str) -> String {
    format!("{remote}.refused")
}

/// Returns the name of the same file before it was full.
pub(crate) fn old_dead_letters(remote: &str) -> String {
    format!("{remote}.refused.old")
}

/// Returns the name of a file of sealed pieces.
pub(crate) fn pieces(number: u64) -> String {
    numbered(number) + PIECES
}

/// Reads what [`pieces`] writes.
pub(crate) fn parse_pieces(name: &str) -> Option<u64> {
    parse_numbered(name.strip_suffix(PIECES)?)
}

/// Returns the name of a file of sealed lone chunks.
pub(crate) fn lone(number: u64) -> String {
    numbered(number) + LONE
}

/// Reads what [`lone`] writes.
pub(crate) fn parse_lone(name: &str) -> Option<u64> {
    parse_numbered(name.strip_suffix(LONE)?)
}

/// What the name of a block's directory says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockStage {
    /// Being written, or left by a crash.
    Unfinished,
    /// Complete and in use.
    Published,
    /// Being removed, or left by a crash.
    Removing,
}

impl BlockStage {
    const ALL: [Self; 3] = [Self::Unfinished, Self::Published, Self::Removing];

    const fn suffix(self) -> &'static str {
        match self {
            Self::Unfinished => TMP,
            Self::Published => "",
            Self::Removing => DEL,
        }
    }
}

/// Returns the name of a block's directory.
pub(crate) fn block(id: Ulid, stage: BlockStage) -> String {
    format!("{id}{}", stage.suffix())
}

/// Reads what [`block`] writes.
pub(crate) fn parse_block(name: &str) -> Option<(Ulid, BlockStage)> {
    BlockStage::ALL.into_iter().find_map(|stage| {
        let id = Ulid::parse(name.strip_suffix(stage.suffix())?)?;
        Some((id, stage))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back() {
        for number in [0, 1, 99_999_999, 100_000_000, u64::MAX] {
            assert_eq!(parse_numbered(&numbered(number)), Some(number));
            assert_eq!(parse_pieces(&pieces(number)), Some(number));
            assert_eq!(parse_lone(&lone(number)), Some(number));
        }
        assert_eq!(pieces(7), "00000007.pieces");
    }

    #[test]
    fn foreign_names_are_not_numbers() {
        for name in [
            "",
            "1",
            "+0000001",
            "000000001",
            "00000001.tmp",
            "0000000a",
            "99999999999999999999",
        ] {
            assert_eq!(parse_numbered(name), None, "{name}");
        }
        assert_eq!(parse_pieces("00000001.lone"), None);
        assert_eq!(parse_lone("00000001"), None);
    }

    #[test]
    fn blocks_read_back_with_their_stage() {
        let id = Ulid::new(1_700_000_000_000, 42);
        for stage in BlockStage::ALL {
            assert_eq!(parse_block(&block(id, stage)), Some((id, stage)));
        }
        assert_eq!(parse_block(&format!("{id}.bak")), None);
        assert_eq!(parse_block(&format!("{id}.tmp.del")), None);
    }
}
