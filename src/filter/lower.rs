//! From the tree to typed predicates: names become indices, literals become values, and every rule about which
//! operator takes which type is enforced here.
//!
//! Not evaluation. Invariant: what this accepts cannot fail when it runs.

use super::ast::{Expr, Modifier, Op, Operand, Pos, Right, Text};
use super::error::{ErrorKind, FilterError, type_name};
use super::glob::Glob;
use super::host::Host;
use super::literal::{self, Group, Literal, group};
use super::pathprefix::PathPrefixes;
use super::posix::Patterns;
use super::predicate::{Check, PredicateId, PredicateKey, RightKey, Table, Term, TermId, TermKind};
use super::scheme::{FieldProblem, Scheme, find_field};
use super::test::{BytesSet, Test, TestKind, literal_bits};
use super::transform::{TermType, result_type};
use crate::event::value::{Depends, FieldArg, FieldDef, Multi, Scope, Type};
use memchr::memmem::Finder;
use std::sync::Arc;

/// A condition over predicates.
#[derive(Clone, Debug, PartialEq)]
pub enum Cond {
    And(Vec<Cond>),
    Or(Vec<Cond>),
    Not(Box<Cond>),
    Is(PredicateId),
}

/// Fields whose values are names of event types.
pub(super) const EVENT_TYPE_FIELDS: [&str; 2] = ["evt.type", "syscall.type"];

/// Fields compared by the addresses the value resolves to.
const HOST_FIELDS: [&str; 4] = ["fd.cip.name", "fd.sip.name", "fd.lip.name", "fd.rip.name"];

/// Types a condition against a scheme into a table.
pub struct Lower<'s> {
    pub scheme: &'s dyn Scheme,
    pub table: Table,
    /// For an output: fields that cannot be filtered by are fine, and so are event types in transformers.
    pub printing: bool,
    pub patterns: Patterns,
    /// The condition is a rule's: which events it listens to has to be told from its text.
    pub of_rule: bool,
}

fn error<T>(kind: ErrorKind, pos: Pos, message: impl Into<String>) -> Result<T, FilterError> {
    Err(FilterError::new(kind, pos, message))
}

impl<'s> Lower<'s> {
    pub fn new(scheme: &'s dyn Scheme) -> Self {
        let (table, patterns) = (Table::default(), Patterns::default());
        Lower { scheme, table, printing: false, patterns, of_rule: false }
    }

    pub fn condition(&mut self, expr: &Expr) -> Result<Cond, FilterError> {
        match expr {
            Expr::And { children, .. } => Ok(Cond::And(self.conditions(children)?)),
            Expr::Or { children, .. } => Ok(Cond::Or(self.conditions(children)?)),
            Expr::Not { child, .. } => Ok(Cond::Not(Box::new(self.condition(child)?))),
            Expr::Identifier { pos, name } => {
                error(ErrorKind::UnresolvedIdentifier, *pos, format!("filter error: unexpected identifier '{name}'"))
            }
            Expr::Exists { left, .. } => {
                let left = self.term(left, false)?;
                let key = PredicateKey { left, op: None, modifier: None, right: RightKey::None };
                Ok(Cond::Is(self.table.intern_predicate(key, |_| Ok((Check::Exists, false)))?))
            }
            Expr::Compare { left, op, modifier, right, .. } => {
                self.comparison(left, op.normal(), *modifier, right).map(Cond::Is)
            }
        }
    }

    fn conditions(&mut self, children: &[Expr]) -> Result<Vec<Cond>, FilterError> {
        children.iter().map(|c| self.condition(c)).collect()
    }

