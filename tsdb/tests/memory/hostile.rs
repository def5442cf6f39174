//! Three hundred requests of somebody who means harm: none makes the receiver take more than 64 MiB, and the database takes
//! good requests afterwards.

use tsdb::remote::read::ReadRequest;
use tsdb::remote::receive::WriteHeaders;
use tsdb::remote::wire::{Compression, Compressor, EncoderV1, EncoderV2, Message};
use tsdb::{Background, Clock, Db, Labels, Options, Sample, SystemClock};

use crate::counting::{alone, peak_of};

const PEAK_BYTES_MAX: usize = 64 << 20;

/// A body as it comes over the network.
struct Payload {
    name: String,
    message: Message,
    compression: Compression,
    body: Vec<u8>,
}

#[derive(Default)]
struct Payloads(Vec<Payload>);

impl Payloads {
    /// Adds a message, compressed as it should be.
    fn add(&mut self, name: impl Into<String>, message: Message, body: &[u8]) {
        self.add_as(name, message, Compression::Snappy, body);
    }

    fn add_as(
        &mut self,
        name: impl Into<String>,
        message: Message,
        compression: Compression,
        body: &[u8],
    ) {
        let mut compressor = Compressor::new(compression).unwrap();
        let body = compressor.compress(body).unwrap().to_vec();
        self.add_raw(name, message, compression, body);
    }

