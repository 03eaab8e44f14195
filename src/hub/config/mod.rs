//! The hub's configuration: a Falcosidekick file, environment variables and `-o`, read by the tables of keys.
//!
//! A value given with `-o` wins over the environment, that over the file, that over the default. Not here: what a key
//! does. Invariant: a [`Section`] holds a value of the right type for every key of its tables.

pub mod keys;
pub mod value;

use super::alert::Priority;
use super::forward::{KINDS, Kind, Work};
use super::input::kind as input;
use super::metrics::REQUESTS;
use crate::rules::yaml::{self, Mark, Node, Yaml};
use keys::{CORE, INSTANCE, Key, Type, variable};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use value::{Match, Value};

/// Something to tell about a configuration: where, what, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub place: String,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// The values of some tables of keys.
#[derive(Clone, Debug, Default)]
pub struct Section {
    values: BTreeMap<&'static str, Value>,
}

impl Section {
    fn value(&self, key: &str) -> Option<&Value> {
        let value = self.values.get(key);
        debug_assert!(value.is_some(), "'{key}' is in no table");
        value
    }

    pub fn text(&self, key: &str) -> &str {
        match self.value(key) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    /// The same, or `otherwise` when it is empty.
    pub fn text_or(&self, key: &str, otherwise: &str) -> String {
        match self.text(key) {
            "" => otherwise.to_owned(),
            text => text.to_owned(),
        }
    }

    pub fn flag(&self, key: &str) -> bool {
        matches!(self.value(key), Some(Value::Bool(true)))
    }

    pub fn int(&self, key: &str) -> i64 {
        match self.value(key) {
            Some(Value::Int(number)) => *number,
            _ => 0,
        }
    }

    /// The flag, or `otherwise` where the tables have none of that name.
    pub fn flag_or(&self, key: &str, otherwise: bool) -> bool {
        if self.values.contains_key(key) { self.flag(key) } else { otherwise }
    }

    /// The number, or `otherwise` where the tables have none of that name.
    pub fn int_or(&self, key: &str, otherwise: i64) -> i64 {
        if self.values.contains_key(key) { self.int(key) } else { otherwise }
    }

    pub fn duration(&self, key: &str) -> Duration {
        match self.value(key) {
            Some(Value::Duration(duration)) => *duration,
            _ => Duration::ZERO,
        }
    }

    pub fn priority(&self, key: &str) -> Priority {
        match self.value(key) {
            Some(Value::Priority(priority)) => *priority,
            _ => Priority::Unknown,
        }
    }

    pub fn list(&self, key: &str) -> &[String] {
        match self.value(key) {
            Some(Value::List(list)) => list,
            _ => &[],
        }
    }

    pub fn map(&self, key: &str) -> &[(String, String)] {
        match self.value(key) {
            Some(Value::Map(map)) => map,
            _ => &[],
        }
    }

    pub fn patterns(&self, key: &str) -> Match {
        match self.value(key) {
            Some(Value::Match(found)) => found.clone(),
            _ => Match::default(),
        }
    }

    fn is_set(&self, key: &str) -> bool {
        match self.value(key) {
            Some(Value::Text(text)) => !text.is_empty(),
            Some(Value::List(list)) => !list.is_empty(),
            Some(Value::Map(map)) => !map.is_empty(),
            Some(Value::Bool(set)) => *set,
            Some(Value::Int(number)) => *number != 0,
            _ => false,
        }
    }
}

/// One target of one kind of output.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Unique among all; what its cursor in the database is called.
    pub name: String,
    pub kind: &'static Kind,
    pub settings: Section,
}

/// One broker that alerts are taken from.
#[derive(Clone, Debug)]
pub struct Input {
    /// Unique among inputs.
    pub name: String,
    pub kind: &'static input::Kind,
    pub settings: Section,
}

#[derive(Clone, Debug)]
pub struct Config {
    pub core: Section,
    pub instances: Vec<Instance>,
    pub inputs: Vec<Input>,
    pub warnings: Vec<Problem>,
}

impl Config {
    /// What the enabled outputs are called, each once.
    pub fn enabled(&self) -> Vec<&'static str> {
        let mut labels: Vec<_> = self.instances.iter().map(|instance| instance.kind.label).collect();
        labels.sort_unstable();
        labels.dedup();
        labels
    }
}

/// Where alerts are kept: what the keys that belong to no output say, else systemd's state directory, else the default.
pub fn directory(core: &Section) -> PathBuf {
    let configured = core.text("hub.directory");
    let default = CORE.iter().find(|key| key.name == "hub.directory").map_or("", |key| key.default);
    match std::env::var_os("STATE_DIRECTORY") {
        Some(state) if configured == default && !state.is_empty() => state.into(),
        _ => configured.into(),
    }
}

