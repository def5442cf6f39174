//! Lines of an input, taken apart.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, anyhow, bail};

use crate::exposition::{self, Fault, Line, Syntax, parse_line};

/// A text that is being read.
pub(super) struct Input {
    name: Rc<str>,
    syntax: Syntax,
    size_bytes: Option<u64>,
    reader: Box<dyn BufRead>,
    line: Vec<u8>,
    line_number: u64,
    bytes_read: u64,
    has_ended: bool,
}

/// What came next.
pub(super) enum Next<'a> {
    Sample(Located<'a>),
    /// A line without a sample.
    Other,
    /// Nothing more.
    End,
}

/// A sample and where it stands.
pub(super) struct Located<'a> {
    pub(super) sample: exposition::Sample<'a>,
    pub(super) line: &'a str,
    pub(super) line_number: u64,
    pub(super) input: &'a Rc<str>,
}

impl Located<'_> {
    /// Returns an error that names the place.
    pub(super) fn error(&self, fault: Fault) -> anyhow::Error {
        error_at(self.input, self.line_number, self.line, fault)
    }
}

impl Input {
    /// Opens a file, or standard input for `-`. Without a syntax the end of the file tells which it is.
    #[expect(
        clippy::disallowed_types,
        reason = "the input is no file of a database"
    )]
    pub(super) fn open(path: &Path, syntax: Option<Syntax>) -> io::Result<Self> {
        if path == Path::new("-") {
            let stdin = Box::new(BufReader::new(io::stdin()));
            return Ok(Self::new(
                "standard input",
                syntax.unwrap_or(Syntax::OpenMetrics),
                None,
                stdin,
            ));
        }
        let mut file = std::fs::File::open(path)?;
        let metadata = file.metadata()?;
        let syntax = match syntax {
            Some(syntax) => syntax,
            None if metadata.is_file() => detect(&mut file, metadata.len())?,
            None => Syntax::OpenMetrics,
        };
        let size_bytes = metadata.is_file().then_some(metadata.len());
        Ok(Self::new(
            &path.display().to_string(),
            syntax,
            size_bytes,
            Box::new(BufReader::with_capacity(1 << 16, file)),
        ))
    }

    fn new(name: &str, syntax: Syntax, size_bytes: Option<u64>, reader: Box<dyn BufRead>) -> Self {
        Self {
            name: name.into(),
            syntax,
            size_bytes,
            reader,
            line: Vec::new(),
            line_number: 0,
            bytes_read: 0,
            has_ended: false,
        }
    }

    /// Reads a line.
    pub(super) fn next(&mut self) -> anyhow::Result<Next<'_>> {
        self.line.clear();
        // A line cannot be longer than labels and exemplar allow; a file without line ends must not fill the memory.
        let mut limited = (&mut self.reader).take(LINE_BYTES_MAX);
        let read = limited
            .read_until(b'\n', &mut self.line)
            .with_context(|| format!("cannot read {}", self.name))?;
        if read == 0 {
            return Ok(Next::End);
        }
        self.line_number += 1;
        self.bytes_read += read as u64;
        if read as u64 == LINE_BYTES_MAX {
            bail!(
                "{}:{}: the line is longer than {LINE_BYTES_MAX} bytes",
                self.name,
                self.line_number
            );
        }
        let line = match std::str::from_utf8(&self.line) {
            Ok(line) => line.trim_end_matches(['\n', '\r']),
            Err(error) => {
                let valid = String::from_utf8_lossy(&self.line);
                let fault = Fault {
                    offset: error.valid_up_to(),
                    what: "this is no UTF-8",
                };
                return Err(error_at(&self.name, self.line_number, &valid, fault));
            }
        };
        let parsed = parse_line(line, self.syntax)
            .map_err(|fault| error_at(&self.name, self.line_number, line, fault))?;
        if self.has_ended && !line.is_empty() {
            let fault = Fault {
                offset: 0,
                what: "there is text behind `# EOF`",
            };
            return Err(error_at(&self.name, self.line_number, line, fault));
        }
        Ok(match parsed {
            Line::Sample(sample) => Next::Sample(Located {
                sample,
                line,
                line_number: self.line_number,
                input: &self.name,
            }),
            Line::End => {
                self.has_ended = true;
                Next::Other
            }
            Line::Other => Next::Other,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn syntax(&self) -> Syntax {
        self.syntax
    }

    /// Returns the bytes there are in all, if somebody knows.
    pub(super) fn size_bytes(&self) -> Option<u64> {
        self.size_bytes
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Returns the lines read so far.
    pub(super) fn line_number(&self) -> u64 {
        self.line_number
    }

    /// Tells whether `# EOF` was there.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }
}

fn error_at(input: &str, line_number: u64, line: &str, fault: Fault) -> anyhow::Error {
    anyhow!(
        "{input}:{line_number}:{}: {}",
        fault.column(line),
        fault.what
    )
}

/// Tells the format by the end of a file, which is then at its start again.
fn detect(file: &mut (impl Read + Seek), len: u64) -> io::Result<Syntax> {
    file.seek(SeekFrom::Start(len.saturating_sub(MARK_BYTES)))?;
    let mut end = Vec::new();
    file.take(MARK_BYTES).read_to_end(&mut end)?;
    file.seek(SeekFrom::Start(0))?;
    let is_open_metrics = end.trim_ascii_end().ends_with(b"# EOF");
    Ok(if is_open_metrics {
        Syntax::OpenMetrics
    } else {
        Syntax::Prometheus
    })
}

const MARK_BYTES: u64 = 16;

const LINE_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn input(text: &'static [u8], syntax: Syntax) -> Input {
        Input::new("a.prom", syntax, None, Box::new(Cursor::new(text)))
    }

    fn read(mut input: Input) -> anyhow::Result<(Vec<f64>, bool)> {
        let mut values = Vec::new();
        loop {
            match input.next()? {
                Next::Sample(located) => values.push(located.sample.value),
                Next::Other => {}
                Next::End => return Ok((values, input.has_ended())),
            }
        }
    }

    #[test]
    fn lines_end_as_they_like() {
        let (values, has_ended) = read(input(b"a 1\r\n\n# HELP\nb 2", Syntax::Prometheus)).unwrap();
        assert_eq!((values, has_ended), (vec![1.0, 2.0], false));
        assert!(read(input(b"a 1\n# EOF\n", Syntax::OpenMetrics)).unwrap().1);
    }

    #[test]
    fn errors_name_file_line_and_column() {
        for (text, syntax, expected) in [
            (
                &b"a 1\nb x\n"[..],
                Syntax::Prometheus,
                "a.prom:2:3: this is no number",
            ),
            (
                b"a{b=\"\xff\"} 1\n",
                Syntax::Prometheus,
                "a.prom:1:6: this is no UTF-8",
            ),
            (
                b"# EOF\na 1\n",
                Syntax::OpenMetrics,
                "a.prom:2:1: there is text behind `# EOF`",
            ),
        ] {
            assert_eq!(read(input(text, syntax)).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn end_of_a_file_tells_the_format() {
        for (text, expected) in [
            ("", Syntax::Prometheus),
            ("a 1\n", Syntax::Prometheus),
            ("a 1\n# EOF\n", Syntax::OpenMetrics),
            ("# EOF", Syntax::OpenMetrics),
        ] {
            let mut file = Cursor::new(text);
            assert_eq!(
                detect(&mut file, text.len() as u64).unwrap(),
                expected,
                "{text}"
            );
            assert_eq!(file.position(), 0);
        }
    }
}
