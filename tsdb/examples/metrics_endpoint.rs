//! The database's own metrics behind an HTTP endpoint, under the names dashboards for Prometheus' storage use.

#![expect(clippy::print_stdout, reason = "it is a program for a terminal")]

mod support;

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use tsdb::{Clock, Db, Labels, Options, SystemClock, write_metrics};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = support::ScratchDir::new("metrics-endpoint");
    let db = Db::open(dir.path(), Options::default())?;
    let mut appender = db.appender()?;
    let now = SystemClock.now_ms();
    for i in 0..20 {
        appender.append(
            &Labels::from_pairs([("__name__", "x"), ("i", &i.to_string())])?,
            now,
            f64::from(i),
        )?;
    }
    appender.commit()?;

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    println!("curl http://{address}/metrics");
    // A scraper comes once; a service would go on accepting.
    let body = std::thread::scope(|scope| {
        let scraper = scope.spawn(move || get(address));
        let (connection, _) = listener.accept()?;
        serve(&db, connection)?;
        scraper
            .join()
            .map_err(|_panic| "the scraper panicked")?
            .map_err(Box::<dyn Error>::from)
    })?;
    let samples: Vec<_> = body.lines().filter(|line| !line.starts_with('#')).collect();
    println!("{} metrics, among them:", samples.len());
    for line in samples
        .iter()
        .filter(|line| line.starts_with("prometheus_tsdb_head_s"))
    {
        println!("  {line}");
    }
    assert!(samples.contains(&"prometheus_tsdb_head_series 20"));
    Ok(())
}

/// Answers one request with the metrics, whatever it asks for.
fn serve(db: &Db, mut connection: TcpStream) -> Result<(), Box<dyn Error>> {
    let mut request = BufReader::new(connection.try_clone()?);
    let mut line = String::new();
    while request.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut body = Vec::new();
    write_metrics(db, &mut body)?;
    write!(
        connection,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    connection.write_all(&body)?;
    Ok(())
}

fn get(address: std::net::SocketAddr) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(address)?;
    connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .unwrap_or_default())
}
