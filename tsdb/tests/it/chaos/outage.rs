//! Remotes that are away for long, and disks that are not theirs to fill.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tsdb::fs::Fs;
use tsdb::remote::{SenderOptions, UnsentReason};
use tsdb::{Db, DropReason, Event, Options, Sender, SpoolBudget, SpoolStart, Task};

use super::endpoint::Got;
use crate::sender::{Remote, options, status};
use crate::support::{DIR, T0, World, labels};

const LONG: Duration = Duration::from_secs(60);
const MINUTE: i64 = 60_000;

/// A remote that can be away.
fn remote() -> (Remote, Arc<AtomicBool>) {
    let is_away = Arc::new(AtomicBool::new(true));
    let away = Arc::clone(&is_away);
    let remote = Remote::new(move |_| away.load(Ordering::Relaxed).then(|| status(503)));
    (remote, is_away)
}

fn start(db: &Db, name: &str, remote: &Remote, shards: usize) -> Sender {
    let options = SenderOptions {
        shards,
        backoff_max: Duration::from_millis(20),
        ..options()
    };
    db.start_sender(name, SpoolStart::Now, Arc::new(remote.clone()), options)
        .unwrap()
}

fn scrape(world: &World, db: &Db, series: usize, timestamp: i64, appended: &mut Got) {
    world.clock.set(timestamp);
    let mut appender = db.appender().unwrap();
    for number in 0..series {
        let name = format!("metric{{number=\"{number}\"}}");
        let value = ((number as i64 * 7919 + timestamp / 1000) % 1009) as f64;
        appender.append(&labels(&name), timestamp, value).unwrap();
        let series = appended.entry(name).or_default();
        series.push((timestamp, value.to_bits()));
    }
    assert_eq!(appender.commit().unwrap().rejected, []);
}

fn log_bytes(world: &World) -> u64 {
    let log = Path::new(DIR).join("wal");
    let files = world.fs.files();
    let log = files.iter().filter(|(path, _)| path.starts_with(&log));
    log.map(|(_, bytes)| bytes).sum()
}

#[test]
fn a_day_without_the_remote_over_restarts_and_another_number_of_shards_loses_nothing() {
    const BUDGET: u64 = 4 << 20;
    const SEGMENT: u64 = 64 << 10;
    let world = World::new();
    let open = || {
        let budget = SpoolBudget {
            bytes: BUDGET,
            ..SpoolBudget::default()
        };
        let options: Options = world.options();
        let options = options
            .with_segment_bytes(SEGMENT)
            .with_spool_budget(budget);
        Db::open(DIR, options).unwrap()
    };
    let (remote, is_away) = remote();
    let mut appended = Got::new();
    let mut db = open();
    let mut sender = start(&db, "away", &remote, 4);
    let mut log_bytes_max = 0;
    for minute in 1..=24 * 60 {
        scrape(&world, &db, 40, T0 + minute * MINUTE, &mut appended);
        if minute % 10 == 0 {
            db.sync().unwrap();
            db.step(Task::Flush).unwrap();
            log_bytes_max = log_bytes_max.max(log_bytes(&world));
        }
        match minute {
            300 | 1100 => {
                drop((sender, db));
                db = open();
                sender = start(&db, "away", &remote, if minute == 300 { 4 } else { 7 });
            }
            700 => {
                drop(sender);
                db.close().unwrap();
                db = open();
                sender = start(&db, "away", &remote, 4);
            }
            900 => {
                let options = SenderOptions {
                    shards: 7,
                    ..options()
                };
                sender
                    .reconfigure(Arc::new(remote.clone()), options)
                    .unwrap();
            }
            _ => {}
        }
    }
    let queued = sender.status().queued;
    assert!(queued <= 7 * 3 * 100, "{queued} samples in memory");
    assert!(sender.status().failing.is_some() && sender.status().paused.is_none());
    assert_eq!(remote.count(), 0);
    // The head has some segments of its own.
    assert!(log_bytes_max < BUDGET + 8 * SEGMENT, "{log_bytes_max}");
    is_away.store(false, Ordering::Relaxed);
    assert!(sender.wait_until_sent(LONG).unwrap());
    assert_eq!(remote.got(), appended);
    assert!(db.spools()[0].dropped.iter().all(|(_, count)| *count == 0));
    db.checkpoint().unwrap();
    assert!(
        log_bytes(&world) <= 2 * SEGMENT,
        "the log is let go of, {} bytes are left",
        log_bytes(&world)
    );
}

