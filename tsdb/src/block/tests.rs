use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::chunk::ChunkEncoding;
use crate::error::{ErrorKind, Result};
use crate::fs::{DiskFs, Fault, FaultKind, Fs, IoMode, SimFs, Ulid, sweep_tmp};
use crate::labels::{Labels, MatchOp, Matcher};
use crate::sample::{STALE_BITS, Samples};
use crate::source::SeriesSource;
use crate::time::TimeRange;

/// What a block should hold: the bits of the values.
type Model = BTreeMap<Labels, BTreeMap<i64, u64>>;

const RANGE: TimeRange = TimeRange::new(0, 7_200_000);
const ENCODINGS: [ChunkEncoding; 2] = [ChunkEncoding::Dense, ChunkEncoding::Gorilla];

fn blocks_dir() -> &'static Path {
    Path::new("/blocks")
}

fn disk() -> SimFs {
    let fs = SimFs::new();
    fs.create_dir(blocks_dir()).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs
}

fn ulid() -> Ulid {
    Ulid::new(1_700_000_000_000, 42)
}

fn published() -> PathBuf {
    blocks_dir().join(ulid().to_string())
}

fn spec(encoding: ChunkEncoding) -> BlockSpec {
    BlockSpec {
        ulid: ulid(),
        range: RANGE,
        level: 1,
        sources: Vec::new(),
        parents: Vec::new(),
        created_ms: 1_700_000_000_000,
        flushed_through: 77,
        encoding,
    }
}

fn labels(metric: &str, instance: &str) -> Labels {
    Labels::from_pairs([("__name__", metric), ("instance", instance)]).unwrap()
}

fn write(fs: &SimFs, encoding: ChunkEncoding, model: &Model) -> Result<Block> {
    write_spec(Arc::new(fs.clone()), blocks_dir(), spec(encoding), model)
}

fn write_spec(fs: Arc<dyn Fs>, dir: &Path, spec: BlockSpec, model: &Model) -> Result<Block> {
    let mut writer = BlockWriter::create(fs, dir, spec)?;
    for (labels, samples) in model {
        let mut columns = Samples::default();
        for (&timestamp, &bits) in samples {
            columns.push(timestamp, f64::from_bits(bits));
        }
        writer.add(labels, &columns)?;
    }
    writer.finish()
}

fn open(fs: &SimFs) -> Result<Block> {
    Block::open(Arc::new(fs.clone()), &published())
}

/// What can be read, and the number of errors on the way.
fn read_lenient(source: &BlockSource, range: TimeRange) -> (Model, usize) {
    let (mut model, mut errors) = (Model::new(), 0);
    let Ok(mut walk) = source.select(&[], range) else {
        return (model, 1);
    };
    loop {
        match walk.next() {
            Ok(Some(series)) => {
                let mut samples = Samples::default();
                errors += usize::from(series.read(range, &mut samples).is_err());
                let samples: BTreeMap<_, _> = samples
                    .iter()
                    .map(|sample| (sample.timestamp, sample.value.to_bits()))
                    .collect();
                if !samples.is_empty() {
                    model.insert(series.labels.to_labels(), samples);
                }
            }
            Ok(None) => return (model, errors),
            Err(_damaged) => errors += 1,
        }
    }
}

fn read(block: Block, range: TimeRange) -> Model {
    let (model, errors) = read_lenient(&BlockSource::new(Arc::new(block)), range);
    assert_eq!(errors, 0);
    model
}

