//! Reduces the syntax tree of a regular expression to what the label index can look up.
//!
//! The tree stands for an expression that must match a whole value, so a `^` in front and a `$` at the end say nothing,
//! and whether a repetition is greedy does not matter.

use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

use crate::limits::REGEX_LITERALS_MAX;

/// What an expression is reduced to. All but the last two say everything the expression says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// These values, sorted and without repetition.
    Literals(Vec<String>),
    Any,
    NonEmpty,
    StartsWith(String),
    Glob(Words),
    /// What one of these matches: at least two, sorted and without repetition, one of which is no literal.
    AnyOf(Vec<Words>),
    /// Every match starts with this, which is not empty; not everything that starts with it is a match.
    Prefix(String),
    General,
}

/// Words in this order with anything between them; the first and the last may be empty. One alone is a literal.
pub(super) type Words = Vec<String>;

/// Reduces `tree` to the first shape that fits.
pub(super) fn reduce(tree: &Hir) -> Shape {
    let mut parts = Vec::new();
    flatten(tree, &mut parts);
    let parts = trim_anchors(&parts);
    if let Some(literals) = expand_concat(parts.iter().copied()) {
        return Shape::Literals(literals);
    }
    if anything(parts) == Some(1) {
        return Shape::NonEmpty;
    }
    if let Some(globs) = globs_of_concat(parts.iter().copied()) {
        return any_of(globs);
    }
    match leading_literal(parts) {
        prefix if prefix.is_empty() => Shape::General,
        prefix => Shape::Prefix(prefix),
    }
}

/// Returns the shape of what one of `globs`, which are not all literals, matches.
pub(super) fn any_of(mut globs: Vec<Words>) -> Shape {
    globs.sort_unstable();
    globs.dedup();
    match globs.as_mut_slice() {
        [only] => match only.as_mut_slice() {
            [first, last] if first.is_empty() && last.is_empty() => Shape::Any,
            [first, last] if last.is_empty() => Shape::StartsWith(std::mem::take(first)),
            _ => Shape::Glob(std::mem::take(only)),
        },
        _ => Shape::AnyOf(globs),
    }
}

/// Alternatives that are written out, beyond which an automaton is faster than trying each.
pub(super) const GLOBS_MAX: usize = 32;

/// Returns the globs of which `tree` matches what one of them does; `None` when they are too many or say too little.
fn globs(tree: &Hir) -> Option<Vec<Words>> {
    if let Some(literals) = expand(tree) {
        return bounded(literals.into_iter().map(|literal| vec![literal]).collect());
    }
    if anything(&[tree]) == Some(0) {
        return Some(vec![vec![String::new(), String::new()]]);
    }
    match tree.kind() {
        HirKind::Capture(capture) => globs(&capture.sub),
        HirKind::Concat(subs) => globs_of_concat(subs.iter()),
        HirKind::Alternation(subs) => {
            let mut union = Vec::new();
            for sub in subs {
                union.extend(globs(sub)?);
                union = bounded(union)?;
            }
            Some(union)
        }
        HirKind::Empty
        | HirKind::Literal(_)
        | HirKind::Class(_)
        | HirKind::Look(_)
        | HirKind::Repetition(_) => None,
    }
}

fn globs_of_concat<'a>(subs: impl Iterator<Item = &'a Hir>) -> Option<Vec<Words>> {
    let mut heads = vec![vec![String::new()]];
    for sub in subs {
        let tails = globs(sub)?;
        if heads.len() * tails.len() > GLOBS_MAX {
            return None;
        }
        let pairs = heads
            .iter()
            .flat_map(|head| tails.iter().map(move |tail| (head, tail)));
        heads = bounded(pairs.map(|(head, tail)| join(head, tail)).collect())?;
    }
    Some(heads)
}

