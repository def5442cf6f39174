//! Reading everything to see whether it is what was written.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::fs::names;
use crate::head::Checkpoint;
use crate::sample::Samples;
use crate::series::SeriesStore;
use crate::time::TimeRange;
use crate::wal::{Writers, read_log};

use super::inner::Inner;

/// How much a verification does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyDepth {
    /// Every checksum.
    Checksums,
    /// Every checksum, and every sample is decoded.
    Decode,
}

/// What a verification found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Blocks looked at.
    pub blocks: usize,
    /// Sealed runs of rows in the head's files.
    pub pieces: u64,
    /// Definitions in the series store.
    pub definitions: u64,
    /// Frames of the log that verify.
    pub log_frames: u64,
    /// Series decoded.
    pub series: u64,
    /// Samples decoded.
    pub samples: u64,
    /// Every damaged unit.
    pub damaged: Vec<Error>,
}

impl Inner {
    pub(super) fn verify(&self, depth: VerifyDepth) -> Result<VerifyReport> {
        self.check_open()?;
        let mut report = VerifyReport::default();
        for block in self.views.current().blocks() {
            report.blocks += 1;
            report.damaged.extend(block.verify().damaged);
        }
        let (pieces, damaged) = self.head.verify_pieces();
        report.pieces = pieces;
        report.damaged.extend(damaged);
        report
            .damaged
            .extend(Checkpoint::load(&*self.options.fs, &self.dir).err());
        let series_dir = self.dir.join(names::SERIES);
        let (_, loaded) = SeriesStore::open(
            Arc::clone(&self.options.fs),
            &series_dir,
            0,
            |_definition| {},
        )?;
        report.definitions = loaded.definitions;
        for pages in loaded.damage.iter().filter(|pages| !pages.at_end) {
            let path = series_dir.join(names::numbered(pages.file));
            report.damaged.push(Error::corruption(
                path,
                pages.offset,
                format!("{} bytes do not verify", pages.bytes),
            ));
        }
        let log_dir = self.dir.join(names::LOG);
        let log = read_log(&*self.options.fs, &log_dir, 0, Writers::Perhaps)?;
        report.log_frames = log
            .segments
            .iter()
            .map(|segment| segment.frames.len() as u64)
            .sum();
        report
            .damaged
            .extend(super::inspect::damage(&log, &log_dir, 0));
        if depth == VerifyDepth::Decode {
            self.decode_all(&mut report)?;
        }
        Ok(report)
    }

    fn decode_all(&self, report: &mut VerifyReport) -> Result<()> {
        let mut samples = Samples::default();
        for series in self.querier(TimeRange::ALL)?.select(&[])? {
            match series {
                Ok(series) => {
                    report.series += 1;
                    if let Err(error) = series.read(&mut samples) {
                        report.damaged.push(error);
                    }
                    report.samples += samples.len() as u64;
                }
                Err(error) => report.damaged.push(error),
            }
        }
        Ok(())
    }
}