/// Series of every kind of chunk, with every kind of value.
fn example() -> Model {
    let odd = [
        STALE_BITS,
        (-0.0f64).to_bits(),
        f64::INFINITY.to_bits(),
        0x7ff8_0000_0000_beef,
        1,
        0.1f64.to_bits(),
    ];
    let mut model = Model::new();
    for instance in ["a", "b", "c"] {
        let scrapes = (0..30).map(|step| step * 15_000 + 7);
        model.insert(
            labels("constant", instance),
            scrapes.clone().map(|t| (t, 1f64.to_bits())).collect(),
        );
        model.insert(
            labels("counter", instance),
            scrapes.map(|t| (t, ((t * t) as f64).to_bits())).collect(),
        );
        model.insert(
            labels("odd", instance),
            (0..)
                .zip(odd)
                .map(|(t, bits)| (t * 1_000_003, bits))
                .collect(),
        );
    }
    let packets = |step: i64| (step << 20) + (step.wrapping_mul(0x5851_f42d_4c95_7f2d) >> 46);
    for (name, more) in [
        ("packets_in", (|_| 0) as fn(i64) -> i64),
        ("packets_lost", |_| 1000),
        ("packets_out", |step| step * step % 31),
    ] {
        let counted = (0..30).map(|step| (step * 15_000 + 7, packets(step) + more(step)));
        model.insert(
            labels(name, "a"),
            counted
                .map(|(t, count)| (t, (count as f64).to_bits()))
                .collect(),
        );
    }
    model.insert(
        labels("one", "a"),
        BTreeMap::from([(RANGE.end - 1, 5f64.to_bits())]),
    );
    model
}

fn without(model: &Model, metric: &str, range: TimeRange) -> Model {
    let mut left = model.clone();
    for (_, samples) in left
        .iter_mut()
        .filter(|(labels, _)| labels.metric() == metric)
    {
        samples.retain(|&timestamp, _| !range.contains(timestamp));
    }
    left.retain(|_, samples| !samples.is_empty());
    left
}

fn metric(name: &str) -> [Matcher; 1] {
    [Matcher::new(MatchOp::Equal, "__name__", name).unwrap()]
}

#[test]
fn block_reads_back_what_was_written() {
    for encoding in ENCODINGS {
        let fs = disk();
        let block = write(&fs, encoding, &example()).unwrap();
        let meta = block.meta().clone();
        assert_eq!(
            (meta.series, meta.samples, meta.flushed_through),
            (13, 3 * 66 + 90 + 1, 77)
        );
        assert_eq!(meta.sources, [ulid()]);
        assert_eq!(block.verify().damaged.len(), 0);
        assert_eq!(read(block, TimeRange::ALL), example());

        let block = open(&fs).unwrap();
        assert_eq!(block.meta(), &meta);
        assert_eq!(
            block.size_bytes(),
            fs.files().iter().map(|(_, len)| len).sum::<u64>()
        );
        assert_eq!(read(block, TimeRange::ALL), example());
    }
}

