//! Whether files that were read have changed (`watch_config_files`).
//!
//! What lies on the way to a file is looked at once a second: editors, package managers and Kubernetes put new files or links in the
//! place of old ones. Another inode, time or size is a reason to compare contents, nothing more, some time after the last change.
//! Not by inotify: a watch makes opening and closing any file of its file system slower, for every program (docs/performance.md); and
//! it does not tell what another host has changed.

use super::options::Options;
use super::prepare::Inputs;
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Contents are compared when nothing has changed for this long.
const PAUSE: Duration = Duration::from_millis(100);
/// Links on the way to a file, after which it is taken for a circle.
const LINKS: usize = 40;

/// Watches the files of a configuration.
pub struct Files {
    seen: Vec<(PathBuf, Option<Mark>)>,
    look: Instant,
    due: Option<Instant>,
}

/// What tells one state of a name from another, as far as that can be told without reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Mark {
    fn of(path: &Path) -> Option<Mark> {
        let meta = path.symlink_metadata().ok()?;
        Some(Mark {
            inode: (meta.dev(), meta.ino()),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

impl Files {
    pub fn new(inputs: &Inputs, now: Instant) -> Files {
        let mut files = Files { seen: Vec::new(), look: now + INTERVAL, due: None };
        files.watch(inputs, now);
        files
    }

    /// Watches what belongs to `inputs`, and nothing else. Compares soon, too: something may have changed since they were read.
    pub fn watch(&mut self, inputs: &Inputs, now: Instant) {
        self.find(inputs);
        self.due = Some(now + PAUSE);
    }

    /// Whether there are names that were not seen before. The others keep what was seen of them before contents were read: what has
    /// changed since is yet to be noticed.
    fn find(&mut self, inputs: &Inputs) -> bool {
        let files = inputs.config.iter().chain(&inputs.rules).map(|file| &file.path);
        let mut paths: Vec<PathBuf> = files.chain(&inputs.named).flat_map(|path| trail(path)).collect();
        paths.sort_unstable();
        paths.dedup();
        let old: HashMap<PathBuf, Option<Mark>> = self.seen.drain(..).collect();
        let mut is_new = false;
        for path in paths {
            let mark = old.get(&path).copied().unwrap_or_else(|| {
                is_new = true;
                Mark::of(&path)
            });
            self.seen.push((path, mark));
        }
        is_new
    }

    /// Whether a name is not as it was seen last.
    fn differ(&mut self) -> bool {
        let mut differ = false;
        for (path, mark) in &mut self.seen {
            let now = Mark::of(path);
            differ |= now != *mark;
            *mark = now;
        }
        differ
    }

    /// When [`Files::changed`] has something to do.
    pub fn next(&self) -> Instant {
        self.due.unwrap_or(self.look)
    }

    /// Looks, if it is time: the first file that is not as it was read.
    pub fn changed(&mut self, now: Instant, options: &Options, inputs: &Inputs) -> Option<PathBuf> {
        if now < self.next() {
            return None;
        }
        self.look = now + INTERVAL;
        if self.differ() {
            self.due = Some(now + PAUSE);
            return None;
        }
        self.due.take()?;
        let changed = inputs.changed(options);
        // The way may be another one now.
        if changed.is_none() && self.find(inputs) {
            self.due = Some(now + PAUSE);
        }
        changed
    }
}

/// The names that decide what is found at `path`: its own, and those of the links on the way. Where the way ends, the first name that
/// is missing.
fn trail(path: &Path) -> Vec<PathBuf> {
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
            out.push(next.clone());
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
    use clap::Parser;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// What was named in the trail, below `folder`.
    fn names(path: &Path, folder: &Path) -> Vec<String> {
        let below = |path: &PathBuf| Some(path.strip_prefix(folder).ok()?.display().to_string());
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
        let inputs = Inputs { named, ..Inputs::default() };
        let options = Options::parse_from(["falco-sensor"]);
        let mut now = Instant::now();
        let mut files = Files::new(&inputs, now);
        let mut told = |name: &str, change: &dyn Fn(&Path)| {
            change(&folder.join(name));
            now += INTERVAL;
            files.changed(now, &options, &inputs);
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

    #[test]
    fn what_changes_while_contents_are_read_is_noticed() {
        let temporary = tempfile::tempdir().expect("temporary folder");
        let rules = temporary.path().join("r.yaml");
        fs::write(&rules, "a").expect("written");
        let inputs = Inputs { named: vec![rules.clone()], ..Inputs::default() };
        let options = Options::parse_from(["falco-sensor"]);
        let start = Instant::now();
        let mut files = Files::new(&inputs, start);
        files.changed(start + PAUSE, &options, &inputs);
        // Behind the back of a comparison, which ends by looking for the way.
        fs::write(&rules, "ab").expect("written");
        assert!(!files.find(&inputs), "nothing is new");
        let next = files.next();
        files.changed(next, &options, &inputs);
        assert_eq!(files.next(), next + PAUSE);
    }

    #[test]
    fn contents_are_not_compared_while_they_change() {
        let temporary = tempfile::tempdir().expect("temporary folder");
        let rules = temporary.path().join("r.yaml");
        let inputs = Inputs { named: vec![rules.clone()], ..Inputs::default() };
        let options = Options::parse_from(["falco-sensor"]);
        let start = Instant::now();
        let mut files = Files::new(&inputs, start);
        let mut look = |now| {
            files.changed(now, &options, &inputs);
            files.next()
        };
        assert_eq!(look(start), start + PAUSE, "what has changed since it was read");
        let compared = start + PAUSE;
        assert_eq!(look(compared), compared + INTERVAL);
        fs::write(&rules, "a").expect("written");
        let first = compared + INTERVAL;
        assert_eq!(look(first), first + PAUSE);
        fs::write(&rules, "ab").expect("written");
        let second = first + PAUSE;
        assert_eq!(look(second), second + PAUSE, "it is still written");
        let third = second + PAUSE;
        assert_eq!(look(third), third + INTERVAL, "compared, and the next look");
    }
}
