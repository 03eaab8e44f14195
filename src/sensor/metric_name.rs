//! Names of rules as parts of metric names.

/// Letters, digits, `_` and `:` stay; any run of others is one `_`, and none is left at either end.
pub fn of_rule(name: &str) -> String {
    let kept = |c: char| c.is_ascii_alphanumeric() || c == ':';
    let words = name.split(|c| !kept(c)).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_metrics_cannot_have_is_replaced() {
        for (name, expected) in [
            ("Read ssh information", "Read_ssh_information"),
            ("a  (b-c)", "a_b_c"),
            ("__x__y", "x_y"),
            ("ns:rule#1", "ns:rule_1"),
            ("Größe", "Gr_e"),
            ("()", ""),
        ] {
            assert_eq!(of_rule(name), expected);
        }
    }
}
