//! One rule: what it says, whether that makes sense, and what it does.

use std::fmt;

use md5::{Digest, Md5};
use regex::Regex;

use super::template::Template;
use super::working::Working;
use crate::error::Error;
use crate::labels::compile_with_groups;

/// Between the values of source labels.
pub const DEFAULT_SEPARATOR: &str = ";";
/// Matches everything, as one group.
pub const DEFAULT_REGEX: &str = "(.*)";
/// The first group.
pub const DEFAULT_REPLACEMENT: &str = "$1";

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Action {
    /// Writes the replacement to the target label if the expression matches; an empty one deletes the label.
    #[default]
    Replace,
    /// Drops the series unless the expression matches.
    Keep,
    /// Drops the series if the expression matches.
    Drop,
    /// Drops the series unless the source equals the target label.
    KeepEqual,
    /// Drops the series if the source equals the target label.
    DropEqual,
    /// Writes the source's MD5, as a number modulo [`RuleConfig::modulus`], to the target label.
    HashMod,
    /// Copies each label whose name matches to the name that the replacement makes.
    LabelMap,
    /// Deletes the labels whose names match.
    LabelDrop,
    /// Deletes the labels whose names do not match.
    LabelKeep,
    /// Writes the source in lower case to the target label.
    Lowercase,
    /// Writes the source in upper case to the target label.
    Uppercase,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 11] = [
        Self::Replace,
        Self::Keep,
        Self::Drop,
        Self::KeepEqual,
        Self::DropEqual,
        Self::HashMod,
        Self::LabelMap,
        Self::LabelDrop,
        Self::LabelKeep,
        Self::Lowercase,
        Self::Uppercase,
    ];

    /// Returns the name in configurations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::KeepEqual => "keepequal",
            Self::DropEqual => "dropequal",
            Self::HashMod => "hashmod",
            Self::LabelMap => "labelmap",
            Self::LabelDrop => "labeldrop",
            Self::LabelKeep => "labelkeep",
            Self::Lowercase => "lowercase",
            Self::Uppercase => "uppercase",
        }
    }

    /// Returns the action with this name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|action| action.as_str().eq_ignore_ascii_case(name))
    }
}

/// A rule as it is written in a configuration. What is left out is Prometheus' default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleConfig {
    /// What the rule does. Defaults to [`Action::Replace`].
    pub action: Action,
    /// Labels whose values, joined, are the source; a missing label is the empty value.
    pub source_labels: Vec<String>,
    /// Joins them. Defaults to [`DEFAULT_SEPARATOR`].
    pub separator: String,
    /// Must match the whole source, or the whole name of a label. Defaults to [`DEFAULT_REGEX`].
    pub regex: String,
    /// For [`Action::HashMod`].
    pub modulus: u64,
    /// The label that is written, or compared. A template for [`Action::Replace`].
    pub target_label: String,
    /// A template. Defaults to [`DEFAULT_REPLACEMENT`].
    pub replacement: String,
}

impl Default for RuleConfig {
    fn default() -> Self {
        Self {
            action: Action::default(),
            source_labels: Vec::new(),
            separator: DEFAULT_SEPARATOR.into(),
            regex: DEFAULT_REGEX.into(),
            modulus: 0,
            target_label: String::new(),
            replacement: DEFAULT_REPLACEMENT.into(),
        }
    }
}

/// Why a rule makes no sense.
#[derive(Debug)]
#[non_exhaustive]
pub enum RuleError {
    /// The action writes or compares a label, and none is named.
    NoTarget(Action),
    /// [`Action::HashMod`] divides by [`RuleConfig::modulus`], which is 0.
    ZeroModulus,
    /// [`Action::LabelMap`] makes names of the replacement, which is empty.
    NoReplacement,
    /// The action does not look at this field, and it is not left at its default.
    Surplus(Action, &'static str),
    /// The expression is malformed, or too large once it is compiled.
    Regex(Error),
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTarget(action) => write!(f, "{} needs a target_label", action.as_str()),
            Self::ZeroModulus => f.write_str("hashmod needs a modulus that is not 0"),
            Self::NoReplacement => f.write_str("labelmap needs a replacement"),
            Self::Surplus(action, field) => write!(f, "{} takes no {field}", action.as_str()),
            Self::Regex(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RuleError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Regex(error) => Some(error),
            _ => None,
        }
    }
}

/// A rule that makes sense, compiled.
#[derive(Debug, Clone)]
pub struct Rule {
    config: RuleConfig,
    regex: Regex,
    target: Template,
    replacement: Template,
}

impl Rule {
    /// Checks and compiles a rule.
    ///
    /// # Errors
    ///
    /// What Prometheus refuses when it loads its configuration, and expressions past a cap of [`crate::limits`].
    pub fn new(config: RuleConfig) -> Result<Self, RuleError> {
        check(&config)?;
        let regex = compile_with_groups(&config.regex).map_err(RuleError::Regex)?;
        Ok(Self {
            target: Template::parse(&config.target_label, &regex),
            replacement: Template::parse(&config.replacement, &regex),
            regex,
            config,
        })
    }

