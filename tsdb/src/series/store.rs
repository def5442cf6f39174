//! The files of the store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cluster::cluster;
use super::format::{FileHeader, HeaderError, SECTOR_BYTES};
use super::page::{Definition, FILLED_PAGE_BYTES_MAX, Page, PageReader, PageWriter};
use crate::error::{Error, Result};
use crate::fs::{AppendFile, Fs, MappedFile, names};
use crate::labels::SeriesLabels;

/// Ids and labels of series on disk. For one thread; it blocks for the disk.
pub(crate) struct SeriesStore {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    salt_seed: u64,
    /// Where definitions are added. None if the last write left something that cannot be cut off.
    open: Option<OpenFile>,
    /// Files that are no longer written: number and length.
    closed: Vec<(u64, u64)>,
    last_number: u64,
    /// Whether the name of a file, or that an older one is gone, is not durable.
    names_unsynced: bool,
    /// A sync failed: what was added since the last one may be lost.
    distrusted: bool,
}

struct OpenFile {
    number: u64,
    salt: u32,
    file: Box<dyn AppendFile>,
    /// Up to here the file holds whole pages.
    len: u64,
}

/// What loading a store found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// Definitions given to the visitor.
    pub(crate) definitions: u64,
    /// Bytes that do not verify, with pages behind them or not. At the very end that is what a crash leaves of pages that
    /// were not synced; the store goes on behind it.
    pub(crate) damage: Vec<DamagedPages>,
}

/// Pages that do not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DamagedPages {
    /// Number of the file.
    pub(crate) file: u64,
    /// Position of the first byte.
    pub(crate) offset: u64,
    /// How many bytes.
    pub(crate) bytes: u64,
    /// Whether nothing that verifies follows in the file: a write that was not finished looks like this.
    pub(crate) at_end: bool,
}

impl Loaded {
    fn add_damage(&mut self, file: u64, from: Option<u64>, to: u64, at_end: bool) {
        if let Some(offset) = from {
            let bytes = to - offset;
            self.damage.push(DamagedPages {
                file,
                offset,
                bytes,
                at_end,
            });
        }
    }
}

impl SeriesStore {
    /// Opens the store in `dir`, gives every definition there to `visit` in the order of the files, and starts a new file
    /// with the next append unless the last one can be continued. `salt_seed` must not be known to whoever chooses labels.
    ///
    /// # Errors
    ///
    /// The disk's fault, or [`Unsupported`](crate::error::ErrorKind::Unsupported) for a file of a later version. Damage is
    /// in the answer.
    pub(crate) fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        salt_seed: u64,
        mut visit: impl FnMut(Definition<'_>),
    ) -> Result<(Self, Loaded)> {
        let mut loaded = Loaded::default();
        let mut store = Self::closed(fs, dir, salt_seed);
        let numbers = store.numbers()?;
        let mut reader = PageReader::default();
        for &number in &numbers {
            store.last_number = number;
            let before = loaded.damage.len();
            let (header, len) = store.load_file(number, &mut reader, &mut loaded, &mut visit)?;
            let is_last = Some(&number) == numbers.last();
            match header {
                Some(header)
                    if is_last
                        && loaded.damage.len() == before
                        && len % SECTOR_BYTES as u64 == 0 =>
                {
                    let path = store.path(number);
                    let file = store
                        .fs
                        .open_append(&path)
                        .map_err(|error| Error::io("open", &path, error))?;
                    store.open = Some(OpenFile {
                        number,
                        salt: header.salt,
                        file,
                        len,
                    });
                }
                _ => {
                    // Nobody syncs it later, and some of it may be in the memory of the operating system only.
                    let path = store.path(number);
                    let synced = store.fs.open_append(&path).and_then(|mut file| file.sync());
                    store.distrusted |= synced.is_err();
                    store.closed.push((number, len));
                }
            }
        }
        Ok((store, loaded))
    }

