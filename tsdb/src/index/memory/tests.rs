use proptest::prelude::*;

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

#[test]
fn what_was_looked_up_earlier_is_looked_up_again_after_a_removal() {
    let set = |pod: &'static str| [("__name__", "up"), ("job", "a"), ("pod", pod)].into_iter();
    let mut index = MemIndex::new();
    let first = index.insert_pairs(set("x")).slot();
    let mut wanted = index.look_up(set("x"), NO_ENTITY);
    assert_eq!(index.slot_of(&wanted), Some(first));
    // Its entity, its metric and its slot are given to another series meanwhile.
    index.remove(first);
    let other = index.insert_pairs(set("y")).slot();
    assert_eq!(first, other);
    let again = index.insert_wanted(&mut wanted);
    assert_eq!(again, Insertion::New(1));
    for (slot, pod) in [(0, "y"), (1, "x")] {
        let labels = index.labels(slot);
        assert!(labels.iter().eq(set(pod)), "{labels}");
    }
}

#[test]
fn pinned_entity_goes_with_its_last_series_or_pin() {
    let mut index = MemIndex::new();
    let labels = || [("pod", "x")].into_iter();
    let entity = index.pin_entity(labels());
    let metric = index.intern_metric("up");
    let slot = index.insert_parts(metric, entity).slot();
    assert_eq!(index.insert_parts(metric, entity), Insertion::Known(slot));
    index.unpin_entity(entity);
    assert_eq!(index.labels(slot).get("pod"), Some("x"));
    assert_eq!(
        index.select(&crate::labels::parse_selector("{pod=\"x\"}").unwrap()),
        [slot]
    );
    index.remove(slot);
    let unused = index.pin_entity(labels());
    index.unpin_entity(unused);
    assert_eq!(index.entities.len(), 0);
    assert!(index.label_names(&[]).is_empty());
}

proptest! {
    /// Any hint gives the answer that none gives.
    #[test]
    fn hint_changes_no_answer(
        steps in prop::collection::vec((0usize..40, 0u32..12, any::<bool>()), 1..200),
    ) {
        let all: Vec<Labels> = cluster().step_by(7).take(40).collect();
        let (mut plain, mut hinted) = (MemIndex::new(), MemIndex::new());
        let mut slots = [None; 40];
        for (which, near, removes) in steps {
            let labels = &all[which];
            let mut wanted = hinted.look_up(labels.iter(), near);
            prop_assert_eq!(hinted.slot_of(&wanted), slots[which]);
            if removes && let Some(slot) = slots[which].take() {
                plain.remove(slot);
                hinted.remove(slot);
                continue;
            }
            let insertion = hinted.insert_wanted(&mut wanted);
            prop_assert_eq!(insertion, plain.insert(labels));
            slots[which] = Some(insertion.slot());
            prop_assert_eq!(&hinted.labels(insertion.slot()), labels);
        }
    }
}
