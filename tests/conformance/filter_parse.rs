//! `filter-parse.jsonl`: parsing, printing, escaping, compiling, inference of event types, warnings.

use super::data::{Outcome, base64, bytes, check, text, unknown};
use super::mock::Mock;
use falco_sensor::filter::ast::{Expr, Operand, Pos, Right, Text, TransformerName};
use falco_sensor::filter::details::Details;
use falco_sensor::filter::lower::Lower;
use falco_sensor::filter::{CodeSet, Scheme, SyscallScheme, escape, infer, parser, warn};
use serde_json::{Value, json};

pub fn run(case: &Value) -> Outcome {
    match text(case, "kind") {
        "parse" => parse(case),
        "ast_equal" => {
            let equal = parser::parse(text(case, "expr")).ok() == parser::parse(text(case, "other")).ok();
            check(json!(equal) == case["expected"]["equal"], || format!("equal: {equal}"))
        }
        "vocabulary" => vocabulary(&case["expected"]),
        "escape" => escaping(case),
        "compile" => compile(case),
        "evttypes" => event_types(case),
        "warns" => warns(case),
        "details" => details(case),
        kind => unknown("kind", kind),
    }
}

fn parse(case: &Value) -> Outcome {
    let expected = &case["expected"];
    let expr = match &case["expr_repeat"] {
        Value::Null => text(case, "expr").to_owned(),
        repeat => match repeated(repeat) {
            Some(expr) => expr,
            None => return Outcome::Failed(format!("{repeat} has an unknown shape")),
        },
    };
    let depth = case["max_depth"].as_u64().map_or(parser::DEFAULT_MAX_DEPTH, |n| n as usize);
    let mut variants = vec![expr.clone()];
    if case["whitespace_variants"] == json!(true) {
        variants.push(format!(" {expr} "));
        variants.push(expr.replace(' ', "\n"));
        variants.push(expr.replace(' ', "\t"));
    }
    let accept = expected["accept"] == json!(true);
    for variant in &variants {
        let parsed = parser::parse_with(variant, depth);
        if parsed.is_ok() != accept {
            return Outcome::Failed(format!("{variant:?}: {:?}", parsed.map(|(e, _)| e.to_string())));
        }
    }
    let (tree, end) = match parser::parse_with(&expr, depth) {
        Ok(parsed) => parsed,
        Err(error) => {
            let message = expected["error"].as_str();
            return check(message.is_none_or(|m| m == error.message), || format!("says {:?}", error.message));
        }
    };
    let mut actual = serde_json::Map::new();
    for key in expected.as_object().into_iter().flatten().map(|(key, _)| key) {
        let value = match key.as_str() {
            "accept" => json!(true),
            "ast" => tree_json(&tree),
            "printed" => json!(tree.to_string()),
            "print_roundtrip" => json!(parser::parse(&tree.to_string()).as_ref() == Ok(&tree)),
            "end_pos" => json!({"idx": end.offset, "line": end.line, "col": end.column}),
            "positions" => json!(positions(&tree)),
            "positions_contain" => {
                let all = positions(&tree);
                let wanted = expected[key].as_array().cloned().unwrap_or_default();
                if wanted.iter().all(|w| all.contains(w)) { json!(wanted) } else { json!(all) }
            }
            "lhs_arg" => left_arg(&tree).map_or(Value::Null, |arg| json!(String::from_utf8_lossy(arg))),
            "lhs_has_arg" => json!(left_arg(&tree).is_some()),
            other => return unknown("expectation", other),
        };
        actual.insert(key.clone(), value);
    }
    check(Value::Object(actual.clone()) == *expected, || Value::Object(actual).to_string())
}

/// `expr_repeat`: a prefix, a middle and a suffix with counts, in one of the shapes the data set uses.
fn repeated(repeat: &Value) -> Option<String> {
    let part = |key: &str| repeat[key].as_str().unwrap_or("");
    let count = ["count", "times", "n"].iter().find_map(|key| repeat[key].as_u64())? as usize;
    let (before, middle, after) = match repeat["prefix"].is_string() {
        true => (part("prefix"), [part("middle"), part("expr"), part("core")].concat(), part("suffix")),
        false => (part("text"), String::new(), ""),
    };
    Some(before.repeat(count) + &middle + &after.repeat(count))
}

fn left_arg(tree: &Expr) -> Option<&Text> {
    match tree {
        Expr::Compare { left: Operand::Field { arg, .. } | Operand::Transform { arg, .. }, .. } => arg.as_ref(),
        _ => None,
    }
}

fn shown(text: &[u8]) -> Value {
    json!(String::from_utf8_lossy(text))
}

