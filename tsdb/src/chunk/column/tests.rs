use proptest::prelude::*;

use crate::chunk::fixtures::{assert_golden, each_bit_flip, each_truncation, example};
use crate::encoding::Malformed;

use super::*;

fn encoded(timestamps: &[i64]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(timestamps, &mut out);
    out
}

fn decoded(bytes: &[u8], count_max: usize) -> Result<Vec<i64>, Malformed> {
    let mut out = Vec::new();
    decode(bytes, count_max, &mut out).map(|()| out)
}

fn assert_round_trip(timestamps: &[i64]) -> Vec<u8> {
    let bytes = encoded(timestamps);
    assert_eq!(decoded(&bytes, timestamps.len()).as_deref(), Ok(timestamps));
    bytes
}

/// 480 scrapes on a grid of 15 s, every tenth off by up to 5 ms, one missed.
fn scrapes() -> Vec<i64> {
    (0..480)
        .map(|index: i64| {
            let off = if index % 10 == 3 {
                index * 7 % 11 - 5
            } else {
                0
            };
            1_700_000_000_123 + index * 15_000 + off + if index >= 200 { 15_000 } else { 0 }
        })
        .collect()
}

fn timestamps() -> impl Strategy<Value = Vec<i64>> {
    let step = prop_oneof![
        20 => Just(15_000u64),
        4 => 14_990u64..15_010,
        1 => Just(30_000u64),
        1 => 1u64..1 << 40,
    ];
    (any::<i64>(), prop::collection::vec(step, 0..500)).prop_map(|(start, steps)| {
        steps
            .into_iter()
            .scan(start, |at, step| {
                *at = at.checked_add_unsigned(step)?;
                Some(*at)
            })
            .collect()
    })
}

#[test]
fn example_of_the_format_is_what_we_read_and_write() {
    let timestamps = [
        1_000, 16_000, 31_002, 61_000, 76_000, 91_003, 106_000, 121_000,
    ];
    let bytes = example(include_str!("FORMAT.md"));
    assert_eq!(encoded(&timestamps), bytes);
    assert_eq!(decoded(&bytes, 8).as_deref(), Ok(&timestamps[..]));
}

#[test]
fn golden_columns_are_what_we_read_and_write() {
    assert_golden("column-grid.bin", &assert_round_trip(&scrapes()));
    let irregular: Vec<i64> = (0..300)
        .map(|index| index * 977 + index * index % 499)
        .collect();
    let bytes = assert_round_trip(&irregular);
    assert_eq!(bytes[0], IRREGULAR);
    assert_golden("column-irregular.bin", &bytes);
}

#[test]
fn exact_grid_takes_a_dozen_bytes() {
    let timestamps: Vec<i64> = (0..2_048)
        .map(|index| 1_700_000_000_000 + index * 15_000)
        .collect();
    assert!(assert_round_trip(&timestamps).len() <= 14);
}

#[test]
fn time_off_the_grid_takes_two_bytes() {
    let off = scrapes().len() / 10;
    assert!(assert_round_trip(&scrapes()).len() <= 16 + 4 * 3 + off * 2);
}

#[test]
fn grid_that_moves_costs_bytes_only_where_it_moves() {
    let timestamps: Vec<i64> = (0..400)
        .map(|index| index * 15_000 + index / 100 * 3)
        .collect();
    assert!(assert_round_trip(&timestamps).len() <= 12 + 3 * 3);
}

#[test]
fn first_time_may_be_the_one_that_is_off() {
    let timestamps: Vec<i64> = (0..100)
        .map(|index| if index == 0 { 4 } else { index * 15_000 })
        .collect();
    assert!(assert_round_trip(&timestamps).len() <= 12);
}

#[test]
fn short_columns_and_the_ends_of_time_come_back() {
    assert!(assert_round_trip(&[]).is_empty());
    assert_round_trip(&[0]);
    assert_round_trip(&[i64::MIN]);
    assert_round_trip(&[i64::MIN, i64::MAX]);
    assert_round_trip(&[i64::MIN, -1, 0, i64::MAX]);
}

#[test]
fn column_longer_than_expected_is_refused_before_memory_is_taken() {
    let bytes = encoded(&scrapes());
    let mut out = Vec::new();
    assert!(decode(&bytes, 479, &mut out).is_err());
    assert_eq!(out.capacity(), 0);
}

#[test]
fn times_that_do_not_ascend_are_refused() {
    // A grid with distance 0.
    assert!(decoded(&[GRID, 2, 0, 0, 0, 1, 0], 9).is_err());
    assert_eq!(decoded(&[GRID, 2, 0, 1, 0, 1, 0], 9), Ok(vec![0, 1]));
}

#[test]
fn shifts_out_of_place_and_surplus_bytes_are_refused() {
    assert_eq!(
        decoded(&[GRID, 3, 0, 1, 2, 0, 2, 1, 2, 1, 0], 9),
        Ok(vec![1, 2, 4])
    );
    assert!(decoded(&[GRID, 3, 0, 1, 2, 0, 2, 2, 2, 1, 0], 9).is_err());
    assert!(decoded(&[GRID, 3, 0, 1, 1, 3, 2, 1, 0], 9).is_err());
    assert!(decoded(&[GRID, 3, 0, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0], 9).is_err());
    assert!(decoded(&[GRID, 2, 0, 1, 0, 1, 0, 0], 9).is_err());
    assert!(decoded(&[GRID, 0, 0, 1, 0, 1, 0], 9).is_err());
    assert!(decoded(&[0, 2, 0, 1, 0, 1, 0], 9).is_err());
    assert!(decoded(&[3, 2, 0, 1, 0, 1, 0], 9).is_err());
}

#[test]
fn every_truncation_is_noticed_and_leaves_the_output_alone() {
    let irregular: Vec<i64> = (0..300)
        .map(|index| index * 977 + index * index % 499)
        .collect();
    for timestamps in [scrapes(), irregular] {
        let bytes = encoded(&timestamps);
        each_truncation(&bytes[..], |cut| {
            let mut out = vec![7];
            // No bytes are no times.
            assert!(cut.is_empty() || decode(cut, 1_000, &mut out).is_err());
            assert_eq!(out, [7]);
        });
        each_bit_flip(&bytes, |damaged| {
            if let Ok(decoded) = decoded(damaged, 1_000) {
                assert!(decoded.is_sorted());
            }
        });
    }
}

proptest! {
    #[test]
    fn times_come_back(timestamps in timestamps()) {
        assert_round_trip(&timestamps);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(timestamps) = decoded(&bytes, 500) {
            prop_assert!(timestamps.len() <= 500);
            prop_assert!(timestamps.is_sorted());
        }
    }
}
