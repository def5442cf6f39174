//! What stands in the log, counted without opening the database.

use std::collections::HashMap;
use std::path::Path;

use crate::encoding::Malformed;
use crate::error::{Error, Result};
use crate::frame::{Section, sized_sections};
use crate::fs::{Fs, names};
use crate::wal::{LAST_UNKNOWN, Log, SegmentFrames, Writers, read_log};

/// What the log of a database holds.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct LogReport {
    /// The segments, in order.
    pub segments: Vec<LogSegment>,
    /// What frames are made of, one entry per kind, in the order of [`LogSectionKind::ALL`].
    pub sections: Vec<LogSections>,
    /// Sequence of the last frame that stands; 0 if there is none.
    pub last_sequence: u64,
    /// Sequence up to which the log says that it is durable.
    pub synced_sequence: u64,
    /// Everything that was durable once and is not what was written.
    pub damaged: Vec<Error>,
    /// Where the log ends in bytes that were never known to be durable: what a crash leaves, or the writer at work.
    pub torn: Option<LogTear>,
}

/// One segment of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogSegment {
    /// The number in its file name.
    pub number: u64,
    /// Its size, headers included.
    pub size_bytes: u64,
    /// Frames that stand and hold something.
    pub frames: u64,
    /// Frames that only say what is synced.
    pub marks: u64,
    /// Sequence of the first frame that stands; 0 if there is none.
    pub first_sequence: u64,
    /// Sequence of the last frame that stands; 0 if there is none.
    pub last_sequence: u64,
    /// Samples in these frames, in rows and alone.
    pub samples: u64,
}

/// What sections of a kind take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogSections {
    /// The kind.
    pub kind: LogSectionKind,
    /// How many there are.
    pub count: u64,
    /// What they hold, as [`LogSectionKind`] counts it.
    pub items: u64,
    /// Their bytes, without the headers of frames.
    pub size_bytes: u64,
}

/// What a section of a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogSectionKind {
    /// Labels of new series; counted in series.
    Definitions,
    /// The full state of a group, once per segment and after each change of its members; counted in series.
    Bases,
    /// One scrape of a group; counted in samples.
    Rows,
    /// Samples that are in no row; counted in samples.
    Lone,
    /// Deletions; counted in spans of one series.
    Tombstones,
    /// Sections of a later version, and sections that cannot be read; counted each.
    Unknown,
}

/// Where a log ends in bytes that do not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogTear {
    /// Number of the segment.
    pub segment: u64,
    /// Position behind its last frame that stands.
    pub offset: u64,
    /// Bytes behind it, those of later segments included.
    pub size_bytes: u64,
}

impl LogSectionKind {
    /// Every kind, in the order in which reports list them.
    pub const ALL: [Self; 6] = [
        Self::Definitions,
        Self::Bases,
        Self::Rows,
        Self::Lone,
        Self::Tombstones,
        Self::Unknown,
    ];

    /// Returns the kind as a word of lower-case letters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Definitions => "definitions",
            Self::Bases => "bases",
            Self::Rows => "rows",
            Self::Lone => "lone",
            Self::Tombstones => "tombstones",
            Self::Unknown => "unknown",
        }
    }
}

impl LogReport {
    /// Returns the bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size_bytes).sum()
    }

    /// Returns the samples of all frames that stand.
    pub fn samples(&self) -> u64 {
        self.segments.iter().map(|segment| segment.samples).sum()
    }
}

