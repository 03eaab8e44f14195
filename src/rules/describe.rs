//! What rules, macros and lists are made of: `-L` and `-l`.
//!
//! Built from what was loaded, never on the path of an event. Invariant: names in a description are those of the files;
//! only the parts called compiled have macros and lists replaced.

use super::Environment;
use super::collect::{Macro, RuleItem};
use super::exceptions::Entry;
use super::lists;
use super::load::{LoadedRules, Rule};
use crate::filter::ast::Expr;
use crate::filter::details::Details;
use crate::filter::scheme::{CodeSet, Scheme, find_field};
use crate::filter::{infer, parser};
use hashbrown::HashSet;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The object printed by `-L` (all) and `-l <rule>`.
pub fn describe(loaded: &LoadedRules, env: &Environment<'_>, only: Option<&str>) -> Value {
    let collected = &loaded.collected;
    let mut rules = Vec::new();
    let (mut macros, mut lists) = (BTreeSet::new(), BTreeSet::new());
    for rule in loaded.rules.iter().filter(|r| only.is_none_or(|name| name == r.name)) {
        let Some(item) = collected.rules.iter().find(|r| r.name == rule.name) else { continue };
        rules.push(rule_json(loaded, env, item, rule));
        reachable(loaded, &item.condition, &mut macros, &mut lists);
    }
    let macros: Vec<Value> = collected
        .macros
        .iter()
        .filter(|m| only.is_none() || macros.contains(&m.name))
        .map(|m| macro_json(loaded, env, m))
        .collect();
    let lists: Vec<Value> = (0..collected.lists.len())
        .filter(|&i| only.is_none() || lists.contains(&collected.lists[i].name))
        .map(|i| list_json(loaded, i))
        .collect();
    let mut out = json!({ "rules": rules, "macros": macros, "lists": lists });
    if only.is_none() {
        out["required_engine_version"] = match &collected.required_engine_version {
            Some(version) => json!(version.to_string()),
            None => Value::Null,
        };
        let plugins = collected.required_plugins.iter().filter_map(|group| {
            let (first, others) = group.split_first()?;
            let mut entry = json!({ "name": first.name, "version": first.version.to_string() });
            if !others.is_empty() {
                entry["alternatives"] =
                    others.iter().map(|p| json!({ "name": p.name, "version": p.version.to_string() })).collect();
            }
            Some(entry)
        });
        out["required_plugin_versions"] = plugins.collect();
    }
    out
}

/// The text of `-L` and `-l`: names with their descriptions, wrapped.
pub fn describe_text(loaded: &LoadedRules, only: Option<&str>) -> String {
    const NAME: usize = 50;
    const WIDTH: usize = 60;
    let mut out = format!("{:<NAME$} Description\n{:<NAME$} -----------\n", "Rule", "----");
    for rule in loaded.rules.iter().filter(|r| only.is_none_or(|name| name == r.name)) {
        let mut lines = wrap(&rule.desc, WIDTH).into_iter();
        let first = lines.next().unwrap_or_default();
        if rule.name.chars().count() > NAME {
            out += &format!("{}\n{:NAME$} {first}\n", rule.name, "");
        } else {
            out += &format!("{:<NAME$} {first}\n", rule.name);
        }
        lines.for_each(|line| out += &format!("{:NAME$} {line}\n", ""));
        out.push('\n');
    }
    out
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        // There is always a last line.
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].len() + 1 + word.len() > width {
            lines.push(word.to_owned());
        } else {
            if !lines[last].is_empty() {
                lines[last].push(' ');
            }
            lines[last].push_str(word);
        }
    }
    lines
}

/// Macros and lists a condition refers to, through others too.
fn reachable(loaded: &LoadedRules, condition: &str, macros: &mut BTreeSet<String>, lists: &mut BTreeSet<String>) {
    for name in mentioned_lists(loaded, condition) {
        if lists.insert(name.clone()) {
            let inner = loaded.lists.as_slice().iter().find(|l| l.name == name).map(|l| l.refers.clone());
            lists.extend(inner.unwrap_or_default());
        }
    }
    for name in mentioned_macros(loaded, condition) {
        if macros.insert(name.clone())
            && let Some(item) = loaded.collected.macros.iter().find(|m| m.name == name)
        {
            reachable(loaded, &item.condition, macros, lists);
        }
    }
}

fn mentioned_lists(loaded: &LoadedRules, condition: &str) -> Vec<String> {
    let names = loaded.collected.lists.iter().map(|l| &l.name);
    names.filter(|name| lists::mentions(condition, name)).cloned().collect()
}

fn mentioned_macros(loaded: &LoadedRules, condition: &str) -> Vec<String> {
    let Some(text) = lists::substitute(condition, &mut loaded.lists.clone()) else { return Vec::new() };
    match parser::parse_with(&text, parser::RULES_MAX_DEPTH) {
        Ok((expr, _)) => Details::of(&expr).macros.into_iter().collect(),
        Err(_) => Vec::new(),
    }
}

