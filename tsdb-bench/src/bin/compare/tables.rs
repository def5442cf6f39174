//! The figures behind the verdicts.

use std::fmt::Write as _;

use tsdb_bench::Result;

use crate::render::display_name;
use crate::result::{OURS, Record, Report, Spread};
use crate::verdict::{Pair, accounted_bytes, block_bytes, pairs, series_bytes, size};

/// A column: its title and the figure.
type Column = (&'static str, fn(&Record) -> Option<f64>);

const INGEST: &[Column] = &[
    ("M samples per CPU s", |r| {
        Some(r.number("samples_per_cpu_s")? / 1e6)
    }),
    ("M samples per s", |r| {
        Some(r.number("samples_per_s")? / 1e6)
    }),
    ("create µs CPU per series", |r| {
        Some(r.number("create_cpu_s")? * 1e6 / r.series as f64)
    }),
    ("resident B per series", series_bytes),
    ("accounted for", accounted_bytes),
    ("log B per sample", |r| {
        // Scrape 0 is counted with the definitions.
        Some(r.number("log_bytes")? / (r.series as f64 * (r.scrapes as f64 - 1.0)))
    }),
    ("commit p50 µs", |r| r.number("commit_p50_us")),
    ("p99 µs", |r| r.number("commit_p99_us")),
    ("max µs", |r| r.number("commit_max_us")),
    ("flushes", |r| r.number("flushes")),
    ("merges", |r| r.number("merges")),
];

const OPEN: &[Column] = &[
    ("wall s", |r| r.number("wall_s")),
    ("CPU s", |r| r.number("cpu_s")),
    ("M samples per s", |r| {
        Some(r.number("samples")? / r.number("wall_s")? / 1e6)
    }),
    ("resident MiB", |r| Some(r.number("rss_kb")? / 1024.0)),
    ("reading all, ns per sample", read_ns),
];

const FLUSH: &[Column] = &[
    ("flush CPU s", |r| r.number("head_cpu_s")),
    ("flush wall s", |r| r.number("head_wall_s")),
    ("merge CPU s", |r| r.number("merge_cpu_s")),
    ("CPU ns per sample", |r| {
        let cpu = r.number("head_cpu_s")? + r.number("merge_cpu_s")?;
        Some(cpu * 1e9 / (r.series as f64 * r.scrapes as f64))
    }),
    ("peak extra MiB", |r| {
        Some((r.number("peak_kb")? - r.number("before_kb")?) / 1024.0)
    }),
    ("blocks", |r| r.number("blocks")),
    ("B per sample", |r| {
        Some(r.number("block_bytes")? / (r.series as f64 * r.scrapes as f64))
    }),
    ("everything on disk MiB", |r| {
        let parts = [
            "head_bytes",
            "block_bytes",
            "series_bytes",
            "log_disk_bytes",
        ];
        Some(parts.iter().filter_map(|part| r.number(part)).sum::<f64>() / 1024.0 / 1024.0)
    }),
];

const CORPUS: &[Column] = &[
    ("B per sample", |r| {
        Some(block_bytes(r)? / r.number("samples")?)
    }),
    ("of it index", |r| {
        Some(r.number("index_bytes")? / r.number("samples")?)
    }),
    ("log B per sample", |r| {
        Some(r.number("log_bytes")? / r.number("samples")?)
    }),
    ("append ns CPU", |r| r.number("append_ns")),
    ("scan ns", |r| r.number("scan_ns")),
    ("series that differ", |r| {
        // Our own verb fails if there is one.
        Some(r.number("differing_series").unwrap_or_default())
    }),
];

const SEND: &[Column] = &[
    ("M samples per s", |r| {
        Some(r.number("samples_per_s")? / 1e6)
    }),
    ("CPU ns per sample", |r| r.number("cpu_ns_per_sample")),
    ("receiver's CPU ns per sample", |r| {
        Some(r.number("receiver_cpu_s")? * 1e9 / r.number("samples")?)
    }),
    ("body B per sample", |r| {
        Some(r.number("body_bytes")? / r.number("samples")?)
    }),
    ("samples per request", |r| {
        Some(r.number("samples")? / r.number("requests")?)
    }),
];

const OUTAGE: &[Column] = &[
    ("M samples", |r| Some(r.number("samples")? / 1e6)),
    ("commit p50 µs", |r| r.number("commit_p50_us")),
    ("p99 µs", |r| r.number("commit_p99_us")),
    ("max µs", |r| r.number("commit_max_us")),
    ("log MiB", |r| {
        Some(r.number("log_bytes_max")? / 1024.0 / 1024.0)
    }),
    ("peak MiB", |r| Some(r.number("peak_kb")? / 1024.0)),
    ("caught up in s", |r| r.number("catch_up_s")),
    ("M samples per s", |r| {
        Some(r.number("samples_per_s")? / 1e6)
    }),
];

/// A table of one verb in some parts.
const TABLES: &[(&str, &[&str], &str, &[Column])] = &[
    (
        "Ingest",
        &[
            "small", "cluster", "lone", "noise", "workers", "memory", "limits",
        ],
        "ingest",
        INGEST,
    ),
    (
        "Restart after SIGKILL",
        &["cluster", "lone", "noise"],
        "open",
        OPEN,
    ),
    ("Flush and merge", &["cluster", "long"], "flush", FLUSH),
    ("Recorded corpora", &["corpus"], "corpus", CORPUS),
    ("Sending, remote write 2.0", &["send"], "send_rw2", SEND),
    ("Sending, remote write 1.0", &["send"], "send_rw1", SEND),
    (
        "A remote that is away for a day, over three restarts",
        &["limits"],
        "outage",
        OUTAGE,
    ),
];

/// Returns what reading a sample of the head took after a restart.
fn read_ns(record: &Record) -> Option<f64> {
    Some(record.number("scan_s")? * 1e9 / record.number("samples")?)
}

/// Writes all tables there are figures for.
pub fn write(report: &Report, out: &mut String) -> Result<()> {
    out.push_str("## Figures\n\nMedians over rounds.\n\n");
    for (title, parts, verb, columns) in TABLES {
        let rows = rows(report, parts, verb);
        if rows.is_empty() {
            continue;
        }
        writeln!(out, "### {title}\n")?;
        header(
            out,
            "workload | engine",
            columns.iter().map(|(title, _)| *title),
        )?;
        for row in rows {
            let medians = columns.iter().map(|(_, of)| {
                let spread =
                    Spread::of(row.records.iter().filter_map(|record| of(record)).collect());
                spread.map_or_else(|| "-".to_owned(), |spread| number(spread.median))
            });
            let medians: Vec<String> = medians.collect();
            let engine = display_name(&row.records[0].engine);
            writeln!(
                out,
                "| {} | {engine} | {} |",
                row.title,
                medians.join(" | ")
            )?;
        }
        out.push('\n');
    }
    cases(report, "select", "Select", out)?;
    cases(report, "scan", "Scan", out)
}

fn header<'a>(out: &mut String, first: &str, columns: impl Iterator<Item = &'a str>) -> Result<()> {
    let columns: Vec<&str> = columns.collect();
    writeln!(out, "| {first} | {} |", columns.join(" | "))?;
    let left = "---|".repeat(first.matches('|').count() + 1);
    writeln!(out, "|{left}{}", "--:|".repeat(columns.len()))?;
    Ok(())
}

