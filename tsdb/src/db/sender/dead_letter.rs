//! Samples that a remote refused for good, kept for somebody to look at.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::fs::{AppendFile, Fs, names};
use crate::remote::Prepared;
use crate::sample::Sample;

/// Two files of lines, the newer and the older; when the newer is full it becomes the older.
///
/// A line is `TIMESTAMP SERIES VALUE # REASON`: milliseconds, labels as a selector, a value that reads back to the last bit
/// but for the payload of a NaN, and what the remote said.
pub(super) struct DeadLetters {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    remote: String,
    bytes_max: u64,
    file: Mutex<Option<Box<dyn AppendFile>>>,
}

impl DeadLetters {
    pub(super) fn new(fs: Arc<dyn Fs>, dir: PathBuf, remote: &str, bytes_max: u64) -> Self {
        Self {
            fs,
            dir,
            remote: remote.to_owned(),
            bytes_max,
            file: Mutex::new(None),
        }
    }

    /// Keeps samples, durably.
    pub(super) fn put<'s>(
        &self,
        samples: impl Iterator<Item = (&'s Prepared, Sample)>,
        reason: &str,
    ) -> Result<()> {
        let mut lines = String::new();
        for (series, sample) in samples {
            let Sample { timestamp, value } = sample;
            let labels = &series.labels;
            writeln!(lines, "{timestamp} {labels} {value:?} # {reason}")
                .expect("a string takes what is written to it");
        }
        let path = self.dir.join(names::dead_letters(&self.remote));
        let mut slot = self.file.lock();
        self.append(&path, &mut slot, lines.as_bytes())
            .map_err(|error| {
                // It is opened anew the next time.
                *slot = None;
                Error::io("write to", &path, error)
            })
    }

    fn append(
        &self,
        path: &std::path::Path,
        slot: &mut Option<Box<dyn AppendFile>>,
        lines: &[u8],
    ) -> std::io::Result<()> {
        let fs = &*self.fs;
        if slot
            .as_ref()
            .is_some_and(|file| file.len() >= self.bytes_max)
        {
            *slot = None;
            let old = self.dir.join(names::old_dead_letters(&self.remote));
            fs.rename(path, &old)?;
        }
        let file = match slot {
            Some(file) => file,
            None => {
                let file = if fs.exists(path)? {
                    fs.open_append(path)?
                } else {
                    let file = fs.create(path)?;
                    fs.sync_dir(&self.dir)?;
                    file
                };
                slot.insert(file)
            }
        };
        file.append(lines)?;
        file.sync()
    }
}
