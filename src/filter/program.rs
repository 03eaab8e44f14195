//! Rules as programs: per event code a plan, per kind of task what is left of it.
//!
//! A plan is the rules that listen to a code, with what the code decides already decided. For an event the context finds what
//! is left of its plan for the state of the event's task ([`kept`](super::kept)), and runs that ([`residual`](super::residual)).
//! Not the typing (`lower`) and not the comparison (`test`). Invariants: evaluating never allocates on the heap once a
//! context and its arena have grown to their working size; a field is extracted, and a predicate decided, at most
//! once per event and only if some rule asks.

use super::ast::Expr;
use super::column::{Column, Tables};
use super::error::FilterError;
use super::formula::{FALSE, Formulas, NodeId, TRUE};
use super::host::Host;
use super::infer;
use super::kept::Kept;
use super::literal::Literal;
use super::lower::Lower;
use super::met::Met;
use super::posix::Patterns;
use super::predicate::{Check, Predicate, PredicateId, Table, TermId, TermKind};
use super::residual::{Instr, Residual, Same, Step, Target, emit, straighten};
use super::scheme::{CodeSet, MAX_CODES, Scheme};
use super::test::{Test, TestKind};
use super::transform;
use crate::event::clock;
use crate::event::value::{Extract, FieldUse, Part, Room, Said, Value, Versioned};
use bumpalo::Bump;
use hashbrown::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

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

/// What can be known of an event before anything is taken out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// No rule listens to its code.
    Unheard,
    /// No rule matches such events in a task like its.
    Dead,
    /// One that says the same was met in a task for which the same of the rules is left, and no rule matched it.
    Met,
    /// It has to be evaluated.
    Open,
}

/// A rule in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    pub rule: RuleIndex,
    /// Its condition, but for what the event's code decides.
    pub node: NodeId,
}

/// The rules of the event codes that have the same.
#[derive(Debug)]
pub(super) struct Plan {
    pub entries: Vec<Entry>,
    /// First instruction of each entry's whole condition in the program's code.
    starts: Vec<Target>,
    /// Columns with predicates of these rules that depend on the task alone.
    pub task_columns: Vec<u32>,
    /// Its conditions nest so deep that they are only run as they are.
    is_deep: bool,
}

/// Values of an event there is room for without growing.
const VALUES: usize = 24;

/// A condition that nests deeper is not specialised: that recurses, on threads with small stacks.
const DEEPEST: u16 = 64;

/// Compiled rules of one source.
pub struct Program {
    id: u64,
    pub(super) table: Table,
    pub(super) formulas: Formulas,
    pub(super) columns: Vec<Column>,
    /// By predicate.
    pub(super) column_of: Vec<u32>,
    pub(super) always_file: bool,
    code: Vec<Instr>,
    pub(super) plans: Vec<Plan>,
    /// Place in `plans` per event code; [`NO_PLAN`] where no rule listens.
    by_code: Box<[u16; MAX_CODES]>,
    codes: CodeSet,
    syscalls: CodeSet,
    /// The event codes each rule listens to, whether or not it can match them.
    listening: Vec<(RuleIndex, CodeSet)>,
    matching: Matching,
}

const NO_PLAN: u16 = u16::MAX;

/// Plans beyond the 63 classes share theirs.
const fn class(plan: u16) -> u8 {
    1 + (plan % 63) as u8
}

/// What evaluation keeps between events. One per thread.
#[derive(Default)]
pub struct EvalContext {
    memo: Memo,
    kept: Kept,
    met: Met,
    /// Since [`Program::outlook`] something was asked that an event does not say of itself.
    beyond: bool,
    /// The event of [`Program::outlook`] says what it is.
    says: bool,
    room: Room,
    /// Of the event: places of rules in the order they are tried.
    matches: Vec<u32>,
}

/// What is known of the event at hand.
#[derive(Default)]
struct Memo {
    generation: u32,
    /// Per predicate: generation << 1 | result, when decided in this generation.
    decided: Vec<u32>,
    /// Per term: generation and index among the event's values.
    extracted: Vec<(u32, u32)>,
    found: Vec<PredicateId>,
    /// Something was asked that the event does not say of itself.
    beyond: bool,
}

