//! What of the head blocks hold.

/// The parts of the head that were flushed.
///
/// A flush may go less far in time than one before it: then what came late in between is in no block, so that one limit
/// of time and one of sequence do not say it all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Flushed {
    parts: Vec<FlushedPart>,
}

/// What one flush wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FlushedPart {
    /// Everything before this time,
    pub(crate) before: i64,
    /// as far as it came up to this sequence.
    pub(crate) through: u64,
}

impl FlushedPart {
    /// Tells whether blocks hold all of a run of samples.
    pub(crate) fn covers(self, last_timestamp: i64, last_sequence: u64) -> bool {
        last_timestamp < self.before && last_sequence <= self.through
    }
}

impl Flushed {
    /// Takes up what one more flush wrote.
    pub(crate) fn add(&mut self, part: FlushedPart) {
        self.parts
            .retain(|known| known.before > part.before || known.through > part.through);
        self.parts.push(part);
    }

    pub(crate) fn parts(&self) -> &[FlushedPart] {
        &self.parts
    }

    /// Tells whether blocks hold all of a run of samples.
    pub(crate) fn covers(&self, last_timestamp: i64, last_sequence: u64) -> bool {
        self.parts
            .iter()
            .any(|part| part.covers(last_timestamp, last_sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_late_between_two_flushes_is_not_covered() {
        let part = |before, through| FlushedPart { before, through };
        let mut flushed = Flushed::default();
        assert!(!flushed.covers(i64::MIN, 0));
        flushed.add(part(100, 5));
        flushed.add(part(50, 9));
        assert!(flushed.covers(99, 5));
        assert!(flushed.covers(49, 9));
        assert!(!flushed.covers(60, 7));
        flushed.add(part(100, 12));
        assert_eq!(flushed.parts(), [part(100, 12)]);
        assert!(flushed.covers(60, 7));
    }
}
