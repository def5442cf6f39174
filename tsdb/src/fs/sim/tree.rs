//! Files and directories in memory, and the operations that change them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Identity of a file or directory, whatever its names are: its place in [`Tree::nodes`].
pub(super) type Inode = usize;

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) dir: Inode,
    pub(super) name: String,
}

/// One step in the life of a file system.
#[derive(Debug, Clone)]
pub(super) enum Op {
    /// Something that failed and left nothing behind, or a sync that was ignored.
    Nothing,
    Create {
        at: Slot,
        inode: Inode,
    },
    Mkdir {
        at: Slot,
        inode: Inode,
    },
    Link {
        at: Slot,
        inode: Inode,
    },
    Rename {
        from: Slot,
        to: Slot,
        inode: Inode,
    },
    Unlink {
        at: Slot,
    },
    Rmdir {
        at: Slot,
    },
    Append {
        inode: Inode,
        offset: u64,
        bytes: Arc<[u8]>,
    },
    Truncate {
        inode: Inode,
        len: u64,
    },
    SyncFile {
        inode: Inode,
    },
    SyncDir {
        dir: Inode,
    },
    /// A sync failed: the bytes from `offset` on up to `end` are gone, and the pages count as written.
    Lose {
        inode: Inode,
        offset: u64,
        end: u64,
    },
    /// The medium turned a bit over.
    FlipBit {
        inode: Inode,
        bit: u64,
    },
    /// The medium, or somebody, cut the file.
    Cut {
        inode: Inode,
        len: u64,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone)]
enum Node {
    File(Vec<u8>),
    Dir(BTreeMap<String, Inode>),
}

impl Tree {
    /// Returns a tree of an empty root directory.
    pub(super) fn new() -> Self {
        Self {
            nodes: vec![Node::Dir(BTreeMap::new())],
        }
    }

    /// Returns the identity the next file or directory gets.
    pub(super) fn next_inode(&self) -> Inode {
        self.nodes.len()
    }

    pub(super) fn apply(&mut self, op: &Op) {
        self.allocate(op);
        match op {
            Op::Nothing | Op::SyncFile { .. } | Op::SyncDir { .. } => {}
            Op::Create { at, inode } | Op::Mkdir { at, inode } | Op::Link { at, inode } => {
                self.names(at.dir).insert(at.name.clone(), *inode);
            }
            Op::Rename { from, to, inode } => {
                self.names(from.dir).remove(&from.name);
                self.names(to.dir).insert(to.name.clone(), *inode);
            }
            Op::Unlink { at } | Op::Rmdir { at } => {
                self.names(at.dir).remove(&at.name);
            }
            Op::Append {
                inode,
                offset,
                bytes,
            } => self.write(*inode, *offset, bytes),
            Op::Truncate { inode, len } => self.content(*inode).resize(*len as usize, 0),
            Op::Lose { inode, offset, end } => {
                let content = self.content(*inode);
                let end = content.len().min(*end as usize);
                if let Some(lost) = content.get_mut(*offset as usize..end) {
                    lost.fill(0);
                }
            }
            Op::FlipBit { inode, bit } => {
                if let Some(byte) = self.content(*inode).get_mut((bit / 8) as usize) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            Op::Cut { inode, len } => self.content(*inode).truncate(*len as usize),
        }
    }

    /// Makes room for what `op` creates without giving it a name: later operations speak of it whether it has one or not.
    pub(super) fn allocate(&mut self, op: &Op) {
        let (inode, node) = match op {
            Op::Create { inode, .. } => (*inode, Node::File(Vec::new())),
            Op::Mkdir { inode, .. } => (*inode, Node::Dir(BTreeMap::new())),
            _ => return,
        };
        assert_eq!(
            inode,
            self.nodes.len(),
            "operations are replayed in the order they were logged"
        );
        self.nodes.push(node);
    }

    /// Writes at `offset`; a gap before it reads as zeros.
    pub(super) fn write(&mut self, inode: Inode, offset: u64, bytes: &[u8]) {
        let content = self.content(inode);
        let offset = offset as usize;
        let end = offset + bytes.len();
        if content.len() < end {
            content.resize(end, 0);
        }
        content[offset..end].copy_from_slice(bytes);
    }

    pub(super) fn resolve(&self, path: &Path) -> io::Result<Inode> {
        let mut inode = ROOT;
        for component in path.components() {
            inode = match component {
                Component::RootDir | Component::CurDir => inode,
                Component::Normal(name) => self
                    .dir(inode)?
                    .get(&*name.to_string_lossy())
                    .copied()
                    .ok_or(io::ErrorKind::NotFound)?,
                Component::ParentDir | Component::Prefix(_) => {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
            };
        }
        Ok(inode)
    }

    pub(super) fn resolve_file(&self, path: &Path) -> io::Result<Inode> {
        let inode = self.resolve(path)?;
        self.file(inode)?;
        Ok(inode)
    }

    /// Returns the place of `path` in its directory, which must exist; the name itself need not.
    pub(super) fn slot(&self, path: &Path) -> io::Result<Slot> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let dir = self.resolve(path.parent().unwrap_or(Path::new("")))?;
        self.dir(dir)?;
        Ok(Slot {
            dir,
            name: name.to_string_lossy().into_owned(),
        })
    }

    pub(super) fn lookup(&self, slot: &Slot) -> Option<Inode> {
        self.dir(slot.dir).ok()?.get(&slot.name).copied()
    }

    pub(super) fn dir(&self, inode: Inode) -> io::Result<&BTreeMap<String, Inode>> {
        match &self.nodes[inode] {
            Node::Dir(names) => Ok(names),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn file(&self, inode: Inode) -> io::Result<&[u8]> {
        match &self.nodes[inode] {
            Node::File(content) => Ok(content),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// Lists everything that can be reached by a name, a directory before what it holds.
    pub(super) fn walk(&self) -> Vec<(PathBuf, Inode)> {
        let mut found = vec![(PathBuf::from("/"), ROOT)];
        let mut next = 0;
        while let Some((path, inode)) = found.get(next).cloned() {
            if let Node::Dir(names) = &self.nodes[inode] {
                found.extend(names.iter().map(|(name, &inode)| (path.join(name), inode)));
            }
            next += 1;
        }
        found
    }

    /// Returns the bytes of all files that have a name.
    pub(super) fn used(&self) -> u64 {
        let inodes: BTreeSet<Inode> = self.walk().into_iter().map(|(_, inode)| inode).collect();
        let bytes = inodes
            .into_iter()
            .filter_map(|inode| self.file(inode).ok())
            .map(<[u8]>::len);
        bytes.sum::<usize>() as u64
    }

    fn names(&mut self, dir: Inode) -> &mut BTreeMap<String, Inode> {
        match &mut self.nodes[dir] {
            Node::Dir(names) => names,
            Node::File(_) => unreachable!("a logged operation names a file where a directory was"),
        }
    }

    fn content(&mut self, inode: Inode) -> &mut Vec<u8> {
        match &mut self.nodes[inode] {
            Node::File(content) => content,
            Node::Dir(_) => unreachable!("a logged operation names a directory where a file was"),
        }
    }
}

const ROOT: Inode = 0;
