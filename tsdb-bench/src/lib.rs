//! What the workloads and benches of `tsdb-engine` share: the data, the questions, and the measuring.
//!
//! 1. [`cluster`] makes the series and samples of a synthetic cluster, [`corpus`] reads recorded scrapes.
//! 2. [`cases`] holds the matcher sets that selections are measured with.
//! 3. [`measure`] reads CPU time, memory and latencies; [`json`] prints them, one object a line.
//! 4. [`scraper`] fills small databases in [`scratch`] directories.
//!
//! `src/bin/workload` drives a database with them; `benches/` measures single flows.

pub mod cases;
pub mod cluster;
pub mod corpus;
pub mod json;
pub mod measure;
pub mod scraper;
pub mod scratch;

/// What goes wrong in a measuring program: it ends with the message.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The result of a step of a measuring program.
pub type Result<T> = std::result::Result<T, Error>;
