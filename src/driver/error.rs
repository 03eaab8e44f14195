//! What can go wrong between this program and the module: one sentence each, for the operator.

use std::io;
use std::path::PathBuf;

/// A failure of loading, opening or reading the module.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "loading the kernel module needs root (CAP_SYS_MODULE): run as root, or load it beforehand and use --no-load"
    )]
    NotPrivileged,
    #[error(
        "the kernel refused the module: it is locked down ({mode}) and loads signed modules only; sign the module with a key the kernel trusts (`falco-ctl driver doctor` tells how), or switch Secure Boot's lockdown off"
    )]
    LockedDown { mode: String },
    #[error(
        "this kernel cannot load modules (built without CONFIG_MODULES, or kernel.modules_disabled is set): use another kernel, or reboot if only modules_disabled is set"
    )]
    NoModules,
    #[error(
        "no module for kernel {release}: looked in {looked}; `falco-ctl driver doctor` says what building one takes here, `falco-ctl driver build` builds it, --module names a file elsewhere"
    )]
    NotFound { release: String, looked: String },
    #[error(
        "{path}: built for another kernel ({theirs}; this one is {release}): build the module against this kernel's headers, or name the right file with --module"
    )]
    WrongKernel { path: PathBuf, theirs: String, release: String },
    #[error("{path}: the kernel refused the module: {source}; the kernel's log (dmesg) has the reason")]
    Refused { path: PathBuf, source: io::Error },
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("modprobe falco_sensor failed: {message}")]
    Modprobe { message: String },
    #[error(
        "the module is not loaded (no /dev/{device}): load it with `modprobe falco_sensor`, or start without --no-load",
        device = "falco-sensor"
    )]
    NotLoaded,
    #[error("{path}: permission denied: run as root")]
    DeviceDenied { path: PathBuf },
    #[error(
        "the module speaks ABI {theirs}, this program {ours}: install module and program of one version (loaded module: {version})"
    )]
    AbiMismatch { theirs: String, ours: String, version: String },
    #[error(
        "the module ({version}) was built from another table of system calls (hash {theirs:#010x}, this program's {ours:#010x}): install module and program of one version"
    )]
    TableMismatch { theirs: u32, ours: u32, version: String },
    #[error("another process uses the module (pid {pid}{name}): stop it first, only one sensor can run")]
    Busy { pid: i32, name: String },
    #[error("ring of {bytes} bytes per CPU: {source}; choose a smaller buffer preset (engine.kmod.buf_size_preset)")]
    RingMemory { bytes: u32, source: io::Error },
    #[error("{action}: {source}")]
    Device { action: String, source: io::Error },
}

impl Error {
    /// A device operation that failed, by what it was meant to do.
    pub(crate) fn device(action: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let action = action.into();
        move |source| Error::Device { action, source }
    }
}
