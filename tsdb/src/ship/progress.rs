//! How far a remote has come, shard by shard.

use crate::encoding::{ByteReader, Malformed, crc32, put_uvarint, put_varint};
use crate::labels::METRIC_NAME;
use crate::time::Timestamp;

use super::position::Position;

/// Returns the key that decides about the shard of a series. Ids would not do: a series that the head has forgotten comes
/// back under another one, and its samples must not overtake each other.
///
/// The upper half is of all labels but the metric's name, and it alone decides: the metrics of one container go the same
/// way, in the order of the log, and a request says only once what they have in common.
pub(crate) fn shard_key<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> u32 {
    let mut metric = "";
    let mut entity = Vec::with_capacity(256);
    put_key_bytes(
        labels.filter(|(name, value)| {
            let is_metric = *name == METRIC_NAME;
            if is_metric {
                metric = *value;
            }
            !is_metric
        }),
        &mut entity,
    );
    // Fibonacci hashing: the checksum's upper bits alone do not spread texts that differ in few bytes evenly.
    let entity = crc32(&entity).wrapping_mul(0x9e37_79b9);
    entity & 0xffff_0000 | crc32(metric.as_bytes()) & 0xffff
}

/// Appends labels so that no others make the same bytes.
pub(crate) fn put_key_bytes<'a>(
    labels: impl Iterator<Item = (&'a str, &'a str)>,
    out: &mut Vec<u8>,
) {
    for (name, value) in labels {
        for text in [name, value] {
            out.extend_from_slice(text.as_bytes());
            // No byte of UTF-8: texts cannot run into each other.
            out.push(0xff);
        }
    }
}

/// Returns the shard, of `shards`, that samples with this [key](super::SpooledSample::key) belong to. Part of the format:
/// places on disk depend on it.
pub fn shard_of(key: u32, shards: usize) -> usize {
    ((u64::from(key >> 16) * shards as u64) >> 16) as usize
}

/// Which samples a remote has acknowledged.
///
/// Each shard sends its samples in the order of their [positions](Position) and has a place behind which nothing is
/// acknowledged. After the number of shards changed, the places of the old ones count on until the new ones have passed
/// them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// One place for each shard; the first list is the present one, older ones follow.
    layers: Vec<Vec<Position>>,
    /// As long as a place lies in it.
    backfill: Option<BackfillEnd>,
}

/// Where a backfill ends and the log begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BackfillEnd {
    /// No sample of the backfill is as new.
    pub(crate) end: Timestamp,
    /// First frame that is sent from the log.
    pub(crate) sequence: u64,
}

impl Progress {
    /// Returns the progress of `shards` shards that all start at `position`, which is in the log.
    pub fn new(position: Position, shards: usize) -> Self {
        Self {
            layers: vec![vec![position.max(Position::before(1)); shards.max(1)]],
            backfill: None,
        }
    }

    /// Returns the progress of one shard that has everything from `start` on before it, up to the end of a backfill, and
    /// then the log.
    pub(crate) fn with_backfill(start: Timestamp, backfill: BackfillEnd) -> Self {
        Self {
            layers: vec![vec![Position::at(start)]],
            backfill: Some(backfill),
        }
    }

    /// Returns where the backfill ends, unless all shards have.
    pub(crate) fn backfill(&self) -> Option<BackfillEnd> {
        self.backfill
    }

    /// Returns the place in the log below which nothing is needed any more.
    pub(crate) fn low_in_log(&self) -> Position {
        let begin = self.backfill.map_or(1, |backfill| backfill.sequence);
        self.low().max(Position::before(begin))
    }

    /// Returns the number of shards.
    pub fn shards(&self) -> usize {
        self.layers[0].len()
    }

    /// Tells whether the key of a sample decides about anything.
    pub(crate) fn needs_keys(&self) -> bool {
        self.layers.iter().any(|layer| layer.len() > 1)
    }

    /// Returns the place below which everything is acknowledged.
    pub fn low(&self) -> Position {
        // A sample is acknowledged if any layer says so: the highest of the layers' lowest places.
        self.layers
            .iter()
            .filter_map(|layer| layer.iter().min())
            .max()
            .copied()
            .unwrap_or_default()
    }

    /// Returns the sequence of the last frame of which anything is acknowledged.
    pub(super) fn last_touched(&self) -> u64 {
        let places = self.layers.iter().flatten();
        places
            .map(|place| place.sequence())
            .max()
            .unwrap_or_default()
    }

    /// Returns a sequence from which on nothing is acknowledged or left out.
    pub(crate) fn untouched_from(&self) -> u64 {
        let behind = |place: &Position| {
            let sequence = place.sequence();
            sequence.saturating_add(u64::from(*place != Position::before(sequence)))
        };
        let places = self.layers.iter().flatten();
        let places = places.filter(|place| !place.is_backfill()).map(behind);
        let log = self.backfill.map(|backfill| backfill.sequence);
        places.chain(log).max().unwrap_or_default()
    }

