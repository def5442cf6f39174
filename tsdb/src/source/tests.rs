use std::collections::BTreeMap;
use std::iter::Peekable;

use proptest::prelude::*;

use super::*;
use crate::error::Error;
use crate::labels::Labels;

/// A series held in memory; `damaged` makes every read report damage after giving the samples.
struct Fixed {
    samples: Samples,
    damaged: bool,
}

impl SeriesData for Fixed {
    fn read(&self, _number: u32, range: TimeRange, out: &mut Samples) -> Result<()> {
        for sample in self
            .samples
            .iter()
            .filter(|sample| range.contains(sample.timestamp))
        {
            out.push(sample.timestamp, sample.value);
        }
        if self.damaged {
            Err(Error::corruption("chunks", 7, "checksum differs"))
        } else {
            Ok(())
        }
    }

    fn latest(&self, _number: u32, range: TimeRange) -> Result<Option<Sample>> {
        Ok(self
            .samples
            .iter()
            .filter(|sample| range.contains(sample.timestamp))
            .last())
    }
}

/// A cursor over steps; an `Err` step is reported once.
struct Steps(Peekable<std::vec::IntoIter<Result<SourceSeries>>>);

impl SeriesCursor for Steps {
    /// As many as come before the next damage, at most two.
    fn next_batch(&mut self, out: &mut VecDeque<SourceSeries>) -> Result<bool> {
        let Some(first) = self.0.next() else {
            return Ok(false);
        };
        out.push_back(first?);
        out.extend(self.0.next_if(Result::is_ok).transpose()?);
        Ok(true)
    }
}

fn samples(pairs: &[(i64, f64)]) -> Samples {
    let mut samples = Samples::default();
    for &(timestamp, value) in pairs {
        samples.push(timestamp, value);
    }
    samples
}

fn series(metric: &str, pairs: &[(i64, f64)]) -> SourceSeries {
    let labels = Labels::from_pairs([("__name__", metric)]).unwrap();
    SourceSeries {
        labels: (&labels).into(),
        data: Arc::new(Fixed {
            samples: samples(pairs),
            damaged: false,
        }),
        number: 0,
    }
}

fn damaged(metric: &str, pairs: &[(i64, f64)]) -> SourceSeries {
    let labels = Labels::from_pairs([("__name__", metric)]).unwrap();
    SourceSeries {
        labels: (&labels).into(),
        data: Arc::new(Fixed {
            samples: samples(pairs),
            damaged: true,
        }),
        number: 0,
    }
}

fn walk(steps: Vec<Result<SourceSeries>>) -> SeriesWalk {
    SeriesWalk::new(Box::new(Steps(steps.into_iter().peekable())))
}

fn read(series: &SourceSeries, range: TimeRange) -> Vec<(i64, f64)> {
    let mut out = Samples::default();
    series.read(range, &mut out).unwrap();
    out.iter()
        .map(|sample| (sample.timestamp, sample.value))
        .collect()
}

fn drain(mut walk: SeriesWalk) -> Vec<(String, Vec<(i64, f64)>)> {
    let mut all = Vec::new();
    while let Some(series) = walk.next().unwrap() {
        all.push((
            series.labels.metric().to_owned(),
            read(&series, TimeRange::ALL),
        ));
    }
    all
}

#[test]
fn series_come_in_label_order_and_equal_labels_become_one() {
    let first = walk(vec![
        Ok(series("a", &[(1, 1.0)])),
        Ok(series("c", &[(1, 1.0)])),
    ]);
    let second = walk(vec![
        Ok(series("b", &[(2, 2.0)])),
        Ok(series("c", &[(2, 2.0)])),
    ]);
    let merged = drain(merge(vec![first, second]));
    assert_eq!(
        merged,
        [
            ("a".into(), vec![(1, 1.0)]),
            ("b".into(), vec![(2, 2.0)]),
            ("c".into(), vec![(1, 1.0), (2, 2.0)])
        ]
    );
}

