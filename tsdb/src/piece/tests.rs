use proptest::prelude::*;

use super::*;
use crate::row::{RowEncoder, RowState, RowView};
use crate::sample::{STALE_BITS, Samples};

/// Encodes rows of optional value bits, seals them, and returns the piece.
fn seal(rows: &[Vec<Option<u64>>], ids: &[u64], timestamps: &[i64], sequences: &[u64]) -> Vec<u8> {
    let n = ids.len();
    let mut state = RowState::new(n);
    let mut encoder = RowEncoder::default();
    let mut encoded = Vec::new();
    for row in rows {
        let values: Vec<f64> = row
            .iter()
            .map(|bits| f64::from_bits(bits.unwrap_or(0)))
            .collect();
        let absent: Vec<u16> = (0..n)
            .filter(|&position| row[position].is_none())
            .map(|position| position as u16)
            .collect();
        let mut bytes = Vec::new();
        encoder.encode(&values, &absent, &state, &mut bytes);
        RowView::parse(&bytes, n).unwrap().apply(&mut state);
        encoded.push(bytes);
    }
    let piece_rows: Vec<PieceRow<'_>> = encoded
        .iter()
        .zip(timestamps.iter().zip(sequences))
        .map(|(bytes, (&timestamp, &sequence))| PieceRow {
            timestamp,
            sequence,
            row: RowView::parse(bytes, n).unwrap(),
        })
        .collect();
    let mut out = Vec::new();
    PieceEncoder::default().encode(77, ids, &piece_rows, &state, &mut out);
    out
}

fn check(rows: &[Vec<Option<u64>>]) {
    let n = rows[0].len();
    let ids: Vec<u64> = (0..n as u64)
        .map(|index| 1000 + index + index / 7)
        .collect();
    let timestamps: Vec<i64> = (0..rows.len() as i64)
        .map(|index| -50_000 + index * 15_000)
        .collect();
    let sequences: Vec<u64> = (0..rows.len() as u64).map(|index| 40 + index * 3).collect();
    let bytes = seal(rows, &ids, &timestamps, &sequences);
    let header = PieceHeader::read(&bytes).unwrap();
    assert_eq!(
        (
            header.group,
            usize::from(header.width),
            usize::from(header.rows)
        ),
        (77, n, rows.len())
    );
    let view = PieceView::new(header, &bytes[HEADER_BYTES..]).unwrap();
    view.verify().unwrap();
    assert_eq!(view.ids().unwrap(), ids);
    let mut scratch = Vec::new();
    let (mut in_order, mut every_third) = (ColumnCursor::default(), ColumnCursor::default());
    for position in 0..n {
        let column = view.integer_column(position, &mut in_order).unwrap();
        let anew = &mut ColumnCursor::default();
        assert_eq!(view.integer_column(position, anew).unwrap(), column);
        if position % 3 == 0 {
            let again = view.integer_column(position, &mut every_third).unwrap();
            assert_eq!(again, column);
        }
        let mut out = Samples::default();
        view.read_all(position, &mut scratch, &mut out).unwrap();
        let Some(column) = column else { continue };
        let mut integers = vec![7];
        view.read_integers(column, &mut integers);
        let values = integers[1..]
            .iter()
            .map(|&integer| crate::row::to_value(integer, column.scale).to_bits());
        assert!(values.eq(out.values.iter().map(|value| value.to_bits())));
    }
    for position in 0..n {
        let mut out = Samples::default();
        view.read(position, |_, _| true, &mut scratch, &mut out)
            .unwrap();
        let expected: Vec<(i64, u64)> = rows
            .iter()
            .zip(&timestamps)
            .filter_map(|(row, &timestamp)| row[position].map(|bits| (timestamp, bits)))
            .collect();
        let got: Vec<(i64, u64)> = out
            .iter()
            .map(|sample| (sample.timestamp, sample.value.to_bits()))
            .collect();
        assert_eq!(got, expected);
        assert_eq!(
            view.last_timestamp_of(position).unwrap(),
            expected.last().map(|last| last.0)
        );
        let is_absent = view
            .absent_from_last_row()
            .unwrap()
            .contains(&(position as u16));
        assert_eq!(is_absent, rows.last().unwrap()[position].is_none());
        let mut all = Samples::default();
        view.read_all(position, &mut scratch, &mut all).unwrap();
        assert!(all.iter().eq(out.iter()));
        let mut late = Samples::default();
        view.read(
            position,
            |_, sequence| sequence > 40,
            &mut scratch,
            &mut late,
        )
        .unwrap();
        assert_eq!(
            late.len(),
            expected.iter().filter(|sample| sample.0 > -50_000).count()
        );
    }
}

