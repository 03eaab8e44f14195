//! What a field is and what it yields: types, values, and the one trait the evaluator reads events through.
//!
//! Invariant: a value borrows from the event or from the arena that lives as long as one event; extracting
//! allocates nothing on the heap once the arena has grown to its working size.

use super::sources::Sources;
use bumpalo::Bump;
use std::net::IpAddr;

/// Type of a field or an event parameter: the catalogue of types of the condition language
/// (names as in the field reference, without the `PT_` prefix).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Charbuf,
    Bytebuf,
    Errno,
    SockAddr,
    SockTuple,
    Fd,
    Pid,
    FdList,
    FsPath,
    FsRelPath,
    SyscallId,
    SigType,
    RelTime,
    AbsTime,
    Port,
    L4Proto,
    SockFamily,
    Bool,
    Ipv4Addr,
    Ipv6Addr,
    IpAddr,
    Ipv4Net,
    Ipv6Net,
    IpNet,
    Dyn,
    Flags8,
    Flags16,
    Flags32,
    EnumFlags8,
    EnumFlags16,
    EnumFlags32,
    Mode,
    Uid,
    Gid,
    Double,
    SigSet,
}

/// One extracted value. Text is bytes: nothing promises UTF-8.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Every unsigned integer type, flags, ports, pids read as unsigned.
    U64(u64),
    /// Every signed integer type, errno, fd, pid.
    I64(i64),
    F64(f64),
    Bool(bool),
    /// CHARBUF, FSPATH, FSRELPATH: bytes without a terminating NUL.
    Str(&'a [u8]),
    /// BYTEBUF.
    Bytes(&'a [u8]),
    Ip(IpAddr),
    /// Elements of a list-valued field, or the several values of a multi-valued scalar
    /// (see [`FieldDef::multi`]).
    List(&'a [Value<'a>]),
}

/// Index into the field catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldId(pub u16);

/// What a field accepts in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgKind {
    /// No argument.
    None,
    /// `proc.aname[2]`
    OptionalIndex,
    RequiredIndex,
    /// `proc.env[HOME]`
    OptionalKey,
    RequiredKey,
    /// Either a number or a name: `evt.arg[0]`, `evt.rawarg.flags`.
    OptionalEither,
    RequiredEither,
}

/// The argument of one use of a field.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub enum FieldArg {
    #[default]
    None,
    Index(u32),
    Key(Box<str>),
}

/// One row of the field catalogue.
#[derive(Debug)]
pub struct FieldDef {
    pub name: &'static str,
    pub ty: Type,
    pub arg: ArgKind,
    /// A list-valued field: only `in`, `intersects`, `exists` compare it.
    pub list: bool,
    /// Without an index an ancestor field stands for every ancestor (a comparison holds if it holds for
    /// one), and `fd.ip`-like fields for both ends. `extract` then yields [`Value::List`].
    pub multi: Multi,
    /// Usable in a condition only / an output only / both.
    pub scope: Scope,
    pub flags: FieldFlags,
    /// Which part of an event the value depends on: what can be decided once per task.
    pub depends: Depends,
    /// The part of a task's state that the value follows from, where one is told from others ([`Extract::part`]).
    pub part: Option<Part>,
    /// Where live events and captures differ.
    pub sources: Sources,
    /// Class shown by `--list` (evt, process, user, group, fd, ...).
    pub class: &'static str,
    pub desc: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Multi {
    One,
    AnyAncestor,
    EitherEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Both,
    FilterOnly,
    OutputOnly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depends {
    Task,
    /// What the event says of itself ([`Said`]), and nothing else.
    Record,
    Event,
}

/// A part of a task's state that many tasks have in common, and from which fields follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Name, executable and arguments of the process itself.
    Own,
    /// The same of its parent.
    Parent,
    /// The same of all its ancestors.
    Lineage,
    /// Who it runs as.
    User,
    /// Its control groups.
    Cgroups,
}

impl Part {
    pub const COUNT: usize = Part::ALL.len();
    pub const ALL: [Part; 5] = [Part::Own, Part::Parent, Part::Lineage, Part::User, Part::Cgroups];

    /// Whether what follows from it follows from [`Versioned::facts`] as well.
    pub const fn needs_facts(self) -> bool {
        matches!(self, Part::User | Part::Cgroups)
    }
}

/// Numbers of a task's parts: tasks with the same number have the same part. 0 where none was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    pub own: u64,
    pub parent: u64,
    pub lineage: u64,
    pub user: u64,
    pub cgroups: u64,
}

