//! `send`: what is in the log goes to a receiver of remote write.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tsdb::remote::transport::{Credentials, HttpTransport};
use tsdb::remote::{Protocol, SenderOptions};
use tsdb::{Background, Db, ManualClock, Options, SpoolStart};
use tsdb_bench::json::Line;
use tsdb_bench::measure::{Stopwatch, peak_kb};
use tsdb_bench::{Error, Result};

use crate::ingest::RETENTION;
use crate::open::report;

/// Between two questions to the receiver.
const ASK_INTERVAL: Duration = Duration::from_millis(20);

/// The longest without a new sample.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// How long samples wait for a request to be full. Short, or the wait of the last ones would be most of a short run.
const BATCH_DEADLINE: Duration = Duration::from_millis(100);

/// What a receiver has come to.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Counts {
    samples: u64,
    requests: u64,
    body_bytes: u64,
    cpu_s: f64,
}

/// Sends everything, and waits until the receiver has so many samples more.
pub fn run(dir: &Path, url: &str, protocol: &str, samples: u64) -> Result<()> {
    let options = SenderOptions {
        protocol: match protocol {
            "rw1" => Protocol::RemoteWrite1,
            "rw2" => Protocol::RemoteWrite2,
            _ => return Err(format!("{protocol} is no protocol").into()),
        },
        batch_deadline: BATCH_DEADLINE,
        ..SenderOptions::default()
    };
    let clock = Arc::new(ManualClock::default());
    let opening = Options::default()
        .with_clock(Arc::clone(&clock) as Arc<_>)
        .with_retention(Some(RETENTION))
        .with_background(Background::Manual)
        .with_listener(Some(Arc::new(report)));
    let db = Db::open(dir, opening)?;
    clock.set(db.stats().head_max_time);
    // A remote that never moves keeps the log for the next run.
    let _kept = db.spool("kept", SpoolStart::Oldest)?;
    let transport = HttpTransport::new(&format!("{url}/api/v1/write"), &Credentials::None)?;
    let before = received(url)?;

    let watch = Stopwatch::start();
    let sender = db.start_sender(protocol, SpoolStart::Oldest, Arc::new(transport), options)?;
    let (mut now, mut moved) = (before, Instant::now());
    while now.samples - before.samples < samples {
        std::thread::sleep(ASK_INTERVAL);
        let next = received(url)?;
        if next.samples != now.samples {
            moved = Instant::now();
        } else if moved.elapsed() > IDLE_MAX {
            return Err(Error::from(format!(
                "{} of {samples} samples have arrived, and no more: {:?}",
                now.samples - before.samples,
                sender.status()
            )));
        }
        now = next;
    }
    let spent = watch.spent();
    let peak_kb = peak_kb()?;
    drop(sender);
    db.close()?;

    let sent = now.samples - before.samples;
    Ok(Line::new(&format!("send_{protocol}"))
        .count("samples", sent)
        .seconds("wall_s", spent.wall_s)
        .seconds("cpu_s", spent.cpu_s)
        .number("samples_per_s", sent as f64 / spent.wall_s)
        .number("cpu_ns_per_sample", spent.cpu_s / sent as f64 * 1e9)
        .count("requests", now.requests - before.requests)
        .count("body_bytes", now.body_bytes - before.body_bytes)
        .seconds("receiver_cpu_s", now.cpu_s - before.cpu_s)
        .count("peak_kb", peak_kb)
        .print()?)
}

/// Asks a receiver, which ends the connection when it has answered.
fn received(url: &str) -> Result<Counts> {
    let address = url
        .strip_prefix("http://")
        .ok_or("an address without http")?;
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET / HTTP/1.0\r\nConnection: close\r\n\r\n")?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, body) = answer
        .split_once("\r\n\r\n")
        .ok_or("an answer without a body")?;
    Ok(serde_json::from_str(body)?)
}
