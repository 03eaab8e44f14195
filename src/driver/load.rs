//! Getting the module into the kernel, and out again if this program put it there.
//!
//! A file named by the operator is loaded as it is. Otherwise the places where packages and DKMS install modules
//! are searched; a compressed one is left to modprobe, which knows every compression and signature scheme.

use super::error::Error;
use nix::errno::Errno;
use nix::kmod::{DeleteModuleFlags, ModuleInitFlags, delete_module, finit_module, init_module};
use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Name in /proc/modules.
pub const MODULE: &str = "falco_sensor";
const MODULE_C: &CStr = c"falco_sensor";
/// Folders below /lib/modules/RELEASE, most specific first.
const FOLDERS: [&str; 4] = ["updates/dkms", "updates", "extra", "weak-updates"];

/// The loaded module. When this program loaded it, dropping this value unloads it again.
#[derive(Debug)]
pub struct Loaded {
    ours: bool,
}

impl Loaded {
    /// True when the module was not there before.
    pub fn ours(&self) -> bool {
        self.ours
    }

    /// Unloads the module if this program loaded it.
    pub fn unload(mut self) -> Result<(), Error> {
        self.unload_ours()
    }

    /// Leaves the module in the kernel.
    pub fn keep(mut self) {
        self.ours = false;
    }

    fn unload_ours(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.ours) { remove() } else { Ok(()) }
    }
}

/// Takes the module out of the kernel; no error when it was not there.
pub fn remove() -> Result<(), Error> {
    // Files closed a moment ago may still hold it: their release runs when the task returns to user space.
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match delete_module(MODULE_C, DeleteModuleFlags::O_NONBLOCK) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::EAGAIN | Errno::EBUSY | Errno::EWOULDBLOCK) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(errno) => return Err(Error::Device { action: "unloading the module".into(), source: errno.into() }),
        }
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        if let Err(error) = self.unload_ours() {
            // Nobody is left to return it to.
            let _ = writeln!(io::stderr(), "falco-sensor: {error}");
        }
    }
}

/// Makes sure that the module is loaded: from `file` when one is given, else from where modules are installed.
pub fn load(file: Option<&Path>) -> Result<Loaded, Error> {
    if is_loaded() {
        return Ok(Loaded { ours: false });
    }
    let release = release();
    let ours = match file {
        Some(file) => insert(file, &release)?,
        None => match find(Path::new("/lib/modules"), &release) {
            Some(file) if file.extension().is_some_and(|e| e == "ko") => insert(&file, &release)?,
            Some(_) => modprobe()?,
            None => return Err(not_found(&release)),
        },
    };
    wait_for_device();
    Ok(Loaded { ours })
}

/// True when the module is in the kernel.
pub fn is_loaded() -> bool {
    Path::new("/sys/module").join(MODULE).exists()
}

/// The release of the running kernel.
pub fn release() -> String {
    nix::sys::utsname::uname().map_or_else(|_| String::new(), |u| u.release().to_string_lossy().into_owned())
}

/// The installed module of a release, below the folder of all kernels' modules.
pub fn find(modules: &Path, release: &str) -> Option<PathBuf> {
    let names = ["", ".xz", ".zst", ".gz"].map(|suffix| format!("{MODULE}.ko{suffix}"));
    let base = modules.join(release);
    let places = FOLDERS.iter().flat_map(|folder| names.iter().map(move |name| Path::new(folder).join(name)));
    places.map(|place| base.join(place)).find(|path| path.is_file())
}

fn not_found(release: &str) -> Error {
    if !Path::new("/proc/modules").exists() {
        return Error::NoModules;
    }
    let looked = format!("/lib/modules/{release}/{{{}}}", FOLDERS.join(","));
    Error::NotFound { release: release.to_owned(), looked }
}

/// Loads a file. True when it was not there already.
fn insert(path: &Path, release: &str) -> Result<bool, Error> {
    let file = File::open(path).map_err(|source| Error::File { path: path.into(), source })?;
    let result = match finit_module(&file, c"", ModuleInitFlags::empty()) {
        // Before 3.8 there is no finit_module.
        Err(Errno::ENOSYS) => {
            let image = fs::read(path).map_err(|source| Error::File { path: path.into(), source })?;
            init_module(&image, c"")
        }
        result => result,
    };
    match result {
        Ok(()) => Ok(true),
        Err(Errno::EEXIST) => Ok(false),
        Err(errno) => Err(refusal(errno, path, release)),
    }
}

/// The sentence for a refusal of the kernel.
fn refusal(errno: Errno, path: &Path, release: &str) -> Error {
    match errno {
        Errno::EPERM if modules_disabled() => Error::NoModules,
        Errno::EPERM if !this_may_load() => Error::NotPrivileged,
        Errno::EPERM | Errno::EKEYREJECTED | Errno::ENOKEY => Error::LockedDown { mode: lockdown() },
        Errno::ENOSYS => Error::NoModules,
        Errno::ENOEXEC => Error::WrongKernel { path: path.into(), theirs: built_for(path), release: release.into() },
        errno => Error::Refused { path: path.into(), source: errno.into() },
    }
}

