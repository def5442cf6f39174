//! Deciding what of a log stands.

use super::format::{SEGMENT_HEADERS_BYTES, SegmentHeader};
use super::log::{SegmentInfo, WalStart};
use super::read::{Damage, LAST_UNKNOWN, Log, SegmentFrames, Torn};
use super::scan::Scan;
use crate::fs::MappedFile;

/// A segment as it was found.
#[derive(Debug)]
pub(super) struct SegmentFile {
    pub(super) number: u64,
    pub(super) len: u64,
    /// None if both copies are damaged.
    pub(super) header: Option<SegmentHeader>,
    /// Whether the header is there, whether it verifies or not: no power cut has left it out.
    pub(super) has_header: bool,
    /// What was read of it; nothing if it is void as a whole, or older than anybody asked for.
    pub(super) content: Option<(MappedFile, Scan)>,
}

/// Returns for each segment the highest sequence that can stand there: the lowest `previous` of all later ones.
pub(super) fn limits(files: &[SegmentFile]) -> Vec<u64> {
    let mut limits = vec![u64::MAX; files.len()];
    let mut limit = u64::MAX;
    for (file, slot) in files.iter().zip(&mut limits).rev() {
        *slot = limit;
        limit = limit.min(file.header.map_or(u64::MAX, |header| header.previous));
    }
    limits
}

/// Returns the index of the first segment to read in order to decode from the one numbered `from` on.
pub(super) fn start_index(files: &[SegmentFile], limits: &[u64], from: u64) -> usize {
    let Some(wanted) = files.iter().position(|file| file.number >= from) else {
        // With nothing to read, the last one still tells where sequences go on.
        return files.len().saturating_sub(1);
    };
    let standing = |index: usize| {
        files[index]
            .header
            .filter(|header| header.first_sequence <= limits[index])
    };
    // Frames meant for a segment that is void stand in the one that continues; and that needs what stands before it.
    let first = (wanted..files.len()).find_map(standing);
    if !first.is_some_and(|header| header.continues) {
        return wanted;
    }
    (0..wanted)
        .rev()
        .find(|&index| standing(index).is_some_and(|header| !header.continues))
        .unwrap_or(0)
}

/// Decides what stands in the segments from `start` on.
pub(super) fn judge(files: Vec<SegmentFile>, limits: &[u64], start: usize, from: u64) -> Log {
    let scans = || {
        files
            .iter()
            .filter_map(|file| file.content.as_ref().map(|(_, scan)| scan))
    };
    let headers = || files.iter().filter_map(|file| file.header);
    let known_synced = headers()
        .map(|header| header.known_synced)
        .chain(scans().map(|scan| scan.known_synced))
        .max()
        .unwrap_or(0);
    let highest = headers()
        .map(|header| header.first_sequence - 1)
        .chain(scans().map(|scan| scan.highest_sequence))
        .max()
        .unwrap_or(0);

    let mut walk = Walk {
        known_synced,
        last: None,
        stands: 0,
        suspect: None,
        is_unreadable: false,
        end: None,
        damage: Vec::new(),
        torn: false,
        gone: (from > 0 && headers().all(|header| header.number != from)).then_some(from),
    };
    let mut standing = Vec::with_capacity(files.len() - start);
    for (file, &limit) in files.iter().zip(limits).skip(start) {
        walk.pass(file.number);
        standing.push(walk.segment(file, limit));
    }
    walk.pass(u64::MAX);
    walk.finish();

    let torn = walk.end.filter(|_| walk.torn).map(|(segment, offset)| {
        let behind = files.iter().filter(|file| file.number >= segment);
        Torn {
            segment,
            offset,
            bytes: behind.map(|file| file.len).sum::<u64>() - offset,
        }
    });
    let last = walk.last.unwrap_or(0);
    let mut log = Log {
        segments: Vec::new(),
        damage: walk.damage,
        torn,
        unusable: Vec::new(),
        start: WalStart {
            segment: files.last().map_or(from, |file| file.number.max(from)) + 1,
            sequence: highest.max(known_synced).max(last) + 1,
            previous: walk.stands,
            known_synced: known_synced.min(walk.stands),
            segments: Vec::with_capacity(files.len()),
        },
    };
    for (index, (file, &limit)) in files.into_iter().zip(limits).enumerate() {
        match index.checked_sub(start) {
            Some(index) => log.take(file, standing[index]),
            None => {
                let info = info(&file, log.start.sequence, limit);
                log.start.segments.push(info);
            }
        }
    }
    log
}

/// Describes a segment whose last standing sequence is at most `last`; `next` is what comes after all segments.
fn info(file: &SegmentFile, next: u64, last: u64) -> SegmentInfo {
    let first_sequence = file.header.map_or(next, |header| header.first_sequence);
    SegmentInfo {
        number: file.number,
        first_sequence,
        last_sequence: if file.header.is_some() {
            last.max(first_sequence - 1)
        } else {
            first_sequence - 1
        },
        bytes: file.len,
        continues: file.header.is_some_and(|header| header.continues),
    }
}

