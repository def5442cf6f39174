//! A flush reads whole groups where a query reads series: what comes out is the same, whatever the series did.

use tsdb::{Db, Labels, SeriesRef, TimeRange, VerifyDepth};

use crate::support::{T0, World, labels, read, read_range};

const SCRAPE_MS: i64 = 15_000;

/// Appends one scrape of those series that `value` gives one for.
fn scrape(
    db: &Db,
    names: &[Labels],
    refs: &mut [SeriesRef],
    at: i64,
    value: impl Fn(usize) -> Option<f64>,
) {
    let mut appender = db.appender().unwrap();
    for (index, name) in names.iter().enumerate() {
        if let Some(value) = value(index) {
            refs[index] = appender
                .append_cached(refs[index], name, at, value)
                .unwrap();
        }
    }
    appender.commit().unwrap();
}

fn names(job: &str, count: usize) -> Vec<Labels> {
    (0..count)
        .map(|index| {
            labels(&format!(
                "metric_{:02}{{job=\"{job}\",i=\"{index}\"}}",
                index % 7
            ))
        })
        .collect()
}

/// What a series of each kind measures at a scrape; `None` where it is absent.
fn measured(kind: usize, scrape: i64) -> Option<f64> {
    let mixed = (scrape as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    Some(match kind % 12 {
        0 => 7.0,
        1 => (scrape * 1_000 + mixed as i64 % 100) as f64,
        2 => (mixed % 1_000) as f64 / 1_000.0,
        // More digits from some scrape on, fewer again later.
        3 if (70..75).contains(&scrape) => scrape as f64 + 0.125,
        3 => scrape as f64,
        // Nothing that a decimal is.
        4 => (mixed as f64).sqrt(),
        5 if scrape % 40 == 7 => tsdb::stale_marker(),
        5 => mixed as f64,
        6 if scrape % 9 == 2 => return None,
        6 => scrape as f64 / 10.0,
        7 if scrape < 55 => return None,
        7 => -0.0,
        8 if scrape > 90 => return None,
        8 => 1e300 * scrape as f64,
        9 => f64::from_bits(0x7ff8_0000_0000_beef + scrape as u64 / 50),
        // Integers that lose their last bits where another has digits behind the point.
        10 if scrape == 64 => 0.000_000_1,
        10 => 2_251_799_813_685_247.0 - scrape as f64,
        _ => scrape as f64 * 1_234_567.0,
    })
}

#[test]
fn flushed_blocks_hold_what_the_head_held() {
    let world = World::new();
    world.clock.set(T0 + 10 * 3_600_000);
    let db = world.open();
    let whole = names("whole", 40);
    let small = names("small", 3);
    let mut refs = vec![SeriesRef::default(); 43];
    for step in 0..130 {
        let at = T0 + step * SCRAPE_MS;
        scrape(&db, &whole, &mut refs[..40], at, |kind| {
            measured(kind, step)
        });
        scrape(&db, &small, &mut refs[40..], at + 3, |kind| {
            measured(kind + 1, step)
        });
        // Alone, and late.
        if step % 50 == 20 {
            scrape(&db, &whole[..2], &mut refs[..2], at + 1_000, |_| {
                Some(step as f64)
            });
            scrape(&db, &small[..1], &mut refs[40..41], at - 31_000, |_| {
                Some(0.5)
            });
        }
    }
    let range = TimeRange::new(T0 + 300_000, T0 + 400_000);
    let deleted = tsdb::parse_selector("{job=\"whole\",i=~\"1.\"}").unwrap();
    db.delete(range, &deleted).unwrap();
    let before = read(&db, "{job=~\".+\"}");
    assert_eq!(before.len(), 43);

    let report = db.flush().unwrap();
    assert_eq!(
        report.samples,
        before
            .iter()
            .map(|(_, samples)| samples.len() as u64)
            .sum::<u64>()
    );
    assert_eq!(read(&db, "{job=~\".+\"}"), before);
    assert_eq!(db.stats().blocks.len(), 1);
    assert!(db.verify(VerifyDepth::Decode).unwrap().damaged.is_empty());
    drop(db);
    let db = world.open();
    assert_eq!(read(&db, "{job=~\".+\"}"), before);
}

#[test]
fn a_range_of_many_scrapes_becomes_several_chunks() {
    let world = World::new();
    world.clock.set(T0 + 10 * 3_600_000);
    let db = world.open();
    let names = names("fast", 12);
    let mut refs = vec![SeriesRef::default(); 12];
    for step in 0..3_000 {
        scrape(&db, &names, &mut refs, T0 + step * 1_000, |kind| {
            measured(kind, step)
        });
    }
    let before = read(&db, "{job=\"fast\"}");
    let middle = TimeRange::new(T0 + 1_400_000, T0 + 1_700_000);
    let before_middle = read_range(&db, "{job=\"fast\"}", middle);
    db.flush().unwrap();
    assert_eq!(read(&db, "{job=\"fast\"}"), before);
    assert_eq!(read_range(&db, "{job=\"fast\"}", middle), before_middle);
}
