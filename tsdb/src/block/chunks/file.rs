//! A file written front to back.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::block::FileMeta;
use crate::error::{Error, Result};
use crate::fs::{AppendFile, Fs};

/// A file written in large pieces, with the checksum of all of it.
pub(crate) struct FileWriter {
    file: Box<dyn AppendFile>,
    pub(super) path: PathBuf,
    buffer: Vec<u8>,
    crc: crc32fast::Hasher,
    /// Where the next byte goes.
    pub(super) offset: u64,
}

impl FileWriter {
    pub(crate) fn create(fs: &dyn Fs, path: &Path) -> Result<Self> {
        let file = fs
            .create(path)
            .map_err(|error| Error::io("create", path, error))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            buffer: Vec::new(),
            crc: crc32fast::Hasher::new(),
            offset: 0,
        })
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_all(bytes)
            .map_err(|error| Error::io("append to", &self.path, error))
    }

    /// Makes the file durable.
    pub(crate) fn finish(mut self) -> Result<FileMeta> {
        self.write_buffer()
            .map_err(|error| Error::io("append to", &self.path, error))?;
        self.file
            .sync()
            .map_err(|error| Error::io("sync", &self.path, error))?;
        Ok(FileMeta {
            size_bytes: self.offset,
            crc: self.crc.finalize(),
        })
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        self.crc.update(&self.buffer);
        self.file.append(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

impl Write for FileWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        self.offset += bytes.len() as u64;
        if self.buffer.len() >= BUFFER_BYTES {
            self.write_buffer()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_buffer()
    }
}

const BUFFER_BYTES: usize = 256 << 10;
