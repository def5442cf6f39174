//! Files of stores, on a simulated disk.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::block::{Block, BlockSource, BlockSpec, BlockWriter};
use crate::chunk::ChunkEncoding;
use crate::fs::{Fs, MappedFile, SimFs, Ulid, names};
use crate::head::Checkpoint;
use crate::index::{IndexReader, IndexWriter};
use crate::labels::{Labels, parse_selector};
use crate::sample::Samples;
use crate::series::SeriesStore;
use crate::source::SeriesSource;
use crate::time::TimeRange;
use crate::wal::{Writers, read_log};

use super::input::{Files, Input, edit, put};
use crate::internals::log::LogWriter;

const DIR: &str = "/data";

/// Returns a disk with the directory these bodies use.
fn disk() -> SimFs {
    let fs = SimFs::new();
    fs.create_dir(Path::new(DIR))
        .expect("the simulated disk has no fault");
    fs
}

fn series_labels(number: usize) -> Labels {
    let (metric, pod) = (
        format!("metric_{}", number % 4),
        format!("pod-{}", number / 4),
    );
    Labels::from_pairs([
        ("__name__", metric.as_str()),
        ("job", "a"),
        ("pod", pod.as_str()),
    ])
    .expect("legal labels")
}

const SERIES: usize = 24;

/// The labels in order.
fn all_labels() -> &'static [Labels] {
    static ALL: OnceLock<Vec<Labels>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all: Vec<Labels> = (0..SERIES).map(series_labels).collect();
        all.sort();
        all
    })
}

/// Bodies of the frames in the log that is edited.
fn frame_body(number: u64) -> Vec<u8> {
    (0..20 + number as u8 * 7)
        .map(|byte| byte ^ number as u8)
        .collect()
}

/// The log: an arbitrary or edited segment is read, frames that stand are true, and the log goes on behind them.
pub fn log(data: &[u8]) {
    static VALID: OnceLock<Files> = OnceLock::new();
    let valid = VALID.get_or_init(|| {
        let fs = disk();
        let mut log =
            LogWriter::open(Arc::new(fs.clone()), Path::new(DIR), 4096).expect("a new log");
        for number in 1..=9 {
            log.append(&frame_body(number))
                .expect("the simulated disk has no fault");
        }
        drop(log);
        Files::below(&fs, Path::new(DIR))
    });
    let mut input = Input::new(data);
    let is_raw = input.u8().is_multiple_of(2);
    let fs = if is_raw {
        let fs = disk();
        put(&fs, &Path::new(DIR).join(names::numbered(1)), input.rest());
        fs
    } else {
        valid.disk(0, input.rest())
    };
    let dir = Path::new(DIR);
    let Ok(found) = read_log(&fs, dir, 0, Writers::None) else {
        return;
    };
    found
        .for_each(|_, sequence, body| {
            assert!(
                is_raw || body == frame_body(sequence),
                "frame {sequence} is not what was written"
            );
            Ok(())
        })
        .expect("reading frees nothing");
    let mut log = LogWriter::open(Arc::new(fs.clone()), dir, 4096).expect("a damaged log goes on");
    let sequence = log
        .append(b"behind")
        .expect("the simulated disk has no fault");
    drop(log);
    let mut last = None;
    let again = read_log(&fs, dir, 0, Writers::None).expect("what was read before");
    let visited = again.for_each(|_, sequence, body| {
        last = Some((sequence, body.to_vec()));
        Ok(())
    });
    visited.expect("reading frees nothing");
    assert_eq!(last, Some((sequence, b"behind".to_vec())));
}

/// The series store: definitions that are read are true, and the store goes on behind the damage.
pub fn series_store(data: &[u8]) {
    static VALID: OnceLock<Files> = OnceLock::new();
    let valid = VALID.get_or_init(|| {
        let fs = disk();
        let (mut store, _) = SeriesStore::open(Arc::new(fs.clone()), Path::new(DIR), 42, |_| {})
            .expect("a new store");
        for number in 0..3 {
            let part = all_labels().iter().zip(1u64..).skip(number * 8).take(8);
            store
                .append(part.map(|(labels, id)| (id, labels.into())))
                .expect("the simulated disk has no fault");
        }
        store.sync().expect("the simulated disk has no fault");
        Files::below(&fs, Path::new(DIR))
    });
    let mut input = Input::new(data);
    let is_raw = input.u8().is_multiple_of(2);
    let fs = if is_raw {
        let fs = disk();
        put(&fs, &Path::new(DIR).join(names::numbered(1)), input.rest());
        fs
    } else {
        valid.disk(0, input.rest())
    };
    let new = (1_000_000, series_labels(SERIES));
    let check = |id: u64, labels: &Labels| {
        let is_true = (id, labels) == (new.0, &new.1)
            || all_labels().get(id.wrapping_sub(1) as usize) == Some(labels);
        assert!(is_raw || is_true, "series {id} is not {labels}");
    };
    let opened = SeriesStore::open(Arc::new(fs.clone()), Path::new(DIR), 43, |definition| {
        check(definition.id(), &definition.labels());
    });
    let Ok((mut store, _)) = opened else { return };
    store
        .append([(new.0, (&new.1).into())])
        .expect("a damaged store goes on");
    store.sync().expect("the simulated disk has no fault");
    drop(store);
    let mut is_there = false;
    let visit = |definition: crate::series::Definition<'_>| {
        is_there |= definition.id() == new.0 && definition.labels() == new.1;
    };
    SeriesStore::open(Arc::new(fs), Path::new(DIR), 44, visit).expect("what was opened before");
    assert!(is_there, "a definition behind damage is lost");
}

