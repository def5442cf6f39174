//! What only a socket can do wrong.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tsdb::remote::transport::{Credentials, HttpTransport, Request, Secret};
use tsdb::remote::{Protocol, SenderOptions, UnsentReason};
use tsdb::{Db, Sender, SpoolStart};

use super::endpoint::Got;
use crate::sender::Received;
use crate::support::{T0, World, labels};

/// What a server does with a connection.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    reads: Reads,
    stores: bool,
    says: &'static [u8],
    then: Then,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    Nothing,
    Head,
    HalfTheBody,
    All,
}

/// What comes after the words.
#[derive(Clone, Copy)]
enum Then {
    Closes,
    /// Until the other side has had enough.
    Hangs,
    Repeats(&'static [u8]),
    /// The words come byte by byte.
    Drips,
}

const fn kind(
    name: &'static str,
    reads: Reads,
    stores: bool,
    says: &'static [u8],
    then: Then,
) -> Kind {
    Kind {
        name,
        reads,
        stores,
        says,
        then,
    }
}

const KINDS: &[Kind] = &[
    kind("closes at once", Reads::Nothing, false, b"", Then::Closes),
    kind("hangs at once", Reads::Nothing, false, b"", Then::Hangs),
    kind(
        "closes after the headers",
        Reads::Head,
        false,
        b"",
        Then::Closes,
    ),
    kind(
        "hangs after the headers",
        Reads::Head,
        false,
        b"",
        Then::Hangs,
    ),
    kind(
        "closes within the body",
        Reads::HalfTheBody,
        false,
        b"",
        Then::Closes,
    ),
    kind(
        "hangs within the body",
        Reads::HalfTheBody,
        false,
        b"",
        Then::Hangs,
    ),
    kind("does not answer", Reads::All, false, b"", Then::Hangs),
    kind(
        "stores and does not answer",
        Reads::All,
        true,
        b"",
        Then::Hangs,
    ),
    kind("stores and closes", Reads::All, true, b"", Then::Closes),
    kind(
        "closes within the status",
        Reads::All,
        false,
        b"HTTP/1.1 20",
        Then::Closes,
    ),
    kind(
        "hangs within the status",
        Reads::All,
        false,
        b"HTTP/1.1 20",
        Then::Hangs,
    ),
    kind(
        "closes within the headers",
        Reads::All,
        false,
        b"HTTP/1.1 200 OK\r\nContent-Le",
        Then::Closes,
    ),
    kind(
        "hangs within the headers",
        Reads::All,
        true,
        b"HTTP/1.1 200 OK\r\nContent-Le",
        Then::Hangs,
    ),
    kind(
        "closes within the answer",
        Reads::All,
        true,
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nstor",
        Then::Closes,
    ),
    kind(
        "hangs within the answer",
        Reads::All,
        true,
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nstor",
        Then::Hangs,
    ),
    kind(
        "fails and hangs",
        Reads::All,
        false,
        b"HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\nfail",
        Then::Hangs,
    ),
    kind(
        "drips its answer",
        Reads::All,
        true,
        b"HTTP/1.1 204 No Content\r\nServer: slow\r\n\r\n",
        Then::Drips,
    ),
    kind(
        "says nonsense",
        Reads::All,
        false,
        b"HELLO 200 OK\r\n\r\n",
        Then::Closes,
    ),
    kind("says zeros", Reads::All, false, &[0; 64], Then::Closes),
    kind(
        "speaks TLS",
        Reads::All,
        false,
        b"\x15\x03\x01\x00\x02\x02\x16",
        Then::Closes,
    ),
    kind(
        "has a status of letters",
        Reads::All,
        false,
        b"HTTP/1.1 two OK\r\n\r\n",
        Then::Closes,
    ),
    kind(
        "has a status too long",
        Reads::All,
        false,
        b"HTTP/1.1 2000 OK\r\n\r\n",
        Then::Closes,
    ),
    kind(
        "has headers of bytes",
        Reads::All,
        false,
        b"HTTP/1.1 500 No\r\n\xff\x00: \x01\r\n\r\n",
        Then::Closes,
    ),
    kind(
        "has a negative length",
        Reads::All,
        false,
        b"HTTP/1.1 500 No\r\nContent-Length: -1\r\n\r\n",
        Then::Closes,
    ),
    kind(
        "has two lengths",
        Reads::All,
        false,
        b"HTTP/1.1 500 No\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        Then::Hangs,
    ),
    kind(
        "has chunks of nonsense",
        Reads::All,
        false,
        b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        Then::Hangs,
    ),
    kind(
        "fails without end",
        Reads::All,
        false,
        b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n",
        Then::Repeats(b"5\r\nagain\r\n"),
    ),
    kind(
        "succeeds without end",
        Reads::All,
        true,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        Then::Repeats(b"5\r\nagain\r\n"),
    ),
    kind(
        "has headers without end",
        Reads::All,
        false,
        b"HTTP/1.1 200 OK\r\n",
        Then::Repeats(b"X-Again: and again and again\r\n"),
    ),
    kind(
        "has a status line without end",
        Reads::All,
        false,
        b"HTTP/1.1 200 ",
        Then::Repeats(b"OK OK OK OK "),
    ),
    kind(
        "continues without end",
        Reads::All,
        false,
        b"",
        Then::Repeats(b"HTTP/1.1 100 Continue\r\n\r\n"),
    ),
    kind(
        "switches protocols",
        Reads::All,
        false,
        b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
        Then::Hangs,
    ),
    kind(
        "speaks 1.0",
        Reads::All,
        false,
        b"HTTP/1.0 503 No\r\n\r\nbye",
        Then::Closes,
    ),
    kind(
        "answers before it has read",
        Reads::Head,
        false,
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
        Then::Closes,
    ),
    kind(
        "closes what it promised to keep",
        Reads::All,
        true,
        b"HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n",
        Then::Closes,
    ),
];

/// A server that misbehaves on two connections of three.
#[derive(Clone)]
struct Server {
    kind: Kind,
    connections: Arc<AtomicUsize>,
    is_mended: Arc<AtomicBool>,
    store: Arc<Mutex<Store>>,
}

/// What a server holds, in the order of the first arrival.
#[derive(Default)]
struct Store {
    got: Got,
    seen: HashSet<(String, i64)>,
}

impl Server {
    /// Starts to listen and returns the server and its address.
    #[expect(
        clippy::disallowed_methods,
        reason = "a server lives beside the database"
    )]
    fn start(kind: Kind) -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/write", listener.local_addr().unwrap());
        let server = Self {
            kind,
            connections: Arc::default(),
            is_mended: Arc::default(),
            store: Arc::default(),
        };
        let accepting = server.clone();
        // Ends with the process: nobody connects any more.
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let server = accepting.clone();
                // The other side may be gone at any time.
                std::thread::spawn(move || drop(server.serve(&stream)));
            }
        });
        (server, address)
    }

    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        if !number.is_multiple_of(3) || self.is_mended.load(Ordering::Relaxed) {
            return self.behave(stream);
        }
        let Kind {
            reads,
            stores,
            says,
            then,
            ..
        } = self.kind;
        let mut reader = BufReader::new(stream);
        if reads != Reads::Nothing {
            let len = read_head(&mut reader)?;
            let len = match reads {
                Reads::HalfTheBody => len / 2,
                Reads::All => len,
                Reads::Nothing | Reads::Head => 0,
            };
            let mut body = vec![0; len];
            reader.read_exact(&mut body)?;
            if stores {
                self.store(&body);
            }
        }
        let mut out = stream;
        match then {
            Then::Closes => {
                out.write_all(says)?;
                stream.shutdown(Shutdown::Both)
            }
            Then::Hangs => {
                out.write_all(says)?;
                reader.read_to_end(&mut Vec::new()).map(drop)
            }
            Then::Repeats(word) => {
                out.write_all(says)?;
                loop {
                    out.write_all(&word.repeat(100))?;
                }
            }
            Then::Drips => {
                stream.set_read_timeout(Some(Duration::from_millis(20)))?;
                for byte in says {
                    out.write_all(&[*byte])?;
                    // Nothing comes: a pause.
                    if reader.read(&mut [0]).is_ok_and(|len| len == 0) {
                        break;
                    }
                }
                Ok(())
            }
        }
    }

    fn behave(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let mut body = vec![0; read_head(&mut reader)?];
            reader.read_exact(&mut body)?;
            self.store(&body);
            let mut out = stream;
            out.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
        }
    }

    fn store(&self, body: &[u8]) {
        let received = Received::parse(
            &Request {
                path: "",
                headers: &[
                    ("Content-Type", "application/x-protobuf"),
                    ("Content-Encoding", "snappy"),
                ],
                body,
                timeout: Duration::MAX,
                answer_bytes_max: 0,
            },
            0,
        );
        let mut guard = self.store.lock();
        let Store { got, seen } = &mut *guard;
        for (name, sample) in received.samples {
            if seen.insert((name.clone(), sample.timestamp)) {
                let series = got.entry(name).or_default();
                series.push((sample.timestamp, sample.value.to_bits()));
            }
        }
    }
}

