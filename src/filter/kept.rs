//! What is left of every plan for the tasks met so far.
//!
//! A task's state is a place and a stamp; as long as both are the same, so is everything that depends on the task alone. For a new
//! stamp the comparisons of the task are answered, column by column: a value met before is answered by one look. The
//! answers together say what is left of a plan; tasks with the same answers share it. Invariant: nothing here
//! changes what an event matches, so all of it may be forgotten at any time, and is when it grows beyond its bounds.

use super::formula::{FALSE, Formulas, NodeId, Sheet};
use super::predicate::PredicateId;
use super::program::{Program, Run};
use super::remains::{Answers, Remains};
use super::residual::{Residual, Site};
use crate::event::value::{Extract, Part, Value, Versioned};
use hashbrown::HashMap;

/// Places that are remembered; the tasks of others are asked at every event.
const PLACES: usize = 1 << 16;
/// Remains of plans, sets of answers, values per column, and nodes added to the program's own: then all is forgotten.
const RESIDUALS: usize = 1 << 12;
const SETS: usize = 1 << 15;
const VALUES: usize = 1 << 12;
const NODES: usize = 1 << 18;
const _: () = assert!(RESIDUALS + 2 <= u16::MAX as usize, "indices of what is left are kept in 16 bits");
/// States of tasks whose answers are at hand for another plan: a task's first events of each type come soon after one another.
const RECENT: usize = 32;
/// Parts of tasks whose answers are at hand, of each kind; a new one takes the place of an old one.
const PARTS: usize = 1024;
/// Kinds of task, by plan, for which it is at hand what is left.
const KIN: usize = 1 << 12;
/// Longer values are not remembered.
const VALUE_BYTES: usize = 1024;

/// Index of a set of predicates that hold.
pub type SetId = u32;

#[derive(Default)]
pub struct Kept {
    program: u64,
    /// Changes when all is forgotten: indices mean something else then.
    epoch: u32,
    facts: u32,
    /// By place.
    stamps: Vec<u64>,
    /// By place and plan: one more than the index of what is left; 0 when that is not known. There are as many as places times
    /// plans, so each is small.
    live: Vec<u16>,
    /// By plan, for events without a task.
    roots: Vec<u32>,
    residuals: Vec<Residual>,
    by_answers: HashMap<(u16, Box<[SetId]>), u32>,
    /// What is left, by plan and facts, parts of a task, and the answers of the plan's columns that follow from none of them.
    by_parts: HashMap<Box<[u64]>, u32>,
    sets: Vec<Box<[PredicateId]>>,
    set_ids: HashMap<Box<[PredicateId]>, SetId>,
    /// By column.
    values: Vec<HashMap<Box<[u8]>, SetId>>,
    by_part: [OfParts; Part::COUNT],
    /// By column: its place among those that follow from the same part.
    seats: Vec<usize>,
    /// By place, as far as there is room.
    recent: Vec<Answered>,
    formulas: Formulas,
    own_nodes: usize,
    /// By plan.
    remains: Vec<Remains>,
    /// What is left, by the conditions it was built from: many answers make no difference to them.
    by_conditions: HashMap<Conditions, u32>,
    scratch: Scratch,
}

/// Conditions that may hold, with their rules' places in the order in which rules are tried.
type Conditions = Box<[(u32, NodeId)]>;

/// The answers found for one part of tasks, whatever tasks they were of. Those for a part lie together: to look far apart for
/// each costs more than all else.
#[derive(Default)]
struct OfParts {
    /// Columns that follow from this part.
    columns: usize,
    /// By place: whose the answers are, a number that is 0 where they are nobody's, and the facts they follow from.
    whose: Box<[(u64, u32)]>,
    /// By place, and there by seat: one more than the set; 0 when it was not asked. Both are empty until they are needed.
    sets: Box<[SetId]>,
}

