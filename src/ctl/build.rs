//! Building the module for a kernel and putting it where `driver load`, the sensor and modprobe find it.
//!
//! Where DKMS knows the module it does the work, so that there is one copy per kernel. Otherwise the sources are copied
//! and the kernel's build system is run on the copy; sources are never written to.

use super::host::{Host, module_info};
use super::options::{BuildOptions, KeyOptions};
use super::sign::{self, Key};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const NAME: &str = "falco-sensor";
/// Where a module goes that DKMS does not look after, below /lib/modules/RELEASE.
const FOLDER: &str = "updates";

/// Where packages put the module's source.
pub fn default_source() -> PathBuf {
    Path::new("/usr/src").join(format!("{NAME}-{VERSION}"))
}

/// The module's source on a host, of this program's version.
pub fn source(host: &Host) -> Option<PathBuf> {
    Some(host.path(default_source())).filter(|folder| folder.join("Kbuild").is_file())
}

/// The compiler that Debian's `.kernelvariables` names.
pub fn named_compiler(text: &str) -> Option<String> {
    let mut words = text.lines().filter(|line| line.trim_start_matches("override ").starts_with("CC "));
    let compiler = words.next_back()?.rsplit_once("$(CROSS_COMPILE)")?.1.trim();
    (!compiler.is_empty() && !compiler.contains(['$', ' '])).then(|| compiler.to_owned())
}

/// What was done, for the operator.
pub fn build(host: &Host, options: &BuildOptions) -> Result<String, String> {
    let host = &host.under(options.kernel.as_ref().unwrap_or(&host.release));
    let plain =
        options.headers.is_none() && options.source.is_none() && options.output.is_none() && options.key.key.is_none();
    if plain && let Some(dkms) = host.program("dkms").filter(|_| host.has(dkms_tree())) {
        return with_dkms(host, &dkms);
    }
    let source = match &options.source {
        Some(folder) if folder.join("Kbuild").is_file() => folder.clone(),
        Some(folder) => return Err(format!("{}: no source of the module (no file Kbuild)", folder.display())),
        None => source(host).ok_or_else(|| {
            format!(
                "{}: no source of the module: install the package {NAME}, or name it with --source",
                default_source().display()
            )
        })?,
    };
    let headers = options.headers.clone().unwrap_or_else(|| host.headers());
    if !headers.join("Makefile").is_file() {
        return Err(format!(
            "{}: no headers of kernel {}: `falco-ctl driver doctor` tells how to get them, --headers names another folder",
            headers.display(),
            host.release
        ));
    }
    let key = key(host, &options.key);
    let work = Work::new()?;
    copy_sources(&source, &work.0)?;
    make(&headers, &work.0)?;
    let built = work.0.join("falco_sensor.ko");
    let strip = Command::new("strip").args(["--strip-debug"]).arg(&built).stderr(Stdio::null()).status();
    let stripped = strip.is_ok_and(|status| status.success());
    let mut said = String::new();
    if let Some(key) = &key {
        sign::sign(host, &headers, key, &built)?;
        said = format!(", signed with {}", key.key.display());
    }
    if !stripped {
        said.push_str(", with debug information: `strip` is not there");
    }
    let image = fs::read(&built).map_err(|e| format!("{}: {e}", built.display()))?;
    let release = module_info(&image, "vermagic")
        .and_then(|magic| magic.split(' ').next().map(str::to_owned))
        .unwrap_or_default();
    match &options.output {
        Some(file) => {
            place(&image, file)?;
            Ok(format!("{}: built for {release}{said}", file.display()))
        }
        None => {
            if release != host.release {
                return Err(format!(
                    "{}: these headers are of kernel {release}, not of {}: give --kernel {release}, or --output FILE",
                    headers.display(),
                    host.release
                ));
            }
            let file = host.path("/lib/modules").join(&release).join(FOLDER).join("falco_sensor.ko");
            place(&image, &file)?;
            depmod(host)?;
            Ok(format!("{}: built and installed{said}", file.display()))
        }
    }
}

