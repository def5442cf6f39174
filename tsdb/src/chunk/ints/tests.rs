use proptest::prelude::*;

use crate::chunk::fixtures::{each_bit_flip, each_truncation, example};
use crate::encoding::{ByteReader, Malformed};

use super::*;

fn encode(numbers: &[i64]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::default().encode(numbers, &mut out);
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

#[test]
fn noise_about_a_level_is_stored_by_its_distance_from_it() {
    let numbers: Vec<i64> = (0..128).map(|index| (index % 2) * 255).collect();
    assert_eq!(encode(&numbers)[0], Kind::AboveMin as u8);
    assert_eq!(encode(&numbers).len(), 3 + 128);
    assert_eq!(decode_vec(&encode(&numbers), 128), Ok(numbers));
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
        &[6, 0],
        &[7, 0],
        &[0x11, 0],
        &[0x09, 1, 0],
        &[0x0a, 0, 0, 0],
        &[0x0a, 64, 0, 0],
    ] {
        assert!(decode_vec(bytes, 2).is_err(), "{bytes:x?}");
    }
    let block: [&[u8]; 7] = [
        // A width of 65 bits.
        &[4, 65],
        // No exception, more of them than numbers, no high bits, too many.
        &[4, 0x81, 0, 1, 0],
        &[4, 0x81, 3, 1, 0, 0, 1, 2, 7],
        &[4, 0x81, 1, 0, 0, 0],
        &[4, 0xc0, 1, 1],
        // A position twice, and padding.
        &[4, 0x80, 2, 1, 1, 1, 3],
        &[4, 0x01, 0x04],
    ];
    for bytes in block {
        assert!(decode_vec(bytes, 2).is_err(), "{bytes:x?}");
    }
}

#[test]
fn every_truncation_is_noticed_and_no_flipped_bit_leads_to_a_panic() {
    let numbers: Vec<i64> = (0..300)
        .map(|index: i64| {
            if index % 50 == 0 {
                index << 30
            } else {
                index * 4
            }
        })
        .collect();
    let bytes = encode(&numbers);
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

proptest! {
    #[test]
    fn numbers_come_back(numbers in numbers()) {
        prop_assert_eq!(decode_vec(&encode(&numbers), numbers.len()), Ok(numbers.clone()));
        prop_assert_eq!(decode_vec(&encode_small(&numbers), numbers.len()), Ok(numbers));
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), count in 0usize..400) {
        if let Ok(numbers) = decode_vec(&bytes, count) {
            prop_assert_eq!(numbers.len(), count);
        }
    }
}
