//! Which blocks to merge.

use std::collections::BTreeSet;

use crate::compact::{Candidate, Step};
use crate::fs::Ulid;
use crate::time::TimeRange;

/// What a plan depends on beside the blocks.
#[derive(Debug, Clone)]
pub(crate) struct PlanOptions {
    /// Widths of blocks, ascending, each a multiple of the one before; see [`ranges_ms`].
    pub(crate) ranges_ms: Vec<i64>,
    /// Blocks that no merge may touch, because one of them failed before.
    pub(crate) excluded: BTreeSet<Ulid>,
}

/// Returns the widths that blocks grow through: `base_ms` and three times the one before, up to `max_ms`.
pub(crate) fn ranges_ms(base_ms: i64, max_ms: i64) -> Vec<i64> {
    std::iter::successors(Some(base_ms), |width| width.checked_mul(3))
        .take_while(|&width| width == base_ms || width <= max_ms)
        .collect()
}

/// Decides what to merge and what to clean, as Prometheus does:
///
/// 1. Blocks that overlap are merged, so that a query reads each sample once.
/// 2. Otherwise the newest block is left alone: what is just written can be copied away before it moves.
/// 3. For each width but the first, the blocks inside one aligned span of it are merged when they fill the span or
///    nothing newer can come to it.
/// 4. Otherwise a block with many deleted series is rewritten: a wide one above 5 % of its series, a narrow one only if
///    all of it may be gone, since it will be merged soon anyway.
///
/// Only the first of these that finds something is answered; ask again when the steps are done.
pub(crate) fn plan(blocks: &[Candidate], options: &PlanOptions) -> Vec<Step> {
    let mut blocks: Vec<&Candidate> = blocks.iter().collect();
    blocks.sort_by_key(|block| (block.range.start, block.range.end, block.ulid));

    let overlapping = merge_overlapping(&blocks, options);
    if !overlapping.is_empty() {
        return overlapping;
    }
    blocks.pop();
    let groups = merge_aligned(&blocks, options);
    if !groups.is_empty() {
        return groups;
    }
    clean(&blocks, options).into_iter().collect()
}

fn merge_overlapping(blocks: &[&Candidate], options: &PlanOptions) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = blocks;
    while let Some(first) = rest.first() {
        let mut end = first.range.end;
        let mut count = 1;
        while let Some(next) = rest.get(count).filter(|next| next.range.start < end) {
            end = end.max(next.range.end);
            count += 1;
        }
        let (group, behind) = rest.split_at(count);
        steps.extend(merge_group(group, options));
        rest = behind;
    }
    steps
}

/// `blocks` do not overlap, are in order of time, and the newest is not among them.
fn merge_aligned(blocks: &[&Candidate], options: &PlanOptions) -> Vec<Step> {
    let Some(newest) = blocks.last() else {
        return Vec::new();
    };
    for &width in options.ranges_ms.iter().skip(1) {
        let inside: Vec<&Candidate> = blocks
            .iter()
            .copied()
            .filter(|block| TimeRange::aligned(block.range.start, width).covers(&block.range))
            .collect();
        let steps: Vec<Step> = inside
            .chunk_by(|a, b| {
                TimeRange::aligned(a.range.start, width) == TimeRange::aligned(b.range.start, width)
            })
            .filter(|group| {
                let hull = hull(group);
                hull.end - hull.start == width || hull.end <= newest.range.start
            })
            .filter_map(|group| merge_group(group, options))
            .collect();
        if !steps.is_empty() {
            return steps;
        }
    }
    Vec::new()
}

fn merge_group(group: &[&Candidate], options: &PlanOptions) -> Option<Step> {
    if group.len() < 2
        || group
            .iter()
            .any(|block| options.excluded.contains(&block.ulid))
    {
        return None;
    }
    Some(Step::Merge {
        sources: group.iter().map(|block| block.ulid).collect(),
        range: hull(group),
        level: group
            .iter()
            .map(|block| block.level)
            .max()?
            .saturating_add(1),
    })
}

fn clean(blocks: &[&Candidate], options: &PlanOptions) -> Option<Step> {
    let narrow_ms = *options.ranges_ms.get(options.ranges_ms.len() / 2)?;
    for block in blocks.iter().rev() {
        let is_narrow = block.range.end - block.range.start < narrow_ms;
        let is_due = if is_narrow {
            block.tombstoned_series > 0 && block.tombstoned_series >= block.series
        } else {
            // More than 5 %, in whole numbers.
            block.tombstoned_series.saturating_mul(20) > block.series.saturating_add(1)
        };
        if is_due && !options.excluded.contains(&block.ulid) {
            return Some(Step::Clean { block: block.ulid });
        }
        if is_narrow {
            break;
        }
    }
    None
}

