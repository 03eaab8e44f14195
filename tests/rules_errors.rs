//! What operators are told: positions, carets, codes, JSON.

use falco_sensor::rules::{Environment, FileResult, Loader};
use serde_json::json;

fn load(text: &str) -> FileResult {
    let env = Environment::syscalls();
    Loader::new(&env).load("rules.yaml", text.to_owned())
}

const HEAD: &str = "- rule: r\n  desc: d\n  output: o\n  priority: INFO\n  condition: ";

/// Code and message of the only error.
fn error(text: &str) -> (&'static str, String) {
    let result = load(text);
    assert_eq!(result.errors.len(), 1, "{}", result.text(true));
    (result.errors[0].code.symbol(), result.errors[0].message.clone())
}

#[test]
fn a_bad_condition_is_shown_with_a_caret() {
    let result = load(&format!("{HEAD}evt.type = open and proc.name ~ cat\n"));
    let text = result.text(true);
    assert!(text.starts_with("rules.yaml: Invalid\n1 Errors:\nIn rules content: (rules.yaml:1:1)\n"), "{text}");
    assert!(text.contains("rule 'r': (rules.yaml:1:3)"), "{text}");
    let caret = "evt.type = open and proc.name ~ cat\n                              ^\n";
    assert!(text.contains(caret), "{text}");
    assert!(text.contains("LOAD_ERR_COMPILE_CONDITION (Error compiling condition): unexpected token"), "{text}");
}

#[test]
fn a_bad_condition_is_found_in_the_file() {
    let list = "- list: l\n  items: [a, b c, d]\n";
    for (condition, place) in [
        ("evt.type = open and proc.nme = x", "rules.yaml:7:34"),
        (">\n    evt.type = open\n    and proc.name in (l)\n    and proc.nme = x", "rules.yaml:10:9"),
        ("\"evt.type = open\n    and proc.nme = x\"", "rules.yaml:8:9"),
    ] {
        let text = load(&format!("{list}{HEAD}{condition}\n")).text(true);
        assert!(text.contains(&format!("condition expression: ({place})\n")), "{text}");
    }
    let text =
        load("- rule: r\n  desc: d\n  output: |\n    first\n    %nope\n  priority: INFO\n  condition: evt.type=open\n")
            .text(true);
    assert!(text.contains("output expression: (rules.yaml:5:6)\n"), "{text}");
    // What another item appended is not where the rule is.
    let appended =
        format!("{HEAD}evt.type = open\n- rule: r\n  override: {{condition: append}}\n  condition: and proc.nme = x\n");
    let text = load(&appended).text(true);
    assert!(text.contains("condition expression: (in the text:1:"), "{text}");
}

#[test]
fn results_have_falcos_json_shape() {
    let result = load(&format!("{HEAD}evt.type = opn\n  tpyo: 1\n"));
    let json = result.json();
    assert_eq!(json["name"], "rules.yaml");
    assert_eq!(json["successful"], false);
    assert_eq!(json["errors"][0]["code"], "LOAD_ERR_COMPILE_CONDITION");
    assert_eq!(json["errors"][0]["codedesc"], "Error compiling condition");
    assert_eq!(json["errors"][0]["message"], "unknown event type opn");
    let place = &json["warnings"][0]["context"]["locations"][2];
    assert_eq!(
        *place,
        json!({
            "item_type": "key",
            "item_name": "tpyo",
            "position": {"name": "rules.yaml", "line": 5, "column": 2, "offset": 79},
        })
    );
    assert!(json["warnings"][0]["context"]["snippet"].as_str().is_some_and(|s| s.contains("tpyo: 1\n  ^")));
    assert_eq!(json["schema_valid"], false);
}

