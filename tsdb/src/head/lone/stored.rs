//! A series as a lone file holds it.

use std::sync::Arc;

use crate::chunk::gorilla;
use crate::encoding::{ByteReader, Malformed, put_uvarint, put_varint};
use crate::sample::Samples;

use super::LoneSeries;
use super::series::ClosedChunk;

impl LoneSeries {
    /// Appends the series as a lone file stores it.
    pub(crate) fn write(&self, id: u64, range_ms: i64, out: &mut Vec<u8>) {
        let mut settled = self.clone();
        settled.close_all(range_ms);
        put_uvarint(out, id);
        out.push(u8::from(settled.newest().is_some()));
        if let Some(newest) = settled.newest() {
            put_varint(out, newest);
        }
        put_uvarint(out, settled.closed().len() as u64);
        for chunk in settled.closed() {
            out.extend_from_slice(&chunk.last_sequence.to_le_bytes());
            put_uvarint(out, chunk.bytes.len() as u64);
            out.extend_from_slice(&chunk.bytes);
        }
    }

    /// Reads a series that [`LoneSeries::write`] wrote, with its id.
    pub(crate) fn read_stored(reader: &mut ByteReader<'_>) -> Result<(u64, Self), Malformed> {
        let id = reader.uvarint()?;
        let mut series = Self::default();
        match reader.u8()? {
            0 => {}
            1 => series.note_newest(reader.varint()?),
            _ => return Err(reader.malformed("unknown flags of a lone series")),
        }
        let count = reader.uvarint_max(reader.remaining(), "more chunks than bytes")?;
        for _ in 0..count {
            let last_sequence = reader.u64()?;
            let bytes = reader.sized_bytes()?;
            let mut samples = Samples::default();
            gorilla::decode(bytes, &mut samples)?;
            let (Some(&first), Some(&last)) =
                (samples.timestamps.first(), samples.timestamps.last())
            else {
                return Err(reader.malformed("empty chunk of a lone series"));
            };
            series.restore_closed(Arc::new(ClosedChunk {
                first,
                last,
                last_sequence,
                bytes: bytes.into(),
            }));
        }
        Ok((id, series))
    }
}
