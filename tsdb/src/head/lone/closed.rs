//! Chunks that take no more samples: in memory at first, then many together in a piece file.

use std::sync::Arc;

use crate::chunk::gorilla;
use crate::encoding::Malformed;
use crate::error::Result;
use crate::piece::{PieceChunk, put_chunks};
use crate::sample::Samples;
use crate::time::{TimeRange, Timestamp};

use super::LoneStore;
use super::series::in_memory;
use super::stream::Stream;
use crate::head::layout::Layout;
use crate::head::piece_files::{Piece, PieceFiles};

/// Bytes of closed chunks in memory after which they go to a file.
pub(super) const SPILL_BYTES: usize = 1 << 20;

/// Bytes of chunks after which a piece ends: as much is read and verified for one chunk.
const PIECE_BYTES: usize = 64 * 1024;

/// A chunk that takes no more samples.
#[derive(Debug, Clone)]
pub(crate) struct ClosedChunk {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    /// Of its newest sample.
    pub(super) last_sequence: u64,
    pub(super) place: ChunkPlace,
}

/// Where the bytes of a chunk are.
#[derive(Debug, Clone)]
pub(super) enum ChunkPlace {
    Memory(Arc<[u8]>),
    Piece {
        piece: Arc<Piece>,
        offset: u32,
        len: u32,
    },
}

impl ClosedChunk {
    /// Returns a chunk that a piece holds.
    pub(crate) fn stored(piece: &Arc<Piece>, chunk: &PieceChunk) -> Self {
        Self {
            first: chunk.first,
            last: chunk.last,
            last_sequence: chunk.last_sequence,
            place: ChunkPlace::Piece {
                piece: Arc::clone(piece),
                offset: chunk.offset,
                len: chunk.len,
            },
        }
    }

    /// Appends all samples to `out`.
    pub(super) fn decode(&self, out: &mut Samples) -> Result<()> {
        match &self.place {
            ChunkPlace::Memory(bytes) => gorilla::decode(bytes, out).map_err(in_memory),
            ChunkPlace::Piece { piece, offset, len } => piece.with_body(|_, body| {
                let start = *offset as usize;
                let bytes = body.get(start..start + *len as usize).ok_or(Malformed {
                    what: "chunk beyond its piece",
                    offset: start,
                })?;
                gorilla::decode(bytes, out)
            }),
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match &self.place {
            ChunkPlace::Memory(bytes) => bytes.len() + 16,
            // Shared by hundreds of chunks.
            ChunkPlace::Piece { .. } => 0,
        }
    }
}

/// A closed chunk on its way to a file.
struct Spilled {
    slot: u32,
    bytes: Arc<[u8]>,
    chunk: PieceChunk,
}

impl LoneStore {
    /// Writes the closed chunks that are in memory to piece files, without holding a lock meanwhile.
    ///
    /// What lies before `boundary` stays: the file of its range is about to go, and the next flush takes it soon.
    pub(crate) fn spill(
        &self,
        files: &PieceFiles,
        boundary: Timestamp,
        ids_of: impl FnOnce(&[u32]) -> Vec<u64>,
    ) -> Result<()> {
        let mut slots = self.take_unspilled();
        slots.sort_unstable();
        slots.dedup();
        let ids = ids_of(&slots);
        let mut spilled = Vec::new();
        for (&slot, &id) in slots.iter().zip(&ids).filter(|(_, id)| **id != 0) {
            self.collect_unspilled(slot, id, boundary, &mut spilled);
        }
        let range_of = |spilled: &Spilled| TimeRange::aligned(spilled.chunk.first, self.range_ms);
        spilled.sort_by_key(|spilled| range_of(spilled).start);
        let written = spilled
            .chunk_by_mut(|a, b| range_of(a) == range_of(b))
            .try_for_each(|same| self.spill_range(range_of(&same[0]), same, files));
        if written.is_err() {
            // Some of it may be in files by now; what is not is found again.
            self.put_unspilled_back(slots);
        }
        written
    }

