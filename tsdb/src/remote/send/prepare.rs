//! Labels of a series as they are sent.

use crate::labels::Labels;
use crate::remote::ExternalLabels;
use crate::remote::opentsdb::{MappedSeries, Mapping};
use crate::remote::relabel::{Rule, relabel};

use super::UnsentReason;
use super::options::{Protocol, SenderOptions};

/// What goes out for a series.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Its labels outside.
    pub(crate) labels: Labels,
    /// The same as OpenTSDB takes them.
    pub(crate) mapped: Option<MappedSeries>,
}

/// Makes of a series' labels what is sent.
#[derive(Debug)]
pub(crate) struct Preparer {
    external: ExternalLabels,
    rules: Vec<Rule>,
    mapping: Option<Mapping>,
}

impl Preparer {
    pub(crate) fn new(options: &SenderOptions) -> Self {
        Self {
            external: options.external_labels.clone(),
            rules: options.relabel.clone(),
            mapping: match &options.protocol {
                Protocol::OpenTsdb(options) => Some(options.mapping.clone()),
                Protocol::RemoteWrite1 | Protocol::RemoteWrite2 => None,
            },
        }
    }

    /// Returns what goes out for a series, or why nothing does.
    pub(crate) fn prepare(&self, labels: &Labels) -> Result<Prepared, UnsentReason> {
        let Ok(merged) = Labels::from_pairs(self.external.merge(labels)) else {
            return Err(UnsentReason::Unmappable);
        };
        let labels = match relabel(&self.rules, &merged) {
            Ok(Some(labels)) => labels,
            Ok(None) => return Err(UnsentReason::Relabeled),
            Err(_) => return Err(UnsentReason::Unmappable),
        };
        let mapped = match self.mapping.as_ref().map(|mapping| mapping.map(&labels)) {
            Some(Err(_)) => return Err(UnsentReason::Unmappable),
            Some(Ok(mapped)) => Some(mapped),
            None => None,
        };
        Ok(Prepared { labels, mapped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::relabel::{Action, RuleConfig};

    #[test]
    fn external_labels_come_before_the_rules() {
        let rule = |action, source: &str, regex: &str, target: &str| {
            Rule::new(RuleConfig {
                action,
                source_labels: vec![source.into()],
                regex: regex.into(),
                target_label: target.into(),
                ..RuleConfig::default()
            })
            .unwrap()
        };
        let options = SenderOptions {
            external_labels: ExternalLabels::from_pairs([("cluster", "eu")]).unwrap(),
            relabel: vec![
                rule(Action::Replace, "cluster", "(.*)", "region"),
                rule(Action::Drop, "__name__", "go_.*", ""),
            ],
            ..SenderOptions::default()
        };
        let preparer = Preparer::new(&options);
        let up = preparer
            .prepare(&r#"up{job="a"}"#.parse().unwrap())
            .unwrap();
        assert_eq!(
            up.labels.to_string(),
            r#"up{cluster="eu",job="a",region="eu"}"#
        );
        let dropped = preparer.prepare(&"go_threads".parse().unwrap());
        assert_eq!(dropped.unwrap_err(), UnsentReason::Relabeled);
    }
}
