use bitvec::prelude::*;
use proptest::prelude::*;

use crate::chunk::fixtures::{
    assert_golden, awkward_value, each_bit_flip, each_truncation, example, series_values,
};
use crate::sample::{Sample, Samples, stale_marker};

use super::*;

fn encode(samples: &[Sample]) -> Vec<u8> {
    let mut appender = Appender::new();
    for sample in samples {
        appender.push(sample.timestamp, sample.value);
    }
    assert_eq!(appender.count(), samples.len());
    assert_eq!(appender.last(), samples.last().copied());
    let mut bytes = Vec::new();
    appender.write(&mut bytes);
    assert_eq!(bytes.len(), appender.len());
    bytes
}

fn decode_vec(bytes: &[u8]) -> Vec<Sample> {
    let mut out = Samples::default();
    decode(bytes, &mut out).unwrap();
    out.iter().collect()
}

fn iterate(bytes: &[u8]) -> Vec<Sample> {
    Iter::new(bytes).unwrap().collect::<Result<_, _>>().unwrap()
}

fn sample(timestamp: i64, value: f64) -> Sample {
    Sample { timestamp, value }
}

/// A scrape that is late now and then, with a run of equal values in the middle and every width of difference.
fn typical() -> Vec<Sample> {
    let mut timestamp = 1_700_000_000_000;
    (0..200)
        .map(|index: i64| {
            timestamp += 15_000
                + match index {
                    40 => 3,
                    60 => 8_192,
                    80 => -60_000,
                    100 => 500_000,
                    120 => 1 << 40,
                    _ => 0,
                };
            let value = match index {
                0..30 => index as f64,
                30..130 => 29.5,
                150 => stale_marker(),
                _ => (index as f64).sqrt(),
            };
            sample(timestamp, value)
        })
        .collect()
}

fn timestamps(len: usize) -> impl Strategy<Value = Vec<i64>> {
    let step = prop_oneof![
        8 => Just(15_000i64),
        3 => 14_990i64..15_010,
        1 => prop::sample::select(vec![
            15_000 - 8_191, 15_000 - 8_192, 15_000 + 8_192, 15_000 + 8_193, 15_000 - 65_535, 15_000 - 65_536,
            15_000 + 65_536, 15_000 + 65_537, 15_000 - 524_287, 15_000 - 524_288, 15_000 + 524_288, 15_000 + 524_289,
        ]),
        1 => any::<i64>(),
    ];
    (any::<i64>(), prop::collection::vec(step, len)).prop_map(|(start, steps)| {
        let mut at = start;
        steps
            .into_iter()
            .map(|step| {
                at = at.wrapping_add(step);
                at
            })
            .collect()
    })
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let values = prop_oneof![
        series_values(300),
        prop::collection::vec(awkward_value(), 0..100),
        prop::collection::vec(any::<u64>().prop_map(f64::from_bits), 0..100),
    ];
    values.prop_flat_map(|values| {
        timestamps(values.len()).prop_map(move |timestamps| {
            timestamps
                .into_iter()
                .zip(&values)
                .map(|(timestamp, &value)| sample(timestamp, value))
                .collect()
        })
    })
}

#[test]
fn example_of_the_format_is_what_we_read_and_write() {
    let samples = [
        sample(1_000, 1.0),
        sample(16_000, 1.0),
        sample(31_000, 1.0),
        sample(46_002, 1.5),
    ];
    let bytes = example(include_str!("FORMAT.md"));
    assert_eq!(encode(&samples), bytes);
    assert_eq!(decode_vec(&bytes), samples);
}

#[test]
fn golden_chunk_is_what_we_read_and_write() {
    let bytes = encode(&typical());
    assert_golden("gorilla.bin", &bytes);
    assert_eq!(decode_vec(&bytes), typical());
}

#[test]
fn chunk_without_samples_is_two_zero_bytes() {
    assert_eq!(encode(&[]), [0, 0]);
    assert_eq!(decode_vec(&[0, 0]), []);
    assert_eq!(Appender::resume(&[0, 0]).unwrap().last(), None);
}

#[test]
fn steady_series_costs_two_bits_a_sample() {
    let samples: Vec<_> = (0..1_002)
        .map(|index| sample(index * 15_000, 3.0))
        .collect();
    // Header, first sample, second sample and 1,000 times two bits.
    assert_eq!(
        encode(&samples).len(),
        2 + 9 + 2 + (1 + 2_000usize).div_ceil(8)
    );
}

#[test]
fn differences_at_the_edges_of_each_width_come_back() {
    for edge in [
        8_191i64,
        8_192,
        8_193,
        65_535,
        65_536,
        65_537,
        524_287,
        524_288,
        524_289,
        i64::MAX,
        i64::MIN,
    ] {
        for dod in [edge, edge.wrapping_neg()] {
            let samples = [sample(0, 1.0), sample(0, 1.0), sample(dod, 1.0)];
            let bytes = encode(&samples);
            assert_eq!(decode_vec(&bytes), samples);
            assert_eq!(bytes, oracle::encode(&samples));
        }
    }
}

