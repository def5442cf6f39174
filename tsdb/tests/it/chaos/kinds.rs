//! The ways to misbehave, as far as a sender sees them above the socket.

use tsdb::remote::transport::{Response, TransportError};
use tsdb::remote::wire::{Message, SAMPLES_WRITTEN_HEADER};

use super::endpoint::Got;
use crate::sender::{Answer, Received, status, stored};
use crate::strict;
use crate::support::Draw;

/// A way to misbehave.
#[derive(Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    pub act: fn(&mut Ask<'_>) -> Act,
}

/// A request, and what its receiver knows.
pub struct Ask<'a> {
    pub received: &'a Received,
    pub draw: &'a mut Draw,
    /// What it has.
    pub got: &'a Got,
    pub now_ms: i64,
    /// Whether what passes has passed.
    pub is_mended: bool,
}

/// What a receiver does with a request.
pub struct Act {
    /// Places in the request of the samples that it stores.
    pub stored: Vec<usize>,
    pub answer: Answer,
}

/// What a receiver does that does not misbehave.
pub fn good(received: &Received) -> Act {
    Act {
        stored: (0..received.samples.len()).collect(),
        answer: Ok(stored(received.message, received.samples.len())),
    }
}

/// Samples that receivers of some kinds never take.
pub fn is_poison(name: &str, timestamp: i64) -> bool {
    let number: i64 = name.bytes().map(i64::from).sum();
    (timestamp / 1000 + number) % 29 == 3
}

impl Ask<'_> {
    /// Misbehaves two times of three until it is mended.
    fn sometimes(&mut self, stores: usize, answer: impl FnOnce(&mut Draw) -> Answer) -> Act {
        if self.is_mended || self.draw.below(3) == 0 {
            return good(self.received);
        }
        Act {
            stored: (0..stores.min(self.len())).collect(),
            answer: answer(self.draw),
        }
    }

    /// Refuses requests with poison in them, for good. Stores the rest of one if it says what it stores.
    fn refuse_poison(&self, code: u16, is_partial: bool) -> Act {
        let samples = &self.received.samples;
        let clean: Vec<usize> = (0..samples.len())
            .filter(|at| !is_poison(&samples[*at].0, samples[*at].1.timestamp))
            .collect();
        if clean.len() == samples.len() {
            return good(self.received);
        }
        let stored = if is_partial { clean } else { Vec::new() };
        let headers = if is_partial || self.received.message == Message::V2 {
            vec![(SAMPLES_WRITTEN_HEADER, stored.len().to_string())]
        } else {
            Vec::new()
        };
        Act {
            stored,
            answer: response(code, headers),
        }
    }

    /// Takes nothing that is older than the newest of its series, and does not answer two times of three until it is mended.
    fn strict(&mut self, refuses_poison: bool) -> Act {
        let newest = |name: &str| self.got.get(name).and_then(|all| all.iter().copied().max());
        let is_bad = |name: &str, timestamp| refuses_poison && is_poison(name, timestamp);
        let taken = strict::taken(&self.received.samples, newest, is_bad);
        let (stored, answer) = strict::answer(self.received, taken);
        let answers = self.is_mended || self.draw.below(3) == 0;
        Act {
            stored,
            answer: if answers { answer } else { timeout() },
        }
    }

    fn len(&self) -> usize {
        self.received.samples.len()
    }
}

