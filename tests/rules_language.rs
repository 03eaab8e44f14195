//! The rules language key by key: what loads, and the codes of what does not or is suspicious.

use falco_sensor::rules::{Environment, FileResult, LoadedRules, Loader, Priority, Selected, Selection, Selector};

/// Loads texts in order, each as a file of its own.
fn load(texts: &[&str]) -> (Vec<FileResult>, LoadedRules) {
    let env = Environment::syscalls();
    let mut loader = Loader::new(&env);
    let results = texts.iter().map(|text| loader.load("rules.yaml", (*text).to_owned())).collect();
    (results, loader.finish())
}

/// Codes of the errors and warnings of one text, without LOAD_.
fn codes(text: &str) -> String {
    let (results, _) = load(&[text]);
    let result = &results[0];
    let errors = result.errors.iter().map(|e| e.code.symbol());
    let all = errors.chain(result.warnings.iter().map(|w| w.code.symbol()));
    all.map(|code| code.trim_start_matches("LOAD_")).collect::<Vec<_>>().join(" ")
}

/// The condition a rule ends with.
fn condition(texts: &[&str], rule: &str) -> String {
    let (results, loaded) = load(texts);
    results.iter().for_each(|r| assert!(r.successful(), "{texts:?}: {}", r.text(true)));
    loaded.rules.iter().find(|r| r.name == rule).map(|r| r.condition.to_string()).unwrap_or_default()
}

const RULE: &str = "- rule: r\n  desc: d\n  condition: evt.type=open\n  output: o\n  priority: INFO\n";

/// [`RULE`] with its condition replaced.
fn rule(condition: &str) -> String {
    RULE.replace("evt.type=open", condition)
}

/// [`RULE`] with more keys.
fn with(lines: &str) -> String {
    format!("{RULE}  {}\n", lines.replace('\n', "\n  "))
}

/// [`RULE`], and another item for it.
fn then(lines: &str) -> String {
    format!("{RULE}- rule: r\n  {}\n", lines.replace('\n', "\n  "))
}

#[test]
fn files_and_items() {
    for (text, expected) in [
        (format!("---\n---\n{RULE}---\n"), ""),
        (format!("-\n- ~\n{RULE}"), ""),
        ("rule: x\n".into(), "ERR_YAML_VALIDATE"),
        ("hello\n".into(), "ERR_YAML_VALIDATE"),
        ("- [a]\n".into(), "ERR_YAML_VALIDATE"),
        ("a: b: c\n".into(), "ERR_YAML_PARSE"),
        ("- macro: m\n  list: l\n  items: [a]\n".into(), "UNKNOWN_KEY UNUSED_LIST"),
        (format!("- foo: x\n{RULE}"), "UNKNOWN_ITEM"),
        (with("foo: bar"), "UNKNOWN_KEY"),
        (rule("evt.type=open and proc.name=${HOME}"), ""),
    ] {
        assert_eq!(codes(&text), expected, "{text}");
    }
}

#[test]
fn requirements() {
    let plugins = |entry: &str| format!("- required_plugin_versions:\n  - {entry}\n{RULE}");
    for (text, expected) in [
        (format!("- required_engine_version: 63\n{RULE}"), ""),
        (format!("- required_engine_version: 64\n{RULE}"), "ERR_VALIDATE"),
        (format!("- required_engine_version: 0.63.0\n{RULE}"), ""),
        (format!("- required_engine_version: 1.0.0\n{RULE}"), "ERR_VALIDATE"),
        (format!("- required_engine_version: x\n{RULE}"), "ERR_YAML_VALIDATE"),
        (plugins("{name: json, version: 0.1.0}"), ""),
        (plugins("{name: json, version: x}"), "ERR_VALIDATE"),
        (plugins("{version: 0.1.0}"), "ERR_YAML_VALIDATE"),
        (plugins("{name: a, version: 0.1.0, alternatives: [{name: b, version: 1.0.0}]}"), ""),
        (plugins("{name: a, version: 0.1.0, alternatives: [{name: a, version: 1.0.0}]}"), "ERR_VALIDATE"),
        (format!("- required_plugin_versions: 1\n{RULE}"), "ERR_YAML_VALIDATE"),
    ] {
        assert_eq!(codes(&text), expected, "{text}");
    }
    let greatest = load(&["- required_engine_version: 10\n", "- required_engine_version: 0.31.0\n"]).1;
    let described = falco_sensor::rules::describe::describe(&greatest, &Environment::syscalls(), None);
    assert_eq!(described["required_engine_version"], "0.31.0");
}

