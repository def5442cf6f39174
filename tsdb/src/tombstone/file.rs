//! The deleted spans of a block, and their file.

use std::collections::BTreeMap;

use super::intervals::{INTERVAL_BYTES_MIN, Intervals};
use crate::encoding::{ByteReader, Malformed, put_uvarint, seal};
use crate::time::Timestamp;

/// The deleted spans of a block by the ordinal of their series.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tombstones {
    series: BTreeMap<u32, Intervals>,
}

impl Tombstones {
    /// Returns the bytes of memory it takes, roughly: trees are half to wholly filled.
    pub(crate) fn memory_bytes(&self) -> usize {
        let spans = self.series.values().map(Intervals::memory_bytes);
        self.series.len() * 2 * size_of::<(u32, Intervals)>() + spans.sum::<usize>()
    }

    /// Returns no tombstone.
    pub const fn new() -> Self {
        Self {
            series: BTreeMap::new(),
        }
    }

    /// Deletes the span from `first` to `last`, both included, of the series `ordinal`.
    pub fn add(&mut self, ordinal: u32, first: Timestamp, last: Timestamp) {
        if first <= last {
            self.series.entry(ordinal).or_default().add(first, last);
        }
    }

    /// Returns what is deleted of the series `ordinal`; `None` when nothing is.
    pub fn get(&self, ordinal: u32) -> Option<&Intervals> {
        self.series.get(&ordinal)
    }

    /// Walks the series with deletions by their ordinals.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Intervals)> {
        self.series
            .iter()
            .map(|(&ordinal, intervals)| (ordinal, intervals))
    }

    /// Returns the number of series with deletions.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Tells whether nothing is deleted.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Returns the bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::from(MAGIC);
        out.push(VERSION);
        put_uvarint(&mut out, self.series.len() as u64);
        let mut next = 0;
        for (&ordinal, intervals) in &self.series {
            put_uvarint(&mut out, u64::from(ordinal) - next);
            intervals.encode(&mut out);
            next = u64::from(ordinal) + 1;
        }
        seal(&mut out, 0);
        out
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    ///
    /// Says what is wrong when the bytes are not what [`Self::encode`] returned. The version is judged before the
    /// checksum, because a newer format may keep its checksum elsewhere.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut head = ByteReader::new(bytes);
        if head.bytes(MAGIC.len())? != MAGIC {
            return Err(Malformed {
                what: "not a file of tombstones",
                offset: 0,
            });
        }
        if head.u8()? != VERSION {
            return Err(Malformed {
                what: "version of tombstones is not 1",
                offset: MAGIC.len(),
            });
        }
        let mut reader = ByteReader::checked(bytes)?;
        reader.bytes(HEAD_LEN)?;
        let count = reader.uvarint_max(
            reader.remaining() / SERIES_BYTES_MIN,
            "series count exceeds what is left",
        )?;
        let mut series = BTreeMap::new();
        let mut next = 0u64;
        for _ in 0..count {
            let delta = reader.uvarint()?;
            let ordinal = next
                .checked_add(delta)
                .and_then(|ordinal| u32::try_from(ordinal).ok());
            let Some(ordinal) = ordinal else {
                return Err(reader.malformed("series ordinal exceeds 32 bits"));
            };
            series.insert(ordinal, Intervals::decode(&mut reader)?);
            next = u64::from(ordinal) + 1;
        }
        reader.expect_end()?;
        Ok(Self { series })
    }
}

const MAGIC: [u8; 4] = *b"TOMB";

const VERSION: u8 = 1;

/// Bytes of magic and version.
const HEAD_LEN: usize = MAGIC.len() + 1;

/// Bytes of the shortest series: ordinal, interval count and one interval.
const SERIES_BYTES_MIN: usize = 2 + INTERVAL_BYTES_MIN;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn example() -> Tombstones {
        let mut tombstones = Tombstones::new();
        tombstones.add(3, 1002, 1010);
        tombstones.add(3, 1000, 1000);
        tombstones.add(260, i64::MIN, -1);
        tombstones.add(261, 5, 4);
        tombstones
    }

    /// The worked example of the format document.
    fn documented() -> Vec<u8> {
        let (_, example) = include_str!("FORMAT.md").split_once("```hex\n").unwrap();
        let (lines, _) = example.split_once("```").unwrap();
        let is_byte = |word: &&str| {
            word.len() == 2
                && word
                    .bytes()
                    .all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
        };
        lines
            .lines()
            .flat_map(|line| line.split(' ').take_while(is_byte))
            .map(|byte| u8::from_str_radix(byte, 16).unwrap())
            .collect()
    }

    #[test]
    fn documented_example_is_what_we_read_and_write() {
        assert_eq!(example().encode(), documented());
        assert_eq!(Tombstones::decode(&documented()), Ok(example()));
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "golden files are of the source tree, not of a database"
    )]
    fn golden_file_is_what_we_read_and_write() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1/tombstones.bin");
        if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, example().encode()).unwrap();
        }
        let golden =
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(Tombstones::decode(&golden), Ok(example()));
        assert_eq!(example().encode(), golden);
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_noticed() {
        let mut bytes = example().encode();
        for len in 0..bytes.len() {
            assert!(Tombstones::decode(&bytes[..len]).is_err(), "{len}");
        }
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Tombstones::decode(&bytes).is_err(), "{bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn well_sealed_nonsense_is_refused() {
        let refused = |body: &[u8]| {
            let mut bytes = [b"TOMB\x01".as_slice(), body].concat();
            seal(&mut bytes, 0);
            Tombstones::decode(&bytes).unwrap_err().what
        };
        assert_eq!(
            refused(&[0x7f, 0, 1, 0, 0]),
            "series count exceeds what is left"
        );
        assert_eq!(
            refused(&[1, 0, 0x7f, 0, 0]),
            "interval count exceeds what is left"
        );
        assert_eq!(refused(&[1, 0, 0, 0, 0]), "series without an interval");
        assert_eq!(
            refused(&[1, 0xff, 0xff, 0xff, 0xff, 0x10, 1, 0, 0]),
            "series ordinal exceeds 32 bits"
        );
        let first_max = [
            1, 0, 2, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0,
        ];
        assert_eq!(
            refused(&first_max),
            "interval leaves the range of timestamps"
        );
        assert_eq!(refused(&[0, 0]), "surplus bytes");
    }

    proptest! {
        #[test]
        fn file_round_trips(added in prop::collection::vec((any::<u32>(), any::<i64>(), 0i64..1000), 0..40)) {
            let mut tombstones = Tombstones::new();
            for (ordinal, first, length) in added {
                tombstones.add(ordinal % 50, first, first.saturating_add(length));
                tombstones.add(ordinal, first / 1_000_000, first / 1_000_000 + length);
            }
            prop_assert_eq!(Tombstones::decode(&tombstones.encode()), Ok(tombstones));
        }

        #[test]
        fn no_sealed_bytes_panic(mut body in prop::collection::vec(any::<u8>(), 0..80)) {
            body.splice(0..0, *b"TOMB\x01");
            seal(&mut body, 0);
            if let Ok(tombstones) = Tombstones::decode(&body) {
                prop_assert_eq!(Tombstones::decode(&tombstones.encode()), Ok(tombstones));
            }
        }
    }
}