/// What this hub is called: `hub.name`, or the host's name.
pub fn hub_name(core: &Section) -> Result<String, String> {
    match core.text("hub.name") {
        "" => nix::unistd::gethostname()
            .map(|name| name.to_string_lossy().into_owned())
            .map_err(|error| format!("hub.name: the host's name is unknown ({error}): give one")),
        name => Ok(name.to_owned()),
    }
}

/// Where values come from besides the file.
pub struct Sources<'s> {
    /// `key=value`, as in the environment.
    pub options: &'s [String],
    pub environment: &'s dyn Fn(&str) -> Option<String>,
}

/// Reads a configuration; no file is an empty one. All that is wrong is told at once.
pub fn load(path: Option<&Path>, sources: &Sources) -> Result<Config, Vec<Problem>> {
    let mut text = String::new();
    let name = path.map(|path| path.display().to_string()).unwrap_or_default();
    if let Some(path) = path {
        text = std::fs::read_to_string(path).map_err(|error| {
            vec![Problem { place: name.clone(), message: format!("the configuration cannot be read: {error}") }]
        })?;
    }
    parse(&text, &name, sources)
}

/// Reads the text of a configuration file called `file`.
pub fn parse(text: &str, file: &str, sources: &Sources) -> Result<Config, Vec<Problem>> {
    let mut reader = Reader { file, sources, problems: Vec::new(), warnings: Vec::new(), options: BTreeMap::new() };
    let root = match yaml::parse(text) {
        Err(error) => {
            reader.problem(error.mark, format!("not valid YAML: {}", error.what));
            return Err(reader.problems);
        }
        Ok(mut documents) if documents.len() == 1 => documents.remove(0),
        Ok(documents) => match documents.get(1) {
            Some(second) => {
                reader.problem(second.mark, "a second YAML document: a configuration has one".to_owned());
                return Err(reader.problems);
            }
            None => Node { mark: Mark::default(), value: Yaml::Null },
        },
    };
    if !matches!(root.value, Yaml::Mapping(_) | Yaml::Null) {
        reader.problem(root.mark, "a configuration is a map of keys ('key: value'), this is not".to_owned());
        return Err(reader.problems);
    }
    reader.read_options();
    let core = reader.section(&root, "", &[CORE], &[], true);
    let mut instances = Vec::new();
    for kind in KINDS {
        let settings = reader.section(&root, kind.section, &kind.tables(), kind.shared, true);
        let asked = matches!(kind.work, Work::Asked);
        if !asked && kind.required.iter().all(|key| settings.is_set(key)) {
            if let Work::Discontinued(why) = kind.work {
                let place = at(&root, kind.section).map_or(Mark::default(), |node| node.mark);
                reader.warn(place, format!("{} does nothing: {why}", kind.section));
            } else {
                instances.push(Instance { name: kind.section.to_owned(), kind, settings });
            }
        }
    }
    if let Some(list) = at(&root, "outputs") {
        reader.more_instances(list, &root, &mut instances);
    }
    let inputs = at(&root, "inputs").map(|list| reader.inputs(list)).unwrap_or_default();
    reader.unknown_keys(&root, "");
    let left: Vec<_> = reader.options.keys().cloned().collect();
    for key in left.into_iter().filter(|key| !known(key)) {
        reader.problems.push(Problem { place: format!("-o {key}"), message: "there is no such key".to_owned() });
    }
    if reader.problems.is_empty() {
        Ok(Config { core, instances, inputs, warnings: reader.warnings })
    } else {
        Err(reader.problems)
    }
}

/// The node at a dotted path; the case of keys does not matter.
fn at<'n>(root: &'n Node, path: &str) -> Option<&'n Node> {
    path.split('.').filter(|step| !step.is_empty()).try_fold(root, |node, step| {
        let mut entries = node.mapping()?.iter();
        entries.find(|(key, _)| key.text().is_some_and(|key| key.eq_ignore_ascii_case(step))).map(|(_, value)| value)
    })
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

