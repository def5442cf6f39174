//! The documented example and the golden file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::{FileHeader, SECTOR_BYTES};
use super::page::{Page, PageReader, PageWriter};
use super::*;
use crate::fs::{Fs, SimFs};
use crate::labels::Labels;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

/// Reads the bytes of the document's example: the words of two digits at the start of each line.
fn documented() -> Vec<u8> {
    let (_, example) = include_str!("FORMAT.md").split_once("```hex\n").unwrap();
    let (lines, _) = example.split_once("```").unwrap();
    lines
        .lines()
        .flat_map(|line| line.split(' ').take_while(|word| word.len() == 2))
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

#[test]
fn documented_example_is_what_we_read_and_write() {
    let header = FileHeader {
        salt: 0x0102_0304,
        number: 3,
    };
    let all = [
        (7, labels(&[("__name__", "up"), ("job", "node-1")])),
        (8, labels(&[("__name__", "up"), ("job", "node-2")])),
    ];
    let mut writer = PageWriter::new(header.salt);
    for (id, labels) in &all {
        writer.push(*id, &labels.into());
    }
    let mut sector = documented();
    let page = sector.split_off(64);
    let mut written = writer.finish().to_vec();
    assert!(written.split_off(page.len()).iter().all(|&byte| byte == 0));
    assert_eq!(written, page);
    sector.resize(SECTOR_BYTES, 0);
    assert_eq!(header.encode(), sector);

    assert_eq!(FileHeader::decode(&documented()), Ok(header));
    let (found, len) = Page::find(&page, header.salt).unwrap();
    assert_eq!(len, page.len());
    let mut definitions = Vec::new();
    PageReader::default()
        .read(found, |definition| {
            definitions.push((definition.id(), definition.labels()));
        })
        .unwrap();
    assert_eq!(definitions, all);
}

fn golden_definitions() -> Vec<(u64, Labels)> {
    let mut all = Vec::new();
    for (index, pod) in ["api-0", "api-1", "db-0", "caf\u{e9}"]
        .into_iter()
        .enumerate()
    {
        for metric in ["cpu_seconds_total", "memory_bytes", "up"] {
            let id = all.len() as u64 * 3 + 1;
            let zone = if index % 2 == 0 { "a" } else { "b" };
            all.push((
                id,
                labels(&[("__name__", metric), ("pod", pod), ("zone", zone)]),
            ));
        }
        all.push((1000 - index as u64, labels(&[("lone", pod)])));
    }
    all
}

fn golden_file() -> Vec<u8> {
    let fs = SimFs::new();
    let dir = Path::new("series");
    fs.create_dir(dir).unwrap();
    let (mut store, _) = SeriesStore::open(Arc::new(fs.clone()), dir, 1, |_| {}).unwrap();
    let all = golden_definitions();
    store
        .append(all.iter().map(|(id, labels)| (*id, labels.into())))
        .unwrap();
    let file = fs.map(&dir.join("00000001"), store.len_bytes()).unwrap();
    file.as_slice().unwrap().to_vec()
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "golden files are of the source tree, not of a database"
)]
fn golden_file_is_what_we_read_and_write() {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/golden/v1/series.bin"]
        .iter()
        .collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, golden_file()).unwrap();
    }
    let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(golden_file(), golden);

    let fs = SimFs::new();
    fs.create_dir(Path::new("series")).unwrap();
    let mut file = fs.create(Path::new("series/00000001")).unwrap();
    file.append(&golden).unwrap();
    let mut found = Vec::new();
    SeriesStore::open(Arc::new(fs), Path::new("series"), 1, |definition| {
        found.push((definition.id(), definition.labels()));
    })
    .unwrap();
    assert_eq!(found, golden_definitions());
}
