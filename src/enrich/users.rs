//! Names of users and groups from the host's `passwd` and `group` files.
//!
//! Parsed once and kept; [`Users::refresh`] looks at the files' inode and time of change at most once per interval
//! and reads them again when one differs, so the path of an event never touches a file. Containers have files of their own:
//! [`own_users`](super::own_users).

use hashbrown::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The text of an unknown name.
pub const UNKNOWN: &[u8] = b"<NA>";

/// Files larger than this are cut: nobody's passwd is, and a name service that writes millions of users should not
/// cost that much memory per CPU.
const MAX_FILE: u64 = 16 << 20;

/// Which file was read, to tell when it was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    dev: u64,
    ino: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        fs::metadata(path).ok().as_ref().map(Stamp::new)
    }

    pub fn new(meta: &Metadata) -> Stamp {
        Stamp { dev: meta.dev(), ino: meta.ino(), size: meta.size(), changed: (meta.ctime(), meta.ctime_nsec()) }
    }
}

/// A line of passwd.
#[derive(Debug, Default)]
struct User {
    name: Box<[u8]>,
    home: Box<[u8]>,
    shell: Box<[u8]>,
}

/// Users and groups of the host.
#[derive(Debug)]
pub struct Users {
    passwd: PathBuf,
    group: PathBuf,
    stamps: (Option<Stamp>, Option<Stamp>),
    users: HashMap<u32, User>,
    groups: HashMap<u32, Box<[u8]>>,
    checked: Option<Instant>,
    interval: Duration,
    generation: u32,
}

impl Users {
    /// The users below `root`, the directory the host's root file system is mounted on (`/`, or `$HOST_ROOT`).
    /// A file that is missing is an empty one.
    pub fn new(root: &Path) -> Users {
        let mut users = Users {
            passwd: root.join("etc/passwd"),
            group: root.join("etc/group"),
            stamps: (None, None),
            users: HashMap::new(),
            groups: HashMap::new(),
            checked: None,
            interval: Duration::from_secs(5),
            generation: 0,
        };
        users.refresh(Instant::now());
        users
    }

    /// Users from the texts of a passwd and a group file; never refreshed.
    pub fn from_texts(passwd: &[u8], group: &[u8]) -> Users {
        let mut users = Users::new(Path::new("/dev/null"));
        users.users = parse_passwd(passwd);
        users.groups = parse_group(group);
        users.interval = Duration::MAX;
        users
    }

    /// Nobody; never refreshed. Filled by [`Users::set_user`] and [`Users::set_group`].
    pub fn none() -> Users {
        Users::from_texts(b"", b"")
    }

    /// Adds or replaces a user.
    pub fn set_user(&mut self, uid: u32, name: &[u8], home: &[u8], shell: &[u8]) {
        let is_known = |user: &User| *user.name == *name && *user.home == *home && *user.shell == *shell;
        if !self.users.get(&uid).is_some_and(is_known) {
            self.users.insert(uid, User { name: name.into(), home: home.into(), shell: shell.into() });
            self.generation += 1;
        }
    }

    /// Adds or replaces a group.
    pub fn set_group(&mut self, gid: u32, name: &[u8]) {
        if self.groups.get(&gid).is_none_or(|known| **known != *name) {
            self.groups.insert(gid, name.into());
            self.generation += 1;
        }
    }

    /// Forgets a user.
    pub fn remove_user(&mut self, uid: u32) {
        self.generation += u32::from(self.users.remove(&uid).is_some());
    }

    /// Forgets a group.
    pub fn remove_group(&mut self, gid: u32) {
        self.generation += u32::from(self.groups.remove(&gid).is_some());
    }

    /// Reads the files again when they were replaced. Cheap to call between batches of events: it looks at them
    /// at most every few seconds. Returns whether names changed.
    pub fn refresh(&mut self, now: Instant) -> bool {
        if self.checked.is_some_and(|last| now.saturating_duration_since(last) < self.interval) {
            return false;
        }
        self.checked = Some(now);
        let stamps = (Stamp::of(&self.passwd), Stamp::of(&self.group));
        if stamps == self.stamps && self.generation > 0 {
            return false;
        }
        self.stamps = stamps;
        self.users = parse_passwd(&read(&self.passwd).unwrap_or_default());
        self.groups = parse_group(&read(&self.group).unwrap_or_default());
        self.generation += 1;
        true
    }

    /// Users and groups that are listed.
    pub fn listed(&self) -> usize {
        self.users.len() + self.groups.len()
    }

    /// Grows whenever names may have changed: what was computed from them is computed again.
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// Login of a user: `root` for an unlisted 0, [`UNKNOWN`] for others.
    pub fn user_name(&self, uid: u32) -> &[u8] {
        match self.users.get(&uid) {
            Some(user) => &user.name,
            None if uid == 0 => b"root",
            None => UNKNOWN,
        }
    }

