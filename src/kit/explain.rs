//! Why a rule did or did not match: its condition as a tree with macros by name, what each part compiled to, and, for an event,
//! the value each part saw and whether it held.
//!
//! Parts are asked through the compiler and evaluator that the sensor runs, one comparison at a time, in the order of the
//! condition. Invariant: the tree's verdict is the rule's.

use crate::event::fields;
use crate::event::text::{Buffers, to_json};
use crate::event::types::EVENTS;
use crate::event::value::Extract;
use crate::filter::ast::{Expr, Operand};
use crate::filter::column::Column;
use crate::filter::format::{Format, Source};
use crate::filter::lower::{Cond, Lower};
use crate::filter::predicate::{Check, PredicateId};
use crate::filter::scheme::{CodeSet, Scheme};
use crate::filter::test::TestKind;
use crate::filter::{Compiler, EvalContext, FilterError, Matching, Program, RuleIndex, SyscallScheme, Tables, infer};
use crate::rules::{LoadedRules, Rule};
use bumpalo::Bump;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write;

/// A rule taken apart.
pub struct Explanation<'l> {
    rule: &'l Rule,
    codes: CodeSet,
    root: Part,
}

enum Kind {
    And,
    Or,
    Not,
    Macro(String),
    Check(Box<Leaf>),
}

struct Part {
    /// As written.
    text: String,
    kind: Kind,
    children: Vec<Part>,
}

/// One comparison.
struct Leaf {
    /// How it is decided.
    means: String,
    /// What answers it together with those of other rules.
    table: String,
    /// From the task alone: once per task instead of per event.
    task_only: bool,
    /// Rules that have the same comparison, this one included.
    rules: usize,
    program: Program,
    /// Printed: the left side, and the right one when it is a field.
    sides: Vec<(String, Format)>,
}

/// What became of a part for an event.
pub struct Seen {
    /// None: decided without it.
    holds: Option<bool>,
    /// Values of the sides of a comparison.
    values: Vec<(String, Value)>,
    children: Vec<Seen>,
}

/// Takes a rule apart.
pub fn explain<'l>(loaded: &'l LoadedRules, name: &str) -> Result<Explanation<'l>, String> {
    let Some(rule) = loaded.rules.iter().find(|rule| rule.name == name) else {
        return Err(format!("no rule is called '{name}'{}", nearest(loaded, name)));
    };
    if rule.source != super::check::SOURCE {
        return Err(format!(
            "rule '{name}' is of source '{}'; only those of system calls can be explained",
            rule.source
        ));
    }
    let scheme = &SyscallScheme;
    let mut sharing = Sharing::of(loaded, scheme).map_err(|e| e.to_string())?;
    let root = part(&rule.written, loaded, &mut sharing).map_err(|e| e.to_string())?;
    let codes = infer::event_codes(&rule.condition, scheme).union(&scheme.always());
    Ok(Explanation { rule, codes, root })
}

/// A name to suggest.
fn nearest(loaded: &LoadedRules, name: &str) -> String {
    let wanted = name.to_lowercase();
    let found = loaded.rules.iter().find(|rule| rule.name.to_lowercase().contains(&wanted));
    found.map_or(String::new(), |rule| format!("; there is '{}'", rule.name))
}

/// The predicates of all rules in one table, and how many rules use each.
struct Sharing<'s> {
    lower: Lower<'s>,
    rules: HashMap<PredicateId, usize>,
    columns: Vec<Column>,
}

impl<'s> Sharing<'s> {
    fn of(loaded: &LoadedRules, scheme: &'s dyn Scheme) -> Result<Self, FilterError> {
        let mut sharing = Sharing { lower: Lower::new(scheme), rules: HashMap::new(), columns: Vec::new() };
        for rule in loaded.rules.iter().filter(|rule| rule.source == super::check::SOURCE) {
            let mut ids = HashSet::new();
            predicates(&sharing.lower.condition(&rule.condition)?, &mut ids);
            ids.into_iter().for_each(|id| *sharing.rules.entry(id).or_default() += 1);
        }
        sharing.columns = Column::all(&sharing.lower.table, Tables::default());
        Ok(sharing)
    }

