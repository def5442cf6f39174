use super::*;
use crate::index::tests::cluster;

#[test]
fn nothing_is_left_behind_by_churn() {
    let mut index = MemIndex::new();
    let all: Vec<Labels> = cluster().take(64_000).collect();
    let (resident, churned) = all.split_at(4_000);
    for labels in resident {
        index.insert(labels);
    }
    let mut sizes = Vec::new();
    for generation in churned.chunks(4_000) {
        let slots: Vec<u32> = generation
            .iter()
            .map(|labels| index.insert(labels).slot())
            .collect();
        assert!(slots.iter().all(|slot| *slot < 8_000));
        sizes.push(index.memory_bytes());
        for slot in slots {
            index.remove(slot);
        }
        assert_eq!(index.len(), resident.len());
    }
    // Tables grow once more while they wear in; after that nothing does.
    let (worn_in, last) = (sizes[sizes.len() / 2], sizes[sizes.len() - 1]);
    assert!(last <= worn_in + worn_in / 50, "{sizes:?}");
}

#[test]
fn empty_index_takes_no_text() {
    let mut index = MemIndex::new();
    let slots: Vec<u32> = cluster()
        .take(2_000)
        .map(|labels| index.insert(&labels).slot())
        .collect();
    for slot in slots {
        index.remove(slot);
    }
    assert!(index.is_empty());
    assert!(index.label_names(&[]).is_empty());
    assert!(index.label_values("pod", &[]).is_empty());
    assert_eq!(index.entities.len(), 0);
}

#[test]
fn memory_stays_within_its_budget() {
    let mut index = MemIndex::new();
    let count = 100_000;
    for labels in cluster().take(count) {
        index.insert(&labels);
    }
    assert!(
        index.memory_bytes() <= count * 45,
        "{} bytes for {count} series",
        index.memory_bytes()
    );
}

#[test]
fn series_without_metric_name_are_told_apart() {
    let mut index = MemIndex::new();
    let named = Labels::from_pairs([("__name__", "up"), ("job", "a")]).unwrap();
    let nameless = Labels::from_pairs([("job", "a")]).unwrap();
    let only_name = Labels::from_pairs([("__name__", "up")]).unwrap();
    let slots = [&named, &nameless, &only_name].map(|labels| index.insert(labels).slot());
    assert_eq!(
        slots.map(|slot| index.labels(slot)),
        [named, nameless, only_name]
    );
    assert_eq!(
        slots.map(|slot| index.metric_of(slot).to_owned()),
        ["up", "", "up"]
    );
}