    /// Tells whether the sample at `position`, of a series with this key, is acknowledged.
    pub fn covers(&self, key: u32, position: Position) -> bool {
        self.layers
            .iter()
            .any(|layer| position < layer[shard_of(key, layer.len())])
    }

    /// Notes that a shard has nothing unacknowledged below `position`. A place never goes back.
    pub fn advance(&mut self, shard: usize, position: Position) {
        let first = self.backfill.map_or(1, |backfill| backfill.sequence);
        let place = &mut self.layers[0][shard];
        *place = (*place).max(match position {
            // The budget may have moved the log's beginning on since this was read.
            Position::Log { .. } => position.max(Position::before(first)),
            Position::Backfill { .. } => position,
        });
        self.settle();
    }

    /// Passes over everything below `position`.
    pub fn skip_to(&mut self, position: Position) {
        for shard in 0..self.shards() {
            self.advance(shard, position);
        }
    }

    /// Passes over everything in the log before a frame; what is left of a backfill stays.
    pub(crate) fn skip_log_to(&mut self, sequence: u64) {
        if let Some(backfill) = &mut self.backfill {
            backfill.sequence = backfill.sequence.max(sequence);
        }
        for place in &mut self.layers[0] {
            if !place.is_backfill() {
                *place = (*place).max(Position::before(sequence));
            }
        }
        self.settle();
    }

    /// Forgets what tells nothing any more.
    fn settle(&mut self) {
        let low = self.layers[0].iter().min().copied().unwrap_or_default();
        let mut first = true;
        self.layers
            .retain(|layer| std::mem::take(&mut first) || layer.iter().any(|place| *place > low));
        if !self.low().is_backfill() {
            self.backfill = None;
        }
    }

    /// Changes the number of shards; what was acknowledged stays so.
    pub fn reshard(&mut self, shards: usize) {
        let shards = shards.max(1);
        if shards == self.shards() {
            return;
        }
        let low = self.low();
        self.layers.insert(0, vec![low; shards]);
        // Each change while the one before is not caught up adds a layer; forgetting the oldest repeats samples at worst.
        self.layers.truncate(LAYERS_MAX);
        self.advance(0, low);
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_uvarint(out, self.layers.len() as u64);
        for layer in &self.layers {
            put_uvarint(out, layer.len() as u64);
            for place in layer {
                match *place {
                    Position::Log { sequence, index } => {
                        put_uvarint(out, sequence.max(1));
                        put_uvarint(out, u64::from(index));
                    }
                    Position::Backfill { timestamp, key } => {
                        put_uvarint(out, 0);
                        put_varint(out, timestamp);
                        put_uvarint(out, u64::from(key));
                    }
                }
            }
        }
        match self.backfill {
            Some(BackfillEnd { end, sequence }) => {
                put_uvarint(out, sequence.max(1));
                put_varint(out, end);
            }
            None => put_uvarint(out, 0),
        }
    }

    pub(super) fn decode(reader: &mut ByteReader<'_>) -> Result<Self, Malformed> {
        let count = reader.uvarint_max(LAYERS_MAX, "too many layers of shards")?;
        let mut layers = Vec::with_capacity(count);
        for _ in 0..count {
            let shards = reader.uvarint_max(SHARDS_MAX, "too many shards")?;
            if shards == 0 {
                return Err(reader.malformed("progress without a shard"));
            }
            let mut layer = Vec::with_capacity(shards);
            for _ in 0..shards {
                layer.push(match reader.uvarint()? {
                    0 => Position::Backfill {
                        timestamp: reader.varint()?,
                        key: reader.uvarint_max(u32::MAX as usize, "key of a shard")? as u32,
                    },
                    sequence => Position::Log {
                        sequence,
                        index: reader.uvarint_max(u32::MAX as usize, "sample index")? as u32,
                    },
                });
            }
            layers.push(layer);
        }
        if layers.is_empty() {
            return Err(reader.malformed("progress without a shard"));
        }
        let backfill = match reader.uvarint()? {
            0 => None,
            sequence => Some(BackfillEnd {
                end: reader.varint()?,
                sequence,
            }),
        };
        let progress = Self { layers, backfill };
        if progress.low().is_backfill() != progress.backfill.is_some() {
            return Err(reader.malformed("backfill without an end, or the other way round"));
        }
        Ok(progress)
    }
}

/// Layers that are kept: changes of the number of shards that nothing has caught up with.
const LAYERS_MAX: usize = 8;

