//! The hot loops that are counted. Each does the same work a number of times over, so that two lengths differ by it alone.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use tsdb::fs::{DiskFs, Fs, IoMode};
use tsdb::internals::chunk::{dense, gorilla};
use tsdb::internals::log::LogWriter;
use tsdb::internals::row::{RowEncoder, RowState, RowView};
use tsdb::{Db, Samples, TimeRange, parse_selector};
use tsdb_bench::cases::LabelsChecksum;
use tsdb_bench::cluster::{METRICS, Shape, TARGET_SERIES, Values, Walk};
use tsdb_bench::scraper::{Lone, START_MS, Scraper, open};
use tsdb_bench::scratch::Scratch;
use tsdb_bench::{Error, Result};

const WIDTH: usize = TARGET_SERIES as usize;

/// Bytes of a frame with one scrape, about.
const FRAME_BYTES: usize = 900;

const SEGMENT_BYTES: u64 = 128 << 20;

/// Samples of a chunk of two hours.
const CHUNK_SAMPLES: usize = 480;

/// Series that are selected from, and those of one metric.
const SELECTED_FROM: u64 = 20_000;
const SELECTED: usize = (SELECTED_FROM / METRICS) as usize;

/// A loop: what it is called, what one turn of it is, and how many samples that is, or series.
pub struct Loop {
    pub name: &'static str,
    pub what: &'static str,
    pub samples: usize,
    pub run: fn(turns: u64) -> Result<()>,
}

const fn hot(
    name: &'static str,
    what: &'static str,
    samples: usize,
    run: fn(u64) -> Result<()>,
) -> Loop {
    Loop {
        name,
        what,
        samples,
        run,
    }
}

/// All loops.
pub const LOOPS: [Loop; 14] = [
    hot(
        "values",
        "making the values of a scrape, part of the appends below",
        WIDTH,
        values,
    ),
    hot(
        "append",
        "a scrape of 1,000 series: staged, encoded, logged, visible",
        WIDTH,
        append,
    ),
    hot(
        "append_lone",
        "1,000 samples with timestamps of their own in one commit",
        WIDTH,
        append_lone,
    ),
    hot("row_encode", "a row of 1,000 series", WIDTH, row_encode),
    hot(
        "row_decode",
        "the same, applied to the state",
        WIDTH,
        row_decode,
    ),
    hot(
        "dense_encode",
        "480 samples of a series in a block, ten kinds of series",
        CHUNK_SAMPLES * 10,
        dense_encode,
    ),
    hot(
        "flush_encode",
        "the same as integers, encoded and compared as a flush does it",
        CHUNK_SAMPLES * 10,
        flush_encode,
    ),
    hot(
        "dense_decode",
        "480 samples of a series in a block, decoded",
        CHUNK_SAMPLES * 10,
        dense_decode,
    ),
    hot(
        "gorilla_encode",
        "480 samples of a lone series, ten kinds of series",
        CHUNK_SAMPLES * 10,
        gorilla_encode,
    ),
    hot(
        "gorilla_decode",
        "the same, decoded",
        CHUNK_SAMPLES * 10,
        gorilla_decode,
    ),
    hot(
        "log_write",
        "a frame of a scrape into the log, not synced",
        WIDTH,
        log_write,
    ),
    hot(
        "replay",
        "opening after a crash, for each sample in the log",
        WIDTH,
        replay,
    ),
    hot(
        "select_block",
        "a series of 500 that a selection finds in blocks, and its labels",
        SELECTED,
        select_block,
    ),
    hot("select_head", "the same in the head", SELECTED, select_head),
];

fn values(turns: u64) -> Result<()> {
    let mut walk = Walk::new(0, WIDTH, Values::Metrics);
    let mut values = vec![0.0; WIDTH];
    for scrape in 0..turns {
        walk.scrape(scrape, black_box(&mut values));
    }
    Ok(())
}

