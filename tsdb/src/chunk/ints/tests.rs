use proptest::prelude::*;

use crate::chunk::fixtures::{each_bit_flip, each_truncation, example};
use crate::encoding::{ByteReader, Malformed};

use super::*;

fn encode(numbers: &[i64]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::default().encode(numbers, &mut out);
    out
}

fn encode_quickly(numbers: &[i64]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new(Effort::Quick).encode(numbers, &mut out);
    out
}

fn encode_small(numbers: &[i64]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::default().encode_small(numbers, &mut out);
    out
}

fn decode_vec(bytes: &[u8], count: usize) -> Result<Vec<i64>, Malformed> {
    let mut out = Vec::new();
    let mut reader = ByteReader::new(bytes);
    decode(&mut reader, count, |numbers| out.extend_from_slice(numbers))?;
    reader.expect_end()?;
    Ok(out)
}

fn numbers() -> impl Strategy<Value = Vec<i64>> {
    let step = prop_oneof![8 => -4i64..4, 4 => 0i64..1_000, 1 => any::<i64>()];
    (any::<i64>(), 0u32..20, prop::collection::vec(step, 1..400)).prop_map(
        |(first, shift, steps)| {
            let mut at = first;
            steps
                .into_iter()
                .map(|step| {
                    at = at.wrapping_add(step << shift);
                    at
                })
                .collect()
        },
    )
}

#[test]
fn example_of_the_format_is_what_we_read_and_write() {
    let numbers = [100, 104, 104, 112, 108, 4_196];
    let bytes = example(include_str!("FORMAT.md"));
    assert_eq!(encode(&numbers), bytes);
    assert_eq!(decode_vec(&bytes, numbers.len()), Ok(numbers.to_vec()));
}

#[test]
fn coded_example_of_the_format_is_what_we_read_and_write() {
    let numbers = [
        100, 101, 101, 101, 102, 102, 103, 103, 104, 104, 106, 107, 109, 110, 110, 117, 117, 117,
        118, 118, 118, 119, 119, 121,
    ];
    let (_, document) = include_str!("FORMAT.md")
        .split_once("steps above a minimum, coded")
        .unwrap();
    let bytes = example(document);
    assert_eq!(encode(&numbers), bytes);
    assert_eq!(decode_vec(&bytes, numbers.len()), Ok(numbers.to_vec()));
}

#[test]
fn equal_numbers_take_no_blocks() {
    assert_eq!(encode(&[7; 1_000]), [1, 14]);
    assert_eq!(encode_small(&[0; 1_000]), [1, 0]);
    assert_eq!(decode_vec(&[1, 14], 1_000), Ok(vec![7; 1_000]));
}

#[test]
fn even_steps_take_a_byte_a_block() {
    let numbers: Vec<i64> = (0..1_025).map(|index| index * 1_500).collect();
    assert!(encode(&numbers).len() <= 6 + 8);
}

