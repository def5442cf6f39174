//! A receiver that misbehaves, and knows what it may be sent.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tsdb::fs::{CrashChoice, SimFs};
use tsdb::remote::transport::{Request, Transport, TransportError};
use tsdb::{Clock, ManualClock};

use super::kinds::{Ask, Kind, good};
use crate::sender::{Answer, Received};
use crate::support::Draw;

/// What a receiver holds, by series.
pub type Got = BTreeMap<String, Vec<(i64, u64)>>;

/// A receiver; it outlives the databases that send to it.
#[derive(Clone)]
pub struct Endpoint {
    state: Arc<Mutex<State>>,
}

struct State {
    kind: Kind,
    clock: Arc<ManualClock>,
    draw: Draw,
    is_mended: bool,
    requests: usize,
    /// Counts kills: what a dead process still does is not seen.
    life: u64,
    /// In the order of the first arrival.
    got: Got,
    seen: HashSet<(String, i64)>,
    /// Samples that came again.
    repeated: usize,
    /// Samples that were stored without saying so: each is sent again.
    unsaid: usize,
    /// Samples that may have been under way when it was cut: each may come again, perhaps after the next cut.
    under_way: usize,
}

/// What one process sends through.
pub struct Line {
    endpoint: Endpoint,
    life: u64,
}

impl Endpoint {
    pub fn new(kind: Kind, clock: &Arc<ManualClock>, seed: u64) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                kind,
                clock: Arc::clone(clock),
                draw: Draw(seed),
                is_mended: false,
                requests: 0,
                life: 0,
                got: Got::new(),
                seen: HashSet::new(),
                repeated: 0,
                unsaid: 0,
                under_way: 0,
            })),
        }
    }

    pub fn line(&self) -> Arc<Line> {
        let life = self.state.lock().life;
        Arc::new(Line {
            endpoint: self.clone(),
            life,
        })
    }

    /// Behaves from now on, but for what it refuses by principle.
    pub fn mend(&self) {
        self.state.lock().is_mended = true;
    }

    /// Kills the process that sends: nothing it does from now on is seen.
    pub fn kill(&self, fs: &SimFs, choice: CrashChoice) -> SimFs {
        let mut state = self.state.lock();
        state.life += 1;
        fs.crash(choice)
    }

    /// Checks how much came again so far. At most `under_way` samples were on their way now.
    pub fn cut(&self, under_way: usize) {
        let mut state = self.state.lock();
        assert!(
            state.repeated <= state.unsaid + state.under_way,
            "{} samples came again; {} were stored and not acknowledged, {} under way when it was cut",
            state.repeated,
            state.unsaid,
            state.under_way
        );
        state.under_way += under_way;
    }

    pub fn got(&self) -> Got {
        self.state.lock().got.clone()
    }

    /// Returns the requests and the samples that came again.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.requests, state.repeated)
    }
}

impl Transport for Line {
    fn send(&self, request: &Request<'_>) -> Answer {
        let mut guard = self.endpoint.state.lock();
        let state = &mut *guard;
        if state.life != self.life {
            return Err(TransportError::Connection(String::from("of the dead")));
        }
        let received = Received::parse(request, state.requests);
        state.requests += 1;
        let act = (state.kind.act)(&mut Ask {
            received: &received,
            draw: &mut state.draw,
            got: &state.got,
            now_ms: state.clock.now_ms(),
            is_mended: state.is_mended,
        });
        if act.answer != good(&received).answer {
            state.unsaid += act.stored.len();
        }
        for at in act.stored {
            let (name, sample) = &received.samples[at];
            if state.seen.insert((name.clone(), sample.timestamp)) {
                let series = state.got.entry(name.clone()).or_default();
                series.push((sample.timestamp, sample.value.to_bits()));
            } else {
                state.repeated += 1;
            }
        }
        act.answer
    }
}
