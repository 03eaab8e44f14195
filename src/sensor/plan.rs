//! From configuration and rules files to what runs: the program, the forms of the alerts, what the module captures.

use super::config::{AlertLimit, AppendOutput, BaseSyscalls, Config, SelectBy};
use super::record::Trigger;
use crate::capture::Demand;
use crate::driver::abi::{self, fsn_config};
use crate::driver::table;
use crate::event::sources::Sources;
use crate::event::text::Buffers;
use crate::event::types::{self, EventCode};
use crate::event::value::{Extract, FieldArg, FieldUse};
use crate::event::{fields, statics};
use crate::filter::format::Format;
use crate::filter::scheme::{CodeSet, Scheme};
use crate::filter::{Matching, Program, RuleIndex, SyscallScheme};
use crate::output::alert::{RuleForm, RuleParts, Style};
use crate::output::limits::{Limit, Limited};
use crate::rules::output::{Append, ExtraText, OutputAdditions};
use crate::rules::select::wildcard;
use crate::rules::{Environment, FileResult, LoadedRules, Loader, Priority, Rule, Selected, Selection, Selector};
use bumpalo::Bump;
use hashbrown::HashSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// The source this sensor watches.
pub const SOURCE: &str = "syscall";

/// Fields put behind every output when the configuration asks for suggested ones.
const SUGGESTED: [&str; 8] = [
    "container.id",
    "container.name",
    "container.image.repository",
    "container.image.tag",
    "k8s.pod.name",
    "k8s.ns.name",
    "k8smeta.pod.name",
    "k8smeta.ns.name",
];

/// What a rule is counted under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    pub name: String,
    pub source: String,
    pub priority: Priority,
    pub tags: Vec<String>,
}

/// Everything the loops need, and what the module is told.
pub struct Plan {
    pub program: Program,
    /// By rule index; None for rules that do not run.
    pub forms: Vec<Option<RuleForm>>,
    /// By rule index; empty when no rule has one.
    pub limits: Vec<Option<Limit>>,
    /// By rule index.
    pub labels: Vec<Labels>,
    /// What a match does to recordings, by rule index; empty when rules start none.
    pub triggers: Vec<Trigger>,
    pub driver: fsn_config,
    /// What a replay has to keep of processes.
    pub demand: Demand,
    conditions: OnceLock<Vec<u8>>,
    /// Names of the captured system calls.
    pub captured: Vec<&'static str>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

impl Plan {
    /// What the module tests of calls before it makes events of them; empty when there is nothing to test. Made when it is
    /// first asked for: a replay has no module.
    pub fn conditions(&self) -> &[u8] {
        self.conditions.get_or_init(|| crate::pushdown::table(&self.program).unwrap_or_default())
    }
}

/// Loads `files` in order. The results come one per file; the rules are those of all files when every one is
/// successful, and None otherwise.
pub fn load_rules(files: &[PathBuf], environment: &Environment<'_>) -> (Vec<FileResult>, Result<LoadedRules, String>) {
    let mut loader = Loader::new(environment);
    let mut results = Vec::new();
    for file in files {
        results.push(loader.load_file(file));
        if results.last().is_some_and(|r| !r.successful()) {
            return (results, Err(format!("{} is not valid", file.display())));
        }
    }
    let loaded = loader.finish();
    let required = crate::rules::require::check(&loaded.collected.required_plugins, &crate::rules::built_in_plugins());
    (results, required.map(|()| loaded))
}

/// Loads `files` for their results: one that is not valid does not keep the next from being looked at. Plugins that are required and
/// not there end it.
pub fn validate_rules(
    files: &[PathBuf],
    environment: &Environment<'_>,
) -> Result<(Vec<FileResult>, LoadedRules), String> {
    let mut loader = Loader::new(environment);
    let mut results = Vec::new();
    for file in files {
        results.push(loader.load_file(file));
        let required = &loader.loaded().collected.required_plugins;
        crate::rules::require::check(required, &crate::rules::built_in_plugins())?;
    }
    Ok((results, loader.finish()))
}

/// What rules are loaded against under this configuration; `print` is the text of `-p`.
pub fn environment(config: &Config, print: Option<&str>) -> Environment<'static> {
    let mut additions = OutputAdditions::default();
    additions.entries.extend(config.append_output.iter().map(append));
    match print {
        // They name sets of fields that are part of the suggested ones today.
        None | Some("c" | "container" | "k" | "kubernetes") => {}
        Some(text) => additions.entries.push(Append { format: Some(text.to_owned()), ..Append::default() }),
    }
    Environment { output: additions, ..Environment::syscalls() }
}

