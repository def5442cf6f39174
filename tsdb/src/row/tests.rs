use proptest::prelude::*;

use super::*;
use crate::sample::STALE_BITS;

/// Applies rows one after another and checks each value, then walks back and compares again.
fn round_trip(rows: &[Vec<Option<u64>>]) {
    let n = rows[0].len();
    let mut state = RowState::new(n);
    let mut encoder = RowEncoder::default();
    let mut encoded = Vec::new();
    let mut states = vec![state.clone()];
    for row in rows {
        let values: Vec<f64> = row
            .iter()
            .map(|bits| f64::from_bits(bits.unwrap_or(0x1234_5678_9abc_def0)))
            .collect();
        let absent: Vec<u16> = (0..n)
            .filter(|&position| row[position].is_none())
            .map(|position| position as u16)
            .collect();
        let mut bytes = Vec::new();
        encoder.encode(&values, &absent, &state, &mut bytes);
        let view = RowView::parse(&bytes, n).unwrap();
        view.apply(&mut state);
        for (position, bits) in row.iter().enumerate() {
            assert_eq!(view.has(position), bits.is_some());
            if let Some(bits) = bits {
                assert_eq!(view.is_stale(position), *bits == STALE_BITS);
                if *bits != STALE_BITS {
                    assert_eq!(state.value(position).to_bits(), *bits);
                }
            }
        }
        states.push(state.clone());
        encoded.push(bytes);
    }
    for position in 0..n {
        let mut seen: Vec<Option<u64>> = vec![None; rows.len()];
        let views = encoded
            .iter()
            .rev()
            .map(|bytes| RowView::parse(bytes, n).unwrap());
        walk_back(
            views,
            position,
            state.integers[position],
            state.scales[position],
            |back, value| {
                seen[rows.len() - 1 - back] = Some(value.to_bits());
            },
        );
        assert_eq!(
            seen,
            rows.iter().map(|row| row[position]).collect::<Vec<_>>()
        );
    }
    for (index, bytes) in encoded.iter().enumerate().rev() {
        RowView::parse(bytes, n).unwrap().invert(&mut state);
        assert_eq!(state, states[index]);
    }
}

fn bits() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![
        8 => (0i64..1000).prop_map(|v| Some((v as f64).to_bits())),
        4 => (-100_000_000i64..100_000_000).prop_map(|v| Some((v as f64 / 1000.0).to_bits())),
        2 => any::<u64>().prop_map(Some),
        1 => Just(Some(STALE_BITS)),
        1 => Just(Some((-0.0f64).to_bits())),
        1 => Just(Some(f64::NAN.to_bits())),
        1 => Just(Some(f64::NEG_INFINITY.to_bits())),
        2 => Just(None),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_values_come_back_forward_and_backward(
        rows in (1usize..200).prop_flat_map(|n| prop::collection::vec(prop::collection::vec(bits(), n), 1..8))
    ) {
        round_trip(&rows);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), n in 1usize..300) {
        if let Ok(view) = RowView::parse(&bytes, n) {
            prop_assert_eq!(format!("{:?}", RowView::split(&bytes, n)), format!("{:?}", Ok::<_, ()>(view)));
            let mut state = RowState::new(n);
            let before = state.clone();
            view.apply(&mut state);
            for position in 0..n {
                walk_back(std::iter::once(view), position, state.integers[position], state.scales[position], |_, _| {});
            }
            view.invert(&mut state);
            // Replacing steps name the state before them, so only rows without them must lead back here.
            if view.step_count == 0 {
                prop_assert_eq!(state, before);
            }
        }
    }
}

#[test]
fn unchanged_scrape_is_a_mask_of_zeros() {
    let mut state = RowState::new(1000);
    let values: Vec<f64> = (0..1000).map(f64::from).collect();
    let mut encoder = RowEncoder::default();
    let mut bytes = Vec::new();
    encoder.encode(&values, &[], &state, &mut bytes);
    RowView::parse(&bytes, 1000).unwrap().apply(&mut state);
    bytes.clear();
    encoder.encode(&values, &[], &state, &mut bytes);
    assert_eq!(bytes, vec![0; 251]);
}

#[test]
fn whole_target_going_stale_costs_a_bit_per_series() {
    let state = RowState::new(1000);
    let mut bytes = Vec::new();
    RowEncoder::default().encode(&[f64::from_bits(STALE_BITS); 1000], &[], &state, &mut bytes);
    assert_eq!(bytes.len(), 1 + 2 + 125 + 250);
}

#[test]
fn every_truncation_is_refused() {
    let state = RowState::new(50);
    let values: Vec<f64> = (0..50).map(|i| f64::from(i) * 1234.5).collect();
    let mut bytes = Vec::new();
    RowEncoder::default().encode(&values, &[3, 9], &state, &mut bytes);
    for len in 0..bytes.len() {
        assert!(RowView::parse(&bytes[..len], 50).is_err(), "{len}");
    }
}

#[test]
fn the_example_of_the_format_document_decodes() {
    let example = crate::encoding::hex_example(include_str!("FORMAT.md"));
    let mut state = RowState {
        integers: vec![10, 25, 7, 100, 1],
        scales: vec![0, 1, 0, 0, 0],
    };
    let mut bytes = Vec::new();
    let values = [11.0, 2.5, 0.0, crate::sample::stale_marker(), 300_000.0];
    RowEncoder::default().encode(&values, &[2], &state, &mut bytes);
    assert_eq!(bytes, example, "{bytes:02x?}");
    let view = RowView::parse(&example, 5).unwrap();
    view.apply(&mut state);
    assert_eq!(state.integers, [11, 25, 7, 100, 300_000]);
    assert!(!view.has(2) && view.is_stale(3));
}
