//! The text form of a list of matchers.

use std::str::FromStr;

use super::quote::{is_word, unquote};
use super::{Labels, METRIC_NAME, MatchOp, Matcher};
use crate::error::{Error, Result};
use crate::limits::MATCHERS_MAX;

/// Reads a series selector as Prometheus writes it: `up{job="node",instance!~"test-.*"}`.
///
/// The metric name stands before the braces, or quoted inside when it is not made of letters, digits, `_` and `:`
/// alone: `{"my.metric",job="node"}`. Label names are quoted likewise. The matcher of the metric name comes first in the
/// result, the others in the order they are written.
///
/// # Errors
///
/// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) with the byte and what was expected there, or when there is no
/// matcher at all; [`ErrorKind::Limit`](crate::error::ErrorKind::Limit) for more matchers than [`MATCHERS_MAX`]; what
/// [`Matcher::new`] refuses.
///
/// ```
/// use tsdb::labels::parse_selector;
///
/// let matchers = parse_selector(r#"http_requests_total{code=~"5..", job!=""}"#)?;
/// assert_eq!(matchers.len(), 3);
/// assert_eq!(matchers[1].to_string(), r#"code=~"5..""#);
/// # Ok::<(), tsdb::error::Error>(())
/// ```
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>> {
    let mut parser = Parser {
        text,
        at: 0,
        matchers: Vec::new(),
        metric: false,
    };
    parser.selector()?;
    if parser.matchers.is_empty() {
        return Err(Error::invalid(format!(
            "selector {text:?}: expected at least one matcher"
        )));
    }
    Ok(parser.matchers)
}

impl FromStr for Labels {
    type Err = Error;

    /// Reads what [`Display`](std::fmt::Display) writes: a selector with `=` alone.
    fn from_str(text: &str) -> Result<Self> {
        let matchers = parse_selector(text)?;
        if let Some(other) = matchers
            .iter()
            .find(|matcher| matcher.op() != MatchOp::Equal)
        {
            return Err(Error::invalid(format!(
                "label set {text:?}: {other} is not a label"
            )));
        }
        Self::from_pairs(
            matchers
                .iter()
                .map(|matcher| (matcher.name(), matcher.value())),
        )
        .map_err(|rejection| Error::invalid(format!("label set {text:?}: {rejection}")))
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    matchers: Vec<Matcher>,
    /// Whether the metric is named before the braces or by a string alone.
    metric: bool,
}

impl<'a> Parser<'a> {
    fn selector(&mut self) -> Result<()> {
        self.skip_space();
        let metric = self.take_name(|byte| byte == b':' || is_word(byte));
        if !metric.is_empty() {
            self.push_metric(metric)?;
        }
        self.skip_space();
        if self.take("{") {
            self.braces()?;
            self.skip_space();
        } else if metric.is_empty() {
            return Err(self.error("expected a metric name or \"{\""));
        }
        if self.at < self.text.len() {
            return Err(self.error("expected the end"));
        }
        Ok(())
    }

    fn braces(&mut self) -> Result<()> {
        loop {
            self.skip_space();
            if self.take("}") {
                return Ok(());
            }
            self.matcher()?;
            self.skip_space();
            if !self.take(",") {
                return if self.take("}") {
                    Ok(())
                } else {
                    Err(self.error("expected \",\" or \"}\""))
                };
            }
        }
    }

    fn matcher(&mut self) -> Result<()> {
        let start = self.at;
        let bare = self.take_name(is_word);
        let quoted = if bare.is_empty() {
            Some(self.string("expected a label name, a string or \"}\"")?)
        } else {
            None
        };
        self.skip_space();
        // The longer operators first: `=` is the start of `=~`.
        let ops = [
            MatchOp::Regex,
            MatchOp::NotRegex,
            MatchOp::NotEqual,
            MatchOp::Equal,
        ];
        let op = ops.into_iter().find(|op| self.take(op.as_str()));
        match (op, quoted) {
            (Some(op), quoted) => {
                self.skip_space();
                let value = self.string("expected a string")?;
                self.push(start, op, quoted.as_deref().unwrap_or(bare), &value)
            }
            (None, Some(metric)) => self.push_metric(&metric),
            (None, None) => Err(self.error("expected \"=\", \"!=\", \"=~\" or \"!~\"")),
        }
    }

    fn push_metric(&mut self, metric: &str) -> Result<()> {
        if self.metric {
            return Err(self.error("expected no second metric name"));
        }
        self.push(self.at, MatchOp::Equal, METRIC_NAME, metric)?;
        self.metric = true;
        self.matchers.rotate_right(1);
        let repeated = self
            .matchers
            .iter()
            .skip(1)
            .any(|matcher| matcher.name() == METRIC_NAME);
        if repeated {
            Err(self.error("expected no second metric name"))
        } else {
            Ok(())
        }
    }

