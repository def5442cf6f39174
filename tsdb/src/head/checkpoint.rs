//! The head made durable without the log, so that the log can be cut and a restart is short.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::encoding::{ByteReader, Malformed, crc32, put_uvarint, seal};
use crate::error::{Error, Result};
use crate::frame::{DeletedRange, read_tombstones, write_tombstones};
use crate::fs::{self, AppendFile, Fs, names};
use crate::piece::{Content, PieceHeader};

use super::Head;
use super::flushed::{Flushed, FlushedPart};
use super::group::Sealer;
use super::layout::Layout;
use super::lone::{ClosedChunk, LoneSeries};
use super::piece_files::{LoadedPiece, Piece, PieceFileLen};
use super::tombstones::Deleted;

const MAGIC: &[u8; 8] = b"TSDBCKP1";
const LONE_MAGIC: &[u8; 8] = b"TSDBLON1";

/// What a restart begins with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Everything up to this sequence is in piece files, the lone file and the series store.
    pub(crate) sequence: u64,
    /// First segment of the log that is still needed.
    pub(crate) segment: u64,
    /// Below it nothing is taken in order.
    pub(crate) boundary: i64,
    /// Newest timestamp committed.
    newest: i64,
    /// What blocks hold.
    flushed: Flushed,
    next_series: u64,
    next_group: u64,
    /// Number of the lone file, 0 for none.
    pub(crate) lone_file: u64,
    piece_files: Vec<PieceFileLen>,
    tombstones: Vec<(u64, Vec<DeletedRange>)>,
}

impl Checkpoint {
    /// Returns a checkpoint of nothing.
    pub(crate) fn empty() -> Self {
        Self {
            boundary: i64::MIN,
            newest: i64::MIN,
            ..Self::default()
        }
    }

    /// Reads the checkpoint of a database, if it has one.
    pub(crate) fn load(fs: &dyn Fs, dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(names::CHECKPOINT);
        if !fs
            .exists(&path)
            .map_err(|error| Error::io("look for", &path, error))?
        {
            return Ok(None);
        }
        let bytes = read_file(fs, &path)?;
        if bytes.starts_with(b"TSDBCKP")
            && !bytes.starts_with(MAGIC)
            && ByteReader::checked(&bytes).is_ok()
        {
            return Err(Error::unsupported(&path, "checkpoint of a newer version"));
        }
        Self::decode(&bytes)
            .map(Some)
            .map_err(|malformed| Error::corruption(&path, malformed.offset as u64, malformed.what))
    }

    /// Makes this the checkpoint of a database.
    pub(crate) fn store(&self, fs: &dyn Fs, dir: &Path) -> Result<()> {
        let path = dir.join(names::CHECKPOINT);
        fs::replace(fs, &path, &self.encode()).map_err(|error| Error::io("replace", &path, error))
    }

