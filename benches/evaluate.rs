//! The evaluator on the mixed load, by Criterion: all events, and those of tasks that have no live rule.
//!
//! `cargo bench --bench evaluate`; FALCO_BENCH_RULES names another rules file (one that scripts/bench/multiply made, say).

use bumpalo::Bump;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use falco_sensor::bench;
use falco_sensor::bench::load::Load;
use falco_sensor::bench::snapshot::{Camera, Columns};
use falco_sensor::filter::EvalContext;
use falco_sensor::sensor::{config, plan};
use std::path::{Path, PathBuf};

fn evaluate(c: &mut Criterion) {
    let config = config::read("", Path::new("built in")).expect("the defaults are valid").config;
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/default.yaml");
    let rules = std::env::var_os("FALCO_BENCH_RULES").map_or(default, PathBuf::from);
    let style = plan::style(&config, "host".into());
    let (plan, count) = bench::plan(&config, &[rules], &style).expect("the rules are valid");
    let program = &plan.program;
    let (columns, kept, mut arena) = (Columns::of(program), Bump::new(), Bump::new());
    let mut camera = Camera::new(&columns, &kept);
    let load = Load::mixed(2_000);
    let world = load.world();
    let events: Vec<_> = load.views(&world).map(|event| camera.take(&event, &arena)).collect();
    let mut context = EvalContext::new();
    let (live, dead): (Vec<_>, Vec<_>) = events.iter().partition(|event| program.is_live(*event, &mut context, &arena));
    let mut group = c.benchmark_group(format!("{count} rules"));
    for (name, events) in [("live", live), ("dead", dead)] {
        group.throughput(Throughput::Elements(events.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut matches = 0;
                for event in &events {
                    program.evaluate(*event, &mut context, &arena, |_| matches += 1);
                    arena.reset();
                }
                matches
            });
        });
    }
    group.finish();
}

criterion_group!(benches, evaluate);
criterion_main!(benches);
