//! The file that keeps a remote's progress.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::encoding::{ByteReader, Malformed, crc32, put_uvarint, seal};
use crate::error::{Error, Result};
use crate::fs::{self, AppendFile, Fs};

use super::progress::Progress;

/// What is remembered of a remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) progress: Progress,
    /// Samples dropped, by [`DropReason`].
    pub(crate) dropped: [u64; DropReason::ALL.len()],
}

/// Why samples that a remote has not acknowledged were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// The log kept for remotes was larger than the budget.
    Bytes,
    /// They were older than the budget allows.
    Age,
    /// The disk was nearly full.
    FreeSpace,
    /// Retention removed the block they were in before a backfill had them.
    Retention,
}

impl DropReason {
    /// All of them, in the order of the format.
    pub const ALL: [Self; 4] = [Self::Bytes, Self::Age, Self::FreeSpace, Self::Retention];

    /// Returns a word for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Age => "age",
            Self::FreeSpace => "free_space",
            Self::Retention => "retention",
        }
    }
}

/// A remote's file, open to be written.
pub(crate) struct CursorFile {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    /// None after a failed write: the next one replaces the file.
    file: Option<Box<dyn AppendFile>>,
}

impl CursorFile {
    /// Returns the file at `path` with `remembered` in it, durably, whatever was there.
    pub(crate) fn create(fs: Arc<dyn Fs>, path: PathBuf, remembered: &Remembered) -> Result<Self> {
        let mut cursor = Self {
            fs,
            path,
            file: None,
        };
        cursor.replace(remembered)?;
        Ok(cursor)
    }

    /// Reads what a file remembers; `None` if no record verifies.
    ///
    /// # Errors
    ///
    /// The disk's, or [`Unsupported`](crate::error::ErrorKind::Unsupported) for a later version.
    pub(crate) fn read(fs: &dyn Fs, path: &Path) -> Result<Option<Remembered>> {
        let to_error = |error| Error::io("read", path, error);
        let file = fs.open_read(path).map_err(to_error)?;
        let len = file.len().map_err(to_error)?.min(READ_BYTES_MAX);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        file.read_at(&mut bytes, 0).map_err(to_error)?;
        match header_version(&bytes) {
            Some(VERSION) => Ok(last_record(&bytes[HEADER_BYTES..])),
            Some(version) => Err(Error::unsupported(
                path,
                format!("cursor of version {version}"),
            )),
            None => Ok(None),
        }
    }

    /// Replaces what the file remembers, durably.
    ///
    /// # Errors
    ///
    /// The file remembers what it did or this; the next write starts afresh.
    pub(crate) fn write(&mut self, remembered: &Remembered) -> Result<()> {
        let Some(mut file) = self.file.take() else {
            return self.replace(remembered);
        };
        if file.len() > FILE_BYTES_MAX {
            return self.replace(remembered);
        }
        let written = file.append(&record(remembered)).and_then(|()| file.sync());
        written.map_err(|error| Error::io("write to", &self.path, error))?;
        self.file = Some(file);
        Ok(())
    }

    fn replace(&mut self, remembered: &Remembered) -> Result<()> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0, 0]);
        seal(&mut bytes, 0);
        bytes.extend_from_slice(&record(remembered));
        fs::replace(&*self.fs, &self.path, &bytes)
            .and_then(|()| self.fs.open_append(&self.path))
            .map(|file| self.file = Some(file))
            .map_err(|error| Error::io("replace", &self.path, error))
    }
}

impl std::fmt::Debug for CursorFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CursorFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

fn record(remembered: &Remembered) -> Vec<u8> {
    let mut out = vec![0; 4];
    remembered.progress.encode(&mut out);
    for &count in &remembered.dropped {
        put_uvarint(&mut out, count);
    }
    let payload = u32::try_from(out.len() - 4).expect("eight layers of 256 shards are short");
    out[..4].copy_from_slice(&payload.to_le_bytes());
    seal(&mut out, 0);
    out
}

fn header_version(bytes: &[u8]) -> Option<u16> {
    let mut reader = ByteReader::checked(bytes.get(..HEADER_BYTES)?).ok()?;
    if reader.bytes(MAGIC.len()).ok()? != MAGIC {
        return None;
    }
    reader.u16().ok()
}

/// Returns the last record that verifies. What a failed write left may stand between two that do.
fn last_record(bytes: &[u8]) -> Option<Remembered> {
    let mut last = None;
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= 8) {
        match read_record(rest) {
            Some((remembered, len)) => {
                last = Some(remembered);
                at += len;
            }
            None => at += 1,
        }
    }
    last
}

