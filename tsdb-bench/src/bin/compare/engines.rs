//! The programs that are compared: this library's workload, and the drivers of peers in `peers/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use tsdb_bench::Result;

use crate::machine::output;
use crate::result::OURS;

/// A program that knows the verbs of the workloads.
#[derive(Debug, Clone)]
pub struct Engine {
    pub name: String,
    pub program: PathBuf,
    /// Of the storage, not of the driver.
    pub version: String,
    /// Whether a kill loses nothing.
    pub has_log: bool,
    /// Whether what is read are the very bits that were written.
    pub is_exact: bool,
}

/// Returns the root of the repository.
pub fn repository() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// Builds this library's workload, beside the running program and in its profile.
pub fn ours() -> Result<Engine> {
    let program = std::env::current_exe()?;
    let dir = program.parent().ok_or("a program without a directory")?;
    let is_release = dir.ends_with("release");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(repository())
        .args(["build", "--quiet", "-p", "tsdb-bench", "--bin", "workload"])
        .args(is_release.then_some("--release"));
    if let Some(target) = dir.parent() {
        command.arg("--target-dir").arg(target);
    }
    if !command.status()?.success() {
        return Err("the workload cannot be built".into());
    }
    let root = repository();
    let root = root.to_string_lossy();
    let commit = output("git", &["-C", &root, "describe", "--always", "--dirty"]);
    let version = env!("CARGO_PKG_VERSION");
    Ok(Engine {
        name: OURS.to_owned(),
        program: dir.join("workload"),
        version: commit.map_or_else(
            || version.to_owned(),
            |commit| format!("{version}, commit {commit}"),
        ),
        has_log: true,
        is_exact: true,
    })
}

/// Builds the driver of a peer below `dir`; a reason if that cannot be done here.
pub fn peer(name: &str, dir: &Path) -> std::result::Result<Engine, String> {
    let source = repository().join("tsdb-bench/peers").join(name);
    let program = dir.join("peers").join(name);
    let (tool, module) = match name {
        "prometheus" => ("go", "github.com/prometheus/prometheus"),
        "victoriametrics" => ("go", "github.com/VictoriaMetrics/VictoriaMetrics"),
        "tsink" => ("cargo", "tsink"),
        _ => return Err("there is no driver for it".to_owned()),
    };
    if !source.is_dir() {
        return Err(format!("{} is missing", source.display()));
    }
    let mut command = Command::new(tool);
    command.current_dir(&source);
    if tool == "go" {
        command
            .args(["build", "-mod=readonly", "-o"])
            .arg(&program)
            .arg(".");
    } else {
        let target = dir.join("peers/target");
        command
            .args(["build", "--release", "--quiet", "--locked", "--target-dir"])
            .arg(target);
    }
    let built = command
        .output()
        .map_err(|error| format!("{tool} cannot be run: {error}"))?;
    if !built.status.success() {
        let text = String::from_utf8_lossy(&built.stderr);
        let last = text.lines().last().unwrap_or("no word of it").to_owned();
        return Err(format!("its driver does not build: {last}"));
    }
    let is_go = tool == "go";
    Ok(Engine {
        name: name.to_owned(),
        program: if is_go {
            program
        } else {
            dir.join("peers/target/release")
                .join(format!("{name}-peer"))
        },
        version: version(&source, module).unwrap_or_else(|| "unknown".to_owned()),
        has_log: name == "prometheus",
        is_exact: name != "victoriametrics",
    })
}

/// Finds the version of a dependency in `go.mod` or `Cargo.toml`.
fn version(source: &Path, module: &str) -> Option<String> {
    let manifest = ["go.mod", "Cargo.toml"];
    let text = manifest
        .iter()
        .find_map(|file| std::fs::read_to_string(source.join(file)).ok())?;
    let mut lines = text
        .lines()
        .map(|line| line.trim().trim_start_matches("require "));
    lines.find_map(|line| {
        let rest = line.strip_prefix(module)?;
        let version = rest.trim_matches(|c: char| c.is_whitespace() || "=\"".contains(c));
        let is_version = version.starts_with(|c: char| c == 'v' || c.is_ascii_digit());
        is_version.then(|| version.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_peers_are_read_from_their_manifests() {
        let peers = repository().join("tsdb-bench/peers");
        let found = version(
            &peers.join("prometheus"),
            "github.com/prometheus/prometheus",
        );
        assert!(found.unwrap().starts_with("v0."));
    }

    #[test]
    fn an_unknown_peer_is_a_reason_and_no_failure() {
        assert!(peer("nobody", Path::new("/nowhere")).is_err());
    }
}
