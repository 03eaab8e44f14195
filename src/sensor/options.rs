//! The command line, declared once: parser, `--help`, the man page and its test come from here.

use super::config::Override;
use crate::bench::Mode;
use crate::filter::Tables;
use crate::kit::command::RulesCommand;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// How lists are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    Text,
    Markdown,
    Json,
}

/// What the program can do besides watching.
#[derive(Subcommand, Debug)]
pub enum Tool {
    /// Tools for those who write rules
    #[command(subcommand)]
    Rules(RulesCommand),
}

/// Options of older versions of Falco, and what takes their place.
const GONE: [(&str, &str); 7] = [
    ("-A", "-o base_syscalls.all=true"),
    ("-b", "-o buffer_format_base64=true"),
    ("-D", "-o rules[].disable.rule=*TEXT*"),
    ("-e", "--replay FILE, or -o engine.kind=replay -o engine.replay.capture_file=FILE"),
    ("-S", "-o falco_libs.snaplen=BYTES"),
    ("-T", "-o rules[].disable.tag=TAG"),
    ("-t", "-o rules[].disable.rule=* -o rules[].enable.tag=TAG"),
];

/// What an operator who knows older versions should write, when that is what is wrong.
pub fn replacement(error: &clap::Error) -> Option<String> {
    use clap::error::{ContextKind, ContextValue};
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidArg) else { return None };
    let (gone, now) = GONE.iter().find(|(gone, _)| gone == given)?;
    Some(format!("  tip: {gone} is of older versions of Falco; say {now}"))
}

/// Takes a command line apart. The help calls the program as it was called: installed in Falco's place it is `falco`.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Options, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let called = arguments.first().and_then(|path| Path::new(path).file_name()).and_then(|name| name.to_str());
    let name = called.unwrap_or("falco-sensor");
    let usage = format!("{name} [OPTION...]\n       {name} rules <COMMAND>");
    let matches = Options::command().override_usage(usage).try_get_matches_from(arguments)?;
    Options::from_arg_matches(&matches)
}

/// Watches the system calls of this host and reports what the rules say.
#[derive(Parser, Debug)]
#[command(
    name = "falco-sensor",
    disable_version_flag = true,
    disable_help_flag = true,
    max_term_width = 100,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
pub struct Options {
    #[command(subcommand)]
    pub tool: Option<Tool>,

    /// Print this help
    #[arg(short = 'h', long, global = true, action = clap::ArgAction::Help)]
    pub help: Option<bool>,

    /// Configuration file [default: /etc/falco-sensor/falco-sensor.yaml, else /etc/falco/falco.yaml]
    #[arg(short = 'c', value_name = "PATH")]
    pub config: Option<PathBuf>,

    /// Rules file or folder, instead of the configured ones; repeatable
    #[arg(short = 'r', value_name = "PATH")]
    pub rules: Vec<PathBuf>,

    /// Set a configuration key: a.b=value, list[0]=value, list[]=value, map={...}; repeatable
    #[arg(short = 'o', long = "option", value_name = "KEY=VALUE")]
    pub overrides: Vec<Override>,

    /// Check these rules files and folders and exit; repeatable
    #[arg(short = 'V', long, value_name = "PATH")]
    pub validate: Vec<PathBuf>,

    /// Load configuration and rules, then exit
    #[arg(long)]
    pub dry_run: bool,

    /// Describe all rules, macros and lists and exit (in JSON with json_output)
    #[arg(short = 'L')]
    pub describe_all: bool,

    /// Describe one rule and exit
    #[arg(short = 'l', value_name = "RULE")]
    pub describe: Option<String>,

    /// List the fields of conditions and outputs, of one source if given, and exit
    #[arg(long, value_name = "SOURCE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub list: Option<String>,

    /// With --list: names only
    #[arg(short = 'N')]
    pub names_only: bool,

    /// Print the JSON schema of the configuration and exit
    #[arg(long)]
    pub config_schema: bool,

