//! A child process is killed while it appends to a database on the real disk; what it acknowledged is there afterwards.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise; the child tells its parent what it did; the disk is the real one"
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use tsdb::{Db, Labels, Options, SeriesRef, TimeRange};

/// Names the directory to the child; a run without it is the parent's.
const DIR: &str = "TSDB_KILL_DIR";

const SERIES: usize = 40;

/// Not a test by itself: what the child does until it is killed.
#[test]
fn child_appends_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let db = Db::open(Path::new(&dir), Options::default().with_retention(None)).unwrap();
    let names: Vec<Labels> = (0..SERIES)
        .map(|i| format!("metric{{i=\"{i}\"}}").parse().unwrap())
        .collect();
    let mut refs = vec![SeriesRef::default(); SERIES];
    let mut appender = db.appender().unwrap();
    let first = db.stats().head_max_time.max(1_700_000_000_000) + 1000;
    for timestamp in (first..).step_by(1000) {
        for (series, name) in refs.iter_mut().zip(&names) {
            *series = appender
                .append_cached(*series, name, timestamp, timestamp as f64)
                .unwrap();
        }
        assert_eq!(appender.commit().unwrap().rejected, []);
        println!("acknowledged {timestamp}");
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill() {
    let dir = std::env::temp_dir().join(format!("tsdb-kill-{}", std::process::id()));
    let mut acknowledged = 0u64;
    let mut last = 0i64;
    for round in 0..15_usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_appends_until_it_is_killed", "--nocapture"])
            .env(DIR, &dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Killed after another number of commits each time; what the pipe still holds then was acknowledged too.
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut left = 1 + round * 37;
        while let Some(Ok(line)) = lines.next() {
            if let Some(timestamp) = line.strip_prefix("acknowledged ") {
                let Ok(timestamp) = timestamp.parse() else {
                    continue;
                };
                last = timestamp;
                acknowledged += 1;
                left = left.saturating_sub(1);
                if left == 0 {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        let db = Db::open(&dir, Options::default().with_retention(None)).unwrap();
        let mut series_seen = 0;
        for series in db.querier(TimeRange::ALL).unwrap().select(&[]).unwrap() {
            let samples = series.unwrap().samples().unwrap();
            series_seen += 1;
            assert!(
                samples.len() as u64 >= acknowledged,
                "round {round}: {}",
                samples.len()
            );
            assert!(*samples.timestamps.last().unwrap() >= last, "round {round}");
            assert!(
                samples
                    .iter()
                    .all(|sample| sample.value == sample.timestamp as f64)
            );
            // A commit that was not acknowledged may stand as well.
            acknowledged = acknowledged.max(samples.len() as u64);
        }
        assert_eq!(series_seen, SERIES);
    }
    println!("{acknowledged} commits over 15 kills");
    std::fs::remove_dir_all(&dir).unwrap();
}
