//! A child process is killed while it appends and sends; its parent receives, and misses nothing.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise; the child tells its parent what it did; the disk is the real one"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tsdb::remote::SenderOptions;
use tsdb::remote::transport::{Credentials, HttpTransport};
use tsdb::remote::wire::{Compression, Message, SAMPLES_WRITTEN_HEADER, WriteRequest, decompress};
use tsdb::{Db, Labels, Options, Sender, SpoolStart, TimeRange};

/// Name the directory and the receiver to the child; a run without them is the parent's.
const DIR: &str = "TSDB_KILL_SENDER_DIR";
const ADDRESS: &str = "TSDB_KILL_SENDER_ADDRESS";

const SERIES: usize = 40;
const SHARDS: usize = 3;
const BATCH_SAMPLES: usize = 100;
const KILLS: usize = 12;

type Got = BTreeMap<String, Vec<i64>>;

fn open(dir: &Path, address: &str) -> (Db, Sender) {
    let db = Db::open(dir, Options::default().with_retention(None)).unwrap();
    let transport = HttpTransport::new(address, &Credentials::None).unwrap();
    let options = SenderOptions {
        shards: SHARDS,
        batch_samples: BATCH_SAMPLES,
        batch_deadline: Duration::from_millis(1),
        ..SenderOptions::default()
    };
    let sender = db
        .start_sender("parent", SpoolStart::Oldest, Arc::new(transport), options)
        .unwrap();
    (db, sender)
}

/// Not a test by itself: what the child does until it is killed.
#[test]
fn child_appends_and_sends_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let (db, _sender) = open(Path::new(&dir), &std::env::var(ADDRESS).unwrap());
    let names: Vec<Labels> = (0..SERIES)
        .map(|number| format!("metric{{number=\"{number}\"}}").parse().unwrap())
        .collect();
    let mut appender = db.appender().unwrap();
    let first = db.stats().head_max_time.max(1_700_000_000_000) + 1000;
    for timestamp in (first..).step_by(1000) {
        for name in &names {
            appender.append(name, timestamp, timestamp as f64).unwrap();
        }
        assert_eq!(appender.commit().unwrap().rejected, []);
        db.sync().unwrap();
        println!("acknowledged {timestamp}");
    }
}

/// What the parent has received.
#[derive(Default)]
struct Receiver {
    /// In the order of the first arrival.
    got: Got,
    seen: BTreeSet<(String, i64)>,
    repeated: usize,
}

impl Receiver {
    fn serve(receiver: &Mutex<Self>, stream: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let mut len = 0;
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                if reader.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                    len = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; len];
            // Of a request that was cut off nothing is taken.
            reader.read_exact(&mut body)?;
            let stored = receiver.lock().unwrap().take(&body);
            let mut out = stream;
            write!(
                out,
                "HTTP/1.1 204 No Content\r\n{SAMPLES_WRITTEN_HEADER}: {stored}\r\n\r\n"
            )?;
        }
    }

    fn take(&mut self, body: &[u8]) -> usize {
        let body = decompress(Compression::Snappy, body, 1 << 20).unwrap();
        let request = WriteRequest::parse(Message::V2, &body).unwrap();
        let mut stored = 0;
        for series in request.series() {
            let name = series.labels().unwrap().to_string();
            for sample in series.samples() {
                assert!((sample.timestamp as f64).to_bits() == sample.value.to_bits());
                stored += 1;
                if self.seen.insert((name.clone(), sample.timestamp)) {
                    let series = self.got.entry(name.clone()).or_default();
                    series.push(sample.timestamp);
                } else {
                    self.repeated += 1;
                }
            }
        }
        stored
    }
}

/// Returns what a database holds.
fn held(db: &Db) -> Got {
    let querier = db.querier(TimeRange::ALL).unwrap();
    let series = querier.select(&[]).unwrap().map(|series| {
        let series = series.unwrap();
        let name = series.labels().to_labels().to_string();
        (name, series.samples().unwrap().timestamps)
    });
    series.collect()
}

#[test]
fn nothing_is_missing_after_kills_and_little_comes_twice() {
    let dir = std::env::temp_dir().join(format!("tsdb-kill-sender-{}", std::process::id()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let receiver = Arc::new(Mutex::new(Receiver::default()));
    let accepting = Arc::clone(&receiver);
    // Ends with the process.
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let receiver = Arc::clone(&accepting);
            std::thread::spawn(move || drop(Receiver::serve(&receiver, &stream)));
        }
    });
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_appends_and_sends_until_it_is_killed"])
            .arg("--nocapture")
            .env(DIR, &dir)
            .env(ADDRESS, &address)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut left = 1 + kill * 17;
        while let Some(Ok(line)) = lines.next() {
            if line.starts_with("acknowledged ") {
                left = left.saturating_sub(1);
                if left == 0 {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
    }
    let (db, sender) = open(&dir, &address);
    assert!(sender.stop(Duration::from_secs(60)).unwrap());
    let receiver = receiver.lock().unwrap();
    assert_eq!(receiver.got, held(&db));
    assert_eq!(receiver.got.len(), SERIES);
    assert!(
        receiver.repeated <= KILLS * SHARDS * BATCH_SAMPLES,
        "{} samples came again",
        receiver.repeated
    );
    println!(
        "{} samples over {KILLS} kills, {} came again",
        receiver.seen.len(),
        receiver.repeated
    );
    drop(db);
    std::fs::remove_dir_all(&dir).unwrap();
}