fn bits() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![
        30 => (0i64..3).prop_map(|v| Some((v as f64).to_bits())),
        8 => (-1_000_000i64..1_000_000).prop_map(|v| Some((v as f64 / 100.0).to_bits())),
        1 => any::<u64>().prop_map(Some),
        1 => Just(Some(STALE_BITS)),
        1 => Just(None),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_rows_come_back(
        rows in (1usize..60).prop_flat_map(|n| prop::collection::vec(prop::collection::vec(bits(), n), 1..40))
    ) {
        check(&rows);
    }
}

#[test]
fn absent_and_stale_throughout_are_told_apart() {
    let stale = Some(STALE_BITS);
    check(&[
        vec![None, stale, Some(0)],
        vec![None, stale, None],
        vec![None, None, stale],
    ]);
}

#[test]
fn damaged_bytes_are_noticed_and_never_panic() {
    let rows: Vec<Vec<Option<u64>>> = (0..6u64)
        .map(|row| {
            (0..40u64)
                .map(|series| Some(((series * row) as f64 / 10.0).to_bits()))
                .collect()
        })
        .collect();
    let ids: Vec<u64> = (0..40).collect();
    let mut bytes = seal(&rows, &ids, &[0, 1, 2, 3, 4, 5], &[1; 6]);
    let mut scratch = Vec::new();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(header) = PieceHeader::read(&bytes) {
            assert!(
                bit >= HEADER_BYTES * 8,
                "a flipped bit of the header passed"
            );
            let view = PieceView::new(header, &bytes[HEADER_BYTES..]).unwrap();
            assert!(view.verify().is_err());
            let mut out = Samples::default();
            let mut cursor = ColumnCursor::default();
            for position in 0..40 {
                if let Ok(Some(column)) = view.integer_column(position, &mut cursor) {
                    let mut integers = Vec::new();
                    view.read_integers(column, &mut integers);
                    assert_eq!(integers.len(), 6);
                }
                // Not verified on purpose: whatever the bytes say, reading ends.
                let _ended = view.read(position, |_, _| true, &mut scratch, &mut out);
            }
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    for len in 0..HEADER_BYTES {
        assert!(PieceHeader::read(&bytes[..len]).is_err());
    }
}

#[test]
fn the_example_of_the_format_document_is_what_is_written() {
    let value = |value: f64| Some(value.to_bits());
    let rows = [
        vec![value(1.0), value(0.5)],
        vec![value(1.0), value(0.7)],
        vec![value(1.0), value(1.2)],
    ];
    let bytes = seal(&rows, &[7, 8], &[1000, 2000, 3000], &[5, 6, 8]);
    let example = crate::encoding::hex_example(include_str!("FORMAT.md"));
    assert_eq!(bytes, example, "{bytes:02x?}");
}

#[test]
fn long_columns_of_every_width_come_back() {
    // More rows than a block of packed numbers holds, with steps of all sizes.
    let rows: Vec<Vec<Option<u64>>> = (0..300u64)
        .map(|row| {
            (0..60u32)
                .map(|width| {
                    let mixed =
                        row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 14 >> (50 - width.min(50));
                    Some((mixed as f64 / if width > 50 { 10.0 } else { 1.0 }).to_bits())
                })
                .collect()
        })
        .collect();
    check(&rows);
}