/// What one engine printed in all rounds of one workload.
struct Row<'a> {
    title: String,
    records: Vec<&'a Record>,
}

fn rows<'a>(report: &'a Report, parts: &[&str], verb: &str) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'a>> = Vec::new();
    for part in parts {
        let of_part = report
            .records
            .iter()
            .filter(|r| r.part == *part && r.is(verb));
        let first = rows.len();
        for record in of_part {
            let is_same = |row: &&mut Row<'_>| {
                let other = row.records[0];
                (other.series, &other.shape, &other.engine)
                    == (record.series, &record.shape, &record.engine)
            };
            match rows[first..].iter_mut().find(is_same) {
                Some(row) => row.records.push(record),
                None => rows.push(Row {
                    title: title(record),
                    records: vec![record],
                }),
            }
        }
        let order = |engine: &str| {
            report
                .engines(part)
                .iter()
                .position(|known| *known == engine)
        };
        rows[first..].sort_by_key(|row| {
            let record = row.records[0];
            (record.series, record.shape.clone(), order(&record.engine))
        });
    }
    rows
}

fn title(record: &Record) -> String {
    if record.part == "corpus" {
        return record.shape.clone();
    }
    let mut title = format!(
        "{} x {}",
        size(record.series).replace(" series", ""),
        record.scrapes
    );
    if record.part == "workers" {
        title.push_str(", 2 workers");
    }
    if !record.shape.is_empty() {
        title.push_str(" `");
        title.push_str(&record.shape);
        title.push('`');
    }
    title
}

