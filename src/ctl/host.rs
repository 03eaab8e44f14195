//! The machine as its files tell it: everything is read below a root folder, so that tests can lay one out.

use crate::driver::load;
use flate2::read::GzDecoder;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where programs are looked for, whatever `PATH` says: services have a short one.
const PROGRAM_FOLDERS: [&str; 6] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];

/// One machine and one release of its kernel.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
    pub release: String,
}

impl Host {
    /// This machine and the kernel it runs.
    pub fn this() -> Host {
        Host { root: "/".into(), release: load::release() }
    }

    /// The machine whose files lie below `root`.
    pub fn at(root: &Path, release: &str) -> Host {
        Host { root: root.into(), release: release.into() }
    }

    /// The same machine under another kernel.
    pub fn under(&self, release: &str) -> Host {
        Host::at(&self.root, release)
    }

    /// Where an absolute path of the machine is.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    pub fn has(&self, path: impl AsRef<Path>) -> bool {
        self.path(path).exists()
    }

    /// A file's text without white space around it; None when it cannot be read.
    pub fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        fs::read(self.path(path)).ok().map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    pub fn headers(&self) -> PathBuf {
        self.path("/lib/modules").join(&self.release).join("build")
    }

    /// The module installed for the kernel.
    pub fn installed(&self) -> Option<PathBuf> {
        load::find(&self.path("/lib/modules"), &self.release)
    }

    /// A program, by name.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        PROGRAM_FOLDERS.iter().map(|folder| self.path(folder).join(name)).find(|path| path.is_file())
    }

    /// A value of os-release, e.g. `ID`.
    pub fn os(&self, key: &str) -> Option<String> {
        let text = self.text("/etc/os-release").or_else(|| self.text("/usr/lib/os-release"))?;
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(value.trim_matches(['"', '\'']).to_owned())
    }

    /// How the kernel was built; None when no file tells.
    pub fn kernel_config(&self) -> Option<KernelConfig> {
        let headers = self.headers();
        let boot = self.path("/boot").join(format!("config-{}", self.release));
        let beside = self.path("/lib/modules").join(&self.release).join("config");
        let files = [headers.join(".config"), headers.join("include/config/auto.conf"), boot, beside];
        let text = files.iter().find_map(|path| fs::read_to_string(path).ok());
        text.or_else(|| self.running_config()).map(KernelConfig)
    }

    fn running_config(&self) -> Option<String> {
        let mut text = String::new();
        let packed = fs::File::open(self.path("/proc/config.gz")).ok()?;
        // A configuration has some 300 KiB.
        GzDecoder::new(packed).take(16 << 20).read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// The module that is in the kernel, by its build.
    pub fn loaded(&self) -> Option<Build> {
        let folder = Path::new("/sys/module").join(load::MODULE);
        self.has(&folder).then(|| Build {
            version: self.text(folder.join("version")).unwrap_or_default(),
            srcversion: self.text(folder.join("srcversion")).unwrap_or_default(),
        })
    }

    /// A module's file as it was before compression. None when it cannot be read, or the program that unpacks it is not there.
    pub fn image(path: &Path) -> Option<Vec<u8>> {
        // Ours has some 300 KiB, with debug information a few MiB.
        const MOST: u64 = 256 << 20;
        let file = fs::File::open(path).ok()?;
        let mut image = Vec::new();
        let unpack = |program: &str| Command::new(program).arg("-dc").arg(path).stderr(Stdio::null()).output().ok();
        match path.extension()?.to_str()? {
            "ko" => file.take(MOST).read_to_end(&mut image).map(|_| image).ok(),
            "gz" => GzDecoder::new(file).take(MOST).read_to_end(&mut image).map(|_| image).ok(),
            "xz" => unpack("xz").filter(|o| o.status.success()).map(|o| o.stdout),
            "zst" => unpack("zstd").filter(|o| o.status.success()).map(|o| o.stdout),
            _ => None,
        }
    }

    /// The process that uses the module, and its name.
    pub fn consumer(&self) -> Option<(i32, String)> {
        let pid = self.text(Path::new("/sys/module").join(load::MODULE).join("parameters/consumer"))?.parse().ok()?;
        (pid != 0).then(|| (pid, self.text(format!("/proc/{pid}/comm")).unwrap_or_default()))
    }
}

/// The options a kernel was built with.
pub struct KernelConfig(String);

