//! Finding the frames of one segment.

use super::format::{
    FRAME_HEADER_BYTES, FrameHeader, SEGMENT_HEADERS_BYTES, SegmentHeader, body_crc,
};

/// Where a verified frame's body stands in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameRef {
    /// Sequence less the segment's first one.
    pub(crate) sequence_offset: u32,
    /// Position of the body in the file.
    pub(crate) offset: u32,
    /// Bytes of the body.
    pub(crate) len: u32,
}

impl FrameRef {
    /// Returns the position behind the frame.
    pub(super) fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.len)
    }
}

/// Bytes that do not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadBytes {
    pub(super) offset: u64,
    pub(super) len: u64,
    /// How many frames stand before them.
    pub(super) frames_before: usize,
}

/// What one segment holds.
#[derive(Debug)]
pub(super) struct Scan {
    /// All that verify, empty ones included, by ascending sequence.
    pub(super) frames: Vec<FrameRef>,
    pub(super) bad: Vec<BadBytes>,
    /// Highest sequence that any header here knows to be synced.
    pub(super) known_synced: u64,
    /// Highest sequence that any header here speaks of.
    pub(super) highest_sequence: u64,
}

/// Looks at all bytes of a segment behind its header.
pub(super) fn scan(bytes: &[u8], header: &SegmentHeader) -> Scan {
    let mut scanner = Scanner {
        bytes,
        salt: header.salt,
        first_sequence: header.first_sequence,
        scan: Scan {
            frames: Vec::new(),
            bad: Vec::new(),
            known_synced: header.known_synced,
            highest_sequence: header.first_sequence - 1,
        },
        offset_min: 0,
    };
    scanner.run();
    scanner.scan
}

struct Scanner<'a> {
    bytes: &'a [u8],
    salt: u32,
    first_sequence: u64,
    scan: Scan,
    /// Lowest sequence offset that the next frame may have.
    offset_min: u64,
}

/// What stands at a position.
enum Found {
    Frame {
        len: u32,
        sequence_offset: u32,
    },
    /// The header verifies, the body does not.
    BadBody {
        len: u32,
    },
    /// The header verifies, the file ends before the body does.
    Cut,
    Nothing,
}

impl Scanner<'_> {
    fn run(&mut self) {
        let mut position = SEGMENT_HEADERS_BYTES;
        while position < self.bytes.len() {
            match self.look(position) {
                Found::Frame {
                    len,
                    sequence_offset,
                } => {
                    let offset = position + FRAME_HEADER_BYTES;
                    // A file of more than 4 GiB is none of ours; the rest of it counts as bad bytes.
                    let Ok(body_offset) = u32::try_from(offset) else {
                        return self.add_bad(position, self.bytes.len());
                    };
                    self.scan.frames.push(FrameRef {
                        sequence_offset,
                        offset: body_offset,
                        len,
                    });
                    self.offset_min = u64::from(sequence_offset) + 1;
                    position = offset + len as usize;
                }
                Found::BadBody { len } => {
                    let end = position + FRAME_HEADER_BYTES + len as usize;
                    self.add_bad(position, end);
                    position = end;
                }
                Found::Cut => return self.add_bad(position, self.bytes.len()),
                Found::Nothing => {
                    let next = self.resync(position + 1);
                    self.add_bad(position, next);
                    position = next;
                }
            }
        }
    }

    /// Returns the position of the next whole frame at or behind `from`, or the end.
    fn resync(&mut self, from: usize) -> usize {
        (from..self.bytes.len())
            .find(|&position| matches!(self.look(position), Found::Frame { .. }))
            .unwrap_or(self.bytes.len())
    }

    #[inline]
    fn look(&mut self, position: usize) -> Found {
        let rest = self.bytes.get(position..).unwrap_or_default();
        let Some((head, behind)) = rest.split_first_chunk::<FRAME_HEADER_BYTES>() else {
            return Found::Nothing;
        };
        let frame = FrameHeader::decode_unverified(head);
        // Two comparisons that fail for nearly all positions of a resync, before the checksum.
        let sequence_offset = u64::from(frame.sequence_offset);
        let plausible = sequence_offset >= self.offset_min
            && sequence_offset - self.offset_min <= (self.bytes.len() / FRAME_HEADER_BYTES) as u64;
        if !plausible || !frame.verify(head, self.salt) {
            return Found::Nothing;
        }
        let sequence = self.first_sequence.saturating_add(sequence_offset);
        self.scan.known_synced = self.scan.known_synced.max(frame.known_synced(sequence));
        self.scan.highest_sequence = self.scan.highest_sequence.max(sequence);
        match behind.get(..frame.body_len as usize) {
            None => Found::Cut,
            Some(body) if body_crc(body) == frame.body_crc => Found::Frame {
                len: frame.body_len,
                sequence_offset: frame.sequence_offset,
            },
            Some(_) => Found::BadBody {
                len: frame.body_len,
            },
        }
    }

    fn add_bad(&mut self, from: usize, to: usize) {
        let frames_before = self.scan.frames.len();
        match self.scan.bad.last_mut() {
            // Neighbours with no frame in between are one piece of damage.
            Some(last) if last.frames_before == frames_before => last.len = to as u64 - last.offset,
            _ => self.scan.bad.push(BadBytes {
                offset: from as u64,
                len: (to - from) as u64,
                frames_before,
            }),
        }
    }
}
