//! An explosion of series meets its limit, and the series that were there before do not notice.

#![expect(clippy::print_stdout, reason = "it is a program for a terminal")]

mod support;

use std::error::Error;
use std::sync::Arc;

use tsdb::{Clock, Db, Labels, ManualClock, Options, Rejection, TimeRange, parse_selector};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = support::ScratchDir::new("budgets");
    let start = 1_795_334_160_000;
    let clock = Arc::new(ManualClock::new(start));
    let options = Options::default()
        .with_clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .with_series_limit(Some(100));
    let db = Db::open(dir.path(), options)?;

    let mut appender = db.appender()?;
    let mut known = Vec::new();
    for shard in 0..50 {
        let labels: Labels = format!(r#"jobs_total{{shard="{shard}"}}"#).parse()?;
        known.push(appender.append(&labels, start, 0.0)?);
    }
    appender.commit()?;

    // Somebody puts a request id into a label.
    let mut refused = 0;
    for scrape in 1..=10 {
        let now = start + scrape * 15_000;
        clock.set(now);
        for request in 0..200 {
            let labels: Labels = format!(r#"seconds{{id="{scrape}-{request}"}}"#).parse()?;
            match appender.append(&labels, now, 0.1) {
                Ok(_) => {}
                Err(Rejection::SeriesLimit) => refused += 1,
                Err(other) => return Err(other.into()),
            }
        }
        for &series in &known {
            appender.append_ref(series, now, scrape as f64)?;
        }
        let commit = appender.commit()?;
        assert_eq!(commit.rejected, [], "no budget refuses a known series");
    }

    let stats = db.stats();
    println!(
        "{} series in the head, {refused} samples of new ones refused",
        stats.head_series
    );
    let counted = stats
        .rejected
        .iter()
        .find(|(reason, _)| *reason == Rejection::SeriesLimit);
    println!("counted as {counted:?}, in the metrics as tsdb_rejected_total");
    assert_eq!(stats.head_series, 100);

    let mut samples = 0;
    let querier = db.querier(TimeRange::ALL)?;
    for series in querier.select(&parse_selector("jobs_total")?)? {
        samples += series?.samples()?.len();
    }
    println!("the known series have all their {samples} samples");
    assert_eq!(samples, 50 * 11);
    Ok(())
}
