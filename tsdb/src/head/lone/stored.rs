//! A series as a lone file holds it.

use crate::chunk::gorilla;
use crate::encoding::{ByteReader, Malformed, put_uvarint, put_varint};
use crate::sample::Samples;

use super::LoneSeries;
use super::closed::{ChunkPlace, ClosedChunk};
use super::series::LateSample;

const FLAG_NEWEST: u8 = 1;
const FLAG_OPEN: u8 = 2;

impl LoneSeries {
    /// Appends what of the series is in no piece, as a lone file stores it.
    pub(crate) fn write(&self, id: u64, out: &mut Vec<u8>) {
        put_uvarint(out, id);
        let (newest, open) = (self.newest(), self.open());
        let flag = |flag: u8, is_set: bool| if is_set { flag } else { 0 };
        out.push(flag(FLAG_NEWEST, newest.is_some()) | flag(FLAG_OPEN, open.is_some()));
        if let Some(newest) = newest {
            put_varint(out, newest);
        }
        if let Some((chunk, end, last_sequence)) = open {
            out.extend_from_slice(&last_sequence.to_le_bytes());
            out.extend_from_slice(&end.to_le_bytes());
            put_uvarint(out, chunk.len() as u64);
            chunk.write(out);
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
    }

    /// Reads a series that [`LoneSeries::write`] wrote, with its id.
    pub(crate) fn read_stored(reader: &mut ByteReader<'_>) -> Result<(u64, Self), Malformed> {
        let id = reader.uvarint()?;
        let mut series = Self::default();
        let flags = reader.u8()?;
        if flags & !(FLAG_NEWEST | FLAG_OPEN) != 0 {
            return Err(reader.malformed("unknown flags of a lone series"));
        }
        if flags & FLAG_NEWEST != 0 {
            series.note_newest(reader.varint()?);
        }
        if flags & FLAG_OPEN != 0 {
            let last_sequence = reader.u64()?;
            let end = reader.i64()?;
            let bytes = reader.sized_bytes()?;
            let (first, _) = bounds(bytes, reader)?;
            series.restore_open(gorilla::Appender::resume(bytes)?, first, end, last_sequence);
        }
        let count = reader.uvarint_max(reader.remaining(), "more chunks than bytes")?;
        for _ in 0..count {
            let last_sequence = reader.u64()?;
            let bytes = reader.sized_bytes()?;
            let (first, last) = bounds(bytes, reader)?;
            series.restore_closed(ClosedChunk {
                first,
                last,
                last_sequence,
                place: ChunkPlace::Memory(bytes.into()),
            });
        }
        let count = reader.uvarint_max(reader.remaining() / 10, "more samples than bytes")?;
        let mut late = Vec::with_capacity(count);
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
        if !late.is_empty() {
            series.restore_late(late);
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

    const RANGE_MS: i64 = 7_200_000;

    fn series() -> LoneSeries {
        let mut series = LoneSeries::default();
        for index in 0..300i64 {
            series.push(
                index * 15_000,
                index as f64 / 8.0,
                index as u64 + 1,
                RANGE_MS,
            );
            if index % 40 == 7 {
                series.push(index * 15_000 - 77, -0.0, index as u64 + 1, RANGE_MS);
            }
        }
        series
    }

    fn read(series: &LoneSeries) -> Vec<(i64, u64)> {
        let mut samples = Samples::default();
        let range = crate::time::TimeRange::ALL;
        series.read(range, &[], |_, _| false, &mut samples).unwrap();
        samples
            .iter()
            .map(|sample| (sample.timestamp, sample.value.to_bits()))
            .collect()
    }

    #[test]
    fn stored_series_comes_back_and_goes_on_as_if_never_stored() {
        let mut series = series();
        let mut bytes = Vec::new();
        series.write(77, &mut bytes);
        let (id, mut restored) = LoneSeries::read_stored(&mut ByteReader::new(&bytes)).unwrap();
        assert_eq!(id, 77);
        assert_eq!(restored.newest(), series.newest());
        assert_eq!(restored.newest_sequence(), series.newest_sequence());
        for index in 300..500i64 {
            for series in [&mut series, &mut restored] {
                series.push(index * 15_000, 1.5, index as u64, RANGE_MS);
            }
        }
        assert_eq!(read(&restored), read(&series));
        assert_eq!(restored.chunk_count(), series.chunk_count());
    }

    #[test]
    fn no_damaged_series_leads_to_a_panic() {
        let mut bytes = Vec::new();
        series().write(77, &mut bytes);
        for len in 0..bytes.len() {
            assert!(LoneSeries::read_stored(&mut ByteReader::new(&bytes[..len])).is_err());
        }
        for bit in (0..bytes.len() * 8).step_by(3) {
            bytes[bit / 8] ^= 1 << (bit % 8);
            drop(LoneSeries::read_stored(&mut ByteReader::new(&bytes)));
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
