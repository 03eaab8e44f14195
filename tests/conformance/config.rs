//! Kind `config` of `engine.jsonl`: configuration files, what they merge to, and what the program makes of them.

use super::data::{Outcome, check, strings, text, unknown};
use falco_sensor::sensor::config::merge::{self, Override};
use falco_sensor::sensor::config::tree::{Node, Value as Written, parse_path};
use falco_sensor::sensor::config::{self, AppendOutput, SelectBy, check::bool_of};
use falco_sensor::sensor::record;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};

pub fn run(case: &Value) -> Outcome {
    if let Some(function) = case["function"].as_str() {
        let args = &case["args"];
        return match function {
            "capture_file_path" => {
                let (prefix, time) = (args[0].as_str().unwrap_or(""), args[1].as_u64().unwrap_or(0));
                let path = record::path(prefix, time, args[2].as_u64().unwrap_or(0));
                check(path.to_str() == case["expected"]["returns"].as_str(), || format!("{path:?}"))
            }
            other => unknown("function", other),
        };
    }
    let _environment = Environment::set(&case["env"]);
    let place = Place::new();
    let main = match case["config_files"].as_object() {
        Some(files) => place.write(files, text(case, "main")),
        None => place.write(&Map::from_iter([("main.yaml".to_owned(), case["config_inline"].clone())]), "main.yaml"),
    };
    let overrides: Result<Vec<Override>, String> =
        strings(&case["config_overrides"]).iter().map(|o| place.here(o).parse()).collect();
    let result = match overrides {
        Ok(overrides) => compare(case, &main, &overrides),
        Err(why) => Err(why),
    };
    result.map_or_else(Outcome::Failed, |()| Outcome::Passed)
}

/// Variables of the environment while a case runs.
struct Environment(Vec<String>);

impl Environment {
    fn set(variables: &Value) -> Environment {
        let mut names = Vec::new();
        for (name, value) in variables.as_object().into_iter().flatten() {
            // SAFETY: this program runs one test, and nothing else in it reads or writes the environment meanwhile.
            unsafe { std::env::set_var(name, value.as_str().unwrap_or("")) };
            names.push(name.clone());
        }
        Environment(names)
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        // SAFETY: as in `set`.
        self.0.iter().for_each(|name| unsafe { std::env::remove_var(name) });
    }
}

/// A temporary folder and, below it, the working directory while the case runs.
struct Place {
    folder: tempfile::TempDir,
    before: PathBuf,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let before = std::env::current_dir().expect("there is one");
        let cwd = folder.path().join("cwd");
        fs::create_dir_all(folder.path().join("tmp")).and_then(|()| fs::create_dir_all(&cwd)).expect("writable");
        std::env::set_current_dir(cwd).expect("made above");
        Place { folder, before }
    }

    fn here(&self, text: &str) -> String {
        let part = |name: &str| self.folder.path().join(name).display().to_string();
        text.replace("${TMP}", &part("tmp")).replace("${CWD}", &part("cwd"))
    }

    /// Writes the files and gives the path of the main one.
    fn write(&self, files: &Map<String, Value>, main: &str) -> PathBuf {
        for (name, content) in files {
            let path = PathBuf::from(self.here(name));
            path.parent().map_or(Ok(()), fs::create_dir_all).expect("writable");
            fs::write(path, self.here(content.as_str().unwrap_or(""))).expect("writable");
        }
        self.here(main).into()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::env::set_current_dir(&self.before);
    }
}