fn hull(blocks: &[&Candidate]) -> TimeRange {
    let start = blocks
        .iter()
        .map(|block| block.range.start)
        .min()
        .unwrap_or(0);
    let end = blocks
        .iter()
        .map(|block| block.range.end)
        .max()
        .unwrap_or(0);
    TimeRange::new(start, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (number of the block, start, end, level, tombstoned series of 10)
    type Row = (u64, i64, i64, u32, u64);

    fn candidates(rows: &[Row]) -> Vec<Candidate> {
        rows.iter()
            .map(
                |&(number, start, end, level, tombstoned_series)| Candidate {
                    ulid: Ulid::new(number, 0),
                    range: TimeRange::new(start, end),
                    level,
                    series: 10,
                    tombstoned_series,
                    size_bytes: 1,
                },
            )
            .collect()
    }

    fn options() -> PlanOptions {
        PlanOptions {
            ranges_ms: vec![20, 60, 180, 540, 1620],
            excluded: BTreeSet::new(),
        }
    }

    /// The numbers of the blocks of each step.
    fn planned(rows: &[Row], options: &PlanOptions) -> Vec<Vec<u64>> {
        plan(&candidates(rows), options)
            .into_iter()
            .map(|step| match step {
                Step::Merge { sources, .. } => sources.iter().map(|ulid| ulid.ms()).collect(),
                Step::Clean { block } | Step::Drop { block, .. } => vec![block.ms()],
            })
            .collect()
    }

    fn rows(ranges: &[(u64, i64, i64)]) -> Vec<Row> {
        ranges
            .iter()
            .map(|&(number, start, end)| (number, start, end, 1, 0))
            .collect()
    }

    #[test]
    fn ranges_triple_up_to_the_cap() {
        assert_eq!(ranges_ms(2, 60), [2, 6, 18, 54]);
        assert_eq!(ranges_ms(2, 1), [2]);
        assert_eq!(ranges_ms(i64::MAX / 2, i64::MAX), [i64::MAX / 2]);
    }

    /// The cases of Prometheus' own planner test.
    #[test]
    fn groups_are_those_prometheus_selects() {
        type Case<'a> = (&'a [(u64, i64, i64)], &'a [&'a [u64]]);
        let cases: [Case<'_>; 11] = [
            (&[(1, 0, 20)], &[]),
            (&[(1, 0, 20), (2, 20, 40)], &[]),
            // A gap, and the newest block fills the second span: still it is ignored.
            (&[(1, 0, 20), (2, 20, 40), (3, 60, 80)], &[]),
            (
                &[(1, 0, 20), (2, 20, 40), (3, 60, 80), (4, 80, 100)],
                &[&[1, 2]],
            ),
            // The parent span is full, and one newer block is there.
            (
                &[(1, 0, 20), (2, 20, 40), (3, 40, 60), (4, 60, 80)],
                &[&[1, 2, 3]],
            ),
            (
                &[
                    (1, 0, 20),
                    (2, 20, 40),
                    (3, 40, 60),
                    (4, 60, 120),
                    (5, 120, 180),
                ],
                &[&[1, 2, 3]],
            ),
            (
                &[
                    (1, 0, 60),
                    (4, 60, 120),
                    (5, 960, 980),
                    (6, 120, 180),
                    (7, 720, 960),
                ],
                &[&[1, 4, 6]],
            ),
            (
                &[
                    (2, 20, 40),
                    (4, 60, 120),
                    (5, 960, 980),
                    (6, 120, 180),
                    (7, 720, 960),
                ],
                &[&[2, 4, 6]],
            ),
            // The newest by time counts, not the newest by identifier.
            (
                &[(5, 0, 360), (6, 540, 560), (7, 360, 420), (8, 420, 540)],
                &[&[7, 8]],
            ),
            (
                &[
                    (1, 0, 20),
                    (2, 20, 40),
                    (3, 40, 60),
                    (4, 60, 80),
                    (5, 80, 100),
                    (6, 100, 120),
                    (7, 120, 140),
                ],
                &[&[1, 2, 3], &[4, 5, 6]],
            ),
            (&[], &[]),
        ];
        for (blocks, expected) in cases {
            assert_eq!(planned(&rows(blocks), &options()), expected, "{blocks:?}");
        }
    }

    #[test]
    fn overlapping_blocks_go_first_even_the_newest() {
        let blocks = rows(&[
            (1, 0, 20),
            (2, 19, 40),
            (3, 40, 60),
            (4, 60, 80),
            (5, 60, 80),
        ]);
        assert_eq!(planned(&blocks, &options()), [[1, 2], [4, 5]]);
    }

    #[test]
    fn chain_of_overlaps_is_one_merge_with_its_hull_and_next_level() {
        let blocks = candidates(&[(1, 0, 30, 1, 0), (2, 10, 20, 3, 0), (3, 25, 40, 1, 0)]);
        let sources = blocks.iter().map(|block| block.ulid).collect();
        assert_eq!(
            plan(&blocks, &options()),
            [Step::Merge {
                sources,
                range: TimeRange::new(0, 40),
                level: 4
            }]
        );
    }

    #[test]
    fn failed_block_keeps_its_group_alone_and_not_the_others() {
        let blocks = rows(&[
            (1, 0, 20),
            (2, 20, 40),
            (3, 40, 60),
            (4, 60, 80),
            (5, 80, 120),
            (6, 120, 140),
        ]);
        let mut options = options();
        options.excluded.insert(Ulid::new(2, 0));
        assert_eq!(planned(&blocks, &options), [[4, 5]]);
    }

    #[test]
    fn wide_block_with_many_deleted_series_is_cleaned() {
        assert_eq!(
            planned(&[(1, 0, 540, 4, 1), (2, 540, 560, 1, 0)], &options()),
            [[1]]
        );
        assert_eq!(
            planned(&[(1, 0, 540, 4, 0), (2, 540, 560, 1, 9)], &options()),
            [[0; 0]; 0]
        );
    }

    #[test]
    fn narrow_block_is_cleaned_only_when_all_of_it_is_deleted() {
        assert_eq!(
            planned(&[(1, 0, 60, 2, 9), (2, 60, 80, 1, 0)], &options()),
            [[0; 0]; 0]
        );
        assert_eq!(
            planned(&[(1, 0, 60, 2, 10), (2, 60, 80, 1, 0)], &options()),
            [[1]]
        );
    }

    #[test]
    fn excluded_block_is_not_cleaned() {
        let mut options = options();
        options.excluded.insert(Ulid::new(1, 0));
        assert!(planned(&[(1, 0, 540, 4, 10), (2, 540, 560, 1, 0)], &options).is_empty());
    }
}