    /// `inside`: as an argument of a transformer.
    pub fn term(&mut self, operand: &Operand, inside: bool) -> Result<TermId, FilterError> {
        let term = match operand {
            Operand::Field { pos, name, arg } => {
                let field = find_field(self.scheme, name, arg.as_deref()).map_err(|problem| match problem {
                    FieldProblem::Unknown => FilterError::new(
                        ErrorKind::UnknownField,
                        *pos,
                        format!("filter_check called with nonexistent field {}", shown_field(name, arg)),
                    ),
                    FieldProblem::Argument(text) => FilterError::new(ErrorKind::FieldArgument, *pos, text),
                })?;
                let def = self.scheme.def(field.id);
                if def.scope == Scope::OutputOnly && !self.printing {
                    return error(
                        ErrorKind::Operator,
                        *pos,
                        format!("field '{name}' can only be printed, not filtered by"),
                    );
                }
                if inside && def.flags.no_transformer {
                    return error(
                        ErrorKind::Transformer,
                        *pos,
                        format!("field '{name}' does not support transformers"),
                    );
                }
                if inside && self.of_rule && EVENT_TYPE_FIELDS.contains(&def.name) {
                    return error(
                        ErrorKind::EventTypeUse,
                        *pos,
                        format!("field '{name}' cannot be used inside a transformer: write its values out"),
                    );
                }
                let ty = match def.ty {
                    Type::Dyn => self.scheme.dynamic_type(&field).unwrap_or(Type::Dyn),
                    ty => ty,
                };
                Term {
                    ty: TermType { ty, list: def.list },
                    multi: def.multi,
                    task_only: def.depends == Depends::Task,
                    of_record: def.depends == Depends::Record,
                    part: def.part_of(&field.arg),
                    kind: TermKind::Field(field),
                }
            }
            Operand::Literal { pos, text } => {
                let scheme = self.scheme;
                literal::parse(Type::Charbuf, text, scheme)
                    .map_err(|m| FilterError::new(ErrorKind::Literal, *pos, m))?;
                constant(TermKind::Literal(text.clone()), TermType::scalar(Type::Charbuf))
            }
            Operand::List { items, .. } => {
                let items = items.iter().map(|i| self.term(i, true)).collect::<Result<Box<[_]>, _>>()?;
                let (task_only, of_record) = self.all_depend(&items);
                let ty = TermType { ty: Type::Charbuf, list: true };
                Term { task_only, of_record, ..constant(TermKind::List(items), ty) }
            }
            Operand::Transform { pos, name, args, arg } => {
                let args = args.iter().map(|a| self.term(a, true)).collect::<Result<Box<[_]>, _>>()?;
                let types: Vec<TermType> = args.iter().map(|id| self.table.term(*id).ty).collect();
                let ty = result_type(*name, &types, arg.is_some())
                    .map_err(|m| FilterError::new(ErrorKind::Transformer, *pos, m))?;
                let (task_only, of_record) = self.all_depend(&args);
                let kind = TermKind::Apply { name: *name, args, selector: arg.clone() };
                Term { task_only, of_record, ..constant(kind, ty) }
            }
        };
        Ok(self.table.intern_term(term))
    }

    /// Whether all depend on the task alone, and whether all on the record alone.
    fn all_depend(&self, ids: &[TermId]) -> (bool, bool) {
        let all = |of: fn(&Term) -> bool| ids.iter().all(|id| of(self.table.term(*id)));
        (all(|term| term.task_only), all(|term| term.of_record))
    }

    fn def_of(&self, id: TermId) -> Option<(&'s FieldDef, &FieldArg)> {
        match &self.table.term(id).kind {
            TermKind::Field(field) => Some((self.scheme.def(field.id), &field.arg)),
            _ => None,
        }
    }

