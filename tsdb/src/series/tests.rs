//! The store on a disk that fails and crashes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;

use super::store::Loaded;
use super::*;
use crate::error::{ErrorKind, Result};
use crate::fs::{CrashChoice, Fault, FaultKind, Fs, SimFs};
use crate::labels::{Labels, SeriesLabels};

const DIR: &str = "series";

fn disk() -> SimFs {
    let fs = SimFs::new();
    fs.create_dir(Path::new(DIR)).unwrap();
    fs.sync_dir(Path::new("")).unwrap();
    fs
}

fn path(number: u64) -> PathBuf {
    Path::new(DIR).join(format!("{number:08}"))
}

type Definitions = BTreeMap<u64, Labels>;

fn load(fs: &SimFs) -> (SeriesStore, Loaded, Definitions) {
    let mut found = Definitions::new();
    let (store, loaded) =
        SeriesStore::open(Arc::new(fs.clone()), Path::new(DIR), 42, |definition| {
            found.insert(definition.id(), definition.labels());
        })
        .unwrap();
    (store, loaded, found)
}

fn shared(definitions: &Definitions) -> impl Iterator<Item = (u64, SeriesLabels)> {
    (definitions.iter()).map(|(&id, labels)| (id, SeriesLabels::from(labels)))
}

fn append(store: &mut SeriesStore, definitions: &Definitions) -> Result<u64> {
    store.append(shared(definitions))
}

/// Series as a cluster has them: forty metrics that share the labels of a container.
fn series(id: u64) -> Labels {
    let container = id / 40;
    let pairs = [
        (
            "__name__",
            format!("container_metric_{}_bytes_total", id % 40),
        ),
        ("cluster", "production-eu-1".to_owned()),
        ("container", format!("app-{}", container % 3)),
        (
            "id",
            format!(
                "/kubepods/burstable/pod{:016x}/{:032x}",
                container * 7919,
                container * 104_729
            ),
        ),
        (
            "image",
            "registry.example.org/team/application:1.27.3".to_owned(),
        ),
        ("instance", "10.0.17.4:10250".to_owned()),
        ("job", "kubelet".to_owned()),
        ("namespace", format!("team-{}", container % 5)),
        ("node", "worker-0017".to_owned()),
        (
            "pod",
            format!("application-{:08x}-{container}", container * 31),
        ),
    ];
    Labels::from_pairs(pairs).unwrap()
}

fn definitions(ids: impl IntoIterator<Item = u64>) -> Definitions {
    ids.into_iter().map(|id| (id, series(id))).collect()
}

#[test]
fn definitions_come_back_after_a_power_loss() {
    let fs = disk();
    let (mut store, loaded, _) = load(&fs);
    assert_eq!(loaded, Loaded::default());
    let all = definitions(1..=1000);
    assert_eq!(append(&mut store, &all).unwrap(), 1000);
    store.sync().unwrap();
    let (mut store, loaded, found) = load(&fs.crash(CrashChoice::None));
    assert_eq!(found, all);
    assert_eq!((loaded.definitions, loaded.damage.len()), (1000, 0));
    assert_eq!(append(&mut store, &Definitions::new()).unwrap(), 0);
}

#[test]
fn appends_after_a_restart_go_to_the_same_file() {
    let fs = disk();
    append(&mut load(&fs).0, &definitions(1..=10)).unwrap();
    append(&mut load(&fs).0, &definitions(11..=20)).unwrap();
    assert_eq!(fs.files().len(), 1);
    assert_eq!(load(&fs).2, definitions(1..=20));
}

#[test]
fn series_that_share_their_labels_take_few_bytes() {
    let fs = disk();
    let (mut store, ..) = load(&fs);
    // In the order of a scrape: metric by metric.
    let mut all: Vec<(u64, Labels)> = (0..20_000)
        .map(|id| (id, series(id % 500 * 40 + id / 500)))
        .collect();
    all.sort_by_key(|&(id, _)| id);
    store
        .append(all.iter().map(|(id, labels)| (*id, labels.into())))
        .unwrap();
    let per_series = store.len_bytes() as f64 / 20_000.0;
    assert!(per_series < 15.0, "{per_series} bytes per series");
    assert_eq!(load(&fs).2, all.into_iter().collect());
}

#[test]
fn largest_label_set_takes_a_page_of_its_own() {
    let fs = disk();
    let (mut store, ..) = load(&fs);
    let mut all = definitions(1..=50);
    let pairs: Vec<(String, String)> = (0..64)
        .map(|index| (format!("{index:0>150}"), "\u{e9}".repeat(50)))
        .collect();
    all.insert(51, Labels::from_pairs(pairs).unwrap());
    all.extend(definitions(52..=60));
    let pairs: Vec<(String, String)> = (0..4)
        .map(|index| (format!("n{index}"), "v".repeat(4080)))
        .collect();
    all.insert(61, Labels::from_pairs(pairs).unwrap());
    append(&mut store, &all).unwrap();
    let (_, loaded, found) = load(&fs);
    assert_eq!((found, loaded.damage), (all, vec![]));
}