fn suggested() -> Vec<String> {
    let constant = statics::all().iter().map(|(name, _)| format!("static.{name}"));
    SUGGESTED.iter().map(|name| (*name).to_owned()).chain(constant).collect()
}

fn append(entry: &AppendOutput) -> Append {
    let raw = entry.raw_fields.iter().map(|name| ExtraText { name: name.clone(), text: format!("%{name}"), raw: true });
    let formatted = entry.formatted_fields.iter();
    let formatted = formatted.map(|(name, text)| ExtraText { name: name.clone(), text: text.clone(), raw: false });
    Append {
        source: entry.source.clone(),
        tags: entry.tags.iter().cloned().collect(),
        rule: entry.rule.clone(),
        format: entry.text.clone(),
        fields: raw.chain(formatted).collect(),
        suggested: if entry.suggested { suggested() } else { Vec::new() },
    }
}

/// How alerts are written under this configuration.
pub fn style(config: &Config, hostname: String) -> Style {
    Style {
        json: config.json_output,
        output: config.json.output,
        message: config.json.message,
        fields: config.json.fields,
        tags: config.json.tags,
        iso_time: config.iso_time,
        buffers: if config.base64_buffers { Buffers::Base64 } else { Buffers::Printable },
        hostname,
    }
}

/// Chooses and compiles the rules that run.
pub fn plan(config: &Config, loaded: &LoadedRules, style: &Style) -> Result<Plan, String> {
    let threshold: Priority = config.priority.parse().map_err(|e| format!("priority: {e}"))?;
    let mut selection = Selection::of(loaded, threshold);
    for one in &config.selection {
        let what = match &one.by {
            SelectBy::Rule(name) => Selected::Rule(name.clone()),
            SelectBy::Tag(tag) => Selected::Tag(tag.clone()),
        };
        selection.apply(loaded, threshold, &Selector { enable: one.enable, what });
    }
    let matching = if config.match_all { Matching::All } else { Matching::First };
    let rules = selection.rules().iter().copied();
    let program = loaded.program(SOURCE, &SyscallScheme, rules, matching).map_err(|e| e.to_string())?;

    let mut forms: Vec<Option<RuleForm>> = Vec::new();
    forms.resize_with(loaded.rules.len(), || None);
    let mut features = Features::default();
    program.fields_used().for_each(|field| features.add(field));
    for index in selection.rules() {
        let rule = loaded.rule(*index);
        let tags: Vec<String> = rule.tags.iter().cloned().collect();
        let mut parts = RuleParts {
            name: &rule.name,
            source: &rule.source,
            tags: &tags,
            format: rule.format.clone(),
            ..RuleParts::default()
        };
        for extra in &rule.extra_fields {
            match extra.format.single_field().filter(|_| extra.raw) {
                Some(field) => parts.raw_fields.push((extra.name.clone(), field.clone())),
                None => parts.formatted_fields.push((extra.name.clone(), extra.format.clone())),
            }
            features.add_format(&extra.format);
        }
        features.add_format(&rule.format);
        forms[index.0 as usize] = Some(RuleForm::new(parts, rule.priority, style));
    }

    let mut warnings = Vec::new();
    let limits = limits(&config.limits.rules, loaded, &mut warnings);
    for limit in limits.iter().flatten() {
        limit.keys.iter().for_each(|key| features.add_format(key));
    }
    let wanted = wanted(&config.base_syscalls, &program, &mut warnings);
    let driver = driver_config(config, &wanted, &program, &features);
    warn_of_silent_rules(loaded, selection.rules(), &program, &wanted, &mut warnings);
    let rows = table::syscalls().iter().filter(|s| wanted.contains(s.sc));
    let mut captured: Vec<&'static str> = rows.map(table::syscall_name).collect();
    captured.sort_unstable();
    let labels = |rule: &Rule| Labels {
        name: rule.name.clone(),
        source: rule.source.clone(),
        priority: rule.priority,
        tags: rule.tags.iter().cloned().collect(),
    };
    let labels = loaded.rules.iter().map(labels).collect();
    let (triggers, conditions) = (Vec::new(), OnceLock::new());
    let demand = Demand { memory: features.memory, env: features.env };
    let mut plan = Plan { program, forms, limits, labels, triggers, driver, demand, conditions, captured, warnings };
    if let Some(on_match) = &config.capture {
        let trigger = |rule: &Rule| Trigger {
            starts: on_match.all_rules || rule.capture,
            duration: Duration::from_millis(match rule.capture_duration {
                0 => on_match.default_ms,
                ms => u64::from(ms),
            }),
        };
        plan.triggers = loaded.rules.iter().map(trigger).collect();
        if plan.triggers.iter().any(|trigger| trigger.starts) {
            plan.capture_also(|call| call.state);
        }
    }
    Ok(plan)
}