    fn comparison(
        &mut self,
        left: &Operand,
        op: Op,
        modifier: Option<Modifier>,
        right: &Right,
    ) -> Result<PredicateId, FilterError> {
        let pos = left.pos();
        let left_id = match left {
            // An index of this one counts in outputs only: compared, it stands for every ancestor.
            Operand::Field { pos, name, arg: Some(arg) }
                if &**name == "proc.aenv" && arg.iter().all(u8::is_ascii_digit) =>
            {
                self.term(&Operand::Field { pos: *pos, name: name.clone(), arg: None }, false)?
            }
            left => self.term(left, false)?,
        };
        let def = self.def_of(left_id).map(|(def, arg)| (def, *arg == FieldArg::None));
        let event_type = def.is_some_and(|(def, bare)| bare && EVENT_TYPE_FIELDS.contains(&def.name));
        let ty = self.table.term(left_id).ty;

        if let Some(right_operand) = right.operand() {
            if event_type {
                return error(
                    ErrorKind::EventTypeUse,
                    pos,
                    format!("field '{left}' cannot be compared with a field: write its values out"),
                );
            }
            if let Operand::Field { name, .. } = right_operand
                && EVENT_TYPE_FIELDS.contains(&&**name)
            {
                return error(
                    ErrorKind::EventTypeUse,
                    right.pos(),
                    format!("field '{name}' cannot be the right side of a comparison"),
                );
            }
            check_operator(op, ty, pos)?;
            let right_id = self.field_to_field(left_id, op, right_operand)?;
            let key = PredicateKey { left: left_id, op: Some(op), modifier, right: RightKey::Term(right_id) };
            return self.table.intern_predicate(key, |_| Ok((Check::Term(op, right_id), false)));
        }

        check_operator(op, ty, pos)?;
        // A raw buffer has no form that a literal could be turned into.
        if def.is_some_and(|(def, _)| def.name == "evt.rawarg") && ty.ty == Type::Bytebuf {
            return error(
                ErrorKind::Operator,
                pos,
                format!("'{left}' is a buffer: compare evt.buffer, or evt.arg instead"),
            );
        }
        let values = right.shared_literals();
        if def.is_some_and(|(def, bare)| bare && def.name == "evt.type") {
            for value in values.iter() {
                let known = std::str::from_utf8(value).ok().and_then(|name| self.scheme.event_codes(name));
                if known.is_none() {
                    return error(
                        ErrorKind::UnknownEventType,
                        right.pos(),
                        format!("unknown event type {}", String::from_utf8_lossy(value)),
                    );
                }
            }
        }
        let name = def.map_or("", |(def, _)| def.name);
        let (scheme, patterns) = (self.scheme, &self.patterns);
        let key = PredicateKey { left: left_id, op: Some(op), modifier, right: RightKey::Values(values) };
        self.table.intern_predicate(key.clone(), |_| {
            let RightKey::Values(values) = &key.right else { unreachable!("built just above") };
            let build = Build { scheme, ty: ty.ty, name, pos: right.pos(), patterns };
            let check = if ty.list {
                let set = build.set(values)?.plain();
                match op {
                    Op::In => Check::ListIn(set),
                    _ => Check::ListIntersects(set),
                }
            } else {
                Check::Literal(build.test(op, modifier, values)?)
            };
            // Only for evt.type does the event's code decide alone; system-call names say more.
            Ok((check, name == "evt.type" && event_type))
        })
    }

    fn field_to_field(&mut self, left: TermId, op: Op, operand: &Operand) -> Result<TermId, FilterError> {
        let pos = operand.pos();
        let kind = ErrorKind::RightField;
        let right = self.term(operand, false)?;
        for (id, side) in [(left, "left"), (right, "right")] {
            if let Some((def, _)) = self.def_of(id)
                && def.flags.no_rhs
            {
                let name = def.name;
                return error(
                    kind,
                    pos,
                    format!("field '{name}' cannot be on the {side} side of a field-to-field comparison"),
                );
            }
        }
        if matches!(op, Op::PMatch | Op::Regex) {
            return error(kind, pos, format!("operator '{op}' does not support a field on its right side"));
        }
        let (a, b) = (self.table.term(left).ty, self.table.term(right).ty);
        if a != b {
            let show = |t: TermType| format!("{}{}", if t.list { "list of " } else { "" }, type_name(t.ty));
            return error(
                kind,
                pos,
                format!("cannot compare types {} and {}: both sides must be the same", show(a), show(b)),
            );
        }
        if group(a.ty) == Group::Net {
            return error(kind, pos, "networks cannot be compared with each other");
        }
        Ok(right)
    }
}

