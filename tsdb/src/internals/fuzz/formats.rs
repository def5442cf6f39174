//! Formats that are pure functions of bytes.

use crate::chunk::{self, gorilla as gorilla_chunk};
use crate::encoding::ByteReader;
use crate::frame::{Section, sections};
use crate::labels::{Labels, parse_selector};
use crate::piece::{HEADER_BYTES, PieceEncoder, PieceHeader, PieceRow, PieceView};
use crate::row::{RowEncoder, RowState, RowView};
use crate::sample::Samples;
use crate::tombstone::{Intervals, Tombstones};

use super::input::{Input, any, edit};

/// Most samples, rows or positions that a body makes of its bytes.
const COUNT_MAX: usize = 300;

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Gorilla chunks: both readers agree on any bytes, and samples come back.
pub fn gorilla(data: &[u8]) {
    let mut decoded = Samples::default();
    let whole = gorilla_chunk::decode(data, &mut decoded);
    if let Ok(iter) = gorilla_chunk::Iter::new(data) {
        let walked: Vec<_> = iter.collect();
        let is_whole = walked.iter().all(Result::is_ok);
        if whole.is_ok() {
            assert!(is_whole, "the iterator refuses what decodes");
            let walked: Vec<_> = walked.into_iter().flatten().collect();
            assert_eq!(walked, decoded.iter().collect::<Vec<_>>());
        }
    }
    let mut input = Input::new(data);
    let mut appender = gorilla_chunk::Appender::new();
    let mut written = Samples::default();
    let mut timestamp = input.u64() as i64;
    while !input.is_empty() && written.len() < COUNT_MAX {
        let value = input.value();
        appender.push(timestamp, value);
        written.push(timestamp, value);
        let step = if input.u8().is_multiple_of(16) {
            input.u64() as i64
        } else {
            15_000 + i64::from(input.u8())
        };
        timestamp = timestamp.wrapping_add(step);
    }
    let mut read = Samples::default();
    gorilla_chunk::decode(&appender.finish(), &mut read).expect("it was just written");
    assert_eq!(read.timestamps, written.timestamps);
    assert_eq!(bits(&read.values), bits(&written.values));
}

/// Dense chunks: any bytes under any count, and values come back.
pub fn dense(data: &[u8]) {
    let mut input = Input::new(data);
    let count = input.below(2048);
    let mut out = vec![1.0];
    match chunk::dense::decode(input.rest(), count, &mut out) {
        Ok(()) => assert_eq!(out.len(), count + 1),
        Err(_) => assert_eq!(bits(&out), bits(&[1.0]), "a failed decode leaves nothing"),
    }
    let (base, difference) = input.rest().split_at(input.rest().len() / 2);
    out.clear();
    if chunk::dense::decode_difference(difference, base, count, &mut out).is_ok() {
        assert_eq!(out.len(), count);
    }
    let count = count % COUNT_MAX + 1;
    let values = input.values(count);
    let mut bytes = Vec::new();
    chunk::dense::Encoder::new().encode(&values, &mut bytes);
    let mut read = Vec::new();
    chunk::dense::decode(&bytes, values.len(), &mut read).expect("it was just written");
    assert_eq!(bits(&read), bits(&values));
}

/// Timestamp columns: any bytes, and timestamps come back.
pub fn column(data: &[u8]) {
    let mut out = Vec::new();
    let mut input = Input::new(data);
    let count_max = input.below(4096);
    if chunk::column::decode(input.rest(), count_max, &mut out).is_ok() {
        assert!(out.len() <= count_max);
    }
    let mut timestamps: Vec<i64> = Vec::new();
    let mut timestamp = input.u64() as i64 >> 8;
    while !input.is_empty() && timestamps.len() < COUNT_MAX {
        timestamps.push(timestamp);
        let step = if input.u8().is_multiple_of(16) {
            input.u64() as i64 >> 16
        } else {
            15_000 + i64::from(input.u8())
        };
        timestamp = timestamp.saturating_add(step.saturating_abs().max(1));
    }
    timestamps.dedup();
    if timestamps.is_empty() {
        return;
    }
    let mut bytes = Vec::new();
    chunk::column::encode(&timestamps, &mut bytes);
    let mut read = Vec::new();
    chunk::column::decode(&bytes, timestamps.len(), &mut read).expect("it was just written");
    assert_eq!(read, timestamps);
}

