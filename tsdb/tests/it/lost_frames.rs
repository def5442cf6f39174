//! Frames of the log are lost while the layouts of groups change: what is left is never given to another series.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use tsdb::fs::CrashChoice;
use tsdb::{Db, Labels, Target};

use crate::support::{DIR, Draw, T0, World, labels, read, seeds};

fn name(number: u64) -> Labels {
    labels(&format!("metric{{pod=\"{number}\"}}"))
}

/// A scrape is a list of series with their values.
type Scrape = Vec<(u64, f64)>;

/// A database whose commits are known by where their frames lie in the log.
struct Logged {
    world: World,
    db: Db,
    target: Target,
    step: i64,
    segment_bytes: u64,
    /// The file of the log and the byte in the middle of each frame.
    frames: Vec<(PathBuf, u64)>,
    /// Those that are damaged: a bit that turns over twice is as it was.
    lost: BTreeSet<usize>,
    committed: BTreeMap<Labels, BTreeMap<i64, u64>>,
}

impl Logged {
    fn new(segment_bytes: u64) -> Self {
        let world = World::new();
        let db = open(&world, segment_bytes);
        Self {
            target: db.target(),
            world,
            db,
            step: 0,
            segment_bytes,
            frames: Vec::new(),
            lost: BTreeSet::new(),
            committed: BTreeMap::new(),
        }
    }

    fn log_file(&self) -> (PathBuf, u64) {
        let mut files = self.world.fs.files().into_iter();
        let last = files.rfind(|(path, _)| path.starts_with("/db/log"));
        last.unwrap()
    }

    /// Commits a scrape, and tells its number among the frames.
    fn commit(&mut self, scrape: &Scrape) -> usize {
        let timestamp = T0 + self.step * 15_000;
        self.step += 1;
        self.world.clock.set(timestamp);
        let (file, before) = self.log_file();
        let mut appender = self.db.appender().unwrap();
        appender.set_target(&self.target);
        for &(number, value) in scrape {
            appender.append(&name(number), timestamp, value).unwrap();
            let known = self.committed.entry(name(number)).or_default();
            known.insert(timestamp, value.to_bits());
        }
        assert_eq!(appender.commit().unwrap().rejected, []);
        drop(appender);
        let (path, behind) = self.log_file();
        let start = if path == file { before } else { 0 };
        // Close behind the header of the frame or the segment, and before the end of the frame.
        self.frames.push((path, behind - (behind - start) / 4));
        self.frames.len() - 1
    }

    /// Returns what is on the disk, as another database.
    fn fork(&self) -> Self {
        self.db.sync().unwrap();
        let world = World::on(self.world.fs.crash(CrashChoice::All));
        world.clock.set(T0 + self.step * 15_000);
        let db = open(&world, self.segment_bytes);
        Self {
            target: db.target(),
            world,
            db,
            step: self.step,
            segment_bytes: self.segment_bytes,
            frames: self.frames.clone(),
            lost: self.lost.clone(),
            committed: self.committed.clone(),
        }
    }

    /// Ends the process, damages frames, and opens again.
    fn reopen(&mut self, lost: &[usize]) {
        self.db.sync().unwrap();
        // The first sync leaves a mark, the second makes it durable.
        self.db.step(tsdb::Task::Sync).unwrap();
        self.db.step(tsdb::Task::Sync).unwrap();
        let world = World::on(self.world.fs.crash(CrashChoice::None));
        world.clock.set(T0 + self.step * 15_000);
        for &frame in lost {
            if !self.lost.insert(frame) {
                continue;
            }
            let (path, byte) = &self.frames[frame];
            if world
                .fs
                .files()
                .iter()
                .any(|(known, len)| known == path && byte < len)
            {
                world.fs.flip_bit(path, byte * 8 + 3).unwrap();
            }
        }
        self.db = open(&world, self.segment_bytes);
        self.target = self.db.target();
        self.world = world;
    }

    /// Checks that nothing is there that was not committed, and returns how many samples are.
    fn check(&self, place: &str) -> usize {
        let mut count = 0;
        for (labels, samples) in read(&self.db, "metric") {
            for (timestamp, bits) in samples {
                let known = self.committed[&labels].get(&timestamp);
                assert_eq!(
                    known.map(|&bits| f64::from_bits(bits)),
                    Some(f64::from_bits(bits)),
                    "{place}: {labels} at step {}",
                    (timestamp - T0) / 15_000
                );
                count += 1;
            }
        }
        count
    }
}

fn open(world: &World, segment_bytes: u64) -> Db {
    let options = world.options().with_segment_bytes(segment_bytes);
    Db::open(DIR, options).unwrap()
}

/// Series 20 joins with a row that is lost and series 21 with the next one; then 20 leaves, and the new layout is what it would
/// be if only 21 had joined.
#[test]
fn rows_behind_a_lost_joining_row_are_not_read_under_a_later_layout() {
    let mut logged = Logged::new(1 << 20);
    let scrape = |joined: &[(u64, f64)]| -> Scrape {
        let stable = (0..20).map(|number| (number, number as f64));
        stable.chain(joined.iter().copied()).collect()
    };
    for _ in 0..4 {
        logged.commit(&scrape(&[]));
    }
    let lost = logged.commit(&scrape(&[(20, 1.0)]));
    logged.commit(&scrape(&[(20, 1.0), (21, 5.0)]));
    for step in 0..4 {
        logged.commit(&scrape(&[(20, f64::from(step * 7)), (21, 5.0)]));
    }
    for _ in 0..100 {
        logged.commit(&scrape(&[(21, 5.0)]));
    }
    logged.reopen(&[lost]);
    logged.check("a joining row lost");
}

