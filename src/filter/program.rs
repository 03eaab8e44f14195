//! Rules as programs: one list of rules per event code, each a flat run of predicate tests with jumps.
//!
//! Not the typing (`lower`) and not the comparison (`test`). Invariants: evaluating never allocates on the heap once a
//! context and its arena have grown to their working size; a field is extracted, and a predicate decided, at most
//! once per event and only if some rule asks.

use super::ast::Expr;
use super::error::FilterError;
use super::infer;
use super::lower::{Cond, Lower};
use super::predicate::{Check, PredicateId, Table, TermId, TermKind};
use super::scheme::{CodeSet, MAX_CODES, Scheme};
use super::test::{number_bits, ordered};
use super::transform;
use crate::event::value::{Extract, FieldUse, Multi, Value};
use bumpalo::Bump;
use std::collections::HashMap;

/// Index of a rule, as the caller numbered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleIndex(pub u32);

/// What to do after a rule matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Matching {
    /// Stop.
    #[default]
    First,
    /// Try the others too.
    All,
}

/// Where a test continues: an instruction, or the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Target(u32);

impl Target {
    const MATCH: Target = Target(u32::MAX);
    const FAIL: Target = Target(u32::MAX - 1);
}

/// "Test this predicate, go there if it holds, there if not". Targets count from the start of the rule's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Instr {
    predicate: PredicateId,
    yes: Target,
    no: Target,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    rule: RuleIndex,
    /// First instruction; `Target::MATCH` when the rule always matches for this code.
    start: Target,
}

/// Compiled rules of one source.
pub struct Program {
    table: Table,
    code: Vec<Instr>,
    entries: Vec<Entry>,
    /// Range of `entries` per event code.
    by_code: Box<[(u32, u32); MAX_CODES]>,
    codes: CodeSet,
    syscalls: CodeSet,
    matching: Matching,
}

/// What evaluation keeps between events. One per thread.
#[derive(Default)]
pub struct EvalContext {
    generation: u32,
    /// Per predicate: generation << 1 | result, when decided in this generation.
    decided: Vec<u32>,
    /// Per term: generation and index among the event's values.
    extracted: Vec<(u32, u32)>,
}

impl EvalContext {
    pub fn new() -> Self {
        Self::default()
    }

    fn begin(&mut self, program: &Program) {
        self.generation += 1;
        if self.generation >= u32::MAX >> 1 {
            self.generation = 1;
            self.decided.clear();
            self.extracted.clear();
        }
        // Grows when the context first meets a program, then keeps its size.
        if self.decided.len() < program.table.predicates.len() {
            self.decided.resize(program.table.predicates.len(), 0);
        }
        if self.extracted.len() < program.table.terms.len() {
            self.extracted.resize(program.table.terms.len(), (0, 0));
        }
    }
}

/// Collects rules, then builds the program.
pub struct Compiler<'s> {
    lower: Lower<'s>,
    rules: Vec<(RuleIndex, Cond, CodeSet)>,
    syscalls: CodeSet,
    matching: Matching,
}

impl<'s> Compiler<'s> {
    pub fn new(scheme: &'s dyn Scheme, matching: Matching) -> Self {
        let lower = Lower { resolving: true, ..Lower::new(scheme) };
        Compiler { lower, rules: Vec::new(), syscalls: CodeSet::EMPTY, matching }
    }

    /// Adds a rule; rules are tried in the order they are added. Macros must be resolved.
    pub fn add(&mut self, rule: RuleIndex, condition: &Expr) -> Result<(), FilterError> {
        let cond = self.lower.condition(condition)?;
        let scheme = self.lower.scheme;
        let codes = infer::event_codes(condition, scheme).union(&scheme.always());
        self.syscalls = self.syscalls.union(&infer::syscall_codes(condition, scheme));
        self.rules.push((rule, cond, codes));
        Ok(())
    }

