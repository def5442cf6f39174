use std::collections::BTreeSet;
use std::path::Path;

use super::IndexReader;
use crate::error::ErrorKind;
use crate::fs::MappedFile;
use crate::index::IndexWriter;
use crate::index::tests::{cluster, cluster_queries, matcher, opened, written};
use crate::labels::{Labels, MatchOp, Matcher};

fn example() -> BTreeSet<Labels> {
    [("up", "a"), ("up", "b"), ("v", "b")]
        .map(|(metric, job)| Labels::from_pairs([("__name__", metric), ("job", job)]).unwrap())
        .into()
}

/// Series of all shapes: with and without metric name, sparse metrics, lists, bitmaps and runs, several pages.
fn assorted() -> BTreeSet<Labels> {
    let mut series = BTreeSet::new();
    for id in 0..400u32 {
        let (id_text, third, half) = (
            id.to_string(),
            (id % 3).to_string(),
            (id * 7919 % 5).to_string(),
        );
        let entity = [("id", id_text.as_str()), ("half", &half), ("third", &third)];
        for (metric, every) in [("", 50), ("all", 1), ("few", 40), ("häufig", 2), ("odd", 7)] {
            if id * 31 % every == 0 {
                let labels = entity.into_iter().chain([("__name__", metric)]);
                series.insert(Labels::from_pairs(labels).unwrap());
            }
        }
    }
    series
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect()
}

#[test]
fn example_of_the_format_is_what_is_written() {
    let format = include_str!("FORMAT.md");
    let example_text = format
        .split("```text\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let bytes: Vec<u8> = example_text
        .lines()
        .flat_map(|line| from_hex(line.split("  ").next().unwrap()))
        .collect();
    assert_eq!(bytes, written(&example()));
    let index = opened(bytes);
    let labels: Vec<Labels> = (0..3)
        .map(|ordinal| index.labels(ordinal).unwrap())
        .collect();
    assert!(labels.iter().eq(example().iter()));
    assert_eq!(
        index
            .select(&[matcher(MatchOp::Equal, "job", "b")])
            .unwrap(),
        [1, 2]
    );
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "golden files are of the source tree, not of a database"
)]
fn golden_index_is_read_and_written_again() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1/index.bin");
    let bytes = written(&assorted());
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|update| update == "1") {
        std::fs::write(&path, &bytes).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    assert!(
        golden == bytes,
        "the index is written differently than version 1 was"
    );
    let index = opened(golden);
    for (ordinal, labels) in assorted().iter().enumerate() {
        assert_eq!(&index.labels(ordinal as u32).unwrap(), labels);
    }
}

