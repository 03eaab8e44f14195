//! Push-down: what the module tests of a call before it builds the event, made from the compiled rules.
//!
//! [`conditions`] says what a comparison of a rule requires of the call, [`table`] turns what all rules of an event
//! require into the blob that `kmod/filter.c` runs. Invariant: whatever the module stops, no rule matches, with either path of a
//! file event; `tests` tries that with the module's own code on generated rules and events.

mod conditions;
mod table;
#[cfg(test)]
mod tests;

use crate::event::params;
use crate::event::types::EventCode;
use crate::filter::Program;
use conditions::Call;
use table::Builder;

/// The conditions of every event that rules listen to; None when there are none that could stop anything.
pub fn table(program: &Program) -> Option<Vec<u8>> {
    let mut builder = Builder::default();
    for code in program.event_codes().iter() {
        let Some(def) = params::event(EventCode(code)) else { continue };
        let call = Call::new(def);
        if let Some(need) = program.necessary(code, &mut |comparison| call.need(comparison)) {
            builder.add(code, need, call.place);
        }
    }
    builder.finish()
}
