//! A receiver of remote write: a database behind a few lines of HTTP.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tsdb::remote::receive::WriteHeaders;
use tsdb::{Db, Options, Samples, TimeRange, parse_selector};

/// Bytes of a body, more than any sender's.
const BODY_BYTES_MAX: usize = 16 << 20;

const CENTURY: Duration = Duration::from_secs(100 * 366 * 86_400);

/// A database that is written to over HTTP.
pub struct Receiver {
    db: Db,
    address: String,
    dir: PathBuf,
}

#[expect(
    clippy::disallowed_methods,
    reason = "an example is not the library, whose threads have one home"
)]
impl Receiver {
    pub fn start(dir: &Path) -> Result<Self, Box<dyn Error>> {
        // What was recorded may lie anywhere from this machine's clock.
        let options = Options::default()
            .with_future_limit(CENTURY)
            .with_retention(None);
        let db = Db::open(dir, options)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = format!("http://{}/api/v1/write", listener.local_addr()?);
        let shared = db.clone();
        // Ends with the process; a service would keep the handle and stop it.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let db = shared.clone();
                thread::spawn(move || while let Ok(true) = answer(&db, &stream) {});
            }
        });
        Ok(Self {
            db,
            address,
            dir: dir.to_owned(),
        })
    }

    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// Counts what has arrived.
    pub fn samples(&self) -> Result<usize, Box<dyn Error>> {
        let querier = self.db.querier(TimeRange::ALL)?;
        let mut count = 0;
        let mut samples = Samples::default();
        for series in querier.select(&parse_selector(r#"{__name__=~".+"}"#)?)? {
            series?.read(&mut samples)?;
            count += samples.iter().count();
        }
        Ok(count)
    }
}

impl Drop for Receiver {
    #[expect(
        clippy::disallowed_methods,
        reason = "an example is not the library, which goes through its own file system"
    )]
    fn drop(&mut self) {
        drop(self.db.clone().close());
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

/// Answers one request; `false` at the end of the connection.
fn answer(db: &Db, mut stream: &TcpStream) -> Result<bool, Box<dyn Error>> {
    let mut reader = BufReader::new(stream);
    let (mut content_type, mut content_encoding, mut length) = (None, None, 0);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(false);
    }
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        let value = value.trim().to_owned();
        match name.to_ascii_lowercase().as_str() {
            "content-type" => content_type = Some(value),
            "content-encoding" => content_encoding = Some(value),
            "content-length" => length = value.parse()?,
            _ => {}
        }
    }
    if length > BODY_BYTES_MAX {
        return Err("a body that is too long".into());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let headers = WriteHeaders {
        content_type: content_type.as_deref(),
        content_encoding: content_encoding.as_deref(),
    };
    let answer = db.receive_write(headers, &body);
    let mut out = Vec::new();
    write!(out, "HTTP/1.1 {} x\r\n", answer.status)?;
    for (name, value) in answer.headers() {
        write!(out, "{name}: {value}\r\n")?;
    }
    write!(
        out,
        "Content-Length: {}\r\n\r\n{}",
        answer.text.len(),
        answer.text
    )?;
    stream.write_all(&out)?;
    Ok(true)
}
