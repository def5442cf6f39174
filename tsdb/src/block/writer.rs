//! Writing a block.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::block::chunks::{ChunkBatch, ChunksWriter, Counts, FileWriter};
use crate::block::{Block, BlockMeta, open};
use crate::chunk::ChunkEncoding;
use crate::error::{Error, Result};
use crate::fs::names::{self, BlockStage};
use crate::fs::{Fs, Ulid, remove_tree};
use crate::index::{IndexWriter, MemIndex};
use crate::labels::Labels;
use crate::sample::Samples;
use crate::time::{TimeRange, Timestamp};

/// What a block is to be; see [`BlockMeta`] for the meaning of the fields.
#[derive(Debug, Clone)]
pub(crate) struct BlockSpec {
    pub(crate) ulid: Ulid,
    pub(crate) range: TimeRange,
    pub(crate) level: u32,
    /// Empty stands for the block itself.
    pub(crate) sources: Vec<Ulid>,
    pub(crate) parents: Vec<Ulid>,
    pub(crate) created_ms: Timestamp,
    pub(crate) flushed_through: u64,
    pub(crate) encoding: ChunkEncoding,
}

/// Writes a block, series after series in label order. Dropped before [`finish`](Self::finish), it removes what it wrote.
pub(crate) struct BlockWriter {
    spec: BlockSpec,
    dir: UnfinishedDir,
    chunks: ChunksWriter,
    index: IndexWriter,
}

impl BlockWriter {
    /// Begins the block `spec.ulid` in `blocks_dir`, which must exist.
    pub(crate) fn create(fs: Arc<dyn Fs>, blocks_dir: &Path, spec: BlockSpec) -> Result<Self> {
        if spec.range.is_empty() {
            return Err(Error::invalid("the range of a block is empty"));
        }
        let dir = UnfinishedDir::create(fs, blocks_dir, spec.ulid)?;
        let path = dir.path.join(names::CHUNKS);
        let chunks = ChunksWriter::create(&*dir.fs, &path, spec.encoding, spec.range.start)?;
        Ok(Self {
            spec,
            dir,
            chunks,
            index: IndexWriter::new(),
        })
    }

    /// Adds a series. Without samples it is left out.
    ///
    /// # Errors
    ///
    /// Also if `labels` do not come behind those of the series before, or samples are not in order or not in the range.
    pub(crate) fn add(&mut self, labels: &Labels, samples: &Samples) -> Result<()> {
        if samples.is_empty() {
            return Ok(());
        }
        self.check(samples, &|| labels.to_string())?;
        // The index refuses labels that are not behind those before, and numbers series as the chunks do.
        self.index.add(labels)?;
        self.chunks.add(&samples.timestamps, &samples.values)
    }

    /// Adds the series in a slot of `index`, with the chunks that `batch` has at `rank`; without chunks it is left out.
    ///
    /// Series come in label order, and all in this way or as [`add_samples`](Self::add_samples): see
    /// [`IndexWriter::add_from`]. The samples are in the block's range.
    pub(crate) fn add_chunks(
        &mut self,
        index: &MemIndex,
        slot: u32,
        batch: &mut ChunkBatch,
        rank: u32,
    ) -> Result<()> {
        if self.chunks.add_from(batch, rank)? {
            self.index.add_from(index, slot);
        }
        Ok(())
    }

    /// Adds the series in a slot of `index` with samples, like [`add`](Self::add).
    pub(crate) fn add_samples(
        &mut self,
        index: &MemIndex,
        slot: u32,
        samples: &Samples,
    ) -> Result<()> {
        if samples.is_empty() {
            return Ok(());
        }
        self.check(samples, &|| index.labels(slot).to_string())?;
        self.index.add_from(index, slot);
        self.chunks.add(&samples.timestamps, &samples.values)
    }

