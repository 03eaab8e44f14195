//! Everything loaded so far: definitions merged with what later items append and override.
//!
//! Nothing is compiled here. Invariants: an index is the first appearance of a list or macro and never changes; a visibility is the
//! time of its last definition, append or replacement.

use super::exceptions::{self, Exception};
use super::item::{Item, ItemKind, Override, PluginVersion, Priority, error};
use super::result::{Context, ErrorCode, LoadError, LoadWarning, WarningCode};
use super::{ENGINE_VERSION, Environment};
use hashbrown::HashMap;
use std::collections::BTreeSet;

/// Order in which things were seen.
pub type Time = usize;

#[derive(Clone, Debug)]
pub struct List {
    pub name: String,
    pub items: Vec<String>,
    pub index: Time,
    pub visibility: Time,
    pub context: Context,
}

#[derive(Clone, Debug)]
pub struct Macro {
    pub name: String,
    pub condition: String,
    pub index: Time,
    pub visibility: Time,
    pub context: Context,
}

#[derive(Clone, Debug)]
pub struct RuleItem {
    pub name: String,
    pub condition: String,
    pub output: String,
    pub desc: String,
    pub priority: Priority,
    pub source: String,
    /// No component provides the source: kept only so that later items find it.
    pub unknown_source: bool,
    pub enabled: bool,
    pub tags: BTreeSet<String>,
    pub exceptions: Vec<Exception>,
    pub warn_evttypes: bool,
    pub skip_if_unknown_filter: bool,
    pub capture: bool,
    /// Milliseconds, 0 for the configured default.
    pub capture_duration: u32,
    pub context: Context,
}

/// All items of all files so far.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    pub lists: Vec<List>,
    pub macros: Vec<Macro>,
    pub rules: Vec<RuleItem>,
    pub required_engine_version: Option<semver::Version>,
    pub required_plugins: Vec<Vec<PluginVersion>>,
    time: Time,
    places: Places,
}

/// Where lists, macros and rules stand, by name: none ever leaves its place.
#[derive(Clone, Debug, Default)]
struct Places {
    lists: HashMap<String, usize>,
    macros: HashMap<String, usize>,
    rules: HashMap<String, usize>,
}

const DEFAULT_SOURCE: &str = "syscall";

fn append_text(text: &mut String, more: &str) {
    text.push(' ');
    text.push_str(more.trim());
}

impl Collected {
    /// Takes one item in.
    pub fn add(
        &mut self,
        item: &Item<'_>,
        env: &Environment<'_>,
        warnings: &mut Vec<LoadWarning>,
    ) -> Result<(), LoadError> {
        match &item.kind {
            ItemKind::EngineVersion(version) => self.engine_version(version, item),
            ItemKind::Plugins(groups) => {
                for group in groups {
                    if !self.required_plugins.contains(group) {
                        self.required_plugins.push(group.clone());
                    }
                }
                Ok(())
            }
            ItemKind::List => self.list(item, warnings),
            ItemKind::Macro => self.define_macro(item, warnings),
            ItemKind::Rule => self.rule(item, env, warnings),
        }
    }

    fn tick(&mut self) -> Time {
        self.time += 1;
        self.time
    }

    fn engine_version(&mut self, version: &semver::Version, item: &Item<'_>) -> Result<(), LoadError> {
        // The constant is checked by a test.
        let ours = semver::Version::parse(ENGINE_VERSION).unwrap_or(semver::Version::new(0, 0, 0));
        if version.major != ours.major || *version > ours {
            return Err(error(
                ErrorCode::Validate,
                &item.context,
                format!("Rules require engine version {version}, but engine version is {ours}"),
            ));
        }
        if self.required_engine_version.as_ref().is_none_or(|v| v < version) {
            self.required_engine_version = Some(version.clone());
        }
        Ok(())
    }

    fn list(&mut self, item: &Item<'_>, warnings: &mut Vec<LoadWarning>) -> Result<(), LoadError> {
        let items = item.texts("items")?;
        let append = item.append || item.overriding("items") == Some(Override::Append);
        let time = self.tick();
        match self.places.lists.get(&item.name).map(|at| &mut self.lists[*at]) {
            None if append => {
                let message = "List uses 'append' or 'override.items: append' but no list by that name already exists";
                Err(error(ErrorCode::Validate, &item.context, message))
            }
            None => {
                let valid = item.name.bytes().all(crate::filter::escape::is_bare);
                warn_name(valid, "List", WarningCode::InvalidListName, LIST_PATTERN, item, warnings);
                self.places.lists.insert(item.name.clone(), self.lists.len());
                self.lists.push(List {
                    name: item.name.clone(),
                    items,
                    index: time,
                    visibility: time,
                    context: item.context.clone(),
                });
                Ok(())
            }
            Some(list) => {
                if append {
                    list.items.extend(items);
                } else {
                    list.items = items;
                    list.context = item.context.clone();
                }
                list.visibility = time;
                Ok(())
            }
        }
    }

