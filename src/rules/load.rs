//! Loading files and compiling all that was collected.
//!
//! Invariant: after a file with an error the loader is as it was before that file.

use super::collect::{Collected, RuleItem};
use super::item::{Item, Priority, error};
use super::lists::{self, Lists};
use super::macros::{self, Macros, ParsedMacro};
use super::result::{Context, ErrorCode, FileResult, LoadError, LoadWarning, Source, WarningCode};
use super::{Environment, exceptions, yaml};
use crate::filter::ast::{Expr, Pos};
use crate::filter::deep::on_large_stack;
use crate::filter::error::WarningKind;
use crate::filter::lower::Lower;
use crate::filter::posix::Patterns;
use crate::filter::program::{Compiler, Matching, Program, RuleIndex};
use crate::filter::scheme::Scheme;
use crate::filter::{FilterError, Format, Tables, infer, parser, warn};
use hashbrown::{HashMap, HashSet};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A rule ready to run.
#[derive(Clone, Debug)]
pub struct Rule {
    pub name: String,
    pub desc: String,
    /// The condition with its lists expanded and its macros by name.
    pub written: Expr,
    /// The condition with its macros resolved.
    pub condition: Expr,
    /// The output's text with everything appended to it.
    pub output: String,
    pub format: Format,
    pub priority: Priority,
    pub source: String,
    pub tags: BTreeSet<String>,
    /// As the files say; the selection may change it.
    pub enabled: bool,
    pub capture: bool,
    /// Milliseconds, 0 for the configured default.
    pub capture_duration: u32,
    /// Extra fields for `output_fields`, from `append_output`.
    pub extra_fields: Vec<ExtraField>,
}

/// A field in `output_fields` that no text shows.
#[derive(Clone, Debug)]
pub struct ExtraField {
    pub name: String,
    pub format: Format,
    /// The native value rather than the formatted text.
    pub raw: bool,
}

/// The compiled outcome of all files, rules in definition order; a [`RuleIndex`] counts them.
#[derive(Clone, Debug, Default)]
pub struct LoadedRules {
    pub rules: Vec<Rule>,
    pub collected: Collected,
    pub(super) lists: Lists,
    pub(super) macros: Macros,
    pub(super) used_macros: HashSet<String>,
    patterns: Patterns,
    tables: Tables,
}

impl LoadedRules {
    pub fn rule(&self, index: RuleIndex) -> &Rule {
        &self.rules[index.0 as usize]
    }

    /// A macro's own condition, its macros by name.
    pub fn macro_condition(&self, name: &str) -> Option<&Expr> {
        self.macros.get(name).map(|m| &m.expr)
    }

    /// The program of one source over the rules `selected` names, in that order.
    pub fn program(
        &self,
        source: &str,
        scheme: &dyn Scheme,
        selected: impl IntoIterator<Item = RuleIndex>,
        matching: Matching,
    ) -> Result<Program, FilterError> {
        let selected: Vec<RuleIndex> = selected.into_iter().collect();
        on_large_stack(|| {
            let mut compiler =
                Compiler::with_patterns(self.patterns.clone(), scheme, matching).with_tables(self.tables);
            for index in selected {
                let rule = self.rule(index);
                if rule.source == source {
                    compiler.add(index, &rule.condition)?;
                }
            }
            Ok(compiler.finish())
        })
    }
}

/// Collects rules files and compiles them.
pub struct Loader<'e> {
    env: &'e Environment<'e>,
    loaded: LoadedRules,
    /// Warnings already told: every load compiles everything again.
    told: HashSet<String>,
}

/// More than this many event types, and a rule costs too much.
const MANY_EVENT_CODES: usize = 100;

impl<'e> Loader<'e> {
    pub fn new(env: &'e Environment<'e>) -> Self {
        Loader { env, loaded: LoadedRules::default(), told: HashSet::new() }
    }

    /// What all successful files so far amount to.
    pub fn loaded(&self) -> &LoadedRules {
        &self.loaded
    }

    pub fn finish(self) -> LoadedRules {
        self.loaded
    }

    /// Loads a file of the disk.
    pub fn load_file(&mut self, path: &std::path::Path) -> FileResult {
        let name = path.display().to_string();
        match std::fs::read(path).map_err(|e| e.to_string()).and_then(|bytes| {
            String::from_utf8(bytes).map_err(|e| format!("not UTF-8 at byte {}", e.utf8_error().valid_up_to()))
        }) {
            Ok(text) => self.load(&name, text),
            Err(why) => {
                let source = Arc::new(Source::new(&name, String::new()));
                let mut result = FileResult::new(&name);
                result.errors.push(error(ErrorCode::FileRead, &Context::file(&source), format!("{name}: {why}")));
                result
            }
        }
    }