fn event_names(codes: &CodeSet, scheme: &dyn Scheme) -> Vec<String> {
    let names: BTreeSet<&str> = codes.iter().filter_map(|code| scheme.code_name(code)).collect();
    names.into_iter().map(str::to_owned).collect()
}

/// Plugins that provide fields of these names.
fn plugins(fields: &BTreeSet<String>, scheme: Option<&dyn Scheme>) -> Vec<String> {
    let Some(scheme) = scheme else { return Vec::new() };
    let mut out = BTreeSet::new();
    for field in fields {
        let name = field.split('[').next().unwrap_or(field);
        let class = find_field(scheme, name, None)
            .ok()
            .map(|f| f.id)
            .or_else(|| scheme.field(name))
            .map(|id| scheme.def(id).class);
        if let Some(plugin) = class.and_then(|class| class.strip_prefix("plugin ")) {
            out.insert(plugin.to_owned());
        }
    }
    out.into_iter().collect()
}

fn rule_json(loaded: &LoadedRules, env: &Environment<'_>, item: &RuleItem, rule: &Rule) -> Value {
    let scheme = env.scheme(&item.source);
    let details = Details::of(&rule.condition);
    let output_fields: BTreeSet<String> = rule.format.tokens().flat_map(|t| t.field_names()).collect();
    let codes = scheme.map_or(CodeSet::EMPTY, |s| infer::event_codes(&rule.condition, s).union(&s.always()));
    let mut all_fields = details.fields.clone();
    all_fields.extend(output_fields.iter().cloned());
    let names = |entries: &dyn Fn(&super::exceptions::Exception) -> Vec<String>| -> Vec<String> {
        item.exceptions.iter().flat_map(entries).collect::<BTreeSet<_>>().into_iter().collect()
    };
    let extra: serde_json::Map<String, Value> =
        rule.extra_fields.iter().map(|f| (f.name.clone(), json!(f.format.to_string()))).collect();
    json!({
        "info": {
            "name": item.name,
            "condition": item.condition.trim(),
            "output": item.output,
            "description": item.desc.trim(),
            "priority": item.priority.as_str(),
            "source": item.source,
            "enabled": item.enabled,
            "capture": item.capture,
            "capture_duration": item.capture_duration,
            "tags": item.tags,
        },
        "details": {
            "macros": mentioned_macros(loaded, &item.condition),
            "lists": mentioned_lists(loaded, &item.condition),
            "condition_operators": details.operators,
            "condition_fields": details.fields,
            "output_fields": output_fields,
            "exception_names": names(&|e| vec![e.name.clone()]),
            "exception_fields": names(&|e| texts(&e.fields)),
            "exception_operators": names(&|e| texts(&e.comps)),
            "events": scheme.map_or_else(Vec::new, |s| event_names(&codes, s)),
            "condition_compiled": rule.condition.to_string(),
            "output_compiled": rule.output,
            "plugins": plugins(&all_fields, scheme),
            "extra_output_formatted_fields": extra,
        },
    })
}

fn texts(entry: &Entry) -> Vec<String> {
    match entry {
        Entry::One(text) => vec![text.clone()],
        Entry::Many(entries) => entries.iter().flat_map(texts).collect(),
    }
}

fn macro_json(loaded: &LoadedRules, env: &Environment<'_>, item: &Macro) -> Value {
    let resolved: Option<Expr> = loaded
        .macros
        .get(&item.name)
        .and_then(|m| super::macros::resolve(&m.expr, &loaded.macros, Some(m.visibility), &mut HashSet::new()).ok());
    let details = resolved.as_ref().map(Details::of).unwrap_or_default();
    // A macro may serve rules of several sources; describe it for the first that knows its fields.
    let scheme = env
        .sources
        .iter()
        .map(|(_, scheme)| *scheme)
        .find(|s| details.fields.iter().all(|f| s.field(f.split('[').next().unwrap_or(f)).is_some()))
        .or(env.sources.first().map(|(_, scheme)| *scheme));
    let events = match (&resolved, scheme) {
        (Some(expr), Some(scheme)) => event_names(&infer::event_codes(expr, scheme).union(&scheme.always()), scheme),
        _ => Vec::new(),
    };
    json!({
        "info": { "name": item.name, "condition": item.condition.trim() },
        "details": {
            "used": loaded.used_macros.contains(&item.name),
            "macros": mentioned_macros(loaded, &item.condition),
            "lists": mentioned_lists(loaded, &item.condition),
            "condition_operators": details.operators,
            "condition_fields": details.fields,
            "events": events,
            "condition_compiled": resolved.map(|e| e.to_string()).unwrap_or_default(),
            "plugins": plugins(&details.fields, scheme),
        },
    })
}

fn list_json(loaded: &LoadedRules, i: usize) -> Value {
    let (list, resolved) = (&loaded.collected.lists[i], &loaded.lists.as_slice()[i]);
    // Names of other lists are details, not items.
    let items: Vec<&String> = list.items.iter().filter(|item| !resolved.refers.contains(item)).collect();
    json!({
        "info": { "name": list.name, "items": items },
        "details": {
            "used": resolved.used,
            "lists": resolved.refers,
            "items_compiled": resolved.items,
            "plugins": [],
        },
    })
}