    /// Login of a user that is listed, or [`UNKNOWN`].
    pub fn listed_user(&self, uid: u32) -> &[u8] {
        self.users.get(&uid).map_or(UNKNOWN, |user| &user.name)
    }

    /// Name of a group that is listed, or [`UNKNOWN`].
    pub fn listed_group(&self, gid: u32) -> &[u8] {
        self.groups.get(&gid).map_or(UNKNOWN, |name| name)
    }

    /// Home directory of a user: `/root` for an unlisted 0, [`UNKNOWN`] for others.
    pub fn home(&self, uid: u32) -> &[u8] {
        match self.users.get(&uid) {
            Some(user) => &user.home,
            None if uid == 0 => b"/root",
            None => UNKNOWN,
        }
    }

    /// Shell of a user, or [`UNKNOWN`].
    pub fn shell(&self, uid: u32) -> &[u8] {
        self.users.get(&uid).map_or(UNKNOWN, |user| &user.shell)
    }

    /// Name of a group: `root` for an unlisted 0, [`UNKNOWN`] for others.
    pub fn group_name(&self, gid: u32) -> &[u8] {
        match self.groups.get(&gid) {
            Some(name) => name,
            None if gid == 0 => b"root",
            None => UNKNOWN,
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut text = Vec::new();
    fs::File::open(path)?.take(MAX_FILE).read_to_end(&mut text)?;
    Ok(text)
}

/// Lines as fields; comments and the compat lines of NIS (`+name`, `-name`) are no entries.
fn entries(text: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    text.split(|b| *b == b'\n')
        .filter(|line| !matches!(line.first(), None | Some(b'+' | b'-' | b'#')))
        .map(|line| line.split(|b| *b == b':').collect())
}

fn number(field: Option<&&[u8]>) -> Option<u32> {
    std::str::from_utf8(field?).ok()?.parse().ok()
}

/// The first line of a number counts, as in the C library.
fn parse_passwd(text: &[u8]) -> HashMap<u32, User> {
    let mut users = HashMap::new();
    for fields in entries(text) {
        let Some(uid) = number(fields.get(2)) else { continue };
        let field = |i: usize| fields.get(i).copied().unwrap_or_default().into();
        users.entry(uid).or_insert_with(|| User { name: field(0), home: field(5), shell: field(6) });
    }
    users
}

fn parse_group(text: &[u8]) -> HashMap<u32, Box<[u8]>> {
    let mut groups = HashMap::new();
    for fields in entries(text) {
        let Some(gid) = number(fields.get(2)) else { continue };
        groups.entry(gid).or_insert_with(|| fields[0].into());
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_numbers() {
        let users = Users::from_texts(
            b"# c\nroot:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\n+nis\nbad\n\
              twin:x:33:1::/x:/y\nshort:x:7\nbig:x:4294967296:0:::\n",
            b"root:x:0:\nadm:x:4:syslog,alice\n",
        );
        assert_eq!(users.user_name(33), b"www-data");
        assert_eq!(users.home(33), b"/var/www");
        assert_eq!(users.shell(33), b"/usr/sbin/nologin");
        assert_eq!((users.user_name(7), users.home(7)), (b"short".as_slice(), b"".as_slice()));
        assert_eq!(users.user_name(1000), UNKNOWN);
        assert_eq!(users.group_name(4), b"adm");
        assert_eq!(users.group_name(5), UNKNOWN);
    }

    #[test]
    fn root_needs_no_entry() {
        let users = Users::from_texts(b"", b"");
        assert_eq!(users.user_name(0), b"root");
        assert_eq!(users.home(0), b"/root");
        assert_eq!(users.shell(0), UNKNOWN);
        assert_eq!(users.group_name(0), b"root");
    }

    #[test]
    fn a_replaced_file_is_read_again_but_not_at_every_call() {
        let dir = tempfile::tempdir().expect("tempdir");
        let etc = dir.path().join("etc");
        fs::create_dir(&etc).expect("mkdir");
        fs::write(etc.join("passwd"), "a:x:1:1::/:/bin/sh\n").expect("write");
        let mut users = Users::new(dir.path());
        let start = Instant::now();
        assert_eq!(users.user_name(1), b"a");
        fs::write(etc.join("passwd.new"), "bb:x:1:1::/:/bin/sh\n").expect("write");
        fs::rename(etc.join("passwd.new"), etc.join("passwd")).expect("rename");
        assert!(!users.refresh(start));
        assert_eq!(users.user_name(1), b"a");
        let before = users.generation();
        assert!(users.refresh(start + Duration::from_secs(60)));
        assert_eq!(users.user_name(1), b"bb");
        assert!(users.generation() > before);
        assert!(!users.refresh(start + Duration::from_secs(120)));
    }
}