/// Reads up to the body and returns how long that is said to be.
fn read_head(reader: &mut impl BufRead) -> std::io::Result<usize> {
    let mut len = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                len = value.parse().unwrap();
            }
            None if line == "\r\n" => return Ok(len),
            _ => {}
        }
    }
}

fn start(db: &Db, address: &str, timeout: Duration) -> Sender {
    let token = Credentials::Bearer(Secret::new("sesame"));
    let transport = HttpTransport::new(address, &token).unwrap();
    let options = SenderOptions {
        protocol: Protocol::RemoteWrite1,
        shards: 2,
        batch_samples: 40,
        timeout,
        ..crate::sender::options()
    };
    db.start_sender("socket", SpoolStart::Now, Arc::new(transport), options)
        .unwrap()
}

fn append(world: &World, db: &Db) -> Got {
    let mut appended = Got::new();
    for round in 0..20 {
        let timestamp = T0 + round * 15_000;
        world.clock.set(timestamp);
        let mut appender = db.appender().unwrap();
        for number in 0..12 {
            let name = format!("metric{{number=\"{number}\"}}");
            let value = (number + round) as f64;
            appender.append(&labels(&name), timestamp, value).unwrap();
            let series = appended.entry(name).or_default();
            series.push((timestamp, value.to_bits()));
        }
        assert_eq!(appender.commit().unwrap().rejected, []);
    }
    appended
}