    fn check(&self, samples: &Samples, name: &dyn Fn() -> String) -> Result<()> {
        let ([first, .., last] | [first @ last]) = samples.timestamps.as_slice() else {
            return Ok(());
        };
        let is_inside = self.spec.range.start <= *first && *last < self.spec.range.end;
        let is_ascending = samples.timestamps.windows(2).all(|pair| pair[0] < pair[1]);
        if is_inside && is_ascending && samples.values.len() == samples.timestamps.len() {
            return Ok(());
        }
        let name = name();
        Err(Error::invalid(format!(
            "samples of {name} are out of order or range"
        )))
    }

    /// Returns what was added so far.
    pub(crate) fn counts(&self) -> Counts {
        self.chunks.counts()
    }

    /// Makes the block durable and visible, and opens it.
    pub(crate) fn finish(self) -> Result<Block> {
        let Self {
            spec,
            mut dir,
            chunks,
            index,
        } = self;
        let (chunks_file, counts) = chunks.finish(spec.ulid)?;
        if counts.series == 0 {
            return Err(Error::invalid("a block holds at least one series"));
        }
        let path = dir.path.join(names::INDEX);
        let mut file = FileWriter::create(&*dir.fs, &path)?;
        index
            .finish(&mut file)
            .map_err(|error| Error::io("write", &path, error))?;
        let index_file = file.finish()?;
        let meta = BlockMeta {
            ulid: spec.ulid,
            range: spec.range,
            level: spec.level,
            sources: if spec.sources.is_empty() {
                vec![spec.ulid]
            } else {
                spec.sources
            },
            parents: spec.parents,
            series: counts.series,
            samples: counts.samples,
            chunks: counts.chunks,
            created_ms: spec.created_ms,
            flushed_through: spec.flushed_through,
            encoding: spec.encoding,
            chunks_file,
            index_file,
        };
        // Last, so that a directory without it was never finished.
        let mut file = FileWriter::create(&*dir.fs, &dir.path.join(names::META))?;
        file.append(&meta.encode())?;
        file.finish()?;
        let path = dir.publish()?;

        let opened = Block::open(dir.fs.clone(), &path)
            .and_then(|block| block.verify_written().map(|()| block));
        if opened.is_err() {
            // What was just written does not read back. Its parents are still there, so it goes; best effort, since a
            // block that stays is found out again when the database is opened.
            drop(open::remove(&*dir.fs, &dir.blocks_dir, spec.ulid));
        }
        opened
    }
}

/// The directory of a block that is being written; removed when dropped before it is published.
struct UnfinishedDir {
    fs: Arc<dyn Fs>,
    blocks_dir: PathBuf,
    path: PathBuf,
    ulid: Ulid,
    is_published: bool,
}

impl UnfinishedDir {
    fn create(fs: Arc<dyn Fs>, blocks_dir: &Path, ulid: Ulid) -> Result<Self> {
        let path = blocks_dir.join(names::block(ulid, BlockStage::Unfinished));
        fs.create_dir(&path)
            .map_err(|error| Error::io("create", &path, error))?;
        Ok(Self {
            fs,
            blocks_dir: blocks_dir.to_owned(),
            path,
            ulid,
            is_published: false,
        })
    }

    /// Gives the directory its name, durably. The files in it were synced before.
    fn publish(&mut self) -> Result<PathBuf> {
        self.sync(&self.path)?;
        let path = self
            .blocks_dir
            .join(names::block(self.ulid, BlockStage::Published));
        self.fs
            .rename(&self.path, &path)
            .map_err(|error| Error::io("rename", &self.path, error))?;
        self.is_published = true;
        if let Err(error) = self.sync(&self.blocks_dir) {
            // Nobody was told of the block yet, so it must not be found later either; best effort as above.
            drop(open::remove(&*self.fs, &self.blocks_dir, self.ulid));
            return Err(error);
        }
        Ok(path)
    }

    fn sync(&self, path: &Path) -> Result<()> {
        self.fs
            .sync_dir(path)
            .map_err(|error| Error::io("sync", path, error))
    }
}

impl Drop for UnfinishedDir {
    fn drop(&mut self) {
        if !self.is_published {
            // A leftover takes room until the next start sweeps it up.
            drop(remove_tree(&*self.fs, &self.path));
        }
    }
}