    /// Gives every definition in `dir` to `visit`, beside whoever has the store open. Opens nothing to write.
    ///
    /// # Errors
    ///
    /// The disk's. A file that vanishes because the store is rewritten meanwhile is one: try again.
    pub(crate) fn read(
        fs: Arc<dyn Fs>,
        dir: &Path,
        mut visit: impl FnMut(Definition<'_>),
    ) -> Result<Loaded> {
        let mut loaded = Loaded::default();
        let mut reader = PageReader::default();
        let store = Self::closed(fs, dir, 0);
        for number in store.numbers()? {
            store.load_file(number, &mut reader, &mut loaded, &mut visit)?;
        }
        Ok(loaded)
    }

    fn closed(fs: Arc<dyn Fs>, dir: &Path, salt_seed: u64) -> Self {
        Self {
            fs,
            dir: dir.to_owned(),
            salt_seed,
            open: None,
            closed: Vec::new(),
            last_number: 0,
            // A process that died may have left names, and bytes of the file that is continued, to the operating system.
            names_unsynced: true,
            distrusted: false,
        }
    }

    /// Returns the numbers of the files there are, in order.
    fn numbers(&self) -> Result<Vec<u64>> {
        names::numbered_files(&*self.fs, &self.dir)
            .map_err(|error| Error::io("list", &self.dir, error))
    }

    /// Adds definitions. They are durable after [`Self::sync`]. Returns how many there were.
    ///
    /// # Errors
    ///
    /// Some of them may have been added, whole; adding all of them again does no harm.
    pub(crate) fn append(
        &mut self,
        definitions: impl IntoIterator<Item = (u64, SeriesLabels)>,
    ) -> Result<u64> {
        if self.distrusted {
            return Err(Error::read_only(
                "the series store must be rewritten after a failed sync",
            ));
        }
        let mut definitions = definitions.into_iter().peekable();
        if definitions.peek().is_none() {
            return Ok(0);
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.create_file(false)?,
        };
        let path = self.path(open.number);
        let result = open.append(definitions);
        if result.is_err() && open.file.truncate(open.len).is_err() {
            // No page can follow what is left there: the next append takes a new file, and the next sync does not know
            // this one any more.
            self.distrusted |= open.file.sync().is_err();
            self.closed.push((open.number, open.len));
        } else {
            self.open = Some(open);
        }
        result.map_err(|error| Error::io("append to", path, error))
    }

    /// Makes all definitions added so far durable.
    ///
    /// # Errors
    ///
    /// The store takes nothing until [`Self::rewrite`] has succeeded: it does not know what became of the definitions
    /// added since the last sync.
    pub(crate) fn sync(&mut self) -> Result<()> {
        if self.distrusted {
            return Err(Error::read_only(
                "the series store must be rewritten after a failed sync",
            ));
        }
        let synced = match &mut self.open {
            Some(open) => open.file.sync(),
            None => Ok(()),
        };
        let path = self.path(self.last_number);
        synced
            .map_err(|error| Error::io("sync", path, error))
            .and_then(|()| self.sync_names())
            .inspect_err(|_| self.distrusted = true)
    }

    /// Tells whether a sync has failed, so that only [`Self::rewrite`] helps.
    pub(crate) fn is_distrusted(&self) -> bool {
        self.distrusted
    }

    /// Replaces everything by these definitions, durably: afterwards, or after a crash, there is all of the old content or
    /// all of the new.
    pub(crate) fn rewrite(
        &mut self,
        live: impl IntoIterator<Item = (u64, SeriesLabels)>,
    ) -> Result<u64> {
        let mut new = self.create_file(true)?;
        let path = self.path(new.number);
        let tmp = tmp(&path);
        let written = new
            .append(live)
            .and_then(|count| new.file.sync().map(|()| count))
            .and_then(|count| self.fs.rename(&tmp, &path).map(|()| count))
            .map_err(|error| {
                // Left-over files of this ending are swept when the database is opened.
                drop(self.fs.remove_file(&tmp));
                Error::io("write", &tmp, error)
            })?;
        let old = self.files().collect::<Vec<_>>();
        self.closed = old;
        self.open = Some(new);
        self.names_unsynced = true;
        self.sync_names()?;
        self.distrusted = false;
        // From here on the old files are not needed. If one stays, its definitions are loaded once more.
        while let Some(&(number, _)) = self.closed.first() {
            let path = self.path(number);
            self.fs
                .remove_file(&path)
                .map_err(|error| Error::io("remove", path, error))?;
            self.closed.remove(0);
            self.names_unsynced = true;
        }
        self.sync_names()?;
        Ok(written)
    }

    /// Returns the bytes of all files.
    pub(crate) fn len_bytes(&self) -> u64 {
        self.files().map(|(_, len)| len).sum()
    }

    fn files(&self) -> impl Iterator<Item = (u64, u64)> {
        let open = self.open.as_ref().map(|open| (open.number, open.len));
        self.closed.iter().copied().chain(open)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(names::numbered(number))
    }

    fn sync_names(&mut self) -> Result<()> {
        if self.names_unsynced {
            self.fs
                .sync_dir(&self.dir)
                .map_err(|error| Error::io("sync", &self.dir, error))?;
            self.names_unsynced = false;
        }
        Ok(())
    }

    /// Creates the next file with its header. Its number is spent even if that fails.
    fn create_file(&mut self, unfinished: bool) -> Result<OpenFile> {
        self.last_number += 1;
        let number = self.last_number;
        let salt = crate::encoding::salt(self.salt_seed, number);
        let name = self.path(number);
        let path = if unfinished { tmp(&name) } else { name };
        let mut file = self
            .fs
            .create(&path)
            .map_err(|error| Error::io("create", &path, error))?;
        let header = FileHeader { salt, number }.encode();
        // The header is durable before a page follows, so that a longer file without one is damage and no torn write.
        let written = file
            .append(&header)
            .and_then(|()| file.sync())
            .map_err(|error| Error::io("write to", &path, error));
        if let Err(error) = written {
            drop(self.fs.remove_file(&path));
            return Err(error);
        }
        self.names_unsynced = true;
        Ok(OpenFile {
            number,
            salt,
            file,
            len: header.len() as u64,
        })
    }

    fn load_file(
        &self,
        number: u64,
        reader: &mut PageReader,
        loaded: &mut Loaded,
        visit: &mut impl FnMut(Definition<'_>),
    ) -> Result<(Option<FileHeader>, u64)> {
        let path = self.path(number);
        let to_error = |error| Error::io("read", &path, error);
        let len = self
            .fs
            .open_read(&path)
            .and_then(|file| file.len())
            .map_err(to_error)?;
        let file = self.fs.map(&path, len).map_err(to_error)?;
        let first = file.bytes(
            0,
            usize::try_from(len.min(SECTOR_BYTES as u64)).unwrap_or(SECTOR_BYTES),
        );
        let header = match FileHeader::decode(&first.map_err(to_error)?) {
            Ok(header) if header.number == number => header,
            Ok(_) | Err(HeaderError::Malformed(_)) => {
                loaded.add_damage(number, Some(0), len, len <= SECTOR_BYTES as u64);
                return Ok((None, len));
            }
            Err(HeaderError::Version(version)) => {
                return Err(Error::unsupported(
                    path,
                    format!("series file of version {version}"),
                ));
            }
        };
        load_pages(&file, header, reader, loaded, visit).map_err(to_error)?;
        Ok((Some(header), len))
    }
}

impl std::fmt::Debug for SeriesStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SeriesStore")
            .field("dir", &self.dir)
            .field("len_bytes", &self.len_bytes())
            .field("distrusted", &self.distrusted)
            .finish_non_exhaustive()
    }
}