    /// Returns a checkpoint of the files there are, for when the real one is damaged: all pieces that verify, the newest
    /// lone file, and the whole log over them.
    pub(crate) fn rebuild(fs: &dyn Fs, dir: &Path, boundary: i64) -> Result<Self> {
        let head = dir.join(names::HEAD);
        let mut checkpoint = Self {
            boundary,
            ..Self::empty()
        };
        for entry in fs
            .read_dir(&head)
            .map_err(|error| Error::io("list", &head, error))?
        {
            if let Some(number) = names::parse_pieces(&entry.name) {
                checkpoint.piece_files.push(PieceFileLen {
                    number,
                    len: entry.len,
                });
            }
            if let Some(number) = names::parse_lone(&entry.name) {
                checkpoint.lone_file = checkpoint.lone_file.max(number);
            }
        }
        Ok(checkpoint)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&self.segment.to_le_bytes());
        out.extend_from_slice(&self.boundary.to_le_bytes());
        out.extend_from_slice(&self.newest.to_le_bytes());
        put_uvarint(&mut out, self.flushed.parts().len() as u64);
        for part in self.flushed.parts() {
            out.extend_from_slice(&part.before.to_le_bytes());
            out.extend_from_slice(&part.through.to_le_bytes());
        }
        out.extend_from_slice(&self.next_series.to_le_bytes());
        out.extend_from_slice(&self.next_group.to_le_bytes());
        out.extend_from_slice(&self.lone_file.to_le_bytes());
        put_uvarint(&mut out, self.piece_files.len() as u64);
        for file in &self.piece_files {
            put_uvarint(&mut out, file.number);
            put_uvarint(&mut out, file.len);
        }
        put_uvarint(&mut out, self.tombstones.len() as u64);
        for (sequence, ranges) in &self.tombstones {
            out.extend_from_slice(&sequence.to_le_bytes());
            write_tombstones(&mut out, ranges);
        }
        seal(&mut out, 0);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = ByteReader::checked(bytes)?;
        if reader.bytes(MAGIC.len())? != MAGIC {
            return Err(Malformed {
                what: "not a checkpoint of version 1",
                offset: 0,
            });
        }
        let mut checkpoint = Self {
            sequence: reader.u64()?,
            segment: reader.u64()?,
            boundary: reader.i64()?,
            newest: reader.i64()?,
            flushed: read_flushed(&mut reader)?,
            next_series: reader.u64()?,
            next_group: reader.u64()?,
            lone_file: reader.u64()?,
            ..Self::default()
        };
        for _ in 0..reader.uvarint_max(reader.remaining() / 2, "more piece files than bytes")? {
            checkpoint.piece_files.push(PieceFileLen {
                number: reader.uvarint()?,
                len: reader.uvarint()?,
            });
        }
        for _ in 0..reader.uvarint_max(reader.remaining() / 9, "more tombstones than bytes")? {
            checkpoint
                .tombstones
                .push((reader.u64()?, read_tombstones(&mut reader)?));
        }
        reader.expect_end()?;
        Ok(checkpoint)
    }
}

/// What restoring a checkpoint met.
#[derive(Debug, Default)]
pub(crate) struct RestoreReport {
    /// Damaged units, each costing what it held.
    pub(crate) damage: Vec<Error>,
    /// Samples in pieces and lone chunks are not counted, pieces are.
    pub(crate) pieces: u64,
}

impl Head {
    /// Restores what a checkpoint covers, except the definitions of series, which must be there.
    pub(crate) fn restore(
        &self,
        checkpoint: &Checkpoint,
        fs: &dyn Fs,
        dir: &Path,
    ) -> Result<RestoreReport> {
        let mut report = RestoreReport::default();
        self.raise_boundary(checkpoint.boundary);
        self.max_time
            .fetch_max(checkpoint.newest, Ordering::Relaxed);
        self.flushed.lock().clone_from(&checkpoint.flushed);
        self.next_series
            .fetch_max(checkpoint.next_series, Ordering::Relaxed);
        self.next_group
            .fetch_max(checkpoint.next_group, Ordering::Relaxed);
        for &file in &checkpoint.piece_files {
            self.restore_pieces(file, &checkpoint.flushed, &mut report);
        }
        self.remove_orphans(checkpoint, fs, dir)?;
        if checkpoint.lone_file > 0 {
            let path = dir
                .join(names::HEAD)
                .join(names::lone(checkpoint.lone_file));
            match read_file(fs, &path) {
                Ok(bytes) => self.restore_lone(&bytes, &path, &mut report),
                Err(error) => report.damage.push(error),
            }
        }
        let slots = self.slots.read();
        let mut tombstones = self.tombstones.write();
        for (sequence, ranges) in &checkpoint.tombstones {
            for range in ranges {
                if let Some(slot) = slots.find(range.id) {
                    tombstones.add(
                        slot,
                        Deleted {
                            sequence: *sequence,
                            first: range.first,
                            last: range.last,
                        },
                    );
                }
            }
        }
        self.publisher.restart(checkpoint.sequence);
        Ok(report)
    }

