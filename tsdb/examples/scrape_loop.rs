//! The fast way in: a scraper keeps one reference per series of its target and commits one scrape at a time.

#![expect(clippy::print_stdout, reason = "it is a program for a terminal")]

mod support;

use std::error::Error;
use std::sync::Arc;

use tsdb::{
    Clock, Db, Labels, ManualClock, Options, SeriesRef, TimeRange, is_stale, parse_selector,
    stale_marker,
};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = support::ScratchDir::new("scrape-loop");
    // A real scraper takes the clock of the system; here an hour has to pass at once.
    let start = 1_795_334_160_000;
    let clock = Arc::new(ManualClock::new(start));
    let options = Options::default().with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let db = Db::open(dir.path(), options)?;

    let names = (0..40)
        .map(|disk| format!(r#"disk_reads_total{{instance="a:9100",disk="{disk}"}}"#).parse())
        .collect::<Result<Vec<Labels>, _>>()?;
    // Whatever is committed for a target stays together, in memory and in the log, however few series it has.
    let target = db.target();
    let mut appender = db.appender()?;
    let mut refs = vec![SeriesRef::default(); names.len()];
    let mut values = vec![0.0; names.len()];
    for scrape in 0..240 {
        let now = start + scrape * 15_000;
        clock.set(now);
        appender.set_target(&target);
        for (disk, value) in values.iter_mut().enumerate() {
            *value += (disk % 7) as f64;
        }
        if scrape == 0 {
            // The first time by labels; the answer is a reference for the times after.
            for ((series, name), &value) in refs.iter_mut().zip(&names).zip(&values) {
                *series = appender.append(name, now, value)?;
            }
        } else {
            appender.append_scrape(now, &refs, &values)?;
        }
        let commit = appender.commit()?;
        assert_eq!((commit.accepted, commit.rejected.len()), (40, 0));
    }

    // The target is gone: a marker ends each series now, not after a lookback.
    let gone = start + 240 * 15_000;
    appender.append_scrape(gone, &refs, &vec![stale_marker(); refs.len()])?;
    appender.commit()?;

    let querier = db.querier(TimeRange::ALL)?;
    let selector = parse_selector("disk_reads_total")?;
    let newest = querier
        .select(&selector)?
        .next()
        .ok_or("the series were just written")??
        .latest()?;
    assert!(newest.is_some_and(|sample| is_stale(sample.value)));
    for (when, at) in [("a moment before", gone - 1), ("at", gone)] {
        let found = querier.latest(&selector, at, 300_000)?.len();
        println!("{when} the end {found} series have a value");
    }

    let stats = db.stats();
    println!(
        "{} samples in {} commits, {:.2} bytes each in the log",
        stats.samples_in_rows,
        stats.commits,
        stats.log_written_bytes as f64 / stats.samples_in_rows as f64
    );
    Ok(())
}
