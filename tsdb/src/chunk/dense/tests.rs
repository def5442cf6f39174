use proptest::prelude::*;

use crate::chunk::fixtures::{
    AWKWARD_BITS, assert_golden, awkward_value, bits, each_bit_flip, each_truncation, example,
    series_values,
};
use crate::sample::stale_marker;

use super::*;

fn encode(values: &[f64]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new().encode(values, &mut out);
    out
}

fn decode_bits(bytes: &[u8], count: usize) -> Vec<u64> {
    let mut out = Vec::new();
    decode(bytes, count, &mut out).unwrap();
    bits(&out)
}

fn assert_round_trip(values: &[f64]) -> Vec<u8> {
    let bytes = encode(values);
    assert_eq!(decode_bits(&bytes, values.len()), bits(values));
    bytes
}

fn with_stale(mut values: Vec<f64>, positions: &[usize]) -> Vec<f64> {
    for &position in positions {
        values[position] = stale_marker();
    }
    values
}

/// One chunk of each form.
fn forms() -> [(&'static str, Vec<f64>); 8] {
    let counter: Vec<f64> = (0..300)
        .map(|index| (1_000 + index * 16 + index % 7) as f64)
        .collect();
    let seconds: Vec<f64> = (0..300)
        .map(|index| f64::from(index * index % 977) / 1_000.0)
        .collect();
    let sums: Vec<f64> = (0..300)
        .scan(33.0, |sum, index| {
            *sum += 0.01 * f64::from(index % 5);
            Some(*sum)
        })
        .collect();
    let noise: Vec<f64> = (0..300).map(|index| f64::from(index).sin().exp()).collect();
    [
        ("constant-integer", vec![-42.0; 300]),
        ("constant-bits", vec![0.1; 300]),
        ("integers", counter.clone()),
        (
            "integers-exceptions",
            with_stale(counter, &[0, 1, 150, 299]),
        ),
        ("decimal", seconds),
        ("corrected", sums.clone()),
        ("corrected-exceptions", with_stale(sums, &[7])),
        ("bit-patterns-exceptions", with_stale(noise, &[7])),
    ]
}

#[test]
fn example_of_the_format_is_what_we_read_and_write() {
    let values = [1.5, 1.75, stale_marker(), 2.0, 2.25];
    let bytes = example(include_str!("FORMAT.md"));
    assert_eq!(encode(&values), bytes);
    assert_eq!(decode_bits(&bytes, values.len()), bits(&values));
}

#[test]
fn golden_chunk_of_each_form_is_what_we_read_and_write() {
    for (name, values) in forms() {
        let bytes = assert_round_trip(&values);
        assert_golden(&format!("dense-{name}.bin"), &bytes);
    }
}

#[test]
fn each_form_is_chosen_where_it_is_meant_to_be() {
    let tags = forms().map(|(_, values)| encode(&values)[0]);
    assert_eq!(tags[0], CONSTANT_INTEGER);
    assert_eq!(tags[1], CONSTANT_BITS);
    assert_eq!(tags[2], DECIMAL);
    assert_eq!(tags[3], DECIMAL | DECIMAL_WITH_EXCEPTIONS);
    assert_eq!(tags[4], DECIMAL | 3);
    assert_eq!(tags[5], DECIMAL | DECIMAL_CORRECTED | 2);
    assert_eq!(
        tags[6],
        DECIMAL | DECIMAL_CORRECTED | DECIMAL_WITH_EXCEPTIONS | 2
    );
    assert_eq!(tags[7], BIT_PATTERNS_WITH_EXCEPTIONS);
}

#[test]
fn no_values_are_no_bytes() {
    assert!(assert_round_trip(&[]).is_empty());
    assert!(decode(&[1, 0], 0, &mut Vec::new()).is_err());
}

#[test]
fn awkward_values_come_back_alone_in_pairs_and_among_others() {
    for bits in AWKWARD_BITS {
        let value = f64::from_bits(bits);
        assert_round_trip(&[value]);
        assert_round_trip(&[value; 200]);
        for other in AWKWARD_BITS.map(f64::from_bits) {
            assert_round_trip(&[value, other]);
            assert_round_trip(&[value, value, other, value, other, other]);
        }
        for position in [0, 1, 99, 100, 199] {
            for mut values in [
                vec![7.0; 200],
                (0..200).map(f64::from).collect(),
                (0..200).map(|index| f64::from(index).cos()).collect(),
            ] {
                values[position] = value;
                assert_round_trip(&values);
            }
        }
    }
}

#[test]
fn chunk_longer_than_the_usual_limit_comes_back() {
    let values: Vec<f64> = (0..10_000)
        .map(|index| f64::from(index % 37) / 8.0)
        .collect();
    assert_round_trip(&values);
}

#[test]
fn encoder_appends_and_carries_nothing_over() {
    let mut encoder = Encoder::new();
    for (_, values) in forms().iter().chain(&forms()) {
        let mut out = vec![0xaa];
        encoder.encode(values, &mut out);
        assert_eq!(out[1..], encode(values));
    }
}

#[test]
fn sums_of_decimals_take_little_more_than_decimals() {
    let (_, sums) = &forms()[5];
    let rounded: Vec<f64> = sums
        .iter()
        .map(|sum| (sum * 100.0).round() / 100.0)
        .collect();
    assert!(encode(sums).len() < encode(&rounded).len() + sums.len() * 5 / 8);
}

#[test]
fn every_truncation_is_noticed_and_leaves_the_output_alone() {
    for (name, values) in forms() {
        each_truncation(&encode(&values), |cut| {
            let mut out = vec![1.0];
            assert!(
                decode(cut, values.len(), &mut out).is_err(),
                "{name} cut to {}",
                cut.len()
            );
            assert_eq!(out, [1.0]);
        });
    }
}

#[test]
fn no_flipped_bit_leads_to_a_panic_or_another_count() {
    for (_, values) in forms() {
        each_bit_flip(&encode(&values), |damaged| {
            let mut out = Vec::new();
            match decode(damaged, values.len(), &mut out) {
                Ok(()) => assert_eq!(out.len(), values.len()),
                Err(_) => assert!(out.is_empty()),
            }
        });
    }
}

#[test]
fn reserved_tags_and_surplus_bytes_are_refused() {
    for tag in (0..=u8::MAX).filter(|tag| !matches!(tag, 1..=4 | 0x40..=0x7f)) {
        assert!(decode(&[tag, 0, 0, 0, 0, 0, 0, 0, 0], 3, &mut Vec::new()).is_err());
    }
    assert!(decode(&[CONSTANT_INTEGER, 0, 0], 3, &mut Vec::new()).is_err());
}

#[test]
fn exceptions_out_of_place_are_refused() {
    let chunk =
        |exceptions: &[u8]| [&[DECIMAL | DECIMAL_WITH_EXCEPTIONS, 1, 0][..], exceptions].concat();
    assert_eq!(decode_bits(&chunk(&[1, 4]), 3)[2], stale_marker().to_bits());
    for exceptions in [
        &[0][..],
        &[1, 6],
        &[2, 4, 0],
        &[4, 0, 0, 0, 0],
        &[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
    ] {
        assert!(
            decode(&chunk(exceptions), 3, &mut Vec::new()).is_err(),
            "{exceptions:?}"
        );
    }
}

proptest! {
    #[test]
    fn values_of_series_come_back(values in series_values(700)) {
        assert_round_trip(&values);
    }

    #[test]
    fn any_bit_patterns_come_back(
        values in prop_oneof![
            prop::collection::vec(any::<u64>().prop_map(f64::from_bits), 0..300),
            prop::collection::vec(awkward_value(), 0..300),
        ],
    ) {
        assert_round_trip(&values);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0usize..300) {
        let mut out = Vec::new();
        match decode(&bytes, count, &mut out) {
            Ok(()) => prop_assert_eq!(out.len(), count),
            Err(_) => prop_assert!(out.is_empty()),
        }
    }
}
