//! Both indexes against a filter over all label sets.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::{Index, select as one_of};

use super::{Cardinality, Count, IndexReader, IndexWriter, MemIndex};
use crate::fs::MappedFile;
use crate::labels::{Labels, MatchOp, Matcher, SeriesLabels};

/// Forty metrics of each of sixty pods a node, ten labels each.
pub(super) fn cluster() -> impl Iterator<Item = Labels> {
    let hash = |a: u64, b: u64| {
        let mut z = a
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(b)
            .wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    (1u64..)
        .flat_map(|node| (0..60).map(move |pod| (node, pod)))
        .flat_map(move |(node, pod)| {
            let x = hash(node, pod);
            let (a, b) = (
                format!("{:016x}", hash(x, 1)),
                format!("{:016x}", hash(x, 2)),
            );
            let (app, namespace) = (x % 500, format!("team-{}", (x >> 16) % 40));
            let entity = [
                ("cluster", "prod-1".to_owned()),
                ("container", "main".to_owned()),
                ("id", format!("/kubepods/burstable/pod{a}{b}")),
                ("image", format!("registry/{namespace}/app-{app}:v1")),
                (
                    "instance",
                    format!("10.0.{}.{}:10250", node / 256, node % 256),
                ),
                ("job", "kubelet".to_owned()),
                ("namespace", namespace),
                ("node", format!("node-{node:04}")),
                (
                    "pod",
                    format!(
                        "app-{app}-{}-{}",
                        a.get(..10).unwrap(),
                        a.get(10..15).unwrap()
                    ),
                ),
            ];
            metric_names().map(move |metric| {
                let labels = entity.iter().map(|(name, value)| (*name, value.as_str()));
                Labels::from_pairs([("__name__", metric.as_str())].into_iter().chain(labels))
                    .unwrap()
            })
        })
}

fn metric_names() -> impl Iterator<Item = String> {
    const KINDS: [&str; 10] = [
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
    ["cpu", "memory", "network", "fs"]
        .into_iter()
        .flat_map(|part| KINDS.map(|kind| format!("container_{part}_{kind}")))
}

pub(super) fn matcher(op: MatchOp, name: &str, value: &str) -> Matcher {
    Matcher::new(op, name, value).unwrap()
}

/// What dashboards and rules ask of a cluster, and how many of 100,000 series that is.
pub(super) fn cluster_queries() -> Vec<(Vec<Matcher>, usize)> {
    use MatchOp::{Equal, NotEqual, NotRegex, Regex};
    let rss = || matcher(Equal, "__name__", "container_cpu_rss");
    vec![
        (vec![matcher(Equal, "node", "node-0003")], 2400),
        (vec![rss()], 2500),
        (vec![rss(), matcher(Equal, "namespace", "team-7")], 62),
        (vec![rss(), matcher(Regex, "namespace", "team-1.*")], 670),
        (vec![rss(), matcher(NotEqual, "namespace", "team-7")], 2438),
        (vec![rss(), matcher(Regex, "pod", "app-1.*-.*")], 572),
        (vec![matcher(Regex, "pod", ".*abc.*")], 200),
        (
            vec![
                matcher(Regex, "__name__", "container_cpu_.*|container_memory_rss"),
                matcher(Equal, "node", "node-0003"),
            ],
            660,
        ),
        (
            vec![
                matcher(Regex, "node", "node-00(1|2|3)[0-9]"),
                matcher(NotRegex, "namespace", "team-(1|2|3).*"),
            ],
            12_680,
        ),
        (
            vec![matcher(Equal, "job", "kubelet"), matcher(Equal, "pod", "")],
            0,
        ),
    ]
}

pub(super) fn written(series: &BTreeSet<Labels>) -> Vec<u8> {
    let mut writer = IndexWriter::new();
    for (ordinal, labels) in series.iter().enumerate() {
        assert_eq!(writer.add(labels).unwrap(), ordinal as u32);
    }
    let mut bytes = Vec::new();
    writer.finish(&mut bytes).unwrap();
    bytes
}

pub(super) fn opened(bytes: Vec<u8>) -> IndexReader {
    let len = bytes.len() as u64;
    IndexReader::open("index", &MappedFile::from_bytes(bytes), 0, len).unwrap()
}

#[test]
fn cluster_queries_find_what_they_should() {
    let (mut memory, mut series) = (MemIndex::new(), BTreeSet::new());
    for labels in cluster().take(100_000) {
        memory.insert(&labels);
        series.insert(labels);
    }
    let disk = opened(written(&series));
    let sorted: Vec<&Labels> = series.iter().collect();
    for (matchers, count) in cluster_queries() {
        let slots = memory.select(&matchers);
        let ordinals = disk.select(&matchers).unwrap();
        assert_eq!(
            (slots.len(), ordinals.len()),
            (count, count),
            "{matchers:?}"
        );
        for (slot, ordinal) in slots.into_iter().zip(ordinals) {
            assert_eq!(&memory.labels(slot), sorted[ordinal as usize]);
            assert_eq!(&disk.labels(ordinal).unwrap(), sorted[ordinal as usize]);
        }
    }
}

const NAMES: [&str; 6] = ["__name__", "Zone", "a", "b", "c", "a_long_name"];
const VALUES: [&str; 10] = [
    "", "x", "y", "xx", "xy", "yx", "xyz", "x\n", "x\0", "häuser",
];
const PATTERNS: [&str; 24] = [
    "", ".*", ".+", "x", "x|y", "|x", "x.*", "x.+", ".*y", ".*y.*", "[xy]+", "(x|y)?", "xy?",
    "nothing", "x.", "y|.+z", "x(y|x).*", "ä|h.*r", ".*xx.*", ".*yx.*", "x.*z", ".*x.*y.*",
    ".*v.*1.*", "v.*",
];

fn label_sets(count: usize) -> impl Strategy<Value = BTreeSet<Labels>> {
    let value = prop_oneof![4 => one_of(&VALUES[..]).prop_map(str::to_owned), 1 => (0u32..500).prop_map(|id| format!("v{id}"))];
    let pairs = NAMES.map(|name| value.clone().prop_map(move |value| (name, value)));
    prop::collection::vec(pairs, 0..count).prop_map(|sets| {
        sets.into_iter()
            .filter_map(|pairs| Labels::from_pairs(pairs).ok())
            .collect()
    })
}

fn matchers() -> impl Strategy<Value = Vec<Matcher>> {
    let name = prop_oneof![8 => one_of(&NAMES[..]), 1 => Just("missing")];
    let one = (name, 0..4, one_of(&VALUES[..]), one_of(&PATTERNS[..])).prop_map(
        |(name, op, value, pattern)| match op {
            0 => matcher(MatchOp::Equal, name, value),
            1 => matcher(MatchOp::NotEqual, name, value),
            2 => matcher(MatchOp::Regex, name, pattern),
            _ => matcher(MatchOp::NotRegex, name, pattern),
        },
    );
    prop::collection::vec(one, 0..4)
}

fn selected<'a>(series: &'a BTreeSet<Labels>, matchers: &[Matcher]) -> Vec<&'a Labels> {
    let accepted = |labels: &&Labels| {
        matchers
            .iter()
            .all(|matcher| matcher.matches(labels.get(matcher.name()).unwrap_or("")))
    };
    series.iter().filter(accepted).collect()
}

