//! Times that the chunks of many series have in common.

use crate::time::Timestamp;

use super::encoder::time_head;

/// Most samples of a series that are pushed together.
pub(crate) const SHARED_MAX: usize = 16;

/// How much later than the first sample of a series its others come, where that is the same for many series: what their
/// chunks say of the times from the third sample on is made once for all of them.
#[derive(Debug)]
pub(crate) struct SharedTimes {
    later: [i64; SHARED_MAX],
    len: usize,
    /// What a chunk says of each time from the third on, bits and their number. The first two depend on the series.
    heads: [(u64, u32); SHARED_MAX],
    /// The same of all of them with values that repeat; none if it is more than a word, or nothing.
    repeated: Option<(u64, u32)>,
    first_step: u64,
    last_step: u64,
}

impl SharedTimes {
    /// Returns what is shared by series whose samples come so much later than some time of each. `None` if these times do
    /// not ascend, lie so unevenly that a chunk does not say them in short, or are more than [`SHARED_MAX`] or less than
    /// two.
    pub(crate) fn new(samples: &[i64]) -> Option<Self> {
        let base = *samples.first()?;
        let mut times = Self {
            later: [0; SHARED_MAX],
            len: samples.len(),
            heads: [(0, 0); SHARED_MAX],
            repeated: None,
            first_step: 0,
            last_step: 0,
        };
        for (to, sample) in times
            .later
            .get_mut(..samples.len())?
            .iter_mut()
            .zip(samples)
        {
            *to = sample.checked_sub(base)?;
        }
        let next = samples.iter().skip(1);
        let mut steps = samples
            .iter()
            .zip(next)
            .map(|(one, two)| two.checked_sub(*one));
        let mut last = steps.next()?.filter(|step| *step > 0)?;
        times.first_step = last as u64;
        let mut repeated = Some((0, 0));
        for (head, step) in times.heads.iter_mut().zip(steps) {
            let step = step.filter(|step| *step > 0)?;
            let (bits, count) = time_head(step - last)?;
            *head = (bits, count);
            repeated = repeated.and_then(|(all, len)| {
                let len = len + count + 1;
                (len <= 64).then_some((all << (count + 1) | bits << 1, len))
            });
            last = step;
        }
        times.repeated = repeated.filter(|(_, len)| *len > 0);
        times.last_step = last as u64;
        Some(times)
    }

    /// Returns the number of samples.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the time of the sample at a place, if the first one is at `first`.
    #[inline]
    pub(crate) fn time(&self, first: Timestamp, at: usize) -> Timestamp {
        first.wrapping_add(self.later[at])
    }

    pub(super) fn first_step(&self) -> u64 {
        self.first_step
    }

    pub(super) fn last_step(&self) -> u64 {
        self.last_step
    }

    pub(super) fn heads(&self) -> &[(u64, u32)] {
        self.heads.get(..self.len - 2).unwrap_or_default()
    }

    pub(super) fn repeated(&self) -> Option<(u64, u32)> {
        self.repeated
    }
}
