//! Rules in, what is captured out.

use super::*;

fn planned(rules: &str, change: impl FnOnce(&mut Config)) -> Plan {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("c.yaml");
    std::fs::write(&path, "").expect("writable");
    let mut config = crate::sensor::config::load(&path, &[]).expect("empty is fine").config;
    change(&mut config);
    let environment = environment(&config, None);
    let mut loader = Loader::new(&environment);
    let result = loader.load("rules.yaml", rules.to_owned());
    assert!(result.successful(), "{}", result.text(true));
    plan(&config, loader.loaded(), &style(&config, "host".into())).expect("compiles")
}

fn rule(condition: &str, output: &str) -> String {
    format!("- rule: r\n  desc: d\n  condition: {condition}\n  output: \"{output}\"\n  priority: NOTICE\n")
}

#[test]
fn only_what_rules_name_is_captured() {
    let plan = planned(&rule("evt.type in (openat, connect)", "x"), |_| {});
    assert_eq!(plan.captured, ["connect", "openat"]);
    assert_eq!(plan.driver.tracepoints, abi::FSN_TP_SYSCALLS);
    assert_eq!(plan.driver.features, abi::FSN_CAP_LINEAGE);
    assert!(plan.warnings.is_empty());
    let plan = planned(&rule("evt.type = procexit", "x"), |_| {});
    assert_eq!(plan.driver.tracepoints, abi::FSN_TP_PROCEXIT);
    // A generic call shares its event with all others: only its own id is asked for.
    assert_eq!(planned(&rule("evt.type = getpid", "x"), |_| {}).captured, ["getpid"]);
}

#[test]
fn rules_that_do_not_run_capture_nothing() {
    let plan = planned(&rule("evt.type = openat", "x"), |config| config.priority = "error".into());
    assert!(plan.captured.is_empty() && plan.forms.iter().all(Option::is_none));
    assert_eq!(plan.driver.tracepoints, 0);
    let disable = crate::sensor::config::Selection { enable: false, by: SelectBy::Rule("*".into()) };
    let plan = planned(&rule("evt.type = openat", "x"), |config| config.selection.push(disable));
    assert!(plan.captured.is_empty());
}

#[test]
fn high_volume_calls_need_to_be_asked_for() {
    let rules = rule("evt.type in (read, openat)", "x");
    let plan = planned(&rules, |_| {});
    assert_eq!(plan.captured, ["openat"]);
    assert!(plan.warnings[0].contains("not captured: read (base_syscalls.all"), "{:?}", plan.warnings);
    let plan = planned(&rules, |config| config.base_syscalls.all = true);
    assert_eq!(plan.captured, ["openat", "read"]);
    let plan = planned(&rules, |config| config.base_syscalls.custom = vec!["!openat".into(), "dup".into(), "z".into()]);
    assert_eq!(plan.captured, ["dup"]);
    assert!(plan.warnings.iter().any(|w| w.contains("no system call 'z'")), "{:?}", plan.warnings);
}

#[test]
fn rules_that_cannot_fire_are_named() {
    let silent = |condition: &str| {
        planned(&rule(condition, "x"), |_| {}).warnings.iter().any(|w| w.contains("rule 'r' cannot fire"))
    };
    assert!(silent("evt.type = signaldeliver"));
    assert!(silent("evt.type = read"));
    assert!(silent("evt.type = openat and evt.type = connect"));
    for sounding in ["evt.type = procexit", "evt.type in (read, openat)", "proc.name = x", "evt.type = getpid"] {
        assert!(!silent(sounding), "{sounding}");
    }
}

