use super::*;
use crate::piece::put_ids;
use crate::row::{RowEncoder, RowState};

type Labels<'a> = &'a [(&'a str, &'a str)];

/// Appends definitions of series given as id, metric and other labels.
fn put(out: &mut Vec<u8>, series: &[(u64, &str, Labels<'_>)]) {
    let mut metrics: Vec<&str> = series.iter().map(|series| series.1).collect();
    let mut entities: Vec<Labels<'_>> = series.iter().map(|series| series.2).collect();
    metrics.sort_unstable();
    metrics.dedup();
    entities.sort_unstable();
    entities.dedup();
    let numbered: Vec<Definition> = series
        .iter()
        .map(|&(id, metric, labels)| Definition {
            id,
            metric: metrics.binary_search(&metric).unwrap() as u32,
            entity: entities.binary_search(&labels).unwrap() as u32,
        })
        .collect();
    put_definitions(
        out,
        &numbered,
        |metric| metrics[metric as usize],
        |entity| entities[entity as usize].iter().copied(),
    );
}

/// A series with its metric name and its other labels.
type Defined<'a> = (u64, &'a str, Vec<(&'a str, &'a str)>);

/// Reads the definitions of a section back in the same form.
fn read<'a>(mut reader: DefinitionReader<'a>) -> Result<Vec<Defined<'a>>, Malformed> {
    let mut entities = Vec::new();
    while let Some(pairs) = reader.next_entity()? {
        entities.push(pairs.to_vec());
    }
    let mut found = Vec::new();
    while let Some(series) = reader.next()? {
        found.push((
            series.id,
            reader.metrics()[series.metric as usize],
            entities[series.entity as usize].clone(),
        ));
    }
    Ok(found)
}

fn definitions_of(body: &[u8]) -> DefinitionReader<'_> {
    match sections(body).next() {
        Some(Ok(Section::Definitions(reader))) => reader,
        other => panic!("{other:?}"),
    }
}

