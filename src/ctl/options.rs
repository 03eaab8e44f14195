//! The command line, declared once: parser, `--help`, the man page, the completions and their tests come from here.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Looks after what falco-sensor needs of this host.
#[derive(Parser, Debug)]
#[command(name = "falco-ctl", version, max_term_width = 100, disable_help_subcommand = true)]
pub struct Options {
    #[command(subcommand)]
    pub room: Room,
}

#[derive(Subcommand, Debug)]
pub enum Room {
    /// The kernel module
    #[command(subcommand)]
    Driver(DriverCommand),
}

#[derive(Subcommand, Debug)]
pub enum DriverCommand {
    /// Say, in order, what this host lacks for the module, and the command that mends each; status 1 when something is missing
    Doctor,
    /// Compile the module for a kernel and install it; by DKMS where that knows the module
    Build(BuildOptions),
    /// Sign a module with this host's machine-owner key
    Sign(SignOptions),
    /// Put the installed module into the kernel; one of another build that is there already makes room
    Load(LoadOptions),
    /// Take the module out of the kernel
    Unload,
    /// Say what is loaded and installed; status 1 when the sensor could not use it
    Status,
}

#[derive(Args, Debug, Default)]
pub struct BuildOptions {
    /// For this kernel [default: the running one]
    #[arg(long, value_name = "RELEASE")]
    pub kernel: Option<String>,
    /// The kernel's headers [default: /lib/modules/RELEASE/build]
    #[arg(long, value_name = "DIR")]
    pub headers: Option<PathBuf>,
    /// The module's source [default: /usr/src/falco-sensor-VERSION]
    #[arg(long, value_name = "DIR")]
    pub source: Option<PathBuf>,
    /// Write the module to this file instead of installing it
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub key: KeyOptions,
}

#[derive(Args, Debug, Default)]
pub struct KeyOptions {
    /// Private key to sign with (PEM) [default: the machine-owner key where signatures are demanded]
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Its certificate (DER or PEM)
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct SignOptions {
    /// The module [default: the one installed for the running kernel]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub key: KeyOptions,
}

#[derive(Args, Debug, Default)]
pub struct LoadOptions {
    /// Load this file rather than the installed module
    #[arg(long, value_name = "FILE")]
    pub module: Option<PathBuf>,
}
