//! A YAML document as a tree whose nodes know where they were written, and the paths that name its nodes.
//!
//! Scalars are text: what they mean is decided by the key they stand for. `${NAME}` in them is replaced while the
//! tree is made.

use crate::rules::yaml::{self, Yaml};
use std::fmt;
use std::rc::Rc;

/// More nodes than any sensible configuration has; aliases cannot grow a file past it.
const NODES_MAX: usize = 100_000;
/// More replacements than any sensible text needs; a variable that names itself ends here.
const EXPANSIONS_MAX: usize = 100;

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: Rc<str>,
    /// From 1; 0 for what has no lines.
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column),
        }
    }
}

/// A message about the configuration: what, where, what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ConfigError {
    pub place: Place,
    pub message: String,
}

impl ConfigError {
    pub fn new(place: &Place, message: impl Into<String>) -> Self {
        ConfigError { place: place.clone(), message: message.into() }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    /// `plain`: written without quotes, so it may be a number or a truth value.
    Scalar {
        text: String,
        plain: bool,
    },
    Seq(Vec<Node>),
    Map(Vec<(String, Node)>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub value: Value,
    pub place: Place,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Index(usize),
    /// `[]`: one more element.
    Append,
}

/// Reads `a.b[0].c`; a backslash takes the meaning from `.`, `[`, `]` and itself.
pub fn parse_path(text: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut key = String::new();
    let mut after_index = false;
    let mut chars = text.chars().peekable();
    let bad = |why: &str| Err(format!("'{text}' is not the path of a key: {why}"));
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('.' | '[' | ']' | '\\')) => key.push(c),
                _ => return bad("a backslash must stand before '.', '[', ']' or '\\'"),
            },
            '.' | '[' if key.is_empty() && !after_index => return bad("a key is missing"),
            '.' => {
                if !after_index || !key.is_empty() {
                    steps.push(Step::Key(std::mem::take(&mut key)));
                }
                after_index = false;
                if chars.peek().is_none() {
                    return bad("it ends in '.'");
                }
            }
            '[' => {
                if !key.is_empty() {
                    steps.push(Step::Key(std::mem::take(&mut key)));
                }
                let index: String = chars.by_ref().take_while(|c| *c != ']').collect();
                steps.push(match index.as_str() {
                    "" => Step::Append,
                    digits => match digits.parse() {
                        Ok(index) => Step::Index(index),
                        Err(_) => return bad("an index must be a number"),
                    },
                });
                after_index = true;
            }
            ']' => return bad("']' without '['"),
            _ if after_index => return bad("after ']' must come '.' or '['"),
            c => key.push(c),
        }
    }
    if !key.is_empty() {
        steps.push(Step::Key(key));
    }
    if steps.is_empty() { bad("it is empty") } else { Ok(steps) }
}

impl Node {
    /// An empty map.
    pub fn empty(place: Place) -> Node {
        Node { value: Value::Map(Vec::new()), place }
    }

    /// The only document of `text`, which must be a map; an empty document is an empty map.
    pub fn parse(text: &str, file: &str) -> Result<Node, ConfigError> {
        let node = parse_document(text, file)?;
        match node.value {
            Value::Null => Ok(Node::empty(node.place)),
            Value::Map(_) => Ok(node),
            _ => Err(ConfigError::new(&node.place, "a configuration is a map of keys ('key: value'), this is not")),
        }
    }

