//! What bodies are wrapped in.

use std::io::Read;

use super::error::WireError;

/// The compression of a body, which its `Content-Encoding` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Snappy's block format: what every receiver of remote write takes.
    Snappy,
    /// A zstd frame: smaller, and known to few receivers, VictoriaMetrics among them.
    Zstd,
}

impl Compression {
    /// Returns the name in `Content-Encoding`.
    pub const fn content_encoding(self) -> &'static str {
        match self {
            Self::Snappy => "snappy",
            Self::Zstd => "zstd",
        }
    }

    /// Returns what a `Content-Encoding` names. None means snappy: remote write 1.0 did not ask for the header.
    pub fn negotiate(content_encoding: Option<&str>) -> Result<Self, WireError> {
        let name = content_encoding.unwrap_or_default().trim();
        if name.is_empty() || name.eq_ignore_ascii_case("snappy") {
            Ok(Self::Snappy)
        } else if name.eq_ignore_ascii_case("zstd") {
            Ok(Self::Zstd)
        } else {
            Err(WireError::unsupported("Content-Encoding", name))
        }
    }
}

/// Compresses messages, one after the other, into a buffer of its own.
pub struct Compressor {
    method: Method,
    buffer: Vec<u8>,
}

enum Method {
    // The table of the encoder is a few kilobytes.
    Snappy(Box<snap::raw::Encoder>),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor")
            .field("compression", &self.compression())
            .finish_non_exhaustive()
    }
}

impl Compressor {
    /// Returns a compressor.
    ///
    /// # Errors
    ///
    /// zstd is out of memory.
    pub fn new(compression: Compression) -> Result<Self, WireError> {
        let method = match compression {
            Compression::Snappy => Method::Snappy(Box::new(snap::raw::Encoder::new())),
            Compression::Zstd => Method::Zstd(
                zstd::bulk::Compressor::new(ZSTD_LEVEL)
                    .map_err(|error| corrupt(Compression::Zstd, &error))?,
            ),
        };
        Ok(Self {
            method,
            buffer: Vec::new(),
        })
    }

    /// Returns how it compresses.
    pub fn compression(&self) -> Compression {
        match self.method {
            Method::Snappy(_) => Compression::Snappy,
            Method::Zstd(_) => Compression::Zstd,
        }
    }

    /// Compresses a message. What is returned is there until the next call.
    ///
    /// # Errors
    ///
    /// The message exceeds four gigabytes, or zstd is out of memory.
    pub fn compress(&mut self, message: &[u8]) -> Result<&[u8], WireError> {
        let compression = self.compression();
        let len_max = match self.method {
            Method::Snappy(_) => match snap::raw::max_compress_len(message.len()) {
                0 => {
                    return Err(WireError::too_large(
                        "bytes of a message",
                        u32::MAX as usize,
                    ));
                }
                len => len,
            },
            Method::Zstd(_) => zstd::zstd_safe::compress_bound(message.len()),
        };
        // The buffer keeps its length, so that only what it grows by is ever filled.
        if self.buffer.len() < len_max {
            self.buffer.resize(len_max, 0);
        }
        let len = match &mut self.method {
            Method::Snappy(encoder) => encoder
                .compress(message, &mut self.buffer)
                .map_err(|error| corrupt(compression, &error))?,
            Method::Zstd(encoder) => encoder
                .compress_to_buffer(message, &mut self.buffer[..])
                .map_err(|error| corrupt(compression, &error))?,
        };
        Ok(&self.buffer[..len])
    }
}

/// Decompresses a body to at most `bytes_max`.
///
/// What a snappy body says about its length is compared with what its bytes could expand to before memory is taken for
/// it; zstd is decompressed in steps, with a window of at most eight mebibytes.
///
/// # Errors
///
/// [`WireError::Corrupt`] and [`WireError::TooLarge`].
pub fn decompress(
    compression: Compression,
    body: &[u8],
    bytes_max: usize,
) -> Result<Vec<u8>, WireError> {
    match compression {
        Compression::Snappy => decompress_snappy(body, bytes_max),
        Compression::Zstd => decompress_zstd(body, bytes_max),
    }
}

fn decompress_snappy(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, WireError> {
    let corrupt = |error: &snap::Error| corrupt(Compression::Snappy, error);
    let len = snap::raw::decompress_len(body).map_err(|error| corrupt(&error))?;
    if len > bytes_max {
        return Err(WireError::too_large(
            "bytes of a decompressed body",
            bytes_max,
        ));
    }
    // An element of three bytes copies at most 64: a longer length is a lie that would only cost memory.
    if len > body.len().saturating_mul(SNAPPY_EXPANSION_MAX) + SNAPPY_ELEMENT_MAX {
        return Err(WireError::Corrupt {
            compression: Compression::Snappy.content_encoding(),
            reason: String::from("length exceeds what the bytes can expand to"),
        });
    }
    let mut message = vec![0; len];
    snap::raw::Decoder::new()
        .decompress(body, &mut message)
        .map_err(|error| corrupt(&error))?;
    Ok(message)
}

fn decompress_zstd(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, WireError> {
    let corrupt = |error: std::io::Error| corrupt(Compression::Zstd, &error);
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(corrupt)?;
    decoder
        .window_log_max(ZSTD_WINDOW_LOG_MAX)
        .map_err(corrupt)?;
    let mut message = Vec::new();
    let mut filled = 0;
    loop {
        if filled == bytes_max {
            // No larger buffer only to see that nothing follows.
            return match decoder.read(&mut [0]).map_err(corrupt)? {
                0 => Ok(message),
                _ => Err(WireError::too_large(
                    "bytes of a decompressed body",
                    bytes_max,
                )),
            };
        }
        if filled == message.len() {
            let len = (filled * 2).max(ZSTD_STEP_BYTES).min(bytes_max);
            message.reserve_exact(len - filled);
            message.resize(len, 0);
        }
        match decoder.read(&mut message[filled..]).map_err(corrupt)? {
            0 => break,
            count => filled += count,
        }
    }
    message.truncate(filled);
    Ok(message)
}

#[cold]
fn corrupt(compression: Compression, error: &dyn std::fmt::Display) -> WireError {
    WireError::Corrupt {
        compression: compression.content_encoding(),
        reason: error.to_string(),
    }
}

/// A copy of 64 bytes takes three: 22 times and a little, which the element covers.
const SNAPPY_EXPANSION_MAX: usize = 22;
const SNAPPY_ELEMENT_MAX: usize = 64;

/// The level of vmagent.
const ZSTD_LEVEL: i32 = 1;

/// Eight mebibytes: what every decoder has to support, and no more.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

const ZSTD_STEP_BYTES: usize = 64 << 10;