impl EvalContext {
    pub fn new() -> Self {
        Self::default()
    }
}

impl Memo {
    fn begin(&mut self, program: &Program) {
        self.beyond = false;
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
    formulas: Formulas,
    rules: Vec<(RuleIndex, NodeId, CodeSet)>,
    syscalls: CodeSet,
    matching: Matching,
    tables: Tables,
}

impl<'s> Compiler<'s> {
    pub fn new(scheme: &'s dyn Scheme, matching: Matching) -> Self {
        Compiler::with_patterns(Patterns::default(), scheme, matching)
    }

    /// With patterns that may have been compiled before.
    pub fn with_patterns(patterns: Patterns, scheme: &'s dyn Scheme, matching: Matching) -> Self {
        let lower = Lower { patterns, ..Lower::new(scheme) };
        let (formulas, rules) = (Formulas::default(), Vec::new());
        Compiler { lower, formulas, rules, syscalls: CodeSet::EMPTY, matching, tables: Tables::default() }
    }

    /// Forces how comparisons are decided; the answers are the same.
    #[must_use]
    pub fn with_tables(mut self, tables: Tables) -> Self {
        self.tables = tables;
        self
    }

    /// Adds a rule; rules are tried in the order they are added. Macros must be resolved.
    pub fn add(&mut self, rule: RuleIndex, condition: &Expr) -> Result<(), FilterError> {
        let cond = self.lower.condition(condition)?;
        let scheme = self.lower.scheme;
        let codes = infer::event_codes(condition, scheme).union(&scheme.always());
        self.syscalls = self.syscalls.union(&infer::syscall_codes(condition, scheme));
        let node = self.formulas.of(&cond, true);
        self.rules.push((rule, node, codes));
        Ok(())
    }

