//! Telling the module about processes older than itself, once after the start.
//!
//! The module cannot read another process's arguments, so ancestors that never run again would stay without a
//! command line. /proc has it. The module keeps what it knows better itself, and any process may end while it is
//! being read: failures are normal here and counted, nothing more.

use super::abi::FSN_ARGS_MAX;
use super::device::Device;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seeded {
    pub told: u32,
    /// Ended meanwhile, unreadable, or better known to the module.
    pub refused: u32,
}

/// Tells `device` of every process in `proc` (`/proc`, or where the host's is mounted); environments only when
/// `with_env`.
pub fn seed(device: &Device, proc: &Path, with_env: bool) -> Seeded {
    let mut seeded = Seeded::default();
    let mut buffers = [Vec::new(), Vec::new()];
    for entry in fs::read_dir(proc).into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let folder = entry.path();
        let Ok(exe) = fs::read_link(folder.join("exe")) else { continue }; // a kernel thread, or gone
        let [args, env] = &mut buffers;
        read_start(&folder.join("cmdline"), args);
        env.clear();
        if with_env {
            read_start(&folder.join("environ"), env);
        }
        match device.seed(pid, args, env, exe.as_os_str().as_bytes()) {
            Ok(()) => seeded.told += 1,
            Err(_) => seeded.refused += 1,
        }
    }
    seeded
}

/// The first `FSN_ARGS_MAX` bytes of a file; nothing when it cannot be read.
fn read_start(path: &Path, to: &mut Vec<u8>) {
    to.clear();
    if let Ok(file) = File::open(path) {
        let _ = file.take(u64::from(FSN_ARGS_MAX)).read_to_end(to);
    }
}