    /// How the rules that run decide a comparison; by itself when none of them has it.
    fn representation(&self, id: PredicateId) -> String {
        let column = self.columns.iter().find(|column| column.predicates.contains(&id));
        column.map_or("by itself".to_owned(), |column| column.representation(id, &self.lower.table))
    }
}

fn predicates(cond: &Cond, ids: &mut HashSet<PredicateId>) {
    match cond {
        Cond::And(children) | Cond::Or(children) => children.iter().for_each(|child| predicates(child, ids)),
        Cond::Not(child) => predicates(child, ids),
        Cond::Is(id) => drop(ids.insert(*id)),
    }
}

fn part(expr: &Expr, loaded: &LoadedRules, sharing: &mut Sharing<'_>) -> Result<Part, FilterError> {
    let mut all =
        |children: &[Expr]| children.iter().map(|child| part(child, loaded, sharing)).collect::<Result<_, _>>();
    let (kind, children) = match expr {
        Expr::And { children, .. } => (Kind::And, all(children)?),
        Expr::Or { children, .. } => (Kind::Or, all(children)?),
        Expr::Not { child, .. } => (Kind::Not, all(std::slice::from_ref(child))?),
        Expr::Identifier { name, .. } => {
            // What loaded has no name that is not a macro's.
            let inner = loaded.macro_condition(name).map(std::slice::from_ref).unwrap_or_default();
            (Kind::Macro(name.to_string()), all(inner)?)
        }
        Expr::Exists { left, .. } => (leaf(expr, &[left], sharing)?, Vec::new()),
        Expr::Compare { left, right, .. } => {
            let sides: Vec<&Operand> = std::iter::once(left).chain(right.operand()).collect();
            (leaf(expr, &sides, sharing)?, Vec::new())
        }
    };
    Ok(Part { text: expr.to_string(), kind, children })
}

fn leaf(expr: &Expr, sides: &[&Operand], sharing: &mut Sharing<'_>) -> Result<Kind, FilterError> {
    let scheme = sharing.lower.scheme;
    let Cond::Is(id) = sharing.lower.condition(expr)? else { unreachable!("a comparison is one predicate") };
    let predicate = sharing.lower.table.predicate(id);
    let (means, task_only) = (means(&predicate.check), predicate.task_only);
    let table = sharing.representation(id);
    let mut compiler = Compiler::new(scheme, Matching::First);
    compiler.add(RuleIndex(0), expr)?;
    let sides = sides.iter().map(|side| {
        let text = side.to_string();
        Format::parse(&format!("%{text}"), scheme).map(|format| (text, format))
    });
    let leaf = Leaf {
        means,
        table,
        task_only,
        rules: sharing.rules.get(&id).copied().unwrap_or(0),
        program: compiler.finish(),
        // A side that cannot be printed is shown without its value.
        sides: sides.filter_map(Result::ok).collect(),
    };
    Ok(Kind::Check(Box::new(leaf)))
}

/// How a comparison is decided, in a few words.
fn means(check: &Check) -> String {
    let test = match check {
        Check::Exists => return "is there".into(),
        Check::Term(..) => return "field with field".into(),
        Check::ListIn(test) => return format!("every element: {}", kind(&test.kind)),
        Check::ListIntersects(test) => return format!("any element: {}", kind(&test.kind)),
        Check::Literal(test) => test,
    };
    format!("{}{}", if test.negate { "not " } else { "" }, kind(&test.kind))
}

