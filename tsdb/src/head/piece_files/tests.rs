use std::path::Path;

use super::*;
use crate::fs::{Fault, FaultKind, FaultRepeat, SimFs};
use crate::piece::{PieceEncoder, PieceRow};
use crate::row::{RowEncoder, RowState, RowView};

const RANGE: TimeRange = TimeRange::new(0, 1_000_000);

fn files(fs: &SimFs) -> PieceFiles {
    if !fs.exists(Path::new("/head")).unwrap() {
        fs.create_dir(Path::new("/head")).unwrap();
        fs.sync_dir(Path::new("/")).unwrap();
    }
    PieceFiles::new(Arc::new(fs.clone()), PathBuf::from("/head"), false)
}

fn layout() -> Arc<Layout> {
    Arc::new(Layout::new((1..=20).collect()))
}

/// Returns the piece of one row of 20 series at `timestamp`.
fn piece(timestamp: i64) -> Vec<u8> {
    let values: Vec<f64> = (0..20)
        .map(|series| (timestamp * 7 + series * 31) as f64 / 8.0)
        .collect();
    let mut state = RowState::new(values.len());
    let mut bytes = Vec::new();
    RowEncoder::default().encode(&values, &[], &state, &mut bytes);
    let row = RowView::parse(&bytes, values.len()).unwrap();
    row.apply(&mut state);
    let row = PieceRow {
        timestamp,
        sequence: timestamp as u64,
        row,
    };
    let mut out = Vec::new();
    PieceEncoder::default().encode(1, &layout().to_vec(), &[row], &state, &mut out);
    out
}

fn append(files: &PieceFiles, timestamp: i64) -> Result<Arc<Piece>> {
    files.append(RANGE, &piece(timestamp), &layout())
}

/// Loads all files `known` and returns the timestamps of their pieces, and the damage.
fn load(fs: &SimFs, known: &[PieceFileLen]) -> (PieceFiles, Vec<i64>, Vec<Error>) {
    let files = files(fs);
    let (mut found, mut damage) = (Vec::new(), Vec::new());
    for &file in known {
        files.load(
            file,
            RANGE.end,
            &mut damage,
            |header, piece, damage| match piece.ids(header) {
                Ok(ids) => {
                    assert!(layout().is(&ids));
                    found.push(header.first_timestamp);
                }
                Err(error) => damage.push(error),
            },
        );
    }
    (files, found, damage)
}

fn path(number: u64) -> PathBuf {
    Path::new("/head").join(names::pieces(number))
}

/// The next operation fails, and so do all after it until the disk is well again.
fn fail_from_here(fs: &SimFs, kind: FaultKind) {
    let repeat = FaultRepeat::Forever;
    fs.fail_nth(fs.operations(), Fault { kind, repeat });
}

#[test]
fn flipped_bit_costs_one_piece_and_is_reported() {
    let fs = SimFs::new();
    let written = files(&fs);
    let mut starts = Vec::new();
    for timestamp in 1..=5 {
        starts.push(append(&written, timestamp).unwrap().offset - HEADER_BYTES as u64);
    }
    let known = written.lengths();
    for bit in 0..known[0].len * 8 {
        let hit = starts
            .iter()
            .rposition(|start| bit / 8 >= *start)
            .map(|index| index as i64 + 1);
        fs.flip_bit(&path(1), bit).unwrap();
        let (_, found, damage) = load(&fs, &known);
        let expected: Vec<i64> = (1..=5)
            .filter(|timestamp| Some(*timestamp) != hit)
            .collect();
        assert_eq!(found, expected, "bit {bit}");
        assert_eq!(damage.len(), 1, "bit {bit}: {damage:?}");
        fs.flip_bit(&path(1), bit).unwrap();
    }
}

#[test]
fn cut_file_gives_its_whole_pieces() {
    let fs = SimFs::new();
    let written = files(&fs);
    let ends: Vec<u64> = (1..=5)
        .map(|timestamp| {
            append(&written, timestamp).unwrap();
            written.lengths()[0].len
        })
        .collect();
    let known = written.lengths();
    for len in (0..known[0].len).rev() {
        fs.truncate_file(&path(1), len).unwrap();
        let (loaded, found, damage) = load(&fs, &known);
        let whole = ends.iter().filter(|end| **end <= len).count() as i64;
        assert_eq!(found, (1..=whole).collect::<Vec<i64>>(), "cut at {len}");
        assert!(!damage.is_empty(), "cut at {len}");
        assert_eq!(loaded.lengths(), [PieceFileLen { number: 1, len }]);
    }
}

