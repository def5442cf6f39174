//! The `tsdb` command as its users see it.
//!
//! Transcripts under `tests/cli` hold command lines, what they print and how they end. A difference fails;
//! `UPDATE_TRANSCRIPTS=1` writes them anew. Sizes, identities and durations are masked: they are not what is tested.

#![expect(
    clippy::disallowed_methods,
    reason = "scratch directories and transcripts are no part of a database"
)]
#![expect(
    clippy::unwrap_used,
    reason = "what a test sets up works, or the test fails"
)]

use std::fmt::Write;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use regex::Regex;
use tsdb::{Background, Db, Labels, Options, Task};

/// A directory that goes with its owner; commands run in it.
struct Scratch {
    dir: PathBuf,
}

/// How a command ended and what it wrote.
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("cli-{}-{number}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        Self { dir }
    }

    /// Returns a directory with the database `db`: three scrapes in blocks and some samples in the log.
    fn with_database() -> Self {
        let scratch = Self::new();
        for (scrape, time) in [
            (1, "2025-01-01T11:59:45Z"),
            (2, "2025-01-01T12:00:00Z"),
            (3, "2025-01-01T12:00:15Z"),
        ] {
            let file = data(&format!("scrape-{scrape}.prom"));
            let ended = scratch.run(&[
                "import",
                "db",
                &file,
                "--time",
                time,
                "--label",
                "instance=host-1",
            ]);
            assert_eq!(ended.code, 0, "{}", ended.err);
        }
        let db = scratch.open();
        db.flush().unwrap();
        let mut appender = db.appender().unwrap();
        let target = db.target();
        for scrape in 0..4 {
            appender.set_target(&target);
            for job in ["api", "db", "web"] {
                let labels = Labels::from_pairs([("__name__", "up"), ("job", job)]).unwrap();
                appender
                    .append(
                        &labels,
                        1_735_732_830_000 + scrape * 15_000,
                        f64::from(u8::from(scrape != 2)),
                    )
                    .unwrap();
            }
            appender.commit().unwrap();
        }
        // Says in the log that it is synced, so that damage is told from a torn end.
        db.step(Task::Sync).unwrap();
        drop(appender);
        scratch
    }

    fn open(&self) -> Db {
        let options = Options::default()
            .with_background(Background::Manual)
            .with_retention(None);
        Db::open(self.dir.join("db"), options).unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tsdb"));
        command
            .args(args)
            .current_dir(&self.dir)
            .env_remove("COLUMNS")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Ended {
        let output = self.command(args).output().unwrap();
        Ended {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.join(name), text).unwrap();
    }

    /// Flips a bit in the middle of the largest file whose path holds `part`.
    fn damage(&self, part: &str) {
        let files = files_under(&self.dir.join("db"));
        let file = files
            .into_iter()
            .filter(|path| path.to_string_lossy().contains(part))
            .max_by_key(|path| path.metadata().unwrap().len());
        let file = file.unwrap();
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(&file, bytes).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A directory that stays is no failure of what is tested.
        drop(fs::remove_dir_all(&self.dir));
    }
}

/// Runs commands and compares what happens with the transcript `name`.
fn compare(scratch: &Scratch, name: &str, commands: &[&[&str]]) {
    let mut transcript = String::new();
    for args in commands {
        let ended = scratch.run(args);
        let shown: Vec<String> = args.iter().map(|arg| shown(arg)).collect();
        write!(transcript, "$ tsdb {}\n{}", shown.join(" "), ended.out).unwrap();
        if !ended.err.is_empty() {
            write!(transcript, "--- standard error ---\n{}", ended.err).unwrap();
        }
        writeln!(transcript, "--- exit code {} ---\n", ended.code).unwrap();
    }
    let transcript = masked(&transcript);
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cli")
        .join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
        fs::write(&path, &transcript).unwrap();
    }
    let expected =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let pairs = transcript.lines().zip(expected.lines()).enumerate();
    for (index, (line, expected)) in pairs {
        assert_eq!(line, expected, "{}:{}", path.display(), index + 1);
    }
    assert_eq!(
        transcript.lines().count(),
        expected.lines().count(),
        "{}: number of lines",
        path.display()
    );
}

/// Returns an argument as it would be typed.
fn shown(arg: &str) -> String {
    let arg = arg.replace(&data(""), "data/");
    if arg.contains(|c: char| " {}|\"'*".contains(c)) {
        format!("'{arg}'")
    } else {
        arg
    }
}