impl Plan {
    /// What the alert of a rule on an event is to the limiter.
    pub fn limited<'e, E: Extract>(
        &'e self,
        rule: RuleIndex,
        event: &'e E,
        time: u64,
        arena: &'e Bump,
    ) -> Option<Limited> {
        let limit = self.limits.get(rule.0 as usize)?.as_ref()?;
        Some(limit.of(&self.labels.get(rule.0 as usize)?.name, event, time, arena))
    }

    /// Makes recordings whole: what changes processes and descriptors is captured besides what rules want, and with everything that
    /// `also` asks for; environments and data as well.
    pub fn capture_also(&mut self, also: impl Fn(&types::SyscallInfo) -> bool) {
        for call in types::SYSCALLS.iter().filter(|call| call.state || also(call)) {
            self.driver.wanted[usize::from(call.code) / 64] |= 1 << (call.code % 64);
        }
        self.driver.tracepoints |= abi::FSN_TP_SYSCALLS | abi::FSN_TP_PROCEXIT;
        self.driver.features |= abi::FSN_CAP_ENV | abi::FSN_CAP_DATA;
    }
}

/// The limit of each rule, by index.
fn limits(entries: &[AlertLimit], loaded: &LoadedRules, warnings: &mut Vec<String>) -> Vec<Option<Limit>> {
    if entries.is_empty() {
        return Vec::new();
    }
    let patterns: Vec<_> = entries.iter().map(|entry| wildcard(&entry.rule)).collect();
    for (entry, pattern) in entries.iter().zip(&patterns) {
        if !loaded.rules.iter().any(|rule| pattern.is_match(rule.name.as_bytes())) {
            warnings.push(format!("alert_limits.rules: there is no rule '{}'", entry.rule));
        }
    }
    let limit = |rule: &Rule| {
        let entry = entries.iter().zip(&patterns).find(|(_, pattern)| pattern.is_match(rule.name.as_bytes()))?.0;
        let keys = entry.keys.iter().filter_map(|name| Format::of_field(name, &SyscallScheme)).collect();
        (!entry.window.is_zero()).then_some(Limit { window: entry.window, keys })
    };
    loaded.rules.iter().map(limit).collect()
}

/// What the fields in use need from the module beyond the event itself.
#[derive(Debug, Default, PartialEq, Eq)]
struct Features {
    env: bool,
    data: bool,
    /// How much memory a process takes.
    memory: bool,
}

impl Features {
    fn add_format(&mut self, format: &Format) {
        format.tokens().for_each(|token| token.source.fields(&mut |field| self.add(field)));
    }

    fn add(&mut self, field: &FieldUse) {
        let key = match &field.arg {
            FieldArg::Key(key) => Some(&**key),
            _ => None,
        };
        match fields::def(field.id).name {
            "proc.env" | "proc.aenv" => self.env = true,
            "evt.arg" | "evt.rawarg" if key.is_some() => {
                self.env |= key == Some("env");
                self.data |= matches!(key, Some("data" | "img"));
            }
            _ if fields::def(field.id).sources == Sources::MEMORY => self.memory = true,
            // They may show any parameter.
            "evt.arg" | "evt.rawarg" | "evt.args" | "evt.info" => (self.env, self.data) = (true, true),
            name if name.starts_with("evt.buffer") => self.data = true,
            _ => {}
        }
    }
}

