//! A disk runs full: writes are refused with a reason, reads go on, and writes work again as soon as there is room.
//!
//! The disk is the simulated one, which tests of programs that embed the library can use as well (feature `testing`).

#![expect(clippy::print_stdout, reason = "it is a program for a terminal")]

use std::error::Error;
use std::sync::Arc;

use tsdb::fs::SimFs;
use tsdb::{
    Background, Clock, Db, ErrorKind, Event, EventListener, Labels, ManualClock, Options,
    SeriesRef, TimeRange, parse_selector,
};

fn main() -> Result<(), Box<dyn Error>> {
    let start = 1_795_334_160_000;
    let disk = SimFs::new();
    let clock = Arc::new(ManualClock::new(start));
    let listener = |event: &Event| match event {
        Event::ReadOnly { reason } => println!("event: read-only, {reason}"),
        Event::Healthy => println!("event: healthy"),
        _ => {}
    };
    let options = Options::default()
        .with_fs(Arc::new(disk.clone()))
        .with_clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .with_background(Background::Manual)
        .with_listener(Some(Arc::new(listener) as Arc<dyn EventListener>));
    let db = Db::open("/db", options)?;

    let names: Vec<Labels> = (0..100)
        .map(|i| Labels::from_pairs([("__name__", "noise"), ("i", &i.to_string())]))
        .collect::<Result<_, _>>()?;
    let mut refs = vec![SeriesRef::default(); names.len()];
    let mut appender = db.appender()?;
    disk.set_capacity(Some(64 * 1024));
    let mut acknowledged = 0;
    let mut was_full = false;
    for scrape in 0..200 {
        let now = start + scrape * 15_000;
        clock.set(now);
        for (i, (series, name)) in refs.iter_mut().zip(&names).enumerate() {
            // Values that do not compress, so that the disk fills quickly.
            let value = ((scrape + 1) as f64 * (i + 1) as f64).sin();
            *series = appender.append_cached(*series, name, now, value)?;
        }
        match appender.commit() {
            Ok(commit) => acknowledged += commit.accepted,
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                println!("scrape {scrape}: {error}");
                let (mode, found) = (db.stats().mode, count(&db)?);
                println!("mode: {mode:?}; {found} samples can be read");
                was_full = true;
                // Somebody makes room; what was refused is still staged, so committing again is enough.
                disk.set_capacity(None);
                acknowledged += appender.commit()?.accepted;
            }
            Err(error) => return Err(error.into()),
        }
    }
    assert!(was_full, "the disk was too large for this example");
    let (mode, found) = (db.stats().mode, count(&db)?);
    println!("mode: {mode:?}; acknowledged {acknowledged}, found {found}");
    assert_eq!(acknowledged, found);
    Ok(())
}

fn count(db: &Db) -> Result<u64, Box<dyn Error>> {
    let mut samples = 0;
    let querier = db.querier(TimeRange::ALL)?;
    for series in querier.select(&parse_selector("noise")?)? {
        samples += series?.samples()?.len() as u64;
    }
    Ok(samples)
}