fn names_of(series: &[&Labels]) -> BTreeSet<String> {
    series
        .iter()
        .flat_map(|labels| labels.iter())
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn values_of(series: &[&Labels], name: &str) -> BTreeSet<String> {
    series
        .iter()
        .filter_map(|labels| labels.get(name))
        .map(str::to_owned)
        .collect()
}

fn memory_agrees(memory: &MemIndex, series: &BTreeSet<Labels>, queries: &[Vec<Matcher>]) {
    assert_eq!(memory.len(), series.len());
    for labels in series {
        let slot = memory.get(labels).unwrap();
        assert_eq!(memory.labels(slot), *labels);
        assert_eq!(memory.metric_of(slot), labels.metric());
    }
    for matchers in queries {
        let expected = selected(series, matchers);
        let found: Vec<Labels> = memory
            .select(matchers)
            .into_iter()
            .map(|slot| memory.labels(slot))
            .collect();
        assert!(
            found.iter().eq(expected.iter().copied()),
            "{matchers:?}: {found:?} instead of {expected:?}"
        );
        let shared = memory.series_labels(&memory.select(matchers));
        assert!(
            shared
                .iter()
                .map(SeriesLabels::to_labels)
                .eq(found.iter().cloned())
        );
        assert_eq!(
            memory.label_names(matchers),
            names_of(&expected),
            "{matchers:?}"
        );
        for name in NAMES {
            assert_eq!(
                memory.label_values(name, matchers),
                values_of(&expected, name),
                "{name} {matchers:?}"
            );
        }
    }
}

fn disk_agrees(disk: &IndexReader, series: &BTreeSet<Labels>, queries: &[Vec<Matcher>]) {
    assert_eq!(disk.series_count() as usize, series.len());
    for (ordinal, labels) in series.iter().enumerate() {
        assert_eq!(disk.ordinal_of(labels).unwrap(), Some(ordinal as u32));
        assert_eq!(disk.labels(ordinal as u32).unwrap(), *labels);
    }
    for matchers in queries {
        let expected = selected(series, matchers);
        let found: Vec<Labels> = disk
            .select(matchers)
            .unwrap()
            .into_iter()
            .map(|ordinal| disk.labels(ordinal).unwrap())
            .collect();
        assert!(
            found.iter().eq(expected.iter().copied()),
            "{matchers:?}: {found:?} instead of {expected:?}"
        );
        let mut series = disk.find(matchers).unwrap();
        let mut shared: Vec<(u32, Labels)> = Vec::new();
        while series
            .next_batch(disk, |ordinal, labels| {
                shared.push((ordinal, labels.to_labels()));
            })
            .unwrap()
        {}
        let ordinals = disk.select(matchers).unwrap();
        assert_eq!(
            shared,
            ordinals.into_iter().zip(found).collect::<Vec<_>>(),
            "{matchers:?}"
        );
        assert_eq!(
            disk.label_names(matchers).unwrap(),
            names_of(&expected),
            "{matchers:?}"
        );
        for name in NAMES {
            assert_eq!(
                disk.label_values(name, matchers).unwrap(),
                values_of(&expected, name),
                "{name} {matchers:?}"
            );
        }
    }
}

fn top(counts: BTreeMap<String, u64>, limit: usize) -> Vec<Count> {
    let mut counts: Vec<Count> = counts
        .into_iter()
        .map(|(name, count)| Count { name, count })
        .collect();
    counts.sort_by_key(|count| std::cmp::Reverse(count.count));
    counts.truncate(limit);
    counts
}

proptest! {
    #[test]
    fn memory_agrees_with_a_filter_after_any_changes(
        first in label_sets(120),
        second in label_sets(60),
        removed in prop::collection::vec(any::<Index>(), 0..100),
        queries in prop::collection::vec(matchers(), 1..12),
    ) {
        let (mut memory, mut series) = (MemIndex::new(), BTreeSet::new());
        for labels in first {
            prop_assert_eq!(memory.get(&labels), None);
            let slot = memory.insert(&labels);
            prop_assert_eq!(memory.insert(&labels).slot(), slot.slot());
            series.insert(labels);
        }
        memory_agrees(&memory, &series, &queries);
        for index in removed {
            if !series.is_empty() {
                let labels = index.get(&series.iter().collect::<Vec<_>>()).to_owned().clone();
                memory.remove(memory.get(&labels).unwrap());
                prop_assert_eq!(memory.get(&labels), None);
                series.remove(&labels);
            }
        }
        memory_agrees(&memory, &series, &queries);
        for labels in second {
            memory.insert(&labels);
            series.insert(labels);
        }
        memory_agrees(&memory, &series, &queries);
    }

    #[test]
    fn disk_agrees_with_a_filter(series in label_sets(300), queries in prop::collection::vec(matchers(), 1..12)) {
        disk_agrees(&opened(written(&series)), &series, &queries);
    }

    #[test]
    fn cardinality_agrees_with_counting(series in label_sets(300), limit in 1usize..20) {
        let (mut metrics, mut values, mut pairs) = (BTreeMap::new(), BTreeMap::<_, BTreeSet<_>>::new(), BTreeMap::new());
        let mut memory = MemIndex::new();
        for labels in &series {
            memory.insert(labels);
            if !labels.metric().is_empty() {
                *metrics.entry(labels.metric().to_owned()).or_default() += 1;
            }
            for (name, value) in labels {
                values.entry(name.to_owned()).or_default().insert(value.to_owned());
                *pairs.entry(format!("{name}={value}")).or_default() += 1;
            }
        }
        let values: BTreeMap<String, u64> = values.into_iter().map(|(name, values)| (name, values.len() as u64)).collect();
        let (mut of_memory, mut of_disk) = (Cardinality::new(limit), Cardinality::new(limit));
        memory.cardinality(&mut of_memory);
        opened(written(&series)).cardinality(&mut of_disk).unwrap();
        prop_assert_eq!(&of_memory, &of_disk);
        prop_assert_eq!(of_memory.series(), series.len() as u64);
        prop_assert_eq!(of_memory.metrics(), top(metrics, limit));
        prop_assert_eq!(of_memory.labels(), top(values, limit));
        prop_assert_eq!(of_memory.pairs(), top(pairs, limit));
        of_disk.merge(&of_memory);
        prop_assert_eq!(of_memory, of_disk);
    }
}