/// Ids of the system calls (and tracepoints) to capture: those a rule can match on, as changed by `base_syscalls`.
fn wanted(base: &BaseSyscalls, program: &Program, warnings: &mut Vec<String>) -> CodeSet {
    let (calls, codes) = (program.syscall_codes(), program.event_codes());
    let rows = table::syscalls().iter();
    let mut wanted: CodeSet = rows.filter(|s| calls.contains(s.sc) && codes.contains(s.event)).map(|s| s.sc).collect();
    for text in &base.custom {
        let (name, remove) = text.strip_prefix('!').map_or((text.as_str(), false), |name| (name, true));
        let Some(call) = table::syscalls().iter().find(|s| table::syscall_name(s) == name) else {
            warnings.push(format!("base_syscalls.custom_set: there is no system call '{name}', ignored"));
            continue;
        };
        if remove {
            wanted = wanted.difference(&[call.sc].into_iter().collect());
        } else {
            wanted.insert(call.sc);
        }
    }
    if !base.all {
        let high_volume: CodeSet = types::SYSCALLS.iter().filter(|s| s.ignored_by_default).map(|s| s.code).collect();
        let left_out: Vec<&str> = types::SYSCALLS
            .iter()
            .filter(|s| s.ignored_by_default && wanted.contains(s.code))
            .map(|s| s.name)
            .collect();
        if !left_out.is_empty() {
            warnings.push(format!(
                "rules listen to system calls of high volume that are not captured: {} (base_syscalls.all: true \
                 captures them)",
                left_out.join(", ")
            ));
        }
        wanted = wanted.difference(&high_volume);
    }
    wanted
}

/// Names the rules none of whose events is captured: they would be silent, and look as if all were well.
fn warn_of_silent_rules(
    loaded: &LoadedRules,
    running: &[RuleIndex],
    program: &Program,
    wanted: &CodeSet,
    warnings: &mut Vec<String>,
) {
    // Of the tracepoints only the end of a process is an event.
    let is_call = |s: &&abi::fsn_syscall_def| s.flags & abi::FSN_SC_TRACEPOINT == 0 && wanted.contains(s.sc);
    let mut events: CodeSet = table::syscalls().iter().filter(is_call).map(|s| s.event).collect();
    types::codes_of_event("procexit").iter().for_each(|code| events.insert(code.0));
    let heard: HashSet<RuleIndex> = events.iter().flat_map(|code| program.rules_for(code)).collect();
    let of_all = SyscallScheme.always();
    for index in running.iter().filter(|index| !heard.contains(*index)) {
        let rule = loaded.rule(*index);
        let listens = program.listening().iter().find(|(of, _)| of == index);
        let named = listens.map_or(CodeSet::EMPTY, |(_, codes)| codes.difference(&of_all));
        let captured = !named.intersection(&events).is_empty();
        let why = match program.matching() {
            _ if !captured && !named.is_empty() => "none of the events it names is captured",
            Matching::First if captured => {
                "its condition never holds, or always after that of a rule before it (rule_matching: first)"
            }
            _ => "its condition never holds",
        };
        if rule.source == SOURCE {
            warnings.push(format!("rule '{}' cannot fire: {why}", rule.name));
        }
    }
}

fn driver_config(config: &Config, wanted: &CodeSet, program: &Program, features: &Features) -> fsn_config {
    let codes = program.event_codes();
    let by_name = |name| types::codes_of_event(name).iter().any(|EventCode(code)| codes.contains(*code));
    let is_call = |s: &&abi::fsn_syscall_def| s.flags & abi::FSN_SC_TRACEPOINT == 0;
    let mut tracepoints = 0;
    if table::syscalls().iter().filter(is_call).any(|s| wanted.contains(s.sc)) {
        tracepoints |= abi::FSN_TP_SYSCALLS;
    }
    if by_name("procexit") {
        tracepoints |= abi::FSN_TP_PROCEXIT;
    }
    let mut bits = [0; 8];
    for sc in wanted.iter() {
        bits[usize::from(sc) / 64] |= 1u64 << (sc % 64);
    }
    let mut capture = abi::FSN_CAP_LINEAGE;
    capture |= if features.env { abi::FSN_CAP_ENV } else { 0 };
    capture |= if features.data { abi::FSN_CAP_DATA } else { 0 };
    let mut class = [0; abi::FSN_SYSCALLS as usize];
    for call in table::syscalls() {
        class[usize::from(call.sc)] = program.class_of(call.event);
    }
    fsn_config {
        class,
        tracepoints,
        features: capture,
        snaplen: config.snaplen,
        ring_bytes: config.ring_bytes,
        watermark: (64 << 10).min(config.ring_bytes / 4),
        latency_us: 10_000,
        wanted: bits,
        ..fsn_config::default()
    }
}

/// The files that `-r` or `-V` name: folders by their YAML files.
pub fn rules_files(named: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for path in named {
        if path.is_dir() {
            files.extend(super::config::yaml_files(path));
        } else if Path::exists(path) {
            files.push(path.clone());
        } else {
            return Err(format!("{}: no such rules file", path.display()));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
