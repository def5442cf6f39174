//! Requests of remote write and remote read, to a database and over a socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use tsdb::remote::ExternalLabels;
use tsdb::remote::read::{AnswerKind, ReadRequest};
use tsdb::remote::receive::{Refusal, WriteAnswer, WriteHeaders};
use tsdb::remote::wire::{
    Compression, Compressor, EncoderV1, EncoderV2, Message, WireError, Written, decompress,
};
use tsdb::{Db, Rejection, Sample};

use crate::support::{T0, World, labels, read};

fn sample(timestamp: i64, value: f64) -> Sample {
    Sample { timestamp, value }
}

fn encode(message: Message, series: &[(&str, Vec<Sample>)]) -> Vec<u8> {
    let (mut first, mut second) = (EncoderV1::new(), EncoderV2::new());
    for (text, samples) in series {
        first.push(&labels(text), samples);
        second.push(&labels(text), samples);
    }
    match message {
        Message::V1 => first.message().to_vec(),
        Message::V2 => second.message().to_vec(),
    }
}

fn compress(compression: Compression, message: &[u8]) -> Vec<u8> {
    Compressor::new(compression)
        .unwrap()
        .compress(message)
        .unwrap()
        .to_vec()
}

fn send(db: &Db, message: Message, series: &[(&str, Vec<Sample>)]) -> WriteAnswer {
    let headers = WriteHeaders {
        content_type: Some(message.content_type()),
        content_encoding: Some("snappy"),
    };
    db.receive_write(
        headers,
        &compress(Compression::Snappy, &encode(message, series)),
    )
}

#[test]
fn what_is_sent_arrives_through_either_message() {
    for message in [Message::V1, Message::V2] {
        let world = World::new();
        let db = world.open();
        let series = [
            (
                r#"up{job="a"}"#,
                vec![sample(T0, 1.0), sample(T0 + 1000, -0.0)],
            ),
            (r#"up{job="b"}"#, vec![sample(T0, f64::NAN)]),
        ];
        let answer = send(&db, message, &series);
        assert_eq!((answer.status, answer.text.as_str()), (204, ""));
        assert_eq!(
            answer.written,
            Some(Written {
                samples: 3,
                ..Written::default()
            })
        );
        // Sent again, as a sender does whose connection broke before the answer.
        assert_eq!(send(&db, message, &series), answer);
        for (text, samples) in series {
            let bits: Vec<_> = samples
                .iter()
                .map(|s| (s.timestamp, s.value.to_bits()))
                .collect();
            assert_eq!(read(&db, text), [(labels(text), bits)]);
        }
    }
}

#[test]
fn one_bad_sample_does_not_spoil_its_neighbours() {
    for message in [Message::V1, Message::V2] {
        let world = World::new();
        let db = world.open();
        let far = T0 + 24 * 3_600_000;
        let answer = send(
            &db,
            message,
            &[
                (
                    r#"up{job="a"}"#,
                    vec![sample(T0, 1.0), sample(T0, 2.0), sample(far, 3.0)],
                ),
                (
                    r#"{job="nameless"}"#,
                    vec![sample(T0, 1.0), sample(T0 + 1, 1.0)],
                ),
                ("empty", vec![]),
                ("down", vec![sample(T0, 0.0)]),
            ],
        );
        assert_eq!(answer.status, 400);
        assert_eq!(answer.written.unwrap().samples, 2);
        let mut refused = answer.refused.clone();
        refused.sort_unstable_by_key(|(_, count)| *count);
        assert_eq!(refused.len(), 4, "{}", answer.text);
        assert!(refused.contains(&(Refusal::Sample(Rejection::Duplicate), 1)));
        assert!(refused.contains(&(Refusal::Sample(Rejection::TooFarAhead), 1)));
        assert!(refused.contains(&(Refusal::NoMetricName, 2)));
        assert!(refused.contains(&(Refusal::NoSamples, 1)));
        assert!(
            answer.text.contains("{__name__=up,job=a}"),
            "{}",
            answer.text
        );
        assert_eq!(read(&db, "{__name__=~\"up|down\"}").len(), 2);
    }
}

#[test]
fn a_request_of_many_commits_arrives_whole() {
    let world = World::new();
    let db = world.open();
    let samples: Vec<Sample> = (0..100_000)
        .map(|i| sample(T0 - 200_000 + i, i as f64))
        .collect();
    let again = vec![sample(T0 - 200_000, 1.0)];
    let answer = send(
        &db,
        Message::V2,
        &[("a", samples), ("b", again.clone()), ("a", again)],
    );
    assert_eq!(answer.written.unwrap().samples, 100_001, "{}", answer.text);
    assert_eq!(answer.refused, [(Refusal::Sample(Rejection::Duplicate), 1)]);
    assert!(answer.text.contains("{__name__=a}"), "{}", answer.text);
    assert_eq!(read(&db, "a")[0].1.len(), 100_000);
}

#[test]
fn headers_are_answered_as_senders_expect() {
    let world = World::new();
    let db = world.open();
    let series = [("up", vec![sample(T0, 1.0)])];
    let status = |content_type, content_encoding, body: &[u8]| {
        let headers = WriteHeaders {
            content_type,
            content_encoding,
        };
        db.receive_write(headers, body).status
    };
    let snappy = compress(Compression::Snappy, &encode(Message::V1, &series));
    let zstd = compress(Compression::Zstd, &encode(Message::V1, &series));
    assert_eq!(status(None, None, &snappy), 204);
    assert_eq!(status(None, Some("zstd"), &zstd), 204);
    assert_eq!(status(None, Some("gzip"), &snappy), 415);
    assert_eq!(status(Some("text/plain"), None, &snappy), 415);
    assert_eq!(status(None, None, &zstd), 400);
    assert_eq!(status(None, None, &vec![0; (8 << 20) + 1]), 413);
}

#[test]
fn a_database_that_takes_no_writes_asks_for_them_again() {
    let world = World::new();
    world.open().close().unwrap();
    let db = Db::open_read_only(crate::support::DIR, world.options()).unwrap();
    let answer = send(&db, Message::V2, &[("up", vec![sample(T0, 1.0)])]);
    assert_eq!(
        (answer.status, answer.written),
        (503, Some(Written::default()))
    );
}

/// Returns a read request for `name` from `start` to `end`.
fn read_request(
    name: &str,
    matcher: (&str, &str),
    start: i64,
    end: i64,
    kind: AnswerKind,
) -> ReadRequest {
    fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
        out.extend([number << 3 | 2, bytes.len() as u8]);
        out.extend_from_slice(bytes);
    }
    fn number(out: &mut Vec<u8>, number: u8, mut value: u64) {
        out.push(number << 3);
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }
    let mut query = Vec::new();
    number(&mut query, 1, start as u64);
    number(&mut query, 2, end as u64);
    for (label, value) in [("__name__", name), matcher] {
        let mut matcher = Vec::new();
        field(&mut matcher, 2, label.as_bytes());
        field(&mut matcher, 3, value.as_bytes());
        field(&mut query, 3, &matcher);
    }
    let mut message = Vec::new();
    field(&mut message, 1, &query);
    number(
        &mut message,
        2,
        u64::from(kind == AnswerKind::StreamedChunks),
    );
    ReadRequest::parse(message).unwrap()
}

