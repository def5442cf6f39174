//! A block that is there: opening, deleting from, verifying and removing it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::block::BlockMeta;
use crate::block::chunks::{ChunksReader, Reading, open_sized};
use crate::block::meta::FileMeta;
use crate::encoding::Malformed;
use crate::error::{Error, Result};
use crate::fs::names::{self, BlockStage};
use crate::fs::{Fs, MappedFile, Ulid, remove_tree, replace};
use crate::index::{Cardinality, IndexReader};
use crate::labels::Matcher;
use crate::time::TimeRange;
use crate::tombstone::Tombstones;

/// An open block. Reading goes through [`BlockSource`](crate::block::BlockSource).
pub(crate) struct Block {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    meta: BlockMeta,
    pub(super) index: IndexReader,
    index_file: MappedFile,
    pub(super) chunks: ChunksReader,
    /// Taken last, and only to read or swap the pointer.
    tombstones: RwLock<Arc<Tombstones>>,
    /// Held while the file of tombstones is replaced, so that one deletion does not lose another's; taken before
    /// `tombstones`.
    deleting: Mutex<()>,
}

/// What verifying a block found.
#[derive(Debug, Default)]
pub(crate) struct BlockReport {
    /// Every damaged unit.
    pub(crate) damaged: Vec<Error>,
}

impl Block {
    /// Opens the block in `dir`, whose name is its ULID.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Corruption`](crate::error::ErrorKind::Corruption) if the meta file, a length, a header or a page
    /// table is not what was written, or if the tombstones cannot be read: without them, deleted samples would be back.
    pub(crate) fn open(fs: Arc<dyn Fs>, dir: &Path) -> Result<Self> {
        let meta = read_meta(&*fs, dir)?;
        let chunks =
            ChunksReader::open(&*fs, &dir.join(names::CHUNKS), meta.ulid, meta.chunks_file)?;
        let index_path = dir.join(names::INDEX);
        let index_file = open_sized(&*fs, &index_path, meta.index_file)?;
        let index = IndexReader::open(&index_path, &index_file, 0, index_file.len())?;
        let tombstones = read_tombstones(&*fs, &dir.join(names::TOMBSTONES))?;
        let counts = [u64::from(index.series_count()), u64::from(chunks.series())];
        if counts != [meta.series; 2] {
            let message = format!(
                "index and chunks have {counts:?} series, expected {}",
                meta.series
            );
            return Err(Error::corruption(dir.join(names::META), 0, message));
        }
        Ok(Self {
            fs,
            dir: dir.to_owned(),
            meta,
            index,
            index_file,
            chunks,
            tombstones: RwLock::new(Arc::new(tombstones)),
            deleting: Mutex::new(()),
        })
    }

    /// Reads the index once; see [`IndexReader::warm`].
    pub(crate) fn warm_index(&self) {
        self.index.warm();
    }

    /// Returns the bytes of memory it takes beside what is mapped.
    pub(crate) fn memory_bytes(&self) -> usize {
        let tombstones = self.tombstones.read();
        size_of::<Self>() + self.index.memory_bytes() + tombstones.memory_bytes()
    }