fn read_record(bytes: &[u8]) -> Option<(Remembered, usize)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let payload = u32::from_le_bytes(*length) as usize;
    if payload > PAYLOAD_BYTES_MAX || rest.len() < payload + 4 {
        return None;
    }
    let whole = bytes.get(..4 + payload + 4)?;
    let crc = whole.last_chunk::<4>()?;
    if crc32(&whole[..4 + payload]) != u32::from_le_bytes(*crc) {
        return None;
    }
    let remembered = decode(&rest[..payload]).ok()?;
    Some((remembered, whole.len()))
}

fn decode(payload: &[u8]) -> Result<Remembered, Malformed> {
    let mut reader = ByteReader::new(payload);
    let progress = Progress::decode(&mut reader)?;
    let mut dropped = [0; DropReason::ALL.len()];
    for count in &mut dropped {
        *count = reader.uvarint()?;
    }
    reader.expect_end()?;
    Ok(Remembered { progress, dropped })
}

const MAGIC: &[u8; 8] = b"tsdb-spl";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 16;
const PAYLOAD_BYTES_MAX: usize = 1 << 16;

/// Length above which a file is replaced.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// A file is replaced long before; more is none of ours.
const READ_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::hex_example;
    use crate::fs::{CrashChoice, SimFs};
    use crate::ship::{BackfillEnd, Position};

    fn remembered(sequence: u64) -> Remembered {
        Remembered {
            progress: Progress::new(Position::Log { sequence, index: 2 }, 1),
            dropped: [5, 0, 1, 2],
        }
    }

    fn content(fs: &SimFs) -> Vec<u8> {
        let file = fs.open_read(path()).unwrap();
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_at(&mut bytes, 0).unwrap();
        bytes
    }

    fn path() -> &'static Path {
        Path::new("remote")
    }

    fn create(fs: &SimFs, sequence: u64) -> CursorFile {
        CursorFile::create(
            Arc::new(fs.clone()),
            path().to_owned(),
            &remembered(sequence),
        )
        .unwrap()
    }

    #[test]
    fn example_of_the_format_document_decodes() {
        let bytes = hex_example(include_str!("FORMAT.md"));
        assert_eq!(header_version(&bytes), Some(VERSION));
        let mut progress = Progress::with_backfill(
            1_000,
            BackfillEnd {
                end: 2_000,
                sequence: 280,
            },
        );
        progress.reshard(2);
        let place = Position::Log {
            sequence: 300,
            index: 2,
        };
        progress.advance(0, place);
        let place = Position::Backfill {
            timestamp: 1_500,
            key: 7,
        };
        progress.advance(1, place);
        let remembered = Remembered {
            progress,
            dropped: [5, 0, 1, 2],
        };
        assert_eq!(
            last_record(&bytes[HEADER_BYTES..]).as_ref(),
            Some(&remembered)
        );
        let fs = SimFs::new();
        CursorFile::create(Arc::new(fs.clone()), path().to_owned(), &remembered).unwrap();
        assert_eq!(content(&fs), bytes);
    }

    #[test]
    fn last_of_many_records_counts_and_the_file_stays_short() {
        let fs = SimFs::new();
        let mut cursor = create(&fs, 1);
        for sequence in 2..10_000 {
            cursor.write(&remembered(sequence)).unwrap();
        }
        assert_eq!(
            CursorFile::read(&fs, path()).unwrap(),
            Some(remembered(9_999))
        );
        assert!(content(&fs).len() as u64 <= FILE_BYTES_MAX + 64);
    }

    #[test]
    fn truncated_or_flipped_file_remembers_an_earlier_place_or_none() {
        let fs = SimFs::new();
        let mut cursor = create(&fs, 1);
        (2..6).for_each(|sequence| cursor.write(&remembered(sequence)).unwrap());
        let bytes = content(&fs);
        let place = |bytes: &[u8]| {
            (header_version(bytes) == Some(VERSION))
                .then(|| last_record(&bytes[HEADER_BYTES..]))
                .flatten()
                .map(|remembered| remembered.progress.low().sequence())
        };
        assert_eq!(place(&bytes), Some(5));
        for len in 0..bytes.len() {
            assert!(place(&bytes[..len]).is_none_or(|place| place < 5), "{len}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let place = place(&flipped);
            assert!(
                place.is_none_or(|place| (1..=5).contains(&place)),
                "{bit}: {place:?}"
            );
        }
    }

    #[test]
    fn what_was_written_survives_a_power_cut() {
        let fs = SimFs::new();
        let mut cursor = create(&fs, 1);
        cursor.write(&remembered(2)).unwrap();
        let after = fs.crash(CrashChoice::None);
        assert_eq!(
            CursorFile::read(&after, path()).unwrap(),
            Some(remembered(2))
        );
    }
}