/// Every key that may stand in the file, with its whole path.
pub fn all_keys() -> Vec<(String, &'static Key)> {
    let mut keys: Vec<(String, &'static Key)> = CORE.iter().map(|key| (key.name.to_owned(), key)).collect();
    for kind in KINDS {
        for key in kind.tables().into_iter().flatten() {
            keys.push((join(kind.section, key.name), key));
        }
        for key in kind.shared {
            if !keys.iter().any(|(path, _)| path == key.name) {
                keys.push((key.name.to_owned(), key));
            }
        }
    }
    keys
}

/// Nothing between quotes, for a key that has no such value: as if the key were absent.
fn blank(kind: Type, node: &Node) -> bool {
    node.text().is_some_and(|text| text.trim().is_empty()) && !matches!(kind, Type::Text | Type::Secret)
}

fn known(path: &str) -> bool {
    all_keys().iter().any(|(known, _)| known == path)
}

/// What a kind has, for an item of a list.
struct Form {
    kind: &'static str,
    tables: Vec<&'static [Key]>,
    shared: &'static [Key],
    required: &'static [&'static str],
}

impl Form {
    /// The key of an item's name; `name` may be a key of the kind.
    fn word(&self) -> &'static str {
        if self.tables.iter().flat_map(|table| table.iter()).any(|key| key.name == "name") {
            "instance"
        } else {
            "name"
        }
    }
}

struct Reader<'r> {
    file: &'r str,
    sources: &'r Sources<'r>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    options: BTreeMap<String, String>,
}