/// Returns the words of `head` with those of `tail` behind them: the last of the one and the first of the other are one.
fn join(head: &[String], tail: &[String]) -> Words {
    let mut words = head.to_vec();
    let mut tail = tail.iter();
    if let (Some(last), Some(first)) = (words.last_mut(), tail.next()) {
        last.push_str(first);
    }
    words.extend(tail.cloned());
    without_empty(words)
}

/// Takes out the empty words in the middle: `.*.*` says no more than `.*`.
pub(super) fn without_empty(mut words: Words) -> Words {
    let last = words.len().saturating_sub(1);
    let mut position = 0;
    words.retain(|word| {
        position += 1;
        position == 1 || position == last + 1 || !word.is_empty()
    });
    words
}

fn bounded(globs: Vec<Words>) -> Option<Vec<Words>> {
    let bytes: usize = globs.iter().flatten().map(String::len).sum();
    (globs.len() <= GLOBS_MAX && bytes <= LITERALS_BYTES_MAX).then_some(globs)
}

/// Bytes of all literals of one expression together, so that `(a{1000}){1000}` is not written out.
const LITERALS_BYTES_MAX: usize = 16 * 1024;

/// Repetitions that are written out.
const REPETITIONS_MAX: u32 = 1024;

/// Lists what follows each other, looking into groups.
fn flatten<'a>(tree: &'a Hir, parts: &mut Vec<&'a Hir>) {
    match tree.kind() {
        HirKind::Concat(subs) => subs.iter().for_each(|sub| flatten(sub, parts)),
        HirKind::Capture(capture) => flatten(&capture.sub, parts),
        _ => parts.push(tree),
    }
}

fn trim_anchors<'a, 'b>(mut parts: &'b [&'a Hir]) -> &'b [&'a Hir] {
    while let [first, rest @ ..] = parts
        && matches!(first.kind(), HirKind::Look(Look::Start))
    {
        parts = rest;
    }
    while let [rest @ .., last] = parts
        && matches!(last.kind(), HirKind::Look(Look::End))
    {
        parts = rest;
    }
    parts
}

/// Returns the one word the parts start with.
fn leading_literal(parts: &[&Hir]) -> String {
    let mut word = String::new();
    for part in parts {
        match expand(part).as_deref() {
            Some([literal]) if word.len() + literal.len() <= LITERALS_BYTES_MAX => {
                word.push_str(literal);
            }
            _ => break,
        }
    }
    word
}

/// Returns how many characters `parts` need at least when beyond that they match anything; `None` when they are choosy.
fn anything(parts: &[&Hir]) -> Option<u32> {
    let mut chars_min = 0u32;
    for part in parts {
        match part.kind() {
            HirKind::Repetition(Repetition {
                min,
                max: None,
                sub,
                ..
            }) if is_any_char(sub) => {
                chars_min = chars_min.saturating_add(*min);
            }
            _ => return None,
        }
    }
    (!parts.is_empty()).then_some(chars_min)
}

fn is_any_char(tree: &Hir) -> bool {
    match tree.kind() {
        HirKind::Class(Class::Unicode(class)) => {
            matches!(class.ranges(), [all] if all.start() == '\0' && all.end() == char::MAX)
        }
        HirKind::Capture(capture) => is_any_char(&capture.sub),
        _ => false,
    }
}

/// Returns everything `tree` matches, sorted and without repetition; `None` when that is too much or depends on what
/// stands around it.
fn expand(tree: &Hir) -> Option<Vec<String>> {
    match tree.kind() {
        HirKind::Empty => Some(vec![String::new()]),
        HirKind::Literal(literal) => {
            Some(vec![String::from(std::str::from_utf8(&literal.0).ok()?)])
        }
        HirKind::Class(class) => expand_class(class),
        HirKind::Look(_) => None,
        HirKind::Repetition(repetition) => expand_repetition(repetition),
        HirKind::Capture(capture) => expand(&capture.sub),
        HirKind::Concat(subs) => expand_concat(subs.iter()),
        HirKind::Alternation(subs) => {
            let mut union = Vec::new();
            for sub in subs {
                union.extend(expand(sub)?);
                if exceeds(&union) {
                    return None;
                }
            }
            Some(normalised(union))
        }
    }
}

