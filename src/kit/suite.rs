//! Files of tests: YAML to [`Suite`].
//!
//! Nothing is run here. Invariant: every key is known, every field exists and every value has its field's type, or the file is
//! refused with the place of the mistake.

use super::described::{self, Described, Text};
use crate::filter::SyscallScheme;
use crate::filter::format::Format;
use crate::rules::yaml::{self, Mark, Node, Yaml};
use std::fmt;
use std::path::{Path, PathBuf};

/// Why a file of tests cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuiteError {
    pub file: PathBuf,
    /// From 1; none when it is about the whole file.
    pub place: Option<(usize, usize)>,
    pub message: String,
}

impl fmt::Display for SuiteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some((line, column)) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}", self.message)
    }
}

/// One file of tests.
#[derive(Debug)]
pub struct Suite {
    pub file: PathBuf,
    /// Rules files in the order they are loaded, and behind them items of the test file itself.
    pub rules: Vec<PathBuf>,
    /// Text of rules items, with line breaks before it so that its lines count as those of the file.
    pub also: Option<String>,
    pub match_all: bool,
    /// Rules (with wildcards) to run though their files switch them off, and not to run though they are on.
    pub enable: Vec<String>,
    pub disable: Vec<String>,
    /// Rules that no test here can raise.
    pub untested: Vec<String>,
    pub tests: Vec<Test>,
}

#[derive(Debug)]
pub struct Test {
    pub name: String,
    pub line: usize,
    pub input: Input,
    pub expect: Vec<Expected>,
    /// Alerts of rules that `expect` does not name are fine.
    pub others: bool,
}

#[derive(Debug)]
pub enum Input {
    /// Events of one run, with their lines.
    Run(Vec<(usize, Described)>),
    /// Events that must each raise what is expected.
    Each(Vec<(usize, Described)>),
    /// A capture.
    Capture(PathBuf),
}

/// An alert a test expects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    pub rule: String,
    pub line: usize,
    /// How many; None for any number but 0.
    pub count: Option<u64>,
    /// The whole message of every such alert, or parts of it.
    pub output: Option<String>,
    pub output_contains: Vec<String>,
    /// `output_fields` of every such alert; None for null.
    pub fields: Vec<(String, Option<String>)>,
}

/// Reads a file.
pub fn read(file: &Path) -> Result<Suite, SuiteError> {
    let fail = |message: String| SuiteError { file: file.to_owned(), place: None, message };
    let bytes = std::fs::read(file).map_err(|e| fail(e.to_string()))?;
    let text =
        String::from_utf8(bytes).map_err(|e| fail(format!("not UTF-8 at byte {}", e.utf8_error().valid_up_to())))?;
    parse(file, &text)
}

/// Reads the text of a file.
pub fn parse(file: &Path, text: &str) -> Result<Suite, SuiteError> {
    let reader = Reader { file };
    let documents = yaml::parse(text).map_err(|e| reader.error(e.mark, e.what))?;
    match &documents[..] {
        [one] => reader.suite(one),
        [] => Err(reader.error(Mark::default(), "the file is empty")),
        [_, second, ..] => Err(reader.error(second.mark, "a file of tests is one YAML document")),
    }
}

struct Reader<'f> {
    file: &'f Path,
}

/// Values for the events of these types, all if none are named.
struct Defaults {
    types: Vec<String>,
    values: Vec<(Mark, crate::event::value::FieldUse, Given)>,
}

enum Given {
    Value(Option<described::Owned>),
    /// Made of other fields: `/usr/bin/%proc.name`.
    Format(Format),
}

type Result<T, E = SuiteError> = std::result::Result<T, E>;