#[test]
fn lists_and_macros() {
    for (text, expected) in [
        (format!("- list: l\n{RULE}"), "ERR_YAML_VALIDATE"),
        (format!("- list: l\n  items: x\n{RULE}"), "ERR_YAML_VALIDATE"),
        (format!("- list: l\n  items: [[x]]\n{RULE}"), "ERR_YAML_VALIDATE"),
        (format!("- list: a b\n  items: [x]\n{RULE}"), "INVALID_LIST_NAME UNUSED_LIST"),
        (format!("- list: l\n  items: []\n{}", rule("evt.type=open and proc.name in (l)")), ""),
        (format!("- list: l\n  items: [a]\n  append: true\n{RULE}"), "ERR_VALIDATE DEPRECATED_ITEM"),
        (format!("- macro: m\n{RULE}"), "ERR_YAML_VALIDATE"),
        (format!("- macro: a b\n  condition: evt.type=open\n{RULE}"), "INVALID_MACRO_NAME UNUSED_MACRO"),
        (format!("- macro: m\n  condition: n\n- macro: n\n  condition: evt.type=open\n{}", rule("m")), "ERR_VALIDATE"),
        (format!("- macro: m\n  condition: m\n{}", rule("m")), "ERR_VALIDATE"),
        (format!("- macro: m\n  condition: and a\n  append: true\n{RULE}"), "ERR_VALIDATE DEPRECATED_ITEM"),
    ] {
        assert_eq!(codes(&text), expected, "{text}");
    }
    // Rules may come before what they use; macros may not.
    let later = "- macro: m\n  condition: evt.type=open\n";
    assert_eq!(condition(&[&format!("{}{later}", rule("m"))], "r"), "evt.type = open");
    // A later definition, an append and an override of a macro and of a list reach the rules before them.
    let macros =
        ["- macro: m\n  condition: evt.type=open\n", &rule("m and proc.name in (l)"), "- list: l\n  items: [a]\n"];
    let given = macros.concat();
    let base = "(evt.type = open and proc.name in (a))";
    assert_eq!(condition(&[&given], "r"), base);
    for (more, expected) in [
        ("- macro: m\n  condition: evt.type=close\n", "(evt.type = close and proc.name in (a))"),
        (
            "- macro: m\n  condition: or evt.type=close\n  override: {condition: append}\n",
            "((evt.type = open or evt.type = close) and proc.name in (a))",
        ),
        ("- list: l\n  items: [b, c]\n  override: {items: append}\n", "(evt.type = open and proc.name in (a, b, c))"),
        ("- list: l\n  items: [b]\n  append: true\n", "(evt.type = open and proc.name in (a, b))"),
        ("- list: l\n  items: [b]\n  override: {items: replace}\n", "(evt.type = open and proc.name in (b))"),
    ] {
        assert_eq!(condition(&[&given, more], "r"), expected, "{more}");
    }
}

