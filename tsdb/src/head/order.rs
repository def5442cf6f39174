//! In which order the samples of a scrape stand for the positions of a layout.
//!
//! A layout grows at its end, and who has gone keeps a position until the next one is made. What is scraped
//! meanwhile is the layout in another order: a few runs of positions, which are compared and copied as a whole.

use std::ops::Range;

use super::layout::Layout;

/// The order of one scrape of a group. Every position stands in it once at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ScrapeOrder {
    runs: Vec<Run>,
    /// Positions that are not in it, ascending.
    absent: Vec<u16>,
}

/// Consecutive positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    first: u16,
    len: u16,
}

impl Run {
    fn positions(self) -> Range<usize> {
        let first = usize::from(self.first);
        first..first + usize::from(self.len)
    }
}

impl ScrapeOrder {
    /// Returns an empty order with room for `runs`.
    pub(crate) fn with_capacity(runs: usize) -> Self {
        Self {
            runs: Vec::with_capacity(runs),
            absent: Vec::new(),
        }
    }

    /// Adds positions, which are few enough for a group, at the end.
    pub(crate) fn push(&mut self, positions: Range<usize>) {
        if positions.is_empty() {
            return;
        }
        match self.runs.last_mut() {
            Some(last) if last.positions().end == positions.start => {
                last.len += positions.len() as u16;
            }
            _ => self.runs.push(Run {
                first: positions.start as u16,
                len: positions.len() as u16,
            }),
        }
    }

    /// Ends the order of a scrape of `width` positions; tells whether none stands in it twice.
    pub(crate) fn close(&mut self, width: usize) -> bool {
        let mut present = vec![0u64; width.div_ceil(64)];
        for run in &self.runs {
            let Range { mut start, end } = run.positions();
            while start < end {
                let count = (64 - start % 64).min(end - start);
                let bits = u64::MAX >> (64 - count) << (start % 64);
                let word = &mut present[start / 64];
                if *word & bits != 0 {
                    return false;
                }
                *word |= bits;
                start += count;
            }
        }
        for (index, word) in present.into_iter().enumerate() {
            let mut absent = !word;
            while absent != 0 {
                let position = index * 64 + absent.trailing_zeros() as usize;
                absent &= absent - 1;
                if position < width {
                    self.absent.push(position as u16);
                }
            }
        }
        true
    }

    /// Tells whether the order is that of a layout of `width` positions.
    pub(crate) fn is_plain(&self, width: usize) -> bool {
        let mut runs = self.runs.iter().map(|run| run.positions());
        runs.next() == Some(0..width) && runs.next().is_none()
    }

    /// Returns the runs of positions.
    pub(crate) fn runs(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.runs.iter().map(|run| run.positions())
    }

    /// Returns the positions that are not in it, ascending.
    pub(crate) fn absent(&self) -> &[u16] {
        &self.absent
    }

    /// Tells whether `scraped` are the series of `layout` in this order.
    pub(crate) fn matches(&self, layout: &Layout, scraped: &[u64]) -> bool {
        let mut rest = scraped;
        for run in self.runs() {
            let Some((same, behind)) = rest.split_at_checked(run.len()) else {
                return false;
            };
            let (body, tail) = layout.range(run);
            if same.strip_prefix(body) != Some(tail) {
                return false;
            }
            rest = behind;
        }
        rest.is_empty()
    }

    /// Puts the values of a scrape at their positions. What `out` has at those that are absent says nothing.
    pub(crate) fn spread(&self, scraped: &[f64], out: &mut [f64]) {
        let mut rest = scraped;
        for run in self.runs() {
            let (values, behind) = rest.split_at(run.len());
            out[run].copy_from_slice(values);
            rest = behind;
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.runs.capacity() * size_of::<Run>() + self.absent.capacity() * size_of::<u16>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(positions: &[usize], width: usize) -> Option<ScrapeOrder> {
        let mut order = ScrapeOrder::default();
        for &position in positions {
            order.push(position..position + 1);
        }
        order.close(width).then_some(order)
    }

    proptest! {
        #[test]
        fn order_is_the_list_of_its_positions(
            (width, positions) in (1..60usize).prop_flat_map(|width| {
                let all: Vec<usize> = (0..width).collect();
                (Just(width), proptest::sample::subsequence(all, 0..=width).prop_shuffle())
            })
        ) {
            let order = order(&positions, width).unwrap();
            prop_assert_eq!(order.runs().flatten().collect::<Vec<_>>(), positions.clone());
            let absent = (0..width).filter(|position| !positions.contains(position));
            prop_assert!(order.absent().iter().map(|&position| usize::from(position)).eq(absent));
            prop_assert_eq!(order.is_plain(width), positions.iter().copied().eq(0..width));
            let ids: Vec<u64> = (100..).take(width).collect();
            let layout = Layout::new(ids[..width / 2].to_vec()).grown(&ids[width / 2..]);
            let mut scraped: Vec<u64> = positions.iter().map(|&position| ids[position]).collect();
            prop_assert!(order.matches(&layout, &scraped));
            let values: Vec<f64> = scraped.iter().map(|&id| id as f64).collect();
            let mut spread = vec![0.0; width];
            order.spread(&values, &mut spread);
            prop_assert!(positions.iter().all(|&position| spread[position] == ids[position] as f64));
            scraped.push(99);
            prop_assert!(!order.matches(&layout, &scraped));
            scraped.truncate(positions.len().saturating_sub(1));
            prop_assert_eq!(order.matches(&layout, &scraped), positions.is_empty());
        }
    }

    #[test]
    fn position_that_stands_twice_is_no_order() {
        assert_eq!(order(&[3, 4, 4], 5), None);
        assert_eq!(order(&[1, 2, 0, 1], 5), None);
    }
}