impl Reader<'_> {
    fn place(&self, mark: Mark) -> String {
        match self.file {
            "" => "configuration".to_owned(),
            file => format!("{file}:{}:{}", mark.line + 1, mark.column + 1),
        }
    }

    fn problem(&mut self, mark: Mark, message: String) {
        let place = self.place(mark);
        self.problems.push(Problem { place, message });
    }

    fn warn(&mut self, mark: Mark, message: String) {
        let place = self.place(mark);
        self.warnings.push(Problem { place, message });
    }

    fn read_options(&mut self) {
        for option in self.sources.options {
            match option.split_once('=') {
                Some((key, value)) => {
                    self.options.insert(key.trim().to_ascii_lowercase(), value.to_owned());
                }
                None => self
                    .problems
                    .push(Problem { place: format!("-o {option}"), message: "it must be key=value".to_owned() }),
            }
        }
    }

    /// Reads what `tables` name below `prefix`, and `shared` keys by their whole path. With `outside`, the
    /// environment and `-o` count too.
    fn section(
        &mut self,
        root: &Node,
        prefix: &str,
        tables: &[&'static [Key]],
        shared: &'static [Key],
        outside: bool,
    ) -> Section {
        let base = at(root, prefix);
        let own = tables.iter().flat_map(|table| table.iter()).map(|key| (join(prefix, key.name), base, key));
        let shared = shared.iter().map(|key| (key.name.to_owned(), Some(root), key));
        let mut section = Section::default();
        for (path, node, key) in own.chain(shared.filter(|_| outside)) {
            let value = self.value(&path, node.and_then(|node| at(node, key.name)), key, outside);
            section.values.insert(key.name, value);
        }
        section
    }

    fn value(&mut self, path: &str, node: Option<&Node>, key: &Key, outside: bool) -> Value {
        let default = || {
            // The table's defaults fit: a test asserts it.
            value::default(key.kind, key.default).unwrap_or(Value::Text(String::new()))
        };
        if outside {
            let variable = variable(path);
            let given = self.options.get(path).map(|text| (format!("-o {path}"), text.clone()));
            let given = given.or_else(|| {
                (self.sources.environment)(&variable)
                    .filter(|text| !text.is_empty())
                    .map(|text| (format!("environment variable {variable}"), text))
            });
            if let Some((place, text)) = given {
                return value::from_environment(key.kind, &text).unwrap_or_else(|message| {
                    self.problems.push(Problem { place, message });
                    default()
                });
            }
        }
        match node {
            None => default(),
            Some(node) if node.is_null() || blank(key.kind, node) => default(),
            Some(node) => value::from_yaml(key.kind, node).unwrap_or_else(|(message, node)| {
                self.problem(node.mark, format!("{path}: {message}"));
                default()
            }),
        }
    }

    /// The items of a list, and the text that each has as its kind.
    fn items<'n>(&mut self, list: &str, node: &'n Node) -> Vec<(&'n Node, &'n str)> {
        let Some(items) = node.sequence() else {
            self.problem(node.mark, format!("{list}: a list of instances is wanted"));
            return Vec::new();
        };
        items.iter().map(|item| (item, at(item, "kind").and_then(Node::text).unwrap_or_default())).collect()
    }

    fn no_kind(&mut self, list: &str, item: &Node, kind: &str) {
        let message = match kind {
            "" => format!("{list}: 'kind' is missing"),
            name => format!("{list}: there is no kind '{name}'; 'falco-hub {list} list' shows them"),
        };
        self.problem(item.mark, message);
    }

    /// The name of an item.
    fn named(&mut self, list: &str, item: &Node, form: &Form, taken: impl Fn(&str) -> bool) -> Option<String> {
        let word = form.word();
        let name = at(item, word).and_then(Node::text).unwrap_or_default().to_owned();
        if name.is_empty() {
            self.problem(item.mark, format!("{list}: an instance of '{}' needs '{word}', its name", form.kind));
            return None;
        }
        if taken(&name) {
            self.problem(item.mark, format!("{list}: the name '{name}' is taken: names must differ"));
            return None;
        }
        Some(name)
    }

    /// The settings of an item called `name`.
    fn item(&mut self, list: &str, item: &Node, name: &str, form: &Form, root: &Node) -> Section {
        let mut settings = self.section(item, "", &form.tables, &[], false);
        for key in form.shared {
            // An instance may have its own; else it takes what all share.
            let last = key.name.rsplit('.').next().unwrap_or(key.name);
            let value = match at(item, last) {
                Some(node) => self.value(key.name, Some(node), key, false),
                None => self.value(key.name, at(root, key.name), key, true),
            };
            settings.values.insert(key.name, value);
        }
        for key in form.required.iter().filter(|key| !settings.is_set(key)) {
            self.problem(item.mark, format!("{list}: '{name}' needs '{key}'"));
        }
        for (key, _) in item.mapping().unwrap_or_default() {
            let text = key.text().unwrap_or_default().to_ascii_lowercase();
            let mut names = form.tables.iter().flat_map(|t| t.iter()).chain(form.shared).map(|key| key.name);
            let fits = |name: &str| name.split('.').next() == Some(&text) || name.rsplit('.').next() == Some(&text);
            if text != "kind" && text != form.word() && !names.any(fits) {
                self.warn(key.mark, format!("'{text}' is no key of '{}': it has no effect", form.kind));
            }
        }
        settings
    }

    /// `outputs`: further instances, each a map with `kind`, `name` and the keys of that kind.
    fn more_instances(&mut self, list: &Node, root: &Node, instances: &mut Vec<Instance>) {
        for (item, word) in self.items("outputs", list) {
            let Some(kind) = super::forward::kind(word) else {
                self.no_kind("outputs", item, word);
                continue;
            };
            let form = Form { kind: kind.section, tables: kind.tables(), shared: kind.shared, required: kind.required };
            let taken =
                |name: &str| name == super::store::postgresql::NAME || instances.iter().any(|other| other.name == name);
            let Some(name) = self.named("outputs", item, &form, taken) else { continue };
            if let Work::Discontinued(why) = kind.work {
                self.warn(item.mark, format!("{name} does nothing: {why}"));
                continue;
            }
            let settings = self.item("outputs", item, &name, &form, root);
            instances.push(Instance { name, kind, settings });
        }
    }

    /// `inputs`: brokers that alerts are taken from.
    fn inputs(&mut self, list: &Node) -> Vec<Input> {
        let mut inputs: Vec<Input> = Vec::new();
        for (item, word) in self.items("inputs", list) {
            let Some(kind) = input::kind(word) else {
                self.no_kind("inputs", item, word);
                continue;
            };
            let form = Form { kind: kind.name, tables: kind.keys.to_vec(), shared: &[], required: kind.required };
            // What comes over HTTP has a name in the metrics.
            let taken = |name: &str| name == REQUESTS || inputs.iter().any(|other| other.name == name);
            let Some(name) = self.named("inputs", item, &form, taken) else { continue };
            let settings = self.item("inputs", item, &name, &form, item);
            inputs.push(Input { name, kind, settings });
        }
        inputs
    }

    fn unknown_keys(&mut self, node: &Node, path: &str) {
        let keys = all_keys();
        for (key, value) in node.mapping().unwrap_or_default() {
            let path = join(path, &key.text().unwrap_or_default().to_ascii_lowercase());
            if path == "outputs" || path == "inputs" || keys.iter().any(|(known, _)| *known == path) {
                continue;
            }
            let inside = format!("{path}.");
            let section = keys.iter().any(|(known, _)| known.starts_with(&inside));
            match (&value.value, section) {
                (Yaml::Mapping(_), true) => self.unknown_keys(value, &path),
                (Yaml::Null, true) => {}
                (_, true) => self.problem(value.mark, format!("'{path}' is a section: a map of keys is wanted")),
                (_, false) => self.warn(key.mark, format!("'{path}' is not known to this version: it has no effect")),
            }
        }
    }
}

impl Kind {
    /// The tables of keys below its section.
    pub fn tables(&self) -> Vec<&'static [Key]> {
        let mut tables = self.keys.to_vec();
        if self.forwards() {
            tables.push(INSTANCE);
        }
        tables
    }
}

#[cfg(test)]
mod tests;
