//! What every [`Fs`] has to do, run on the real disk and on the simulated one.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

#[test]
fn simulated_disk_keeps_the_contract() {
    check(&SimFs::new(), Path::new("/"));
}

#[test]
fn real_disk_with_memory_maps_keeps_the_contract() {
    let dir = TempDir::new();
    check(&DiskFs::new(IoMode::Map), &dir.0);
}

#[test]
fn real_disk_with_reads_keeps_the_contract() {
    let dir = TempDir::new();
    check(&DiskFs::new(IoMode::Read), &dir.0);
}

#[test]
fn what_the_real_disk_creates_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new();
    let fs = DiskFs::default();
    fs.create_dir(&dir.0.join("d")).unwrap();
    drop(fs.create(&dir.0.join("f")).unwrap());
    drop(fs.lock(&dir.0.join("l"), LockMode::Exclusive).unwrap());
    for (name, expected) in [("d", 0o700), ("f", 0o600), ("l", 0o600)] {
        let mode = std::fs::metadata(dir.0.join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, expected, "{name}");
    }
}

/// Everything below, in a directory that is empty before.
fn check(fs: &dyn Fs, root: &Path) {
    for (name, body) in [
        ("files", files as fn(&dyn Fs, &Path)),
        ("cuts", cuts),
        ("maps", maps),
        ("names", names_change),
        ("dirs", dirs),
        ("locks", locks),
        ("replaces", replaces),
        ("sweeps", sweeps),
    ] {
        let dir = root.join(name);
        fs.create_dir(&dir).unwrap();
        body(fs, &dir);
    }
    assert!(fs.free_space(root).unwrap() > 0);
}

fn files(fs: &dyn Fs, dir: &Path) {
    let path = dir.join("a");
    assert_eq!(kind(fs.open_append(&path)), ErrorKind::NotFound);
    assert_eq!(kind(fs.open_read(&path)), ErrorKind::NotFound);
    assert!(!fs.exists(&path).unwrap());

    let mut file = fs.create(&path).unwrap();
    assert!(file.is_empty());
    file.append(b"hello ").unwrap();
    file.append(b"world").unwrap();
    assert_eq!(file.len(), 11);
    file.sync().unwrap();
    fs.sync_dir(dir).unwrap();
    assert_eq!(kind(fs.create(&path)), ErrorKind::AlreadyExists);
    assert!(fs.exists(&path).unwrap());

    let reader = fs.open_read(&path).unwrap();
    let mut buffer = [0; 5];
    reader.read_at(&mut buffer, 6).unwrap();
    assert_eq!(&buffer, b"world");
    assert_eq!(
        kind(reader.read_at(&mut buffer, 7)),
        ErrorKind::UnexpectedEof
    );
    assert_eq!(
        kind(reader.read_at(&mut buffer, 700)),
        ErrorKind::UnexpectedEof
    );

    let mut again = fs.open_append(&path).unwrap();
    assert_eq!(again.len(), 11);
    again.append(b"!").unwrap();
    assert_eq!(reader.len().unwrap(), 12);
}

fn cuts(fs: &dyn Fs, dir: &Path) {
    let path = dir.join("a");
    let mut file = fs.create(&path).unwrap();
    file.append(b"0123456789").unwrap();
    file.truncate(4).unwrap();
    assert_eq!(file.len(), 4);
    assert_eq!(kind(file.truncate(5)), ErrorKind::InvalidInput);
    file.append(b"x").unwrap();
    assert_eq!(content(fs, &path), b"0123x");
}

fn maps(fs: &dyn Fs, dir: &Path) {
    let path = dir.join("a");
    write(fs, &path, b"0123456789");
    let map = fs.map(&path, 8).unwrap();
    assert_eq!(map.len(), 8);
    assert_eq!(&*map.bytes(0, 8).unwrap(), b"01234567");
    assert_eq!(&*map.bytes(3, 2).unwrap(), b"34");
    assert_eq!(&*map.bytes(8, 0).unwrap(), b"");
    for (offset, len) in [(0, 9), (8, 1), (9, 0), (u64::MAX, 1), (1, usize::MAX)] {
        assert_eq!(
            kind(map.bytes(offset, len)),
            ErrorKind::UnexpectedEof,
            "{offset} {len}"
        );
    }
    if let Some(all) = map.as_slice() {
        assert_eq!(all, b"01234567");
    }
    assert_eq!(kind(fs.map(&path, 11)), ErrorKind::UnexpectedEof);

    let empty = fs.map(&path, 0).unwrap();
    assert!(empty.is_empty());
    assert_eq!(&*empty.bytes(0, 0).unwrap(), b"");

    // Growing and removing the file does not concern who has mapped it.
    fs.open_append(&path).unwrap().append(b"more").unwrap();
    fs.remove_file(&path).unwrap();
    let other = map.clone();
    drop(map);
    assert_eq!(&*other.bytes(0, 8).unwrap(), b"01234567");
}

