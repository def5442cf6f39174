//! One commit, from staged samples to an applied frame.

use std::sync::Arc;

use crate::error::{Rejection, Result};
use crate::frame::{DeletedRange, put_tombstones};
use crate::head::{ApplyReport, Head, Sealer};
use crate::row::{RowEncoder, RowState};
use crate::wal::{Appended, FrameBuffer, Wal};

use super::alone::AloneScratch;
use super::judge::Judge;
use super::staged::Staged;

/// Rules that come from the options.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// How far behind the newest sample late ones are taken; 0 for not at all.
    pub(crate) out_of_order_ms: i64,
}

/// What became of a commit.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    /// The frame; none if there was nothing to write.
    pub(crate) sequence: Option<u64>,
    /// Samples in the frame.
    pub(crate) in_rows: u64,
    /// Samples in the frame that are in no row.
    pub(crate) alone: u64,
    /// Of those, how many are older than their series' newest.
    pub(crate) late: u64,
    /// Samples that were there already.
    pub(crate) repeated: u64,
    /// Bytes of series definitions in the frame.
    pub(crate) definition_bytes: u64,
    /// Samples that were not taken: where they stand among the staged ones, and why.
    pub(crate) rejected: Vec<(usize, Rejection)>,
}

/// Commits; holds the scratch memory of one appender.
#[derive(Debug)]
pub(crate) struct Committer {
    pub(super) head: Arc<Head>,
    pub(super) wal: Arc<Wal>,
    pub(super) rules: Rules,
    pub(super) encoder: RowEncoder,
    pub(super) row: Vec<u8>,
    /// The values of a scrape in the order of the layout.
    pub(super) values: Vec<f64>,
    /// A group's state before series join, as wide as it is afterwards.
    pub(super) grown: RowState,
    /// Who joins, as the frame says it.
    pub(super) joiners: Vec<u8>,
    pub(super) frame: FrameBuffer,
    pub(super) alone: AloneScratch,
    pub(super) sealer: Sealer,
}

impl Committer {
    pub(crate) fn new(head: Arc<Head>, wal: Arc<Wal>, rules: Rules) -> Self {
        Self {
            alone: AloneScratch::new(&head),
            head,
            wal,
            rules,
            encoder: RowEncoder::default(),
            row: Vec::new(),
            values: Vec::new(),
            grown: RowState::default(),
            joiners: Vec::new(),
            frame: FrameBuffer::new(),
            sealer: Sealer::default(),
        }
    }

    /// Writes and applies what is staged. It is not visible until its sequence is published.
    ///
    /// # Errors
    ///
    /// The log's. Nothing is applied then.
    pub(crate) fn commit(&mut self, staged: &Staged) -> Result<Committed> {
        if staged.is_empty() {
            return Ok(Committed::default());
        }
        if let Some(batch) = staged.single() {
            if let Some(committed) = self.commit_row(staged, batch)? {
                return Ok(committed);
            }
            if let Some(committed) = self.commit_scrape(staged, batch)? {
                return Ok(committed);
            }
        }
        if let Some(committed) = self.commit_alone(staged)? {
            return Ok(committed);
        }
        self.commit_planned(staged)
    }

    /// Writes and applies tombstones.
    pub(crate) fn delete(&mut self, ranges: &[DeletedRange]) -> Result<u64> {
        let head = Arc::clone(&self.head);
        let _structure = head.structure.write();
        let sequence = loop {
            self.frame.clear();
            put_tombstones(self.frame.out(), ranges);
            if let Appended::Written { sequence } =
                self.wal.append(&mut self.frame, self.wal.segment(), 0)?
            {
                break sequence;
            }
        };
        let mut report = ApplyReport::default();
        head.apply_tombstones(sequence, ranges, &mut report);
        Ok(sequence)
    }

    pub(super) fn judge(&self) -> Judge {
        Judge {
            boundary: self.head.boundary(),
            max_time: self.head.max_time(),
            window_ms: self.rules.out_of_order_ms,
        }
    }
}
