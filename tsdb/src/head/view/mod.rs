//! Reading the head.
//!
//! A view fixes the sequence it sees. Series are found at once; what they hold is copied in batches as the cursor
//! comes to them, each group under its shared lock for as long as it takes to copy a few words and count references.
//! Rows that came after the view are inverted on the way back and not returned.

mod series;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::error::Result;
use crate::index::Cardinality;
use crate::labels::{Matcher, SeriesLabels};
use crate::sample::Samples;
use crate::source::{SeriesCursor, SeriesSource, SeriesWalk, SourceSeries};
use crate::time::{TimeRange, Timestamp};

use super::Head;
use super::group::{Group, GroupState};
use super::open_rows::OpenRow;
use super::piece_files::Piece;
use super::recent::Hidden;
use super::tombstones::HeadTombstones;
use series::{GroupCopy, HeadBatch, HeadSeries, Home};

/// Series whose content is copied at a time.
const BATCH: usize = 512;

/// The head as it was at one sequence.
#[derive(Debug, Clone)]
pub(crate) struct HeadView {
    head: Arc<Head>,
    published: u64,
    /// Lone samples that came after it are kept apart as long as it lives.
    _visit: Arc<Visit>,
}

/// That somebody reads the head as it was at a sequence.
#[derive(Debug)]
struct Visit {
    head: Arc<Head>,
    sequence: u64,
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.head.readers.leave(self.sequence);
    }
}

impl HeadView {
    /// Returns a view of everything that is published.
    pub(crate) fn new(head: Arc<Head>) -> Self {
        let published = head.readers.enter(|| head.publisher.published());
        Self::entered(head, published)
    }

    /// Returns a view of everything up to `sequence`, published or not.
    pub(crate) fn at(head: Arc<Head>, sequence: u64) -> Self {
        let published = head.readers.enter(|| sequence);
        Self::entered(head, published)
    }

    fn entered(head: Arc<Head>, published: u64) -> Self {
        let visit = Visit {
            head: Arc::clone(&head),
            sequence: published,
        };
        Self {
            head,
            published,
            _visit: Arc::new(visit),
        }
    }

    /// Tells whether certainly nothing lies in `range`. After a flush the head has series without samples, and nobody
    /// needs to find those.
    fn is_blank(&self, range: TimeRange) -> bool {
        if self.head.is_blank_through(self.published) {
            return true;
        }
        let groups = self.head.groups.read();
        let is_blank = |group: &Group| {
            // A group that is being written has something, or soon will.
            group.state.try_read().is_some_and(|state| {
                let row_in = |row: &OpenRow| range.contains(row.timestamp);
                let piece_in = |piece: &Arc<Piece>| {
                    TimeRange::closed(piece.header.first_timestamp, piece.header.last_timestamp)
                        .overlaps(&range)
                };
                !state.open.rows().iter().any(row_in) && !state.pieces.iter().any(piece_in)
            })
        };
        groups.iter().all(is_blank) && self.head.lone.is_blank(range)
    }

    fn find(&self, matchers: &[Matcher], range: TimeRange) -> Vec<(u32, u64)> {
        if self.is_blank(range) {
            return Vec::new();
        }
        let found = self.head.index.read().select(matchers);
        let slots = self.head.slots.read();
        found
            .into_iter()
            .map(|slot| (slot, slots.get(slot).id))
            .collect()
    }

    fn cursor(&self, found: Vec<(u32, u64)>, range: TimeRange) -> HeadCursor {
        HeadCursor {
            view: self.clone(),
            range,
            found,
            next: 0,
            hidden: Hidden::default(),
        }
    }