fn kind(kind: &TestKind) -> String {
    match kind {
        TestKind::Const(value) => format!("always {value}"),
        TestKind::Equal(_) => "equal".into(),
        TestKind::Order(..) => "order".into(),
        TestKind::NumberSet(set) => format!("set of {}", set.len()),
        TestKind::BytesSet(_) => "hash set".into(),
        TestKind::AddrSet(set) => format!("set of {} addresses", set.len()),
        TestKind::Hosts(hosts) => format!("the addresses of {} hosts, looked up beside", hosts.len()),
        TestKind::Nets(nets) => format!("{} networks", nets.len()),
        TestKind::Contains(_) | TestKind::IContains(_) => "search".into(),
        TestKind::StartsWith(_) => "prefix".into(),
        TestKind::EndsWith(_) => "suffix".into(),
        TestKind::Glob(_) => "pattern".into(),
        TestKind::Regex(_) => "regular expression".into(),
        TestKind::PathPrefix(_) => "tree of paths".into(),
        TestKind::Many(modifier, tests) => format!("{modifier} {} comparisons", tests.len()),
        TestKind::Within(_) => "distance in time".into(),
    }
}

impl Part {
    /// Asks this part and all below it, as far as needed.
    fn ask<E: Extract>(&self, event: &E) -> Seen {
        let mut children = Vec::with_capacity(self.children.len());
        let holds = match &self.kind {
            Kind::Check(leaf) => return leaf.ask(event),
            // Both stop at the first part that decides.
            Kind::And | Kind::Or => {
                let decides = matches!(self.kind, Kind::Or);
                let mut holds = !decides;
                for child in &self.children {
                    if holds == decides {
                        children.push(child.unasked());
                        continue;
                    }
                    children.push(child.ask(event));
                    holds = children.last().and_then(|seen| seen.holds).unwrap_or(false);
                }
                holds
            }
            Kind::Not | Kind::Macro(_) => {
                children.extend(self.children.iter().map(|child| child.ask(event)));
                let holds = children.first().and_then(|seen| seen.holds).unwrap_or(false);
                holds != matches!(self.kind, Kind::Not)
            }
        };
        Seen { holds: Some(holds), values: Vec::new(), children }
    }

    fn unasked(&self) -> Seen {
        Seen { holds: None, values: Vec::new(), children: self.children.iter().map(Part::unasked).collect() }
    }
}

impl Leaf {
    fn ask<E: Extract>(&self, event: &E) -> Seen {
        let (arena, mut holds) = (Bump::new(), false);
        self.program.evaluate(event, &mut EvalContext::new(), &arena, |_| holds = true);
        let values = self.sides.iter().filter_map(|(text, format)| {
            let source = &format.tokens().next()?.source;
            let def = fields::def(match source {
                Source::Field(field) => field.id,
                _ => const { fields::id("proc.name") },
            });
            Some((text.clone(), to_json(source.evaluate(event, &arena).as_ref(), def, Buffers::Printable)))
        });
        Seen { holds: Some(holds), values: values.collect(), children: Vec::new() }
    }
}

/// Longest comparison shown in text; JSON has it whole.
const SHOWN: usize = 100;

fn cut(text: &str) -> String {
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    text.chars().take(SHOWN - 4).chain(" ...".chars()).collect()
}