fn constant(kind: TermKind, ty: TermType) -> Term {
    Term { kind, ty, multi: Multi::One, task_only: true, of_record: true, part: None }
}

fn shown_field(name: &str, arg: &Option<Text>) -> String {
    match arg {
        Some(arg) => format!("{name}[{}]", String::from_utf8_lossy(arg)),
        None => name.to_owned(),
    }
}

/// May this operator be used on values of this type?
pub fn operator_fits(op: Op, ty: TermType) -> bool {
    use Op::*;
    let op = op.normal();
    if ty.list {
        return matches!(op, In | Intersects)
            && matches!(
                ty.ty,
                Type::Charbuf | Type::Uint64 | Type::RelTime | Type::AbsTime | Type::Bool | Type::IpAddr | Type::IpNet
            );
    }
    match group(ty.ty) {
        Group::Unsigned | Group::Signed | Group::Float => {
            matches!(op, Eq | Ne | Lt | Le | Gt | Ge | In | Intersects)
        }
        Group::Bool | Group::Addr | Group::Net => matches!(op, Eq | Ne | In | Intersects),
        Group::Text => !matches!(op, BContains | BStartsWith),
        Group::Bytes => {
            matches!(op, Eq | Ne | Contains | StartsWith | EndsWith | BContains | BStartsWith | In | Intersects)
        }
        Group::Opaque => false,
    }
}

fn check_operator(op: Op, ty: TermType, pos: Pos) -> Result<(), FilterError> {
    if operator_fits(op, ty) {
        return Ok(());
    }
    let list = if ty.list { "list of " } else { "" };
    error(ErrorKind::Operator, pos, format!("operator '{op}' is not compatible with type {list}{}", type_name(ty.ty)))
}

/// Builds the comparison with literals.
struct Build<'a> {
    scheme: &'a dyn Scheme,
    ty: Type,
    name: &'a str,
    pos: Pos,
    patterns: &'a Patterns,
}

