//! Reading the log while it is written, up to what is durable.

use std::path::PathBuf;
use std::sync::Arc;

use super::format::{
    FRAME_HEADER_BYTES, FrameHeader, SEGMENT_HEADERS_BYTES, SegmentHeader, body_crc,
};
use super::log::{SegmentInfo, Wal, segment_path};
use crate::error::{Error, Result};
use crate::fs::{Fs, ReadFile};

/// Reads durable frames one after the other, behind the writer. It holds no lock of the log between two frames, and a
/// segment that is cut while it is read stays readable to its end where the file system allows that.
pub(crate) struct Follower {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    /// Sequence of the frame to come.
    next: u64,
    segment: Option<Window>,
}

/// What a follower finds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Followed<'a> {
    /// The next frame; its body is empty where it only carries the mark of a sync.
    Frame {
        /// Its place in the sequence of frames.
        sequence: u64,
        /// What it says.
        body: &'a [u8],
        /// Whether what follows decodes without anything before it: the frame begins a segment that continues no other.
        is_fresh: bool,
    },
    /// Frames that are gone: cut from the log before they were read, or damaged.
    Lost {
        /// First sequence lost.
        first: u64,
        /// Last sequence lost.
        last: u64,
    },
    /// Nothing durable that was not read.
    CaughtUp,
}

/// A part of one segment in memory.
struct Window {
    header: SegmentHeader,
    path: PathBuf,
    file: Arc<dyn ReadFile>,
    bytes: Vec<u8>,
    /// Position of `bytes` in the file.
    start: u64,
    /// Position in `bytes` of the frame to come.
    at: usize,
}

/// What stands where the next frame should.
enum Found {
    Frame { sequence: u64, body_len: usize },
    Bad,
    End,
}

impl Follower {
    /// Returns a follower whose first frame is that of `sequence`.
    pub(crate) fn new(wal: &Wal, sequence: u64) -> Self {
        Self {
            fs: Arc::clone(&wal.fs),
            dir: wal.dir.clone(),
            next: sequence,
            segment: None,
        }
    }

    /// Returns the sequence of the frame to come.
    pub(crate) fn sequence(&self) -> u64 {
        self.next
    }

    /// Goes back to a frame, which the next call returns again.
    pub(crate) fn return_to(&mut self, sequence: u64) {
        self.next = sequence;
        self.segment = None;
    }

    /// Returns what comes next.
    ///
    /// # Errors
    ///
    /// The disk's; the next call tries again.
    pub(crate) fn next(&mut self, wal: &Wal) -> Result<Followed<'_>> {
        let synced = wal.synced_sequence();
        loop {
            if self.next > synced {
                return Ok(Followed::CaughtUp);
            }
            let Some(window) = &mut self.segment else {
                let from = self.next;
                match self.enter(wal, synced)? {
                    Some(lost_through) => {
                        return Ok(Followed::Lost {
                            first: from,
                            last: lost_through,
                        });
                    }
                    None => continue,
                }
            };
            let number = window.header.number;
            let found = match window.find(self.next)? {
                Found::Frame { sequence, body_len } if sequence == self.next => {
                    self.next += 1;
                    let is_fresh =
                        !window.header.continues && sequence == window.header.first_sequence;
                    // Looked up again: the borrow from above would outlive the loop.
                    let window = self.segment.as_mut().expect("the frame is in it");
                    let body = window.take(body_len);
                    return Ok(Followed::Frame {
                        sequence,
                        body,
                        is_fresh,
                    });
                }
                Found::Frame { sequence, .. } => Some(sequence),
                Found::Bad | Found::End => None,
            };
            let holder = holder(&wal.segments(), self.next);
            let Some(info) = holder.filter(|info| info.number == number) else {
                // It stands in a later segment, or its sequence was never used.
                self.segment = None;
                continue;
            };
            let first = self.next;
            self.next = found
                .unwrap_or(info.last_sequence + 1)
                .min(info.last_sequence + 1)
                .min(synced + 1);
            return Ok(Followed::Lost {
                first,
                last: self.next - 1,
            });
        }
    }

    /// Opens the segment the next frame stands in. Answers the last sequence lost where that frame is gone.
    fn enter(&mut self, wal: &Wal, synced: u64) -> Result<Option<u64>> {
        let segments = wal.segments();
        let oldest = segments
            .first()
            .map_or(u64::MAX, |info| info.first_sequence);
        let Some(info) = holder(&segments, self.next) else {
            // Sequences that were never used, or are void.
            self.next = synced + 1;
            return Ok(None);
        };
        if self.next < oldest {
            let last = oldest.min(synced + 1) - 1;
            self.next = last + 1;
            return Ok(Some(last));
        }
        self.next = self.next.max(info.first_sequence);
        let path = segment_path(&self.dir, info.number);
        let opened = self.fs.open_read(&path);
        let window = opened
            .map_err(|error| Error::io("open", &path, error))
            .and_then(|file| Window::open(path, file));
        match window {
            Ok(Some(window)) if window.header.number == info.number => {
                self.segment = Some(window);
                Ok(None)
            }
            Ok(_) => {
                let last = info.last_sequence.min(synced);
                self.next = last + 1;
                Ok(Some(last))
            }
            // Cut since the list was made, or taken away by somebody else.
            Err(error) if error.io_kind() == Some(std::io::ErrorKind::NotFound) => {
                let last = info.last_sequence.min(synced);
                self.next = last + 1;
                Ok(Some(last))
            }
            Err(error) => Err(error),
        }
    }
}