#[test]
fn window_before_any_was_written_means_all_bits() {
    let mut bits = BitVec::<u8, Msb0>::new();
    oracle::put(&mut bits, 3, 16);
    oracle::put(&mut bits, 2_000, 16);
    oracle::put(&mut bits, 1.0f64.to_bits(), 64);
    oracle::put(&mut bits, 15, 8);
    oracle::put(&mut bits, 0, 1);
    oracle::put(&mut bits, 0, 1);
    oracle::put(&mut bits, 0b10, 2);
    oracle::put(&mut bits, 1.0f64.to_bits() ^ 1.5f64.to_bits(), 64);
    // 2,000 as a two-byte varint.
    bits[16..32].store_be::<u16>(0xd00f);
    let bytes = bits.into_vec();
    let expected = [sample(1_000, 1.0), sample(1_015, 1.0), sample(1_030, 1.5)];
    assert_eq!(decode_vec(&bytes), expected);

    let mut appender = Appender::resume(&bytes).unwrap();
    appender.push(1_045, 1.5);
    appender.push(1_060, -3.25);
    let more = [&expected[..], &[sample(1_045, 1.5), sample(1_060, -3.25)]].concat();
    assert_eq!(decode_vec(&appender.finish()), more);
}

#[test]
fn window_of_more_than_64_bits_is_refused() {
    let mut bits = BitVec::<u8, Msb0>::new();
    oracle::put(&mut bits, 2, 16);
    oracle::put(&mut bits, 0, 8 + 64);
    oracle::put(&mut bits, 15, 8);
    oracle::put(&mut bits, 0b11, 2);
    oracle::put(&mut bits, 31, 5);
    oracle::put(&mut bits, 63, 6);
    oracle::put(&mut bits, 0, 64);
    let error = decode(&bits.into_vec(), &mut Samples::default()).unwrap_err();
    assert_eq!(error.what, "window exceeds 64 bits");
}

#[test]
fn zero_byte_that_prometheus_leaves_is_accepted_and_not_kept() {
    let bytes = encode(&typical());
    let with_byte = [&bytes[..], &[0]].concat();
    assert_eq!(decode_vec(&with_byte), typical());
    assert_eq!(*Appender::resume(&with_byte).unwrap().finish(), bytes);

    assert!(decode(&[&bytes[..], &[0, 0]].concat(), &mut Samples::default()).is_err());
    assert!(decode(&[&bytes[..], &[1]].concat(), &mut Samples::default()).is_err());
}

#[test]
fn every_truncation_is_noticed_and_leaves_the_output_alone() {
    let bytes = encode(&typical());
    each_truncation(&bytes, |cut| {
        let mut out = Samples::default();
        out.push(1, 2.0);
        assert!(decode(cut, &mut out).is_err());
        assert_eq!((out.timestamps.len(), out.values.len()), (1, 1));
        assert!(Appender::resume(cut).is_err());
    });
}

#[test]
fn no_flipped_bit_leads_to_a_panic() {
    let bytes = encode(&typical());
    each_bit_flip(&bytes, |damaged| {
        let decoded = decode(damaged, &mut Samples::default());
        let resumed = Appender::resume(damaged);
        assert_eq!(decoded.is_ok(), resumed.is_ok());
    });
}

#[test]
fn count_beyond_the_bits_is_refused_before_memory_is_taken() {
    let mut out = Samples::default();
    assert!(decode(&[0xff, 0xff, 0, 0], &mut out).is_err());
    assert_eq!(out.timestamps.capacity(), 0);
}

#[test]
fn iterator_ends_after_the_first_error() {
    let bytes = encode(&typical());
    let items: Vec<_> = Iter::new(&bytes[..bytes.len() / 2]).unwrap().collect();
    assert!(items.last().unwrap().is_err());
    assert_eq!(items.iter().filter(|item| item.is_err()).count(), 1);
}

#[test]
fn full_chunk_holds_every_sample() {
    let samples: Vec<_> = (0..SAMPLES_MAX as i64)
        .map(|index| sample(index, (index % 3) as f64))
        .collect();
    assert_eq!(decode_vec(&encode(&samples)), samples);
}

