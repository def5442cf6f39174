//! The queues between the thread that reads the log and those that send.
//!
//! A shard is a queue and the thread that sends what is in it. Its series are in parts, and each part has a place in the
//! remote's progress: what is sent last and what comes next are known of each part for itself, so a batch may hold a long
//! time of some series while the others of its shard are still collected.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::remote::{Batch, BatchBuilder};
use crate::ship::Position;
use crate::time::Timestamp;

use super::{Counters, now};

/// One queue for each shard.
pub(super) struct Lanes {
    state: Mutex<State>,
    /// A load was queued, or what is awaited by those that send has changed.
    to_shards: Condvar,
    /// A load was taken or delivered.
    to_reader: Condvar,
    counters: Arc<Counters>,
}

struct State {
    lanes: Vec<Lane>,
    /// Of all parts, those of the first shard first.
    parts: Vec<Part>,
    is_stopping: bool,
    is_paused: bool,
    /// How many wait for everything to be sent: batches need not be full.
    waiting: usize,
    /// Counts [`Lanes::pause`]; waits that somebody may cut short watch it.
    wakes: u64,
}

#[derive(Default)]
struct Lane {
    queue: VecDeque<Load>,
    /// The load that is being delivered: how many samples, and the oldest.
    under_way: Option<(usize, Option<Timestamp>)>,
}

#[derive(Clone)]
struct Part {
    /// Loads that are queued or under way with samples of it.
    loads: usize,
    /// Below this nothing of the part is left but what is queued or under way.
    clear_to: Position,
}

/// What a shard delivers before it notes how far it has come.
pub(super) struct Load {
    pub(super) batch: Batch,
    /// The oldest sample that is not late.
    oldest: Option<Timestamp>,
    /// Parts it has samples of, and places below which everything of them is in this load or in one before.
    pub(super) ends: Vec<(usize, Position)>,
}

impl Load {
    /// Takes what was collected; the memory stays with the builder.
    pub(super) fn new(builder: &mut BatchBuilder, ends: Vec<(usize, Position)>) -> Self {
        Self {
            oldest: builder.oldest(),
            batch: builder.build(),
            ends,
        }
    }
}

impl Lanes {
    pub(super) fn new(
        shards: usize,
        parts: usize,
        start: Position,
        counters: Arc<Counters>,
    ) -> Self {
        let part = Part {
            loads: 0,
            clear_to: start,
        };
        Self {
            state: Mutex::new(State {
                lanes: (0..shards).map(|_| Lane::default()).collect(),
                parts: vec![part; shards * parts],
                is_stopping: false,
                is_paused: false,
                waiting: 0,
                wakes: 0,
            }),
            to_shards: Condvar::new(),
            to_reader: Condvar::new(),
            counters,
        }
    }

    /// Queues a load once there is room for it. False if the lanes are being stopped.
    pub(super) fn push(&self, shard: usize, load: Load) -> bool {
        let mut state = self.state.lock();
        while state.lanes[shard].queue.len() >= QUEUE_LOADS && !state.is_stopping {
            self.to_reader.wait(&mut state);
        }
        // Relaxed here and in `delivered`: the lock orders them, and who reads it alone wants no more than the number.
        self.counters
            .queued
            .fetch_add(load.batch.len() as u64, Ordering::Relaxed);
        for (part, _) in &load.ends {
            state.parts[*part].loads += 1;
        }
        state.lanes[shard].queue.push_back(load);
        self.to_shards.notify_all();
        !state.is_stopping
    }

    /// Takes the next load of a shard; `None` once the lanes are being stopped.
    pub(super) fn take(&self, shard: usize) -> Option<Load> {
        let mut state = self.state.lock();
        loop {
            if state.is_stopping {
                return None;
            }
            if !state.is_paused
                && let Some(load) = state.lanes[shard].queue.pop_front()
            {
                state.lanes[shard].under_way = Some((load.batch.len(), load.oldest));
                self.to_reader.notify_all();
                return Some(load);
            }
            self.to_shards.wait(&mut state);
        }
    }