/// The key to sign with: the one that was named, else the host's where its kernel demands signatures.
fn key(host: &Host, options: &KeyOptions) -> Option<Key> {
    named_key(options).or_else(|| sign::find_key(host).filter(|_| sign::demands(host).signature()))
}

pub fn named_key(options: &KeyOptions) -> Option<Key> {
    Some(Key { key: options.key.clone()?, cert: options.cert.clone()? })
}

fn dkms_tree() -> PathBuf {
    Path::new("/var/lib/dkms").join(NAME).join(VERSION)
}

fn with_dkms(host: &Host, dkms: &Path) -> Result<String, String> {
    for action in ["build", "install"] {
        let mut command = Command::new(dkms);
        command.args([action, "--force", "-m", NAME, "-v", VERSION, "-k", &host.release]);
        let output = output(&mut command)?;
        if !output.status.success() {
            let log = host.path(dkms_tree()).join("build/make.log");
            let log =
                if log.is_file() { format!("; the compiler's messages: {}", log.display()) } else { String::new() };
            return Err(format!("dkms {action} failed for {}: {}{log}", host.release, text(&output)));
        }
    }
    let place = host.installed().map_or_else(String::new, |path| format!("{}: ", path.display()));
    Ok(format!("{place}built and installed by DKMS"))
}

/// A folder that goes when this is dropped.
struct Work(PathBuf);

