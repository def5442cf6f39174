//! Which series somebody has named who has not committed yet: no frame names them, and they must not be forgotten.
//!
//! 1. Time goes by in epochs, which collections of series end.
//! 2. Whoever begins to name series says so ([`Naming::begin`]), and each series that is named is stamped with the epoch.
//! 3. A collection ([`Naming::next`]) is told how far back the epochs go that somebody began in who has not ended yet. A
//!    stamp that is older is nobody's any more.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Epochs that are told apart, fewer than a [`Stamp`] has values.
const AGE_MAX: u64 = 100;

/// Stamps that stand for an epoch.
const STAMPS: u64 = 255;

/// The epochs, and who began in each.
#[derive(Debug, Default)]
pub(crate) struct Naming {
    epoch: AtomicU64,
    /// No other lock is taken under it.
    begun: Mutex<BTreeMap<u64, usize>>,
}

/// The epoch in which a series was last named, in a byte; none if nobody can be about to commit it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stamp(u8);

/// What a collection goes by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epochs {
    now: u64,
    /// Age of the oldest stamp that may be somebody's.
    held: u64,
}

impl Naming {
    /// Notes somebody who is about to name series; [`Naming::end`] takes the answer.
    pub(crate) fn begin(&self) -> u64 {
        let mut begun = self.begun.lock();
        let epoch = self.epoch.load(Ordering::SeqCst);
        *begun.entry(epoch).or_default() += 1;
        epoch
    }

    /// Notes that frames name the series, or nobody will.
    pub(crate) fn end(&self, epoch: u64) {
        let mut begun = self.begun.lock();
        if let Some(count) = begun.get_mut(&epoch) {
            *count -= 1;
            if *count == 0 {
                begun.remove(&epoch);
            }
        }
    }

    /// Returns the stamp of a series that is named now.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp::of(self.epoch.load(Ordering::SeqCst))
    }

    /// Begins an epoch. Who begins after this has its stamps, so a collection that goes by the answer keeps them.
    pub(crate) fn next(&self) -> Epochs {
        let begun = self.begun.lock();
        let now = self.epoch.fetch_add(1, Ordering::SeqCst) + 1;
        let oldest = begun.first_key_value().map_or(now, |(&oldest, _)| oldest);
        Epochs {
            now,
            held: (now - oldest).min(AGE_MAX),
        }
    }
}

impl Stamp {
    fn of(epoch: u64) -> Self {
        Self(1 + (epoch % STAMPS) as u8)
    }
}

impl Epochs {
    /// Tells whether somebody may be about to commit a series.
    pub(crate) fn holds(self, stamp: Stamp) -> bool {
        self.age(stamp).is_some_and(|age| age <= self.held)
    }

    /// Returns the stamp as later collections are to find it: none if it is nobody's, and never so old that it would look
    /// like a young one.
    pub(crate) fn renew(self, stamp: Stamp) -> Stamp {
        match self.age(stamp) {
            Some(age) if age >= AGE_MAX && self.holds(stamp) => Stamp::of(self.now - AGE_MAX + 1),
            Some(_) if self.holds(stamp) => stamp,
            _ => Stamp::default(),
        }
    }

    fn age(self, stamp: Stamp) -> Option<u64> {
        let epoch = u64::from(stamp.0).checked_sub(1)?;
        Some((self.now % STAMPS + STAMPS - epoch) % STAMPS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_held_until_all_who_may_have_made_them_have_ended() {
        let naming = Naming::default();
        let early = naming.begin();
        let stamp = naming.stamp();
        assert!(naming.next().holds(stamp));
        let late = naming.begin();
        naming.end(early);
        let epochs = naming.next();
        assert!(!epochs.holds(stamp), "whoever is left began after it");
        assert_eq!(epochs.renew(stamp), Stamp::default());
        naming.end(late);
        assert!(!naming.next().holds(Stamp::default()));
    }

    #[test]
    fn who_begins_while_a_collection_goes_on_is_held() {
        let naming = Naming::default();
        let epochs = naming.next();
        naming.begin();
        assert!(epochs.holds(naming.stamp()));
    }

    #[test]
    fn however_many_collections_somebody_outlives_the_stamps_are_held() {
        let naming = Naming::default();
        let begun = naming.begin();
        let mut stamp = naming.stamp();
        let mut other = Stamp::default();
        for _ in 0..1000 {
            let epochs = naming.next();
            assert!(epochs.holds(stamp));
            assert!(!epochs.holds(other));
            (stamp, other) = (epochs.renew(stamp), epochs.renew(other));
        }
        naming.end(begun);
        let epochs = naming.next();
        assert!(!epochs.holds(stamp));
        other = epochs.renew(stamp);
        assert_eq!(other, Stamp::default());
    }
}
