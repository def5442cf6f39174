//! Writing one segment.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::buffer::FrameBuffer;
use super::format::{FrameHeader, SEGMENT_HEADERS_BYTES, SegmentHeader, body_crc};
use crate::error::{Error, Result};
use crate::fs::{AppendFile, Fs};

/// A handle that only syncs, so that appends through the other one go on meanwhile.
pub(super) type SyncHandle = Arc<Mutex<Box<dyn AppendFile>>>;

/// The segment that takes frames.
pub(super) struct SegmentWriter {
    header: SegmentHeader,
    path: PathBuf,
    file: Box<dyn AppendFile>,
    sync_handle: SyncHandle,
    next_sequence: u64,
    /// Up to here the file holds whole frames.
    len: u64,
    /// Whether remains of a failed write may stand behind `len`.
    remains: bool,
    base_bytes: u64,
}

impl SegmentWriter {
    /// Creates the file and writes its headers; nothing is synced. On an error the file is removed, if that works.
    pub(super) fn create(fs: &dyn Fs, path: &Path, header: SegmentHeader) -> Result<Self> {
        let mut file = fs
            .create(path)
            .map_err(|error| Error::io("create", path, error))?;
        let written = file
            .append(&header.encode())
            .map_err(|error| Error::io("write to", path, error))
            .and_then(|()| {
                fs.open_append(path)
                    .map_err(|error| Error::io("open", path, error))
            });
        match written {
            Ok(sync_file) => Ok(Self {
                header,
                path: path.to_owned(),
                file,
                sync_handle: Arc::new(Mutex::new(sync_file)),
                next_sequence: header.first_sequence,
                len: SEGMENT_HEADERS_BYTES as u64,
                remains: false,
                base_bytes: 0,
            }),
            Err(error) => {
                // A segment without frames says nothing: if it stays, readers pass over it.
                drop(fs.remove_file(path));
                Err(error)
            }
        }
    }

    pub(super) fn header(&self) -> &SegmentHeader {
        &self.header
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Returns the sequence of the last frame written, or the one before the first.
    pub(super) fn last_sequence(&self) -> u64 {
        self.next_sequence - 1
    }

    pub(super) fn sync_handle(&self) -> SyncHandle {
        Arc::clone(&self.sync_handle)
    }

    /// Tells whether another frame of `frame_len` bytes is to go to the next segment. The bases make up at most a
    /// sixteenth of a segment, however many series there are.
    pub(super) fn is_full(&self, segment_bytes: u64, frame_len: usize) -> bool {
        self.len >= segment_bytes.max(BASES_FACTOR * self.base_bytes)
            || self.len + frame_len as u64 > u64::from(u32::MAX)
            || self.next_sequence - self.header.first_sequence >= u64::from(u32::MAX)
    }

    /// Tells whether the remains of a failed write cannot be cut off: no frame can follow them.
    pub(super) fn is_stuck(&mut self) -> bool {
        self.cut_remains().is_err()
    }

    /// Writes one frame and returns its sequence. After an error the sequence is free again.
    pub(super) fn write(
        &mut self,
        frame: &mut FrameBuffer,
        seal: (u32, u32),
        known_synced: u64,
    ) -> Result<u64> {
        let (body_len, body_crc) = seal;
        let sequence = self.next_sequence;
        let header = FrameHeader {
            body_len,
            sequence_offset: u32::try_from(sequence - self.header.first_sequence)
                .expect("a segment is full before its sequences run out"),
            distance: u32::try_from(sequence - known_synced).unwrap_or(u32::MAX),
            body_crc,
        };
        let bytes = frame.complete(header, self.header.salt);
        self.write_bytes(bytes)?;
        self.next_sequence += 1;
        Ok(sequence)
    }

    /// Writes frames that were written elsewhere before, with their sequences.
    pub(super) fn write_again<'a>(
        &mut self,
        frames: impl Iterator<Item = (u64, &'a [u8])>,
    ) -> Result<()> {
        let mut bytes = Vec::new();
        for (sequence, body) in frames {
            debug_assert_eq!(
                sequence, self.next_sequence,
                "frames are written again in order"
            );
            let offset = sequence - self.header.first_sequence;
            let header = FrameHeader {
                body_len: u32::try_from(body.len()).expect("a frame is shorter than 4 GiB"),
                sequence_offset: u32::try_from(offset).expect("the frames came from one log"),
                distance: u32::try_from(sequence - self.header.known_synced).unwrap_or(u32::MAX),
                body_crc: body_crc(body),
            };
            bytes.extend_from_slice(&header.encode(self.header.salt));
            bytes.extend_from_slice(body);
            self.next_sequence += 1;
            if bytes.len() >= WRITE_AGAIN_BYTES {
                self.write_bytes(&bytes)?;
                bytes.clear();
            }
        }
        self.write_bytes(&bytes)
    }

    /// Counts bytes of bases written here.
    pub(super) fn add_base_bytes(&mut self, bytes: usize) {
        self.base_bytes += bytes as u64;
    }

    fn write_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.cut_remains()?;
        if let Err(error) = self.file.append(bytes) {
            self.remains = true;
            // If cutting fails now, the next write tries again before anything else, and leaves the segment if it must.
            drop(self.cut_remains());
            return Err(Error::io("append to", &self.path, error));
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn cut_remains(&mut self) -> Result<()> {
        if self.remains {
            self.file
                .truncate(self.len)
                .map_err(|error| Error::io("truncate", &self.path, error))?;
            self.remains = false;
        }
        Ok(())
    }
}

/// A segment is at least so many times its bases.
const BASES_FACTOR: u64 = 16;

/// Frames written again go out in writes of about this size.
const WRITE_AGAIN_BYTES: usize = 1 << 20;
