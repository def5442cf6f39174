//! Bodies of as many points as a server takes.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

/// Bytes of a body on the wire. Above 8,192 a server as it is installed answers "Chunked request not supported".
pub const DEFAULT_BODY_BYTES: usize = 8000;

/// Collects points into a JSON array that stays below a length on the wire.
#[derive(Debug)]
pub struct BodyBuilder {
    bytes_max: usize,
    points: usize,
    stream: Stream,
}

#[derive(Debug)]
enum Stream {
    Plain(Vec<u8>),
    Gzip {
        encoder: GzEncoder<Vec<u8>>,
        /// Bytes that went in since the encoder was last flushed: it may still hold them all.
        pending: usize,
    },
}

impl BodyBuilder {
    /// Returns a builder of plain bodies of at most `bytes_max`.
    pub fn plain(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            points: 0,
            stream: Stream::Plain(Vec::new()),
        }
    }

    /// Returns a builder of bodies of at most `bytes_max` once they are compressed with gzip: the server counts before it
    /// inflates them.
    pub fn gzip(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            points: 0,
            stream: Stream::gzip(),
        }
    }

    /// Adds a point, as [`Mapping::point`](super::Mapping::point) wrote it. False if there is no room for it: the body has to
    /// be sent first. The first point always goes in.
    pub fn push(&mut self, point: &str) -> bool {
        if self.points > 0 && !self.stream.has_room(point.len() + 2, self.bytes_max) {
            return false;
        }
        let before = if self.points == 0 { "[" } else { "," };
        self.stream.write(before);
        self.stream.write(point);
        self.points += 1;
        true
    }

    /// Returns the number of points.
    pub fn points(&self) -> usize {
        self.points
    }

    /// Returns the value of `Content-Encoding`, if there is one.
    pub fn content_encoding(&self) -> Option<&'static str> {
        match self.stream {
            Stream::Plain(_) => None,
            Stream::Gzip { .. } => Some("gzip"),
        }
    }

    /// Returns the body and begins the next one; `None` if there is no point.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        if self.points == 0 {
            return None;
        }
        self.points = 0;
        self.stream.write("]");
        let next = match self.stream {
            Stream::Plain(_) => Stream::Plain(Vec::new()),
            Stream::Gzip { .. } => Stream::gzip(),
        };
        Some(match std::mem::replace(&mut self.stream, next) {
            Stream::Plain(body) => body,
            Stream::Gzip { encoder, .. } => encoder.finish().expect(IN_MEMORY),
        })
    }
}

impl Stream {
    fn gzip() -> Self {
        Self::Gzip {
            encoder: GzEncoder::new(Vec::new(), Compression::fast()),
            pending: 0,
        }
    }

    /// Tells whether `len` more bytes fit below `bytes_max`, whatever they compress to.
    fn has_room(&mut self, len: usize, bytes_max: usize) -> bool {
        match self {
            Self::Plain(body) => body.len() + len <= bytes_max,
            Self::Gzip { encoder, pending } => {
                let fits = |written: usize, pending: usize| {
                    written + pending + len + GZIP_SLACK_BYTES <= bytes_max
                };
                if !fits(encoder.get_ref().len(), *pending) {
                    // What is pending is counted as it came; flushed, it is what it was compressed to.
                    encoder.flush().expect(IN_MEMORY);
                    *pending = 0;
                }
                fits(encoder.get_ref().len(), *pending)
            }
        }
    }

    fn write(&mut self, text: &str) {
        match self {
            Self::Plain(body) => body.extend_from_slice(text.as_bytes()),
            Self::Gzip { encoder, pending } => {
                encoder.write_all(text.as_bytes()).expect(IN_MEMORY);
                *pending += text.len();
            }
        }
    }
}

const IN_MEMORY: &str = "memory takes what is written to it";

/// The header and trailer of gzip, the frames of a flush and of blocks that do not compress.
const GZIP_SLACK_BYTES: usize = 64;
