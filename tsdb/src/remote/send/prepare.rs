//! Labels of a series as they are sent.

use std::collections::HashMap;

use crate::labels::Labels;
use crate::remote::ExternalLabels;
use crate::remote::opentsdb::MappedSeries;
use crate::remote::relabel::{Rule, relabel};
use crate::remote::wire::EncoderV1;

use super::UnsentReason;
use super::options::{Protocol, SenderOptions};

/// What goes out for a series.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Its labels outside.
    pub(crate) labels: Labels,
    /// The same in the form that its protocol is fastest with.
    pub(crate) form: Form,
}

/// What a protocol wants to know of a series again and again.
#[derive(Debug)]
pub(crate) enum Form {
    /// Remote write 1.0: the labels as fields of a message.
    Fields(Box<[u8]>),
    /// Remote write 2.0: the number of each name and value among the texts of the remote.
    Numbers(Box<[u32]>),
    /// OpenTSDB: a point up to its timestamp.
    Point(MappedSeries),
}

/// Makes of a series' labels what is sent.
#[derive(Debug)]
pub(crate) struct Preparer {
    external: ExternalLabels,
    rules: Vec<Rule>,
    protocol: Protocol,
    /// Numbers of texts, for remote write 2.0.
    texts: HashMap<Box<str>, u32, foldhash::fast::RandomState>,
}

impl Preparer {
    pub(crate) fn new(options: &SenderOptions) -> Self {
        Self {
            external: options.external_labels.clone(),
            rules: options.relabel.clone(),
            protocol: options.protocol.clone(),
            texts: HashMap::default(),
        }
    }

    /// Returns how many texts have numbers.
    pub(crate) fn texts(&self) -> usize {
        self.texts.len()
    }

    /// Forgets the numbers: what is prepared from now on goes into no batch with what was before.
    pub(crate) fn forget_texts(&mut self) {
        self.texts.clear();
    }

    /// Returns what goes out for a series, or why nothing does.
    pub(crate) fn prepare(&mut self, labels: &Labels) -> Result<Prepared, UnsentReason> {
        let labels = self.outside(labels)?;
        let form = match &self.protocol {
            Protocol::RemoteWrite1 => Form::Fields(EncoderV1::encode_labels(&labels).into()),
            Protocol::RemoteWrite2 => Form::Numbers(self.number(&labels)),
            Protocol::OpenTsdb(options) => match options.mapping.map(&labels) {
                Ok(mapped) => Form::Point(mapped),
                Err(_) => return Err(UnsentReason::Unmappable),
            },
        };
        Ok(Prepared { labels, form })
    }

    /// Returns the labels of a series as they are outside.
    fn outside(&self, labels: &Labels) -> Result<Labels, UnsentReason> {
        if self.rules.is_empty() && self.external.iter().next().is_none() {
            return Ok(labels.clone());
        }
        let Ok(merged) = Labels::from_pairs(self.external.merge(labels)) else {
            return Err(UnsentReason::Unmappable);
        };
        match relabel(&self.rules, &merged) {
            Ok(Some(labels)) => Ok(labels),
            Ok(None) => Err(UnsentReason::Relabeled),
            Err(_) => Err(UnsentReason::Unmappable),
        }
    }

    fn number(&mut self, labels: &Labels) -> Box<[u32]> {
        let texts = labels.iter().flat_map(|(name, value)| [name, value]);
        let numbers = texts.map(|text| match self.texts.get(text) {
            Some(&number) => number,
            None => {
                let number = self.texts.len() as u32;
                self.texts.insert(text.into(), number);
                number
            }
        });
        numbers.collect()
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
        let mut preparer = Preparer::new(&options);
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
