//! A directory for an example.

use std::path::{Path, PathBuf};

/// A directory for temporary files, of this process alone; removed when the example ends, however it ends.
pub struct ScratchDir(PathBuf);

impl ScratchDir {
    pub fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("tsdb-{name}-{}", std::process::id())))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchDir {
    #[expect(
        clippy::disallowed_methods,
        reason = "an example is not the library, which goes through its own file system"
    )]
    fn drop(&mut self) {
        // What cannot be removed stays among the temporary files, which somebody else clears.
        drop(std::fs::remove_dir_all(&self.0));
    }
}
