use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::block::BlockSpec;
use crate::error::ErrorKind;
use crate::fs::SimFs;
use crate::labels::{Labels, MatchOp, Matcher};

type Model = BTreeMap<Labels, BTreeMap<i64, u64>>;

fn blocks_dir() -> &'static Path {
    Path::new("/blocks")
}

fn disk() -> SimFs {
    let fs = SimFs::new();
    fs.create_dir(blocks_dir()).unwrap();
    fs
}

fn labels(number: u32) -> Labels {
    Labels::from_pairs([("__name__", "m"), ("n", &format!("{number:06}"))]).unwrap()
}

fn model(series: &[u32], timestamps: &[i64], value: f64) -> Model {
    let samples: BTreeMap<_, _> = timestamps
        .iter()
        .map(|&timestamp| (timestamp, value.to_bits()))
        .collect();
    series
        .iter()
        .map(|&number| (labels(number), samples.clone()))
        .collect()
}

fn write(fs: &SimFs, number: u64, range: TimeRange, level: u32, model: &Model) -> Arc<Block> {
    let spec = BlockSpec {
        ulid: Ulid::new(number, 0),
        range,
        level,
        sources: Vec::new(),
        parents: Vec::new(),
        created_ms: 0,
        flushed_through: number,
        encoding: ChunkEncoding::Dense,
    };
    let mut writer = BlockWriter::create(Arc::new(fs.clone()), blocks_dir(), spec).unwrap();
    for (labels, samples) in model {
        let mut columns = Samples::default();
        samples
            .iter()
            .for_each(|(&timestamp, &bits)| columns.push(timestamp, f64::from_bits(bits)));
        writer.add(labels, &columns).unwrap();
    }
    Arc::new(writer.finish().unwrap())
}

fn read(block: &Arc<Block>) -> Model {
    let mut walk = BlockSource::new(block.clone())
        .select(&[], TimeRange::ALL)
        .unwrap();
    let mut model = Model::new();
    while let Some(series) = walk.next().unwrap() {
        let mut samples = Samples::default();
        series.read(TimeRange::ALL, &mut samples).unwrap();
        let samples: BTreeMap<_, _> = samples
            .iter()
            .map(|sample| (sample.timestamp, sample.value.to_bits()))
            .collect();
        model.insert(series.labels.to_labels(), samples);
    }
    model
}

fn merge_all(fs: &SimFs, blocks: &[Arc<Block>]) -> Result<Option<Arc<Block>>> {
    let merged = MergeSpec {
        ulid: Ulid::new(1000, 0),
        created_ms: 5,
        encoding: ChunkEncoding::Dense,
    };
    let go_on = &mut |_: &Counts| ControlFlow::Continue(());
    Ok(merge_blocks(Arc::new(fs.clone()), blocks_dir(), blocks, merged, go_on)?.map(Arc::new))
}

fn everything() -> [Matcher; 1] {
    [Matcher::new(MatchOp::Equal, "__name__", "m").unwrap()]
}

/// The directories of blocks.
fn names(fs: &SimFs) -> Vec<String> {
    fs.read_dir(blocks_dir())
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .collect()
}

#[test]
fn neighbours_become_one_block_of_the_next_level() {
    let fs = disk();
    let blocks = [
        write(
            &fs,
            2,
            TimeRange::new(20, 40),
            2,
            &model(&[1, 3], &[20, 30], 2.0),
        ),
        write(
            &fs,
            1,
            TimeRange::new(0, 20),
            1,
            &model(&[1, 2], &[0, 10], 1.0),
        ),
    ];
    let merged = merge_all(&fs, &blocks).unwrap().unwrap();
    let meta = merged.meta();
    assert_eq!(
        (meta.range, meta.level, meta.flushed_through),
        (TimeRange::new(0, 40), 3, 0)
    );
    assert_eq!(meta.sources, [Ulid::new(1, 0), Ulid::new(2, 0)]);
    assert_eq!(meta.parents, meta.sources);
    assert_eq!((meta.series, meta.samples), (3, 8));

    let found = read(&merged);
    assert_eq!(
        found[&labels(1)].keys().copied().collect::<Vec<_>>(),
        [0, 10, 20, 30]
    );
    assert_eq!(
        found[&labels(2)].keys().copied().collect::<Vec<_>>(),
        [0, 10]
    );
    assert_eq!(
        found[&labels(3)].keys().copied().collect::<Vec<_>>(),
        [20, 30]
    );
}

#[test]
fn older_block_wins_where_two_disagree() {
    let fs = disk();
    let blocks = [
        write(
            &fs,
            9,
            TimeRange::new(0, 20),
            1,
            &model(&[1], &[5, 6, 7], 9.0),
        ),
        write(
            &fs,
            8,
            TimeRange::new(0, 20),
            1,
            &model(&[1], &[4, 6, 8], 8.0),
        ),
    ];
    let merged = merge_all(&fs, &blocks).unwrap().unwrap();
    let values: Vec<_> = read(&merged)[&labels(1)]
        .iter()
        .map(|(&at, &bits)| (at, f64::from_bits(bits)))
        .collect();
    assert_eq!(values, [(4, 8.0), (5, 9.0), (6, 8.0), (7, 9.0), (8, 8.0)]);
}

