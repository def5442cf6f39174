use std::path::Path;

use super::*;
use crate::block::FileMeta;
use crate::chunk::{ChunkEncoding, dense};
use crate::error::ErrorKind;
use crate::fs::{Fs, SimFs, Ulid};
use crate::sample::Samples;
use crate::time::TimeRange;

const BASE: i64 = 1_000_000;
const ULID: Ulid = Ulid::new(1, 2);

fn write(fs: &SimFs, encoding: ChunkEncoding, series: &[Samples]) -> (ChunksReader, Counts) {
    let path = Path::new("chunks");
    let mut writer = ChunksWriter::create(fs, path, encoding, BASE).unwrap();
    for samples in series {
        writer.add(&samples.timestamps, &samples.values).unwrap();
    }
    let (file, counts) = writer.finish(ULID).unwrap();
    (ChunksReader::open(fs, path, ULID, file).unwrap(), counts)
}

fn read(reader: &ChunksReader, series: u32, range: TimeRange) -> Samples {
    let mut out = Samples::default();
    reader
        .read(series, range, &mut Reading::default(), &mut out)
        .unwrap();
    out
}

fn bits(samples: &Samples) -> Vec<(i64, u64)> {
    samples
        .iter()
        .map(|sample| (sample.timestamp, sample.value.to_bits()))
        .collect()
}

/// `count` samples a scrape apart, of which `value` gives the values.
fn scraped(count: i64, value: impl Fn(i64) -> f64) -> Samples {
    let mut samples = Samples::default();
    for step in 0..count {
        samples.push(BASE + step * 15_000, value(step));
    }
    samples
}

fn example() -> Vec<Samples> {
    let odd = [1.5f64.to_bits(), 1e300f64.to_bits(), 0x7ff8_0000_0000_beef];
    let near = |distances: [u64; 3]| {
        scraped(3, |step| {
            let step = step as usize;
            f64::from_bits(odd[step] + distances[step])
        })
    };
    vec![
        scraped(3, |_| 7.0),
        near([0; 3]),
        near([1, 1, 1]),
        near([0, 0xc0_ffee_c0ff, 0]),
    ]
}

