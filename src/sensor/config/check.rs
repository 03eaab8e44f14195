//! Checks a merged tree against the table of keys: unknown keys, values of the wrong kind, keys without effect.

use super::keys::{Effect, KEYS, Key, Kind, find};
use super::tree::{ConfigError, Node, Value};

/// What should be said about a configuration that is good enough to start with.
#[derive(Debug, Default, PartialEq)]
pub struct Remarks {
    /// Keys that there are none of.
    pub schema: Vec<ConfigError>,
    pub warnings: Vec<ConfigError>,
    /// Keys about machinery that this sensor does not have: nothing is lost.
    pub infos: Vec<ConfigError>,
}

/// Checks every node of `tree`.
pub fn check(tree: &Node) -> Result<Remarks, ConfigError> {
    let mut remarks = Remarks::default();
    for (key, node) in tree.entries() {
        check_key(key.clone(), key, node, &mut remarks)?;
    }
    Ok(remarks)
}

/// `pattern` is the path with `[]` for every index.
fn check_key(pattern: String, key: &str, node: &Node, remarks: &mut Remarks) -> Result<(), ConfigError> {
    if let Some(row) = find(&pattern) {
        check_value(row, node)?;
        remark(row, node, remarks);
        if row.kind == Kind::MapList {
            for item in node.maps() {
                for (key, child) in item.entries() {
                    check_key(format!("{pattern}[].{key}"), key, child, remarks)?;
                }
            }
        }
        return Ok(());
    }
    let prefix = format!("{pattern}.");
    if KEYS.iter().any(|k| k.path.starts_with(&prefix)) {
        if !matches!(node.value, Value::Map(_) | Value::Null) {
            return Err(ConfigError::new(&node.place, format!("{pattern} must be a map of keys")));
        }
        for (key, child) in node.entries() {
            check_key(format!("{prefix}{key}"), key, child, remarks)?;
        }
        return Ok(());
    }
    let parent = pattern.len() - key.len();
    let meant = similar(&pattern[..parent], key);
    let hint = meant.map_or_else(String::new, |meant| format!(": '{meant}' is one"));
    remarks.schema.push(ConfigError::new(&node.place, format!("unknown key '{pattern}', ignored{hint}")));
    Ok(())
}

fn check_value(row: &Key, node: &Node) -> Result<(), ConfigError> {
    let wrong = |what: &str| {
        let given = node.text().map_or_else(|| "this".to_owned(), |text| format!("'{text}'"));
        Err(ConfigError::new(&node.place, format!("{}: {given} is not {what}", row.path)))
    };
    match (row.kind, &node.value) {
        (Kind::Anything, _) | (_, Value::Null) => Ok(()),
        (Kind::Bool, _) if bool_of(node).is_some() => Ok(()),
        (Kind::Bool, _) => wrong("true or false"),
        (Kind::Int, _) if node.text().is_some_and(|t| t.parse::<i64>().is_ok()) => Ok(()),
        (Kind::Int, _) => wrong("a whole number"),
        (Kind::Number, _) if node.text().is_some_and(|t| t.parse::<f64>().is_ok_and(f64::is_finite)) => Ok(()),
        (Kind::Number, _) => wrong("a number"),
        (Kind::Text, Value::Scalar { .. }) => Ok(()),
        (Kind::Text, _) => wrong("a text"),
        (Kind::Choice(words), _) if node.text().is_some_and(|t| words.contains(&t.to_ascii_lowercase().as_str())) => {
            Ok(())
        }
        (Kind::Choice(words), _) => wrong(&format!("one of {}", words.join(", "))),
        (Kind::TextList, Value::Scalar { .. }) => Ok(()),
        (Kind::TextList, Value::Seq(items)) if items.iter().all(|i| i.text().is_some()) => Ok(()),
        (Kind::TextList, _) => wrong("a sequence of texts"),
        (Kind::MapList, Value::Map(_)) => Ok(()),
        (Kind::MapList, Value::Seq(items)) if items.iter().all(|i| matches!(i.value, Value::Map(_))) => Ok(()),
        (Kind::MapList, _) => wrong("a sequence of maps"),
    }
}