    /// Notes that a shard has delivered what it took, up to these places of its parts. Returns how far these parts and all
    /// idle ones have come.
    pub(super) fn delivered(
        &self,
        shard: usize,
        ends: &[(usize, Position)],
    ) -> Vec<(usize, Position)> {
        let mut state = self.state.lock();
        let lane = &mut state.lanes[shard];
        if let Some((samples, _)) = lane.under_way.take() {
            self.counters
                .queued
                .fetch_sub(samples as u64, Ordering::Relaxed);
        }
        for &(number, end) in ends {
            let part = &mut state.parts[number];
            part.loads -= 1;
            part.clear_to = part.clear_to.max(end);
        }
        let mut places = state.idle_places();
        // Where more is queued, the part has come as far as this load.
        let is_busy = |(number, _): &&(usize, Position)| state.parts[*number].loads > 0;
        places.extend(ends.iter().filter(is_busy));
        self.to_reader.notify_all();
        places
    }

    /// Notes that these parts have nothing below `position` but what was pushed.
    pub(super) fn clear(&self, parts: impl Iterator<Item = usize>, position: Position) {
        let mut state = self.state.lock();
        for part in parts {
            state.parts[part].clear_to = position;
        }
    }

    /// Returns how far the parts have come of which nothing is queued or under way.
    pub(super) fn idle_places(&self) -> Vec<(usize, Position)> {
        self.state.lock().idle_places()
    }

    /// Waits until nothing that is queued or under way is older than `bound`. False if the lanes are being stopped.
    pub(super) fn wait_newer(&self, bound: Timestamp) -> bool {
        let mut state = self.state.lock();
        while state.oldest().is_some_and(|oldest| oldest < bound) && !state.is_stopping {
            self.to_reader.wait(&mut state);
        }
        !state.is_stopping
    }

    /// Returns the oldest sample that is queued or under way, late ones aside.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.state.lock().oldest()
    }

    /// Waits for a time, or until a [pause](Self::pause) begins or ends. False if the lanes are being stopped.
    pub(super) fn sleep(&self, time: Duration) -> bool {
        let mut state = self.state.lock();
        let wakes = state.wakes;
        let until = now().saturating_add(time);
        while !state.is_stopping && state.wakes == wakes {
            let left = until.saturating_sub(now());
            if left.is_zero() {
                break;
            }
            self.to_shards.wait_for(&mut state, left);
        }
        !state.is_stopping
    }

    /// Waits until a load is taken or delivered, at most for a time.
    pub(super) fn wait_progress(&self, time: Duration) {
        self.to_reader.wait_for(&mut self.state.lock(), time);
    }

    /// Waits while the lanes are paused. False if they are being stopped.
    pub(super) fn wait_resumed(&self) -> bool {
        let mut state = self.state.lock();
        while state.is_paused && !state.is_stopping {
            self.to_shards.wait(&mut state);
        }
        !state.is_stopping
    }

    /// Begins or ends a pause; either ends all waits for a better time.
    pub(super) fn pause(&self, is_paused: bool) {
        self.change(|state| {
            state.is_paused = is_paused;
            state.wakes += 1;
        });
    }

    pub(super) fn is_paused(&self) -> bool {
        self.state.lock().is_paused
    }

    /// Begins or ends somebody's wait for everything to be sent.
    pub(super) fn hurry(&self, begins: bool) {
        let mut state = self.state.lock();
        state.waiting = if begins {
            state.waiting + 1
        } else {
            state.waiting - 1
        };
    }

    /// Tells whether somebody waits for everything to be sent.
    pub(super) fn is_in_hurry(&self) -> bool {
        self.state.lock().waiting > 0
    }

    pub(super) fn stop(&self) {
        self.change(|state| state.is_stopping = true);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.state.lock().is_stopping
    }

    fn change(&self, change: impl FnOnce(&mut MutexGuard<'_, State>)) {
        change(&mut self.state.lock());
        self.to_shards.notify_all();
        self.to_reader.notify_all();
    }
}

impl State {
    fn idle_places(&self) -> Vec<(usize, Position)> {
        let parts = self.parts.iter().enumerate();
        let idle = parts.filter(|(_, part)| part.loads == 0);
        idle.map(|(number, part)| (number, part.clear_to)).collect()
    }

    fn oldest(&self) -> Option<Timestamp> {
        let lane = |lane: &Lane| {
            let under_way = lane.under_way.and_then(|(_, oldest)| oldest);
            let queued = lane.queue.iter().filter_map(|load| load.oldest);
            queued.chain(under_way).min()
        };
        self.lanes.iter().filter_map(lane).min()
    }
}

/// Loads that wait for each shard besides the one under way.
const QUEUE_LOADS: usize = 1;
