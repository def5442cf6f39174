//! Changes made of several steps: replacing a file as a whole, removing a tree, sweeping up what a crash left.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::names::TMP;
use super::{AppendFile, Fs};

/// Makes `bytes` the content of `path`: afterwards, and after any crash, the file has its old content or all of the new.
///
/// Durable when it returns. After an error the file has the old content, or the new one without being durable.
pub(crate) fn replace(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_by(fs, path, |file| file.append(bytes))
}

/// Makes what `write` appends the content of `path`, as [`replace`] does it.
pub(crate) fn replace_by(
    fs: &dyn Fs,
    path: &Path,
    write: impl FnOnce(&mut dyn AppendFile) -> io::Result<()>,
) -> io::Result<()> {
    let tmp = tmp_path(path);
    let written = write_new(fs, &tmp, write).and_then(|()| fs.rename(&tmp, path));
    if let Err(error) = written {
        // The first error is the one to report. A leftover takes room until the next call or sweep and harms nobody.
        drop(fs.remove_file(&tmp));
        return Err(error);
    }
    fs.sync_dir(parent(path))
}

/// Removes what unfinished work left in `dir`: files and directories that end in `.tmp`. Returns how many.
///
/// Nothing is synced: what comes back after a crash is swept up again.
pub(crate) fn sweep_tmp(fs: &dyn Fs, dir: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs.read_dir(dir)? {
        if !entry.name.ends_with(TMP) {
            continue;
        }
        let path = dir.join(&entry.name);
        if entry.is_dir {
            remove_tree(fs, &path)?;
        } else {
            fs.remove_file(&path)?;
        }
        count += 1;
    }
    Ok(count)
}

/// Removes a directory and everything in it. A crash leaves some of it, so give it a name that says so before.
pub(crate) fn remove_tree(fs: &dyn Fs, dir: &Path) -> io::Result<()> {
    for entry in fs.read_dir(dir)? {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            remove_tree(fs, &path)?;
        } else {
            fs.remove_file(&path)?;
        }
    }
    fs.remove_dir(dir)
}

fn write_new(
    fs: &dyn Fs,
    path: &Path,
    write: impl FnOnce(&mut dyn AppendFile) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = match fs.create(path) {
        // Left by a crash or by a replacement that failed.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs.remove_file(path)?;
            fs.create(path)?
        }
        created => created?,
    };
    write(&mut *file)?;
    file.sync()
}

fn tmp_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(TMP);
    PathBuf::from(name)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        // A bare name lies in the working directory.
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}