#[test]
fn every_field_is_checked_against_what_it_can_be_compared_with() {
    let code = "LOAD_ERR_COMPILE_CONDITION";
    for (condition, message) in [
        ("proc.nme = cat", "filter_check called with nonexistent field proc.nme"),
        ("proc.pid contains 1", "operator 'contains' is not compatible with type INT64"),
        ("proc.pid = cat", "'cat' is not a valid number"),
        ("fd.sip = localhost", "'localhost' is not a valid IP address"),
        ("fd.snet = 10.0.0.1", "'10.0.0.1' is not a valid IP network (address/prefix)"),
        ("fd.sport = nosuchservice", "'nosuchservice' is neither a port number nor the name of a service"),
        ("proc.name regex '('", "filter error: invalid regular expression '(': error: unclosed group"),
        ("proc.aname = val(proc.name)", "field 'proc.aname' cannot be on the left side of a field-to-field comparison"),
        ("proc.name = val(proc.pid)", "cannot compare types CHARBUF and INT64: both sides must be the same"),
        ("tolower(proc.pid) = x", "transformer 'tolower' cannot be applied to type INT64"),
        ("tolower(evt.type) = open", "field 'evt.type' cannot be used inside a transformer: write its values out"),
        ("proc.name[x] = y", "field proc.name has an argument but does not accept one: 'x'"),
        ("evt.arg = y", "field evt.arg requires an argument but none was provided"),
    ] {
        let text = format!("{HEAD}{}\n", json!(format!("evt.type = open and {condition}")));
        assert_eq!(error(&text), (code, message.to_owned()), "{condition}");
    }
}

#[test]
fn a_file_with_an_error_changes_nothing() {
    let env = Environment::syscalls();
    let mut loader = Loader::new(&env);
    assert!(loader.load("good.yaml", format!("{HEAD}evt.type = open\n")).successful());
    let bad = "- macro: m\n  condition: proc.name = x\n- rule: r\n  condition: and nothing\n  append: true\n";
    assert!(!loader.load("bad.yaml", bad.to_owned()).successful());
    let loaded = loader.loaded();
    assert_eq!(loaded.rules[0].condition.to_string(), "evt.type = open");
    assert!(loaded.collected.macros.is_empty());
    assert!(
        loader.load("more.yaml", "- rule: r\n  condition: and proc.name = x\n  append: true\n".into()).successful()
    );
    assert_eq!(loader.loaded().rules[0].condition.to_string(), "(evt.type = open and proc.name = x)");
}

#[test]
fn hostile_files_are_refused_in_good_time() {
    let deep = format!("{HEAD}{}a.b = 1{}\n", "(".repeat(5000), ")".repeat(5000));
    assert_eq!(error(&deep), ("LOAD_ERR_COMPILE_CONDITION", "exceeded max depth limit of 1000".into()));
    let legal = format!("{HEAD}{}evt.type = open{}\n", "not (".repeat(900), ")".repeat(900));
    assert!(load(&legal).successful());
    let mut bomb = String::from("- macro: m0\n  condition: proc.name = a\n");
    for i in 1..40 {
        bomb += &format!("- macro: m{i}\n  condition: m{0} or m{0}\n", i - 1);
    }
    let (code, message) = error(&format!("{bomb}{HEAD}evt.type = open and m39\n"));
    assert_eq!(code, "LOAD_ERR_VALIDATE");
    assert!(message.contains("too large"), "{message}");
    for text in ["", "---\n", "- \n", "\u{0}", "[", "- rule: [x]\n", "- rule: {a: b}\n", "- 5\n", "a: *x\n", "\t- x"] {
        load(text);
    }
}

#[test]
fn lists_of_lists_do_not_grow_without_end() {
    // Each names the next, so each replacement makes room for more.
    let mut text = String::new();
    for i in 0..40 {
        text += &format!("- list: l{i}\n  items: [l{0}, l{0}, l{0}, l{0}]\n", i + 1);
    }
    let (code, message) = error(&format!("{text}{HEAD}evt.type = open and proc.name in (l0)\n"));
    assert_eq!(code, "LOAD_ERR_VALIDATE");
    assert!(message.contains("too large"), "{message}");
}
