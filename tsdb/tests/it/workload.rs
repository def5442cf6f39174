//! A small life of a database that does everything once, for crashes, faults and damage.

use std::collections::BTreeMap;
use std::time::Duration;

use tsdb::{Db, Durability, Labels, Options, Result, SeriesRef, TimeRange};

use crate::support::{T0, World, labels};

/// What a reader sees.
pub type Content = BTreeMap<Labels, Vec<(i64, u64)>>;

/// Series of the target.
const SERIES: usize = 18;

/// Block ranges of this workload.
pub const RANGE_MS: i64 = 600_000;

/// Series of the target that others take the place of.
const REPLACED: usize = 2;

/// What the workload has done so far.
#[derive(Debug, Default, Clone)]
pub struct Progress {
    /// The content after each acknowledged step, the empty one first.
    pub states: Vec<Content>,
}

pub fn options(world: &World) -> Options {
    world
        .options()
        .with_durability(Durability::Commit)
        .with_block_range(Duration::from_millis(RANGE_MS as u64))
        .with_out_of_order_window(Duration::from_millis(2 * RANGE_MS as u64))
        .with_segment_bytes(4_096)
        .with_retention(None)
}

pub fn open(world: &World) -> Result<Db> {
    Db::open(crate::support::DIR, options(world))
}

/// The steps of the workload.
pub const STEPS: usize = 46;

/// Does one step; the content after it goes to `progress`.
pub fn step(db: &Db, number: usize, progress: &mut Progress) -> Result<()> {
    let mut content = progress.states.last().cloned().unwrap_or_default();
    match number {
        20 => {
            let range = TimeRange::new(T0 + 30_000, T0 + 60_000);
            db.delete(
                range,
                &tsdb::parse_selector("metric_3").expect("a selector"),
            )?;
            if let Some(samples) = content.get_mut(&name(3)) {
                samples.retain(|(timestamp, _)| !range.contains(*timestamp));
            }
        }
        12 | 30 => db.checkpoint()?,
        24 | 36 => assert!(!db.flush()?.is_waiting_for_readers),
        40 => assert_eq!(db.compact()?.dropped, 0),
        _ => {
            let timestamp = T0 + number as i64 * 30_000;
            let mut samples: Vec<(Labels, i64, f64)> = (0..SERIES)
                .map(|series| {
                    (
                        member(series, number),
                        timestamp,
                        (number * series) as f64 / 10.0,
                    )
                })
                .collect();
            if number.is_multiple_of(5) {
                samples.push((labels("lone"), timestamp, number as f64));
                samples.push((labels("late"), timestamp - 45_000, number as f64));
            }
            if number.is_multiple_of(7) {
                samples.truncate(3);
            }
            let mut appender = db.appender()?;
            for (labels, timestamp, value) in &samples {
                appender
                    .append_cached(SeriesRef::default(), labels, *timestamp, *value)
                    .expect("no limit is set");
                content
                    .entry(labels.clone())
                    .or_default()
                    .push((*timestamp, value.to_bits()));
            }
            let commit = appender.commit()?;
            assert_eq!(commit.rejected, []);
        }
    }
    content.retain(|_, samples| !samples.is_empty());
    progress.states.push(content);
    Ok(())
}

/// Returns the name of a series at a step: the last of the target belong to pods that are replaced again and again.
fn member(series: usize, number: usize) -> Labels {
    if series < SERIES - REPLACED {
        return name(series);
    }
    let pod = number / 2;
    labels(&format!("metric_{series}{{job=\"a\",pod=\"{pod}\"}}"))
}

fn name(series: usize) -> Labels {
    labels(&format!("metric_{series}{{job=\"a\"}}"))
}

pub fn content(db: &Db) -> Content {
    crate::support::read(db, "{__name__=~\".+\"}")
        .into_iter()
        .collect()
}

/// Does the whole workload on a disk without faults.
pub fn run(world: &World) -> (Db, Content) {
    let db = open(world).expect("no fault");
    let mut progress = Progress::default();
    for number in 0..STEPS {
        world.clock.set(T0 + number as i64 * 30_000);
        step(&db, number, &mut progress).expect("no fault");
    }
    (db, progress.states.pop().expect("there were steps"))
}
