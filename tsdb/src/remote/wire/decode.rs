//! Reading write requests without building them.

use std::fmt;

use super::error::WireError;
use super::field::{Field, FieldReader, Numbers};
use super::message::Message;
use crate::encoding::Malformed;
use crate::error::Rejection;
use crate::labels::Labels;
use crate::limits::{WRITE_SAMPLES_MAX, WRITE_SERIES_MAX, WRITE_SYMBOLS_MAX};
use crate::sample::Sample;

/// A request of either version. It has been looked at from end to end: walking it does not fail.
///
/// Whether the labels of a series mean anything is not part of that: one bad series does not spoil its neighbours.
pub struct WriteRequest<'a> {
    message: Message,
    body: &'a [u8],
    /// `None` is a symbol that is not UTF-8: what refers to it is refused.
    symbols: Vec<Option<&'a str>>,
    totals: Totals,
}

/// How much there is in a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Series, also those without a sample.
    pub series: usize,
    /// Float samples.
    pub samples: usize,
    /// Histogram samples, which are counted and not read.
    pub histograms: usize,
    /// Exemplars, which are counted and not read.
    pub exemplars: usize,
    /// Descriptions of metrics, which are counted and not read.
    pub metadata: usize,
}

impl fmt::Debug for WriteRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteRequest")
            .field("message", &self.message)
            .field("totals", &self.totals)
            .finish_non_exhaustive()
    }
}

impl<'a> WriteRequest<'a> {
    /// Reads a decompressed body. Takes memory for the symbols of 2.0 only, sixteen bytes each.
    ///
    /// # Errors
    ///
    /// [`WireError::Malformed`] with the place, and [`WireError::TooLarge`] for more series, samples or symbols than
    /// [`crate::limits`] allows.
    pub fn parse(message: Message, body: &'a [u8]) -> Result<Self, WireError> {
        let mut request = Self {
            message,
            body,
            symbols: Vec::new(),
            totals: Totals::default(),
        };
        let mut fields = FieldReader::new(body);
        while let Some(field) = fields.next()? {
            match (message, field.number) {
                (Message::V1, V1_TIMESERIES) | (Message::V2, V2_TIMESERIES) => {
                    request.check_series(field)?;
                }
                (Message::V1, V1_METADATA) => {
                    field.bytes()?;
                    request.totals.metadata += 1;
                }
                (Message::V2, V2_SYMBOLS) => request.take_symbol(field)?,
                _ => {}
            }
        }
        Ok(request)
    }

    fn take_symbol(&mut self, field: Field<'a>) -> Result<(), WireError> {
        let bytes = field.bytes()?;
        if self.symbols.is_empty() && !bytes.is_empty() {
            // It stands for "none"; a table that begins otherwise was made by somebody who counts differently.
            return Err(field.malformed("the first symbol is not empty").into());
        }
        if self.symbols.len() == WRITE_SYMBOLS_MAX {
            return Err(WireError::too_large(
                "symbols of a request",
                WRITE_SYMBOLS_MAX,
            ));
        }
        self.symbols.push(std::str::from_utf8(bytes).ok());
        Ok(())
    }

    fn check_series(&mut self, field: Field<'a>) -> Result<(), WireError> {
        self.totals.series += 1;
        if self.totals.series > WRITE_SERIES_MAX {
            return Err(WireError::too_large(
                "series of a request",
                WRITE_SERIES_MAX,
            ));
        }
        let mut fields = field.message()?;
        while let Some(field) = fields.next()? {
            match part(self.message, field.number) {
                Part::Label => check_label(self.message, field)?,
                Part::Sample => {
                    sample(field)?;
                    self.totals.samples += 1;
                }
                Part::Histogram => {
                    field.bytes()?;
                    self.totals.histograms += 1;
                }
                Part::Exemplar => {
                    field.bytes()?;
                    self.totals.exemplars += 1;
                }
                Part::Metadata => {
                    // Prometheus writes an empty one with every series.
                    self.totals.metadata += usize::from(!field.bytes()?.is_empty());
                }
                Part::Other => {}
            }
            // Inside of the loop: a single series can hold them all.
            if self.totals.samples > WRITE_SAMPLES_MAX {
                return Err(WireError::too_large(
                    "samples of a request",
                    WRITE_SAMPLES_MAX,
                ));
            }
        }
        Ok(())
    }

