//! Bytes and numbers, bounds-checked.
//!
//! The decoders of every format read through [`ByteReader`] and answer damaged input with [`Malformed`], which knows
//! the offset but not the file: whoever knows the file turns it into an [`Error`](crate::error::Error). Fixed-width
//! numbers are little endian.

pub(crate) mod bytes;
pub(crate) mod salt;
pub(crate) mod varint;

pub(crate) use bytes::{ByteReader, Malformed, seal};
pub(crate) use salt::salt;
pub(crate) use varint::{put_uvarint, put_varint, unzigzag, write_uvarint, zigzag};

/// Returns the CRC-32 (IEEE) of `bytes`.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// Returns the CRC-32 of `bytes` continued from `seed`: equal bytes under another seed do not verify.
pub(crate) fn crc32_seeded(seed: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(bytes);
    hasher.finalize()
}

/// Returns the bytes of the first fenced block marked `hex` of a format document: two digits a byte, `#` begins a
/// remark to the end of its line.
#[cfg(test)]
pub(crate) fn hex_example(document: &str) -> Vec<u8> {
    let (_, rest) = document
        .split_once("```hex\n")
        .expect("the document has an example");
    let (block, _) = rest.split_once("```").expect("the example ends");
    let digits = block.lines().flat_map(|line| {
        line.split('#')
            .next()
            .expect("split yields one part")
            .split_whitespace()
    });
    digits
        .map(|byte| u8::from_str_radix(byte, 16).expect("two hexadecimal digits"))
        .collect()
}