impl Parts {
    pub const fn number(&self, part: Part) -> u64 {
        match part {
            Part::Own => self.own,
            Part::Parent => self.parent,
            Part::Lineage => self.lineage,
            Part::User => self.user,
            Part::Cgroups => self.cgroups,
        }
    }
}

/// Properties of a field that the compiler and the formatter look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FieldFlags {
    pub deprecated: bool,
    /// Printed in hexadecimal / octal.
    pub hex: bool,
    pub octal: bool,
    /// No transformer may be applied.
    pub no_transformer: bool,
    /// Not allowed on either side of a field-to-field comparison.
    pub no_rhs: bool,
    /// The argument is written after a dot, as part of the name: `evt.arg.flags`, `thread.cgroup.cpu`
    /// (brackets remain possible where the kind of argument is an index).
    pub dotted: bool,
    /// A count of nanoseconds within a second: printed with nine digits.
    pub padded: bool,
    /// Left out of the field list.
    pub hidden: bool,
    /// Never missing, and at least 1: some comparisons have one answer.
    pub positive: bool,
    /// Added to the output of every rule whose source has it, when suggested output is on.
    pub suggested: bool,
}

impl FieldDef {
    /// The part of a task's state that the value of a use of this field follows from. Of an ancestor it is the process itself or
    /// its parent where the index says so.
    pub const fn part_of(&self, arg: &FieldArg) -> Option<Part> {
        match (self.part, arg) {
            // That of a task of which nothing is known is missing.
            (Some(Part::Lineage), FieldArg::Index(0)) => None,
            (Some(Part::Lineage), FieldArg::Index(1)) => Some(Part::Parent),
            (part, _) => part,
        }
    }
}

/// A field with its argument, as written in a condition or an output.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldUse {
    pub id: FieldId,
    pub arg: FieldArg,
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Decimal,
    Hex,
    /// The same, of a signed number of 32 bits.
    Hex32,
    Octal,
}

/// A state of the task an event happened in: as long as all three are the same, every field that depends on the task alone has
/// the value it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// Where the task is kept.
    pub place: u32,
    /// What is kept there now; never 0, and never twice the same for two states of a place.
    pub stamp: u64,
    /// Changes with what else such fields come from: the names of users.
    pub facts: u32,
}

/// Words at the beginning of what an event says of itself, of which not every bit counts.
pub const HEAD: usize = 9;

/// All that fields of [`Depends::Record`] follow from, where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    pub head: &'a [u64; HEAD],
    /// The bits of `head` that count. Which they are follows from them.
    pub mask: &'a [u64; HEAD],
    pub rest: &'a [u64],
    /// The state of the task, where all this means something else in another.
    pub task: Option<Versioned>,
}

/// Words behind the head of what is kept of events; of those that say more nothing is.
pub const REST: usize = 32;

/// Room for what an event says that lies nowhere as words.
#[derive(Debug, Default)]
pub struct Room {
    pub head: [u64; HEAD],
    pub rest: [u64; REST],
}

impl Said<'_> {
    /// The words of `head`, of each the bits that count.
    #[inline]
    pub fn counting(&self) -> [u64; HEAD] {
        std::array::from_fn(|at| self.head[at] & self.mask[at])
    }
}

impl PartialEq for Said<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.counting() == other.counting() && self.rest == other.rest && self.task == other.task
    }
}

impl Eq for Said<'_> {}

/// The event as the evaluator sees it. Implemented by the live and the replayed event view, and by the
/// synthetic events of tests. Monomorphised: there is no dyn call on the path of an event.
pub trait Extract {
    /// The value of `field`, or None when the event has none ("missing": every comparison is false).
    fn extract<'a>(&'a self, field: &FieldUse, arena: &'a Bump) -> Option<Value<'a>>;
    /// Code of the event's type; selects the program to run.
    fn event_code(&self) -> u16;
    /// The state of its task; None when it has none, or none that is told from others.
    fn task(&self) -> Option<Versioned> {
        None
    }
    /// The number of a part of its task ([`Parts`]); 0 when it has none.
    fn part(&self, _part: Part) -> u64 {
        0
    }
    /// What it says of itself, perhaps put together in `room`; None when that is not known.
    fn said<'a>(&'a self, _room: &'a mut Room) -> Option<Said<'a>> {
        None
    }
    /// How a number of `field` is written in texts, where the catalogue does not say it.
    fn number_format(&self, _field: &FieldUse) -> Format {
        Format::Decimal
    }
}