#[test]
fn keys_of_rules() {
    for key in ["condition: evt.type=open", "output: o", "desc: d", "priority: INFO"] {
        assert_eq!(codes(&RULE.replace(&format!("  {key}\n"), "")), "ERR_YAML_VALIDATE", "{key}");
    }
    for word in ["Emergency", "ALERT", "critical", "error", "Warning", "notice", "informational", "info", "Debug"] {
        assert_eq!(codes(&RULE.replace("INFO", word)), "", "{word}");
    }
    for word in ["bogus", "\"\"", "3"] {
        assert_eq!(codes(&RULE.replace("INFO", word)), "ERR_YAML_VALIDATE", "{word}");
    }
    for (text, expected) in [
        (with("source: foo"), "UNKNOWN_SOURCE"),
        (with("enabled: maybe"), "ERR_YAML_VALIDATE"),
        (with("tags: a"), "ERR_YAML_VALIDATE"),
        (with("capture: true\ncapture_duration: 100"), ""),
        (with("capture: 5"), "ERR_YAML_VALIDATE"),
        (with("capture_duration: x"), "ERR_YAML_VALIDATE"),
        (rule("proc.name=x"), "NO_EVTTYPE"),
        (rule("proc.name=x") + "  warn_evttypes: false\n", ""),
        (rule("evt.type=open and evt.type=close"), ""),
        (rule("evt.type=open and foo.bar=x"), "ERR_COMPILE_CONDITION"),
        (rule("evt.type=open and foo.bar=x") + "  skip-if-unknown-filter: true\n", "UNKNOWN_FILTER"),
        (rule("evt.type=nosuch") + "  skip-if-unknown-filter: true\n", "UNKNOWN_FILTER"),
        (RULE.replace("output: o", "output: '%foo.bar'"), "ERR_COMPILE_OUTPUT"),
        (RULE.replace("output: o", "output: '100%'"), "ERR_COMPILE_OUTPUT"),
        (RULE.replace("output: o", "output: '%container.info'"), "DEPRECATED_ITEM"),
        (rule("evt.type=open and evt.dir=<"), "DEPRECATED_ITEM"),
        (rule("evt.type=open and proc.name=proc.pname"), "COMPILE_CONDITION"),
        (rule("[a]"), "ERR_YAML_VALIDATE"),
        (RULE.replace("rule: r", "rule:"), "ERR_YAML_VALIDATE"),
        (then("enabled: false"), "DEPRECATED_ITEM"),
        ("- rule: r\n  enabled: false\n".into(), "ERR_VALIDATE"),
        (then("tags: [a]"), "ERR_YAML_VALIDATE"),
        (format!("{RULE}{}", with("source: k8s")), "ERR_VALIDATE"),
    ] {
        assert_eq!(codes(&text), expected, "{text}");
    }
    let (_, loaded) = load(&[
        &with("tags: [b, a, b]"),
        &rule("evt.type=close").replace("rule: r", "rule: s"),
        &then("enabled: false"),
    ]);
    assert_eq!(loaded.rules[0].tags.iter().collect::<Vec<_>>(), Vec::<&String>::new(), "defined anew without tags");
    assert_eq!(loaded.rules.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["r", "s"], "the first place is kept");
    assert!(!loaded.rules[0].enabled);
}

