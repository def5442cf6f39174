//! Reads a Prometheus by remote read, which has every sample as it is stored: the text of its other answers has neither
//! staleness markers nor the bits of a NaN.

use std::io::Read;

use tsdb::remote::wire::{Compression, Compressor, Message, WriteRequest, decompress};

use crate::{ANSWER_BYTES_MAX, Contents, FIRST, LAST, Outcome, named};

pub fn read(url: &str) -> Outcome<Contents> {
    let mut compressor = Compressor::new(Compression::Snappy)?;
    let answer = ureq::post(format!("{url}/api/v1/read"))
        .header("Content-Type", "application/x-protobuf")
        .header("Content-Encoding", "snappy")
        .header("X-Prometheus-Remote-Read-Version", "0.1.0")
        .send(compressor.compress(&request())?)?;
    let mut body = Vec::new();
    answer
        .into_body()
        .into_reader()
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut body)?;
    let message = decompress(Compression::Snappy, &body, ANSWER_BYTES_MAX as usize)?;
    // An answer is a list of results, one for each query, and a result is a list of series as in a write request.
    let (tag, rest) = message.split_first().ok_or("an empty answer")?;
    let (length, result) = varint(rest)?;
    if *tag != bytes_tag(1) || result.len() as u64 != length {
        return Err("an answer to one query has one result".into());
    }
    let mut contents = Contents::new();
    for series in WriteRequest::parse(Message::V1, result)?.series() {
        let pairs = series.pairs().collect::<Result<Vec<_>, _>>()?;
        let samples = series
            .samples()
            .map(|sample| (sample.timestamp, sample.value));
        contents
            .entry(named(pairs.into_iter()))
            .or_default()
            .extend(samples);
    }
    Ok(contents)
}

/// A `prometheus.ReadRequest` for everything there is, answered with samples.
fn request() -> Vec<u8> {
    const REGEX: u64 = 2;
    let mut matcher = Vec::new();
    put_number(&mut matcher, 1, REGEX);
    put_bytes(&mut matcher, 2, b"__name__");
    put_bytes(&mut matcher, 3, b".+");
    let mut query = Vec::new();
    put_number(&mut query, 1, FIRST as u64);
    put_number(&mut query, 2, LAST as u64);
    put_bytes(&mut query, 3, &matcher);
    let mut request = Vec::new();
    put_bytes(&mut request, 1, &query);
    request
}

fn bytes_tag(field: u8) -> u8 {
    field << 3 | 2
}

fn put_number(out: &mut Vec<u8>, field: u8, number: u64) {
    out.push(field << 3);
    put_varint(out, number);
}

fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(bytes_tag(field));
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn varint(bytes: &[u8]) -> Outcome<(u64, &[u8])> {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0);
    let (number, rest) = bytes.split_at(end.ok_or("a number that does not end")? + 1);
    let number = number
        .iter()
        .rev()
        .fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f));
    Ok((number, rest))
}
