//! Reading a log: what stands, what is lost, what is void.

use std::borrow::Cow;
use std::path::Path;

use super::format::{HeaderError, SEGMENT_HEADERS_BYTES};
use super::log::{SegmentInfo, WalStart, decodable_from, segment_path};
use super::scan::{FrameRef, Scan, scan};
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
    start: WalStart,
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
    file: MappedFile,
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
    /// Last sequence lost.
    pub(crate) last_sequence: u64,
}

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

    /// Gives every frame that has a body to `visit`, in order: sequence, body.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let bytes = self.bytes()?;
        for frame in self.frames.iter().filter(|frame| frame.len > 0) {
            let (offset, len) = (frame.offset as usize, frame.len as usize);
            // The frame was found in these very bytes.
            let body = bytes
                .get(offset..offset + len)
                .expect("a frame lies inside its segment");
            visit(self.first_sequence + u64::from(frame.sequence_offset), body)?;
        }
        Ok(())
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

/// Reads the log in `dir` from the segment `from` on, or from an earlier one that it continues. Changes nothing.
///
/// # Errors
///
/// The disk's fault, or [`Unsupported`](crate::error::ErrorKind::Unsupported) if a segment says it is of a later
/// version. Damage is no error, it is in the answer.
pub(crate) fn read_log(fs: &dyn Fs, dir: &Path, from: u64, writers: Writers) -> Result<Log> {
    let numbers: Vec<u64> = fs
        .read_dir(dir)
        .map_err(|error| Error::io("list", dir, error))?
        .iter()
        .filter(|entry| !entry.is_dir)
        .filter_map(|entry| names::parse_numbered(&entry.name))
        .filter(|&number| number > 0)
        .collect();
    let mut files = Vec::with_capacity(numbers.len());
    // Numbers of more than eight digits are not listed in their order.
    let mut numbers = numbers;
    numbers.sort_unstable();
    for (index, &number) in numbers.iter().enumerate() {
        let live = writers == Writers::Perhaps && index + 1 == numbers.len();
        files.push(read_segment(fs, dir, number, live)?);
    }
    Ok(judge(files, from))
}

fn read_segment(fs: &dyn Fs, dir: &Path, number: u64, live: bool) -> Result<SegmentFile> {
    let path = segment_path(dir, number);
    let to_error = |error| Error::io("read", &path, error);
    let reader = fs.open_read(&path).map_err(to_error)?;
    let len = reader.len().map_err(to_error)?;
    let file = if live {
        let mut bytes = vec![
            0;
            usize::try_from(len).map_err(|_too_long| to_error(
                std::io::ErrorKind::FileTooLarge.into()
            ))?
        ];
        reader.read_at(&mut bytes, 0).map_err(to_error)?;
        MappedFile::from_bytes(bytes)
    } else {
        fs.map(&path, len).map_err(to_error)?
    };
    let scan = match scan(&whole(&file).map_err(to_error)?, number) {
        Ok(scan) => Some(scan),
        Err(HeaderError::Malformed(_)) => None,
        Err(HeaderError::Version(version)) => {
            return Err(Error::unsupported(
                path,
                format!("log segment of version {version}"),
            ));
        }
    };
    Ok(SegmentFile {
        number,
        len,
        file,
        scan,
    })
}

fn whole(file: &MappedFile) -> std::io::Result<Cow<'_, [u8]>> {
    let len = usize::try_from(file.len()).map_err(|_too_long| std::io::ErrorKind::FileTooLarge)?;
    file.bytes(0, len)
}

/// A segment file as it was found; without a scan if its header is damaged.
struct SegmentFile {
    number: u64,
    len: u64,
    file: MappedFile,
    scan: Option<Scan>,
}

/// Decides what stands.
fn judge(files: Vec<SegmentFile>, from: u64) -> Log {
    let scans = || files.iter().filter_map(|file| file.scan.as_ref());
    let known_synced = scans().map(|scan| scan.known_synced).max().unwrap_or(0);
    let highest = scans().map(|scan| scan.highest_sequence).max().unwrap_or(0);
    let next_segment = files.last().map_or(0, |file| file.number) + 1;

    let mut walk = Walk {
        known_synced,
        last: None,
        suspect: None,
        end: None,
        damage: Vec::new(),
        torn: false,
    };
    // The lowest `previous` of all later segments bounds what stands in each.
    let mut limits = vec![u64::MAX; files.len()];
    let mut limit = u64::MAX;
    for (file, slot) in files.iter().zip(&mut limits).rev() {
        *slot = limit;
        limit = limit.min(
            file.scan
                .as_ref()
                .map_or(u64::MAX, |scan| scan.header.previous),
        );
    }
    let standing: Vec<usize> = files
        .iter()
        .zip(&limits)
        .map(|(file, &limit)| walk.segment(file, limit))
        .collect();
    walk.finish();

    let mut log = Log {
        segments: Vec::new(),
        damage: walk.damage,
        torn: None,
        unusable: Vec::new(),
        start: WalStart {
            segment: next_segment,
            sequence: highest.max(known_synced).max(walk.last.unwrap_or(0)) + 1,
            previous: walk.last.unwrap_or(0),
            known_synced: known_synced.min(walk.last.unwrap_or(0)),
            segments: Vec::new(),
        },
    };
    if let (true, Some((segment, offset))) = (walk.torn, walk.end) {
        let behind = files
            .iter()
            .filter(|file| file.number >= segment)
            .map(|file| file.len)
            .sum::<u64>();
        log.torn = Some(Torn {
            segment,
            offset,
            bytes: behind - offset,
        });
    }
    for (file, count) in files.into_iter().zip(standing) {
        log.take(file, count);
    }
    let wanted = log
        .start
        .segments
        .iter()
        .position(|info| info.number >= from);
    if let Some(index) = wanted {
        let first = log.start.segments[decodable_from(&log.start.segments, index)].number;
        log.segments.retain(|segment| segment.number >= first);
    } else {
        log.segments.clear();
    }
    log
}