fn append(turns: u64) -> Result<()> {
    let scratch = Scratch::new()?;
    let db = open(scratch.path())?;
    let mut scraper = Scraper::new(&db, TARGET_SERIES, Shape::new(START_MS))?;
    scraper.scrape(turns)
}

fn append_lone(turns: u64) -> Result<()> {
    let scratch = Scratch::new()?;
    let db = open(scratch.path())?;
    let mut lone = Lone::new(&db, TARGET_SERIES, Shape::new(START_MS))?;
    for _ in 0..turns {
        lone.commit()?;
    }
    Ok(())
}

/// A row, the state before it, and its values.
fn row() -> Result<(Vec<u8>, RowState, Vec<f64>)> {
    let mut walk = Walk::new(0, WIDTH, Values::Metrics);
    let mut encoder = RowEncoder::default();
    let mut values = vec![0.0; WIDTH];
    let mut before = RowState::new(WIDTH);
    let mut state = before.clone();
    let mut row = Vec::new();
    for scrape in 0..32 {
        walk.scrape(scrape, &mut values);
        before.clone_from(&state);
        row.clear();
        encoder.encode(&values, &[], &before, &mut row);
        parse(&row)?.apply(&mut state);
    }
    Ok((row, before, values))
}

fn parse(row: &[u8]) -> Result<RowView<'_>> {
    RowView::parse(row, WIDTH).map_err(|_malformed| Error::from("a row does not parse"))
}

fn row_encode(turns: u64) -> Result<()> {
    let (mut out, before, values) = row()?;
    let mut encoder = RowEncoder::default();
    for _ in 0..turns {
        out.clear();
        encoder.encode(black_box(&values), &[], &before, &mut out);
    }
    Ok(())
}

fn row_decode(turns: u64) -> Result<()> {
    let (row, before, _) = row()?;
    let mut state = before.clone();
    for _ in 0..turns {
        state.clone_from(&before);
        parse(black_box(&row))?.apply(&mut state);
    }
    Ok(())
}

/// Two hours of each kind of series.
fn chunks() -> Vec<Vec<f64>> {
    let series = |number| {
        let mut walk = Walk::new(number, 1, Values::Metrics);
        let mut value = [0.0];
        let next = |scrape| {
            walk.scrape(scrape, &mut value);
            value[0]
        };
        (0..CHUNK_SAMPLES as u64).map(next).collect()
    };
    (0..10).map(series).collect()
}

fn dense_encode(turns: u64) -> Result<()> {
    let (chunks, mut encoder, mut bytes) = (chunks(), dense::Encoder::new(), Vec::new());
    for _ in 0..turns {
        for values in &chunks {
            bytes.clear();
            encoder.encode(black_box(values), &mut bytes);
        }
    }
    Ok(())
}

fn flush_encode(turns: u64) -> Result<()> {
    let decimals = |values: &Vec<f64>| -> (Vec<i64>, u8) {
        let is_whole = values.iter().all(|value| value.fract() == 0.0);
        let (factor, exponent) = if is_whole { (1.0, 0) } else { (1e3, 3) };
        let integers = values.iter().map(|value| (value * factor).round() as i64);
        (integers.collect(), exponent)
    };
    let chunks: Vec<(Vec<i64>, u8)> = chunks().iter().map(decimals).collect();
    let (mut encoder, mut bytes) = (dense::Encoder::quick(), Vec::new());
    for _ in 0..turns {
        for (integers, exponent) in &chunks {
            bytes.clear();
            encoder.encode_decimal(black_box(integers), *exponent, &mut bytes);
            if !dense::holds_decimal(&bytes, integers, *exponent) {
                return Err("a chunk does not decode".into());
            }
        }
    }
    Ok(())
}

fn dense_decode(turns: u64) -> Result<()> {
    let mut encoder = dense::Encoder::new();
    let encode = |values: &Vec<f64>| {
        let mut bytes = Vec::new();
        encoder.encode(values, &mut bytes);
        bytes
    };
    let encoded: Vec<Vec<u8>> = chunks().iter().map(encode).collect();
    let mut out = Vec::with_capacity(CHUNK_SAMPLES);
    for _ in 0..turns {
        for bytes in &encoded {
            out.clear();
            dense::decode(black_box(bytes), CHUNK_SAMPLES, &mut out)
                .map_err(|_malformed| "a chunk does not decode")?;
        }
    }
    Ok(())
}