fn modprobe() -> Result<bool, Error> {
    let failed = |message: String| Error::Modprobe { message };
    let output = Command::new("modprobe").arg(MODULE).output();
    let output =
        output.map_err(|e| failed(format!("cannot run modprobe: {e} (install kmod, or use --module FILE)")))?;
    if output.status.success() {
        return Ok(true);
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let not_permitted = message.contains("Operation not permitted");
    Err(if not_permitted && modules_disabled() {
        Error::NoModules
    } else if not_permitted && !this_may_load() {
        Error::NotPrivileged
    } else if not_permitted || message.contains("Key was rejected") {
        Error::LockedDown { mode: lockdown() }
    } else {
        failed(message)
    })
}

/// True when this process has CAP_SYS_MODULE.
fn this_may_load() -> bool {
    may_load(&fs::read_to_string("/proc/self/status").unwrap_or_default())
}

/// The same, of a process's `status`; true when that does not tell.
pub fn may_load(status: &str) -> bool {
    const CAP_SYS_MODULE: u32 = 16;
    let effective = status.lines().find_map(|l| l.strip_prefix("CapEff:")).map(str::trim);
    effective.and_then(|hex| u64::from_str_radix(hex, 16).ok()).is_none_or(|set| set >> CAP_SYS_MODULE & 1 == 1)
}

fn modules_disabled() -> bool {
    fs::read_to_string("/proc/sys/kernel/modules_disabled").is_ok_and(|text| text.trim() == "1")
}

/// The lockdown mode in force, e.g. `lockdown: integrity`.
fn lockdown() -> String {
    let text = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    let mode = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(mode, _)| mode);
    match mode {
        Some(mode) if mode != "none" => format!("lockdown: {mode}"),
        _ => "module signatures are enforced".to_owned(),
    }
}

/// The kernel a module file says it is for: the beginning of its `vermagic`.
fn built_for(path: &Path) -> String {
    let image = fs::read(path).unwrap_or_default();
    let magic = memchr::memmem::find(&image, b"vermagic=").map(|at| &image[at + b"vermagic=".len()..]);
    let text = magic.and_then(|text| text.split(|b| *b == b' ' || *b == 0).next()).unwrap_or_default();
    match (text, image.starts_with(b"\x7fELF")) {
        (_, false) => "it is no ELF file".to_owned(),
        ([], _) => "it names none".to_owned(),
        (text, _) => format!("it is for {}", String::from_utf8_lossy(text)),
    }
}

/// udev or devtmpfs may take a moment; without either the node is made here.
fn wait_for_device() {
    let device = super::device::path();
    for _ in 0..100 {
        if device.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    if let Err(error) = make_node(&device) {
        // Opening it will fail with a sentence of its own.
        let _ = writeln!(io::stderr(), "falco-sensor: {} was not created: {error}", device.display());
    }
}

fn make_node(device: &Path) -> io::Result<()> {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    let misc = fs::read_to_string("/proc/misc")?;
    let minor = misc.lines().find_map(|line| line.trim().strip_suffix("falco-sensor")?.trim().parse().ok());
    let minor = minor.ok_or_else(|| io::Error::other("the module has registered no device"))?;
    mknod(device, SFlag::S_IFCHR, Mode::S_IRUSR | Mode::S_IWUSR, makedev(10, minor))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_modules_are_found_most_specific_first() {
        let root = tempfile::tempdir().expect("temporary folder");
        let put = |path: &str| {
            let path = root.path().join("6.1").join(path);
            fs::create_dir_all(path.parent().expect("has one")).expect("writable");
            fs::write(&path, b"").expect("writable");
            path
        };
        assert_eq!(find(root.path(), "6.1"), None);
        let extra = put("extra/falco_sensor.ko.xz");
        assert_eq!(find(root.path(), "6.1"), Some(extra));
        let dkms = put("updates/dkms/falco_sensor.ko");
        assert_eq!(find(root.path(), "6.1"), Some(dkms));
        assert_eq!(find(root.path(), "6.2"), None);
    }

    #[test]
    fn a_module_for_another_kernel_is_named() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("falco_sensor.ko");
        fs::write(&path, b"\x7fELF....\0vermagic=5.10.0-1-amd64 SMP mod_unload\0").expect("writable");
        let text = refusal(Errno::ENOEXEC, &path, "6.1.0").to_string();
        assert!(text.contains("it is for 5.10.0-1-amd64; this one is 6.1.0"), "{text}");
        fs::write(&path, b"#!/bin/sh").expect("writable");
        assert!(refusal(Errno::ENOEXEC, &path, "6.1.0").to_string().contains("no ELF file"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let text = insert(Path::new("/nonexistent/falco_sensor.ko"), "6.1").expect_err("missing").to_string();
        assert!(text.starts_with("/nonexistent/falco_sensor.ko: No such file"), "{text}");
    }
}