    fn add_raw(
        &mut self,
        name: impl Into<String>,
        message: Message,
        compression: Compression,
        body: Vec<u8>,
    ) {
        self.0.push(Payload {
            name: format!("{message:?}: {}", name.into()),
            message,
            compression,
            body,
        });
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Returns a length-delimited field.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    varint(&mut out, content.len() as u64);
    out.extend_from_slice(content);
    out
}

fn now() -> i64 {
    SystemClock.now_ms()
}

/// Returns a good request, and the field of a series in the message.
fn good(message: Message) -> (Vec<u8>, u8) {
    let samples = [now() - 1000, now()].map(|timestamp| Sample {
        timestamp,
        value: 1.5,
    });
    let series: Vec<Labels> = (0..3)
        .map(|i| format!("up{{job=\"a\",instance=\"{i}\"}}").parse().unwrap())
        .collect();
    match message {
        Message::V1 => {
            let mut encoder = EncoderV1::new();
            series
                .iter()
                .for_each(|labels| encoder.push(labels, &samples));
            (encoder.message().to_vec(), 1)
        }
        Message::V2 => {
            let mut encoder = EncoderV2::new();
            series
                .iter()
                .for_each(|labels| encoder.push(labels, &samples));
            (encoder.message().to_vec(), 5)
        }
    }
}

/// Every compressed body fits into what a receiver reads, or is cut to it.
fn payloads() -> Vec<Payload> {
    let mut all = Payloads::default();
    for message in [Message::V1, Message::V2] {
        let (request, timeseries) = good(message);
        cuts(&mut all, message, &request);
        wire_types(&mut all, message, timeseries);
        lengths(&mut all, message, timeseries);
        empties(&mut all, message, timeseries);
        bombs(&mut all, message);
        floods(&mut all, message);
    }
    references(&mut all);
    all.0
}

/// The same request, ended early, and with a byte turned over.
fn cuts(all: &mut Payloads, message: Message, request: &[u8]) {
    for part in 0..40 {
        let len = request.len() * part / 40;
        all.add(format!("cut at {len}"), message, &request[..len]);
        let mut turned = request.to_vec();
        turned[len] ^= 0xff;
        all.add(format!("byte {len} turned over"), message, &turned);
    }
    let mut compressor = Compressor::new(Compression::Snappy).unwrap();
    let body = compressor.compress(request).unwrap().to_vec();
    for part in 0..8 {
        let len = body.len() * part / 8;
        all.add_raw(
            format!("snappy cut at {len}"),
            message,
            Compression::Snappy,
            body[..len].to_vec(),
        );
    }
}

/// Each known field as something else.
fn wire_types(all: &mut Payloads, message: Message, timeseries: u8) {
    for number in [1, 2, 3, 4, 5] {
        for wire_type in [0, 1, 3, 4, 5, 6, 7] {
            let inner = [number << 3 | wire_type, 1, 1, 1, 1, 1, 1, 1, 1];
            all.add(
                format!("field {number} as {wire_type}"),
                message,
                &field(timeseries, &inner),
            );
        }
    }
    all.add("field 0", message, &[0x02, 0]);
    all.add("nested groups", message, &[0x0b; 1 << 20]);
    all.add(
        "a sample of fields that are no sample's",
        message,
        &field(timeseries, &field(2, &[0x09, 1])),
    );
}

/// Lengths and numbers that lie.
fn lengths(all: &mut Payloads, message: Message, timeseries: u8) {
    for claimed in [
        1,
        127,
        128,
        1 << 20,
        1 << 31,
        1 << 32,
        u64::MAX >> 1,
        u64::MAX,
    ] {
        let mut body = vec![timeseries << 3 | 2];
        varint(&mut body, claimed);
        all.add(format!("a series of {claimed} bytes"), message, &body);
        let mut inner = vec![0x0a];
        varint(&mut inner, claimed);
        all.add(
            format!("labels of {claimed} bytes"),
            message,
            &field(timeseries, &inner),
        );
        let mut body = Vec::new();
        varint(&mut body, claimed);
        body.push(0);
        all.add_raw(
            format!("snappy of {claimed} bytes"),
            message,
            Compression::Snappy,
            body,
        );
    }
    all.add("an endless varint", message, &[0xff; 1 << 20]);
    all.add(
        "an endless timestamp",
        message,
        &field(timeseries, &field(2, &[&[0x10][..], &[0x80; 64]].concat())),
    );
}

/// Messages of two bytes, by the million.
fn empties(all: &mut Payloads, message: Message, timeseries: u8) {
    const COUNT: usize = (32 << 20) / 2 - 8;
    for number in 1..=6 {
        let fields = [number << 3 | 2, 0].repeat(COUNT);
        all.add(format!("{COUNT} empty fields {number}"), message, &fields);
        all.add(
            format!("a series of {COUNT} empty fields {number}"),
            message,
            &field(timeseries, &fields),
        );
        let zeros = [number << 3, 0].repeat(COUNT);
        all.add(
            format!("a series of {COUNT} zeros {number}"),
            message,
            &field(timeseries, &zeros),
        );
    }
    let nameless = field(1, &field(2, b"v")).repeat(1 << 20);
    all.add(
        "a million labels without a name",
        message,
        &field(timeseries, &nameless),
    );
}

/// Bodies that grow.
fn bombs(all: &mut Payloads, message: Message) {
    for mebibytes in [1, 31, 32, 33, 64, 128] {
        let zeros = vec![0; mebibytes << 20];
        for compression in [Compression::Snappy, Compression::Zstd] {
            let name = format!("{mebibytes} MiB of zeros as {compression:?}");
            all.add_as(name, message, compression, &zeros);
        }
    }
    all.add_raw(
        "nothing as snappy",
        message,
        Compression::Snappy,
        Vec::new(),
    );
    all.add_raw("nothing as zstd", message, Compression::Zstd, Vec::new());
    // A header that asks for a window of two gigabytes.
    let window = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
    all.add_raw("a zstd window of 2 GiB", message, Compression::Zstd, window);
}

/// Well-formed requests that are too much.
fn floods(all: &mut Payloads, message: Message) {
    let samples = |count: usize| -> Vec<Sample> {
        let sample = |i| Sample {
            timestamp: now() - i as i64,
            value: i as f64,
        };
        (0..count).map(sample).collect()
    };
    let names: Vec<String> = (0..100_000).map(|i| format!("n{i}")).collect();
    let long = "v".repeat(4000);
    let mut request = Request::of(message);
    for name in &names {
        request.push(&[("__name__", name)], &samples(1));
    }
    all.add("a hundred thousand new series", message, request.message());
    let mut request = Request::of(message);
    for name in &names[..2_500] {
        request.push(
            &[("__name__", name), ("a", &long), ("b", &long), ("c", &long)],
            &samples(1),
        );
    }
    all.add("series with long labels", message, request.message());
    let mut request = Request::of(message);
    request.push(&[("__name__", "flood")], &samples(999_999));
    all.add(
        "a million samples of one series, newest first",
        message,
        request.message(),
    );
}

/// A request of either message.
enum Request {
    V1(EncoderV1),
    V2(EncoderV2),
}

impl Request {
    fn of(message: Message) -> Self {
        match message {
            Message::V1 => Self::V1(EncoderV1::new()),
            Message::V2 => Self::V2(EncoderV2::new()),
        }
    }

    fn push(&mut self, labels: &[(&str, &str)], samples: &[Sample]) {
        match self {
            Self::V1(encoder) => encoder.push(labels.iter().copied(), samples),
            Self::V2(encoder) => encoder.push(labels.iter().copied(), samples),
        }
    }

