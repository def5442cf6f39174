//! One JSON object on one line.

use std::fmt::{Display, Write as _};
use std::io::{self, Write as _};

/// Builds a line of output. Names and texts are the program's own and need no more than quotes escaped.
#[derive(Debug)]
pub struct Line(String);

impl Line {
    /// Begins the line of a verb.
    pub fn new(verb: &str) -> Self {
        Self("{\"engine\":\"tsdb-engine\"".to_owned()).text("verb", verb)
    }

    /// Adds a whole number.
    #[must_use]
    pub fn count(self, name: &str, value: u64) -> Self {
        self.raw(name, value)
    }

    /// Adds a number of seconds.
    #[must_use]
    pub fn seconds(self, name: &str, value: f64) -> Self {
        self.raw(name, format_args!("{value:.6}"))
    }

    /// Adds a number with three decimals.
    #[must_use]
    pub fn number(self, name: &str, value: f64) -> Self {
        // JSON has no word for what a division by zero gives.
        if value.is_finite() {
            self.raw(name, format_args!("{value:.3}"))
        } else {
            self.raw(name, "null")
        }
    }

    /// Adds a checksum.
    #[must_use]
    pub fn hex(self, name: &str, value: u64) -> Self {
        self.raw(name, format_args!("\"{value:016x}\""))
    }

    /// Adds a text.
    #[must_use]
    pub fn text(self, name: &str, value: &str) -> Self {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        self.raw(name, format_args!("\"{value}\""))
    }

    fn raw(mut self, name: &str, value: impl Display) -> Self {
        write!(self.0, ",\"{name}\":{value}").expect("a string takes everything");
        self
    }

    /// Prints the line.
    pub fn print(self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{}}}", self.0)?;
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_object() {
        let line = Line::new("select")
            .count("found", 3)
            .text("matchers", "{a=\"b\"}")
            .hex("checksum", 255)
            .number("ns", f64::NAN);
        let expected = r#"{"engine":"tsdb-engine","verb":"select","found":3,"matchers":"{a=\"b\"}","checksum":"00000000000000ff","ns":null"#;
        assert_eq!(line.0, expected);
    }
}