#[test]
fn matchers_and_range_select() {
    let block = Arc::new(write(&disk(), ChunkEncoding::Dense, &example()).unwrap());
    let source = BlockSource::new(block);
    let mut walk = source.select(&metric("counter"), RANGE).unwrap();
    let mut found = Vec::new();
    while let Some(series) = walk.next().unwrap() {
        found.push(series.labels.get("instance").unwrap().to_owned());
    }
    assert_eq!(found, ["a", "b", "c"]);
    let before = TimeRange::new(-100, 0);
    assert!(
        source
            .select(&[], before)
            .unwrap()
            .next()
            .unwrap()
            .is_none()
    );
    assert!(source.label_names(&[], before).unwrap().is_empty());
    let values = source
        .label_values("instance", &metric("one"), RANGE)
        .unwrap();
    assert_eq!(values.into_iter().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn wrong_input_is_refused_and_leaves_nothing() {
    let fs = disk();
    let mut samples = Samples::default();
    samples.push(5, 1.0);
    let create = || {
        BlockWriter::create(
            Arc::new(fs.clone()),
            blocks_dir(),
            spec(ChunkEncoding::Dense),
        )
        .unwrap()
    };

    let mut writer = create();
    writer.add(&labels("b", "x"), &samples).unwrap();
    assert_eq!(
        writer.add(&labels("a", "x"), &samples).unwrap_err().kind(),
        ErrorKind::Invalid
    );
    drop(writer);
    for (first, second) in [(5, 5), (5, 4), (-1, 5), (5, RANGE.end)] {
        let mut wrong = Samples::default();
        wrong.push(first, 1.0);
        wrong.push(second, 1.0);
        assert_eq!(
            create().add(&labels("a", "x"), &wrong).unwrap_err().kind(),
            ErrorKind::Invalid
        );
    }
    let mut writer = create();
    writer.add(&labels("a", "x"), &Samples::default()).unwrap();
    assert_eq!(writer.finish().unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(fs.read_dir(blocks_dir()).unwrap(), []);
}

#[test]
fn deletion_hides_samples_and_survives() {
    let fs = disk();
    let block = Arc::new(write(&fs, ChunkEncoding::Dense, &example()).unwrap());
    let source = BlockSource::new(block.clone());
    let mut before = source.select(&metric("counter"), RANGE).unwrap();
    let range = TimeRange::new(100_000, 10_000_000);
    assert_eq!(block.delete(range, &metric("counter")).unwrap(), 3);
    assert_eq!(block.delete(range, &metric("nothing")).unwrap(), 0);
    assert_eq!(
        block.delete(TimeRange::new(0, 10), &metric("one")).unwrap(),
        0
    );

    // A source from before still has them, whenever it is asked.
    assert_eq!(read_lenient(&source, TimeRange::ALL), (example(), 0));
    let mut samples = Samples::default();
    before
        .next()
        .unwrap()
        .unwrap()
        .read(RANGE, &mut samples)
        .unwrap();
    assert_eq!(samples.len(), 30);

    let source = BlockSource::new(block);
    let expected = without(&example(), "counter", range);
    assert_eq!(read_lenient(&source, TimeRange::ALL), (expected.clone(), 0));
    let latest = source
        .select(&metric("counter"), RANGE)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .latest(RANGE);
    assert_eq!(latest.unwrap().map(|sample| sample.timestamp), Some(90_007));

    let block = open(&fs).unwrap();
    assert_eq!(block.tombstones().len(), 3);
    assert_eq!(
        block.size_bytes(),
        fs.files().iter().map(|(_, len)| len).sum::<u64>()
    );
    assert_eq!(read(block, TimeRange::ALL), expected);
}

#[test]
fn removed_block_stays_readable_and_is_gone() {
    let fs = disk();
    let block = write(&fs, ChunkEncoding::Dense, &example()).unwrap();
    remove(&fs, blocks_dir(), ulid()).unwrap();
    assert_eq!(fs.files(), []);
    assert_eq!(read(block, TimeRange::ALL), example());
}

#[test]
fn crash_at_any_step_of_writing_leaves_all_or_nothing() {
    let fs = disk();
    let start = fs.operations();
    write(&fs, ChunkEncoding::Dense, &example()).unwrap();
    let end = fs.operations();
    let mut whole = 0;
    for at in start..=end {
        for (choice, left) in fs.crash_states(at, 8) {
            sweep_tmp(&left, blocks_dir()).unwrap();
            if left.exists(&published()).unwrap() {
                let block =
                    open(&left).unwrap_or_else(|error| panic!("{choice:?} before {at}: {error}"));
                assert_eq!(block.verify().damaged.len(), 0);
                assert_eq!(read(block, TimeRange::ALL), example());
                whole += 1;
            } else {
                assert!(
                    at < end,
                    "{choice:?}: the block was there when writing returned"
                );
                assert_eq!(left.files(), []);
            }
        }
    }
    assert!(whole > 1);
}

#[test]
fn every_sync_of_writing_is_needed() {
    for name in ["chunks", "index", "meta", ".tmp", "blocks"] {
        let fs = disk();
        fs.ignore_syncs(move |path| path.to_string_lossy().ends_with(name));
        write(&fs, ChunkEncoding::Dense, &example()).unwrap();
        let is_harmless = fs.crash_states(fs.operations(), 8).all(|(_, left)| {
            sweep_tmp(&left, blocks_dir()).unwrap();
            open(&left).is_ok_and(|block| block.verify().damaged.is_empty())
        });
        assert!(!is_harmless, "{name}");
    }
}

#[test]
fn failure_of_any_step_of_writing_leaves_nothing() {
    for kind in [
        FaultKind::Eio,
        FaultKind::Enospc,
        FaultKind::ShortWrite,
        FaultKind::LostSync,
    ] {
        for number in 0.. {
            let fs = disk();
            fs.fail_nth(fs.operations() + number, Fault::once(kind));
            let outcome = write(&fs, ChunkEncoding::Dense, &example());
            if fs.failures() == 0 {
                assert!(outcome.is_ok());
                break;
            }
            let error = outcome.expect_err("a failure is reported");
            assert!(
                matches!(error.kind(), ErrorKind::Io | ErrorKind::StorageFull),
                "{error}"
            );
            assert_eq!(fs.files(), [], "{kind:?} {number}");
            // The next attempt succeeds.
            assert_eq!(
                read(
                    write(&fs, ChunkEncoding::Dense, &example()).unwrap(),
                    TimeRange::ALL
                ),
                example()
            );
        }
    }
}

#[test]
fn full_disk_is_reported_as_such_and_leaves_room_again() {
    let fs = disk();
    fs.set_capacity(Some(500));
    assert_eq!(
        write(&fs, ChunkEncoding::Dense, &example())
            .unwrap_err()
            .kind(),
        ErrorKind::StorageFull
    );
    assert_eq!(fs.files(), []);
}

#[test]
fn crash_at_any_step_of_deleting_leaves_old_or_new() {
    let fs = disk();
    let block = write(&fs, ChunkEncoding::Dense, &example()).unwrap();
    block
        .delete(TimeRange::new(0, 100_000), &metric("constant"))
        .unwrap();
    let old = without(&example(), "constant", TimeRange::new(0, 100_000));
    let start = fs.operations();
    block.delete(RANGE, &metric("counter")).unwrap();
    let new = without(&old, "counter", RANGE);
    let end = fs.operations();
    for at in start..=end {
        for (choice, left) in fs.crash_states(at, 8) {
            sweep_tmp(&left, &published()).unwrap();
            let found = read(open(&left).unwrap(), TimeRange::ALL);
            assert!(
                found == new || at < end && found == old,
                "{choice:?} before {at}"
            );
        }
    }
}

#[test]
fn failed_deletion_changes_nothing() {
    for number in 0.. {
        let fs = disk();
        let block = write(&fs, ChunkEncoding::Dense, &example()).unwrap();
        fs.fail_nth(fs.operations() + number, Fault::once(FaultKind::Eio));
        let outcome = block.delete(RANGE, &metric("counter"));
        if fs.failures() == 0 {
            assert_eq!(outcome.unwrap(), 3);
            break;
        }
        assert!(outcome.is_err());
        assert_eq!(block.tombstones().len(), 0);
        assert_eq!(block.delete(RANGE, &metric("counter")).unwrap(), 3);
        assert_eq!(open(&fs).unwrap().tombstones().len(), 3);
    }
}

#[test]
fn flipped_bit_costs_its_unit_and_never_gives_a_wrong_value() {
    for encoding in ENCODINGS {
        let fs = disk();
        let block = write(&fs, encoding, &example()).unwrap();
        block
            .delete(TimeRange::new(0, 100_000), &metric("counter"))
            .unwrap();
        let expected = without(&example(), "counter", TimeRange::new(0, 100_000));
        drop(block);
        for (path, len) in fs.files() {
            for byte in 0..len {
                let bit = byte * 8 + byte % 8;
                let damaged = fs.crash(crate::fs::CrashChoice::None);
                damaged.flip_bit(&path, bit).unwrap();
                let block = match open(&damaged) {
                    Ok(block) => Arc::new(block),
                    Err(error) => {
                        assert_eq!(
                            error.kind(),
                            ErrorKind::Corruption,
                            "{path:?} {bit}: {error}"
                        );
                        continue;
                    }
                };
                assert!(!block.verify().damaged.is_empty(), "{path:?} {bit}");
                let (found, errors) = read_lenient(&BlockSource::new(block), TimeRange::ALL);
                for (labels, samples) in &found {
                    let right = expected
                        .get(labels)
                        .unwrap_or_else(|| panic!("{path:?} {bit}: {labels} is invented"));
                    assert!(
                        samples.iter().all(|(at, bits)| right.get(at) == Some(bits)),
                        "{path:?} {bit}: {labels}"
                    );
                }
                assert!(
                    found == expected || errors > 0,
                    "{path:?} {bit}: silent loss"
                );
            }
        }
    }
}

#[test]
fn file_of_another_length_is_noticed_when_opened() {
    for name in ["chunks", "index", "meta"] {
        let fs = disk();
        write(&fs, ChunkEncoding::Dense, &example()).unwrap();
        let path = published().join(name);
        let len = fs.open_read(&path).unwrap().len().unwrap();
        for cut in [0, 1, len / 2, len - 1] {
            let damaged = fs.crash(crate::fs::CrashChoice::None);
            damaged.truncate_file(&path, cut).unwrap();
            let error = open(&damaged).unwrap_err();
            assert_eq!(
                (error.kind(), error.path()),
                (ErrorKind::Corruption, Some(path.as_path()))
            );
        }
    }
}

#[test]
fn copied_directory_is_not_taken_for_another_block() {
    let fs = disk();
    write(&fs, ChunkEncoding::Dense, &example()).unwrap();
    let other = blocks_dir().join(Ulid::new(9, 9).to_string());
    fs.rename(&published(), &other).unwrap();
    let error = Block::open(Arc::new(fs), &other).unwrap_err();
    assert!(error.to_string().contains("belongs to block"), "{error}");
}

/// The files of a block of version 1, which every later version must read.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "golden files are of the source tree, not of a database"
)]
fn golden_block_is_what_we_read_and_write() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1/block");
    for (number, encoding) in ENCODINGS.into_iter().enumerate() {
        let fs = disk();
        let block_spec = BlockSpec {
            ulid: Ulid::new(1_700_000_000_000, number as u128),
            ..spec(encoding)
        };
        let name = block_spec.ulid.to_string();
        let block = write_spec(Arc::new(fs.clone()), blocks_dir(), block_spec, &example()).unwrap();
        block
            .delete(TimeRange::new(0, 100_000), &metric("counter"))
            .unwrap();
        for (path, len) in fs.files() {
            let written = fs.map(&path, len).unwrap();
            let path = golden.join(&name).join(path.file_name().unwrap());
            if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, written.as_slice().unwrap()).unwrap();
            }
            let kept =
                std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(written.as_slice().unwrap(), kept, "{}", path.display());
        }
        for mode in [IoMode::Map, IoMode::Read] {
            let block = Block::open(Arc::new(DiskFs::new(mode)), &golden.join(&name)).unwrap();
            assert_eq!(block.verify().damaged.len(), 0);
            assert_eq!(
                read(block, TimeRange::ALL),
                without(&example(), "counter", TimeRange::new(0, 100_000))
            );
        }
    }
}

