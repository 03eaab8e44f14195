//! The tree of a condition, as written: positions, both spellings of `=`, nothing resolved.
//!
//! Not the typed form (see `lower`). Invariant: equality ignores positions, so that a tree printed and parsed
//! again is equal to itself.

use std::fmt;
use std::sync::Arc;

/// Where a node starts in the condition's text. `offset` counts bytes from 0, `line` and `column` from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pos {
    pub offset: u32,
    pub line: u32,
    pub column: u32,
}

impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Text of a literal: bytes, because `\xHH` can make any byte.
pub type Text = Box<[u8]>;

macro_rules! words {
    ($(#[$m:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$m])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($variant),+ }
        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),+];
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($text => Some($name::$variant),)+ _ => None }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.as_str()) }
        }
    };
}

words! {
    /// Every comparison that takes a right-hand side (`exists` is a node of its own).
    Op {
        EqEq = "==", Eq = "=", Ne = "!=",
        Le = "<=", Lt = "<", Ge = ">=", Gt = ">",
        Glob = "glob", IGlob = "iglob",
        Contains = "contains", IContains = "icontains", BContains = "bcontains",
        StartsWith = "startswith", BStartsWith = "bstartswith", EndsWith = "endswith",
        Regex = "regex",
        Intersects = "intersects", In = "in", PMatch = "pmatch",
    }
}

words! {
    /// How many of the listed values must match.
    Modifier { OneOf = "oneof", AnyOf = "anyof", AllOf = "allof" }
}

words! {
    /// Functions over fields. `val` marks the right side of a comparison as a field and is no transformer
    /// on the left.
    TransformerName {
        ToLower = "tolower", ToUpper = "toupper", B64 = "b64", Basename = "basename", Len = "len",
        Join = "join", Concat = "concat", GetOpt = "getopt",
    }
}

/// Which right-hand sides the grammar gives an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpClass {
    Numeric,
    String,
    List,
}

impl Op {
    pub const fn class(self) -> OpClass {
        match self {
            Op::Le | Op::Lt | Op::Ge | Op::Gt => OpClass::Numeric,
            Op::Intersects | Op::In | Op::PMatch => OpClass::List,
            _ => OpClass::String,
        }
    }

    /// `==` and `=` mean the same.
    pub const fn normal(self) -> Op {
        match self {
            Op::EqEq => Op::Eq,
            op => op,
        }
    }
}

/// A condition.
#[derive(Clone, Debug)]
pub enum Expr {
    And {
        pos: Pos,
        children: Vec<Expr>,
    },
    Or {
        pos: Pos,
        children: Vec<Expr>,
    },
    Not {
        pos: Pos,
        child: Box<Expr>,
    },
    /// A macro's name.
    Identifier {
        pos: Pos,
        name: Box<str>,
    },
    Exists {
        pos: Pos,
        left: Operand,
    },
    Compare {
        pos: Pos,
        left: Operand,
        op: Op,
        modifier: Option<Modifier>,
        right: Right,
    },
}

/// What yields a value: a field, a transformer over operands, or (inside a transformer) a literal.
#[derive(Clone, Debug)]
pub enum Operand {
    Field { pos: Pos, name: Box<str>, arg: Option<Text> },
    Transform { pos: Pos, name: TransformerName, args: Vec<Operand>, arg: Option<Text> },
    Literal { pos: Pos, text: Text },
    List { pos: Pos, items: Vec<Operand> },
}

/// Right-hand side of a comparison.
#[derive(Clone, Debug)]
pub enum Right {
    Value {
        pos: Pos,
        text: Text,
    },
    List {
        pos: Pos,
        /// Of a macro, as often as it is named.
        values: Arc<[Text]>,
    },
    /// `val(field)`.
    Field {
        pos: Pos,
        field: Operand,
    },
    /// A transformer.
    Operand(Operand),
}

impl Expr {
    pub fn pos(&self) -> Pos {
        match self {
            Expr::And { pos, .. }
            | Expr::Or { pos, .. }
            | Expr::Not { pos, .. }
            | Expr::Identifier { pos, .. }
            | Expr::Exists { pos, .. }
            | Expr::Compare { pos, .. } => *pos,
        }
    }

