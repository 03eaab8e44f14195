//! Man pages, shell completions and the table of configuration keys come from the programs. These tests compare what is committed with
//! what the program says; with FALCO_SENSOR_WRITE=1 they write it.

use clap::CommandFactory;
use falco_sensor::sensor::config::keys::{Effect, KEYS, Key, Kind};
use falco_sensor::sensor::options::Options;
use std::fmt::Write;
use std::path::Path;

fn compare(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("FALCO_SENSOR_WRITE").is_some() {
        std::fs::create_dir_all(path.parent().expect("has one")).expect("writable");
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

/// The same of what stands under a heading of a document that people write.
fn compare_section(path: &str, heading: &str, text: &str) {
    let document = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("is there");
    let start = document.find(&format!("{heading}\n")).expect("has the heading") + heading.len() + 1;
    let end = document[start..].find("\n## ").map_or(document.len(), |end| start + end);
    compare(path, &format!("{}{text}{}", &document[..start], &document[end..]));
}

#[test]
fn fields_of_live_events_and_captures() {
    use falco_sensor::event::fields::FIELDS;
    use falco_sensor::event::sources::{Answer, Sources};
    let mut text = String::from(
        "\nWritten by `tests/documents.rs` from the field table; what has a value at all is held against events of every type by \
         `tests/field_list.rs`. Fields that are not listed have the same value in an event of the kernel and when its recording is replayed.\n\n\
         | fields | live | in a capture |\n|---|---|---|\n",
    );
    let mut groups: Vec<(Sources, Vec<&str>)> = Vec::new();
    for def in FIELDS.iter().filter(|def| def.sources != Sources::ALIKE) {
        match groups.iter_mut().find(|(sources, _)| *sources == def.sources) {
            Some((_, names)) => names.push(def.name),
            None => groups.push((def.sources, vec![def.name])),
        }
    }
    let say = |answer| match answer {
        Answer::Value(from) => from.to_owned(),
        Answer::Never(why) => format!("no value: {why}"),
    };
    for (sources, names) in groups {
        let (live, capture) = (say(sources.live), say(sources.capture));
        writeln!(text, "| {} | {live} | {capture} |", names.join(", ")).expect("to memory");
    }
    compare_section("docs/falco-compat.md", "## Fields that live events and captures tell differently", &text);
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
fn man_page_of_the_operators_program() {
    let mut command = falco_sensor::ctl::options::Options::command();
    command.build();
    let man = clap_mangen::Man::new(command.clone()).section("8").manual("falco-sensor").date("").source("");
    let mut page = Vec::new();
    man.render_title(&mut page).expect("to memory");
    man.render_name_section(&mut page).expect("to memory");
    page.extend(b".SH SYNOPSIS\n");
    let driver = command.find_subcommand("driver").expect("is declared").clone();
    let actions: Vec<_> = driver.get_subcommands().filter(|action| action.get_name() != "help").collect();
    for action in &actions {
        let values: String = action
            .get_positionals()
            .map(|arg| format!(" [\\fI{}\\fR]", arg.get_id().as_str().to_uppercase()))
            .collect();
        let options = if action.get_opts().next().is_some() { " [\\fIOPTION\\fR...]" } else { "" };
        page.extend(format!(".B falco\\-ctl driver {}{options}{values}\n.br\n", action.get_name()).bytes());
    }
    man.render_description_section(&mut page).expect("to memory");
    page.extend(b".SH COMMANDS\n");
    for action in actions {
        let about = action.get_about().map(ToString::to_string).unwrap_or_default();
        page.extend(format!(".TP\n.B driver {}\n{about}.\n", action.get_name()).bytes());
        for arg in action.get_arguments().filter(|arg| arg.get_id() != "help") {
            let value = arg
                .get_value_names()
                .and_then(<[_]>::first)
                .map_or_else(String::new, |name| format!(" \\fI{name}\\fR"));
            let name = arg.get_long().map_or_else(String::new, |long| format!("\\-\\-{long}"));
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            page.extend(format!(".RS\n.TP\n\\fB{name}\\fR{value}\n{help}.\n.RE\n").bytes());
        }
    }
    page.extend(include_bytes!("../packaging/man/falco-ctl.sections.roff"));
    compare("packaging/man/falco-ctl.8", &String::from_utf8(page).expect("UTF-8"));
}

#[test]
fn completions() {
    use clap_complete::{Shell, generate};
    let ctl = || falco_sensor::ctl::options::Options::command();
    let programs = [("falco-sensor", &Options::command as &dyn Fn() -> clap::Command), ("falco-ctl", &ctl)];
    #[cfg(feature = "hub")]
    let programs = programs.into_iter().chain([("falco-hub", &falco_sensor::hub::command::Options::command as _)]);
    for (name, command) in programs {
        for (shell, file) in
            [(Shell::Bash, name.to_owned()), (Shell::Zsh, format!("_{name}")), (Shell::Fish, format!("{name}.fish"))]
        {
            let mut text = Vec::new();
            generate(shell, &mut command(), name, &mut text);
            // The bash generator ends some lines with white space.
            let text = String::from_utf8(text).expect("UTF-8");
            let text: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
            compare(&format!("packaging/completions/{shell}/{file}"), &text);
        }
    }
}

#[test]
fn metrics() {
    let mut text = String::from(
        "# Metrics\n\nWritten by `tests/documents.rs` from the table in `src/sensor/metrics/table.rs`. How to get them: \
         [configuration.md](configuration.md), `metrics.*` and `webserver.*`; what differs from Falco: [falco-compat.md](falco-compat.md).\n\n\
         Names that begin with `falcosecurity_` are Falco's and mean what they mean there. A gauge of Falco's may end in `_total`. \
         `GET /metrics` has the first name; snapshots (`metrics.output_rule`, `metrics.output_file`) have the second, with `{}` for the first label, \
         leave zeros out unless `metrics.include_empty_values`, and tell memory in MB (`_mb`) with `metrics.convert_memory_to_mb`. \
         A rule's name in them has `_` for what is no letter or digit.\n\n\
         | metric | type | labels | in snapshots | switched by | meaning |\n|---|---|---|---|---|---|\n",
    );
    for row in falco_sensor::sensor::metrics::table::ROWS {
        let kind = format!("{:?}", row.kind).to_lowercase();
        let native = if row.native.is_empty() { String::new() } else { format!("`{}`", row.native) };
        let labels = if row.labels.is_empty() { String::new() } else { format!("`{}`", row.labels) };
        writeln!(text, "| `{}` | {kind} | {labels} | {native} | `{}` | {} |", row.name, row.group.key(), row.help)
            .expect("to memory");
    }
    compare("docs/metrics.md", &text);
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

/// Where the packaged configuration is not the default, and what is to be said there.
const PACKAGED: &[(&str, &str, &str)] = &[
    ("config_files", "[/etc/falco-sensor/config.d]", "Files of folders are merged in the order of their names."),
    (
        "rules_files",
        "[/etc/falco-sensor/rules/default.yaml, /etc/falco-sensor/rules.local.yaml, /etc/falco-sensor/rules.d]",
        "What does not exist is skipped.",
    ),
    ("append_output", "[{suggested_output: true}]", ""),
    ("stdout_output.enabled", "true", "The journal has it."),
    ("file_output.filename", "/var/log/falco-sensor/alerts.log", "This one is rotated."),
    ("log_syslog", "false", "The journal has the log."),
    ("syscall_event_drops.actions", "[log, alert]", ""),
    ("falco_libs.snaplen", "80", ""),
];

/// What is not written into the packaged configuration as a value: keys of elements, and those that another key takes the place of.
fn is_only_told(key: &Key) -> bool {
    key.effect != Effect::Works
        || key.path.contains("[]")
        || ["rules_file", "engine.module.path", "engine.replay.capture_file"].contains(&key.path)
        || key.path.starts_with("engine.kmod")
        || key.path.starts_with("engine.modern_ebpf")
}

/// A comment of several lines.
fn comment(indent: usize, text: &str, out: &mut String) {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent + line.len() + word.len() > 100 {
            let _ = writeln!(out, "{:indent$}#{line}", "");
            line.clear();
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(out, "{:indent$}#{line}", "");
}

fn yaml_value(key: &Key) -> String {
    let plain = |text: &str| !text.is_empty() && !text.starts_with(['*', '[', '{', '&', '!', '%', '@', '`', '"', '\'']);
    match key.kind {
        Kind::TextList => format!("[{}]", key.default.replace(',', ", ")),
        Kind::MapList => "[]".to_owned(),
        Kind::Anything => "{}".to_owned(),
        _ if plain(key.default) => key.default.to_owned(),
        _ => format!("{:?}", key.default),
    }
}

/// Every key with its meaning; those that work with the value that holds.
fn packaged() -> String {
    let mut text = String::from(
        "# Configuration of falco-sensor, with every key. Written by `tests/documents.rs` from the table in `src/sensor/config/keys.rs`.\n\
         # A falco.yaml that worked with Falco works here: put it at /etc/falco/falco.yaml and remove this file.\n",
    );
    let groups = KEYS.iter().map(|key| key.path.split(['.', '[']).next().unwrap_or_default());
    let mut known: Vec<&str> = Vec::new();
    for group in groups {
        if known.contains(&group) {
            continue;
        }
        known.push(group);
        let keys: Vec<&Key> = KEYS.iter().filter(|key| key.path.split(['.', '[']).next() == Some(group)).collect();
        text.push('\n');
        let mut open: Vec<&str> = Vec::new();
        // Values first: what is only told of would stand between a map and its end.
        for key in keys.iter().filter(|key| !is_only_told(key)) {
            let path: Vec<&str> = key.path.split('.').collect();
            let (name, parents) = path.split_last().expect("a name");
            let same = open.iter().zip(parents).take_while(|(a, b)| a == b).count();
            open.truncate(same);
            for parent in &parents[same..] {
                let _ = writeln!(text, "{:1$}{parent}:", "", 2 * open.len());
                open.push(parent);
            }
            let indent = 2 * open.len();
            let other = PACKAGED.iter().find(|(path, ..)| *path == key.path);
            let mut meaning = key.meaning.to_owned();
            if let Kind::Choice(words) = key.kind {
                let _ = write!(meaning, ": {}", words.join(", "));
            }
            if let Some((.., remark)) = other {
                let _ = write!(meaning, ". {remark}");
                let _ = write!(meaning, " Default: {}", yaml_value(key));
            }
            comment(indent, &meaning, &mut text);
            let parts = format!("{}[].", key.path);
            for part in keys.iter().filter(|part| part.path.starts_with(&parts)) {
                comment(indent, &format!("- {}: {}", &part.path[parts.len()..], part.meaning), &mut text);
            }
            let value = other.map_or_else(|| yaml_value(key), |(_, value, _)| (*value).to_owned());
            let _ = writeln!(text, "{:indent$}{name}: {value}", "");
        }
        let nested = |key: &&&Key| is_only_told(key) && !key.path.contains("[]");
        for key in keys.iter().filter(nested) {
            let effect = match key.effect {
                Effect::Works => String::new(),
                Effect::NotYet(_) => " (no effect yet)".to_owned(),
                Effect::PartOf(switch) => format!(" (no effect yet, as {switch})"),
                Effect::Meaningless(why) => format!(" (no effect: {why})"),
            };
            let default = if key.default.is_empty() { String::new() } else { format!(" [{}]", key.default) };
            comment(0, &format!("{}{default}: {}{effect}", key.path, key.meaning), &mut text);
        }
    }
    text
}

#[test]
fn packaged_configuration() {
    let path = "packaging/config/falco-sensor.yaml";
    compare(path, &packaged());
    let loaded =
        falco_sensor::sensor::config::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path), &[]).expect("valid");
    assert_eq!(
        (loaded.warnings, loaded.infos, loaded.schema),
        (vec![], vec![], vec![]),
        "the shipped file draws no remark"
    );
    // Beside what is listed above it is what holds without a file.
    let differing =
        PACKAGED.iter().filter(|(path, ..)| *path != "config_files").fold(String::new(), |text, (path, value, _)| {
            match path.split_once('.') {
                Some((parent, name)) => format!("{text}{parent}: {{{name}: {value}}}\n"),
                None => format!("{text}{path}: {value}\n"),
            }
        });
    let expected = falco_sensor::sensor::config::read(&differing, Path::new("differing")).expect("valid");
    assert_eq!(loaded.config, expected.config);
}

/// The module's version is text in a C file that DKMS compiles far from Cargo.toml.
#[test]
fn the_module_has_the_programs_version() {
    let expected = format!("#define FSN_VERSION \"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(include_str!("../kmod/main.c").contains(&expected), "kmod/main.c: {expected}");
}
