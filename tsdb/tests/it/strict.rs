//! A remote without a window for late samples, as Prometheus is if nobody asks for one.
//!
//! It takes what is newer than the newest sample of its series, or that sample again, and refuses whatever is older, also
//! what it has: all of a request of 1.0 if there is one such sample in it; of 2.0 it stores the others and says how many.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tsdb::fs::{CrashChoice, Fs};
use tsdb::remote::transport::TransportError;
use tsdb::remote::wire::Message;
use tsdb::remote::{Protocol, SenderOptions, UnsentReason};
use tsdb::{Db, Sample, Sender, SpoolStart};

use crate::sender::{Answer, Received, Remote, options, status, stored};
use crate::support::{T0, World, labels};

/// Samples by series, in the order of their arrival or of their commits.
type Got = BTreeMap<String, Vec<(i64, u64)>>;

/// Returns the places of the samples that a strict remote takes, which has these newest ones.
pub fn taken(
    samples: &[(String, Sample)],
    newest: impl Fn(&str) -> Option<(i64, u64)>,
    is_bad: impl Fn(&str, i64) -> bool,
) -> Vec<usize> {
    let mut seen: BTreeMap<&str, (i64, u64)> = BTreeMap::new();
    let mut taken = Vec::new();
    for (at, (name, sample)) in samples.iter().enumerate() {
        let new = (sample.timestamp, sample.value.to_bits());
        let last = seen.get(name.as_str()).copied().or_else(|| newest(name));
        let is_news = last.is_none_or(|last| last == new || last.0 < new.0);
        if is_news && !is_bad(name, sample.timestamp) {
            seen.insert(name, new);
            taken.push(at);
        }
    }
    taken
}

/// Returns what a strict remote stores of a request and what it answers, if it takes these.
pub fn answer(received: &Received, mut taken: Vec<usize>) -> (Vec<usize>, Answer) {
    let all = received.samples.len();
    if taken.len() == all {
        return (taken, Ok(stored(received.message, all)));
    }
    if received.message == Message::V1 {
        taken.clear();
        return (taken, status(400));
    }
    let mut answer = stored(received.message, taken.len());
    answer.status = 400;
    (taken, Ok(answer))
}

/// A strict remote, and what is known of it.
struct Strict {
    remote: Remote,
    got: Arc<Mutex<Got>>,
}

impl Strict {
    /// Returns one that has `got` already, refuses what is bad, and whose first `lost` answers to requests of which it has
    /// stored a lot are lost.
    fn new(got: Got, lost: usize, is_bad: fn(&str, i64) -> bool) -> Self {
        let got = Arc::new(Mutex::new(got));
        let inside = Arc::clone(&got);
        let mut lost = lost;
        let remote = Remote::new(move |received| {
            let mut got = inside.lock();
            let newest = |name: &str| got.get(name).and_then(|all| all.last().copied());
            let taken = taken(&received.samples, newest, is_bad);
            let (stored, answer) = answer(received, taken);
            let mut news = 0;
            for at in stored {
                let (name, sample) = &received.samples[at];
                let series = got.entry(name.clone()).or_default();
                let new = (sample.timestamp, sample.value.to_bits());
                if series.last() != Some(&new) {
                    series.push(new);
                    news += 1;
                }
            }
            if news > 100 && lost > 0 {
                lost -= 1;
                return Some(Err(TransportError::Timeout("of the test".into())));
            }
            Some(answer)
        });
        Self { remote, got }
    }

    fn start(&self, db: &Db, options: SenderOptions) -> Sender {
        let transport = Arc::new(self.remote.clone());
        db.start_sender("strict", SpoolStart::Now, transport, options)
            .unwrap()
    }
}

fn none(_: &str, _: i64) -> bool {
    false
}

/// One sample of one series.
fn poison(name: &str, timestamp: i64) -> bool {
    name == "metric{number=\"333\"}" && timestamp == T0 + 7 * 15_000
}

fn one_shard(protocol: Protocol) -> SenderOptions {
    SenderOptions {
        protocol,
        shards: 1,
        batch_samples: BATCH_SAMPLES,
        batch_deadline: LONG,
        ..options()
    }
}

fn scrape(world: &World, db: &Db, round: i64, appended: &mut Got) {
    let timestamp = T0 + round * 15_000;
    world.clock.set(timestamp);
    let mut appender = db.appender().unwrap();
    for number in 0..SERIES {
        let name = format!("metric{{number=\"{number}\"}}");
        let value = (number as i64 + round) as f64;
        appender.append(&labels(&name), timestamp, value).unwrap();
        let series = appended.entry(name).or_default();
        series.push((timestamp, value.to_bits()));
    }
    assert_eq!(appender.commit().unwrap().rejected, []);
    db.sync().unwrap();
}

/// Appends scrapes while nothing is sent, and sends them all.
fn send_backlog(world: &World, db: &Db, sender: &Sender, rounds: i64) -> Got {
    let mut appended = Got::new();
    sender.pause();
    (0..rounds).for_each(|round| scrape(world, db, round, &mut appended));
    sender.resume();
    assert!(sender.wait_until_sent(LONG).unwrap());
    appended
}