    /// Loads the text of a file on top of those before.
    pub fn load(&mut self, name: &str, text: String) -> FileResult {
        let source = Arc::new(Source::new(name, text));
        let mut result = FileResult::new(name);
        let mut warnings = Vec::new();
        match on_large_stack(|| self.try_load(&source, &mut warnings, &mut result)) {
            Ok(loaded) => self.loaded = loaded,
            Err(error) => result.errors.push(error),
        }
        for warning in warnings {
            let at = warning.context.locations.iter().map(|l| (l.mark.offset, &l.item_name)).collect::<Vec<_>>();
            let key = format!("{:?} {} {} {at:?}", warning.code, warning.message, warning.context.file_name());
            if self.told.insert(key) {
                result.warnings.push(warning);
            }
        }
        result
    }

    fn try_load(
        &self,
        source: &Arc<Source>,
        warnings: &mut Vec<LoadWarning>,
        result: &mut FileResult,
    ) -> Result<LoadedRules, LoadError> {
        let file = Context::file(source);
        let documents = yaml::parse(&source.text).map_err(|e| {
            let context = file.at("rules content", "", e.mark);
            error(ErrorCode::YamlParse, &context, e.to_string())
        })?;
        result.schema_warnings = Some(super::schema::check(&documents));
        let mut collected = self.loaded.collected.clone();
        for document in &documents {
            match &document.value {
                yaml::Yaml::Null => {}
                yaml::Yaml::Sequence(items) => {
                    for node in items {
                        if let Some(item) = Item::read(node, &file, warnings)? {
                            collected.add(&item, self.env, warnings)?;
                        }
                    }
                }
                yaml::Yaml::Mapping(_) => {
                    return Err(error(ErrorCode::YamlValidate, &file, "Rules content is not yaml array of objects"));
                }
                yaml::Yaml::Scalar { .. } => {
                    return Err(error(ErrorCode::YamlValidate, &file, "Rules content is not yaml"));
                }
            }
        }
        self.compile(collected, warnings)
    }

    fn compile(&self, collected: Collected, warnings: &mut Vec<LoadWarning>) -> Result<LoadedRules, LoadError> {
        let mut lists = lists::resolve(&collected.lists);
        let mut used = HashSet::new();

        let mut parsed = Macros::with_capacity(collected.macros.len());
        for item in &collected.macros {
            let text = substitute(&item.condition, &mut lists, &item.context)?;
            let expr = parse(&text, &item.context)?;
            let (index, visibility) = (item.index, item.visibility);
            parsed.insert(item.name.clone(), ParsedMacro { index, visibility, expr });
        }
        for item in &collected.macros {
            let own = &parsed[&item.name];
            // A macro that names itself is a loop, not an undefined name.
            macros::resolve(&own.expr, &parsed, Some(item.visibility), &mut used).map_err(|problem| {
                let context = item.context.inside("condition expression", &item.condition, problem.pos());
                error(ErrorCode::Validate, &context, problem.message())
            })?;
        }

        let mut rules = Vec::with_capacity(collected.rules.len());
        // What rules have in common is checked once.
        let mut checked: HashMap<&str, Lower<'_>> = HashMap::new();
        for item in &collected.rules {
            if item.unknown_source {
                continue;
            }
            let Some(scheme) = self.env.scheme(&item.source) else { continue };
            let check = checked.entry(&item.source).or_insert_with(|| Lower {
                of_rule: true,
                patterns: self.loaded.patterns.clone(),
                ..Lower::new(scheme)
            });
            match self.rule(item, check, &mut lists, &parsed, &mut used, warnings) {
                Ok(rule) => rules.push(rule),
                Err(Failure::Skip(warning)) => warnings.push(*warning),
                Err(Failure::Error(error)) => return Err(*error),
            }
        }

        // It refers to what is collected.
        drop(checked);
        for item in collected.macros.iter().filter(|m| !used.contains(&m.name)) {
            warnings.push(LoadWarning {
                code: WarningCode::UnusedMacro,
                message: "Macro not referred to by any other rule/macro".into(),
                context: item.context.clone(),
            });
        }
        for (item, list) in collected.lists.iter().zip(lists.as_slice()) {
            if !list.used {
                warnings.push(LoadWarning {
                    code: WarningCode::UnusedList,
                    message: "List not referred to by any other rule/macro".into(),
                    context: item.context.clone(),
                });
            }
        }
        Ok(LoadedRules {
            rules,
            collected,
            lists,
            macros: parsed,
            used_macros: used,
            patterns: self.loaded.patterns.clone(),
            tables: self.env.tables,
        })
    }

