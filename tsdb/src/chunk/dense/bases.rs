//! Earlier chunks that a new one may be written as the difference to.

use std::collections::VecDeque;

use crate::chunk::ints;
use crate::encoding::ByteReader;

use super::DIFFERENCE;
use super::encode::Encoder;

/// Remembers the integers of the chunks of a file, as many as fit its memory, and finds those that move like a new one.
///
/// Two kinds of series are alike: those that mostly take the very same steps (bytes allocated and bytes in use between
/// two collections), and neighbours that measure nearly the same (packets in and out). The first are found by a few
/// of their steps, picked so that series which share many steps most likely share a picked one; the second by being of
/// the same column, which is that of a target, and recent.
#[derive(Debug)]
pub struct Bases {
    candidates: VecDeque<Candidate>,
    /// Candidates that were forgotten: the number of the first of those that are here.
    forgotten: u32,
    /// Integers that all candidates hold.
    integers: usize,
    /// How often looking helped, by column.
    luck: Vec<Luck>,
    /// Numbers of candidates by a hash. A slot goes to whoever comes last, so what is found there must be checked.
    slots: Vec<u32>,
}

#[derive(Debug)]
struct Candidate {
    column: u32,
    place: u64,
    integers: Vec<i64>,
}

/// How often chunks of a column became differences.
#[derive(Debug, Clone, Copy, Default)]
struct Luck {
    column: u32,
    seen: u32,
    tried: u32,
    won: u32,
}

impl Luck {
    /// Tells whether to look for a base of the next chunk of `column`. Where the first chunks have none that is like
    /// them, and that is most targets, only some of the others are looked at.
    fn is_worth_a_try(&mut self, column: u32) -> bool {
        if self.column != column {
            *self = Self {
                column,
                ..Self::default()
            };
        }
        self.seen = self.seen.wrapping_add(1);
        let is_lucky = self.tried < TRIED_FIRST || self.won >= self.tried / WINS_ONE_IN;
        is_lucky || self.seen.is_multiple_of(UNLUCKY_TRIED_ONE_IN)
    }
}

/// How the integers of a chunk come from those of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Relation {
    Plus = 1,
    Minus = 2,
}

impl Relation {
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Plus, Self::Minus]
            .into_iter()
            .find(|&relation| relation as u8 == byte)
    }

    /// Takes `base` out of `integer`.
    #[inline(always)]
    fn difference(self, integer: i64, base: i64) -> i64 {
        match self {
            Self::Plus => integer.wrapping_sub(base),
            Self::Minus => integer.wrapping_add(base),
        }
    }

    /// Puts `base` back to a difference.
    #[inline(always)]
    pub(super) fn restore(self, difference: i64, base: i64) -> i64 {
        match self {
            Self::Plus => difference.wrapping_add(base),
            Self::Minus => difference.wrapping_sub(base),
        }
    }
}

impl Default for Bases {
    fn default() -> Self {
        Self {
            candidates: VecDeque::new(),
            forgotten: 0,
            integers: 0,
            luck: vec![Luck::default(); LUCK_COLUMNS],
            slots: vec![u32::MAX; SLOTS],
        }
    }
}

impl Bases {
    /// Returns a memory without chunks.
    pub fn new() -> Self {
        Self::default()
    }

    fn luck(&mut self, column: u32) -> &mut Luck {
        &mut self.luck[column as usize % LUCK_COLUMNS]
    }

    /// Finds the chunk of the same column whose integers make the steps of `integers` smallest when they are taken out.
    fn find(&self, column: u32, integers: &[i64]) -> Option<(&Candidate, Relation)> {
        let alone = effort(integers, |position| integers[position]);
        let worthwhile = alone - alone / SAVES_ONE_IN as u32;
        keys(column, integers)
            .iter()
            .flatten()
            .chain(&recent_keys(column))
            .filter_map(|&key| {
                let position = self.slots[slot(key)].wrapping_sub(self.forgotten);
                self.candidates.get(position as usize)
            })
            .filter(|base| base.column == column && base.integers.len() == integers.len())
            .flat_map(|base| {
                [Relation::Plus, Relation::Minus].map(|relation| {
                    let effort = effort(integers, |position| {
                        relation.difference(integers[position], base.integers[position])
                    });
                    (effort, base, relation)
                })
            })
            .min_by_key(|&(effort, ..)| effort)
            .filter(|&(effort, ..)| effort < worthwhile)
            .map(|(_, base, relation)| (base, relation))
    }

    /// Remembers a chunk, and forgets the oldest if there are too many.
    fn add(&mut self, column: u32, place: u64, integers: &[i64]) {
        let number = self.forgotten.wrapping_add(self.candidates.len() as u32);
        self.integers += integers.len();
        self.candidates.push_back(Candidate {
            column,
            place,
            integers: integers.to_vec(),
        });
        while self.integers > INTEGERS_MAX {
            let Some(oldest) = self.candidates.pop_front() else {
                break;
            };
            self.integers -= oldest.integers.len();
            self.forgotten = self.forgotten.wrapping_add(1);
        }
        let keys = keys(column, integers);
        // The place of any recent one: which, depends on the chunk alone, not on how the columns take turns.
        let turn = keys.iter().flatten().fold(place, |mixed, &key| mixed ^ key);
        let recent = recent_keys(column)[(mix(turn) >> 32) as usize % RECENT];
        for key in keys.into_iter().flatten().chain([recent]) {
            self.slots[slot(key)] = number;
        }
    }
}

