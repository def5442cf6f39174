//! After a restart: the log goes through the head again.

use crate::error::{Error, Result};
use crate::head::{ApplyReport, Head, ReplayWork, Sealer};
use crate::wal::Log;

/// What a replay did and met.
#[derive(Debug, Default)]
pub(crate) struct ReplayReport {
    pub(crate) frames: u64,
    pub(crate) applied: ApplyReport,
}

/// Applies the frames of `log` above `through`, which a checkpoint covers, on `lanes` threads.
///
/// `progress` is called after each segment with the bytes done and the bytes in all; it stops the replay by answering
/// `false`. `run` runs one closure for each lane at the same time and returns when all have ended.
pub(crate) fn replay(
    head: &Head,
    log: &Log,
    through: u64,
    lanes: usize,
    progress: &mut dyn FnMut(u64, u64) -> bool,
    run: &dyn Fn(Vec<Box<dyn FnOnce() + Send + '_>>),
) -> Result<ReplayReport> {
    let mut report = ReplayReport::default();
    let mut sealers: Vec<Sealer> = (0..lanes).map(|_| Sealer::default()).collect();
    let total: u64 = log
        .segments
        .iter()
        .map(crate::wal::SegmentFrames::len)
        .sum();
    let mut done = 0;
    for segment in &log.segments {
        let bytes = segment.bytes()?;
        let mut work: Vec<ReplayWork<'_>> = (0..lanes).map(|_| ReplayWork::default()).collect();
        for (sequence, body) in segment.bodies(&bytes) {
            report.frames += 1;
            head.read_frame(sequence, body, through, &mut work, &mut report.applied);
        }
        let mut reports: Vec<ApplyReport> = (0..lanes).map(|_| ApplyReport::default()).collect();
        let tasks =
            work.into_iter()
                .zip(&mut sealers)
                .zip(&mut reports)
                .map(|((work, sealer), report)| {
                    let number = segment.number;
                    Box::new(move || *report = head.apply_work(number, work, sealer))
                        as Box<dyn FnOnce() + Send + '_>
                });
        run(tasks.collect());
        for lane in reports {
            report.applied.add(lane);
        }
        if let Some(failure) = report.applied.failure.take() {
            return Err(failure);
        }
        done += segment.len();
        if !progress(done, total) {
            return Err(Error::aborted("replay of the log"));
        }
    }
    report.applied.lost_rows += head.finish_replay(&mut sealers[0])?;
    head.publisher.restart(log.last_sequence().max(through));
    Ok(report)
}