#[test]
fn it_is_said_why_a_rule_cannot_fire() {
    let second = rule("evt.type = openat and proc.name = x", "x").replace("rule: r", "rule: s");
    let why = |first: &str, all: bool| {
        let plan = planned(&(rule(first, "x") + &second), |config| config.match_all = all);
        plan.warnings.into_iter().find(|w| w.contains("cannot fire")).unwrap_or_default()
    };
    assert!(
        why("evt.type = openat", false).starts_with("rule 's' cannot fire: its condition never holds, or always after")
    );
    assert_eq!(why("evt.type = openat", true), "");
    // What stands for nothing in rules, and for everything.
    assert_eq!(why("evt.type = openat and evt.num = 0", true), "rule 'r' cannot fire: its condition never holds");
    assert!(why("evt.type = openat and evt.num >= 0", false).starts_with("rule 's' cannot fire: its condition never"));
    assert_eq!(why("evt.type = openat and evt.num > 1", false), "");
    assert!(why("evt.type = read", false).starts_with("rule 'r' cannot fire: none of the events"));
}

#[test]
fn features_follow_conditions_and_outputs() {
    let features = |condition: &str, output: &str| planned(&rule(condition, output), |_| {}).driver.features;
    let (env, data, base) = (abi::FSN_CAP_ENV, abi::FSN_CAP_DATA, abi::FSN_CAP_LINEAGE);
    assert_eq!(features("evt.type = openat and proc.env contains X", "x"), base | env);
    assert_eq!(features("evt.type = openat", "%proc.env[HOME]"), base | env);
    assert_eq!(features("evt.type = sendto and evt.buffer contains X", "x"), base | data);
    assert_eq!(features("evt.type = openat and evt.arg.flags contains X", "%evt.arg.name"), base);
    assert_eq!(features("evt.type = openat", "%evt.args"), base | env | data);
}

#[test]
fn a_replay_keeps_what_conditions_and_outputs_ask() {
    let demand = |condition: &str, output: &str| planned(&rule(condition, output), |_| {}).demand;
    let nothing = Demand { memory: false, env: false };
    assert_eq!(demand("evt.type = openat and proc.name = x", "%proc.cmdline"), nothing);
    assert_eq!(demand("evt.type = openat and proc.vmsize > 5", "x"), Demand { memory: true, ..nothing });
    assert_eq!(demand("evt.type = openat", "%thread.vmrss"), Demand { memory: true, ..nothing });
    assert_eq!(demand("evt.type = openat", "%proc.aenv[X]"), Demand { env: true, ..nothing });
}

#[test]
fn outputs_are_appended_to() {
    let plan = planned(&rule("evt.type = openat", "x"), |config| {
        config.append_output = vec![
            AppendOutput { text: Some("%proc.name".into()), ..AppendOutput::default() },
            AppendOutput { rule: Some("other".into()), text: Some("no".into()), ..AppendOutput::default() },
            AppendOutput { suggested: true, raw_fields: vec!["proc.pid".into()], ..AppendOutput::default() },
        ];
    });
    let form = format!("{:?}", plan.forms[0].as_ref().expect("runs"));
    assert!(form.contains("proc.name") && form.contains(" container_id=") && form.contains("proc.pid"), "{form}");
    assert!(!form.contains("no\""), "{form}");
}

#[test]
fn the_first_limit_that_names_a_rule_is_its_limit() {
    let limit = |rule: &str, keys: &[&str], seconds| AlertLimit {
        rule: rule.into(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        window: Duration::from_secs(seconds),
    };
    // Of equal conditions only the first can match.
    let named = |name| {
        rule(&format!("evt.type = openat and proc.name = {name}"), "x").replace("rule: r", &format!("rule: {name}"))
    };
    let rules = ["one", "two", "other"].map(named);
    let plan = planned(&rules.concat(), |config| {
        config.limits.rules =
            vec![limit("two", &[], 0), limit("t*", &[], 5), limit("o*", &["proc.env[HOME]"], 9), limit("no", &[], 1)];
    });
    let windows: Vec<_> = plan.limits.iter().map(|limit| limit.as_ref().map(|limit| limit.window.as_secs())).collect();
    assert_eq!(windows, [Some(9), None, Some(9)]);
    assert_eq!(plan.driver.features, abi::FSN_CAP_LINEAGE | abi::FSN_CAP_ENV, "what the key is made of");
    assert_eq!(plan.warnings, ["alert_limits.rules: there is no rule 'no'"]);
    assert!(planned(&rules.concat(), |_| {}).limits.is_empty(), "off");
}