fn tree_json(tree: &Expr) -> Value {
    let all = |children: &[Expr]| children.iter().map(tree_json).collect::<Vec<_>>();
    match tree {
        Expr::And { children, .. } => json!({"type": "and", "children": all(children)}),
        Expr::Or { children, .. } => json!({"type": "or", "children": all(children)}),
        Expr::Not { child, .. } => json!({"type": "not", "child": tree_json(child)}),
        Expr::Identifier { name, .. } => json!({"type": "identifier", "identifier": name}),
        Expr::Exists { left, .. } => json!({"type": "unary_check", "left": operand_json(left), "op": "exists"}),
        Expr::Compare { left, op, modifier, right, .. } => {
            let op = modifier.map_or(op.to_string(), |m| format!("{op} {m}"));
            json!({"type": "binary_check", "left": operand_json(left), "op": op, "right": match right {
                Right::Value { text, .. } => json!({"type": "value", "value": shown(text)}),
                Right::List { values, .. } => {
                    json!({"type": "list", "values": values.iter().map(|v| shown(v)).collect::<Vec<_>>()})
                }
                Right::Field { field, .. } => {
                    json!({"type": "transformer", "name": "val", "values": [operand_json(field)], "arg": null})
                }
                Right::Operand(operand) => operand_json(operand),
            }})
        }
    }
}

fn operand_json(operand: &Operand) -> Value {
    let arg_json = |arg: &Option<Text>| arg.as_ref().map_or(Value::Null, |arg| shown(arg));
    match operand {
        Operand::Field { name, arg, .. } => json!({"type": "field", "name": name, "arg": arg_json(arg)}),
        Operand::Transform { name, args, arg, .. } => json!({
            "type": "transformer",
            "name": name.as_str(),
            "values": args.iter().map(operand_json).collect::<Vec<_>>(),
            "arg": arg_json(arg),
        }),
        Operand::Literal { text, .. } => json!({"type": "value", "value": shown(text)}),
        Operand::List { items, .. } => {
            json!({"type": "transformer_list", "values": items.iter().map(operand_json).collect::<Vec<_>>()})
        }
    }
}

fn positions(tree: &Expr) -> Vec<Value> {
    fn add(out: &mut Vec<Value>, node: &str, pos: Pos) {
        out.push(json!({"node": node, "idx": pos.offset, "line": pos.line, "col": pos.column}));
    }
    fn operand(out: &mut Vec<Value>, o: &Operand) {
        o.walk(&mut |o| {
            let node = match o {
                Operand::Field { .. } => "field",
                Operand::Transform { .. } => "transformer",
                Operand::Literal { .. } => "value",
                Operand::List { .. } => "transformer_list",
            };
            add(out, node, o.pos());
        });
    }
    let mut out = Vec::new();
    tree.walk(&mut |node| {
        let name = match node {
            Expr::And { .. } => "and",
            Expr::Or { .. } => "or",
            Expr::Not { .. } => "not",
            Expr::Identifier { .. } => "identifier",
            Expr::Exists { .. } => "unary",
            Expr::Compare { .. } => "binary",
        };
        add(&mut out, name, node.pos());
        match node {
            Expr::Exists { left, .. } => operand(&mut out, left),
            Expr::Compare { left, right, .. } => {
                operand(&mut out, left);
                match right {
                    Right::Value { pos, .. } => add(&mut out, "value", *pos),
                    Right::List { pos, .. } => add(&mut out, "list", *pos),
                    Right::Field { pos, field } => {
                        add(&mut out, "transformer", *pos);
                        operand(&mut out, field);
                    }
                    Right::Operand(o) => operand(&mut out, o),
                }
            }
            _ => {}
        }
    });
    out
}

fn vocabulary(expected: &Value) -> Outcome {
    use falco_sensor::filter::ast::{Modifier, Op};
    let names: Vec<&str> = TransformerName::ALL.iter().map(|t| t.as_str()).collect();
    let mut with_val = vec!["val"];
    with_val.extend(&names);
    let mut operators = vec!["exists"];
    operators.extend(Op::ALL.iter().map(|op| op.as_str()));
    let modifiers: Vec<&str> = Modifier::ALL.iter().map(|m| m.as_str()).collect();
    let same = |wanted: &Value, have: &[&str]| {
        let sorted = |mut v: Vec<String>| {
            v.sort();
            v
        };
        let wanted = wanted.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned));
        sorted(wanted.collect()) == sorted(have.iter().map(|s| (*s).to_owned()).collect())
    };
    for (key, wanted) in expected.as_object().into_iter().flatten() {
        let ok = match key.as_str() {
            "transformers" => same(wanted, &names),
            "transformers_with_val" => same(wanted, &with_val),
            "operators" => {
                let mut all = operators.clone();
                same(wanted, &operators) || {
                    all.extend(&modifiers);
                    same(wanted, &all)
                }
            }
            "modifiers" => same(wanted, &modifiers),
            "list_operators" => same(wanted, &["intersects", "in", "pmatch"]),
            other => return unknown("expectation", other),
        };
        if !ok {
            return Outcome::Failed(key.clone());
        }
    }
    Outcome::Passed
}

