//! The command line, declared once: parser, `--help`, the man page and its test come from here.

use clap::Parser;
use std::path::PathBuf;

/// Runtime security for Linux hosts.
#[derive(Parser, Debug)]
#[command(name = "falco-sensor", disable_version_flag = true)]
pub struct Options {
    /// Load this kernel module file rather than the installed one
    #[arg(long, value_name = "FILE", conflicts_with = "no_load")]
    pub module: Option<PathBuf>,

    /// Use the module that is loaded already; never load or unload one
    #[arg(long)]
    pub no_load: bool,

    /// Stop after this many seconds
    #[arg(short = 'M', value_name = "SEC")]
    pub seconds: Option<u64>,

    /// Print every record of these system calls (comma-separated; default all) instead of evaluating rules
    #[arg(long, value_name = "SYSCALLS", num_args = 0..=1, require_equals = true, default_missing_value = "all", hide = true)]
    pub dump: Option<String>,
}
