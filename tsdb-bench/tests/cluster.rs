//! The synthetic cluster in a database on the simulated disk: what is known of it in advance must come out.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::Arc;

use tsdb::fs::SimFs;
use tsdb::{Db, Samples, TimeRange};
use tsdb_bench::cases::CASES;
use tsdb_bench::cluster::{Checksum, Shape, checksum};
use tsdb_bench::scraper::{START_MS, Scraper, options};

fn open(fs: &SimFs) -> Db {
    Db::open("/db", options().with_fs(Arc::new(fs.clone()))).expect("a database")
}

fn found(db: &Db) -> Vec<u64> {
    let querier = db.querier(TimeRange::ALL).expect("a querier");
    let mut counts = Vec::new();
    for case in &CASES {
        let found = querier
            .select(&case.matchers().expect("a selector"))
            .expect("a selection");
        counts.push(found.map(|series| series.expect("a series")).count() as u64);
    }
    counts
}

#[test]
fn every_case_finds_the_known_number_in_head_and_block() {
    let fs = SimFs::new();
    let db = open(&fs);
    Scraper::new(&db, 100_000, Shape::new(START_MS)).unwrap();
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
    let shape = Shape::new(START_MS);
    let mut scraper = Scraper::new(&db, 3_500, shape).unwrap();
    scraper.scrape(69).unwrap();
    drop((scraper, db));
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