    fn rule(
        &self,
        item: &RuleItem,
        check: &mut Lower<'_>,
        lists: &mut Lists,
        parsed: &Macros,
        used: &mut HashSet<String>,
        warnings: &mut Vec<LoadWarning>,
    ) -> Result<Rule, Failure> {
        let written = exceptions::apply(&item.condition, &item.exceptions);
        let text = substitute(&written, lists, &item.context)?;
        let inside = |pos: Pos| item.context.inside("condition expression", &text, pos);
        let expr = parse(&text, &item.context)?;
        let condition = macros::resolve(&expr, parsed, None, used)
            .map_err(|p| error(ErrorCode::Validate, &inside(p.pos()), p.message()))?;
        let scheme = check.scheme;
        if let Err(e) = check.condition(&condition) {
            return Err(failure(item, ErrorCode::CompileCondition, e, &inside));
        }

        let mut warn = |code, message: String, context| warnings.push(LoadWarning { code, message, context });
        let filter_warnings =
            warn::rule_warnings(&condition).into_iter().chain(warn::compile_warnings(&condition, scheme));
        for w in filter_warnings {
            let code = match w.kind {
                WarningKind::UnsafeNa => WarningCode::UnsafeNaCheck,
                WarningKind::DeprecatedField => WarningCode::DeprecatedItem,
                _ => WarningCode::CompileCondition,
            };
            warn(code, w.message, inside(w.pos));
        }
        if item.source == "syscall"
            && item.warn_evttypes
            && infer::event_codes(&condition, scheme).len() > MANY_EVENT_CODES
        {
            warn(
                WarningCode::NoEvttype,
                "Rule matches too many evt.type values. This has a significant performance penalty.".into(),
                inside(condition.pos()),
            );
        }

        let (output, extra_fields) = self.env.output.extend(item, scheme);
        let output = if output.contains("%container.info") {
            warn(
                WarningCode::DeprecatedItem,
                "usage of deprecated field 'container.info' has been detected in the rule output: it prints nothing"
                    .into(),
                item.context.clone(),
            );
            output.replace("%container.info", "")
        } else {
            output
        };
        let in_output = |pos: Pos| item.context.inside("output expression", &output, pos);
        let format = Format::parse(output.strip_prefix('*').unwrap_or(&output), scheme)
            .map_err(|e| failure(item, ErrorCode::CompileOutput, e, &in_output))?;
        for token in format.tokens() {
            let mut fields = Vec::new();
            token.source.fields(&mut |field| fields.push(scheme.def(field.id).name));
            for name in fields.into_iter().filter(|name| warn::DEPRECATED_FIELDS.contains(name)) {
                warn(WarningCode::DeprecatedItem, warn::deprecated_message(name, "output"), item.context.clone());
            }
        }
        let extra_fields = extra_fields
            .into_iter()
            .map(|extra| {
                let format = Format::parse(&extra.text, scheme)
                    .map_err(|e| failure(item, ErrorCode::CompileOutput, e, &in_output))?;
                Ok(ExtraField { name: extra.name, raw: extra.raw, format })
            })
            .collect::<Result<_, Failure>>()?;

        Ok(Rule {
            name: item.name.clone(),
            desc: item.desc.clone(),
            written: expr,
            condition,
            output,
            format,
            priority: item.priority,
            source: item.source.clone(),
            tags: item.tags.clone(),
            enabled: item.enabled,
            capture: item.capture,
            capture_duration: item.capture_duration,
            extra_fields,
        })
    }
}

enum Failure {
    Error(Box<LoadError>),
    /// The rule asks to be left out rather than to fail.
    Skip(Box<LoadWarning>),
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Failure::Error(Box::new(error))
    }
}

fn failure(item: &RuleItem, code: ErrorCode, e: FilterError, at: &dyn Fn(Pos) -> Context) -> Failure {
    if item.skip_if_unknown_filter && e.is_unknown_name() {
        return Failure::Skip(Box::new(LoadWarning {
            code: WarningCode::UnknownFilter,
            context: at(e.pos),
            message: e.message,
        }));
    }
    Failure::Error(Box::new(error(code, &at(e.pos), e.message)))
}

fn substitute(text: &str, lists: &mut Lists, context: &Context) -> Result<String, LoadError> {
    lists::substitute(text, lists)
        .ok_or_else(|| error(ErrorCode::Validate, context, "the condition grows too large when its lists are expanded"))
}

fn parse(text: &str, context: &Context) -> Result<Expr, LoadError> {
    match parser::parse_with(text, parser::RULES_MAX_DEPTH) {
        Ok((expr, _)) => Ok(expr),
        Err(e) => {
            let context = context.inside("condition expression", text, e.pos);
            Err(error(ErrorCode::CompileCondition, &context, e.message))
        }
    }
}