    fn define_macro(&mut self, item: &Item<'_>, warnings: &mut Vec<LoadWarning>) -> Result<(), LoadError> {
        let condition = item.text("condition")?;
        let append = item.append || item.overriding("condition") == Some(Override::Append);
        let time = self.tick();
        match self.places.macros.get(&item.name).map(|at| &mut self.macros[*at]) {
            None if append => {
                let message =
                    "Macro uses 'append' or 'override.condition: append' but no macro by that name already exists";
                Err(error(ErrorCode::Validate, &item.context, message))
            }
            None => {
                let valid = item.name.starts_with(|c: char| c.is_ascii_alphabetic())
                    && item.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                warn_name(valid, "Macro", WarningCode::InvalidMacroName, MACRO_PATTERN, item, warnings);
                self.places.macros.insert(item.name.clone(), self.macros.len());
                self.macros.push(Macro {
                    name: item.name.clone(),
                    condition,
                    index: time,
                    visibility: time,
                    context: item.context.clone(),
                });
                Ok(())
            }
            Some(known) => {
                if append {
                    append_text(&mut known.condition, &condition);
                } else {
                    known.condition = condition;
                    known.context = item.context.clone();
                }
                known.visibility = time;
                Ok(())
            }
        }
    }

    fn rule(
        &mut self,
        item: &Item<'_>,
        env: &Environment<'_>,
        warnings: &mut Vec<LoadWarning>,
    ) -> Result<(), LoadError> {
        let required = ["condition", "output", "desc", "priority"];
        let source = item.optional_text("source")?.filter(|s| !s.is_empty());
        let at = self.places.rules.get(&item.name).copied();
        if let (Some(at), Some(source)) = (at, &source)
            && self.rules[at].source != *source
        {
            return Err(error(ErrorCode::Validate, &item.context, "Rule has been re-defined with a different source"));
        }
        if item.append || !item.overrides.is_empty() {
            let Some(at) = at else {
                let replace_only = !item.append && item.overrides.iter().all(|(_, how)| *how == Override::Replace);
                let message = match replace_only {
                    true => {
                        "An 'override.<key>: replace' to a rule was requested but no rule by that name already exists"
                    }
                    false => "Rule uses 'append' or 'override.<key>: append' but no rule by that name already exists",
                };
                return Err(error(ErrorCode::Validate, &item.context, message));
            };
            return self.change(at, item, env, warnings);
        }
        if !required.iter().any(|key| item.has(key)) && item.has("enabled") {
            let enabled = item.boolean("enabled")?.unwrap_or(true);
            let Some(at) = at else {
                return Err(error(
                    ErrorCode::Validate,
                    &item.context,
                    "Rule has 'enabled' key only, but no rule by that name already exists",
                ));
            };
            warnings.push(LoadWarning {
                code: WarningCode::DeprecatedItem,
                message: "A rule with only the 'enabled' key is deprecated. \
                          Add an 'enabled: replace' entry under 'override' instead."
                    .into(),
                context: item.context.clone(),
            });
            self.rules[at].enabled = enabled;
            return Ok(());
        }
        if let Some(key) = required.iter().find(|key| !item.has(key)) {
            return Err(item.missing(key));
        }
        let mut rule = self.definition(item, env, warnings)?;
        match at {
            Some(at) => {
                if source.is_none() {
                    rule.source.clone_from(&self.rules[at].source);
                    rule.unknown_source = self.rules[at].unknown_source;
                }
                self.rules[at] = rule;
            }
            None => {
                self.places.rules.insert(rule.name.clone(), self.rules.len());
                self.rules.push(rule);
            }
        }
        Ok(())
    }