    pub fn finish(self) -> Program {
        static PROGRAMS: AtomicU64 = AtomicU64::new(1);
        let Compiler { lower, mut formulas, rules, syscalls, matching, tables } = self;
        let table = lower.table;
        let columns = Column::all(&table, tables);
        let mut column_of = vec![0; table.predicates.len()];
        for (column, at) in columns.iter().zip(0..) {
            column.predicates.iter().for_each(|id| column_of[id.0 as usize] = at);
        }
        let mut program = Program {
            id: PROGRAMS.fetch_add(1, Ordering::Relaxed),
            columns,
            column_of,
            always_file: tables == Tables::Always,
            code: Vec::new(),
            plans: Vec::new(),
            by_code: Box::new([NO_PLAN; MAX_CODES]),
            codes: CodeSet::EMPTY,
            syscalls,
            listening: rules.iter().map(|(rule, _, codes)| (*rule, *codes)).collect(),
            matching,
            formulas: Formulas::default(),
            table,
        };
        let arena = Bump::new();
        let always = |id: &PredicateId| always(&program.table, lower.scheme, *id, &arena);
        let typed: Vec<PredicateId> = (0..program.table.predicates.len() as u32)
            .map(PredicateId)
            .filter(|id| program.table.predicate(*id).event_type || always(id).is_some())
            .collect();
        let fixed: Vec<Option<bool>> = typed.iter().map(always).collect();
        let mut rewritten: HashMap<Vec<Option<bool>>, HashMap<NodeId, NodeId>> = HashMap::new();
        let mut starts: HashMap<NodeId, Target> = HashMap::new();
        let mut known: HashMap<Vec<Entry>, u16> = HashMap::new();
        for code in 0..MAX_CODES as u16 {
            let mut listening = rules.iter().filter(|(_, _, codes)| codes.contains(code)).peekable();
            if listening.peek().is_none() {
                continue;
            }
            // For most codes evt.type has one value, so its comparisons are decided here.
            let name = lower.scheme.event_name(code);
            let constant = |id: &PredicateId| match (name, &program.table.predicate(*id).check) {
                (Some(name), Check::Literal(test)) => Some(test.scalar(&Value::Str(name.as_bytes()), &arena)),
                _ => None,
            };
            let decided: Vec<Option<bool>> =
                typed.iter().zip(&fixed).map(|(id, fixed)| fixed.or_else(|| constant(id))).collect();
            let became = rewritten.entry(decided.clone()).or_default();
            let decide = |id| typed.binary_search(&id).ok().and_then(|at| decided[at]);
            let mut entries = Vec::new();
            for (rule, node, _) in listening {
                let node = formulas.rewrite(*node, &decide, became);
                if node == FALSE {
                    continue;
                }
                entries.push(Entry { rule: *rule, node });
                if node == TRUE && matching == Matching::First {
                    break;
                }
            }
            if entries.is_empty() {
                continue;
            }
            program.codes.insert(code);
            program.by_code[usize::from(code)] = *known.entry(entries).or_insert_with_key(|entries| {
                let plan = program.plan(entries.clone(), &formulas, &mut starts);
                program.plans.push(plan);
                program.plans.len() as u16 - 1
            });
        }
        program.formulas = formulas;
        program
    }
}

/// The answer of a comparison that has only one: with a field that is never missing and at least 1.
fn always(table: &Table, scheme: &dyn Scheme, id: PredicateId, arena: &Bump) -> Option<bool> {
    let predicate = table.predicate(id);
    let (TermKind::Field(field), Check::Literal(test)) = (&table.term(predicate.left).kind, &predicate.check) else {
        return None;
    };
    let ends = [1, u64::MAX].map(|n| test.scalar(&Value::U64(n), arena));
    // Between its ends an order has one turn at most, and equality one exception.
    let between = match &test.kind {
        TestKind::Order(..) => true,
        TestKind::Equal(literal) => *literal == Literal::U64(0),
        _ => false,
    };
    (scheme.def(field.id).flags.positive && between && ends[0] == ends[1]).then_some(ends[0])
}

impl Program {
    fn plan(&mut self, entries: Vec<Entry>, formulas: &Formulas, starts: &mut HashMap<NodeId, Target>) -> Plan {
        let starts = entries
            .iter()
            .map(|entry| {
                *starts.entry(entry.node).or_insert_with(|| {
                    let mut out = Vec::new();
                    match emit(entry.node, Target::MATCH, Target::FAIL, formulas, &mut out) {
                        end @ (Target::MATCH | Target::FAIL) => end,
                        start => {
                            let (block, start) = straighten(&out, start);
                            let at = self.code.len() as u32;
                            self.code.extend(block);
                            Target(at + start)
                        }
                    }
                })
            })
            .collect();
        let mut task_columns = Vec::new();
        formulas.predicates(entries.iter().map(|entry| entry.node), |id| {
            if self.table.predicate(id).task_only {
                task_columns.push(self.column_of[id.0 as usize]);
            }
        });
        task_columns.sort_unstable();
        task_columns.dedup();
        let is_deep = entries.iter().any(|entry| formulas.depth(entry.node) > DEEPEST);
        Plan { entries, starts, task_columns, is_deep }
    }

    /// The hosts that comparisons name, of which somebody has to tell the addresses.
    pub fn hosts(&self) -> Vec<Arc<Host>> {
        let named = |predicate: &Predicate| match &predicate.check {
            Check::Literal(Test { kind: TestKind::Hosts(hosts), .. }) => hosts.to_vec(),
            _ => Vec::new(),
        };
        self.table.predicates.iter().flat_map(named).collect()
    }

    /// Tells this program from others that a context may have met.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub fn matching(&self) -> Matching {
        self.matching
    }

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

    fn plan_of(&self, code: u16) -> Option<u16> {
        self.by_code.get(usize::from(code)).copied().filter(|plan| *plan != NO_PLAN)
    }

