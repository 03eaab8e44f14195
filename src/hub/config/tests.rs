//! Configuration: precedence, instances, and what is said of mistakes.

use super::*;

fn read(text: &str, environment: &[(&str, &str)], options: &[&str]) -> Result<Config, Vec<Problem>> {
    let find = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    let options: Vec<String> = options.iter().map(|o| (*o).to_owned()).collect();
    parse(text, "hub.yaml", &Sources { options: &options, environment: &find })
}

#[test]
fn defaults_fit_and_names_are_unique() {
    let mut seen = std::collections::BTreeSet::new();
    for (path, key) in all_keys() {
        assert!(value::default(key.kind, key.default).is_ok(), "{path}");
        assert!(seen.insert(path.clone()), "{path} is in two tables");
        assert_eq!(path, path.to_ascii_lowercase());
    }
    for kind in KINDS {
        let names: Vec<_> = kind.tables().into_iter().flatten().chain(kind.shared).map(|key| key.name).collect();
        for key in kind.required {
            assert!(names.contains(key), "{}: {key}", kind.section);
        }
    }
}

#[test]
fn options_before_environment_before_file_before_default() {
    let text = "ListenPort: 1\nWebhook:\n  Address: http://file\n  method: PUT\n";
    let config =
        read(text, &[("WEBHOOK_ADDRESS", "http://env"), ("LISTENPORT", "2")], &["listenport=3"]).expect("valid");
    assert_eq!(config.core.int("listenport"), 3);
    let webhook = &config.instances[0].settings;
    assert_eq!((webhook.text("address"), webhook.text("method")), ("http://env", "PUT"));
    assert!(webhook.flag("checkcert"));
    assert_eq!(config.warnings, vec![]);
}

#[test]
fn an_output_is_enabled_by_its_required_keys() {
    assert!(read("", &[], &[]).expect("valid").instances.is_empty());
    let config = read("", &[("SLACK_WEBHOOKURL", "http://x")], &[]).expect("valid");
    assert_eq!(config.instances.iter().map(|i| i.name.as_str()).collect::<Vec<_>>(), ["slack"]);
}

#[test]
fn several_instances_of_a_kind() {
    let text = "webhook: {address: http://a}\noutputs:\n- {kind: webhook, name: second, address: http://b, \
                match: {rules: x*}, minimumpriority: error}\n";
    // The environment is for the first only.
    let config = read(text, &[("WEBHOOK_ADDRESS", "http://env")], &[]).expect("valid");
    let found: Vec<_> = config.instances.iter().map(|i| (i.name.as_str(), i.settings.text("address"))).collect();
    assert_eq!(found, [("webhook", "http://env"), ("second", "http://b")]);
    assert_eq!(config.instances[1].settings.priority("minimumpriority"), Priority::Error);
    assert!(!config.instances[1].settings.patterns("match").is_empty());
}

#[test]
fn inputs_are_a_list() {
    let text = "inputs:\n- {kind: redis, name: a, address: h:1, key: k}\n- {kind: NATS, name: b, hostport: nats://h, stream: s}\n";
    // Names are for all inputs; the environment is for none.
    let config = read(text, &[("REDIS_KEY", "env"), ("INPUTS", "x")], &[]).expect("valid");
    let found: Vec<_> = config.inputs.iter().map(|i| (i.name.as_str(), i.kind.name)).collect();
    assert_eq!(found, [("a", "redis"), ("b", "nats")]);
    assert_eq!((config.inputs[0].settings.text("key"), config.inputs[1].settings.text("durable")), ("k", "falco-hub"));
    assert!(config.instances.is_empty() && config.warnings.is_empty());
    let config = read("inputs: [{kind: redis, name: a, address: h:1, storagetype: list}]", &[], &[]).expect("valid");
    assert_eq!(config.warnings[0].to_string(), "hub.yaml:1:47: 'storagetype' is no key of 'redis': it has no effect");
    for kind in input::KINDS {
        let keys: Vec<_> = kind.keys.iter().flat_map(|table| table.iter()).collect();
        assert!(keys.iter().all(|key| value::default(key.kind, key.default).is_ok()), "{kind:?}");
        assert!(kind.required.iter().all(|name| keys.iter().any(|key| key.name == *name)), "{kind:?}");
    }
}

#[test]
fn empty_values_are_as_absent() {
    let text = "listenport: ''\nslack: {webhookurl: http://x, outputformat: '', footer: '', checkcert: ''}\n";
    let config = read(text, &[("SLACK_USERNAME", "")], &[]).expect("valid");
    let slack = &config.instances[0].settings;
    assert_eq!(
        (config.core.int("listenport"), slack.text("outputformat"), slack.flag("checkcert")),
        (2801, "all", true)
    );
    assert_eq!((slack.text("footer"), slack.text("username")), ("", "Falcosidekick"), "a text may be empty");
}

#[test]
fn mistakes_name_their_place() {
    for (text, expected) in [
        ("listenport: x", "hub.yaml:1:13: listenport: 'x' is not a whole number"),
        ("webhook:\n  minimumpriority: xerror", "hub.yaml:2:20: webhook.minimumpriority: 'xerror' is not a priority"),
        ("webhook: 1", "hub.yaml:1:10: 'webhook' is a section"),
        ("a: [", "hub.yaml:2:1: not valid YAML"),
        ("- a", "hub.yaml:1:1: a configuration is a map"),
        ("outputs:\n- {kind: nosuch, name: a}", "hub.yaml:2:3: outputs: there is no kind 'nosuch'"),
        ("outputs:\n- {kind: slack, name: a}", "hub.yaml:2:3: outputs: 'a' needs 'webhookurl'"),
        (
            "outputs:\n- {kind: slack, webhookurl: http://x}",
            "hub.yaml:2:3: outputs: an instance of 'slack' needs 'name', its name",
        ),
        ("inputs: 1", "hub.yaml:1:9: inputs: a list of instances is wanted"),
        (
            "inputs:\n- {kind: slack, name: a}",
            "hub.yaml:2:3: inputs: there is no kind 'slack'; 'falco-hub inputs list'",
        ),
        ("inputs:\n- {kind: redis, name: a}", "hub.yaml:2:3: inputs: 'a' needs 'address'"),
        ("inputs:\n- {kind: rabbitmq, name: requests}", "hub.yaml:2:3: inputs: the name 'requests' is taken"),
        (
            "inputs:\n- {kind: redis, name: a, address: h:1,\n   database: x}",
            "hub.yaml:3:14: database: 'x' is not a whole number",
        ),
        ("webhook:\n  match: {rulez: a}", "hub.yaml:2:11: webhook.match: 'rulez' is none of"),
    ] {
        let problems = read(text, &[], &[]).expect_err(text);
        assert!(problems[0].to_string().starts_with(expected), "{text}: {}", problems[0]);
    }
    let problems = read("", &[("WEBHOOK_CHECKCERT", "maybe")], &["nosuch=1", "x"]).expect_err("mistakes");
    let text = problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n");
    assert!(text.contains("environment variable WEBHOOK_CHECKCERT: 'maybe' is not true or false"), "{text}");
    assert!(text.contains("-o nosuch: there is no such key"), "{text}");
    let config = read("webhook: {addres: x}\nnosuch: {a: 1}", &[], &[]).expect("valid");
    let warnings: Vec<_> = config.warnings.iter().map(Problem::to_string).collect();
    assert_eq!(
        warnings,
        [
            "hub.yaml:1:11: 'webhook.addres' is not known to this version: it has no effect",
            "hub.yaml:2:1: 'nosuch' is not known to this version: it has no effect"
        ]
    );
}
