//! Loading, unloading and describing the module.

use super::build;
use super::host::{Build, Host};
use super::options::{LoadOptions, SignOptions};
use super::sign;
use crate::driver::{device, load};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Loads the module of `options`, else the installed one. A loaded one of another build is replaced, unless it is in use.
pub fn load(host: &Host, options: &LoadOptions) -> Result<String, String> {
    let file = options.module.clone().or_else(|| host.installed());
    let wanted = file.as_deref().and_then(Host::image).map(|image| Build::of_image(&image));
    let mut said = String::new();
    match (host.loaded(), &wanted) {
        (Some(loaded), Some(wanted)) if loaded != *wanted => {
            replaceable(host, &loaded)?;
            load::remove().map_err(|e| e.to_string())?;
            said = format!("took out the module that was loaded ({loaded})\n");
        }
        (Some(loaded), _) => return Ok(format!("the module is loaded already ({loaded})\n")),
        (None, _) => {}
    }
    load::load(options.module.as_deref()).map_err(|e| e.to_string())?.keep();
    let now = host.loaded().unwrap_or_default();
    let _ = writeln!(said, "loaded {} ({now})", file.as_deref().unwrap_or(Path::new(load::MODULE)).display());
    Ok(said)
}

fn replaceable(host: &Host, loaded: &Build) -> Result<(), String> {
    match host.consumer() {
        None => Ok(()),
        Some((pid, name)) => Err(format!(
            "another build of the module is loaded ({loaded}) and process {pid} ({name}) uses it: stop that first \
             (`systemctl stop falco-sensor`)"
        )),
    }
}

/// Takes the module out, and a device node that was made by hand.
pub fn unload(host: &Host) -> Result<String, String> {
    let Some(loaded) = host.loaded() else { return Ok("the module is not loaded\n".to_owned()) };
    if let Some((pid, name)) = host.consumer() {
        return Err(format!("process {pid} ({name}) uses the module: stop it first (`systemctl stop falco-sensor`)"));
    }
    load::remove().map_err(|e| e.to_string())?;
    let node = device::path();
    match fs::remove_file(&node) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {error}", node.display())),
        _ => Ok(format!("unloaded ({loaded})\n")),
    }
}

/// What is loaded and installed, and whether the sensor could use it.
pub fn status(host: &Host) -> (String, bool) {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<10} {value}");
    };
    line("kernel", host.release.clone());
    line(
        "installed",
        match host.installed() {
            None => "no module for this kernel".to_owned(),
            Some(path) => {
                let build =
                    Host::image(&path).map_or_else(String::new, |image| format!(", {}", Build::of_image(&image)));
                format!("{}{build}", path.display())
            }
        },
    );
    let loaded = host.loaded();
    line("loaded", loaded.as_ref().map_or_else(|| "no".to_owned(), Build::to_string));
    let there = host.has(device::path());
    line("device", if there { device::path().display().to_string() } else { "none".to_owned() });
    line(
        "in use by",
        host.consumer().map_or_else(|| "nobody".to_owned(), |(pid, name)| format!("process {pid} ({name})")),
    );
    (text, loaded.is_some() && there)
}

pub fn sign(host: &Host, options: &SignOptions) -> Result<String, String> {
    let none =
        || format!("no module is installed for {}: name a file, or build it (`falco-ctl driver build`)", host.release);
    let file: PathBuf = options.file.clone().or_else(|| host.installed()).ok_or_else(none)?;
    let key = build::named_key(&options.key).or_else(|| sign::find_key(host));
    let key = key.ok_or_else(|| {
        format!("there is no machine-owner key to sign with; make one and enrol it:\n{}", sign::create(host).join("\n"))
    })?;
    if fs::read(&file).is_ok_and(|image| sign::is_signed(&image)) {
        return Ok(format!("{} is signed already\n", file.display()));
    }
    sign::sign(host, &host.headers(), &key, &file)?;
    Ok(format!("{}: signed with {}\n", file.display(), key.key.display()))
}

#[cfg(test)]
mod tests {
    use super::super::host::tests::Fake;
    use super::*;

    #[test]
    fn status_tells_what_is_where() {
        let fake = Fake::new("6.1");
        let (text, usable) = status(&fake.host());
        assert!(
            !usable && text.contains("installed  no module for this kernel\nloaded     no\ndevice     none"),
            "{text}"
        );
        fake.put("/lib/modules/6.1/updates/falco_sensor.ko", b"\x7fELF\0version=0.1.0\0srcversion=AB\0");
        fake.put("/sys/module/falco_sensor/version", "0.0.9\n")
            .put("/sys/module/falco_sensor/parameters/consumer", "9\n");
        fake.put("/proc/9/comm", "falco-sensor\n").put("/dev/falco-sensor", "");
        let (text, usable) = status(&fake.host());
        assert!(usable, "{text}");
        for expected in
            ["falco_sensor.ko, version 0.1.0, source AB\n", "loaded     version 0.0.9\n", "process 9 (falco-sensor)\n"]
        {
            assert!(text.contains(expected), "{text}");
        }
    }

    /// Nothing is touched while somebody reads.
    #[test]
    fn a_module_in_use_stays() {
        let fake = Fake::new("6.1");
        fake.put("/sys/module/falco_sensor/version", "0.0.9\n")
            .put("/sys/module/falco_sensor/parameters/consumer", "9\n");
        fake.put("/proc/9/comm", "falco-sensor\n")
            .put("/lib/modules/6.1/updates/falco_sensor.ko", b"\x7fELF\0version=0.1.0\0");
        let error = unload(&fake.host()).expect_err("in use");
        assert!(error.contains("process 9 (falco-sensor) uses the module"), "{error}");
        let error = load(&fake.host(), &LoadOptions::default()).expect_err("in use");
        assert!(error.contains("another build of the module is loaded (version 0.0.9) and process 9"), "{error}");
    }

    #[test]
    fn signing_says_how_to_get_a_key() {
        let fake = Fake::new("6.1");
        let options = || SignOptions { file: None, key: Default::default() };
        assert!(sign(&fake.host(), &options()).expect_err("nothing there").contains("no module is installed for 6.1"));
        fake.put("/lib/modules/6.1/updates/falco_sensor.ko", b"\x7fELF");
        let error = sign(&fake.host(), &options()).expect_err("no key");
        assert!(error.contains("openssl req -new -x509") && error.contains("apt-get install openssl"), "{error}");
        fake.put("/var/lib/dkms/mok.key", "k").put("/var/lib/dkms/mok.pub", "c");
        let error = sign(&fake.host(), &options()).expect_err("no tool");
        assert!(error.contains("sign-file: not there"), "{error}");
        fake.put("/lib/modules/6.1/updates/falco_sensor.ko", b"\x7fELF~Module signature appended~\n");
        assert!(sign(&fake.host(), &options()).expect("nothing to do").contains("is signed already"));
    }
}
