//! From the command line to what was asked for, and an exit status: 0 after a normal end, 1 after any failure.

use super::config::{self, Config};
use super::log::{self, Level};
use super::options::{self, Options, Tool};
use super::plan;
use super::run::{Run, hostname, run};
use super::{listing, records, replay};
use crate::bench;
use crate::event::statics;
use crate::kit::command as kit;
use crate::rules::describe::describe;
use crate::rules::result::results_json;
use crate::rules::{FileResult, LoadedRules};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The program.
pub fn main() -> ExitCode {
    let options = match options::parse(std::env::args_os()) {
        Ok(options) => options,
        Err(error) => {
            let _ = error.print();
            if let Some(tip) = options::replacement(&error) {
                let _ = writeln!(std::io::stderr(), "\n{tip}");
            }
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    if let Some(Tool::Rules(command)) = &options.tool {
        return match kit::run(command).and_then(|(text, status)| print(&text).map(|()| status)) {
            Ok(status) => ExitCode::from(status),
            Err(message) => {
                let _ = writeln!(std::io::stderr(), "falco-sensor: {message}");
                ExitCode::from(2)
            }
        };
    }
    match act(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            if !message.is_empty() {
                let _ = writeln!(std::io::stderr(), "falco-sensor: {message}");
            }
            ExitCode::FAILURE
        }
    }
}

/// The order is Falco's: what needs nothing comes first, then what needs the configuration, then the rules.
fn act(options: &Options) -> Result<(), String> {
    if let Some(syscalls) = &options.dump {
        return records::run(options, syscalls);
    }
    if options.page_size {
        return print(&format!("Your system page size is: {}\n", crate::driver::device::page_size()));
    }
    if options.ignored {
        return print(&listing::ignored_syscalls());
    }
    if options.config_schema {
        return print(&listing::config_schema());
    }
    if options.rule_schema {
        return print(&listing::rule_schema());
    }
    if options.list_plugins {
        return print(&listing::plugins());
    }
    if let Some(name) = &options.plugin_info {
        return print(&listing::plugin_info(name)?);
    }
    check_sources(options)?;
    if options.list_events {
        return print(&listing::events(listing::format(options)));
    }
    if let Some(source) = &options.list {
        return print(&listing::fields(source, options.names_only, listing::format(options))?);
    }
    let file = options.config.clone().or_else(config::default_file);
    if let Some(mode) = options.bench {
        return measure(options, mode, file.as_deref());
    }
    if options.version && file.is_none() {
        return print(&listing::version(options.overrides.iter().any(|o| o.key == "json_output" && o.value == "true")));
    }
    let Some(file) = file else {
        let [ours, theirs] = config::DEFAULT_FILES;
        return Err(format!("no configuration: neither {ours} nor {theirs} exists; name one with -c"));
    };
    let loaded = config::load(&file, &options.overrides).map_err(|e| e.to_string())?;
    let mut config = loaded.config;
    if options.verbose {
        config.log_level = Level::Debug as usize;
    }
    log::configure(config.log_level, config.log_stderr);
    if options.version {
        return print(&listing::version(config.json_output));
    }
    if options.unbuffered {
        config.buffered = false;
    }
    statics::set(config.static_fields.clone());
    let environment = plan::environment(&config, options.print.as_deref());
    if !options.validate.is_empty() {
        let files = plan::rules_files(&options.validate)?;
        return validate(&files, &config, &environment, options);
    }
    for warning in loaded.schema.iter().chain(&loaded.warnings) {
        log::write(Level::Warning, format_args!("{warning}"));
    }
    for info in &loaded.infos {
        log::write(Level::Info, format_args!("{info}"));
    }
    let files = if options.rules.is_empty() { config.rules_paths() } else { plan::rules_files(&options.rules)? };
    if files.is_empty() {
        return Err("no rules: none of the files of rules_files exists. You must specify at least one rules file: in \
                    rules_files, or with -r"
            .to_owned());
    }
    let rules = load_rules(&files, &environment)?;
    if options.describe_all || options.describe.is_some() {
        return print(&listing::rules(&rules, &environment, options.describe.as_deref(), config.json_output)?);
    }
    if options.support {
        return print(&listing::support(&loaded.tree, &files));
    }
    let style = plan::style(&config, hostname());
    let mut plan = plan::plan(&config, &rules, &style)?;
    if options.record.is_some() {
        plan.capture_also(|call| config.base_syscalls.all || !call.ignored_by_default);
    }
    let capture = options.replay.as_ref().or(config.replay.as_ref());
    let running = plan.forms.iter().flatten().count();
    if capture.is_none() {
        for warning in &plan.warnings {
            log::write(Level::Warning, format_args!("{warning}"));
        }
        let (all, calls) = (rules.rules.len(), plan.captured.len());
        log::write(Level::Info, format_args!("{running} of {all} rules run, {calls} system calls are captured"));
        log::write(Level::Debug, format_args!("captured: {}", plan.captured.join(" ")));
    }
    if options.dry_run {
        return Ok(());
    }
    if let Some(path) = &options.pidfile {
        let text = format!("{}\n", std::process::id());
        std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    if let Some(file) = capture {
        let duration = options.seconds.map(Duration::from_secs);
        return replay::run(&config, &plan, style, file, options.record.as_deref(), duration);
    }
    run(Run {
        plan,
        style,
        module: options.module.clone().or_else(|| config.module.clone()),
        no_load: options.no_load,
        pushdown: !options.no_pushdown,
        record: options.record.clone(),
        duration: options.seconds.map(Duration::from_secs),
        config: &config,
    })
}

/// Without a configuration file the built-in values hold: measuring needs rules and nothing else.
fn measure(options: &Options, mode: bench::Mode, file: Option<&Path>) -> Result<(), String> {
    let loaded = match file {
        Some(file) => config::load(file, &options.overrides),
        None => config::read("", Path::new("built in")),
    };
    let config = loaded.map_err(|e| e.to_string())?.config;
    let rules = if options.rules.is_empty() { config.rules_paths() } else { plan::rules_files(&options.rules)? };
    if rules.is_empty() {
        return Err("no rules: none of the files of rules_files exists. You must specify at least one rules file: in \
                    rules_files, or with -r"
            .to_owned());
    }
    let report = bench::run(&bench::Request {
        mode,
        config: &config,
        rules: &rules,
        capture: options.capture.as_deref(),
        time: Duration::from_secs(options.bench_seconds),
    })?;
    print(&if options.json { format!("{}\n", report.json()) } else { report.text() })
}

/// `--enable-source` and `--disable-source`: there is one source, and it cannot be the one to be left out. A replay heeds neither.
fn check_sources(options: &Options) -> Result<(), String> {
    let (enabled, disabled) = (&options.enable_source, &options.disable_source);
    for source in enabled.iter().chain(disabled) {
        if source != plan::SOURCE {
            return Err(format!("there is no event source '{source}'; this version has '{}'", plan::SOURCE));
        }
    }
    if disabled.is_empty() || options.replay.is_some() {
        return Ok(());
    }
    Err("--disable-source: no event source is left".to_owned())
}

/// Writes to standard output; a reader that has gone away is no failure.
fn print(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(format!("standard output: {error}")),
        _ => Ok(()),
    }
}

fn validate(
    files: &[PathBuf],
    config: &Config,
    environment: &crate::rules::Environment<'_>,
    options: &Options,
) -> Result<(), String> {
    let (results, rules) = plan::validate_rules(files, environment)?;
    let valid = results.iter().all(FileResult::successful);
    if config.json_output {
        let mut all = results_json(&results);
        if options.describe_all || options.describe.is_some() {
            all["falco_describe_results"] = describe(&rules, environment, options.describe.as_deref());
        }
        print(&format!("{all}\n"))?;
    } else {
        let details = |r: &FileResult| options.verbose || !r.successful();
        print(&results.iter().map(|r| r.text(details(r))).collect::<String>())?;
        for result in results.iter().filter(|r| r.successful() && r.has_warnings()) {
            log::write(Level::Warning, format_args!("{}", result.text(true).trim_end()));
        }
    }
    // The results have said it.
    if valid { Ok(()) } else { Err(String::new()) }
}

fn load_rules(files: &[PathBuf], environment: &crate::rules::Environment<'_>) -> Result<LoadedRules, String> {
    let (results, rules) = plan::load_rules(files, environment);
    for result in &results {
        if result.successful() && result.has_warnings() {
            log::write(Level::Warning, format_args!("{}", result.text(true).trim_end()));
        } else if result.successful() {
            log::write(Level::Debug, format_args!("{}", result.text(false).trim_end()));
        }
    }
    let failed = results.iter().find(|r| !r.successful());
    rules.map_err(|why| failed.map_or(why, |result| result.text(true).trim_end().to_owned()))
}
