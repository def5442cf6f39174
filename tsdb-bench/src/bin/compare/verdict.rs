//! What must hold, and whether it does.

use crate::result::{OURS, Record, Report, Spread};

/// Which side of the bar is the good one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

impl Bar {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bar) => value >= bar,
            Self::AtMost(bar) => value <= bar,
        }
    }
}

/// What a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Ours divided by theirs.
    Ratio,
    /// The number itself, of something.
    Absolute(&'static str),
}

/// One promise and what was measured of it.
#[derive(Debug)]
pub struct Verdict {
    /// Whom it compares with.
    pub against: &'static str,
    pub what: String,
    pub unit: Unit,
    pub bar: Bar,
    pub measured: Spread,
}

impl Verdict {
    /// Tells whether the median is on the right side.
    pub fn holds(&self) -> bool {
        self.bar.holds(self.measured.median)
    }

    /// Returns how many times better than the other the median is, if that is a ratio.
    pub fn times_better(&self) -> Option<f64> {
        match (self.unit, self.bar) {
            (Unit::Ratio, Bar::AtLeast(_)) => Some(self.measured.median),
            (Unit::Ratio, Bar::AtMost(_)) => Some(1.0 / self.measured.median),
            (Unit::Absolute(_), _) => None,
        }
    }

    /// Returns how many times better it has to be.
    pub fn times_wanted(&self) -> f64 {
        match self.bar {
            Bar::AtLeast(bar) => bar,
            Bar::AtMost(bar) => 1.0 / bar,
        }
    }
}

/// A ratio below this counts as this in a mean over cases.
const CASE_RATIO_MIN: f64 = 0.01;

/// From this many series on, a size is a large one.
const LARGE: u64 = 1_000_000;

/// Series a selection finds, above which it is compared with warm caches.
const WARM_FOUND_MIN: f64 = 500.0;

/// A promise about one line of each engine.
struct Rule {
    part: &'static str,
    verb: &'static str,
    what: &'static str,
    of: fn(&Record) -> Option<f64>,
    bar: fn(u64) -> Option<Bar>,
}

const fn rule(
    part: &'static str,
    verb: &'static str,
    what: &'static str,
    of: fn(&Record) -> Option<f64>,
    bar: fn(u64) -> Option<Bar>,
) -> Rule {
    Rule {
        part,
        verb,
        what,
        of,
        bar,
    }
}

const RULES: [Rule; 15] = [
    rule(
        "cluster",
        "ingest",
        "samples per CPU second",
        rate,
        |series| Some(Bar::AtLeast(if series >= LARGE { 25.0 } else { 15.0 })),
    ),
    rule(
        "lone",
        "ingest",
        "samples per CPU second, one by one (`MODE=lone`)",
        rate,
        |_| Some(Bar::AtLeast(6.0)),
    ),
    rule(
        "noise",
        "ingest",
        "samples per CPU second, incompressible values (`NOISE=1`)",
        rate,
        |_| Some(Bar::AtLeast(4.0)),
    ),
    rule(
        "cluster",
        "ingest",
        "resident bytes per series after 240 scrapes",
        series_bytes,
        |series| large(series, Bar::AtMost(0.1)),
    ),
    rule(
        "memory",
        "ingest",
        "resident bytes per series after 480 scrapes",
        series_bytes,
        |_| Some(Bar::AtMost(0.1)),
    ),
    rule(
        "cluster",
        "ingest",
        "creating the series, CPU",
        |record| record.number("create_cpu_s"),
        |series| large(series, Bar::AtMost(0.25)),
    ),
    rule(
        "cluster",
        "open",
        "replay after SIGKILL, wall",
        |record| record.number("wall_s"),
        |_| Some(Bar::AtMost(1.0 / 15.0)),
    ),
    rule(
        "cluster",
        "flush",
        "flush of the head, CPU",
        |record| record.number("head_cpu_s"),
        |_| Some(Bar::AtMost(0.125)),
    ),
    rule(
        "cluster",
        "flush",
        "flush of the head, peak extra memory",
        flush_extra,
        |series| large(series, Bar::AtMost(0.1)),
    ),
    rule(
        "long",
        "flush",
        "eight hours, flushes and merges, CPU",
        all_cpu,
        |_| Some(Bar::AtMost(0.125)),
    ),
    rule(
        "long",
        "flush",
        "eight hours, flushes and merges, peak extra memory",
        extra,
        |_| Some(Bar::AtMost(0.25)),
    ),
    rule(
        "cluster",
        "flush",
        "disk after flush and merge",
        |record| record.number("block_bytes"),
        |_| Some(Bar::AtMost(0.25)),
    ),
    rule(
        "send",
        "send_rw2",
        "sending by remote write 2.0, CPU per sample",
        |record| record.number("cpu_ns_per_sample"),
        |_| Some(Bar::AtMost(0.25)),
    ),
    rule(
        "send",
        "send_rw1",
        "sending by remote write 1.0, CPU per sample",
        |record| record.number("cpu_ns_per_sample"),
        |_| Some(Bar::AtMost(0.25)),
    ),
    rule(
        "corpus",
        "corpus",
        "disk after flush and merge",
        block_bytes,
        |_| Some(Bar::AtMost(0.25)),
    ),
];

