//! What the values a matcher accepts look like, read off the syntax tree of its regular expression.
//!
//! Most expressions in use are no more than lists of words, prefixes or "anything". Those are recognised here: the
//! label index then looks values up instead of testing each, and no automaton is compiled or run.

use regex::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::Hir;

use super::analysis;
use crate::error::{Error, Result};
use crate::limits::{REGEX_BYTES_MAX, REGEX_PROGRAM_BYTES_MAX};

/// The values a matcher's pattern matches. Every variant is exact: [`Pattern::matches`] needs nothing else.
#[derive(Debug, Clone)]
pub(crate) enum Pattern {
    /// Exactly these, sorted and without repetition; the empty value may be among them, and the list may be empty.
    Literals(Vec<String>),
    /// Every value, the empty one too: `.*`.
    Any,
    /// Every value but the empty one: `.+`.
    NonEmpty,
    /// Every value that starts with this: `abc.*`.
    StartsWith(String),
    /// Every value that has this in it: `.*abc.*`.
    Contains(String),
    /// Values that start with `prefix`, which is not empty, and that `regex` matches.
    Prefix { prefix: String, regex: Regex },
    /// Values that `regex` matches.
    General { regex: Regex },
}

impl Pattern {
    /// Reads a regular expression.
    pub(crate) fn parse(expression: &str) -> Result<Self> {
        if expression.len() > REGEX_BYTES_MAX {
            return Err(Error::limit(format!(
                "regular expression of {} bytes exceeds {REGEX_BYTES_MAX} bytes",
                expression.len()
            )));
        }
        // Parsed on its own first: inside the anchors an unbalanced `a)|(b` would be well-formed and escape them.
        let tree = parse_tree(expression)?;
        match analysis::reduce(&tree) {
            analysis::Shape::Literals(literals) => Ok(Self::Literals(literals)),
            analysis::Shape::Any => Ok(Self::Any),
            analysis::Shape::NonEmpty => Ok(Self::NonEmpty),
            analysis::Shape::StartsWith(prefix) => Ok(Self::StartsWith(prefix)),
            analysis::Shape::Contains(part) => Ok(Self::Contains(part)),
            analysis::Shape::Prefix(prefix) => Ok(Self::Prefix {
                prefix,
                regex: compile(expression)?,
            }),
            analysis::Shape::General => Ok(Self::General {
                regex: compile(expression)?,
            }),
        }
    }

    /// Tells whether the pattern matches the whole of `value`.
    #[inline]
    pub(crate) fn matches(&self, value: &str) -> bool {
        match self {
            Self::Literals(literals) => match literals.as_slice() {
                [literal] => literal == value,
                literals => literals
                    .binary_search_by(|literal| literal.as_str().cmp(value))
                    .is_ok(),
            },
            Self::Any => true,
            Self::NonEmpty => !value.is_empty(),
            Self::StartsWith(prefix) => value.starts_with(prefix.as_str()),
            Self::Contains(part) => value.contains(part.as_str()),
            Self::Prefix { prefix, regex } => {
                value.starts_with(prefix.as_str()) && regex.is_match(value)
            }
            Self::General { regex } => regex.is_match(value),
        }
    }
}

/// Groups within groups. The analysis walks the tree by recursion, so this bounds its stack.
const NEST_MAX: u32 = 100;

/// Levels the anchors add around an expression.
const NEST_OF_ANCHORS: u32 = 10;

fn parse_tree(expression: &str) -> Result<Hir> {
    let mut parser = ParserBuilder::new()
        .nest_limit(NEST_MAX)
        .dot_matches_new_line(true)
        .build();
    parser.parse(expression).map_err(|error| {
        let (reason, offset, limit) = match &error {
            regex_syntax::Error::Parse(error) => {
                let limit = matches!(
                    error.kind(),
                    regex_syntax::ast::ErrorKind::NestLimitExceeded(_)
                );
                (error.kind().to_string(), error.span().start.offset, limit)
            }
            regex_syntax::Error::Translate(error) => {
                (error.kind().to_string(), error.span().start.offset, false)
            }
            other => (other.to_string(), 0, false),
        };
        let message = format!("regular expression {expression:?}: {reason} at byte {offset}");
        if limit {
            Error::limit(message)
        } else {
            Error::invalid(message)
        }
    })
}

fn compile(expression: &str) -> Result<Regex> {
    RegexBuilder::new(&format!("^(?s:{expression})$"))
        .nest_limit(NEST_MAX + NEST_OF_ANCHORS)
        .size_limit(REGEX_PROGRAM_BYTES_MAX)
        .dfa_size_limit(REGEX_PROGRAM_BYTES_MAX)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => Error::limit(format!(
                "regular expression {expression:?}: compiled it exceeds {limit} bytes"
            )),
            error => Error::invalid(format!("regular expression {expression:?}: {error}")),
        })
}
