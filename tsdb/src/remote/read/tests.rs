use proptest::prelude::*;

use super::*;
use crate::encoding::ByteReader;
use crate::labels::{MatchOp, Matcher};
use crate::limits::{READ_FRAME_BYTES_MAX, READ_QUERIES_MAX, READ_REGEXES_MAX};
use crate::query::Chunk;
use crate::remote::wire::{
    Compression, FieldReader, decompress, put_bytes, put_header, put_labels, put_number,
};
use crate::sample::Samples;

fn put_matcher(out: &mut Vec<u8>, op: i64, name: &str, value: &str) {
    let mut matcher = Vec::new();
    put_number(&mut matcher, 1, op);
    put_bytes(&mut matcher, 2, name.as_bytes());
    put_bytes(&mut matcher, 3, value.as_bytes());
    put_header(out, 3, matcher.len());
    out.extend_from_slice(&matcher);
}

fn request(queries: &[Vec<u8>], accepted: &[u8]) -> Result<ReadRequest, WireError> {
    let mut message = Vec::new();
    for query in queries {
        put_header(&mut message, 1, query.len());
        message.extend_from_slice(query);
    }
    put_bytes(&mut message, 2, accepted);
    ReadRequest::parse(message)
}

#[test]
fn queries_are_spans_and_matchers() {
    let mut query = Vec::new();
    put_number(&mut query, 1, -5);
    put_number(&mut query, 2, 10);
    put_matcher(&mut query, 0, "__name__", "up");
    put_matcher(&mut query, 3, "job", "a|b");
    // Hints.
    put_bytes(&mut query, 4, b"whatever");
    let request = request(&[query, Vec::new()], &[]).unwrap();
    let queries: Vec<ReadQuery> = request.queries().map(Result::unwrap).collect();
    assert_eq!(queries[0].range, TimeRange::closed(-5, 10));
    assert_eq!(
        queries[0].matchers,
        [
            Matcher::new(MatchOp::Equal, "__name__", "up").unwrap(),
            Matcher::new(MatchOp::NotRegex, "job", "a|b").unwrap()
        ]
    );
    assert_eq!((queries.len(), queries[1].matchers.len()), (2, 0));
    assert_eq!(request.kind(), AnswerKind::Samples);
}

#[test]
fn the_first_known_kind_of_answer_is_taken() {
    let kind = |accepted: &[u8]| request(&[], accepted).map(|request| request.kind());
    assert_eq!(kind(&[1, 0]), Ok(AnswerKind::StreamedChunks));
    assert_eq!(kind(&[0, 1]), Ok(AnswerKind::Samples));
    assert_eq!(kind(&[7, 1]), Ok(AnswerKind::StreamedChunks));
    assert_eq!(kind(&[7]).unwrap_err().status(), 400);
}

#[test]
fn wrong_queries_are_refused_at_once() {
    let status = |op: i64, value: &str| {
        let mut query = Vec::new();
        put_matcher(&mut query, op, "a", value);
        request(&[query], &[]).unwrap_err().status()
    };
    assert_eq!(status(4, "x"), 400);
    assert_eq!(status(2, "("), 400);
    let mut many = Vec::new();
    (0..=READ_REGEXES_MAX).for_each(|_| put_matcher(&mut many, 2, "a", "b"));
    assert_eq!(request(&[many], &[]).unwrap_err().status(), 413);
    let many = vec![Vec::new(); READ_QUERIES_MAX + 1];
    assert!(request(&many[1..], &[]).is_ok());
    assert_eq!(request(&many, &[]).unwrap_err().status(), 413);
}

