//! A database in an asynchronous program: commits are short and stay on the worker, what reads or waits goes to the
//! blocking pool.

#![expect(clippy::print_stdout, reason = "it is a program for a terminal")]

mod support;

use std::error::Error;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};
use tsdb::{Clock, Db, Labels, Options, SeriesRef, SystemClock, TimeRange, parse_selector};

type AnyError = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), AnyError> {
    let dir = support::ScratchDir::new("tokio-service");
    let path = dir.path().to_owned();
    // Opening replays the log: not for a worker thread.
    let db = spawn_blocking(move || Db::open(path, Options::default())).await??;

    // Each scraper is a task with an appender of its own; `Db` is a handle to clone.
    let mut scrapers = JoinSet::new();
    let (done, mut progress) = mpsc::channel(16);
    for shard in 0..4 {
        scrapers.spawn(scrape(db.clone(), shard, done.clone()));
    }
    drop(done);
    while let Some((shard, samples)) = progress.recv().await {
        println!("shard {shard} has committed {samples} samples");
    }
    while let Some(ended) = scrapers.join_next().await {
        ended??;
    }

    let reader = db.clone();
    let counts = spawn_blocking(move || -> Result<Vec<(Labels, usize)>, AnyError> {
        let found = reader
            .querier(TimeRange::ALL)?
            .select(&parse_selector(r#"temperature{sensor="0"}"#)?)?;
        found
            .map(|series| {
                series
                    .and_then(|series| Ok((series.labels().to_labels(), series.samples()?.len())))
                    .map_err(AnyError::from)
            })
            .collect()
    });
    for (labels, count) in counts.await?? {
        println!("{labels}: {count} samples");
    }
    spawn_blocking(move || db.close()).await??;
    Ok(())
}

async fn scrape(db: Db, shard: u32, done: mpsc::Sender<(u32, u64)>) -> Result<(), AnyError> {
    let names = (0..20)
        .map(|sensor| format!(r#"temperature{{shard="{shard}",sensor="{sensor}"}}"#).parse())
        .collect::<Result<Vec<Labels>, _>>()?;
    let mut refs = vec![SeriesRef::default(); names.len()];
    let mut appender = db.appender()?;
    let mut interval = tokio::time::interval(Duration::from_millis(10));
    let mut samples = 0;
    for _ in 0..25 {
        interval.tick().await;
        let now = SystemClock.now_ms();
        for (series, name) in refs.iter_mut().zip(&names) {
            *series = appender.append_cached(*series, name, now, 20.0 + f64::from(shard))?;
        }
        // With `Durability::Commit` this waits for the disk: then it belongs on the blocking pool too.
        samples += appender.commit()?.accepted;
    }
    done.send((shard, samples)).await?;
    Ok(())
}
