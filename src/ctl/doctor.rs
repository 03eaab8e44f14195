//! What a host lacks for the module, in the order in which it is needed, each with the command that mends it.
//!
//! Reads files and changes nothing. What needs building is asked for only where no module is installed.

use super::build;
use super::family::{self, Family};
use super::host::{Build, Host, KernelConfig, module_info};
use super::sign::{self, Enrolled};
use crate::driver::load;
use std::fmt::Write;
use std::path::Path;

/// How one thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Good,
    /// Worth knowing, in nobody's way.
    Note,
    Missing,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub name: &'static str,
    pub state: State,
    pub text: String,
    /// Commands that mend it, in order; lines that begin with `#` are for a person.
    pub mend: Vec<String>,
}

impl Finding {
    fn good(name: &'static str, text: impl Into<String>) -> Finding {
        Finding { name, state: State::Good, text: text.into(), mend: Vec::new() }
    }

    fn note(name: &'static str, text: impl Into<String>) -> Finding {
        Finding { name, state: State::Note, text: text.into(), mend: Vec::new() }
    }

    fn missing(name: &'static str, text: impl Into<String>, mend: impl IntoIterator<Item = String>) -> Finding {
        Finding { name, state: State::Missing, text: text.into(), mend: mend.into_iter().collect() }
    }
}

/// Everything, in order.
pub fn examine(host: &Host) -> Vec<Finding> {
    let config = host.kernel_config();
    let installed = installed(host);
    let mut findings = vec![kernel(host, config.as_ref()), modules(host), privilege(host)];
    // A module that is there does not have to be built.
    let built = installed.state == State::Good;
    let needed = |finding: Finding| match finding.state {
        State::Missing if built => Finding::note(finding.name, "not there, and not needed: the module is built"),
        _ => finding,
    };
    findings.extend([headers(host), compiler(host, config.as_ref()), make(host), source(host)].map(needed));
    findings.push(installed);
    findings.extend(signatures(host));
    findings.extend([loaded(host), device(host)]);
    findings.push(Finding::good("BTF", "not needed"));
    findings
}

/// The findings as text, and whether nothing is missing.
pub fn report(findings: &[Finding]) -> (String, bool) {
    let mut text = String::new();
    for finding in findings {
        let word = match finding.state {
            State::Good => "ok",
            State::Note => "note",
            State::Missing => "MISSING",
        };
        let _ = writeln!(text, "{word:<8} {:<11} {}", finding.name, finding.text);
        for line in &finding.mend {
            let _ = writeln!(text, "{:21}{line}", "");
        }
    }
    let missing: Vec<_> = findings.iter().filter(|f| f.state == State::Missing).map(|f| f.name).collect();
    if missing.is_empty() {
        text.push_str("nothing is missing\n");
    } else {
        let _ = writeln!(
            text,
            "missing: {}; run the commands in this order, then `falco-ctl driver doctor` again",
            missing.join(", ")
        );
    }
    (text, missing.is_empty())
}