    /// Removes piece files that the checkpoint does not know: the log has what they hold.
    fn remove_orphans(&self, checkpoint: &Checkpoint, fs: &dyn Fs, dir: &Path) -> Result<()> {
        let head = dir.join(names::HEAD);
        for entry in fs
            .read_dir(&head)
            .map_err(|error| Error::io("list", &head, error))?
        {
            let Some(number) = names::parse_pieces(&entry.name) else {
                continue;
            };
            self.pieces.skip_number(number);
            if !self.config.seals_in_memory
                && checkpoint
                    .piece_files
                    .iter()
                    .all(|file| file.number != number)
            {
                let path = head.join(&entry.name);
                fs.remove_file(&path)
                    .map_err(|error| Error::io("remove", &path, error))?;
            }
        }
        Ok(())
    }

    fn restore_pieces(&self, file: PieceFileLen, flushed: &Flushed, report: &mut RestoreReport) {
        let mut layouts: std::collections::HashMap<u64, Arc<Layout>> =
            std::collections::HashMap::new();
        let RestoreReport { damage, pieces } = report;
        let range_ms = self.config.range_ms;
        self.pieces
            .load(file, range_ms, damage, |header, found, damage| {
                if header.content == Content::Chunks {
                    match self.restore_chunks(header, found, flushed) {
                        Ok(()) => *pieces += 1,
                        Err(error) => damage.push(error),
                    }
                    return;
                }
                if flushed.covers(header.last_timestamp, header.last_sequence) {
                    return;
                }
                let ids = match found.ids(header) {
                    Ok(ids) => ids,
                    Err(error) => {
                        damage.push(error);
                        return;
                    }
                };
                self.note_ids(ids.iter().copied());
                let layout = match layouts.get(&header.group) {
                    Some(known) if known.is(&ids) => Arc::clone(known),
                    Some(known) => Arc::new(known.changed_to(ids)),
                    None => Arc::new(Layout::new(ids)),
                };
                layouts.insert(header.group, Arc::clone(&layout));
                let known = self.find_group(header.group);
                let group = known.unwrap_or_else(|| self.create_group(header.group, &layout));
                group.state.write().attach(found.attach(header, layout));
                self.note_time(header.first_timestamp);
                self.note_time(header.last_timestamp);
                *pieces += 1;
            });
    }

    fn restore_chunks(
        &self,
        header: PieceHeader,
        found: LoadedPiece<'_>,
        flushed: &Flushed,
    ) -> Result<()> {
        let (piece, chunks) = found.chunks(header)?;
        self.note_ids(chunks.iter().map(|chunk| chunk.id));
        for chunk in &chunks {
            let slot = self.slots.read().find(chunk.id);
            if let Some(slot) = slot
                && !flushed.covers(chunk.last, chunk.last_sequence)
            {
                self.note_time(chunk.first);
                self.note_time(chunk.last);
                self.lone
                    .restore_chunk(slot, ClosedChunk::stored(&piece, chunk));
            }
        }
        Ok(())
    }

    fn restore_lone(&self, bytes: &[u8], path: &Path, report: &mut RestoreReport) {
        let mut reader = ByteReader::new(bytes);
        let Ok(through) = read_lone_header(&mut reader) else {
            report
                .damage
                .push(Error::corruption(path, 0, "not a lone file of version 1"));
            return;
        };
        self.lone.set_restored_through(through);
        while !reader.is_empty() {
            let at = reader.position();
            if let Err(malformed) = self.restore_lone_page(&mut reader) {
                report
                    .damage
                    .push(Error::corruption(path, at as u64, malformed.what));
                if reader.position() == at {
                    // The length is not to be trusted, and without it the next page cannot be found.
                    return;
                }
            }
        }
    }

