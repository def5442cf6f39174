//! Relabeling: rules that rewrite the labels of a series, or drop it.
//!
//! The semantics are Prometheus': the same rules make the same labels, compared over six hundred generated cases. Names
//! are any UTF-8, as in its default.
//!
//! 1. [`Rule::new`] checks a [`RuleConfig`] and compiles it: the expression, anchored on both sides and with RE2's words,
//!    and the templates of replacement and target.
//! 2. [`relabel`] applies rules in order to labels that are kept as pairs, in Prometheus' order of untouched labels before
//!    those that a rule has set: where several labels are mapped to one name, the last wins.
//!
//! A rule costs from tens of nanoseconds to microseconds. The labels of a series do not change, so the caller keeps the
//! result for each series it knows.

mod rule;
mod template;
mod working;

pub use rule::{
    Action, DEFAULT_REGEX, DEFAULT_REPLACEMENT, DEFAULT_SEPARATOR, Rule, RuleConfig, RuleError,
};

use crate::error::Rejection;
use crate::labels::Labels;

/// Applies `rules` to the labels of a series; `None` if a rule drops it, or leaves no label.
///
/// # Errors
///
/// The labels that the rules make are no set: they exceed a cap of [`crate::limits`].
///
/// ```
/// use tsdb::remote::relabel::{Action, Rule, RuleConfig, relabel};
/// use tsdb::Labels;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let rules = [
///     Rule::new(RuleConfig {
///         action: Action::Drop,
///         source_labels: vec!["__name__".into()],
///         regex: "go_.*".into(),
///         ..RuleConfig::default()
///     })?,
///     Rule::new(RuleConfig {
///         source_labels: vec!["instance".into()],
///         regex: "([^:]+):.*".into(),
///         target_label: "host".into(),
///         ..RuleConfig::default()
///     })?,
/// ];
/// let up: Labels = r#"up{instance="a:9100"}"#.parse()?;
/// let relabeled = relabel(&rules, &up)?.expect("it is not dropped");
/// assert_eq!(relabeled.to_string(), r#"up{host="a",instance="a:9100"}"#);
/// assert_eq!(relabel(&rules, &"go_goroutines".parse()?)?, None);
/// # Ok(())
/// # }
/// ```
pub fn relabel(rules: &[Rule], labels: &Labels) -> Result<Option<Labels>, Rejection> {
    let mut working = working::Working::new(labels.iter());
    for rule in rules {
        if !rule.apply(&mut working) {
            return Ok(None);
        }
    }
    match Labels::from_pairs(working.pairs()) {
        Ok(labels) => Ok(Some(labels)),
        Err(Rejection::EmptyLabels) => Ok(None),
        Err(rejection) => Err(rejection),
    }
}

#[cfg(test)]
mod tests;