/// Rows: whatever parses can be applied, inverted and walked; scrapes come back.
pub fn row(data: &[u8]) {
    let mut input = Input::new(data);
    let n = input.below(COUNT_MAX) + 1;
    let mut state = RowState::new(n);
    if let Ok(view) = RowView::parse(input.rest(), n) {
        view.apply(&mut state);
        view.invert(&mut state);
        view.for_each_absent(|position| assert!(position < n));
        view.for_each_stale(|position| assert!(position < n));
        view.for_each_other_change(|position, _| assert!(position < n));
        (0..n).for_each(|position| any((view.has(position), view.is_stale(position))));
    }
    let mut encoder = RowEncoder::default();
    let mut state = RowState::new(n);
    let mut rows = 0;
    while !input.is_empty() && rows < 16 {
        let absent = absentees(&mut input, n);
        let values = input.values(n);
        let mut bytes = Vec::new();
        encoder.encode(&values, &absent, &state, &mut bytes);
        let view = RowView::parse(&bytes, n).expect("it was just written");
        let before = state.clone();
        view.apply(&mut state);
        for (position, value) in values.iter().enumerate() {
            let is_absent = absent.contains(&(position as u16));
            assert_eq!(view.has(position), !is_absent);
            if is_absent {
                continue;
            }
            if view.is_stale(position) {
                assert!(crate::sample::is_stale(*value));
            } else {
                assert_eq!(state.value(position).to_bits(), value.to_bits());
            }
        }
        let mut back = state.clone();
        view.invert(&mut back);
        assert_eq!(back, before);
        rows += 1;
    }
}

/// Returns a few positions in order.
fn absentees(input: &mut Input<'_>, n: usize) -> Vec<u16> {
    let mut absent: Vec<u16> = (0..input.below(4)).map(|_| input.below(n) as u16).collect();
    absent.sort_unstable();
    absent.dedup();
    absent
}

/// Pieces: rows become a piece that reads back, and an edited one, checksum ignored, is read without a panic.
pub fn piece(data: &[u8]) {
    any(PieceHeader::read(data));
    let (rows_data, edits) = data.split_at(data.len() / 2);
    let mut input = Input::new(rows_data);
    let n = input.below(40) + 1;
    let ids: Vec<u64> = (1..=n as u64)
        .map(|id| id * (1 + u64::from(n.is_multiple_of(3))))
        .collect();
    let mut encoder = RowEncoder::default();
    let mut state = RowState::new(n);
    let mut rows: Vec<Vec<u8>> = Vec::new();
    let mut expected = vec![Samples::default(); n];
    loop {
        let absent = absentees(&mut input, n);
        let values = input.values(n);
        let mut row = Vec::new();
        encoder.encode(&values, &absent, &state, &mut row);
        RowView::parse(&row, n)
            .expect("it was just written")
            .apply(&mut state);
        for (position, value) in values.into_iter().enumerate() {
            if !absent.contains(&(position as u16)) {
                expected[position].push(timestamp_of(rows.len()), value);
            }
        }
        rows.push(row);
        if input.is_empty() || rows.len() == 60 {
            break;
        }
    }
    let views = rows
        .iter()
        .map(|row| RowView::parse(row, n).expect("it was just written"));
    let views: Vec<PieceRow<'_>> = (0..)
        .zip(views)
        .map(|(index, row)| PieceRow {
            timestamp: timestamp_of(index),
            sequence: 7 + index as u64,
            row,
        })
        .collect();
    let mut bytes = Vec::new();
    PieceEncoder::default().encode(9, &ids, &views, &state, &mut bytes);
    let header = PieceHeader::read(&bytes).expect("it was just written");
    let view = PieceView::new(header, &bytes[HEADER_BYTES..]).expect("it was just written");
    view.verify().expect("it was just written");
    assert_eq!(view.ids().expect("it was just written"), ids);
    let mut scratch = Vec::new();
    for (position, expected) in expected.iter().enumerate() {
        let mut read = Samples::default();
        view.read_all(position, &mut scratch, &mut read)
            .expect("it was just written");
        assert_eq!(read.timestamps, expected.timestamps);
        assert_eq!(bits(&read.values), bits(&expected.values));
    }
    edit(&mut bytes[HEADER_BYTES..], edits);
    let view = PieceView::new(header, &bytes[HEADER_BYTES..]).expect("its length did not change");
    any(view.ids());
    any(view.absent_from_last_row());
    for position in 0..n {
        let mut read = Samples::default();
        any(view.read_all(position, &mut scratch, &mut read));
        assert_eq!(read.timestamps.len(), read.values.len());
        any(view.last_timestamp_of(position));
    }
}

