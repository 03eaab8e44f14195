//! Signatures of modules: whether this kernel demands one, the machine-owner key, signing with it.
//!
//! The key's place is the one that DKMS uses, so that one key serves modules built by either. Signing is left to the
//! kernel's own `sign-file`, which comes with its headers.

use super::family::{self, Family};
use super::host::Host;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is appended to a signed module, last of all.
const MAGIC: &[u8] = b"~Module signature appended~\n";
/// Keys and certificates, the first one that is there wins: DKMS's, Ubuntu's.
const KEYS: [(&str, &str); 2] = [
    ("/var/lib/dkms/mok.key", "/var/lib/dkms/mok.pub"),
    ("/var/lib/shim-signed/mok/MOK.priv", "/var/lib/shim-signed/mok/MOK.der"),
];
const EFI: &str = "/sys/firmware/efi/efivars";
const SECURE_BOOT: &str = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Certificates of machine owners, as shim shows them to the running system.
const OWNERS: &str = "MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23";

/// What this kernel asks of modules, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// The mode in force, e.g. `integrity`.
    pub lockdown: Option<String>,
    /// `module.sig_enforce`.
    pub enforced: bool,
    pub secure_boot: bool,
}

impl Demands {
    pub fn signature(&self) -> bool {
        self.lockdown.is_some() || self.enforced
    }
}

pub fn demands(host: &Host) -> Demands {
    let lockdown = host.text("/sys/kernel/security/lockdown").unwrap_or_default();
    let mode = lockdown.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(mode, _)| mode.to_owned());
    // Four bytes of attributes, then the value.
    let secure_boot = fs::read(host.path(EFI).join(SECURE_BOOT)).is_ok_and(|bytes| bytes.get(4) == Some(&1));
    Demands {
        lockdown: mode.filter(|mode| mode != "none"),
        enforced: host.text("/sys/module/module/parameters/sig_enforce").is_some_and(|text| text == "Y"),
        secure_boot,
    }
}

/// A private key and its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub key: PathBuf,
    pub cert: PathBuf,
}

/// The machine-owner key of this host.
pub fn find_key(host: &Host) -> Option<Key> {
    let pairs = KEYS.map(|(key, cert)| Key { key: host.path(key), cert: host.path(cert) });
    pairs.into_iter().find(|pair| pair.key.is_file() && pair.cert.is_file())
}

/// Whether the firmware's list of machine owners has a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enrolled {
    Yes,
    No,
    /// The list cannot be read: no EFI, no shim, not root.
    Unknown,
}

pub fn is_enrolled(host: &Host, key: &Key) -> Enrolled {
    let Ok(cert) = fs::read(&key.cert) else { return Enrolled::Unknown };
    // A certificate in another form than the list's cannot be looked for.
    if cert.first() != Some(&0x30) {
        return Enrolled::Unknown;
    }
    match fs::read(host.path(EFI).join(OWNERS)) {
        Ok(list) if memchr::memmem::find(&list, &cert).is_some() => Enrolled::Yes,
        Ok(_) => Enrolled::No,
        Err(_) if host.has(EFI) => Enrolled::No,
        Err(_) => Enrolled::Unknown,
    }
}

/// The commands that make a key and enrol it.
pub fn create(host: &Host) -> Vec<String> {
    let (key, cert) = KEYS[0];
    let mut commands = Vec::new();
    if host.program("openssl").is_none() {
        commands.push(family::install(host, "openssl", |_: &Family| "openssl"));
    }
    commands.push(format!("mkdir -p {}", Path::new(key).parent().unwrap_or(Path::new("/")).display()));
    commands.push(format!(
        "openssl req -new -x509 -newkey rsa:2048 -nodes -days 36500 -subj '/CN=module signing key/' \
         -addext extendedKeyUsage=codeSigning -keyout {key} -outform DER -out {cert}"
    ));
    commands.push(format!("chmod 600 {key}"));
    commands.extend(enrol(host, &Key { key: key.into(), cert: cert.into() }));
    commands.push("falco-ctl driver build".to_owned());
    commands
}

/// The commands that enrol a key.
pub fn enrol(host: &Host, key: &Key) -> Vec<String> {
    let mut commands = Vec::new();
    if !host.has(EFI) {
        return vec![
            "# this machine has no EFI firmware that could keep a machine-owner key: sign with a key the kernel was built with,".to_owned(),
            "# or boot without module.sig_enforce and lockdown".to_owned(),
        ];
    }
    if host.program("mokutil").is_none() {
        commands.push(family::install(host, "mokutil", |_: &Family| "mokutil"));
    }
    commands.push(format!("mokutil --import {}", key.cert.display()));
    commands.push(
        "systemctl reboot    # the firmware asks at the console: Enroll MOK, with the password given to mokutil"
            .to_owned(),
    );
    commands
}

