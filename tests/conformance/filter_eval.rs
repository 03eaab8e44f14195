//! `filter-eval.jsonl`: conditions over made-up fields, transformers, path prefixes and functions; scripts of events are in `events`.

use super::data::{Outcome, bytes, check, text, unknown};
use super::mock::{MOCK, Mock, def};
use super::{events, functions};
use bumpalo::Bump;
use falco_sensor::event::value::{Extract, FieldUse, Type, Value as Val};
use falco_sensor::filter::ast::TransformerName;
use falco_sensor::filter::transform::TermType;
use falco_sensor::filter::{Compiler, EvalContext, Matching, RuleIndex, parser, pathprefix, transform};
use serde_json::{Value, json};

pub fn run(case: &Value) -> Outcome {
    match text(case, "kind") {
        "events" => events::run(case).map_or_else(Outcome::Failed, |()| Outcome::Passed),
        "mock_filter" => mock_filter(case),
        "transformer" => transformer(case),
        "transformer_types" => transformer_types(case),
        "transformer_signature" => transformer_signature(case),
        "path_prefix" => path_prefix(case),
        "function" => functions::of_events(case),
        kind => unknown("kind", kind),
    }
}

/// An event of made-up values.
struct MockEvent {
    values: Vec<MockValue>,
}

enum MockValue {
    Int(i64),
    Text(Vec<u8>),
    Bytes(Vec<u8>),
    List(Vec<Vec<u8>>),
}

impl Extract for MockEvent {
    fn extract<'a>(&'a self, field: &FieldUse, arena: &'a Bump) -> Option<Val<'a>> {
        Some(match self.values.get(field.id.0.checked_sub(MOCK)? as usize)? {
            MockValue::Int(n) => Val::I64(*n),
            MockValue::Text(text) => Val::Str(text),
            MockValue::Bytes(bytes) => Val::Bytes(bytes),
            MockValue::List(items) => Val::List(arena.alloc_slice_fill_iter(items.iter().map(|i| Val::Str(i)))),
        })
    }
    fn event_code(&self) -> u16 {
        1
    }
}

fn mock_filter(case: &Value) -> Outcome {
    let fields = case["mock_fields"].as_object().expect("mock fields");
    let (mut scheme, mut event) = (Mock { fields: Vec::new() }, MockEvent { values: Vec::new() });
    for (name, field) in fields {
        let ty = match field["type"].as_str() {
            Some("PT_INT64") => Type::Int64,
            Some("PT_BYTEBUF") => Type::Bytebuf,
            None if name == "c.buffer" => Type::Bytebuf,
            _ => Type::Charbuf,
        };
        let list = field["list"].is_array();
        scheme.fields.push(def(name, ty, list, field["no_transformers"] == json!(true)));
        event.values.push(match (&field["value"], &field["list"]) {
            (_, Value::Array(items)) => MockValue::List(items.iter().map(bytes).collect()),
            (Value::Number(n), _) => MockValue::Int(n.as_i64().unwrap_or(0)),
            (Value::String(text), _) if ty == Type::Bytebuf => MockValue::Bytes(text.clone().into()),
            (Value::String(text), _) => MockValue::Text(text.clone().into()),
            // "any comparison is true/false" of these cases are all comparisons with 1.
            _ => MockValue::Text(
                match name.as_str() {
                    "c.true" => "1",
                    "c.doublequote" => "hello \"quoted\"",
                    "c.singlequote" => "hello 'quoted'",
                    _ => "no",
                }
                .into(),
            ),
        });
    }
    let expr = text(case, "expr");
    let mut compiler = Compiler::new(&scheme, Matching::First);
    let compiled = parser::parse(expr).and_then(|tree| compiler.add(RuleIndex(0), &tree));
    let expected = &case["expected"];
    if let Some(compiles) = expected["compiles"].as_bool() {
        return check(compiled.is_ok() == compiles, || format!("{expr}: {compiled:?}"));
    }
    if let Err(error) = compiled {
        return Outcome::Failed(format!("{expr}: {error}"));
    }
    let (mut matched, arena) = (false, Bump::new());
    compiler.finish().evaluate(&event, &mut EvalContext::new(), &arena, |_| matched = true);
    check(json!(matched) == expected["result"], || format!("{expr}: {matched}"))
}

fn type_of(name: &str) -> Option<Type> {
    Some(match name {
        "PT_CHARBUF" => Type::Charbuf,
        "PT_FSPATH" => Type::FsPath,
        "PT_FSRELPATH" => Type::FsRelPath,
        "PT_BYTEBUF" => Type::Bytebuf,
        "PT_UINT64" => Type::Uint64,
        "PT_INT64" => Type::Int64,
        _ => return None,
    })
}

