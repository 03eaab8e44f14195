//! From files and `-o` options to one tree: the main file, what `config_files` adds to it, then the options.
//!
//! Merging looks at top-level keys only, as Falco's does. A merged file may not merge others.

use super::tree::{ConfigError, Node, Place, Value, expand, parse_document, parse_path};
use std::fs;
use std::path::{Path, PathBuf};

/// The merged tree, the files it came from in order, and what should be looked at.
#[derive(Debug)]
pub struct Merged {
    pub tree: Node,
    pub files: Vec<PathBuf>,
    /// Files and folders that `config_files` names, there or not.
    pub named: Vec<PathBuf>,
    pub warnings: Vec<ConfigError>,
}

#[derive(Clone, Copy, PartialEq)]
enum Strategy {
    /// Sequences are joined, anything else replaces the whole key.
    Append,
    /// Every key replaces.
    Override,
    /// Only keys that are not there yet.
    AddOnly,
}

/// One `-o key=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    pub key: String,
    pub value: String,
}

impl std::str::FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or_else(|| format!("'{text}' is not KEY=VALUE"))?;
        parse_path(key)?;
        Ok(Override { key: key.to_owned(), value: value.to_owned() })
    }
}

/// Reads `main` and everything it names, then applies `overrides` in order.
pub fn load(main: &Path, overrides: &[Override]) -> Result<Merged, ConfigError> {
    let mut merged =
        Merged { tree: read(main)?, files: vec![main.to_owned()], named: Vec::new(), warnings: Vec::new() };
    let is_early = |o: &&Override| {
        parse_path(&o.key).is_ok_and(|p| p.first() == Some(&super::tree::Step::Key("config_files".into())))
    };
    for one in overrides.iter().filter(is_early) {
        apply(&mut merged.tree, one)?;
    }
    if let Some(list) = merged.tree.child("config_files").cloned() {
        let items = if let Value::Scalar { .. } = list.value { std::slice::from_ref(&list) } else { list.items() };
        for item in items {
            merge_item(&mut merged, item)?;
        }
    }
    for one in overrides.iter().filter(|o| !is_early(o)) {
        apply(&mut merged.tree, one)?;
    }
    Ok(merged)
}

fn read(path: &Path) -> Result<Node, ConfigError> {
    let name = path.display().to_string();
    let place = Place { file: name.as_str().into(), line: 0, column: 0 };
    let text = fs::read(path).map_err(|e| ConfigError::new(&place, format!("cannot be read: {e}")))?;
    let text = String::from_utf8(text).map_err(|_| ConfigError::new(&place, "is not UTF-8 text"))?;
    Node::parse(&text, &name)
}

fn merge_item(merged: &mut Merged, item: &Node) -> Result<(), ConfigError> {
    let (path, strategy) = match &item.value {
        Value::Scalar { text, .. } => (text.clone(), Strategy::Append),
        Value::Map(_) => {
            let path = item.child("path").and_then(Node::text);
            let path = path.ok_or_else(|| ConfigError::new(&item.place, "an entry of config_files has no 'path'"))?;
            let strategy = match item.child("strategy").and_then(Node::text) {
                None | Some("append") => Strategy::Append,
                Some("override") => Strategy::Override,
                Some("add-only") => Strategy::AddOnly,
                Some(other) => {
                    let message =
                        format!("'{other}' is no merging strategy (append, override, add-only): append is used");
                    merged.warnings.push(ConfigError::new(&item.place, message));
                    Strategy::Append
                }
            };
            (path.to_owned(), strategy)
        }
        _ => return Err(ConfigError::new(&item.place, "an entry of config_files is a path or a map with 'path'")),
    };
    // A drop-in folder may come later; what somebody types now is meant to be there.
    if item.place.line == 0 && !Path::new(&path).exists() {
        let message = format!("{path}: does not exist: nothing is merged");
        merged.warnings.push(ConfigError::new(&item.place, message));
    }
    merged.named.push(PathBuf::from(&path));
    for file in files_of(Path::new(&path)) {
        let other = read(&file)?;
        if let Some(own) = other.child("config_files") {
            let message = "config_files in a file that is itself merged: name these files in the main configuration";
            return Err(ConfigError::new(&own.place, message));
        }
        merge(&mut merged.tree, other, strategy);
        merged.files.push(file);
    }
    Ok(())
}

