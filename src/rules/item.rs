//! The items of a rules file, as written: which keys there are and what type their values have.
//!
//! Not what they mean together (see `collect`). Invariant: an item that comes out of here has only keys of its kind.

use super::result::{Context, ErrorCode, LoadError, LoadWarning, WarningCode};
use super::yaml::{Mark, Node, Yaml};
use std::str::FromStr;

/// Severity of a rule's alerts, most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    Emergency,
    Alert,
    Critical,
    Error,
    Warning,
    Notice,
    Informational,
    Debug,
}

impl Priority {
    pub const ALL: [Priority; 8] = [
        Priority::Emergency,
        Priority::Alert,
        Priority::Critical,
        Priority::Error,
        Priority::Warning,
        Priority::Notice,
        Priority::Informational,
        Priority::Debug,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Priority::Emergency => "Emergency",
            Priority::Alert => "Alert",
            Priority::Critical => "Critical",
            Priority::Error => "Error",
            Priority::Warning => "Warning",
            Priority::Notice => "Notice",
            Priority::Informational => "Informational",
            Priority::Debug => "Debug",
        }
    }

    /// The word of the statistics at the end of a run.
    pub const fn short(self) -> &'static str {
        match self {
            Priority::Informational => "Info",
            other => other.as_str(),
        }
    }
}

impl FromStr for Priority {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("info") {
            return Ok(Priority::Informational);
        }
        Priority::ALL.into_iter().find(|p| p.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
            let names: Vec<_> = Priority::ALL.iter().map(|p| p.as_str()).collect();
            format!("Invalid priority '{text}': write one of {}", names.join(", "))
        })
    }
}

/// What an `override` asks for one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Override {
    Append,
    Replace,
}

/// A version requirement on a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginVersion {
    pub name: String,
    pub version: semver::Version,
}

#[derive(Debug)]
pub enum ItemKind {
    EngineVersion(semver::Version),
    /// Per requirement the plugin and its alternatives.
    Plugins(Vec<Vec<PluginVersion>>),
    List,
    Macro,
    Rule,
}

/// One mapping of a file with its context, read key by key.
pub struct Item<'n> {
    pub kind: ItemKind,
    pub name: String,
    pub context: Context,
    pub node: &'n Node,
    pub append: bool,
    pub overrides: Vec<(String, Override)>,
}

pub(super) const LIST_KEYS: &[&str] = &["list", "items", "append", "override"];
pub(super) const MACRO_KEYS: &[&str] = &["macro", "condition", "append", "override"];
pub(super) const RULE_KEYS: &[&str] = &[
    "rule",
    "condition",
    "output",
    "desc",
    "priority",
    "source",
    "enabled",
    "tags",
    "exceptions",
    "warn_evttypes",
    "skip-if-unknown-filter",
    "capture",
    "capture_duration",
    "append",
    "override",
];

/// Keys an `override` may append to and replace.
fn overridable(kind: &ItemKind, how: Override) -> &'static [&'static str] {
    match (kind, how) {
        (ItemKind::List, _) => &["items"],
        (ItemKind::Macro, _) => &["condition"],
        (_, Override::Append) => &["condition", "output", "desc", "tags", "exceptions"],
        (_, Override::Replace) => &[
            "condition",
            "output",
            "desc",
            "priority",
            "tags",
            "exceptions",
            "enabled",
            "warn_evttypes",
            "skip-if-unknown-filter",
            "capture",
            "capture_duration",
        ],
    }
}

pub fn error(code: ErrorCode, context: &Context, message: impl Into<String>) -> LoadError {
    LoadError { code, message: message.into(), context: context.clone() }
}

/// A value as text.
pub fn scalar(node: &Node, key: &str, context: &Context) -> Result<String, LoadError> {
    let context = || context.at("value for", key, node.mark);
    match &node.value {
        Yaml::Scalar { text, .. } => Ok(text.clone()),
        Yaml::Null => Err(error(ErrorCode::YamlValidate, &context(), format!("Mapping for key '{key}' is empty"))),
        _ => Err(error(ErrorCode::YamlValidate, &context(), format!("Value of key '{key}' is not a scalar value"))),
    }
}

/// A sequence of texts.
pub fn scalars(node: &Node, key: &str, context: &Context) -> Result<Vec<String>, LoadError> {
    match &node.value {
        Yaml::Null => Ok(Vec::new()),
        Yaml::Sequence(items) => items.iter().map(|item| scalar_or_empty(item, key, context)).collect(),
        _ => Err(error(
            ErrorCode::YamlValidate,
            &context.at("value for", key, node.mark),
            format!("Value of key '{key}' is not a sequence"),
        )),
    }
}

/// An element of a sequence: a null is the word somebody wrote (`null`, `~`) or nothing.
fn scalar_or_empty(node: &Node, key: &str, context: &Context) -> Result<String, LoadError> {
    match node.value {
        Yaml::Null => Ok(String::new()),
        _ => scalar(node, key, context),
    }
}