impl Window {
    /// Reads the header; `None` if neither copy verifies.
    fn open(path: PathBuf, file: Arc<dyn ReadFile>) -> Result<Option<Self>> {
        let to_error = |error| Error::io("read", &path, error);
        let len = file.len().map_err(to_error)?;
        let mut bytes = vec![0; SEGMENT_HEADERS_BYTES.min(usize::try_from(len).unwrap_or(0))];
        file.read_at(&mut bytes, 0).map_err(to_error)?;
        let Ok(header) = SegmentHeader::decode(&bytes) else {
            return Ok(None);
        };
        Ok(Some(Self {
            header,
            path,
            file,
            bytes: Vec::new(),
            start: SEGMENT_HEADERS_BYTES as u64,
            at: 0,
        }))
    }

    /// Goes to the first whole frame whose sequence is not below `wanted`.
    fn find(&mut self, wanted: u64) -> Result<Found> {
        let mut reread = false;
        loop {
            match self.look(wanted) {
                Found::End if self.read_on()? => {}
                Found::End => return Ok(Found::End),
                Found::Bad if !reread => {
                    // The bytes may have been read before they were written whole, or have been cut and written again.
                    reread = true;
                    self.start += self.at as u64;
                    self.at = 0;
                    self.bytes.clear();
                    if !self.read_on()? {
                        return Ok(Found::End);
                    }
                }
                Found::Bad => return self.resync(wanted),
                Found::Frame { sequence, body_len } if sequence < wanted => {
                    self.at += FRAME_HEADER_BYTES + body_len;
                }
                frame @ Found::Frame { .. } => return Ok(frame),
            }
        }
    }

    /// Looks for a whole frame behind bytes that do not verify.
    fn resync(&mut self, wanted: u64) -> Result<Found> {
        while self.read_on()? {}
        while self.at + FRAME_HEADER_BYTES < self.bytes.len() {
            self.at += 1;
            if let frame @ Found::Frame { sequence, .. } = self.look(wanted)
                && sequence >= wanted
            {
                return Ok(frame);
            }
        }
        Ok(Found::Bad)
    }

    /// Looks at the bytes in memory.
    fn look(&self, wanted: u64) -> Found {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some((head, behind)) = rest.split_first_chunk::<FRAME_HEADER_BYTES>() else {
            return Found::End;
        };
        let frame = FrameHeader::decode_unverified(head);
        if !frame.verify(head, self.header.salt) {
            return Found::Bad;
        }
        let sequence = self
            .header
            .first_sequence
            .saturating_add(u64::from(frame.sequence_offset));
        let body_len = frame.body_len as usize;
        match behind.get(..body_len) {
            None => Found::End,
            // Only what is wanted is worth a checksum.
            Some(body) if sequence < wanted || body_crc(body) == frame.body_crc => {
                Found::Frame { sequence, body_len }
            }
            Some(_) => Found::Bad,
        }
    }

    /// Reads more of the file behind what is in memory; `false` at its end.
    fn read_on(&mut self) -> Result<bool> {
        self.bytes.drain(..self.at);
        self.start += self.at as u64;
        self.at = 0;
        let to_error = |error| Error::io("read", &self.path, error);
        let len = self.file.len().map_err(to_error)?;
        let have = self.bytes.len();
        let position = self.start + have as u64;
        let more = len
            .saturating_sub(position)
            .min(WINDOW_BYTES.max(have as u64));
        if more == 0 {
            return Ok(false);
        }
        self.bytes
            .resize(have + usize::try_from(more).unwrap_or(0), 0);
        let read = self.file.read_at(&mut self.bytes[have..], position);
        if let Err(error) = read {
            self.bytes.truncate(have);
            return Err(Error::io("read", &self.path, error));
        }
        Ok(true)
    }

    /// Returns the body of the frame found and goes behind it.
    fn take(&mut self, body_len: usize) -> &[u8] {
        let body = self.at + FRAME_HEADER_BYTES;
        self.at = body + body_len;
        &self.bytes[body..self.at]
    }
}

/// Returns the segment that `sequence` stands in, or else the first one behind it that has frames.
pub(super) fn holder(segments: &[SegmentInfo], sequence: u64) -> Option<SegmentInfo> {
    segments
        .iter()
        .find(|info| info.last_sequence >= sequence.max(info.first_sequence))
        .copied()
}

/// Bytes read at once.
const WINDOW_BYTES: u64 = 1 << 20;
