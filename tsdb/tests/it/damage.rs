//! Bits turn over and files are cut; never is a wrong value the answer.

use tsdb::ErrorKind;
use tsdb::fs::{CrashChoice, SimFs};

use crate::support::{Draw, T0, World};
use crate::workload::{Content, STEPS, open, run};

/// Files up to this length are damaged at every bit, longer ones at one bit of every byte.
const EVERY_BIT_MAX: u64 = 200;

/// Samples of a damaged database, and how many units it reports as damaged.
struct Answer {
    content: Content,
    reported: u64,
}

#[test]
fn no_flipped_bit_gives_a_wrong_value() {
    let (fs, expected) = database();
    let (mut flips, mut silent) = (0, 0);
    for (path, len) in fs.files() {
        let bits: Vec<u64> = if len <= EVERY_BIT_MAX {
            (0..len * 8).collect()
        } else {
            (0..len).map(|byte| byte * 8 + byte % 8).collect()
        };
        for bit in bits {
            let damaged = fs.crash(CrashChoice::All);
            damaged.flip_bit(&path, bit).unwrap();
            let place = format!("bit {bit} of {}", path.display());
            flips += 1;
            silent += usize::from(!check(damaged, &expected, &place));
        }
    }
    println!("{flips} bits, {silent} without a trace and without a loss");
    assert!(flips > 5_000);
}

#[test]
fn no_two_flipped_bits_of_the_log_lose_a_sample_without_a_word() {
    let (fs, expected) = database();
    let mut logs = fs.files();
    logs.retain(|(path, len)| path.starts_with("/db/log") && *len > 0);
    let (last, len) = logs.pop().unwrap();
    let mut draw = Draw(1);
    for pair in 0..2000 {
        let damaged = fs.crash(CrashChoice::All);
        // Where the log ends, nothing behind tells what is missing.
        let bits = match pair % 4 {
            0 => [draw.below(104 * 8), draw.below(104 * 8)],
            1 => [draw.below(len * 8), draw.below(len * 8)],
            _ => [draw.below(len * 8), (len - 1 - draw.below(40)) * 8 + 3],
        };
        for bit in bits {
            damaged.flip_bit(&last, bit).unwrap();
        }
        check(damaged, &expected, &format!("bits {bits:?} of the log"));
    }
}

#[test]
fn no_cut_file_gives_a_wrong_value() {
    let (fs, expected) = database();
    let mut cuts = 0;
    for (path, len) in fs.files() {
        for cut in (0..len).step_by(if len > 600 { 5 } else { 1 }) {
            let damaged = fs.crash(CrashChoice::All);
            damaged.truncate_file(&path, cut).unwrap();
            cuts += 1;
            check_values(
                damaged,
                &expected,
                &format!("{} cut at {cut}", path.display()),
            );
        }
    }
    println!("{cuts} cuts");
    assert!(cuts > 1_000);
}

fn database() -> (SimFs, Content) {
    let world = World::new();
    let (db, expected) = run(&world);
    // The first sync leaves a mark of what is synced, the second makes the mark durable: what is damaged from here on is
    // damage and no torn tail.
    db.step(tsdb::Task::Sync).unwrap();
    db.step(tsdb::Task::Sync).unwrap();
    drop(db);
    (world.fs.crash(CrashChoice::None), expected)
}

/// Looks at a damaged database; tells whether it reports damage. What is missing has to be reported.
fn check(fs: SimFs, expected: &Content, place: &str) -> bool {
    let Some(answer) = check_values(fs, expected, place) else {
        return true;
    };
    assert!(
        answer.reported > 0 || answer.content == *expected,
        "{place}: samples are missing and nobody says so"
    );
    answer.reported > 0
}

fn check_values(fs: SimFs, expected: &Content, place: &str) -> Option<Answer> {
    let world = World::on(fs);
    world.clock.set(T0 + STEPS as i64 * 30_000);
    let db = match open(&world) {
        Ok(db) => db,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{place}: {error}");
            return None;
        }
    };
    let mut reported = db.stats().damaged_units;
    let mut found = Content::new();
    let mut samples = tsdb::Samples::default();
    match db.querier(tsdb::TimeRange::ALL).unwrap().select(&[]) {
        Err(_) => reported += 1,
        Ok(selected) => {
            for series in selected {
                let Ok(series) = series else {
                    reported += 1;
                    continue;
                };
                reported += u64::from(series.read(&mut samples).is_err());
                let bits: Vec<_> = samples
                    .iter()
                    .map(|sample| (sample.timestamp, sample.value.to_bits()))
                    .collect();
                let right = expected
                    .get(&series.labels().to_labels())
                    .unwrap_or_else(|| panic!("{place}: {} was invented", series.labels()));
                for sample in &bits {
                    assert!(
                        right.contains(sample),
                        "{place}: {} has the wrong {sample:?}",
                        series.labels()
                    );
                }
                if !bits.is_empty() {
                    found.insert(series.labels().to_labels(), bits);
                }
            }
        }
    }
    Some(Answer {
        content: found,
        reported,
    })
}