impl OfParts {
    /// The answers for a part; none are known where another had the place.
    fn of(&mut self, number: u64, facts: u32) -> &mut [SetId] {
        if self.whose.is_empty() {
            self.whose = vec![(0, 0); PARTS].into();
            self.sets = vec![0; PARTS * self.columns].into();
        }
        let place = number as usize % PARTS;
        let sets = &mut self.sets[place * self.columns..][..self.columns];
        if self.whose[place] != (number, facts) {
            self.whose[place] = (number, facts);
            sets.fill(0);
        }
        sets
    }
}

/// The answers found for a task's state, whatever plan asked.
#[derive(Clone, Default)]
struct Answered {
    place: u32,
    /// 0: of no task.
    stamp: u64,
    /// By column: one more than the set; 0 when it was not asked.
    sets: Box<[SetId]>,
}

#[derive(Default)]
struct Scratch {
    key: Vec<u8>,
    holding: Vec<PredicateId>,
    answers: Vec<SetId>,
    kin: Vec<u64>,
    conditions: Vec<(u32, NodeId)>,
    sheet: Sheet,
}

impl Kept {
    /// What is left is nothing.
    pub const DEAD: u32 = 0;

    /// What is left of a plan for the task's state, if that is known.
    #[inline]
    pub fn known(&self, program: &Program, plan: u16, task: Option<Versioned>) -> Option<u32> {
        if self.program != program.id() {
            return None;
        }
        let residual = match task {
            None => *self.roots.get(usize::from(plan))?,
            Some(task) => {
                if *self.stamps.get(task.place as usize)? != task.stamp || self.facts != task.facts {
                    return None;
                }
                self.live[task.place as usize * program.plans.len() + usize::from(plan)].into()
            }
        };
        residual.checked_sub(1)
    }

    /// How long an index of what is left means the same.
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    pub fn residual(&self, index: u32) -> &Residual {
        &self.residuals[index as usize]
    }

    /// Finds out what is left of a plan for an event's task, and remembers it.
    #[cold]
    pub fn find<E: Extract>(&mut self, run: &mut Run<'_, '_, E>, plan: u16, task: Option<Versioned>) -> u32 {
        let program = run.program;
        let full = self.residuals.len() >= RESIDUALS || self.sets.len() >= SETS || self.by_answers.len() >= SETS;
        if self.program != program.id() || full || self.formulas.len() > self.own_nodes + NODES {
            self.start_over(program);
        }
        let Some(task) = task.filter(|task| (task.place as usize) < PLACES) else {
            return match self.roots[usize::from(plan)] {
                0 => {
                    let index = self.build(program, plan, false);
                    self.roots[usize::from(plan)] = index + 1;
                    index
                }
                known => known - 1,
            };
        };
        if self.facts != task.facts {
            self.facts = task.facts;
            self.stamps.fill(0);
            self.recent.iter_mut().for_each(|answered| answered.stamp = 0);
        }
        let (place, plans) = (task.place as usize, program.plans.len());
        if self.stamps.len() <= place {
            self.stamps.resize(place + 1, 0);
            self.live.resize((place + 1) * plans, 0);
        }
        if self.stamps[place] != task.stamp {
            self.stamps[place] = task.stamp;
            self.live[place * plans..][..plans].fill(0);
        }
        let mut answered = std::mem::take(&mut self.recent[place % RECENT]);
        if (answered.place as usize, answered.stamp) != (place, task.stamp) {
            (answered.place, answered.stamp) = (task.place, task.stamp);
            answered.sets.fill(0);
        }
        let index = self.of_task(run, plan, &mut answered);
        self.recent[place % RECENT] = answered;
        self.live[place * plans + usize::from(plan)] = index as u16 + 1;
        index
    }

