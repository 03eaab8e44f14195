//! The tables of keys and of outputs, the man page: what is committed is what the program says. With
//! FALCO_SENSOR_WRITE=1 they are written.

use clap::CommandFactory;
use falco_sensor::hub::command::{Options, type_name};
use falco_sensor::hub::config::all_keys;
use falco_sensor::hub::config::keys::Key;
use falco_sensor::hub::config::keys::variable;
use falco_sensor::hub::forward::{KINDS, Work};
use falco_sensor::hub::input::kind;
use std::fmt::Write;
use std::path::Path;

fn compare(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("FALCO_SENSOR_WRITE").is_some() {
        std::fs::write(&path, text).expect("writable");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "{} is out of date: run with FALCO_SENSOR_WRITE=1", path.display());
}

#[test]
fn configuration_keys() {
    let mut text = String::from(
        "# Configuration keys of falco-hub\n\nWritten by `tests/hub/documents.rs` from the tables in \
         `src/hub/config/keys.rs` and `src/hub/forward/`. How they are read is told in [hub.md](hub.md).\n\n\
         | key | environment | type | default | meaning |\n|---|---|---|---|---|\n",
    );
    for (path, key) in all_keys() {
        let _ = writeln!(text, "| `{path}` | `{}` | {} |", variable(&path), cells(key));
    }
    compare("docs/hub-configuration.md", &text);
}

/// Type, default and meaning.
fn cells(key: &Key) -> String {
    let default = if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
    let meaning = key.meaning.replace('|', "\\|").replace('<', "\\<");
    format!("{} | {default} | {meaning}", type_name(key.kind))
}

#[test]
fn inputs() {
    let mut text = String::from(
        "# Inputs of falco-hub\n\nWritten by `tests/hub/documents.rs` from the table in `src/hub/input/kind.rs`. Brokers that \
         alerts are taken from stand in the list `inputs`, each with its `kind`, a `name`, and these keys, which have no environment \
         variables. What becomes of an alert is told in [hub.md](hub.md#alerts-out-of-brokers).\n",
    );
    for kind in kind::KINDS {
        let required: Vec<_> = kind.required.iter().map(|key| format!("`{key}`")).collect();
        let (name, required) = (kind.name, required.join(", "));
        let _ = writeln!(text, "\n## {name}\n\n{} Needed: {required}.\n", kind.meaning);
        text.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
        for key in kind.keys.iter().flat_map(|table| table.iter()) {
            let _ = writeln!(text, "| `{}` | {} |", key.name, cells(key));
        }
    }
    compare("docs/hub-inputs.md", &text);
}

#[test]
fn outputs() {
    let mut text = String::from(
        "# Outputs of falco-hub\n\nWritten by `tests/hub/documents.rs` from the table in `src/hub/forward/mod.rs`; their \
         keys are in [hub-configuration.md](hub-configuration.md).\n\n\
         | output | category | `destination` in the metrics | enabled when set | what it gets |\n|---|---|---|---|---|\n",
    );
    for kind in KINDS {
        let meaning = match kind.work {
            Work::Discontinued(why) => format!("{} Does nothing: {why}", kind.meaning),
            _ => kind.meaning.to_owned(),
        };
        let required: Vec<_> = kind.required.iter().map(|key| format!("`{}.{key}`", kind.section)).collect();
        let _ = writeln!(
            text,
            "| `{}` | {} | `{}` | {} | {meaning} |",
            kind.section,
            kind.category,
            kind.destination,
            required.join(", ")
        );
    }
    compare("docs/hub-outputs.md", &text);
}

#[test]
fn man_page() {
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(Options::command()).section("8").manual("falco-sensor").date("").source("");
    man.render_title(&mut page).expect("to memory");
    man.render_name_section(&mut page).expect("to memory");
    man.render_synopsis_section(&mut page).expect("to memory");
    man.render_description_section(&mut page).expect("to memory");
    man.render_options_section(&mut page).expect("to memory");
    page.extend(b".SH COMMANDS\n");
    let command = Options::command();
    for group in command.get_subcommands() {
        let own = group.get_subcommands().map(|sub| (format!("{} {}", group.get_name(), sub.get_name()), sub));
        let mut lines: Vec<_> = own.collect();
        if lines.is_empty() {
            lines.push((group.get_name().to_owned(), group));
        }
        for (name, sub) in lines {
            let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            let values: String =
                sub.get_positionals().map(|arg| format!(" {}", arg.get_id().as_str().to_uppercase())).collect();
            page.extend(format!(".TP\n\\fB{}\\fR{values}\n{about}\n", name.replace('-', "\\-")).bytes());
        }
    }
    page.extend(include_bytes!("../../packaging/man/falco-hub.sections.roff"));
    compare("packaging/man/falco-hub.8", &String::from_utf8(page).expect("UTF-8"));
}
