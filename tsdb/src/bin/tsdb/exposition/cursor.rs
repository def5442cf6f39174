//! Going through a line.

use super::Fault;

/// A place in a line.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        Self { line, at: 0 }
    }

    /// Returns the byte of the line where the cursor is.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// Returns what is wrong here.
    pub(super) fn fault(&self, what: &'static str) -> Fault {
        Fault {
            offset: self.at,
            what,
        }
    }

    /// Returns the text from here on.
    pub(super) fn rest(&self) -> &'a str {
        // The cursor stands between characters only, and never behind the end.
        self.line.get(self.at..).unwrap_or_default()
    }

    /// Returns the text between an earlier place and here.
    pub(super) fn since(&self, start: usize) -> &'a str {
        self.line.get(start..self.at).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Steps over `expected` if it stands here.
    pub(super) fn eat(&mut self, expected: char) -> bool {
        let found = self.rest().starts_with(expected);
        if found {
            self.at += expected.len_utf8();
        }
        found
    }

    /// Steps over characters as long as they satisfy `accept` and returns them.
    pub(super) fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.find(|c| !accept(c)).unwrap_or(rest.len());
        self.at += len;
        self.since(self.at - len)
    }

    /// Steps over spaces and tabs.
    pub(super) fn skip_space(&mut self) {
        self.take_while(is_space);
    }

    /// Steps over characters up to the next space and returns them.
    pub(super) fn word(&mut self) -> &'a str {
        self.take_while(|c| !is_space(c))
    }

    /// Steps over a string in double quotes and returns what is between them, escapes as they stand there.
    pub(super) fn quoted(&mut self) -> Result<&'a str, Fault> {
        if !self.eat('"') {
            return Err(self.fault("expected a string in double quotes"));
        }
        let start = self.at;
        let mut is_escaped = false;
        for (offset, c) in self.rest().char_indices() {
            match c {
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = true,
                '"' => {
                    self.at += offset;
                    let text = self.since(start);
                    self.at += 1;
                    return Ok(text);
                }
                _ => {}
            }
        }
        Err(Fault {
            offset: start - 1,
            what: "this string has no end",
        })
    }
}

pub(super) fn is_space(c: char) -> bool {
    c == ' ' || c == '\t'
}