fn large(series: u64, bar: Bar) -> Option<Bar> {
    (series >= LARGE).then_some(bar)
}

fn rate(record: &Record) -> Option<f64> {
    record.number("samples_per_cpu_s")
}

/// Resident bytes above the base, for each series.
pub fn series_bytes(record: &Record) -> Option<f64> {
    let above = record.number("rss_kb")? - record.number("base_kb")?;
    Some(above * 1024.0 / record.series as f64)
}

/// Returns the bytes per series that are accounted for, the driver's own included.
pub fn accounted_bytes(record: &Record) -> Option<f64> {
    let accounted = record.number("accounted_bytes")? + record.number("driver_bytes")?;
    Some(accounted / record.series as f64)
}

fn flush_extra(record: &Record) -> Option<f64> {
    Some(record.number("head_peak_kb")? - record.number("before_kb")?)
}

fn extra(record: &Record) -> Option<f64> {
    Some(record.number("peak_kb")? - record.number("before_kb")?)
}

fn all_cpu(record: &Record) -> Option<f64> {
    Some(record.number("head_cpu_s")? + record.number("merge_cpu_s")?)
}

/// Bytes of chunks and index.
pub fn block_bytes(record: &Record) -> Option<f64> {
    Some(record.number("chunk_bytes")? + record.number("index_bytes")?)
}

/// Judges everything there are figures for.
pub fn verdicts(report: &Report) -> Vec<Verdict> {
    let mut out = Vec::new();
    for rule in &RULES {
        let mut groups: Vec<(u64, &str)> = Vec::new();
        for record in report.of(rule.part, OURS, rule.verb) {
            let group = (record.series, record.shape.as_str());
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        for (series, shape) in groups {
            let ratios = ratios(report, rule, series, shape);
            if let (Some(bar), Some(measured)) = ((rule.bar)(series), Spread::of(ratios)) {
                let size = if rule.part == "corpus" {
                    shape.to_owned()
                } else {
                    size(series)
                };
                out.push(Verdict {
                    against: "prometheus",
                    what: format!("{}, {size}", rule.what),
                    unit: Unit::Ratio,
                    bar,
                    measured,
                });
            }
        }
    }
    for peer in ["prometheus", "victoriametrics"] {
        out.extend(selects(report, peer));
        out.extend(scans(report, peer));
    }
    out.extend(victoria_disk(report));
    out.extend(limits(report));
    out
}

/// Divides our figures by those of the same round.
fn ratios(report: &Report, rule: &Rule, series: u64, shape: &str) -> Vec<f64> {
    let of = |engine: &'static str| {
        report
            .of(rule.part, engine, rule.verb)
            .filter(move |record| record.series == series && record.shape == shape)
    };
    let mut out = Vec::new();
    for ours in of(OURS) {
        let theirs = of("prometheus").find(|theirs| theirs.round == ours.round);
        let both = theirs.and_then(|theirs| Some((rule.of)(ours)? / (rule.of)(theirs)?));
        out.extend(both);
    }
    out
}

/// One matcher set in one round: ours first, theirs second.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    pub ours: &'a Record,
    pub theirs: &'a Record,
}

/// Pairs what was measured for each matcher set.
pub fn pairs<'a>(report: &'a Report, peer: &'a str, verb: &'a str, series: u64) -> Vec<Pair<'a>> {
    let mut out = Vec::new();
    for ours in report
        .of("cluster", OURS, verb)
        .filter(|record| record.series == series)
    {
        let theirs = report.of("cluster", peer, verb).find(|theirs| {
            theirs.series == series && theirs.round == ours.round && theirs.case() == ours.case()
        });
        out.extend(theirs.map(|theirs| Pair { ours, theirs }));
    }
    out
}