#[test]
fn earlier_source_wins_at_equal_timestamps() {
    let first = walk(vec![Ok(series("a", &[(2, 1.0), (4, 1.0)]))]);
    let second = walk(vec![Ok(series(
        "a",
        &[(1, 2.0), (2, 2.0), (3, 2.0), (4, 2.0), (5, 2.0)],
    ))]);
    let third = walk(vec![Ok(series("a", &[(0, 3.0), (5, 3.0)]))]);
    let mut merged = merge(vec![first, second, third]);
    let one = merged.next().unwrap().unwrap();
    let all = [(0, 3.0), (1, 2.0), (2, 1.0), (3, 2.0), (4, 1.0), (5, 2.0)];
    assert_eq!(read(&one, TimeRange::ALL), all);
    assert_eq!(
        one.latest(TimeRange::new(0, 5)).unwrap(),
        Some(Sample {
            timestamp: 4,
            value: 1.0
        })
    );
    assert_eq!(
        one.latest(TimeRange::ALL).unwrap(),
        Some(Sample {
            timestamp: 5,
            value: 2.0
        })
    );
    assert_eq!(one.latest(TimeRange::new(9, 10)).unwrap(), None);
}

#[test]
fn reading_appends_and_leaves_what_was_there() {
    let first = walk(vec![Ok(series("a", &[(5, 1.0)]))]);
    let second = walk(vec![Ok(series("a", &[(1, 2.0)]))]);
    let one = merge(vec![first, second]).next().unwrap().unwrap();
    let mut out = samples(&[(100, 9.0)]);
    one.read(TimeRange::ALL, &mut out).unwrap();
    assert_eq!(out.timestamps, [100, 1, 5]);
}

#[test]
fn damaged_part_is_reported_and_the_others_are_read() {
    let first = walk(vec![Ok(damaged("a", &[(3, 1.0)]))]);
    let second = walk(vec![Ok(series("a", &[(1, 2.0)]))]);
    let one = merge(vec![first, second]).next().unwrap().unwrap();
    let mut out = Samples::default();
    let error = one.read(TimeRange::ALL, &mut out).unwrap_err();
    assert_eq!(error.offset(), Some(7));
    assert_eq!(out.timestamps, [1, 3]);
}

#[test]
fn damaged_selection_is_reported_once_and_loses_no_series_of_the_others() {
    let error = Error::corruption("index", 0, "checksum differs");
    let first = walk(vec![Ok(series("a", &[])), Err(error), Ok(series("c", &[]))]);
    let second = walk(vec![Ok(series("a", &[])), Ok(series("b", &[]))]);
    let mut merged = merge(vec![first, second]);
    let mut seen = Vec::new();
    loop {
        match merged.next() {
            Ok(Some(series)) => seen.push(series.labels.metric().to_owned()),
            Ok(None) => break,
            Err(_) => seen.push("error".into()),
        }
    }
    assert_eq!(seen, ["a", "error", "b", "c"]);
}

#[test]
fn merge_of_nothing_is_empty() {
    assert!(merge(Vec::new()).next().unwrap().is_none());
}

proptest! {
    #[test]
    fn merge_equals_a_map_filled_backwards(parts in prop::collection::vec(prop::collection::btree_map(0i64..40, -9i32..9, 0..20), 1..5)) {
        let walks = parts.iter().map(|part| {
            let pairs: Vec<_> = part.iter().map(|(&timestamp, &value)| (timestamp, f64::from(value))).collect();
            walk(vec![Ok(series("a", &pairs))])
        });
        let mut expected = BTreeMap::new();
        for part in parts.iter().rev() {
            expected.extend(part.iter().map(|(&timestamp, &value)| (timestamp, f64::from(value))));
        }
        let one = merge(walks.collect()).next().unwrap().unwrap();
        let expected: Vec<_> = expected.into_iter().collect();
        prop_assert_eq!(read(&one, TimeRange::ALL), expected);
    }
}