#[test]
fn append_and_override() {
    for (lines, expected) in [
        ("append: true\ncondition: and proc.name=x", "DEPRECATED_ITEM"),
        ("append: true", "ERR_VALIDATE DEPRECATED_ITEM"),
        (
            "append: true\ncondition: and proc.name=x\noverride: {condition: append}",
            "ERR_YAML_VALIDATE DEPRECATED_ITEM",
        ),
        ("condition: and proc.name=x\noverride: {condition: append}", ""),
        ("condition: and proc.name=x\noverride: {condition: remove}", "ERR_YAML_VALIDATE"),
        ("override: {condition: append}", "ERR_YAML_VALIDATE"),
        ("condition: and proc.name=x\noutput: z\noverride: {condition: append}", "ERR_YAML_VALIDATE"),
        ("priority: ERROR\noverride: {priority: append}", "ERR_YAML_VALIDATE"),
        ("source: syscall\noverride: {source: replace}", "ERR_YAML_VALIDATE"),
        ("condition: and proc.name=x\noverride: append", "ERR_YAML_VALIDATE"),
    ] {
        assert_eq!(codes(&then(lines)), expected, "{lines}");
    }
    for text in [
        "- rule: z\n  condition: and a\n  override: {condition: append}\n",
        "- rule: z\n  tags: [a]\n  override: {tags: replace}\n",
    ] {
        assert_eq!(codes(text), "ERR_VALIDATE", "{text}");
    }
    let (results, loaded) = load(&[
        &with("tags: [b]"),
        "- rule: r\n  condition: and proc.name=x\n  output: more\n  desc: e\n  tags: [a]\n  override: {condition: append, output: append, desc: append, tags: append}\n",
    ]);
    assert!(results[1].successful(), "{}", results[1].text(true));
    let rule = &loaded.rules[0];
    assert_eq!(
        (rule.condition.to_string().as_str(), rule.output.as_str(), rule.desc.as_str()),
        ("(evt.type = open and proc.name = x)", "o more", "d e")
    );
    assert_eq!(rule.tags.iter().collect::<Vec<_>>(), ["a", "b"]);
    let (results, loaded) = load(&[
        &with("tags: [b]"),
        "- rule: r\n  condition: evt.type=close\n  output: n\n  desc: e\n  tags: [a]\n  priority: ERROR\n  enabled: false\n  capture: true\n  capture_duration: 5\n  override: {condition: replace, output: replace, desc: replace, tags: replace, priority: replace, enabled: replace, capture: replace, capture_duration: replace}\n",
    ]);
    assert!(results[1].successful(), "{}", results[1].text(true));
    let rule = &loaded.rules[0];
    assert_eq!(
        (rule.condition.to_string().as_str(), rule.output.as_str(), rule.desc.as_str()),
        ("evt.type = close", "n", "e")
    );
    assert_eq!((rule.priority.as_str(), rule.enabled, rule.capture, rule.capture_duration), ("Error", false, true, 5));
}

#[test]
fn exceptions() {
    let of = |entry: &str| with(&format!("exceptions:\n- {}", entry.replace('\n', "\n  ")));
    for (entry, expected) in [
        (
            "name: e\nfields: [proc.name, proc.pname]\nvalues:\n- [a, b]\n- [c, d e]",
            "not ((proc.name = a and proc.pname = b) or (proc.name = c and proc.pname = \"d e\"))",
        ),
        (
            "name: e\nfields: [proc.name, fd.name]\ncomps: [in, startswith]\nvalues:\n- [[a, b], /x]\n- [a, /y]",
            "not ((proc.name in (a, b) and fd.name startswith /x) or (proc.name in (a) and fd.name startswith /y))",
        ),
        ("name: e\nfields: proc.name\nvalues: [a, b c]", "not proc.name in (a, \"b c\")"),
        ("name: e\nfields: fd.name\ncomps: pmatch\nvalues: [/a, /b]", "not fd.name pmatch (/a, /b)"),
        ("name: e\nfields: [tolower( proc.name )]\nvalues: [[a]]", "not tolower(proc.name) = a"),
    ] {
        assert_eq!(condition(&[&of(entry)], "r"), format!("(evt.type = open and {expected})"), "{entry}");
    }
    assert_eq!(condition(&[&of("name: e\nfields: [proc.name]")], "r"), "evt.type = open");
    let listed =
        format!("- list: l\n  items: [a, b]\n{}", of("name: e\nfields: [proc.name]\ncomps: [in]\nvalues: [[l]]"));
    assert_eq!(condition(&[&listed], "r"), "(evt.type = open and not proc.name in (a, b))");
    for (entry, expected) in [
        ("name: e\nfields: [proc.name, fd.name]\ncomps: [in]\nvalues: [[a, b]]", "ERR_VALIDATE"),
        ("name: e\nfields: [proc.name, fd.name]\nvalues: [[a]]", "ERR_VALIDATE"),
        ("name: e\nfields: fd.name\ncomps: startswith\nvalues: [a]", "ERR_VALIDATE"),
        ("name: e\nfields: fd.name\nvalues: [[a]]", "ERR_VALIDATE"),
        ("name: e\nfields: [fd.name]\ncomps: in\nvalues: [[a]]", "ERR_VALIDATE"),
        ("name: e\nfields: [foo.bar]\nvalues: [[a]]", "ERR_VALIDATE"),
        ("name: e\nfields: [fd.name]\ncomps: [foo]\nvalues: [[a]]", "ERR_VALIDATE"),
        ("name: e\nvalues: [[a]]", "ERR_YAML_VALIDATE"),
        ("fields: [fd.name]\nvalues: [[a]]", "ERR_YAML_VALIDATE"),
        ("name: e\nfields: [fd.name]\nfoo: x", "UNKNOWN_KEY"),
    ] {
        assert_eq!(codes(&of(entry)), expected, "{entry}");
    }
    let base = of("name: e\nfields: [proc.name]\nvalues: [[a]]");
    let more = |how: &str, entry: &str| {
        let entry = entry.replace('\n', "\n    ");
        format!("- rule: r\n  exceptions:\n  - {entry}\n  override: {{exceptions: {how}}}\n")
    };
    for (entry, expected) in [
        ("name: e\nvalues: [[b]]", ""),
        ("name: f\nfields: [proc.pname]\nvalues: [[b]]", ""),
        ("name: e\nfields: [proc.name]\nvalues: [[b]]", "ERR_VALIDATE"),
        ("name: e\ncomps: [in]\nvalues: [[b]]", "ERR_VALIDATE"),
        ("name: f\nvalues: [[b]]", "ERR_VALIDATE"),
        ("name: f\nfields: [proc.name]", "ERR_VALIDATE APPEND_NO_VALUES"),
        ("name: e", "APPEND_NO_VALUES"),
    ] {
        assert_eq!(codes(&format!("{base}{}", more("append", entry))), expected, "{entry}");
    }
    let appended = condition(&[&base, &more("append", "name: e\nvalues: [[b]]")], "r");
    assert_eq!(appended, "(evt.type = open and not (proc.name = a or proc.name = b))");
    let replaced = condition(&[&base, &more("replace", "name: f\nfields: [proc.pname]\nvalues: [[c]]")], "r");
    assert_eq!(replaced, "(evt.type = open and not proc.pname = c)");
}

