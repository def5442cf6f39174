//! Reading a log: what stands, what is lost, what is void.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use super::format::{HeaderError, SEGMENT_HEADERS_BYTES, SegmentHeader};
use super::judge::{SegmentFile, judge, limits, start_index};
use super::log::{WalStart, segment_path};
use super::scan::{FrameRef, scan};
use crate::error::{Error, Result};
use crate::fs::{Fs, MappedFile, names};

/// A log as it stands on disk.
#[derive(Debug)]
pub(crate) struct Log {
    /// The segments that hold frames that stand, in order, from the one asked for on. Each decodes on its own unless
    /// it says that it continues.
    pub(crate) segments: Vec<SegmentFrames>,
    /// What was synced once and does not verify any more, or is not there.
    pub(crate) damage: Vec<Damage>,
    /// Where the log was torn. No damage: nothing behind was known to be synced.
    pub(crate) torn: Option<Torn>,
    /// Segments of which nothing stands, because their headers are damaged or they lie behind a tear.
    pub(crate) unusable: Vec<u64>,
    pub(super) start: WalStart,
}

/// The frames of one segment.
#[derive(Debug)]
pub(crate) struct SegmentFrames {
    /// Number in its file name.
    pub(crate) number: u64,
    /// Sequence of its first frame.
    pub(crate) first_sequence: u64,
    /// Whether it decodes only behind its predecessor.
    pub(crate) continues: bool,
    /// Those that stand, by ascending sequence.
    pub(crate) frames: Vec<FrameRef>,
    pub(super) file: MappedFile,
}

/// Frames that are lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damage {
    /// The segment they were in; if it is not there, the one before the gap.
    pub(crate) segment: u64,
    /// Position of the bytes that do not verify.
    pub(crate) offset: u64,
    /// How many bytes do not verify; none where a file is missing or was cut.
    pub(crate) bytes: u64,
    /// First sequence lost; 0 if that is not known.
    pub(crate) first_sequence: u64,
    /// Last sequence lost, or [`LAST_UNKNOWN`].
    pub(crate) last_sequence: u64,
}

/// The last sequence lost with a segment whose header is lost as well, where no later one tells.
pub(crate) const LAST_UNKNOWN: u64 = u64::MAX;

/// Where a log was torn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Torn {
    /// The segment.
    pub(crate) segment: u64,
    /// Position behind its last frame that stands.
    pub(crate) offset: u64,
    /// Bytes behind that, in this segment and in later ones.
    pub(crate) bytes: u64,
}

impl Log {
    /// Returns where a writer goes on.
    pub(crate) fn start(&self) -> WalStart {
        self.start.clone()
    }

    /// Returns the sequence of the last frame that stands, or the one before the first.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.start.previous
    }

    /// Returns the sequence up to which the log is known to be durable.
    pub(crate) fn known_synced(&self) -> u64 {
        self.start.known_synced
    }

    /// Gives every frame that has a body to `visit`, in order: segment, sequence, body.
    pub(crate) fn for_each(
        &self,
        mut visit: impl FnMut(u64, u64, &[u8]) -> Result<()>,
    ) -> Result<()> {
        for segment in &self.segments {
            segment.for_each(|sequence, body| visit(segment.number, sequence, body))?;
        }
        Ok(())
    }
}

impl SegmentFrames {
    /// Returns all bytes of the segment, to look frames up in: borrowed if the file is mapped, otherwise read now.
    pub(crate) fn bytes(&self) -> Result<Cow<'_, [u8]>> {
        whole(&self.file).map_err(|error| Error::io("read", names::numbered(self.number), error))
    }

    /// Returns the length of the segment.
    pub(crate) fn len(&self) -> u64 {
        self.file.len()
    }

    /// Walks the frames that have a body, in order: sequence, body. `bytes` are those of [`SegmentFrames::bytes`].
    pub(crate) fn bodies<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = (u64, &'a [u8])> {
        self.frames
            .iter()
            .filter(|frame| frame.len > 0)
            .map(move |frame| {
                let (offset, len) = (frame.offset as usize, frame.len as usize);
                // The frame was found in these very bytes.
                let body = bytes
                    .get(offset..offset + len)
                    .expect("a frame lies inside its segment");
                (self.first_sequence + u64::from(frame.sequence_offset), body)
            })
    }

    /// Gives every frame that has a body to `visit`, in order: sequence, body.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let bytes = self.bytes()?;
        self.bodies(&bytes)
            .try_for_each(|(sequence, body)| visit(sequence, body))
    }
}