/// The first two numbers of a release.
fn series(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn kernel(host: &Host, config: Option<&KernelConfig>) -> Finding {
    const NAME: &str = "kernel";
    let release = &host.release;
    let another = || ["# boot another kernel of this distribution".to_owned()];
    if series(release).is_some_and(|series| series < (3, 10)) {
        return Finding::missing(NAME, format!("{release} is older than 3.10"), another());
    }
    let realtime = host.text("/sys/kernel/realtime").is_some_and(|text| text == "1");
    let lacks = |option: &str| config.is_some_and(|config| !config.is_set(option));
    if realtime || config.is_some_and(|c| c.is_set("CONFIG_PREEMPT_RT") || c.is_set("CONFIG_PREEMPT_RT_FULL")) {
        return Finding::missing(
            NAME,
            format!("{release} is a PREEMPT_RT kernel, which the module does not support"),
            another(),
        );
    }
    for option in ["CONFIG_TRACEPOINTS", "CONFIG_HAVE_SYSCALL_TRACEPOINTS"] {
        if lacks(option) {
            return Finding::missing(NAME, format!("{release} was built without {option}"), another());
        }
    }
    match config {
        Some(_) => Finding::good(NAME, format!("{release}, with tracepoints")),
        None => Finding::note(
            NAME,
            format!("{release}; how it was built is told nowhere, building the module will show it"),
        ),
    }
}

fn modules(host: &Host) -> Finding {
    const NAME: &str = "modules";
    if !host.has("/proc/modules") {
        return Finding::missing(
            NAME,
            "this kernel was built without loadable modules",
            ["# boot another kernel".into()],
        );
    }
    if host.text("/proc/sys/kernel/modules_disabled").is_some_and(|text| text == "1") {
        let mend = [
            "# remove kernel.modules_disabled=1 from /etc/sysctl.conf and /etc/sysctl.d, or set it after the module is loaded:".to_owned(),
            "grep -r modules_disabled /etc/sysctl.conf /etc/sysctl.d; systemctl reboot".to_owned(),
        ];
        return Finding::missing(
            NAME,
            "kernel.modules_disabled is set: no module can be loaded until the next boot",
            mend,
        );
    }
    Finding::good(NAME, "can be loaded")
}

fn privilege(host: &Host) -> Finding {
    let status = host.text("/proc/self/status").unwrap_or_default();
    if load::may_load(&status) {
        return Finding::good("privilege", "CAP_SYS_MODULE");
    }
    Finding::missing(
        "privilege",
        "this process may not load modules (no CAP_SYS_MODULE)",
        ["sudo falco-ctl driver doctor    # in a container: on its host".to_owned()],
    )
}

fn headers(host: &Host) -> Finding {
    let folder = host.headers();
    if folder.join("Makefile").is_file() {
        return Finding::good("headers", folder.display().to_string());
    }
    let dangling = folder.is_symlink() && !folder.exists();
    let why = if dangling { "points to a folder that is gone" } else { "is not there" };
    Finding::missing(
        "headers",
        format!("{} {why}", folder.display()),
        [family::install(host, "the headers (or development package) of this kernel", |f| f.headers)],
    )
}

fn compiler(host: &Host, config: Option<&KernelConfig>) -> Finding {
    let clang = config.is_some_and(|config| config.is_set("CONFIG_CC_IS_CLANG"));
    // Debian's headers call the very compiler that the kernel was built with, and depend on its package.
    let exact = host.text(host.headers_file(".kernelvariables")).and_then(|text| build::named_compiler(&text));
    let names: Vec<&str> = match &exact {
        Some(name) => vec![name],
        None if clang => vec!["clang"],
        None => vec!["gcc", "cc"],
    };
    match names.iter().find_map(|name| host.program(name)) {
        Some(path) => Finding::good("compiler", path.display().to_string()),
        None => {
            let what = format!("{} is not there", names[0]);
            let named = exact.is_some() || clang;
            let command = family::install(host, "a C compiler", |f| f.compiler);
            let command = if named { command.replace(" gcc", &format!(" {}", names[0])) } else { command };
            Finding::missing("compiler", what, [command])
        }
    }
}

fn make(host: &Host) -> Finding {
    match host.program("make") {
        Some(path) => Finding::good("make", path.display().to_string()),
        None => Finding::missing("make", "make is not there", [family::install(host, "make", |_: &Family| "make")]),
    }
}

fn source(host: &Host) -> Finding {
    match build::source(host) {
        Some(folder) => Finding::good("source", folder.display().to_string()),
        None => Finding::missing(
            "source",
            format!("no source of the module at {}", build::default_source().display()),
            ["# install the package falco-sensor again, or name the folder: falco-ctl driver build --source DIR"
                .to_owned()],
        ),
    }
}

fn installed(host: &Host) -> Finding {
    const NAME: &str = "module";
    let build = || ["falco-ctl driver build".to_owned()];
    let Some(path) = host.installed() else {
        return Finding::missing(NAME, format!("none is installed for {}", host.release), build());
    };
    let Some(image) = Host::image(&path) else {
        return Finding::note(NAME, format!("{}, which cannot be unpacked here to look into it", path.display()));
    };
    let magic = module_info(&image, "vermagic").unwrap_or_default();
    if magic.split(' ').next() != Some(&host.release) {
        return Finding::missing(NAME, format!("{} was built for another kernel ({magic})", path.display()), build());
    }
    let own = env!("CARGO_PKG_VERSION");
    let its = Build::of_image(&image);
    if its.version != own {
        return Finding::missing(NAME, format!("{} has {its}; this is {own}", path.display()), build());
    }
    Finding::good(NAME, format!("{}, {its}", path.display()))
}

/// Whether this kernel would take the installed module.
fn signatures(host: &Host) -> Vec<Finding> {
    let demands = sign::demands(host);
    let lockdown = match &demands.lockdown {
        Some(mode) => {
            let why = if demands.secure_boot { ", because of Secure Boot" } else { "" };
            Finding::note("lockdown", format!("{mode}{why}: only signed modules are loaded"))
        }
        None => Finding::good("lockdown", "none"),
    };
    if !demands.signature() {
        return vec![lockdown, Finding::good("signature", "not demanded")];
    }
    let name = "signature";
    let key = sign::find_key(host);
    let enrolled = key.as_ref().map(|key| sign::is_enrolled(host, key));
    let finding = match (key, enrolled) {
        (Some(key), Some(Enrolled::Yes | Enrolled::Unknown)) => match host
            .installed()
            .map(|path| (Host::image(&path), path))
        {
            Some((Some(image), path)) if sign::is_signed(&image) => {
                Finding::good(name, format!("demanded; {} is signed, the key is {}", path.display(), key.key.display()))
            }
            Some((Some(_), path)) => Finding::missing(
                name,
                format!("demanded, and {} has none", path.display()),
                ["falco-ctl driver sign".to_owned()],
            ),
            _ => Finding::note(name, format!("demanded; `falco-ctl driver build` signs with {}", key.key.display())),
        },
        (Some(key), _) => Finding::missing(
            name,
            format!("demanded; the key {} is not enrolled with the firmware", key.cert.display()),
            sign::enrol(host, &key),
        ),
        (None, _) => {
            let signed =
                host.installed().and_then(|path| Host::image(&path)).is_some_and(|image| sign::is_signed(&image));
            if signed {
                Finding::note(name, "demanded; the installed module is signed, by a key that is not on this host")
            } else {
                Finding::missing(name, "demanded, and there is no machine-owner key to sign with", sign::create(host))
            }
        }
    };
    vec![lockdown, finding]
}

fn loaded(host: &Host) -> Finding {
    const NAME: &str = "loaded";
    let Some(loaded) = host.loaded() else {
        return Finding::note(NAME, "not yet: `falco-ctl driver load`, or starting the sensor, does it");
    };
    let user = host.consumer().map_or_else(String::new, |(pid, name)| format!("; in use by process {pid} ({name})"));
    let installed = host.installed().and_then(|path| Host::image(&path)).map(|image| Build::of_image(&image));
    match installed {
        Some(installed) if installed != loaded => {
            let mut mend = vec!["falco-ctl driver load".to_owned()];
            if !user.is_empty() {
                mend = ["systemctl stop falco-sensor", "falco-ctl driver load", "systemctl start falco-sensor"]
                    .map(str::to_owned)
                    .into();
            }
            Finding::missing(NAME, format!("an older build: {loaded}; installed: {installed}{user}"), mend)
        }
        _ => Finding::good(NAME, format!("{loaded}{user}")),
    }
}

fn device(host: &Host) -> Finding {
    const NAME: &str = "device";
    let path = crate::driver::device::path();
    match (host.has(&path), host.loaded().is_some()) {
        (true, true) => Finding::good(NAME, path.display().to_string()),
        (false, true) => Finding::missing(
            NAME,
            format!("{} is not there though the module is loaded", path.display()),
            ["falco-ctl driver unload".to_owned(), "falco-ctl driver load".to_owned()],
        ),
        (true, false) => {
            Finding::note(NAME, format!("{} is there without the module; loading makes it anew", path.display()))
        }
        (false, false) => Finding::note(NAME, format!("{} comes with the module", path.display())),
    }
}

impl Host {
    /// A file of the headers, as a path of the machine.
    fn headers_file(&self, name: &str) -> std::path::PathBuf {
        Path::new("/lib/modules").join(&self.release).join("build").join(name)
    }
}

#[cfg(test)]
mod tests;
