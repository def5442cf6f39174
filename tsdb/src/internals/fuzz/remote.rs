//! What other machines send.

use crate::labels::Labels;
use crate::remote::read::ReadRequest;
use crate::remote::wire::{Compression, EncoderV1, EncoderV2, Message, WriteRequest, decompress};
use crate::sample::Sample;

use super::input::{Input, any};

/// Most series that a body makes of its bytes, and bytes it lets a body expand to.
const COUNT_MAX: usize = 50;
const BYTES_MAX: usize = 1 << 16;

/// Write requests: any bytes under either message, and series come back.
pub fn write_request(data: &[u8]) {
    for message in [Message::V1, Message::V2] {
        if let Ok(request) = WriteRequest::parse(message, data) {
            let totals = request.totals();
            let mut samples = 0;
            for series in request.series() {
                any(series.labels());
                assert_eq!(series.totals().samples, series.samples().count());
                samples += series.totals().samples;
            }
            assert_eq!(samples, totals.samples);
            assert_eq!(request.series().count(), totals.series);
        }
    }
    let mut input = Input::new(data);
    let mut written: Vec<(Labels, Vec<Sample>)> = Vec::new();
    while !input.is_empty() && written.len() < COUNT_MAX {
        let values: Vec<String> = (0..3).map(|_| input.below(5).to_string()).collect();
        let names = ["__name__", "job", "zone"].into_iter();
        let Ok(labels) = Labels::from_pairs(names.zip(&values).skip(input.below(3))) else {
            continue;
        };
        let samples = (0..input.below(4)).map(|_| Sample {
            timestamp: input.u64() as i64,
            value: input.value(),
        });
        written.push((labels, samples.collect()));
    }
    let (mut first, mut second) = (EncoderV1::new(), EncoderV2::new());
    for (labels, samples) in &written {
        first.push(labels, samples);
        second.push(labels, samples);
    }
    for (message, body) in [
        (Message::V1, first.message()),
        (Message::V2, second.message()),
    ] {
        let request = WriteRequest::parse(message, body).expect("it was just written");
        let read = request.series().map(|series| {
            let labels = series.labels().expect("a set when it was written");
            (labels, series.samples().collect())
        });
        assert_eq!(read.collect::<Vec<(Labels, Vec<Sample>)>>(), written);
    }
}

/// Bodies: whatever a compression says, what comes out is no more than allowed.
pub fn write_body(data: &[u8]) {
    for compression in [Compression::Snappy, Compression::Zstd] {
        if let Ok(message) = decompress(compression, data, BYTES_MAX) {
            assert!(message.len() <= BYTES_MAX);
        }
    }
}

/// Read requests: what is taken is taken to its last query.
pub fn read_request(data: &[u8]) {
    any(ReadRequest::decode(data));
    if let Ok(request) = ReadRequest::parse(data.to_vec()) {
        assert!(request.queries().all(|query| query.is_ok()));
    }
}