proptest! {
    #[test]
    fn bytes_are_those_of_the_naive_codec(samples in samples()) {
        let bytes = encode(&samples);
        prop_assert_eq!(&bytes, &oracle::encode(&samples));
        prop_assert_eq!(&decode_vec(&bytes), &samples);
        prop_assert_eq!(&iterate(&bytes), &samples);
        prop_assert_eq!(&oracle::decode(&bytes), &samples);
    }

    #[test]
    fn resumed_chunk_is_as_if_never_put_aside(samples in samples(), at in any::<prop::sample::Index>()) {
        let at = at.index(samples.len() + 1);
        let mut appender = Appender::resume(&encode(&samples[..at])).unwrap();
        for sample in &samples[at..] {
            appender.push(sample.timestamp, sample.value);
        }
        prop_assert_eq!(&*appender.finish(), encode(&samples));
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut out = Samples::default();
        match decode(&bytes, &mut out) {
            Ok(()) => prop_assert_eq!(iterate(&bytes), out.iter().collect::<Vec<_>>()),
            Err(_) => prop_assert!(out.is_empty()),
        }
    }
}

/// The layout of FORMAT.md written down bit by bit, as slowly and plainly as can be.
mod oracle {
    use super::*;

    pub(super) fn put(bits: &mut BitVec<u8, Msb0>, value: u64, count: usize) {
        for index in (0..count).rev() {
            bits.push(value.checked_shr(index as u32).unwrap_or(0) & 1 == 1);
        }
    }

    pub(super) fn encode(samples: &[Sample]) -> Vec<u8> {
        let mut bits = BitVec::<u8, Msb0>::new();
        put(&mut bits, samples.len() as u64, 16);
        let mut window = None;
        let (mut last_delta, mut last): (i64, Option<Sample>) = (0, None);
        for (index, sample) in samples.iter().enumerate() {
            let Some(before) = last.replace(*sample) else {
                let t0 = sample.timestamp;
                put_uvarint(&mut bits, (t0 << 1) as u64 ^ (t0 >> 63) as u64);
                put(&mut bits, sample.value.to_bits(), 64);
                continue;
            };
            let delta = sample.timestamp.wrapping_sub(before.timestamp);
            if index == 1 {
                put_uvarint(&mut bits, delta as u64);
            } else {
                put_dod(&mut bits, delta.wrapping_sub(last_delta));
            }
            last_delta = delta;
            put_xor(
                &mut bits,
                sample.value.to_bits() ^ before.value.to_bits(),
                &mut window,
            );
        }
        bits.set_uninitialized(false);
        bits.into_vec()
    }

    fn put_uvarint(bits: &mut BitVec<u8, Msb0>, mut value: u64) {
        while value > 127 {
            put(bits, value % 128 + 128, 8);
            value /= 128;
        }
        put(bits, value, 8);
    }

    fn put_dod(bits: &mut BitVec<u8, Msb0>, dod: i64) {
        if dod == 0 {
            return put(bits, 0, 1);
        }
        for (prefix, prefix_len, width) in [(0b10, 2, 14), (0b110, 3, 17), (0b1110, 4, 20)] {
            let half = 1i64 << (width - 1);
            if dod > -half && dod <= half {
                put(bits, prefix, prefix_len);
                return put(bits, dod as u64, width);
            }
        }
        put(bits, 0b1111, 4);
        put(bits, dod as u64, 64);
    }

    fn put_xor(bits: &mut BitVec<u8, Msb0>, xor: u64, window: &mut Option<(u32, u32)>) {
        if xor == 0 {
            return put(bits, 0, 1);
        }
        let (leading, trailing) = (xor.leading_zeros().min(31), xor.trailing_zeros());
        put(bits, 1, 1);
        if let Some((above, below)) = *window
            && leading >= above
            && trailing >= below
        {
            put(bits, 0, 1);
            return put(bits, xor >> below, (64 - above - below) as usize);
        }
        let width = 64 - leading - trailing;
        put(bits, 1, 1);
        put(bits, u64::from(leading), 5);
        put(bits, u64::from(width % 64), 6);
        put(bits, xor >> trailing, width as usize);
        *window = Some((leading, trailing));
    }