impl Build<'_> {
    fn literal(&self, text: &[u8]) -> Result<Literal, FilterError> {
        literal::parse(self.ty, text, self.scheme).map_err(|m| FilterError::new(ErrorKind::Literal, self.pos, m))
    }

    fn test(&self, op: Op, modifier: Option<Modifier>, values: &[Text]) -> Result<Test, FilterError> {
        let plain = modifier.is_none();
        if self.name == "evt.around" && !(plain && op == Op::Eq) {
            return error(ErrorKind::Operator, self.pos, "field 'evt.around' supports only '='");
        }
        if HOST_FIELDS.contains(&self.name) {
            return match op {
                Op::Eq | Op::Ne | Op::In if plain => self.hosts(op, values),
                _ => error(
                    ErrorKind::Operator,
                    self.pos,
                    format!("field '{}' supports only '=', '!=' and 'in'", self.name),
                ),
            };
        }
        if let Some(modifier) = modifier {
            // The two that are plain set membership.
            return match (op, modifier) {
                _ if values.is_empty() => Ok(TestKind::Const(false).plain()),
                (Op::Eq, Modifier::AnyOf) => Ok(self.set(values)?.plain()),
                (Op::Ne, Modifier::AllOf) => Ok(Test { kind: self.set(values)?, negate: true }),
                _ => {
                    let tests = values.iter().map(|v| self.one(op, v)).collect::<Result<Box<[_]>, _>>()?;
                    Ok(TestKind::Many(modifier, tests).plain())
                }
            };
        }
        match op {
            Op::PMatch => {
                for value in values {
                    self.literal(value)?;
                }
                Ok(TestKind::PathPrefix(Box::new(PathPrefixes::new(values.iter().map(|v| &**v)))).plain())
            }
            Op::In | Op::Intersects => {
                // Falco compares fd.net with the first network of a list only; the others must be valid all the same.
                let set = self.set(values)?;
                match (self.name, set) {
                    ("fd.net", TestKind::Nets(nets)) => Ok(TestKind::Nets(nets.into_iter().take(1).collect()).plain()),
                    (_, set) => Ok(set.plain()),
                }
            }
            // The grammar gives every other operator exactly one value.
            _ => self.one(op, values.first().map_or(&[], |v| &**v)),
        }
    }

    fn one(&self, op: Op, text: &[u8]) -> Result<Test, FilterError> {
        if self.name == "evt.around" {
            let Literal::U64(ms) = self.literal(text)? else { unreachable!("declared as UINT64") };
            return Ok(TestKind::Within(ms).plain());
        }
        if matches!(op, Op::BContains | Op::BStartsWith) {
            let needle = literal::parse_hex(text).map_err(|m| FilterError::new(ErrorKind::Literal, self.pos, m))?;
            return Ok(match op {
                Op::BContains => TestKind::Contains(Box::new(Finder::new(&needle).into_owned())),
                _ => TestKind::StartsWith(needle),
            }
            .plain());
        }
        let literal = self.literal(text)?;
        let kind = match op {
            Op::Eq | Op::Ne => {
                let kind = match literal {
                    Literal::Net(net) => TestKind::Nets(Box::new([net])),
                    literal => TestKind::Equal(literal),
                };
                return Ok(Test { kind, negate: op == Op::Ne });
            }
            Op::Lt | Op::Le | Op::Gt | Op::Ge => TestKind::Order(op, literal),
            Op::Glob => TestKind::Glob(Glob::new(text)),
            Op::IGlob => TestKind::Glob(Glob::ignoring_case(text)),
            Op::Contains => TestKind::Contains(Box::new(Finder::new(text).into_owned())),
            Op::IContains => TestKind::IContains(text.to_ascii_lowercase().into()),
            Op::StartsWith => TestKind::StartsWith(text.into()),
            Op::EndsWith => TestKind::EndsWith(text.into()),
            Op::Regex => {
                let pattern = String::from_utf8_lossy(text);
                let regex = self.patterns.get(&pattern).map_err(|why| {
                    FilterError::new(
                        ErrorKind::Regex,
                        self.pos,
                        format!("filter error: invalid regular expression '{pattern}': {why}"),
                    )
                })?;
                TestKind::Regex(Box::new(regex))
            }
            Op::In | Op::Intersects | Op::PMatch | Op::EqEq | Op::BContains | Op::BStartsWith => {
                unreachable!("handled before, or normalised away")
            }
        };
        Ok(kind.plain())
    }

    /// Host names: the field's address is compared with what the names resolve to now.
    fn hosts(&self, op: Op, values: &[Text]) -> Result<Test, FilterError> {
        let mut hosts = Vec::new();
        for value in values {
            self.literal(value)?;
            // No host has another name.
            hosts.extend(std::str::from_utf8(value).ok().map(|name| Arc::new(Host::new(name))));
        }
        Ok(Test { kind: TestKind::Hosts(hosts.into()), negate: op == Op::Ne })
    }

    fn set(&self, values: &[Text]) -> Result<TestKind, FilterError> {
        let literals = values.iter().map(|v| self.literal(v)).collect::<Result<Vec<_>, _>>()?;
        let nets = || {
            literals.iter().filter_map(|l| match l {
                Literal::Net(net) => Some(*net),
                _ => None,
            })
        };
        Ok(match group(self.ty) {
            Group::Text | Group::Bytes => TestKind::BytesSet(Box::new(BytesSet::new(values.iter().cloned()))),
            Group::Addr => {
                let address = |l: &Literal| if let Literal::Addr(a) = l { Some(*a) } else { None };
                TestKind::AddrSet(Box::new(literals.iter().filter_map(address).collect()))
            }
            Group::Net => TestKind::Nets(nets().collect()),
            _ => {
                let mut set: Vec<u64> = literals.iter().filter_map(literal_bits).collect();
                set.sort_unstable();
                set.dedup();
                TestKind::NumberSet(set.into())
            }
        })
    }
}
