use super::*;
use crate::output::queue;
use crate::rules::Priority;
use std::path::Path;
use std::time::Duration;

fn settings() -> Settings {
    let groups = vec![Group::Rules, Group::Resources, Group::State, Group::Kernel, Group::PerCpu];
    let interval = Duration::from_secs(1);
    Settings { interval, output_rule: true, output_file: None, groups, megabytes: true, empty_values: false }
}

fn telemetry() -> Telemetry {
    let telemetry = Telemetry::new("ho\"st\\", "module", Path::new("/"));
    let config = crate::sensor::config::read("", Path::new("none")).expect("valid").config;
    let environment = crate::sensor::plan::environment(&config, None);
    let mut loader = crate::rules::Loader::new(&environment);
    let rules = "- {rule: 'a \"quoted\" rule', desc: d, condition: evt.type = open, output: x, priority: notice, tags: [a-b, c]}\n\
                 - {rule: silent, desc: d, condition: evt.type = open, output: x, priority: notice}\n";
    let result = loader.load("rules", rules.to_owned());
    assert!(result.successful(), "{}", result.text(true));
    let style = crate::sensor::plan::style(&config, "host".into());
    let plan = crate::sensor::plan::plan(&config, loader.loaded(), &style).expect("compiles");
    {
        let mut state = telemetry.state();
        let counters = state.tally.counters(&plan);
        counters[0].alerts.fetch_add(3, std::sync::atomic::Ordering::Relaxed);
        counters[0].nanoseconds.fetch_add(1_500_000_000, std::sync::atomic::Ordering::Relaxed);
        let (sender, queue) = queue::bounded(1);
        assert!(sender.alert(b"1", Priority::Notice) && !sender.alert(b"2", Priority::Notice));
        std::mem::forget(queue);
        (state.queue, state.dropped_before) = (Some(sender), 4);
        let hashed = |name: &str| super::super::prepare::Hashed { path: name.into(), sha256: "ab".into() };
        state.inputs.rules = vec![hashed("/etc/x/rules.yaml"), hashed("/etc/x/more.yaml")];
    }
    telemetry
}

#[test]
fn labels_are_escaped_and_metrics_told_of_once() {
    let text = text::prometheus(&telemetry().collect(&settings().groups));
    for line in [
        "falcosecurity_falco_rules_matches_total{rule_name=\"a \\\"quoted\\\" rule\",priority=\"5\",source=\"syscall\",tag_a_b=\"true\",tag_c=\"true\"} 3",
        "falco_sensor_rules_time_seconds_total{rule_name=\"a \\\"quoted\\\" rule\",source=\"syscall\"} 1.5",
        "falcosecurity_evt_hostname_info{hostname=\"ho\\\"st\\\\\"} 1",
        "falcosecurity_falco_sha256_rules_files_info{file_name=\"more.yaml\",sha256=\"ab\"} 1",
        "falcosecurity_falco_outputs_queue_num_drops_total 5",
        "falco_sensor_outputs_queue_waiting 1",
        "falco_sensor_reloads_total{result=\"done\"} 0",
    ] {
        assert!(text.lines().any(|has| has == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("silent"), "a rule that has not alerted");
    for (at, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with('#')) {
        assert_eq!(text.lines().position(|other| other == line), Some(at), "twice: {line}");
    }
}

#[test]
fn groups_are_switched_off() {
    let telemetry = telemetry();
    let names = |groups: &[Group]| telemetry.collect(groups).iter().map(|s| s.row.group).collect::<Vec<_>>();
    assert!(names(&[]).iter().all(|group| *group == Group::Always));
    assert!(names(&[Group::Rules]).contains(&Group::Rules));
    assert!(names(&[Group::Resources]).contains(&Group::Resources));
}

#[test]
fn snapshots_have_falcos_names() {
    let telemetry = telemetry();
    let (number, members) = telemetry.snapshot(&settings());
    let members: BTreeMap<String, Value> = members.into_iter().collect();
    assert_eq!(number, 1);
    for (name, value) in [
        ("falco.rules.a_quoted_rule", Value::from(3)),
        ("falco.rules.matches_total", Value::from(3)),
        ("falco_sensor.rules_time_seconds.a_quoted_rule", Value::from(1.5)),
        ("falco.sha256_rules_file.rules.yaml", "ab".into()),
        ("falco.version", env!("CARGO_PKG_VERSION").into()),
        ("scap.engine_name", "module".into()),
        ("evt.hostname", "ho\"st\\".into()),
        ("evt.source", "syscall".into()),
    ] {
        assert_eq!(members.get(name), Some(&value), "{name} in {members:?}");
    }
    assert!(members["falco.memory_rss_mb"].as_f64().is_some_and(|mb| (0.5..10_000.0).contains(&mb)));
    assert!(!members.contains_key("falco.num_evts"), "zeros are left out");
    let all = Settings { megabytes: false, empty_values: true, ..settings() };
    let (number, members) = telemetry.snapshot(&all);
    let members: BTreeMap<String, Value> = members.into_iter().collect();
    assert_eq!((number, &members["falco.num_evts"]), (2, &0.into()));
    assert!(members["falco.memory_rss_kb"].as_f64().is_some_and(|kb| kb > 500.0));
}
