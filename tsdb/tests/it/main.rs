//! The database as its users meet it, on the simulated disk.

mod support;

mod append;
mod model;