    fn push(&mut self, start: usize, op: MatchOp, name: &str, value: &str) -> Result<()> {
        if self.metric && name == METRIC_NAME {
            self.at = start;
            return Err(self.error("expected no second metric name"));
        }
        if self.matchers.len() == MATCHERS_MAX {
            return Err(Error::limit(format!(
                "selector has more than {MATCHERS_MAX} matchers"
            )));
        }
        self.matchers.push(Matcher::new(op, name, value)?);
        Ok(())
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        self.at = self.text.len()
            - self
                .rest()
                .trim_start_matches([' ', '\t', '\n', '\r'])
                .len();
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    /// Takes a name of bytes that `is_part` accepts, all of them ASCII; it does not start with a digit.
    fn take_name(&mut self, is_part: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.rest();
        let len = match rest.bytes().next() {
            Some(b'0'..=b'9') => 0,
            _ => rest.bytes().take_while(|&byte| is_part(byte)).count(),
        };
        self.at += len;
        rest.get(..len).unwrap_or_default()
    }

    fn string(&mut self, expected: &str) -> Result<String> {
        let rest = self.rest();
        if !rest.starts_with(['"', '\'', '`']) {
            return Err(self.error(expected));
        }
        let (string, len) = unquote(rest).map_err(|(what, offset)| {
            let text = self.text;
            Error::invalid(format!(
                "selector {text:?}: {what} at byte {}",
                self.at + offset
            ))
        })?;
        self.at += len;
        Ok(string)
    }

    #[cold]
    fn error(&self, expected: &str) -> Error {
        let (text, at) = (self.text, self.at);
        match self.rest().chars().next() {
            Some(found) => Error::invalid(format!(
                "selector {text:?}: {expected} at byte {at}, found {found:?}"
            )),
            None => Error::invalid(format!(
                "selector {text:?}: {expected} at byte {at}, found the end"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn parsed(text: &str) -> Vec<String> {
        parse_selector(text)
            .unwrap()
            .iter()
            .map(Matcher::to_string)
            .collect()
    }

    #[test]
    fn every_way_to_write_a_selector_is_read() {
        assert_eq!(parsed("up"), [r#"__name__="up""#]);
        assert_eq!(parsed(" a:b { } "), [r#"__name__="a:b""#]);
        assert_eq!(
            parsed("up{a=\"1\" , b != '2',c=~`3\\d`,\n\td!~\"4\",}"),
            [
                r#"__name__="up""#,
                r#"a="1""#,
                r#"b!="2""#,
                r#"c=~"3\\d""#,
                r#"d!~"4""#
            ]
        );
        assert_eq!(parsed(r#"{__name__=~"a|b"}"#), [r#"__name__=~"a|b""#]);
        assert_eq!(
            parsed(r#"{b="1",c="2","my.metric","x.y"!="3"}"#),
            [
                r#"__name__="my.metric""#,
                r#"b="1""#,
                r#"c="2""#,
                r#""x.y"!="3""#
            ]
        );
        assert_eq!(parsed(r#"{a="1",a="2"}"#), [r#"a="1""#, r#"a="2""#]);
    }

    #[test]
    fn errors_name_the_byte_and_what_was_expected() {
        for (text, message) in [
            (
                "",
                r#"expected a metric name or "{" at byte 0, found the end"#,
            ),
            ("{}", "expected at least one matcher"),
            (
                "1a",
                r#"expected a metric name or "{" at byte 0, found '1'"#,
            ),
            ("up down", "expected the end at byte 3, found 'd'"),
            (
                "up{a}",
                r#"expected "=", "!=", "=~" or "!~" at byte 4, found '}'"#,
            ),
            ("up{a=b}", "expected a string at byte 5, found 'b'"),
            (
                r#"up{a="b" c="d"}"#,
                r#"expected "," or "}" at byte 9, found 'c'"#,
            ),
            (
                r#"up{a="b""#,
                r#"expected "," or "}" at byte 8, found the end"#,
            ),
            (
                "{,}",
                r#"expected a label name, a string or "}" at byte 1, found ','"#,
            ),
            (r#"{a="b\q"}"#, "unknown escape at byte 5"),
            (
                r#"up{__name__="down"}"#,
                "expected no second metric name at byte 3, found '_'",
            ),
            (
                r#"{__name__="a","b"}"#,
                "expected no second metric name at byte 17, found '}'",
            ),
            (r#"{""="a"}"#, "the label name of a matcher is empty"),
            (
                r#"{a=~"("}"#,
                "regular expression \"(\": unclosed group, at byte 0",
            ),
        ] {
            let error = parse_selector(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().ends_with(message), "{text}: {error}");
        }
    }

    #[test]
    fn matchers_are_counted() {
        let of_count = |count: usize| format!("{{{}}}", "a=\"b\",".repeat(count));
        assert_eq!(
            parse_selector(&of_count(MATCHERS_MAX)).unwrap().len(),
            MATCHERS_MAX
        );
        assert_eq!(
            parse_selector(&of_count(MATCHERS_MAX + 1))
                .unwrap_err()
                .kind(),
            ErrorKind::Limit
        );
    }

    #[test]
    fn label_set_is_a_selector_of_equalities() {
        let labels: Labels = r#"up{b="2",a=""}"#.parse().unwrap();
        assert_eq!(labels.to_string(), r#"up{b="2"}"#);
        assert!("up{a!=\"b\"}".parse::<Labels>().is_err());
        assert!("{a=\"1\",a=\"2\"}".parse::<Labels>().is_err());
    }
}