    struct Bits<'a> {
        bits: &'a BitSlice<u8, Msb0>,
    }

    impl Bits<'_> {
        fn take(&mut self, count: usize) -> u64 {
            let (taken, rest) = self.bits.split_at(count);
            self.bits = rest;
            taken
                .iter()
                .fold(0, |value, bit| value << 1 | u64::from(*bit))
        }

        fn uvarint(&mut self) -> u64 {
            let mut value = 0;
            for shift in (0..).step_by(7) {
                let byte = self.take(8);
                value |= (byte & 127) << shift;
                if byte < 128 {
                    break;
                }
            }
            value
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Vec<Sample> {
        let mut bits = Bits {
            bits: bytes.view_bits(),
        };
        let count = bits.take(16);
        let mut samples = Vec::new();
        let (mut timestamp, mut delta, mut value, mut window) = (0i64, 0u64, 0u64, (0, 0));
        for index in 0..count {
            match index {
                0 => {
                    let zigzag = bits.uvarint();
                    timestamp = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
                    value = bits.take(64);
                    samples.push(sample(timestamp, f64::from_bits(value)));
                    continue;
                }
                1 => delta = bits.uvarint(),
                _ => delta = delta.wrapping_add(take_dod(&mut bits)),
            }
            timestamp = timestamp.wrapping_add(delta as i64);
            if bits.take(1) == 1 {
                if bits.take(1) == 1 {
                    let leading = bits.take(5);
                    let width = match bits.take(6) {
                        0 => 64,
                        width => width,
                    };
                    window = (leading, 64 - leading - width);
                }
                value ^= bits.take((64 - window.0 - window.1) as usize) << window.1;
            }
            samples.push(sample(timestamp, f64::from_bits(value)));
        }
        samples
    }

    fn take_dod(bits: &mut Bits<'_>) -> u64 {
        let mut ones = 0;
        while ones < 4 && bits.take(1) == 1 {
            ones += 1;
        }
        let width = [0, 14, 17, 20, 64][ones];
        let dod = bits.take(width);
        match width {
            0 | 64 => dod,
            _ if dod > 1 << (width - 1) => dod.wrapping_sub(1 << width),
            _ => dod,
        }
    }
}

proptest! {
    #[test]
    fn samples_with_shared_times_make_the_chunk_that_each_alone_makes(
        head in prop::collection::vec((14_990i64..15_010, awkward_value()), 2..6),
        first in prop_oneof![8 => Just(15_000i64), 1 => any::<i64>()],
        steps in prop::collection::vec(
            prop_oneof![8 => Just(15_000i64), 3 => 14_990i64..15_010, 1 => 1i64..2_000_000],
            1..SHARED_MAX,
        ),
        start in prop_oneof![4 => Just(1_700_000_000_000i64), 1 => any::<i64>()],
        values in prop_oneof![
            Just(vec![7.5; SHARED_MAX]),
            prop::collection::vec(awkward_value(), SHARED_MAX),
            prop::collection::vec(prop::sample::select(vec![7.5, 8.0]), SHARED_MAX),
        ],
        is_repeated in any::<bool>(),
    ) {
        let mut at = start;
        let (mut together, mut alone) = (Encoder::new(), Encoder::new());
        let (mut words, mut other_words) = (Vec::new(), Vec::new());
        let mut last = 0.0;
        for (step, value) in head {
            at = at.wrapping_add(step);
            last = value;
            together.push(at, value, &mut |word| words.push(word));
            alone.push(at, value, &mut |word| other_words.push(word));
        }
        let first = at.wrapping_add(first);
        let later: Vec<i64> = std::iter::once(0)
            .chain(steps.iter().scan(0, |sum, step| {
                *sum += step;
                Some(*sum)
            }))
            .collect();
        let values: Vec<f64> = values.into_iter().map(|value| if is_repeated { last } else { value }).collect();
        let values = &values[..later.len()];
        let Some(times) = SharedTimes::new(&later) else {
            return Ok(());
        };
        prop_assert_eq!(times.len(), later.len());
        together.push_shared(first, &times, values, &mut |word| words.push(word));
        for (at, (later, value)) in later.iter().zip(values).enumerate() {
            prop_assert_eq!(times.time(first, at), first.wrapping_add(*later));
            alone.push(first.wrapping_add(*later), *value, &mut |word| other_words.push(word));
        }
        // Both go on alike.
        let next = times.time(first, times.len() - 1).wrapping_add(15_000);
        together.push(next, 1.25, &mut |word| words.push(word));
        alone.push(next, 1.25, &mut |word| other_words.push(word));
        prop_assert_eq!(together.count(), alone.count());
        prop_assert_eq!(together.last(), alone.last());
        prop_assert_eq!(&words, &other_words);
        let (mut bytes, mut other_bytes) = (Vec::new(), Vec::new());
        together.write(&mut bytes, |_| {});
        alone.write(&mut other_bytes, |_| {});
        prop_assert_eq!(bytes, other_bytes);
    }
}

#[test]
fn times_that_a_chunk_does_not_say_in_short_are_not_shared() {
    assert!(SharedTimes::new(&[]).is_none());
    assert!(SharedTimes::new(&[5]).is_none());
    assert!(SharedTimes::new(&[5, 5]).is_none());
    assert!(SharedTimes::new(&[0, 10, 9]).is_none());
    assert!(SharedTimes::new(&[0, 10, 1 << 40]).is_none());
    assert!(SharedTimes::new(&[i64::MIN, 0, i64::MAX]).is_none());
    assert!(SharedTimes::new(&[0; SHARED_MAX + 1]).is_none());
    let steady: Vec<i64> = (0..=SHARED_MAX as i64).collect();
    assert!(SharedTimes::new(&steady).is_none());
    assert!(SharedTimes::new(&steady[1..]).is_some());
}
