//! What a commit looks at before it writes its frame.

use crate::time::Timestamp;

/// The newest time of a series and who is about to move it. Fronts lie side by side: judging a commit touches nothing else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Front {
    /// Of the newest sample, of one that a commit has announced, or of the newest row in a group the series left;
    /// [`i64::MIN`] for none.
    pub(super) newest: Timestamp,
    /// Whose announcement is not settled yet; 0 for nobody's. Only one at a time: if two were taken back in the order they
    /// were made, the time of the first would stay.
    announced_by: u32,
    /// The slot within its page.
    pub(super) slot: u16,
    /// The decimal scale the latest value was written at.
    pub(crate) scale_hint: u8,
}

const _: () = assert!(size_of::<Front>() == 16);

impl Front {
    pub(super) const fn new(slot: u16) -> Self {
        Self {
            newest: i64::MIN,
            announced_by: 0,
            slot,
            scale_hint: 0,
        }
    }

    pub(super) fn newest(&self) -> Timestamp {
        self.newest
    }

    pub(super) fn note_newest(&mut self, newest: Timestamp) {
        self.newest = self.newest.max(newest);
    }

    /// Announces a sample if it is newer than all others and nobody else has announced one; returns what
    /// [`Front::release`] needs to take it back.
    #[inline]
    pub(crate) fn reserve(&mut self, timestamp: Timestamp, by: u32) -> Option<Timestamp> {
        if timestamp > self.newest && (self.announced_by == 0 || self.announced_by == by) {
            self.announced_by = by;
            Some(std::mem::replace(&mut self.newest, timestamp))
        } else {
            None
        }
    }

    /// Takes the latest announcement back. [`Front::settle`] follows once all of a commit are.
    pub(crate) fn release(&mut self, before: Timestamp) {
        self.newest = before;
    }

    /// Lets others announce samples, unless somebody else has already.
    #[inline]
    pub(crate) fn settle(&mut self, by: u32) {
        if self.announced_by == by {
            self.announced_by = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_that_are_taken_back_leave_the_newest_time_as_it_was() {
        let (one, other) = (1, 3);
        let mut front = Front::new(0);
        front.note_newest(10);
        assert_eq!(front.reserve(20, one), Some(10));
        assert_eq!(front.reserve(40, one), Some(20));
        assert_eq!(front.reserve(50, other), None, "one at a time");
        front.release(20);
        front.release(10);
        assert_eq!(front.reserve(50, other), None, "not before it is settled");
        front.settle(one);
        assert_eq!(front.newest, 10);
        assert_eq!(front.reserve(20, other), Some(10));
    }

    #[test]
    fn who_settles_does_not_end_the_announcement_of_another() {
        let (one, other, third) = (1, 3, 5);
        let mut front = Front::new(0);
        front.reserve(20, one);
        front.reserve(30, one);
        front.settle(one);
        assert_eq!(front.reserve(40, other), Some(30));
        front.settle(one);
        assert_eq!(front.reserve(50, third), None);
        front.release(30);
        front.settle(other);
        assert_eq!(front.newest, 30);
        assert_eq!(front.reserve(40, third), Some(30));
    }
}
