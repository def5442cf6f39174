//! Reads the recorded scrapes of `examples/data`; its README has the format.

use std::collections::BTreeMap;
use std::error::Error;

use tsdb::{Labels, Timestamp};

/// What one scrape of one target brought.
pub struct Scrape {
    pub job: String,
    pub timestamp: Timestamp,
    /// Indexes into [`Recording::series`].
    pub series: Vec<usize>,
    pub values: Vec<f64>,
}

/// An hour of a small machine.
pub struct Recording {
    pub series: Vec<Labels>,
    /// In order of time.
    pub scrapes: Vec<Scrape>,
}

impl Recording {
    pub fn load() -> Result<Self, Box<dyn Error>> {
        let bytes = zstd::decode_all(&include_bytes!("../data/scrapes.zst")[..])?;
        let mut input = Input(&bytes);
        if input.take(8)? != b"TSCORP1\n" {
            return Err("not a recording".into());
        }
        let mut columns = Vec::new();
        for _ in 0..input.u32()? {
            let count = input.u32()?;
            columns.push(
                (0..count)
                    .map(|_| input.array().map(i64::from_le_bytes))
                    .collect::<Result<Vec<_>, _>>()?,
            );
        }
        let mut series = Vec::new();
        let mut column_of = Vec::new();
        for _ in 0..input.u32()? {
            let text_bytes = u16::from_le_bytes(input.array()?);
            series.push(std::str::from_utf8(input.take(text_bytes.into())?)?.parse::<Labels>()?);
            let _kind = input.take(1)?;
            column_of.push(input.u32()?);
        }
        let mut scrapes = BTreeMap::new();
        for (index, column) in column_of.into_iter().enumerate() {
            let timestamps = columns.get(column).ok_or("a series names no column")?;
            let job = series[index].get("job").unwrap_or_default();
            for (&timestamp, value) in timestamps.iter().zip(input.values(timestamps.len())?) {
                let scrape = scrapes.entry((timestamp, job)).or_insert_with(|| Scrape {
                    job: job.to_owned(),
                    timestamp,
                    series: Vec::new(),
                    values: Vec::new(),
                });
                scrape.series.push(index);
                scrape.values.push(value);
            }
        }
        let scrapes = scrapes.into_values().collect();
        Ok(Self { series, scrapes })
    }
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Box<dyn Error>> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or("the recording is cut short")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Box<dyn Error>> {
        Ok(self.take(N)?.try_into()?)
    }

    fn u32(&mut self) -> Result<usize, Box<dyn Error>> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    /// Puts the byte planes of a column together and undoes the XOR.
    fn values(&mut self, count: usize) -> Result<Vec<f64>, Box<dyn Error>> {
        let planes = self.take(8 * count)?;
        let mut bits = 0;
        let mut values = Vec::with_capacity(count);
        for index in 0..count {
            bits ^= (0..8).fold(0, |bits: u64, plane| {
                bits << 8 | u64::from(planes[plane * count + index])
            });
            values.push(f64::from_bits(bits));
        }
        Ok(values)
    }
}
