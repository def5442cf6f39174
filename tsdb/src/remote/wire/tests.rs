use proptest::prelude::*;

use super::*;
use crate::error::Rejection;
use crate::labels::Labels;
use crate::limits::{
    WRITE_MESSAGE_BYTES_MAX, WRITE_SAMPLES_MAX, WRITE_SERIES_MAX, WRITE_SYMBOLS_MAX,
};
use crate::sample::Sample;

type Expected = Vec<(Labels, Vec<Sample>)>;

fn read(request: &WriteRequest<'_>) -> Expected {
    request
        .series()
        .map(|series| (series.labels().unwrap(), series.samples().collect()))
        .collect()
}

fn encode(message: Message, series: &Expected) -> Vec<u8> {
    match message {
        Message::V1 => {
            let mut encoder = EncoderV1::new();
            for (labels, samples) in series {
                encoder.push(labels, samples);
            }
            assert_eq!(encoder.size(), encoder.message().len());
            encoder.message().to_vec()
        }
        Message::V2 => {
            let mut encoder = EncoderV2::new();
            encoder.push([("left", "over")], &[]);
            encoder.clear();
            for (labels, samples) in series {
                encoder.push(labels, samples);
            }
            assert_eq!(encoder.size(), encoder.message().len());
            encoder.message().to_vec()
        }
    }
}

/// Appends a length-delimited field.
fn field(out: &mut Vec<u8>, number: u8, content: &[u8]) {
    put_header(out, number, content.len());
    out.extend_from_slice(content);
}

#[test]
fn symbols_stand_once_and_the_empty_one_first() {
    let mut encoder = EncoderV2::new();
    let sample = Sample {
        timestamp: 7,
        value: 1.0,
    };
    encoder.push([("__name__", "up"), ("job", "up")], &[sample]);
    encoder.push_numbered(&[0, 1], [("__name__", "up")], &[sample, sample]);
    let message = encoder.message().to_vec();
    let mut symbols = Vec::new();
    let mut fields = FieldReader::new(&message);
    while let Some(field) = fields.next().unwrap() {
        if field.number == 4 {
            symbols.push(field.text().unwrap());
        }
    }
    assert_eq!(symbols, ["", "__name__", "up", "job"]);
    let request = WriteRequest::parse(Message::V2, &message).unwrap();
    assert_eq!((request.totals().series, request.totals().samples), (2, 3));
    assert_eq!(read(&request)[1].0.to_string(), "up");
}

#[test]
fn what_is_not_floats_is_counted_and_passed_over() {
    let mut series = Vec::new();
    field(&mut series, 1, &[1, 2]);
    field(&mut series, 3, b"a histogram");
    field(&mut series, 4, b"an exemplar");
    field(&mut series, 5, b"metadata");
    field(&mut series, 9, b"something to come");
    let mut body = Vec::new();
    for symbol in ["", "__name__", "up"] {
        field(&mut body, 4, symbol.as_bytes());
    }
    field(&mut body, 5, &series);
    field(&mut body, 15, b"something to come");
    let request = WriteRequest::parse(Message::V2, &body).unwrap();
    let expected = Totals {
        series: 1,
        samples: 0,
        histograms: 1,
        exemplars: 1,
        metadata: 1,
    };
    assert_eq!(request.totals(), expected);
    assert_eq!(request.series().next().unwrap().totals(), expected);
}