    /// Rules listening to an event code, in the order they are tried.
    pub fn rules_for(&self, code: u16) -> impl Iterator<Item = RuleIndex> + '_ {
        let plan = self.plan_of(code).map(|plan| &self.plans[usize::from(plan)]);
        plan.into_iter().flat_map(|plan| plan.entries.iter().map(|entry| entry.rule))
    }

    /// The conditions of the rules that listen to an event code, but for what the code decides. None where no rule listens;
    /// conditions that nest too deep count as holding.
    pub(super) fn conditions(&self, code: u16) -> Option<Vec<NodeId>> {
        let plan = &self.plans[usize::from(self.plan_of(code)?)];
        let whole = |entry: &Entry| if plan.is_deep { TRUE } else { entry.node };
        Some(plan.entries.iter().map(whole).collect())
    }

    /// Every rule with the event codes it listens to, whether or not it can match them.
    pub fn listening(&self) -> &[(RuleIndex, CodeSet)] {
        &self.listening
    }

    /// Every field any rule reads.
    pub fn fields_used(&self) -> impl Iterator<Item = &FieldUse> {
        self.table.terms.iter().filter_map(|t| match &t.kind {
            TermKind::Field(field) => Some(field),
            _ => None,
        })
    }

    pub fn predicate_count(&self) -> usize {
        self.table.predicates.len()
    }

    /// Tries the rules of the event's code and hands every match to `matched`, in the order of the rules.
    ///
    /// `arena` may be reset once the event is done with; `ctx` belongs to the calling thread.
    #[inline]
    pub fn evaluate<'e, E: Extract>(
        &self,
        event: &'e E,
        ctx: &mut EvalContext,
        arena: &'e Bump,
        matched: impl FnMut(RuleIndex),
    ) {
        let Some(plan) = self.plan_of(event.event_code()) else { return };
        let task = event.task();
        if ctx.kept.known(self, plan, task) != Some(Kept::DEAD) {
            self.evaluate_live(event, plan, ctx, arena, matched);
        }
    }

    /// Whether it is known that no rule matches events of this code in a task like the event's.
    #[inline]
    pub fn is_known_dead<E: Extract>(&self, event: &E, ctx: &EvalContext) -> bool {
        let plan = self.plan_of(event.event_code());
        plan.is_none_or(|plan| ctx.kept.known(self, plan, event.task()) == Some(Kept::DEAD))
    }

    /// What is known of an event of this code, in a task of this state, which says what `said` finds. To be asked before it is evaluated.
    #[inline]
    pub fn outlook<'a>(
        &self,
        code: u16,
        task: Option<Versioned>,
        said: impl FnOnce(&'a mut Room) -> Option<Said<'a>>,
        ctx: &'a mut EvalContext,
    ) -> Outlook {
        ctx.beyond = false;
        let EvalContext { kept, met, room, says, .. } = ctx;
        *says = true;
        let Some(plan) = self.plan_of(code) else { return Outlook::Unheard };
        let Some(residual) = kept.known(self, plan, task) else { return Outlook::Open };
        if residual == Kept::DEAD {
            return Outlook::Dead;
        }
        match said(room) {
            Some(said) if met.knows(kept.epoch(), residual, &said, task) => Outlook::Met,
            said => {
                *says = said.is_some();
                Outlook::Open
            }
        }
    }

    /// Whether an event that says the same was met: see [`Outlook::Met`].
    pub fn was_met<E: Extract>(&self, event: &E, ctx: &mut EvalContext) -> bool {
        self.outlook(event.event_code(), event.task(), |room| event.said(room), ctx) == Outlook::Met
    }

    /// Remembers an event that no rule matched, in whatever views it was evaluated, if all that was asked follows from what it says.
    pub fn meet<E: Extract>(&self, event: &E, ctx: &mut EvalContext) {
        if ctx.beyond || !ctx.says {
            return;
        }
        let EvalContext { kept, met, room, .. } = ctx;
        let known = self.plan_of(event.event_code()).and_then(|plan| kept.known(self, plan, event.task()));
        if let Some((residual, said)) = known.and_then(|residual| Some((residual, event.said(room)?))) {
            met.add(kept.epoch(), residual, &said);
        }
    }

    /// The interest class of an event code: codes with the same rules share one. Class 0 is of those that no rule listens to.
    pub fn class_of(&self, code: u16) -> u8 {
        self.plan_of(code).map_or(0, class)
    }

    /// The classes of which some rule may match an event in a task like the event's, as bits. Class 0 is always among them:
    /// whoever asked for such events did not do it for a rule.
    pub fn interest<'e, E: Extract>(&self, event: &'e E, ctx: &mut EvalContext, arena: &'e Bump) -> u64 {
        let EvalContext { memo, kept, .. } = ctx;
        let task = event.task();
        let mut run = Run::begin(self, event, memo, arena);
        let mut mask = 1;
        for (at, plan) in (0..).zip(&self.plans) {
            let live = plan.is_deep || {
                let known = kept.known(self, at, task);
                known.unwrap_or_else(|| kept.find(&mut run, at, task)) != Kept::DEAD
            };
            mask |= u64::from(live) << class(at);
        }
        mask
    }

    /// Whether any rule may match an event of this code in a task like the event's.
    pub fn is_live<'e, E: Extract>(&self, event: &'e E, ctx: &mut EvalContext, arena: &'e Bump) -> bool {
        let Some(plan) = self.plan_of(event.event_code()) else { return false };
        if self.plans[usize::from(plan)].is_deep {
            return true;
        }
        let EvalContext { memo, kept, .. } = ctx;
        let task = event.task();
        let known = kept.known(self, plan, task);
        known.unwrap_or_else(|| kept.find(&mut Run::begin(self, event, memo, arena), plan, task)) != Kept::DEAD
    }

    fn evaluate_live<'e, E: Extract>(
        &self,
        event: &'e E,
        plan: u16,
        ctx: &mut EvalContext,
        arena: &'e Bump,
        mut matched: impl FnMut(RuleIndex),
    ) {
        let entries = &self.plans[usize::from(plan)].entries;
        if self.plans[usize::from(plan)].is_deep {
            return self.evaluate_plainly(event, ctx, arena, matched);
        }
        let EvalContext { memo, kept, matches, beyond, .. } = ctx;
        let task = event.task();
        let mut run = Run::begin(self, event, memo, arena);
        let known = kept.known(self, plan, task);
        let residual = known.unwrap_or_else(|| kept.find(&mut run, plan, task));
        matches.clear();
        run.residual(kept.residual(residual), matches);
        *beyond |= run.memo.beyond;
        if matches.is_empty() {
            return;
        }
        matches.sort_unstable();
        matches.dedup();
        if self.matching == Matching::First {
            matches.truncate(1);
        }
        matches.iter().for_each(|order| matched(entries[*order as usize].rule));
    }

    /// What the condition of each rule that listens to the event's code takes by itself, as it is written and with nothing shared.
    /// `arena` is reset.
    pub fn time<E: Extract>(
        &self,
        event: &E,
        ctx: &mut EvalContext,
        arena: &mut Bump,
        mut told: impl FnMut(RuleIndex, Duration),
    ) {
        let Some(plan) = self.plan_of(event.event_code()) else { return };
        let plan = &self.plans[usize::from(plan)];
        let mut before = Instant::now();
        for (entry, start) in plan.entries.iter().zip(&plan.starts) {
            Run::begin(self, event, &mut ctx.memo, arena).holds(&self.code, *start);
            let now = Instant::now();
            told(entry.rule, (now - before).saturating_sub(*clock::COST));
            before = now;
            arena.reset();
        }
    }

    /// As [`Program::evaluate`], with every rule as it is written, one after the other: what the other is checked against.
    pub fn evaluate_plainly<'e, E: Extract>(
        &self,
        event: &'e E,
        ctx: &mut EvalContext,
        arena: &'e Bump,
        mut matched: impl FnMut(RuleIndex),
    ) {
        let Some(plan) = self.plan_of(event.event_code()) else { return };
        let plan = &self.plans[usize::from(plan)];
        let mut run = Run::begin(self, event, &mut ctx.memo, arena);
        for (entry, start) in plan.entries.iter().zip(&plan.starts) {
            if run.holds(&self.code, *start) {
                matched(entry.rule);
                if self.matching == Matching::First {
                    return;
                }
            }
        }
    }
}