    fn definition(
        &self,
        item: &Item<'_>,
        env: &Environment<'_>,
        warnings: &mut Vec<LoadWarning>,
    ) -> Result<RuleItem, LoadError> {
        let source =
            item.optional_text("source")?.filter(|s| !s.is_empty()).unwrap_or_else(|| DEFAULT_SOURCE.to_owned());
        let unknown_source = env.scheme(&source).is_none();
        if unknown_source {
            warnings.push(LoadWarning {
                code: WarningCode::UnknownSource,
                message: format!("Unknown source {source}, skipping"),
                context: item.context.clone(),
            });
        }
        let mut rule = RuleItem {
            name: item.name.clone(),
            condition: item.text("condition")?,
            output: item.text("output")?.trim().to_owned(),
            desc: item.text("desc")?,
            priority: priority(item)?,
            source,
            unknown_source,
            enabled: item.boolean("enabled")?.unwrap_or(true),
            tags: tags(item)?,
            exceptions: Vec::new(),
            warn_evttypes: item.boolean("warn_evttypes")?.unwrap_or(true),
            skip_if_unknown_filter: item.boolean("skip-if-unknown-filter")?.unwrap_or(false),
            capture: item.boolean("capture")?.unwrap_or(false),
            capture_duration: item.unsigned("capture_duration")?.unwrap_or(0),
            context: item.context.clone(),
        };
        rule.exceptions = exceptions::define(item, env.scheme(&rule.source), warnings)?;
        Ok(rule)
    }

    /// Appends to a rule and replaces parts of it.
    fn change(
        &mut self,
        at: usize,
        item: &Item<'_>,
        env: &Environment<'_>,
        warnings: &mut Vec<LoadWarning>,
    ) -> Result<(), LoadError> {
        use Override::{Append, Replace};
        let rule = &mut self.rules[at];
        if item.append && !item.has("exceptions") && !item.has("condition") {
            return Err(error(
                ErrorCode::Validate,
                &item.context,
                "Appended rule must have exceptions or condition property",
            ));
        }
        // `append: true` joins these and leaves the rest alone.
        let how = |key: &str| match item.append {
            true => (matches!(key, "condition" | "exceptions" | "tags") && item.has(key)).then_some(Append),
            false => item.overriding(key),
        };
        for (key, text) in [("condition", &mut rule.condition), ("output", &mut rule.output), ("desc", &mut rule.desc)]
        {
            match how(key) {
                Some(Append) => append_text(text, &item.text(key)?),
                Some(Replace) => *text = item.text(key)?.trim().to_owned(),
                None => {}
            }
        }
        match how("tags") {
            Some(Append) => rule.tags.extend(tags(item)?),
            Some(Replace) => rule.tags = tags(item)?,
            None => {}
        }
        match how("exceptions") {
            Some(Append) => {
                exceptions::append(&mut rule.exceptions, item, env.scheme(&rule.source), warnings)?;
            }
            Some(Replace) => rule.exceptions = exceptions::define(item, env.scheme(&rule.source), warnings)?,
            None => {}
        }
        if how("priority").is_some() {
            rule.priority = priority(item)?;
        }
        for (key, flag) in [
            ("enabled", &mut rule.enabled),
            ("warn_evttypes", &mut rule.warn_evttypes),
            ("skip-if-unknown-filter", &mut rule.skip_if_unknown_filter),
            ("capture", &mut rule.capture),
        ] {
            if how(key).is_some()
                && let Some(value) = item.boolean(key)?
            {
                *flag = value;
            }
        }
        if how("capture_duration").is_some() {
            rule.capture_duration = item.unsigned("capture_duration")?.unwrap_or(0);
        }
        Ok(())
    }
}

const MACRO_PATTERN: &str = "([a-zA-Z]+[a-zA-Z0-9_]*)";
const LIST_PATTERN: &str = "([^()\"'[:space:]=,]+)";

fn warn_name(
    valid: bool,
    what: &str,
    code: WarningCode,
    pattern: &str,
    item: &Item<'_>,
    warnings: &mut Vec<LoadWarning>,
) {
    if !valid {
        warnings.push(LoadWarning {
            code,
            message: format!("{what} has an invalid name. {what} names should match a regular expression: {pattern}"),
            context: item.context.clone(),
        });
    }
}

fn tags(item: &Item<'_>) -> Result<BTreeSet<String>, LoadError> {
    match item.has("tags") {
        true => Ok(item.texts("tags")?.into_iter().collect()),
        false => Ok(BTreeSet::new()),
    }
}

fn priority(item: &Item<'_>) -> Result<Priority, LoadError> {
    item.text("priority")?.parse().map_err(|message: String| {
        error(ErrorCode::YamlValidate, &item.context.at("value for", "priority", item.mark_of("priority")), message)
    })
}
