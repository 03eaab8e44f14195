//! The command line: `falco-hub` as a service, and questions about its configuration and outputs.
//!
//! Options are Falcosidekick's (`-c`, `-v`) and ours.

use super::alert::Alert;
use super::config::keys::{Key, Type, variable};
use super::config::{Config, Problem, Sources, all_keys, directory, load};
use super::forward::{Context, KINDS, Kind, Work, kind};
use super::input::kind as input;
use super::run::{Hub, StartError, inputs, limits, outputs, shared_store};
use super::spool::Spool;
use super::spool::users::{Role, User};
use super::tls::Tls;
use clap::{Parser, Subcommand};
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Receives alerts of Falco, keeps them on disk and forwards them to every configured output.
#[derive(Parser)]
#[command(name = "falco-hub", disable_version_flag = true, version)]
pub struct Options {
    /// Configuration: a file of Falcosidekick.
    #[arg(short = 'c', long = "config-file", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Sets a key of the configuration; wins over the environment and the file.
    #[arg(short = 'o', value_name = "KEY=VALUE", global = true)]
    options: Vec<String>,
    /// Prints the version.
    #[arg(short = 'v', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the hub; so it does without a command.
    Run,
    /// About the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// About outputs.
    #[command(subcommand)]
    Outputs(OutputsCommand),
    /// About brokers that alerts are taken from.
    #[command(subcommand)]
    Inputs(InputsCommand),
    /// About alerts that an output did not get.
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// About those who may use the page.
    #[command(subcommand)]
    Users(UsersCommand),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Says what is wrong with the configuration; 0 when it can be run.
    Check,
    /// Prints every key, its environment variable, type, default and meaning.
    Keys,
}

#[derive(Subcommand)]
enum OutputsCommand {
    /// Prints every kind of output.
    List,
    /// Prints the keys of a kind.
    Describe { kind: String },
    /// Sends a test alert to one configured output and says what it answered.
    Test { name: String },
}

#[derive(Subcommand)]
enum InputsCommand {
    /// Prints every kind of input.
    List,
    /// Prints the keys of a kind.
    Describe { kind: String },
}

#[derive(Subcommand)]
enum DeadLettersCommand {
    /// Prints what outputs did not get, and why.
    List,
    /// Tries all of an output again.
    Retry { output: String },
}

#[derive(Subcommand)]
enum UsersCommand {
    /// Prints every user and role.
    List,
    /// Makes a user, or gives one a new role and password. The password is read from standard input, one line.
    Set {
        name: String,
        /// viewer: looks. operator: acknowledges, deletes and tests as well.
        #[arg(long, value_parser = ["viewer", "operator"])]
        role: String,
    },
    /// Removes a user.
    Remove { name: String },
}

pub fn main() -> ExitCode {
    let options = Options::parse();
    let level = options.command.as_ref().map_or("info", |command| match command {
        Command::Run => "info",
        _ => "warn",
    });
    match act(&options, level) {
        Ok(code) => code,
        Err(problems) => {
            eprintln!("falco-hub: {problems}");
            ExitCode::FAILURE
        }
    }
}

/// Log lines for people, on standard error. `RUST_LOG` says more than the configuration can.
fn log(level: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        tracing_subscriber::EnvFilter::new(format!(
            "{level},async_nats=warn,hyper=warn,reqwest=warn,rskafka=off,rustls=warn"
        ))
    });
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).try_init();
}