/// A file, or the regular files of a folder in the order of their names; nothing when it does not exist.
fn files_of(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return if path.exists() { vec![path.to_owned()] } else { Vec::new() };
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn merge(tree: &mut Node, other: Node, strategy: Strategy) {
    let (Value::Map(entries), Value::Map(others)) = (&mut tree.value, other.value) else { return };
    for (key, node) in others {
        match entries.iter_mut().find(|(k, _)| *k == key) {
            None => entries.push((key, node)),
            Some(_) if strategy == Strategy::AddOnly => {}
            Some((_, old)) => match (&mut old.value, node.value) {
                (Value::Seq(items), Value::Seq(more)) if strategy == Strategy::Append => items.extend(more),
                (_, value) => *old = Node { value, place: node.place },
            },
        }
    }
}

fn apply(tree: &mut Node, one: &Override) -> Result<(), ConfigError> {
    let place = Place { file: format!("-o {}", one.key).into(), line: 0, column: 0 };
    let failed = |message: String| ConfigError::new(&place, message);
    let path = parse_path(&one.key).map_err(failed)?;
    let value = if one.value.starts_with('{') && one.value.ends_with('}') {
        relocated(parse_document(&one.value, &place.file)?, &place)
    } else {
        Node { value: Value::Scalar { text: expand(&one.value), plain: true }, place: place.clone() }
    };
    tree.set(&path, value).map_err(failed)
}

/// An option has no lines worth naming.
fn relocated(mut node: Node, place: &Place) -> Node {
    node.value = match node.value {
        Value::Seq(items) => Value::Seq(items.into_iter().map(|n| relocated(n, place)).collect()),
        Value::Map(entries) => Value::Map(entries.into_iter().map(|(k, n)| (k, relocated(n, place))).collect()),
        value => value,
    };
    node.place = place.clone();
    node
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn merged(files: &[(&str, &str)], overrides: &[&str]) -> Result<(Json, usize), String> {
        let folder = tempfile::tempdir().expect("temporary folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("has one")).expect("writable");
            fs::write(path, text.replace("DIR", &folder.path().display().to_string())).expect("writable");
        }
        let overrides: Vec<Override> = overrides
            .iter()
            .map(|o| o.replace("DIR", &folder.path().display().to_string()).parse().expect("KEY=VALUE"))
            .collect();
        let merged = load(&folder.path().join(files[0].0), &overrides).map_err(|e| e.to_string())?;
        Ok((Json::from(&merged.tree), merged.files.len()))
    }

    fn rest((json, files): (Json, usize)) -> (Json, usize) {
        let Json::Object(mut map) = json else { panic!("a map") };
        map.remove("config_files");
        (map.into(), files)
    }

    #[test]
    fn strategies() {
        let other = ("o.yaml", "list: [2]\nmap: {b: 2}\nscalar: 2\nnew: 2\n");
        for (strategy, expected) in [
            ("append", json!({"list": [1, 2], "map": {"b": 2}, "scalar": 2, "new": 2})),
            ("override", json!({"list": [2], "map": {"b": 2}, "scalar": 2, "new": 2})),
            ("add-only", json!({"list": [1], "map": {"a": 1}, "scalar": 1, "new": 2})),
            ("wrong", json!({"list": [1, 2], "map": {"b": 2}, "scalar": 2, "new": 2})),
        ] {
            let main = format!(
                "config_files:\n  - path: DIR/o.yaml\n    strategy: {strategy}\nlist: [1]\nmap: {{a: 1}}\nscalar: 1\n"
            );
            let result = merged(&[("m.yaml", &main), other], &[]).expect(strategy);
            assert_eq!(rest(result), (expected, 2), "{strategy}");
        }
    }

    #[test]
    fn folders_are_sorted_and_not_descended_into() {
        let files = [
            ("m.yaml", "config_files: DIR/d\na: 0\n"),
            ("d/2.yaml", "a: 2\n"),
            ("d/1.conf", "a: 1\nb: 1\n"),
            ("d/sub/3.yaml", "a: 3\n"),
        ];
        assert_eq!(rest(merged(&files, &[]).expect("loads")), (json!({"a": 2, "b": 1}), 3));
    }

    #[test]
    fn what_is_missing_is_skipped_and_what_nests_is_refused() {
        let result = merged(&[("m.yaml", "config_files: [/nonexistent.yaml]\na: 1\n")], &[]);
        assert_eq!(rest(result.expect("loads")), (json!({"a": 1}), 1));
        for (options, warned) in [(&[][..], 0), (&["config_files[0]=/nonexistent.yaml".parse().expect("KEY=VALUE")], 1)]
        {
            let folder = tempfile::tempdir().expect("temporary folder");
            let main = folder.path().join("m.yaml");
            fs::write(&main, "config_files: [/nonexistent.yaml]\n").expect("writable");
            let warnings = load(&main, options).expect("loads").warnings;
            assert_eq!(warnings.len(), warned, "{warnings:?}");
        }
        let error = merged(&[("m.yaml", "config_files: DIR/m.yaml\n")], &[]).expect_err("merges itself");
        assert!(error.contains("config_files in a file that is itself merged"), "{error}");
    }

    #[test]
    fn options_come_last_except_config_files() {
        let files = [("m.yaml", "a: 1\n"), ("o.yaml", "b: 2\n")];
        let result = merged(&files, &["b=3", "config_files=DIR/o.yaml", r#"c[]={"x": [1, "y"]}"#, "d.e=$${A}"]);
        assert_eq!(
            rest(result.expect("loads")),
            (json!({"a": 1, "b": 3, "c": [{"x": [1, "y"]}], "d": {"e": "${A}"}}), 2)
        );
        let error = merged(&files, &["a.b=1"]).expect_err("a is a scalar");
        assert!(error.starts_with("-o a.b: "), "{error}");
        assert!("novalue".parse::<Override>().is_err());
    }
}
