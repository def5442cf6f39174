//! The synthetic cluster in a database on the simulated disk: what is known of it in advance must come out.

use std::sync::Arc;

use tsdb::fs::SimFs;
use tsdb::{Background, Db, Labels, ManualClock, Options, Samples, SeriesRef, TimeRange};
use tsdb_bench::cases::CASES;
use tsdb_bench::cluster::{
    Checksum, Shape, TARGET_SERIES, Walk, checksum, parse_line, write_series,
};

const START_MS: i64 = 1_795_320_000_000;

fn open(fs: &SimFs) -> Db {
    let options = Options::default()
        .with_fs(Arc::new(fs.clone()))
        .with_clock(Arc::new(ManualClock::new(START_MS + 3_600_000)))
        .with_background(Background::Manual);
    Db::open("/db", options).unwrap()
}

/// Scrapes a cluster of so many series so many times.
fn scrape(db: &Db, series: u64, scrapes: u64) -> Shape {
    let shape = Shape::new(START_MS);
    let mut text = Vec::new();
    write_series(series, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let labels: Vec<Labels> = text
        .lines()
        .map(|line| Labels::from_pairs(parse_line(line)).unwrap())
        .collect();
    let mut appender = db.appender().unwrap();
    for (number, labels) in labels.chunks(TARGET_SERIES as usize).enumerate() {
        let mut walk = Walk::new(number as u64 * TARGET_SERIES, labels.len(), shape.values);
        let mut values = vec![0.0; labels.len()];
        let target = db.target();
        let mut references: Vec<SeriesRef> = Vec::new();
        for scrape in 0..scrapes {
            walk.scrape(scrape, &mut values);
            let timestamp = shape.timestamp(number as u64, scrape);
            appender.set_target(&target);
            if scrape == 0 {
                let append = |(labels, value): (&Labels, &f64)| {
                    appender.append(labels, timestamp, *value).unwrap()
                };
                references = labels.iter().zip(&values).map(append).collect();
            } else {
                appender
                    .append_scrape(timestamp, &references, &values)
                    .unwrap();
            }
            assert_eq!(appender.commit().unwrap().accepted, labels.len() as u64);
        }
    }
    shape
}

fn found(db: &Db) -> Vec<u64> {
    let querier = db.querier(TimeRange::ALL).unwrap();
    CASES
        .iter()
        .map(|case| {
            querier
                .select(&case.matchers().unwrap())
                .unwrap()
                .map(Result::unwrap)
                .count() as u64
        })
        .collect()
}

#[test]
fn every_case_finds_the_known_number_in_head_and_block() {
    let fs = SimFs::new();
    let db = open(&fs);
    scrape(&db, 100_000, 1);
    let known: Vec<u64> = CASES.iter().map(|case| case.found_100k).collect();
    assert_eq!(found(&db), known);
    db.flush().unwrap();
    db.close().unwrap();
    assert_eq!(found(&open(&fs)), known);
}

#[test]
fn what_is_read_has_the_checksum_of_the_definition() {
    let fs = SimFs::new();
    let db = open(&fs);
    let shape = scrape(&db, 3_500, 70);
    drop(db);
    let db = open(&fs);
    let mut read = Checksum::default();
    let mut samples = Samples::default();
    for series in db.querier(TimeRange::ALL).unwrap().select(&[]).unwrap() {
        series.unwrap().read(&mut samples).unwrap();
        samples
            .iter()
            .for_each(|sample| read.add(sample.timestamp, sample.value));
    }
    assert_eq!(read, checksum(&shape, 3_500, 70, tsdb::stale_marker()));
}
