//! Falcosidekick's payloads and functions against the conformance data set.

use crate::conformance::{self, Outcome, Tally, check, text};
use crate::process::{Hub, Receiver, wait_until};
use base64::Engine as _;
use falco_sensor::hub::alert::{Alert, Priority, Time, first_value};
use falco_sensor::hub::config::keys::Type;
use falco_sensor::hub::config::{Config, Sources, parse};
use falco_sensor::hub::forward::alertmanager::safe_label;
use falco_sensor::hub::forward::http::{Answer, Request, endpoint, outcome, status_text};
use falco_sensor::hub::forward::otlp::traces::trace_id;
use falco_sensor::hub::forward::timescaledb;
use falco_sensor::hub::forward::{Context, Failure, Work, kind};
use falco_sensor::hub::json::{Fields, Json};
use falco_sensor::hub::metrics::event_labels;
use falco_sensor::hub::tls::Tls;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// What stands for an address or a secret that the case does not give.
const ABSENT: &str = "http://127.0.0.1:1";

#[test]
fn sidekick() {
    let mut tally = Tally::default();
    let Some(root) = conformance::root() else { return };
    for case in conformance::cases(&root, "sidekick.jsonl") {
        let outcome = match text(&case, "kind") {
            "payload" => payload(&case),
            "function" => function(&case),
            "http_status" => http_status(&case),
            "http_request" => http_request(&case),
            "client_url" => {
                let refused = endpoint(text(&case, "url")).is_err();
                check(json!(refused) == case["expected"]["error"], || format!("refused: {refused}"))
            }
            "metric_labels" => metric_labels(&case),
            "trace_id" => trace(&case),
            _ => Outcome::Skipped("unknown kind"),
        };
        tally.add(&case, outcome);
    }
    assert_eq!(tally.finish("sidekick.jsonl")[1], 0);
}

fn config(case: &Value) -> Config {
    let mut config = case.get("config").filter(|c| c.is_object()).cloned().unwrap_or(json!({}));
    if let Some(kind) = case["output"].as_str().and_then(kind) {
        let mut section = &mut config;
        for step in kind.section.split('.') {
            if !section[step].is_object() {
                section[step] = json!({});
            }
            section = &mut section[step];
        }
        // What a case does not give is empty in it, not what the configuration would put there.
        for key in kind.tables().into_iter().flatten().filter(|key| key.kind == Type::Text && !key.default.is_empty()) {
            if section.get(key.name).is_none() {
                section[key.name] = json!("");
            }
        }
        for key in kind.required {
            let given = section.get(key).is_some_and(|value| value.as_str() != Some("") && !value.is_null());
            if !given {
                section[*key] = json!(ABSENT);
            }
        }
    }
    let sources = Sources { options: &[], environment: &|_| None };
    parse(&config.to_string(), "case", &sources).expect("the case's configuration is valid")
}

/// An alert as the case gives it, which need not be complete.
fn alert(input: &Value) -> Alert {
    let json = |value: &Value| {
        let raw = first_value(value.to_string().as_bytes()).expect("JSON");
        Json::from_raw(&raw).expect("JSON")
    };
    let fields = match json(&input["output_fields"]) {
        Json::Object(fields) => fields,
        _ => Fields::new(),
    };
    let tags = input["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
    Alert {
        uuid: text(input, "uuid").to_owned(),
        output: text(input, "output").to_owned(),
        priority: Priority::from_name(text(input, "priority")),
        rule: text(input, "rule").to_owned(),
        time: Time::parse(text(input, "time")).unwrap_or(Time::now()),
        output_fields: fields,
        source: text(input, "source").to_owned(),
        tags: tags.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        hostname: text(input, "hostname").to_owned(),
    }
}

/// The requests of the case's output for its alert; nothing when the output is not one over HTTP.
fn requests(case: &Value) -> Result<Vec<Request>, Outcome> {
    let name = text(case, "output");
    let Some(kind) = kind(name) else { return Err(Outcome::Skipped("the output does not exist yet")) };
    let Work::Http(make) = kind.work else { return Err(Outcome::Skipped("the output is not one over HTTP")) };
    let config = config(case);
    let failed = |why: String| Outcome::Failed(why);
    let instance = config.instances.iter().find(|i| i.name == kind.section).ok_or(failed("not enabled".to_owned()))?;
    let tls = Tls::new(&config.core);
    let context = Context { settings: &instance.settings, core: &config.core, tls: &tls, enabled: &[] };
    let payload = make(&context).map_err(failed)?;
    payload.requests(&[Arc::new(alert(&case["input"]))]).map_err(|failure| Outcome::Failed(failure.to_string()))
}

/// What was filled in is taken out again.
fn without_absent(value: Value) -> Value {
    match value {
        Value::String(text) if text == ABSENT => json!(""),
        Value::Array(items) => items.into_iter().map(without_absent).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, without_absent(value))).collect(),
        other => other,
    }
}

