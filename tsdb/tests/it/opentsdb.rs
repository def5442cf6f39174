//! Points on their way to a server that is as strict as OpenTSDB 2.4.1, and what becomes of them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tsdb::remote::opentsdb::{
    ANSWER_BYTES_MAX, Answer, BodyBuilder, DEFAULT_BODY_BYTES, Mapping, PUT_PATH, PointOutcome,
    SentPoint, TagOverflow, judge,
};
use tsdb::remote::transport::{
    Credentials, HttpTransport, Request, Response, Transport, TransportError,
};
use tsdb::remote::{OpenTsdbOptions, Protocol, SenderOptions, UnsentReason};
use tsdb::{Sample, SpoolStart};

use crate::support::{T0, World, labels};

/// What the server holds, and how it is: `POST /api/put?sync&details` with its rules and its words.
#[derive(Debug, Default)]
struct Server {
    /// By metric, tags and timestamp.
    points: BTreeMap<String, f64>,
    /// Whether HBase hangs: points that are valid are not stored, and the status is 200 all the same.
    is_stuck: bool,
    /// Metrics that are known; `None` makes every new one.
    metrics: Option<Vec<String>>,
}

/// Bytes of a body on the wire before Netty calls it chunked.
const WIRE_BYTES_MAX: usize = 8192;
const TAGS_MAX: usize = 8;

impl Server {
    /// Answers one connection until it is closed.
    fn serve(&mut self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head).unwrap_or(0) == 0 {
                    return;
                }
            }
            let header = |name: &str| {
                let mut lines = head.lines().filter_map(|line| line.split_once(':'));
                let found = lines.find(|(known, _)| known.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.trim().to_owned())
            };
            let len = header("content-length").map_or(0, |len| len.parse().unwrap());
            let mut body = vec![0; len];
            reader.read_exact(&mut body).unwrap();
            let is_gzip = header("content-encoding").is_some_and(|encoding| encoding == "gzip");
            let (status, answer) = self.answer(head.lines().next().unwrap(), is_gzip, &body);
            let mut out = stream;
            write!(
                out,
                "HTTP/1.1 {status} -\r\nContent-Length: {}\r\n\r\n{answer}",
                answer.len()
            )
            .unwrap();
        }
    }

    fn answer(&mut self, request: &str, is_gzip: bool, body: &[u8]) -> (u16, String) {
        let error = |code: u16, message: &str| {
            (
                code,
                json!({"error": {"code": code, "message": message}}).to_string(),
            )
        };
        if !request.starts_with("POST ") {
            return error(405, "Method not allowed");
        }
        if !request.starts_with("POST /api/put?sync&details ") {
            return error(404, "Endpoint not found");
        }
        // Before it is inflated.
        if body.len() > WIRE_BYTES_MAX {
            return (
                400,
                "<html><body>Chunked request not supported.</body></html>".into(),
            );
        }
        let mut text = String::new();
        if is_gzip {
            flate2::read::GzDecoder::new(body)
                .read_to_string(&mut text)
                .unwrap();
        } else {
            text.push_str(std::str::from_utf8(body).unwrap());
        }
        let Ok(Value::Array(points)) = serde_json::from_str::<Value>(&text) else {
            return error(400, "Unable to parse the given JSON");
        };
        if points.is_empty() {
            return error(400, "No datapoints found in content");
        }
        let (mut invalid, mut unstored) = (Vec::new(), Vec::new());
        for mut point in points.iter().cloned() {
            let refused = self.check(&point);
            point["value"] = json!(point["value"].to_string());
            match refused {
                Some(reason) => invalid.push(json!({"datapoint": point, "error": reason})),
                None if self.is_stuck => {
                    unstored.push(json!({"datapoint": point, "error": "Storage exception: RPC ID [15] timed out"}));
                }
                None => {
                    let key = format!(
                        "{}{}@{}",
                        point["metric"], point["tags"], point["timestamp"]
                    );
                    let value: f64 = point["value"].as_str().unwrap().parse().unwrap();
                    let before = self.points.insert(key, value);
                    // To the bit: else a point that comes twice is an error when its row is compacted.
                    assert!(before.is_none_or(|before| before.to_bits() == value.to_bits()));
                }
            }
        }
        // The status looks at validation alone, and the errors of validation come first.
        let status = if invalid.is_empty() { 200 } else { 400 };
        invalid.append(&mut unstored);
        let failed = invalid.len();
        let answer = json!({"success": points.len() - failed, "failed": failed, "errors": invalid});
        (status, answer.to_string())
    }

    /// Returns why a point is not taken.
    fn check(&self, point: &Value) -> Option<String> {
        let is_legal = |text: &str| {
            !text.is_empty()
                && text.chars().all(|letter| {
                    letter.is_alphabetic() || letter.is_ascii_digit() || "._/-".contains(letter)
                })
        };
        let metric = point["metric"].as_str().unwrap_or_default();
        let none = Map::new();
        let tags = point["tags"].as_object().unwrap_or(&none);
        if metric.is_empty() {
            return Some("Metric name was empty".into());
        }
        if point["timestamp"]
            .as_i64()
            .is_none_or(|timestamp| timestamp <= 0)
        {
            return Some("Invalid timestamp".into());
        }
        if !point["value"].is_f64() {
            return Some("Unable to parse value to a number".into());
        }
        if tags.is_empty() {
            return Some("Missing tags".into());
        }
        if tags.len() > TAGS_MAX {
            return Some(format!(
                "Too many tags: {} maximum allowed: {TAGS_MAX}",
                tags.len()
            ));
        }
        if !is_legal(metric) {
            return Some(format!(
                "Invalid metric name (\"{metric}\"): illegal character"
            ));
        }
        for (name, value) in tags {
            let value = value.as_str().unwrap_or_default();
            if !is_legal(name) || !is_legal(value) {
                return Some(format!(
                    "Invalid tag value with key [{name}] (\"{value}\"): illegal character"
                ));
            }
        }
        let is_known = self
            .metrics
            .as_ref()
            .is_none_or(|known| known.iter().any(|known| known == metric));
        (!is_known).then(|| "Unknown metric".into())
    }
}

