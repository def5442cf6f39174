//! Samples that leave the machine or come to it over HTTP: messages, their limits, and what to answer.
//!
//! All but [`transport`] are pure functions of bytes and labels: no socket, no thread, no file, no database. Who has a database
//! calls [`Db::receive_write`](crate::Db::receive_write) and [`Db::answer_read`](crate::Db::answer_read), which stand on this.
//!
//! | module | what it knows |
//! |---|---|
//! | [`wire`] | the bytes of remote write 1.0 and 2.0 in both directions, their compression and their headers |
//! | [`receive`] | what a receiver of remote write tells its sender |
//! | [`read`] | remote read: requests, and answers as samples or as streamed chunks |
//! | [`relabel`] | rules that rewrite labels or drop series |
//! | [`opentsdb`] | points for OpenTSDB, and what its answers mean |
//! | [`transport`] | posting a request over HTTP: a trait, and one that does it |
//!
//! Sending is: push series into a [`wire::EncoderV1`] or [`wire::EncoderV2`] until [`size`](wire::EncoderV2::size) says
//! that the batch is full, [`message`](wire::EncoderV2::message), [`wire::Compressor::compress`], post with
//! [`wire::Message::content_type`] and [`wire::Message::version`], and judge the answer with [`wire::Written`].
//!
//! Receiving is: [`wire::Message::negotiate`], [`wire::decompress`], [`wire::WriteRequest::parse`], walk the series.
//! The decoder is handed bytes by strangers. It looks at everything once before it gives anything out, makes no tree of
//! messages, and needs, besides the decompressed body, memory for the table of symbols alone.

mod external;
pub mod opentsdb;
pub mod read;
pub mod receive;
pub mod relabel;
mod retry_after;
mod send;
pub mod transport;
pub mod wire;

pub use external::{ExternalLabels, MergedLabels};
pub use retry_after::{RETRY_AFTER_MAX, retry_after};
pub(crate) use send::{
    Backoff, Batch, BatchBuilder, Built, GivenUp, Outcome, Pieces, Prepared, Preparer,
    RequestBuilder, Search, Verdict, Wanted,
};
pub use send::{OpenTsdbOptions, Protocol, SenderOptions, UnsentReason};