    /// Returns the version of the message.
    pub fn message(&self) -> Message {
        self.message
    }

    /// Returns how much there is.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Walks the series in the order of the message; one may come more than once.
    pub fn series(&self) -> SeriesIter<'_> {
        SeriesIter {
            request: self,
            fields: FieldReader::new(self.body),
        }
    }
}

/// The series of a request.
#[derive(Debug, Clone)]
pub struct SeriesIter<'r> {
    request: &'r WriteRequest<'r>,
    fields: FieldReader<'r>,
}

impl<'r> Iterator for SeriesIter<'r> {
    type Item = WriteSeries<'r>;

    fn next(&mut self) -> Option<WriteSeries<'r>> {
        let number = match self.request.message {
            Message::V1 => V1_TIMESERIES,
            Message::V2 => V2_TIMESERIES,
        };
        // `parse` has seen that nothing here fails.
        while let Ok(Some(field)) = self.fields.next() {
            if field.number == number {
                return Some(WriteSeries {
                    message: self.request.message,
                    symbols: &self.request.symbols,
                    fields: field.message().ok()?,
                });
            }
        }
        None
    }
}

/// A series of a request, still in the bytes of the body.
#[derive(Debug, Clone)]
pub struct WriteSeries<'r> {
    message: Message,
    symbols: &'r [Option<&'r str>],
    fields: FieldReader<'r>,
}

/// Why the labels of a series cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PairFault {
    /// A name or a value is not UTF-8.
    NotUtf8,
    /// A reference leads behind the table of symbols.
    SymbolOutOfRange,
    /// There is a name without a value: the references are odd in number.
    NameWithoutValue,
    /// The labels make no set.
    Rejected(Rejection),
}

impl fmt::Display for PairFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => f.write_str("label is not UTF-8"),
            Self::SymbolOutOfRange => f.write_str("label refers to a symbol that is not there"),
            Self::NameWithoutValue => f.write_str("label name without a value"),
            Self::Rejected(rejection) => rejection.fmt(f),
        }
    }
}

impl std::error::Error for PairFault {}

impl<'r> WriteSeries<'r> {
    /// Walks the labels as they are written: in any order, empty values among them. Ends behind a fault.
    pub fn pairs(&self) -> impl Iterator<Item = Result<(&'r str, &'r str), PairFault>> + use<'r> {
        let mut pairs = Pairs {
            message: self.message,
            symbols: self.symbols,
            fields: self.fields.clone(),
            refs: Numbers::None,
        };
        let mut is_over = false;
        std::iter::from_fn(move || {
            let pair = if is_over {
                None
            } else {
                pairs.next().transpose()
            };
            is_over = !matches!(pair, Some(Ok(_)));
            pair
        })
    }

    /// Returns the labels as a set, checked as every set is.
    pub fn labels(&self) -> Result<Labels, PairFault> {
        let mut fault = None;
        let pairs = self.pairs().map_while(|pair| match pair {
            Ok(pair) => Some(pair),
            Err(found) => {
                fault = Some(found);
                None
            }
        });
        let labels = Labels::from_pairs(pairs);
        match fault {
            Some(fault) => Err(fault),
            None => labels.map_err(PairFault::Rejected),
        }
    }

    /// Walks the float samples in the order of the message.
    pub fn samples(&self) -> impl Iterator<Item = Sample> + use<'r> {
        let (message, mut fields) = (self.message, self.fields.clone());
        std::iter::from_fn(move || {
            while let Ok(Some(field)) = fields.next() {
                if part(message, field.number) == Part::Sample {
                    return sample(field).ok();
                }
            }
            None
        })
    }

    /// Counts what the series holds besides labels.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            series: 1,
            ..Totals::default()
        };
        let mut fields = self.fields.clone();
        while let Ok(Some(field)) = fields.next() {
            match part(self.message, field.number) {
                Part::Sample => totals.samples += 1,
                Part::Histogram => totals.histograms += 1,
                Part::Exemplar => totals.exemplars += 1,
                Part::Metadata => totals.metadata += 1,
                Part::Label | Part::Other => {}
            }
        }
        totals
    }
}

