//! Bytes of a fuzzer as numbers, values, edits and files.

use std::io;
use std::path::{Path, PathBuf};

use crate::fs::{Fs, SimFs};
use crate::sample::stale_marker;

/// Takes numbers from the front; zeros follow the end.
#[derive(Debug, Clone)]
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(super) fn u8(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// Returns a number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let number = usize::from(self.u8());
        if bound <= 256 {
            number % bound
        } else {
            (number << 8 | usize::from(self.u8())) % bound
        }
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.u8()))
    }

    /// Returns a value: small integers and decimals mostly, and now and then any bits.
    pub(super) fn value(&mut self) -> f64 {
        let kind = self.u8();
        match kind % 8 {
            0 => f64::from_bits(self.u64()),
            1 => stale_marker(),
            2 => f64::from(self.u8()) / 1000.0,
            3 => f64::from(self.u8()) * 1e6,
            4 => -f64::from(self.u8()),
            _ => f64::from(kind / 8),
        }
    }

    /// Returns values until there are `count`.
    pub(super) fn values(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.value()).collect()
    }
}

/// Takes an answer that only has to come.
pub(super) fn any<T>(_answer: T) {}

/// Turns bits of `bytes` over: each edit is a place in two bytes and a mask.
pub(super) fn edit(bytes: &mut [u8], edits: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    for edit in edits.chunks_exact(3) {
        let place = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % bytes.len();
        bytes[place] ^= edit[2];
    }
}

/// Puts a file on a disk whose directories exist.
pub(super) fn put(fs: &SimFs, path: &Path, bytes: &[u8]) {
    let written: io::Result<()> = fs.create(path).and_then(|mut file| {
        file.append(bytes)?;
        file.sync()
    });
    written.expect("the simulated disk has no fault");
}

/// Reads a file whole.
pub(super) fn get(fs: &SimFs, path: &Path) -> Vec<u8> {
    let read = || {
        let file = fs.open_read(path)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        file.read_at(&mut bytes, 0)?;
        io::Result::Ok(bytes)
    };
    read().expect("the file was just written")
}

/// Directories and files below a directory, as they can be put on another disk.
#[derive(Debug, Default)]
pub(super) struct Files {
    dirs: Vec<PathBuf>,
    pub(super) files: Vec<(PathBuf, Vec<u8>)>,
}

impl Files {
    pub(super) fn below(fs: &SimFs, dir: &Path) -> Self {
        let mut found = Self {
            dirs: vec![dir.to_owned()],
            files: Vec::new(),
        };
        let mut next = 0;
        while let Some(dir) = found.dirs.get(next).cloned() {
            for entry in fs.read_dir(&dir).expect("the directory is there") {
                let path = dir.join(&entry.name);
                if entry.is_dir {
                    found.dirs.push(path);
                } else {
                    let bytes = get(fs, &path);
                    found.files.push((path, bytes));
                }
            }
            next += 1;
        }
        found
    }

    /// Returns a disk with these files, one of them edited.
    pub(super) fn disk(&self, edited: usize, edits: &[u8]) -> SimFs {
        let fs = SimFs::new();
        for dir in &self.dirs {
            fs.create_dir(dir).expect("parents come first");
        }
        for (index, (path, bytes)) in self.files.iter().enumerate() {
            let mut bytes = bytes.clone();
            if index == edited {
                edit(&mut bytes, edits);
            }
            put(&fs, path, &bytes);
        }
        for dir in &self.dirs {
            fs.sync_dir(dir).expect("the simulated disk has no fault");
        }
        fs
    }
}