    /// What is left of a plan for a task: the same as for the one before that had the same parts, and the same answers of the columns
    /// that follow from none of them.
    fn of_task<E: Extract>(&mut self, run: &mut Run<'_, '_, E>, plan: u16, answered: &mut Answered) -> u32 {
        let program = run.program;
        let parts = Part::ALL.map(|part| run.part(part));
        if parts == [0; Part::COUNT] {
            return self.of_answers(run, plan, answered);
        }
        let mut key = std::mem::take(&mut self.scratch.kin);
        key.clear();
        key.push(u64::from(plan) | u64::from(self.facts) << 32);
        key.extend(parts);
        for column in &program.plans[usize::from(plan)].task_columns {
            if program.columns[*column as usize].part().is_none_or(|part| parts[part as usize] == 0) {
                key.push(self.asked(run, *column, answered).into());
            }
        }
        let index = match self.by_parts.get(&key[..]) {
            Some(index) => *index,
            None => {
                let index = self.of_answers(run, plan, answered);
                if self.by_parts.len() >= KIN {
                    self.by_parts.clear();
                }
                self.by_parts.insert(key[..].into(), index);
                index
            }
        };
        self.scratch.kin = key;
        index
    }

    /// The answer of a column for a task, which may be at hand.
    fn asked<E: Extract>(&mut self, run: &mut Run<'_, '_, E>, column: u32, answered: &mut Answered) -> SetId {
        let set = &mut answered.sets[column as usize];
        if *set == 0 {
            *set = self.of_part(run, column) + 1;
        }
        *set - 1
    }

    /// What is left of a plan for a task, by the answers of all columns.
    fn of_answers<E: Extract>(&mut self, run: &mut Run<'_, '_, E>, plan: u16, answered: &mut Answered) -> u32 {
        let program = run.program;
        let mut answers = std::mem::take(&mut self.scratch.answers);
        answers.clear();
        let columns = &program.plans[usize::from(plan)].task_columns;
        answers.extend(columns.iter().map(|column| self.asked(run, *column, answered)));
        let index = match self.by_answers.get(&Asked(plan, &answers)) {
            Some(index) => *index,
            None => {
                self.scratch.answers = answers;
                let index = self.build(program, plan, true);
                answers = std::mem::take(&mut self.scratch.answers);
                self.by_answers.insert((plan, answers[..].into()), index);
                index
            }
        };
        self.scratch.answers = answers;
        index
    }

    fn start_over(&mut self, program: &Program) {
        let mut by_part = <[OfParts; Part::COUNT]>::default();
        let mut seat_of = |part: Part| {
            let seat = by_part[part as usize].columns;
            by_part[part as usize].columns += 1;
            seat
        };
        let seats = program.columns.iter().map(|column| column.part().map_or(0, &mut seat_of)).collect();
        *self = Kept {
            program: program.id(),
            epoch: self.epoch + 1,
            roots: vec![0; program.plans.len()],
            residuals: vec![Residual::default()],
            sets: vec![Box::default()],
            set_ids: [(Box::default(), 0)].into_iter().collect(),
            values: program.columns.iter().map(|_| HashMap::new()).collect(),
            by_part,
            seats,
            recent: vec![Answered { sets: vec![0; program.columns.len()].into(), ..Answered::default() }; RECENT],
            formulas: program.formulas.clone(),
            own_nodes: program.formulas.len(),
            remains: program.plans.iter().map(|_| Remains::default()).collect(),
            ..Kept::default()
        };
    }

    /// As [`Kept::answer`]. Where all follows from a part of the task which other tasks have too, it is answered once for them.
    fn of_part<E: Extract>(&mut self, run: &mut Run<'_, '_, E>, at: u32) -> SetId {
        let part = run.program.columns[at as usize].part().map(|part| (part, run.part(part)));
        let Some((part, number)) = part.filter(|(_, number)| *number != 0) else { return self.answer(run, at) };
        let facts = if part.needs_facts() { self.facts } else { 0 };
        let (kind, seat) = (part as usize, self.seats[at as usize]);
        if let Some(set) = self.by_part[kind].of(number, facts)[seat].checked_sub(1) {
            return set;
        }
        let set = self.answer(run, at);
        self.by_part[kind].of(number, facts)[seat] = set + 1;
        set
    }

