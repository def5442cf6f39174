//! What fuzz targets do with their bytes, as plain functions: under a fuzzer they explore, in the test suite they run
//! over seeded bytes.
//!
//! 1. Bytes are taken as a file or a message of a format: reading them must end, without a panic.
//! 2. Where the format has checksums, random bytes do not get far: then the bytes are edits of a valid file, and what is
//!    read must be the truth or nothing.
//! 3. Bytes are taken as input of the writer: what is written must be read back.
//!
//! A body panics when a promise is broken; that is what fuzzers look for.

mod database;
mod formats;
mod input;
#[cfg(feature = "remote-write")]
mod remote;
mod stores;

pub use database::{lone_file, operations};
pub use formats::{column, dense, frame, gorilla, piece, row, selector, tombstones};
#[cfg(feature = "remote-write")]
pub use remote::{read_request, write_body, write_request};
pub use stores::{block, checkpoint, index, log, series_store};

/// A body: takes any bytes.
pub type Body = fn(&[u8]);

/// Every target with its body.
pub const TARGETS: [(&str, Body); 15] = [
    ("gorilla", gorilla),
    ("dense", dense),
    ("column", column),
    ("row", row),
    ("piece", piece),
    ("frame", frame),
    ("log", log),
    ("series_store", series_store),
    ("index", index),
    ("block", block),
    ("tombstones", tombstones),
    ("checkpoint", checkpoint),
    ("selector", selector),
    ("lone_file", lone_file),
    ("operations", operations),
];

/// The targets of what other machines send.
#[cfg(feature = "remote-write")]
pub const REMOTE_TARGETS: [(&str, Body); 3] = [
    ("write_request", write_request),
    ("write_body", write_body),
    ("read_request", read_request),
];
