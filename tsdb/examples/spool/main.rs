//! An hour of real scrapes, on its way to long-term storage while it comes in.
//!
//! ```sh
//! cargo run --release --example spool --features remote-write -- http://127.0.0.1:9090/api/v1/write --protocol rw2
//! cargo run --release --example spool --features remote-write -- http://127.0.0.1:4242 --protocol opentsdb
//! cargo run --release --example spool --features remote-write
//! ```
//!
//! Without an address a second database in this very process receives. With `--dir DIR` the database stays there. With
//! `--lose N` every Nth answer is lost, as behind a proxy that gives up too soon, and what the remote has is sent again.

#![expect(clippy::print_stdout, reason = "it is a program for a terminal")]

#[path = "../quickstart/corpus.rs"]
mod corpus;
mod losing;
mod receiver;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tsdb::remote::transport::{Credentials, HttpTransport, Transport};
use tsdb::remote::{Protocol, SenderOptions};
use tsdb::{Clock, Db, Event, ManualClock, Options, SeriesRef, SpoolStart};

use corpus::Recording;
use losing::Losing;
use receiver::Receiver;

/// How long the remote may take for everything.
const PATIENCE: Duration = Duration::from_secs(600);

/// What the command line says.
struct Arguments {
    address: Option<String>,
    protocol: Protocol,
    dir: Option<PathBuf>,
    lose: Option<usize>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse()?;
    let scratch = support::ScratchDir::new("spool");
    let dir = arguments.dir.as_deref().unwrap_or(scratch.path());
    let recording = Recording::load()?;
    let first = recording.scrapes.first().ok_or("an empty recording")?;
    // A real scraper takes the clock of the system; here an hour has to pass at once.
    let clock = Arc::new(ManualClock::new(first.timestamp));
    let options = Options::default()
        .with_clock(Arc::clone(&clock) as Arc<dyn Clock>)
        .with_listener(Some(Arc::new(|event: &Event| match event {
            Event::RemotePaused { .. }
            | Event::RemoteRefused { .. }
            | Event::RemoteDowngraded { .. } => println!("event     {event:?}"),
            _ => {}
        })));
    let db = Db::open(dir, options)?;

    let own = match arguments.address {
        Some(_) => None,
        None => Some(Receiver::start(&scratch.path().with_extension("receiver"))?),
    };
    let address = match (&arguments.address, &own) {
        (Some(address), _) => address.clone(),
        (None, Some(receiver)) => receiver.address(),
        (None, None) => return Err("nobody to send to".into()),
    };
    let transport = HttpTransport::new(&address, &Credentials::None)?;
    let transport: Arc<dyn Transport> = match arguments.lose {
        Some(every) => Arc::new(Losing::new(transport, every)),
        None => Arc::new(transport),
    };
    let options = SenderOptions {
        protocol: arguments.protocol,
        ..SenderOptions::default()
    };
    // The sender begins with what is committed from now on; its place survives whatever happens to this process.
    let sender = db.start_sender("long-term", SpoolStart::Now, transport, options)?;

    let appended = thread::scope(|scope| {
        let scraper = scope.spawn(|| append(&db, &clock, &recording));
        match scraper.join() {
            Ok(appended) => appended.map_err(|error| error as Box<dyn Error>),
            Err(_) => Err("the scraper panicked".into()),
        }
    })?;
    println!(
        "append    {appended} samples of {} series",
        recording.series.len()
    );

    let is_sent = sender.wait_until_sent(PATIENCE)?;
    let status = sender.status();
    let unsent: BTreeMap<_, _> = status
        .unsent
        .iter()
        .filter(|(_, samples)| *samples > 0)
        .map(|(reason, samples)| (reason.as_str(), samples))
        .collect();
    println!(
        "sent      {} samples in {} requests of {} bytes, {}",
        status.sent, status.requests, status.bytes, status.dialect
    );
    println!("retried   {}", status.retried);
    println!(
        "dropped   {} {unsent:?}",
        unsent.values().copied().sum::<u64>()
    );
    if let Some(receiver) = own {
        println!(
            "received  {} samples in the other database",
            receiver.samples()?
        );
    }
    drop(sender);
    db.close()?;
    if !is_sent {
        return Err("the remote has not acknowledged everything in time".into());
    }
    Ok(())
}

/// Appends the recording, one commit for each scrape.
fn append(
    db: &Db,
    clock: &ManualClock,
    recording: &Recording,
) -> Result<usize, Box<dyn Error + Send + Sync>> {
    let mut targets = BTreeMap::new();
    let mut refs = vec![SeriesRef::default(); recording.series.len()];
    let mut appended = 0;
    for scrape in &recording.scrapes {
        clock.set(scrape.timestamp);
        if !targets.contains_key(&scrape.job) {
            targets.insert(&scrape.job, (db.target(), db.appender()?));
        }
        let (target, appender) = targets.get_mut(&scrape.job).ok_or("just inserted")?;
        appender.set_target(target);
        for (&series, &value) in scrape.series.iter().zip(&scrape.values) {
            let labels = &recording.series[series];
            refs[series] = appender.append_cached(refs[series], labels, scrape.timestamp, value)?;
        }
        appended += appender.commit()?.accepted as usize;
    }
    Ok(appended)
}

impl Arguments {
    fn parse() -> Result<Self, Box<dyn Error>> {
        let mut parsed = Self {
            address: None,
            protocol: Protocol::RemoteWrite2,
            dir: None,
            lose: None,
        };
        let mut words = env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--protocol" => {
                    parsed.protocol = match words.next().as_deref() {
                        Some("rw1") => Protocol::RemoteWrite1,
                        Some("rw2") => Protocol::RemoteWrite2,
                        Some("opentsdb") => Protocol::OpenTsdb(Box::default()),
                        _ => return Err("--protocol rw1, rw2 or opentsdb".into()),
                    }
                }
                "--dir" => parsed.dir = Some(words.next().ok_or("--dir DIR")?.into()),
                "--lose" => {
                    let every = words.next().and_then(|every| every.parse().ok());
                    parsed.lose = Some(every.filter(|every| *every > 0).ok_or("--lose N")?);
                }
                _ if word.starts_with("http") => parsed.address = Some(word),
                _ => return Err(format!("{word}: not understood").into()),
            }
        }
        Ok(parsed)
    }
}
