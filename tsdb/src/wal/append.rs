//! Adding a frame.

use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;

use super::buffer::FrameBuffer;
use super::format::FRAME_HEADER_BYTES;
use super::log::{Wal, Writer, count};
use crate::error::{Error, Result};

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Appended {
    /// It is in the log.
    Written {
        /// Its place in the sequence of frames.
        sequence: u64,
    },
    /// It is not: the open segment is another one than the frame was made for. Encode it again, each group's row behind
    /// a base unless it has one in this segment, and append it again.
    Rotated {
        /// The open segment.
        segment: u64,
    },
}

impl Wal {
    /// Writes a frame made for the segment `expected`, of which `base_bytes` are bases.
    ///
    /// It survives the death of the process when this returns; after a sync also the loss of power.
    ///
    /// # Errors
    ///
    /// The log is as it was before. [`Invalid`](crate::error::ErrorKind::Invalid) for an empty body,
    /// [`Limit`](crate::error::ErrorKind::Limit) for one that is too long; otherwise the disk's fault, and the next
    /// append tries again.
    pub(crate) fn append(
        &self,
        frame: &mut FrameBuffer,
        expected: u64,
        base_bytes: usize,
    ) -> Result<Appended> {
        if frame.body().is_empty() {
            return Err(Error::invalid("a frame has no body"));
        }
        let seal = frame.seal()?;
        let (sequence, unsynced_bytes) = {
            let mut writer = self.writer.lock();
            self.make_good(&mut writer)?;
            let frame_len = FRAME_HEADER_BYTES + frame.body().len();
            if writer.leave
                || writer.segment.is_full(self.config.segment_bytes, frame_len)
                || writer.segment.is_stuck()
            {
                self.begin_segment(&mut writer)?;
            }
            let open = writer.segment.header().number;
            if open != expected {
                return Ok(Appended::Rotated { segment: open });
            }
            let sequence = self.write(&mut writer, frame, seal)?;
            writer.segment.add_base_bytes(base_bytes);
            writer.last_body = sequence;
            (sequence, writer.tail.bytes())
        };
        if unsynced_bytes >= self.config.unsynced_bytes {
            // The frame is written, whatever becomes of the sync: its failure is the business of whoever asks for
            // durability, and is counted.
            drop(self.sync());
        }
        Ok(Appended::Written { sequence })
    }

    /// Writes two empty frames if what is known to be synced is nowhere in the log yet and no frame has come since: after
    /// a power cut, damage to synced frames is then told from a torn tail. Two, as a segment has its header twice: one
    /// flipped bit must not cost the mark. They wait for the next sync like any others.
    ///
    /// Answers the frames' sequences: like any others they must be published.
    pub(crate) fn note_synced(&self) -> Result<Option<RangeInclusive<u64>>> {
        let mut writer = self.writer.lock();
        let synced = self.synced_sequence();
        if writer.distrusted
            || writer.leave
            || synced < writer.last_body
            || writer.marked >= writer.last_body
        {
            return Ok(None);
        }
        if writer
            .segment
            .is_full(self.config.segment_bytes, 2 * FRAME_HEADER_BYTES)
            || writer.segment.is_stuck()
        {
            // Both headers of the new segment carry the mark.
            return self.begin_segment(&mut writer).map(|()| None);
        }
        let mut frame = FrameBuffer::new();
        let seal = frame.seal()?;
        let first = self.write(&mut writer, &mut frame, seal)?;
        // A second one that fails is counted, and takes nothing from the first.
        let last = self.write(&mut writer, &mut frame, seal).unwrap_or(first);
        Ok(Some(first..=last))
    }

    fn write(&self, writer: &mut Writer, frame: &mut FrameBuffer, seal: (u32, u32)) -> Result<u64> {
        let synced = self.synced_sequence();
        let sequence = writer
            .segment
            .write(frame, seal, synced)
            .inspect_err(|_| count(&self.counters.write_failures, 1))?;
        writer.marked = writer.marked.max(synced);
        writer.tail.push(sequence, frame.body());
        self.tail_bytes
            .store(writer.tail.bytes(), Ordering::Relaxed);
        // Pairs with the acquire in `last_sequence`.
        self.last.store(sequence, Ordering::Release);
        count(&self.counters.frames, 1);
        count(
            &self.counters.bytes,
            (FRAME_HEADER_BYTES + frame.body().len()) as u64,
        );
        Ok(sequence)
    }
}
