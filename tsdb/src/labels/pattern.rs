//! What the values a matcher accepts look like, read off the syntax tree of its regular expression.
//!
//! Most expressions in use are no more than lists of words, prefixes or "anything". Those are recognised here: the
//! label index then looks values up instead of testing each, and no automaton is compiled or run.

use regex::{Regex, RegexBuilder};
use regex_syntax::ast;

use super::analysis::{self, Shape};
use super::glob::{AnyOf, Glob};
use super::plain;
use super::re2::{self, Foreign};
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
    /// Words with anything between: `.*abc.*`, `abc.*def`.
    Glob(Box<Glob>),
    /// Values that one of several words or globs matches: `abc.*|def`.
    AnyOf(Box<AnyOf>),
    /// Values that start with `prefix`, which is not empty, and that `regex` matches.
    Prefix { prefix: String, regex: Regex },
    /// Values that `regex` matches.
    General { regex: Regex },
}

impl Pattern {
    /// Reads a regular expression.
    pub(crate) fn parse(expression: &str) -> Result<Self> {
        let compiled =
            |rewritten: &str| compile(rewritten).map_err(|error| uncompilable(expression, error));
        if let Some(shape) = plain::shape(expression) {
            return Self::new(shape, || compiled(&in_words_of_the_crate(expression)?));
        }
        let rewritten = in_words_of_the_crate(expression)?;
        let tree = regex_syntax::ParserBuilder::new()
            .nest_limit(NEST_MAX + NEST_ADDED)
            .dot_matches_new_line(true)
            .build()
            .parse(&rewritten)
            .map_err(|error| untranslatable(expression, &error))?;
        Self::new(analysis::reduce(&tree), || compiled(&rewritten))
    }

    /// `compiled` is asked when the shape does not say everything.
    fn new(shape: Shape, compiled: impl FnOnce() -> Result<Regex>) -> Result<Self> {
        Ok(match shape {
            Shape::Literals(literals) => Self::Literals(literals),
            Shape::Any => Self::Any,
            Shape::NonEmpty => Self::NonEmpty,
            Shape::StartsWith(prefix) => Self::StartsWith(prefix),
            Shape::Glob(words) => Self::Glob(Box::new(Glob::new(&words))),
            Shape::AnyOf(globs) => Self::AnyOf(Box::new(AnyOf::new(&globs))),
            Shape::Prefix(prefix) => Self::Prefix {
                prefix,
                regex: compiled()?,
            },
            Shape::General => Self::General { regex: compiled()? },
        })
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
            Self::Glob(glob) => glob.matches(value),
            Self::AnyOf(globs) => globs.matches(value),
            Self::Prefix { prefix, regex } => {
                value.starts_with(prefix.as_str()) && regex.is_match(value)
            }
            Self::General { regex } => regex.is_match(value),
        }
    }
}

/// Compiles an expression that must match the whole of a text, for who needs what its groups matched.
#[cfg(feature = "remote-write")]
pub(crate) fn compile_with_groups(expression: &str) -> Result<Regex> {
    let rewritten = in_words_of_the_crate(expression)?;
    compile(&rewritten).map_err(|error| uncompilable(expression, error))
}

/// Groups within groups. The analysis walks the tree by recursion, so this bounds its stack.
const NEST_MAX: u32 = 100;

/// Levels that rewriting and the anchors add to an expression.
const NEST_ADDED: u32 = 10;

/// Checks `expression` by itself and rewrites it. Checked between the anchors only, an unbalanced `a)|(b` would be
/// well-formed and escape them.
fn in_words_of_the_crate(expression: &str) -> Result<String> {
    if expression.len() > REGEX_BYTES_MAX {
        return Err(Error::limit(format!(
            "regular expression of {} bytes exceeds {REGEX_BYTES_MAX} bytes",
            expression.len()
        )));
    }
    let tree = ast::parse::ParserBuilder::new()
        .nest_limit(NEST_MAX)
        .build()
        .parse(expression)
        .map_err(|error| unparsable(expression, &error))?;
    re2::rewrite(expression, &tree).map_err(|Foreign { what, offset }| {
        Error::invalid(format!(
            "regular expression {expression:?}: {what}, at byte {offset}"
        ))
    })
}

fn compile(rewritten: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&format!("^(?s:{rewritten})$"))
        .nest_limit(NEST_MAX + NEST_ADDED)
        .size_limit(REGEX_PROGRAM_BYTES_MAX)
        .dfa_size_limit(REGEX_PROGRAM_BYTES_MAX)
        .build()
}

#[cold]
fn unparsable(expression: &str, error: &ast::Error) -> Error {
    let message = format!(
        "regular expression {expression:?}: {}, at byte {}",
        error.kind(),
        error.span().start.offset
    );
    match error.kind() {
        ast::ErrorKind::NestLimitExceeded(_) => Error::limit(message),
        _ => Error::invalid(message),
    }
}

#[cold]
fn untranslatable(expression: &str, error: &regex_syntax::Error) -> Error {
    // Offsets are those of the rewritten expression and would mislead.
    match error {
        regex_syntax::Error::Translate(error) => Error::invalid(format!(
            "regular expression {expression:?}: {}",
            error.kind()
        )),
        error => Error::invalid(format!("regular expression {expression:?}: {error}")),
    }
}