fn compare(case: &Value, main: &Path, overrides: &[Override]) -> Result<(), String> {
    let merged = merge::load(main, overrides);
    let expected = &case["expected"];
    if let Some(get) = case["get"].as_object() {
        let tree = merged.map_err(|e| e.to_string())?.tree;
        return one(&tree, &Value::Object(get.clone()), expected);
    }
    let loaded = config::load(main, overrides);
    let wrong = |key: &str, got: String| Err(format!("{key}: {}, got {got}", expected[key]));
    for (key, wanted) in expected.as_object().into_iter().flatten() {
        let loaded = match (&loaded, key.as_str()) {
            (result, "load_ok") if *wanted == result.is_ok() => continue,
            (result, "load_ok") => return wrong(key, format!("{:?}", result.as_ref().err())),
            (Err(_), "checks") if wanted.as_array().is_some_and(Vec::is_empty) => continue,
            (Err(error), _) => return wrong(key, error.to_string()),
            (Ok(loaded), _) => loaded,
        };
        match key.as_str() {
            "schema_validation" => {
                if (wanted == "ok") != loaded.schema.is_empty() {
                    return wrong(key, format!("{:?}", loaded.schema));
                }
            }
            "config" => {
                for (path, value) in wanted.as_object().into_iter().flatten() {
                    has(&loaded.tree, path, value)?;
                }
            }
            "checks" => {
                for wanted in wanted.as_array().into_iter().flatten() {
                    match wanted["n_files_loaded"].as_u64() {
                        Some(n) if n != loaded.files.len() as u64 => return wrong(key, format!("{:?}", loaded.files)),
                        Some(_) => {}
                        None => one(&loaded.tree, wanted, wanted)?,
                    }
                }
            }
            "rule_selection" => {
                let shown = |selection: &config::Selection| {
                    let op = if selection.enable { "enable" } else { "disable" };
                    match &selection.by {
                        SelectBy::Rule(name) => json!({"op": op, "rule": name}),
                        SelectBy::Tag(tag) => json!({"op": op, "tag": tag}),
                    }
                };
                let got: Value = loaded.config.selection.iter().map(shown).collect();
                if got != *wanted {
                    return wrong(key, got.to_string());
                }
            }
            "append_output" => {
                let got = &loaded.config.append_output;
                let wanted = wanted.as_array().map_or(&[][..], Vec::as_slice);
                if got.len() != wanted.len() || !got.iter().zip(wanted).all(|(got, wanted)| appends(got, wanted)) {
                    return wrong(key, format!("{got:?}"));
                }
            }
            other => return Err(format!("expectation '{other}' is not known to this runner")),
        }
    }
    Ok(())
}

/// Are the keys that are stated those of the entry?
fn appends(got: &AppendOutput, wanted: &Value) -> bool {
    let all = json!({
        "source": got.source,
        "rule": got.rule,
        "tags": got.tags,
        "format": got.text,
        "raw_fields": got.raw_fields,
        "formatted_fields": got.formatted_fields.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
    });
    wanted.as_object().into_iter().flatten().all(|(key, value)| all[key] == *value)
}

/// One key: is it there, and what is it as the type that is asked for?
fn one(tree: &Node, get: &Value, expected: &Value) -> Result<(), String> {
    let key = text(get, "key");
    let path = match (parse_path(key), expected["error"] == true) {
        (Err(_), true) => return Ok(()),
        (Ok(_), true) => return Err(format!("{key} is taken for a path")),
        (path, false) => path?,
    };
    let node = tree.get(&path);
    let wrong = |got: String| Err(format!("{key}: expected {expected}, got {got}"));
    if expected["defined"].as_bool().is_some_and(|defined| defined != node.is_some()) {
        return wrong(format!("{node:?}"));
    }
    if let Some(wanted) = expected["sequence"].as_array() {
        let got: Vec<Value> = node.map_or(&[][..], Node::items).iter().map(Value::from).collect();
        return if got == *wanted { Ok(()) } else { wrong(format!("{got:?}")) };
    }
    let Some(wanted) = expected.get("value") else { return Ok(()) };
    let default = text(get, "default");
    let written = node.and_then(Node::text);
    let got = match text(get, "type") {
        "string" => json!(written.unwrap_or(default)),
        "bool" => json!(node.and_then(bool_of).unwrap_or(default == "true")),
        "int" | "int32_t" | "int64_t" | "uint32_t" | "uint64_t" => {
            json!(written.and_then(|t| t.parse::<i64>().ok()).or_else(|| default.parse().ok()))
        }
        "double" => json!(written.and_then(|t| t.parse::<f64>().ok()).or_else(|| default.parse().ok())),
        other => return Err(format!("type '{other}' is not known to this runner")),
    };
    if got == *wanted { Ok(()) } else { wrong(got.to_string()) }
}

/// Is `wanted` in the tree at `path`? Of maps the stated keys are compared.
fn has(tree: &Node, path: &str, wanted: &Value) -> Result<(), String> {
    let node = tree.get(&parse_path(path)?).ok_or_else(|| format!("{path} is not there"))?;
    let got = match &node.value {
        // Settings of a plugin may be written as JSON.
        Written::Scalar { text, .. } if wanted.is_object() => serde_json::from_str(text).unwrap_or_default(),
        _ => Value::from(node),
    };
    if contains(&got, wanted) { Ok(()) } else { Err(format!("{path}: expected {wanted}, got {got}")) }
}

fn contains(got: &Value, wanted: &Value) -> bool {
    match wanted.as_object() {
        Some(keys) => keys.iter().all(|(key, value)| contains(&got[key], value)),
        None => got == wanted,
    }
}