#[test]
fn choosing_rules() {
    let named = |name: &str, more: &str| format!("{}{more}", RULE.replace("rule: r", &format!("rule: {name}")));
    let text = [
        named("one a", "  tags: [x, y]\n"),
        named("two a", "  enabled: false\n  tags: [x]\n"),
        named("two b", "").replace("INFO", "ERROR"),
        named("a+b (c)", "  tags: [y]\n"),
    ];
    let (_, loaded) = load(&[&text.concat()]);
    let chosen = |threshold: Priority, steps: &[(bool, Selected)]| {
        let mut selection = Selection::of(&loaded, threshold);
        for (enable, what) in steps {
            selection.apply(&loaded, threshold, &Selector { enable: *enable, what: what.clone() });
        }
        selection.rules().iter().map(|i| loaded.rule(*i).name.clone()).collect::<Vec<_>>()
    };
    let (rule, tag) = (|name: &str| Selected::Rule(name.into()), |name: &str| Selected::Tag(name.into()));
    for (steps, expected) in [
        (vec![], vec!["one a", "two b", "a+b (c)"]),
        (vec![(false, rule("*"))], vec![]),
        (vec![(false, rule("*")), (true, tag("x"))], vec!["one a", "two a"]),
        (vec![(false, tag("y"))], vec!["two b"]),
        (vec![(true, rule("two*"))], vec!["one a", "two b", "a+b (c)", "two a"]),
        (vec![(false, rule("one a")), (true, rule("one a"))], vec!["two b", "a+b (c)", "one a"]),
        // Only the star is special, and a name is matched whole.
        (vec![(false, rule("two")), (false, rule("?ne a")), (false, rule("a+b (c)"))], vec!["one a", "two b"]),
        (vec![(false, rule("*b*"))], vec!["one a"]),
    ] {
        assert_eq!(chosen(Priority::Debug, &steps), expected, "{steps:?}");
    }
    assert_eq!(chosen(Priority::Warning, &[(true, rule("*"))]), ["two b"], "less severe rules stay out");
}
