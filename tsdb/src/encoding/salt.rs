//! Salts: where the checksums of a file start, so that text which looks like a part of it does not verify.

use super::crc32_seeded;

/// Returns the salt of the file with this number, drawn from `seed`, which must not be known to whoever chooses the
/// text in the file.
///
/// No run of sixteen zero bytes has the checksum 0 under it: a page that was never written does not verify.
pub(crate) fn salt(seed: u64, number: u64) -> u32 {
    let mut state = seed ^ number.wrapping_mul(GOLDEN_RATIO);
    loop {
        // The finalizer of splitmix64: neighbouring numbers get unrelated salts.
        state = state.wrapping_add(GOLDEN_RATIO);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let salt = (mixed ^ (mixed >> 31)) as u32;
        if crc32_seeded(salt, &[0; 16]) != 0 {
            return salt;
        }
    }
}

const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_do_not_verify_under_any_salt_given_out() {
        for number in 1..1000 {
            assert_ne!(crc32_seeded(salt(1, number), &[0; 16]), 0);
        }
    }

    #[test]
    fn salts_of_neighbours_differ() {
        assert_ne!(salt(1, 1), salt(1, 2));
        assert_ne!(salt(1, 1), salt(2, 1));
    }
}
