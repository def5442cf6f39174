//! Copies of the frames that are not synced yet.

use std::collections::VecDeque;

/// Bodies of consecutive frames in memory, until a sync has covered them.
///
/// They come in generations: a sync covers those that were sealed when it began, and letting go of them moves no byte.
#[derive(Debug)]
pub(super) struct Tail {
    generations: VecDeque<Generation>,
    /// An emptied generation whose memory the next one takes.
    spare: Option<Generation>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Generation {
    first_sequence: u64,
    bodies: Vec<u8>,
    lens: Vec<u32>,
}

impl Tail {
    pub(super) fn new() -> Self {
        Self {
            generations: VecDeque::new(),
            spare: None,
            bytes: 0,
        }
    }

    /// Returns the bytes of all bodies.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the bytes of memory, what is kept for later frames included.
    pub(super) fn memory_bytes(&self) -> usize {
        let generations = self.generations.iter().chain(&self.spare);
        generations
            .map(|one| one.bodies.capacity() + one.lens.capacity() * size_of::<u32>())
            .sum()
    }

    /// Begins a new generation: the frames so far can be let go together.
    pub(super) fn seal(&mut self) {
        if self
            .generations
            .back()
            .is_some_and(|open| !open.lens.is_empty())
        {
            self.generations
                .push_back(self.spare.take().unwrap_or_default());
        }
    }

    /// Adds a frame; sequences must follow each other.
    pub(super) fn push(&mut self, sequence: u64, body: &[u8]) {
        if self.generations.is_empty() {
            self.generations
                .push_back(self.spare.take().unwrap_or_default());
        }
        let open = self
            .generations
            .back_mut()
            .expect("there is one generation at least");
        if open.lens.is_empty() {
            open.first_sequence = sequence;
        }
        open.bodies.extend_from_slice(body);
        open.lens
            .push(u32::try_from(body.len()).expect("a sealed frame is shorter than 4 GiB"));
        self.bytes += body.len();
    }

    /// Lets go of the sealed generations whose frames are all synced.
    pub(super) fn drop_through(&mut self, sequence: u64) {
        while let Some(oldest) = self.generations.front() {
            if oldest.lens.is_empty()
                || oldest.first_sequence + oldest.lens.len() as u64 - 1 > sequence
            {
                return;
            }
            let mut dropped = self
                .generations
                .pop_front()
                .expect("there is an oldest one");
            self.bytes -= dropped.bodies.len();
            dropped.bodies.clear();
            dropped.lens.clear();
            // One burst must not hold its memory for ever.
            if dropped.bodies.capacity() <= SPARE_BYTES_MAX {
                self.spare = Some(dropped);
            }
        }
    }

    /// Yields sequence and body of the frames above `sequence`, in order.
    pub(super) fn above(&self, sequence: u64) -> impl Iterator<Item = (u64, &[u8])> {
        self.generations
            .iter()
            .flat_map(|generation| {
                let mut rest = generation.bodies.as_slice();
                generation.lens.iter().zip(generation.first_sequence..).map(
                    move |(&len, sequence)| {
                        let (body, behind) = rest.split_at(len as usize);
                        rest = behind;
                        (sequence, body)
                    },
                )
            })
            .filter(move |&(at, _)| at > sequence)
    }
}

const SPARE_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn held(tail: &Tail) -> Vec<(u64, Vec<u8>)> {
        tail.above(0)
            .map(|(sequence, body)| (sequence, body.to_vec()))
            .collect()
    }

    #[test]
    fn frames_stay_until_their_generation_is_synced() {
        let mut tail = Tail::new();
        tail.push(5, b"a");
        tail.push(6, b"");
        tail.seal();
        tail.push(7, b"ccc");
        tail.drop_through(4);
        assert_eq!(held(&tail).len(), 3);
        tail.drop_through(6);
        assert_eq!(held(&tail), [(7, b"ccc".to_vec())]);
        assert_eq!(tail.bytes(), 3);
        tail.push(8, b"d");
        assert_eq!(tail.above(7).collect::<Vec<_>>(), [(8, &b"d"[..])]);
    }

    #[test]
    fn sealing_twice_makes_no_empty_generation() {
        let mut tail = Tail::new();
        tail.seal();
        tail.push(1, b"a");
        tail.seal();
        tail.seal();
        tail.push(2, b"b");
        tail.drop_through(1);
        assert_eq!(held(&tail), [(2, b"b".to_vec())]);
        tail.drop_through(2);
        assert_eq!(held(&tail), []);
        assert_eq!(tail.bytes(), 0);
    }
}
