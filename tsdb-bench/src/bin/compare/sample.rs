//! A small result for tests.

use std::collections::BTreeMap;

use serde_json::json;

use crate::machine::Machine;
use crate::result::{OURS, Record, Report};

/// Returns two rounds of ingest and one of two selections, one of which is lost.
pub fn sample() -> Report {
    let record = |engine: &str, round, line: serde_json::Value| Record {
        part: "cluster".to_owned(),
        engine: engine.to_owned(),
        series: 100_000,
        scrapes: 240,
        shape: String::new(),
        round,
        command: "workload".to_owned(),
        line: serde_json::from_value(line).unwrap(),
    };
    let ingest = |engine, round, rate: f64| {
        record(
            engine,
            round,
            json!({"verb": "ingest", "samples_per_cpu_s": rate, "wall_s": 1.0, "rss_kb": 200_000, "base_kb": 2000}),
        )
    };
    let select = |engine, case: u64, first: f64, best: f64| {
        record(
            engine,
            0,
            json!({"verb": "select", "case": case, "matchers": "{a=\"b|c\"}", "found": 1000, "first_s": first, "best_s": best}),
        )
    };
    Report {
        format: 1,
        started: "2020-01-01 00:00 UTC".to_owned(),
        took_s: 60.0,
        command: "compare".to_owned(),
        machine: Machine {
            cpu: "a processor".to_owned(),
            cores: 2,
            memory_gib: 24.0,
            kernel: "6".to_owned(),
            file_system: "ext4".to_owned(),
        },
        versions: BTreeMap::from([
            (OURS.to_owned(), "0.1.0".to_owned()),
            ("prometheus".to_owned(), "v0.315.0".to_owned()),
        ]),
        records: vec![
            ingest(OURS, 0, 60e6),
            ingest("prometheus", 0, 4e6),
            ingest(OURS, 1, 90e6),
            ingest("prometheus", 1, 3e6),
            select(OURS, 0, 0.001, 0.001),
            select("prometheus", 0, 0.3, 0.2),
            select(OURS, 1, 0.002, 0.001),
            select("prometheus", 1, 0.002, 0.001),
        ],
        skipped: vec!["tsink: there is no driver for it".to_owned()],
        errors: Vec::new(),
    }
}