    /// Print the JSON schema of rules files and exit
    #[arg(long)]
    pub rule_schema: bool,

    /// Watch this event source only; repeatable
    #[arg(long, value_name = "SOURCE", conflicts_with = "disable_source")]
    pub enable_source: Vec<String>,

    /// Leave out this event source; repeatable
    #[arg(long, value_name = "SOURCE")]
    pub disable_source: Vec<String>,

    /// List the plugins and exit
    #[arg(long)]
    pub list_plugins: bool,

    /// Describe one plugin and exit
    #[arg(long, value_name = "NAME")]
    pub plugin_info: Option<String>,

    /// List the event types and exit
    #[arg(long)]
    pub list_events: bool,

    /// Form of the lists
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub format: ListFormat,

    /// The same as --format markdown
    #[arg(long, conflicts_with = "format")]
    pub markdown: bool,

    /// Print the system calls that are captured only with base_syscalls.all and exit
    #[arg(short = 'i')]
    pub ignored: bool,

    /// Evaluate this capture (.scap, plain or gzip) instead of watching this host
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,

    /// Write every event to this capture (.scap; packed when its name ends in .gz) while watching this host
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,

    /// Stop after this many seconds
    #[arg(short = 'M', value_name = "SEC")]
    pub seconds: Option<u64>,

    /// Put this behind the output of every rule
    #[arg(short = 'p', long = "print", value_name = "FORMAT")]
    pub print: Option<String>,

    /// Write the process id to this file
    #[arg(short = 'P', long, value_name = "PATH")]
    pub pidfile: Option<PathBuf>,

    /// Write every alert at once, whatever buffered_outputs says
    #[arg(short = 'U', long)]
    pub unbuffered: bool,

    /// Tell more
    #[arg(short = 'v')]
    pub verbose: bool,

    /// Load this kernel module file rather than the installed one
    #[arg(long, value_name = "FILE", conflicts_with = "no_load")]
    pub module: Option<PathBuf>,

    /// Use the module that is loaded already; never load or unload one
    #[arg(long)]
    pub no_load: bool,

    /// Measure what events cost, with the rules of -r or the configuration, and exit
    #[arg(long, value_enum, value_name = "MODE", conflicts_with_all = ["replay", "record"])]
    pub bench: Option<Mode>,

    /// With --bench evaluate (which has a load of its own) or replay: the capture to take events from
    #[arg(long, value_name = "FILE", requires = "bench")]
    pub capture: Option<PathBuf>,

    /// With --bench: measure for about so long
    #[arg(long = "seconds", value_name = "N", requires = "bench", default_value_t = 5)]
    pub bench_seconds: u64,

    /// With --bench: print the result as JSON
    #[arg(long, requires = "bench")]
    pub json: bool,

    /// Have the module send every event that some rule listens to, also where no rule can match in its task
    #[arg(long)]
    pub no_pushdown: bool,

    /// How comparisons of one value are decided: by tables where they are cheaper (sized), always or never. For tests
    #[arg(long, value_name = "WHEN", default_value = "sized", value_parser = tables, hide = true)]
    pub match_tables: Tables,

    /// Print what a bug report should have (versions, system, configuration, rules) as JSON and exit
    #[arg(long)]
    pub support: bool,

    /// Print the page size and exit
    #[arg(long)]
    pub page_size: bool,

    /// Print versions (in JSON with json_output) and exit
    #[arg(long)]
    pub version: bool,

    /// Print every record of these system calls (comma-separated; default all) instead of evaluating rules
    #[arg(
        long,
        value_name = "SYSCALLS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "all",
        hide = true
    )]
    pub dump: Option<String>,
}

fn tables(word: &str) -> Result<Tables, &'static str> {
    match word {
        "sized" => Ok(Tables::Sized),
        "always" => Ok(Tables::Always),
        "never" => Ok(Tables::Never),
        _ => Err("is one of sized, always and never"),
    }
}