impl Explanation<'_> {
    /// What became of the rule's condition for an event; None when the rule does not listen to events of this type.
    pub fn ask<E: Extract>(&self, event: &E) -> Option<Seen> {
        self.codes.contains(event.event_code()).then(|| self.root.ask(event))
    }

    /// Names of the types it listens to; None for all there are.
    fn event_types(&self) -> Option<BTreeSet<&'static str>> {
        let all = SyscallScheme.universe();
        (self.codes != all)
            .then(|| self.codes.iter().filter_map(|code| Some(EVENTS.get(usize::from(code))?.name)).collect())
    }

    pub fn text(&self, seen: Option<&Option<Seen>>) -> String {
        // Writing into a String cannot fail.
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{} ({}{})",
            self.rule.name,
            self.rule.priority.as_str(),
            if self.rule.enabled { "" } else { ", disabled" }
        );
        let types = self.event_types().map(|types| types.into_iter().collect::<Vec<_>>().join(", "));
        let _ = writeln!(out, "listens to: {}", types.as_deref().unwrap_or("every event"));
        let _ = writeln!(out, "condition:  {}\n", self.rule.condition);
        match seen {
            None => {
                out.push_str("how it is decided and with what others, from what, and how many rules share it:\n");
                plain(&self.root, 1, &mut out);
            }
            Some(None) => out.push_str("The rule does not listen to events of this type: it cannot match.\n"),
            Some(Some(seen)) => {
                out.push_str("+ holds, - does not hold, . was not needed\n");
                traced(&self.root, seen, 0, &mut out);
                let verdict = if seen.holds == Some(true) { "matches" } else { "does not match" };
                let _ = writeln!(out, "\nThe rule {verdict}.");
            }
        }
        out
    }

    pub fn json(&self, seen: Option<&Option<Seen>>) -> Value {
        let mut out = json!({
            "rule": self.rule.name,
            "enabled": self.rule.enabled,
            "priority": self.rule.priority.as_str(),
            "condition": self.rule.condition.to_string(),
            "event_types": self.event_types(),
            "tree": tree(&self.root, seen.and_then(Option::as_ref)),
        });
        if let Some(seen) = seen {
            out["listens"] = json!(seen.is_some());
            out["matches"] = json!(seen.as_ref().is_some_and(|seen| seen.holds == Some(true)));
        }
        out
    }
}

fn title(part: &Part) -> String {
    match &part.kind {
        Kind::And => "and".into(),
        Kind::Or => "or".into(),
        Kind::Not => "not".into(),
        Kind::Macro(name) => format!("macro {name}"),
        Kind::Check(_) => cut(&part.text),
    }
}

fn plain(part: &Part, depth: usize, out: &mut String) {
    let _ = write!(out, "{:1$}{2}", "", depth * 2, title(part));
    if let Kind::Check(leaf) = &part.kind {
        let from = if leaf.task_only { "task" } else { "event" };
        let _ = write!(out, "   [{}, {}; {from}; {}]", leaf.means, leaf.table, leaf.rules);
    }
    out.push('\n');
    part.children.iter().for_each(|child| plain(child, depth + 1, out));
}

fn traced(part: &Part, seen: &Seen, depth: usize, out: &mut String) {
    let mark = match seen.holds {
        Some(true) => '+',
        Some(false) => '-',
        None => '.',
    };
    // What was not needed is not opened up.
    let title = if seen.holds.is_some() { title(part) } else { cut(&part.text) };
    let _ = write!(out, "{mark} {:1$}{title}", "", depth * 2);
    for (side, value) in &seen.values {
        let value = if value.is_null() { "missing".to_owned() } else { cut(&value.to_string()) };
        let _ = write!(out, "   [{side}: {value}]");
    }
    out.push('\n');
    if seen.holds.is_some() {
        part.children.iter().zip(&seen.children).for_each(|(part, seen)| traced(part, seen, depth + 1, out));
    }
}

fn tree(part: &Part, seen: Option<&Seen>) -> Value {
    let mut out = match &part.kind {
        Kind::And => json!({"kind": "and"}),
        Kind::Or => json!({"kind": "or"}),
        Kind::Not => json!({"kind": "not"}),
        Kind::Macro(name) => json!({"kind": "macro", "name": name}),
        Kind::Check(leaf) => json!({
            "kind": "check",
            "text": part.text,
            "decided_by": leaf.means,
            "decided_in": leaf.table,
            "depends_on": if leaf.task_only { "task" } else { "event" },
            "rules": leaf.rules,
        }),
    };
    if let Some(seen) = seen {
        out["holds"] = json!(seen.holds);
        if !seen.values.is_empty() {
            out["values"] = seen.values.iter().cloned().collect::<serde_json::Map<_, _>>().into();
        }
    }
    if !part.children.is_empty() {
        let children = part.children.iter().enumerate();
        out["children"] =
            children.map(|(at, child)| tree(child, seen.and_then(|seen| seen.children.get(at)))).collect();
    }
    out
}