    /// Visits every node, parents first.
    pub fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        visit(self);
        match self {
            Expr::And { children, .. } | Expr::Or { children, .. } => {
                children.iter().for_each(|c| c.walk(visit));
            }
            Expr::Not { child, .. } => child.walk(visit),
            _ => {}
        }
    }

    /// Levels of nesting, this node included.
    pub fn depth(&self) -> usize {
        1 + match self {
            Expr::And { children, .. } | Expr::Or { children, .. } => {
                children.iter().map(Expr::depth).max().unwrap_or(0)
            }
            Expr::Not { child, .. } => child.depth(),
            _ => 0,
        }
    }
}

impl Operand {
    pub fn pos(&self) -> Pos {
        match self {
            Operand::Field { pos, .. }
            | Operand::Transform { pos, .. }
            | Operand::Literal { pos, .. }
            | Operand::List { pos, .. } => *pos,
        }
    }

    /// Visits this operand and all inside it.
    pub fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Operand)) {
        visit(self);
        match self {
            Operand::Transform { args, .. } => args.iter().for_each(|a| a.walk(visit)),
            Operand::List { items, .. } => items.iter().for_each(|a| a.walk(visit)),
            _ => {}
        }
    }
}

impl Right {
    pub fn pos(&self) -> Pos {
        match self {
            Right::Value { pos, .. } | Right::List { pos, .. } | Right::Field { pos, .. } => *pos,
            Right::Operand(operand) => operand.pos(),
        }
    }

    /// The literal values of this side, none when it is a field or transformer.
    pub fn literals(&self) -> &[Text] {
        match self {
            Right::Value { text, .. } => std::slice::from_ref(text),
            Right::List { values, .. } => values,
            _ => &[],
        }
    }

    /// The same to be kept.
    pub fn shared_literals(&self) -> Arc<[Text]> {
        match self {
            Right::List { values, .. } => values.clone(),
            other => other.literals().into(),
        }
    }

    /// The operand of `val(...)` or a transformer.
    pub fn operand(&self) -> Option<&Operand> {
        match self {
            Right::Field { field, .. } => Some(field),
            Right::Operand(operand) => Some(operand),
            _ => None,
        }
    }
}

impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Expr::And { children: a, .. }, Expr::And { children: b, .. }) => a == b,
            (Expr::Or { children: a, .. }, Expr::Or { children: b, .. }) => a == b,
            (Expr::Not { child: a, .. }, Expr::Not { child: b, .. }) => a == b,
            (Expr::Identifier { name: a, .. }, Expr::Identifier { name: b, .. }) => a == b,
            (Expr::Exists { left: a, .. }, Expr::Exists { left: b, .. }) => a == b,
            (
                Expr::Compare { left: l1, op: o1, modifier: m1, right: r1, .. },
                Expr::Compare { left: l2, op: o2, modifier: m2, right: r2, .. },
            ) => l1 == l2 && o1 == o2 && m1 == m2 && r1 == r2,
            _ => false,
        }
    }
}

impl PartialEq for Operand {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Operand::Field { name: n1, arg: a1, .. }, Operand::Field { name: n2, arg: a2, .. }) => {
                n1 == n2 && a1 == a2
            }
            (
                Operand::Transform { name: n1, args: v1, arg: a1, .. },
                Operand::Transform { name: n2, args: v2, arg: a2, .. },
            ) => n1 == n2 && v1 == v2 && a1 == a2,
            (Operand::Literal { text: a, .. }, Operand::Literal { text: b, .. }) => a == b,
            (Operand::List { items: a, .. }, Operand::List { items: b, .. }) => a == b,
            _ => false,
        }
    }
}

impl PartialEq for Right {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Right::Value { text: a, .. }, Right::Value { text: b, .. }) => a == b,
            (Right::List { values: a, .. }, Right::List { values: b, .. }) => a == b,
            (Right::Field { field: a, .. }, Right::Field { field: b, .. }) => a == b,
            (Right::Operand(a), Right::Operand(b)) => a == b,
            _ => false,
        }
    }
}
