//! Numbers of equal width side by side, least significant bit first.

/// Returns how many bytes `count` numbers of `width` bits take.
#[inline(always)]
pub(super) const fn packed_len(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// Appends the low `width` bits of each number, at most 64.
pub(super) fn pack(numbers: &[u64], width: u32, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    if width <= 16 {
        return pack_narrow(numbers, width, out);
    }
    let end = out.len() + packed_len(numbers.len(), width);
    let mask = u64::MAX >> (64 - width);
    let (mut word, mut used) = (0u64, 0);
    for &number in numbers {
        let number = number & mask;
        word |= number << used;
        used += width;
        if used >= 64 {
            out.extend_from_slice(&word.to_le_bytes());
            used -= 64;
            // A shift by all 64 bits, which is not defined, is when nothing is left over.
            word = if used == 0 {
                0
            } else {
                number >> (width - used)
            };
        }
    }
    out.extend_from_slice(&word.to_le_bytes());
    out.truncate(end);
}

/// Eight numbers fill `width` bytes: four and four of them fit a word each.
fn pack_narrow(numbers: &[u64], width: u32, out: &mut Vec<u8>) {
    let mask = u64::MAX >> (64 - width);
    let end = out.len() + packed_len(numbers.len(), width);
    let mut add = |group: &[u64; 8]| {
        let (mut low, mut high) = (0, 0);
        for index in 0..4 {
            low |= (group[index] & mask) << (index as u32 * width);
            high |= (group[index + 4] & mask) << (index as u32 * width);
        }
        let both = u128::from(low) | u128::from(high) << (4 * width);
        let start = out.len();
        out.extend_from_slice(&both.to_le_bytes());
        out.truncate(start + width as usize);
    };
    let (groups, rest) = numbers.as_chunks::<8>();
    groups.iter().for_each(&mut add);
    if !rest.is_empty() {
        let mut group = [0; 8];
        group[..rest.len()].copy_from_slice(rest);
        add(&group);
    }
    out.truncate(end);
}

/// Fills `out` with the numbers at the start of `bytes`, which may go on behind them and must hold
/// [`packed_len`] bytes at least.
///
/// `width` is at most 64 and `out` no longer than [`super::BLOCK_LEN`].
#[inline]
pub(crate) fn unpack(bytes: &[u8], width: u32, out: &mut [u64]) {
    let len = packed_len(out.len(), width);
    if bytes.len() >= len + SLACK {
        return unpack_with_slack(bytes, width, out);
    }
    // The last block of a stream: whole words would be read past the end.
    let mut padded = [0; packed_len(super::BLOCK_LEN, 64) + SLACK];
    padded[..len].copy_from_slice(&bytes[..len]);
    unpack_with_slack(&padded[..len + SLACK], width, out);
}

/// What may be read behind the numbers.
const SLACK: usize = 16;

#[inline(always)]
fn unpack_with_slack(bytes: &[u8], width: u32, out: &mut [u64]) {
    match width {
        0 => out.fill(0),
        1..=32 => KERNELS[width as usize - 1](bytes, out),
        33..=57 => unpack_middle(bytes, width, out),
        _ => unpack_wide(bytes, width, out),
    }
}

/// The same for each width from 1 on: with the width known, so is every shift, and a number takes four instructions.
static KERNELS: [Kernel; 32] = [
    unpack_eights::<1>,
    unpack_eights::<2>,
    unpack_eights::<3>,
    unpack_eights::<4>,
    unpack_eights::<5>,
    unpack_eights::<6>,
    unpack_eights::<7>,
    unpack_eights::<8>,
    unpack_eights::<9>,
    unpack_eights::<10>,
    unpack_eights::<11>,
    unpack_eights::<12>,
    unpack_eights::<13>,
    unpack_eights::<14>,
    unpack_eights::<15>,
    unpack_eights::<16>,
    unpack_eights::<17>,
    unpack_eights::<18>,
    unpack_eights::<19>,
    unpack_eights::<20>,
    unpack_eights::<21>,
    unpack_eights::<22>,
    unpack_eights::<23>,
    unpack_eights::<24>,
    unpack_eights::<25>,
    unpack_eights::<26>,
    unpack_eights::<27>,
    unpack_eights::<28>,
    unpack_eights::<29>,
    unpack_eights::<30>,
    unpack_eights::<31>,
    unpack_eights::<32>,
];

/// What [`unpack`] does, for one width.
type Kernel = fn(&[u8], &mut [u64]);

/// Eight numbers take as many bytes as each has bits, so all groups of eight look alike.
fn unpack_eights<const WIDTH: usize>(bytes: &[u8], out: &mut [u64]) {
    let mask = u64::MAX >> (64 - WIDTH);
    let (groups, rest) = out.as_chunks_mut::<8>();
    let mut start = 0;
    for group in groups {
        // The last of the eight is read as a whole word; what may be read behind the numbers leaves room for it.
        let packed = &bytes[start..start + WIDTH + 8];
        for (index, number) in group.iter_mut().enumerate() {
            let bit = index * WIDTH;
            *number = word(packed, bit / 8) >> (bit % 8) & mask;
        }
        start += WIDTH;
    }
    if let Some(packed) = bytes.get(start..start + WIDTH + 8)
        && !rest.is_empty()
    {
        // What follows the numbers is read as numbers too, and left out.
        let mut group = [0; 8];
        for (index, number) in group.iter_mut().enumerate() {
            let bit = index * WIDTH;
            *number = word(packed, bit / 8) >> (bit % 8) & mask;
        }
        rest.copy_from_slice(&group[..rest.len()]);
    } else {
        unpack_middle(&bytes[start..], WIDTH as u32, rest);
    }
}

/// A number and the bits before it in its first byte fit into a word.
#[inline]
fn unpack_middle(bytes: &[u8], width: u32, out: &mut [u64]) {
    let mask = u64::MAX >> (64 - width);
    for (index, number) in out.iter_mut().enumerate() {
        let bit = index * width as usize;
        *number = word(bytes, bit / 8) >> (bit % 8) & mask;
    }
}

#[inline(never)]
fn unpack_wide(bytes: &[u8], width: u32, out: &mut [u64]) {
    let mask = u64::MAX >> (64 - width);
    for (index, number) in out.iter_mut().enumerate() {
        let bit = index * width as usize;
        let both = u128::from(word(bytes, bit / 8)) | u128::from(word(bytes, bit / 8 + 8)) << 64;
        *number = (both >> (bit % 8)) as u64 & mask;
    }
}

#[inline(always)]
fn word(bytes: &[u8], start: usize) -> u64 {
    match bytes.get(start..).and_then(|rest| rest.first_chunk()) {
        Some(word) => u64::from_le_bytes(*word),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::ints::BLOCK_LEN;

    #[test]
    fn numbers_of_every_width_and_count_come_back() {
        for width in 0..=64 {
            for count in (0..=20).chain([63, 64, 127, BLOCK_LEN]) {
                let numbers: Vec<u64> = (1..=count as u64)
                    .map(|index| {
                        index
                            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                            .checked_shr(64 - width)
                            .unwrap_or(0)
                    })
                    .collect();
                let mut bytes = Vec::new();
                pack(&numbers, width, &mut bytes);
                assert_eq!(bytes.len(), packed_len(count, width));

                let mut out = vec![1; count];
                unpack(&bytes, width, &mut out);
                assert_eq!(out, numbers, "width {width}, count {count}, at the end");

                bytes.extend_from_slice(&[0xff; 40]);
                unpack(&bytes, width, &mut out);
                assert_eq!(out, numbers, "width {width}, count {count}, in the middle");
            }
        }
    }
}
