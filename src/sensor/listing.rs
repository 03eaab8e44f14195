//! What the informational options print: fields, events, versions, rules.

use super::config::tree::Node;
use super::options::{ListFormat, Options};
use crate::driver::{abi, load, table};
use crate::event::fields::FIELDS;
use crate::event::types::{Age, EVENTS, EventCode, SYSCALLS};
use crate::event::value::{ArgKind, FieldDef};
use crate::rules::describe::{describe, describe_text};
use crate::rules::{BUILT_IN_PLUGINS, ENGINE_VERSION, Environment, LoadedRules};
use serde_json::json;
use std::fmt::Write;
use std::path::PathBuf;

/// The form asked for, by either of its options.
pub fn format(options: &Options) -> ListFormat {
    if options.markdown { ListFormat::Markdown } else { options.format }
}

/// The fields that are listed.
fn listed() -> impl Iterator<Item = &'static FieldDef> {
    FIELDS.iter().filter(|field| !field.flags.hidden)
}

/// `--list`: the fields of a source; all for an empty one.
pub fn fields(source: &str, names_only: bool, format: ListFormat) -> Result<String, String> {
    if !matches!(source, "" | "syscall") {
        return Err(format!("--list={source}: there is no such source; this version has 'syscall'"));
    }
    if names_only {
        return Ok(listed().map(|field| format!("{}\n", field.name)).collect());
    }
    let mut text = String::new();
    if format == ListFormat::Json {
        let all: Vec<_> = listed().map(field_json).collect();
        return Ok(format!("{:#}\n", json!({ "fields": all })));
    }
    let mut class = "";
    for field in listed() {
        if field.class != class {
            class = field.class;
            let _ = match format {
                ListFormat::Markdown => {
                    write!(text, "\n## Field class: {class}\n\nName | Type | Description\n:----|:-----|:-----------\n")
                }
                _ => write!(text, "\n-------------------------------\nField Class:  {class}\n\n"),
            };
        }
        let (name, ty) = (written(field), type_name(field));
        let _ = match format {
            ListFormat::Markdown => writeln!(text, "`{name}` | {ty} | {}", field.desc.replace('|', "\\|")),
            _ => writeln!(text, "{name:<30} ({ty}) {}", field.desc),
        };
    }
    Ok(text)
}

fn field_json(field: &FieldDef) -> serde_json::Value {
    json!({
        "name": field.name,
        "class": field.class,
        "type": type_name(field),
        "argument": format!("{:?}", field.arg),
        "list": field.list,
        "deprecated": field.flags.deprecated,
        "description": field.desc,
    })
}

/// A field with what may stand in brackets.
fn written(field: &FieldDef) -> String {
    let argument = match field.arg {
        ArgKind::None => "",
        ArgKind::OptionalIndex | ArgKind::RequiredIndex => "[n]",
        ArgKind::OptionalKey | ArgKind::RequiredKey => "[name]",
        ArgKind::OptionalEither | ArgKind::RequiredEither => "[n|name]",
    };
    format!("{}{argument}", field.name)
}

fn type_name(field: &FieldDef) -> String {
    let name = format!("{:?}", field.ty).to_uppercase();
    if field.list { format!("LIST({name})") } else { name }
}

/// `--list-events`: the events this sensor can make.
pub fn events(format: ListFormat) -> String {
    let current = table::events().iter().filter(|e| {
        EVENTS.get(usize::from(e.code)).is_some_and(|info| info.age == Age::Current) && !EventCode(e.code).is_enter()
            || e.props & abi::FSN_P_TRACEPOINT != 0
    });
    let row = |event: &'static abi::fsn_event_def| {
        let params: Vec<&str> = table::params(event).iter().map(table::param_name).collect();
        (table::event_name(event), params)
    };
    let rows: Vec<(&str, Vec<&str>)> = current.map(row).collect();
    if format == ListFormat::Json {
        let all: Vec<_> = rows.iter().map(|(name, params)| json!({"name": name, "params": params})).collect();
        return format!("{:#}\n", json!({ "events": all }));
    }
    let mut text = match format {
        ListFormat::Markdown => "Name | Params\n:----|:------\n".to_owned(),
        _ => String::new(),
    };
    for (name, params) in rows {
        let params = params.join(", ");
        let _ = match format {
            ListFormat::Markdown => writeln!(text, "`{name}` | {params}"),
            _ => writeln!(text, "{name}({params})"),
        };
    }
    text
}

