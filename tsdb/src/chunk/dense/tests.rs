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

/// Chunks that are alike, each encoded and related to those before it.
fn related(chunks: &[Vec<f64>]) -> Vec<(Vec<u8>, Option<u64>)> {
    let (mut encoder, mut bases) = (Encoder::new(), Bases::new());
    (0..)
        .zip(chunks)
        .map(|(place, values)| {
            let mut chunk = Vec::new();
            encoder.encode(values, &mut chunk);
            let base = encoder.relate(&mut bases, 7, place, &mut chunk);
            (chunk, base)
        })
        .collect()
}

/// Bytes ever allocated, those in use, those not in use, and a part of the first with a sum's rounding.
fn alike() -> [Vec<f64>; 4] {
    let total: Vec<f64> = (1..300)
        .scan(0.0, |sum, index: u64| {
            *sum += (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50) as f64;
            Some(*sum)
        })
        .collect();
    let in_use = (0..)
        .zip(&total)
        .map(|(index, sum)| sum - f64::from(index / 40) * 9_000.0);
    let unused = (0..)
        .zip(&total)
        .map(|(index, sum)| 1e8 - sum + f64::from(index / 90));
    let scaled = total
        .iter()
        .map(|sum| f64::from_bits((sum / 1e3).to_bits() + 1));
    [
        total.clone(),
        in_use.collect(),
        unused.collect(),
        with_stale(scaled.collect(), &[3, 200]),
    ]
}

#[test]
fn chunks_that_move_alike_become_differences_and_come_back() {
    let values = alike();
    let chunks = related(&values);
    for (index, ((chunk, base), values)) in chunks.iter().zip(&values).enumerate() {
        assert_eq!(*base, (index > 0).then_some(0), "chunk {index}");
        assert_eq!(is_difference(chunk), index > 0);
        let mut out = vec![1.0];
        if index == 0 {
            decode(chunk, values.len(), &mut out).unwrap();
        } else {
            assert!(chunk.len() < encode(values).len() * 3 / 4);
            decode_difference(chunk, &chunks[0].0, values.len(), &mut out).unwrap();
        }
        assert_eq!(bits(&out[1..]), bits(values));
    }
    assert_golden("dense-difference-plus.bin", &chunks[1].0);
    assert_golden("dense-difference-minus.bin", &chunks[2].0);
    assert_golden("dense-difference-corrected-exceptions.bin", &chunks[3].0);
    assert_golden("dense-difference-base.bin", &chunks[0].0);
}

#[test]
fn only_chunks_of_the_same_column_are_related() {
    let (mut encoder, mut bases) = (Encoder::new(), Bases::new());
    for (column, values) in (0..).zip(alike()) {
        let mut chunk = Vec::new();
        encoder.encode(&values, &mut chunk);
        let plain = chunk.clone();
        assert_eq!(encoder.relate(&mut bases, column, 0, &mut chunk), None);
        assert_eq!(chunk, plain);
    }
}

#[test]
fn memory_for_bases_is_bounded_and_what_is_forgotten_is_not_found() {
    let (mut encoder, mut bases) = (Encoder::new(), Bases::new());
    let [first, alike, ..] = alike();
    let mut chunk = Vec::new();
    encoder.encode(&first, &mut chunk);
    assert_eq!(encoder.relate(&mut bases, 7, 0, &mut chunk), None);
    for place in 1..1_200 {
        let other: Vec<f64> = (0..2_048u64)
            .map(|index| {
                let mixed = (index + place * 2_048).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f64
            })
            .collect();
        chunk.clear();
        encoder.encode(&other, &mut chunk);
        // Of a column each, for one without luck would not be remembered.
        encoder.relate(&mut bases, 8 + place as u32, place, &mut chunk);
    }
    chunk.clear();
    encoder.encode(&alike, &mut chunk);
    assert_eq!(encoder.relate(&mut bases, 7, 1, &mut chunk), None);
}

#[test]
fn a_difference_is_refused_without_a_base_of_its_kind() {
    let values = alike();
    let chunks = related(&values);
    let (base, difference) = (&chunks[0].0, &chunks[1].0);
    let count = values[0].len();
    assert!(decode(difference, count, &mut Vec::new()).is_err());
    let mut no_relation = difference.clone();
    no_relation[1] = 0;
    for (difference, base, count) in [
        (difference, difference, count),
        (difference, &encode(&[7.0; 299]), count),
        (difference, base, count + 128),
        (base, base, count),
        (&no_relation, base, count),
    ] {
        let mut out = vec![1.0];
        assert!(decode_difference(difference, base, count, &mut out).is_err());
        assert_eq!(out, [1.0]);
    }
}

#[test]
fn a_damaged_difference_or_base_leads_to_no_panic() {
    let values = alike();
    let chunks = related(&values);
    let count = values[0].len();
    let check = |difference: &[u8], base: &[u8]| {
        let mut out = Vec::new();
        let outcome = decode_difference(difference, base, count, &mut out);
        assert_eq!(out.len(), if outcome.is_ok() { count } else { 0 });
        outcome
    };
    for (difference, _) in &chunks[1..] {
        each_truncation(difference, |cut| assert!(check(cut, &chunks[0].0).is_err()));
        each_bit_flip(difference, |damaged| {
            let _outcome = check(damaged, &chunks[0].0);
        });
        each_bit_flip(&chunks[0].0, |damaged| {
            let _outcome = check(difference, damaged);
        });
    }
}