#[test]
fn short_append_leaves_no_trace() {
    let fs = SimFs::new();
    let written = files(&fs);
    append(&written, 1).unwrap();
    let fault = Fault {
        kind: FaultKind::ShortWrite,
        repeat: FaultRepeat::Once,
    };
    fs.fail_nth(fs.operations(), fault);
    assert!(append(&written, 2).is_err());
    fs.heal();
    append(&written, 3).unwrap();
    let (_, found, damage) = load(&fs, &written.lengths());
    assert_eq!((found, damage.len()), (vec![1, 3], 0));
}

#[test]
fn closed_file_is_synced_and_named() {
    let fs = SimFs::new();
    let written = files(&fs);
    append(&written, 1).unwrap();
    // Neither the piece nor the cut behind it works: the file takes no more.
    fail_from_here(&fs, FaultKind::ShortWrite);
    assert!(append(&written, 2).is_err());
    fs.heal();
    append(&written, 3).unwrap();
    written.sync().unwrap();
    let known = written.lengths();
    let left = fs.crash(crate::fs::CrashChoice::None);
    let (_, found, damage) = load(&left, &known);
    assert_eq!((found, damage.len()), (vec![1, 3], 0));
}

#[test]
fn file_that_could_not_be_begun_leaves_no_trace() {
    let fs = SimFs::new();
    let written = files(&fs);
    for _ in 0..3 {
        let repeat = FaultRepeat::Once;
        let kind = FaultKind::ShortWrite;
        fs.fail_nth(fs.operations() + 1, Fault { kind, repeat });
        assert!(append(&written, 1).is_err());
        fs.heal();
    }
    assert!(fs.read_dir(Path::new("/head")).unwrap().is_empty());
    append(&written, 1).unwrap();
}

#[test]
fn number_of_a_missing_file_is_not_given_out_again() {
    let fs = SimFs::new();
    let known = PieceFileLen { number: 7, len: 99 };
    let (loaded, found, damage) = load(&fs, &[known]);
    assert_eq!((found.len(), damage.len()), (0, 1));
    append(&loaded, 1).unwrap();
    assert_eq!(loaded.lengths()[0].number, 8);
}

#[test]
fn released_file_stays_until_a_checkpoint_names_it_no_more() {
    let fs = SimFs::new();
    let written = files(&fs);
    let piece = append(&written, 1).unwrap();
    written.release_before(RANGE.end);
    assert_eq!(written.lengths(), []);
    assert!(fs.exists(&path(1)).unwrap());
    written.remove_released().unwrap();
    assert!(!fs.exists(&path(1)).unwrap());
    // Whoever reads it goes on.
    piece.verify().unwrap();
}

#[test]
fn pieces_of_a_distrusted_file_move_before_it_goes() {
    let fs = SimFs::new();
    let written = files(&fs);
    let piece = append(&written, 1).unwrap();
    written.sync().unwrap();
    let before = written.lengths();
    append(&written, 2).unwrap();
    fail_from_here(&fs, FaultKind::Eio);
    assert!(written.sync().is_err());
    fs.heal();
    assert!(written.are_distrusted());
    let copy = piece.copy(&written).unwrap();
    assert!(!copy.is_distrusted());
    written.release_distrusted();
    // A crash now finds the checkpoint from before, and what it names.
    let (_, found, damage) = load(&fs.crash(crate::fs::CrashChoice::None), &before);
    assert_eq!((found, damage.len()), (vec![1], 0));
    written.sync().unwrap();
    let after = written.lengths();
    written.remove_released().unwrap();
    let (_, found, damage) = load(&fs.crash(crate::fs::CrashChoice::None), &after);
    assert_eq!((found, damage.len()), (vec![1], 0));
}

#[test]
fn failed_sync_of_the_directory_distrusts_files_without_a_name() {
    let fs = SimFs::new();
    let written = files(&fs);
    append(&written, 1).unwrap();
    // The file is synced, the directory is not.
    let repeat = FaultRepeat::Once;
    let kind = FaultKind::Eio;
    fs.fail_nth(fs.operations() + 1, Fault { kind, repeat });
    assert!(written.sync().is_err());
    fs.heal();
    assert!(written.are_distrusted());
}
