//! The database as its users meet it, on the simulated disk.

mod support;

mod append;
#[cfg(feature = "internals")]
mod fuzz_bodies;
mod model;
