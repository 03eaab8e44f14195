//! What is told at the end of a run, in Falco's words.

use crate::output::alert::RuleForm;
use crate::rules::Priority;
use std::fmt::Write;

/// The summary of alerts: `counts` by rule index, as in `forms`.
pub fn alerts(forms: &[Option<RuleForm>], counts: &[u64]) -> String {
    let fired: Vec<(&RuleForm, u64)> = forms
        .iter()
        .zip(counts)
        .filter(|(_, count)| **count > 0)
        .filter_map(|(form, count)| Some((form.as_ref()?, *count)))
        .collect();
    let total: u64 = fired.iter().map(|(_, count)| count).sum();
    // Writing into a String cannot fail.
    let mut text = format!("Events detected: {total}\nRule counts by severity:\n");
    for priority in Priority::ALL {
        let count: u64 = fired.iter().filter(|(form, _)| form.priority == priority).map(|(_, count)| count).sum();
        if count > 0 {
            let _ = writeln!(text, "   {}: {count}", priority.short().to_uppercase());
        }
    }
    text.push_str("Triggered rules by rule name:\n");
    for (form, count) in &fired {
        let _ = writeln!(text, "   {}: {count}", form.name);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::alert::{RuleParts, Style};

    #[test]
    fn what_fired_is_told() {
        let style = Style {
            json: false,
            output: true,
            message: false,
            fields: true,
            tags: true,
            iso_time: false,
            buffers: crate::event::text::Buffers::Printable,
            hostname: String::new(),
        };
        let form = |name, priority| Some(RuleForm::new(RuleParts { name, ..RuleParts::default() }, priority, &style));
        let forms =
            [form("a", Priority::Notice), None, form("b", Priority::Informational), form("c", Priority::Notice)];
        assert_eq!(
            alerts(&forms, &[2, 0, 1, 0]),
            "Events detected: 3\nRule counts by severity:\n   NOTICE: 2\n   INFO: 1\n\
             Triggered rules by rule name:\n   a: 2\n   b: 1\n"
        );
    }
}
