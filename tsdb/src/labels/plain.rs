//! Reads the plain expressions that most selectors have - words, `.*` between them, `|` between those - without a parser
//! of regular expressions, which costs more than a small selection does.

use super::analysis::{GLOBS_MAX, Shape, Words, any_of, without_empty};
use crate::limits::{REGEX_BYTES_MAX, REGEX_LITERALS_MAX};

/// Returns the shape of a plain expression: the one that the analysis of its syntax tree comes to. `None` for one that
/// is not plain.
pub(super) fn shape(expression: &str) -> Option<Shape> {
    if expression.len() > REGEX_BYTES_MAX {
        return None;
    }
    if expression == ".+" {
        return Some(Shape::NonEmpty);
    }
    let mut globs = expression
        .split('|')
        .map(words)
        .collect::<Option<Vec<Words>>>()?;
    if globs.iter().all(|words| words.len() == 1) {
        let mut literals: Vec<String> = globs.into_iter().flatten().collect();
        literals.sort_unstable();
        literals.dedup();
        return (literals.len() <= REGEX_LITERALS_MAX).then_some(Shape::Literals(literals));
    }
    globs.sort_unstable();
    globs.dedup();
    (globs.len() <= GLOBS_MAX).then(|| any_of(globs))
}

/// Returns the words of one alternative.
fn words(alternative: &str) -> Option<Words> {
    let mut words = vec![String::new()];
    let mut chars = alternative.chars().peekable();
    while let Some(char) = chars.next() {
        let word = words.last_mut().expect("there is one from the start");
        match char {
            '.' => {
                chars.next_if_eq(&'*')?;
                // What follows may say how often or how greedily.
                if matches!(chars.peek(), Some('*' | '+' | '?' | '{')) {
                    return None;
                }
                words.push(String::new());
            }
            '\\' => word.push(chars.next_if_eq(&'.')?),
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' | ':' | '/' | ' ' | ',' | '=' | '@' => {
                if matches!(chars.peek(), Some('*' | '+' | '?' | '{')) {
                    return None;
                }
                word.push(char);
            }
            _ => return None,
        }
    }
    Some(without_empty(words))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::labels::analysis::tests::shape as parsed;

    #[test]
    fn plain_expressions_need_no_parser() {
        for expression in [
            "",
            ".*",
            ".+",
            "node-0003",
            "team-1.*",
            "app-1.*-.*",
            ".*abc.*",
            r"10\.0\.0\.1:.*",
            "container_cpu_.*|container_memory_rss",
            "a|b|c|",
            "a.*.*b",
        ] {
            assert_eq!(shape(expression), Some(parsed(expression)), "{expression}");
        }
        for expression in [
            "a.b", "a.*?", "ab*", "(a)", "[a]", "^a", "a$", "a{2}", r"\d", ".", "\\", "é",
        ] {
            assert_eq!(shape(expression), None, "{expression}");
        }
    }

    proptest! {
        #[test]
        fn shape_is_that_of_the_syntax_tree(
            expression in prop::collection::vec(
                prop::sample::select(vec!["a", "b", "ab", "-", " ", r"\.", ".*", ".*", "|", ".+", "+", "?", "{2}", "^", "(b)"]),
                0..12,
            ).prop_map(|parts| parts.concat()),
        ) {
            if let Some(shape) = shape(&expression) {
                prop_assert_eq!(shape, parsed(&expression), "{}", expression);
            }
        }
    }
}
