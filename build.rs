//! Builds what is shared with the kernel module: Rust bindings of `kmod/abi.h` and `kmod/syscalls.h`, the table
//! `kmod/syscalls.c`, and, where the kernel's headers are, the module itself.
//!
//! The module is a courtesy of the build, never a condition of it: without headers, or when it does not compile,
//! one warning says so and the Rust build goes on. The sources are copied first, so the tree stays clean.
//!
//! | variable | meaning |
//! |---|---|
//! | `FALCO_SENSOR_KMOD` | `0`: do not build the module |
//! | `FALCO_SENSOR_KDIR`, `KDIR` | kernel build folder; default `/lib/modules/$(uname -r)/build` |

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let sources = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("kmod");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=kmod");
    bindings(&sources, &out.join("abi.rs"));
    cc::Build::new()
        .file(sources.join("syscalls.c"))
        .file(sources.join("filter.c"))
        .include(&sources)
        .warnings(true)
        .compile("fsn_table");
    module(&sources, &out);
}

/// Values that are macros with casts or sizeof, which bindgen reads only as constants.
const CONSTANTS: &str = r#"
#include "syscalls.h"
#include "filter.h"
#include "abi.h"
static const __u64 FSN_MMAP_CPU_STRIDE = FSN_MMAP_CONSUMER(1);
static const __u64 FSN_MMAP_PRODUCER_OFFSET = FSN_MMAP_PRODUCER(0);
static const __u32 FSN_IOCTL_INFO = FSN_IOC_INFO;
static const __u32 FSN_IOCTL_CONFIG = FSN_IOC_CONFIG;
static const __u32 FSN_IOCTL_ATTACH = FSN_IOC_ATTACH;
static const __u32 FSN_IOCTL_START = FSN_IOC_START;
static const __u32 FSN_IOCTL_STOP = FSN_IOC_STOP;
static const __u32 FSN_IOCTL_SEED = FSN_IOC_SEED;
static const __u32 FSN_IOCTL_FILTER = FSN_IOC_FILTER;
"#;

fn bindings(sources: &Path, to: &Path) {
    bindgen::Builder::default()
        .header_contents("falco_sensor.h", CONSTANTS)
        .clang_arg(format!("-I{}", sources.display()))
        .allowlist_item("(fsn|FSN)_.*")
        .blocklist_item("FSN_IOC_.*")
        .derive_default(true)
        .prepend_enum_name(false)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .generate()
        .expect("bindgen reads kmod/abi.h and kmod/syscalls.h (it needs libclang: apt-get install libclang-dev)")
        .write_to_file(to)
        .expect("OUT_DIR is writable");
}

/// Builds the module in a copy of its sources and leaves it in `target/kmod/RELEASE/`.
fn module(sources: &Path, out: &Path) {
    for name in ["FALCO_SENSOR_KMOD", "FALCO_SENSOR_KDIR", "KDIR"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    if env::var("FALCO_SENSOR_KMOD").is_ok_and(|v| v == "0") {
        return;
    }
    let names = source_names(sources);
    let kernel = kernel_folder();
    // What `uname -r` says; include/config/kernel.release has another text in Debian's headers.
    let release_file = kernel.join("include/generated/utsrelease.h");
    let text = fs::read_to_string(&release_file).unwrap_or_default();
    let Some(release) = text.split('"').nth(1) else {
        println!(
            "cargo:warning=the kernel module is not built: {} has no kernel headers (install linux-headers-{} or \
             kernel-devel, set FALCO_SENSOR_KDIR to another kernel's, or FALCO_SENSOR_KMOD=0 to say that none is wanted)",
            kernel.display(),
            running_release()
        );
        return;
    };
    println!("cargo:rerun-if-changed={}", release_file.display());
    println!("cargo:rerun-if-changed={}", kernel.join("Module.symvers").display());
    // OUT_DIR is target/PROFILE/build/falco-sensor-HASH/out.
    let target = out.ancestors().nth(4).expect("OUT_DIR lies four levels below the target folder");
    let result = target.join("kmod").join(release);
    if let Err(why) = compile_module(sources, &names, &kernel, &out.join("kmod"), &result) {
        println!("cargo:warning=the kernel module is not built for {}: {why}", release);
    }
}

fn compile_module(sources: &Path, names: &[String], kernel: &Path, copy: &Path, result: &Path) -> Result<(), String> {
    let failed = |what: &Path| format!("cannot write {}", what.display());
    fs::create_dir_all(copy).map_err(|_| failed(copy))?;
    for name in names {
        let (from, to) = (sources.join(name), copy.join(name));
        let text = fs::read(&from).map_err(|e| format!("{}: {e}", from.display()))?;
        // Files that did not change keep their times, so that Kbuild does not compile them again.
        if fs::read(&to).ok().as_ref() != Some(&text) {
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder).map_err(|_| failed(folder))?;
            }
            fs::write(&to, text).map_err(|_| failed(&to))?;
        }
    }
    let mut make = Command::new("make");
    make.arg("-C").arg(kernel).arg(format!("M={}", copy.display())).arg("modules");
    // Cargo's job server and target settings are not Kbuild's.
    for name in ["MAKEFLAGS", "MFLAGS", "CARGO_MAKEFLAGS", "TARGET", "HOST", "ARCH", "CROSS_COMPILE"] {
        if name != "ARCH" && name != "CROSS_COMPILE" || env::var_os("FALCO_SENSOR_KDIR").is_none() {
            make.env_remove(name);
        }
    }
    let output = make.output().map_err(|e| format!("make cannot be run: {e}"))?;
    if !output.status.success() {
        let log = copy.join("make.log");
        let text = [output.stdout, output.stderr].concat();
        let _ = fs::write(&log, &text);
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().find(|l| l.contains("error") || l.contains("***")).unwrap_or("make failed");
        return Err(format!("{} (all of it: {})", line.trim(), log.display()));
    }
    fs::create_dir_all(result).map_err(|_| failed(result))?;
    let (built, to) = (copy.join("falco_sensor.ko"), result.join("falco_sensor.ko"));
    fs::copy(&built, &to).map_err(|e| format!("{} -> {}: {e}", built.display(), to.display()))?;
    Ok(())
}

/// Paths of the module's source files, relative to `sources`.
fn source_names(sources: &Path) -> Vec<String> {
    let is_source = |n: &str| n.ends_with(".c") || n.ends_with(".h") || n.ends_with(".S") || n.ends_with(".sh");
    let mut names = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(sources.join(&folder)).into_iter().flatten().flatten();
        for entry in entries {
            let path = folder.join(entry.file_name());
            let name = path.to_string_lossy().into_owned();
            if entry.path().is_dir() && !name.starts_with('.') {
                folders.push(path);
            } else if !name.ends_with(".mod.c") && is_source(&name)
                || matches!(path.file_name().and_then(|n| n.to_str()), Some("Kbuild" | "Makefile"))
            {
                names.push(name);
            }
        }
    }
    names.sort();
    names
}

fn kernel_folder() -> PathBuf {
    ["FALCO_SENSOR_KDIR", "KDIR"]
        .iter()
        .find_map(|name| env::var_os(name).filter(|v| !v.is_empty()))
        .map_or_else(|| PathBuf::from(format!("/lib/modules/{}/build", running_release())), PathBuf::from)
}

fn running_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(|_| "unknown".into(), |r| r.trim().to_owned())
}