pub fn is_signed(image: &[u8]) -> bool {
    image.ends_with(MAGIC)
}

/// Signs a module in place with the kernel's own tool.
pub fn sign(host: &Host, headers: &Path, key: &Key, module: &Path) -> Result<(), String> {
    let tool = headers.join("scripts/sign-file");
    if !tool.is_file() {
        return Err(format!(
            "{}: not there; it comes with the kernel's headers (`falco-ctl driver doctor`)",
            tool.display()
        ));
    }
    let image = fs::read(module).map_err(|e| format!("{}: {e}", module.display()))?;
    if !image.starts_with(b"\x7fELF") {
        return Err(format!(
            "{}: not a plain module; a compressed one has to be signed before it is compressed",
            module.display()
        ));
    }
    // The hash of the kernel's own modules is one that it surely knows.
    let hash = host.kernel_config().and_then(|config| config.get("CONFIG_MODULE_SIG_HASH").map(str::to_owned));
    let output =
        Command::new(&tool).arg(hash.as_deref().unwrap_or("sha256")).args([&key.key, &key.cert]).arg(module).output();
    let output = output.map_err(|e| format!("{}: {e}", tool.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: signing failed: {}", module.display(), text.trim()))
}

#[cfg(test)]
mod tests {
    use super::super::host::tests::Fake;
    use super::*;

    #[test]
    fn what_a_kernel_demands_is_read() {
        let fake = Fake::new("6.1");
        assert_eq!(demands(&fake.host()), Demands::default());
        fake.put("/sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
        assert_eq!(demands(&fake.host()).lockdown.as_deref(), Some("integrity"));
        fake.put("/sys/kernel/security/lockdown", "[none] integrity confidentiality\n");
        assert!(!demands(&fake.host()).signature());
        fake.put("/sys/module/module/parameters/sig_enforce", "Y\n");
        fake.put(&format!("{EFI}/{SECURE_BOOT}"), [6, 0, 0, 0, 1]);
        assert_eq!(demands(&fake.host()), Demands { lockdown: None, enforced: true, secure_boot: true });
    }

    #[test]
    fn an_enrolled_certificate_is_in_the_owners_list() {
        let fake = Fake::new("6.1");
        assert_eq!(find_key(&fake.host()), None);
        fake.put(KEYS[0].0, "key").put(KEYS[0].1, [0x30, 0x82, 1, 2, 3]);
        let key = find_key(&fake.host()).expect("is there");
        assert_eq!(is_enrolled(&fake.host(), &key), Enrolled::Unknown);
        fake.put(&format!("{EFI}/{SECURE_BOOT}"), [6, 0, 0, 0, 1]);
        assert_eq!(is_enrolled(&fake.host(), &key), Enrolled::No);
        fake.put(&format!("{EFI}/{}", OWNERS), [7, 0, 0, 0, 9, 9, 0x30, 0x82, 1, 2, 3, 8]);
        assert_eq!(is_enrolled(&fake.host(), &key), Enrolled::Yes);
    }

    /// The tool is run as kernels' build systems run it: hash, key, certificate, module.
    #[test]
    fn the_kernels_tool_signs() {
        use std::os::unix::fs::PermissionsExt;
        let fake = Fake::new("6.1");
        fake.put("/boot/config-6.1", "CONFIG_MODULE_SIG_HASH=\"sha512\"\n");
        let module = fake.host().path("/m.ko");
        fake.put("/m.ko", b"\x7fELF");
        let headers = fake.host().headers();
        let key = Key { key: "/k".into(), cert: "/c".into() };
        let error = sign(&fake.host(), &headers, &key, &module).expect_err("no tool");
        assert!(error.contains("scripts/sign-file: not there"), "{error}");
        fake.put(
            "/lib/modules/6.1/build/scripts/sign-file",
            "#!/bin/sh\necho \"$1 $2 $3\" >>\"$4\"\nprintf '~Module signature appended~\\n' >>\"$4\"\n",
        );
        fs::set_permissions(headers.join("scripts/sign-file"), fs::Permissions::from_mode(0o755)).expect("ours");
        sign(&fake.host(), &headers, &key, &module).expect("signs");
        let image = fs::read(&module).expect("is there");
        assert!(is_signed(&image) && memchr::memmem::find(&image, b"sha512 /k /c").is_some());
        fake.put("/lib/modules/6.1/build/scripts/sign-file", "#!/bin/sh\necho no such key >&2\nexit 1\n");
        let error = sign(&fake.host(), &headers, &key, &module).expect_err("the tool fails");
        assert!(error.contains("signing failed: no such key"), "{error}");
    }
}