/// One event being evaluated.
pub(super) struct Run<'r, 'e, E> {
    pub program: &'r Program,
    event: &'e E,
    memo: &'r mut Memo,
    pub arena: &'e Bump,
    values: bumpalo::collections::Vec<'e, Option<Value<'e>>>,
}

impl<'r, 'e, E: Extract> Run<'r, 'e, E> {
    fn begin(program: &'r Program, event: &'e E, memo: &'r mut Memo, arena: &'e Bump) -> Self {
        memo.begin(program);
        Run { program, event, memo, arena, values: bumpalo::collections::Vec::with_capacity_in(VALUES, arena) }
    }

    fn residual(&mut self, residual: &Residual, matches: &mut Vec<u32>) {
        let mut at = 0;
        while let Some(step) = residual.steps.get(at) {
            at += 1;
            match step {
                Step::Guard { start, otherwise } => {
                    if !self.holds(&residual.code, *start) {
                        at = *otherwise as usize;
                    }
                }
                Step::Rules(same) => self.same(same, residual, matches),
                Step::Ask { predicate, holds, filed } => {
                    if self.predicate(*predicate) == *holds {
                        for same in &residual.filed[filed.start as usize..filed.end as usize] {
                            self.same(same, residual, matches);
                        }
                    }
                }
                Step::Look { column, asked, files } => {
                    let column = &self.program.columns[*column as usize];
                    self.memo.beyond |= !self.program.table.term(column.term).of_record;
                    let Some(value) = self.value(column.term) else { continue };
                    let mut found = std::mem::take(&mut self.memo.found);
                    found.clear();
                    column.holding(&value, *asked, &self.program.table, self.arena, &mut |id| found.push(id));
                    let files = &residual.files[files.start as usize..files.end as usize];
                    for id in &found {
                        self.memo.decided[id.0 as usize] = self.memo.generation << 1 | 1;
                        if let Ok(file) = files.binary_search_by_key(id, |(id, _)| *id) {
                            let filed = &files[file].1;
                            for same in &residual.filed[filed.start as usize..filed.end as usize] {
                                self.same(same, residual, matches);
                            }
                        }
                    }
                    self.memo.found = found;
                }
            }
        }
    }