/// A base tells the layout of the rows before it, whoever joined with a row that is lost.
#[test]
fn rows_behind_a_lost_joining_row_come_back_with_the_next_base() {
    let mut logged = Logged::new(1 << 20);
    let scrape = |members: u64, step: u64| -> Scrape {
        let members = 0..members;
        members
            .map(|number| (number, (number * 1000 + step * number) as f64))
            .collect()
    };
    for step in 0..4 {
        logged.commit(&scrape(20, step));
    }
    let lost = logged.commit(&scrape(21, 4));
    for step in 5..10 {
        logged.commit(&scrape(20 + step / 7, step));
    }
    logged.reopen(&[]);
    logged.commit(&scrape(21, 10));
    logged.reopen(&[lost]);
    // Without its definition nobody finds the series that joined with it.
    assert_eq!(logged.check("a joining row lost"), 10 * 20);
}

/// Two series change places in the scrapes, and later back: the layout before the gap is that of the base behind it, but not that of
/// the rows between them.
#[test]
fn rows_of_a_lost_layout_are_not_read_under_one_that_comes_back() {
    let mut logged = Logged::new(1 << 20);
    let (mut places, mut frames) = ([0, 1], Vec::new());
    for row in 0..80_u64 {
        // The order of the scrape before a seal becomes the layout, as so many are absent that it pays.
        if row == 31 || row == 63 {
            places.swap(0, 1);
        }
        let stable = if (4..16).contains(&(row % 32)) {
            2..16
        } else {
            2..20
        };
        let moving = places.map(|number| (number, (number * 1000 + row % 7 * (number + 3)) as f64));
        let rest = stable.map(|number| (number, number as f64));
        frames.push(logged.commit(&moving.into_iter().chain(rest).collect()));
    }
    for lost in frames {
        let mut damaged = logged.fork();
        damaged.reopen(&[lost]);
        damaged.check(&format!("row {lost} lost"));
    }
}

/// What follows the last row that is known is lost, so the next life goes on from there.
#[test]
fn rows_of_two_lives_are_not_taken_for_one_chain() {
    let mut logged = Logged::new(1 << 20);
    let scrape = |step: u64| {
        (0..20)
            .map(|number| (number, (step * number) as f64))
            .collect()
    };
    let first: Vec<usize> = (1..12).map(|step| logged.commit(&scrape(step))).collect();
    logged.reopen(&first[8..9]);
    assert_eq!(logged.check("first life"), 8 * 20);
    for step in 20..24 {
        logged.commit(&scrape(step));
    }
    for from in 0..8 {
        for to in 9..12 {
            let mut damaged = logged.fork();
            damaged.reopen(&[&first[from..7], &first[to..]].concat());
            damaged.check(&format!("rows {from} to 7 and from {to} lost"));
        }
    }
}

/// The frame that names a series is lost, but the bases behind it have its id.
#[test]
fn id_whose_definition_is_lost_is_not_given_to_another_series() {
    let mut logged = Logged::new(4096);
    let scrape = |step: u64, joined: u64| -> Scrape {
        let members = (0..20).chain((joined > 0).then_some(joined));
        members
            .map(|number| (number, (number * 1000 + step * number % 77) as f64))
            .collect()
    };
    (0..4).for_each(|step| {
        logged.commit(&scrape(step, 0));
    });
    let lost = logged.commit(&scrape(4, 20));
    (5..200).for_each(|step| {
        logged.commit(&scrape(step, 20));
    });
    logged.reopen(&[lost]);
    logged.check("the definition is lost");
    (200..204).for_each(|step| {
        logged.commit(&scrape(step, 21));
    });
    logged.reopen(&[]);
    logged.check("another series has come");
    let found = read(&logged.db, "metric{pod=\"21\"}");
    assert_eq!(found.first().map(|(_, samples)| samples.len()), Some(4));
}

/// Some of two sets of series, which a target has in turns: layouts come back.
#[test]
fn lives_with_lost_frames_invent_nothing() {
    let mut kept = 0;
    for seed in seeds("TSDB_LOST", 40) {
        let mut draw = Draw(seed);
        let mut logged = Logged::new(4096 << (seed % 4 * 2));
        let stable = 2 + draw.below(8);
        let mut others: Vec<u64> = Vec::new();
        for round in 0..3 {
            let first = logged.frames.len();
            for _ in 0..40 + draw.below(80) {
                match draw.below(12) {
                    0 => others.push(100 + draw.below(8)),
                    1 if !others.is_empty() => {
                        others.remove(draw.below(others.len() as u64) as usize);
                    }
                    2 => others.clear(),
                    3 if draw.below(4) == 0 => logged.db.checkpoint().unwrap(),
                    _ => {}
                }
                others.sort_unstable();
                others.dedup();
                let of = |number: u64, draw: &mut Draw| {
                    let step = if draw.below(3) == 0 {
                        draw.below(40)
                    } else {
                        0
                    };
                    (number, (number * 1000 + step) as f64)
                };
                let mut scrape: Scrape = (0..stable).map(|number| of(number, &mut draw)).collect();
                scrape.extend(others.iter().map(|&number| of(number, &mut draw)));
                logged.commit(&scrape);
            }
            let count = logged.frames.len() - first;
            let mut lost = Vec::new();
            for _ in 0..1 + draw.below(4) {
                let at = first + draw.below(count as u64) as usize;
                lost.extend(at..(at + 1 + draw.below(30) as usize).min(logged.frames.len()));
            }
            if round > 0 {
                lost.push(draw.below(first as u64) as usize);
            }
            logged.reopen(&lost);
            kept += logged.check(&format!("seed {seed}, round {round}"));
        }
    }
    println!("{kept} samples kept");
}
