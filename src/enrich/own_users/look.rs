//! One look below a process's root: whether it is still a process of that container, and what its files of users say.
//!
//! Everything below the root belongs to the container, which may be hostile: no symbolic link is followed, since it would lead
//! into the host's files, and only ordinary files are opened.

use crate::enrich::container;
use crate::enrich::users::{Stamp, Users};
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Longer files are cut.
const MAX_FILE: u64 = 1 << 20;

/// Which passwd and group were read; None for one that cannot be read.
pub type Stamps = [Option<Stamp>; 2];

/// What a look found.
#[derive(Debug)]
pub enum Found {
    /// The process has ended, or is none of this container.
    Gone,
    /// Its root is the host's: nothing has been mounted for it yet, or nothing ever is.
    HostsRoot,
    /// The files are those that were read before.
    Same,
    Read(Stamps, Box<Users>),
}

/// Looks below the root of process `pid`; `host` is where the host's root is, `known` what was read before.
pub fn look(host: &Path, container: &[u8], pid: i32, known: Option<&Stamps>) -> Found {
    below(host, container, pid, known).unwrap_or(Found::Gone)
}

fn below(host: &Path, container: &[u8], pid: i32, known: Option<&Stamps>) -> io::Result<Found> {
    let folder = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let none = Mode::empty();
    // What is opened below this is of this process, whoever gets its number later.
    let process = open(&host.join("proc").join(pid.to_string()), folder, none)?;
    let root = openat(&process, "root", folder, none)?;
    let mut cgroups = Vec::new();
    let file = File::from(openat(&process, "cgroup", OFlag::O_RDONLY | OFlag::O_CLOEXEC, none)?);
    file.take(MAX_FILE).read_to_end(&mut cgroups)?;
    let paths = cgroups.split(|b| *b == b'\n').filter_map(|line| line.splitn(3, |b| *b == b':').nth(2));
    if container::find(paths).is_none_or(|found| found.full_id != container) {
        return Ok(Found::Gone);
    }
    let (own, hosts) = (File::from(root.try_clone()?).metadata()?, fs::metadata(host)?);
    if (own.dev(), own.ino()) == (hosts.dev(), hosts.ino()) {
        return Ok(Found::HostsRoot);
    }
    let etc = openat(&root, "etc", folder | OFlag::O_NOFOLLOW, none).ok();
    let files = ["passwd", "group"].map(|name| ordinary(etc.as_ref()?, name));
    let stamps = files.each_ref().map(|file| file.as_ref().map(|(_, stamp)| *stamp));
    if known == Some(&stamps) {
        return Ok(Found::Same);
    }
    let [passwd, group] = files.map(|file| file.map(|(file, _)| read(&file)).unwrap_or_default());
    Ok(Found::Read(stamps, Box::new(Users::from_texts(&passwd, &group))))
}

/// An ordinary file, not opened yet for reading: opening a device may do something.
fn ordinary(folder: &OwnedFd, name: &str) -> Option<(File, Stamp)> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = File::from(openat(folder, name, flags, Mode::empty()).ok()?);
    let meta = file.metadata().ok().filter(fs::Metadata::is_file)?;
    Some((file, Stamp::new(&meta)))
}

/// The content of what [`ordinary`] found; empty when it cannot be read.
fn read(file: &File) -> Vec<u8> {
    let mut text = Vec::new();
    let opened = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let _ = opened.and_then(|file| file.take(MAX_FILE).read_to_end(&mut text));
    text
}