impl Log {
    /// Adds a file of which `count` frames stand.
    fn take(&mut self, file: SegmentFile, count: usize) {
        let Some(mut scan) = file.scan else {
            self.unusable.push(file.number);
            self.start.segments.push(SegmentInfo {
                number: file.number,
                first_sequence: self.start.sequence,
                last_sequence: 0,
                bytes: file.len,
                continues: false,
            });
            return;
        };
        if count == 0 && !scan.frames.is_empty() {
            self.unusable.push(file.number);
        }
        scan.frames.truncate(count);
        let first_sequence = scan.header.first_sequence;
        let last = scan
            .frames
            .last()
            .map(|frame| first_sequence + u64::from(frame.sequence_offset));
        self.start.segments.push(SegmentInfo {
            number: file.number,
            first_sequence,
            last_sequence: last.unwrap_or(first_sequence - 1),
            bytes: file.len,
            continues: scan.header.continues,
        });
        if count > 0 {
            self.segments.push(SegmentFrames {
                number: file.number,
                first_sequence,
                continues: scan.header.continues,
                frames: scan.frames,
                file: file.file,
            });
        }
    }
}

/// Goes through all segments in order and looks for missing sequences.
struct Walk {
    known_synced: u64,
    /// Last sequence that stands, once there is a segment.
    last: Option<u64>,
    /// Bytes since then that do not verify: segment, offset, length.
    suspect: Option<(u64, u64, u64)>,
    /// Segment and position behind the last frame that stands.
    end: Option<(u64, u64)>,
    damage: Vec<Damage>,
    torn: bool,
}

impl Walk {
    /// Returns how many frames of the segment stand.
    fn segment(&mut self, file: &SegmentFile, limit: u64) -> usize {
        if self.torn {
            return 0;
        }
        let Some(scan) = &file.scan else {
            self.suspect.get_or_insert((file.number, 0, file.len));
            return 0;
        };
        let header = &scan.header;
        if header.first_sequence > limit {
            return 0;
        }
        match (self.last, self.suspect) {
            (Some(_), _) => {
                if !self.expect(header.previous + 1) {
                    return 0;
                }
            }
            // The first header of all is damaged: how much stood there is not known.
            (None, Some(_)) => self.lose(0, header.previous),
            (None, None) => {}
        }
        self.last = Some(header.first_sequence - 1);
        self.end = Some((file.number, SEGMENT_HEADERS_BYTES as u64));
        self.suspect = None;

        let mut bad = scan.bad.iter().peekable();
        for (index, frame) in scan.frames.iter().enumerate() {
            let sequence = header.first_sequence + u64::from(frame.sequence_offset);
            if sequence > limit {
                return index;
            }
            if let Some(bad) = bad.next_if(|bad| bad.frames_before <= index) {
                self.suspect = Some((file.number, bad.offset, bad.len));
            }
            if !self.expect(sequence) {
                return index;
            }
            self.last = Some(sequence);
            self.end = Some((file.number, frame.end()));
            self.suspect = None;
        }
        if let Some(bad) = bad.next() {
            self.suspect = Some((file.number, bad.offset, bad.len));
        }
        scan.frames.len()
    }

    /// Notes what is missing if the next frame is the `next`-th; answers whether the log goes on there.
    fn expect(&mut self, next: u64) -> bool {
        let first_lost = self.last.unwrap_or(0) + 1;
        if next <= first_lost {
            return true;
        }
        let last_lost = next - 1;
        if first_lost <= self.known_synced {
            self.lose(first_lost, last_lost.min(self.known_synced));
        }
        self.torn = last_lost > self.known_synced;
        !self.torn
    }

    /// Looks at what is left when no frame follows.
    fn finish(&mut self) {
        let Some(last) = self.last else { return };
        if !self.torn {
            if last < self.known_synced {
                self.lose(last + 1, self.known_synced);
            } else {
                self.torn = self.suspect.is_some();
            }
        }
    }

    fn lose(&mut self, first_sequence: u64, last_sequence: u64) {
        let at_end = || self.end.map(|(segment, offset)| (segment, offset, 0));
        let (segment, offset, bytes) = self.suspect.or_else(at_end).unwrap_or_default();
        self.damage.push(Damage {
            segment,
            offset,
            bytes,
            first_sequence,
            last_sequence,
        });
    }
}
