//! Series come and go between the scrapes of a target: whichever way a commit takes, the samples are the same.

use std::collections::BTreeMap;

use tsdb::{Db, Labels, Rejection, Target, stale_marker};

use crate::support::{Draw, T0, World, labels, read};

/// A sample of a commit.
type Staged = (Labels, i64, f64);

fn commit(db: &Db, target: &Target, samples: &[Staged]) -> Vec<(usize, Rejection)> {
    let mut appender = db.appender().unwrap();
    appender.set_target(target);
    for (labels, timestamp, value) in samples {
        appender.append(labels, *timestamp, *value).unwrap();
    }
    appender.commit().unwrap().rejected
}

fn name(number: u64) -> Labels {
    labels(&format!("metric{{pod=\"{number}\"}}"))
}

/// A target whose members change.
struct Scraped {
    draw: Draw,
    members: Vec<u64>,
    gone: Vec<u64>,
    next: u64,
}

impl Scraped {
    fn new(seed: u64) -> Self {
        let mut draw = Draw(seed);
        let count = 3 + draw.below(60);
        Self {
            draw,
            members: (0..count).collect(),
            gone: Vec::new(),
            next: count,
        }
    }

    /// Changes some members and returns the next scrape.
    fn scrape(&mut self, timestamp: i64) -> Vec<Staged> {
        let mut stale = Vec::new();
        for _ in 0..self.draw.below(4) {
            let at = self.draw.below(self.members.len() as u64) as usize;
            match self.draw.below(12) {
                0..5 => {
                    let gone = std::mem::replace(&mut self.members[at], self.next);
                    self.next += 1;
                    self.gone.push(gone);
                    stale.push(gone);
                }
                5 => {
                    self.members.insert(at, self.next);
                    self.next += 1;
                }
                6 if self.members.len() > 3 => self.gone.push(self.members.remove(at)),
                7 => self.members.extend(self.gone.pop()),
                8 => self.members.rotate_left(at),
                9 => self.members.swap(0, at),
                10 if self.draw.below(10) == 0 => {
                    let fresh = self.next..self.next + self.members.len() as u64;
                    self.next = fresh.end;
                    self.gone.append(&mut self.members);
                    self.members.extend(fresh);
                }
                _ => {}
            }
        }
        let absent = self.draw.below(40) as usize;
        let present = self.members.iter().enumerate();
        let present = present.filter(|(at, _)| *at != absent || self.members.len() < 4);
        let mut samples: Vec<Staged> = present
            .map(|(_, &number)| (number, timestamp, self.draw.below(3) as f64 / 4.0))
            .map(|(number, timestamp, value)| (name(number), timestamp, value + number as f64))
            .collect();
        if self.draw.below(2) == 0 {
            let stale = stale
                .into_iter()
                .filter(|number| !self.members.contains(number));
            samples.extend(stale.map(|number| (name(number), timestamp, stale_marker())));
        }
        samples
    }
}

type Content = BTreeMap<Labels, Vec<(i64, u64)>>;

fn content(db: &Db) -> Content {
    read(db, "metric").into_iter().collect()
}

