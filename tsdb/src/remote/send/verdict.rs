//! What an answer says about the samples of a request.

use std::time::Duration;

use crate::remote::retry_after;
use crate::remote::transport::{Response, TransportError};
use crate::remote::wire::{Compression, Message, Written};
use crate::time::Timestamp;

/// What became of a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// Everything in it is stored.
    Stored,
    /// Each sample has an outcome of its own: OpenTSDB.
    Outcomes(Vec<Outcome>),
    /// All of it again, later.
    Retry {
        /// How long the server wants to be left alone.
        after: Option<Duration>,
        /// Whether the remote may have stored some or all of it.
        may_be_stored: bool,
        /// What happened.
        reason: String,
    },
    /// Something in it is refused, perhaps all of it, and nothing is stored.
    Refused {
        /// What the remote said.
        reason: String,
    },
    /// Little of it is refused, or it is too long: halves will tell.
    Split {
        /// What the remote said.
        reason: String,
    },
    /// Some of it is stored, the rest refused for good. It is not said which.
    Partly {
        /// How many samples are stored.
        stored: usize,
        /// What the remote said.
        reason: String,
    },
    /// Somebody has to look; until then everything is kept.
    Misconfigured {
        /// What the remote said.
        reason: String,
    },
    /// The remote does not know the message or its compression: all of it again, as something older.
    Downgrade {
        /// What the remote said.
        reason: String,
    },
}

/// What became of a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Stored,
    /// Not stored, or not known to be.
    Retry(String),
    /// Never will be.
    Refused(String),
    /// Will be when somebody has looked.
    Misconfigured(String),
}

/// How a remote write request was made, as far as it matters for what the answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) message: Message,
    pub(super) compression: Compression,
    pub(super) samples: usize,
    /// Whether there is a series with more than one of them.
    pub(super) has_runs: bool,
    /// Whether this remote has ever stored a request of this message and compression.
    pub(super) is_confirmed: bool,
}

impl Verdict {
    /// Reads why there was no answer.
    pub(crate) fn of_failure(error: &TransportError) -> Self {
        let reason = error.to_string();
        match error {
            TransportError::Timeout(_) | TransportError::Connection(_) => Self::Retry {
                after: None,
                may_be_stored: true,
                reason,
            },
            TransportError::Invalid(_) => Self::Misconfigured { reason },
        }
    }

    /// Reads the answer to a request of remote write.
    pub(super) fn of_write(response: &Response, sent: Sent, now_ms: Timestamp) -> Self {
        let reason = reason(response);
        let headers = response
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let written = match sent.message {
            Message::V1 => None,
            Message::V2 => Written::parse(headers),
        };
        let is_new = !sent.is_confirmed;
        let can_downgrade = sent.message == Message::V2 || sent.compression == Compression::Zstd;
        match response.status {
            200..=299 => match (sent.message, written) {
                (Message::V1, _) => Self::Stored,
                // It has understood something else, perhaps nothing.
                (Message::V2, None) => Self::Downgrade { reason },
                (Message::V2, Some(written)) if written.samples >= sent.samples as u64 => {
                    Self::Stored
                }
                (Message::V2, Some(_)) => Self::Split { reason },
            },
            400 if written.is_none() && is_new && can_downgrade => Self::Downgrade { reason },
            400 | 409 | 422 => Self::of_refusal(written, sent, reason),
            413 => Self::Split { reason },
            415 if can_downgrade => Self::Downgrade { reason },
            status => Self::of_status(status, response, now_ms, reason),
        }
    }

    /// Reads what a refusal says about the samples.
    fn of_refusal(written: Option<Written>, sent: Sent, reason: String) -> Self {
        let stored = written.map_or(0, |written| written.samples);
        let stored = usize::try_from(stored).unwrap_or(usize::MAX);
        // It may take all of a request or nothing.
        if stored == 0 || stored >= sent.samples {
            return Self::Refused { reason };
        }
        // What is stored is taken again if it is the newest of its series, and only then.
        if !sent.has_runs && sent.samples - stored <= FOUND_MAX {
            return Self::Split { reason };
        }
        Self::Partly { stored, reason }
    }

    /// Reads an answer that is about the request, not about what is in it.
    pub(super) fn of_status(
        status: u16,
        response: &Response,
        now_ms: Timestamp,
        reason: String,
    ) -> Self {
        match status {
            // Not implemented, and not this version of HTTP: no outage, but the wrong server.
            501 | 505 => Self::Misconfigured { reason },
            408 | 425 | 429 | 500.. => Self::Retry {
                after: response
                    .header("retry-after")
                    .and_then(|value| retry_after(value, now_ms)),
                may_be_stored: status >= 500,
                reason,
            },
            _ => Self::Misconfigured { reason },
        }
    }
}