#[test]
fn rewriting_one_block_drops_what_is_deleted_and_keeps_its_level() {
    let fs = disk();
    let block = write(
        &fs,
        1,
        TimeRange::new(0, 20),
        2,
        &model(&[1, 2], &[0, 10], 1.0),
    );
    block.delete(TimeRange::new(0, 10), &everything()).unwrap();
    let merged = merge_all(&fs, std::slice::from_ref(&block))
        .unwrap()
        .unwrap();
    assert_eq!((merged.meta().level, merged.meta().samples), (2, 2));
    assert!(merged.tombstones().is_empty());
    assert_eq!(read(&merged), read(&block));
}

#[test]
fn block_of_which_all_is_deleted_leaves_none() {
    let fs = disk();
    let block = write(
        &fs,
        1,
        TimeRange::new(0, 20),
        2,
        &model(&[1, 2], &[0, 10], 1.0),
    );
    block.delete(TimeRange::new(0, 20), &everything()).unwrap();
    assert!(
        merge_all(&fs, std::slice::from_ref(&block))
            .unwrap()
            .is_none()
    );
    assert_eq!(names(&fs), [Ulid::new(1, 0).to_string()]);
}

#[test]
fn stopped_merge_leaves_nothing() {
    let fs = disk();
    let series: Vec<u32> = (0..3000).collect();
    let block = write(
        &fs,
        1,
        TimeRange::new(0, 20),
        1,
        &model(&series, &[0, 10], 1.0),
    );
    let merged = MergeSpec {
        ulid: Ulid::new(1000, 0),
        created_ms: 5,
        encoding: ChunkEncoding::Dense,
    };
    let mut calls = 0;
    let stop = &mut |counts: &Counts| {
        calls += 1;
        assert_eq!(counts.series, 1024);
        ControlFlow::Break(())
    };
    let error =
        merge_blocks(Arc::new(fs.clone()), blocks_dir(), &[block], merged, stop).unwrap_err();
    assert_eq!((error.kind(), calls), (ErrorKind::Aborted, 1));
    assert_eq!(names(&fs), [Ulid::new(1, 0).to_string()]);
}

#[test]
fn damaged_source_stops_the_merge_and_leaves_nothing() {
    let fs = disk();
    let mut irregular = model(&[1], &[], 0.0);
    let samples = irregular.get_mut(&labels(1)).unwrap();
    samples.extend((0..100i64).map(|t| (t, ((t * t % 37) as f64).to_bits())));
    let blocks = [
        write(&fs, 1, TimeRange::new(0, 100), 1, &irregular),
        write(
            &fs,
            2,
            TimeRange::new(100, 200),
            1,
            &model(&[1], &[150], 1.0),
        ),
    ];
    let before = names(&fs);
    // Behind the header lies the column, then the chunk.
    fs.flip_bit(&blocks[0].dir().join("chunks"), 60 * 8)
        .unwrap();
    let blocks = [
        Arc::new(Block::open(Arc::new(fs.clone()), blocks[0].dir()).unwrap()),
        blocks[1].clone(),
    ];
    let error = merge_all(&fs, &blocks).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert_eq!(names(&fs), before);
}

#[test]
fn nothing_to_merge_is_an_error() {
    assert_eq!(
        merge_all(&disk(), &[]).unwrap_err().kind(),
        ErrorKind::Invalid
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn merge_of_overlapping_blocks_equals_the_model(
        parts in prop::collection::vec(
            (prop::collection::btree_map(0u32..6, prop::collection::btree_map(0i64..60, -99i32..99, 1..30), 1..5), prop::option::of((0i64..60, 0i64..60))),
            1..4,
        ),
    ) {
        let fs = disk();
        let mut expected = Model::new();
        let mut blocks = Vec::new();
        // The first part is the oldest: it goes last into the model, and wins.
        for (number, (part, deleted)) in parts.iter().enumerate().rev() {
            let mut model = Model::new();
            for (&series, samples) in part {
                let samples = samples.iter().map(|(&timestamp, &value)| (timestamp, f64::from(value).to_bits()));
                model.insert(labels(series), samples.collect());
            }
            let block = write(&fs, number as u64 + 1, TimeRange::new(0, 60), 1, &model);
            if let Some((a, b)) = *deleted {
                let deleted = TimeRange::new(a.min(b), a.max(b));
                block.delete(deleted, &everything()).unwrap();
                model.values_mut().for_each(|samples| samples.retain(|&timestamp, _| !deleted.contains(timestamp)));
            }
            for (labels, samples) in model {
                expected.entry(labels).or_default().extend(samples);
            }
            blocks.push(block);
        }
        expected.retain(|_, samples| !samples.is_empty());
        let merged = merge_all(&fs, &blocks).unwrap();
        prop_assert_eq!(merged.as_ref().map_or_else(Model::new, read), expected);
        if let Some(merged) = merged {
            prop_assert_eq!(merged.verify().damaged.len(), 0);
        }
    }
}
