//! The recorded corpora: real scrapes, bit for bit.
//!
//! One zstd frame, little endian: the mark, timestamp columns shared by series, series by name with the number of
//! their column, then for each series eight planes of bytes, the most significant first, of each value's bits XORed
//! with those of the value before.

use std::path::Path;

use crate::Result;

const MARK: &[u8] = b"TSCORP1\n";

/// The longest distance a frame may refer back to, as a power of two.
const WINDOW_LOG: u32 = 27;

/// What a corpus holds.
#[derive(Debug)]
pub struct Corpus {
    /// Timestamps in milliseconds, ascending; each column belongs to one or more series.
    pub columns: Vec<Vec<i64>>,
    /// Ordered by labels, the metric name first.
    pub series: Vec<RecordedSeries>,
}

/// A recorded series.
#[derive(Debug)]
pub struct RecordedSeries {
    /// `metric{name="value",...}`
    pub text: String,
    /// Index of its timestamps in [`Corpus::columns`].
    pub column: usize,
    /// A value for each timestamp.
    pub values: Vec<f64>,
}

/// Reads a corpus.
pub fn read(path: &Path) -> Result<Corpus> {
    let mut decoder = zstd::stream::read::Decoder::new(std::fs::File::open(path)?)?;
    decoder.window_log_max(WINDOW_LOG)?;
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut decoder, &mut bytes)?;
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Result<Corpus> {
    let mut reader = Reader(bytes);
    if reader.take(MARK.len())? != MARK {
        return Err("this is not a corpus".into());
    }
    let mut columns = Vec::new();
    for _ in 0..reader.u32()? {
        let count = reader.u32()? as usize;
        let timestamps = reader.take(count * 8)?.as_chunks().0;
        columns.push(
            timestamps
                .iter()
                .map(|bytes| i64::from_le_bytes(*bytes))
                .collect::<Vec<_>>(),
        );
    }
    let mut series = Vec::new();
    for _ in 0..reader.u32()? {
        let len = usize::from(u16::from_le_bytes(reader.array()?));
        let text = std::str::from_utf8(reader.take(len)?)?.to_owned();
        let [_kind] = reader.array()?;
        let column = reader.u32()? as usize;
        series.push(RecordedSeries {
            text,
            column,
            values: Vec::new(),
        });
    }
    for series in &mut series {
        let count = columns
            .get(series.column)
            .ok_or("a series without a column")?
            .len();
        series.values = values(reader.take(count * 8)?, count);
    }
    Ok(Corpus { columns, series })
}

/// Puts values together from their byte planes.
fn values(planes: &[u8], count: usize) -> Vec<f64> {
    let mut bits = vec![0u64; count];
    for plane in planes.chunks_exact(count.max(1)) {
        for (bits, byte) in bits.iter_mut().zip(plane) {
            *bits = *bits << 8 | u64::from(*byte);
        }
    }
    let mut previous = 0;
    bits.iter()
        .map(|xor| {
            previous ^= xor;
            f64::from_bits(previous)
        })
        .collect()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or("the corpus ends early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into()?)
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A corpus of one series with the values 1 and 2.
    fn sample() -> Vec<u8> {
        let mut bytes = MARK.to_vec();
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(2u32.to_le_bytes());
        bytes.extend(5i64.to_le_bytes());
        bytes.extend(6i64.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(2u16.to_le_bytes());
        bytes.extend(b"up");
        bytes.push(0);
        bytes.extend(0u32.to_le_bytes());
        let (first, second) = (
            1f64.to_bits().to_be_bytes(),
            (1f64.to_bits() ^ 2f64.to_bits()).to_be_bytes(),
        );
        for (first, second) in first.into_iter().zip(second) {
            bytes.extend([first, second]);
        }
        bytes
    }

    #[test]
    fn planes_become_values() {
        let corpus = parse(&sample()).unwrap();
        assert_eq!(corpus.columns, [[5, 6]]);
        assert_eq!(
            (corpus.series[0].text.as_str(), corpus.series[0].column),
            ("up", 0)
        );
        assert_eq!(corpus.series[0].values, [1.0, 2.0]);
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = sample();
        assert!((0..bytes.len()).all(|len| parse(&bytes[..len]).is_err()));
    }
}
