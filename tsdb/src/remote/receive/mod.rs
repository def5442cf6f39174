//! What a receiver of remote write tells its sender.
//!
//! A request is taken sample by sample: what can be stored is, and what cannot is counted, by reason, and the first of
//! them are named in the answer. The status says what the sender should do:
//!
//! | status | when | a sender |
//! |--:|---|---|
//! | 204 | everything was stored, or was there already | goes on |
//! | 400 | some samples were refused, the others are stored; or the body is no message, and nothing is | does not send it again |
//! | 413 | a cap of [`crate::limits`] is exceeded, nothing is stored | sends less at once |
//! | 415 | the message or its compression is not known | tries 1.0 with snappy |
//! | 503 | the disk or the database does not take writes now | sends all of it again; what was stored is accepted again |
//!
//! This is what Prometheus does for 2.0. For 1.0 it stores nothing of a request with one sample that is out of order, and
//! drops series with bad labels without a word; senders that retry or count by the status see no difference.
//!
//! Histograms are refused with [`Refusal::Histogram`], since a sender must not believe that they are kept. Exemplars and
//! metadata are dropped; [`Written::exemplars`] is 0.

mod answer;

pub use answer::{Refusal, WriteAnswer, WriteHeaders, WriteReport};

#[cfg(doc)]
use crate::remote::wire::Written;