impl Reader<'_> {
    fn error(&self, mark: Mark, message: impl Into<String>) -> SuiteError {
        SuiteError {
            file: self.file.to_owned(),
            place: Some((mark.line + 1, mark.column + 1)),
            message: message.into(),
        }
    }

    fn entries<'n>(&self, node: &'n Node, what: &str) -> Result<Vec<(&'n str, &'n Node, &'n Node)>> {
        let Some(entries) = node.mapping() else { return Err(self.error(node.mark, format!("{what} is a mapping"))) };
        let mut out: Vec<(&str, &Node, &Node)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let name = key.text().ok_or_else(|| self.error(key.mark, "a key is text"))?;
            if out.iter().any(|(known, ..)| *known == name) {
                return Err(self.error(key.mark, format!("'{name}' stands here twice")));
            }
            out.push((name, key, value));
        }
        Ok(out)
    }

    fn text<'n>(&self, node: &'n Node, what: &str) -> Result<&'n str> {
        node.text().ok_or_else(|| self.error(node.mark, format!("{what} is a text")))
    }

    /// A list of texts, or one.
    fn texts(&self, node: &Node, what: &str) -> Result<Vec<String>> {
        match &node.value {
            Yaml::Sequence(items) => items.iter().map(|item| self.text(item, what).map(str::to_owned)).collect(),
            Yaml::Null => Ok(Vec::new()),
            _ => Ok(vec![self.text(node, what)?.to_owned()]),
        }
    }

    fn unknown<T>(&self, key: &Node, name: &str, known: &str) -> Result<T> {
        Err(self.error(key.mark, format!("unknown key '{name}'; there are {known}")))
    }

    fn flag(&self, node: &Node, what: &str) -> Result<bool> {
        let text = self.text(node, what)?;
        text.parse().map_err(|_| self.error(node.mark, format!("{what} is true or false")))
    }

    fn path(&self, text: &str) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(text)
    }

    fn suite(&self, node: &Node) -> Result<Suite> {
        let mut suite = Suite {
            file: self.file.to_owned(),
            rules: Vec::new(),
            also: None,
            match_all: false,
            enable: Vec::new(),
            disable: Vec::new(),
            untested: Vec::new(),
            tests: Vec::new(),
        };
        let (mut defaults, mut tests) = (Vec::new(), None);
        for (name, key, value) in self.entries(node, "a file of tests")? {
            match name {
                "rules" => suite.rules = self.texts(value, name)?.iter().map(|text| self.path(text)).collect(),
                "also" => {
                    let text = self.text(value, "'also' (write 'also: |' and the items below it)")?;
                    suite.also = Some("\n".repeat(value.mark.line + 1) + text);
                }
                "matching" => {
                    suite.match_all = match value.text() {
                        Some("first") => false,
                        Some("all") => true,
                        _ => return Err(self.error(value.mark, "matching is 'first' or 'all'")),
                    }
                }
                "enable" => suite.enable = self.texts(value, name)?,
                "disable" => suite.disable = self.texts(value, name)?,
                "untested" => suite.untested = self.texts(value, name)?,
                "defaults" => defaults = self.defaults(value)?,
                "tests" => tests = Some(value),
                _ => {
                    return self.unknown(
                        key,
                        name,
                        "rules, also, matching, enable, disable, untested, defaults and tests",
                    );
                }
            }
        }
        if suite.rules.is_empty() && suite.also.is_none() {
            return Err(self.error(node.mark, "no rules to test: name files under 'rules', relative to this one"));
        }
        let tests = tests.ok_or_else(|| self.error(node.mark, "no tests"))?;
        let items = tests.sequence().ok_or_else(|| self.error(tests.mark, "tests is a list"))?;
        for item in items {
            let test = self.test(item, &defaults)?;
            if let Some(other) = suite.tests.iter().find(|other| other.name == test.name) {
                let message = format!("the test of line {} has this name, too: '{}'", other.line, test.name);
                return Err(self.error(item.mark, message));
            }
            suite.tests.push(test);
        }
        Ok(suite)
    }

    fn defaults(&self, node: &Node) -> Result<Vec<Defaults>> {
        let items = node.sequence().ok_or_else(|| self.error(node.mark, "defaults is a list of {types, values}"))?;
        items.iter().map(|item| self.default_block(item)).collect()
    }

    fn default_block(&self, node: &Node) -> Result<Defaults> {
        let mut out = Defaults { types: Vec::new(), values: Vec::new() };
        for (name, key, value) in self.entries(node, "an entry of defaults")? {
            match name {
                "types" => {
                    out.types = self.texts(value, name)?;
                    for ty in &out.types {
                        Described::new(ty).map_err(|why| self.error(value.mark, why))?;
                    }
                }
                "values" => {
                    for (name, key, value) in self.entries(value, "values")? {
                        let field = described::field(name).map_err(|why| self.error(key.mark, why))?;
                        let default = match self.value_text(value)? {
                            Text::One(text) if text.contains('%') => Given::Format(
                                Format::parse(&text, &SyscallScheme)
                                    .map_err(|e| self.error(value.mark, format!("'{text}': {}", e.message)))?,
                            ),
                            text => Given::Value(
                                described::value(&field, &text).map_err(|why| self.error(value.mark, why))?,
                            ),
                        };
                        out.values.push((value.mark, field, default));
                    }
                }
                _ => return self.unknown(key, name, "types and values"),
            }
        }
        Ok(out)
    }

    fn value_text(&self, node: &Node) -> Result<Text> {
        Ok(match &node.value {
            Yaml::Null => Text::Missing,
            Yaml::Scalar { text, .. } => Text::One(text.clone()),
            Yaml::Sequence(_) => Text::Many(self.texts(node, "an element")?),
            Yaml::Mapping(_) => return Err(self.error(node.mark, "a value is a text or a list of texts")),
        })
    }

    fn event(&self, node: &Node, defaults: &[Defaults]) -> Result<(usize, Described)> {
        let entries = self.entries(node, "an event")?;
        let Some((_, _, ty)) = entries.iter().find(|(name, ..)| *name == "type") else {
            return Err(self.error(node.mark, "an event needs its type: {type: openat, ...}"));
        };
        let type_name = self.text(ty, "the type")?;
        let mut event = Described::new(type_name).map_err(|why| self.error(ty.mark, why))?;
        for (name, key, value) in entries.iter().filter(|(name, ..)| *name != "type") {
            let field = described::field(name).map_err(|why| self.error(key.mark, why))?;
            let value = described::value(&field, &self.value_text(value)?);
            event.give(&field, value.map_err(|why| self.error(key.mark, why))?);
        }
        event.complete();
        for block in defaults.iter().filter(|b| b.types.is_empty() || b.types.iter().any(|ty| ty == type_name)) {
            for (mark, field, default) in &block.values {
                if event.settles(field) {
                    continue;
                }
                let value = match default {
                    Given::Value(value) => value.clone(),
                    Given::Format(format) => {
                        // A field it is made of is missing: so is this one.
                        let Some(text) = event.render(format) else { continue };
                        described::value(field, &Text::One(text)).map_err(|why| self.error(*mark, why))?
                    }
                };
                event.give(field, value);
                event.complete();
            }
        }
        Ok((node.mark.line + 1, event))
    }

    fn events(&self, node: &Node, defaults: &[Defaults]) -> Result<Vec<(usize, Described)>> {
        let items = node.sequence().ok_or_else(|| self.error(node.mark, "events are a list"))?;
        if items.is_empty() {
            return Err(self.error(node.mark, "no event"));
        }
        items.iter().map(|item| self.event(item, defaults)).collect()
    }

    fn test(&self, node: &Node, defaults: &[Defaults]) -> Result<Test> {
        let (mut name, mut input, mut expect, mut others) = (None, None, None, false);
        for (key_name, key, value) in self.entries(node, "a test")? {
            let given = match key_name {
                "name" => {
                    name = Some(self.text(value, "a name")?.to_owned());
                    continue;
                }
                "expect" => {
                    expect = Some(self.expected(value)?);
                    continue;
                }
                "others" => {
                    others = self.flag(value, "others")?;
                    continue;
                }
                "event" => Input::Run(vec![self.event(value, defaults)?]),
                "events" => Input::Run(self.events(value, defaults)?),
                "each" => Input::Each(self.events(value, defaults)?),
                "capture" => Input::Capture(self.path(self.text(value, "a capture")?)),
                _ => return self.unknown(key, key_name, "name, event, events, each, capture, expect and others"),
            };
            if input.replace(given).is_some() {
                return Err(self.error(key.mark, "a test has one of event, events, each and capture"));
            }
        }
        let missing = |what: &str| self.error(node.mark, format!("a test needs {what}"));
        let test = Test {
            name: name.ok_or_else(|| missing("a name"))?,
            line: node.mark.line + 1,
            input: input.ok_or_else(|| missing("event, events, each or capture"))?,
            expect: expect.ok_or_else(|| missing("'expect': a rule, a list of alerts, or none"))?,
            others,
        };
        if test.others && test.expect.is_empty() {
            return Err(self.error(node.mark, "a test that expects nothing and allows others cannot fail"));
        }
        Ok(test)
    }

    fn expected(&self, node: &Node) -> Result<Vec<Expected>> {
        match &node.value {
            Yaml::Scalar { text, .. } if text == "none" => Ok(Vec::new()),
            Yaml::Scalar { text, .. } => Ok(vec![self.alert_of(text, node)]),
            Yaml::Mapping(_) => Ok(vec![self.alert(node)?]),
            Yaml::Sequence(items) => items.iter().map(|item| self.alert(item)).collect(),
            Yaml::Null => Err(self.error(node.mark, "expect a rule, a list of alerts, or none")),
        }
    }

    fn alert_of(&self, rule: &str, node: &Node) -> Expected {
        Expected { rule: rule.to_owned(), line: node.mark.line + 1, count: Some(1), ..Expected::default() }
    }

    fn alert(&self, node: &Node) -> Result<Expected> {
        if let Some(rule) = node.text() {
            return Ok(self.alert_of(rule, node));
        }
        let mut out = self.alert_of("", node);
        for (name, key, value) in self.entries(node, "an expected alert")? {
            match name {
                "rule" => out.rule = self.text(value, "a rule")?.to_owned(),
                "count" => {
                    out.count = match self.text(value, "a count")? {
                        "any" => None,
                        n => Some(n.parse().ok().filter(|n| *n > 0).ok_or_else(|| {
                            self.error(value.mark, "count is a number from 1, or 'any' for at least one")
                        })?),
                    }
                }
                "output" => out.output = Some(self.text(value, "an output")?.to_owned()),
                "output_contains" => out.output_contains = self.texts(value, name)?,
                "fields" => {
                    for (name, _, value) in self.entries(value, "fields")? {
                        let wanted = match &value.value {
                            Yaml::Null => None,
                            _ => Some(self.text(value, "a field's value")?.to_owned()),
                        };
                        out.fields.push((name.to_owned(), wanted));
                    }
                }
                _ => return self.unknown(key, name, "rule, count, output, output_contains and fields"),
            }
        }
        if out.rule.is_empty() {
            return Err(self.error(node.mark, "an expected alert names its rule"));
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        parse(Path::new("t.yaml"), text).unwrap_err().to_string()
    }

    #[test]
    fn mistakes_have_places() {
        let with = |test: &str| problem(&format!("rules: r.yaml\ntests:\n  - name: a\n    expect: none\n{test}"));
        assert_eq!(with("    event: {proc.name: x}\n"), "t.yaml:5:12: an event needs its type: {type: openat, ...}");
        let unknown = with("    event: {type: openat, proc.nam: x}\n");
        assert!(unknown.starts_with("t.yaml:5:27: there is no field 'proc.nam'"), "{unknown}");
        assert_eq!(with("    event: {type: open, proc.pid: x}\n"), "t.yaml:5:25: 'x' is not a whole number");
        assert!(with("    event: {type: opened}\n").starts_with("t.yaml:5:19: no event or system call is called"));
        assert!(with("    others: true\n    event: {type: open}\n").contains("cannot fail"));
        assert!(with("    each: []\n").ends_with("no event"));
        assert!(with("    evnt: {}\n").contains("unknown key 'evnt'"));
        assert!(with("    event: {type: open}\n    each: [{type: open}]\n").contains("one of event"));
        assert!(
            with("    event: {type: open}\n  - name: a\n    expect: none\n    event: {type: open}\n")
                .contains("of line 3")
        );
        assert!(problem("tests: []").contains("no rules to test"));
        assert!(problem("a: [").starts_with("t.yaml:"));
        assert!(problem("").contains("empty"));
    }

    #[test]
    fn what_a_test_gives_comes_before_defaults() {
        let text = "rules: r.yaml\ndefaults:\n- types: [openat]\n  values: {proc.name: general, proc.exepath: '/usr/bin/%proc.name', \
                    proc.pname: ~, user.name: '%proc.args'}\n- values: {proc.name: other, proc.pname: x}\ntests:\n- name: a\n  \
                    expect: none\n  event: {type: openat, proc.name: mine, proc.tty: ~}\n";
        let suite = parse(Path::new("t.yaml"), text).unwrap();
        let Input::Run(events) = &suite.tests[0].input else { panic!() };
        let text = |name: &str| {
            let format = Format::parse(&format!("%{name}"), &SyscallScheme).unwrap();
            events[0].1.render(&format)
        };
        assert_eq!(text("proc.name").as_deref(), Some("mine"));
        assert_eq!(text("proc.exepath").as_deref(), Some("/usr/bin/mine"));
        assert_eq!((text("proc.pname"), text("user.name"), text("proc.tty")), (None, None, None));
    }
}