    fn same(&mut self, same: &Same, residual: &Residual, matches: &mut Vec<u32>) {
        let orders = &residual.orders[same.orders.start as usize..same.orders.end as usize];
        let first = self.program.matching == Matching::First;
        // A later rule does not count once an earlier one has matched.
        if first && matches.last().zip(orders.first()).is_some_and(|(best, order)| best <= order) {
            return;
        }
        if self.holds(&residual.code, same.start) {
            if first {
                matches.clear();
                matches.extend(orders.first());
            } else {
                matches.extend(orders);
            }
        }
    }

    fn holds(&mut self, code: &[Instr], start: Target) -> bool {
        if start == Target::MATCH {
            return true;
        }
        let base = start.0;
        let mut at = base;
        // The targets of a block count from its first instruction.
        loop {
            let instr = code[at as usize];
            let next = if self.predicate(instr.predicate) { instr.yes } else { instr.no };
            match next {
                Target::MATCH => return true,
                Target::FAIL => return false,
                Target(to) => at = base + to,
            }
        }
    }

    fn predicate(&mut self, id: PredicateId) -> bool {
        let known = self.memo.decided[id.0 as usize];
        if known >> 1 == self.memo.generation {
            return known & 1 == 1;
        }
        let result = self.decide(id);
        self.memo.decided[id.0 as usize] = self.memo.generation << 1 | u32::from(result);
        result
    }

    fn decide(&mut self, id: PredicateId) -> bool {
        let program = self.program;
        let predicate = program.table.predicate(id);
        self.memo.beyond |= !predicate.of_record;
        let Some(left) = self.value(predicate.left) else { return false };
        predicate.check.holds(predicate.multi, &left, self.arena, |id| self.value(id))
    }

    pub fn part(&self, part: Part) -> u64 {
        self.event.part(part)
    }

    pub fn value(&mut self, id: TermId) -> Option<Value<'e>> {
        let (generation, at) = self.memo.extracted[id.0 as usize];
        if generation == self.memo.generation {
            return self.values[at as usize];
        }
        let value = self.extract(id);
        self.values.push(value);
        self.memo.extracted[id.0 as usize] = (self.memo.generation, self.values.len() as u32 - 1);
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