/// Samples of a few series, many of which share their timestamps.
fn models() -> impl Strategy<Value = Model> {
    let value = prop_oneof![
        any::<u64>(),
        (-1000i32..1000).prop_map(|value| f64::from(value).to_bits()),
        (-1000i32..1000).prop_map(|value| (f64::from(value) / 100.0).to_bits()),
        Just(1f64.to_bits()),
    ];
    let timestamp = prop_oneof![
        (0..480i64).prop_map(|step| step * 15_000),
        RANGE.start..RANGE.end
    ];
    let samples = prop::collection::btree_map(timestamp, value, 1..200);
    let name = ("[a-c]", "[a-d]").prop_map(|(metric, instance)| labels(&metric, &instance));
    prop::collection::btree_map(name, samples, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_series_come_back_from_any_range(
        model in models(),
        is_dense in any::<bool>(),
        (from, to) in (-10_000i64..7_300_000, -10_000i64..7_300_000),
        deleted in prop::option::of((0i64..7_200_000, 0i64..7_200_000)),
    ) {
        let encoding = if is_dense { ChunkEncoding::Dense } else { ChunkEncoding::Gorilla };
        let block = Arc::new(write(&disk(), encoding, &model).unwrap());
        let mut expected = model;
        if let Some((start, end)) = deleted {
            let deleted = TimeRange::new(start.min(end), start.max(end));
            block.delete(deleted, &metric("a")).unwrap();
            expected = without(&expected, "a", deleted);
        }
        let range = TimeRange::new(from, to);
        for samples in expected.values_mut() {
            samples.retain(|&timestamp, _| range.contains(timestamp));
        }
        let source = BlockSource::new(block);
        let mut walk = source.select(&[], range).unwrap();
        while let Some(series) = walk.next().unwrap() {
            let newest = expected.get(&series.labels.to_labels()).and_then(|samples| samples.last_key_value());
            let latest = series.latest(range).unwrap();
            prop_assert_eq!(latest.map(|sample| (sample.timestamp, sample.value.to_bits())), newest.map(|(&at, &bits)| (at, bits)));
        }
        expected.retain(|_, samples| !samples.is_empty());
        prop_assert_eq!(read_lenient(&source, range), (expected, 0));
    }
}