/// Sends samples of one series as bodies of points, and returns what became of each body.
fn deliver(
    server: &mut Server,
    mapping: &Mapping,
    mut builder: BodyBuilder,
    series: &str,
    values: &[f64],
) -> Vec<Answer> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let mapped = mapping.map(&labels(series)).unwrap();
    let mut answers = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| server.serve(&listener.accept().unwrap().0));
        let transport = HttpTransport::new(&address, &Credentials::None).unwrap();
        let mut sent = Vec::new();
        let mut send = |builder: &mut BodyBuilder, sent: &mut Vec<SentPoint<'_>>| {
            let encoding = builder.content_encoding().unwrap_or("identity");
            let body = builder.finish().unwrap();
            let response = transport.send(&Request {
                path: PUT_PATH,
                headers: &[
                    ("Content-Type", "application/json"),
                    ("Content-Encoding", encoding),
                ],
                body: &body,
                timeout: Duration::from_secs(60),
                answer_bytes_max: ANSWER_BYTES_MAX,
            });
            let response = response.unwrap();
            answers.push(judge(response.status, &response.body, sent));
            sent.clear();
        };
        for (index, value) in values.iter().enumerate() {
            let sample = Sample {
                timestamp: T0 + index as i64,
                value: *value,
            };
            let mut point = String::new();
            let timestamp = mapping.point(&mapped, sample, &mut point).unwrap();
            if !builder.push(&point) {
                send(&mut builder, &mut sent);
                assert!(builder.push(&point));
            }
            sent.push(SentPoint {
                series: &mapped,
                timestamp,
            });
        }
        send(&mut builder, &mut sent);
    });
    answers
}

/// The server as a sender meets it, in one of its moods at each request.
#[derive(Debug, Default)]
struct Moody(Mutex<(Server, usize)>);

impl Transport for Moody {
    fn send(&self, request: &Request<'_>) -> Result<Response, TransportError> {
        let mut guard = self.0.lock();
        let (server, requests) = &mut *guard;
        *requests += 1;
        let mood = *requests % 8;
        let mut headers = request.headers.iter();
        let is_gzip = headers.any(|header| *header == ("Content-Encoding", "gzip"));
        server.is_stuck = mood == 1;
        // One of the metrics is not known for a while.
        server.metrics = (mood == 2).then(|| vec![String::from("cold")]);
        let (status, body) = match mood {
            3 if request.body.len() > 300 => (413, String::from("too large")),
            4 => (503, String::from("region is not online")),
            5 => return Err(TransportError::Timeout(String::from("before"))),
            _ => server.answer(
                &format!("POST {} HTTP/1.1", request.path),
                is_gzip,
                request.body,
            ),
        };
        if mood == 6 {
            return Err(TransportError::Connection(String::from("behind")));
        }
        Ok(Response {
            status,
            headers: Vec::new(),
            body: body.into_bytes(),
        })
    }
}