#[test]
fn index_without_series_is_readable() {
    let index = opened(written(&BTreeSet::new()));
    assert_eq!(index.series_count(), 0);
    assert_eq!(index.select(&[]).unwrap(), Vec::<u32>::new());
    assert!(index.label_names(&[]).unwrap().is_empty());
    assert_eq!(index.labels(0).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn series_out_of_order_is_refused() {
    let mut writer = IndexWriter::new();
    let [first, second, _] = Vec::from_iter(example()).try_into().unwrap();
    writer.add(&second).unwrap();
    assert_eq!(writer.add(&first).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(writer.add(&second).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn index_within_a_file_is_found_at_its_place() {
    let index = written(&example());
    let mut file = vec![0xee; 100];
    file.extend_from_slice(&index);
    file.extend_from_slice(&[0xee; 50]);
    let file = MappedFile::from_bytes(file);
    let reader = IndexReader::open("block", &file, 100, index.len() as u64).unwrap();
    assert_eq!(reader.select(&[]).unwrap(), [0, 1, 2]);
    assert!(IndexReader::open("block", &file, 100, index.len() as u64 + 1).is_err());
    assert!(IndexReader::open("block", &file, 100, u64::MAX).is_err());
}

#[test]
fn cluster_takes_few_bytes() {
    let series: BTreeSet<Labels> = cluster().take(20_000).collect();
    let bytes = written(&series);
    assert!(
        bytes.len() < series.len() * 5,
        "{} bytes for {} series",
        bytes.len(),
        series.len()
    );
}

#[test]
fn newer_version_is_refused_as_such() {
    let mut bytes = written(&example());
    bytes[4] = 2;
    let crc = crate::encoding::crc32(&bytes[..8]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    let len = bytes.len() as u64;
    let error = IndexReader::open("index", &MappedFile::from_bytes(bytes), 0, len).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

/// Asks the index everything: what it does not refuse must be right. Returns how often it refused.
fn is_right_or_fails(
    bytes: &[u8],
    series: &[Labels],
    queries: &[(Vec<Matcher>, Vec<u32>)],
) -> usize {
    let Ok(index) = IndexReader::open(
        "index",
        &MappedFile::from_bytes(bytes.to_vec()),
        0,
        bytes.len() as u64,
    ) else {
        return 1;
    };
    let mut errors = 0;
    for (ordinal, expected) in series.iter().enumerate() {
        match index.labels(ordinal as u32) {
            Ok(labels) => assert_eq!(&labels, expected),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corruption);
                errors += 1;
            }
        }
        match index.ordinal_of(expected) {
            Ok(found) => assert_eq!(found, Some(ordinal as u32)),
            Err(_) => errors += 1,
        }
    }
    for (matchers, expected) in queries {
        match index.select(matchers) {
            Ok(found) => assert_eq!(&found, expected),
            Err(_) => errors += 1,
        }
        let Ok(mut found) = index.find(matchers) else {
            errors += 1;
            continue;
        };
        loop {
            // A damaged place in the index costs series, it does not make others of them.
            let outcome = found.next_batch(&index, |ordinal, labels| {
                assert!(expected.contains(&ordinal));
                if let Some(right) = series.get(ordinal as usize) {
                    assert!(labels == *right, "{labels} instead of {right}");
                }
            });
            match outcome {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => errors += 1,
            }
        }
    }
    errors
}

#[test]
fn damage_is_an_error_or_without_consequence() {
    let series = assorted();
    let bytes = written(&series);
    let sound = opened(bytes.clone());
    let queries: Vec<(Vec<Matcher>, Vec<u32>)> = [
        vec![],
        vec![matcher(MatchOp::Regex, "id", ".*1.*")],
        vec![
            matcher(MatchOp::Equal, "half", "2"),
            matcher(MatchOp::NotEqual, "__name__", "all"),
        ],
        vec![
            matcher(MatchOp::NotEqual, "third", "1"),
            matcher(MatchOp::Equal, "__name__", "odd"),
        ],
    ]
    .into_iter()
    .map(|matchers| {
        let found = sound.select(&matchers).unwrap();
        (matchers, found)
    })
    .collect();
    let all: Vec<Labels> = series.into_iter().collect();
    assert_eq!(is_right_or_fails(&bytes, &all, &queries), 0);
    let mut damaged = bytes.clone();
    for byte in 0..bytes.len() {
        let bit = byte * 5 % 8;
        damaged[byte] ^= 1 << bit;
        is_right_or_fails(&damaged, &all[..20], &queries);
        damaged[byte] ^= 1 << bit;
    }
    for len in 0..bytes.len() {
        let cut = &bytes[..len];
        assert!(
            IndexReader::open(
                "index",
                &MappedFile::from_bytes(cut.to_vec()),
                0,
                len as u64
            )
            .is_err()
        );
    }
}

#[test]
fn every_flipped_bit_of_a_small_index_is_harmless() {
    let series: Vec<Labels> = example().into_iter().collect();
    let bytes = written(&example());
    let queries = [
        (vec![], vec![0, 1, 2]),
        (vec![matcher(MatchOp::NotEqual, "job", "a")], vec![1, 2]),
    ];
    let mut damaged = bytes.clone();
    for bit in 0..bytes.len() * 8 {
        damaged[bit / 8] ^= 1 << (bit % 8);
        // Every byte of it is needed for some answer.
        assert!(
            is_right_or_fails(&damaged, &series, &queries) > 0,
            "bit {bit}"
        );
        damaged[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn damaged_page_costs_only_its_own_values() {
    let series: BTreeSet<Labels> = cluster().take(10_000).collect();
    let bytes = written(&series);
    let sound = opened(bytes.clone());
    let page = &sound
        .directory
        .labels
        .iter()
        .find(|label| label.name == "pod")
        .unwrap()
        .pages[1]
        .page;
    let mut damaged = bytes;
    damaged[page.offset as usize + 40] ^= 1;
    let damaged = opened(damaged);
    for (matchers, _) in cluster_queries()
        .into_iter()
        .filter(|(matchers, _)| matchers.iter().all(|matcher| matcher.name() != "pod"))
    {
        assert_eq!(
            damaged.select(&matchers).unwrap(),
            sound.select(&matchers).unwrap()
        );
    }
    let pods = sound.label_values("pod", &[]).unwrap();
    let failed = pods
        .iter()
        .filter(|pod| {
            damaged
                .select(&[matcher(MatchOp::Equal, "pod", pod)])
                .is_err()
        })
        .count();
    assert_eq!(failed, 64);
}
