//! What is left of a file system when the power goes.

use std::collections::BTreeSet;

use super::tree::{Op, Tree};

/// Which of the operations that no sync has settled are on disk after a crash.
///
/// What was appended to a file is settled by a later sync of that file; a name - of something created, renamed, linked or
/// removed - by a later sync of its directory, of both directories for a rename from one into another. Everything else is
/// pending, and a disk may keep any part of it: the variants are the parts that have broken databases before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CrashChoice {
    /// All of it: the process died, the machine did not. What was pending stays pending, so that a power loss after the
    /// next start can still take it.
    All,
    /// None of it.
    None,
    /// Names and lengths, but zeros for bytes: the file system allocates late.
    NamesOnly,
    /// Bytes, but no names.
    DataOnly,
    /// All but one operation, counted among those pending.
    AllBut(usize),
    /// One operation alone, counted among those pending.
    Only(usize),
    /// Some of them, drawn from this seed. What is appended may be torn: each sector of it is there, zero or garbage.
    Seeded(u64),
}

impl CrashChoice {
    /// Returns the choices worth trying with `pending` operations unsettled: all kinds, `seeds` times drawn ones.
    pub(super) fn enumerate(pending: usize, seeds: u64) -> Vec<Self> {
        let mut choices = vec![Self::All];
        if pending == 0 {
            return choices;
        }
        choices.extend([Self::None, Self::NamesOnly, Self::DataOnly]);
        if pending > 1 {
            choices.extend((0..pending).map(Self::AllBut));
            choices.extend((0..pending).map(Self::Only));
        }
        choices.extend((0..seeds).map(Self::Seeded));
        choices
    }
}

/// Tells how many of `ops` no sync has settled.
pub(super) fn pending_count(ops: &[Op]) -> usize {
    settled(ops).into_iter().filter(|settled| !settled).count()
}

/// Returns what is left of `base` after `ops` and a crash.
pub(super) fn after_crash(base: &Tree, ops: &[Op], choice: CrashChoice) -> Tree {
    let mut tree = base.clone();
    let mut random = Random(match choice {
        CrashChoice::Seeded(seed) => seed,
        _ => 0,
    });
    let mut pending = 0;
    for (op, settled) in ops.iter().zip(settled(ops)) {
        if settled {
            tree.apply(op);
            continue;
        }
        match (fate(op, pending, choice, &mut random), op) {
            (Fate::Kept, _) => tree.apply(op),
            (Fate::Dropped, _) => tree.allocate(op),
            (
                Fate::Zeroed,
                Op::Append {
                    inode,
                    offset,
                    bytes,
                },
            ) => {
                tree.write(*inode, *offset, &vec![0; bytes.len()]);
            }
            (
                Fate::Torn,
                Op::Append {
                    inode,
                    offset,
                    bytes,
                },
            ) => {
                tree.write(*inode, *offset, &torn(*offset, bytes, &mut random));
            }
            (Fate::Zeroed | Fate::Torn, _) => unreachable!("only what is appended has bytes"),
        }
        pending += 1;
    }
    tree
}

enum Fate {
    Kept,
    Dropped,
    /// There, but its bytes read as zeros.
    Zeroed,
    /// Sector by sector there, zero or garbage.
    Torn,
}

fn fate(op: &Op, pending: usize, choice: CrashChoice, random: &mut Random) -> Fate {
    let kept_if = |kept| if kept { Fate::Kept } else { Fate::Dropped };
    let is_append = matches!(op, Op::Append { .. });
    let is_data = is_append || matches!(op, Op::Truncate { .. });
    match choice {
        CrashChoice::NamesOnly if is_append => Fate::Zeroed,
        CrashChoice::All | CrashChoice::NamesOnly => Fate::Kept,
        CrashChoice::None => Fate::Dropped,
        CrashChoice::DataOnly => kept_if(is_data),
        CrashChoice::AllBut(index) => kept_if(index != pending),
        CrashChoice::Only(index) => kept_if(index == pending),
        CrashChoice::Seeded(_) => match random.below(4) {
            0 => Fate::Dropped,
            1 | 2 if is_append => Fate::Torn,
            3 => Fate::Kept,
            _ => kept_if(random.below(2) == 0),
        },
    }
}

/// Tells for each of `ops` whether a crash after the last one leaves no doubt about it.
fn settled(ops: &[Op]) -> Vec<bool> {
    let mut synced_files = BTreeSet::new();
    let mut synced_dirs = BTreeSet::new();
    let mut settled: Vec<bool> = ops
        .iter()
        .rev()
        .map(|op| match op {
            Op::SyncFile { inode } => {
                synced_files.insert(*inode);
                true
            }
            Op::SyncDir { dir } => {
                synced_dirs.insert(*dir);
                true
            }
            Op::Append { inode, .. } | Op::Truncate { inode, .. } => synced_files.contains(inode),
            Op::Create { at, .. }
            | Op::Mkdir { at, .. }
            | Op::Link { at, .. }
            | Op::Unlink { at }
            | Op::Rmdir { at } => synced_dirs.contains(&at.dir),
            Op::Rename { from, to, .. } => {
                synced_dirs.contains(&from.dir) && synced_dirs.contains(&to.dir)
            }
            Op::Nothing | Op::Lose { .. } | Op::FlipBit { .. } | Op::Cut { .. } => true,
        })
        .collect();
    settled.reverse();
    settled
}

/// Returns what a power loss leaves of an append: a part from its start, each sector of which is there, zero or garbage.
///
/// Sectors are those of the file. A sector that also holds older bytes is written as a whole or not at all, so the older
/// bytes are never harmed.
fn torn(offset: u64, bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let first_sector = offset / SECTOR_BYTES;
    let boundary = |sector: u64| {
        let end = (first_sector + sector) * SECTOR_BYTES;
        end.saturating_sub(offset).min(bytes.len() as u64) as usize
    };
    let sector_count = (offset + bytes.len() as u64).div_ceil(SECTOR_BYTES) - first_sector;
    let left_count = random.below(sector_count + 1);
    let mut left = bytes[..boundary(left_count)].to_vec();
    for sector in 0..left_count {
        let inside = &mut left[boundary(sector)..boundary(sector + 1)];
        match random.below(4) {
            0 => inside.fill(0),
            1 => inside.fill_with(|| random.next() as u8),
            _ => {}
        }
    }
    left
}

/// The least a disk writes as a whole.
const SECTOR_BYTES: u64 = 512;

/// SplitMix64: numbers that look random and are the same for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