impl Encoder {
    /// Rewrites `chunk`, which [`encode`](Self::encode) has just appended to an empty vector, as the difference to an
    /// earlier chunk if that is clearly shorter, and returns the place of that one. Otherwise remembers the chunk and
    /// `place`, which may mean anything to the caller: later ones may become the difference to it.
    ///
    /// Chunks are of one column if their timestamps are the same.
    pub fn relate(
        &mut self,
        bases: &mut Bases,
        column: u32,
        place: u64,
        chunk: &mut Vec<u8>,
    ) -> Option<u64> {
        if self.stream.len() < BASE_LEN_MIN {
            return None;
        }
        if !bases.luck(column).is_worth_a_try(column) {
            return None;
        }
        bases.luck(column).tried += 1;
        if let Some((base, relation)) = bases.find(column, &self.integers) {
            self.differences.clear();
            self.differences.extend(
                (self.integers.iter().zip(&base.integers))
                    .map(|(&integer, &base)| relation.difference(integer, base)),
            );
            let mut shorter = vec![chunk[0] | DIFFERENCE, relation as u8];
            self.streams.encode(&self.differences, &mut shorter);
            let stream = 2..shorter.len();
            shorter.extend_from_slice(&chunk[self.stream.end..]);
            if shorter.len() + chunk.len() / SAVES_ONE_IN < chunk.len() {
                // The caller has compared the chunk with its values, and can no longer: the base is in a file.
                assert!(
                    restores(&shorter[stream], relation, base, &self.integers),
                    "difference does not give back what it was made of"
                );
                *chunk = shorter;
                let place = base.place;
                bases.luck(column).won += 1;
                return Some(place);
            }
        }
        bases.add(column, place, &self.integers);
        None
    }
}

fn restores(stream: &[u8], relation: Relation, base: &Candidate, integers: &[i64]) -> bool {
    let mut expected = integers.iter().zip(&base.integers);
    let mut is_equal = true;
    let outcome = ints::decode(
        &mut ByteReader::new(stream),
        integers.len(),
        |differences| {
            for (&mut difference, (&integer, &base)) in differences.iter_mut().zip(&mut expected) {
                is_equal &= relation.restore(difference, base) == integer;
            }
        },
    );
    outcome.is_ok() && is_equal
}

/// Estimates the bits that the steps of numbers take, by some of them.
#[inline(always)]
fn effort(integers: &[i64], number: impl Fn(usize) -> i64) -> u32 {
    let stride = (integers.len() / STEPS_SAMPLED).max(1);
    (1..integers.len())
        .step_by(stride)
        .map(|position| {
            let step = number(position).wrapping_sub(number(position - 1));
            64 - step.unsigned_abs().leading_zeros()
        })
        .sum()
}

/// Picks a few steps, each the one with the smallest hash of a share of all. A chunk whose steps are the same in most
/// places has most likely the same one there.
fn keys(column: u32, integers: &[i64]) -> [Option<u64>; PICKED] {
    let mut smallest = [u64::MAX; PICKED];
    for (position, pair) in integers.windows(2).enumerate() {
        let step = pair[1].wrapping_sub(pair[0]).unsigned_abs();
        if step != 0 {
            let hash = mix(step ^ (position as u64) << 48);
            let share = &mut smallest[hash as usize % PICKED];
            *share = hash.min(*share);
        }
    }
    smallest.map(|hash| (hash != u64::MAX).then(|| mix(hash ^ u64::from(column))))
}

fn recent_keys(column: u32) -> [u64; RECENT] {
    std::array::from_fn(|index| mix(u64::from(column) << 8 | index as u64))
}

fn slot(key: u64) -> usize {
    (key >> (64 - SLOTS.trailing_zeros())) as usize
}

/// Spreads a number over all bits (the finalizer of SplitMix64, a round shorter).
#[inline(always)]
fn mix(number: u64) -> u64 {
    let number = (number ^ number >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (number ^ number >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// A stream shorter than this is not worth a second chunk to read, and is a base of none.
const BASE_LEN_MIN: usize = 24;

/// A difference has to be shorter by so much, for two chunks must be read where one would do, and it is a base of none: on
/// recorded scrapes 4 make 0.4 % more bytes, 32 make 1 % more.
const SAVES_ONE_IN: usize = 8;

/// Steps a chunk is found by.
const PICKED: usize = 4;

/// Recent chunks of a column that are tried. On recorded scrapes 8 make 0.4 % more bytes.
const RECENT: usize = 16;

const STEPS_SAMPLED: usize = 24;

/// Columns whose luck is known at a time.
const LUCK_COLUMNS: usize = 4096;

/// Chunks of a column for each of which a base is looked for.
const TRIED_FIRST: u32 = 16;

/// A column is worth looking at every chunk while so many become differences.
const WINS_ONE_IN: u32 = 16;

/// Where they do not, every so many-th chunk is looked at: what follows may be of another kind.
const UNLUCKY_TRIED_ONE_IN: u32 = 32;

/// 16 MiB.
const INTEGERS_MAX: usize = 2 << 20;

const SLOTS: usize = 1 << 16;