fn masked(text: &str) -> String {
    let replacements = [
        (
            r"\b01[0-9A-HJKMNP-TV-Z]{24}\b",
            "01MASKED0000000000000000AA",
        ),
        (r" *\b\d+(\.\d)? (B|KiB|MiB)\b", "  <size>"),
        (r#"("[a-z_]*bytes[a-z_]*": )[\d.]+"#, "$1<number>"),
        (r#"("percent": )[\d.]+"#, "$1<number>"),
        (
            r#"("metric": "\w*(?:bytes|duration_seconds)\w*",\n +"value": )[^\n]+"#,
            "$1<number>",
        ),
        (
            r"(?m)^((?:prometheus_)?tsdb_\w*(?:bytes|duration_seconds)\w* +\S+) +\S+",
            "$1  <number>",
        ),
        // Columns of ratios stand last in their tables, behind sizes.
        (r"(?m)(<size>) +\d+\.\d\d$", "$1  <number>"),
        (
            r"(?m)^(bytes per (?:block )?sample) +\d+\.\d\d$",
            "$1  <number>",
        ),
        (r"(?m)(<size>) +\d+\.\d\d +([█·]+)$", "$1  <number>  $2"),
        // What was masked has moved what stands beside it.
        (r"(\S) {2,}", "$1  "),
    ];
    replacements
        .iter()
        .fold(text.to_owned(), |text, (pattern, by)| {
            Regex::new(pattern)
                .unwrap()
                .replace_all(&text, *by)
                .into_owned()
        })
}

fn data(name: &str) -> String {
    format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn files_under(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files_under(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

#[test]
fn info_list_analyze_and_wal_look_as_they_did() {
    let scratch = Scratch::with_database();
    for command in ["info", "list", "wal"] {
        compare(
            &scratch,
            command,
            &[
                &[command, "db", "--output", "table"],
                &[command, "db", "--output", "json"],
            ],
        );
    }
    let analyze = |output| ["analyze", "db", "--limit", "4", "--output", output];
    compare(
        &scratch,
        "analyze",
        &[
            &analyze("table"),
            &analyze("json"),
            &analyze("ndjson"),
            &analyze("csv"),
        ],
    );
}

#[test]
fn stats_look_as_they_did() {
    let scratch = Scratch::with_database();
    compare(
        &scratch,
        "stats",
        &[
            &["stats", "db", "--output", "table"],
            &["stats", "db", "--output", "json"],
        ],
    );
}

#[test]
fn verify_looks_as_it_did() {
    let scratch = Scratch::with_database();
    compare(
        &scratch,
        "verify",
        &[
            &["verify", "db", "--output", "table"],
            &["verify", "db", "--output", "json"],
            &["verify", "db", "--checksums", "--output", "json"],
        ],
    );
}

#[test]
fn query_looks_as_it_did() {
    let scratch = Scratch::with_database();
    let commands: [&[&str]; 9] = [
        &["query", "db", "up{job=~\"api|web\"}", "--output", "table"],
        &["query", "db", "up{job=\"api\"}", "--output", "json"],
        &["query", "db", "up{job!=\"api\"}", "--output", "ndjson"],
        &["query", "db", "up{job=\"api\"}", "--output", "csv"],
        &[
            "query",
            "db",
            "node_load1",
            "--start",
            "2025-01-01T12:00:00Z",
            "--end",
            "1735732800",
            "--output",
            "table",
        ],
        &["query", "db", "node_load1", "--last", "--output", "table"],
        &[
            "query",
            "db",
            "up{job=\"api\"}",
            "--plot",
            "--width",
            "64",
            "--height",
            "4",
        ],
        &["query", "db", "nothing", "--output", "json"],
        &["query", "db", "nothing", "--output", "table"],
    ];
    compare(&scratch, "query", &commands);
}

#[test]
fn dump_and_import_look_as_they_did() {
    let scratch = Scratch::new();
    let import =
        |output| ["import", "db", &data("every.om"), "--output", output].map(str::to_owned);
    let (table, json) = (import("table"), import("json"));
    let commands: [&[&str]; 6] = [
        &table.each_ref().map(String::as_str),
        &json.each_ref().map(String::as_str),
        &["dump", "db"],
        &["dump", "db", "size_bucket", "--output", "table"],
        &["dump", "db", "size_bucket", "--output", "json"],
        &[
            "query",
            "db",
            "{__name__=\"http.server.duration\"}",
            "--output",
            "csv",
        ],
    ];
    compare(&scratch, "dump-import", &commands);
}

#[test]
fn completions_and_man_pages_are_written() {
    let scratch = Scratch::new();
    for shell in ["bash", "zsh", "fish"] {
        let ended = scratch.run(&["completions", shell]);
        assert_eq!(
            (ended.code, ended.out.contains("--output")),
            (0, true),
            "{shell}"
        );
        let ended = scratch.run(&["completions", shell, "--output", "json"]);
        let document: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(document["shell"], shell);
    }
    for command in [&["man"][..], &["man", "query"]] {
        let ended = scratch.run(command);
        assert_eq!((ended.code, ended.out.contains(".SH SYNOPSIS")), (0, true));
    }
    let ended = scratch.run(&["man", "query", "--output", "json"]);
    let document: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(document["file"], "tsdb-query.1");
    assert_eq!(scratch.run(&["man", "nothing"]).code, 1);
}

#[test]
fn help_looks_as_it_did() {
    let scratch = Scratch::new();
    let commands = [
        "info",
        "list",
        "analyze",
        "query",
        "dump",
        "import",
        "verify",
        "wal",
        "stats",
        "completions",
        "man",
    ];
    let mut lines = vec![vec!["--help"]];
    lines.extend(commands.iter().map(|command| vec![*command, "--help"]));
    let lines: Vec<&[&str]> = lines.iter().map(Vec::as_slice).collect();
    compare(&scratch, "help", &lines);
}

#[test]
fn wrong_command_lines_end_with_2_and_failures_with_1() {
    let scratch = Scratch::new();
    scratch.write("bad.prom", "a 1\nb{c=\"d\" 2\n");
    scratch.write("cut.om", "a 1 1735732800\n");
    scratch.write("future.prom", "a 1 4102444800000\n");
    scratch.write("differs.prom", "a 1 1735732800000\na 2 1735732800000\n");
    let commands: [&[&str]; 13] = [
        &["query", "db", "up{"],
        &["query", "db", "up", "--start", "yesterday"],
        &["list", "db", "--output", "yaml"],
        &["query", "db", "up", "--width", "64"],
        &["info", "db"],
        &["wal", "db"],
        &["import", "db", "missing.prom"],
        &["import", "db", "bad.prom"],
        &["import", "db", "cut.om", "--format", "openmetrics"],
        &["import", "db", "bad.prom", "--label", "=x"],
        &["import", "db", "future.prom", "--output", "table"],
        &["import", "db", "differs.prom", "--output", "table"],
        &["query", "db", "a", "--output", "csv"],
    ];
    compare(&scratch, "errors", &commands);
}

#[test]
fn damage_of_a_block_ends_verify_with_3() {
    for part in ["chunks", "index", "meta"] {
        let scratch = Scratch::with_database();
        scratch.damage(part);
        let ended = scratch.run(&["verify", "db", "--output", "json"]);
        assert_eq!(ended.code, 3, "{part}: {}", ended.out);
        let report: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
        let damage = report["damage"].as_array().unwrap();
        assert_eq!(report["checked"]["damaged"], damage.len(), "{part}");
        let message = damage[0]["damage"].as_str().unwrap();
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn damage_of_the_log_ends_verify_and_wal_with_3() {
    let scratch = Scratch::with_database();
    scratch.damage("log");
    for command in ["verify", "wal"] {
        let ended = scratch.run(&[command, "db", "--output", "json"]);
        assert_eq!(ended.code, 3, "{command}: {}", ended.out);
        let report: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
        let damage = report["damage"].as_array().unwrap();
        assert!(
            damage[0]["damage"]
                .as_str()
                .unwrap()
                .contains("are lost in"),
            "{command}: {}",
            ended.out
        );
    }
    let ended = scratch.run(&["query", "db", "up", "--output", "csv"]);
    assert_eq!(ended.code, 3);
    assert!(
        ended.err.starts_with("warning: corrupted file"),
        "{}",
        ended.err
    );
}

#[test]
fn dump_of_an_imported_dump_is_the_same_dump() {
    let scratch = Scratch::with_database();
    assert_eq!(scratch.run(&["import", "db", &data("every.om")]).code, 0);
    let first = scratch.run(&["dump", "db"]);
    assert_eq!(first.code, 0);
    scratch.write("dump.om", &first.out);
    assert_eq!(scratch.run(&["import", "copy", "dump.om"]).code, 0);
    let second = scratch.run(&["dump", "copy"]);
    assert_eq!(second.out.lines().count(), first.out.lines().count());
    assert!(first.out == second.out);
}

#[test]
fn import_takes_any_order_and_says_so_twice() {
    let scratch = Scratch::new();
    let line = |hour: i64| format!("a {hour} {}\n", 1_735_732_800_000 - hour * 3_600_000);
    scratch.write("down.prom", &(0..200).map(line).collect::<String>());
    scratch.write("up.prom", &(0..200).rev().map(line).collect::<String>());
    for file in ["down.prom", "up.prom"] {
        let ended = scratch.run(&["import", "db", file, "--output", "json"]);
        assert_eq!(ended.code, 0, "{}", ended.err);
        let report: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(
            (&report["samples"], &report["refused"]),
            (&200.into(), &0.into())
        );
    }
    assert_eq!(
        scratch
            .run(&["query", "db", "a", "--output", "csv"])
            .out
            .lines()
            .count(),
        201
    );
}

#[test]
fn readers_work_beside_a_writer_and_a_second_writer_does_not() {
    let scratch = Scratch::with_database();
    let db = scratch.open();
    for command in [
        &["info", "db"][..],
        &["list", "db"],
        &["query", "db", "up"],
        &["dump", "db"],
        &["verify", "db"],
        &["wal", "db"],
    ] {
        let ended = scratch.run(command);
        assert_eq!(ended.code, 0, "{command:?}: {}", ended.err);
    }
    let ended = scratch.run(&["import", "db", &data("every.om")]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.err.contains("another process has this database open"),
        "{}",
        ended.err
    );
    drop(db);
}

#[test]
fn closed_pipe_is_no_failure() {
    let scratch = Scratch::with_database();
    let mut child = scratch
        .command(&["dump", "db"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut start = [0; 16];
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut start).unwrap();
    drop(out);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.stderr.is_empty());
}
