//! Samples leave for remotes that misbehave.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tsdb::fs::Fs;
use tsdb::remote::relabel::{Action, Rule, RuleConfig};
use tsdb::remote::transport::{Request, Response, Transport, TransportError};
use tsdb::remote::wire::Compression;
use tsdb::remote::wire::{Message, SAMPLES_WRITTEN_HEADER, WriteRequest, decompress};
use tsdb::remote::{ExternalLabels, Protocol, SenderOptions, UnsentReason};
use tsdb::{Db, Sample, Sender, SpoolStart};

use crate::support::{T0, World, labels};

pub type Answer = Result<Response, TransportError>;
type Mood = Box<dyn FnMut(&Received) -> Option<Answer> + Send>;

/// A receiver of remote write in memory, which does what it is told and notices what it should not get.
#[derive(Clone)]
pub struct Remote {
    state: Arc<Mutex<State>>,
}

struct State {
    got: BTreeMap<String, Vec<(i64, u64)>>,
    requests: usize,
    newest: i64,
    /// How far behind the newest sample one was, at most.
    spread: i64,
    mood: Mood,
}

/// A request as it was understood.
pub struct Received {
    pub message: Message,
    pub compression: Compression,
    pub samples: Vec<(String, Sample)>,
    /// Requests before.
    pub number: usize,
}

impl Remote {
    pub fn new(mood: impl FnMut(&Received) -> Option<Answer> + Send + 'static) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                got: BTreeMap::new(),
                requests: 0,
                newest: i64::MIN,
                spread: 0,
                mood: Box::new(mood),
            })),
        }
    }

    pub fn good() -> Self {
        Self::new(|_| None)
    }

    pub fn got(&self) -> BTreeMap<String, Vec<(i64, u64)>> {
        self.state.lock().got.clone()
    }

    pub fn count(&self) -> usize {
        self.state.lock().got.values().map(Vec::len).sum()
    }

    pub fn requests(&self) -> usize {
        self.state.lock().requests
    }
}

impl Received {
    /// Understands a request, which is one of remote write and without fault.
    pub fn parse(request: &Request<'_>, number: usize) -> Self {
        let header = |name: &str| {
            let mut headers = request.headers.iter();
            headers
                .find(|(known, _)| *known == name)
                .map(|(_, value)| *value)
        };
        let message = Message::negotiate(header("Content-Type")).unwrap();
        let compression = Compression::negotiate(header("Content-Encoding")).unwrap();
        let body = decompress(compression, request.body, 32 << 20).unwrap();
        let parsed = WriteRequest::parse(message, &body).unwrap();
        let mut samples = Vec::new();
        let mut last = None;
        for series in parsed.series() {
            let name = series.labels().unwrap().to_string();
            assert!(
                !samples.iter().any(|(known, _)| *known == name) || samples.len() > 2_000,
                "{name} twice in a request"
            );
            last = Some(name.clone());
            samples.extend(series.samples().map(|sample| (name.clone(), sample)));
        }
        assert!(last.is_some(), "a request of nothing");
        Self {
            message,
            compression,
            samples,
            number,
        }
    }
}

impl Transport for Remote {
    fn send(&self, request: &Request<'_>) -> Answer {
        let mut state = self.state.lock();
        let received = Received::parse(request, state.requests);
        state.requests += 1;
        if let Some(answer) = (state.mood)(&received) {
            return answer;
        }
        let answer = stored(received.message, received.samples.len());
        for (name, sample) in received.samples {
            state.newest = state.newest.max(sample.timestamp);
            state.spread = state.spread.max(state.newest - sample.timestamp);
            let series = state.got.entry(name).or_default();
            series.push((sample.timestamp, sample.value.to_bits()));
        }
        Ok(answer)
    }
}

/// Returns what a good receiver answers.
pub fn stored(message: Message, samples: usize) -> Response {
    let header = (SAMPLES_WRITTEN_HEADER, samples.to_string());
    Response {
        status: 204,
        headers: if message == Message::V2 {
            vec![header]
        } else {
            Vec::new()
        },
        body: Vec::new(),
    }
}

