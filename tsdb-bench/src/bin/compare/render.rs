//! The document: what holds, what does not, and all figures.

use std::fmt::Write as _;
use std::path::Path;

use tsdb_bench::Result;

use crate::result::{OURS, Report, Spread};
use crate::tables::number;
use crate::verdict::{Bar, Unit, Verdict, verdicts};
use crate::{growth, plots, tables};

/// The name of the document.
const DOCUMENT: &str = "BENCHMARKS.md";

/// Writes the document and its plots into a directory.
pub fn write(report: &Report, out: &Path) -> Result<()> {
    let plots = plots::all(report);
    let dir = out.join("benchmarks");
    std::fs::create_dir_all(&dir)?;
    for plot in &plots {
        std::fs::write(dir.join(plot.file), &plot.text)?;
    }
    Ok(std::fs::write(
        out.join(DOCUMENT),
        document(report, &plots)?,
    )?)
}

/// Says in a few lines what came out.
pub fn summary(report: &Report) -> String {
    let verdicts = verdicts(report);
    let lost: Vec<String> = verdicts
        .iter()
        .filter(|verdict| !verdict.holds())
        .map(|verdict| {
            format!(
                "misses: {}: {} (bar {})",
                verdict.what,
                measured(verdict),
                bar(verdict)
            )
        })
        .collect();
    let held = verdicts.len() - lost.len();
    let minutes = report.took_s / 60.0;
    let mut lines = vec![format!(
        "{held} of {} bars hold; {minutes:.1} minutes",
        verdicts.len()
    )];
    lines.extend(lost);
    lines.join("\n")
}

fn document(report: &Report, plots: &[plots::Plot]) -> Result<String> {
    let verdicts = verdicts(report);
    let mut out = String::new();
    out.push_str("# Benchmarks\n\n");
    out.push_str(
        "Every engine runs the same workload in the same run, in processes of its own, one after the other; what counts are ratios. \
         The workloads and the verbs are described in [`tsdb-bench`](../tsdb-bench/src/bin/workload/main.rs), \
         the drivers of the peers are in `tsdb-bench/peers`. What is read back has the checksum of the definition on every engine, and \
         selections find the same labels, or the run fails. All of it is the library as it comes, with default durability.\n\n",
    );
    writeln!(out, "```sh\n{}\n```\n", report.command)?;
    head(report, &mut out)?;
    for (against, title) in [
        ("prometheus", "Against Prometheus"),
        ("victoriametrics", "Against VictoriaMetrics"),
        ("", "By itself"),
    ] {
        let rows: Vec<&Verdict> = verdicts
            .iter()
            .filter(|verdict| verdict.against == against)
            .collect();
        if !rows.is_empty() {
            writeln!(out, "## {title}\n")?;
            verdict_table(&rows, &mut out)?;
        }
    }
    losses(report, &verdicts, &mut out)?;
    for plot in plots {
        writeln!(out, "![{}](benchmarks/{})\n", plot.title, plot.file)?;
    }
    tables::write(report, &mut out)?;
    growth::write(report, &mut out)?;
    notes(report, &mut out)?;
    Ok(out)
}

fn head(report: &Report, out: &mut String) -> Result<()> {
    let machine = &report.machine;
    writeln!(out, "| | |\n|---|---|")?;
    writeln!(
        out,
        "| begun | {}, {:.0} minutes |",
        report.started,
        report.took_s / 60.0
    )?;
    writeln!(
        out,
        "| processor | {}, {} cores |",
        machine.cpu, machine.cores
    )?;
    writeln!(out, "| memory | {} GiB |", machine.memory_gib)?;
    writeln!(
        out,
        "| kernel, file system | {}, {} |",
        machine.kernel, machine.file_system
    )?;
    for (name, version) in &report.versions {
        writeln!(out, "| {name} | {version} |")?;
    }
    out.push('\n');
    Ok(())
}

fn verdict_table(rows: &[&Verdict], out: &mut String) -> Result<()> {
    out.push_str(
        "| | bar | measured | lowest to highest | rounds | |\n|---|--:|--:|--:|--:|---|\n",
    );
    for verdict in rows {
        let Spread {
            min, max, count, ..
        } = verdict.measured;
        let of = |value| amount(verdict, value);
        let (range, mark) = (
            if count > 1 {
                format!("{} to {}", of(min), of(max))
            } else {
                String::new()
            },
            if verdict.holds() {
                "holds"
            } else {
                "**misses**"
            },
        );
        writeln!(
            out,
            "| {} | {} | {} | {range} | {count} | {mark} |",
            verdict.what,
            bar(verdict),
            measured(verdict)
        )?;
    }
    out.push('\n');
    Ok(())
}