/// The index of a block: what an arbitrary or edited one answers is true, or an error.
pub fn index(data: &[u8]) {
    static VALID: OnceLock<Vec<u8>> = OnceLock::new();
    let valid = VALID.get_or_init(|| {
        let mut writer = IndexWriter::new();
        for labels in all_labels() {
            writer.add(labels).expect("they come in order");
        }
        let mut bytes = Vec::new();
        writer
            .finish(&mut bytes)
            .expect("a vector takes everything");
        bytes
    });
    let mut input = Input::new(data);
    let is_raw = input.u8().is_multiple_of(4);
    let bytes = if is_raw {
        input.rest().to_vec()
    } else {
        let mut bytes = valid.clone();
        edit(&mut bytes, input.rest());
        bytes
    };
    let file = MappedFile::from_bytes(bytes);
    let Ok(index) = IndexReader::open("index", &file, 0, file.len()) else {
        return;
    };
    for ordinal in 0..index.series_count().min(2 * SERIES as u32) {
        if let Ok(labels) = index.labels(ordinal) {
            assert!(is_raw || all_labels().get(ordinal as usize) == Some(&labels));
        }
    }
    for text in [
        "metric_1",
        "{pod=\"pod-3\"}",
        "{job=\"a\",pod=~\"pod-[1-4]\"}",
        "metric_2{pod!=\"\"}",
        "{job=\"\"}",
    ] {
        let matchers = parse_selector(text).expect("a selector");
        let Ok(found) = index.select(&matchers) else {
            continue;
        };
        if is_raw {
            continue;
        }
        let is_match = |labels: &Labels| {
            matchers
                .iter()
                .all(|matcher| matcher.matches(labels.get(matcher.name()).unwrap_or_default()))
        };
        let expected: Vec<u32> = (0..)
            .zip(all_labels())
            .filter(|(_, labels)| is_match(labels))
            .map(|(ordinal, _)| ordinal)
            .collect();
        assert_eq!(found, expected, "{text}");
    }
}

/// The samples of a series in the block that is edited.
fn block_samples(place: usize) -> Samples {
    let mut samples = Samples::default();
    for scrape in 0..20 + place as i64 {
        samples.push(scrape * 15_000, (scrape * place as i64) as f64 / 10.0);
    }
    samples
}

/// Blocks: one file of a valid block is edited; every series and sample that is read is true.
pub fn block(data: &[u8]) {
    static VALID: OnceLock<Files> = OnceLock::new();
    let ulid = Ulid::new(1_700_000_000_000, 42);
    let valid = VALID.get_or_init(|| {
        let fs = disk();
        let spec = BlockSpec {
            ulid,
            range: TimeRange::new(0, 7_200_000),
            level: 1,
            sources: Vec::new(),
            parents: Vec::new(),
            created_ms: 0,
            flushed_through: 1,
            encoding: ChunkEncoding::Dense,
        };
        let mut writer = BlockWriter::create(Arc::new(fs.clone()), Path::new(DIR), spec)
            .expect("the simulated disk has no fault");
        for (place, labels) in all_labels().iter().enumerate() {
            writer
                .add(labels, &block_samples(place))
                .expect("series come in order");
        }
        let block = writer.finish().expect("the simulated disk has no fault");
        block
            .delete(
                TimeRange::new(0, 60_000),
                &parse_selector("metric_3").expect("a selector"),
            )
            .expect("the simulated disk has no fault");
        Files::below(&fs, Path::new(DIR))
    });
    let mut input = Input::new(data);
    let edited = input.below(valid.files.len());
    let fs = valid.disk(edited, input.rest());
    let Ok(block) = Block::open(Arc::new(fs), &Path::new(DIR).join(ulid.to_string())) else {
        return;
    };
    drop(block.verify());
    let Ok(mut walk) = BlockSource::new(Arc::new(block)).select(&[], TimeRange::ALL) else {
        return;
    };
    let mut failures = 0;
    let mut read = Samples::default();
    loop {
        match walk.next() {
            Ok(None) => return,
            Ok(Some(series)) => {
                let place = all_labels()
                    .binary_search(&series.labels.to_labels())
                    .expect("no series is invented");
                let expected = block_samples(place);
                read.clear();
                // What a failed read leaves has to be true as well.
                drop(series.read(TimeRange::ALL, &mut read));
                for sample in read.iter() {
                    let at = expected
                        .timestamps
                        .binary_search(&sample.timestamp)
                        .expect("no sample is invented");
                    assert_eq!(sample.value.to_bits(), expected.values[at].to_bits());
                    assert!(
                        series.labels.metric() != "metric_3" || sample.timestamp >= 60_000,
                        "what is deleted stays so"
                    );
                }
            }
            Err(_) => failures += 1,
        }
        assert!(failures <= 2 * SERIES, "a walk passes damage");
    }
}

/// Checkpoints: any bytes are refused or are one that is stored as it was read.
pub fn checkpoint(data: &[u8]) {
    let fs = disk();
    let dir = Path::new(DIR);
    put(&fs, &dir.join(names::CHECKPOINT), data);
    let Ok(Some(checkpoint)) = Checkpoint::load(&fs, dir) else {
        return;
    };
    checkpoint
        .store(&fs, dir)
        .expect("the simulated disk has no fault");
    assert_eq!(
        Checkpoint::load(&fs, dir).expect("it was just written"),
        Some(checkpoint)
    );
}
