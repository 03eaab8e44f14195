//! Machines laid out as files, and what is said of them.

use super::super::host::tests::Fake;
use super::*;

const RELEASE: &str = "6.1.0-9-amd64";

fn module(release: &str, version: &str) -> Vec<u8> {
    format!("\x7fELF\0version={version}\0srcversion=AB\0vermagic={release} SMP\0").into_bytes()
}

/// A machine on which the module was built and loaded.
fn ready() -> Fake {
    let fake = Fake::new(RELEASE);
    let own = env!("CARGO_PKG_VERSION");
    fake.put(&format!("/boot/config-{RELEASE}"), "CONFIG_TRACEPOINTS=y\nCONFIG_HAVE_SYSCALL_TRACEPOINTS=y\n");
    fake.put(&format!("/lib/modules/{RELEASE}/updates/falco_sensor.ko"), module(RELEASE, own));
    fake.put("/sys/module/falco_sensor/version", own).put("/sys/module/falco_sensor/srcversion", "AB\n");
    fake.put("/dev/falco-sensor", "");
    fake
}

fn missing(fake: &Fake) -> Vec<&'static str> {
    examine(&fake.host()).iter().filter(|f| f.state == State::Missing).map(|f| f.name).collect()
}

fn finding(fake: &Fake, name: &str) -> Finding {
    examine(&fake.host()).into_iter().find(|f| f.name == name).expect("is looked at")
}

#[test]
fn a_machine_that_runs_lacks_nothing() {
    let fake = ready();
    let (text, well) = report(&examine(&fake.host()));
    assert!(well, "{text}");
    assert!(text.ends_with("nothing is missing\n") && text.contains("ok       BTF         not needed"), "{text}");
    // It could not be built here, and does not have to be.
    assert_eq!(finding(&fake, "headers").state, State::Note);
}

#[test]
fn what_building_takes_is_asked_for_in_order() {
    let fake = Fake::new(RELEASE);
    assert_eq!(missing(&fake), ["headers", "compiler", "make", "source", "module"]);
    assert_eq!(finding(&fake, "headers").mend, ["apt-get install linux-headers-6.1.0-9-amd64"]);
    assert_eq!(finding(&fake, "compiler").mend, ["apt-get install gcc"]);
    fake.put(&format!("/lib/modules/{RELEASE}/build/Makefile"), "");
    fake.put(&format!("/lib/modules/{RELEASE}/build/.kernelvariables"), "CC = $(CROSS_COMPILE)gcc-12\n")
        .put("/usr/bin/gcc", "");
    assert_eq!(missing(&fake), ["compiler", "make", "source", "module"]);
    assert_eq!(finding(&fake, "compiler").mend, ["apt-get install gcc-12"]);
    fake.put("/usr/bin/gcc-12", "").put("/usr/bin/make", "");
    fake.put(&format!("{}/Kbuild", build::default_source().display()), "");
    assert_eq!(missing(&fake), ["module"]);
    assert_eq!(finding(&fake, "module").mend, ["falco-ctl driver build"]);
    let (text, well) = report(&examine(&fake.host()));
    assert!(!well && text.contains("missing: module; run the commands in this order"), "{text}");
}

#[test]
fn a_kernel_that_cannot_do_is_named() {
    for (path, content, expected) in [
        ("/sys/kernel/realtime", "1\n", "is a PREEMPT_RT kernel"),
        ("/boot/config-6.1.0-9-amd64", "CONFIG_TRACEPOINTS=y\n", "without CONFIG_HAVE_SYSCALL_TRACEPOINTS"),
    ] {
        let fake = ready();
        fake.put(path, content);
        let kernel = finding(&fake, "kernel");
        assert!(kernel.state == State::Missing && kernel.text.contains(expected), "{kernel:?}");
    }
    let old = Fake::new("2.6.32-754.el6.x86_64");
    assert!(finding(&old, "kernel").text.contains("older than 3.10"));
    assert_eq!(series("3.10.0-1160.el7.x86_64"), Some((3, 10)));
    assert_eq!(series("nonsense"), None);
}

