//! What scrapes and readers do to a database besides the plain course of things.

use tsdb::{Db, Rejection, SeriesRef, SpoolStart, TimeRange, parse_selector};

use crate::support::{T0, World, labels, read};

/// Appends one scrape of the series `from` up to `to` with the value of their number.
fn scrape(db: &Db, from: usize, to: usize, timestamp: i64) -> tsdb::Commit {
    let mut appender = db.appender().unwrap();
    for number in from..to {
        let name = labels(&format!("metric{{number=\"{number}\"}}"));
        appender.append(&name, timestamp, number as f64).unwrap();
    }
    appender.commit().unwrap()
}

#[test]
fn members_come_and_go_and_every_sample_stays() {
    let world = World::new();
    let db = world.open();
    let mut expected = vec![0; 80];
    for round in 0..200_i64 {
        let (from, to) = match round {
            0..40 => (0, 40),
            40..90 => (5, 45),
            90..100 => (0, 6),
            _ => (20, 80),
        };
        assert_eq!(scrape(&db, from, to, T0 + round * 1000).rejected, []);
        expected[from..to].iter_mut().for_each(|count| *count += 1);
    }
    let count = |db: &Db| -> Vec<usize> {
        let found = read(db, "metric");
        let of = |number: usize| {
            let number = number.to_string();
            let series = found
                .iter()
                .find(|(name, _)| name.get("number") == Some(&number));
            series.map_or(0, |(_, samples)| samples.len())
        };
        (0..80).map(of).collect()
    };
    assert_eq!(count(&db), expected);
    drop(db);
    let db = world.open();
    assert_eq!(count(&db), expected);
    db.flush().unwrap();
    assert_eq!(count(&db), expected);
}

#[test]
fn scrape_sent_again_is_accepted_and_changes_nothing() {
    let world = World::new();
    let db = world.open();
    scrape(&db, 0, 30, T0);
    let again = scrape(&db, 0, 30, T0);
    assert_eq!((again.accepted, again.sequence), (30, None));
    assert!(
        read(&db, "metric")
            .iter()
            .all(|(_, samples)| samples.len() == 1)
    );
}

/// Two series are missing in the newest scrapes, one of them joined before: what they take is behind their own samples, not behind
/// those of the others.
#[test]
fn restart_knows_the_newest_sample_of_each_series() {
    for (end, close, lose) in [
        (25, false, false),
        (25, true, false),
        (25, true, true),
        (110, false, false),
        (110, true, false),
        (110, true, true),
    ] {
        let world = World::new();
        let options = || {
            world
                .options()
                .with_out_of_order_window(std::time::Duration::ZERO)
        };
        let db = Db::open(crate::support::DIR, options()).unwrap();
        // Keeps the log.
        drop(db.spool("far", SpoolStart::Now).unwrap());
        for step in 0..end {
            let members = match step {
                0..10 => 20,
                10..15 => 21,
                _ => 19,
            };
            scrape(&db, 0, members, T0 + step * 1000);
        }
        if close {
            db.close().unwrap();
        } else {
            drop(db);
        }
        if lose {
            let path = std::path::Path::new(crate::support::DIR).join("checkpoint");
            world.fs.flip_bit(&path, 100).unwrap();
        }
        let db = Db::open(crate::support::DIR, options()).unwrap();
        let case = format!("{end} scrapes, closed {close}, checkpoint lost {lose}");
        for (number, timestamp, expected) in [
            (18, T0 + 20_500, Some(Rejection::OutOfOrder)),
            (19, T0 + 13_500, Some(Rejection::OutOfOrder)),
            (20, T0 + 13_500, Some(Rejection::OutOfOrder)),
            (19, T0 + 20_500, None),
            (20, T0 + 20_500, None),
            (20, T0 + 21_500, None),
        ] {
            let mut appender = db.appender().unwrap();
            let name = labels(&format!("metric{{number=\"{number}\"}}"));
            appender.append(&name, timestamp, 0.5).unwrap();
            let rejected = appender.commit().unwrap().rejected;
            let rejected = rejected.first().map(|(_, rejection)| *rejection);
            assert_eq!(rejected, expected, "{case}: {number} at {timestamp}");
        }
    }
}

#[test]
fn reader_never_sees_half_a_scrape() {
    let world = World::new();
    let db = world.open();
    scrape(&db, 0, 50, T0);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 1..400 {
                scrape(&db, 0, 50, T0 + round * 100);
            }
        });
        while !writer.is_finished() {
            let lengths: Vec<usize> = read(&db, "metric")
                .iter()
                .map(|(_, samples)| samples.len())
                .collect();
            assert!(
                lengths.iter().all(|length| *length == lengths[0]),
                "{lengths:?}"
            );
        }
    });
}

