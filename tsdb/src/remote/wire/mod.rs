//! The bytes of remote write: protobuf messages, their compression, and the headers that go with them.
//!
//! 1. [`Message`] and [`Compression`] are what headers negotiate.
//! 2. [`EncoderV1`] and [`EncoderV2`] append series to a message; buffers are kept from one request to the next.
//! 3. [`WriteRequest`] reads both messages without building them: a message of two bytes would take seventy as a struct,
//!    and thirty-two mebibytes of those a gigabyte.
//! 4. [`Written`] is what a receiver of 2.0 says it has stored.
//!
//! Protobuf itself is two files: `field` reads tagged fields within bounds, `put` writes them. Groups, field number 0 and
//! numbers of more than 64 bits are refused, unknown fields are passed over, and nothing recurses: the depth of each
//! message is known.

mod compression;
mod decode;
mod encode_v1;
mod encode_v2;
mod error;
mod field;
mod message;
mod put;
mod symbols;
#[cfg(test)]
mod tests;
mod written;

pub use compression::{Compression, Compressor, decompress};
pub use decode::{PairFault, SeriesIter, Totals, WriteRequest, WriteSeries};
pub use encode_v1::EncoderV1;
pub use encode_v2::EncoderV2;
pub use error::WireError;
pub(super) use field::{Field, FieldReader};
pub use message::Message;
pub(super) use put::{put_bytes, put_header, put_labels, put_number, put_sample};
pub use written::{
    EXEMPLARS_WRITTEN_HEADER, HISTOGRAMS_WRITTEN_HEADER, SAMPLES_WRITTEN_HEADER, Written,
};

/// The header that carries [`Message::version`].
pub const VERSION_HEADER: &str = "X-Prometheus-Remote-Write-Version";

/// The content type of every protobuf message that says nothing else.
pub const CONTENT_TYPE_PROTOBUF: &str = "application/x-protobuf";