impl<'n> Item<'n> {
    /// Reads what every item has. None for what is skipped: null items and kinds nobody knows.
    pub fn read(node: &'n Node, file: &Context, warnings: &mut Vec<LoadWarning>) -> Result<Option<Self>, LoadError> {
        let here = |item_type, name: &str| file.at(item_type, name, node.mark);
        if node.is_null() {
            return Ok(None);
        }
        if node.mapping().is_none() {
            return Err(error(
                ErrorCode::YamlValidate,
                &here("rules content item", ""),
                "Unexpected element type. Each element should be a yaml associative array.",
            ));
        }
        let kinds = ["required_engine_version", "required_plugin_versions", "list", "macro", "rule"];
        let Some((key, value)) = kinds.iter().find_map(|key| node.get(key).map(|value| (*key, value))) else {
            warnings.push(LoadWarning {
                code: WarningCode::UnknownItem,
                message: "Unknown top level item: not a rule, macro, list or requirement".into(),
                context: here("rules content item", ""),
            });
            return Ok(None);
        };
        let context = here(key, "");
        let (kind, name) = match key {
            "required_engine_version" => (engine_version(value, &context)?, String::new()),
            "required_plugin_versions" => (plugin_versions(value, &context)?, String::new()),
            _ => {
                let name = scalar(value, key, &context).map_err(|e| LoadError { context: context.clone(), ..e })?;
                if name.is_empty() {
                    return Err(error(ErrorCode::YamlValidate, &context, format!("Mapping for key '{key}' is empty")));
                }
                let kind = match key {
                    "list" => ItemKind::List,
                    "macro" => ItemKind::Macro,
                    _ => ItemKind::Rule,
                };
                (kind, name)
            }
        };
        let context = here(key, &name);
        let mut item = Item { kind, name, context, node, append: false, overrides: Vec::new() };
        item.warn_unknown_keys(warnings);
        item.read_append(warnings)?;
        Ok(Some(item))
    }

    fn known_keys(&self) -> &'static [&'static str] {
        match self.kind {
            ItemKind::EngineVersion(_) => &["required_engine_version"],
            ItemKind::Plugins(_) => &["required_plugin_versions"],
            ItemKind::List => LIST_KEYS,
            ItemKind::Macro => MACRO_KEYS,
            ItemKind::Rule => RULE_KEYS,
        }
    }

    fn warn_unknown_keys(&self, warnings: &mut Vec<LoadWarning>) {
        for (key, _) in self.node.mapping().unwrap_or_default() {
            let name = key.text().unwrap_or("");
            if !self.known_keys().contains(&name) {
                warnings.push(LoadWarning {
                    code: WarningCode::UnknownKey,
                    message: format!("Unknown key '{name}'"),
                    context: self.context.at("key", name, key.mark),
                });
            }
        }
    }

    fn read_append(&mut self, warnings: &mut Vec<LoadWarning>) -> Result<(), LoadError> {
        if matches!(self.kind, ItemKind::EngineVersion(_) | ItemKind::Plugins(_)) {
            return Ok(());
        }
        const HINT: &str = "Add an 'append' entry (e.g. 'condition: append') under 'override' instead.";
        if let Some(node) = self.node.get("append") {
            self.append = self.boolean("append")?.unwrap_or(false);
            warnings.push(LoadWarning {
                code: WarningCode::DeprecatedItem,
                message: format!("'append' key is deprecated. {HINT}"),
                context: self.context.at("key", "append", node.mark),
            });
        }
        let Some(node) = self.node.get("override") else { return Ok(()) };
        let context = self.context.at("override", "", node.mark);
        let fail = |message: String| error(ErrorCode::YamlValidate, &context, message);
        let Some(entries) = node.mapping() else {
            return Err(fail("Value of key 'override' is not a mapping of keys to append or replace".into()));
        };
        for (key, how) in entries {
            let key = key.text().unwrap_or("");
            let how = match how.text() {
                Some("append") => Override::Append,
                Some("replace") => Override::Replace,
                other => {
                    return Err(fail(format!(
                        "Invalid override operation for key '{key}': '{}'. Allowed values are: append, replace",
                        other.unwrap_or("")
                    )));
                }
            };
            let (article, word) = if how == Override::Append { ("An", "append") } else { ("A", "replace") };
            if !overridable(&self.kind, how).contains(&key) {
                return Err(fail(format!("Key '{key}' cannot be overridden with operation '{word}'")));
            }
            if self.node.get(key).is_none() {
                return Err(fail(format!(
                    "{article} {word} override for '{key}' was specified but '{key}' is not defined"
                )));
            }
            self.overrides.push((key.to_owned(), how));
        }
        if self.append {
            return Err(error(
                ErrorCode::YamlValidate,
                &self.context,
                format!("Keys 'override' and 'append: true' cannot be used together. {HINT}"),
            ));
        }
        // Anything that can be overridden and is not named here was left behind by a mistake.
        for (key, _) in self.node.mapping().unwrap_or_default() {
            let name = key.text().unwrap_or("");
            let can = [Override::Append, Override::Replace]
                .into_iter()
                .any(|how| overridable(&self.kind, how).contains(&name));
            if can && !self.overrides.is_empty() && self.overriding(name).is_none() {
                return Err(error(
                    ErrorCode::YamlValidate,
                    &self.context.at("key", name, key.mark),
                    format!("Unexpected key '{name}': no corresponding entry under 'override' is defined."),
                ));
            }
        }
        Ok(())
    }

    /// What `override` says about a key.
    pub fn overriding(&self, key: &str) -> Option<Override> {
        self.overrides.iter().find(|(k, _)| k == key).map(|(_, how)| *how)
    }

    pub fn has(&self, key: &str) -> bool {
        self.node.get(key).is_some()
    }

    pub fn mark_of(&self, key: &str) -> Mark {
        self.node.get(key).map_or(self.node.mark, |n| n.mark)
    }

    /// A key that must be there.
    pub fn text(&self, key: &str) -> Result<String, LoadError> {
        match self.node.get(key) {
            Some(node) => scalar(node, key, &self.context),
            None => Err(self.missing(key)),
        }
    }

    pub fn missing(&self, key: &str) -> LoadError {
        missing(key, &self.context)
    }

    pub fn optional_text(&self, key: &str) -> Result<Option<String>, LoadError> {
        match self.node.get(key) {
            Some(node) if !node.is_null() => scalar(node, key, &self.context).map(Some),
            _ => Ok(None),
        }
    }

    pub fn texts(&self, key: &str) -> Result<Vec<String>, LoadError> {
        match self.node.get(key) {
            Some(node) => scalars(node, key, &self.context),
            None => Err(self.missing(key)),
        }
    }

    pub fn boolean(&self, key: &str) -> Result<Option<bool>, LoadError> {
        let Some(text) = self.optional_text(key)? else { return Ok(None) };
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Ok(Some(true)),
            "false" | "no" | "off" | "n" => Ok(Some(false)),
            _ => Err(self.undecodable(key, &text, "true or false")),
        }
    }

    pub fn unsigned(&self, key: &str) -> Result<Option<u32>, LoadError> {
        let Some(text) = self.optional_text(key)? else { return Ok(None) };
        match text.parse() {
            Ok(n) => Ok(Some(n)),
            Err(_) => Err(self.undecodable(key, &text, "a number of milliseconds")),
        }
    }

    fn undecodable(&self, key: &str, text: &str, wanted: &str) -> LoadError {
        error(
            ErrorCode::YamlValidate,
            &self.context.at("value for", key, self.mark_of(key)),
            format!("Can't decode YAML scalar value '{text}' of key '{key}': write {wanted}"),
        )
    }
}

