//! Words with anything between them, and several such.

use memchr::memmem::Finder;

/// Words that follow each other with anything between; or one word alone.
#[derive(Debug, Clone)]
pub(crate) struct Glob {
    /// What a value starts with; may be empty.
    prefix: String,
    /// What comes in between, in this order.
    inner: Vec<Finder<'static>>,
    /// What a value ends with, which may be empty; `None` where nothing may follow the prefix.
    suffix: Option<String>,
}

impl Glob {
    /// `words` has the first and the last at least, or it is a literal.
    pub(super) fn new(words: &[String]) -> Self {
        let (prefix, rest) = words.split_first().expect("a glob has a word");
        let (suffix, inner) = match rest.split_last() {
            Some((suffix, inner)) => (Some(suffix.clone()), inner),
            None => (None, rest),
        };
        Self {
            prefix: prefix.clone(),
            inner: inner
                .iter()
                .map(|word| Finder::new(word).into_owned())
                .collect(),
            suffix,
        }
    }

    /// Returns what every value starts with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns how to find the longest word that every value has in it, if there is one.
    pub(crate) fn longest(&self) -> Option<&Finder<'static>> {
        self.inner.iter().max_by_key(|word| word.needle().len())
    }

    /// Tells whether the words stand in `value` in their order. The first place of each leaves most to the next.
    ///
    /// Empty words are not compared: the comparison of no bytes at the place where an empty string points takes the
    /// processor as long as everything else here.
    #[inline]
    pub(crate) fn matches(&self, value: &str) -> bool {
        let mut rest = value;
        if !self.prefix.is_empty() {
            match rest.strip_prefix(self.prefix.as_str()) {
                Some(behind) => rest = behind,
                None => return false,
            }
        }
        let Some(suffix) = &self.suffix else {
            return rest.is_empty();
        };
        if !suffix.is_empty() {
            match rest.strip_suffix(suffix.as_str()) {
                Some(before) => rest = before,
                None => return false,
            }
        }
        let mut rest = rest.as_bytes();
        self.inner.iter().all(|word| match word.find(rest) {
            Some(at) => {
                rest = rest.get(at + word.needle().len()..).unwrap_or_default();
                true
            }
            None => false,
        })
    }
}

/// A few globs, of which one has to match.
#[derive(Debug, Clone)]
pub(crate) struct AnyOf {
    globs: Vec<Glob>,
    /// What all of them start with; may be empty.
    prefix: String,
}

impl AnyOf {
    pub(super) fn new(globs: &[Vec<String>]) -> Self {
        let globs: Vec<Glob> = globs.iter().map(|words| Glob::new(words)).collect();
        let mut prefix = globs
            .first()
            .map_or(String::new(), |glob| glob.prefix.clone());
        for glob in &globs {
            let common = prefix.chars().zip(glob.prefix.chars());
            prefix = common
                .take_while(|(one, other)| one == other)
                .map(|(char, _)| char)
                .collect();
        }
        Self { globs, prefix }
    }

    /// Returns what every value starts with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Tells whether one of the globs matches `value`.
    #[inline]
    pub(crate) fn matches(&self, value: &str) -> bool {
        self.globs.iter().any(|glob| glob.matches(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_prefix_ends_between_characters() {
        let prefix = |words: &[&str]| {
            let globs: Vec<_> = words.iter().map(|word| vec![String::from(*word)]).collect();
            AnyOf::new(&globs).prefix().to_owned()
        };
        assert_eq!(prefix(&["node-1", "node-2"]), "node-");
        assert_eq!(prefix(&["é", "è"]), "");
        assert_eq!(prefix(&["ab", "abc", "ab"]), "ab");
        assert_eq!(prefix(&["ab", ""]), "");
    }

    #[test]
    fn word_alone_is_matched_exactly() {
        let glob = Glob::new(&[String::from("ab")]);
        assert!(glob.matches("ab") && !glob.matches("abc") && !glob.matches("a"));
    }
}