pub fn status(status: u16) -> Answer {
    Ok(Response {
        status,
        headers: Vec::new(),
        body: format!("says {status}").into_bytes(),
    })
}

pub fn options() -> SenderOptions {
    SenderOptions {
        batch_samples: 100,
        batch_deadline: Duration::from_millis(1),
        backoff_min: Duration::from_micros(100),
        backoff_max: Duration::from_millis(1),
        pause: Duration::from_millis(2),
        ..SenderOptions::default()
    }
}

fn scrape(world: &World, db: &Db, series: usize, timestamp: i64) {
    world.clock.set(timestamp);
    let mut appender = db.appender().unwrap();
    for number in 0..series {
        let name = labels(&format!("metric{{number=\"{number}\"}}"));
        appender
            .append(&name, timestamp, (number as i64 + timestamp / 1000) as f64)
            .unwrap();
    }
    assert_eq!(appender.commit().unwrap().rejected, []);
}

/// Appends scrapes so many milliseconds apart, and returns when they were.
fn scrape_every(world: &World, db: &Db, series: usize, scrapes: i64, ms: i64) -> Vec<i64> {
    let times: Vec<i64> = (0..scrapes).map(|round| T0 + round * ms).collect();
    times.iter().for_each(|&at| scrape(world, db, series, at));
    times
}

fn start(db: &Db, remote: &Remote, options: SenderOptions) -> Sender {
    db.start_sender(
        "far-away",
        SpoolStart::Now,
        Arc::new(remote.clone()),
        options,
    )
    .unwrap()
}

