//! A reader behind the writer.

use super::tests::{append, body, disk, open, path};
use super::{Followed, Follower, Wal};
use crate::fs::{Fault, FaultKind, Fs, SimFs};

/// What a follower finds up to where it has caught up.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    bodies: Vec<Vec<u8>>,
    lost: Vec<(u64, u64)>,
}

fn follow(follower: &mut Follower, wal: &Wal) -> Found {
    let mut found = Found::default();
    let mut last = 0;
    loop {
        match follower.next(wal).unwrap() {
            Followed::CaughtUp => return found,
            Followed::Lost { first, last } => found.lost.push((first, last)),
            Followed::Frame { sequence, body, .. } => {
                assert!(sequence > last, "sequences ascend");
                last = sequence;
                if !body.is_empty() {
                    found.bodies.push(body.to_vec());
                }
            }
        }
    }
}

fn bodies(from: u64, to: u64) -> Vec<Vec<u8>> {
    (from..to).map(body).collect()
}

fn with_frames(fs: &SimFs, count: u64) -> Wal {
    let wal = open(fs).unwrap();
    for index in 0..count {
        append(&wal, &body(index)).unwrap();
    }
    wal.sync().unwrap();
    wal
}

#[test]
fn frames_are_followed_across_segments_as_they_become_durable() {
    let fs = disk();
    let wal = open(&fs).unwrap();
    let mut follower = Follower::new(&wal, 1);
    let mut all = Vec::new();
    for index in 0..100 {
        append(&wal, &body(index)).unwrap();
        assert_eq!(follower.next(&wal).unwrap(), Followed::CaughtUp);
        if index % 9 == 0 {
            wal.sync().unwrap();
            let found = follow(&mut follower, &wal);
            assert_eq!(found.lost, []);
            all.extend(found.bodies);
        }
    }
    assert_eq!(all, bodies(0, 100));
}

#[test]
fn following_goes_on_after_a_restart_from_any_frame() {
    let fs = disk();
    drop(with_frames(&fs, 60));
    let wal = open(&fs).unwrap();
    for from in 1..=61 {
        let mut follower = Follower::new(&wal, from);
        let found = follow(&mut follower, &wal);
        assert_eq!(found.lost, []);
        assert_eq!(found.bodies, bodies(from - 1, 60), "from {from}");
    }
}

#[test]
fn flipped_bit_costs_the_follower_that_frame_alone() {
    let fs = disk();
    let wal = with_frames(&fs, 40);
    for info in wal.segments() {
        for bit in (104 * 8..info.bytes * 8).step_by(5) {
            fs.flip_bit(&path(info.number), bit).unwrap();
            let found = follow(&mut Follower::new(&wal, 1), &wal);
            let lost: u64 = found
                .lost
                .iter()
                .map(|(first, last)| last - first + 1)
                .sum();
            assert_eq!(lost, 1, "bit {bit} of {}: {:?}", info.number, found.lost);
            let (first, _) = found.lost[0];
            let expected: Vec<_> = (0..40)
                .filter(|index| index + 1 != first)
                .map(body)
                .collect();
            assert_eq!(found.bodies, expected, "bit {bit} of {}", info.number);
            fs.flip_bit(&path(info.number), bit).unwrap();
        }
    }
}

#[test]
fn cut_and_missing_segments_are_reported_as_lost() {
    let fs = disk();
    let wal = with_frames(&fs, 60);
    let segments = wal.segments();
    let second = segments[1];
    let third = segments[2];
    let mut begun = Follower::new(&wal, 1);
    assert!(matches!(
        begun.next(&wal).unwrap(),
        Followed::Frame { sequence: 1, .. }
    ));
    wal.cut_before(third.number).unwrap();
    let found = follow(&mut Follower::new(&wal, 1), &wal);
    assert_eq!(found.lost, [(1, second.last_sequence)]);
    assert_eq!(found.bodies, bodies(second.last_sequence, 60));
    fs.remove_file(&path(third.number)).unwrap();
    let found = follow(&mut Follower::new(&wal, third.first_sequence), &wal);
    assert_eq!(found.lost, [(third.first_sequence, third.last_sequence)]);
    assert_eq!(found.bodies, bodies(third.last_sequence, 60));
}

#[test]
fn frames_written_again_after_a_failed_sync_are_followed_once() {
    let fs = disk();
    let wal = with_frames(&fs, 3);
    let mut follower = Follower::new(&wal, 1);
    assert_eq!(follow(&mut follower, &wal).bodies, bodies(0, 3));
    for index in 3..6 {
        append(&wal, &body(index)).unwrap();
    }
    fs.fail_nth(fs.operations(), Fault::once(FaultKind::LostSync));
    wal.sync().unwrap();
    assert_eq!(wal.stats().frames_rewritten, 3, "the sync failed");
    append(&wal, &body(6)).unwrap();
    wal.sync().unwrap();
    let found = follow(&mut follower, &wal);
    assert_eq!((found.bodies, found.lost), (bodies(3, 7), vec![]));
    let found = follow(&mut Follower::new(&wal, wal.decodable_from(5)), &wal);
    assert!(found.bodies.ends_with(&bodies(4, 7)) && found.lost.is_empty());
}