fn unsent(sender: &Sender, reason: UnsentReason) -> usize {
    let known = sender.status().unsent;
    usize::try_from(known[reason as usize].1).unwrap()
}

fn count(got: &Got) -> usize {
    got.values().map(Vec::len).sum()
}

/// Returns the lines of the dead-letter file.
fn dead_letters(world: &World) -> Vec<String> {
    let path = "/db/spool/strict.refused".as_ref();
    if !world.fs.exists(path).unwrap() {
        return Vec::new();
    }
    let file = world.fs.open_read(path).unwrap();
    let mut text = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_at(&mut text, 0).unwrap();
    let text = String::from_utf8(text).unwrap();
    text.lines().map(str::to_owned).collect()
}

const SERIES: usize = 700;
const ROUNDS: i64 = 20;
const BATCH_SAMPLES: usize = 5_000;
const LONG: Duration = Duration::from_secs(60);

/// Batches of a backlog of all rounds: of sixteen parts of a shard, five fit in one, fewer if they are uneven.
const BATCHES: usize = 6;

/// Requests in which it is found out of which time a batch of so many scrapes is news, and what is refused about it.
fn soundings(rounds: i64) -> usize {
    80 + 4 * rounds as usize
}

#[test]
fn what_is_sent_again_after_a_lost_answer_is_recognized_in_few_requests() {
    for protocol in [Protocol::RemoteWrite1, Protocol::RemoteWrite2] {
        let world = World::new();
        let db = world.open();
        let strict = Strict::new(Got::new(), 2, none);
        let sender = strict.start(&db, one_shard(protocol.clone()));
        let appended = send_backlog(&world, &db, &sender, ROUNDS);
        assert!(*strict.got.lock() == appended, "{protocol:?}");
        let unconfirmed = unsent(&sender, UnsentReason::Unconfirmed);
        // All but the newest sample of each series in two batches.
        assert!(unconfirmed > 5_000 && unconfirmed < 2 * BATCH_SAMPLES);
        assert_eq!(unsent(&sender, UnsentReason::Refused), 0);
        let sent = usize::try_from(sender.status().sent).unwrap();
        assert_eq!(sent + unconfirmed, count(&appended));
        let requests = strict.remote.requests();
        let each = match protocol {
            Protocol::RemoteWrite1 => 2 + soundings(ROUNDS),
            _ => 2,
        };
        println!("{protocol:?}: {requests} requests, {unconfirmed} samples unconfirmed");
        assert!(requests <= BATCHES + 2 * each, "{requests} requests");
        let letters = dead_letters(&world);
        let reason = " # refused after an attempt without an answer: 400";
        assert!(letters.len() >= unconfirmed);
        assert!(letters.iter().all(|line| line.contains(reason)));
    }
}

#[test]
fn one_sample_a_series_is_taken_again_after_a_lost_answer() {
    for protocol in [Protocol::RemoteWrite1, Protocol::RemoteWrite2] {
        let world = World::new();
        let db = world.open();
        let strict = Strict::new(Got::new(), 3, none);
        let sender = strict.start(&db, one_shard(protocol));
        let mut appended = Got::new();
        for round in 0..4 {
            scrape(&world, &db, round, &mut appended);
            assert!(sender.wait_until_sent(LONG).unwrap());
        }
        assert!(*strict.got.lock() == appended);
        assert_eq!(sender.status().sent, 4 * SERIES as u64);
        assert_eq!(unsent(&sender, UnsentReason::Unconfirmed), 0);
        assert_eq!(dead_letters(&world), Vec::<String>::new());
    }
}

/// The batch after the restart ends elsewhere than the one that was under way.
#[test]
fn what_was_under_way_in_a_restart_is_recognized_and_what_came_since_is_stored() {
    for protocol in [Protocol::RemoteWrite1, Protocol::RemoteWrite2] {
        for rounds_since in [0, 1, 5] {
            let mut world = World::new();
            let mut appended = Got::new();
            let strict = Strict::new(Got::new(), 1, none);
            let db = world.open();
            // It does not come to a second attempt.
            let patient = SenderOptions {
                backoff_min: LONG,
                backoff_max: LONG,
                batch_deadline: Duration::from_millis(1),
                ..one_shard(protocol.clone())
            };
            let sender = strict.start(&db, patient);
            sender.pause();
            (0..4).for_each(|round| scrape(&world, &db, round, &mut appended));
            sender.resume();
            while sender.status().failing.is_none() {
                std::thread::yield_now();
            }
            let under_way = count(&strict.got.lock());
            world.fs = world.fs.crash(CrashChoice::All);
            drop((sender, db));

            let db = world.open();
            let sender = strict.start(&db, one_shard(protocol.clone()));
            sender.pause();
            (4..4 + rounds_since).for_each(|round| scrape(&world, &db, round, &mut appended));
            sender.resume();
            assert!(sender.wait_until_sent(LONG).unwrap());
            assert!(*strict.got.lock() == appended, "{protocol:?}");
            assert_eq!(unsent(&sender, UnsentReason::Refused), 0);
            let unconfirmed = unsent(&sender, UnsentReason::Unconfirmed);
            assert!(unconfirmed > 0 && unconfirmed <= under_way, "{unconfirmed}");
            let sent = usize::try_from(sender.status().sent).unwrap();
            assert_eq!(sent + unconfirmed, count(&appended));
            let requests = strict.remote.requests();
            println!("{protocol:?}, {rounds_since} since: {requests} requests");
            assert!(requests <= BATCHES + 2 * soundings(9), "{requests}");
        }
    }
}