/// Numbers without a pattern: the high bits of a multiplicative sequence.
fn noise(index: u64) -> u64 {
    (index + 1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(17)
        ^ index.wrapping_mul(index) >> 3
}

#[test]
fn noise_about_a_level_is_stored_by_its_distance_from_it() {
    let numbers: Vec<i64> = (0..128).map(|index| (noise(index) % 256) as i64).collect();
    let bytes = encode(&numbers);
    assert_eq!(bytes[0] & !CODED, Kind::LevelAboveMin as u8);
    assert!(bytes.len() <= 3 + 128);
    assert_eq!(decode_vec(&bytes, 128), Ok(numbers));
}

#[test]
fn numbers_of_many_lengths_are_coded_and_come_back() {
    for wide in [8, 20, 56, 57, 58, 63] {
        let mut numbers: Vec<i64> = (0..700)
            .map(|index| (noise(index) >> (64 - wide) >> (noise(index * 7) % (wide / 2))) as i64)
            .collect();
        numbers[350] = 0;
        let bytes = encode(&numbers);
        assert_eq!(bytes[0] & CODED, CODED, "{wide} bits");
        assert_eq!(decode_vec(&bytes, numbers.len()).as_ref(), Ok(&numbers));
        let bytes = encode_quickly(&numbers);
        assert_eq!(bytes[0] & CODED, 0, "{wide} bits");
        assert_eq!(decode_vec(&bytes, numbers.len()), Ok(numbers));
    }
}

#[test]
fn a_drifting_rate_is_stored_by_how_it_changes() {
    let numbers: Vec<i64> = (0..300)
        .map(|index| index * index * 50 + index % 2)
        .collect();
    let bytes = encode(&numbers);
    assert_eq!(bytes[0] & !CODED, Kind::StepsOfSteps as u8);
    assert_eq!(decode_vec(&bytes, 300), Ok(numbers));
}

#[test]
fn one_wide_step_does_not_widen_its_block() {
    let mut numbers: Vec<i64> = (0..129).map(|index| index * index % 7).collect();
    let narrow = encode(&numbers).len();
    for number in &mut numbers[64..] {
        *number += 1 << 40;
    }
    assert!(encode(&numbers).len() <= narrow + 12);
}

#[test]
fn ends_of_the_range_come_back() {
    for numbers in [
        [i64::MIN, i64::MAX, 0, i64::MIN],
        [i64::MAX, i64::MIN, -1, 1],
        [0, i64::MIN, 0, i64::MIN],
    ] {
        assert_eq!(decode_vec(&encode(&numbers), 4), Ok(numbers.to_vec()));
        assert_eq!(decode_vec(&encode_small(&numbers), 4), Ok(numbers.to_vec()));
    }
}

#[test]
fn reserved_bits_and_illegal_fields_are_refused() {
    for bytes in [
        &[0, 0][..],
        &[7, 0, 0, 0],
        &[0x11, 0],
        &[0x09, 1, 0],
        &[0x24, 0, 0],
        &[0x0a, 0, 0, 0, 0],
        &[0x0a, 64, 0, 0, 0],
    ] {
        assert!(decode_vec(bytes, 2).is_err(), "{bytes:x?}");
    }
    let block: [&[u8]; 7] = [
        // A width of 65 bits.
        &[4, 0, 65],
        // No exception, more of them than numbers, no high bits, too many.
        &[4, 0, 0x81, 0, 1, 0],
        &[4, 0, 0x81, 3, 1, 0, 0, 1, 2, 7],
        &[4, 0, 0x81, 1, 0, 0, 0],
        &[4, 0, 0xc0, 1, 1],
        // A position twice, and padding.
        &[4, 0, 0x80, 2, 1, 1, 1, 3],
        &[4, 0, 0x01, 0x04],
    ];
    for bytes in block {
        assert!(decode_vec(bytes, 2).is_err(), "{bytes:x?}");
    }
}

#[test]
fn codes_that_are_none_are_refused() {
    let code = |lowest: u64, lengths: &[u64]| {
        let bits = (0..).zip(lengths).fold(lowest, |bits, (index, length)| {
            bits | length << (6 + 3 * index)
        });
        [&[0x14, 0][..], &bits.to_le_bytes()].concat()
    };
    // Numbers of the lowest class, 0, have code 0: those of two numbers end in the first byte behind the lengths.
    assert_eq!(decode_vec(&code(0, &[1, 1])[..4], 2), Ok(vec![0, 0]));
    for lengths in [&[0; 19][..], &[1, 2, 0, 3], &[1, 2, 1], &[1]] {
        assert!(decode_vec(&code(0, lengths), 2).is_err(), "{lengths:?}");
    }
    // Class 65.
    assert!(decode_vec(&code(63, &[1, 2, 2]), 2).is_err());
    // Padding.
    assert!(decode_vec(&[0x14, 0, 0x40, 0x52], 2).is_err());
}

#[test]
fn every_truncation_is_noticed_and_no_flipped_bit_leads_to_a_panic() {
    let packed: Vec<i64> = (0..300)
        .map(|index: i64| {
            if index % 50 == 0 {
                index << 30
            } else {
                index * 4
            }
        })
        .collect();
    let coded: Vec<i64> = (0..300)
        .map(|index| (noise(index) >> 44 >> (noise(index * 7) % 16)) as i64)
        .collect();
    for (numbers, flag) in [(packed, 0), (coded, CODED)] {
        let bytes = encode(&numbers);
        assert_eq!(bytes[0] & CODED, flag);
        each_truncation(&bytes, |cut| {
            assert!(decode_vec(cut, numbers.len()).is_err());
        });
        each_bit_flip(&bytes, |damaged| {
            if let Ok(decoded) = decode_vec(damaged, numbers.len()) {
                assert_eq!(decoded.len(), numbers.len());
                assert_ne!(decoded, numbers);
            }
        });
    }
}

proptest! {
    #[test]
    fn numbers_come_back(numbers in numbers()) {
        prop_assert_eq!(decode_vec(&encode(&numbers), numbers.len()), Ok(numbers.clone()));
        prop_assert_eq!(decode_vec(&encode_quickly(&numbers), numbers.len()), Ok(numbers.clone()));
        prop_assert_eq!(decode_vec(&encode_small(&numbers), numbers.len()), Ok(numbers));
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), count in 0usize..400) {
        if let Ok(numbers) = decode_vec(&bytes, count) {
            prop_assert_eq!(numbers.len(), count);
        }
    }
}
