//! The man page and the table of configuration keys come from the program. These tests compare what is committed with
//! what the program says; with FALCO_SENSOR_WRITE=1 they write it.

use clap::CommandFactory;
use falco_sensor::sensor::config::keys::{Effect, KEYS, Kind};
use falco_sensor::sensor::options::Options;
use std::fmt::Write;
use std::path::Path;

fn compare(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("FALCO_SENSOR_WRITE").is_some() {
        std::fs::write(&path, text).expect("writable");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let differing = committed.lines().zip(text.lines()).position(|(a, b)| a != b);
    assert!(
        committed == text,
        "{} is out of date from line {:?} on: run with FALCO_SENSOR_WRITE=1",
        path.display(),
        differing.map(|line| line + 1)
    );
}

#[test]
fn man_page() {
    let man = clap_mangen::Man::new(Options::command()).section("8").manual("falco-sensor").date("").source("");
    let mut page = Vec::new();
    man.render_title(&mut page).expect("to memory");
    man.render_name_section(&mut page).expect("to memory");
    man.render_synopsis_section(&mut page).expect("to memory");
    man.render_description_section(&mut page).expect("to memory");
    man.render_options_section(&mut page).expect("to memory");
    man.render_subcommands_section(&mut page).expect("to memory");
    page.extend(include_bytes!("../packaging/man/sections.roff"));
    compare("packaging/man/falco-sensor.8", &String::from_utf8(page).expect("UTF-8"));
}

#[test]
fn configuration_keys() {
    let mut text = String::from(
        "# Configuration keys\n\nEvery key of the configuration. Written by `tests/documents.rs` from the table in \
         `src/sensor/config/keys.rs`.\n\nThe default is what holds when the key is absent. In the column *effect*: \
         **yes** this version acts on it; **not yet** it is read and a warning says that it has no effect; **none** it is \
         about machinery that does not exist here, so nothing is lost.\n\n| key | type | default | effect | meaning |\n\
         |---|---|---|---|---|\n",
    );
    for key in KEYS {
        let kind = match key.kind {
            Kind::Bool => "true or false".to_owned(),
            Kind::Int => "whole number".to_owned(),
            Kind::Number => "number".to_owned(),
            Kind::Text => "text".to_owned(),
            Kind::Choice(words) => words.join(", "),
            Kind::TextList => "list of texts".to_owned(),
            Kind::MapList => "list of maps".to_owned(),
            Kind::Anything => "see the meaning".to_owned(),
        };
        let effect = match key.effect {
            Effect::Works => "yes".to_owned(),
            Effect::NotYet(_) => "not yet".to_owned(),
            Effect::PartOf(switch) => format!("not yet (see `{switch}`)"),
            Effect::Meaningless(why) => format!("none: {why}"),
        };
        let default = if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
        let meaning = key.meaning.replace('|', "\\|");
        let _ = writeln!(text, "| `{}` | {kind} | {default} | {effect} | {meaning} |", key.path);
    }
    compare("docs/configuration.md", &text);
}

#[test]
fn packaged_configuration() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/config/falco-sensor.yaml");
    let loaded = falco_sensor::sensor::config::load(&path, &[]).expect("valid");
    assert_eq!((loaded.warnings, loaded.infos), (vec![], vec![]), "the shipped file draws no remark");
}