    pub fn entries(&self) -> &[(String, Node)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::Seq(items) => items,
            _ => &[],
        }
    }

    /// The elements of a sequence; one map is taken for a sequence of one.
    pub fn maps(&self) -> &[Node] {
        match &self.value {
            Value::Map(_) => std::slice::from_ref(self),
            _ => self.items(),
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    pub fn child(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(k, _)| k == key).map(|(_, node)| node)
    }

    pub fn get(&self, path: &[Step]) -> Option<&Node> {
        path.iter().try_fold(self, |node, step| match step {
            Step::Key(key) => node.child(key),
            Step::Index(index) => node.items().get(*index),
            Step::Append => None,
        })
    }

    /// Puts `value` at `path`, making the maps and sequences on the way.
    pub fn set(&mut self, path: &[Step], value: Node) -> Result<(), String> {
        let Some((step, rest)) = path.split_first() else {
            *self = value;
            return Ok(());
        };
        let place = value.place.clone();
        let blank = || Node { value: Value::Null, place: place.clone() };
        let next = match step {
            Step::Key(key) => {
                // As Falco has it: a key for a sequence of maps makes it one map with this key alone.
                let maps =
                    matches!(&self.value, Value::Seq(items) if items.iter().all(|i| matches!(i.value, Value::Map(_))));
                if maps || self.value == Value::Null {
                    self.value = Value::Map(Vec::new());
                }
                let Value::Map(entries) = &mut self.value else {
                    return Err(format!("'{key}' cannot be set: what is there is no map"));
                };
                let at = entries.iter().position(|(k, _)| k == key).unwrap_or_else(|| {
                    entries.push((key.clone(), blank()));
                    entries.len() - 1
                });
                &mut entries[at].1
            }
            Step::Index(_) | Step::Append => {
                if matches!(self.value, Value::Null) {
                    self.value = Value::Seq(Vec::new());
                }
                let Value::Seq(items) = &mut self.value else {
                    return Err("an index is given where there is no sequence".to_owned());
                };
                let at = if let Step::Index(at) = step { *at } else { items.len() };
                if at > items.len() {
                    return Err(format!("element {at} cannot be set: there are {}", items.len()));
                }
                if at == items.len() {
                    items.push(blank());
                }
                &mut items[at]
            }
        };
        next.set(rest, value)
    }
}

impl From<&Node> for serde_json::Value {
    fn from(node: &Node) -> Self {
        match &node.value {
            Value::Null => serde_json::Value::Null,
            Value::Scalar { text, plain } => {
                let number = || text.parse::<i64>().map(Into::into).or_else(|_| text.parse::<f64>().map(Into::into));
                match text.as_str() {
                    "true" if *plain => true.into(),
                    "false" if *plain => false.into(),
                    text if *plain => number().unwrap_or_else(|_| text.into()),
                    text => text.into(),
                }
            }
            Value::Seq(items) => items.iter().map(serde_json::Value::from).collect(),
            Value::Map(entries) => entries.iter().map(|(k, v)| (k.clone(), serde_json::Value::from(v))).collect(),
        }
    }
}

/// Replaces `${NAME}` by the variable's value, unset by nothing; `$${NAME}` gives `${NAME}`.
pub fn expand(text: &str) -> String {
    expand_with(text, |name| std::env::var_os(name).map(|v| v.to_string_lossy().into_owned()))
}

fn expand_with(text: &str, variable: impl Fn(&str) -> Option<String>) -> String {
    let mut text = text.to_owned();
    let mut from = 0;
    for _ in 0..EXPANSIONS_MAX {
        let Some(at) = text[from..].find('$').map(|at| from + at) else { break };
        let rest = &text[at..];
        if rest.starts_with("${") {
            let Some(end) = rest.find('}') else { break };
            let value = variable(&rest[2..end]).unwrap_or_default();
            // What was put in is looked at again: a value may name other variables.
            text.replace_range(at..=at + end, &value);
            from = at;
        } else if rest.starts_with("$${") && rest.contains('}') {
            text.remove(at);
            from = at + 1;
        } else {
            from = at + 1;
        }
    }
    text
}

/// The only document of `text`.
pub fn parse_document(text: &str, file: &str) -> Result<Node, ConfigError> {
    let file: Rc<str> = file.into();
    let place = |mark: yaml::Mark| Place { file: file.clone(), line: mark.line + 1, column: mark.column + 1 };
    // A tab on an otherwise empty last line is no YAML, but Falco's reader does not mind.
    let documents = yaml::parse(text.trim_end_matches([' ', '\t', '\r', '\n']))
        .map_err(|error| ConfigError::new(&place(error.mark), format!("not valid YAML: {}", error.what)))?;
    match documents.as_slice() {
        [] => Ok(Node { value: Value::Null, place: place(yaml::Mark::default()) }),
        [document] => node(document, &place, &mut 0),
        [_, second, ..] => {
            Err(ConfigError::new(&place(second.mark), "a second YAML document: a configuration file has only one"))
        }
    }
}