fn escaping(case: &Value) -> Outcome {
    let input = match case["input_b64"].as_str() {
        Some(encoded) => base64(encoded),
        None => bytes(&case["input"]),
    };
    let result = match text(case, "function") {
        "escape" => Ok(escape::quote(&input)),
        "unescape" => escape::unquote(&input),
        "escape_unescape" => escape::unquote(&escape::quote(&input)),
        other => return unknown("function", other),
    };
    let expected = &case["expected"];
    let ok = match (&result, expected["error"] == json!(true)) {
        (Err(_), true) => true,
        (Ok(output), false) => match expected["output_b64"].as_str() {
            Some(encoded) => *output == base64(encoded),
            None => *output == bytes(&expected["output"]),
        },
        _ => false,
    };
    check(ok, || format!("{:?}", result.map(|r| String::from_utf8_lossy(&r).into_owned())))
}

fn compile(case: &Value) -> Outcome {
    let mock = Mock::sinsp();
    let scheme: &dyn Scheme = if text(case, "fields") == "mock" { &mock } else { &SyscallScheme };
    let expected = &case["expected"];
    let result = parser::parse(text(case, "expr")).and_then(|tree| {
        Lower::new(scheme).condition(&tree)?;
        Ok(warn::compile_warnings(&tree, scheme).len())
    });
    let shown = || format!("{}: {result:?}", text(case, "expr"));
    if json!(result.is_ok()) != expected["compiles"] {
        return Outcome::Failed(shown());
    }
    match &result {
        Ok(warnings) => check(expected["warnings"].as_u64().is_none_or(|n| n == *warnings as u64), shown),
        Err(error) => check(expected["error"].as_str().is_none_or(|m| m == error.message), shown),
    }
}

fn event_types(case: &Value) -> Outcome {
    let set = |text: &str| {
        let tree = parser::parse(text).expect("a valid condition");
        (infer::event_codes(&tree, &SyscallScheme), infer::syscall_codes(&tree, &SyscallScheme))
    };
    let named = |names: &Value| {
        names.as_array().into_iter().flatten().filter_map(Value::as_str).fold(
            (CodeSet::EMPTY, CodeSet::EMPTY),
            |(codes, calls), name| {
                (
                    codes.union(&SyscallScheme.event_codes(name).unwrap_or_default()),
                    calls.union(&SyscallScheme.syscall_codes(name)),
                )
            },
        )
    };
    let all = (SyscallScheme.universe(), SyscallScheme.syscalls());
    let actual = set(text(case, "expr"));
    let expected = &case["expected"];
    let wanted = if let Some(other) = expected["same_as"].as_str() {
        set(other)
    } else if expected["evttypes"] == json!("all") {
        all
    } else if expected["evttypes"] == json!("none") {
        (CodeSet::EMPTY, CodeSet::EMPTY)
    } else if expected["evttypes"].is_array() {
        named(&expected["evttypes"])
    } else {
        let not = named(&expected["evttypes_except"]);
        (all.0.difference(&not.0), all.1.difference(&not.1))
    };
    check(actual == wanted, || format!("{}: {actual:?}", text(case, "expr")))
}

fn warns(case: &Value) -> Outcome {
    let tree = parser::parse(text(case, "expr")).expect("a valid condition");
    let warnings = warn::rule_warnings(&tree);
    check(json!(!warnings.is_empty()) == case["expected"]["warns"], || format!("{warnings:?}"))
}

fn details(case: &Value) -> Outcome {
    let tree = parser::parse(text(case, "expr")).expect("a valid condition");
    let details = Details::of(&tree);
    let known =
        |key: &str, name: &str| case["known"][key].as_array().into_iter().flatten().any(|v| v.as_str() == Some(name));
    for (key, wanted) in case["expected"].as_object().into_iter().flatten() {
        let mut wanted: Vec<&str> = wanted.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        wanted.sort_unstable();
        let actual: Vec<&str> = match key.as_str() {
            "fields" => details.fields.iter().map(String::as_str).collect(),
            "operators" => details.operators.iter().copied().collect(),
            "transformers" => details.transformers.iter().copied().collect(),
            "macros" => details.macros.iter().map(String::as_str).filter(|m| known("macros", m)).collect(),
            "lists" => details.values.iter().map(String::as_str).filter(|v| known("lists", v)).collect(),
            "events" | "evtnames" => details.events.iter().map(String::as_str).collect(),
            other => return unknown("expectation", other),
        };
        if actual != wanted {
            return Outcome::Failed(format!("{key}: {actual:?}"));
        }
    }
    Outcome::Passed
}
