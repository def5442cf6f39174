//! Samples that a remote refused for good, kept for somebody to look at.

use std::fmt::Write;
use std::path::{Path, PathBuf};
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
    /// The newer one, if it is open.
    open: Mutex<Option<OpenFile>>,
}

struct OpenFile {
    file: Box<dyn AppendFile>,
    is_synced: bool,
}

impl DeadLetters {
    pub(super) fn new(fs: Arc<dyn Fs>, dir: PathBuf, remote: &str, bytes_max: u64) -> Self {
        Self {
            fs,
            dir,
            remote: remote.to_owned(),
            bytes_max,
            open: Mutex::new(None),
        }
    }

    /// Keeps samples, until a power cut unless [`Self::sync`] comes first.
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
        let mut slot = self.open.lock();
        self.append(&path, &mut slot, lines.as_bytes())
            .map_err(|error| {
                // It is opened anew the next time.
                *slot = None;
                Error::io("write to", &path, error)
            })
    }

    /// Makes durable what was put.
    pub(super) fn sync(&self) -> Result<()> {
        let mut slot = self.open.lock();
        let synced = slot.as_mut().map_or(Ok(()), OpenFile::sync);
        synced.map_err(|error| {
            *slot = None;
            let path = self.dir.join(names::dead_letters(&self.remote));
            Error::io("sync", path, error)
        })
    }

    fn append(
        &self,
        path: &Path,
        slot: &mut Option<OpenFile>,
        lines: &[u8],
    ) -> std::io::Result<()> {
        let fs = &*self.fs;
        if let Some(mut full) = slot.take_if(|open| open.file.len() >= self.bytes_max) {
            full.sync()?;
            let old = self.dir.join(names::old_dead_letters(&self.remote));
            fs.rename(path, &old)?;
        }
        let open = match slot {
            Some(open) => open,
            None => {
                let file = if fs.exists(path)? {
                    let mut file = fs.open_append(path)?;
                    if !ends_a_line(fs, path)? {
                        file.append(b"\n")?;
                    }
                    file
                } else {
                    let file = fs.create(path)?;
                    fs.sync_dir(&self.dir)?;
                    file
                };
                slot.insert(OpenFile {
                    file,
                    is_synced: true,
                })
            }
        };
        open.is_synced = false;
        open.file.append(lines)
    }
}

impl OpenFile {
    fn sync(&mut self) -> std::io::Result<()> {
        if !self.is_synced {
            self.file.sync()?;
            self.is_synced = true;
        }
        Ok(())
    }
}

/// Tells whether a file is empty or its last line whole: a write that failed may have left half of one.
fn ends_a_line(fs: &dyn Fs, path: &Path) -> std::io::Result<bool> {
    let file = fs.open_read(path)?;
    let Some(last) = file.len()?.checked_sub(1) else {
        return Ok(true);
    };
    let mut byte = [0];
    file.read_at(&mut byte, last)?;
    Ok(byte == *b"\n")
}
