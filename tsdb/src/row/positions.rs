//! Sets of positions inside a row: a short list or a bitmap, whichever is smaller.

use crate::encoding::{ByteReader, Malformed};

/// A set read from a row's bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Positions<'a> {
    Empty,
    List(&'a [u8]),
    Bitmap(&'a [u8]),
}

impl<'a> Positions<'a> {
    /// Reads and checks a set over `n` positions.
    pub(crate) fn read(reader: &mut ByteReader<'a>, n: usize) -> Result<Self, Malformed> {
        let count = usize::from(reader.u16()?);
        if count == 0 || count > n {
            return Err(reader.malformed("position count is out of bounds"));
        }
        if is_list(count, n) {
            let bytes = reader.bytes(count * 2)?;
            let mut last = None;
            for position in list(bytes) {
                // Order is what `contains` searches by, and the bound keeps every position inside the state.
                if usize::from(position) >= n || last.is_some_and(|last| last >= position) {
                    return Err(reader.malformed("positions do not ascend below the row's width"));
                }
                last = Some(position);
            }
            Ok(Self::List(bytes))
        } else {
            let bytes = reader.bytes(n.div_ceil(8))?;
            let set: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
            let beyond = if n.is_multiple_of(8) {
                0
            } else {
                bytes[bytes.len() - 1] >> (n % 8)
            };
            if set as usize != count || beyond != 0 {
                return Err(reader.malformed("position bitmap does not have its count"));
            }
            Ok(Self::Bitmap(bytes))
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    pub(crate) fn contains(&self, position: usize) -> bool {
        match self {
            Self::Empty => false,
            Self::List(_) => self.rank(position).is_some(),
            Self::Bitmap(bytes) => bytes[position / 8] >> (position % 8) & 1 == 1,
        }
    }

    /// Returns how many positions of the set lie before `position`, if it is in the set.
    pub(crate) fn rank(&self, position: usize) -> Option<usize> {
        match self {
            Self::Empty => None,
            Self::List(bytes) => {
                let (pairs, _) = bytes.as_chunks::<2>();
                pairs
                    .binary_search_by_key(&position, |pair| usize::from(u16::from_le_bytes(*pair)))
                    .ok()
            }
            Self::Bitmap(bytes) => {
                if !self.contains(position) {
                    return None;
                }
                let whole: u32 = bytes[..position / 8]
                    .iter()
                    .map(|byte| byte.count_ones())
                    .sum();
                let below = bytes[position / 8] & ((1u8 << (position % 8)) - 1);
                Some((whole + below.count_ones()) as usize)
            }
        }
    }

    /// Calls `visit` for each position in ascending order.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(usize)) {
        match self {
            Self::Empty => {}
            Self::List(bytes) => list(bytes).for_each(|position| visit(usize::from(position))),
            Self::Bitmap(bytes) => {
                for (index, &byte) in bytes.iter().enumerate() {
                    let mut bits = byte;
                    while bits != 0 {
                        visit(index * 8 + bits.trailing_zeros() as usize);
                        bits &= bits - 1;
                    }
                }
            }
        }
    }
}

/// Appends a set; `positions` ascend and are fewer than `n`, or as many.
pub(crate) fn put_positions(out: &mut Vec<u8>, positions: &[u16], n: usize) {
    out.extend_from_slice(&(positions.len() as u16).to_le_bytes());
    if is_list(positions.len(), n) {
        for position in positions {
            out.extend_from_slice(&position.to_le_bytes());
        }
    } else {
        let start = out.len();
        out.resize(start + n.div_ceil(8), 0);
        for &position in positions {
            out[start + usize::from(position) / 8] |= 1 << (position % 8);
        }
    }
}

fn is_list(count: usize, n: usize) -> bool {
    count * 16 < n
}

fn list(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    bytes
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| u16::from_le_bytes(*pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_and_bitmap_hold_the_same_set() {
        for n in [1usize, 7, 8, 33, 1000] {
            for step in [1usize, 2, 40] {
                let positions: Vec<u16> = (0..n)
                    .step_by(step)
                    .map(|position| position as u16)
                    .collect();
                let mut out = Vec::new();
                put_positions(&mut out, &positions, n);
                let mut reader = ByteReader::new(&out);
                let set = Positions::read(&mut reader, n).unwrap();
                assert!(reader.is_empty());
                let mut seen = Vec::new();
                set.for_each(|position| seen.push(position as u16));
                assert_eq!(seen, positions);
                for position in 0..n {
                    assert_eq!(
                        set.rank(position),
                        positions.binary_search(&(position as u16)).ok()
                    );
                    assert_eq!(set.contains(position), position % step == 0);
                }
            }
        }
    }

    #[test]
    fn descending_positions_are_refused() {
        let bytes = [2, 0, 5, 0, 4, 0];
        assert!(Positions::read(&mut ByteReader::new(&bytes), 1000).is_err());
    }
}