/// Shards of one remote.
pub const SHARDS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::labels::Labels;

    fn at(sequence: u64) -> Position {
        Position::before(sequence)
    }

    #[test]
    fn shards_share_series_evenly() {
        for shards in [1, 2, 3, 7, 16, 200] {
            let mut counts = vec![0usize; shards];
            for number in 0..20_000 {
                let number = number.to_string();
                let labels = Labels::from_pairs([("__name__", "up"), ("pod", &number)]).unwrap();
                counts[shard_of(shard_key(labels.iter()), shards)] += 1;
            }
            let fair = 20_000 / shards;
            assert!(
                counts
                    .iter()
                    .all(|&count| count > fair / 2 && count < fair * 2 + 2),
                "{shards}: {counts:?}"
            );
        }
    }

    #[test]
    fn metrics_of_one_container_belong_to_one_shard_under_keys_of_their_own() {
        let key =
            |metric: &str, pod: &str| shard_key([("__name__", metric), ("pod", pod)].into_iter());
        let (memory, processor) = (key("memory", "a"), key("processor", "a"));
        assert_ne!(memory, processor);
        assert_eq!(
            shard_of(memory, SHARDS_MAX),
            shard_of(processor, SHARDS_MAX)
        );
        assert_ne!(
            shard_of(memory, SHARDS_MAX),
            shard_of(key("memory", "b"), SHARDS_MAX)
        );
    }

    /// A sender divides its shards further and relies on it.
    #[test]
    fn parts_of_a_shard_are_shards_of_a_larger_number() {
        for number in 0..5_000_u32 {
            let key = number.wrapping_mul(0x0012_d687);
            for (shards, parts) in [(1, 16), (3, 16), (4, 5), (7, 2)] {
                assert_eq!(shard_of(key, shards * parts) / parts, shard_of(key, shards));
            }
        }
    }

    #[test]
    fn low_is_the_slowest_shard() {
        let mut progress = Progress::new(at(5), 3);
        progress.advance(0, at(9));
        progress.advance(1, at(7));
        assert_eq!(progress.low(), at(5));
        progress.advance(2, at(8));
        assert_eq!(progress.low(), at(7));
        progress.advance(1, at(6));
        assert_eq!(progress.low(), at(7), "a place never goes back");
    }

    #[test]
    fn old_places_are_forgotten_once_the_new_shards_have_passed_them() {
        let mut progress = Progress::new(at(1), 2);
        progress.advance(0, at(100));
        progress.reshard(3);
        assert_eq!(progress.layers.len(), 2);
        progress.skip_to(at(99));
        assert_eq!(progress.layers.len(), 2);
        progress.skip_to(at(100));
        assert_eq!(progress.layers.len(), 1);
    }

    /// What a run does to a remote's progress.
    #[derive(Debug, Clone)]
    enum Act {
        /// The shard of this number, modulo how many there are, sends and acknowledges so many samples.
        Send(usize, usize),
        Reshard(usize),
        Restart,
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act = prop_oneof![
            8 => (0usize..8, 1usize..20).prop_map(|(shard, count)| Act::Send(shard, count)),
            1 => (1usize..6).prop_map(Act::Reshard),
            1 => Just(Act::Restart),
        ];
        prop::collection::vec(act, 1..60)
    }

    proptest! {
        /// Whatever shards do, and however often their number changes, each sample is acknowledged once and in the order
        /// of its series; up to seven changes may wait for each other.
        #[test]
        fn every_sample_is_sent_once(acts in acts()) {
            let key = |n: u64| (n * 37 % 11 * 0x1234_5678) as u32;
            let stored = (0..80u64).map(|n| (key(n), Position::at(n as i64 / 3)));
            let logged = (0..200u64)
                .map(|n| (key(n), Position::Log { sequence: 1 + n / 7, index: (n % 7) as u32 }));
            let mut samples: Vec<(u32, Position)> = stored.chain(logged).collect();
            for (key, position) in &mut samples {
                if let Position::Backfill { key: place, .. } = position {
                    *place = *key;
                }
            }
            samples.sort_by_key(|(_, position)| *position);
            samples.dedup();
            let end = at(1_000);
            let backfill = BackfillEnd { end: 90, sequence: 1 };
            let mut progress = Progress::with_backfill(0, backfill);
            progress.reshard(2);
            let mut sent = vec![0; samples.len()];
            let send = |progress: &mut Progress, shard: usize, count: usize, sent: &mut Vec<i32>| {
                let mine: Vec<usize> = (0..samples.len())
                    .filter(|&at| {
                        let (key, position) = samples[at];
                        shard_of(key, progress.shards()) == shard && !progress.covers(key, position)
                    })
                    .collect();
                mine.iter().take(count).for_each(|&at| sent[at] += 1);
                let place = mine.get(count).map_or(end, |&at| samples[at].1);
                progress.advance(shard, place);
            };
            let mut changes = 0;
            for act in acts {
                match act {
                    Act::Send(shard, count) => {
                        let shard = shard % progress.shards();
                        send(&mut progress, shard, count, &mut sent);
                    }
                    Act::Reshard(shards) if changes < 7 => {
                        changes += usize::from(shards != progress.shards());
                        progress.reshard(shards);
                    }
                    Act::Reshard(_) => {}
                    Act::Restart => {
                        let mut bytes = Vec::new();
                        progress.encode(&mut bytes);
                        let mut reader = ByteReader::new(&bytes);
                        prop_assert_eq!(&Progress::decode(&mut reader), &Ok(progress.clone()));
                    }
                }
            }
            for shard in 0..progress.shards() {
                send(&mut progress, shard, usize::MAX, &mut sent);
            }
            prop_assert!(sent.iter().all(|&count| count == 1), "{:?}", sent);
            prop_assert_eq!(progress.low(), end);
        }
    }
}