/// `-i`: the system calls of high volume.
pub fn ignored_syscalls() -> String {
    let names: Vec<&str> = SYSCALLS.iter().filter(|s| s.ignored_by_default).map(|s| s.name).collect();
    format!("Ignored syscall(s):\n{}\n", names.iter().map(|n| format!("- {n}")).collect::<Vec<_>>().join("\n"))
}

/// `--version`. The keys are Falco's, so that what reads them there reads them here.
pub fn version(as_json: bool) -> String {
    let abi = format!("{}.{}.0", abi::FSN_ABI_MAJOR, abi::FSN_ABI_MINOR);
    let own = env!("CARGO_PKG_VERSION");
    // The layout and the table of events have one version; the hash tells builds apart that should not differ.
    let table = format!("{:08x}", table::hash());
    if as_json {
        let all = json!({
            "falco_version": own,
            "libs_version": own,
            "plugin_api_version": "0.0.0",
            "engine_version": ENGINE_VERSION.split('.').nth(1).unwrap_or_default(),
            "engine_version_semver": ENGINE_VERSION,
            "driver_api_version": abi,
            "driver_schema_version": abi,
            "driver_table_hash": table,
            "default_driver_version": own,
        });
        return format!("{all}\n");
    }
    format!(
        "Falco version: {own}\nLibs version:  {own}\nPlugin API:    0.0.0\n\
         Engine:        {ENGINE_VERSION}\nDriver:\n  API version:    {abi}\n  Schema version: {abi}\n  \
         Default driver: {own}\n  Event table:    {table}\nProgram:       falco-sensor, {arch}\n",
        arch = std::env::consts::ARCH
    )
}

/// `-L` and `-l`.
pub fn rules(
    loaded: &LoadedRules,
    environment: &Environment<'_>,
    name: Option<&str>,
    as_json: bool,
) -> Result<String, String> {
    if let Some(name) = name
        && !loaded.rules.iter().any(|rule| rule.name == name)
    {
        return Err(format!("-l: there is no rule '{name}'"));
    }
    Ok(if as_json { format!("{}\n", describe(loaded, environment, name)) } else { describe_text(loaded, name) })
}

/// What is built in and counts as a loaded plugin.
pub fn plugins() -> String {
    let all: Vec<String> = BUILT_IN_PLUGINS.iter().map(|(name, version)| described_plugin(name, version)).collect();
    format!("{} Plugins Loaded:\n\n{}", all.len(), all.join("\n"))
}

/// `--plugin-info`.
pub fn plugin_info(name: &str) -> Result<String, String> {
    let found = BUILT_IN_PLUGINS.iter().find(|(known, _)| *known == name);
    let (name, version) = found.ok_or_else(|| {
        let known: Vec<&str> = BUILT_IN_PLUGINS.iter().map(|(name, _)| *name).collect();
        format!("--plugin-info: there is no plugin '{name}'; built in: {}", known.join(", "))
    })?;
    Ok(described_plugin(name, version))
}

fn described_plugin(name: &str, version: &str) -> String {
    format!(
        "Name: {name}\nDescription: built into this sensor\nContact: the falco-sensor project\nVersion: {version}\n\
         Capabilities:\n  - Field Extraction\n"
    )
}

/// `--config-schema`: the table of keys as a JSON schema.
pub fn config_schema() -> String {
    format!("{:#}\n", super::config::schema::schema())
}

/// `--rule-schema`.
pub fn rule_schema() -> String {
    format!("{:#}\n", crate::rules::schema::schema())
}

/// `--support`.
pub fn support(tree: &Node, rules: &[PathBuf]) -> String {
    let uname = nix::sys::utsname::uname().ok();
    let part = |text: Option<&std::ffi::OsStr>| text.map(|t| t.to_string_lossy().into_owned());
    let files: Vec<_> = rules
        .iter()
        .map(|path| {
            let content = std::fs::read(path).unwrap_or_default();
            json!({"name": path.display().to_string(), "content": String::from_utf8_lossy(&content)})
        })
        .collect();
    let all = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "engine_version": ENGINE_VERSION,
        "system_info": {
            "sysname": part(uname.as_ref().map(|u| u.sysname())),
            "nodename": part(uname.as_ref().map(|u| u.nodename())),
            "release": part(uname.as_ref().map(|u| u.release())),
            "version": part(uname.as_ref().map(|u| u.version())),
            "machine": part(uname.as_ref().map(|u| u.machine())),
        },
        "module_loaded": load::is_loaded(),
        "cmdline": std::env::args().collect::<Vec<_>>().join(" "),
        "config": serde_json::Value::from(tree),
        "rules_files": files,
    });
    format!("{all}\n")
}
