//! What the series are called that wait in the log.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::db::inner::Inner;
use crate::error::Result;
use crate::fs::names;
use crate::labels::Labels;
use crate::series::SeriesStore;
use crate::ship::{Keys, LogReader, Progress, shard_key};
use crate::wal::Wal;

use super::budget::read_between;
use super::remotes::oldest;

impl Inner {
    /// Adds the keys of these series. If the head does not know all of them, the series store is read, and all keys there
    /// added: a remote that is far behind asks for many.
    pub(super) fn find_keys(&self, ids: &[u64], keys: &mut Keys) -> Result<()> {
        for (id, labels) in self.head.definitions(ids) {
            keys.insert(id, shard_key(labels.iter()));
        }
        if ids.iter().all(|id| keys.contains_key(id)) {
            return Ok(());
        }
        self.read_definitions(&mut |id, labels| {
            keys.entry(id).or_insert_with(|| shard_key(labels.iter()));
        })
    }

    /// Gives the labels of each of these series to `visit`, as [`Spool::labels`](super::Spool::labels) does.
    pub(super) fn series_labels(
        &self,
        reader: &mut LogReader,
        series: &[u64],
        visit: &mut dyn FnMut(u64, Option<&Labels>),
    ) -> Result<()> {
        let mut missing = HashSet::new();
        for &id in series {
            match reader.take_name(id) {
                Some(labels) => visit(id, Some(&labels)),
                None => match self.head.definitions(&[id]).next() {
                    Some((_, labels)) => visit(id, Some(&labels)),
                    None => drop(missing.insert(id)),
                },
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let found = self.stored_definitions(&missing)?;
        for &id in series.iter().filter(|id| missing.contains(id)) {
            visit(id, found.get(&id));
        }
        Ok(())
    }

    /// Returns the definitions of series that are in the series store and perhaps nowhere else.
    pub(in crate::db) fn stored_definitions(
        &self,
        wanted: &HashSet<u64>,
    ) -> Result<HashMap<u64, Labels>> {
        let mut found = HashMap::new();
        self.read_definitions(&mut |id, labels| {
            if wanted.contains(&id) {
                found.insert(id, labels);
            }
        })?;
        Ok(found)
    }

    /// Gives each definition of the series store to `visit`, some perhaps more than once.
    fn read_definitions(&self, visit: &mut dyn FnMut(u64, Labels)) -> Result<()> {
        let dir = self.dir.join(names::SERIES);
        let mut tries = 0;
        loop {
            let read = SeriesStore::read(Arc::clone(&self.options.fs), &dir, |definition| {
                if let Ok(labels) = Labels::from_pairs(definition.pairs()) {
                    visit(definition.id(), labels);
                }
            });
            match read {
                Ok(_) => return Ok(()),
                // The store is being rewritten.
                Err(error)
                    if error.io_kind() == Some(std::io::ErrorKind::NotFound)
                        && tries < READ_TRIES =>
                {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the series that the log kept for remotes names and the head does not know.
    pub(in crate::db) fn series_of_spool(&self, wal: &Wal) -> Result<HashSet<u64>> {
        let mut named = HashSet::new();
        if self.remotes.is_empty() {
            return Ok(named);
        }
        let first = oldest(wal);
        let next = wal.synced_sequence() + 1;
        read_between(self, wal, Progress::new(first, 1), next, |batch| {
            named.extend(batch.samples.iter().map(|spooled| spooled.series));
        })?;
        named.retain(|&id| self.head.definitions(&[id]).next().is_none());
        Ok(named)
    }
}

/// Attempts to read the series store while it is rewritten.
const READ_TRIES: usize = 5;
