//! The loop's work on the mixed load, a given number of rounds, to be run under an instruction counter.
//!
//! Alone it says nothing: scripts/bench/instructions runs it twice under callgrind and divides the difference by the events.

use bumpalo::Bump;
use falco_sensor::bench;
use falco_sensor::bench::load::Load;
use falco_sensor::filter::EvalContext;
use falco_sensor::sensor::{config, plan};
use std::path::{Path, PathBuf};

/// Events of a round.
const EVENTS: usize = 2_000;

fn main() {
    // Cargo's own arguments to benchmarks begin with a dash.
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let rounds: usize = arguments.next().map_or(1, |text| text.parse().expect("a number of rounds"));
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/default.yaml");
    let rules = arguments.next().map_or(default, PathBuf::from);
    let config = config::read("", Path::new("built in")).expect("the defaults are valid").config;
    let style = plan::style(&config, "host".into());
    let (plan, _) = bench::plan(&config, &[rules], &style).expect("the rules are valid");
    let load = Load::mixed(EVENTS);
    let world = load.world();
    let (mut context, mut arena, mut matches) = (EvalContext::new(), Bump::new(), 0);
    for _ in 0..rounds {
        for event in load.views(&world) {
            let event = event.with_descriptor(&arena);
            plan.program.evaluate(&event, &mut context, &arena, |_| matches += 1);
            arena.reset();
        }
    }
    println!("{rounds} rounds of {EVENTS} events: {matches} matches");
}
