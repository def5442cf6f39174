use super::*;
use crate::error::ErrorKind;

/// Reads a rule that is written as a label set.
fn rule(text: &str) -> Rule {
    let fields: Labels = text.parse().unwrap();
    let field = |name: &str| fields.get(name).unwrap_or_default().to_owned();
    let sources = field("source_labels");
    let config = RuleConfig {
        action: Action::from_name(&field("action")).unwrap(),
        source_labels: sources
            .split(',')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
        separator: field("separator"),
        regex: field("regex"),
        modulus: field("modulus").parse().unwrap(),
        target_label: field("target_label"),
        replacement: field("replacement"),
    };
    Rule::new(config).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn labels_are_rewritten_as_prometheus_does() {
    let cases = include_str!("../../../tests/golden/remote/relabel.txt");
    let mut count = 0;
    for case in cases.split("\n\n").filter(|case| !case.trim().is_empty()) {
        let (mut rules, mut before, mut after) = (Vec::new(), None, None);
        for line in case.lines() {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("rule", text) => rules.push(rule(text)),
                ("in", text) => before = Some(text.parse::<Labels>().unwrap()),
                ("out", "") => after = Some(None),
                ("out", text) => after = Some(Some(text.parse::<Labels>().unwrap())),
                other => panic!("unknown line {other:?}"),
            }
        }
        let relabeled = relabel(&rules, &before.unwrap()).unwrap();
        assert_eq!(relabeled, after.unwrap(), "{case}");
        count += 1;
    }
    assert_eq!(count, 600);
}

#[test]
fn rules_that_make_no_sense_are_refused() {
    let refused = |config: RuleConfig| Rule::new(config).unwrap_err();
    let of = |action| RuleConfig {
        action,
        ..RuleConfig::default()
    };
    for action in [
        Action::Replace,
        Action::HashMod,
        Action::KeepEqual,
        Action::Lowercase,
    ] {
        assert!(matches!(refused(of(action)), RuleError::NoTarget(found) if found == action));
    }
    let target_label = String::from("t");
    let hashmod = RuleConfig {
        target_label: target_label.clone(),
        ..of(Action::HashMod)
    };
    assert!(matches!(refused(hashmod), RuleError::ZeroModulus));
    let map = RuleConfig {
        replacement: String::new(),
        ..of(Action::LabelMap)
    };
    assert!(matches!(refused(map), RuleError::NoReplacement));
    let keep = RuleConfig {
        target_label: target_label.clone(),
        ..of(Action::LabelKeep)
    };
    assert!(matches!(
        refused(keep),
        RuleError::Surplus(_, "target_label")
    ));
    let equal = RuleConfig {
        target_label,
        regex: String::from("a"),
        ..of(Action::DropEqual)
    };
    assert!(matches!(refused(equal), RuleError::Surplus(_, "regex")));
    let broken = RuleConfig {
        regex: String::from("("),
        ..of(Action::Keep)
    };
    assert!(
        matches!(refused(broken), RuleError::Regex(error) if error.kind() == ErrorKind::Invalid)
    );
}

#[test]
fn too_much_is_refused_and_nothing_left_is_dropped() {
    let before: Labels = "up".parse().unwrap();
    let grow = rule(
        r#"{action="replace",source_labels="__name__",separator=";",regex="(.*)",modulus="0",target_label="t",replacement="$1$1$1"}"#,
    );
    let long = Labels::from_pairs([("__name__", "x".repeat(4000))]).unwrap();
    assert_eq!(relabel(&[grow], &long), Err(Rejection::LabelsTooLong));
    let all = rule(r#"{action="labeldrop",separator=";",regex=".*",modulus="0",replacement="$1"}"#);
    assert_eq!(relabel(&[all], &before), Ok(None));
    assert_eq!(relabel(&[], &before), Ok(Some(before)));
}
