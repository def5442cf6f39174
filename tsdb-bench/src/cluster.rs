//! The synthetic cluster: its series, and the samples of each scrape as pure functions of their numbers.
//!
//! A node has 60 pods, a pod 40 metrics; series are numbered pod by pod. A thousand series in a row are one scraped
//! target. Every number comes from [`h`], so that programs in other languages produce the same bytes.

use std::io::{self, Write};

/// Metrics of a pod.
pub const METRICS: u64 = 40;

/// Pods of a node.
pub const PODS: u64 = 60;

/// Series of a target, unless told otherwise.
pub const TARGET_SERIES: u64 = 1000;

/// Milliseconds between scrapes, unless told otherwise.
pub const INTERVAL_MS: i64 = 15_000;

const PARTS: [&str; 4] = ["cpu", "memory", "network", "fs"];
const MEASURES: [&str; 10] = [
    "usage_seconds_total",
    "working_set_bytes",
    "rss",
    "cache",
    "receive_bytes_total",
    "transmit_bytes_total",
    "reads_total",
    "writes_total",
    "failures_total",
    "limit_bytes",
];

const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// Hashes a pair of numbers: splitmix64 of `a` scrambled plus `b`.
#[inline]
pub fn h(a: u64, b: u64) -> u64 {
    splitmix64(a.wrapping_mul(GOLDEN_GAMMA).wrapping_add(b))
}