/// Go leaves out what is empty where it is told so; both sides without it are the same.
fn without_empty(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(without_empty).collect(),
        Value::Object(map) => {
            let kept = map.iter().map(|(key, value)| (key.clone(), without_empty(value)));
            kept.filter(|(_, value)| !matches!(value, Value::Object(map) if map.is_empty()) && *value != json!(""))
                .collect()
        }
        other => other.clone(),
    }
}

/// The row that the case's alert becomes.
fn row(case: &Value) -> Outcome {
    let core = config(case).core;
    let fields = core.map("customfields").iter().chain(core.map("templatedfields")).map(|(name, _)| name.clone());
    let fields: Vec<_> = fields.collect();
    let table = text(&case["config"]["timescaledb"], "hypertablename");
    let (statement, row) = timescaledb::row(table, &fields, &alert(&case["input"]));
    let expected = &case["expected"];
    let found: Value = row.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let fits = regex::Regex::new(text(expected, "sql_matches")).expect("a pattern").is_match(&statement);
    let right = fits && found == expected["columns"] && json!(row.len()) == expected["n_columns"];
    check(right, || format!("{statement}: {found}"))
}

fn payload(case: &Value) -> Outcome {
    if text(case, "output") == "timescaledb" {
        return row(case);
    }
    let requests = match requests(case) {
        Ok(requests) => requests,
        Err(outcome) => return outcome,
    };
    let Some(request) = requests.first() else { return Outcome::Failed("no request".to_owned()) };
    let expected = &case["expected"];
    if let Some(body) = expected["body"].as_str() {
        let found = String::from_utf8_lossy(&request.body);
        return check(found.trim_end() == body, || format!("{found}"));
    }
    let found: Value = match serde_json::from_slice(&request.body) {
        Ok(found) => without_absent(found),
        Err(error) => return Outcome::Failed(format!("not JSON: {error}")),
    };
    if let Some(labels) = expected["labels_contain"].as_object() {
        let wrong = labels.iter().find(|(name, value)| found[0]["labels"][name.as_str()] != **value);
        let number = found.as_array().map(Vec::len);
        return check(wrong.is_none() && json!(number) == expected["n_alerts"], || format!("{wrong:?}: {found}"));
    }
    if let Some(names) = expected["absent_or_empty"].as_array() {
        let record = &found[0];
        let there = names.iter().filter_map(Value::as_str).find(
            |n| !matches!(&record[*n], Value::Null | Value::String(_) if record[*n].as_str().unwrap_or("").is_empty()),
        );
        let differing = expected["equals"].as_object().into_iter().flatten().find(|(n, v)| record[n.as_str()] != **v);
        return check(there.is_none() && differing.is_none(), || format!("{there:?} {differing:?}: {found}"));
    }
    let mut wanted = expected["payload"].clone();
    // Some cases name the whole record of which the list is a part.
    if found.is_array() && wanted["payload"].is_array() {
        wanted = wanted["payload"].clone();
    }
    if let (Value::Array(found), Value::Array(wanted)) = (&found, &mut wanted)
        && text(case, "output") == "alertmanager"
    {
        for (found, wanted) in found.iter().zip(wanted) {
            for key in ["startsAt", "endsAt"] {
                // As listed; where the case lists none, it does not look.
                if wanted.get(key).is_none() && found.get(key).is_some() {
                    wanted[key] = found[key].clone();
                }
            }
        }
    }
    if wanted["event"].is_string() {
        // A description: the alert itself.
        let event = serde_json::from_str(&alert(&case["input"]).line()).expect("JSON");
        wanted["event"] = event;
    }
    let (found, wanted) = (without_empty(&found), without_empty(&wanted));
    check(found == wanted, || format!("expected {wanted}\n  found {found}"))
}

fn function(case: &Value) -> Outcome {
    let argument = &case["args"][0];
    let word = argument.as_str().unwrap_or("");
    let expected = &case["expected"];
    let returned = match text(case, "function") {
        "alertmanager_safe_label" => json!(safe_label(word)),
        "priority_to_json" => json!(serde_json::to_string(&Priority::from_name(word)).expect("JSON")),
        "priority_from_string" => json!(Priority::from_name(word).name()),
        "priority_from_json" => {
            let failed = serde_json::from_str::<String>(word).map(|name| Priority::from_name(&name)).is_err();
            return check(json!(failed) == expected["error"], || format!("refused: {failed}"));
        }
        "sorted_string_keys" => {
            let alert = alert(&json!({"output_fields": argument}));
            json!(alert.text_fields().map(|(name, _)| name).collect::<Vec<_>>())
        }
        _ => return Outcome::Skipped("unknown function"),
    };
    check(returned == expected["returns"], || format!("{returned}"))
}

