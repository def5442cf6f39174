//! Which commits readers may see.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};

/// Makes commits visible in the order of their sequences, each whole.
#[derive(Debug)]
pub(crate) struct Publisher {
    /// Guards `published` too, so that it moves one step at a time. No other lock is taken under it.
    applied: Mutex<BTreeSet<u64>>,
    published: AtomicU64,
    moved: Condvar,
}

impl Publisher {
    /// Everything up to `published` is visible.
    pub(crate) fn new(published: u64) -> Self {
        Self {
            applied: Mutex::new(BTreeSet::new()),
            published: AtomicU64::new(published),
            moved: Condvar::new(),
        }
    }

    /// Returns the newest sequence readers may see. Whatever it covers was applied before.
    pub(crate) fn published(&self) -> u64 {
        // Acquire pairs with the release in `publish`: a reader that sees the number sees what was applied before it.
        self.published.load(Ordering::Acquire)
    }

    /// Starts anew behind `sequence`, for replay.
    pub(crate) fn restart(&self, sequence: u64) {
        self.published.store(sequence, Ordering::Release);
    }

    /// Says that `sequence` is applied, and waits until it and all before it are visible.
    pub(crate) fn publish(&self, sequence: u64) {
        let mut applied = self.applied.lock();
        applied.insert(sequence);
        let mut published = self.published.load(Ordering::Relaxed);
        while applied.first() == Some(&(published + 1)) {
            applied.pop_first();
            published += 1;
        }
        self.published.store(published, Ordering::Release);
        self.moved.notify_all();
        while self.published.load(Ordering::Relaxed) < sequence {
            self.moved.wait(&mut applied);
        }
    }

    /// Waits until `sequence` is visible.
    pub(crate) fn wait(&self, sequence: u64) {
        let mut applied = self.applied.lock();
        while self.published.load(Ordering::Relaxed) < sequence {
            self.moved.wait(&mut applied);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_commit_is_not_visible_before_an_earlier_one() {
        let publisher = std::sync::Arc::new(Publisher::new(4));
        std::thread::scope(|scope| {
            let later = scope.spawn(|| publisher.publish(6));
            assert_eq!(publisher.published(), 4);
            publisher.publish(5);
            later.join().unwrap();
        });
        assert_eq!(publisher.published(), 6);
    }
}
