//! Pieces of chunks: what series that are in no row have closed, many of them together.

use crate::encoding::{ByteReader, Malformed, crc32, put_uvarint, put_varint};

use super::{Content, HEADER_BYTES, PieceHeader};

/// One chunk of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceChunk {
    /// The series.
    pub id: u64,
    /// Timestamp of the first sample.
    pub first: i64,
    /// Timestamp of the last sample.
    pub last: i64,
    /// Sequence of the newest frame that a sample came with.
    pub last_sequence: u64,
    /// Where the chunk begins in the body; [`put_chunks`] does not look at it.
    pub offset: u32,
    /// Bytes it takes.
    pub len: u32,
}

/// Appends a piece of chunks to `out`, header first, and sets the offset of each. `bytes` holds them one after another.
///
/// There are 1 to [`GROUP_SERIES_MAX`](crate::limits::GROUP_SERIES_MAX) of them.
pub fn put_chunks(chunks: &mut [PieceChunk], bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let first_timestamp = chunks.iter().map(|chunk| chunk.first).min().unwrap_or(0);
    let last_timestamp = chunks.iter().map(|chunk| chunk.last).max().unwrap_or(0);
    let sequences = chunks.iter().map(|chunk| chunk.last_sequence);
    let (first_sequence, last_sequence) = (
        sequences.clone().min().unwrap_or(0),
        sequences.max().unwrap_or(0),
    );
    out.resize(start + HEADER_BYTES, 0);
    let mut id = 0u64;
    for chunk in &*chunks {
        put_varint(out, chunk.id.wrapping_sub(id) as i64);
        put_varint(out, chunk.first.wrapping_sub(first_timestamp));
        put_uvarint(out, chunk.last.wrapping_sub(chunk.first) as u64);
        put_uvarint(out, chunk.last_sequence - first_sequence);
        put_uvarint(out, u64::from(chunk.len));
        id = chunk.id;
    }
    let directory_bytes = out.len() - start - HEADER_BYTES;
    let mut offset = directory_bytes as u32;
    for chunk in &mut *chunks {
        chunk.offset = offset;
        offset += chunk.len;
    }
    out.extend_from_slice(bytes);
    let body = &out[start + HEADER_BYTES..];
    let header = PieceHeader {
        content: Content::Chunks,
        width: chunks.len() as u16,
        rows: 1,
        body_bytes: u32::try_from(body.len()).expect("a piece is smaller than 4 GiB"),
        layout_bytes: directory_bytes as u32,
        group: 0,
        first_timestamp,
        last_timestamp,
        first_sequence,
        last_sequence,
        body_crc: crc32(body),
    };
    let mut head = Vec::with_capacity(HEADER_BYTES);
    header.write(&mut head);
    out[start..start + HEADER_BYTES].copy_from_slice(&head);
}

/// Reads the directory of a piece of chunks from its body, which was verified.
pub fn read_chunks(header: &PieceHeader, body: &[u8]) -> Result<Vec<PieceChunk>, Malformed> {
    let mut reader = ByteReader::new(body);
    let directory = reader.bytes(header.layout_bytes as usize)?;
    let mut left = reader.remaining();
    let mut offset = header.layout_bytes;
    let mut reader = ByteReader::new(directory);
    let mut chunks = Vec::with_capacity(usize::from(header.width));
    let mut id = 0u64;
    for _ in 0..header.width {
        id = id.wrapping_add(reader.varint()? as u64);
        let first = header.first_timestamp.wrapping_add(reader.varint()?);
        let last = first.wrapping_add_unsigned(reader.uvarint()?);
        let last_sequence = header.first_sequence.wrapping_add(reader.uvarint()?);
        let len = reader.uvarint_max(left, "chunk exceeds the piece")?;
        left -= len;
        chunks.push(PieceChunk {
            id,
            first,
            last,
            last_sequence,
            offset,
            // It is no more than what is left of a body whose length has 32 bits.
            len: len as u32,
        });
        offset += len as u32;
    }
    reader.expect_end()?;
    if left > 0 {
        return Err(reader.malformed("surplus bytes behind the chunks"));
    }
    Ok(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> (Vec<PieceChunk>, Vec<u8>) {
        let chunk = |id, first, last_sequence, len| PieceChunk {
            id,
            first,
            last: first + 500,
            last_sequence,
            offset: 0,
            len,
        };
        let mut chunks = vec![
            chunk(9, 1000, 7, 3),
            chunk(4, 900, 8, 0),
            chunk(u64::MAX, 950, 7, 2),
        ];
        let mut out = Vec::new();
        put_chunks(&mut chunks, &[1, 2, 3, 4, 5], &mut out);
        (chunks, out)
    }

    #[test]
    fn directory_of_chunks_comes_back() {
        let (chunks, out) = example();
        let header = PieceHeader::read(&out).unwrap();
        assert_eq!(header.content, Content::Chunks);
        assert_eq!((header.first_timestamp, header.last_timestamp), (900, 1500));
        assert_eq!((header.first_sequence, header.last_sequence), (7, 8));
        let body = &out[HEADER_BYTES..];
        assert_eq!(read_chunks(&header, body).unwrap(), chunks);
        let third = chunks[2].offset as usize;
        assert_eq!(body[third..third + 2], [4, 5]);
    }

    #[test]
    fn no_damaged_directory_leads_to_a_panic_or_beyond_the_body() {
        let (_, out) = example();
        let header = PieceHeader::read(&out).unwrap();
        let mut body = out[HEADER_BYTES..].to_vec();
        for len in 0..body.len() {
            assert!(read_chunks(&header, &body[..len]).is_err());
        }
        for bit in 0..body.len() * 8 {
            body[bit / 8] ^= 1 << (bit % 8);
            for chunk in read_chunks(&header, &body).unwrap_or_default() {
                assert!((chunk.offset + chunk.len) as usize <= body.len());
            }
            body[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
