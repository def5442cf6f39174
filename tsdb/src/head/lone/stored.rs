//! A series as a lone file holds it.

use crate::chunk::gorilla;
use crate::encoding::{ByteReader, Malformed, put_uvarint, put_varint};
use crate::sample::Samples;

use super::LoneSeries;
use super::blocks::Blocks;
use super::closed::{ChunkPlace, ClosedChunk};
use super::series::{LateSample, OpenChunk, Rest};
use super::stream::Stream;

const FLAG_NEWEST: u8 = 1;
const FLAG_OPEN: u8 = 2;

impl Stream {
    /// Appends what of the series is in no piece, as a lone file stores it behind the id; answers whether there is
    /// anything to store.
    pub(super) fn write(&self, blocks: &Blocks, out: &mut Vec<u8>) -> bool {
        let (newest, open) = (self.newest(), self.open());
        if newest.is_none() && !self.has_samples() {
            return false;
        }
        let flag = |flag: u8, is_set: bool| if is_set { flag } else { 0 };
        out.push(flag(FLAG_NEWEST, newest.is_some()) | flag(FLAG_OPEN, open.is_some()));
        if let Some(newest) = newest {
            put_varint(out, newest);
        }
        if let Some((end, last_sequence)) = open {
            out.extend_from_slice(&last_sequence.to_le_bytes());
            out.extend_from_slice(&end.to_le_bytes());
            put_uvarint(out, self.len() as u64);
            self.write_open(blocks, out);
        }
        let in_memory = |chunk: &&ClosedChunk| matches!(chunk.place, ChunkPlace::Memory(_));
        put_uvarint(out, self.closed().iter().filter(in_memory).count() as u64);
        for chunk in self.closed() {
            if let ChunkPlace::Memory(bytes) = &chunk.place {
                out.extend_from_slice(&chunk.last_sequence.to_le_bytes());
                put_uvarint(out, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
        }
        put_uvarint(out, self.late().len() as u64);
        for late in self.late() {
            put_varint(out, late.timestamp);
            put_uvarint(out, late.sequence);
            out.extend_from_slice(&late.value.to_bits().to_le_bytes());
        }
        true
    }
}

impl LoneSeries {
    /// Reads a series that [`LoneStore::write_snapshot`](super::LoneStore::write_snapshot) wrote, with its id.
    pub(crate) fn read_stored(reader: &mut ByteReader<'_>) -> Result<(u64, Self), Malformed> {
        let id = reader.uvarint()?;
        let mut series = Self {
            newest: i64::MIN,
            open: None,
            rest: Rest::default(),
        };
        let flags = reader.u8()?;
        if flags & !(FLAG_NEWEST | FLAG_OPEN) != 0 {
            return Err(reader.malformed("unknown flags of a lone series"));
        }
        if flags & FLAG_NEWEST != 0 {
            series.newest = reader.varint()?;
        }
        if flags & FLAG_OPEN != 0 {
            let last_sequence = reader.u64()?;
            let end = reader.i64()?;
            let bytes = reader.sized_bytes()?;
            let (first, last) = bounds(bytes, reader)?;
            let (encoder, words) = gorilla::Encoder::resume(bytes)?;
            series.newest = series.newest.max(last);
            let mut bytes = Vec::with_capacity(bytes.len());
            encoder.write(&mut bytes, |out| out.extend_from_slice(words));
            series.open = Some(OpenChunk {
                bytes,
                encoder,
                first,
                last,
                end,
                last_sequence,
            });
        }
        let count = reader.uvarint_max(reader.remaining(), "more chunks than bytes")?;
        for _ in 0..count {
            let last_sequence = reader.u64()?;
            let bytes = reader.sized_bytes()?;
            let (first, last) = bounds(bytes, reader)?;
            series.newest = series.newest.max(last);
            series.rest.closed.push(ClosedChunk {
                first,
                last,
                last_sequence,
                place: ChunkPlace::Memory(bytes.into()),
            });
        }
        let count = reader.uvarint_max(reader.remaining() / 10, "more samples than bytes")?;
        let late = &mut series.rest.late;
        late.reserve_exact(count);
        for _ in 0..count {
            late.push(LateSample {
                timestamp: reader.varint()?,
                sequence: reader.uvarint()?,
                value: f64::from_bits(reader.u64()?),
            });
        }
        if !late.is_sorted_by(|a, b| a.timestamp <= b.timestamp) {
            return Err(reader.malformed("late samples do not ascend"));
        }
        Ok((id, series))
    }
}

/// Returns the first and last timestamp of a chunk.
fn bounds(bytes: &[u8], reader: &ByteReader<'_>) -> Result<(i64, i64), Malformed> {
    let mut samples = Samples::default();
    gorilla::decode(bytes, &mut samples)?;
    match (samples.timestamps.first(), samples.timestamps.last()) {
        (Some(&first), Some(&last)) => Ok((first, last)),
        _ => Err(reader.malformed("empty chunk of a lone series")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::LoneStore;

    const RANGE_MS: i64 = 7_200_000;

    fn store() -> LoneStore {
        let store = LoneStore::new(RANGE_MS);
        let mut cursor = store.cursor();
        for index in 0..300i64 {
            let sequence = index as u64 + 1;
            cursor.push(5, index * 15_000, index as f64 / 8.0, sequence);
            if index % 40 == 7 {
                cursor.push(5, index * 15_000 - 77, -0.0, sequence);
            }
        }
        drop(cursor);
        store
    }

    fn write(store: &LoneStore, id: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        store.mark();
        let write = |page: &[u8]| {
            bytes.extend_from_slice(page);
            Ok::<_, ()>(())
        };
        store.write_snapshot(|_| id, write).unwrap();
        bytes
    }

    fn read(store: &LoneStore) -> Vec<(i64, u64)> {
        let mut samples = Samples::default();
        let range = crate::time::TimeRange::ALL;
        let series = store.get(5).unwrap();
        series.read(range, &[], |_, _| false, &mut samples).unwrap();
        samples
            .iter()
            .map(|sample| (sample.timestamp, sample.value.to_bits()))
            .collect()
    }

    #[test]
    fn stored_series_comes_back_and_goes_on_as_if_never_stored() {
        let stores = [store(), LoneStore::new(RANGE_MS)];
        let bytes = write(&stores[0], 77);
        let (id, series) = LoneSeries::read_stored(&mut ByteReader::new(&bytes)).unwrap();
        assert_eq!(id, 77);
        stores[1].restore(5, series);
        assert_eq!(write(&stores[1], 77), bytes);
        assert_eq!(stores[1].newest(5), stores[0].newest(5));
        assert_eq!(stores[1].mark(), stores[0].mark());
        for index in 300..500i64 {
            for store in &stores {
                store.cursor().push(5, index * 15_000, 1.5, index as u64);
            }
        }
        assert_eq!(read(&stores[1]), read(&stores[0]));
        assert_eq!(stores[1].chunk_count(), stores[0].chunk_count());
    }

    #[test]
    fn no_damaged_series_leads_to_a_panic() {
        let mut bytes = write(&store(), 77);
        for len in 0..bytes.len() {
            assert!(LoneSeries::read_stored(&mut ByteReader::new(&bytes[..len])).is_err());
        }
        for bit in (0..bytes.len() * 8).step_by(3) {
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok((_, series)) = LoneSeries::read_stored(&mut ByteReader::new(&bytes)) {
                LoneStore::new(RANGE_MS).restore(5, series);
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