fn names_change(fs: &dyn Fs, dir: &Path) {
    let [a, b, c] = ["a", "b", "c"].map(|name| dir.join(name));
    write(fs, &a, b"one");
    write(fs, &b, b"two");
    assert_eq!(kind(fs.rename(&c, &a)), ErrorKind::NotFound);
    fs.rename(&a, &b).unwrap();
    assert_eq!(content(fs, &b), b"one");
    assert!(!fs.exists(&a).unwrap());

    fs.hard_link(&b, &c).unwrap();
    assert_eq!(kind(fs.hard_link(&b, &c)), ErrorKind::AlreadyExists);
    fs.open_append(&c).unwrap().append(b"!").unwrap();
    fs.remove_file(&b).unwrap();
    assert_eq!(content(fs, &c), b"one!");
    assert_eq!(kind(fs.remove_file(&b)), ErrorKind::NotFound);
}

fn dirs(fs: &dyn Fs, dir: &Path) {
    let sub = dir.join("sub");
    fs.create_dir(&sub).unwrap();
    assert_eq!(kind(fs.create_dir(&sub)), ErrorKind::AlreadyExists);
    assert_eq!(kind(fs.create_dir(&dir.join("x/y"))), ErrorKind::NotFound);
    write(fs, &sub.join("f"), b"12345");
    write(fs, &dir.join("z"), b"");
    write(fs, &dir.join("a"), b"1");
    let entry = |name: &str, is_dir, len| DirEntry {
        name: name.to_owned(),
        is_dir,
        len,
    };
    let expected = [
        entry("a", false, 1),
        entry("sub", true, 0),
        entry("z", false, 0),
    ];
    assert_eq!(fs.read_dir(dir).unwrap(), expected);
    assert_eq!(kind(fs.remove_dir(&sub)), ErrorKind::DirectoryNotEmpty);
    assert_eq!(kind(fs.read_dir(&dir.join("none"))), ErrorKind::NotFound);

    let moved = dir.join("moved");
    fs.rename(&sub, &moved).unwrap();
    assert_eq!(content(fs, &moved.join("f")), b"12345");
    remove_tree(fs, &moved).unwrap();
    assert!(!fs.exists(&moved).unwrap());
}

fn locks(fs: &dyn Fs, dir: &Path) {
    let path = dir.join(names::LOCK);
    let held = fs.lock(&path, LockMode::Exclusive).unwrap();
    for mode in [LockMode::Exclusive, LockMode::Shared] {
        assert_eq!(kind(fs.lock(&path, mode)), ErrorKind::WouldBlock);
    }
    drop(held);
    let first = fs.lock(&path, LockMode::Shared).unwrap();
    let second = fs.lock(&path, LockMode::Shared).unwrap();
    drop(first);
    assert_eq!(
        kind(fs.lock(&path, LockMode::Exclusive)),
        ErrorKind::WouldBlock
    );
    drop(second);
    drop(fs.lock(&path, LockMode::Exclusive).unwrap());
}

fn replaces(fs: &dyn Fs, dir: &Path) {
    let path = dir.join(names::CHECKPOINT);
    write(fs, &dir.join("checkpoint.tmp"), b"left by a crash");
    for bytes in [b"one", b"two"] {
        replace(fs, &path, bytes).unwrap();
        assert_eq!(content(fs, &path), bytes);
    }
    assert_eq!(fs.read_dir(dir).unwrap().len(), 1);
}

fn sweeps(fs: &dyn Fs, dir: &Path) {
    write(fs, &dir.join("keep"), b"");
    write(fs, &dir.join("file.tmp"), b"");
    fs.create_dir(&dir.join("dir.tmp")).unwrap();
    write(fs, &dir.join("dir.tmp/inside"), b"");
    assert_eq!(sweep_tmp(fs, dir).unwrap(), 2);
    assert_eq!(fs.read_dir(dir).unwrap().len(), 1);
    assert_eq!(sweep_tmp(fs, dir).unwrap(), 0);
}

fn write(fs: &dyn Fs, path: &Path, bytes: &[u8]) {
    fs.create(path).unwrap().append(bytes).unwrap();
}

fn content(fs: &dyn Fs, path: &Path) -> Vec<u8> {
    let reader = fs.open_read(path).unwrap();
    let mut buffer = vec![0; reader.len().unwrap() as usize];
    reader.read_at(&mut buffer, 0).unwrap();
    buffer
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    result.err().expect("an error is expected").kind()
}

/// A directory of the real disk, removed with its content.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Relaxed: the number only has to differ.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tsdb-fs-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        DiskFs::default().create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A test that failed is to be reported, not what it left behind.
        drop(remove_tree(&DiskFs::default(), &self.0));
    }
}