/// Whether somebody may be writing the log that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writers {
    /// Nobody: the caller holds the lock.
    None,
    /// Perhaps: the last segment is read into memory, because its end may be cut while it is looked at, and a tear there
    /// is no more than where the writer is at the moment. A file may vanish: try again from the start.
    Perhaps,
}

/// Reads the log in `dir` from the segment `from` on, or from the one that it continues; 0 reads everything. Changes
/// nothing. Older segments are not looked at beyond their headers: what is missing there is nobody's loss.
///
/// # Errors
///
/// The disk's fault, or [`Unsupported`](crate::error::ErrorKind::Unsupported) if a segment says it is of a later
/// version. Damage is no error, it is in the answer.
pub(crate) fn read_log(fs: &dyn Fs, dir: &Path, from: u64, writers: Writers) -> Result<Log> {
    let numbers = names::numbered_files(fs, dir).map_err(|error| Error::io("list", dir, error))?;
    let mut files = Vec::with_capacity(numbers.len());
    for &number in &numbers {
        files.push(read_header(fs, &segment_path(dir, number), number)?);
    }
    let limits = limits(&files);
    let start = start_index(&files, &limits, from);
    let last = files.len().saturating_sub(1);
    for (index, (file, &limit)) in files.iter_mut().zip(&limits).enumerate().skip(start) {
        // A segment that starts above its limit is void as a whole: later headers know all that it knew. One that starts
        // right behind it has no frame that stands, but it is in order: most likely the one a clean end left.
        if file
            .header
            .is_some_and(|header| header.first_sequence - 1 <= limit)
        {
            let live = writers == Writers::Perhaps && index == last;
            read_content(fs, &segment_path(dir, file.number), file, live)?;
        }
    }
    Ok(judge(files, &limits, start, from))
}

fn read_header(fs: &dyn Fs, path: &Path, number: u64) -> Result<SegmentFile> {
    let to_error = |error| Error::io("read", path, error);
    let reader = fs.open_read(path).map_err(to_error)?;
    let len = reader.len().map_err(to_error)?;
    let mut bytes = [0; SEGMENT_HEADERS_BYTES];
    let there = SEGMENT_HEADERS_BYTES.min(usize::try_from(len).unwrap_or(usize::MAX));
    let (bytes, _) = bytes.split_at_mut(there);
    reader.read_at(bytes, 0).map_err(to_error)?;
    let header = match SegmentHeader::decode(bytes) {
        // A file under another's name: its place in the order of segments is unknown.
        Ok(header) if header.number != number => None,
        Ok(header) => Some(header),
        Err(HeaderError::Malformed(_)) => None,
        Err(HeaderError::Version(version)) => {
            let message = format!("log segment of version {version}");
            return Err(Error::unsupported(path, message));
        }
    };
    Ok(SegmentFile {
        number,
        len,
        header,
        has_header: SegmentHeader::is_there(bytes),
        content: None,
    })
}

fn read_content(fs: &dyn Fs, path: &Path, file: &mut SegmentFile, live: bool) -> Result<()> {
    let to_error = |error| Error::io("read", path, error);
    let Some(header) = file.header else {
        return Ok(());
    };
    let mapped = if live {
        let reader = fs.open_read(path).map_err(to_error)?;
        let len = usize::try_from(file.len).map_err(|error| to_error(io::Error::other(error)))?;
        let mut bytes = vec![0; len];
        reader.read_at(&mut bytes, 0).map_err(to_error)?;
        MappedFile::from_bytes(bytes)
    } else {
        fs.map(path, file.len).map_err(to_error)?
    };
    let scan = scan(&whole(&mapped).map_err(to_error)?, &header);
    file.content = Some((mapped, scan));
    Ok(())
}

fn whole(file: &MappedFile) -> io::Result<Cow<'_, [u8]>> {
    let len = usize::try_from(file.len()).map_err(io::Error::other)?;
    file.bytes(0, len)
}