/// Checks that a remote has all of these scrapes, each once and in order.
fn assert_complete(remote: &Remote, series: usize, scrapes: &[i64]) {
    let got = remote.got();
    assert_eq!(got.len(), series);
    for (name, samples) in got {
        let times: Vec<i64> = samples.iter().map(|(timestamp, _)| *timestamp).collect();
        let first = times
            .iter()
            .zip(scrapes)
            .position(|(got, want)| got != want);
        assert!(
            times == scrapes,
            "{name}: {} of {}, the first wrong one is {first:?}",
            times.len(),
            scrapes.len()
        );
    }
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn everything_arrives_once_in_the_order_of_each_series_through_either_message() {
    for protocol in [Protocol::RemoteWrite1, Protocol::RemoteWrite2] {
        for compression in [Compression::Snappy, Compression::Zstd] {
            let world = World::new();
            let db = world.open();
            let remote = Remote::good();
            let sender = start(
                &db,
                &remote,
                SenderOptions {
                    protocol: protocol.clone(),
                    compression,
                    ..options()
                },
            );
            let scrapes = scrape_every(&world, &db, 70, 60, 15_000);
            assert!(sender.stop(LONG).unwrap());
            assert_complete(&remote, 70, &scrapes);
        }
    }
}

#[test]
fn a_remote_that_fails_is_asked_again_and_nothing_is_lost() {
    let world = World::new();
    let db = world.open();
    let remote = Remote::new(|received| match received.number % 7 {
        0 => Some(Err(TransportError::Timeout("of the test".into()))),
        1 => Some(Err(TransportError::Connection("broken".into()))),
        2 => Some(status(503)),
        3 => Some(Ok(Response {
            status: 429,
            headers: vec![("retry-after", "0".into())],
            body: Vec::new(),
        })),
        4 => Some(status(401)),
        5 if received.samples.len() > 20 => Some(status(413)),
        6 if received.number < 7 => panic!("a transport with a fault, as the test wants it"),
        _ => None,
    });
    let sender = start(&db, &remote, options());
    let scrapes = scrape_every(&world, &db, 70, 40, 15_000);
    assert!(sender.wait_until_sent(LONG).unwrap());
    let known = sender.status();
    assert_complete(&remote, 70, &scrapes);
    assert_eq!((known.sent, known.queued), (2_800, 0));
    assert!(known.retried > 0 && known.requests_failed > 0);
    assert_eq!(known.unsent[UnsentReason::Refused as usize].1, 0);
}

#[test]
fn only_what_is_refused_is_put_aside() {
    for protocol in [Protocol::RemoteWrite1, Protocol::RemoteWrite2] {
        let world = World::new();
        let db = world.open();
        let is_poison = |name: &str| name.contains("\"13\"") || name.contains("\"57\"");
        let remote = Remote::new(move |received| {
            let bad = received.samples.iter().any(|(name, _)| is_poison(name));
            bad.then(|| {
                status(if received.number.is_multiple_of(2) {
                    422
                } else {
                    409
                })
            })
        });
        let sender = start(
            &db,
            &remote,
            SenderOptions {
                protocol,
                ..options()
            },
        );
        let scrapes = scrape_every(&world, &db, 70, 10, 15_000);
        assert!(sender.wait_until_sent(LONG).unwrap());
        assert_complete(&remote, 68, &scrapes);
        let known = sender.status();
        assert_eq!(known.unsent[UnsentReason::Refused as usize].1, 20);
        let file = world
            .fs
            .open_read("/db/spool/far-away.refused".as_ref())
            .unwrap();
        let mut kept = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_at(&mut kept, 0).unwrap();
        let kept = String::from_utf8(kept).unwrap();
        assert_eq!(kept.lines().count(), 20);
        assert!(
            kept.lines()
                .all(|line| is_poison(line) && line.contains(" # 4")),
            "{kept}"
        );
    }
}

#[test]
fn older_receivers_are_sent_what_they_know() {
    // Not its content type; understood as something else, silently; not understood.
    for refusal in [415, 204, 400] {
        let world = World::new();
        let db = world.open();
        let remote = Remote::new(move |received| {
            let is_known =
                received.message == Message::V1 && received.compression == Compression::Snappy;
            (!is_known).then(|| status(refusal))
        });
        let options = SenderOptions {
            compression: Compression::Zstd,
            ..options()
        };
        let sender = start(&db, &remote, options);
        let scrapes = scrape_every(&world, &db, 70, 10, 15_000);
        assert!(sender.wait_until_sent(LONG).unwrap());
        assert_complete(&remote, 70, &scrapes);
        assert_eq!(sender.status().dialect, "remote write 1.0");
    }
}

#[test]
fn a_backlog_is_sent_with_many_samples_of_each_series_in_a_request() {
    for protocol in [Protocol::RemoteWrite1, Protocol::RemoteWrite2] {
        let world = World::new();
        let db = world.open();
        let series = Arc::new(Mutex::new(0));
        let seen = Arc::clone(&series);
        let remote = Remote::new(move |received| {
            let names = received.samples.chunk_by(|one, next| one.0 == next.0);
            *seen.lock() += names.count();
            None
        });
        let options = SenderOptions {
            protocol,
            shards: 2,
            batch_deadline: LONG,
            ..options()
        };
        let sender = start(&db, &remote, options);
        sender.pause();
        let scrapes = scrape_every(&world, &db, 70, 60, 15_000);
        db.sync().unwrap();
        sender.resume();
        assert!(sender.stop(LONG).unwrap());
        assert_complete(&remote, 70, &scrapes);
        // A request of 100 samples would have those of 35 series three times each.
        let series = *series.lock();
        assert!(series * 6 < 70 * 60, "{series} series in all requests");
    }
}

#[test]
fn what_waits_for_no_more_leaves_in_full_requests() {
    let world = World::new();
    let db = world.open();
    let remote = Remote::good();
    let sender = start(&db, &remote, options());
    for round in 0..10 {
        let before = remote.requests();
        scrape(&world, &db, 70, T0 + round * 15_000);
        assert!(sender.wait_until_sent(LONG).unwrap());
        // One of each shard, however many parts its series are in.
        assert!(remote.requests() - before <= 4 + 1);
    }
}

#[test]
fn shards_stay_together_in_time() {
    let world = World::new();
    let db = world.open();
    let remote = Remote::good();
    let sender = start(
        &db,
        &remote,
        SenderOptions {
            shards: 7,
            ..options()
        },
    );
    sender.pause();
    // Few samples over a long time: a batch would span all of it.
    let scrapes = scrape_every(&world, &db, 12, 200, 60_000);
    db.sync().unwrap();
    sender.resume();
    assert!(sender.wait_until_sent(LONG).unwrap());
    assert_complete(&remote, 12, &scrapes);
    let spread = remote.state.lock().spread;
    assert!(spread <= 30 * 60_000, "{spread} ms");
}

#[test]
fn resharding_pausing_and_restarting_lose_nothing() {
    let world = World::new();
    let remote = Remote::new(|received| (received.number % 3 == 1).then(|| status(500)));
    let mut scrapes = Vec::new();
    let mut round = 0;
    let mut append = |world: &World, db: &Db| {
        for _ in 0..10 {
            let at = T0 + round * 15_000;
            scrape(world, db, 70, at);
            scrapes.push(at);
            round += 1;
        }
        db.sync().unwrap();
    };
    for life in 0..6 {
        let db = world.open();
        let mut sender = start(&db, &remote, options());
        for shards in [1, 5, 2, 8] {
            append(&world, &db);
            let options = SenderOptions {
                shards,
                ..options()
            };
            sender
                .reconfigure(Arc::new(remote.clone()), options)
                .unwrap();
            append(&world, &db);
            if shards == 5 {
                sender.pause();
                append(&world, &db);
                sender.resume();
                assert!(sender.wait_until_sent(LONG).unwrap());
            }
        }
        if life == 5 {
            assert!(sender.stop(LONG).unwrap());
        }
    }
    // A request that was under way when a sender stopped was waited for: nothing is repeated either.
    assert_complete(&remote, 70, &scrapes);
}

#[test]
fn what_is_not_wanted_is_counted() {
    let world = World::new();
    let db = world.open();
    let remote = Remote::good();
    let drop_number_7 = Rule::new(RuleConfig {
        action: Action::Drop,
        source_labels: vec!["number".into()],
        regex: "7".into(),
        ..RuleConfig::default()
    })
    .unwrap();
    let sender = start(
        &db,
        &remote,
        SenderOptions {
            external_labels: ExternalLabels::from_pairs([("cluster", "eu")]).unwrap(),
            relabel: vec![drop_number_7],
            sample_age_limit: Some(Duration::from_secs(300)),
            cached_series: 3,
            ..options()
        },
    );
    sender.pause();
    let scrapes = scrape_every(&world, &db, 10, 60, 15_000);
    db.sync().unwrap();
    sender.resume();
    assert!(sender.wait_until_sent(LONG).unwrap());
    let known = sender.status();
    let recent: Vec<i64> = scrapes
        .iter()
        .copied()
        .filter(|at| *at >= T0 + 59 * 15_000 - 300_000)
        .collect();
    assert_complete(&remote, 9, &recent);
    assert!(
        remote
            .got()
            .keys()
            .all(|name| name.contains("cluster=\"eu\""))
    );
    assert_eq!(known.unsent[UnsentReason::Relabeled as usize].1, 60);
    assert_eq!(
        known.unsent[UnsentReason::TooOld as usize].1,
        9 * (60 - recent.len()) as u64
    );
    let mut text = Vec::new();
    tsdb::write_metrics(&db, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let line = "prometheus_remote_storage_samples_dropped_total{remote_name=\"far-away\",reason=\"relabeled\"} 60";
    assert!(text.contains(line), "{text}");
}

#[test]
fn a_stuck_remote_stalls_neither_ingestion_nor_another() {
    let world = World::new();
    let db = world.open();
    let (stuck, good) = (Remote::new(|_| Some(status(503))), Remote::good());
    let long_wait = SenderOptions {
        backoff_min: LONG,
        backoff_max: LONG,
        ..options()
    };
    let first = db
        .start_sender("stuck", SpoolStart::Now, Arc::new(stuck.clone()), long_wait)
        .unwrap();
    let second = start(&db, &good, options());
    let scrapes = scrape_every(&world, &db, 70, 100, 15_000);
    assert!(second.wait_until_sent(LONG).unwrap());
    assert_complete(&good, 70, &scrapes);
    assert_eq!(stuck.count(), 0);
    assert!(stuck.requests() <= 4);
    let queued = first.status().queued;
    assert!(queued <= 4 * 2 * 100, "{queued} samples in memory");
}
