//! Exceptions of a rule: reading them, and the text they add to its condition.
//!
//! Invariant: an exception without values changes nothing.

use super::item::{Item, error, missing, scalar};
use super::result::{Context, ErrorCode, LoadError, LoadWarning, WarningCode};
use super::yaml::{Node, Yaml};
use crate::filter::ast::{Modifier, Op, OpClass, Operand};
use crate::filter::parser::parse_operand;
use crate::filter::scheme::{Scheme, find_field};

/// A scalar, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    One(String),
    Many(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub struct Exception {
    pub name: String,
    /// `One` in the single form.
    pub fields: Entry,
    pub comps: Entry,
    /// Rows (list form) or cells (single form).
    pub values: Vec<Entry>,
    pub context: Context,
}

/// What an item says about one exception; absent parts are None.
struct Given {
    name: String,
    fields: Option<Entry>,
    comps: Option<Entry>,
    values: Option<Vec<Entry>>,
    context: Context,
}

/// Reads the exceptions of a definition or a replacement.
pub fn define(
    item: &Item<'_>,
    scheme: Option<&dyn Scheme>,
    warnings: &mut Vec<LoadWarning>,
) -> Result<Vec<Exception>, LoadError> {
    let mut out: Vec<Exception> = Vec::new();
    for given in read(item, warnings)? {
        if given.fields.is_none() {
            return Err(missing("fields", &given.context));
        }
        if out.iter().any(|e| e.name == given.name) {
            warnings.push(LoadWarning {
                code: WarningCode::ExceptionNameNotUnique,
                message: format!("Multiple definitions of exception '{}' in the same rule", given.name),
                context: given.context.clone(),
            });
        }
        out.push(complete(given, scheme)?);
    }
    Ok(out)
}

/// Joins the exceptions of an item to those of a rule.
pub fn append(
    exceptions: &mut Vec<Exception>,
    item: &Item<'_>,
    scheme: Option<&dyn Scheme>,
    warnings: &mut Vec<LoadWarning>,
) -> Result<(), LoadError> {
    for given in read(item, warnings)? {
        let known = exceptions.iter_mut().find(|e| e.name == given.name);
        if given.values.as_ref().is_none_or(Vec::is_empty) {
            warnings.push(LoadWarning {
                code: WarningCode::AppendNoValues,
                message: "Overriding/appending exception with no values".into(),
                context: given.context.clone(),
            });
        }
        match known {
            Some(known) => {
                if given.fields.is_some() || given.comps.is_some() {
                    return Err(error(
                        ErrorCode::Validate,
                        &given.context,
                        "Can not append exception fields to existing exception, only values",
                    ));
                }
                let values = given.values.unwrap_or_default();
                check_values(&known.fields, &values, &given.context)?;
                known.values.extend(values);
            }
            None => {
                if given.fields.is_none() {
                    return Err(error(
                        ErrorCode::Validate,
                        &given.context,
                        "Rule exception must have fields property with a list of fields",
                    ));
                }
                if given.values.as_ref().is_none_or(Vec::is_empty) {
                    return Err(error(
                        ErrorCode::Validate,
                        &given.context,
                        "Rule exception must have values property with a list of values",
                    ));
                }
                exceptions.push(complete(given, scheme)?);
            }
        }
    }
    Ok(())
}

fn read(item: &Item<'_>, warnings: &mut Vec<LoadWarning>) -> Result<Vec<Given>, LoadError> {
    let Some(node) = item.node.get("exceptions") else { return Ok(Vec::new()) };
    let items = match &node.value {
        Yaml::Null => return Ok(Vec::new()),
        Yaml::Sequence(items) => items,
        _ => {
            return Err(error(
                ErrorCode::YamlValidate,
                &item.context.at("exceptions", "", node.mark),
                "Rule exceptions must be a sequence",
            ));
        }
    };
    let mut out = Vec::new();
    for node in items {
        let unnamed = item.context.at("exception", "", node.mark);
        if node.mapping().is_none() {
            return Err(error(ErrorCode::YamlValidate, &unnamed, "Rule exception must be a mapping"));
        }
        let name = match node.get("name") {
            Some(name) => scalar(name, "name", &unnamed)?,
            None => return Err(missing("name", &unnamed)),
        };
        let context = item.context.at("exception", &name, node.mark);
        for (key, _) in node.mapping().unwrap_or_default() {
            let key_name = key.text().unwrap_or("");
            if !["name", "fields", "comps", "values"].contains(&key_name) {
                warnings.push(LoadWarning {
                    code: WarningCode::UnknownKey,
                    message: format!("Unknown key '{key_name}'"),
                    context: context.at("key", key_name, key.mark),
                });
            }
        }
        let part = |key: &str| node.get(key).filter(|n| !n.is_null()).map(|n| entry(n, &context)).transpose();
        let values = match part("values")? {
            None => None,
            Some(Entry::Many(values)) => Some(values),
            Some(one) => Some(vec![one]),
        };
        out.push(Given { fields: part("fields")?, comps: part("comps")?, name, values, context });
    }
    Ok(out)
}

fn entry(node: &Node, context: &Context) -> Result<Entry, LoadError> {
    match &node.value {
        Yaml::Scalar { text, .. } => Ok(Entry::One(text.clone())),
        Yaml::Null => Ok(Entry::One(String::new())),
        Yaml::Sequence(items) => items.iter().map(|n| entry(n, context)).collect::<Result<_, _>>().map(Entry::Many),
        Yaml::Mapping(_) => Err(error(
            ErrorCode::YamlValidate,
            context,
            "Can't decode YAML exception value: write a text or a list of texts",
        )),
    }
}

/// Fills in defaults and checks fields, comparators and values against each other.
fn complete(given: Given, scheme: Option<&dyn Scheme>) -> Result<Exception, LoadError> {
    let Given { name, fields, comps, values, context } = given;
    let fail = |message: String| error(ErrorCode::Validate, &context, message);
    let fields = fields.unwrap_or(Entry::Many(Vec::new()));
    let values = values.unwrap_or_default();
    let comps = match (&fields, comps) {
        (Entry::One(_), None) => Entry::One("in".into()),
        (Entry::One(_), Some(comp @ Entry::One(_))) => comp,
        (Entry::One(_), Some(Entry::Many(_))) => {
            return Err(fail("Fields and comps must both be strings".into()));
        }
        (Entry::Many(fields), None) => Entry::Many(vec![Entry::One("=".into()); fields.len()]),
        (Entry::Many(fields), Some(Entry::Many(comps))) => {
            if fields.len() != comps.len() {
                return Err(fail("Fields and comps lists must have equal length".into()));
            }
            Entry::Many(comps)
        }
        (Entry::Many(_), Some(Entry::One(_))) => {
            return Err(fail("Fields and comps must both be lists".into()));
        }
    };
    for comp in texts(&comps) {
        let Some((op, modifier)) = operator(comp) else {
            return Err(fail(format!("'{comp}' is not a supported comparison operator")));
        };
        if matches!(fields, Entry::One(_)) && op.class() != OpClass::List && modifier.is_none() {
            return Err(fail(format!(
                "comparison operator '{comp}' needs a list of fields: use in, pmatch or intersects"
            )));
        }
    }
    if let Some(scheme) = scheme {
        for field in texts(&fields) {
            if !is_field(field, scheme) {
                return Err(fail(format!("'{field}' is not a supported filter field")));
            }
        }
    }
    check_values(&fields, &values, &context)?;
    Ok(Exception { name, fields, comps, values, context })
}

fn texts(entry: &Entry) -> Vec<&str> {
    match entry {
        Entry::One(text) => vec![text],
        Entry::Many(entries) => entries.iter().flat_map(texts).collect(),
    }
}

/// `op` or `op modifier`.
fn operator(text: &str) -> Option<(Op, Option<Modifier>)> {
    let mut words = text.split_whitespace();
    let op = Op::from_word(words.next()?)?;
    let modifier = words.next().map(Modifier::from_word);
    match (modifier, words.next()) {
        (None, None) => Some((op, None)),
        (Some(Some(modifier)), None) if op.class() == OpClass::String => Some((op, Some(modifier))),
        _ => None,
    }
}

fn is_field(text: &str, scheme: &dyn Scheme) -> bool {
    let mut known = true;
    let Ok(operand) = parse_operand(text) else { return false };
    operand.walk(&mut |o| {
        if let Operand::Field { name, arg, .. } = o {
            known &= find_field(scheme, name, arg.as_deref()).is_ok();
        }
    });
    known
}

fn check_values(fields: &Entry, values: &[Entry], context: &Context) -> Result<(), LoadError> {
    let fail = |message: &str| Err(error(ErrorCode::Validate, context, message));
    for row in values {
        match (fields, row) {
            (Entry::One(_), Entry::Many(_)) => return fail("Values of an exception with one field must be scalars"),
            (Entry::One(_), Entry::One(_)) => {}
            (Entry::Many(fields), Entry::Many(row)) if fields.len() == row.len() => {}
            (Entry::Many(_), Entry::Many(_)) => return fail("Fields and values lists must have equal length"),
            (Entry::Many(_), Entry::One(_)) => return fail("Exception values must be lists: one list per row"),
        }
    }
    Ok(())
}

/// The condition with all exceptions.
pub fn apply(condition: &str, exceptions: &[Exception]) -> String {
    let mut out = condition.to_owned();
    let with_values: Vec<_> = exceptions.iter().filter(|e| !e.values.is_empty()).collect();
    if with_values.is_empty() {
        return out;
    }
    out = format!("({condition})");
    for exception in with_values {
        out.push_str(" and not ");
        out.push_str(&text(exception));
    }
    out
}

fn text(exception: &Exception) -> String {
    let (Entry::Many(fields), Entry::Many(comps)) = (&exception.fields, &exception.comps) else {
        let cells: Vec<String> = exception.values.iter().flat_map(texts).map(quoted).collect();
        let (field, comp) = (texts(&exception.fields).concat(), texts(&exception.comps).concat());
        return format!("({field} {comp} ({}))", cells.join(", "));
    };
    let rows: Vec<String> = exception
        .values
        .iter()
        .map(|row| {
            let Entry::Many(cells) = row else { return String::new() };
            let parts: Vec<String> = fields
                .iter()
                .zip(comps)
                .zip(cells)
                .map(|((field, comp), cell)| {
                    let (field, comp) = (texts(field).concat(), texts(comp).concat());
                    format!("{field} {comp} {}", operand(&comp, cell))
                })
                .collect();
            format!("({})", parts.join(" and "))
        })
        .collect();
    format!("({})", rows.join(" or "))
}

/// One cell as the right side of its comparison.
fn operand(comp: &str, cell: &Entry) -> String {
    let wants_list = operator(comp).is_some_and(|(op, modifier)| op.class() == OpClass::List || modifier.is_some());
    match cell {
        Entry::Many(cells) => {
            let cells: Vec<String> = cells.iter().flat_map(texts).map(quoted).collect();
            format!("({})", cells.join(", "))
        }
        Entry::One(cell) if wants_list && !cell.starts_with('(') => format!("({})", quoted(cell)),
        Entry::One(cell) if cell.starts_with('(') => cell.clone(),
        Entry::One(cell) => quoted(cell),
    }
}

/// In quotes when there is a blank (or nothing at all) and no quotes yet.
pub fn quoted(text: &str) -> String {
    let bare = !text.is_empty() && !text.contains(' ');
    if bare || text.starts_with(['"', '\'']) {
        return text.to_owned();
    }
    format!("\"{text}\"")
}
