//! The selections that are measured, and how many series each finds.

use tsdb::{Matcher, SeriesLabels, parse_selector};

/// One set of matchers.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// The matchers, as a selector.
    pub selector: &'static str,
    /// Series it finds among the first 100,000 of the cluster.
    pub found_100k: u64,
    /// Series it finds among the first 1,000,000.
    pub found_1m: u64,
}

/// All cases; their number is their place.
pub const CASES: [Case; 10] = [
    Case {
        selector: r#"{node="node-0003"}"#,
        found_100k: 2_400,
        found_1m: 2_400,
    },
    Case {
        selector: r"container_cpu_rss",
        found_100k: 2_500,
        found_1m: 25_000,
    },
    Case {
        selector: r#"container_cpu_rss{namespace="team-7"}"#,
        found_100k: 62,
        found_1m: 603,
    },
    Case {
        selector: r#"container_cpu_rss{namespace=~"team-1.*"}"#,
        found_100k: 670,
        found_1m: 6_834,
    },
    Case {
        selector: r#"container_cpu_rss{namespace!="team-7"}"#,
        found_100k: 2_438,
        found_1m: 24_397,
    },
    Case {
        selector: r#"container_cpu_rss{pod=~"app-1.*-.*"}"#,
        found_100k: 572,
        found_1m: 5_629,
    },
    Case {
        selector: r#"{pod=~".*abc.*"}"#,
        found_100k: 200,
        found_1m: 2_800,
    },
    Case {
        selector: r#"{__name__=~"container_cpu_.*|container_memory_rss",node="node-0003"}"#,
        found_100k: 660,
        found_1m: 660,
    },
    Case {
        selector: r#"{node=~"node-00(1|2|3)[0-9]",namespace!~"team-(1|2|3).*"}"#,
        found_100k: 12_680,
        found_1m: 12_680,
    },
    Case {
        selector: r#"{job="kubelet",pod=""}"#,
        found_100k: 0,
        found_1m: 0,
    },
];

/// The cases whose samples are decoded too.
pub const SCANNED: std::ops::RangeInclusive<usize> = 1..=4;

impl Case {
    /// Returns the matchers.
    pub fn matchers(&self) -> tsdb::Result<Vec<Matcher>> {
        parse_selector(self.selector)
    }
}

/// A sum over found series that every label's name and value goes into.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LabelsChecksum {
    /// Number of series.
    pub found: u64,
    /// The wrapping sum of `len(name) + 31 * len(value) + 257 * last byte of value` over all labels.
    pub sum: u64,
}

impl LabelsChecksum {
    /// Adds a series.
    pub fn add(&mut self, labels: &SeriesLabels) {
        self.found += 1;
        for (name, value) in labels {
            let last = value.as_bytes().last().copied().unwrap_or_default();
            let part = name.len() as u64 + 31 * value.len() as u64 + 257 * u64::from(last);
            self.sum = self.sum.wrapping_add(part);
        }
    }
}
