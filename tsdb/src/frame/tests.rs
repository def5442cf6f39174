use super::*;
use crate::labels::Labels;
use crate::row::RowState;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

fn example() -> Vec<u8> {
    let (a, b) = (
        labels(&[("__name__", "up"), ("job", "a")]),
        labels(&[("__name__", "up"), ("job", "b")]),
    );
    let mut body = Vec::new();
    put_definitions(&mut body, [(1, &a), (2, &b)].into_iter());
    put_lone(
        &mut body,
        &[LoneSample {
            id: 2,
            timestamp: 1000,
            value: 2.5,
        }],
    );
    body
}

#[test]
fn the_example_of_the_format_document_is_what_is_written() {
    assert_eq!(
        example(),
        crate::encoding::hex_example(include_str!("FORMAT.md"))
    );
}

#[test]
fn definitions_come_back_with_their_ids() {
    let sets = [
        labels(&[("__name__", "up"), ("job", "a")]),
        labels(&[("job", "a"), ("zone", "z")]),
        labels(&[("__name__", "up")]),
        labels(&[("__name__", "up"), ("a", "1"), ("job", "a")]),
    ];
    let mut body = Vec::new();
    put_definitions(
        &mut body,
        sets.iter()
            .enumerate()
            .map(|(index, set)| (100 - index as u64, set)),
    );
    let Section::Definitions(mut reader) = sections(&body).next().unwrap().unwrap() else {
        panic!("not definitions")
    };
    for (index, set) in sets.iter().enumerate() {
        let (id, pairs) = reader.next().unwrap().unwrap();
        assert_eq!(id, 100 - index as u64);
        assert_eq!(&labels(pairs), set);
    }
    assert!(reader.next().unwrap().is_none());
}

#[test]
fn base_row_lone_and_tombstones_come_back() {
    let state = RowState {
        integers: vec![1, -5, i64::MIN, 7],
        scales: vec![0, 0, 31, 2],
    };
    let absentees = vec![(1, 400), (3, i64::MIN)];
    let mut body = Vec::new();
    put_base(&mut body, 9, &[4, 5, 6, 90], 500, 65535, &state, &absentees);
    put_row(
        &mut body,
        &RowSection {
            group: 9,
            timestamp_delta: -3,
            chain: 0,
            row: &[1, 2, 3],
        },
    );
    let lone = [
        LoneSample {
            id: 7,
            timestamp: i64::MAX,
            value: f64::NEG_INFINITY,
        },
        LoneSample {
            id: 3,
            timestamp: i64::MIN,
            value: -0.0,
        },
    ];
    put_lone(&mut body, &lone);
    let deleted = [
        DeletedRange {
            id: 3,
            first: i64::MIN,
            last: i64::MAX,
        },
        DeletedRange {
            id: 1,
            first: 5,
            last: 5,
        },
    ];
    put_tombstones(&mut body, &deleted);
    body.extend_from_slice(&[200, 2, 0xaa, 0xbb]);

    let mut all = sections(&body).map(Result::unwrap);
    let Some(Section::Base(base)) = all.next() else {
        panic!("not a base")
    };
    assert_eq!(
        base,
        Base {
            group: 9,
            ids: vec![4, 5, 6, 90],
            last_timestamp: 500,
            chain: 65535,
            state,
            absentees
        }
    );
    let Some(Section::Row(row)) = all.next() else {
        panic!("not a row")
    };
    assert_eq!(
        (row.group, row.timestamp_delta, row.chain, row.row),
        (9, -3, 0, &[1u8, 2, 3][..])
    );
    let Some(Section::Lone(mut reader)) = all.next() else {
        panic!("not lone samples")
    };
    for sample in lone {
        let read = reader.next().unwrap().unwrap();
        assert_eq!(
            (read.id, read.timestamp, read.value.to_bits()),
            (sample.id, sample.timestamp, sample.value.to_bits())
        );
    }
    assert!(reader.next().unwrap().is_none());
    assert!(matches!(all.next(), Some(Section::Tombstones(ranges)) if ranges == deleted));
    assert!(matches!(all.next(), Some(Section::Unknown)));
    assert!(all.next().is_none());
}

#[test]
fn truncated_and_flipped_bodies_end_without_a_panic() {
    let state = RowState {
        integers: vec![1, -5, 3],
        scales: vec![0, 1, 31],
    };
    let mut body = example();
    put_base(&mut body, 9, &[4, 5, 6], 500, 3, &state, &[(1, 4)]);
    put_tombstones(
        &mut body,
        &[DeletedRange {
            id: 3,
            first: 0,
            last: 9,
        }],
    );
    let drain = |bytes: &[u8]| {
        for section in sections(bytes) {
            match section {
                Ok(Section::Definitions(mut reader)) => {
                    while matches!(reader.next(), Ok(Some(_))) {}
                }
                Ok(Section::Lone(mut reader)) => while matches!(reader.next(), Ok(Some(_))) {},
                _ => {}
            }
        }
    };
    for len in 0..body.len() {
        drain(&body[..len]);
    }
    for bit in 0..body.len() * 8 {
        body[bit / 8] ^= 1 << (bit % 8);
        drain(&body);
        body[bit / 8] ^= 1 << (bit % 8);
    }
}