#[test]
fn what_is_over_the_budget_is_dropped_from_one_remote_and_counted() {
    let world = World::new();
    let events = Arc::new(Mutex::new(BTreeMap::<String, u64>::new()));
    let dropped = Arc::clone(&events);
    let listener = move |event: &Event| {
        if let Event::SpoolDropped {
            remote, samples, ..
        } = event
        {
            *dropped.lock().entry(remote.clone()).or_default() += samples;
        }
    };
    let budget = SpoolBudget {
        bytes: 32 << 10,
        ..SpoolBudget::default()
    };
    let options = world.options().with_segment_bytes(8 << 10);
    let options = options
        .with_spool_budget(budget)
        .with_listener(Some(Arc::new(listener)));
    let db = Db::open(DIR, options).unwrap();
    let ((away, is_away), good) = (remote(), Remote::good());
    let first = start(&db, "away", &away, 3);
    let second = start(&db, "good", &good, 3);
    let mut appended = Got::new();
    for minute in 1..=600 {
        scrape(&world, &db, 30, T0 + minute * MINUTE, &mut appended);
        if minute % 20 == 0 {
            assert!(second.wait_until_sent(LONG).unwrap());
            db.checkpoint().unwrap();
        }
    }
    let in_memory = first.status().queued;
    is_away.store(false, Ordering::Relaxed);
    assert!(first.wait_until_sent(LONG).unwrap());
    assert_eq!(good.got(), appended, "the other remote is not harmed");

    let status = |name: &str| {
        let all = db.spools();
        all.into_iter().find(|one| one.name == name).unwrap()
    };
    let bytes = status("away").dropped[DropReason::Bytes as usize].1;
    for (reason, count) in status("away").dropped {
        assert_eq!(
            count,
            if reason == DropReason::Bytes {
                bytes
            } else {
                0
            }
        );
    }
    assert!(status("good").dropped.iter().all(|(_, count)| *count == 0));
    let told = events.lock().clone();
    assert_eq!(told, BTreeMap::from([(String::from("away"), bytes)]));
    // What was in memory when it was dropped from the log arrives all the same.
    let missing = appended.values().map(Vec::len).sum::<usize>() - away.count();
    assert!(missing > 0 && missing <= bytes as usize);
    // What is queued, and a batch that is collected for each of the sixteen parts of a shard.
    assert!(
        bytes as usize <= missing + in_memory + 3 * 16 * 100,
        "{bytes} of {missing}"
    );
    for (name, arrived) in away.got() {
        let all = &appended[&name];
        let begins = all.iter().zip(&arrived).take_while(|(a, b)| a == b).count();
        assert!(
            all.ends_with(&arrived[begins..]),
            "{name}: one hole, behind what was under way"
        );
    }
}

#[test]
fn more_changes_of_the_number_of_shards_than_are_remembered_lose_nothing() {
    let world = World::new();
    let db = world.open();
    let (remote, is_away) = remote();
    let mut sender = start(&db, "away", &remote, 3);
    let mut appended = Got::new();
    for round in 1..=30 {
        scrape(&world, &db, 40, T0 + round * MINUTE, &mut appended);
        db.sync().unwrap();
        // Sometimes a shard gets something through.
        is_away.store(round % 4 != 0, Ordering::Relaxed);
        let options = SenderOptions {
            shards: 1 + (round as usize * 5) % 7,
            batch_samples: 7,
            ..options()
        };
        sender
            .reconfigure(Arc::new(remote.clone()), options)
            .unwrap();
    }
    is_away.store(false, Ordering::Relaxed);
    assert!(sender.wait_until_sent(LONG).unwrap());
    for (name, arrived) in remote.got() {
        let mut seen = std::collections::BTreeSet::new();
        let firsts: Vec<_> = arrived
            .into_iter()
            .filter(|sample| seen.insert(sample.0))
            .collect();
        assert_eq!(firsts, appended[&name], "{name}");
    }
    assert_eq!(remote.got().len(), appended.len());
}