fn timestamps() -> Vec<i64> {
    let shape = Shape::new(START_MS);
    (0..CHUNK_SAMPLES as u64)
        .map(|scrape| shape.timestamp(0, scrape))
        .collect()
}

fn gorilla_chunk(timestamps: &[i64], values: &[f64]) -> Box<[u8]> {
    let mut appender = gorilla::Appender::new();
    for (timestamp, value) in timestamps.iter().zip(values) {
        appender.push(*timestamp, *value);
    }
    appender.finish()
}

fn gorilla_encode(turns: u64) -> Result<()> {
    let (chunks, timestamps) = (chunks(), timestamps());
    for _ in 0..turns {
        for values in &chunks {
            black_box(gorilla_chunk(&timestamps, black_box(values)));
        }
    }
    Ok(())
}

fn gorilla_decode(turns: u64) -> Result<()> {
    let timestamps = timestamps();
    let encoded: Vec<Box<[u8]>> = chunks()
        .iter()
        .map(|values| gorilla_chunk(&timestamps, values))
        .collect();
    let mut out = Samples::default();
    for _ in 0..turns {
        for bytes in &encoded {
            out.clear();
            gorilla::decode(black_box(bytes), &mut out)
                .map_err(|_malformed| "a chunk does not decode")?;
        }
    }
    Ok(())
}

fn log_write(turns: u64) -> Result<()> {
    let scratch = Scratch::new()?;
    let fs: Arc<dyn Fs> = Arc::new(DiskFs::new(IoMode::Map));
    let mut log = LogWriter::open(fs, scratch.path(), SEGMENT_BYTES)?;
    let body = vec![0x5a; FRAME_BYTES];
    for _ in 0..turns {
        log.append(black_box(&body))?;
    }
    Ok(())
}

fn select_block(turns: u64) -> Result<()> {
    let scratch = Scratch::new()?;
    let db = open(scratch.path())?;
    drop(Scraper::new(&db, SELECTED_FROM, Shape::new(START_MS))?);
    db.flush()?;
    db.close()?;
    select(&open(scratch.path())?, turns)
}

fn select_head(turns: u64) -> Result<()> {
    let scratch = Scratch::new()?;
    let db = open(scratch.path())?;
    drop(Scraper::new(&db, SELECTED_FROM, Shape::new(START_MS))?);
    select(&db, turns)
}

fn select(db: &Db, turns: u64) -> Result<()> {
    let matchers = parse_selector("container_cpu_rss")?;
    for _ in 0..turns {
        let mut found = LabelsChecksum::default();
        for series in db.querier(TimeRange::ALL)?.select(&matchers)? {
            found.add(series?.labels());
        }
        if black_box(found).found != SELECTED as u64 {
            return Err("a series is missing".into());
        }
    }
    Ok(())
}

/// Opens the database that [`prepare`] has left.
fn replay(turns: u64) -> Result<()> {
    let dir = std::env::var(dir_variable(turns))?;
    let db = open(Path::new(&dir))?;
    let querier = db.querier(TimeRange::ALL)?;
    black_box(&querier);
    Ok(())
}

/// The variable that says where a database with that many scrapes is.
pub fn dir_variable(turns: u64) -> String {
    format!("TSDB_REPLAY_{turns}")
}

/// Makes a database whose log has that many scrapes, and no checkpoint.
pub fn prepare(turns: u64) -> Result<Scratch> {
    let scratch = Scratch::new()?;
    let db = open(scratch.path())?;
    let mut scraper = Scraper::new(&db, TARGET_SERIES, Shape::new(START_MS))?;
    scraper.scrape(turns)?;
    // Dropped without a close: what a crash of the process leaves.
    drop((scraper, db));
    Ok(scratch)
}