#[inline]
fn splitmix64(state: u64) -> u64 {
    let mut z = state.wrapping_add(GOLDEN_GAMMA);
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

/// The labels all series of one pod share, in order of name.
#[derive(Debug)]
pub struct Pod {
    labels: [(&'static str, String); 9],
}

impl Pod {
    /// Returns the pod with this number, counted over all nodes.
    pub fn new(number: u64) -> Self {
        let (node, pod) = (number / PODS + 1, number % PODS);
        let x = h(node, pod);
        let (a, b) = (h(x, 1), h(x, 2));
        let (app, namespace) = (x % 500, format!("team-{}", (x >> 16) % 40));
        let labels = [
            ("cluster", "prod-1".to_owned()),
            ("container", "main".to_owned()),
            ("id", format!("/kubepods/burstable/pod{a:016x}{b:016x}")),
            ("image", format!("registry/{namespace}/app-{app}:v1")),
            (
                "instance",
                format!("10.0.{}.{}:10250", node / 256, node % 256),
            ),
            ("job", "kubelet".to_owned()),
            ("namespace", namespace),
            ("node", format!("node-{node:04}")),
            // Ten hex digits of `a` from the top, then five.
            (
                "pod",
                format!("app-{app}-{:010x}-{:05x}", a >> 24, a >> 4 & 0xf_ffff),
            ),
        ];
        Self { labels }
    }

    /// Returns the pod that took the place of this one at a scrape.
    #[must_use]
    pub fn replaced_at(mut self, scrape: u64) -> Self {
        let [.., (_, pod)] = &mut self.labels;
        pod.push_str("-s");
        pod.push_str(&scrape.to_string());
        self
    }

    /// Walks the labels of one of the pod's series, in order of name.
    pub fn labels<'a>(&'a self, metric: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        std::iter::once(("__name__", metric)).chain(
            self.labels
                .iter()
                .map(|(name, value)| (*name, value.as_str())),
        )
    }
}

/// Returns the name of the metric with this number.
pub fn metric(number: u64) -> String {
    let per_part = MEASURES.len() as u64;
    format!(
        "container_{}_{}",
        PARTS[(number / per_part) as usize],
        MEASURES[(number % per_part) as usize]
    )
}

/// Writes the first `count` series, one a line: `name=value` pairs separated by tabs.
pub fn write_series(count: u64, out: &mut dyn Write) -> io::Result<()> {
    let metrics: Vec<String> = (0..METRICS).map(metric).collect();
    for pod_number in 0..count.div_ceil(METRICS) {
        let pod = Pod::new(pod_number);
        let rest = (count - pod_number * METRICS).min(METRICS) as usize;
        for metric in &metrics[..rest] {
            for (index, (name, value)) in pod.labels(metric).enumerate() {
                write!(out, "{}{name}={value}", if index == 0 { "" } else { "\t" })?;
            }
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}

/// Reads the labels in a line of [`write_series`].
pub fn parse_line(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = line;
    std::iter::from_fn(move || {
        // Pieces are short: a plain walk is faster than the searches of `str`, which are made for long ones.
        let (name, behind) = rest.split_at_checked(find(rest, b'=')?)?;
        let behind = behind.get(1..)?;
        let end = find(behind, b'\t').unwrap_or(behind.len());
        let (value, behind) = behind.split_at_checked(end)?;
        rest = behind.get(1..).unwrap_or_default();
        Some((name, value))
    })
}

fn find(text: &str, byte: u8) -> Option<usize> {
    text.bytes().position(|other| other == byte)
}

/// What varies between runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Timestamp of scrape 0.
    pub start_ms: i64,
    /// Milliseconds between scrapes.
    pub interval_ms: i64,
    /// What the values are.
    pub values: Values,
    /// Whether a commit is one scrape.
    pub arrival: Arrival,
    /// How many in 100,000 series are replaced at each scrape.
    pub churn: u64,
    /// Series of a target.
    pub group: u64,
}

/// What the values of a run are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Constants, counters and walks, by the number of the series.
    Metrics,
    /// Random fractions with 53 bits.
    Noise,
}

/// How the samples of a commit arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// With one timestamp.
    Scrape,
    /// Each a millisecond after the one before, up to a second, so that nothing is a scrape.
    Lone,
}

impl Shape {
    /// Returns the plain shape: scrapes of metrics without churn.
    pub const fn new(start_ms: i64) -> Self {
        Self {
            start_ms,
            interval_ms: INTERVAL_MS,
            values: Values::Metrics,
            arrival: Arrival::Scrape,
            churn: 0,
            group: TARGET_SERIES,
        }
    }

    /// Returns the time a scrape is due.
    pub const fn due(&self, scrape: u64) -> i64 {
        self.start_ms + scrape as i64 * self.interval_ms
    }

    /// Returns the timestamp of a target's scrape: when it is due, for one in ten a few milliseconds off.
    pub fn timestamp(&self, target: u64, scrape: u64) -> i64 {
        let x = h(target, scrape);
        let jitter_ms = if x.is_multiple_of(10) {
            (x / 16 % 11) as i64 - 5
        } else {
            0
        };
        self.due(scrape) + jitter_ms
    }

    /// Returns the timestamp of the sample with this place in a commit.
    #[inline]
    pub const fn sample_timestamp(&self, timestamp: i64, place: usize) -> i64 {
        match self.arrival {
            Arrival::Scrape => timestamp,
            Arrival::Lone => timestamp + place as i64 % 1000,
        }
    }

    /// Tells whether a series is replaced at a scrape.
    #[inline]
    pub fn is_replaced(&self, series: u64, scrape: u64) -> bool {
        self.churn > 0 && scrape > 0 && h(series, scrape) % 100_000 < self.churn
    }
}

/// The values of consecutive series, scrape by scrape. A replaced series goes on where its predecessor stopped.
#[derive(Debug)]
pub struct Walk {
    first: u64,
    state: Vec<i32>,
    values: Values,
}

impl Walk {
    /// Returns the walk of `count` series from number `first` on, before scrape 0.
    pub fn new(first: u64, count: usize, values: Values) -> Self {
        let state = match values {
            Values::Metrics => vec![0; count],
            Values::Noise => Vec::new(),
        };
        Self {
            first,
            state,
            values,
        }
    }

    /// Returns the bytes of memory behind it.
    pub fn memory_bytes(&self) -> usize {
        self.state.capacity() * size_of::<i32>()
    }

    /// Writes the values of a scrape, one for each series. Scrapes are asked for in order, each once.
    pub fn scrape(&mut self, scrape: u64, out: &mut [f64]) {
        match self.values {
            Values::Noise => {
                for (series, value) in (self.first..).zip(out) {
                    *value = (h(series, scrape) >> 11) as f64 / (1u64 << 53) as f64;
                }
            }
            Values::Metrics => {
                for ((series, state), value) in (self.first..).zip(&mut self.state).zip(out) {
                    *value = step(series, scrape, state);
                }
            }
        }
    }
}

/// Moves one series on and returns its value.
#[inline]
fn step(series: u64, scrape: u64, state: &mut i32) -> f64 {
    let random = |modulus: u64| (h(series, scrape) % modulus) as i32;
    match series % 10 {
        0..=3 => return (series * 7 % 1000) as f64,
        4..=6 => *state += random(100),
        7 => *state += random(21) - 10,
        8 => {
            *state += random(2001) - 1000;
            return f64::from(*state) / 1000.0;
        }
        _ => *state += i32::from(scrape.is_multiple_of(20)),
    }
    f64::from(*state)
}

/// A sum over samples that does not depend on their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checksum {
    /// Number of samples.
    pub samples: u64,
    /// The wrapping sum of `bits(value) ^ timestamp << 1`.
    pub sum: u64,
}

