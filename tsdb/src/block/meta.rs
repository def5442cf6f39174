#![doc = include_str!("META.md")]

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::path::Path;
use std::str::FromStr;

use crate::chunk::ChunkEncoding;
use crate::encoding::{Malformed, crc32};
use crate::error::{Error, Result};
use crate::fs::{Ulid, names};
use crate::time::{TimeRange, Timestamp};

/// What a block holds and how it came to be; immutable like the block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockMeta {
    /// The name of its directory.
    pub ulid: Ulid,
    /// The span of time it answers for. All its samples lie inside.
    pub range: TimeRange,
    /// 1 for a block written from the head, one more than its highest parent's for a merged one.
    pub level: u32,
    /// The blocks of level 1 whose samples it holds; itself at level 1.
    pub sources: Vec<Ulid>,
    /// The blocks it was written from and replaces.
    pub parents: Vec<Ulid>,
    /// Number of series.
    pub series: u64,
    /// Number of samples.
    pub samples: u64,
    /// Number of chunks.
    pub chunks: u64,
    /// When it was written.
    pub created_ms: Timestamp,
    /// The last commit whose samples in the range it holds; 0 for a merged block.
    pub flushed_through: u64,
    /// How its samples are encoded.
    pub encoding: ChunkEncoding,
    /// The file of chunks.
    pub chunks_file: FileMeta,
    /// The file of labels and postings.
    pub index_file: FileMeta,
}

/// A file as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMeta {
    /// Length.
    pub size_bytes: u64,
    /// CRC-32 of the whole content.
    pub crc: u32,
}

impl BlockMeta {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut text = format!("{MAGIC}\n");
        let mut line = |key: &str, value: &dyn Display| put_line(&mut text, key, value);
        line("ulid", &self.ulid);
        line("start", &self.range.start);
        line("end", &self.range.end);
        line("level", &self.level);
        line("sources", &join(&self.sources));
        line("parents", &join(&self.parents));
        line("series", &self.series);
        line("samples", &self.samples);
        line("chunks", &self.chunks);
        line("created_ms", &self.created_ms);
        line("flushed_through", &self.flushed_through);
        line("encoding", &encoding_name(self.encoding));
        for (name, file) in [
            (names::CHUNKS, self.chunks_file),
            (names::INDEX, self.index_file),
        ] {
            line(&format!("file.{name}.size_bytes"), &file.size_bytes);
            line(
                &format!("file.{name}.crc"),
                &format_args!("{:08x}", file.crc),
            );
        }
        let crc = crc32(text.as_bytes());
        put_line(&mut text, "crc", &format_args!("{crc:08x}"));
        text.into_bytes()
    }

    /// Reads what [`encode`](Self::encode) writes; `path` is for the error.
    pub(crate) fn decode(bytes: &[u8], path: &Path) -> Result<Self> {
        let fields = Fields::parse(bytes).map_err(|wrong| match wrong {
            Wrong::Version => Error::unsupported(path, "the block was written by a newer version"),
            Wrong::Malformed(malformed) => {
                Error::corruption(path, malformed.offset as u64, malformed.what)
            }
        })?;
        fields
            .block_meta()
            .map_err(|malformed| Error::corruption(path, malformed.offset as u64, malformed.what))
    }
}

fn encoding_name(encoding: ChunkEncoding) -> &'static str {
    match encoding {
        ChunkEncoding::Dense => "dense",
        ChunkEncoding::Gorilla => "gorilla",
    }
}

enum Wrong {
    Version,
    Malformed(Malformed),
}

impl From<Malformed> for Wrong {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// The lines between magic and checksum; each is taken once.
struct Fields<'a>(BTreeMap<&'a str, (usize, &'a str)>);

impl<'a> Fields<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Wrong> {
        let malformed = |what, offset| Malformed { what, offset };
        let text = std::str::from_utf8(bytes)
            .map_err(|error| malformed("not UTF-8", error.valid_up_to()))?;
        let (body, sum) = text
            .rsplit_once("crc=")
            .ok_or(malformed("no checksum line", bytes.len()))?;
        if sum != format!("{:08x}\n", crc32(body.as_bytes())) {
            return Err(malformed("checksum differs", body.len()).into());
        }
        // The checksum comes first, so that only a sound file can claim another version.
        let (magic, lines) = body.split_once('\n').ok_or(malformed("no magic line", 0))?;
        if magic != MAGIC {
            return Err(match magic.strip_prefix(MAGIC_PREFIX) {
                Some(_) => Wrong::Version,
                None => malformed("not the meta file of a block", 0).into(),
            });
        }
        let mut fields = BTreeMap::new();
        let mut offset = magic.len() + 1;
        for line in lines.lines() {
            let (key, value) = line
                .split_once('=')
                .ok_or(malformed("line without =", offset))?;
            if fields.insert(key, (offset, value)).is_some() {
                return Err(malformed("key stands twice", offset).into());
            }
            offset += line.len() + 1;
        }
        Ok(Self(fields))
    }

