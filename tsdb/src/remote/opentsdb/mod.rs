//! OpenTSDB's `POST /api/put`: series as metrics with tags, samples as points, and what its answers mean.
//!
//! 1. [`Mapping::map`] makes of a series' labels the beginning of all its points, once: [`MappedSeries`]. OpenTSDB takes
//!    one to eight tags and few letters, so labels are escaped, cut and counted here.
//! 2. [`Mapping::point`] makes a point of a sample. What OpenTSDB cannot hold - NaN, infinities, the staleness marker, times
//!    that it would take for seconds - is skipped with a reason.
//! 3. [`BodyBuilder`] collects points until the body is as long as the server takes: 8,192 bytes on the wire, unless it was
//!    told otherwise, with gzip if wanted.
//! 4. The body goes to [`PUT_PATH`]. Only an answer to `sync` says that points are stored, and only `details` says which are
//!    not.
//! 5. [`judge`] reads the answer.
//!
//! Every value is written with a point or an exponent, so it is stored as eight bytes of floating point, and a point that is
//! sent twice overwrites itself; an integer over a float would break every query of that hour.

mod answer;
mod body;
mod mapping;
mod point;
#[cfg(test)]
mod tests;

pub use answer::{ANSWER_BYTES_MAX, Answer, PointOutcome, SentPoint, judge};
pub use body::{BodyBuilder, DEFAULT_BODY_BYTES};
pub use mapping::{DEFAULT_TAGS_MAX, Escaping, MapRefusal, MappedSeries, Mapping, TagOverflow};
pub use point::{Resolution, SkipReason};

/// Where points are put: stored when it is answered, and told which are not.
pub const PUT_PATH: &str = "/api/put?sync&details";