impl Checksum {
    /// Adds a sample.
    #[inline]
    pub fn add(&mut self, timestamp: i64, value: f64) {
        self.samples += 1;
        self.sum = self
            .sum
            .wrapping_add(value.to_bits() ^ (timestamp as u64) << 1);
    }
}

/// Returns the checksum of all samples of the first `series` series in `scrapes` scrapes, straight from the definition.
pub fn checksum(shape: &Shape, series: u64, scrapes: u64, stale: f64) -> Checksum {
    let mut checksum = Checksum::default();
    let mut values = Vec::new();
    for target in 0..series.div_ceil(shape.group) {
        let first = target * shape.group;
        let count = (series - first).min(shape.group) as usize;
        let mut walk = Walk::new(first, count, shape.values);
        values.resize(count, 0.0);
        for scrape in 0..scrapes {
            let timestamp = shape.timestamp(target, scrape);
            walk.scrape(scrape, &mut values);
            for (place, value) in values.iter().enumerate() {
                checksum.add(shape.sample_timestamp(timestamp, place), *value);
            }
            let replaced = (first..first + count as u64)
                .filter(|&series| shape.is_replaced(series, scrape))
                .count();
            for place in count..count + replaced {
                checksum.add(shape.sample_timestamp(timestamp, place), stale);
            }
        }
    }
    checksum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_series_is_the_definitions() {
        let mut out = Vec::new();
        write_series(1, &mut out).unwrap();
        let line = String::from_utf8(out).unwrap();
        assert!(line.starts_with("__name__=container_cpu_usage_seconds_total\tcluster=prod-1\tcontainer=main\tid=/kubepods/burstable/pod"));
        assert!(line.ends_with('\n'));
        assert_eq!(parse_line(line.trim_end()).count(), 10);
    }

    #[test]
    fn a_partial_pod_is_cut() {
        let mut out = Vec::new();
        write_series(METRICS + 3, &mut out).unwrap();
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 43);
    }

    #[test]
    fn pod_names_are_the_first_fifteen_hex_digits() {
        let pod = Pod::new(0);
        let a = format!("{:016x}", h(h(1, 0), 1));
        let name = pod.labels("m").last().unwrap().1.to_owned();
        let parts: Vec<&str> = name.split('-').collect();
        assert_eq!(
            format!("{}{}", parts[2], parts[3]),
            a.chars().take(15).collect::<String>()
        );
        assert_eq!(
            pod.replaced_at(7).labels("m").last().unwrap().1,
            format!("{name}-s7")
        );
    }
}