fn expand_class(class: &Class) -> Option<Vec<String>> {
    let chars: Vec<String> = match class {
        Class::Unicode(class) => {
            let chars = class.iter().flat_map(|range| range.start()..=range.end());
            chars
                .take(REGEX_LITERALS_MAX + 1)
                .map(String::from)
                .collect()
        }
        Class::Bytes(class) if class.is_ascii() => {
            let bytes = class.iter().flat_map(|range| range.start()..=range.end());
            bytes.map(|byte| String::from(char::from(byte))).collect()
        }
        Class::Bytes(_) => return None,
    };
    (!exceeds(&chars)).then_some(chars)
}

fn expand_repetition(repetition: &Repetition) -> Option<Vec<String>> {
    let max = repetition.max.filter(|&max| max <= REPETITIONS_MAX)?;
    let sub = expand(&repetition.sub)?;
    let mut power = vec![String::new()];
    let mut union = Vec::new();
    for times in 0..=max {
        if times > 0 {
            power = product(&power, &sub)?;
        }
        if times >= repetition.min {
            union.extend(power.iter().cloned());
            if exceeds(&union) {
                return None;
            }
        }
    }
    Some(normalised(union))
}

fn expand_concat<'a>(subs: impl Iterator<Item = &'a Hir>) -> Option<Vec<String>> {
    let mut words = vec![String::new()];
    for sub in subs {
        words = product(&words, &expand(sub)?)?;
    }
    Some(normalised(words))
}

/// Returns every word of `heads` with every word of `tails` behind it.
fn product(heads: &[String], tails: &[String]) -> Option<Vec<String>> {
    if heads.len() * tails.len() > REGEX_LITERALS_MAX {
        return None;
    }
    let words: Vec<String> = heads
        .iter()
        .flat_map(|head| tails.iter().map(move |tail| format!("{head}{tail}")))
        .collect();
    (!exceeds(&words)).then_some(words)
}

fn exceeds(words: &[String]) -> bool {
    words.len() > REGEX_LITERALS_MAX
        || words.iter().map(String::len).sum::<usize>() > LITERALS_BYTES_MAX
}