impl Log {
    /// Adds a segment of which `count` frames stand.
    fn take(&mut self, file: SegmentFile, count: usize) {
        let sequence_of = |header: SegmentHeader, scan: &Scan| {
            let last = scan.frames[..count].last()?;
            Some(header.first_sequence + u64::from(last.sequence_offset))
        };
        let last = file
            .header
            .zip(file.content.as_ref())
            .and_then(|(header, (_, scan))| sequence_of(header, scan));
        self.start
            .segments
            .push(info(&file, self.start.sequence, last.unwrap_or(0)));
        match (file.header, file.content) {
            (Some(header), Some((mapped, mut scan))) if count > 0 => {
                scan.frames.truncate(count);
                self.segments.push(SegmentFrames {
                    number: file.number,
                    first_sequence: header.first_sequence,
                    continues: header.continues,
                    frames: scan.frames,
                    file: mapped,
                });
            }
            (Some(_), Some((_, scan))) if scan.frames.is_empty() => {}
            _ => self.unusable.push(file.number),
        }
    }
}

/// Goes through all segments in order and looks for missing sequences.
struct Walk {
    known_synced: u64,
    /// Last sequence that stands, once there is a segment.
    last: Option<u64>,
    /// Last sequence that stands. Those up to a segment's first one are void: they must not come back when the segment
    /// is moved aside.
    stands: u64,
    /// Bytes since then that do not verify: segment, offset, length.
    suspect: Option<(u64, u64, u64)>,
    /// Whether among them is a segment that was durable and whose header is lost. Only a later header tells what it held.
    is_unreadable: bool,
    /// Segment and position behind the last frame that stands.
    end: Option<(u64, u64)>,
    damage: Vec<Damage>,
    torn: bool,
    /// The segment that was asked for, if there is no header of it, until it is passed.
    gone: Option<u64>,
}

impl Walk {
    /// Says that the next segment there is has this number.
    fn pass(&mut self, number: u64) {
        // It was durable, header and name: whoever remembers its number has synced them before.
        if let Some(gone) = self.gone.take_if(|gone| *gone < number) {
            self.suspect.get_or_insert((gone, 0, 0));
            self.is_unreadable = true;
        }
    }

    /// Returns how many frames of the segment stand.
    fn segment(&mut self, file: &SegmentFile, limit: u64) -> usize {
        if self.torn {
            return 0;
        }
        let Some(header) = file.header else {
            self.suspect.get_or_insert((file.number, 0, file.len));
            self.is_unreadable |= file.has_header;
            return 0;
        };
        let Some((_, scan)) = &file.content else {
            return 0;
        };
        match (self.last, self.suspect) {
            (Some(_), _) => {
                if !self.expect(header.previous + 1) {
                    return 0;
                }
            }
            // The first header of all is damaged: how much stood there is not known.
            (None, Some(_)) if header.previous > 0 => self.lose(0, header.previous),
            (None, _) => {}
        }
        self.last = Some(header.first_sequence - 1);
        self.stands = self.stands.max(header.previous);
        self.end = Some((file.number, file.len.min(SEGMENT_HEADERS_BYTES as u64)));
        self.suspect = None;
        self.is_unreadable = false;

        let mut bad = scan.bad.iter().peekable();
        for (index, frame) in scan.frames.iter().enumerate() {
            let sequence = header.first_sequence + u64::from(frame.sequence_offset);
            if sequence > limit {
                return index;
            }
            if let Some(bad) = bad.next_if(|bad| bad.frames_before <= index) {
                self.suspect = Some((file.number, bad.offset, bad.len));
            }
            if !self.expect(sequence) {
                return index;
            }
            self.last = Some(sequence);
            self.stands = sequence;
            self.end = Some((file.number, frame.end()));
            self.suspect = None;
        }
        if let Some(bad) = bad.next() {
            self.suspect = Some((file.number, bad.offset, bad.len));
        }
        scan.frames.len()
    }

    /// Notes what is missing if the next frame is the `next`-th; answers whether the log goes on there.
    fn expect(&mut self, next: u64) -> bool {
        let first_lost = self.last.unwrap_or(0) + 1;
        if next <= first_lost {
            return true;
        }
        let last_lost = next - 1;
        if first_lost <= self.known_synced {
            self.lose(first_lost, last_lost.min(self.known_synced));
        }
        self.torn = last_lost > self.known_synced;
        !self.torn
    }

    /// Looks at what is left when no frame follows.
    fn finish(&mut self) {
        if self.torn {
            return;
        }
        match self.last {
            _ if self.is_unreadable => {
                self.lose(self.last.map_or(0, |last| last + 1), LAST_UNKNOWN);
            }
            Some(last) if last < self.known_synced => self.lose(last + 1, self.known_synced),
            Some(_) => self.torn = self.suspect.is_some(),
            None => {}
        }
    }

    fn lose(&mut self, first_sequence: u64, last_sequence: u64) {
        let at_end = || self.end.map(|(segment, offset)| (segment, offset, 0));
        let (segment, offset, bytes) = self.suspect.or_else(at_end).unwrap_or_default();
        self.damage.push(Damage {
            segment,
            offset,
            bytes,
            first_sequence,
            last_sequence,
        });
    }
}