fn example() -> Vec<u8> {
    let mut body = Vec::new();
    put(
        &mut body,
        &[(1, "up", &[("job", "a")]), (2, "up", &[("job", "b")])],
    );
    put_lone(
        &mut body,
        &[LoneSample {
            id: 2,
            timestamp: 1000,
            value: 2.5,
        }],
    );
    let (mut joiners, mut row) = (Vec::new(), Vec::new());
    put_ids(&mut joiners, &[2]);
    let mut state = RowState::new(2);
    state.integers[0] = 7;
    RowEncoder::default().encode(&[7.0, 2.5], &[], &state, &mut row);
    put_row(
        &mut body,
        &RowSection {
            group: 4,
            timestamp_delta: 15_000,
            chain: 2,
            joiners: Joiners::new(1, &joiners),
            row: &row,
        },
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
fn definitions_come_back_in_their_order() {
    let cases: [&[(u64, &str, Labels<'_>)]; 5] = [
        &[
            (100, "up", &[("job", "a")]),
            (99, "", &[("job", "a"), ("zone", "z")]),
            (98, "up", &[]),
            (u64::MAX, "up", &[("a", "1"), ("job", "a")]),
            (0, "down", &[("a", "1"), ("job", "a")]),
        ],
        // Metrics of one entity after another, as a scrape of many pods brings them.
        &[
            (1, "a", &[("pod", "x")]),
            (2, "b", &[("pod", "x")]),
            (3, "c", &[("pod", "x")]),
            (4, "a", &[("pod", "y")]),
            (5, "b", &[("pod", "y")]),
            (7, "c", &[("pod", "y")]),
        ],
        // One metric of all entities after another.
        &[
            (1, "a", &[("pod", "x")]),
            (2, "a", &[("pod", "y")]),
            (3, "b", &[("pod", "x")]),
            (4, "b", &[("pod", "y")]),
            (5, "b", &[("pod", "z")]),
        ],
        &[(1, "a", &[]), (2, "", &[("b", "c")])],
        &[],
    ];
    for case in cases {
        let mut body = Vec::new();
        put(&mut body, case);
        let expected: Vec<_> = case
            .iter()
            .map(|(id, metric, labels)| (*id, *metric, labels.to_vec()))
            .collect();
        assert_eq!(read(definitions_of(&body)), Ok(expected));
    }
}

#[test]
fn entities_nobody_asks_for_are_passed_over() {
    let body = example();
    let mut reader = definitions_of(&body);
    let ids: Vec<u64> = std::iter::from_fn(|| reader.next().unwrap())
        .map(|series| series.id)
        .collect();
    assert_eq!(ids, [1, 2]);
}

#[test]
fn definition_of_a_scrape_takes_few_bytes() {
    let pods: Vec<String> = (0..25).map(|pod| format!("pod-{pod:08}")).collect();
    let metrics: Vec<String> = (0..40).map(|metric| format!("metric_{metric}")).collect();
    let series: Vec<Definition> = (0..1000)
        .map(|index| Definition {
            id: 1 + u64::from(index),
            metric: index % 40,
            entity: index / 40,
        })
        .collect();
    let mut body = Vec::new();
    put_definitions(
        &mut body,
        &series,
        |metric| &metrics[metric as usize],
        |pod| [("job", "kubelet"), ("pod", &*pods[pod as usize])].into_iter(),
    );
    assert!(body.len() < 1100, "{} bytes", body.len());
}

#[test]
fn definitions_that_contradict_themselves_are_refused() {
    // A metric, an entity without labels, and what follows.
    let section = |runs: &[u8]| {
        let mut body = vec![TAG_DEFINITIONS, 6 + runs.len() as u8, 1, 1, b'm', 1, 0, 0];
        body.extend_from_slice(runs);
        body
    };
    let outcome = |body: &[u8]| read(definitions_of(body)).map(|found| found.len());
    assert_eq!(outcome(&section(&[2, 0, 0, 0])), Ok(1));
    for runs in [
        // One series more than there are metrics, or entities.
        &[2, 2, 0, 0][..],
        &[2, 3, 0, 0],
        // Another metric, another entity.
        &[2, 0, 1, 0],
        &[2, 0, 0, 1],
        // The same pair again.
        &[2, 0, 0, 0, 2, 0, 0, 0],
        &[2, 0, 0],
    ] {
        assert!(outcome(&section(runs)).is_err(), "{runs:?}");
    }
    for pairs in [
        &[
            1, 1, 8, b'_', b'_', b'n', b'a', b'm', b'e', b'_', b'_', 1, b'a',
        ][..],
        &[2, 3, 1, b'b', 1, b'1', 1, b'a', 1, b'1'],
        &[1, 1, 1, b'a', 0],
        &[1, 0],
        &[65, 0],
    ] {
        let mut body = vec![TAG_DEFINITIONS, 4 + pairs.len() as u8, 1, 1, b'm', 1];
        body.extend_from_slice(pairs);
        assert!(outcome(&body).is_err(), "{pairs:?}");
    }
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
            joiners: Joiners::default(),
            row: &[1, 2, 3],
        },
    );
    let mut ids = Vec::new();
    put_ids(&mut ids, &[91, 92, 7]);
    put_row(
        &mut body,
        &RowSection {
            group: 9,
            timestamp_delta: 5,
            chain: 1,
            joiners: Joiners::new(3, &ids),
            row: &[4],
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
    assert!(row.joiners.is_empty());
    let Some(Section::Row(row)) = all.next() else {
        panic!("not a row")
    };
    assert_eq!(
        (row.chain, row.joiners.ids(), row.row),
        (1, vec![91, 92, 7], &[4u8][..])
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
fn series_that_join_are_few_and_have_samples() {
    let mut row = Vec::new();
    RowEncoder::default().encode(&[7.0, 2.5], &[1], &RowState::new(2), &mut row);
    assert!(parse_row(&row, 2, 0).is_ok());
    assert!(parse_row(&row, 1, 1).is_err());
    row.clear();
    RowEncoder::default().encode(&[7.0, 2.5], &[], &RowState::new(2), &mut row);
    assert!(parse_row(&row, 1, 1).is_ok());
    assert!(parse_row(&row, GROUP_SERIES_MAX, 1).is_err());
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
                Ok(Section::Definitions(reader)) => drop(read(reader)),
                Ok(Section::Lone(mut reader)) => while matches!(reader.next(), Ok(Some(_))) {},
                Ok(Section::Row(row)) => assert_eq!(row.joiners.ids().len(), row.joiners.len()),
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
