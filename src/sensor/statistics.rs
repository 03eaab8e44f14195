//! What is told at the end of a run, in Falco's words.

use crate::rules::Priority;
use std::fmt::Write;

/// The summary of alerts, by name, priority and number of alerts of each rule.
pub fn alerts<'r>(rules: impl IntoIterator<Item = (&'r str, Priority, u64)>) -> String {
    let fired: Vec<_> = rules.into_iter().filter(|(_, _, count)| *count > 0).collect();
    let total: u64 = fired.iter().map(|(_, _, count)| count).sum();
    // Writing into a String cannot fail.
    let mut text = format!("Events detected: {total}\nRule counts by severity:\n");
    for priority in Priority::ALL {
        let count: u64 = fired.iter().filter(|(_, of, _)| *of == priority).map(|(_, _, count)| count).sum();
        if count > 0 {
            let _ = writeln!(text, "   {}: {count}", priority.short().to_uppercase());
        }
    }
    text.push_str("Triggered rules by rule name:\n");
    for (name, _, count) in &fired {
        let _ = writeln!(text, "   {name}: {count}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fired_is_told() {
        let (notice, info) = (Priority::Notice, Priority::Informational);
        assert_eq!(
            alerts([("a", notice, 2), ("never", notice, 0), ("b", info, 1), ("c", notice, 0)]),
            "Events detected: 3\nRule counts by severity:\n   NOTICE: 2\n   INFO: 1\n\
             Triggered rules by rule name:\n   a: 2\n   b: 1\n"
        );
    }
}