    pub(crate) fn meta(&self) -> &BlockMeta {
        &self.meta
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns what is deleted at present.
    pub(crate) fn tombstones(&self) -> Arc<Tombstones> {
        self.tombstones.read().clone()
    }

    /// Returns the bytes of all files.
    pub(crate) fn size_bytes(&self) -> u64 {
        // The file of tombstones changes; its size is that of what it says. The meta file is a few hundred bytes.
        let tombstones = self.tombstones();
        let tombstone_bytes = if tombstones.is_empty() {
            0
        } else {
            tombstones.encode().len()
        };
        self.meta.chunks_file.size_bytes
            + self.meta.index_file.size_bytes
            + self.meta.encode().len() as u64
            + tombstone_bytes as u64
    }

    /// Deletes the samples inside `range` of the series that match. Returns how many series had such samples.
    ///
    /// Durable when it returns. A source that was made before still has the samples.
    pub(crate) fn delete(&self, range: TimeRange, matchers: &[Matcher]) -> Result<u64> {
        let range = range.intersect(&self.meta.range);
        if range.is_empty() {
            return Ok(0);
        }
        let mut touched = 0;
        let series = self.index.select(matchers)?;
        let deleting = self.deleting.lock();
        let mut tombstones = Tombstones::clone(&self.tombstones());
        let mut reading = Reading::default();
        for ordinal in series {
            // Of a series whose extent cannot be read, all of the range is deleted: too much is the safe side.
            let extent = self.chunks.extent(ordinal, &mut reading).unwrap_or(range);
            let deleted = range.intersect(&extent);
            if !deleted.is_empty() {
                tombstones.add(ordinal, deleted.start, deleted.end - 1);
                touched += 1;
            }
        }
        if touched > 0 {
            self.write_tombstones(tombstones)?;
        }
        drop(deleting);
        Ok(touched)
    }

    /// Reads everything: the whole files against the meta file, then every unit of them by itself, to tell what exactly
    /// is damaged.
    pub(crate) fn verify(&self) -> BlockReport {
        let mut damaged = self.verify_files();
        damaged.extend(self.chunks.verify());
        damaged.extend(self.verify_index());
        damaged.extend(read_tombstones(&*self.fs, &self.dir.join(names::TOMBSTONES)).err());
        damaged.extend(read_meta(&*self.fs, &self.dir).err());
        BlockReport { damaged }
    }

    /// Compares the checksums of the whole files with the meta file.
    pub(super) fn verify_files(&self) -> Vec<Error> {
        let chunks = self.chunks.file();
        let files = [
            (names::CHUNKS, chunks, self.meta.chunks_file),
            (names::INDEX, &self.index_file, self.meta.index_file),
        ];
        files
            .into_iter()
            .filter_map(|(name, file, expected)| {
                check_file(file, &self.dir.join(name), expected).err()
            })
            .collect()
    }

    /// Compares the checksums of the whole files as they were just written. They are read, not looked at where they are
    /// mapped: all of them would stay resident.
    pub(super) fn verify_written(&self) -> Result<()> {
        let files = [
            (names::CHUNKS, self.meta.chunks_file),
            (names::INDEX, self.meta.index_file),
        ];
        let mut buffer = vec![0; CHECK_BYTES as usize];
        files.into_iter().try_for_each(|(name, expected)| {
            let path = self.dir.join(name);
            let file = self
                .fs
                .open_read(&path)
                .map_err(|error| Error::io("open", &path, error))?;
            check_bytes(expected.size_bytes, &path, expected, |offset, len, crc| {
                let bytes = &mut buffer[..len];
                file.read_at(bytes, offset)?;
                crc.update(bytes);
                Ok(())
            })
        })
    }

    /// Reads the labels of every series and every set of the index.
    fn verify_index(&self) -> Vec<Error> {
        let mut damaged: Vec<Error> = Vec::new();
        match self.index.find(&[]) {
            Ok(mut found) => loop {
                match found.next_batch(&self.index, |_ordinal, _labels| {}) {
                    Ok(false) => break,
                    // Many series need the same damaged unit; it is one.
                    Err(error) if damaged.iter().all(|known| known.offset() != error.offset()) => {
                        damaged.push(error);
                    }
                    Ok(true) | Err(_) => {}
                }
            },
            Err(error) => damaged.push(error),
        }
        if let Err(error) = self.index.cardinality(&mut Cardinality::new(1))
            && damaged.iter().all(|known| known.offset() != error.offset())
        {
            damaged.push(error);
        }
        damaged
    }

    fn write_tombstones(&self, tombstones: Tombstones) -> Result<()> {
        let path = self.dir.join(names::TOMBSTONES);
        replace(&*self.fs, &path, &tombstones.encode())
            .map_err(|error| Error::io("replace", &path, error))?;
        *self.tombstones.write() = Arc::new(tombstones);
        Ok(())
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

/// Removes a block for good. After a crash in between, the name says that it is being removed, or it is whole.
pub(crate) fn remove(fs: &dyn Fs, blocks_dir: &Path, ulid: Ulid) -> Result<()> {
    let path = blocks_dir.join(names::block(ulid, BlockStage::Published));
    let removing = blocks_dir.join(names::block(ulid, BlockStage::Removing));
    fs.rename(&path, &removing)
        .map_err(|error| Error::io("rename", &path, error))?;
    fs.sync_dir(blocks_dir)
        .map_err(|error| Error::io("sync", blocks_dir, error))?;
    remove_tree(fs, &removing).map_err(|error| Error::io("remove", &removing, error))
}

fn read_meta(fs: &dyn Fs, dir: &Path) -> Result<BlockMeta> {
    let path = dir.join(names::META);
    let meta = BlockMeta::decode(&read_small(fs, &path)?, &path)?;
    // A directory that was copied under another name would answer for a block that may exist as well.
    if dir.file_name().and_then(|name| name.to_str()) != Some(meta.ulid.to_string().as_str()) {
        return Err(Error::corruption(
            path,
            0,
            format!("belongs to block {}", meta.ulid),
        ));
    }
    Ok(meta)
}

fn read_tombstones(fs: &dyn Fs, path: &Path) -> Result<Tombstones> {
    if !fs
        .exists(path)
        .map_err(|error| Error::io("look for", path, error))?
    {
        return Ok(Tombstones::new());
    }
    Tombstones::decode(&read_small(fs, path)?)
        .map_err(|Malformed { what, offset }| Error::corruption(path, offset as u64, what))
}

fn read_small(fs: &dyn Fs, path: &Path) -> Result<Vec<u8>> {
    let read = || {
        let file = fs.open_read(path)?;
        let len = file.len()?;
        if len > SMALL_FILE_BYTES_MAX {
            return Ok(None);
        }
        let mut bytes = vec![0; len as usize];
        file.read_at(&mut bytes, 0)?;
        Ok(Some(bytes))
    };
    match read() {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(Error::corruption(path, 0, "file is too long")),
        Err(error) => Err(Error::io("read", path, error)),
    }
}

/// Tombstones of millions of series take some ten bytes each; a longer file is none, and would only take memory.
const SMALL_FILE_BYTES_MAX: u64 = 1 << 30;

fn check_file(file: &MappedFile, path: &Path, expected: FileMeta) -> Result<()> {
    check_bytes(file.len(), path, expected, |offset, len, crc| {
        crc.update(&file.bytes(offset, len)?);
        Ok(())
    })
}

/// Compares a checksum to which `add` adds the bytes at an offset.
fn check_bytes(
    size_bytes: u64,
    path: &Path,
    expected: FileMeta,
    mut add: impl FnMut(u64, usize, &mut crc32fast::Hasher) -> io::Result<()>,
) -> Result<()> {
    let mut crc = crc32fast::Hasher::new();
    let mut offset = 0;
    while offset < size_bytes {
        let len = (size_bytes - offset).min(CHECK_BYTES);
        add(offset, len as usize, &mut crc).map_err(|error| Error::io("read", path, error))?;
        offset += len;
    }
    let crc = crc.finalize();
    if crc == expected.crc {
        return Ok(());
    }
    Err(Error::corruption(
        path,
        0,
        format!("file checksum is {crc:#x}, expected {:#x}", expected.crc),
    ))
}

const CHECK_BYTES: u64 = 1 << 20;