#[test]
fn a_sender_brings_every_point_to_a_server_in_any_mood() {
    for gzip in [false, true] {
        let world = World::new();
        let db = world.open();
        let server = Arc::new(Moody::default());
        let protocol = Protocol::OpenTsdb(Box::new(OpenTsdbOptions {
            gzip,
            mapping: Mapping {
                // More than the server takes.
                tags_max: 64,
                ..Mapping::default()
            },
            ..OpenTsdbOptions::default()
        }));
        let options = SenderOptions {
            protocol,
            shards: 3,
            ..crate::sender::options()
        };
        let sender = db
            .start_sender("points", SpoolStart::Now, Arc::clone(&server) as _, options)
            .unwrap();
        let many = r#"hot{a="1",b="1",c="1",d="1",e="1",f="1",g="1",h="1",i="1"}"#;
        let mut expected = BTreeMap::new();
        for round in 0..30 {
            let timestamp = T0 + round * 15_000;
            world.clock.set(timestamp);
            let mut appender = db.appender().unwrap();
            appender.append(&labels(many), timestamp, 1.0).unwrap();
            let nan = labels(r#"hot{a="nan"}"#);
            appender.append(&nan, timestamp, f64::NAN).unwrap();
            for number in 0..40 {
                let metric = ["hot", "cold"][number as usize % 2];
                let series = labels(&format!("{metric}{{number=\"{number}\"}}"));
                let value = f64::from(number) / 7.0 - round as f64 * 1e-300;
                appender.append(&series, timestamp, value).unwrap();
                let key = format!("\"{metric}\"{{\"number\":\"{number}\"}}@{timestamp}");
                expected.insert(key, value);
            }
            assert_eq!(appender.commit().unwrap().rejected, []);
        }
        assert!(sender.wait_until_sent(Duration::from_secs(60)).unwrap());
        let status = sender.status();
        assert_eq!(server.0.lock().0.points, expected);
        assert_eq!(status.sent, expected.len() as u64);
        let unsent = |reason| status.unsent[reason as usize].1;
        assert_eq!(unsent(UnsentReason::Refused), 30);
        assert_eq!(unsent(UnsentReason::Unrepresentable), 30);
        assert!(status.retried > 0);
    }
}

#[test]
fn what_is_delivered_is_what_was_sent_and_sent_again_it_is_the_same() {
    let values: Vec<f64> = (0..500)
        .map(|i| [f64::from(i), -0.0, 5e-324, 1e300 / f64::from(i + 1)][i as usize % 4])
        .collect();
    let series = r#"a:b{instance="a:9100",path="/x y",zone="é_"}"#;
    let mut server = Server::default();
    for builder in [
        BodyBuilder::plain(DEFAULT_BODY_BYTES),
        BodyBuilder::gzip(DEFAULT_BODY_BYTES),
    ] {
        for answer in deliver(&mut server, &Mapping::default(), builder, series, &values) {
            let Answer::Points(outcomes) = answer else {
                panic!("{answer:?}");
            };
            assert!(
                outcomes
                    .iter()
                    .all(|outcome| *outcome == PointOutcome::Stored)
            );
        }
        let stored: Vec<u64> = server
            .points
            .values()
            .map(|value| value.to_bits())
            .collect();
        assert_eq!(
            stored,
            values
                .iter()
                .map(|value| value.to_bits())
                .collect::<Vec<_>>()
        );
    }
}

#[test]
fn every_trouble_is_told_apart() {
    let small = || BodyBuilder::plain(DEFAULT_BODY_BYTES);
    let mut server = Server {
        is_stuck: true,
        ..Server::default()
    };
    let answers = deliver(
        &mut server,
        &Mapping::default(),
        small(),
        r#"up{a="b"}"#,
        &[1.0, 2.0],
    );
    assert!(
        matches!(&answers[..], [Answer::Points(all)] if all.iter().all(|one| matches!(one, PointOutcome::Retry(_))))
    );
    server.is_stuck = false;
    server.metrics = Some(vec![String::from("down")]);
    let answers = deliver(
        &mut server,
        &Mapping::default(),
        small(),
        r#"up{a="b"}"#,
        &[1.0],
    );
    assert!(
        matches!(&answers[..], [Answer::Points(all)] if matches!(all[0], PointOutcome::Config(_)))
    );
    let many = r#"down{a="1",b="1",c="1",d="1",e="1",f="1",g="1",h="1",i="1"}"#;
    let unlimited = Mapping {
        tags_max: 64,
        ..Mapping::default()
    };
    let answers = deliver(&mut server, &unlimited, small(), many, &[1.0]);
    assert!(
        matches!(&answers[..], [Answer::Points(all)] if matches!(all[0], PointOutcome::Refused(_)))
    );
    let folded = Mapping {
        overflow: TagOverflow::Fold(String::from("rest")),
        ..Mapping::default()
    };
    let answers = deliver(&mut server, &folded, small(), many, &[1.0]);
    assert_eq!(answers, [Answer::Points(vec![PointOutcome::Stored])]);
    let answers = deliver(
        &mut server,
        &folded,
        BodyBuilder::plain(100_000),
        many,
        &[1.0; 100],
    );
    assert_eq!(answers, [Answer::TooLarge]);
}