/// Sends samples to a server, which has all of them afterwards.
fn assert_all_arrives(server: &Server, address: &str) {
    let world = World::new();
    let db = world.open();
    let sender = start(&db, address, TIMEOUT);
    let appended = append(&world, &db);
    assert!(sender.wait_until_sent(LONG).unwrap());
    assert_eq!(server.store.lock().got, appended);
}

/// Long enough for an answer that comes, on a machine that is busy.
const TIMEOUT: Duration = Duration::from_millis(250);

const LONG: Duration = Duration::from_secs(60);

#[test]
fn nothing_is_lost_whatever_becomes_of_a_connection() {
    std::thread::scope(|scope| {
        for kind in KINDS {
            scope.spawn(move || {
                let (server, address) = Server::start(*kind);
                let world = World::new();
                let db = world.open();
                let sender = start(&db, &address, TIMEOUT);
                let appended = append(&world, &db);
                assert!(
                    sender.wait_until_sent(LONG).unwrap(),
                    "{}: {:?}",
                    kind.name,
                    sender.status()
                );
                assert_eq!(server.store.lock().got, appended, "{}", kind.name);
                let refused = sender.status().unsent[UnsentReason::Refused as usize].1;
                assert_eq!(refused, 0, "{}", kind.name);
                let connections = server.connections.load(Ordering::Relaxed);
                println!("{}: {connections} connections", kind.name);
            });
        }
    });
}

#[test]
fn a_sender_that_waits_for_an_answer_ends_with_its_timeout() {
    let silent = KINDS.iter().find(|kind| kind.name == "hangs at once");
    let (server, address) = Server::start(*silent.unwrap());
    let world = World::new();
    let db = world.open();
    let mut sender = start(&db, &address, TIMEOUT);
    let appended = append(&world, &db);
    db.sync().unwrap();
    while server.connections.load(Ordering::Relaxed) == 0 {
        std::thread::yield_now();
    }
    let long = SenderOptions {
        protocol: Protocol::RemoteWrite1,
        ..crate::sender::options()
    };
    let transport = HttpTransport::new(&address, &Credentials::None).unwrap();
    sender.reconfigure(Arc::new(transport), long).unwrap();
    server.is_mended.store(true, Ordering::Relaxed);
    assert!(sender.stop(LONG).unwrap());
    assert_eq!(server.store.lock().got, appended);
}

#[test]
fn an_answer_too_many_acknowledges_nothing() {
    // Two answers to the first request; the second request on the connection is not stored, and not answered.
    const TWICE: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
    let (server, address) =
        Server::start(kind("answers twice", Reads::All, true, TWICE, Then::Hangs));
    assert_all_arrives(&server, &address);
}

#[test]
fn credentials_do_not_follow_a_redirect() {
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let answer = format!(
        "HTTP/1.1 307 Over There\r\nLocation: http://{}/write\r\nContent-Length: 0\r\n\r\n",
        trap.local_addr().unwrap()
    );
    let (server, address) = Server::start(kind(
        "redirects",
        Reads::All,
        false,
        answer.leak().as_bytes(),
        Then::Closes,
    ));
    assert_all_arrives(&server, &address);
    assert!(trap.accept().is_err(), "nobody came");
}
