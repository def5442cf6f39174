//! The log by itself, without a database on top.

use std::path::Path;
use std::sync::Arc;

use crate::error::Result;
use crate::fs::Fs;
use crate::wal::{Appended, FrameBuffer, Wal, WalConfig, Writers, read_log};

/// A log that takes frames of any content.
#[derive(Debug)]
pub struct LogWriter {
    wal: Wal,
    frame: FrameBuffer,
}

impl LogWriter {
    /// Opens the log in `dir`, which exists, behind what stands there.
    pub fn open(fs: Arc<dyn Fs>, dir: &Path, segment_bytes: u64) -> Result<Self> {
        let start = read_log(&*fs, dir, 0, Writers::None)?.start();
        let config = WalConfig {
            segment_bytes,
            unsynced_bytes: 4 << 20,
            sync_due_bytes: 1 << 20,
            salt_seed: 42,
        };
        Ok(Self {
            wal: Wal::open(fs, dir, config, start)?,
            frame: FrameBuffer::new(),
        })
    }

    /// Appends a frame with this body, which is not empty.
    pub fn append(&mut self, body: &[u8]) -> Result<u64> {
        self.frame.clear();
        self.frame.out().extend_from_slice(body);
        let mut segment = self.wal.segment();
        loop {
            match self.wal.append(&mut self.frame, segment, 0)? {
                Appended::Written { sequence } => return Ok(sequence),
                Appended::Rotated { segment: open } => segment = open,
            }
        }
    }

    /// Removes all segments but the open one.
    pub fn cut(&self) -> Result<()> {
        self.wal.cut_before(u64::MAX)
    }
}

/// Reads and verifies every frame of the log in `dir`; returns how many there are and the bytes of their bodies.
pub fn read_all(fs: &dyn Fs, dir: &Path) -> Result<(u64, u64)> {
    let (mut frames, mut bytes) = (0, 0);
    for segment in &read_log(fs, dir, 0, Writers::None)?.segments {
        let content = segment.bytes()?;
        for (_, body) in segment.bodies(&content) {
            frames += 1;
            bytes += body.len() as u64;
        }
    }
    Ok((frames, bytes))
}