    fn restore_lone_page(&self, reader: &mut ByteReader<'_>) -> Result<(), Malformed> {
        let mut ahead = reader.clone();
        let len = ahead.u32()? as usize;
        let crc = ahead.u32()?;
        let payload = ahead.bytes(len)?;
        *reader = ahead;
        if crc32(payload) != crc {
            return Err(reader.malformed("checksum of a page of lone samples differs"));
        }
        let mut page = ByteReader::new(payload);
        while !page.is_empty() {
            let (id, series) = LoneSeries::read_stored(&mut page)?;
            let Some(slot) = self.slots.read().find(id) else {
                self.note_ids([id]);
                continue;
            };
            series.for_each_timestamp_bound(|timestamp| self.note_time(timestamp));
            self.lone.restore(slot, series);
        }
        Ok(())
    }

    /// Seals every group and describes the head as it is; the caller has begun a new segment of the log before.
    ///
    /// `sequence` is the last one before that segment. Afterwards the caller syncs the log, then the piece files and
    /// the series store, and stores the checkpoint: in this order, so that no half of a commit survives its other half.
    pub(crate) fn checkpoint(
        &self,
        sequence: u64,
        segment: u64,
        lone_file: u64,
        fs: &dyn Fs,
        dir: &Path,
    ) -> Result<Checkpoint> {
        self.rescue_pieces()?;
        let mut sealer = Sealer::default();
        // Waits for a commit whose frame is in an older segment and that has yet to make its group or note its series.
        drop(self.structure.write());
        for (_, group) in self.all_groups() {
            // Taking the lock waits for a commit whose frame is in an older segment and not applied yet.
            let mut state = group.state.write();
            if state
                .open
                .rows()
                .first()
                .is_some_and(|row| row.sequence <= sequence)
            {
                state.seal(
                    group.id,
                    i64::MAX,
                    self.config.range_ms,
                    &self.pieces,
                    &mut sealer,
                )?;
            }
        }
        let structure = self.structure.write();
        // Before their lengths are taken: what is in a piece is not in the lone file.
        self.spill_lone()?;
        let piece_files = self.pieces.lengths();
        let lone = self.lone.mark();
        let tombstones = self.tombstones_by_sequence(sequence);
        let boundary = self.boundary();
        drop(structure);
        if let Some(through) = lone {
            let path = dir.join(names::HEAD).join(names::lone(lone_file));
            let written = fs::replace_by(fs, &path, |file| self.write_lone(through, file));
            if let Err(error) = written {
                self.lone.unmark();
                return Err(Error::io("write", &path, error));
            }
        }
        Ok(Checkpoint {
            sequence,
            segment,
            boundary,
            newest: self.max_time(),
            flushed: self.flushed.lock().clone(),
            next_series: self.next_series.load(Ordering::Relaxed),
            next_group: self.next_group.load(Ordering::Relaxed),
            lone_file: if lone.is_some() { lone_file } else { 0 },
            piece_files,
            tombstones,
        })
    }

    /// Writes pieces of files whose sync has failed to others. What cannot be read any more is damage: then there is no
    /// checkpoint, and the next open takes those rows from the log.
    fn rescue_pieces(&self) -> Result<()> {
        if !self.pieces.are_distrusted() {
            return Ok(());
        }
        for (_, group) in self.all_groups() {
            let mut state = group.state.write();
            if state.pieces.iter().any(|piece| piece.is_distrusted()) {
                let copy = |piece: &Arc<Piece>| {
                    if piece.is_distrusted() {
                        piece.copy(&self.pieces)
                    } else {
                        Ok(Arc::clone(piece))
                    }
                };
                let pieces = state.pieces.iter().map(copy).collect::<Result<Vec<_>>>()?;
                state.pieces = Arc::new(pieces);
            }
        }
        for piece in self.lone.pieces() {
            if piece.is_distrusted() {
                self.lone.replace_piece(&piece, &piece.copy(&self.pieces)?);
            }
        }
        self.pieces.release_distrusted();
        Ok(())
    }

