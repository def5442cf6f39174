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