    /// Returns what was compiled.
    pub fn config(&self) -> &RuleConfig {
        &self.config
    }

    /// Applies the rule; false drops the series.
    pub(super) fn apply(&self, labels: &mut Working<'_>) -> bool {
        let target = self.config.target_label.as_str();
        match self.config.action {
            Action::Replace => self.replace(labels),
            Action::Keep => return self.regex.is_match(&self.source(labels)),
            Action::Drop => return !self.regex.is_match(&self.source(labels)),
            Action::KeepEqual => return labels.get(target) == self.source(labels),
            Action::DropEqual => return labels.get(target) != self.source(labels),
            Action::HashMod => {
                let hash = hash(&self.source(labels)) % self.config.modulus;
                labels.set(target, hash.to_string());
            }
            Action::LabelMap => self.map(labels),
            Action::LabelDrop => labels.retain(|name| !self.regex.is_match(name)),
            Action::LabelKeep => labels.retain(|name| self.regex.is_match(name)),
            Action::Lowercase => {
                let lower = self.source(labels).chars().map(lower).collect();
                labels.set(target, lower);
            }
            Action::Uppercase => {
                let upper = self.source(labels).chars().map(upper).collect();
                labels.set(target, upper);
            }
        }
        true
    }

    /// Returns the values of the source labels, joined.
    fn source(&self, labels: &Working<'_>) -> String {
        let mut source = String::new();
        for (index, name) in self.config.source_labels.iter().enumerate() {
            if index > 0 {
                source.push_str(&self.config.separator);
            }
            source.push_str(labels.get(name));
        }
        source
    }

    fn replace(&self, labels: &mut Working<'_>) {
        let source = self.source(labels);
        let Some(captures) = self.regex.captures(&source) else {
            return;
        };
        let target = self.target.expand(&captures);
        if !target.is_empty() {
            labels.set(&target, self.replacement.expand(&captures));
        }
    }

    fn map(&self, labels: &mut Working<'_>) {
        let mut mapped = Vec::new();
        for (name, value) in labels.pairs() {
            if let Some(captures) = self.regex.captures(name) {
                mapped.push((self.replacement.expand(&captures), value.to_owned()));
            }
        }
        for (name, value) in mapped {
            // Prometheus makes a label without a name of this, which nobody takes.
            if !name.is_empty() {
                labels.set(&name, value);
            }
        }
    }
}

fn check(config: &RuleConfig) -> Result<(), RuleError> {
    let default = RuleConfig::default();
    let action = config.action;
    let surplus =
        |fields: &[(&'static str, bool)]| match fields.iter().find(|(_, is_default)| !is_default) {
            Some((field, _)) => Err(RuleError::Surplus(action, field)),
            None => Ok(()),
        };
    let no_sources = ("source_labels", config.source_labels.is_empty());
    let no_target = ("target_label", config.target_label.is_empty());
    let separator = ("separator", config.separator == default.separator);
    let regex = ("regex", config.regex == default.regex);
    let modulus = ("modulus", config.modulus == default.modulus);
    let replacement = ("replacement", config.replacement == default.replacement);
    if config.target_label.is_empty()
        && !matches!(
            action,
            Action::Keep | Action::Drop | Action::LabelMap | Action::LabelDrop | Action::LabelKeep
        )
    {
        return Err(RuleError::NoTarget(action));
    }
    match action {
        Action::HashMod if config.modulus == 0 => Err(RuleError::ZeroModulus),
        Action::LabelMap if config.replacement.is_empty() => Err(RuleError::NoReplacement),
        Action::Replace | Action::Keep | Action::Drop | Action::HashMod | Action::LabelMap => {
            Ok(())
        }
        Action::KeepEqual | Action::DropEqual => surplus(&[separator, regex, modulus, replacement]),
        Action::LabelDrop | Action::LabelKeep => {
            surplus(&[no_sources, no_target, separator, modulus, replacement])
        }
        Action::Lowercase | Action::Uppercase => surplus(&[replacement]),
    }
}

/// The last eight bytes of the MD5, big endian: the result of Prometheus since its first version.
fn hash(source: &str) -> u64 {
    let hash: [u8; 16] = Md5::digest(source.as_bytes()).into();
    u128::from_be_bytes(hash) as u64
}

/// Returns a letter in lower case. Go knows one letter for one; only `İ` has two in full, and the first is Go's.
fn lower(letter: char) -> char {
    letter.to_lowercase().next().unwrap_or(letter)
}

/// Returns a letter in upper case. Go knows one letter for one: letters that have several in full stay as they are, but for the
/// Greek ones with an iota below, which have a capital of their own.
fn upper(letter: char) -> char {
    let moved = |by: u32| char::from_u32(letter as u32 + by).unwrap_or(letter);
    match letter {
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => moved(8),
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => moved(9),
        _ => {
            let mut upper = letter.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(one), None) => one,
                _ => letter,
            }
        }
    }
}