    /// Returns the ids of series that match and have a sample in `range`.
    pub(crate) fn matching_ids(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<u64>> {
        let found = self.find(matchers, range);
        let mut ids = Vec::new();
        let mut hidden = Hidden::default();
        for batch in found.chunks(BATCH) {
            let (places, series) = self.gather(batch, &mut hidden);
            let overlapping = places
                .iter()
                .zip(&series)
                .filter(|(place, series)| place.id != 0 && series.overlaps(range));
            ids.extend(overlapping.map(|(place, _)| place.id));
        }
        Ok(ids)
    }

    /// Returns the labels of series that match and have a sample in `range`.
    fn labels_in(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<SeriesLabels>> {
        let mut walk = self.select(matchers, range)?;
        let mut labels = Vec::new();
        while let Some(series) = walk.next()? {
            labels.push(series.labels);
        }
        Ok(labels)
    }
}

impl SeriesSource for HeadView {
    fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<SeriesWalk> {
        let cursor = self.cursor(self.find(matchers, range), range);
        Ok(SeriesWalk::new(Box::new(cursor)))
    }

    fn label_names(&self, matchers: &[Matcher], range: TimeRange) -> Result<BTreeSet<String>> {
        let labels = self.labels_in(matchers, range)?;
        let names: BTreeSet<&str> = labels
            .iter()
            .flat_map(|labels| labels.iter().map(|(name, _)| name))
            .collect();
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<BTreeSet<String>> {
        let labels = self.labels_in(matchers, range)?;
        let values: BTreeSet<&str> = labels
            .iter()
            .filter_map(|labels| labels.get(name))
            .collect();
        Ok(values.into_iter().map(str::to_owned).collect())
    }

    fn cardinality(&self, cardinality: &mut Cardinality) -> Result<()> {
        self.head.index.read().cardinality(cardinality);
        Ok(())
    }
}

struct HeadCursor {
    view: HeadView,
    range: TimeRange,
    found: Vec<(u32, u64)>,
    next: usize,
    hidden: Hidden,
}

impl SeriesCursor for HeadCursor {
    fn next_batch(&mut self, out: &mut VecDeque<SourceSeries>) -> Result<bool> {
        let end = (self.next + BATCH).min(self.found.len());
        let found = &self.found[self.next..end];
        if found.is_empty() {
            return Ok(false);
        }
        self.next = end;
        // A batch may turn out empty: that is not the end.
        self.view.copy(found, self.range, &mut self.hidden, out);
        Ok(true)
    }
}

/// Where a series of a batch stands.
struct Place {
    slot: u32,
    id: u64,
    home: Option<(u32, u16)>,
    former: Vec<u32>,
}

impl HeadView {
    /// Copies what a batch of series holds to the end of `out`; leaves out those without a sample in `range`.
    fn copy(
        &self,
        found: &[(u32, u64)],
        range: TimeRange,
        hidden: &mut Hidden,
        out: &mut VecDeque<SourceSeries>,
    ) {
        let (places, mut series) = self.gather(found, hidden);
        let mut slots = Vec::with_capacity(places.len());
        let mut places = places.iter();
        let index = self.head.index.read();
        series.retain(|series| {
            let found = places.next();
            let found = found.filter(|place| place.id != 0 && series.overlaps(range));
            slots.extend(found.map(|place| place.slot));
            found.is_some()
        });
        let labels = index.series_labels(&slots);
        drop(index);
        let data = Arc::new(HeadBatch(series));
        out.extend((0..).zip(labels).map(|(number, labels)| SourceSeries {
            labels,
            data: data.clone(),
            number,
        }));
    }

    fn gather(&self, found: &[(u32, u64)], hidden: &mut Hidden) -> (Vec<Place>, Vec<HeadSeries>) {
        let head = &*self.head;
        let places: Vec<Place> = {
            let slots = head.slots.read();
            let places = found.iter().map(|&(slot, id)| {
                let known = slots.get(slot);
                // A slot that is somebody else's by now held nothing when the view was made.
                let is_same = known.id == id && known.is_defined;
                let home = known
                    .home()
                    .filter(|_| is_same)
                    .map(|home| (home, known.position));
                let former = if is_same { slots.former(slot) } else { &[] };
                Place {
                    slot,
                    id: if is_same { id } else { 0 },
                    home,
                    former: former.to_vec(),
                }
            });
            places.collect()
        };
        let mut series: Vec<HeadSeries> = {
            let tombstones = head.tombstones.read();
            let alone = places
                .iter()
                .map(|place| self.copy_alone(place, &tombstones));
            alone.collect()
        };
        hidden.update(&head.recent, self.published);
        for (place, series) in places.iter().zip(&mut series) {
            if series.lone.is_some() {
                series.hidden = hidden.of(place.slot).into();
            }
        }
        let mut by_group: BTreeMap<u32, Vec<(usize, Option<u16>)>> = BTreeMap::new();
        for (index, place) in places.iter().enumerate() {
            for &group in &place.former {
                by_group.entry(group).or_default().push((index, None));
            }
            if let Some((group, position)) = place.home {
                by_group
                    .entry(group)
                    .or_default()
                    .push((index, Some(position)));
            }
        }
        for (group, members) in by_group {
            let group = head.groups.read().get(group).cloned();
            let Some(group) = group else { continue };
            let state = group.state.read();
            copy_group(&state, &members, &mut series);
        }
        (places, series)
    }

    /// Appends the samples that the series in a slot has in `range`. `hidden` is that of the series read before, or new.
    pub(crate) fn read_slot(
        &self,
        slot: u32,
        range: TimeRange,
        hidden: &mut Hidden,
        out: &mut Samples,
    ) -> Result<()> {
        let id = self.head.slots.read().get(slot).id;
        let (places, series) = self.gather(&[(slot, id)], hidden);
        match (places.as_slice(), series.as_slice()) {
            ([place], [series]) if place.id != 0 && series.overlaps(range) => {
                series.read(range, out)
            }
            _ => Ok(()),
        }
    }

    fn copy_alone(&self, place: &Place, tombstones: &HeadTombstones) -> HeadSeries {
        let (lone, deleted) = if place.id == 0 {
            (None, Vec::new())
        } else {
            let deleted = tombstones.get(place.slot).to_vec();
            (self.head.lone.get(place.slot), deleted)
        };
        HeadSeries {
            id: place.id,
            published: self.published,
            home: None,
            former: Vec::new(),
            lone,
            hidden: Box::default(),
            deleted,
        }
    }

    /// Returns the value of a series at one time, seen or not: what a commit compares a sample with.
    pub(crate) fn value_at(
        head: &Head,
        slot: u32,
        id: u64,
        timestamp: Timestamp,
        states: &HashMap<u32, &GroupState>,
    ) -> Result<Option<f64>> {
        let slots = head.slots.read();
        let known = slots.get(slot);
        let home = known.home().map(|home| (home, known.position));
        let former = slots.former(slot).to_vec();
        drop(slots);
        let deleted = head.tombstones.read().get(slot).to_vec();
        let mut series = vec![HeadSeries {
            id,
            published: u64::MAX,
            home: None,
            former: Vec::new(),
            lone: head.lone.get(slot),
            hidden: Box::default(),
            deleted,
        }];
        for group in former {
            match states.get(&group) {
                Some(state) => copy_group(state, &[(0, None)], &mut series),
                None => {
                    let group = head.groups.read().get(group).cloned();
                    if let Some(group) = group {
                        copy_group(&group.state.read(), &[(0, None)], &mut series);
                    }
                }
            }
        }
        if let Some((home, position)) = home
            && let Some(state) = states.get(&home)
        {
            copy_group(state, &[(0, Some(position))], &mut series);
        }
        let mut samples = Samples::default();
        series[0].read(TimeRange::closed(timestamp, timestamp), &mut samples)?;
        Ok(samples.values.first().copied())
    }
}

fn copy_group(state: &GroupState, members: &[(usize, Option<u16>)], series: &mut [HeadSeries]) {
    let copy = Arc::new(GroupCopy {
        open: Arc::clone(&state.open),
        pieces: Arc::clone(&state.pieces),
    });
    for &(index, position) in members {
        let series = &mut series[index];
        // The layout may have changed since the position was looked up.
        let position = position
            .and_then(|position| state.layout.position_of(series.id, usize::from(position)));
        let group = Arc::clone(&copy);
        let Some(position) = position else {
            series.former.push(group);
            continue;
        };
        series.home = Some(Home {
            group,
            position,
            integer: state.state.integers[position],
            scale: state.state.scales[position],
        });
    }
}