impl Pair<'_> {
    /// Returns our first run divided by their best.
    pub fn first_to_best(&self) -> Option<f64> {
        Some(self.ours.number("first_s")? / self.theirs.number("best_s")?)
    }
}

fn rounds<'a>(pairs: &[Pair<'a>]) -> Vec<Vec<Pair<'a>>> {
    let mut out: Vec<Vec<Pair<'a>>> = Vec::new();
    for pair in pairs {
        match out
            .iter_mut()
            .find(|round| round[0].ours.round == pair.ours.round)
        {
            Some(round) => round.push(*pair),
            None => out.push(vec![*pair]),
        }
    }
    out
}

fn selects(report: &Report, peer: &'static str) -> Vec<Verdict> {
    let mut out = Vec::new();
    for series in report.sizes("cluster") {
        let mut all = pairs(report, peer, "select", series);
        let is_warm = peer != "prometheus";
        if is_warm {
            all.retain(|pair| pair.ours.number("found") > Some(WARM_FOUND_MIN));
        }
        let rounds = rounds(&all);
        let verdict = |what: String, bar: f64, of: fn(&[f64]) -> f64| {
            let of_round = |round: &Vec<Pair<'_>>| {
                let ratios: Vec<f64> = round.iter().filter_map(Pair::first_to_best).collect();
                of(&ratios)
            };
            Some(Verdict {
                against: peer,
                what: format!("{what}, {}", size(series)),
                unit: Unit::Ratio,
                bar: Bar::AtMost(bar),
                measured: Spread::of(rounds.iter().map(of_round).collect())?,
            })
        };
        if is_warm {
            let what =
                "slowest select case above 500 series, our first run to their best".to_owned();
            out.extend(verdict(what, 1.0, worst));
        } else {
            out.extend(verdict(
                "slowest select case, our first run to their best".to_owned(),
                1.0,
                worst,
            ));
            out.extend(verdict(
                "all select cases, geometric mean".to_owned(),
                0.1,
                geometric_mean,
            ));
        }
    }
    out
}

fn worst(ratios: &[f64]) -> f64 {
    ratios.iter().copied().fold(0.0, f64::max)
}

/// The mean in which twice as fast and twice as slow cancel out.
fn geometric_mean(ratios: &[f64]) -> f64 {
    let sum: f64 = ratios
        .iter()
        .map(|ratio| ratio.max(CASE_RATIO_MIN).ln())
        .sum();
    (sum / ratios.len() as f64).exp()
}

fn scans(report: &Report, peer: &'static str) -> Vec<Verdict> {
    let bar = if peer == "prometheus" { 8.0 } else { 3.0 };
    let mut out = Vec::new();
    for series in report.sizes("cluster") {
        let rounds = rounds(&pairs(report, peer, "scan", series));
        // All cases together: seconds for the same samples.
        let of_round = |round: &Vec<Pair<'_>>| {
            let sum = |of: fn(&Pair<'_>) -> Option<f64>| round.iter().filter_map(of).sum::<f64>();
            sum(|pair| pair.theirs.number("best_s")) / sum(|pair| pair.ours.number("best_s"))
        };
        let measured = Spread::of(rounds.iter().map(of_round).collect());
        out.extend(measured.map(|measured| Verdict {
            against: peer,
            what: format!("scan, samples per second, {}", size(series)),
            unit: Unit::Ratio,
            bar: Bar::AtLeast(bar),
            measured,
        }));
    }
    out
}

fn victoria_disk(report: &Report) -> Vec<Verdict> {
    let mut out = Vec::new();
    let peer = "victoriametrics";
    for series in report.sizes("cluster") {
        let rule = rule(
            "cluster",
            "flush",
            "",
            |record| record.number("block_bytes"),
            |_| None,
        );
        let of = |engine: &'static str| {
            report
                .of(rule.part, engine, rule.verb)
                .filter(move |record| record.series == series)
        };
        let ratios = of(OURS).filter_map(|ours| {
            let theirs = of(peer).find(|theirs| theirs.round == ours.round)?;
            Some((rule.of)(ours)? / (rule.of)(theirs)?)
        });
        out.extend(Spread::of(ratios.collect()).map(|measured| Verdict {
            against: peer,
            what: format!("disk after flush and merge, {}", size(series)),
            unit: Unit::Ratio,
            bar: Bar::AtMost(0.5),
            measured,
        }));
    }
    out
}

