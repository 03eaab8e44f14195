//! Whether files that were read have changed (`watch_config_files`).
//!
//! The folders are watched, not the files: editors, package managers and Kubernetes put new files or links in the place of old ones.
//! What inotify tells is a reason to look, nothing more; a look compares contents, some time after the last change. Invariant: a
//! name on the way to a file that is replaced wakes this up, also where the way leads through links.

use super::options::Options;
use super::prepare::Inputs;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

/// Files are looked at when nothing has changed for this long.
const PAUSE: Duration = Duration::from_millis(100);
/// Links on the way to a file, after which it is taken for a circle.
const LINKS: usize = 40;

/// Watches the files of a configuration.
pub struct Files {
    inotify: Inotify,
    folders: HashMap<WatchDescriptor, Folder>,
    due: Option<Instant>,
}

struct Folder {
    path: PathBuf,
    /// What matters in it; None: everything.
    names: Option<BTreeSet<OsString>>,
}

impl Files {
    pub fn new(inputs: &Inputs) -> nix::Result<Files> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let mut files = Files { inotify, folders: HashMap::new(), due: None };
        files.watch(inputs);
        Ok(files)
    }

    /// Watches what belongs to `inputs`, and nothing else.
    pub fn watch(&mut self, inputs: &Inputs) {
        for (descriptor, _) in self.folders.drain() {
            // A folder that is gone has taken its watch along.
            let _ = self.inotify.rm_watch(descriptor);
        }
        let files = inputs.config.iter().chain(&inputs.rules).map(|file| &file.path);
        for path in files.chain(&inputs.named) {
            for (folder, name) in trail(path) {
                self.add(folder, Some(name));
            }
            if path.is_dir() {
                self.add(path.clone(), None);
            }
        }
    }

    fn add(&mut self, path: PathBuf, name: Option<OsString>) {
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        // A folder that cannot be watched is one that cannot be read either, which reading says.
        let Ok(descriptor) = self.inotify.add_watch(&path, flags) else { return };
        let folder = self.folders.entry(descriptor).or_insert(Folder { path, names: Some(BTreeSet::new()) });
        match name {
            Some(name) => folder.names.iter_mut().for_each(|names| names.extend([name.clone()])),
            None => folder.names = None,
        }
    }

    /// Becomes readable when something has happened.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// Takes in what has happened.
    pub fn happened(&mut self, now: Instant) {
        while let Ok(events) = self.inotify.read_events() {
            for event in events {
                let matters = event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW)
                    || self.folders.get(&event.wd).is_some_and(|folder| match (&event.name, &folder.names) {
                        (None, _) => true,
                        (Some(name), names) => {
                            names.as_ref().is_none_or(|names| names.contains(name))
                                && !(event.mask.contains(AddWatchFlags::IN_CREATE)
                                    && is_being_written(&folder.path.join(name)))
                        }
                    });
                if matters {
                    self.due = Some(now + PAUSE);
                }
            }
        }
    }

    /// When to look.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Looks, if it is time: the first file that is not as it was read.
    pub fn changed(&mut self, now: Instant, options: &Options, inputs: &Inputs) -> Option<PathBuf> {
        self.due.take_if(|due| *due <= now)?;
        let changed = inputs.changed(options);
        if changed.is_none() {
            // A folder on the way may be another one now.
            self.watch(inputs);
        }
        changed
    }
}

/// Whether a new name is a file whose writer has yet to close it: that will be told as well.
fn is_being_written(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.nlink() == 1)
}

/// The folders and names that decide what is found at `path`: its own, and those of the links on the way. Where the way ends, the first
/// name that is missing.
fn trail(path: &Path) -> Vec<(PathBuf, OsString)> {
    let mut out = Vec::new();
    let mut at = std::env::current_dir().unwrap_or_default();
    let mut rest: Vec<OsString> = parts(path);
    let mut links = 0;
    if path.is_absolute() {
        at = "/".into();
    }
    while let Some(part) = rest.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        let link = std::fs::read_link(&next).ok();
        if link.is_some() || rest.is_empty() || !next.exists() {
            out.push((at.clone(), part));
        }
        match link {
            Some(target) => {
                links += 1;
                if links > LINKS {
                    break;
                }
                if target.is_absolute() {
                    at = "/".into();
                }
                rest.extend(parts(&target));
            }
            None if next.exists() => at = next,
            None => break,
        }
    }
    out
}

/// The parts of a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    parts.collect::<Vec<_>>().into_iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// What was named in the trail, below `folder`.
    fn names(path: &Path, folder: &Path) -> Vec<String> {
        let below =
            |(at, name): &(PathBuf, OsString)| Some(at.join(name).strip_prefix(folder).ok()?.display().to_string());
        trail(path).iter().filter_map(below).collect()
    }

    #[test]
    fn a_trail_has_every_link() {
        let temporary = tempfile::tempdir().expect("temporary folder");
        let folder = temporary.path().canonicalize().expect("there");
        fs::create_dir_all(folder.join("..1")).expect("made");
        fs::write(folder.join("..1/x.yaml"), "").expect("written");
        symlink("..1", folder.join("..data")).expect("linked");
        symlink("..data/x.yaml", folder.join("x.yaml")).expect("linked");
        symlink("loop", folder.join("loop")).expect("linked");
        assert_eq!(names(&folder.join("x.yaml"), &folder), ["x.yaml", "..data", "..1/x.yaml"]);
        assert_eq!(names(&folder.join("no/such/file"), &folder), ["no"]);
        assert_eq!(names(&folder.join("..1/../none.yaml"), &folder), ["none.yaml"]);
        assert_eq!(names(&folder.join("loop"), &folder).len(), LINKS + 1);
    }

    #[test]
    fn what_matters_is_told_after_a_pause() {
        let temporary = tempfile::tempdir().expect("temporary folder");
        let folder = temporary.path();
        let rules = folder.join("r.yaml");
        fs::create_dir(folder.join("rules.d")).expect("made");
        fs::write(&rules, "").expect("written");
        let named = vec![rules.clone(), folder.join("rules.d"), folder.join("later.yaml")];
        let mut files = Files::new(&Inputs { named, ..Inputs::default() }).expect("inotify");
        let now = Instant::now();
        let mut told = |name: &str, change: &dyn Fn(&Path)| {
            change(&folder.join(name));
            files.happened(now);
            files.due.take() == Some(now + PAUSE)
        };
        let write = |path: &Path| fs::write(path, "x").expect("written");
        assert!(!told("other.yaml", &write), "nobody reads it");
        assert!(told("r.yaml", &write));
        assert!(told("rules.d/new.yaml", &write));
        assert!(told("later.yaml", &write));
        assert!(told("r.yaml", &|path| fs::rename(folder.join("other.yaml"), path).expect("renamed")));
        assert!(told("r.yaml", &|path| fs::remove_file(path).expect("removed")));
        assert!(told("r.yaml", &|path| symlink("later.yaml", path).expect("linked")));
        assert!(told("rules.d", &|path| fs::remove_dir_all(path).expect("removed")));
        assert!(!told("open", &|path| drop(fs::File::open(path.with_file_name("later.yaml")).expect("opened"))));
    }
}
