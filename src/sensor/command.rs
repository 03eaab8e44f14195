//! From the command line to what was asked for, and an exit status: 0 after a normal end, 1 after any failure.

use super::config::{self, Config};
use super::log::{self, Level};
use super::memory;
use super::options::{self, Options, Tool};
use super::plan;
use super::prepare::{self, Prepared};
use super::run::{Run, run};
use super::{listing, records, replay};
use crate::bench;
use crate::event::statics;
use crate::kit::command as kit;
use crate::rules::FileResult;
use crate::rules::describe::describe;
use crate::rules::result::results_json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The program.
pub fn main() -> ExitCode {
    memory::be_modest();
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
                log::failure(&message);
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
    let loaded = prepare::configuration(options, &file)?;
    let inputs = prepare::inputs(options, &loaded);
    let config = &loaded.config;
    log::configure(config.log_level, config.log_stderr, config.log_syslog);
    if options.version {
        return print(&listing::version(config.json_output));
    }
    statics::set(config.static_fields.clone());
    let environment = prepare::environment(options, config);
    if !options.validate.is_empty() {
        let files = plan::rules_files(&options.validate)?;
        return validate(&files, config, &environment, options);
    }
    prepare::remark(&loaded);
    let files = prepare::rules_files(options, config)?;
    let rules = prepare::load_rules(&files, &environment)?;
    if options.describe_all || options.describe.is_some() {
        return print(&listing::rules(&rules, &environment, options.describe.as_deref(), config.json_output)?);
    }
    if options.support {
        return print(&listing::support(&loaded.tree, &files));
    }
    let prepared = prepare::prepare(options, loaded.config, &rules)?;
    let capture = options.replay.clone().or(prepared.config.replay.clone());
    if capture.is_some() {
        // It ends soon, and that frees all at once.
        std::mem::forget((rules, loaded.tree));
    } else {
        drop((rules, loaded.tree));
        memory::give_back();
        prepare::announce(&prepared.plan);
    }
    if options.dry_run {
        return Ok(());
    }
    if let Some(path) = &options.pidfile {
        let text = format!("{}\n", std::process::id());
        std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    if let Some(capture) = capture {
        let Prepared { config, plan, style } = prepared;
        let duration = options.seconds.map(Duration::from_secs);
        let result = replay::run(&config, &plan, style, &capture, options.record.as_deref(), duration);
        // As with the rules.
        std::mem::forget(plan);
        return result;
    }
    run(Run { options, file: &file, inputs, prepared })
}

/// Without a configuration file the built-in values hold: measuring needs rules and nothing else.
fn measure(options: &Options, mode: bench::Mode, file: Option<&Path>) -> Result<(), String> {
    let loaded = match file {
        Some(file) => config::load(file, &options.overrides),
        None => config::read("", Path::new("built in")),
    };
    let config = loaded.map_err(|e| e.to_string())?.config;
    let rules = prepare::rules_files(options, &config)?;
    let report = bench::run(&bench::Request {
        mode,
        config: &config,
        rules: &rules,
        capture: options.capture.as_deref(),
        file,
        module: options.module.as_deref(),
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
