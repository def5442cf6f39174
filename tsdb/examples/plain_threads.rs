//! Several writers and a reader in ordinary threads: a reader sees a commit entirely or not at all.

#![expect(clippy::print_stdout, reason = "it is a program for a terminal")]

mod support;

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};

use tsdb::{Clock, Db, Labels, Options, SeriesRef, SystemClock, TimeRange, parse_selector};

const WRITERS: usize = 2;
const COMMITS: usize = 5_000;
const SERIES: usize = 100;

type AnyError = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), AnyError> {
    let dir = support::ScratchDir::new("plain-threads");
    let db = Db::open(dir.path(), Options::default())?;
    let is_done = AtomicBool::new(false);
    let started = SystemClock.monotonic();
    let db_ref = &db;
    let reads = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| scope.spawn(move || write(db_ref, writer)))
            .collect();
        let reader = scope.spawn(|| read_until(db_ref, &is_done));
        let written: Result<Vec<()>, AnyError> = writers
            .into_iter()
            .map(|writer| writer.join().map_err(|_panic| "a writer panicked")?)
            .collect();
        is_done.store(true, Ordering::Release);
        let reads = reader.join().map_err(|_panic| "the reader panicked")?;
        written.and(reads)
    })?;
    let took = SystemClock.monotonic() - started;
    println!(
        "{} samples by {WRITERS} threads in {took:.0?}, read {reads} times meanwhile, always whole commits",
        WRITERS * COMMITS * SERIES
    );
    db.close()?;
    Ok(())
}

fn write(db: &Db, writer: usize) -> Result<(), AnyError> {
    let names = (0..SERIES)
        .map(|i| format!(r#"tick{{writer="{writer}",i="{i}"}}"#).parse())
        .collect::<Result<Vec<Labels>, _>>()?;
    let mut refs = vec![SeriesRef::default(); SERIES];
    let mut appender = db.appender()?;
    let now = SystemClock.now_ms();
    for commit in 0..COMMITS {
        for (series, name) in refs.iter_mut().zip(&names) {
            *series = appender.append_cached(*series, name, now + commit as i64, commit as f64)?;
        }
        appender.commit()?;
    }
    Ok(())
}

/// Reads until the writers are done; returns how often.
fn read_until(db: &Db, is_done: &AtomicBool) -> Result<usize, AnyError> {
    let mut reads = 0;
    while !is_done.load(Ordering::Acquire) {
        for writer in 0..WRITERS {
            let selector = parse_selector(&format!(r#"tick{{writer="{writer}"}}"#))?;
            let mut lengths = Vec::new();
            for series in db.querier(TimeRange::ALL)?.select(&selector)? {
                lengths.push(series?.samples()?.len());
            }
            let is_whole = lengths.is_empty()
                || lengths.len() == SERIES && lengths.iter().all(|len| *len == lengths[0]);
            assert!(is_whole, "half a commit: {lengths:?}");
        }
        reads += 1;
    }
    Ok(reads)
}
