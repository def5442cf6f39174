//! What becomes of samples that are late, repeated, in conflict with another or from the future.

#![expect(clippy::print_stdout, reason = "it is a program for a terminal")]

mod support;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tsdb::{Clock, Db, Labels, ManualClock, Options, Rejection, TimeRange, parse_selector};

const MINUTE: i64 = 60_000;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = support::ScratchDir::new("out-of-order");
    let noon = 1_795_305_600_000;
    let clock = Arc::new(ManualClock::new(noon));
    let options = Options::default()
        .with_clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .with_out_of_order_window(Duration::from_secs(30 * 60));
    let db = Db::open(dir.path(), options)?;

    let power: Labels = r#"power_watts{meter="cellar"}"#.parse()?;
    let mut appender = db.appender()?;
    let series = appender.append(&power, noon, 420.0)?;
    appender.commit()?;

    // A meter that was offline delivers what it has kept. Each sample is judged on its own.
    appender.append_ref(series, noon - 10 * MINUTE, 410.0)?;
    appender.append_ref(series, noon - 20 * MINUTE, 400.0)?;
    appender.append_ref(series, noon, 420.0)?; // again: accepted, stored once
    appender.append_ref(series, noon, 421.0)?; // the same time with another value
    appender.append_ref(series, noon - 40 * MINUTE, 380.0)?; // behind the window
    let commit = appender.commit()?;
    println!("accepted {}", commit.accepted);
    for (place, reason) in &commit.rejected {
        println!("refused  number {place}: {reason}");
    }
    assert_eq!(commit.accepted, 3);
    assert_eq!(
        commit.rejected,
        [(3, Rejection::Duplicate), (4, Rejection::TooOld)]
    );

    // A clock that is wrong must not block the series until the world catches up.
    let future = appender.append_ref(series, noon + 60 * MINUTE, 500.0);
    println!(
        "refused  an hour ahead: {}",
        future.err().ok_or("it lies beyond the future limit")?
    );

    println!("stored, in order of time:");
    for series in db
        .querier(TimeRange::ALL)?
        .select(&parse_selector("power_watts")?)?
    {
        for sample in series?.iter()? {
            println!(
                "  {:+4} min {}",
                (sample.timestamp - noon) / MINUTE,
                sample.value
            );
        }
    }
    let stats = db.stats();
    println!(
        "{} came late, {} were there already",
        stats.samples_late, stats.samples_repeated
    );
    Ok(())
}