/// Reads the frames of a stream: query, labels, chunks.
fn frames(stream: &[u8]) -> Vec<(u64, String, Vec<Chunk>)> {
    let mut reader = ByteReader::new(stream);
    let mut frames = Vec::new();
    while !reader.is_empty() {
        let len = reader
            .uvarint_max(READ_FRAME_BYTES_MAX, "frame is too long")
            .unwrap();
        let checksum = u32::from_be_bytes(reader.bytes(4).unwrap().try_into().unwrap());
        let frame = reader.bytes(len).unwrap();
        assert_eq!(crc32c::crc32c(frame), checksum);
        let (mut query, mut labels, mut chunks) = (0, String::new(), Vec::new());
        let mut fields = FieldReader::new(frame);
        while let Some(field) = fields.next().unwrap() {
            if field.number == 2 {
                query = field.number().unwrap();
                continue;
            }
            let mut fields = field.message().unwrap();
            while let Some(field) = fields.next().unwrap() {
                let mut parts = field.message().unwrap();
                let mut chunk = Chunk {
                    first: 0,
                    last: 0,
                    count: 0,
                    bytes: Box::default(),
                };
                while let Some(part) = parts.next().unwrap() {
                    match (field.number, part.number) {
                        (1, 1) => labels += part.text().unwrap(),
                        (1, 2) => labels = labels + "=" + part.text().unwrap() + ";",
                        (2, 1) => chunk.first = part.number().unwrap() as i64,
                        (2, 2) => chunk.last = part.number().unwrap() as i64,
                        (2, 3) => assert_eq!(part.number(), Ok(1)),
                        (2, 4) => chunk.bytes = part.bytes().unwrap().into(),
                        other => panic!("unknown field {other:?}"),
                    }
                }
                if field.number == 2 {
                    chunk.count = usize::from(u16::from_be_bytes([chunk.bytes[0], chunk.bytes[1]]));
                    chunks.push(chunk);
                }
            }
        }
        frames.push((query, labels, chunks));
    }
    frames
}

fn chunk(first: i64, len: usize) -> Chunk {
    Chunk {
        first,
        last: first + 1,
        count: 1,
        bytes: [0, 1]
            .into_iter()
            .chain((2..len).map(|byte| byte as u8))
            .collect(),
    }
}

#[test]
fn long_series_are_split_over_frames() {
    let chunks: Vec<Chunk> = (1..1500).map(|first| chunk(first, 2000)).collect();
    let mut stream = Vec::new();
    let mut writer = FrameWriter::new(&mut stream);
    writer.write_series(0, [("a", "1")], Vec::new()).unwrap();
    writer
        .write_series(0, [("a", "2")], chunks.clone())
        .unwrap();
    writer
        .write_series(3, [("a", "3"), ("b", "")], [chunk(-7, 10)])
        .unwrap();
    let frames = frames(&stream);
    assert_eq!(frames.len(), 4);
    let split: Vec<Chunk> = frames[..3]
        .iter()
        .flat_map(|frame| frame.2.clone())
        .collect();
    assert_eq!(split, chunks);
    assert!(
        frames[..3]
            .iter()
            .all(|frame| (frame.0, frame.1.as_str()) == (0, "a=2;"))
    );
    assert_eq!((frames[3].0, &frames[3].2), (3, &vec![chunk(-7, 10)]));
}

#[test]
fn an_answer_of_samples_has_a_result_for_each_query() {
    let mut samples = Samples::default();
    samples.push(5, -0.0);
    samples.push(6, f64::NAN);
    let mut writer = SamplesWriter::new();
    writer.end_query().unwrap();
    writer.push([("a", "1")], &samples).unwrap();
    writer.push([("a", "2")], &Samples::default()).unwrap();
    writer.end_query().unwrap();
    let message = decompress(Compression::Snappy, &writer.finish().unwrap(), 1000).unwrap();
    let mut series = Vec::new();
    put_labels(&mut series, [("a", "1")]);
    for sample in samples.iter() {
        crate::remote::wire::put_sample(&mut series, sample);
    }
    let mut expected = vec![0x0a, 0, 0x0a, series.len() as u8 + 2];
    put_bytes(&mut expected, 1, &series);
    assert_eq!(message, expected);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(ReadRequest::decode(&bytes));
        if let Ok(request) = ReadRequest::parse(bytes) {
            prop_assert!(request.queries().all(|query| query.is_ok()));
        }
    }
}

#[test]
fn what_prometheus_asks_is_read() {
    let message = include_bytes!("../../../tests/golden/remote/read.bin").to_vec();
    let request = ReadRequest::parse(message).unwrap();
    assert_eq!(request.kind(), AnswerKind::StreamedChunks);
    let queries: Vec<ReadQuery> = request.queries().map(Result::unwrap).collect();
    let at = 1_795_334_160_000;
    assert_eq!(queries.len(), 1);
    assert_eq!(queries[0].range, TimeRange::closed(at - 3_600_000, at));
    assert_eq!(
        queries[0].matchers,
        crate::labels::parse_selector(r#"up{job!="x",instance=~"a.*",zone!~"b|c"}"#).unwrap()
    );
}