fn timestamp_of(row: usize) -> i64 {
    1_700_000_000_000 + row as i64 * 15_000
}

/// Frame bodies: any bytes are walked to their end.
pub fn frame(data: &[u8]) {
    for section in sections(data) {
        match section {
            Ok(Section::Definitions(mut reader)) => while let Ok(Some(_)) = reader.next() {},
            Ok(Section::Lone(mut reader)) => while let Ok(Some(_)) = reader.next() {},
            Ok(Section::Row(section)) => {
                assert_eq!(section.joiners.ids().len(), section.joiners.len());
                for n in [1, 64, 1000] {
                    any(RowView::parse(section.row, n));
                    any(section.parse(n));
                }
            }
            Ok(Section::Base(_) | Section::Tombstones(_) | Section::Unknown) => {}
            Err(_) => return,
        }
    }
}

/// Tombstones: what decodes encodes to the same, and intervals cover what was added and nothing else.
pub fn tombstones(data: &[u8]) {
    if let Ok(decoded) = Tombstones::decode(data) {
        let again = Tombstones::decode(&decoded.encode()).expect("it was just written");
        assert!(decoded.iter().eq(again.iter()));
    }
    let mut intervals = Intervals::new();
    let mut covered = [false; 256];
    for pair in data.chunks_exact(2) {
        let (first, last) = (pair[0].min(pair[1]), pair[0].max(pair[1]));
        intervals.add(i64::from(first), i64::from(last));
        covered[usize::from(first)..=usize::from(last)].fill(true);
    }
    let mut samples = Samples::default();
    for (timestamp, is_covered) in (0..).zip(covered) {
        assert_eq!(intervals.covers(timestamp), is_covered, "{timestamp}");
        samples.push(timestamp, 0.0);
    }
    intervals.remove_from(&mut samples, 0);
    assert!(
        samples
            .timestamps
            .iter()
            .all(|&timestamp| !covered[timestamp as usize])
    );
    assert_eq!(
        samples.len(),
        covered.iter().filter(|is_covered| !**is_covered).count()
    );
    if intervals.is_empty() {
        return;
    }
    let mut bytes = Vec::new();
    intervals.encode(&mut bytes);
    let read = Intervals::decode(&mut ByteReader::new(&bytes)).expect("it was just written");
    assert!(read.iter().eq(intervals.iter()));
}

/// Selectors and label sets: any text is parsed or refused, and what is parsed is printed so that it parses again.
pub fn selector(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(matchers) = parse_selector(text) {
        for matcher in &matchers {
            for value in ["", "a", "team-7", "\n", text] {
                any(matcher.matches(value));
            }
            assert_eq!(matcher.matches(""), matcher.matches_empty());
        }
        let printed = matchers
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(",");
        let again = parse_selector(&format!("{{{printed}}}")).expect("a printed matcher parses");
        let parts = |matchers: &[crate::labels::Matcher]| -> Vec<_> {
            matchers
                .iter()
                .map(|matcher| {
                    (
                        matcher.op(),
                        matcher.name().to_owned(),
                        matcher.value().to_owned(),
                    )
                })
                .collect()
        };
        assert_eq!(parts(&again), parts(&matchers));
    }
    if let Ok(labels) = text.parse::<Labels>() {
        assert_eq!(
            labels
                .to_string()
                .parse::<Labels>()
                .expect("printed labels parse"),
            labels
        );
    }
}