    pub fn finish(self) -> Program {
        let scheme = self.lower.scheme;
        let arena = Bump::new();
        let mut program = Program {
            table: self.lower.table,
            code: Vec::new(),
            entries: Vec::new(),
            by_code: Box::new([(0, 0); MAX_CODES]),
            codes: CodeSet::EMPTY,
            syscalls: self.syscalls,
            matching: self.matching,
        };
        let mut known: HashMap<Vec<Instr>, u32> = HashMap::new();
        for code in 0..MAX_CODES as u16 {
            let first = program.entries.len() as u32;
            let name = scheme.event_name(code);
            for (rule, cond, codes) in &self.rules {
                if !codes.contains(code) {
                    continue;
                }
                // For most codes evt.type has one value, so its comparisons are decided here.
                let constant = |id: PredicateId| match (name, program.table.predicate(id)) {
                    (Some(name), p) if p.event_type => match &p.check {
                        Check::Literal(test) => Some(test.scalar(&Value::Str(name.as_bytes()), &arena)),
                        _ => None,
                    },
                    _ => None,
                };
                let mut out = Vec::new();
                let start = emit(cond, Target::MATCH, Target::FAIL, &constant, &mut out);
                let start = match start {
                    Target::FAIL => continue,
                    Target::MATCH => Target::MATCH,
                    start => {
                        let (code, start) = straighten(&out, start);
                        let at = *known.entry(code).or_insert_with_key(|block| {
                            program.code.extend(block);
                            (program.code.len() - block.len()) as u32
                        });
                        Target(at + start)
                    }
                };
                program.entries.push(Entry { rule: *rule, start });
                program.codes.insert(code);
                if start == Target::MATCH && program.matching == Matching::First {
                    break;
                }
            }
            program.by_code[code as usize] = (first, program.entries.len() as u32);
        }
        program
    }
}

/// Emits code backwards, so that every target is known; gives where to enter.
fn emit(
    cond: &Cond,
    yes: Target,
    no: Target,
    constant: &dyn Fn(PredicateId) -> Option<bool>,
    out: &mut Vec<Instr>,
) -> Target {
    match cond {
        Cond::Not(child) => emit(child, no, yes, constant, out),
        Cond::And(children) => children.iter().rev().fold(yes, |next, c| emit(c, next, no, constant, out)),
        Cond::Or(children) => children.iter().rev().fold(no, |next, c| emit(c, yes, next, constant, out)),
        Cond::Is(id) => match constant(*id) {
            Some(true) => yes,
            Some(false) => no,
            None if yes == no => yes,
            None => {
                out.push(Instr { predicate: *id, yes, no });
                Target(out.len() as u32 - 1)
            }
        },
    }
}

/// Puts the code in the order it runs and drops what cannot be reached.
fn straighten(out: &[Instr], start: Target) -> (Vec<Instr>, u32) {
    let mut reached = vec![false; out.len()];
    let mut stack = vec![start];
    while let Some(at) = stack.pop() {
        if let Some(seen @ false) = reached.get_mut(at.0 as usize) {
            *seen = true;
            stack.extend([out[at.0 as usize].yes, out[at.0 as usize].no]);
        }
    }
    // Targets always point to instructions emitted earlier, so reversing makes every jump go forward.
    let mut place = vec![0u32; out.len()];
    for (next, i) in (0..out.len()).rev().filter(|&i| reached[i]).enumerate() {
        place[i] = next as u32;
    }
    let moved = |t: Target| place.get(t.0 as usize).map_or(t, |&p| Target(p));
    let code = (0..out.len())
        .rev()
        .filter(|&i| reached[i])
        .map(|i| Instr { predicate: out[i].predicate, yes: moved(out[i].yes), no: moved(out[i].no) })
        .collect();
    (code, moved(start).0)
}

impl Program {
    /// Events worth capturing: for any other code no rule can match.
    pub fn event_codes(&self) -> &CodeSet {
        &self.codes
    }