fn cases(report: &Report, verb: &str, name: &str, out: &mut String) -> Result<()> {
    let engines = report.engines("cluster");
    for series in report.sizes("cluster") {
        let ours: Vec<&Record> = report
            .of("cluster", OURS, verb)
            .filter(|record| record.series == series)
            .collect();
        let Some(last) = ours.iter().filter_map(|record| record.case()).max() else {
            continue;
        };
        writeln!(
            out,
            "### {name}, {}: microseconds, first run / best of five\n",
            size(series)
        )?;
        let titles = engines
            .iter()
            .map(|engine| display_name(engine))
            .chain(["our first to Prometheus' best"]);
        header(out, "case | found", titles)?;
        for case in 0..=last {
            let of = |engine| {
                report
                    .of("cluster", engine, verb)
                    .filter(move |record| record.series == series && record.case() == Some(case))
            };
            let Some(first) = of(OURS).next() else {
                continue;
            };
            let matchers = first
                .text("matchers")
                .unwrap_or_default()
                .replace('|', "\\|");
            let found = first.number("found").unwrap_or_default();
            write!(out, "| {case} `{matchers}` | {found} |")?;
            for engine in &engines {
                let median = |field: &str| {
                    let values = of(engine).filter_map(|record| Some(record.number(field)? * 1e6));
                    Spread::of(values.collect())
                        .map_or_else(|| "-".to_owned(), |spread| number(spread.median))
                };
                write!(out, " {} / {} |", median("first_s"), median("best_s"))?;
            }
            let pairs = pairs(report, "prometheus", verb, series);
            let ratios = pairs.iter().filter(|pair| pair.ours.case() == Some(case));
            let spread = Spread::of(ratios.filter_map(Pair::first_to_best).collect());
            let ratio =
                spread.map_or_else(|| "-".to_owned(), |spread| format!("{:.3}", spread.median));
            writeln!(out, " {ratio} |")?;
        }
        out.push('\n');
    }
    Ok(())
}

/// Lists the single questions that a peer answers faster.
pub fn slower_cases(report: &Report) -> Vec<String> {
    let mut out = Vec::new();
    for peer in ["prometheus", "victoriametrics"] {
        for series in report.sizes("cluster") {
            let all = pairs(report, peer, "select", series);
            let mut cases: Vec<u64> = all.iter().filter_map(|pair| pair.ours.case()).collect();
            cases.sort_unstable();
            cases.dedup();
            for case in cases {
                let of_case: Vec<_> = all
                    .iter()
                    .filter(|pair| pair.ours.case() == Some(case))
                    .collect();
                let ratios = of_case.iter().filter_map(|pair| pair.first_to_best());
                let Some(spread) = Spread::of(ratios.collect()) else {
                    continue;
                };
                if spread.median > 1.0 {
                    let matchers = of_case[0].ours.text("matchers").unwrap_or_default();
                    let found = of_case[0].ours.number("found").unwrap_or_default();
                    out.push(format!(
                        "select case {case}, {}: `{matchers}`, {found} found: our first run takes {} x the best of {}",
                        size(series),
                        number(spread.median),
                        display_name(peer)
                    ));
                }
            }
        }
    }
    out
}

/// Lists the restarts after which a peer reads the whole head faster.
pub fn slower_reads(report: &Report) -> Vec<String> {
    let rows = rows(report, &["cluster", "lone", "noise"], "open");
    let is_ours = |row: &&Row<'_>| row.records[0].engine == OURS;
    let median = |row: &Row<'_>| {
        Spread::of(row.records.iter().filter_map(|r| read_ns(r)).collect())
            .map(|spread| spread.median)
    };
    let mut out = Vec::new();
    for ours in rows.iter().filter(is_ours) {
        let same = rows.iter().filter(|row| row.title == ours.title);
        for theirs in same.filter(|row| !is_ours(row)) {
            let (Some(ours_ns), Some(theirs_ns)) = (median(ours), median(theirs)) else {
                continue;
            };
            if ours_ns > theirs_ns {
                out.push(format!(
                    "reading all of the head after a restart, {}: {} ns a sample where {} takes {}",
                    ours.title,
                    number(ours_ns),
                    display_name(&theirs.records[0].engine),
                    number(theirs_ns),
                ));
            }
        }
    }
    out
}

/// Writes a number with three digits that count.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 | 100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        0.1.. => 3,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    if digits == 0 {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let texts = [0.0, 0.5, 15.0, 22.5, 1234.4, 0.0123].map(number);
        assert_eq!(texts, ["0", "0.5", "15", "22.5", "1234", "0.0123"]);
    }
}