#[cold]
fn uncompilable(expression: &str, error: regex::Error) -> Error {
    match error {
        regex::Error::CompiledTooBig(bytes_max) => Error::limit(format!(
            "regular expression {expression:?}: compiled it exceeds {bytes_max} bytes"
        )),
        error => Error::invalid(format!("regular expression {expression:?}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    fn matches(expression: &str, value: &str) -> bool {
        Pattern::parse(expression).unwrap().matches(value)
    }

    #[test]
    fn expression_must_match_the_whole_value() {
        assert!(matches("b+", "bb") && !matches("b+", "abb") && !matches("b+", "bba"));
        assert!(matches("a.+c", "a\nc") && matches("a.*", "a\n") && !matches("(?-s:a.*)", "a\n"));
        assert!(matches("a|b.+", "a") && !matches("a|b.+", "ax"));
        assert!(!matches("a.+c$", "abc\n"));
    }

    #[test]
    fn perl_classes_are_ascii() {
        assert!(matches(r"\d+", "42") && !matches(r"\d+", "\u{664}\u{662}"));
        assert!(
            matches(r"\w\W+", "aé") && matches(r"[\s]\S*", "\tx") && !matches(r"\s.*", "\u{a0}")
        );
        assert!(matches(r".*\bb.*", "éb") && !matches(r".*\Bb.*", "éb"));
    }

    #[test]
    fn hostile_expressions_are_refused() {
        let kind = |expression: &str| Pattern::parse(expression).unwrap_err().kind();
        assert_eq!(kind("(a{1000}){1000}"), ErrorKind::Limit);
        assert_eq!(kind(&"(".repeat(4000)), ErrorKind::Invalid);
        assert_eq!(
            kind(&format!("{}a{}", "(".repeat(200), ")".repeat(200))),
            ErrorKind::Limit
        );
        assert_eq!(kind(&"a".repeat(REGEX_BYTES_MAX + 1)), ErrorKind::Limit);
        assert_eq!(kind(&r"\pL{9}".repeat(500)), ErrorKind::Limit);
        assert_eq!(kind("a)|(b"), ErrorKind::Invalid);
        assert_eq!(kind("["), ErrorKind::Invalid);
        assert_eq!(kind(r"\p{Nothing}"), ErrorKind::Invalid);
        assert_eq!(kind("[a&&b]"), ErrorKind::Invalid);
    }

    #[test]
    fn nesting_up_to_the_limit_compiles() {
        let depth = NEST_MAX as usize - 10;
        let expression = format!("{}a+{}", "(".repeat(depth), ")".repeat(depth));
        assert!(matches(&expression, "aaa"));
    }

    #[test]
    fn errors_name_the_expression_and_the_reason() {
        let message = |expression: &str| Pattern::parse(expression).unwrap_err().to_string();
        assert_eq!(
            message("a(b"),
            r#"regular expression "a(b": unclosed group, at byte 1"#
        );
        assert!(message("[a&&b]").starts_with(r#"regular expression "[a&&b]": "#));
        assert!(
            message(r"\d(a{1000}){1000}")
                .ends_with(r#""\\d(a{1000}){1000}": compiled it exceeds 1048576 bytes"#)
        );
    }

    /// Expressions over few letters, so that random values match often.
    fn expression() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(vec![
            "", "a", "b", "ab", "[ab]", "[^a]", ".", ".*", ".+", "^", "$", r"\d", r"\b", "(?i:A)",
        ]);
        leaf.prop_map(String::from)
            .prop_recursive(4, 24, 4, |inner| {
                prop_oneof![
                    prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
                    prop::collection::vec(inner.clone(), 1..4)
                        .prop_map(|parts| format!("({})", parts.join("|"))),
                    (
                        inner.clone(),
                        prop::sample::select(vec!["?", "*", "+", "{2}", "{0,3}"])
                    )
                        .prop_map(|(part, times)| format!("(?:{part}){times}")),
                    inner.prop_map(|part| format!(".*{part}.*")),
                ]
            })
    }

    proptest! {
        #[test]
        fn every_shape_agrees_with_the_plain_expression(
            expression in expression(),
            values in prop::collection::vec("[aAbB1 \n]{0,6}", 1..20),
        ) {
            let plain = Regex::new(&format!("^(?s:{})$", expression.replace(r"\b", r"(?-u:\b)"))).unwrap();
            let pattern = Pattern::parse(&expression).unwrap();
            if let Pattern::Literals(literals) = &pattern {
                prop_assert!(literals.is_sorted_by(|left, right| left < right));
                for literal in literals {
                    prop_assert!(plain.is_match(literal), "{expression} {literal:?}");
                }
            }
            for value in &values {
                prop_assert_eq!(pattern.matches(value), plain.is_match(value), "{} {:?} {:?}", &expression, value, &pattern);
            }
        }

        #[test]
        fn no_text_panics(expression in "\\PC{0,40}|[a-c().*+?|{}0-9^$\\[\\]\\\\bdwsPpnx-]{0,40}") {
            if let Ok(pattern) = Pattern::parse(&expression) {
                pattern.matches(&expression);
            }
        }
    }
}