    fn block_meta(mut self) -> Result<BlockMeta, Malformed> {
        let meta = BlockMeta {
            ulid: self.take_with("ulid", Ulid::parse)?,
            range: TimeRange::new(self.take("start")?, self.take("end")?),
            level: self.take("level")?,
            sources: self.take_with("sources", split)?,
            parents: self.take_with("parents", split)?,
            series: self.take("series")?,
            samples: self.take("samples")?,
            chunks: self.take("chunks")?,
            created_ms: self.take("created_ms")?,
            flushed_through: self.take("flushed_through")?,
            encoding: self.take_with("encoding", |text| {
                [ChunkEncoding::Dense, ChunkEncoding::Gorilla]
                    .into_iter()
                    .find(|&encoding| encoding_name(encoding) == text)
            })?,
            chunks_file: self.take_file(names::CHUNKS)?,
            index_file: self.take_file(names::INDEX)?,
        };
        match self.0.values().next() {
            // A key nobody knows may change what the others mean.
            Some(&(offset, _)) => Err(Malformed {
                what: "unknown key",
                offset,
            }),
            None if meta.range.is_empty() => Err(Malformed {
                what: "empty range",
                offset: 0,
            }),
            None => Ok(meta),
        }
    }

    fn take_file(&mut self, name: &str) -> Result<FileMeta, Malformed> {
        Ok(FileMeta {
            size_bytes: self.take(&format!("file.{name}.size_bytes"))?,
            crc: self.take_with(&format!("file.{name}.crc"), |text| {
                u32::from_str_radix(text, 16).ok()
            })?,
        })
    }

    fn take<T: FromStr>(&mut self, key: &str) -> Result<T, Malformed> {
        self.take_with(key, |text| text.parse().ok())
    }

    fn take_with<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Malformed> {
        let (offset, text) = self.0.remove(key).ok_or(Malformed {
            what: "a key is missing",
            offset: 0,
        })?;
        parse(text).ok_or(Malformed {
            what: "value does not parse",
            offset,
        })
    }
}

fn put_line(text: &mut String, key: &str, value: &dyn Display) {
    writeln!(text, "{key}={value}").expect("writing to a string succeeds");
}

fn join(ulids: &[Ulid]) -> String {
    ulids
        .iter()
        .map(Ulid::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

fn split(text: &str) -> Option<Vec<Ulid>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.split(',').map(Ulid::parse).collect()
}

const MAGIC_PREFIX: &str = "tsdb block ";
const MAGIC: &str = "tsdb block 1";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn meta() -> BlockMeta {
        BlockMeta {
            ulid: Ulid::new(1_700_000_000_000, 42),
            range: TimeRange::new(-7_200_000, 0),
            level: 2,
            sources: vec![Ulid::new(1, 1), Ulid::new(2, 2)],
            parents: vec![],
            series: 3,
            samples: u64::MAX,
            chunks: 4,
            created_ms: -5,
            flushed_through: 77,
            encoding: ChunkEncoding::Gorilla,
            chunks_file: FileMeta {
                size_bytes: 100,
                crc: 0xab,
            },
            index_file: FileMeta {
                size_bytes: 200,
                crc: u32::MAX,
            },
        }
    }

    fn decode(bytes: &[u8]) -> Result<BlockMeta> {
        BlockMeta::decode(bytes, Path::new("b/meta"))
    }

    fn sealed(body: &str) -> Vec<u8> {
        format!("{body}crc={:08x}\n", crc32(body.as_bytes())).into_bytes()
    }

    #[test]
    fn example_of_the_format_decodes_and_encodes_to_itself() {
        let document = include_str!("META.md");
        let (_, example) = document.split_once("```text\n").unwrap();
        let (example, _) = example.split_once("```").unwrap();
        let meta = decode(example.as_bytes()).unwrap();
        assert_eq!(meta.level, 2);
        assert_eq!(meta.parents.len(), 2);
        assert_eq!(String::from_utf8(meta.encode()).unwrap(), example);
    }

    #[test]
    fn every_field_comes_back() {
        assert_eq!(decode(&meta().encode()).unwrap(), meta());
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_corruption() {
        let bytes = meta().encode();
        for len in 0..bytes.len() {
            assert_eq!(
                decode(&bytes[..len]).unwrap_err().kind(),
                ErrorKind::Corruption
            );
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                decode(&flipped).unwrap_err().kind(),
                ErrorKind::Corruption,
                "bit {bit}"
            );
        }
    }

    #[test]
    fn newer_version_is_unsupported_not_damaged() {
        let error = decode(&sealed("tsdb block 2\nanything at all\n")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn sound_checksum_does_not_excuse_wrong_content() {
        let good = String::from_utf8(meta().encode()).unwrap();
        let (body, _) = good.rsplit_once("crc=").unwrap();
        for (from, to) in [
            ("series=3\n", ""),
            ("series=3\n", "series=3\nseries=3\n"),
            ("series=3\n", "series=3\nother=1\n"),
            ("series=3\n", "series=-3\n"),
            ("series=3\n", "series\n"),
            ("end=0\n", "end=-7200000\n"),
            ("encoding=gorilla", "encoding=zip"),
            ("tsdb block 1", "Tsdb block 1"),
        ] {
            let wrong = sealed(&body.replace(from, to));
            assert_eq!(
                decode(&wrong).unwrap_err().kind(),
                ErrorKind::Corruption,
                "{to}"
            );
        }
    }
}
