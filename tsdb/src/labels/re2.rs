//! The syntax of regular expressions as Prometheus' users know it: RE2's.
//!
//! The `regex` crate reads nearly the same syntax, with two differences. `\d`, `\w`, `\s` and `\b` mean ASCII in RE2
//! and all of Unicode in the crate: they are rewritten. Sets in classes (`[a&&b]`, `[a[b]]`), the flags `u`, `x` and
//! `R` and the boundaries of half words mean something else in RE2 or nothing at all: they are refused, because an
//! expression that quietly selects other series than it used to is worse than one that must be escaped.

use std::convert::Infallible;

use regex_syntax::ast::{
    self, AssertionKind, Ast, ClassPerl, ClassPerlKind, ClassSetBinaryOp, ClassSetItem, Flag,
    Flags, GroupKind, Span, Visitor,
};

/// Something in an expression that is not RE2's: what, and at which byte.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Foreign {
    pub(super) what: &'static str,
    pub(super) offset: usize,
}

/// Returns `expression`, whose syntax tree is `tree`, in the words of the `regex` crate.
pub(super) fn rewrite(expression: &str, tree: &Ast) -> Result<String, Foreign> {
    let Ok(Finder {
        mut replacements,
        foreign,
    }) = ast::visit(tree, Finder::default());
    if let Some(foreign) = foreign {
        return Err(foreign);
    }
    replacements.sort_unstable_by_key(|(span, _)| span.start.offset);
    let mut rewritten = String::with_capacity(expression.len());
    let mut copied = 0;
    for (span, replacement) in replacements {
        rewritten.push_str(
            expression
                .get(copied..span.start.offset)
                .unwrap_or_default(),
        );
        rewritten.push_str(replacement);
        copied = span.end.offset;
    }
    rewritten.push_str(expression.get(copied..).unwrap_or_default());
    Ok(rewritten)
}

/// Collects what is to be replaced, and the first thing to refuse.
#[derive(Default)]
struct Finder {
    replacements: Vec<(Span, &'static str)>,
    foreign: Option<Foreign>,
}

impl Finder {
    fn refuse(&mut self, span: &Span, what: &'static str) {
        self.foreign.get_or_insert(Foreign {
            what,
            offset: span.start.offset,
        });
    }

    fn perl_class(&mut self, class: &ClassPerl) {
        let ascii = match (&class.kind, class.negated) {
            (ClassPerlKind::Digit, false) => "[0-9]",
            (ClassPerlKind::Digit, true) => "[^0-9]",
            (ClassPerlKind::Space, false) => r"[\t\n\f\r ]",
            (ClassPerlKind::Space, true) => r"[^\t\n\f\r ]",
            (ClassPerlKind::Word, false) => "[0-9A-Za-z_]",
            (ClassPerlKind::Word, true) => "[^0-9A-Za-z_]",
        };
        self.replacements.push((class.span, ascii));
    }

    fn flags(&mut self, flags: &Flags) {
        for flag in [Flag::Unicode, Flag::CRLF, Flag::IgnoreWhitespace] {
            if flags.flag_state(flag).is_some() {
                self.refuse(&flags.span, "only the flags i, m, s and U are supported");
            }
        }
    }
}

impl Visitor for Finder {
    type Output = Self;
    type Err = Infallible;

    fn finish(self) -> Result<Self, Infallible> {
        Ok(self)
    }

    fn visit_pre(&mut self, tree: &Ast) -> Result<(), Infallible> {
        match tree {
            Ast::ClassPerl(class) => self.perl_class(class),
            Ast::Flags(set) => self.flags(&set.flags),
            Ast::Group(group) => {
                if let GroupKind::NonCapturing(flags) = &group.kind {
                    self.flags(flags);
                }
            }
            Ast::Assertion(assertion) => match assertion.kind {
                AssertionKind::WordBoundary => {
                    self.replacements.push((assertion.span, r"(?-u:\b)"));
                }
                AssertionKind::NotWordBoundary => {
                    self.replacements.push((assertion.span, r"(?-u:\B)"));
                }
                AssertionKind::StartLine
                | AssertionKind::EndLine
                | AssertionKind::StartText
                | AssertionKind::EndText => {}
                _ => self.refuse(
                    &assertion.span,
                    "only the word boundaries \\b and \\B are supported",
                ),
            },
            _ => {}
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), Infallible> {
        match item {
            ClassSetItem::Perl(class) => self.perl_class(class),
            ClassSetItem::Bracketed(class) => {
                self.refuse(&class.span, "a bracket in a class must be escaped");
            }
            _ => {}
        }
        Ok(())
    }

    fn visit_class_set_binary_op_pre(
        &mut self,
        operation: &ClassSetBinaryOp,
    ) -> Result<(), Infallible> {
        self.refuse(&operation.span, "&&, -- and ~~ in a class must be escaped");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(expression: &str) -> Result<String, Foreign> {
        rewrite(
            expression,
            &ast::parse::Parser::new().parse(expression).unwrap(),
        )
    }

    #[test]
    fn perl_classes_become_ascii() {
        assert_eq!(
            rewritten(r"é\d+[a\W]\\d|(\S)").unwrap(),
            r"é[0-9]+[a[^0-9A-Za-z_]]\\d|([^\t\n\f\r ])"
        );
        assert_eq!(rewritten(r"\ba\B").unwrap(), r"(?-u:\b)a(?-u:\B)");
        assert_eq!(rewritten("(?i)[[:alpha:]]^$").unwrap(), "(?i)[[:alpha:]]^$");
    }

    #[test]
    fn what_re2_reads_differently_is_refused() {
        for (expression, offset) in [
            ("x[a&&b]", 2),
            ("[a--b]", 1),
            ("[a[b]]", 2),
            ("a(?x)b", 3),
            ("(?-u:b)", 2),
            (r"\<a", 0),
        ] {
            assert_eq!(
                rewritten(expression).unwrap_err().offset,
                offset,
                "{expression}"
            );
        }
    }
}