fn response(status: u16, headers: Vec<(&'static str, String)>) -> Answer {
    Ok(Response {
        status,
        headers,
        body: format!("says {status}").into_bytes(),
    })
}

fn retry_after(code: u16, value: &str) -> Answer {
    response(code, vec![("retry-after", value.to_owned())])
}

fn written(code: u16, value: &str) -> Answer {
    response(code, vec![(SAMPLES_WRITTEN_HEADER, value.to_owned())])
}

fn one_of<T: Copy>(draw: &mut Draw, all: &[T]) -> T {
    all[draw.below(all.len() as u64) as usize]
}

fn timeout() -> Answer {
    Err(TransportError::Timeout(String::from("of the test")))
}

fn reset() -> Answer {
    Err(TransportError::Connection(String::from("reset")))
}

const ALL: usize = usize::MAX;

macro_rules! kinds {
    ($($name:literal $act:expr;)*) => {
        &[$(Kind { name: $name, act: $act }),*]
    };
}

/// All of them but the last, which is all of them in turn.
pub const KINDS: &[Kind] = kinds! {
    "behaves" |ask| good(ask.received);
    "is not there" |ask| ask.sometimes(0, |_| reset());
    "does not answer" |ask| ask.sometimes(0, |_| timeout());
    "stores and does not answer" |ask| ask.sometimes(ALL, |_| timeout());
    "stores and closes" |ask| ask.sometimes(ALL, |_| reset());
    "stores the beginning and closes" |ask| ask.sometimes(ask.len() / 2, |_| reset());
    "500" |ask| ask.sometimes(0, |_| status(500));
    "500 and stores the beginning" |ask| ask.sometimes(ask.len() / 3, |_| status(500));
    "502 of a proxy" |ask| ask.sometimes(0, |_| Ok(Response {
        status: 502,
        headers: vec![("content-type", String::from("text/html"))],
        body: b"<html>\xff\0 bad gateway".repeat(500),
    }));
    "504 of a proxy, and stores" |ask| ask.sometimes(ALL, |_| status(504));
    "503 for hours" |ask| {
        let is_down = ask.now_ms / 3_600_000 % 3 != 0 && !ask.is_mended;
        if is_down { Act { stored: Vec::new(), answer: status(503) } } else { good(ask.received) }
    };
    "429" |ask| ask.sometimes(0, |_| status(429));
    "429 until now" |ask| ask.sometimes(0, |_| retry_after(429, "0"));
    "429 for seconds" |ask| ask.sometimes(0, |draw| retry_after(429, one_of(draw, &["1", "120", "99999999999999999999"])));
    "429 until a date gone by" |ask| ask.sometimes(0, |draw| retry_after(429, one_of(draw, &[
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ])));
    "429 until a date to come" |ask| ask.sometimes(0, |_| retry_after(429, "Fri, 31 Dec 2094 23:59:59 GMT"));
    "429 until nonsense" |ask| ask.sometimes(0, |draw| retry_after(429, one_of(draw, &[
        "", "-1", "1.5", "soon", "0x10", "Sun, 99 Nov 1994 08:49:37 GMT",
    ])));
    "503 for seconds" |ask| ask.sometimes(0, |draw| retry_after(503, one_of(draw, &["0", "30", "never"])));
    "408 and 425" |ask| ask.sometimes(0, |draw| status(one_of(draw, &[408, 425])));
    "400 for some samples" |ask| ask.refuse_poison(400, false);
    "422 for some samples" |ask| ask.refuse_poison(422, false);
    "409 for some samples" |ask| ask.refuse_poison(409, false);
    "400 and stores the others" |ask| ask.refuse_poison(400, ask.received.message == Message::V2);
    "200 and stores the others" |ask| ask.refuse_poison(if ask.received.message == Message::V2 { 200 } else { 422 }, ask.received.message == Message::V2);
    "is strict, and loses answers" |ask| ask.strict(false);
    "is strict for some samples, and loses answers" |ask| ask.strict(true);
    "413 for what is large" |ask| {
        if ask.len() > 7 { Act { stored: Vec::new(), answer: status(413) } } else { good(ask.received) }
    };
    "415 for 2.0" |ask| match ask.received.message {
        Message::V2 => Act { stored: Vec::new(), answer: status(415) },
        Message::V1 => good(ask.received),
    };
    "400 for 2.0" |ask| match ask.received.message {
        Message::V2 => Act { stored: Vec::new(), answer: status(400) },
        Message::V1 => good(ask.received),
    };
    "415 now and then" |ask| ask.sometimes(0, |_| status(415));
    "401, 403 and 404" |ask| ask.sometimes(0, |draw| status(one_of(draw, &[401, 403, 404])));
    "redirects" |ask| ask.sometimes(0, |draw| status(one_of(draw, &[301, 302, 303, 307, 308, 304])));
    "501 and 505" |ask| ask.sometimes(0, |draw| status(one_of(draw, &[501, 505])));
    "statuses nobody knows" |ask| ask.sometimes(0, |draw| status(one_of(draw, &[100, 103, 418, 451, 499, 600, 999])));
    "success that stores less" |ask| {
        let half = ask.len() / 2;
        match ask.received.message {
            Message::V2 if half > 0 => ask.sometimes(half, |_| written(200, &half.to_string())),
            _ => good(ask.received),
        }
    };
    "success that says nothing" |ask| ask.sometimes(ALL, |_| status(204));
    "success that says nonsense" |ask| ask.sometimes(ALL, |draw| written(200, one_of(draw, &["", "many", "-1", "1e9"])));
    "failure that says it has stored" |ask| ask.sometimes(0, |_| written(500, "1000000"));
    "cannot be asked" |ask| ask.sometimes(0, |_| Err(TransportError::Invalid(String::from("certificate"))));
    "everything" everything;
};

fn everything(ask: &mut Ask<'_>) -> Act {
    let all: Vec<&Kind> = KINDS
        .iter()
        // To a sender that has spoken 2.0 to it before, this one refuses samples.
        .filter(|kind| !["everything", "400 for 2.0"].contains(&kind.name))
        .collect();
    (one_of(ask.draw, &all).act)(ask)
}

/// Whether receivers of a kind refuse what is older than the newest of its series.
pub fn is_strict(kind: &Kind) -> bool {
    kind.name.contains("strict") || kind.name == "everything"
}

/// Whether receivers of a kind take poison.
pub fn takes_poison(kind: &Kind) -> bool {
    !kind.name.contains("sample") && !kind.name.contains("others") && kind.name != "everything"
}