    /// System calls the rules name.
    pub fn syscall_codes(&self) -> &CodeSet {
        &self.syscalls
    }

    /// Does any rule listen to this event code?
    pub fn wants(&self, code: u16) -> bool {
        self.codes.contains(code)
    }

    /// Rules listening to an event code, in the order they are tried.
    pub fn rules_for(&self, code: u16) -> impl Iterator<Item = RuleIndex> + '_ {
        self.entries_for(code).iter().map(|e| e.rule)
    }

    /// Every field any rule reads.
    pub fn fields_used(&self) -> impl Iterator<Item = &FieldUse> {
        self.table.terms.iter().filter_map(|t| match &t.kind {
            TermKind::Field(field) => Some(field),
            _ => None,
        })
    }

    /// Predicates that depend on the task alone: they can be decided once per task.
    pub fn task_predicates(&self) -> impl Iterator<Item = PredicateId> + '_ {
        (0..self.table.predicates.len() as u32).map(PredicateId).filter(|id| self.table.predicate(*id).task_only)
    }

    pub fn predicate_count(&self) -> usize {
        self.table.predicates.len()
    }

    pub fn table(&self) -> &Table {
        &self.table
    }

    fn entries_for(&self, code: u16) -> &[Entry] {
        match self.by_code.get(code as usize) {
            Some(&(from, to)) => &self.entries[from as usize..to as usize],
            None => &[],
        }
    }

    /// Tries the rules of the event's code in order and hands every match to `matched`.
    ///
    /// `arena` may be reset once the event is done with; `ctx` belongs to the calling thread.
    pub fn evaluate<'e, E: Extract>(
        &self,
        event: &'e E,
        ctx: &mut EvalContext,
        arena: &'e Bump,
        mut matched: impl FnMut(RuleIndex),
    ) {
        let entries = self.entries_for(event.event_code());
        if entries.is_empty() {
            return;
        }
        ctx.begin(self);
        let mut run = Run { program: self, event, ctx, arena, values: bumpalo::collections::Vec::new_in(arena) };
        for entry in entries {
            if run.holds(entry.start) {
                matched(entry.rule);
                if self.matching == Matching::First {
                    return;
                }
            }
        }
    }
}

/// One event being evaluated.
struct Run<'r, 'e, E> {
    program: &'r Program,
    event: &'e E,
    ctx: &'r mut EvalContext,
    arena: &'e Bump,
    values: bumpalo::collections::Vec<'e, Option<Value<'e>>>,
}

impl<'e, E: Extract> Run<'_, 'e, E> {
    fn holds(&mut self, start: Target) -> bool {
        if start == Target::MATCH {
            return true;
        }
        let base = start.0;
        let mut at = base;
        // The targets of a block count from its first instruction.
        loop {
            let instr = self.program.code[at as usize];
            let next = if self.predicate(instr.predicate) { instr.yes } else { instr.no };
            match next {
                Target::MATCH => return true,
                Target::FAIL => return false,
                Target(to) => at = base + to,
            }
        }
    }

    fn predicate(&mut self, id: PredicateId) -> bool {
        let memo = self.ctx.decided[id.0 as usize];
        if memo >> 1 == self.ctx.generation {
            return memo & 1 == 1;
        }
        let result = self.decide(id);
        self.ctx.decided[id.0 as usize] = self.ctx.generation << 1 | u32::from(result);
        result
    }

    fn decide(&mut self, id: PredicateId) -> bool {
        let program = self.program;
        let predicate = program.table.predicate(id);
        let Some(left) = self.value(predicate.key.left) else { return false };
        let multi = program.table.term(predicate.key.left).multi;
        check(&predicate.check, multi, &left, self.arena, |id| self.value(id))
    }

    fn value(&mut self, id: TermId) -> Option<Value<'e>> {
        let (generation, at) = self.ctx.extracted[id.0 as usize];
        if generation == self.ctx.generation {
            return self.values[at as usize];
        }
        let value = self.extract(id);
        self.values.push(value);
        self.ctx.extracted[id.0 as usize] = (self.ctx.generation, self.values.len() as u32 - 1);
        value
    }

    fn extract(&mut self, id: TermId) -> Option<Value<'e>> {
        let program = self.program;
        match &program.table.term(id).kind {
            TermKind::Field(field) => self.event.extract(field, self.arena),
            TermKind::Literal(text) => Some(Value::Str(self.arena.alloc_slice_copy(text))),
            TermKind::List(items) => self.values_of(items).map(Value::List),
            TermKind::Apply { name, args, selector } => {
                let args = self.values_of(args)?;
                transform::apply(*name, args, selector.as_deref(), self.arena)
            }
        }
    }

    fn values_of(&mut self, ids: &[TermId]) -> Option<&'e [Value<'e>]> {
        let mut out = bumpalo::collections::Vec::with_capacity_in(ids.len(), self.arena);
        for id in ids {
            out.push(self.value(*id)?);
        }
        Some(out.into_bump_slice())
    }
}