#[test]
fn modules_that_are_not_allowed_are_named() {
    let fake = ready();
    fake.put("/proc/sys/kernel/modules_disabled", "1\n");
    assert!(finding(&fake, "modules").text.contains("kernel.modules_disabled is set"));
    fake.put("/proc/self/status", "Name:\tx\nCapEff:\t00000000a80425fb\n");
    assert_eq!(missing(&fake), ["modules", "privilege"]);
    std::fs::remove_file(fake.host().path("/proc/modules")).expect("was there");
    assert!(finding(&fake, "modules").text.contains("without loadable modules"));
}

#[test]
fn the_wrong_module_is_named() {
    let fake = ready();
    let file = format!("/lib/modules/{RELEASE}/updates/falco_sensor.ko");
    fake.put(&file, module("5.10.0-1-amd64", env!("CARGO_PKG_VERSION")));
    assert!(finding(&fake, "module").text.contains("built for another kernel (5.10.0-1-amd64 SMP)"));
    fake.put(&file, module(RELEASE, "0.0.1"));
    assert!(finding(&fake, "module").text.contains("has version 0.0.1"));
}

#[test]
fn an_old_module_that_is_loaded_makes_room() {
    let fake = ready();
    fake.put("/sys/module/falco_sensor/srcversion", "CD\n");
    let loaded = finding(&fake, "loaded");
    assert_eq!((loaded.state, loaded.mend), (State::Missing, vec!["falco-ctl driver load".to_owned()]));
    fake.put("/sys/module/falco_sensor/parameters/consumer", "9\n").put("/proc/9/comm", "falco-sensor\n");
    let loaded = finding(&fake, "loaded");
    assert!(loaded.text.contains("in use by process 9 (falco-sensor)") && loaded.mend.len() == 3, "{loaded:?}");
    std::fs::remove_file(fake.host().path("/dev/falco-sensor")).expect("was there");
    assert_eq!(finding(&fake, "device").mend, ["falco-ctl driver unload", "falco-ctl driver load"]);
}

/// The way through Secure Boot, step by step.
#[test]
fn a_signature_that_is_demanded_takes_a_key_its_enrolment_and_signing() {
    const EFI: &str = "/sys/firmware/efi/efivars";
    let fake = ready();
    fake.put("/sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
    fake.put(&format!("{EFI}/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"), [6, 0, 0, 0, 1]);
    assert_eq!(finding(&fake, "lockdown").text, "integrity, because of Secure Boot: only signed modules are loaded");
    let signature = finding(&fake, "signature");
    assert!(signature.text.contains("no machine-owner key"), "{signature:?}");
    let commands = signature.mend.join("\n");
    let order = [
        "openssl req",
        "apt-get install mokutil",
        "mokutil --import /var/lib/dkms/mok.pub",
        "reboot",
        "falco-ctl driver build",
    ];
    let places: Vec<_> = order.iter().map(|word| commands.find(word)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{commands}");
    fake.put("/var/lib/dkms/mok.key", "k").put("/var/lib/dkms/mok.pub", [0x30, 0x82, 7, 7]).put("/usr/bin/mokutil", "");
    let signature = finding(&fake, "signature");
    assert!(
        signature.text.contains("is not enrolled") && signature.mend[0].starts_with("mokutil --import"),
        "{signature:?}"
    );
    fake.put(&format!("{EFI}/MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23"), [6, 0, 0, 0, 0x30, 0x82, 7, 7]);
    assert_eq!(finding(&fake, "signature").mend, ["falco-ctl driver sign"]);
    let mut image = module(RELEASE, env!("CARGO_PKG_VERSION"));
    image.extend(b"~Module signature appended~\n");
    fake.put(&format!("/lib/modules/{RELEASE}/updates/falco_sensor.ko"), image);
    assert_eq!(missing(&fake), [""; 0]);
}

#[test]
fn a_signature_without_firmware_to_keep_a_key() {
    let fake = ready();
    fake.put("/sys/module/module/parameters/sig_enforce", "Y\n");
    let signature = finding(&fake, "signature");
    assert!(signature.mend.iter().any(|line| line.contains("no EFI firmware")), "{signature:?}");
}