fn remark(row: &Key, node: &Node, remarks: &mut Remarks) {
    match row.effect {
        Effect::NotYet(off) if !is_off(node, off) => {
            let message = format!("{}: this version does not have that yet, the key has no effect", row.path);
            remarks.warnings.push(ConfigError::new(&node.place, message));
        }
        Effect::Meaningless(why) if !is_off(node, row.default) && !is_off(node, "false") => {
            remarks.infos.push(ConfigError::new(&node.place, format!("{} has no effect here: {why}", row.path)));
        }
        _ => {}
    }
}

fn is_off(node: &Node, off: &str) -> bool {
    match &node.value {
        Value::Null => true,
        Value::Scalar { text, .. } => {
            text == off || bool_of(node).is_some_and(|b| off == if b { "true" } else { "false" })
        }
        Value::Seq(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
    }
}

/// A truth value in any of YAML's spellings.
pub fn bool_of(node: &Node) -> Option<bool> {
    match node.text()?.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Some(true),
        "false" | "no" | "off" | "n" => Some(false),
        _ => None,
    }
}

/// The key below `prefix` that `key` is at most two edits away from.
fn similar(prefix: &str, key: &str) -> Option<String> {
    let names = KEYS.iter().filter_map(|k| k.path.strip_prefix(prefix)?.split(['.', '[']).next());
    let best = names.map(|name| (edits(name, key), name)).min()?;
    (best.0 <= 2 && best.0 < key.len()).then(|| format!("{prefix}{}", best.1))
}

fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remarks(text: &str) -> Result<Vec<String>, String> {
        let tree = Node::parse(text, "f").expect("valid YAML");
        let remarks = check(&tree).map_err(|e| e.to_string())?;
        Ok(remarks
            .schema
            .iter()
            .chain(&remarks.warnings)
            .map(|e| format!("warning {e}"))
            .chain(remarks.infos.iter().map(|e| format!("info {e}")))
            .collect())
    }

    #[test]
    fn what_is_said() {
        for (text, expected) in [
            ("json_output: yes\n", None),
            ("falco_libss: {a: 1}\n", Some("warning f:1:1: unknown key 'falco_libss', ignored: 'falco_libs' is one")),
            (
                "outputs_queue:\n  capacty: 1\n",
                Some("warning f:2:3: unknown key 'outputs_queue.capacty', ignored: 'outputs_queue.capacity' is one"),
            ),
            ("zzz: 1\n", Some("warning f:1:1: unknown key 'zzz', ignored")),
            (
                "engine: {kmod: {drop_failed_exit: true}}\n",
                Some(
                    "warning f:1:17: engine.kmod.drop_failed_exit: this version does not have that yet, the key has no effect",
                ),
            ),
            ("engine: {kmod: {drop_failed_exit: no}}\n", None),
            ("http_output: {enabled: false, url: x}\n", None),
            (
                "falco_libs: {thread_table_size: 5}\n",
                Some("info f:1:14: falco_libs.thread_table_size has no effect here: there is no thread table"),
            ),
            (
                "rules: [{enable: {rule: x, tagg: y}}]\n",
                Some("warning f:1:28: unknown key 'rules[].enable.tagg', ignored: 'rules[].enable.tag' is one"),
            ),
            ("static_fields: {any: thing}\n", None),
        ] {
            let said = remarks(text).expect(text);
            assert_eq!(said.first().map(String::as_str), expected, "{text}");
            assert!(said.len() < 2, "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        for (text, expected) in [
            ("json_output: maybe\n", "f:1:1: json_output: 'maybe' is not true or false"),
            ("falco_libs: 512\n", "f:1:1: falco_libs must be a map of keys"),
            ("outputs_queue:\n  capacity: many\n", "f:2:3: outputs_queue.capacity: 'many' is not a whole number"),
            ("syscall_event_drops: {threshold: x}\n", "f:1:23: syscall_event_drops.threshold: 'x' is not a number"),
            ("rule_matching: some\n", "f:1:1: rule_matching: 'some' is not one of first, all"),
            ("rules_files: [[a]]\n", "f:1:1: rules_files: this is not a sequence of texts"),
            ("rules: [a]\n", "f:1:1: rules: this is not a sequence of maps"),
            ("priority: {}\n", "f:1:1: priority: this is not a text"),
        ] {
            assert_eq!(remarks(text).expect_err(text), expected);
        }
    }
}
