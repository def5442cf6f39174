//! What the tests of the codecs share: examples read from the format documents, golden files, awkward values.

use std::path::Path;

use proptest::prelude::*;

use crate::sample::STALE_BITS;

/// Reads the bytes of the hex example of a format document: of each line of the ` ```hex ` block the first word.
pub(super) fn example(document: &str) -> Vec<u8> {
    let block = document
        .split("```hex\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap();
    let digits: Vec<u8> = block
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .flat_map(|word| {
            word.bytes()
                .map(|digit| (digit as char).to_digit(16).unwrap() as u8)
        })
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// Compares `bytes` with the golden file `name`, which keeps the format of version 1 readable for ever.
#[expect(
    clippy::disallowed_methods,
    reason = "golden files are of the source tree, not of a database"
)]
pub(super) fn assert_golden(name: &str, bytes: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/v1/chunk")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }
    let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(golden, bytes, "{} differs", path.display());
}

/// Calls `check` with every proper prefix of `bytes`.
pub(super) fn each_truncation(bytes: &[u8], mut check: impl FnMut(&[u8])) {
    for len in 0..bytes.len() {
        check(&bytes[..len]);
    }
}

/// Calls `check` with `bytes` after every single flipped bit.
pub(super) fn each_bit_flip(bytes: &[u8], mut check: impl FnMut(&[u8])) {
    let mut bytes = bytes.to_vec();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        check(&bytes);
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

/// Bit patterns that a codec may be tempted to change.
pub(super) const AWKWARD_BITS: [u64; 20] = [
    STALE_BITS,
    0x7ff8_0000_0000_0000,
    0x7ff8_0000_0000_0001,
    0xfff8_0000_0000_0000,
    0x7ff0_0000_0000_0001,
    0xffff_ffff_ffff_ffff,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x0000_0000_0000_0000,
    0x8000_0000_0000_0000,
    0x0000_0000_0000_0001,
    0x800f_ffff_ffff_ffff,
    0x0010_0000_0000_0000,
    0x7fef_ffff_ffff_ffff,
    0x433f_ffff_ffff_ffff,
    0x4340_0000_0000_0000,
    0x43e0_0000_0000_0000,
    0xc3e0_0000_0000_0000,
    0x43df_ffff_ffff_ffff,
    0x3ff0_0000_0000_0001,
];

pub(super) fn awkward_value() -> impl Strategy<Value = f64> {
    (0..AWKWARD_BITS.len()).prop_map(|index| f64::from_bits(AWKWARD_BITS[index]))
}

/// Values as series have them: one of several shapes, with an awkward one now and then.
pub(super) fn series_values(len_max: usize) -> impl Strategy<Value = Vec<f64>> {
    let step = prop_oneof![
        6 => Just(0i64),
        4 => -20i64..20,
        2 => -100_000i64..100_000,
        1 => any::<i64>(),
    ];
    let scale = prop_oneof![
        Just(1.0),
        Just(10.0),
        Just(1e3),
        Just(1e9),
        Just(1e15),
        Just(3.7),
        Just(1.0 / 4096.0),
        Just(1e-9),
        Just(1e-300)
    ];
    let awkward = prop::collection::vec((any::<prop::sample::Index>(), awkward_value()), 0..4);
    (
        any::<i32>(),
        scale,
        prop::collection::vec(step, 0..len_max),
        awkward,
    )
        .prop_map(|(start, scale, steps, awkward)| {
            let mut at = i64::from(start);
            let mut values: Vec<f64> = steps
                .into_iter()
                .map(|step| {
                    at = at.wrapping_add(step);
                    at as f64 / scale
                })
                .collect();
            if !values.is_empty() {
                for (index, value) in awkward {
                    let index = index.index(values.len());
                    values[index] = value;
                }
            }
            values
        })
}

/// The bits of values: what must come back.
pub(super) fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}
