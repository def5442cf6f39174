//! `prometheus.ChunkedReadResponse`: frames of the chunks of one series each.

use std::io::{self, Write};

use crate::encoding::put_uvarint;
use crate::limits::READ_FRAME_BYTES_MAX;
use crate::query::Chunk;
use crate::remote::wire::{put_bytes, put_header, put_labels, put_number};

/// Writes frames: length as a varint, checksum (CRC-32C, big endian), message.
pub struct FrameWriter<'w> {
    out: &'w mut dyn Write,
    labels: Vec<u8>,
    chunks: Vec<u8>,
    chunk: Vec<u8>,
    frame: Vec<u8>,
}

impl std::fmt::Debug for FrameWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameWriter").finish_non_exhaustive()
    }
}

impl<'w> FrameWriter<'w> {
    /// Returns a writer to `out`, which gets two writes for each frame.
    pub fn new(out: &'w mut dyn Write) -> Self {
        Self {
            out,
            labels: Vec::new(),
            chunks: Vec::new(),
            chunk: Vec::new(),
            frame: Vec::new(),
        }
    }

    /// Writes the chunks of a series of the query with this place in the request: nothing if there are none, and as many
    /// frames as it takes, none longer than [`READ_FRAME_BYTES_MAX`].
    pub fn write_series<'l>(
        &mut self,
        query: usize,
        labels: impl IntoIterator<Item = (&'l str, &'l str)>,
        chunks: impl IntoIterator<Item = Chunk>,
    ) -> io::Result<()> {
        self.labels.clear();
        put_labels(&mut self.labels, labels);
        self.chunks.clear();
        for chunk in chunks {
            self.chunk.clear();
            put_number(&mut self.chunk, 1, chunk.first);
            put_number(&mut self.chunk, 2, chunk.last);
            put_number(&mut self.chunk, 3, XOR);
            put_bytes(&mut self.chunk, 4, &chunk.bytes);
            let len = self.labels.len() + self.chunks.len() + self.chunk.len() + OVERHEAD_BYTES;
            if len > READ_FRAME_BYTES_MAX && !self.chunks.is_empty() {
                self.write_frame(query)?;
            }
            put_header(&mut self.chunks, 2, self.chunk.len());
            self.chunks.extend_from_slice(&self.chunk);
        }
        if self.chunks.is_empty() {
            return Ok(());
        }
        self.write_frame(query)
    }

    fn write_frame(&mut self, query: usize) -> io::Result<()> {
        self.frame.clear();
        put_header(&mut self.frame, 1, self.labels.len() + self.chunks.len());
        self.frame.extend_from_slice(&self.labels);
        self.frame.extend_from_slice(&self.chunks);
        put_number(&mut self.frame, 2, query as i64);
        self.chunks.clear();
        let mut prefix = Vec::with_capacity(PREFIX_BYTES_MAX);
        put_uvarint(&mut prefix, self.frame.len() as u64);
        prefix.extend_from_slice(&crc32c::crc32c(&self.frame).to_be_bytes());
        self.out.write_all(&prefix)?;
        self.out.write_all(&self.frame)
    }
}

/// `Chunk.Encoding.XOR`.
const XOR: i64 = 1;

/// Tags and lengths around a frame's chunks, and the place of the query.
const OVERHEAD_BYTES: usize = 64;

const PREFIX_BYTES_MAX: usize = 14;
