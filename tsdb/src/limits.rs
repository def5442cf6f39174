//! Every hard cap in one place, each with the reason for its value.

/// Labels per series. Prometheus has no cap and a runaway exporter then takes the server down; real series have 5 to 25.
pub const LABELS_PER_SERIES_MAX: usize = 64;

/// Bytes of a label name; VictoriaMetrics uses the same.
pub const LABEL_NAME_BYTES_MAX: usize = 256;

/// Bytes of a label value; VictoriaMetrics uses the same.
pub const LABEL_VALUE_BYTES_MAX: usize = 4096;

/// Bytes of a whole label set, names and values: keeps a definition inside one page of the log.
pub const LABEL_SET_BYTES_MAX: usize = 16 * 1024;

/// How far ahead of the clock a sample may lie. Without it one bad clock blocks a series until the world catches up.
pub const FUTURE_MS_MAX: i64 = 10 * 60 * 1000;

/// Series of one group. Positions are written as u16 with room for flags; larger scrapes are split.
pub const GROUP_SERIES_MAX: usize = 16_384;

/// Series that must come together to found a group without a handle: below this a row costs more than lone samples.
pub const GROUP_SERIES_MIN: usize = 16;

/// Bytes of one frame of the log, and so of one commit. A torn length field can make a reader allocate no more than this.
pub const FRAME_BYTES_MAX: usize = 256 << 20;

/// Samples of one chunk in a block: one chunk then decodes within a few microseconds and fits the level-one cache.
pub const CHUNK_SAMPLES_MAX: usize = 2048;

/// Bytes of a pattern in a matcher.
pub const REGEX_BYTES_MAX: usize = 4096;

/// Bytes a compiled pattern may take; the regex crate's own default is ten times as much.
pub const REGEX_PROGRAM_BYTES_MAX: usize = 1 << 20;

/// Literal alternatives taken from a pattern before it is matched as an automaton instead.
pub const REGEX_LITERALS_MAX: usize = 256;

/// Matchers of one selection.
pub const MATCHERS_MAX: usize = 256;

/// Bytes of a body of remote write as it comes over the network. Receivers answer 413 without reading on: 8 MiB hold
/// hundreds of thousands of samples, and senders cut their batches at a hundredth of that.
pub const WRITE_BODY_BYTES_MAX: usize = 8 << 20;

/// Bytes of a body of remote write once it is decompressed; Prometheus and VictoriaMetrics take as much.
pub const WRITE_MESSAGE_BYTES_MAX: usize = 32 << 20;

/// Series of one write request: each new one costs memory in the head for hours, and a body of 32 MiB could name millions.
pub const WRITE_SERIES_MAX: usize = 100_000;

/// Samples of one write request. A sample may take two bytes of a body, and a place in a commit is fifty.
pub const WRITE_SAMPLES_MAX: usize = 1_000_000;

/// Symbols of one write request: sixteen bytes of memory each, for two of the body.
pub const WRITE_SYMBOLS_MAX: usize = 1 << 19;

/// Bytes of a body of remote read as it comes over the network: a request is a few matchers.
pub const READ_BODY_BYTES_MAX: usize = 1 << 20;

/// Bytes of a body of remote read once it is decompressed.
pub const READ_MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Queries of one read request. Prometheus sends one.
pub const READ_QUERIES_MAX: usize = 64;

/// Regular expressions of one query of a read request: each may take [`REGEX_PROGRAM_BYTES_MAX`] once compiled.
pub const READ_REGEXES_MAX: usize = 16;

/// Bytes of an answer to remote read that is not streamed, before compression: all of it is in memory at once.
pub const READ_ANSWER_BYTES_MAX: usize = 256 << 20;

/// Bytes of a frame of streamed remote read, as Prometheus cuts them; a reader refuses 50 MB.
pub const READ_FRAME_BYTES_MAX: usize = 1 << 20;

/// Series of one query of remote read: they are put in Prometheus' order before the first is sent.
pub const READ_SERIES_MAX: usize = 1_000_000;