    fn collect_unspilled(&self, slot: u32, id: u64, boundary: Timestamp, out: &mut Vec<Spilled>) {
        self.with_page(slot, |page, blocks| {
            for chunk in page
                .get(slot, blocks)
                .iter()
                .flat_map(|series| series.stream.closed())
            {
                let ChunkPlace::Memory(bytes) = &chunk.place else {
                    continue;
                };
                if TimeRange::aligned(chunk.first, self.range_ms).end <= boundary {
                    continue;
                }
                out.push(Spilled {
                    slot,
                    bytes: Arc::clone(bytes),
                    chunk: PieceChunk {
                        id,
                        first: chunk.first,
                        last: chunk.last,
                        last_sequence: chunk.last_sequence,
                        offset: 0,
                        len: bytes.len() as u32,
                    },
                });
            }
        });
    }

    fn spill_range(
        &self,
        range: TimeRange,
        mut spilled: &mut [Spilled],
        files: &PieceFiles,
    ) -> Result<()> {
        let layout = Arc::new(Layout::new(Vec::new()));
        let (mut bytes, mut out) = (Vec::new(), Vec::new());
        while !spilled.is_empty() {
            bytes.clear();
            let mut count = 0;
            while count < spilled.len() && bytes.len() < PIECE_BYTES {
                bytes.extend_from_slice(&spilled[count].bytes);
                count += 1;
            }
            let (page, rest) = spilled.split_at_mut(count);
            let mut chunks: Vec<PieceChunk> = page.iter().map(|spilled| spilled.chunk).collect();
            out.clear();
            put_chunks(&mut chunks, &bytes, &mut out);
            let piece = files.append(range, &out, &layout)?;
            for (spilled, chunk) in page.iter().zip(&chunks) {
                self.replace(spilled, ClosedChunk::stored(&piece, chunk));
            }
            spilled = rest;
        }
        Ok(())
    }

    /// Puts the stored chunk in the place of the one in memory, if that is still there.
    fn replace(&self, spilled: &Spilled, stored: ClosedChunk) {
        let is_it = |chunk: &&mut ClosedChunk| matches!(&chunk.place, ChunkPlace::Memory(bytes) if Arc::ptr_eq(bytes, &spilled.bytes));
        self.with_page(spilled.slot, |page, _| {
            let chunks = page.stream_mut(spilled.slot).map(Stream::closed_mut);
            if let Some(chunk) = chunks.and_then(|chunks| chunks.iter_mut().find(is_it)) {
                *chunk = stored;
            }
        });
    }

    /// Returns the pieces that chunks are in, each once.
    pub(crate) fn pieces(&self) -> Vec<Arc<Piece>> {
        let mut pieces: Vec<Arc<Piece>> = Vec::new();
        self.for_each(|_, series| {
            pieces.extend(
                series
                    .stream
                    .closed()
                    .iter()
                    .filter_map(|chunk| match &chunk.place {
                        ChunkPlace::Piece { piece, .. } => Some(Arc::clone(piece)),
                        ChunkPlace::Memory(_) => None,
                    }),
            );
        });
        pieces.sort_unstable_by_key(|piece| Arc::as_ptr(piece) as usize);
        pieces.dedup_by(|a, b| Arc::ptr_eq(a, b));
        pieces
    }

    /// Leads all chunks of a piece to its copy.
    pub(crate) fn replace_piece(&self, old: &Arc<Piece>, new: &Arc<Piece>) {
        self.for_each_page(|_, page, _| {
            for chunk in page.streams_mut().iter_mut().flat_map(Stream::closed_mut) {
                if let ChunkPlace::Piece { piece, .. } = &mut chunk.place
                    && Arc::ptr_eq(piece, old)
                {
                    *piece = Arc::clone(new);
                }
            }
        });
    }
}