    fn message(&mut self) -> &[u8] {
        match self {
            Self::V1(encoder) => encoder.message(),
            Self::V2(encoder) => encoder.message(),
        }
    }
}

/// References of 2.0 that lead nowhere.
fn references(all: &mut Payloads) {
    let symbols = ["", "__name__", "up"]
        .map(|symbol| field(4, symbol.as_bytes()))
        .concat();
    let mut with = |name: &str, series: &[u8]| {
        all.add(
            name,
            Message::V2,
            &[&symbols[..], &field(5, series)].concat(),
        );
    };
    let sample = field(2, &[0x10, 1]);
    for refs in [
        &[1][..],
        &[1, 2, 1],
        &[1, 3],
        &[3, 1],
        &[2, 2, 2],
        &[0, 0],
        &[1, 0],
        &[127, 127],
    ] {
        with(
            &format!("references {refs:?}"),
            &[field(1, refs), sample.clone()].concat(),
        );
    }
    for huge in [1 << 31, (1 << 32) - 1, 1 << 32, u64::MAX] {
        let mut refs = vec![1];
        varint(&mut refs, huge);
        with(
            &format!("reference {huge}"),
            &[field(1, &refs), sample.clone()].concat(),
        );
    }
    with(
        "sixteen million references",
        &[field(1, &[1; 16 << 20]), sample.clone()].concat(),
    );
    with(
        "four million series' worth of references",
        &field(1, &[1, 2].repeat(4 << 20)),
    );
    with(
        "a reference torn by the end of a field",
        &[field(1, &[0x80]), field(1, &[1])].concat(),
    );
    with(
        "references alone",
        &[0x08, 1, 0x08, 2, 0x08, 1].repeat(1 << 20),
    );
    let million = field(4, b"x").repeat(1 << 20);
    all.add(
        "a million symbols that are the same",
        Message::V2,
        &[field(4, b""), million].concat(),
    );
    all.add("no empty symbol", Message::V2, &field(4, b"up"));
    all.add(
        "symbols that are not UTF-8",
        Message::V2,
        &[field(4, b""), field(4, b"\xff\xfe")].concat(),
    );
}

#[test]
fn hostile_writes_stay_within_their_memory() {
    let _alone = alone();
    let dir = std::env::temp_dir().join(format!("tsdb-hostile-{}", std::process::id()));
    // New series are memory of the head, which has a budget of its own.
    let options = Options::default()
        .with_background(Background::Manual)
        .with_memory_limit(Some(8 << 20));
    let db = Db::open(&dir, options).unwrap();
    let payloads = payloads();
    assert!(payloads.len() >= 300, "{} payloads", payloads.len());
    let mut worst = (0, "");
    for payload in &payloads {
        let headers = WriteHeaders {
            content_type: Some(payload.message.content_type()),
            content_encoding: Some(payload.compression.content_encoding()),
        };
        let mut status = 0;
        let peak = peak_of(|| status = db.receive_write(headers, &payload.body).status);
        assert!(
            matches!(status, 204 | 400 | 413),
            "{}: answered {status}",
            payload.name
        );
        assert!(
            peak <= PEAK_BYTES_MAX,
            "{}: {peak} bytes at its peak, answered {status}",
            payload.name
        );
        worst = worst.max((peak, payload.name.as_str()));
    }
    // What a sender is told is true: the database still takes what is good.
    let mut encoder = EncoderV2::new();
    let sample = Sample {
        timestamp: now(),
        value: 1.0,
    };
    let known: Labels = "up{job=\"a\",instance=\"0\"}".parse().unwrap();
    encoder.push(&known, &[sample]);
    let mut compressor = Compressor::new(Compression::Snappy).unwrap();
    let headers = WriteHeaders {
        content_type: Some(Message::V2.content_type()),
        content_encoding: None,
    };
    let answer = db.receive_write(headers, compressor.compress(encoder.message()).unwrap());
    assert_eq!(answer.status, 204, "{} after {worst:?}", answer.text);
    db.close().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn hostile_reads_stay_within_their_memory() {
    let _alone = alone();
    let regex = |value: &str| {
        field(
            1,
            &field(
                3,
                &[&[0x08, 2][..], &field(2, b"a"), &field(3, value.as_bytes())].concat(),
            ),
        )
    };
    let huge = "(([a-z]{1,30}){1,30}|x)";
    let bodies = [
        [0x0a, 0].repeat(2 << 20),
        field(1, &[0x1a, 0].repeat(2 << 20)),
        field(1, &field(3, &field(3, &vec![b'x'; 1 << 20]))),
        regex("(((((((((((((((("),
        regex("(a{1000}){1000}"),
        regex(huge).repeat(64),
        field(2, &[1; 4 << 20]),
        [0x10, 1].repeat(2 << 20),
        vec![0; 64 << 20],
        vec![0xff; 1 << 20],
    ];
    for body in &bodies {
        let mut compressor = Compressor::new(Compression::Snappy).unwrap();
        let body = compressor.compress(body).unwrap();
        let peak = peak_of(|| drop(ReadRequest::decode(body)));
        assert!(peak <= PEAK_BYTES_MAX, "{peak} bytes at its peak");
    }
}