#[test]
fn what_is_rolled_back_is_not_seen() {
    let world = World::new();
    let db = world.open();
    let mut appender = db.appender().unwrap();
    appender.append(&labels("ghost"), T0, 1.0).unwrap();
    appender.rollback();
    assert_eq!(appender.commit().unwrap().sequence, None);
    assert!(read(&db, "ghost").is_empty());
    let querier = db.querier(TimeRange::ALL).unwrap();
    assert!(
        querier
            .label_values("__name__", &[], 10)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn spent_series_budget_refuses_new_series_and_leaves_known_ones_alone() {
    let world = World::new();
    let db = Db::open(
        crate::support::DIR,
        world.options().with_series_limit(Some(20)),
    )
    .unwrap();
    scrape(&db, 0, 20, T0);
    let mut appender = db.appender().unwrap();
    assert_eq!(
        appender.append(&labels("new"), T0, 1.0),
        Err(Rejection::SeriesLimit)
    );
    assert_eq!(scrape(&db, 0, 20, T0 + 1000).accepted, 20);
}

#[test]
fn read_only_open_sees_what_a_writer_committed_before() {
    let world = World::new();
    let db = world.open();
    for round in 0..50 {
        scrape(&db, 0, 20, T0 + round * 1000);
        if round == 25 {
            db.checkpoint().unwrap();
        }
    }
    let reader = Db::open_read_only(crate::support::DIR, world.options()).unwrap();
    scrape(&db, 0, 20, T0 + 50_000);
    assert!(
        read(&reader, "metric")
            .iter()
            .all(|(_, samples)| samples.len() == 50)
    );
    assert!(reader.appender().is_err());
    assert!(
        read(&db, "metric")
            .iter()
            .all(|(_, samples)| samples.len() == 51)
    );
}

#[test]
fn deleted_sample_can_be_sent_again() {
    let world = World::new();
    let db = world.open();
    for round in 0..40 {
        scrape(&db, 0, 20, T0 + round * 1000);
    }
    let matchers = parse_selector("metric{number=\"7\"}").unwrap();
    db.delete(TimeRange::new(T0, T0 + 3000), &matchers).unwrap();
    assert_eq!(read(&db, "metric{number=\"7\"}")[0].1.len(), 37);
    assert_eq!(scrape(&db, 7, 8, T0 + 1000).accepted, 1);
    let after = |db: &Db| read(db, "metric{number=\"7\"}")[0].1.len();
    assert_eq!(after(&db), 38);
    drop(db);
    let db = world.open();
    assert_eq!(after(&db), 38);
    db.flush().unwrap();
    assert_eq!(after(&db), 38);
}

#[test]
fn querier_from_before_a_deletion_sees_what_it_deletes_from_blocks() {
    let world = World::new();
    let db = world.open();
    scrape(&db, 0, 20, T0);
    db.flush().unwrap();
    scrape(&db, 0, 20, T0 + 1000);
    let before = db.querier(TimeRange::ALL).unwrap();
    let metric = parse_selector("metric").unwrap();
    db.delete(TimeRange::ALL, &metric).unwrap();
    let lens = |querier: &tsdb::Querier| -> Vec<usize> {
        let series = querier.select(&metric).unwrap();
        series
            .map(|series| series.unwrap().samples().unwrap().len())
            .filter(|&len| len > 0)
            .collect()
    };
    assert_eq!(lens(&before), [2; 20]);
    let latest = before.latest(&metric, T0 + 999, 1000).unwrap();
    assert_eq!(latest.len(), 20);
    assert_eq!(lens(&db.querier(TimeRange::ALL).unwrap()), [0; 0]);
    // What stands in the blocks' place does not have the samples.
    db.compact().unwrap();
    assert_eq!(lens(&before), [2; 20]);
}

#[test]
fn head_keeps_what_an_old_querier_may_read() {
    let world = World::new();
    let db = world.open();
    scrape(&db, 0, 20, T0);
    let querier = db.querier(TimeRange::ALL).unwrap();
    assert!(db.flush().unwrap().is_waiting_for_readers);
    let series: Vec<_> = querier.select(&[]).unwrap().map(Result::unwrap).collect();
    assert!(
        series
            .iter()
            .all(|series| series.samples().unwrap().len() == 1)
    );
    drop((querier, series));
    db.step(tsdb::Task::Flush).unwrap();
    assert_eq!(db.stats().head_chunks, 0);
    assert_eq!(read(&db, "metric").len(), 20);
}

#[test]
fn few_series_of_a_target_are_rows() {
    let world = World::new();
    let db = world.open();
    let target = db.target();
    let mut appender = db.appender().unwrap();
    let name = labels("up{job=\"a\"}");
    let mut series = SeriesRef::default();
    for round in 0..10 {
        appender.set_target(&target);
        series = appender
            .append_cached(series, &name, T0 + round * 1000, 1.0)
            .unwrap();
        appender.commit().unwrap();
    }
    assert_eq!(
        (db.stats().samples_in_rows, db.stats().samples_alone),
        (10, 0)
    );
}

#[test]
fn scrape_of_more_series_than_a_group_holds_is_split() {
    let world = World::new();
    let db = world.open();
    for round in 0..2 {
        assert_eq!(scrape(&db, 0, 20_000, T0 + round * 1000).accepted, 20_000);
    }
    assert_eq!(db.stats().samples_in_rows, 40_000);
    assert_eq!(read(&db, "metric").len(), 20_000);
}

/// Returns what a querier finds: how many samples of each series.
fn count_through(querier: &tsdb::Querier, selector: &str) -> Vec<(String, usize)> {
    let mut samples = tsdb::Samples::default();
    let mut counts = Vec::new();
    for series in querier.select(&parse_selector(selector).unwrap()).unwrap() {
        let series = series.unwrap();
        series.read(&mut samples).unwrap();
        counts.push((series.labels().to_string(), samples.len()));
    }
    counts
}

#[test]
fn querier_made_before_a_commit_sees_nothing_of_it() {
    let world = World::new();
    let db = Db::open(
        crate::support::DIR,
        world
            .options()
            .with_out_of_order_window(std::time::Duration::from_secs(3600)),
    )
    .unwrap();
    // Rows, samples alone, samples that are late, and a series of its own, all in one commit.
    let commit = |round: i64| {
        let mut appender = db.appender().unwrap();
        for number in 0..40 {
            let name = labels(&format!("scraped{{number=\"{number}\"}}"));
            appender
                .append(&name, T0 + round * 1000, number as f64)
                .unwrap();
        }
        for number in 0..5 {
            let name = labels(&format!("alone{{number=\"{number}\"}}"));
            let at = T0 + round * 1000 + number + 1;
            appender.append(&name, at, number as f64).unwrap();
            appender.append(&name, at - 500_000, number as f64).unwrap();
        }
        let name = labels(&format!("once{{round=\"{round}\"}}"));
        appender.append(&name, T0 + round * 1000 + 7, 1.0).unwrap();
        assert_eq!(appender.commit().unwrap().rejected, []);
    };
    for round in 0..50 {
        commit(round);
    }
    let querier = db.querier(TimeRange::ALL).unwrap();
    let before = count_through(&querier, "{__name__=~\".+\"}");
    assert_eq!(before.len(), 40 + 5 + 50);
    for round in 50..300 {
        commit(round);
        if round % 50 == 7 {
            let later = db.querier(TimeRange::ALL).unwrap();
            assert_eq!(
                count_through(&later, "alone{number=\"0\"}")[0].1,
                2 * (round as usize + 1)
            );
            assert_eq!(count_through(&querier, "{__name__=~\".+\"}"), before);
        }
    }
    // A flush writes blocks and waits with the truncation; a checkpoint closes what is open.
    assert!(db.flush().unwrap().is_waiting_for_readers);
    commit(300);
    assert_eq!(count_through(&querier, "{__name__=~\".+\"}"), before);
    drop(querier);
    db.flush().unwrap();
    let now = db.querier(TimeRange::ALL).unwrap();
    assert_eq!(count_through(&now, "alone{number=\"0\"}")[0].1, 602);
    drop(now);
    drop(db);
    let db = world.open();
    let querier = db.querier(TimeRange::ALL).unwrap();
    assert_eq!(count_through(&querier, "alone{number=\"0\"}")[0].1, 602);
    let mut appender = db.appender().unwrap();
    let late = T0 + 400_000;
    appender
        .append(&labels("alone{number=\"0\"}"), late, 1.0)
        .unwrap();
    appender.commit().unwrap();
    assert_eq!(count_through(&querier, "alone{number=\"0\"}")[0].1, 602);
}
