//! Sets of entity ordinals: a run in the reference itself, a list or a bitmap beside it.

use roaring::RoaringBitmap;

use crate::encoding::{ByteReader, Malformed, put_uvarint, seal};
use crate::index::postings::Postings;

/// Where a set is and how many elements it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SetRef {
    pub(super) kind: SetKind,
    pub(super) count: u32,
    /// The first element of a run, else the offset of the unit.
    pub(super) at: u32,
}

/// How a set is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SetKind {
    Run = 1,
    List = 2,
    Bitmap = 3,
}

/// Longer lists are read slower than bitmaps by more than the bytes are worth.
const LIST_LEN_MAX: u32 = 128;

impl SetKind {
    pub(super) fn read(reader: &mut ByteReader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            1 => Ok(Self::Run),
            2 => Ok(Self::List),
            3 => Ok(Self::Bitmap),
            _ => Err(reader.malformed("unknown kind of set")),
        }
    }
}

impl SetRef {
    /// Appends the unit of `set` to `out`, which starts at `offset` of the index, unless the reference says it all.
    ///
    /// Returns `None` past 4 GiB, which a reference cannot name.
    pub(super) fn write(set: &Postings, offset: u64, out: &mut Vec<u8>) -> Option<Self> {
        let count = set.len();
        let (kind, body) = match set {
            Postings::Empty => {
                return Some(Self {
                    kind: SetKind::Run,
                    count: 0,
                    at: 0,
                });
            }
            Postings::Run { start, len } => {
                return Some(Self {
                    kind: SetKind::Run,
                    count: *len,
                    at: *start,
                });
            }
            Postings::List(_) | Postings::Map(_) => smaller(set),
        };
        let start = out.len();
        let at = u32::try_from(offset + start as u64).ok()?;
        put_uvarint(out, body.len() as u64);
        out.extend_from_slice(&body);
        seal(out, start);
        Some(Self { kind, count, at })
    }

    /// Reads the set; `index` is the index from its first byte on, `entities` bounds the elements.
    pub(super) fn read(self, index: &[u8], entities: u32) -> Result<Postings, Malformed> {
        let unit = match self.kind {
            SetKind::Run => {
                let inside = self
                    .at
                    .checked_add(self.count)
                    .is_some_and(|end| end <= entities);
                return match (inside, self.count) {
                    (false, _) => Err(Malformed {
                        what: "run ends behind the last entity",
                        offset: 0,
                    }),
                    (true, 0) => Ok(Postings::Empty),
                    (true, len) => Ok(Postings::Run {
                        start: self.at,
                        len,
                    }),
                };
            }
            SetKind::List | SetKind::Bitmap => index.get(self.at as usize..).unwrap_or_default(),
        };
        let mut length = ByteReader::new(unit);
        let len = length.uvarint_max(length.remaining(), "set is longer than what is left")?;
        let unit_len = length.position() + len + 4;
        let mut unit = ByteReader::checked(unit.get(..unit_len).unwrap_or_default())?;
        unit.bytes(length.position())?;
        let set = match self.kind {
            SetKind::Bitmap => read_bitmap(unit.rest())?,
            SetKind::List | SetKind::Run => read_list(&mut unit, self.count)?,
        };
        if set.len() != self.count || set.max().is_some_and(|max| max >= entities) {
            return Err(Malformed {
                what: "set does not have the elements it should",
                offset: 0,
            });
        }
        Ok(set)
    }
}

fn smaller(set: &Postings) -> (SetKind, Vec<u8>) {
    let mut bitmap = RoaringBitmap::new();
    set.union_into(&mut bitmap);
    bitmap.optimize();
    if set.len() <= LIST_LEN_MAX {
        let list = list(set);
        if list.len() <= bitmap.serialized_size() {
            return (SetKind::List, list);
        }
    }
    let mut body = Vec::with_capacity(bitmap.serialized_size());
    bitmap
        .serialize_into(&mut body)
        .expect("a vector takes every byte");
    (SetKind::Bitmap, body)
}

/// The first element, then by how much each exceeds the smallest it could be.
fn list(set: &Postings) -> Vec<u8> {
    let mut body = Vec::new();
    let mut next = 0;
    for id in set.iter() {
        put_uvarint(&mut body, u64::from(id - next));
        next = id + 1;
    }
    body
}

fn read_list(reader: &mut ByteReader<'_>, count: u32) -> Result<Postings, Malformed> {
    // Every element takes a byte: a count read from disk cannot make this allocate more than the unit's length.
    if count as usize > reader.remaining() {
        return Err(reader.malformed("list has fewer elements than it should"));
    }
    let mut ids = Vec::with_capacity(count as usize);
    let mut next = 0u64;
    for _ in 0..count {
        let id = reader
            .uvarint()?
            .checked_add(next)
            .filter(|id| *id < u64::from(u32::MAX));
        let Some(id) = id else {
            return Err(reader.malformed("element exceeds 32 bits"));
        };
        ids.push(id as u32);
        next = id + 1;
    }
    reader.expect_end()?;
    Ok(Postings::from_ascending(&ids))
}

fn read_bitmap(body: &[u8]) -> Result<Postings, Malformed> {
    let mut rest = body;
    match RoaringBitmap::deserialize_from(&mut rest) {
        Ok(bitmap) if rest.is_empty() => Ok(Postings::from_bitmap(bitmap)),
        Ok(_) | Err(_) => Err(Malformed {
            what: "not a bitmap",
            offset: 0,
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sets_round_trip_and_damage_is_noticed(
            ids in prop::collection::btree_set(prop_oneof![0u32..200, 0u32..100_000], 0..400),
            bit in any::<prop::sample::Index>(),
        ) {
            let set: Vec<u32> = ids.into_iter().collect();
            let postings = Postings::from_ascending(&set);
            let mut out = vec![0; 7];
            let reference = SetRef::write(&postings, 0, &mut out).unwrap();
            prop_assert!(reference.read(&out, 100_000).unwrap().iter().eq(set.iter().copied()));
            if reference.kind != SetKind::Run {
                prop_assert!(reference.read(&out, *set.last().unwrap()).is_err());
                prop_assert!(reference.read(&out[..out.len() - 1], 100_000).is_err());
                let bit = 56 + bit.index(out.len() * 8 - 56);
                out[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(reference.read(&out, 100_000).is_err());
            }
        }
    }
}
