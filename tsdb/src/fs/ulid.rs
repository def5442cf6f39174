//! Identifiers of blocks: sorted by the time of their creation, unique without asking anybody.

use std::fmt;

/// A ULID: 48 bits of milliseconds since the Unix epoch and 80 random bits, written as 26 letters and digits of Crockford's
/// base 32. Text sorts as the number does. Follows the [specification](https://github.com/ulid/spec).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ulid(u128);

impl Ulid {
    /// Returns the identifier for a time and 80 random bits; what is above 48 and 80 bits is dropped.
    pub const fn new(ms: u64, random: u128) -> Self {
        let ms = ms as u128 & ((1 << MS_BITS) - 1);
        Self(ms << RANDOM_BITS | random & ((1 << RANDOM_BITS) - 1))
    }

    /// Returns the milliseconds since the Unix epoch in it.
    pub const fn ms(self) -> u64 {
        (self.0 >> RANDOM_BITS) as u64
    }

    /// Returns the identifier that sorts right behind, for a second one in the same millisecond; none behind the last.
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(next) => Some(Self(next)),
            None => None,
        }
    }

    /// Reads what [`Display`](fmt::Display) writes, and nothing else: no lower case, none of the letters that stand in
    /// for digits, so that a name is one identifier and an identifier one name.
    pub fn parse(text: &str) -> Option<Self> {
        // 26 digits carry 130 bits: the first holds three.
        if text.len() != TEXT_LEN || !matches!(text.as_bytes()[0], b'0'..=b'7') {
            return None;
        }
        text.bytes().try_fold(Self(0), |ulid, letter| {
            let digit = DIGITS.iter().position(|&digit| digit == letter)?;
            Some(Self(ulid.0 << BITS_PER_DIGIT | digit as u128))
        })
    }

    /// Returns the number, for formats that store it.
    pub const fn to_u128(self) -> u128 {
        self.0
    }

    /// Returns the identifier of a number that was stored.
    pub const fn from_u128(number: u128) -> Self {
        Self(number)
    }
}

impl fmt::Display for Ulid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; TEXT_LEN];
        let mut rest = self.0;
        for letter in text.iter_mut().rev() {
            *letter = DIGITS[(rest & 0x1f) as usize];
            rest >>= BITS_PER_DIGIT;
        }
        f.pad(std::str::from_utf8(&text).expect("digits are ASCII"))
    }
}

const MS_BITS: u32 = 48;
const RANDOM_BITS: u32 = 80;
const TEXT_LEN: usize = 26;
const BITS_PER_DIGIT: u32 = 5;
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_that_of_the_specification() {
        let ulid = Ulid::new(1_469_918_176_385, 0);
        assert_eq!(ulid.to_string(), "01ARYZ6S410000000000000000");
        assert_eq!(ulid.ms(), 1_469_918_176_385);
        assert_eq!(
            Ulid::from_u128(u128::MAX).to_string(),
            "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"
        );
    }

    #[test]
    fn text_reads_back_and_sorts_like_the_number() {
        let ulids = [
            Ulid::new(0, 0),
            Ulid::new(0, 1),
            Ulid::new(1, 0),
            Ulid::new(u64::MAX, 0),
            Ulid::from_u128(u128::MAX),
        ];
        for ulid in ulids {
            assert_eq!(Ulid::parse(&ulid.to_string()), Some(ulid));
        }
        assert!(ulids.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(ulids.is_sorted_by_key(ToString::to_string));
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in [
            "",
            "01ARYZ6S41000000000000000",
            "01ARYZ6S4100000000000000000",
            "81ARYZ6S410000000000000000",
            "01aryz6s410000000000000000",
            "O1ARYZ6S410000000000000000",
            "01ARYZ6S41000000000000000\u{e9}",
        ] {
            assert_eq!(Ulid::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_next_one_sorts_behind_until_there_is_none() {
        let ulid = Ulid::new(7, (1 << RANDOM_BITS) - 1);
        assert_eq!(ulid.next(), Some(Ulid::new(8, 0)));
        assert_eq!(Ulid::from_u128(u128::MAX).next(), None);
    }
}