#[test]
fn series_are_read_in_the_order_of_other_servers() {
    let world = World::new();
    let db = world.open();
    // By metric `up` comes last; by the bytes of the labels `Zone` is before `__name__`.
    let names = [r#"up{Zone="a"}"#, r#"up{job="b"}"#, r#"up{job="a"}"#];
    let series: Vec<_> = names
        .iter()
        .map(|name| {
            (
                *name,
                vec![sample(T0 - 1, 0.5), sample(T0, 1.0), sample(T0 + 1, 2.0)],
            )
        })
        .collect();
    assert_eq!(send(&db, Message::V2, &series).status, 204);
    let external = ExternalLabels::from_pairs([("cluster", "eu")]).unwrap();
    let ask = |kind| {
        let request = read_request("up", ("cluster", "eu"), T0, T0, kind);
        let mut answer = Vec::new();
        db.answer_read(&request, &external, &mut answer).unwrap();
        answer
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let streamed = text(&ask(AnswerKind::StreamedChunks));
    let samples =
        text(&decompress(Compression::Snappy, &ask(AnswerKind::Samples), 10_000).unwrap());
    for answer in [streamed, samples] {
        let place = |part: &str| {
            answer
                .find(part)
                .unwrap_or_else(|| panic!("{part} in {answer:?}"))
        };
        assert!(place("Zone") < place("job\u{12}\u{1}a"));
        assert!(place("job\u{12}\u{1}a") < place("job\u{12}\u{1}b"));
        assert_eq!(answer.matches("cluster\u{12}\u{2}eu").count(), 3);
    }
    let elsewhere = read_request("up", ("cluster", "us"), T0, T0, AnswerKind::StreamedChunks);
    let mut answer = Vec::new();
    db.answer_read(&elsewhere, &external, &mut answer).unwrap();
    assert!(answer.is_empty());
}

#[test]
fn a_damaged_request_is_an_error_with_a_place() {
    let error = ReadRequest::parse(vec![0x0a, 9]).unwrap_err();
    assert!(
        matches!(error, WireError::Malformed { offset: 1, .. }),
        "{error}"
    );
}

/// A receiver in a page: what a server has to add to the library.
fn serve_once(db: &Db, listener: &TcpListener) {
    let (stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(&stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "POST /api/v1/write HTTP/1.1\r\n");
    let (mut content_type, mut content_encoding, mut len) = (None, None, 0);
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-type" => content_type = Some(value.to_owned()),
            "content-encoding" => content_encoding = Some(value.to_owned()),
            "content-length" => len = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).unwrap();
    let headers = WriteHeaders {
        content_type: content_type.as_deref(),
        content_encoding: content_encoding.as_deref(),
    };
    let answer = db.receive_write(headers, &body);
    let mut out = &stream;
    write!(
        out,
        "HTTP/1.1 {} -\r\nConnection: close\r\nContent-Length: {}\r\n",
        answer.status,
        answer.text.len()
    )
    .unwrap();
    for (name, value) in answer.headers() {
        write!(out, "{name}: {value}\r\n").unwrap();
    }
    write!(out, "\r\n{}", answer.text).unwrap();
}

#[test]
fn a_receiver_is_a_page_of_code() {
    let world = World::new();
    let db = world.open();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let body = compress(
        Compression::Snappy,
        &encode(Message::V2, &[("up", vec![sample(T0, 1.0)])]),
    );
    let mut answer = String::new();
    std::thread::scope(|scope| {
        scope.spawn(|| serve_once(&db, &listener));
        let mut stream = TcpStream::connect(address).unwrap();
        let content_type = Message::V2.content_type();
        let len = body.len();
        write!(
            stream,
            "POST /api/v1/write HTTP/1.1\r\nContent-Type: {content_type}\r\nContent-Encoding: snappy\r\nContent-Length: {len}\r\n\r\n"
        )
        .unwrap();
        stream.write_all(&body).unwrap();
        stream.read_to_string(&mut answer).unwrap();
    });
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    let headers = answer.lines().filter_map(|line| line.split_once(": "));
    assert_eq!(Written::parse(headers).unwrap().samples, 1);
}