fn act(options: &Options, level: &str) -> Result<ExitCode, String> {
    match &options.command {
        Some(Command::Config(ConfigCommand::Keys)) => {
            print(&keys());
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Outputs(OutputsCommand::List)) => {
            print(&list());
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Outputs(OutputsCommand::Describe { kind: name })) => {
            let kind =
                kind(name).ok_or_else(|| format!("there is no output '{name}'; see 'falco-hub outputs list'"))?;
            print(&describe(kind));
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Inputs(InputsCommand::List)) => {
            print(&list_inputs());
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Inputs(InputsCommand::Describe { kind: name })) => {
            let kind =
                input::kind(name).ok_or_else(|| format!("there is no input '{name}'; see 'falco-hub inputs list'"))?;
            print(&describe_input(kind));
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let environment = |name: &str| std::env::var(name).ok();
    let sources = Sources { options: &options.options, environment: &environment };
    let lines =
        |problems: &[Problem]| problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\nfalco-hub: ");
    let config = load(options.config.as_deref(), &sources).map_err(|problems| lines(&problems))?;
    log(if config.core.flag("debug") { "debug" } else { level });
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let tls = Tls::new(&config.core);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("threads cannot be started: {error}"))?;
    match &options.command {
        None | Some(Command::Run) => runtime.block_on(run(&config)),
        Some(Command::Config(_)) => runtime.block_on(async {
            super::enrich::Enrich::new(&config.core).map_err(|problems| lines(&problems))?;
            outputs(&config, &tls).map_err(|problems| lines(&problems))?;
            inputs(&config, &tls).map_err(|problems| lines(&problems))?;
            shared_store(&config.core, &tls).map_err(|problems| lines(&problems))?;
            let names: Vec<_> = config.instances.iter().map(|instance| instance.name.as_str()).collect();
            let mut text = format!("the configuration is valid; outputs: {}", names.join(", "));
            if !config.inputs.is_empty() {
                let names: Vec<_> = config.inputs.iter().map(|input| input.name.as_str()).collect();
                text += &format!("; inputs: {}", names.join(", "));
            }
            print(&(text + "\n"));
            Ok(ExitCode::SUCCESS)
        }),
        Some(Command::Outputs(OutputsCommand::Test { name })) => runtime.block_on(test(&config, &tls, name)),
        Some(Command::Outputs(_) | Command::Inputs(_)) => Ok(ExitCode::SUCCESS),
        Some(Command::DeadLetters(command)) => runtime.block_on(dead_letters(&config, command)),
        Some(Command::Users(command)) => runtime.block_on(users(&config, command)),
    }
}

/// Standard output may be closed by whoever reads it; that is no failure.
fn print(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

async fn run(config: &Config) -> Result<ExitCode, String> {
    tracing::info!("falco-hub {}", env!("CARGO_PKG_VERSION"));
    let failed = |error: std::io::Error| format!("signals cannot be waited for: {error}");
    let mut terminated = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(failed)?;
    let hub = Hub::start(config).await.map_err(|error: StartError| error.to_string())?;
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    tracing::info!("stops");
    hub.stop().await;
    Ok(ExitCode::SUCCESS)
}

fn unknown(name: &str, names: &[String]) -> String {
    format!("no output '{name}' is configured; there are: {}", names.join(", "))
}

async fn test(config: &Config, tls: &Arc<Tls>, name: &str) -> Result<ExitCode, String> {
    let Some(instance) = config.instances.iter().find(|instance| instance.name == name) else {
        let names: Vec<_> = config.instances.iter().map(|instance| instance.name.clone()).collect();
        return Err(unknown(name, &names));
    };
    let enabled = config.enabled();
    let context = Context { settings: &instance.settings, core: &config.core, tls, enabled: &enabled };
    let forward = match instance.kind.forward(&context) {
        Some(made) => made.map_err(|error| format!("{name}: {error}"))?,
        None => return Err(format!("{name}: alerts are not sent to this kind of output")),
    };
    let mut alert = Alert::test();
    alert.uuid = uuid::Uuid::new_v4().to_string();
    "internal".clone_into(&mut alert.source);
    let timeout = config.core.duration("hub.timeout").max(Duration::from_secs(1));
    let outcome = tokio::time::timeout(timeout, forward.deliver(&[Arc::new(alert)]))
        .await
        .map_err(|_| format!("{name}: no answer within {timeout:?}"))?;
    match outcome.into_iter().find_map(Result::err) {
        None => {
            print(&format!("{name}: the test alert was taken\n"));
            Ok(ExitCode::SUCCESS)
        }
        Some(failure) => Err(format!("{name}: {failure}")),
    }
}

async fn dead_letters(config: &Config, command: &DeadLettersCommand) -> Result<ExitCode, String> {
    let names = limits(config).outputs;
    if let DeadLettersCommand::Retry { output } = command
        && !names.contains(output)
    {
        // Nobody would deliver them.
        return Err(unknown(output, &names));
    }
    let spool = Spool::open(&directory(&config.core), limits(config)).map_err(|error| error.to_string())?;
    match command {
        DeadLettersCommand::List => {
            const MOST: usize = 10_000;
            let letters = spool.dead_letters(MOST).await.map_err(|error| error.to_string())?;
            for letter in letters {
                print(&(serde_json::to_string(&letter).unwrap_or_default() + "\n"));
            }
        }
        DeadLettersCommand::Retry { output } => {
            let number = spool.revive(output).await.map_err(|error| error.to_string())?;
            print(&format!("{number} alerts will be offered to {output} again\n"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn users(config: &Config, command: &UsersCommand) -> Result<ExitCode, String> {
    let spool = Spool::open(&directory(&config.core), limits(config)).map_err(|error| error.to_string())?;
    match command {
        UsersCommand::List => {
            for user in spool.users().await.map_err(|error| error.to_string())? {
                print(&format!("{:24} {}\n", user.name, user.role.name()));
            }
        }
        UsersCommand::Set { name, role } => {
            let mut password = String::new();
            std::io::stdin().read_line(&mut password).map_err(|error| format!("the password: {error}"))?;
            let role = Role::from_name(role).ok_or_else(|| format!("there is no role '{role}'"))?;
            let user = User::new(name, role, password.trim_end_matches(['\r', '\n']))?;
            spool.set_user(user).await.map_err(|error| error.to_string())?;
            print(&format!("{name} is {} now\n", role.name()));
        }
        UsersCommand::Remove { name } => {
            if !spool.remove_user(name).await.map_err(|error| error.to_string())? {
                return Err(format!("there is no user '{name}'"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What a type is called.
pub fn type_name(kind: Type) -> String {
    match kind {
        Type::Text => "text".to_owned(),
        Type::Secret => "text (secret)".to_owned(),
        Type::Bool => "true or false".to_owned(),
        Type::Int => "whole number".to_owned(),
        Type::Priority => "priority".to_owned(),
        Type::Duration(_) => "duration".to_owned(),
        Type::Size => "size".to_owned(),
        Type::Choice(words) => words.join(", "),
        Type::List => "list".to_owned(),
        Type::Map => "map".to_owned(),
        Type::Match => "patterns".to_owned(),
    }
}

/// `variable`: its environment variable, where it has one.
fn key_line(text: &mut String, path: &str, variable: &str, key: &Key) {
    let default = if key.default.is_empty() { String::new() } else { format!(" (default: {})", key.default) };
    let space = if variable.is_empty() { "" } else { " " };
    // Writing to a text does not fail.
    let _ = writeln!(text, "{path}\n    {variable}{space}[{}] {}{default}", type_name(key.kind), key.meaning);
}

fn keys() -> String {
    all_keys().iter().fold(String::new(), |mut text, (path, key)| {
        key_line(&mut text, path, &variable(path), key);
        text
    })
}

fn list() -> String {
    KINDS.iter().fold(String::new(), |mut text, kind| {
        let _ = writeln!(text, "{:20} {:12} {}", kind.section, kind.category, kind.meaning);
        text
    })
}

fn describe(kind: &Kind) -> String {
    let mut text = format!("{} ({}): {}\n", kind.label, kind.category, kind.meaning);
    match kind.work {
        Work::Discontinued(why) => text.push_str(&format!("It does nothing: {why}\n")),
        Work::Asked => {}
        _ => text.push_str(&format!("Enabled when set: {}\n", kind.required.join(", "))),
    }
    text.push('\n');
    for key in kind.tables().into_iter().flatten() {
        let path = format!("{}.{}", kind.section, key.name);
        key_line(&mut text, &path, &variable(&path), key);
    }
    for key in kind.shared {
        key_line(&mut text, key.name, &variable(key.name), key);
    }
    text
}

fn list_inputs() -> String {
    input::KINDS.iter().fold(String::new(), |mut text, kind| {
        let _ = writeln!(text, "{:12} {}", kind.name, kind.meaning);
        text
    })
}

fn describe_input(kind: &input::Kind) -> String {
    let mut text = format!("{}: {}\n", kind.label, kind.meaning);
    text.push_str(&format!("An item of the list 'inputs'; it needs: kind, name, {}\n\n", kind.required.join(", ")));
    for key in kind.keys.iter().flat_map(|table| table.iter()) {
        key_line(&mut text, key.name, "", key);
    }
    text
}
