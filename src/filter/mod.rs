//! The condition language: text to tree ([`parser`]), tree to typed predicates ([`lower`]), predicates to one program
//! per event type ([`program`]), and output formats ([`format`]).
//!
//! Not the rules files (see `rules`) and not the fields (see `event`): both come in through [`scheme::Scheme`].
//! Invariant: a condition that compiles cannot fail on any event.

pub mod ast;
pub mod column;
pub mod deep;
pub mod details;
#[cfg(test)]
mod equivalence;
pub mod error;
pub mod escape;
pub mod format;
mod formula;
pub mod glob;
pub mod host;
pub mod infer;
mod kept;
mod lexer;
pub mod literal;
pub mod lower;
mod met;
pub mod necessary;
pub mod parser;
pub mod pathprefix;
pub mod posix;
pub mod predicate;
mod print;
pub mod program;
#[cfg(test)]
pub(crate) mod reference;
mod remains;
mod residual;
pub mod scheme;
pub mod syscalls;
pub mod test;
pub mod transform;
mod trie;
pub mod warn;

pub use column::Tables;
pub use error::{FilterError, FilterWarning};
pub use format::Format;
pub use parser::parse;
pub use program::{Compiler, EvalContext, Matching, Outlook, Program, RuleIndex};
pub use scheme::{CodeSet, Scheme};
pub use syscalls::SyscallScheme;
