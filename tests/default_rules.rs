//! The project's own rules: they load without an error or a warning, keep the names of upstream's stable rules, and decide
//! the events of `default_rules.txt` as that file says.

use bumpalo::Bump;
use falco_sensor::event::fields;
use falco_sensor::event::value::{Extract, FieldArg, FieldUse, Multi, Type, Value};
use falco_sensor::filter::scheme::Scheme;
use falco_sensor::filter::{EvalContext, Matching, Program, SyscallScheme};
use falco_sensor::rules::{Environment, LoadedRules, Loader, Priority, Selection};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/default.yaml")
}

fn load(path: &Path) -> LoadedRules {
    let env = Environment::syscalls();
    let mut loader = Loader::new(&env);
    let result = loader.load_file(path);
    assert!(result.successful(), "{}", result.text(true));
    loader.finish()
}

fn compile(rules: &LoadedRules) -> Program {
    let selection = Selection::of(rules, Priority::Debug);
    rules
        .program("syscall", &SyscallScheme, selection.rules().iter().copied(), Matching::First)
        .expect("what loaded compiles")
}

#[test]
fn load_without_warnings() {
    let env = Environment::syscalls();
    let mut loader = Loader::new(&env);
    let result = loader.load_file(&file());
    assert!(result.successful() && !result.has_warnings(), "{}", result.text(true));
}

#[test]
fn have_the_names_and_priorities_of_the_stable_rules() {
    let root = std::env::var("FALCO_CONFORMANCE").unwrap_or_else(|_| "../shared/conformance".into());
    let upstream = PathBuf::from(&root).join("rules/upstream/falco_rules.yaml");
    if !upstream.is_file() {
        println!("skipped: no {} (set FALCO_CONFORMANCE to the conformance data set)", upstream.display());
        return;
    }
    let (theirs, ours) = (load(&upstream), load(&file()));
    for rule in &theirs.rules {
        let same = ours.rules.iter().find(|other| other.name == rule.name);
        let same = same.unwrap_or_else(|| panic!("no rule {:?}", rule.name));
        assert_eq!(same.priority, rule.priority, "{:?}", rule.name);
        for tag in &rule.tags {
            assert!(same.tags.contains(tag), "{:?} without {tag}", rule.name);
        }
    }
}

/// One line of the table.
struct Case {
    event_type: String,
    values: HashMap<String, String>,
}

impl Case {
    /// Words are `field=value` or `field="value with blanks"`.
    fn parse(text: &str) -> Case {
        let mut words = Vec::new();
        let mut word = String::new();
        let mut quoted = false;
        for c in text.trim().chars().chain([' ']) {
            match c {
                '"' => quoted = !quoted,
                ' ' if !quoted => {
                    if !word.is_empty() {
                        words.push(std::mem::take(&mut word));
                    }
                }
                _ => word.push(c),
            }
        }
        let mut words = words.into_iter();
        let mut case = Case { event_type: words.next().expect("an event type"), values: HashMap::new() };
        for word in words {
            let (field, value) = word.split_once('=').unwrap_or_else(|| panic!("{word:?} is no field=value"));
            case.values.insert(field.to_owned(), value.to_owned());
        }
        case.complete();
        case
    }

    fn default(&mut self, field: &str, value: impl Into<String>) {
        self.values.entry(field.to_owned()).or_insert_with(|| value.into());
    }

    fn get(&self, field: &str) -> String {
        self.values.get(field).cloned().unwrap_or_default()
    }

