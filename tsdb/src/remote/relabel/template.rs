//! What a rule writes: text with references to the groups of its expression, as Go's `Regexp.Expand` reads it.

use regex::{Captures, Regex};

/// A template: texts and groups.
#[derive(Debug, Clone)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Group(usize),
}

impl Template {
    /// Reads a template for the groups of `regex`. `$1`, `${1}`, `$name` and `${name}` are groups, `$$` is a dollar. The name
    /// behind a dollar without braces is as long as it can be: `$1x` is the group `1x`. A group that there is not is
    /// nothing; a dollar that begins none of these is itself.
    pub(super) fn parse(template: &str, regex: &Regex) -> Self {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('$') {
            text.push_str(before);
            rest = after;
            if let Some(behind) = rest.strip_prefix('$') {
                text.push('$');
                rest = behind;
                continue;
            }
            let Some((name, behind)) = reference(rest) else {
                text.push('$');
                continue;
            };
            rest = behind;
            if let Some(group) = group(name, regex) {
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                parts.push(Part::Group(group));
            }
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Self(parts)
    }

    /// Returns the text for what an expression has captured; a group that took no part is empty.
    pub(super) fn expand(&self, captures: &Captures<'_>) -> String {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Group(group) => {
                    out.push_str(captures.get(*group).map_or("", |found| found.as_str()));
                }
            }
        }
        out
    }
}

/// Takes the name of a group from behind a dollar.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (text, is_braced) = match text.strip_prefix('{') {
        Some(inner) => (inner, true),
        None => (text, false),
    };
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    if name.is_empty() {
        return None;
    }
    if is_braced {
        return Some((name, rest.strip_prefix('}')?));
    }
    Some((name, rest))
}

/// Returns the number of a group by its number or name. A number with a leading zero is a name, which no group has.
fn group(name: &str, regex: &Regex) -> Option<usize> {
    let is_number =
        name.bytes().all(|byte| byte.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    if is_number {
        let number: usize = name.parse().ok()?;
        return (number < regex.captures_len()).then_some(number);
    }
    regex.capture_names().position(|known| known == Some(name))
}