fn http_status(case: &Value) -> Outcome {
    let status = u16::try_from(case["status"].as_u64().unwrap_or(0)).expect("a status");
    let status = reqwest::StatusCode::from_u16(status).expect("a status");
    let answer = Answer { status, ..Answer::default() };
    let result = outcome(&answer);
    let words = match text(&case["expected"], "error_class") {
        "" => "",
        "ErrHeaderMissing" => "header missing",
        "ErrClientAuthenticationError" => "authentication error",
        "ErrForbidden" => "access denied",
        "ErrNotFound" => "resource not found",
        "ErrUnprocessableEntityError" => "bad request",
        "ErrTooManyRequest" => "exceeding post rate limit",
        "ErrInternalServer" => "Internal Server Error",
        "ErrBadGateway" => "Bad Gateway",
        _ => return Outcome::Skipped("unknown class of errors"),
    };
    let told = match &result {
        Ok(()) => String::new(),
        Err(Failure::Down { what, .. } | Failure::Refused(what) | Failure::Impossible(what)) => what.clone(),
    };
    let right = json!(result.is_err()) == case["expected"]["error"] && told.contains(words);
    check(right, || format!("{told} ({})", status_text(status, "")))
}

fn http_request(case: &Value) -> Outcome {
    let expected = &case["expected"];
    if let Some(user) = case["user"].as_str() {
        let request = Request::post("http://localhost", Vec::new()).basic(user, text(case, "password"));
        let given = |name: &str, value: &Value| {
            request.headers.iter().any(|(n, v)| n == name && Some(v.as_str()) == value.as_str())
        };
        let headers = expected["headers"].as_object().into_iter().flatten().all(|(name, value)| given(name, value));
        return check(headers && request.method.as_str() == expected["method"], || format!("{request:?}"));
    }
    if let Some(headers) = case["set_header"].as_object() {
        let (name, value) = headers.iter().next().expect("a header");
        let repeat = case["repeat"].as_u64().unwrap_or(1);
        let request = (0..repeat).fold(Request::post("http://localhost", Vec::new()), |request, _| {
            request.header(name, value.as_str().unwrap_or(""))
        });
        let count = request.headers.iter().filter(|(n, _)| n == name).count();
        return check(json!(count) == expected["header_value_count"], || format!("{count}"));
    }
    if text(case, "output") == "gcp.chronicle" {
        return chronicle(case);
    }
    Outcome::Skipped("the output does not exist yet")
}

/// The whole way: a hub, a server that gives out the case's token, and one that takes what is imported.
fn chronicle(case: &Value) -> Outcome {
    let token = case["bearer_token"].as_str().map(str::to_owned);
    let server = Receiver::answering(move |request| match (request.path.as_str(), &token) {
        ("/token", Some(token)) => (200, json!({"access_token": token, "expires_in": 3600}).to_string()),
        ("/token", None) => (400, "{}".to_owned()),
        _ => (200, "{}".to_owned()),
    });
    let mut config = case["config"].clone();
    config["gcp"]["credentials"] = json!(crate::clouds::user(&server));
    config["gcp"]["endpoint"] = json!(server.url());
    let hub = Hub::started(&config);
    let posted = alert(&case["input"]).line();
    if hub.post("/", &posted).map(|(status, _)| status).ok() != Some(200) {
        return Outcome::Failed("the alert is not taken".to_owned());
    }
    let expected = &case["expected"];
    let count = |status: &str| {
        let name =
            format!("falcosecurity_falcosidekick_outputs_total{{destination=\"gcpchronicle\",status=\"{status}\"}}");
        hub.metrics().get(&name).copied().unwrap_or(0.0)
    };
    let failed = expected["no_request"] == true;
    wait_until("it is counted", Duration::from_secs(20), || count(if failed { "error" } else { "ok" }) >= 1.0);
    let requests: Vec<_> = server.all().into_iter().filter(|request| request.path != "/token").collect();
    if failed {
        return check(requests.is_empty() && count("ok") == 0.0, || format!("{requests:?}"));
    }
    let [request] = &*requests else { return Outcome::Failed(format!("{requests:?}")) };
    let headers = expected["headers"].as_object().into_iter().flatten();
    let wrong =
        headers.filter(|(name, value)| request.headers.get(&name.to_lowercase()).map(String::as_str) != value.as_str());
    let wrong: Vec<_> = wrong.collect();
    let entries = request.json()["inlineSource"]["logs"].clone();
    let entry = &entries[0];
    let data = entry["data"].as_str().and_then(|data| base64::engine::general_purpose::STANDARD.decode(data).ok());
    let read: Value = serde_json::from_slice(&data.unwrap_or_default()).unwrap_or_default();
    let times = ["logEntryTime", "collectionTime"].map(|key| Time::parse(entry[key].as_str().unwrap_or_default()));
    let right = request.path.ends_with(text(expected, "path_suffix"))
        && wrong.is_empty()
        && entries.as_array().map(Vec::len) == Some(1)
        && read["rule"] == case["input"]["rule"]
        && times.iter().all(Option::is_some);
    check(right, || format!("{wrong:?}: {request:?}"))
}

fn trace(case: &Value) -> Outcome {
    let got = trace_id(&alert(&case["input"])).map(|id| format!("{id:032x}"));
    check(got.as_deref() == case["expected"]["trace_id"].as_str(), || format!("{got:?}"))
}

fn metric_labels(case: &Value) -> Outcome {
    let (labels, _) = event_labels(&config(case).core);
    check(json!(labels) == case["expected"]["labels_in_order"], || format!("{labels:?}"))
}
