//! The scheme of the `syscall` source: the field catalogue and the event table, as the compiler asks for them.
//!
//! Sources of plugins have schemes of their own. Invariant: inference and the warning about too many event types are
//! defined over every code there ever was; what is captured is decided elsewhere.

use super::scheme::{CodeSet, Scheme};
use crate::event::fields;
use crate::event::params;
use crate::event::types::{self, ASYNC_EVENT, Age, EVENTS, EventCode, PLUGIN_EVENT, SYSCALLS};
use crate::event::value::{FieldArg, FieldDef, FieldId, FieldUse, Type};

/// System calls, tracepoints and the engine's own events.
#[derive(Clone, Copy, Debug, Default)]
pub struct SyscallScheme;

impl Scheme for SyscallScheme {
    fn field(&self, name: &str) -> Option<FieldId> {
        fields::lookup(name)
    }

    fn def(&self, id: FieldId) -> &FieldDef {
        fields::def(id)
    }

    fn dynamic_type(&self, field: &FieldUse) -> Option<Type> {
        match &field.arg {
            FieldArg::Key(name) => params::type_of_param(name),
            _ => None,
        }
    }

    fn universe(&self) -> CodeSet {
        CodeSet::first(EVENTS.len())
    }

    fn event_codes(&self, name: &str) -> Option<CodeSet> {
        types::codes_of_type(name).map(|codes| codes.iter().map(|code| code.0).collect())
    }

    fn event_name(&self, code: u16) -> Option<&str> {
        let named_by_event = EventCode(code).is_generic() || [ASYNC_EVENT, PLUGIN_EVENT].contains(&EventCode(code));
        let info = EVENTS.get(usize::from(code))?;
        (!named_by_event && info.age != Age::Unused).then_some(info.name)
    }

    fn code_name(&self, code: u16) -> Option<&str> {
        let info = EVENTS.get(usize::from(code))?;
        (info.age != Age::Unused).then_some(info.name)
    }

    fn always(&self) -> CodeSet {
        [ASYNC_EVENT.0].into_iter().collect()
    }

    fn syscalls(&self) -> CodeSet {
        SYSCALLS.iter().map(|call| call.code).collect()
    }

    fn syscall_codes(&self, name: &str) -> CodeSet {
        types::syscalls_of_type(name).map(|call| call.code).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{infer, parse};

    fn codes(text: &str) -> CodeSet {
        infer::event_codes(&parse(text).unwrap(), &SyscallScheme)
    }

    #[test]
    fn generic_calls_share_their_codes() {
        assert_eq!(codes("evt.type=getpid").iter().collect::<Vec<_>>(), [0, 1]);
        assert_eq!(codes("not evt.type=getpid").len(), EVENTS.len() - 2);
        let calls = |text: &str| infer::syscall_codes(&parse(text).unwrap(), &SyscallScheme);
        assert_eq!(calls("evt.type=getpid").len(), 1);
        assert_eq!(calls("not evt.type=getpid").len(), SYSCALLS.len() - 1);
    }

    #[test]
    fn host_names_take_few_operators() {
        let check = |text: &str| crate::filter::lower::Lower::new(&SyscallScheme).condition(&parse(text).unwrap());
        assert!(check("fd.sip.name in (a.example, b.example)").is_ok());
        for bad in ["fd.sip.name contains a", "fd.sip.name = anyof (a)", "evt.around[1] in (2)", "evt.around[1] > 2"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn other_fields_are_neutral() {
        let all = SyscallScheme.universe();
        for text in ["proc.name=x", "not proc.name=x", "evt.type=open or proc.name=x", "evt.type startswith open"] {
            assert_eq!(codes(text), all, "{text}");
        }
        assert_eq!(codes("not (evt.type=open and evt.num=0)"), all);
        assert!(codes("evt.type=open and evt.type=close").is_empty());
    }
}