#[test]
fn later_definition_of_an_id_wins() {
    let fs = disk();
    let (mut store, ..) = load(&fs);
    append(&mut store, &Definitions::from([(1, series(1))])).unwrap();
    append(&mut store, &Definitions::from([(1, series(2))])).unwrap();
    assert_eq!(load(&fs).2[&1], series(2));
}

#[test]
fn damage_costs_the_series_of_its_page() {
    let fs = disk();
    let (mut store, ..) = load(&fs);
    let all = definitions((1..=200).map(|index| index * 40));
    append(&mut store, &all).unwrap();
    let len = store.len_bytes();
    for bit in (0..len * 8).step_by(7) {
        let damaged = fs.crash(CrashChoice::All);
        damaged.flip_bit(&path(1), bit).unwrap();
        let (mut store, loaded, found) = load(&damaged);
        assert!(found.iter().all(|(id, labels)| all[id] == *labels));
        // A page is 4096 bytes, so it has at most 4096 / 30 of these.
        assert!(found.len() >= 200 - 140, "bit {bit}: {}", found.len());
        assert_eq!(found.len() == 200, loaded.damage.is_empty(), "bit {bit}");
        assert!(loaded.damage.iter().all(|damage| damage.bytes <= 4096));
        append(&mut store, &definitions([1])).unwrap();
        assert_eq!(load(&damaged).2.len(), found.len() + 1);
    }
}

#[test]
fn file_cut_at_any_length_leaves_the_pages_before() {
    let fs = disk();
    let (mut store, ..) = load(&fs);
    let all = definitions((1..=100).map(|index| index * 40));
    append(&mut store, &all).unwrap();
    let mut found_before = 0;
    for len in 0..=store.len_bytes() {
        let cut = fs.crash(CrashChoice::All);
        cut.truncate_file(&path(1), len).unwrap();
        let (mut store, loaded, found) = load(&cut);
        assert!(found.iter().all(|(id, labels)| all[id] == *labels));
        assert!(found.len() >= found_before);
        assert!(loaded.damage.iter().all(|damage| damage.at_end));
        found_before = found.len();
        append(&mut store, &definitions([1])).unwrap();
        assert_eq!(load(&cut).2.len(), found.len() + 1, "cut at {len}");
    }
    assert_eq!(found_before, 100);
}

#[test]
fn page_inside_a_label_is_not_taken_for_one() {
    let fs = disk();
    let (mut store, ..) = load(&fs);
    // Bytes of a real page, of another file, as far as they are text: enough to show that only the salt stands between.
    let mut writer = page::PageWriter::new(7);
    let labels = Labels::from_pairs([("a", "b")]).unwrap();
    writer.push(99, &SeriesLabels::from(&labels));
    let foreign = writer.finish().to_vec();
    append(&mut store, &definitions([40])).unwrap();
    let mut file = fs.open_append(&path(1)).unwrap();
    file.append(&foreign).unwrap();
    let (_, loaded, found) = load(&fs);
    assert_eq!(found, definitions([40]));
    assert_eq!(loaded.damage.len(), 1);
}

#[test]
fn rewrite_leaves_only_what_is_live() {
    let fs = disk();
    let (mut store, ..) = load(&fs);
    append(&mut store, &definitions(1..=1000)).unwrap();
    let before = store.len_bytes();
    let live = definitions((1..=1000).step_by(10));
    assert_eq!(store.rewrite(shared(&live)).unwrap(), 100);
    assert!(store.len_bytes() < before / 2);
    append(&mut store, &definitions([5000])).unwrap();
    store.sync().unwrap();
    let (_, loaded, found) = load(&fs.crash(CrashChoice::None));
    let mut expected = live;
    expected.extend(definitions([5000]));
    assert_eq!((found, loaded.damage), (expected, vec![]));
    assert_eq!(fs.files().len(), 1);
}

#[test]
fn crash_at_any_step_keeps_what_was_synced() {
    let fs = disk();
    let from = fs.operations();
    let (mut store, ..) = load(&fs);
    let mut synced: Vec<(usize, Definitions)> = vec![(0, Definitions::new())];
    let mut all = Definitions::new();
    for round in 0..4 {
        let new = definitions((1..=80).map(|index| (round * 80 + index) * 40));
        append(&mut store, &new).unwrap();
        all.extend(new);
        store.sync().unwrap();
        synced.push((fs.operations(), all.clone()));
        if round == 2 {
            store.rewrite(shared(&all)).unwrap();
        }
    }
    for operation in from..=fs.operations() {
        let (_, needed) = synced
            .iter()
            .rev()
            .find(|(at, _)| *at <= operation)
            .unwrap();
        for (choice, left) in fs.crash_states(operation, 3) {
            fs::sweep(&left);
            let (mut store, loaded, found) = load(&left);
            assert!(
                needed.keys().all(|id| found.contains_key(id)),
                "{operation} {choice:?}"
            );
            assert!(found.iter().all(|(id, labels)| all[id] == *labels));
            assert!(
                loaded.damage.iter().all(|damage| damage.at_end),
                "{operation} {choice:?}"
            );
            append(&mut store, &definitions([1])).unwrap();
            store.sync().unwrap();
            assert_eq!(
                load(&left.crash(CrashChoice::None)).2.len(),
                found.len() + 1
            );
        }
    }
}

