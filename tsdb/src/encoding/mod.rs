//! Bytes and numbers, bounds-checked.
//!
//! The decoders of every format read through [`ByteReader`] and answer damaged input with [`Malformed`], which knows
//! the offset but not the file: whoever knows the file turns it into an [`Error`](crate::error::Error). Fixed-width
//! numbers are little endian.

pub(crate) mod bytes;
pub(crate) mod varint;

pub(crate) use bytes::{ByteReader, Malformed, seal};
pub(crate) use varint::{put_uvarint, put_varint, unzigzag, zigzag};

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