#[test]
fn a_bad_sample_is_found_alone_among_what_is_sent_again() {
    for lost in [0, 1, 3] {
        let world = World::new();
        let db = world.open();
        let strict = Strict::new(Got::new(), lost, poison);
        let sender = strict.start(&db, one_shard(Protocol::RemoteWrite1));
        let mut appended = send_backlog(&world, &db, &sender, ROUNDS);
        for (name, samples) in &mut appended {
            samples.retain(|(timestamp, _)| !poison(name, *timestamp));
        }
        assert!(*strict.got.lock() == appended);
        let refused = unsent(&sender, UnsentReason::Refused);
        let unconfirmed = unsent(&sender, UnsentReason::Unconfirmed);
        let sent = usize::try_from(sender.status().sent).unwrap();
        assert_eq!(sent + refused + unconfirmed, count(&appended) + 1);
        // It may have been among those whose answer was lost.
        assert!(refused == 1 || lost > 0 && refused == 0, "{refused}");
        let letters = dead_letters(&world);
        assert_eq!(letters.len(), refused + unconfirmed);
        let bad = format!("{} metric{{number=\"333\"}} ", T0 + 7 * 15_000);
        assert_eq!(
            letters.iter().filter(|line| line.starts_with(&bad)).count(),
            1
        );
        let requests = strict.remote.requests();
        assert!(
            requests <= BATCHES + 60 + lost * (2 + soundings(ROUNDS)),
            "{requests}"
        );
    }
}

#[test]
fn how_much_of_a_request_is_stored_is_final_if_more_than_the_newest_would_be_sent_again() {
    let world = World::new();
    let db = world.open();
    let strict = Strict::new(Got::new(), 0, poison);
    let sender = strict.start(&db, one_shard(Protocol::RemoteWrite2));
    let mut appended = send_backlog(&world, &db, &sender, ROUNDS);
    let all = count(&appended);
    for (name, samples) in &mut appended {
        samples.retain(|(timestamp, _)| !poison(name, *timestamp));
    }
    assert!(*strict.got.lock() == appended);
    assert_eq!(unsent(&sender, UnsentReason::Refused), 1);
    assert_eq!(sender.status().sent, all as u64 - 1);
    assert!(strict.remote.requests() <= BATCHES);
    let letters = dead_letters(&world);
    assert!(letters.len() > 1 && letters.len() <= BATCH_SAMPLES);
    let reason = |line: &String| line.contains("; 1 of ") && line.ends_with(", which is not said");
    assert!(letters.iter().all(reason), "{}", letters[0]);
    let bad = format!("{} metric{{number=\"333\"}} ", T0 + 7 * 15_000);
    assert!(letters.iter().any(|line| line.starts_with(&bad)));
}

#[test]
fn a_backlog_that_the_remote_has_newer_samples_than_is_stored_from_there_on() {
    let world = World::new();
    let db = world.open();
    // Somebody else has sent these.
    let newest = T0 + 12 * 15_000 + 1;
    let theirs: Got = (0..SERIES)
        .map(|number| (format!("metric{{number=\"{number}\"}}"), vec![(newest, 0)]))
        .collect();
    let strict = Strict::new(theirs, 0, none);
    let sender = strict.start(&db, one_shard(Protocol::RemoteWrite1));
    let appended = send_backlog(&world, &db, &sender, ROUNDS);
    for (name, got) in strict.got.lock().iter() {
        assert_eq!(got[1..], appended[name][13..], "{name}");
    }
    assert_eq!(unsent(&sender, UnsentReason::Refused), 13 * SERIES);
    assert_eq!(sender.status().sent, 7 * SERIES as u64);
    assert_eq!(dead_letters(&world).len(), 13 * SERIES);
    let requests = strict.remote.requests();
    println!("{requests} requests");
    assert!(requests <= BATCHES * (2 + soundings(13)), "{requests}");
}

#[test]
fn a_remote_that_refuses_everything_costs_few_requests() {
    let world = World::new();
    let db = world.open();
    let strict = Strict::new(Got::new(), 0, |_, _| true);
    let sender = strict.start(&db, one_shard(Protocol::RemoteWrite1));
    let appended = send_backlog(&world, &db, &sender, ROUNDS);
    assert_eq!(unsent(&sender, UnsentReason::Refused), count(&appended));
    assert_eq!((sender.status().sent, sender.status().failing), (0, None));
    let requests = strict.remote.requests();
    println!("{requests} requests");
    assert!(requests <= BATCHES * (1 + soundings(ROUNDS)), "{requests}");
}