#[test]
fn a_column_without_like_chunks_is_looked_at_now_and_then() {
    let mut values: Vec<Vec<f64>> = (0..400u64)
        .map(|series| {
            let step = |index: u64| {
                let mixed = (series * 1_000 + index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f64
            };
            (0..240).map(step).collect()
        })
        .collect();
    let alike = values[399]
        .iter()
        .map(|value| value + 1.0)
        .collect::<Vec<_>>();
    values.extend(vec![alike; 400]);
    let differences = related(&values)
        .iter()
        .filter(|(_, base)| base.is_some())
        .count();
    // Not the first of them, but soon enough.
    assert!((300..400).contains(&differences), "{differences}");
}

fn decimals(integers: &[i64], exponent: u8) -> Vec<f64> {
    let power = decimal::POWERS[usize::from(exponent)];
    integers
        .iter()
        .map(|&integer| integer as f64 / power)
        .collect()
}

fn encode_decimal(integers: &[i64], exponent: u8) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new().encode_decimal(integers, exponent, &mut out);
    out
}

#[test]
fn integers_take_no_more_digits_than_they_need() {
    let integers: Vec<i64> = (0..100).map(|index| index * index * 1_000).collect();
    let bytes = encode_decimal(&integers, 5);
    assert_eq!(bytes[0], DECIMAL | 2);
    assert_eq!(bytes, encode(&decimals(&integers, 5)));
    assert!(holds_decimal(&bytes, &integers, 5));
}

#[test]
fn constant_chunk_holds_its_value_and_no_other() {
    for (integer, exponent) in [(0, 0), (-7, 0), (15, 1), (1 << 60, 3), (i64::MIN, 0)] {
        let mut bytes = Vec::new();
        Encoder::quick().encode_constant(integer, exponent, &mut bytes);
        assert!(holds_constant(&bytes, integer, exponent));
        assert_eq!(bytes, encode(&decimals(&[integer; 9], exponent)));
        assert!(!holds_constant(&bytes, integer ^ 1 << 13, exponent));
        each_truncation(&bytes, |cut| {
            assert!(!holds_constant(cut, integer, exponent));
        });
    }
    let varying = encode(&[1.0, 2.0]);
    assert!(!holds_constant(&varying, 1, 0));
}

#[test]
fn damage_and_other_integers_are_not_what_a_chunk_holds() {
    let varying: Vec<i64> = (0..200).map(|index| index * index % 977 * 10).collect();
    for integers in [varying, vec![70; 200], vec![1 << 60; 200]] {
        let bytes = encode_decimal(&integers, 3);
        assert!(holds_decimal(&bytes, &integers, 3));
        assert!(!holds_decimal(&bytes, &integers, 2));
        assert!(!holds_decimal(&bytes, &integers[1..], 3) || bytes[0] < DECIMAL);
        let mut other = integers.clone();
        other[199] += 512;
        assert!(!holds_decimal(&bytes, &other, 3));
        each_truncation(&bytes, |cut| assert!(!holds_decimal(cut, &integers, 3)));
        each_bit_flip(&bytes, |damaged| {
            let mut out = Vec::new();
            let is_same = decode(damaged, 200, &mut out).is_ok()
                && bits(&out) == bits(&decimals(&integers, 3));
            assert!(is_same || !holds_decimal(damaged, &integers, 3));
        });
    }
}

proptest! {
    #[test]
    fn integers_come_back_as_the_values_they_are(
        first in any::<i64>(),
        steps in prop::collection::vec(prop_oneof![-9i64..9, -100_000i64..100_000, any::<i64>()], 0..300),
        tens in 0u32..4,
        exponent in 0u8..10,
    ) {
        let mut integer = first >> 20;
        let integers: Vec<i64> = steps
            .iter()
            .map(|step| {
                integer = integer.wrapping_add(*step);
                integer.wrapping_mul(10i64.pow(tens))
            })
            .collect();
        prop_assume!(!integers.is_empty());
        for mut encoder in [Encoder::new(), Encoder::quick()] {
            let mut bytes = Vec::new();
            encoder.encode_decimal(&integers, exponent, &mut bytes);
            prop_assert!(holds_decimal(&bytes, &integers, exponent));
            prop_assert_eq!(decode_bits(&bytes, integers.len()), bits(&decimals(&integers, exponent)));
        }
    }

    #[test]
    fn related_values_come_back(values in series_values(300), changes in prop::collection::vec((any::<prop::sample::Index>(), awkward_value()), 0..9)) {
        prop_assume!(!values.is_empty());
        let mut other = values.clone();
        for (index, value) in changes {
            let index = index.index(other.len());
            other[index] = value;
        }
        let chunks = related(&[values.clone(), other.clone(), values.clone()]);
        for ((chunk, base), values) in chunks.iter().zip([&values, &other, &values]) {
            let mut out = Vec::new();
            match base {
                None => decode(chunk, values.len(), &mut out).unwrap(),
                Some(base) => decode_difference(chunk, &chunks[*base as usize].0, values.len(), &mut out).unwrap(),
            }
            prop_assert_eq!(bits(&out), bits(values));
        }
    }

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