/// What is promised without a peer.
fn limits(report: &Report) -> Vec<Verdict> {
    let absolute = |what: &str, unit, bar, values: Vec<f64>| {
        Some(Verdict {
            against: "",
            what: what.to_owned(),
            unit: Unit::Absolute(unit),
            bar,
            measured: Spread::of(values)?,
        })
    };
    let records = || report.of("limits", OURS, "ingest");
    let memory = records()
        .filter(|record| record.series == 10_000_000)
        .filter_map(|record| Some(record.number("rss_kb")? / 1024.0 / 1024.0));
    let unaccounted = report
        .of("cluster", OURS, "ingest")
        .filter(|record| record.series >= LARGE)
        .filter_map(|record| Some((1.0 - accounted_bytes(record)? / series_bytes(record)?).abs()));
    let what =
        "resident memory at a million series and what `Stats::memory` accounts for differ by";
    let unaccounted = absolute(what, "of it", Bar::AtMost(0.1), unaccounted.collect());
    let p99 = records()
        .filter(|record| record.shape.contains("CHURN=100 "))
        .filter(|record| record.number("merges").is_some_and(|merges| merges >= 1.0))
        .filter_map(|record| Some(record.number("commit_p99_us")? / 1000.0));
    let what = "resident, ten million series scraped once a minute";
    let memory = absolute(what, "GiB", Bar::AtMost(2.5), memory.collect());
    let what = "p99 of a commit at 1 M series, 0.1 % of them replaced at each scrape, beside flushes and merges";
    let p99 = absolute(what, "ms", Bar::AtMost(1.0), p99.collect());
    let outage = report
        .of("limits", OURS, "outage")
        .filter_map(|record| Some(record.number("commit_p99_us")? / 1000.0));
    let what = "p99 of a commit while a remote is away for a day";
    let outage = absolute(what, "ms", Bar::AtMost(1.0), outage.collect());
    let sending = |version, verb, bar| {
        let rates = report
            .of("send", OURS, verb)
            .filter_map(|record| Some(record.number("samples_per_s")? / 1e6));
        let what = format!("sending by remote write {version} to a receiver beside it");
        absolute(&what, "M samples/s", Bar::AtLeast(bar), rates.collect())
    };
    let new = sending("2.0", "send_rw2", 2.0);
    let old = sending("1.0", "send_rw1", 0.5);
    [memory, unaccounted, p99, outage, new, old]
        .into_iter()
        .flatten()
        .collect()
}

/// Writes a number of series.
pub fn size(series: u64) -> String {
    match series {
        1_000_000.. if series.is_multiple_of(1_000_000) => {
            format!("{} M series", series / 1_000_000)
        }
        1000.. if series.is_multiple_of(1000) => format!("{} k series", series / 1000),
        _ => format!("{series} series"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::sample;

    fn find<'a>(verdicts: &'a [Verdict], against: &str, what: &str) -> &'a Verdict {
        let mut found = verdicts
            .iter()
            .filter(|verdict| verdict.against == against && verdict.what.starts_with(what));
        found.next().unwrap_or_else(|| panic!("no {what}"))
    }

    #[test]
    fn rounds_are_divided_by_their_own() {
        let verdicts = verdicts(&sample());
        let ingest = find(&verdicts, "prometheus", "samples per CPU second, 100 k");
        // 60 M by 4 M, and 90 M by 3 M.
        assert_eq!((ingest.measured.min, ingest.measured.max), (15.0, 30.0));
        assert!(ingest.holds());
    }

    #[test]
    fn a_slower_case_is_a_loss() {
        let verdicts = verdicts(&sample());
        let select = find(&verdicts, "prometheus", "slowest select case");
        assert_eq!(select.measured.median, 2.0);
        assert!(!select.holds());
        assert!(
            find(&verdicts, "prometheus", "all select cases")
                .measured
                .median
                < 0.2
        );
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        let verdicts = verdicts(&sample());
        assert!(
            verdicts
                .iter()
                .all(|verdict| !verdict.what.contains("lone"))
        );
    }
}