/// Returns the status and the beginning of the text of an answer, on one line.
pub(super) fn reason(response: &Response) -> String {
    let text = String::from_utf8_lossy(&response.body);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text: String = text.chars().take(REASON_CHARS_MAX).collect();
    format!("{} {text}", response.status).trim_end().to_owned()
}

/// Samples of a request that are looked for one by one, at most, if the others are stored.
const FOUND_MAX: usize = 16;

/// Letters of an answer that are kept.
const REASON_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::wire::SAMPLES_WRITTEN_HEADER;

    const V1: Sent = Sent {
        message: Message::V1,
        compression: Compression::Snappy,
        samples: 10,
        has_runs: false,
        is_confirmed: true,
    };
    const V2: Sent = Sent {
        message: Message::V2,
        ..V1
    };
    const NEW: Sent = Sent {
        is_confirmed: false,
        ..V2
    };

    fn verdict(status: u16, headers: &[(&'static str, &str)], sent: Sent) -> String {
        let response = Response {
            status,
            headers: headers
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
            body: b"out of\norder ".to_vec(),
        };
        let verdict = format!("{:?}", Verdict::of_write(&response, sent, 0));
        verdict.replace(&format!("\"{status} out of order\""), "R")
    }

    #[test]
    fn statuses_fall_into_their_classes() {
        for sent in [V1, V2] {
            for status in [500, 502, 503, 504, 599, 429, 408, 425] {
                let may_be_stored = status >= 500;
                assert_eq!(
                    verdict(status, &[], sent),
                    format!("Retry {{ after: None, may_be_stored: {may_be_stored}, reason: R }}")
                );
            }
            for status in [
                301, 302, 401, 402, 403, 404, 405, 410, 418, 426, 451, 501, 505, 100,
            ] {
                assert_eq!(verdict(status, &[], sent), "Misconfigured { reason: R }");
            }
            for status in [400, 409, 422] {
                assert_eq!(verdict(status, &[], sent), "Refused { reason: R }");
            }
            assert_eq!(verdict(413, &[], sent), "Split { reason: R }");
        }
        assert_eq!(verdict(204, &[], V1), "Stored");
        assert_eq!(verdict(415, &[], V1), "Misconfigured { reason: R }");
        assert_eq!(
            verdict(503, &[("retry-after", "7")], V1),
            "Retry { after: Some(7s), may_be_stored: true, reason: R }"
        );
    }

    #[test]
    fn what_a_receiver_of_2_0_has_written_decides() {
        let written = |count| [(SAMPLES_WRITTEN_HEADER, count)];
        assert_eq!(verdict(204, &written("10"), V2), "Stored");
        assert_eq!(verdict(204, &written("9"), V2), "Split { reason: R }");
        assert_eq!(verdict(400, &written("9"), V2), "Split { reason: R }");
        assert_eq!(verdict(400, &written("0"), V2), "Refused { reason: R }");
        assert_eq!(verdict(400, &written("10"), V2), "Refused { reason: R }");
        assert_eq!(verdict(204, &[], V2), "Downgrade { reason: R }");
        assert_eq!(verdict(415, &[], V2), "Downgrade { reason: R }");
    }

    /// Sent again, a sample that is stored would be refused if there is a newer one of its series.
    #[test]
    fn what_is_written_of_runs_or_of_much_that_is_bad_is_final() {
        let written = |count| [(SAMPLES_WRITTEN_HEADER, count)];
        let runs = Sent {
            has_runs: true,
            ..V2
        };
        let partly = "Partly { stored: 9, reason: R }";
        assert_eq!(verdict(400, &written("9"), runs), partly);
        assert_eq!(verdict(400, &written("0"), runs), "Refused { reason: R }");
        let many = Sent {
            samples: 9 + FOUND_MAX + 1,
            ..V2
        };
        assert_eq!(verdict(400, &written("9"), many), partly);
        assert_eq!(verdict(400, &written("10"), many), "Split { reason: R }");
        // 1.0 has no such header.
        let old = Sent {
            has_runs: true,
            ..V1
        };
        assert_eq!(verdict(400, &written("9"), old), "Refused { reason: R }");
    }

    #[test]
    fn a_receiver_that_has_stored_nothing_yet_may_be_an_older_one() {
        assert_eq!(verdict(400, &[], NEW), "Downgrade { reason: R }");
        let zstd = Sent {
            compression: Compression::Zstd,
            is_confirmed: false,
            ..V1
        };
        assert_eq!(verdict(400, &[], zstd), "Downgrade { reason: R }");
        let plain = Sent {
            compression: Compression::Snappy,
            ..zstd
        };
        assert_eq!(verdict(400, &[], plain), "Refused { reason: R }");
    }
}