#[test]
fn bad_labels_are_a_fault_of_their_series_alone() {
    let mut body = Vec::new();
    for symbol in [&b""[..], b"__name__", b"up", b"\xff"] {
        field(&mut body, 4, symbol);
    }
    for refs in [
        &[1, 2][..],
        &[1],
        &[1, 9],
        &[1, 3],
        &[1, 0],
        &[1, 2, 1, 2],
        &[],
    ] {
        let mut series = Vec::new();
        field(&mut series, 1, refs);
        field(&mut body, 5, &series);
    }
    let request = WriteRequest::parse(Message::V2, &body).unwrap();
    let labels: Vec<_> = request
        .series()
        .map(|series| series.labels().map(|labels| labels.to_string()))
        .collect();
    assert_eq!(
        labels,
        [
            Ok(String::from("up")),
            Err(PairFault::NameWithoutValue),
            Err(PairFault::SymbolOutOfRange),
            Err(PairFault::NotUtf8),
            Err(PairFault::Rejected(Rejection::EmptyLabels)),
            Err(PairFault::Rejected(Rejection::InvalidLabelName)),
            Err(PairFault::Rejected(Rejection::EmptyLabels)),
        ]
    );
}

#[test]
fn references_may_be_unpacked_split_and_behind_the_series_they_name() {
    // The series first: its references 1 and 2 alone, then 3 and 4 packed, torn in the middle of the second pair.
    let mut series = vec![0x08, 1, 0x08, 2];
    field(&mut series, 1, &[3]);
    field(&mut series, 1, &[4]);
    let mut body = Vec::new();
    field(&mut body, 5, &series);
    for symbol in ["", "__name__", "up", "job", "node"] {
        field(&mut body, 4, symbol.as_bytes());
    }
    let request = WriteRequest::parse(Message::V2, &body).unwrap();
    assert_eq!(read(&request)[0].0.to_string(), r#"up{job="node"}"#);
}

#[test]
fn a_table_that_does_not_begin_with_the_empty_symbol_is_refused() {
    let mut body = Vec::new();
    field(&mut body, 4, b"up");
    let error = WriteRequest::parse(Message::V2, &body).unwrap_err();
    assert!(
        matches!(error, WireError::Malformed { offset: 2, .. }),
        "{error}"
    );
}

#[test]
fn every_cap_is_met_exactly() {
    let many = |number: u8, count: usize| [number << 3 | 2, 0].repeat(count);
    let parse =
        |body: &[u8]| WriteRequest::parse(Message::V2, body).map(|request| request.totals());
    assert!(parse(&many(4, WRITE_SYMBOLS_MAX)).is_ok());
    assert!(parse(&many(5, WRITE_SERIES_MAX)).is_ok());
    let samples = |count: usize| {
        let mut body = Vec::new();
        field(&mut body, 5, &many(2, count));
        body
    };
    assert!(parse(&samples(WRITE_SAMPLES_MAX)).is_ok());
    for body in [
        many(4, WRITE_SYMBOLS_MAX + 1),
        many(5, WRITE_SERIES_MAX + 1),
        samples(WRITE_SAMPLES_MAX + 1),
    ] {
        assert_eq!(parse(&body).unwrap_err().status(), 413);
    }
}

#[test]
fn snappy_that_lies_about_its_length_is_refused_before_memory_is_taken() {
    let mut lie = Vec::new();
    crate::encoding::put_uvarint(&mut lie, WRITE_MESSAGE_BYTES_MAX as u64);
    lie.push(0);
    let error = decompress(Compression::Snappy, &lie, WRITE_MESSAGE_BYTES_MAX).unwrap_err();
    assert!(error.to_string().contains("expand"), "{error}");
    let mut huge = Vec::new();
    crate::encoding::put_uvarint(&mut huge, 1 << 31);
    let error = decompress(Compression::Snappy, &huge, WRITE_MESSAGE_BYTES_MAX).unwrap_err();
    assert_eq!(error.status(), 413);
}

#[test]
fn most_that_snappy_expands_to_is_not_taken_for_a_lie() {
    let zeros = vec![0; 1 << 20];
    let mut compressor = Compressor::new(Compression::Snappy).unwrap();
    let body = compressor.compress(&zeros).unwrap();
    assert_eq!(
        decompress(Compression::Snappy, body, zeros.len()),
        Ok(zeros)
    );
}

#[test]
fn zstd_is_stopped_at_the_cap() {
    let zeros = vec![0; 1 << 20];
    let mut compressor = Compressor::new(Compression::Zstd).unwrap();
    let body = compressor.compress(&zeros).unwrap().to_vec();
    assert_eq!(
        decompress(Compression::Zstd, &body, zeros.len() - 1)
            .unwrap_err()
            .status(),
        413
    );
    assert_eq!(decompress(Compression::Zstd, &body, zeros.len()), Ok(zeros));
    let nothing = compressor.compress(&[]).unwrap();
    assert_eq!(decompress(Compression::Zstd, nothing, 0), Ok(Vec::new()));
    let cut = decompress(Compression::Zstd, &body[..body.len() - 1], 1 << 21);
    assert_eq!(cut.unwrap_err().status(), 400);
}

fn some_series() -> impl Strategy<Value = Expected> {
    let name = prop_oneof![Just(String::from("__name__")), "[a-d_]{1,2}", "\\PC{1,3}"];
    let value = prop_oneof!["[ab]{1,2}", "\\PC{1,200}"];
    let labels = prop::collection::btree_map(name, value, 1..8);
    let value = prop_oneof![Just(0u64), Just((-0.0f64).to_bits()), any::<u64>()];
    let sample = (any::<i64>(), value).prop_map(|(timestamp, bits)| Sample {
        timestamp,
        value: f64::from_bits(bits),
    });
    let samples = prop::collection::vec(sample, 0..5);
    prop::collection::vec((labels, samples), 0..10).prop_map(|series| {
        let series = series.into_iter();
        series
            .map(|(labels, samples)| (Labels::from_pairs(labels).unwrap(), samples))
            .collect()
    })
}

proptest! {
    #[test]
    fn series_come_back_through_every_wrapping(series in some_series()) {
        for message in [Message::V1, Message::V2] {
            let bytes = encode(message, &series);
            for compression in [Compression::Snappy, Compression::Zstd] {
                let mut compressor = Compressor::new(compression).unwrap();
                let body = compressor.compress(&bytes).unwrap();
                let read_back = decompress(compression, body, bytes.len()).unwrap();
                let request = WriteRequest::parse(message, &read_back).unwrap();
                prop_assert_eq!(&read(&request), &series);
            }
        }
    }

    #[test]
    fn cut_messages_and_turned_bits_are_survived(series in some_series(), bit in any::<prop::sample::Index>()) {
        for message in [Message::V1, Message::V2] {
            let mut bytes = encode(message, &series);
            for len in 0..bytes.len() {
                walk(message, &bytes[..len]);
            }
            if !bytes.is_empty() {
                let bit = bit.index(bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
                walk(message, &bytes);
            }
        }
    }
}

/// Walks whatever `parse` takes, and counts what it finds.
fn walk(message: Message, body: &[u8]) {
    let Ok(request) = WriteRequest::parse(message, body) else {
        return;
    };
    let mut samples = 0;
    for series in request.series() {
        drop(series.labels());
        samples += series.samples().count();
    }
    assert_eq!(samples, request.totals().samples);
}

/// The series of the committed requests: see `tests/golden/remote/requests.go`.
fn golden_series() -> Expected {
    let t = 1_795_334_160_000;
    let series = |labels: &str, samples: &[(i64, u64)]| {
        let samples = samples.iter().map(|&(timestamp, bits)| Sample {
            timestamp,
            value: f64::from_bits(bits),
        });
        (labels.parse().unwrap(), samples.collect())
    };
    vec![
        series(
            r#"up{instance="a:9100",job="node"}"#,
            &[
                (t, 1f64.to_bits()),
                (t + 15_000, crate::sample::stale_marker().to_bits()),
            ],
        ),
        series(
            r#"http_requests_total{code="200",instance="a:9100",job="node"}"#,
            &[
                (t, 12_345f64.to_bits()),
                (t + 15_000, 12_346.5f64.to_bits()),
                (t + 30_000, f64::INFINITY.to_bits()),
            ],
        ),
        series(
            r#"odd:metric{Zone="é中",empty_value_next="x\n\"\\"}"#,
            &[
                (0, 0),
                (i64::MIN, 0x7ff8_0000_0000_0001),
                (i64::MAX - 1, 5e-324f64.to_bits()),
            ],
        ),
        series("no_samples", &[]),
    ]
}

const WRITE_V1: &[u8] = include_bytes!("../../../tests/golden/remote/write-v1.bin");
const WRITE_V2: &[u8] = include_bytes!("../../../tests/golden/remote/write-v2.bin");
const WRITE_V1_ALL: &[u8] = include_bytes!("../../../tests/golden/remote/write-v1-all.bin");
const WRITE_V2_ALL: &[u8] = include_bytes!("../../../tests/golden/remote/write-v2-all.bin");

#[test]
fn what_prometheus_writes_is_read() {
    for (message, body, is_all) in [
        (Message::V1, WRITE_V1, false),
        (Message::V2, WRITE_V2, false),
        (Message::V1, WRITE_V1_ALL, true),
        (Message::V2, WRITE_V2_ALL, true),
    ] {
        let request = WriteRequest::parse(message, body).unwrap();
        assert_eq!(read(&request), golden_series());
        let other = usize::from(is_all);
        let expected = Totals {
            series: 4,
            samples: 8,
            histograms: other,
            exemplars: other,
            metadata: other,
        };
        assert_eq!(request.totals(), expected);
    }
}

#[test]
fn what_prometheus_writes_is_what_we_write() {
    assert_eq!(encode(Message::V1, &golden_series()), WRITE_V1);
    // Prometheus ends every series of 2.0 with metadata that say nothing. Without them it is the same.
    let mut expected = Vec::new();
    let mut fields = FieldReader::new(WRITE_V2);
    while let Some(read) = fields.next().unwrap() {
        let bytes = read.bytes().unwrap();
        let bytes = match read.number {
            5 => bytes.strip_suffix(&[0x2a, 0]).unwrap(),
            _ => bytes,
        };
        field(&mut expected, read.number as u8, bytes);
    }
    assert_eq!(encode(Message::V2, &golden_series()), expected);
}

proptest! {
    /// Labels that are numbered or encoded beforehand make the very requests that their texts make.
    #[test]
    fn labels_that_were_seen_before_make_the_same_requests(
        requests in prop::collection::vec(prop::collection::vec((0..5_u32, 0..3_u32), 0..12), 1..5),
    ) {
        let (mut first, mut encoded) = (EncoderV1::new(), EncoderV1::new());
        let (mut second, mut numbered) = (EncoderV2::new(), EncoderV2::new());
        let mut texts: Vec<String> = Vec::new();
        let mut number = |text: &str| match texts.iter().position(|known| known == text) {
            Some(at) => at as u32,
            None => {
                texts.push(text.to_owned());
                texts.len() as u32 - 1
            }
        };
        for request in requests {
            first.clear();
            encoded.clear();
            second.clear();
            numbered.clear();
            for (pod, node) in request {
                let labels: Labels = format!("up{{pod=\"{pod}\",node=\"{node}\"}}").parse().unwrap();
                let samples = [Sample { timestamp: 7, value: f64::from(pod) }];
                first.push(&labels, &samples);
                encoded.push_encoded(&EncoderV1::encode_labels(&labels), &samples);
                second.push(&labels, &samples);
                let numbers: Vec<u32> = labels.iter().flat_map(|(name, value)| [name, value]).map(&mut number).collect();
                numbered.push_numbered(&numbers, &labels, &samples);
            }
            prop_assert_eq!(first.message(), encoded.message());
            prop_assert_eq!(second.message(), numbered.message());
        }
    }
}