mod fs {
    use super::*;

    pub(super) fn sweep(fs: &SimFs) {
        crate::fs::sweep_tmp(fs, Path::new(DIR)).unwrap();
    }
}

#[test]
fn fault_at_any_step_loses_nothing_that_was_synced() {
    for kind in [
        FaultKind::Eio,
        FaultKind::Enospc,
        FaultKind::ShortWrite,
        FaultKind::LostSync,
    ] {
        for operation in 0.. {
            let fs = disk();
            fs.fail_nth(fs.operations() + operation, Fault::once(kind));
            let (mut store, ..) = load(&fs);
            let mut all = Definitions::new();
            let mut synced = Definitions::new();
            for round in 0..4 {
                let new = definitions((1..=80).map(|index| (round * 80 + index) * 40));
                all.extend(new.clone());
                let appended = append(&mut store, &new).or_else(|_| append(&mut store, &new));
                if store.is_distrusted() || round == 2 {
                    drop(store.rewrite(shared(&all)));
                }
                if appended.is_ok() && store.sync().is_ok() {
                    synced = all.clone();
                }
            }
            if fs.failures() == 0 {
                break;
            }
            for choice in [CrashChoice::All, CrashChoice::None] {
                let (_, _, found) = load(&fs.crash(choice));
                assert!(
                    synced.keys().all(|id| found.contains_key(id)),
                    "{kind:?} at {operation}"
                );
                assert!(found.iter().all(|(id, labels)| all[id] == *labels));
            }
        }
    }
}

#[test]
fn store_takes_nothing_after_a_failed_sync_until_it_is_rewritten() {
    let fs = disk();
    let (mut store, ..) = load(&fs);
    let all = definitions(1..=10);
    append(&mut store, &all).unwrap();
    fs.fail_nth(fs.operations(), Fault::once(FaultKind::LostSync));
    assert_eq!(store.sync().unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(
        append(&mut store, &all).unwrap_err().kind(),
        ErrorKind::ReadOnly
    );
    assert_eq!(store.sync().unwrap_err().kind(), ErrorKind::ReadOnly);
    store.rewrite(shared(&all)).unwrap();
    append(&mut store, &definitions([11])).unwrap();
    store.sync().unwrap();
    assert_eq!(load(&fs.crash(CrashChoice::None)).2, definitions(1..=11));
}

#[test]
fn newer_version_is_refused() {
    let fs = disk();
    let mut header = Vec::from(b"tsdb-ser\x02\0");
    header.resize(28, 0);
    crate::encoding::seal(&mut header, 0);
    fs.create(&path(1)).unwrap().append(&header).unwrap();
    let opened = SeriesStore::open(Arc::new(fs), Path::new(DIR), 42, |_| {});
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::Unsupported);
}

fn any_labels() -> impl Strategy<Value = Labels> {
    let name = prop_oneof![Just("__name__".to_owned()), "[a-e]{1,3}"];
    let value = prop_oneof!["[ab]{1,12}", "[a\u{e9}\u{4e00}]{1,5}"];
    prop::collection::btree_map(name, value, 1..8)
        .prop_map(|pairs| Labels::from_pairs(pairs).unwrap())
}

proptest! {
    #[test]
    fn any_definitions_round_trip(all in prop::collection::vec((any::<u64>(), any_labels()), 0..60)) {
        let fs = disk();
        let (mut store, ..) = load(&fs);
        store.append(all.iter().map(|(id, labels)| (*id, labels.into()))).unwrap();
        let mut found = Vec::new();
        SeriesStore::open(Arc::new(fs), Path::new(DIR), 42, |definition| {
            found.push((definition.id(), definition.labels()));
        })
        .unwrap();
        let mut all = all;
        all.sort();
        found.sort();
        prop_assert_eq!(found, all);
    }

    #[test]
    fn any_bytes_that_verify_are_read_without_a_panic(body in prop::collection::vec(any::<u8>(), 1..200), count in 1u32..40) {
        let page = page::Page::new_for_test(count, &body);
        let read = page::PageReader::default().read(page, |definition| drop(definition.labels()));
        prop_assert!(read.is_err() || read == Ok(count));
    }
}