pub fn missing(key: &str, context: &Context) -> LoadError {
    error(ErrorCode::YamlValidate, context, format!("Item has no mapping for key '{key}'"))
}

fn engine_version(node: &Node, context: &Context) -> Result<ItemKind, LoadError> {
    let text = scalar(node, "required_engine_version", context)?;
    let version = match text.parse::<u64>() {
        // Versions were plain numbers once.
        Ok(n) => Some(semver::Version::new(0, n, 0)),
        Err(_) => semver::Version::parse(&text).ok(),
    };
    version.map(ItemKind::EngineVersion).ok_or_else(|| {
        error(
            ErrorCode::YamlValidate,
            context,
            format!("Unable to parse engine version '{text}' as a semver string. Expected \"x.y.z\" semver format."),
        )
    })
}

fn plugin_versions(node: &Node, context: &Context) -> Result<ItemKind, LoadError> {
    let Some(entries) = node.sequence() else {
        return Err(error(
            ErrorCode::YamlValidate,
            context,
            "Value of key 'required_plugin_versions' is not a sequence of plugins",
        ));
    };
    let mut groups = Vec::new();
    for entry in entries {
        let mut group = vec![plugin_version(entry, context)?];
        if let Some(alternatives) = entry.get("alternatives").filter(|n| !n.is_null()) {
            let Some(alternatives) = alternatives.sequence() else {
                return Err(error(
                    ErrorCode::YamlValidate,
                    &context.at("alternatives", "", alternatives.mark),
                    "Value of key 'alternatives' is not a sequence",
                ));
            };
            for alternative in alternatives {
                let next = plugin_version(alternative, context)?;
                if group.iter().any(|p| p.name == next.name) {
                    return Err(error(
                        ErrorCode::Validate,
                        context,
                        format!("Defined multiple alternative version requirements for plugin '{}'", next.name),
                    ));
                }
                group.push(next);
            }
        }
        groups.push(group);
    }
    Ok(ItemKind::Plugins(groups))
}

fn plugin_version(node: &Node, context: &Context) -> Result<PluginVersion, LoadError> {
    let text = |key: &str| match node.get(key) {
        Some(value) => scalar(value, key, context),
        None => Err(missing(key, context)),
    };
    let (name, version) = (text("name")?, text("version")?);
    match semver::Version::parse(&version) {
        Ok(version) => Ok(PluginVersion { name, version }),
        Err(_) => Err(error(
            ErrorCode::Validate,
            context,
            format!("Invalid required version '{version}' for plugin '{name}': write x.y.z"),
        )),
    }
}