#[test]
fn scrape_of_changing_members_is_the_same_whichever_way_it_goes() {
    let (mut rows_grew, mut steps) = (0, 0);
    for seed in 0..30 {
        let worlds = [World::new(), World::new()];
        let mut open: Vec<(Db, Target)> = worlds
            .iter()
            .map(|world| {
                let db = world.open();
                let target = db.target();
                (db, target)
            })
            .collect();
        let mut scraped = Scraped::new(seed);
        let mut expected = Content::new();
        let mut latest = Vec::new();
        for step in 0..150_i64 {
            let now = T0 + step * 15_000;
            worlds.iter().for_each(|world| world.clock.set(now));
            match scraped.draw.below(40) {
                0 => open.iter().for_each(|(db, _)| db.checkpoint().unwrap()),
                1 => {
                    open.clear();
                    for world in &worlds {
                        let db = world.open();
                        let target = db.target();
                        open.push((db, target));
                    }
                }
                2 => {
                    for (db, _) in &open {
                        assert!(!db.flush().unwrap().is_waiting_for_readers);
                    }
                }
                3 => {
                    // What was sent before is there already, except that something else may be in between.
                    let again = |(db, target): &(Db, Target)| commit(db, target, &latest);
                    assert_eq!(again(&open[0]), again(&open[1]), "seed {seed}, step {step}");
                }
                _ => {}
            }
            let samples = scraped.scrape(now);
            for (labels, timestamp, value) in &samples {
                let known = expected.entry(labels.clone()).or_default();
                known.push((*timestamp, value.to_bits()));
            }
            let before = open[0].0.stats().samples_alone;
            assert_eq!(commit(&open[0].0, &open[0].1, &samples), []);
            rows_grew += u64::from(open[0].0.stats().samples_alone == before);
            // A sample with a time of its own: this commit is no scrape, and each of its samples is judged by itself.
            let mut mixed = samples.clone();
            mixed.insert(0, (labels("other"), now - 1, step as f64));
            assert_eq!(commit(&open[1].0, &open[1].1, &mixed), []);
            latest = samples;
            steps += 1;
            if step % 10 == 9 {
                for (at, (db, _)) in open.iter().enumerate() {
                    assert!(
                        content(db) == expected,
                        "seed {seed}, step {step}, way {at}"
                    );
                }
            }
        }
    }
    assert!(
        rows_grew * 10 > steps * 8,
        "{rows_grew} of {steps} commits were rows"
    );
}

#[test]
fn series_that_join_a_target_are_in_its_rows_at_once() {
    let world = World::new();
    let db = world.open();
    let target = db.target();
    let scrape = |step: i64| -> Vec<Staged> {
        let numbers = (0..100).map(|number| {
            if number == 50 {
                1000 + step as u64
            } else {
                number
            }
        });
        let timestamp = T0 + step * 15_000;
        numbers
            .map(|number| (name(number), timestamp, step as f64))
            .collect()
    };
    for step in 0..200 {
        world.clock.set(T0 + step * 15_000);
        assert_eq!(commit(&db, &target, &scrape(step)), []);
        if step % 20 == 0 {
            db.checkpoint().unwrap();
        }
        let querier = db.querier(tsdb::TimeRange::ALL).unwrap();
        let count = querier.select(&[]).unwrap().count();
        assert_eq!(count as i64, 100 + step);
    }
    assert_eq!(db.stats().samples_alone, 0);
    let all = content(&db);
    assert_eq!(all[&name(0)].len(), 200);
    assert_eq!(all[&name(1100)], [(T0 + 100 * 15_000, 100f64.to_bits())]);
    drop(db);
    let db = world.open();
    assert!(content(&db) == all);
    db.flush().unwrap();
    assert!(content(&db) == all);
}

#[test]
fn reader_from_before_a_series_joined_sees_nothing_of_it() {
    let world = World::new();
    let db = world.open();
    let target = db.target();
    let scrape = |members: std::ops::Range<u64>, timestamp: i64| {
        let samples: Vec<Staged> = members
            .map(|number| (name(number), timestamp, 1.5))
            .collect();
        assert_eq!(commit(&db, &target, &samples), []);
    };
    scrape(0..20, T0);
    scrape(0..20, T0 + 1000);
    let before = db.querier(tsdb::TimeRange::ALL).unwrap();
    scrape(1..23, T0 + 2000);
    assert_eq!(before.select(&[]).unwrap().count(), 20);
    db.checkpoint().unwrap();
    assert_eq!(
        before.select(&[]).unwrap().count(),
        20,
        "the rows are sealed"
    );
    let after = db.querier(tsdb::TimeRange::ALL).unwrap();
    assert_eq!(after.select(&[]).unwrap().count(), 23);
}