    /// What a line need not say.
    fn complete(&mut self) {
        self.default("evt.type", self.event_type.clone());
        for (field, value) in [
            ("proc.name", "app"),
            ("user.name", "root"),
            ("user.uid", "0"),
            ("container.id", "host"),
            ("proc.tty", "0"),
            ("proc.aname", "parent>systemd"),
            ("proc.cwd", "/"),
            ("proc.duration", "60000000000"),
            ("thread.cap_effective", "CAP_CHOWN CAP_SYS_ADMIN CAP_SYS_MODULE"),
        ] {
            self.default(field, value);
        }
        self.default("proc.exepath", format!("/usr/bin/{}", self.get("proc.name")));
        self.default("proc.exe", self.get("proc.exepath"));
        self.default(
            "proc.cmdline",
            format!("{} {}", self.get("proc.name"), self.get("proc.args")).trim_end().to_owned(),
        );
        for (number, name) in self.get("proc.aname").split('>').enumerate() {
            self.default(&format!("proc.aname[{}]", number + 1), name);
        }
        self.default("proc.pname", self.get("proc.aname[1]"));
        if self.event_type.starts_with("open") {
            self.default("fd.num", "3");
            self.default("evt.rawres", self.get("fd.num"));
            self.default("fd.typechar", "f");
            let write = self.values.contains_key("evt.is_open_write");
            self.default("evt.is_open_read", (!write).to_string());
            self.default("evt.is_open_write", "false");
            self.default("fd.nameraw", self.get("fd.name"));
            let name = self.get("fd.name");
            let (folder, last) = name.rsplit_once('/').unwrap_or(("", &name));
            self.default("fd.directory", if folder.is_empty() { "/" } else { folder });
            self.default("fd.filename", last);
        }
        self.default("evt.rawres", "0");
        self.default("evt.res", "SUCCESS");
    }
}

fn parsed<T: std::str::FromStr>(ty: Type, text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no {ty:?}"))
}

fn typed(ty: Type, text: &str) -> Value<'_> {
    match ty {
        Type::Bool => Value::Bool(parsed(ty, text)),
        Type::Charbuf | Type::FsPath | Type::FsRelPath => Value::Str(text.as_bytes()),
        Type::IpAddr | Type::IpNet => Value::Ip(parsed(ty, text)),
        Type::Int8 | Type::Int16 | Type::Int32 | Type::Int64 | Type::Errno | Type::Fd | Type::Pid => {
            Value::I64(parsed(ty, text))
        }
        _ => Value::U64(parsed(ty, text)),
    }
}

impl Extract for Case {
    fn extract<'a>(&'a self, field: &FieldUse, arena: &'a Bump) -> Option<Value<'a>> {
        let def = fields::def(field.id);
        let name = match &field.arg {
            FieldArg::None => def.name.to_owned(),
            FieldArg::Index(n) => format!("{}[{n}]", def.name),
            FieldArg::Key(key) if def.flags.dotted => format!("{}.{key}", def.name),
            FieldArg::Key(key) => format!("{}[{key}]", def.name),
        };
        let text = self.values.get(&name)?;
        if def.multi != Multi::One && field.arg == FieldArg::None {
            return Some(Value::List(
                arena.alloc_slice_fill_iter(text.split('>').map(|part| typed(def.ty, part)).collect::<Vec<_>>()),
            ));
        }
        Some(typed(def.ty, text))
    }

    fn event_code(&self) -> u16 {
        let codes = SyscallScheme.event_codes(&self.event_type);
        codes.and_then(|codes| codes.iter().max()).unwrap_or_else(|| panic!("no event {}", self.event_type))
    }
}

/// Each line that is not empty or a comment: the rule that must hold, or `-`; ` : `; an event.
#[test]
fn decide_the_events_of_the_table() {
    let rules = load(&file());
    let program = compile(&rules);
    let table = include_str!("default_rules.txt");
    let mut wrong = Vec::new();
    let mut seen = Vec::new();
    for (number, line) in table.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        // What only a guest can show.
        if let Some(rule) = line.strip_prefix("elsewhere : ") {
            seen.push(rule.trim().to_owned());
            continue;
        }
        let (wanted, event) = line.split_once(" : ").unwrap_or_else(|| panic!("line {}: no ` : `", number + 1));
        let case = Case::parse(event);
        let arena = Bump::new();
        let mut got = "-";
        program.evaluate(&case, &mut EvalContext::new(), &arena, |index| got = &rules.rule(index).name);
        if got != wanted.trim() {
            wrong.push(format!("line {}: wanted {:?}, got {got:?}: {event}", number + 1, wanted.trim()));
        }
        seen.push(wanted.trim().to_owned());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for rule in &rules.rules {
        assert!(seen.contains(&rule.name), "no line raises {:?}", rule.name);
    }
}
