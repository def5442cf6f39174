//! Variable-length integers: LEB128, and zigzag for signed ones.

/// Longest encoding of a 64-bit number.
pub(crate) const VARINT_BYTES_MAX: usize = 10;

/// Maps small numbers of either sign to small unsigned ones: 0, -1, 1, -2 become 0, 1, 2, 3.
#[inline(always)]
pub(crate) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Undoes [`zigzag`].
#[inline(always)]
pub(crate) const fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// Appends `value` in one to ten bytes.
#[inline]
pub(crate) fn put_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes `value` to the beginning of `out` and returns how many bytes it takes: where room was made before, looking for it
/// at each byte is most of the work.
///
/// # Panics
///
/// If there is no room.
#[inline(always)]
pub(crate) fn write_uvarint(out: &mut [u8], mut value: u64) -> usize {
    let mut len = 0;
    while value >= 0x80 {
        out[len] = value as u8 | 0x80;
        value >>= 7;
        len += 1;
    }
    out[len] = value as u8;
    len + 1
}

/// Appends `value` in one to ten bytes, small magnitudes in few.
#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, value: i64) {
    put_uvarint(out, zigzag(value));
}
