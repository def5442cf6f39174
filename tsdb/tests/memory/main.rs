//! What the library takes of memory, counted by an allocator of this binary, so that nothing but these tests is in the
//! figures.

#![expect(
    unsafe_code,
    reason = "an allocator that counts can only be written so; it passes everything on to the system's"
)]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the disk is the real one: a simulated one would be counted; a test stops at the first surprise"
)]

mod accounted;
mod counting;
mod hostile;