    /// Which predicates of a column hold for the task of an event, of those that depend on nothing else.
    fn answer<E: Extract>(&mut self, run: &mut Run<'_, '_, E>, at: u32) -> SetId {
        let program = run.program;
        let column = &program.columns[at as usize];
        let Some(value) = run.value(column.term) else { return 0 };
        self.scratch.key.clear();
        let remembered = column.is_function() && write_key(&value, &mut self.scratch.key);
        if remembered && let Some(set) = self.values[at as usize].get(&self.scratch.key[..]) {
            return *set;
        }
        let mut holding = std::mem::take(&mut self.scratch.holding);
        holding.clear();
        column.answer(&value, &program.table, run.arena, |id| run.value(id), &mut |id| holding.push(id));
        holding.retain(|id| program.table.predicate(*id).task_only);
        holding.sort_unstable();
        holding.dedup();
        let set = match self.set_ids.get(&holding[..]) {
            Some(set) => *set,
            None => {
                let set = self.sets.len() as SetId;
                self.sets.push(holding[..].into());
                self.set_ids.insert(holding[..].into(), set);
                set
            }
        };
        self.scratch.holding = holding;
        if remembered {
            let values = &mut self.values[at as usize];
            if values.len() >= VALUES {
                values.clear();
            }
            values.insert(self.scratch.key[..].into(), set);
        }
        set
    }

    /// Builds what is left of a plan, with the answers at hand or without any, unless it is there already.
    fn build(&mut self, program: &Program, at: u16, answered: bool) -> u32 {
        let plan = &program.plans[usize::from(at)];
        let Scratch { answers, conditions, sheet, .. } = &mut self.scratch;
        conditions.clear();
        let may_hold = |(_, node): &(u32, NodeId)| *node != FALSE;
        if answered {
            let given = Answers { program, plan, answers, sets: &self.sets };
            let became = self.remains[usize::from(at)].with(&given, &mut self.formulas, sheet);
            conditions.extend((0..).zip(became.iter().copied()).filter(may_hold));
        } else {
            conditions.extend((0..).zip(plan.entries.iter().map(|entry| entry.node)).filter(may_hold));
        }
        if let Some(index) = self.by_conditions.get(&conditions[..]) {
            return *index;
        }
        let mut site = Site {
            formulas: &mut self.formulas,
            table: &program.table,
            columns: &program.columns,
            column_of: &program.column_of,
            always_file: program.always_file,
        };
        let residual = Residual::build(conditions, &mut site);
        let index = if residual.is_dead() {
            Kept::DEAD
        } else {
            self.residuals.push(residual);
            self.residuals.len() as u32 - 1
        };
        self.by_conditions.insert(conditions[..].into(), index);
        index
    }
}

/// A plan and answers as they are looked up.
#[derive(Hash)]
struct Asked<'a>(u16, &'a [SetId]);

impl hashbrown::Equivalent<(u16, Box<[SetId]>)> for Asked<'_> {
    fn equivalent(&self, key: &(u16, Box<[SetId]>)) -> bool {
        self.0 == key.0 && *self.1 == *key.1
    }
}

/// Writes what tells a value from others of its column; false when it is too long to be remembered.
fn write_key(value: &Value<'_>, key: &mut Vec<u8>) -> bool {
    match value {
        Value::Str(text) | Value::Bytes(text) => {
            if text.len() + key.len() > VALUE_BYTES {
                return false;
            }
            key.push(0);
            key.extend_from_slice(&(text.len() as u32).to_ne_bytes());
            key.extend_from_slice(text);
        }
        Value::List(values) => {
            key.push(1);
            return values.iter().all(|value| write_key(value, key));
        }
        Value::U64(n) => tagged(2, &n.to_ne_bytes(), key),
        Value::I64(n) => tagged(3, &n.to_ne_bytes(), key),
        Value::F64(n) => tagged(4, &n.to_ne_bytes(), key),
        Value::Bool(b) => tagged(5, &[u8::from(*b)], key),
        Value::Ip(std::net::IpAddr::V4(ip)) => tagged(6, &ip.octets(), key),
        Value::Ip(std::net::IpAddr::V6(ip)) => tagged(7, &ip.octets(), key),
    }
    key.len() <= VALUE_BYTES
}

fn tagged(tag: u8, bytes: &[u8], key: &mut Vec<u8>) {
    key.push(tag);
    key.extend_from_slice(bytes);
}