/// Reads the whole log of the database in `dir` and counts what is in it. Takes no lock and changes nothing, so it works
/// beside the process that writes; it reads the whole log and keeps none of it.
///
/// # Errors
///
/// The disk's faults, and [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for a log of a later version.
/// Damage is no error: it is in the report.
pub fn inspect_log(fs: &dyn Fs, dir: impl AsRef<Path>) -> Result<LogReport> {
    let dir = dir.as_ref();
    let log_dir = dir.join(names::LOG);
    if !fs
        .exists(&log_dir)
        .map_err(|error| Error::io("look for", &log_dir, error))?
    {
        return Err(Error::invalid(format!(
            "{} holds no database",
            dir.display()
        )));
    }
    let log = read_log(fs, &log_dir, 0, Writers::Perhaps)?;
    let mut report = LogReport {
        segments: all_segments(&log),
        sections: LogSectionKind::ALL
            .iter()
            .map(|&kind| LogSections {
                kind,
                count: 0,
                items: 0,
                size_bytes: 0,
            })
            .collect(),
        last_sequence: log.last_sequence(),
        synced_sequence: log.known_synced(),
        damaged: damage(&log, &log_dir, 0),
        torn: log.torn.map(|torn| LogTear {
            segment: torn.segment,
            offset: torn.offset,
            size_bytes: torn.bytes,
        }),
    };
    let mut groups = HashMap::new();
    for segment in &log.segments {
        if !segment.continues {
            // What a row is measured by stands in its own segment; a width from an older one may be out of date.
            groups.clear();
        }
        count_segment(segment, &mut groups, &mut report)?;
    }
    Ok(report)
}

/// Describes the log's damage above the sequence `through` as errors that name the file and the position.
pub(super) fn damage(log: &Log, log_dir: &Path, through: u64) -> Vec<Error> {
    let describe = |damage: &crate::wal::Damage| {
        let path = log_dir.join(names::numbered(damage.segment));
        let (first, bytes) = (damage.first_sequence, damage.bytes);
        let message = match damage.last_sequence {
            LAST_UNKNOWN => format!("frames from {first} on are lost in {bytes} bytes"),
            last => format!("frames {first} to {last} are lost in {bytes} bytes"),
        };
        Error::corruption(path, damage.offset, message)
    };
    log.damage
        .iter()
        .filter(|damage| damage.last_sequence > through)
        .map(describe)
        .collect()
}

fn all_segments(log: &Log) -> Vec<LogSegment> {
    let start = log.start();
    start
        .segments
        .iter()
        .map(|info| LogSegment {
            number: info.number,
            size_bytes: info.bytes,
            ..LogSegment::default()
        })
        .collect()
}

/// Adds what the frames of a segment hold. `groups` are as the log says so far.
fn count_segment(
    segment: &SegmentFrames,
    groups: &mut HashMap<u64, GroupWidth>,
    report: &mut LogReport,
) -> Result<()> {
    let mut frames = LogSegment::default();
    let sequence_of =
        |frame: &crate::wal::FrameRef| segment.first_sequence + u64::from(frame.sequence_offset);
    frames.first_sequence = segment.frames.first().map_or(0, sequence_of);
    frames.last_sequence = segment.frames.last().map_or(0, sequence_of);
    frames.marks = segment.frames.iter().filter(|frame| frame.len == 0).count() as u64;
    segment.for_each(|_, body| {
        frames.frames += 1;
        for (section, bytes) in sized_sections(body) {
            let (kind, items) = match section.and_then(|section| measure(section, groups)) {
                Ok(measured) => measured,
                Err(Malformed { .. }) => (LogSectionKind::Unknown, 1),
            };
            if matches!(kind, LogSectionKind::Rows | LogSectionKind::Lone) {
                frames.samples += items;
            }
            let slot = report
                .sections
                .iter_mut()
                .find(|sections| sections.kind == kind)
                .expect("every kind is listed");
            slot.count += 1;
            slot.items += items;
            slot.size_bytes += bytes as u64;
        }
        Ok(())
    })?;
    if let Some(slot) = report
        .segments
        .iter_mut()
        .find(|slot| slot.number == segment.number)
    {
        *slot = LogSegment {
            number: slot.number,
            size_bytes: slot.size_bytes,
            ..frames
        };
    }
    Ok(())
}

/// How many series a group has, and the number of its newest row or layout.
struct GroupWidth {
    series: usize,
    chain: u16,
}

