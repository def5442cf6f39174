//! Settled bytes of a file: in memory, or read when asked for.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::sync::Arc;

use memmap2::{Mmap, MmapAsRawDesc, MmapOptions};

use super::ReadFile;

/// The settled first bytes of a file; cloning it shares them.
///
/// The name stays good when the file is renamed or removed: the bytes live as long as the last clone.
#[derive(Clone)]
pub struct MappedFile(Content);

#[derive(Clone)]
enum Content {
    /// Read through the page cache.
    Map(Arc<Mmap>),
    /// Read with a system call each time.
    OnDemand { file: Arc<dyn ReadFile>, len: u64 },
    /// In memory already.
    Owned(Arc<[u8]>),
}

impl MappedFile {
    /// Returns bytes that are in memory already.
    pub fn from_bytes(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(Content::Owned(bytes.into()))
    }

    /// Returns the first `len` bytes of `file`, each to be read when it is asked for.
    pub fn on_demand(file: Arc<dyn ReadFile>, len: u64) -> Self {
        Self(Content::OnDemand { file, len })
    }

    /// Maps the first `len` bytes of a file, which the caller knows to be that long and settled.
    #[expect(
        unsafe_code,
        reason = "mapping saves a copy and a system call per read"
    )]
    pub(super) fn map(file: impl MmapAsRawDesc, len: usize) -> io::Result<Self> {
        if len == 0 {
            // The operating system refuses to map nothing.
            return Ok(Self::from_bytes([]));
        }
        // SAFETY: the mapped bytes must neither change nor go away while somebody reads them. A database maps only what
        // is settled: the prefix of an append-only file whose bytes were written before and which is never cut below it
        // nor written in place (`Fs` has no call that overwrites, and the simulated disk fails a test that cuts a mapped
        // file). The lock on the directory keeps other databases out. A program that ignores the lock and truncates the
        // file can still kill this process, as can a failing device; `IoMode::Read` is for those who must rule it out.
        let map = unsafe { MmapOptions::new().len(len).map(file) }?;
        Ok(Self(Content::Map(Arc::new(map))))
    }

    /// Returns how many bytes there are.
    pub fn len(&self) -> u64 {
        match &self.0 {
            Content::Map(map) => map.len() as u64,
            Content::OnDemand { len, .. } => *len,
            Content::Owned(bytes) => bytes.len() as u64,
        }
    }

    /// Tells whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns `len` bytes from `offset` on, borrowed where they are in memory.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] if that is more than there is, so an offset read from a damaged file is safe to
    /// pass; nothing is allocated before the check. Where bytes are read on demand, also whatever the read answers.
    pub fn bytes(&self, offset: u64, len: usize) -> io::Result<Cow<'_, [u8]>> {
        let inside = offset
            .checked_add(len as u64)
            .is_some_and(|end| end <= self.len());
        if !inside {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{len} bytes at {offset} of a file of {} bytes", self.len()),
            ));
        }
        if let Content::OnDemand { file, .. } = &self.0 {
            let mut buffer = vec![0; len];
            file.read_at(&mut buffer, offset)?;
            return Ok(Cow::Owned(buffer));
        }
        let all = self
            .as_slice()
            .expect("what is not read on demand is in memory");
        // The check above bounds both ends by the length of this very slice.
        Ok(Cow::Borrowed(&all[offset as usize..][..len]))
    }

    /// Returns all bytes if they are in memory, and nothing if they are read on demand.
    pub fn as_slice(&self) -> Option<&[u8]> {
        match &self.0 {
            Content::Map(map) => Some(map),
            Content::Owned(bytes) => Some(bytes),
            Content::OnDemand { .. } => None,
        }
    }
}

impl fmt::Debug for MappedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Content::Map(_) => "Map",
            Content::OnDemand { .. } => "OnDemand",
            Content::Owned(_) => "Owned",
        };
        f.debug_struct("MappedFile")
            .field("kind", &kind)
            .field("len", &self.len())
            .finish()
    }
}