    /// Writes the lone file: what the store has marked, which has samples up to the sequence `through`. Commits go on
    /// meanwhile.
    fn write_lone(&self, through: u64, file: &mut dyn AppendFile) -> std::io::Result<()> {
        let mut bytes = LONE_MAGIC.to_vec();
        bytes.extend_from_slice(&through.to_le_bytes());
        seal(&mut bytes, 0);
        file.append(&bytes)?;
        let id_of = |slot| self.slots.read().get(slot).id;
        self.lone.write_snapshot(id_of, |page| {
            bytes.clear();
            bytes.extend_from_slice(&(page.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&crc32(page).to_le_bytes());
            bytes.extend_from_slice(page);
            file.append(&bytes)
        })
    }

    fn tombstones_by_sequence(&self, through: u64) -> Vec<(u64, Vec<DeletedRange>)> {
        let slots = self.slots.read();
        let mut by_sequence: Vec<(u64, Vec<DeletedRange>)> = Vec::new();
        let all = self.tombstones.read().all();
        for (slot, deleted) in all {
            if deleted.sequence > through {
                continue;
            }
            let range = DeletedRange {
                id: slots.get(slot).id,
                first: deleted.first,
                last: deleted.last,
            };
            match by_sequence.last_mut() {
                Some((sequence, ranges)) if *sequence == deleted.sequence => ranges.push(range),
                _ => by_sequence.push((deleted.sequence, vec![range])),
            }
        }
        by_sequence
    }

    /// Takes the ids of series that the series store does not have yet; [`Head::put_unstored_back`] if storing fails.
    pub(crate) fn take_unstored(&self) -> Vec<u64> {
        std::mem::take(&mut *self.unstored.lock())
    }

    /// Puts ids back that could not be stored.
    pub(crate) fn put_unstored_back(&self, ids: Vec<u64>) {
        self.unstored.lock().extend(ids);
    }
}

fn read_flushed(reader: &mut ByteReader<'_>) -> Result<Flushed, Malformed> {
    let mut flushed = Flushed::default();
    for _ in 0..reader.uvarint_max(reader.remaining() / 16, "more flushes than bytes")? {
        flushed.add(FlushedPart {
            before: reader.i64()?,
            through: reader.u64()?,
        });
    }
    Ok(flushed)
}

/// Reads the header of a lone file: the newest sequence of the samples in it and in the pieces of its checkpoint.
fn read_lone_header(reader: &mut ByteReader<'_>) -> Result<u64, Malformed> {
    let mut header = ByteReader::checked(reader.bytes(LONE_MAGIC.len() + 8 + 4)?)?;
    if header.bytes(LONE_MAGIC.len())? != LONE_MAGIC {
        return Err(header.malformed("not a lone file of version 1"));
    }
    header.u64()
}

fn read_file(fs: &dyn Fs, path: &Path) -> Result<Vec<u8>> {
    let file = fs
        .open_read(path)
        .map_err(|error| Error::io("open", path, error))?;
    let len = file
        .len()
        .map_err(|error| Error::io("measure", path, error))?;
    let mut bytes = vec![
        0;
        usize::try_from(len)
            .map_err(|_too_long| Error::limit("file exceeds the address space"))?
    ];
    file.read_at(&mut bytes, 0)
        .map_err(|error| Error::io("read", path, error))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let mut flushed = Flushed::default();
        for (before, through) in [(-5, 6), (-7, 8)] {
            flushed.add(FlushedPart { before, through });
        }
        Checkpoint {
            sequence: 7,
            segment: 3,
            boundary: -1,
            newest: 12,
            flushed,
            next_series: 100,
            next_group: 4,
            lone_file: 2,
            piece_files: vec![PieceFileLen { number: 1, len: 28 }],
            tombstones: vec![(
                5,
                vec![DeletedRange {
                    id: 9,
                    first: 0,
                    last: 10,
                }],
            )],
        }
    }

    #[test]
    fn checkpoint_comes_back() {
        assert_eq!(Checkpoint::decode(&checkpoint().encode()), Ok(checkpoint()));
    }

    #[test]
    fn every_damaged_checkpoint_is_refused() {
        let mut bytes = checkpoint().encode();
        for len in 0..bytes.len() {
            assert!(Checkpoint::decode(&bytes[..len]).is_err());
        }
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Checkpoint::decode(&bytes).is_err());
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
