//! The database as its users meet it, on the simulated disk.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at the first surprise and says what it tried"
)]

mod support;

mod append;
mod backfill;
#[cfg(feature = "remote-write")]
mod chaos;
mod churn;
mod crash;
mod damage;
mod faults;
mod flush;
#[cfg(feature = "internals")]
mod fuzz_bodies;
mod hard_cases;
mod lone;
mod lost_frames;
mod model;
#[cfg(feature = "remote-write")]
mod opentsdb;
mod pieces;
mod read_only;
#[cfg(feature = "remote-write")]
mod remote;
#[cfg(feature = "remote-write")]
mod sender;
mod spool;
#[cfg(feature = "remote-write")]
mod strict;
mod workload;