/// Tells what a section is and how much it holds.
fn measure(
    section: Section<'_>,
    groups: &mut HashMap<u64, GroupWidth>,
) -> Result<(LogSectionKind, u64), Malformed> {
    let measured = match section {
        Section::Definitions(mut reader) => {
            let mut series = 0;
            while reader.next()?.is_some() {
                series += 1;
            }
            (LogSectionKind::Definitions, series)
        }
        Section::Base(base) => {
            let known = GroupWidth {
                series: base.ids.len(),
                chain: base.chain,
            };
            groups.insert(base.group, known);
            (LogSectionKind::Bases, base.ids.len() as u64)
        }
        Section::Row(row) => {
            // Behind a lost frame nobody can tell how wide a row is.
            let known = groups.get_mut(&row.group);
            let follows = |known: &&mut GroupWidth| row.chain == known.chain.wrapping_add(1);
            let Some(known) = known.filter(follows) else {
                return Ok((LogSectionKind::Rows, 0));
            };
            let view = row.parse(known.series)?;
            known.series += row.joiners.len();
            known.chain = row.chain;
            let mut samples = known.series as u64;
            view.for_each_absent(|_| samples -= 1);
            (LogSectionKind::Rows, samples)
        }
        Section::Lone(mut reader) => {
            let mut samples = 0;
            while reader.next()?.is_some() {
                samples += 1;
            }
            (LogSectionKind::Lone, samples)
        }
        Section::Tombstones(ranges) => (LogSectionKind::Tombstones, ranges.len() as u64),
        Section::Unknown => (LogSectionKind::Unknown, 1),
    };
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::db::{Background, Db, Options};
    use crate::frame::{Joiners, RowSection, put_base, put_row};
    use crate::fs::SimFs;
    use crate::labels::Labels;
    use crate::row::{RowEncoder, RowState};
    use crate::time::ManualClock;

    fn written(scrapes: i64) -> SimFs {
        let fs = SimFs::new();
        let options = Options::default()
            .with_fs(Arc::new(fs.clone()))
            .with_clock(Arc::new(ManualClock::new(1_000_000)))
            .with_background(Background::Manual);
        let db = Db::open("/db", options).unwrap();
        let target = db.target();
        let mut appender = db.appender().unwrap();
        for scrape in 0..scrapes {
            appender.set_target(&target);
            for series in 0..20 {
                let labels =
                    Labels::from_pairs([("__name__", "up"), ("instance", &series.to_string())])
                        .unwrap();
                appender
                    .append(&labels, 1000 * scrape, f64::from(series))
                    .unwrap();
            }
            appender.commit().unwrap();
        }
        drop(appender);
        fs
    }

    fn section(report: &LogReport, kind: LogSectionKind) -> LogSections {
        *report
            .sections
            .iter()
            .find(|sections| sections.kind == kind)
            .unwrap()
    }

    #[test]
    fn every_sample_of_the_log_is_counted() {
        let fs = written(5);
        let report = inspect_log(&fs, "/db").unwrap();
        assert_eq!(report.samples(), 100);
        assert_eq!(
            report
                .segments
                .iter()
                .map(|segment| segment.frames)
                .sum::<u64>(),
            5
        );
        assert_eq!(section(&report, LogSectionKind::Definitions).items, 20);
        assert_eq!(
            section(&report, LogSectionKind::Rows).items
                + section(&report, LogSectionKind::Lone).items,
            100
        );
        assert_eq!(section(&report, LogSectionKind::Unknown).count, 0);
        assert!(report.damaged.is_empty() && report.torn.is_none());
        let sections: u64 = report
            .sections
            .iter()
            .map(|sections| sections.size_bytes)
            .sum();
        assert!(sections < report.size_bytes());
    }

    #[test]
    fn row_behind_a_lost_one_is_of_unknown_width() {
        let mut body = Vec::new();
        put_base(&mut body, 4, &[1, 2], 1000, 7, &RowState::new(2), &[]);
        let mut encoder = RowEncoder::default();
        for chain in [8, 10, 11] {
            let mut row = Vec::new();
            encoder.encode(&[1.5, 2.5], &[], &RowState::new(2), &mut row);
            let section = RowSection {
                group: 4,
                timestamp_delta: 1000,
                chain,
                joiners: Joiners::default(),
                row: &row,
            };
            put_row(&mut body, &section);
        }
        let mut groups = HashMap::new();
        let items: Vec<u64> = sized_sections(&body)
            .map(|(section, _)| measure(section.unwrap(), &mut groups).unwrap().1)
            .collect();
        assert_eq!(items, [2, 2, 0, 0]);
    }

    #[test]
    fn directory_without_a_log_is_an_error() {
        let error = inspect_log(&SimFs::new(), "/nowhere").unwrap_err();
        assert_eq!(error.to_string(), "/nowhere holds no database");
    }
}