impl KernelConfig {
    /// The value of an option, e.g. `y`, without quotes.
    pub fn get(&self, option: &str) -> Option<&str> {
        let value = self.0.lines().find_map(|line| line.strip_prefix(option)?.strip_prefix('='))?;
        Some(value.trim_matches('"'))
    }

    pub fn is_set(&self, option: &str) -> bool {
        self.get(option) == Some("y")
    }
}

/// What tells one build of the module from another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Build {
    pub version: String,
    /// Hash of the sources, made by the kernel's build system.
    pub srcversion: String,
}

impl Build {
    /// Of a module's file as it is before compression.
    pub fn of_image(image: &[u8]) -> Build {
        let value = |key: &str| module_info(image, key).unwrap_or_default();
        Build { version: value("version"), srcversion: value("srcversion") }
    }
}

impl std::fmt::Display for Build {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let version = if self.version.is_empty() { "unknown" } else { &self.version };
        write!(f, "version {version}")?;
        if self.srcversion.is_empty() { Ok(()) } else { write!(f, ", source {}", self.srcversion) }
    }
}

/// A value of a module's `.modinfo`, e.g. `vermagic`: texts `key=value`, each between NULs.
pub fn module_info(image: &[u8], key: &str) -> Option<String> {
    let wanted = format!("\0{key}=");
    let start = memchr::memmem::find(image, wanted.as_bytes())? + wanted.len();
    let value = image[start..].split(|b| *b == 0).next()?;
    Some(String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A machine made of files.
    pub struct Fake(pub tempfile::TempDir, pub String);

    impl Fake {
        /// A Debian machine that has nothing but a kernel with modules.
        pub fn new(release: &str) -> Fake {
            let fake = Fake(tempfile::tempdir().expect("temporary folder"), release.to_owned());
            fake.put("/proc/modules", "");
            fake.put("/proc/self/status", "CapEff:\t000001ffffffffff\n");
            fake.put("/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n");
            fake
        }

        pub fn put(&self, path: &str, text: impl AsRef<[u8]>) -> &Fake {
            let path = self.host().path(path);
            fs::create_dir_all(path.parent().expect("has one")).expect("writable");
            fs::write(path, text).expect("writable");
            self
        }

        pub fn host(&self) -> Host {
            Host::at(self.0.path(), &self.1)
        }
    }

    #[test]
    fn files_are_read_below_the_root() {
        let fake = Fake::new("6.1.0-9-amd64");
        let host = fake.host();
        assert_eq!((host.os("ID").as_deref(), host.os("VERSION_ID").as_deref()), (Some("debian"), Some("12")));
        assert_eq!((host.os("ID_LIKE"), host.program("gcc"), host.loaded()), (None, None, None));
        fake.put("/usr/bin/gcc", "").put("/sys/module/falco_sensor/version", "0.1.0\n");
        fake.put("/sys/module/falco_sensor/parameters/consumer", "7\n").put("/proc/7/comm", "falco-sensor\n");
        assert_eq!(host.program("gcc"), Some(host.path("/usr/bin/gcc")));
        assert_eq!(host.loaded(), Some(Build { version: "0.1.0".into(), srcversion: String::new() }));
        assert_eq!(host.consumer(), Some((7, "falco-sensor".to_owned())));
    }

    #[test]
    fn a_kernels_options_are_found_wherever_they_lie() {
        let fake = Fake::new("6.1");
        assert!(fake.host().kernel_config().is_none());
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, b"CONFIG_A=y\n").expect("to memory");
        fake.put("/proc/config.gz", packed.finish().expect("to memory"));
        assert!(fake.host().kernel_config().expect("packed").is_set("CONFIG_A"));
        fake.put("/boot/config-6.1", "# CONFIG_A is not set\nCONFIG_AB=y\nCONFIG_HASH=\"sha256\"\n");
        let config = fake.host().kernel_config().expect("a file");
        assert_eq!((config.get("CONFIG_A"), config.get("CONFIG_HASH")), (None, Some("sha256")));
    }

    #[test]
    fn a_modules_build_is_in_its_file() {
        let image = b"\x7fELF\0license=GPL\0version=0.1.0\0srcversion=ABC\0vermagic=6.1 SMP\0";
        assert_eq!(Build::of_image(image), Build { version: "0.1.0".into(), srcversion: "ABC".into() });
        assert_eq!(module_info(image, "vermagic").as_deref(), Some("6.1 SMP"));
        assert_eq!(Build::of_image(b"\x7fELF"), Build::default());
    }
}
