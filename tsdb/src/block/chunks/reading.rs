//! What reading one series leaves for the next.

use std::collections::HashMap;
use std::ops::Range;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::time::Timestamp;

use super::directory::{ChunkEntry, ColumnEntry, RecordPlace};

/// The memory of one who reads series after series. It only saves time: series may come in any order.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(super) walk: Walk,
    /// The chunks of the series that is read.
    pub(super) chunks: Vec<ChunkEntry>,
    pub(super) columns: DecodedColumns,
}

/// Where the series read last left off: who reads in order passes each record of the directory once.
#[derive(Debug, Default)]
pub(super) struct Walk(pub(super) Option<(u32, RecordPlace)>);

/// The memories of all who read one selection, each in use by one of them at a time.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    /// Enough for one reader, who then neither waits nor moves anything.
    first: Mutex<Reading>,
    others: Mutex<Vec<Reading>>,
}

impl Readings {
    /// Lends `read` a memory that nobody uses; readers do not wait for each other.
    #[inline]
    pub(crate) fn lend<T>(&self, read: impl FnOnce(&mut Reading) -> T) -> T {
        let first = self.first.try_lock();
        match first {
            Some(mut reading) => read(&mut reading),
            None => self.lend_other(read),
        }
    }

    fn lend_other<T>(&self, read: impl FnOnce(&mut Reading) -> T) -> T {
        let idle = self.others.lock().pop();
        let mut reading = idle.unwrap_or_default();
        let outcome = read(&mut reading);
        self.others.lock().push(reading);
        outcome
    }
}

/// Columns decoded before: hundreds of series share one, and in label order they come mixed with those of all others.
#[derive(Debug, Default)]
pub(super) struct DecodedColumns {
    /// Pages of the directory.
    pages: HashMap<u32, Vec<ColumnEntry>, RandomState>,
    /// Where the timestamps of a column are.
    places: HashMap<u32, Range<usize>, RandomState>,
    /// All of them, one behind the other.
    timestamps: Vec<Timestamp>,
}

impl DecodedColumns {
    /// Returns the records of a page, if they are known.
    pub(super) fn page(&self, number: u32) -> Option<&[ColumnEntry]> {
        self.pages.get(&number).map(Vec::as_slice)
    }

    /// Makes the records of a page known.
    pub(super) fn add_page(&mut self, number: u32, entries: Vec<ColumnEntry>) -> &[ColumnEntry] {
        if self.pages.len() > PAGES_MAX {
            self.pages.clear();
        }
        self.pages.entry(number).or_insert(entries)
    }

    /// Returns where the timestamps of column `number` are, if it is known.
    #[inline]
    pub(super) fn find(&self, number: u32) -> Option<Range<usize>> {
        self.places.get(&number).cloned()
    }

    /// Makes column `number` known by what `decode` appends.
    pub(super) fn add<E>(
        &mut self,
        number: u32,
        decode: impl FnOnce(&mut Vec<Timestamp>) -> Result<(), E>,
    ) -> Result<Range<usize>, E> {
        if self.timestamps.len() > TIMESTAMPS_MAX {
            self.places.clear();
            self.timestamps.clear();
        }
        let start = self.timestamps.len();
        if let Err(error) = decode(&mut self.timestamps) {
            self.timestamps.truncate(start);
            return Err(error);
        }
        let place = start..self.timestamps.len();
        self.places.insert(number, place.clone());
        Ok(place)
    }

    /// Returns the timestamps that were just found or added.
    #[inline]
    pub(super) fn at(&self, place: Range<usize>) -> &[Timestamp] {
        self.timestamps.get(place).unwrap_or_default()
    }
}

/// Timestamps that are kept: 8 MiB, the columns of 2,000 targets over two hours at 15 s.
const TIMESTAMPS_MAX: usize = 1 << 20;

/// Pages that are kept: 3 MiB.
const PAGES_MAX: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(columns: &mut DecodedColumns, number: u32, len: usize) -> (Vec<Timestamp>, bool) {
        let known = columns.find(number);
        let is_known = known.is_some();
        let place = known.unwrap_or_else(|| {
            let numbers = (0..len as i64).map(|step| i64::from(number) + step);
            columns
                .add(number, |out| {
                    out.extend(numbers);
                    Ok::<(), ()>(())
                })
                .unwrap()
        });
        (columns.at(place).to_vec(), is_known)
    }

    #[test]
    fn columns_are_decoded_once_while_there_is_room() {
        let mut columns = DecodedColumns::default();
        let len = TIMESTAMPS_MAX / 4;
        for (number, expected) in [(7, false), (9, false), (7, true), (9, true)] {
            let (timestamps, is_known) = read(&mut columns, number, len);
            assert_eq!((timestamps[0], timestamps.len()), (i64::from(number), len));
            assert_eq!(is_known, expected);
        }
        for number in 10..100 {
            read(&mut columns, number, len);
            assert!(columns.timestamps.len() <= TIMESTAMPS_MAX + len);
        }
        assert_eq!(read(&mut columns, 7, 3), (vec![7, 8, 9], false));
    }

    #[test]
    fn damaged_column_leaves_nothing_behind() {
        let mut columns = DecodedColumns::default();
        read(&mut columns, 1, 3);
        let outcome = columns.add(2, |out| {
            out.push(5);
            Err("damage")
        });
        assert_eq!(outcome, Err("damage"));
        assert_eq!(columns.find(2), None);
        assert_eq!(read(&mut columns, 1, 3), (vec![1, 2, 3], true));
        assert_eq!(read(&mut columns, 2, 2), (vec![2, 3], false));
    }

    #[test]
    fn readers_at_once_get_memories_of_their_own() {
        let readings = Readings::default();
        let capacity = |reading: &Reading| reading.chunks.capacity();
        readings.lend(|first| {
            first.chunks.reserve(10);
            readings.lend(|second| {
                assert_eq!(capacity(second), 0);
                second.chunks.reserve(20);
                readings.lend(|third| assert_eq!(capacity(third), 0));
            });
        });
        assert_eq!(readings.others.lock().len(), 2);
        readings.lend(|first| {
            assert!((10..20).contains(&capacity(first)));
            readings.lend(|_second| {});
        });
        assert_eq!(readings.others.lock().len(), 2);
    }
}
