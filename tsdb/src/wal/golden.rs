//! The documented example and the golden segment.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::{FrameHeader, SEGMENT_HEADERS_BYTES, SegmentHeader, body_crc};
use super::scan::{FrameRef, scan};
use super::*;
use crate::fs::{Fs, SimFs};

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
    let header = SegmentHeader {
        number: 7,
        salt: 0x0102_0304,
        continues: false,
        first_sequence: 100,
        previous: 99,
        known_synced: 98,
    };
    let frame = |body: &[u8], sequence_offset, distance| FrameHeader {
        body_len: body.len() as u32,
        sequence_offset,
        distance,
        body_crc: body_crc(body),
    };
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(&frame(b"row", 0, 2).encode(header.salt));
    bytes.extend_from_slice(b"row");
    bytes.extend_from_slice(&frame(b"", 1, 1).encode(header.salt));
    bytes.extend_from_slice(&frame(b"", 2, 2).encode(header.salt));
    assert_eq!(bytes, documented());

    assert_eq!(SegmentHeader::decode(&documented()), Ok(header));
    let found = scan(&documented(), &header);
    let offset = SEGMENT_HEADERS_BYTES as u32 + 20;
    let frame = |sequence_offset, offset, len| FrameRef {
        sequence_offset,
        offset,
        len,
    };
    assert_eq!(
        found.frames,
        [
            frame(0, offset, 3),
            frame(1, offset + 23, 0),
            frame(2, offset + 43, 0)
        ]
    );
    assert_eq!((found.known_synced, found.bad), (100, vec![]));
}

/// Writes three commits, a sync with its mark, and two more commits.
fn golden_segment() -> Vec<u8> {
    let fs = SimFs::new();
    let dir = Path::new("log");
    fs.create_dir(dir).unwrap();
    let config = WalConfig {
        segment_bytes: 1 << 20,
        unsynced_bytes: 1 << 20,
        sync_due_bytes: 1 << 18,
        salt_seed: 1,
    };
    let start = read_log(&fs, dir, 0, Writers::None).unwrap().start();
    let wal = Wal::open(Arc::new(fs.clone()), dir, config, start).unwrap();
    for index in 0..5u8 {
        let mut frame = FrameBuffer::new();
        frame.out().extend((0..=index).map(|byte| byte * 37));
        wal.append(&mut frame, 1, 0).unwrap();
        if index == 2 {
            wal.sync().unwrap();
            wal.note_synced().unwrap();
        }
    }
    let file = fs.map(&dir.join("00000001"), wal.size_bytes()).unwrap();
    file.as_slice().unwrap().to_vec()
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "golden files are of the source tree, not of a database"
)]
fn golden_segment_is_what_we_read_and_write() {
    let path: PathBuf = [
        env!("CARGO_MANIFEST_DIR"),
        "tests/golden/v1/log-segment.bin",
    ]
    .iter()
    .collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, golden_segment()).unwrap();
    }
    let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(golden_segment(), golden);

    let fs = SimFs::new();
    fs.create_dir(Path::new("log")).unwrap();
    let mut file = fs.create(Path::new("log/00000001")).unwrap();
    file.append(&golden).unwrap();
    let log = read_log(&fs, Path::new("log"), 0, Writers::None).unwrap();
    let mut found = Vec::new();
    log.for_each(|_segment, sequence, body| {
        found.push((sequence, body.to_vec()));
        Ok(())
    })
    .unwrap();
    let body = |len: u8| (0..len).map(|byte| byte * 37).collect::<Vec<u8>>();
    assert_eq!(
        found,
        [
            (1, body(1)),
            (2, body(2)),
            (3, body(3)),
            (6, body(4)),
            (7, body(5))
        ]
    );
    assert_eq!((log.known_synced(), log.last_sequence()), (3, 7));
}