impl Work {
    /// In /var/tmp or wherever TMPDIR says: a module with debug information has several MiB.
    fn new() -> Result<Work, String> {
        let folder = std::env::temp_dir().join(format!("falco-sensor-build.{}", std::process::id()));
        // Fails when it is there already: nobody else's folder is used.
        fs::DirBuilder::new().mode(0o700).create(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        Ok(Work(folder))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy_sources(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    for entry in fs::read_dir(from).map_err(|e| failed(from, e))? {
        let path = entry.map_err(|e| failed(from, e))?.path();
        let name = path.file_name().unwrap_or_default();
        let is_source =
            path.extension().is_some_and(|e| e == "c" || e == "h") || name == "Kbuild" || name == "Makefile";
        if is_source && !name.to_string_lossy().ends_with(".mod.c") {
            fs::copy(&path, to.join(name)).map_err(|e| failed(&path, e))?;
        }
    }
    Ok(())
}

fn make(headers: &Path, folder: &Path) -> Result<(), String> {
    let mut command = Command::new("make");
    command.arg("-C").arg(headers).arg(format!("M={}", folder.display())).arg("modules");
    ["MAKEFLAGS", "MFLAGS", "KDIR"].iter().for_each(|name| {
        command.env_remove(name);
    });
    let output = output(&mut command)?;
    if output.status.success() {
        return Ok(());
    }
    let text = text(&output);
    let telling: Vec<_> =
        text.lines().filter(|l| l.contains("error") || l.contains("***") || l.contains("not found")).take(5).collect();
    let shown = if telling.is_empty() { text.lines().rev().take(5).collect() } else { telling };
    Err(format!("the module does not compile with {}:\n  {}", headers.display(), shown.join("\n  ")))
}

fn output(command: &mut Command) -> Result<Output, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.output().map_err(|e| format!("{program} cannot be run: {e}: `falco-ctl driver doctor` tells how to get it"))
}

fn text(output: &Output) -> String {
    let both = [output.stdout.as_slice(), b"\n", output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).trim().to_owned()
}

/// Writes a file so that whoever opens it sees the old one or the new one, whole.
fn place(image: &[u8], file: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", file.display());
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let new = file.with_extension("ko.new");
    fs::write(&new, image).and_then(|()| fs::rename(&new, file)).map_err(failed)
}

pub fn depmod(host: &Host) -> Result<(), String> {
    let Some(depmod) = host.program("depmod") else {
        return Err(
            "the module is installed, but depmod is not there (install kmod): modprobe will not find it".to_owned()
        );
    };
    let output = output(Command::new(depmod).args(["-a", &host.release]))?;
    if output.status.success() { Ok(()) } else { Err(format!("depmod failed: {}", text(&output))) }
}

#[cfg(test)]
mod tests {
    use super::super::host::tests::Fake;
    use super::*;

    #[test]
    fn debian_headers_name_their_compiler() {
        let text = "override ARCH = x86\nCCACHE = ccache\nCC = $(if $(DEBIAN_KERNEL_USE_CCACHE),$(CCACHE)) $(CROSS_COMPILE)gcc-12\n";
        assert_eq!(named_compiler(text).as_deref(), Some("gcc-12"));
        assert_eq!(named_compiler(&text.replace("CC = ", "override CC = ")).as_deref(), Some("gcc-12"));
        assert_eq!(named_compiler("CC = $(WHATEVER)\n"), None);
        assert_eq!(named_compiler(""), None);
    }

    #[test]
    fn what_building_wants_is_named() {
        let fake = Fake::new("6.1.0-9-amd64");
        let build_with = |options| build(&fake.host(), &options).expect_err("something is missing");
        let plain = BuildOptions::default;
        assert!(build_with(plain()).contains("no source of the module"));
        let folder = fake.host().path("/source");
        let named = || BuildOptions { source: Some(folder.clone()), ..plain() };
        assert!(build_with(named()).contains("no file Kbuild"));
        fake.put("/source/Kbuild", "");
        let error = build_with(named());
        assert!(error.contains("no headers of kernel 6.1.0-9-amd64") && error.contains("driver doctor"), "{error}");
    }

    /// A Makefile in the headers' place does what a kernel's does, as far as this program can see.
    #[test]
    fn a_module_is_built_and_put_in_place() {
        if Command::new("make").arg("--version").output().is_err() {
            println!("skipped: make is not installed");
            return;
        }
        let fake = Fake::new("6.1");
        let image = r"\000vermagic=6.1 SMP\000version=0.1.0\000";
        fake.put(
            "/lib/modules/6.1/build/Makefile",
            format!("modules:\n\ttest -f $(M)/ring.c\n\tprintf '{image}' >$(M)/falco_sensor.ko\n"),
        );
        fake.put("/source/Kbuild", "").put("/source/ring.c", "").put("/source/old.mod.c", "");
        let result = fake.host().path("/result/falco_sensor.ko");
        let source = fake.host().path("/source");
        let options =
            |output: Option<PathBuf>| BuildOptions { source: Some(source.clone()), output, ..BuildOptions::default() };
        let said = build(&fake.host(), &options(Some(result.clone()))).expect("builds");
        assert!(said.contains("built for 6.1"), "{said}");
        assert!(fs::read(&result).expect("is there").starts_with(b"\0vermagic=6.1"));
        // Installed, only that this machine has no depmod.
        let error = build(&fake.host(), &options(None)).expect_err("no depmod");
        assert!(error.contains("depmod is not there"), "{error}");
        assert_eq!(fake.host().installed(), Some(fake.host().path("/lib/modules/6.1/updates/falco_sensor.ko")));
        // The headers of another kernel are not installed under this one's name.
        let mut other = options(None);
        other.kernel = Some("6.2".into());
        other.headers = Some(fake.host().headers());
        let error = build(&fake.host(), &other).expect_err("another kernel");
        assert!(error.contains("these headers are of kernel 6.1, not of 6.2"), "{error}");
        fake.put("/lib/modules/6.1/build/Makefile", "modules:\n\t@echo 'ring.c:1: error: no such thing' >&2; false\n");
        let error = build(&fake.host(), &options(None)).expect_err("does not compile");
        assert!(error.contains("does not compile") && error.contains("ring.c:1: error: no such thing"), "{error}");
    }
}