fn node(from: &yaml::Node, place: &impl Fn(yaml::Mark) -> Place, nodes: &mut usize) -> Result<Node, ConfigError> {
    let here = place(from.mark);
    *nodes += 1;
    if *nodes > NODES_MAX {
        return Err(ConfigError::new(&here, "too large for a configuration"));
    }
    let value = match &from.value {
        Yaml::Null => Value::Null,
        Yaml::Scalar { text, plain } => Value::Scalar { text: expand(text), plain: *plain },
        Yaml::Sequence(items) => Value::Seq(items.iter().map(|i| node(i, place, nodes)).collect::<Result<_, _>>()?),
        Yaml::Mapping(pairs) => {
            let mut entries: Vec<(String, Node)> = Vec::with_capacity(pairs.len());
            for (key, value) in pairs {
                let key_place = place(key.mark);
                let name = key.text().ok_or_else(|| ConfigError::new(&key_place, "a key must be a plain text"))?;
                if entries.iter().any(|(k, _)| k == name) {
                    return Err(ConfigError::new(&key_place, format!("'{name}' is given twice: keep one of them")));
                }
                // The key's place tells more than the value's, which may be a line further down.
                entries.push((name.to_owned(), Node { place: key_place, ..node(value, place, nodes)? }));
            }
            Value::Map(entries)
        }
    };
    Ok(Node { value, place: here })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let key = |k: &str| Step::Key(k.to_owned());
        assert_eq!(parse_path("a.b[0].c"), Ok(vec![key("a"), key("b"), Step::Index(0), key("c")]));
        assert_eq!(parse_path("a[]"), Ok(vec![key("a"), Step::Append]));
        assert_eq!(parse_path("a[1][2]"), Ok(vec![key("a"), Step::Index(1), Step::Index(2)]));
        assert_eq!(parse_path(r"x.level1\.with\[dots\]\\"), Ok(vec![key("x"), key(r"level1.with[dots]\")]));
        for bad in ["", "a.", ".a", "a..b", "a[x]", "a]", r"a\", r"a\n", "a[0]b", "[0]"] {
            assert!(parse_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn variables() {
        let get = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "NESTED" => Some("${A}".to_owned()),
            "LOOP" => Some("${LOOP}x".to_owned()),
            _ => None,
        };
        for (text, expected) in [
            ("${A}${A}", "11"),
            ("$A", "$A"),
            ("$$A", "$$A"),
            ("$${A}", "${A}"),
            ("$${A}$${A}", "${A}${A}"),
            ("$${${A}}", "${1}"),
            ("$${A}${A}", "${A}1"),
            ("${NESTED}/x", "1/x"),
            ("${UNSET}", ""),
            ("${A", "${A"),
        ] {
            assert_eq!(expand_with(text, get), expected, "{text}");
        }
        assert!(expand_with("${LOOP}", get).starts_with("${LOOP}"));
    }

    #[test]
    fn places_and_errors() {
        let tree = Node::parse("a: 1\nb:\n  - x\n  - y: z\n", "f.yaml").expect("valid");
        let at = |path: &str| tree.get(&parse_path(path).expect("path")).map(|n| n.place.to_string());
        assert_eq!(at("b[1].y"), Some("f.yaml:4:5".to_owned()));
        assert_eq!(at("b[2]"), None);
        for (text, expected) in [
            ("a: 1\na: 2", "f.yaml:2:1: 'a' is given twice"),
            ("- 1", "f.yaml:1:1: a configuration is a map"),
            ("a: [1", "f.yaml:2:1: not valid YAML"),
            ("a: 1\n---\nb: 1\n", "f.yaml:3:1: a second YAML document"),
            ("a: &x [1]\nb: *y\n", "f.yaml:2:"),
        ] {
            let error = Node::parse(text, "f.yaml").expect_err(text).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        assert_eq!(Node::parse("", "f").expect("empty").entries(), &[]);
    }

    #[test]
    fn setting() {
        let place = Place { file: "-o".into(), line: 0, column: 0 };
        let scalar =
            |text: &str| Node { value: Value::Scalar { text: text.into(), plain: true }, place: place.clone() };
        let mut tree = Node::parse("a: {b: 1}\ns: [x]\n", "f").expect("valid");
        let set = |tree: &mut Node, path: &str, v: &str| tree.set(&parse_path(path).expect("path"), scalar(v));
        for (path, value) in [("a.b", "2"), ("a.c.d", "3"), ("s[]", "y"), ("s[0]", "z"), ("new[].k", "4")] {
            assert_eq!(set(&mut tree, path, value), Ok(()), "{path}");
        }
        let json = serde_json::Value::from(&tree);
        assert_eq!(json, serde_json::json!({"a": {"b": 2, "c": {"d": 3}}, "s": ["z", "y"], "new": [{"k": 4}]}));
        assert!(set(&mut tree, "s[5]", "x").is_err());
        assert!(set(&mut tree, "s.k", "x").is_err());
        assert!(set(&mut tree, "a.b.c", "x").is_err());
        assert_eq!(set(&mut tree, "new.j", "5"), Ok(()));
        assert_eq!(serde_json::Value::from(&tree)["new"], serde_json::json!({"j": 5}));
    }
}
