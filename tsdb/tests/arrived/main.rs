//! Compares what a real server holds with the recording that the example `spool` sent to it, bit for bit.
//!
//! `.ci/servers` starts a server, lets the example send, and says in `TSDB_ARRIVED` what to read: the server, the protocol
//! it was sent and its address, with spaces. Without that there is nothing to compare.
//!
//! What a protocol or a server cannot hold is left out of what is expected, by the rules below and no others:
//!
//! | | leaves out | changes |
//! |---|---|---|
//! | remote write to Prometheus | nothing | nothing |
//! | OpenTSDB's put | staleness markers, NaN, labels beyond eight | names and values, as `remote::opentsdb::Mapping` says |
//! | VictoriaMetrics | NaN that is no staleness marker | values of more than twelve digits, by at most 1e-12 of them |

#![expect(clippy::print_stdout, reason = "it is a program for a terminal")]

#[expect(dead_code, reason = "what sends looks at the jobs")]
#[path = "../../examples/quickstart/corpus.rs"]
mod corpus;
mod opentsdb;
mod prometheus;
mod victoriametrics;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::Read;

use tsdb::remote::opentsdb::Mapping;
use tsdb::{Timestamp, is_stale};

use corpus::Recording;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Label names with values, `__name__` among them.
type Names = BTreeMap<String, String>;

/// All that is stored, samples in the order of time.
type Contents = BTreeMap<Names, Vec<(Timestamp, f64)>>;

/// A span that holds whatever a server may have, and that every server takes.
const FIRST: Timestamp = 1;
const LAST: Timestamp = 4_102_444_800_000;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// Differences that are printed.
const SHOWN_MAX: usize = 10;

fn main() -> Outcome<()> {
    let Ok(wanted) = std::env::var("TSDB_ARRIVED") else {
        println!("SKIPPED arrived: TSDB_ARRIVED names no server; .ci/servers starts them");
        return Ok(());
    };
    let [server, protocol, url] = wanted.split_whitespace().collect::<Vec<_>>()[..] else {
        return Err("TSDB_ARRIVED is: SERVER PROTOCOL URL".into());
    };
    let recording = Recording::load()?;
    let mut expected = match protocol {
        "rw1" | "rw2" => as_appended(&recording),
        "opentsdb" => opentsdb::mapped(&recording, &Mapping::default())?,
        _ => return Err(format!("{protocol} is no protocol").into()),
    };
    let (mut found, same): (Contents, Same) = match server {
        "prometheus" => (prometheus::read(url)?, same_bits),
        "opentsdb" => (opentsdb::read(url)?, same_bits),
        "victoriametrics" => {
            leave_out(&mut expected, |value| value.is_nan() && !is_stale(value));
            (victoriametrics::read(url)?, victoriametrics::same)
        }
        _ => return Err(format!("{server} is no server").into()),
    };
    for samples in found.values_mut() {
        samples.sort_by_key(|&(timestamp, _)| timestamp);
    }
    let differences = differences(&expected, &found, same);
    for difference in differences.iter().take(SHOWN_MAX) {
        println!("{difference}");
    }
    if !differences.is_empty() {
        return Err(format!("{} series are not as appended", differences.len()).into());
    }
    let samples: usize = found.values().map(Vec::len).sum();
    println!(
        "{server}: {samples} samples of {} series are what was appended",
        found.len()
    );
    Ok(())
}

/// Whether a value is what it was when it was appended.
type Same = fn(appended: f64, arrived: f64) -> bool;

fn same_bits(appended: f64, arrived: f64) -> bool {
    appended.to_bits() == arrived.to_bits()
}

fn as_appended(recording: &Recording) -> Contents {
    let mut contents = Contents::new();
    let names: Vec<Names> = recording
        .series
        .iter()
        .map(|labels| named(labels.iter()))
        .collect();
    for scrape in &recording.scrapes {
        for (&series, &value) in scrape.series.iter().zip(&scrape.values) {
            let samples = contents.entry(names[series].clone()).or_default();
            samples.push((scrape.timestamp, value));
        }
    }
    contents
}

fn named<'l>(pairs: impl Iterator<Item = (&'l str, &'l str)>) -> Names {
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn leave_out(contents: &mut Contents, is_out: impl Fn(f64) -> bool) {
    contents.retain(|_, samples| {
        samples.retain(|&(_, value)| !is_out(value));
        !samples.is_empty()
    });
}

/// Returns a line for each series that is not the same on both sides.
fn differences(expected: &Contents, found: &Contents, same: Same) -> Vec<String> {
    let none = Vec::new();
    let all: BTreeSet<&Names> = expected.keys().chain(found.keys()).collect();
    let mut lines = Vec::new();
    for names in all {
        let expected = expected.get(names).unwrap_or(&none);
        let found = found.get(names).unwrap_or(&none);
        let is_same = |(wanted, got): (&(Timestamp, f64), &(Timestamp, f64))| {
            wanted.0 == got.0 && same(wanted.1, got.1)
        };
        let common = expected
            .iter()
            .zip(found)
            .take_while(|&pair| is_same(pair))
            .count();
        if common < expected.len().max(found.len()) {
            let (wanted, got) = (expected.get(common), found.get(common));
            lines.push(format!(
                "{names:?}: {} samples were appended, {} arrived; sample {common} is {got:?}, not {wanted:?}",
                expected.len(),
                found.len(),
            ));
        }
    }
    lines
}

fn get(url: &str) -> Outcome<String> {
    let mut text = String::new();
    let answer = ureq::get(url).call()?;
    answer
        .into_body()
        .into_reader()
        .take(ANSWER_BYTES_MAX)
        .read_to_string(&mut text)?;
    Ok(text)
}
