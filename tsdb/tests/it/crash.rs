//! The power goes before each operation of the disk, and everything a disk may then have kept is recovered from.

use std::collections::HashSet;

use crate::support::{T0, World};
use crate::workload::{Content, Progress, STEPS, content, open, step};

/// States drawn at random at each moment, besides those that have names.
const SEEDS: u64 = 1;

/// One in so many states is crashed once more, while it recovers.
const SECOND_ORDER: usize = 97;

/// What has to be there from an operation of the disk on: the first state and the last that are right.
struct Moment {
    operations: usize,
    acknowledged: usize,
}

#[test]
fn every_crash_leaves_a_prefix_of_the_commits() {
    let world = World::new();
    let mut progress = Progress {
        states: vec![Content::new()],
    };
    let db = open(&world).unwrap();
    let mut moments = vec![Moment {
        operations: 0,
        acknowledged: 0,
    }];
    for number in 0..STEPS {
        world.clock.set(T0 + number as i64 * 30_000);
        step(&db, number, &mut progress).unwrap();
        moments.push(Moment {
            operations: world.fs.operations(),
            acknowledged: number + 1,
        });
    }
    let mut seen = HashSet::new();
    let (mut states, mut second) = (0, 0);
    for number in 0..=world.fs.operations() {
        let acknowledged = moments
            .iter()
            .rev()
            .find(|moment| moment.operations <= number)
            .map_or(0, |moment| moment.acknowledged);
        let right = &progress.states[acknowledged..(acknowledged + 2).min(progress.states.len())];
        for (choice, fs) in world.fs.crash_states(number, SEEDS) {
            if !seen.insert((fs.digest(), acknowledged)) {
                continue;
            }
            states += 1;
            let before = fs.operations();
            let left = World::on(fs);
            left.clock.set(T0 + STEPS as i64 * 30_000);
            check(&left, right, &format!("{choice:?} at {number}"));
            if states % SECOND_ORDER != 0 {
                continue;
            }
            for again in before..=left.fs.operations() {
                for (choice, fs) in left.fs.crash_states(again, 0) {
                    if seen.insert((fs.digest(), acknowledged)) {
                        second += 1;
                        let left = World::on(fs);
                        left.clock.set(T0 + STEPS as i64 * 30_000);
                        check(
                            &left,
                            right,
                            &format!("{choice:?} at {again} of a recovery from {number}"),
                        );
                    }
                }
            }
        }
    }
    println!("{states} states after a crash, {second} after a crash of the recovery");
    assert!(states > 500);
}

fn check(left: &World, right: &[Content], moment: &str) {
    let db = open(left).unwrap_or_else(|error| panic!("{moment}: {error}"));
    let damaged = db.stats().damaged_units;
    assert_eq!(damaged, 0, "{moment}: a crash is no damage");
    let found = content(&db);
    if !right.contains(&found) {
        let missing: Vec<_> = right[0]
            .iter()
            .filter(|(name, samples)| found.get(name) != Some(samples))
            .map(|(name, samples)| (name, samples.len(), found.get(name).map(Vec::len)))
            .collect();
        panic!(
            "{moment}: not what was committed: {missing:?}, {} series found",
            found.len()
        );
    }
}
