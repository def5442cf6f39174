//! A frame in the making.

use super::format::{FRAME_HEADER_BYTES, FrameHeader, body_crc};
use crate::error::{Error, Result};
use crate::limits::FRAME_BYTES_MAX;

/// The body of one frame with room for its header in front, so that both go out in one write without a copy.
#[derive(Debug, Clone)]
pub(crate) struct FrameBuffer {
    bytes: Vec<u8>,
}

impl FrameBuffer {
    /// Returns a buffer with an empty body.
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; FRAME_HEADER_BYTES],
        }
    }

    /// Empties the body and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(FRAME_HEADER_BYTES, 0);
    }

    /// Returns the vector to append the body to. What stands in it already must stay.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Returns the body.
    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes[FRAME_HEADER_BYTES..]
    }

    /// Returns the body's length and checksum: what can be said before the frame has a place.
    pub(super) fn seal(&self) -> Result<(u32, u32)> {
        let body = self.body();
        match u32::try_from(body.len()) {
            Ok(len) if body.len() <= FRAME_BYTES_MAX => Ok((len, body_crc(body))),
            _ => Err(Error::limit(format!(
                "frame of {} bytes; at most {FRAME_BYTES_MAX} are allowed",
                body.len()
            ))),
        }
    }

    /// Fills in the header and returns the whole frame.
    pub(super) fn complete(&mut self, header: FrameHeader, salt: u32) -> &[u8] {
        self.bytes[..FRAME_HEADER_BYTES].copy_from_slice(&header.encode(salt));
        &self.bytes
    }
}

impl Default for FrameBuffer {
    fn default() -> Self {
        Self::new()
    }
}