/// Lists what is missed, and what no bar is about but a peer does faster.
fn losses(report: &Report, verdicts: &[Verdict], out: &mut String) -> Result<()> {
    out.push_str("## Where it loses\n\n");
    let mut lines: Vec<String> = verdicts
        .iter()
        .filter(|verdict| !verdict.holds())
        .map(|verdict| {
            let against = if verdict.against.is_empty() {
                "the limit"
            } else {
                verdict.against
            };
            format!(
                "{}: {} where {} is the bar against {against}",
                verdict.what,
                measured(verdict),
                bar(verdict)
            )
        })
        .collect();
    lines.extend(tables::slower_cases(report));
    lines.extend(tables::slower_reads(report));
    if lines.is_empty() {
        out.push_str("Nowhere in this run.\n\n");
        return Ok(());
    }
    for line in lines {
        writeln!(out, "- {line}")?;
    }
    out.push('\n');
    Ok(())
}

fn notes(report: &Report, out: &mut String) -> Result<()> {
    out.push_str(
        "## How to read it\n\n\
         - CPU is user and system time of the whole process, wall is one process at a time on an otherwise quiet machine. A round runs each engine \
         once; the order turns round with every round.\n\
         - Rates of ingest include making the values, about 2 ns a sample on both sides.\n\
         - Resident memory is what the kernel counts for the process, mapped files that were touched included; *base* is what it was before \
         the first series. For VictoriaMetrics, whose interface takes the name with every sample, the names that the driver keeps count as base. \
         Accounted for is what `Stats::memory` says, and what the driver keeps of each series.\n\
         - Peak extra memory is the peak while flushing, counted anew, above what was resident after the database was opened.\n\
         - Peers have their defaults; the log of Prometheus is compressed with snappy, head chunks are mapped once a minute of the data's time. \
         VictoriaMetrics has no log, is never killed, rounds values with many digits and drops those that are no number: \
         a scan of it has another checksum.\n\
         - Select counts our first run after the database was opened, and the best of five of the other.\n\
         - Instructions for each sample are in [instructions.txt](benchmarks/instructions.txt); everything that was printed is in \
         [results.json](benchmarks/results.json), from which `compare render` makes this page.\n",
    );
    if !report.skipped.is_empty() {
        out.push_str("\nLeft out:\n\n");
        for line in &report.skipped {
            writeln!(out, "- {line}")?;
        }
    }
    if !report.errors.is_empty() {
        out.push_str("\nErrors:\n\n");
        for line in &report.errors {
            writeln!(out, "- {line}")?;
        }
    }
    Ok(())
}

fn measured(verdict: &Verdict) -> String {
    amount(verdict, verdict.measured.median)
}

fn bar(verdict: &Verdict) -> String {
    match verdict.bar {
        Bar::AtLeast(bar) => format!("≥ {}", amount(verdict, bar)),
        Bar::AtMost(bar) => format!("≤ {}", amount(verdict, bar)),
    }
}

/// Writes ratios below one as fractions, as the bars are.
fn amount(verdict: &Verdict, value: f64) -> String {
    match (verdict.unit, verdict.bar) {
        (Unit::Absolute(unit), _) => format!("{} {unit}", number(value)),
        (Unit::Ratio, Bar::AtMost(_)) if value > 0.0 && value < 1.0 => {
            format!("1/{}", number(1.0 / value))
        }
        (Unit::Ratio, _) => format!("{} x", number(value)),
    }
}

/// Returns what an engine is called in a text.
pub fn display_name(engine: &str) -> &str {
    match engine {
        OURS => "tsdb-engine",
        "prometheus" => "Prometheus",
        "victoriametrics" => "VictoriaMetrics",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::sample;

    #[test]
    fn the_document_says_what_holds_and_what_is_lost() {
        let report = sample();
        let text = document(&report, &plots::all(&report)).unwrap();
        assert!(text.contains("| samples per CPU second, 100 k series | ≥ 15 x | 22.5 x | 15 x to 30 x | 2 | holds |"), "{text}");
        assert!(
            text.contains("- slowest select case, our first run to their best, 100 k series: 2 x")
        );
        assert!(text.contains("- tsink: there is no driver for it"));
    }

    #[test]
    fn every_line_of_a_table_has_the_same_number_of_columns() {
        let report = sample();
        let text = document(&report, &[]).unwrap();
        let columns = |line: &str| line.replace("\\|", "").matches('|').count();
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines
            .windows(2)
            .filter(|pair| pair.iter().all(|line| line.starts_with('|')))
        {
            assert_eq!(columns(pair[0]), columns(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn writing_leaves_a_page_and_plots() {
        let scratch = tsdb_bench::scratch::Scratch::new().unwrap();
        let report = sample();
        report
            .write(&scratch.path().join("benchmarks/results.json"))
            .unwrap();
        let again = Report::read(&scratch.path().join("benchmarks/results.json")).unwrap();
        write(&again, scratch.path()).unwrap();
        assert!(scratch.path().join(DOCUMENT).exists());
        assert!(scratch.path().join("benchmarks/select.svg").exists());
    }
}