impl OpenFile {
    fn append(
        &mut self,
        definitions: impl IntoIterator<Item = (u64, SeriesLabels)>,
    ) -> std::io::Result<u64> {
        let mut definitions = definitions.into_iter();
        let mut writer = PageWriter::new(self.salt);
        let mut batch = Vec::new();
        let mut count = 0;
        loop {
            batch.clear();
            batch.extend(definitions.by_ref().take(BATCH));
            if batch.is_empty() {
                break;
            }
            count += batch.len() as u64;
            for index in cluster(&batch) {
                let (id, labels) = &batch[index as usize];
                writer.push(*id, labels);
                if writer.finished_bytes() >= WRITE_BYTES {
                    self.write(&mut writer)?;
                }
            }
        }
        self.write(&mut writer)?;
        Ok(count)
    }

    fn write(&mut self, writer: &mut PageWriter) -> std::io::Result<()> {
        let pages = writer.finish();
        self.file.append(pages)?;
        self.len += pages.len() as u64;
        writer.clear();
        Ok(())
    }
}

/// Goes through the pages of one file.
fn load_pages(
    file: &MappedFile,
    header: FileHeader,
    reader: &mut PageReader,
    loaded: &mut Loaded,
    visit: &mut impl FnMut(Definition<'_>),
) -> std::io::Result<()> {
    let mut position = SECTOR_BYTES as u64;
    let mut bad: Option<u64> = None;
    while position < file.len() {
        let window_len = (file.len() - position).min(WINDOW_BYTES);
        let window = file.bytes(
            position,
            usize::try_from(window_len).expect("a window is short"),
        )?;
        let is_last = position + window_len == file.len();
        let mut at = 0;
        // The longest page must fit what is left of the window, or it is looked at in the next one.
        while at < window.len() && (is_last || window.len() - at >= FILLED_PAGE_BYTES_MAX) {
            let rest = window.get(at..).unwrap_or_default();
            let read = Page::find(rest, header.salt)
                .and_then(|(page, len)| Some((reader.read(page, &mut *visit).ok()?, len)));
            match read {
                Some((count, len)) => {
                    let end = position + at as u64;
                    loaded.add_damage(header.number, bad.take(), end, false);
                    loaded.definitions += u64::from(count);
                    at += len.next_multiple_of(SECTOR_BYTES);
                }
                None => {
                    bad.get_or_insert(position + at as u64);
                    at += SECTOR_BYTES;
                }
            }
        }
        position += at as u64;
    }
    loaded.add_damage(header.number, bad, file.len(), true);
    Ok(())
}

fn tmp(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(names::TMP);
    name.into()
}

/// Definitions that are put in order together: the series of several large targets. Callers may make labels as they are
/// asked for; four times as many save two per cent of bytes and cost four times the memory.
const BATCH: usize = 1 << 13;

/// Pages go out in writes of about this size.
const WRITE_BYTES: usize = 1 << 20;

/// Bytes read at once where the file is not mapped.
const WINDOW_BYTES: u64 = 1 << 20;