/// The labels of a series in their two forms: texts in the series, or references to the table of symbols.
struct Pairs<'r> {
    message: Message,
    symbols: &'r [Option<&'r str>],
    fields: FieldReader<'r>,
    refs: Numbers<'r>,
}

impl<'r> Pairs<'r> {
    #[inline]
    fn next(&mut self) -> Result<Option<(&'r str, &'r str)>, PairFault> {
        match self.message {
            Message::V1 => {
                while let Ok(Some(field)) = self.fields.next() {
                    if part(Message::V1, field.number) == Part::Label {
                        return label(field)
                            .map(Some)
                            .map_err(|_not_utf8| PairFault::NotUtf8);
                    }
                }
                Ok(None)
            }
            Message::V2 => {
                let Some(name) = self.symbol()? else {
                    return Ok(None);
                };
                let value = self.symbol()?.ok_or(PairFault::NameWithoutValue)?;
                Ok(Some((name, value)))
            }
        }
    }

    #[inline]
    fn symbol(&mut self) -> Result<Option<&'r str>, PairFault> {
        loop {
            if let Ok(Some(number)) = self.refs.next() {
                // The field has 32 bits: decoders drop what is above, and so does this.
                let symbol = self.symbols.get(number as u32 as usize);
                let symbol = symbol.ok_or(PairFault::SymbolOutOfRange)?;
                return symbol.map(Some).ok_or(PairFault::NotUtf8);
            }
            // The references may be split over several fields, and a pair may be torn by that.
            match self.fields.next() {
                Ok(Some(field)) if part(Message::V2, field.number) == Part::Label => {
                    self.refs = field.numbers().unwrap_or(Numbers::None);
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return Ok(None),
            }
        }
    }
}

/// What a field of a series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Label,
    Sample,
    Histogram,
    Exemplar,
    Metadata,
    Other,
}

#[inline]
fn part(message: Message, number: u32) -> Part {
    match (message, number) {
        (_, 1) => Part::Label,
        (_, 2) => Part::Sample,
        (Message::V1, 3) | (Message::V2, 4) => Part::Exemplar,
        (Message::V1, 4) | (Message::V2, 3) => Part::Histogram,
        (Message::V2, 5) => Part::Metadata,
        _ => Part::Other,
    }
}

/// Sees that the labels of a field can be walked.
fn check_label(message: Message, field: Field<'_>) -> Result<(), Malformed> {
    match message {
        Message::V1 => {
            let mut fields = field.message()?;
            while let Some(field) = fields.next()? {
                if matches!(field.number, 1 | 2) {
                    field.bytes()?;
                }
            }
        }
        Message::V2 => {
            let mut numbers = field.numbers()?;
            while numbers.next()?.is_some() {}
        }
    }
    Ok(())
}

fn label(field: Field<'_>) -> Result<(&str, &str), Malformed> {
    let (mut name, mut value) = ("", "");
    let mut fields = field.message()?;
    while let Some(field) = fields.next()? {
        match field.number {
            1 => name = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    Ok((name, value))
}

#[inline]
fn sample(field: Field<'_>) -> Result<Sample, Malformed> {
    let mut sample = Sample {
        timestamp: 0,
        value: 0.0,
    };
    let mut fields = field.message()?;
    while let Some(field) = fields.next()? {
        match field.number {
            1 => sample.value = field.double()?,
            2 => sample.timestamp = field.number()? as i64,
            _ => {}
        }
    }
    Ok(sample)
}

const V1_TIMESERIES: u32 = 1;
const V1_METADATA: u32 = 3;
const V2_SYMBOLS: u32 = 4;
const V2_TIMESERIES: u32 = 5;
