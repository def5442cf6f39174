//! `receive`: a receiver of remote write that counts samples and forgets them. The same for every engine that sends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tsdb::limits::WRITE_BODY_BYTES_MAX;
use tsdb::remote::receive::WriteHeaders;
use tsdb::remote::wire::{WriteRequest, Written};
use tsdb_bench::json::Line;
use tsdb_bench::measure::cpu_time;
use tsdb_bench::{Error, Result};

/// What all connections brought.
#[derive(Default)]
struct Totals {
    samples: AtomicU64,
    requests: AtomicU64,
    body_bytes: AtomicU64,
}

/// Prints its address and serves until it is killed.
pub fn run() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    Line::new("receive")
        .text("url", &format!("http://{}", listener.local_addr()?))
        .print()?;
    let totals = Arc::new(Totals::default());
    for stream in listener.incoming() {
        let (stream, totals) = (stream?, Arc::clone(&totals));
        std::thread::spawn(move || {
            // A sender that goes away in the middle of a request has nobody to be told.
            drop(serve(stream, &totals));
        });
    }
    Ok(())
}

fn serve(stream: TcpStream, totals: &Totals) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut answers = stream.try_clone()?;
    let mut input = BufReader::with_capacity(256 << 10, stream);
    let mut body = Vec::new();
    while let Some(head) = Head::read(&mut input)? {
        if head.is_get {
            answers.write_all(stats(totals).as_bytes())?;
            continue;
        }
        body.resize(head.length, 0);
        input.read_exact(&mut body)?;
        let headers = WriteHeaders {
            content_type: head.content_type.as_deref(),
            content_encoding: head.content_encoding.as_deref(),
        };
        let (message, request) = headers.decode(&body)?;
        let samples = WriteRequest::parse(message, &request)?.totals().samples as u64;
        // Relaxed: a sum that is read now and then.
        totals.samples.fetch_add(samples, Ordering::Relaxed);
        totals.requests.fetch_add(1, Ordering::Relaxed);
        totals
            .body_bytes
            .fetch_add(body.len() as u64, Ordering::Relaxed);
        let written = Written {
            samples,
            ..Written::default()
        };
        let mut answer = String::from("HTTP/1.1 204 No Content\r\n");
        for (name, value) in written.headers() {
            answer.extend([name, ": ", &value, "\r\n"]);
        }
        answer.push_str("\r\n");
        answers.write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// Answers any GET with what came so far.
fn stats(totals: &Totals) -> String {
    let body = format!(
        "{{\"samples\":{},\"requests\":{},\"body_bytes\":{},\"cpu_s\":{:.6}}}",
        totals.samples.load(Ordering::Relaxed),
        totals.requests.load(Ordering::Relaxed),
        totals.body_bytes.load(Ordering::Relaxed),
        cpu_time().as_secs_f64(),
    );
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// What matters of a request's headers.
#[derive(Default)]
struct Head {
    is_get: bool,
    length: usize,
    content_type: Option<String>,
    content_encoding: Option<String>,
}

impl Head {
    /// Returns nothing at the end of the connection.
    fn read(input: &mut impl BufRead) -> Result<Option<Self>> {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut head = Self {
            is_get: line.starts_with("GET "),
            ..Self::default()
        };
        loop {
            line.clear();
            input.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.length = value.parse()?,
                "content-type" => head.content_type = Some(value.to_owned()),
                "content-encoding" => head.content_encoding = Some(value.to_owned()),
                _ => {}
            }
        }
        if head.length > WRITE_BODY_BYTES_MAX {
            return Err(Error::from("a body that is too long"));
        }
        Ok(Some(head))
    }
}
