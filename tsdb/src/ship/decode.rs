//! Frames become samples, without the head.

use std::collections::HashMap;

use crate::encoding::Malformed;
use crate::frame::{Base, RowSection, Section, sections};
use crate::row::{RowState, to_value};
use crate::sample::{Sample, stale_marker};

/// Follows the groups of a log from the start of a segment on.
#[derive(Debug, Default)]
pub(crate) struct LogDecoder {
    groups: HashMap<u64, Group>,
}

/// What the log said last of one group.
#[derive(Debug)]
struct Group {
    ids: Vec<u64>,
    /// The visitor's keys of the same series.
    keys: Vec<u32>,
    state: RowState,
    last_timestamp: i64,
    chain: u16,
    /// Whether the state is known to be that of `chain`.
    is_known: bool,
}

/// Who is told what a frame says.
pub(crate) trait FrameVisitor {
    /// Returns what the visitor wants to be told with each sample of a series.
    fn key(&mut self, id: u64) -> u32;

    /// A sample was taken. Called in the order that [`Position`](super::Position) counts.
    fn sample(&mut self, id: u64, key: u32, sample: Sample);
}

/// What did not decode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DecodeLoss {
    /// Rows of groups whose state is not known, because a frame before them is gone.
    pub(crate) rows: u64,
    /// Sections that say nothing although their checksum holds.
    pub(crate) malformed: u64,
}

impl LogDecoder {
    /// Forgets all groups: what follows begins with bases.
    pub(crate) fn restart(&mut self) {
        self.groups.clear();
    }

    /// Frames are missing: rows wait for the next base of their group.
    pub(crate) fn note_gap(&mut self) {
        self.groups
            .values_mut()
            .for_each(|group| group.is_known = false);
    }

    /// Takes the groups through a frame and tells `visitor` what it says.
    pub(crate) fn read(&mut self, body: &[u8], visitor: &mut impl FrameVisitor) -> DecodeLoss {
        let mut loss = DecodeLoss::default();
        for section in sections(body) {
            let read = section.and_then(|section| self.section(section, visitor, &mut loss));
            loss.malformed += u64::from(read.is_err());
        }
        loss
    }

    fn section(
        &mut self,
        section: Section<'_>,
        visitor: &mut impl FrameVisitor,
        loss: &mut DecodeLoss,
    ) -> Result<(), Malformed> {
        match section {
            Section::Base(base) => self.base(base, visitor),
            Section::Row(row) => match self.groups.get_mut(&row.group) {
                Some(group) if group.follows(&row) => group.row(&row, visitor)?,
                Some(group) => {
                    group.is_known = false;
                    loss.rows += 1;
                }
                None => loss.rows += 1,
            },
            Section::Lone(mut reader) => {
                while let Some(lone) = reader.next()? {
                    let key = visitor.key(lone.id);
                    let sample = Sample {
                        timestamp: lone.timestamp,
                        value: lone.value,
                    };
                    visitor.sample(lone.id, key, sample);
                }
            }
            // What is deleted here may still be wanted elsewhere; names are read before samples.
            Section::Definitions(_) | Section::Tombstones(_) | Section::Unknown => {}
        }
        Ok(())
    }

    fn base(&mut self, base: Base, visitor: &mut impl FrameVisitor) {
        let group = Group {
            keys: base.ids.iter().map(|&id| visitor.key(id)).collect(),
            ids: base.ids,
            state: base.state,
            last_timestamp: base.last_timestamp,
            chain: base.chain,
            is_known: true,
        };
        self.groups.insert(base.group, group);
    }
}

impl Group {
    fn follows(&self, row: &RowSection<'_>) -> bool {
        self.is_known && row.chain == self.chain.wrapping_add(1)
    }

    fn row(
        &mut self,
        section: &RowSection<'_>,
        visitor: &mut impl FrameVisitor,
    ) -> Result<(), Malformed> {
        let row = section.parse(self.ids.len()).inspect_err(|_| {
            self.is_known = false;
        })?;
        for id in section.joiners.ids() {
            self.ids.push(id);
            self.keys.push(visitor.key(id));
            self.state.integers.push(0);
            self.state.scales.push(0);
        }
        self.chain = section.chain;
        self.last_timestamp = section.timestamp_after(self.last_timestamp);
        row.apply(&mut self.state);
        let timestamp = self.last_timestamp;
        let mut stale = Marks::new(self.ids.len());
        row.for_each_stale(|position| stale.set(position));
        let mut absent = Marks::new(self.ids.len());
        row.for_each_absent(|position| absent.set(position));
        let states = self.state.integers.iter().zip(&self.state.scales);
        let series = self.ids.iter().zip(&self.keys);
        for (position, ((&id, &key), (&integer, &scale))) in series.zip(states).enumerate() {
            if absent.get(position) {
                continue;
            }
            let value = if stale.get(position) {
                stale_marker()
            } else {
                to_value(integer, scale)
            };
            visitor.sample(id, key, Sample { timestamp, value });
        }
        Ok(())
    }
}

/// A set of positions, which is nearly always empty.
struct Marks {
    words: Vec<u64>,
    len: usize,
}

impl Marks {
    fn new(len: usize) -> Self {
        Self {
            words: Vec::new(),
            len,
        }
    }

    fn set(&mut self, position: usize) {
        if self.words.is_empty() {
            self.words.resize(self.len.div_ceil(64), 0);
        }
        self.words[position / 64] |= 1 << (position % 64);
    }

    #[inline]
    fn get(&self, position: usize) -> bool {
        !self.words.is_empty() && self.words[position / 64] >> (position % 64) & 1 != 0
    }
}