fn transformer(case: &Value) -> Outcome {
    let name = TransformerName::from_word(text(case, "transformer"));
    let (Some(name), Some(ty)) = (name, type_of(text(case, "input_type"))) else {
        return unknown("transformer or type", text(case, "transformer"));
    };
    let is_list = case["is_list"] == json!(true);
    let arena = Bump::new();
    let inputs: Vec<Val> = case["input"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|v| match v {
            Value::Number(n) => Val::U64(n.as_u64().unwrap_or(0)),
            v if ty == Type::Bytebuf => Val::Bytes(arena.alloc_slice_copy(&bytes(v))),
            v => Val::Str(arena.alloc_slice_copy(&bytes(v))),
        })
        .collect();
    let expected = &case["expected"];
    let out_type = transform::result_type(name, &[TermType { ty, list: is_list }], false);
    if expected["fails"] == json!(true) || expected["type"].is_null() {
        return match out_type {
            Err(_) => Outcome::Passed,
            Ok(_) => {
                let all = inputs.iter().all(|v| transform::apply(name, &[*v], None, &arena).is_none());
                check(all, || "was transformed".into())
            }
        };
    }
    let out_type = match out_type {
        Ok(ty) => ty,
        Err(why) => return Outcome::Failed(why),
    };
    // Scalars are transformed one by one; a list as a whole.
    let results: Vec<Option<Val>> = if is_list {
        match transform::apply(name, &[Val::List(arena.alloc_slice_copy(&inputs))], None, &arena) {
            Some(Val::List(items)) => items.iter().copied().map(Some).collect(),
            other => vec![other],
        }
    } else {
        inputs.iter().map(|v| transform::apply(name, &[*v], None, &arena)).collect()
    };
    let shown: Vec<Value> = results
        .iter()
        .map(|v| match v {
            Some(Val::U64(n)) => json!(n),
            Some(Val::Str(s) | Val::Bytes(s)) => json!(String::from_utf8_lossy(s)),
            _ => Value::Null,
        })
        .collect();
    let same_type = type_of(text(expected, "type")).is_none_or(|t| t == out_type.ty);
    check(same_type && json!(shown) == expected["values"], || format!("{shown:?} {out_type:?}"))
}

fn transformer_types(case: &Value) -> Outcome {
    let Some(name) = TransformerName::from_word(text(case, "transformer")) else {
        return unknown("transformer", text(case, "transformer"));
    };
    let all = [
        (Type::Charbuf, "PT_CHARBUF"),
        (Type::FsPath, "PT_FSPATH"),
        (Type::FsRelPath, "PT_FSRELPATH"),
        (Type::Bytebuf, "PT_BYTEBUF"),
        (Type::Int8, "PT_INT8"),
        (Type::Uint64, "PT_UINT64"),
        (Type::Bool, "PT_BOOL"),
        (Type::IpAddr, "PT_IPADDR"),
        (Type::IpNet, "PT_IPNET"),
        (Type::Double, "PT_DOUBLE"),
        (Type::Port, "PT_PORT"),
        (Type::Flags32, "PT_FLAGS32"),
    ];
    for (list, key) in [(false, "accepts"), (true, "accepts_as_list")] {
        let wanted = &case["expected"][key];
        for (ty, shown) in all {
            let want = *wanted == json!("all types")
                || wanted.as_array().into_iter().flatten().any(|v| v.as_str() == Some(shown));
            if transform::result_type(name, &[TermType { ty, list }], false).is_ok() != want {
                return Outcome::Failed(format!("{shown} list={list}: expected {want}"));
            }
        }
    }
    Outcome::Passed
}

fn path_prefix(case: &Value) -> Outcome {
    let list: Vec<&str> = case["prefixes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let prefixes = pathprefix::PathPrefixes::new(list.iter().map(|p| p.as_bytes()));
    for wanted in case["expected"]["checks"].as_array().into_iter().flatten() {
        let path = text(wanted, "path");
        if json!(prefixes.is_match(path.as_bytes())) != wanted["matches"] {
            return Outcome::Failed(path.to_owned());
        }
    }
    Outcome::Passed
}

/// Which arguments a transformer of several takes: a list of checks, each with the types and whether they fit.
fn transformer_signature(case: &Value) -> Outcome {
    let Some(name) = TransformerName::from_word(text(case, "transformer")) else {
        return unknown("transformer", text(case, "transformer"));
    };
    let expected = &case["expected"];
    let checks = [&expected["checks"], &case["checks"], expected].into_iter().find_map(Value::as_array);
    let Some(checks) = checks else { return Outcome::Failed(format!("{expected} has an unknown shape")) };
    for one in checks {
        let types: Option<Vec<TermType>> = ["args", "types", "inputs"]
            .iter()
            .find_map(|key| one[*key].as_array())
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .map(|arg| {
                let ty = type_of(arg.as_str().unwrap_or_else(|| text(arg, "type")))?;
                Some(TermType { ty, list: arg["list"] == json!(true) || arg["is_list"] == json!(true) })
            })
            .collect();
        let wanted = ["ok", "valid", "accepts", "accepted"].iter().find_map(|key| one[*key].as_bool());
        let (Some(types), Some(wanted)) = (types, wanted) else {
            return Outcome::Failed(format!("{one} has an unknown shape"));
        };
        if transform::result_type(name, &types, false).is_ok() != wanted {
            return Outcome::Failed(one.to_string());
        }
    }
    Outcome::Passed
}
