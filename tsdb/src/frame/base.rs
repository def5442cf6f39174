//! The full state of a group.

use crate::encoding::{ByteReader, Malformed, put_uvarint, put_varint};
use crate::limits::GROUP_SERIES_MAX;
use crate::piece::{put_ids, read_ids};
use crate::row::{RowState, is_valid_scale};

use super::{TAG_BASE, put_section};

/// A group's layout and state at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The group.
    pub group: u64,
    /// Series ids in position order.
    pub ids: Vec<u64>,
    /// Timestamp of the newest row, [`i64::MIN`] if there is none.
    pub last_timestamp: i64,
    /// Number of the newest row or of this layout, whichever came last, modulo 65536.
    pub chain: u16,
    /// What every position held last.
    pub state: RowState,
    /// Positions whose newest sample is older than the newest row, ascending, with its timestamp.
    pub absentees: Vec<(u16, i64)>,
}

/// Appends a base section. `absentees` ascend by position.
pub fn put_base(
    out: &mut Vec<u8>,
    group: u64,
    ids: &[u64],
    last_timestamp: i64,
    chain: u16,
    state: &RowState,
    absentees: &[(u16, i64)],
) {
    put_section(out, TAG_BASE, |out| {
        put_uvarint(out, group);
        put_uvarint(out, ids.len() as u64);
        put_ids(out, ids);
        out.extend_from_slice(&last_timestamp.to_le_bytes());
        out.extend_from_slice(&chain.to_le_bytes());
        for run in state.scales.chunk_by(|a, b| a == b) {
            put_uvarint(out, run.len() as u64);
            out.push(run[0]);
        }
        for &integer in &state.integers {
            put_varint(out, integer);
        }
        put_uvarint(out, absentees.len() as u64);
        let mut previous = 0;
        for &(position, newest) in absentees {
            put_uvarint(out, u64::from(position - previous));
            put_varint(out, last_timestamp.wrapping_sub(newest));
            previous = position;
        }
    });
}

impl Base {
    pub(super) fn read(reader: &mut ByteReader<'_>) -> Result<Self, Malformed> {
        let group = reader.uvarint()?;
        let n = reader.uvarint_max(GROUP_SERIES_MAX, "group is too large")?;
        if n == 0 {
            return Err(reader.malformed("group without a series"));
        }
        let ids = read_ids(reader, n)?;
        let last_timestamp = reader.i64()?;
        let chain = reader.u16()?;
        let mut scales = Vec::with_capacity(n);
        while scales.len() < n {
            let length = reader.uvarint_max(n - scales.len(), "more scales than series")?;
            let scale = reader.u8()?;
            if length == 0 || !is_valid_scale(scale) {
                return Err(reader.malformed("unknown scale"));
            }
            scales.resize(scales.len() + length, scale);
        }
        let integers = (0..n)
            .map(|_| reader.varint())
            .collect::<Result<Vec<_>, _>>()?;
        let count = reader.uvarint_max(n, "more absentees than series")?;
        let mut absentees: Vec<(u16, i64)> = Vec::with_capacity(count);
        let mut previous = 0;
        for index in 0..count {
            let gap = reader.uvarint_max(n, "absentee beyond the group")?;
            let position = previous + gap;
            if position >= n || (index > 0 && gap == 0) {
                return Err(reader.malformed("absentees do not ascend inside the group"));
            }
            absentees.push((
                position as u16,
                last_timestamp.wrapping_sub(reader.varint()?),
            ));
            previous = position;
        }
        reader.expect_end()?;
        Ok(Self {
            group,
            ids,
            last_timestamp,
            chain,
            state: RowState { integers, scales },
            absentees,
        })
    }
}
