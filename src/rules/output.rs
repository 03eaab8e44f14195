//! What configuration adds to the outputs of rules: `append_output` and the suggested fields.
//!
//! Invariant: text is only ever added behind the rule's own.

use super::collect::RuleItem;
use crate::filter::scheme::{Scheme, find_field};
use std::collections::BTreeSet;

/// One entry of `append_output`.
#[derive(Clone, Debug, Default)]
pub struct Append {
    /// Absent parts match everything.
    pub source: Option<String>,
    pub tags: BTreeSet<String>,
    pub rule: Option<String>,
    /// Text to add.
    pub format: Option<String>,
    pub fields: Vec<ExtraText>,
    /// Names of fields to add as `a_b_c=%a.b.c` where the source has them.
    pub suggested: Vec<String>,
}

/// A field for `output_fields`.
#[derive(Clone, Debug)]
pub struct ExtraText {
    pub name: String,
    /// A format (`%proc.name`).
    pub text: String,
    pub raw: bool,
}

/// All additions, in order.
#[derive(Clone, Debug, Default)]
pub struct OutputAdditions {
    pub entries: Vec<Append>,
}

impl Append {
    fn matches(&self, rule: &RuleItem) -> bool {
        self.source.as_ref().is_none_or(|s| *s == rule.source)
            && self.rule.as_ref().is_none_or(|r| *r == rule.name)
            && self.tags.is_subset(&rule.tags)
    }
}

impl OutputAdditions {
    /// The rule's output with its additions.
    pub fn extend(&self, rule: &RuleItem, scheme: &dyn Scheme) -> (String, Vec<ExtraText>) {
        let mut output = rule.output.clone();
        let mut fields = Vec::new();
        for entry in self.entries.iter().filter(|e| e.matches(rule)) {
            if let Some(format) = &entry.format {
                output.push(' ');
                output.push_str(format);
            }
            fields.extend(entry.fields.iter().cloned());
            for name in entry.suggested.iter().filter(|name| find_field(scheme, name, None).is_ok()) {
                output.push_str(&format!(" {}=%{name}", name.replace('.', "_")));
            }
        }
        (output, fields)
    }
}
