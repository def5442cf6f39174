//! A condition on the value of one label.

use std::fmt;
use std::sync::Arc;

use super::pattern::Pattern;
use super::quote::{Quoted, is_legacy_label_name};
use crate::error::{Error, Result};

/// How a [`Matcher`] compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`: the value is this one.
    Equal,
    /// `!=`: the value is not this one.
    NotEqual,
    /// `=~`: the regular expression matches the whole value.
    Regex,
    /// `!~`: the regular expression does not match the whole value.
    NotRegex,
}

impl MatchOp {
    /// Returns the operator as selectors write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }

    /// Tells whether the operator selects what its pattern does not match.
    pub const fn is_negative(self) -> bool {
        matches!(self, Self::NotEqual | Self::NotRegex)
    }
}

/// A condition on the value of one label; a series without the label has the empty value.
///
/// Cheap to clone. Two matchers are equal when they are written the same.
#[derive(Clone)]
pub struct Matcher(Arc<Inner>);

struct Inner {
    op: MatchOp,
    name: Box<str>,
    value: Box<str>,
    pattern: Pattern,
}

impl Matcher {
    /// Returns the condition `name op value`.
    ///
    /// A regular expression is RE2's: anchored on both sides, its dot matches every character, newlines too, and `\d`,
    /// `\w`, `\s` and `\b` are about ASCII. What this crate would read differently from RE2, such as sets within
    /// classes (`[a&&b]`), is refused, and so are `\Q..\E` and braces that are not a repetition.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::error::ErrorKind::Invalid) for an empty name or a malformed regular expression,
    /// [`ErrorKind::Limit`](crate::error::ErrorKind::Limit) for an expression that is too long, too deeply nested or
    /// too large once compiled.
    ///
    /// ```
    /// use tsdb::labels::{MatchOp, Matcher};
    ///
    /// let matcher = Matcher::new(MatchOp::Regex, "code", "5..")?;
    /// assert!(matcher.matches("503"));
    /// assert!(!matcher.matches("1503"));
    /// # Ok::<(), tsdb::error::Error>(())
    /// ```
    pub fn new(op: MatchOp, name: impl Into<Box<str>>, value: impl Into<Box<str>>) -> Result<Self> {
        let (name, value) = (name.into(), value.into());
        if name.is_empty() {
            return Err(Error::invalid("the label name of a matcher is empty"));
        }
        let pattern = match op {
            MatchOp::Equal | MatchOp::NotEqual => Pattern::Literals(vec![String::from(&*value)]),
            MatchOp::Regex | MatchOp::NotRegex => Pattern::parse(&value)?,
        };
        Ok(Self(Arc::new(Inner {
            op,
            name,
            value,
            pattern,
        })))
    }

    /// Returns how the matcher compares.
    pub fn op(&self) -> MatchOp {
        self.0.op
    }

    /// Returns the name of the label.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the text the label is compared with: a value or a regular expression.
    pub fn value(&self) -> &str {
        &self.0.value
    }

    /// Tells whether a series whose label has `value` is selected.
    #[inline]
    pub fn matches(&self, value: &str) -> bool {
        self.matches_positive(value) != self.0.op.is_negative()
    }

    /// Tells whether a series without the label is selected.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }

    /// Tells whether the pattern matches `value`, whatever the operator makes of that.
    #[inline]
    pub(crate) fn matches_positive(&self, value: &str) -> bool {
        self.0.pattern.matches(value)
    }

    /// Returns what the values the pattern matches look like, whatever the operator makes of that.
    pub(crate) fn pattern(&self) -> &Pattern {
        &self.0.pattern
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (self.op(), self.name(), self.value()) == (other.op(), other.name(), other.value())
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_legacy_label_name(self.name()) {
            f.write_str(self.name())?;
        } else {
            write!(f, "{}", Quoted(self.name()))?;
        }
        write!(f, "{}{}", self.op().as_str(), Quoted(self.value()))
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(op: MatchOp, value: &str) -> Matcher {
        Matcher::new(op, "a", value).unwrap()
    }

    #[test]
    fn missing_label_is_the_empty_value() {
        for (op, value, selected) in [
            (MatchOp::Equal, "", true),
            (MatchOp::Equal, "x", false),
            (MatchOp::NotEqual, "", false),
            (MatchOp::NotEqual, "x", true),
            (MatchOp::Regex, "x?", true),
            (MatchOp::Regex, ".+", false),
            (MatchOp::NotRegex, ".+", true),
            (MatchOp::NotRegex, ".*", false),
        ] {
            assert_eq!(
                matcher(op, value).matches_empty(),
                selected,
                "{}",
                matcher(op, value)
            );
        }
    }

    #[test]
    fn negation_is_left_to_the_operator() {
        let positive = matcher(MatchOp::Regex, "x.*");
        let negative = matcher(MatchOp::NotRegex, "x.*");
        assert!(positive.matches("xy") && !negative.matches("xy"));
        assert!(!positive.matches("yx") && negative.matches("yx"));
        assert!(positive.matches_positive("xy") && negative.matches_positive("xy"));
        assert!(matches!(negative.pattern(), Pattern::StartsWith(prefix) if prefix == "x"));
    }

    #[test]
    fn equality_takes_no_expression() {
        assert!(matcher(MatchOp::Equal, ".*(").matches(".*("));
        assert!(
            matches!(matcher(MatchOp::NotEqual, "a|b").pattern(), Pattern::Literals(words) if words == &["a|b"])
        );
    }

    #[test]
    fn display_is_what_selectors_read() {
        assert_eq!(
            matcher(MatchOp::NotRegex, "\\d\"").to_string(),
            r#"a!~"\\d\"""#
        );
        assert_eq!(
            Matcher::new(MatchOp::Equal, "a b", "c")
                .unwrap()
                .to_string(),
            r#""a b"="c""#
        );
    }
}