/// A counter whose steps are hard to guess.
fn counter(step: i64) -> f64 {
    let noise = (step as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44;
    (step << 20) as f64 + noise as f64
}

/// A counter, what is nearly the same, what is nearly the opposite, and what is always a bit more.
fn alike(count: i64) -> [Samples; 4] {
    [
        scraped(count, counter),
        scraped(count, |step| counter(step) + (step * step % 31) as f64),
        scraped(count, |step| 1e9 - counter(step) + (step % 7) as f64),
        scraped(count, |step| counter(step) + 1000.0),
    ]
}

fn later(samples: &Samples) -> Samples {
    let mut later = samples.clone();
    later
        .timestamps
        .iter_mut()
        .for_each(|timestamp| *timestamp += 1);
    later
}

fn assert_reads_back(reader: &ChunksReader, series: &[Samples]) {
    for (number, samples) in series.iter().enumerate() {
        let read = read(reader, number as u32, TimeRange::ALL);
        assert_eq!(bits(&read), bits(samples), "series {number}");
    }
}

/// The worked example of the format document.
fn documented() -> Vec<u8> {
    let (_, example) = include_str!("FORMAT.md").split_once("```hex\n").unwrap();
    let (lines, _) = example.split_once("```").unwrap();
    let bytes = lines.lines().flat_map(|line| {
        line.split_once("  ")
            .map_or(line, |(bytes, _)| bytes)
            .split(' ')
    });
    bytes
        .filter(|byte| !byte.is_empty())
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

#[test]
fn documented_example_is_what_we_read_and_write() {
    let fs = SimFs::new();
    let (_, _) = write(&fs, ChunkEncoding::Dense, &example());
    let len = fs.open_read(Path::new("chunks")).unwrap().len().unwrap();
    let written = fs.map(Path::new("chunks"), len).unwrap();
    assert_eq!(written.as_slice().unwrap(), documented());

    let path = Path::new("documented");
    let mut file = FileWriter::create(&fs, path).unwrap();
    file.append(&documented()).unwrap();
    let reader = ChunksReader::open(&fs, path, ULID, file.finish().unwrap()).unwrap();
    assert_reads_back(&reader, &example());
}

#[test]
fn series_that_move_alike_are_stored_as_differences() {
    let (plain, _) = write(&SimFs::new(), ChunkEncoding::Dense, &alike(300)[..1]);
    let (reader, counts) = write(&SimFs::new(), ChunkEncoding::Dense, &alike(300));
    assert_eq!((counts.differences, counts.shared_chunks), (3, 0));
    assert!(reader.file().len() < 2 * plain.file().len());
    assert_reads_back(&reader, &alike(300));
    assert!(reader.verify().is_empty());
    let range = TimeRange::new(BASE + 15_000, BASE + 45_000);
    for (number, samples) in (0..).zip(alike(300)) {
        assert_eq!(bits(&read(&reader, number, range)), bits(&samples)[1..3]);
    }
}

#[test]
fn equal_series_share_one_difference() {
    let [counter, near, _, more] = alike(300);
    let later = later(&near);
    let series = [counter, near.clone(), near, later, more.clone(), more];
    let (reader, counts) = write(&SimFs::new(), ChunkEncoding::Dense, &series);
    assert_eq!((counts.differences, counts.shared_chunks), (2, 3));
    assert_reads_back(&reader, &series);
}

#[test]
fn base_of_another_count_is_not_taken_for_equal_bytes() {
    // Ends with numbers that are stored as zeros: one more of them may not change the bytes.
    let slow = |step| {
        let steps = (1..=step as u64).map(|step| step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60);
        steps.sum::<u64>() as f64
    };
    let near = |count| {
        scraped(count, |step| {
            let step = step.min(99);
            slow(step) + (step / 40) as f64
        })
    };
    let plain = |count| {
        let mut bytes = Vec::new();
        dense::Encoder::new().encode(&near(count).values, &mut bytes);
        bytes
    };
    assert!((101..108).any(|count| plain(count) == plain(count + 1)));
    let series: Vec<_> = (101..=108)
        .flat_map(|count| [scraped(count, slow), near(count)])
        .collect();
    let (reader, counts) = write(&SimFs::new(), ChunkEncoding::Dense, &series);
    assert_eq!((counts.differences, counts.shared_chunks), (8, 0));
    assert_reads_back(&reader, &series);
}

#[test]
fn damaged_base_costs_its_differences_and_is_reported_once() {
    let fs = SimFs::new();
    let mut series = alike(300).to_vec();
    series.push(scraped(200, |step| (step * step) as f64));
    let (reader, _) = write(&fs, ChunkEncoding::Dense, &series);
    let len = reader.file().len();
    drop(reader);
    // The column comes first, and then the base.
    fs.flip_bit(Path::new("chunks"), 8 * 100).unwrap();
    let expected = FileMeta {
        size_bytes: len,
        crc: 0,
    };
    let reader = ChunksReader::open(&fs, Path::new("chunks"), ULID, expected).unwrap();
    for number in 0..4 {
        let mut out = Samples::default();
        let outcome = reader.read(number, TimeRange::ALL, &mut Reading::default(), &mut out);
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Corruption);
        assert!(out.is_empty());
    }
    assert_eq!(bits(&read(&reader, 4, TimeRange::ALL)), bits(&series[4]));
    assert_eq!(reader.verify().len(), 1);
}

#[test]
fn equal_chunks_and_columns_are_stored_once() {
    let series = vec![scraped(200, |step| (step * step) as f64); 1000];
    let (reader, counts) = write(&SimFs::new(), ChunkEncoding::Dense, &series);
    assert_eq!((counts.shared_chunks, counts.columns), (999, 1));
    assert!(reader.file().len() < 10_000);
    assert_eq!(
        bits(&read(&reader, 999, TimeRange::ALL)),
        bits(&series[999])
    );
}

#[test]
fn equal_gorilla_chunks_are_stored_once_too() {
    let series = vec![scraped(120, |step| (step * step) as f64); 100];
    let (reader, counts) = write(&SimFs::new(), ChunkEncoding::Gorilla, &series);
    assert_eq!(
        (counts.chunks, counts.shared_chunks, counts.columns),
        (100, 99, 0)
    );
    assert_eq!(bits(&read(&reader, 99, TimeRange::ALL)), bits(&series[99]));
}

#[test]
fn long_series_are_split_and_read_back_in_part() {
    for (encoding, chunks) in [(ChunkEncoding::Dense, 3), (ChunkEncoding::Gorilla, 42)] {
        let samples = scraped(5_000, |step| (step * 7919 % 1000) as f64 / 8.0);
        let (reader, counts) = write(&SimFs::new(), encoding, std::slice::from_ref(&samples));
        assert_eq!((counts.samples, counts.chunks), (5_000, chunks));
        for (from, to) in [
            (0, 5_000),
            (1, 2),
            (1_666, 1_667),
            (1_600, 3_400),
            (4_999, 5_000),
            (7, 7),
        ] {
            let range = TimeRange::new(BASE + from * 15_000, BASE + to * 15_000);
            let expected = &bits(&samples)[from as usize..to as usize];
            assert_eq!(
                bits(&read(&reader, 0, range)),
                expected,
                "{encoding:?} {from}..{to}"
            );
        }
    }
}

#[test]
fn series_are_found_in_any_order_with_one_memory() {
    let series: Vec<_> = (0..200)
        .map(|n| scraped(1 + n % 5, |step| (n * 1000 + step * step) as f64))
        .collect();
    let (reader, _) = write(&SimFs::new(), ChunkEncoding::Dense, &series);
    let mut reading = Reading::default();
    let forward = 0..200;
    let jumping = (0..200).map(|n| n * 77 % 200);
    for n in forward.chain((0..200).rev()).chain(jumping) {
        let mut out = Samples::default();
        reader
            .read(n, TimeRange::ALL, &mut reading, &mut out)
            .unwrap();
        assert_eq!(bits(&out), bits(&series[n as usize]));
    }
}

#[test]
fn file_of_another_block_is_refused() {
    let fs = SimFs::new();
    let path = Path::new("chunks");
    let mut writer = ChunksWriter::create(&fs, path, ChunkEncoding::Dense, BASE).unwrap();
    writer.add(&[BASE], &[1.0]).unwrap();
    let (file, _) = writer.finish(ULID).unwrap();
    let error = ChunksReader::open(&fs, path, Ulid::new(9, 9), file).unwrap_err();
    assert!(error.to_string().contains("belongs to block"), "{error}");
}

#[test]
fn equal_input_makes_equal_files() {
    let series: Vec<_> = (0..300)
        .map(|n| scraped(40 + n % 3, |step| (step * (n % 7)) as f64))
        .collect();
    let digests = [(); 2].map(|()| {
        let fs = SimFs::new();
        write(&fs, ChunkEncoding::Dense, &series);
        fs.digest()
    });
    assert_eq!(digests[0], digests[1]);
}

/// Adds series to a batch in the order of `order`, and writes them in theirs.
fn write_batch(series: &[Samples], order: &[usize]) -> (ChunksReader, Counts) {
    let fs = SimFs::new();
    let path = Path::new("chunks");
    let mut writer = ChunksWriter::create(&fs, path, ChunkEncoding::Dense, BASE).unwrap();
    let mut batch = ChunkBatch::new();
    // What an earlier part left behind does no harm.
    batch.begin(1, 0);
    let timestamps = batch.add_timestamps(&[BASE]).unwrap();
    batch
        .add(0, timestamps, BatchValues::Floats(&[1.0]))
        .unwrap();
    batch.begin(series.len(), 0);
    let mut last: Option<(&[i64], _)> = None;
    for &rank in order {
        let samples = &series[rank];
        let timestamps = match last {
            Some((of, timestamps)) if of == samples.timestamps => timestamps,
            _ => batch.add_timestamps(&samples.timestamps).unwrap(),
        };
        last = Some((&samples.timestamps, timestamps));
        let integers: Vec<i64> = samples.values.iter().map(|value| *value as i64).collect();
        let is_whole = samples
            .values
            .iter()
            .all(|value| value.fract() == 0.0 && value.abs() < 1e15);
        let is_constant = integers.iter().all(|&integer| integer == integers[0]);
        let values = if is_whole && is_constant {
            BatchValues::Constant(integers[0], 0)
        } else if is_whole {
            BatchValues::Decimal(&integers, 0)
        } else {
            BatchValues::Floats(&samples.values)
        };
        batch.add(rank as u32, timestamps, values).unwrap();
    }
    for rank in 0..series.len() {
        assert!(writer.add_from(&mut batch, rank as u32).unwrap());
    }
    let (file, counts) = writer.finish(ULID).unwrap();
    (ChunksReader::open(&fs, path, ULID, file).unwrap(), counts)
}

#[test]
fn batch_gives_the_series_in_order_whatever_the_order_of_their_encoding() {
    let mut series = example();
    series.extend(alike(300));
    series.extend(alike(300));
    series.push(scraped(5_000, counter));
    series.push(scraped(5_000, |_| -7.0));
    series.push(scraped(300, |step| (step as f64).sqrt()));
    series.push(later(&series[6]));
    let upwards: Vec<usize> = (0..series.len()).collect();
    let downwards: Vec<usize> = upwards.iter().rev().copied().collect();
    let mixed: Vec<usize> = upwards
        .iter()
        .map(|index| index * 7 % series.len())
        .collect();
    for order in [upwards, downwards, mixed] {
        let (reader, counts) = write_batch(&series, &order);
        assert_reads_back(&reader, &series);
        assert!(reader.verify().is_empty());
        assert_eq!(counts.series, series.len() as u64);
        assert_eq!(
            counts.samples,
            series
                .iter()
                .map(|samples| samples.len() as u64)
                .sum::<u64>()
        );
        assert!(counts.shared_chunks > 0, "{counts:?}");
    }
}

#[test]
fn batch_without_room_for_timestamps_says_so() {
    let mut batch = ChunkBatch::new();
    batch.begin(1, 0);
    let many: Vec<i64> = (0..3 << 20).collect();
    assert!(batch.add_timestamps(&many).is_some());
    assert!(batch.add_timestamps(&many).is_none());
    batch.begin(1, 0);
    assert!(batch.add_timestamps(&many).is_some());
}