/// Decides a check on a value that is there. `right` fetches the other side of a field-to-field comparison.
pub(super) fn check<'e>(
    check: &Check,
    multi: Multi,
    left: &Value<'e>,
    arena: &'e Bump,
    right: impl FnOnce(TermId) -> Option<Value<'e>>,
) -> bool {
    match (check, left) {
        (Check::Exists, Value::List([])) => multi != Multi::AnyAncestor,
        (Check::Exists, _) => true,
        (Check::Literal(test), Value::List(values)) => test.several(values, multi, arena),
        (Check::Literal(test), value) => test.scalar(value, arena),
        (Check::ListIn(test), Value::List(values)) => values.iter().all(|v| test.scalar(v, arena)),
        (Check::ListIntersects(test), Value::List(values)) => values.iter().any(|v| test.scalar(v, arena)),
        (Check::ListIn(test) | Check::ListIntersects(test), value) => test.scalar(value, arena),
        (Check::Term(op, id), left) => right(*id).is_some_and(|right| field_to_field(*op, left, &right)),
    }
}

fn field_to_field(op: super::ast::Op, left: &Value<'_>, right: &Value<'_>) -> bool {
    use super::ast::Op;
    let contains = |v: &Value<'_>| match right {
        Value::List(set) => set.contains(v),
        one => one == v,
    };
    if let Value::List(values) = left {
        return match op {
            Op::In => values.iter().all(contains),
            Op::Intersects => values.iter().any(contains),
            _ => false,
        };
    }
    match op {
        Op::In | Op::Intersects => return contains(left),
        Op::Eq | Op::EqEq => return left == right,
        Op::Ne => return left != right,
        _ => {}
    }
    match (left, right) {
        (Value::Str(a) | Value::Bytes(a), Value::Str(b) | Value::Bytes(b)) => match op {
            Op::Contains | Op::BContains => memchr::memmem::find(a, b).is_some(),
            Op::IContains => b.is_empty() || a.windows(b.len()).any(|window| window.eq_ignore_ascii_case(b)),
            Op::StartsWith | Op::BStartsWith => a.starts_with(b),
            Op::EndsWith => a.ends_with(b),
            // The one comparison that may allocate: the pattern is another field's value.
            Op::Glob => super::glob::Glob::new(b).is_match(a),
            Op::IGlob => super::glob::Glob::ignoring_case(b).is_match(a),
            op => ordered(op, a.cmp(b)),
        },
        (Value::I64(a), Value::I64(b)) => ordered(op, a.cmp(b)),
        (Value::F64(a), Value::F64(b)) => a.partial_cmp(b).is_some_and(|o| ordered(op, o)),
        (a, b) => match (number_bits(a), number_bits(b)) {
            (Some(a), Some(b)) => ordered(op, a.cmp(&b)),
            _ => false,
        },
    }
}