fn normalised(mut words: Vec<String>) -> Vec<String> {
    words.sort_unstable();
    words.dedup();
    words
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The shape by way of the syntax tree.
    pub(in crate::labels) fn shape(expression: &str) -> Shape {
        reduce(
            &regex_syntax::ParserBuilder::new()
                .dot_matches_new_line(true)
                .build()
                .parse(expression)
                .unwrap(),
        )
    }

    fn literals(words: &[&str]) -> Shape {
        Shape::Literals(words.iter().copied().map(String::from).collect())
    }

    #[test]
    fn words_classes_and_repetitions_are_written_out() {
        assert_eq!(shape(""), literals(&[""]));
        assert_eq!(shape("abc"), literals(&["abc"]));
        assert_eq!(shape("^abc$"), literals(&["abc"]));
        assert_eq!(shape("b|a|b|"), literals(&["", "a", "b"]));
        assert_eq!(
            shape("(foo|bar)(1|2)?"),
            literals(&["bar", "bar1", "bar2", "foo", "foo1", "foo2"])
        );
        assert_eq!(shape("a{2}b{0,2}"), literals(&["aa", "aab", "aabb"]));
        assert_eq!(shape(r"a\.b\|c"), literals(&["a.b|c"]));
        assert_eq!(
            shape("(?i)ok"),
            literals(&["OK", "Ok", "O\u{212a}", "oK", "ok", "o\u{212a}"])
        );
        assert_eq!(shape(r"[^\s\S]"), literals(&[]));
        let Shape::Literals(nodes) = shape("node-00(1|2|3)[0-9]") else {
            unreachable!()
        };
        assert_eq!(
            (nodes.len(), nodes[0].as_str(), nodes[29].as_str()),
            (30, "node-0010", "node-0039")
        );
    }

    #[test]
    fn open_ends_are_recognised() {
        assert_eq!(shape(".*"), Shape::Any);
        assert_eq!(shape("(.*)"), Shape::Any);
        assert_eq!(shape("^.*?$"), Shape::Any);
        assert_eq!(shape(".+"), Shape::NonEmpty);
        assert_eq!(shape(".*.+"), Shape::NonEmpty);
        assert_eq!(shape("abc.*"), Shape::StartsWith(String::from("abc")));
        assert_eq!(shape("(ab)c.*.*"), Shape::StartsWith(String::from("abc")));
    }

    #[test]
    fn words_with_anything_between_are_a_glob() {
        let words = |words: &[&str]| Shape::Glob(words.iter().copied().map(String::from).collect());
        assert_eq!(shape(".*abc.*"), words(&["", "abc", ""]));
        assert_eq!(shape(".*abc"), words(&["", "abc"]));
        assert_eq!(shape("a.*b.*.*(cd)e.*f"), words(&["a", "b", "cde", "f"]));
        assert_eq!(shape("app-1.*-.*"), words(&["app-1", "-", ""]));
        assert_eq!(shape(".*a.+b.*"), Shape::General);
    }

    #[test]
    fn alternatives_are_globs_by_themselves() {
        let any_of = |globs: &[&[&str]]| {
            let words = |words: &&[&str]| words.iter().copied().map(String::from).collect();
            Shape::AnyOf(globs.iter().map(words).collect())
        };
        assert_eq!(shape("a.*(b|c)"), any_of(&[&["a", "b"], &["a", "c"]]));
        assert_eq!(shape("a|b.*"), any_of(&[&["a"], &["b", ""]]));
        assert_eq!(shape("abc(d|e).*"), any_of(&[&["abcd", ""], &["abce", ""]]));
        assert_eq!(
            shape("cpu_.*|memory_rss"),
            any_of(&[&["cpu_", ""], &["memory_rss"]])
        );
        assert_eq!(shape("(a.*|b).*"), any_of(&[&["a", ""], &["b", ""]]));
        assert_eq!(shape("(a.*|a.*)b"), shape("a.*b"));
        assert_eq!(shape("[a-f]x.*[a-f]"), Shape::General, "36 of them");
        assert_eq!(shape("a|b.+"), Shape::General);
        assert_eq!(shape("a|^b.*"), Shape::General);
    }

    #[test]
    fn what_is_choosier_keeps_its_expression() {
        assert_eq!(shape("abc.+"), Shape::Prefix(String::from("abc")));
        assert_eq!(shape("(?-s:.*)"), Shape::General);
        assert_eq!(shape("(?-s:abc.*)"), Shape::Prefix(String::from("abc")));
        assert_eq!(shape("..+"), Shape::General);
        assert_eq!(shape(r"\babc"), Shape::General);
        assert_eq!(shape("(?m)^abc$"), Shape::General);
        assert_eq!(shape("(?i)abcdefghij"), Shape::General);
    }

    #[test]
    fn expansion_stops_at_its_limits() {
        assert_eq!(shape("[a-p][a-p]"), shape("[a-p]{2}"));
        assert!(
            matches!(shape("[a-p][a-p]"), Shape::Literals(words) if words.len() == REGEX_LITERALS_MAX)
        );
        assert_eq!(shape("[a-p][a-q]"), Shape::General);
        assert_eq!(shape("(a{1000}){1000}"), Shape::General);
        assert_eq!(shape("(?:){4000000000}a{9999}"), Shape::General);
        assert_eq!(shape("(a|b){100}"), Shape::General);
    }
}