#[test]
fn refused_samples_that_the_disk_does_not_take_stop_nothing() {
    let world = World::new();
    let failures = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&failures);
    let listener = move |event: &Event| {
        if let Event::Failed { message } = event {
            told.lock().push(message.clone());
        }
    };
    let options = world.options();
    let db = Db::open(DIR, options.with_listener(Some(Arc::new(listener)))).unwrap();
    let remote = Remote::new(|received| {
        let mut names = received.samples.iter().map(|(name, _)| name);
        names
            .any(|name| name.contains("\"7\""))
            .then(|| status(422))
    });
    let sender = start(&db, "strict", &remote, 2);
    // The file's name is taken.
    let file = Path::new(DIR).join("spool/strict.refused");
    world.fs.create_dir(&file).unwrap();
    let mut appended = Got::new();
    for round in 1..=20 {
        scrape(&world, &db, 30, T0 + round * MINUTE, &mut appended);
    }
    assert!(sender.wait_until_sent(LONG).unwrap());
    appended.remove("metric{number=\"7\"}").unwrap();
    assert_eq!(remote.got(), appended);
    let status = sender.status();
    assert_eq!(status.unsent[UnsentReason::Refused as usize].1, 20);
    assert_eq!((status.failing, status.paused), (None, None));
    let failures = failures.lock();
    assert!(!failures.is_empty());
    assert!(
        failures
            .iter()
            .all(|message| message.starts_with("samples refused by strict")),
        "{failures:?}"
    );
}

#[test]
fn trouble_is_told_from_what_takes_somebody_to_look_and_ends_with_what_was_wrong() {
    let world = World::new();
    let db = world.open();
    let code = Arc::new(std::sync::atomic::AtomicU16::new(503));
    let answer = Arc::clone(&code);
    let remote = Remote::new(move |_| {
        let code = answer.load(Ordering::Relaxed);
        (code != 200).then(|| status(code))
    });
    let sender = start(&db, "away", &remote, 1);
    scrape(&world, &db, 5, T0 + MINUTE, &mut Got::new());
    db.sync().unwrap();
    let wait_for = |failing: Option<&str>, paused: Option<&str>| {
        let wanted = |known: Option<String>, word: Option<&str>| match word {
            Some(word) => known.is_some_and(|text| text.contains(word)),
            None => known.is_none(),
        };
        loop {
            let status = sender.status();
            if wanted(status.failing, failing) && wanted(status.paused, paused) {
                break;
            }
            std::thread::yield_now();
        }
    };
    wait_for(Some("503"), None);
    code.store(401, Ordering::Relaxed);
    wait_for(Some("401"), Some("401"));
    // Refused for good is no trouble: the remote takes part.
    code.store(422, Ordering::Relaxed);
    assert!(sender.wait_until_sent(LONG).unwrap());
    wait_for(None, None);
    sender.pause();
    assert_eq!(sender.status().paused.as_deref(), Some("paused"));
}

#[test]
fn waits_without_end_are_no_wait_too_long() {
    let world = World::new();
    let db = world.open();
    let (remote, is_away) = remote();
    let patient = SenderOptions {
        backoff_min: Duration::MAX,
        backoff_max: Duration::MAX,
        pause: Duration::MAX,
        ..options()
    };
    let sender = db
        .start_sender("away", SpoolStart::Now, Arc::new(remote.clone()), patient)
        .unwrap();
    let mut appended = Got::new();
    scrape(&world, &db, 5, T0 + MINUTE, &mut appended);
    db.sync().unwrap();
    while sender.status().failing.is_none() {
        std::thread::yield_now();
    }
    is_away.store(false, Ordering::Relaxed);
    // A shard may be about to wait: resuming ends waits that have begun.
    while remote.count() < 5 {
        sender.resume();
        std::thread::yield_now();
    }
    assert!(sender.stop(Duration::MAX).unwrap());
    assert_eq!(remote.got(), appended);
}
