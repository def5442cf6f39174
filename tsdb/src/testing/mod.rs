//! What a database should hold, and random lives to compare it with.
//!
//! For tests of this library and of programs that embed it. [`Model`] is a `BTreeMap` of samples with the rules that
//! decide which ones are taken; it knows nothing of logs, groups, pieces or blocks. [`Life`] draws a sequence of
//! operations from a seed. [`Simulation`] leads a database on a simulated disk through them and compares:
//!
//! 1. each verdict of a commit with what the model says;
//! 2. every sample, bit for bit, after every operation that moves data;
//! 3. after a crash, what is found with the states of the model at each commit: one of them it has to be, and none
//!    before the last that was known to be durable.
//!
//! Everything is a pure function of the seed, so a failure is repeated by its seed alone.

mod life;
mod model;
mod random;
mod simulation;

pub use life::{Life, Operation, StagedSample};
pub use model::{Model, Verdict};
pub use random::Random;
pub use simulation::{Simulation, SimulationOptions};
