use super::*;
use std::fs;
use std::path::PathBuf;

const ID: &[u8] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OTHER: &[u8] = b"fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

/// A host's root with a process 7 in a container, whose root is `root`.
struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Host {
        let host = Host(tempfile::tempdir().expect("a folder"));
        fs::create_dir_all(host.process(7)).expect("made");
        host.cgroup(7, ID);
        host
    }

    fn process(&self, pid: i32) -> PathBuf {
        self.0.path().join("proc").join(pid.to_string())
    }

    fn cgroup(&self, pid: i32, container: &[u8]) {
        fs::create_dir_all(self.process(pid)).expect("made");
        let text = format!("1:name=systemd:/init.scope\n0::/docker/{}\n", String::from_utf8_lossy(container));
        fs::write(self.process(pid).join("cgroup"), text).expect("written");
    }

    /// Gives a process a root.
    fn root(&self, pid: i32, passwd: &str, group: &str) -> PathBuf {
        let root = self.process(pid).join("root");
        fs::create_dir_all(root.join("etc")).expect("made");
        fs::write(root.join("etc/passwd"), passwd).expect("written");
        fs::write(root.join("etc/group"), group).expect("written");
        root
    }

    fn look(&self, pid: i32, known: Option<&look::Stamps>) -> look::Found {
        look::look(self.0.path(), ID, pid, known)
    }
}

fn names(found: look::Found) -> (look::Stamps, Users) {
    match found {
        look::Found::Read(stamps, users) => (stamps, *users),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_look_below_a_root() {
    let host = Host::new();
    assert!(matches!(host.look(7, None), look::Found::Gone), "no root");
    let root = host.root(7, "app:x:999:999::/app:/bin/sh\n", "app:x:999:\n");
    let (stamps, users) = names(host.look(7, None));
    assert_eq!(
        (users.user_name(999), users.group_name(999), users.home(999)),
        (&b"app"[..], &b"app"[..], &b"/app"[..])
    );
    assert!(matches!(host.look(7, Some(&stamps)), look::Found::Same));
    fs::remove_file(root.join("etc/passwd")).expect("removed");
    let (_, users) = names(host.look(7, Some(&stamps)));
    assert_eq!((users.user_name(999), users.group_name(999)), (&b"<NA>"[..], &b"app"[..]));
    assert!(matches!(host.look(8, None), look::Found::Gone), "no process");
    host.cgroup(7, OTHER);
    assert!(matches!(host.look(7, None), look::Found::Gone), "a process of another container has the number now");
}

#[test]
fn no_link_leads_out_of_a_container_and_nothing_but_files_is_read() {
    let host = Host::new();
    let root = host.root(7, "", "");
    let outside = host.0.path().join("shadow");
    fs::write(&outside, "secret:x:999:999:::\n").expect("written");
    fs::remove_file(root.join("etc/passwd")).expect("removed");
    std::os::unix::fs::symlink(&outside, root.join("etc/passwd")).expect("linked");
    nix::unistd::mkfifo(&root.join("etc/fifo"), nix::sys::stat::Mode::S_IRWXU).expect("made");
    fs::rename(root.join("etc/fifo"), root.join("etc/group")).expect("renamed");
    let (_, users) = names(host.look(7, None));
    assert_eq!(users.listed(), 0);
    fs::remove_dir_all(root.join("etc")).expect("removed");
    fs::create_dir(host.0.path().join("etc")).expect("made");
    fs::rename(&outside, host.0.path().join("etc/passwd")).expect("renamed");
    std::os::unix::fs::symlink(host.0.path().join("etc"), root.join("etc")).expect("linked");
    let (_, users) = names(host.look(7, None));
    assert_eq!(users.listed(), 0);
}

/// Goes round as a loop does, until `done`.
fn until(own: &mut OwnUsers, hosts: &Users, pid: i32, done: impl Fn(&Users) -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if done(own.find(ID, pid, hosts)) {
            return;
        }
        assert!(Instant::now() < end, "{own:?}");
        own.ask(Instant::now());
        own.refresh();
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn names_come_late_and_the_hosts_are_never_taken_for_them() {
    let host = Host::new();
    let hosts = Users::from_texts(b"systemd:x:999:999:::\n", b"");
    let mut own = OwnUsers::of(Reader::start(host.0.path()).expect("started"));
    assert_eq!((own.find(ID, 7, &hosts).user_name(999), own.generation()), (&b"<NA>"[..], 0));
    assert_eq!(own.find(ID, 7, &hosts).user_name(0), b"root");
    // The runtime's child has the host's root first.
    std::os::unix::fs::symlink(host.0.path(), host.process(7).join("root")).expect("linked");
    own.ask(Instant::now());
    std::thread::sleep(Duration::from_millis(200));
    assert!(!own.refresh());
    fs::remove_file(host.process(7).join("root")).expect("removed");
    host.root(7, "app:x:999:999:::\n", "");
    until(&mut own, &hosts, 7, |users| users.user_name(999) == b"app");
    assert!(own.generation() > 0);
    assert_eq!(own.find(OTHER, 8, &hosts).user_name(999), b"<NA>");
}

#[test]
fn a_changed_file_is_seen_through_another_process_when_the_first_has_ended() {
    let host = Host::new();
    host.root(7, "app:x:999:999:::\n", "");
    let hosts = Users::none();
    let mut own = OwnUsers::of(Reader::start(host.0.path()).expect("started"));
    until(&mut own, &hosts, 7, |users| users.user_name(999) == b"app");
    fs::remove_dir_all(host.process(7)).expect("removed");
    host.cgroup(9, ID);
    host.root(9, "web:x:999:999:::\n", "");
    until(&mut own, &hosts, 9, |users| users.user_name(999) == b"web");
}

#[test]
fn a_container_that_keeps_the_hosts_root_has_the_hosts_names() {
    let host = Host::new();
    std::os::unix::fs::symlink(host.0.path(), host.process(7).join("root")).expect("linked");
    let hosts = Users::from_texts(b"systemd:x:999:999:::\n", b"");
    let mut own = OwnUsers::of(Reader::start(host.0.path()).expect("started"));
    until(&mut own, &hosts, 7, |users| users.user_name(999) == b"systemd");
}
