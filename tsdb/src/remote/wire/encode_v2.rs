//! Building `io.prometheus.write.v2.Request`.

use super::put::{put_header, put_sample, samples_len};
use super::symbols::Symbols;
use crate::encoding::{put_uvarint, write_uvarint};
use crate::sample::Sample;

/// Builds requests of remote write 2.0, one after the other in the same memory.
///
/// The labels of neighbours are compared before anything is hashed: series of one target, pushed in a row, cost one look
/// into the table of symbols for each label that differs from the series before.
///
/// ```
/// use tsdb::remote::wire::{EncoderV2, Message, WriteRequest};
/// use tsdb::{Labels, Sample};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut encoder = EncoderV2::new();
/// for metric in ["up", "scrape_duration_seconds"] {
///     let labels = Labels::from_pairs([("__name__", metric), ("job", "node"), ("instance", "a:9100")])?;
///     encoder.push(&labels, &[Sample { timestamp: 1_795_334_160_000, value: 1.0 }]);
/// }
/// let request = WriteRequest::parse(Message::V2, encoder.message())?;
/// assert_eq!(request.totals().series, 2);
/// # Ok(())
/// # }
/// ```
pub struct EncoderV2 {
    symbols: Symbols,
    series: Vec<u8>,
    /// Names and values of the series before, as symbols.
    previous: Vec<(u32, u32)>,
    present: Vec<(u32, u32)>,
    refs: Vec<u8>,
    message: Vec<u8>,
    /// For texts that the caller has numbered: the request in which each was last a symbol, and which.
    numbered: Vec<(u32, u32)>,
    /// Number of this request; 0 is none.
    request: u32,
}

impl std::fmt::Debug for EncoderV2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EncoderV2")
            .field("symbols", &self.symbols.len())
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

impl Default for EncoderV2 {
    fn default() -> Self {
        Self {
            symbols: Symbols::default(),
            series: Vec::new(),
            previous: Vec::new(),
            present: Vec::new(),
            refs: Vec::new(),
            message: Vec::new(),
            numbered: Vec::new(),
            request: 1,
        }
    }
}

impl EncoderV2 {
    /// Returns an encoder of an empty request.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the request and its symbols and keeps the memory.
    pub fn clear(&mut self) {
        self.symbols.clear();
        self.series.clear();
        self.previous.clear();
        self.request = self.request.wrapping_add(1);
        if self.request == 0 {
            // Entries of long ago would seem to be of this request.
            self.numbered.clear();
            self.request = 1;
        }
    }

    /// Adds a series with its samples, oldest first. The labels are sorted by name, and a series is pushed once in a
    /// request: receivers may refuse what is not.
    pub fn push<'l>(
        &mut self,
        labels: impl IntoIterator<Item = (&'l str, &'l str)>,
        samples: &[Sample],
    ) {
        self.present.clear();
        let mut at = 0;
        for (name, value) in labels {
            let label = match self.neighbour(at, name) {
                Some((index, (known_name, known_value))) => {
                    at = index + 1;
                    let is_same = self.symbols.text(known_value) == value.as_bytes();
                    let value = if is_same {
                        known_value
                    } else {
                        self.symbols.intern(value)
                    };
                    (known_name, value)
                }
                None => (self.symbols.intern(name), self.symbols.intern(value)),
            };
            self.present.push(label);
        }
        std::mem::swap(&mut self.previous, &mut self.present);
        self.refs.clear();
        for (name, value) in &self.previous {
            put_uvarint(&mut self.refs, u64::from(*name));
            put_uvarint(&mut self.refs, u64::from(*value));
        }
        self.put_series(samples);
    }

    /// Returns the label `name` of the series before, if it is the next one there or the one behind that.
    #[inline]
    fn neighbour(&self, at: usize, name: &str) -> Option<(usize, (u32, u32))> {
        (at..self.previous.len().min(at + 2))
            .map(|index| (index, self.previous[index]))
            .find(|(_, (known, _))| self.symbols.text(*known) == name.as_bytes())
    }

    /// Adds a series whose names and values the caller has numbered: name, value, name, value. The numbers count from 0, and
    /// one means the same text from [`Self::clear`] to [`Self::clear`]. What was seen in this request costs no look at its
    /// text.
    pub fn push_numbered<'l>(
        &mut self,
        numbers: &[u32],
        labels: impl IntoIterator<Item = (&'l str, &'l str)>,
        samples: &[Sample],
    ) {
        self.previous.clear();
        // Written at their places: looking for room before each byte is most of the work.
        self.refs.clear();
        self.refs.resize(numbers.len() * REF_BYTES_MAX, 0);
        let mut len = 0;
        for &number in numbers {
            match self.numbered.get(number as usize) {
                Some(&(request, symbol)) if request == self.request => {
                    len += write_uvarint(&mut self.refs[len..], u64::from(symbol));
                }
                _ => {
                    self.put_new_refs(numbers, labels);
                    len = self.refs.len();
                    break;
                }
            }
        }
        self.refs.truncate(len);
        self.put_series(samples);
    }

    /// Makes symbols of the texts of a series.
    #[cold]
    fn put_new_refs<'l>(
        &mut self,
        numbers: &[u32],
        labels: impl IntoIterator<Item = (&'l str, &'l str)>,
    ) {
        self.refs.clear();
        let texts = labels.into_iter().flat_map(|(name, value)| [name, value]);
        for (&number, text) in numbers.iter().zip(texts) {
            let symbol = self.symbols.intern(text);
            let at = number as usize;
            if self.numbered.len() <= at {
                self.numbered.resize(at + 1, (0, 0));
            }
            self.numbered[at] = (self.request, symbol);
            put_uvarint(&mut self.refs, u64::from(symbol));
        }
    }

    #[inline]
    fn put_series(&mut self, samples: &[Sample]) {
        let refs_len = match self.refs.len() {
            0 => 0,
            len => 1 + super::put::varint_len(len as u64) + len,
        };
        put_header(
            &mut self.series,
            TIMESERIES,
            refs_len + samples_len(samples),
        );
        super::put_bytes(&mut self.series, LABELS_REFS, &self.refs);
        for sample in samples {
            put_sample(&mut self.series, *sample);
        }
    }

    /// Returns the bytes of the message so far, before compression.
    pub fn size(&self) -> usize {
        self.symbols.fields().len() + self.series.len()
    }

    /// Tells whether no series was pushed.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Returns the message; symbols stand before series. More may be pushed afterwards.
    pub fn message(&mut self) -> &[u8] {
        self.message.clear();
        self.message.extend_from_slice(self.symbols.fields());
        self.message.extend_from_slice(&self.series);
        &self.message
    }
}

/// Bytes of the largest number of a symbol.
const REF_BYTES_MAX: usize = 5;

/// `Request.timeseries`.
const TIMESERIES: u8 = 5;
/// `TimeSeries.labels_refs`.
const LABELS_REFS: u8 = 1;
