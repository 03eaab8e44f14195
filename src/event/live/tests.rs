//! Fields of described events, with the values the reference shows for the same calls.

use super::*;
use crate::event::fields;
use crate::event::synthetic::{EventSpec, Fd, Process, START, Task, World};
use crate::event::text::{Buffers, push_text};

use crate::event::value::{Extract, FieldArg, FieldUse};

/// The text of a field; `-` when it is missing.
fn text(event: &LiveEvent<'_>, field: &str) -> String {
    let arena = Bump::new();
    let (name, bracket) = match field.split_once('[') {
        Some((name, arg)) => (name, Some(arg.trim_end_matches(']'))),
        None => (field, None),
    };
    let (id, dotted) = fields::resolve(name).unwrap_or_else(|| panic!("no field {name}"));
    let arg = match (bracket, dotted) {
        (None, None) => FieldArg::None,
        (Some(arg), _) => arg.parse().map_or_else(|_| FieldArg::Key(arg.into()), FieldArg::Index),
        (_, Some(arg)) => FieldArg::Key(arg.into()),
    };
    let field = FieldUse { id, arg };
    let Some(value) = event.extract(&field, &arena) else { return "-".into() };
    let mut out = Vec::new();
    push_text(Some(&value), fields::def(id), event.number_format(&field), Buffers::Printable, &mut out);
    String::from_utf8(out).expect("texts are UTF-8")
}

fn check(world: &mut World, spec: &EventSpec, expected: &[(&str, &str)]) {
    let record = world.event(spec);
    let event = world.view(&record);
    for (field, value) in expected {
        assert_eq!(text(&event, field), *value, "{field}");
    }
}

/// A shell's child in /root.
fn world() -> World {
    let mut world = World::new();
    let task =
        Task::new(Process::new(152, "/usr/bin/cat", &["cat", "/etc/shadow", "two words"]).env(&["HOME=/root", "A="]))
            .parent(Process::new(150, "/usr/bin/bash", &["bash", "-c", "x"]))
            .parent(Process::new(149, "/usr/bin/timeout", &["timeout", "9"]))
            .parent(Process::new(1, "/usr/sbin/init", &["init"]))
            .cwd("/root");
    world.task(&task);
    world
}

#[test]
fn an_opened_file() {
    let spec = EventSpec::new("openat")
        .fd("fd", 3, Fd::file("/etc/shadow"))
        .arg(0, -100)
        .text("name", "../etc//./shadow")
        .number("flags", libc::O_CLOEXEC as u64);
    let args = "fd=3(<f>/etc/shadow) dirfd=-100(AT_FDCWD) name=../etc//./shadow(/etc/shadow) \
                flags=4097(O_RDONLY|O_CLOEXEC) mode=0 dev=FE00 ino=7";
    check(
        &mut world(),
        &spec,
        &[
            ("evt.type", "openat"),
            ("evt.dir", "<"),
            ("evt.category", "file"),
            ("evt.args", args),
            ("evt.res", "SUCCESS"),
            ("evt.rawres", "3"),
            ("evt.failed", "false"),
            ("evt.arg.fd", "<f>/etc/shadow"),
            ("evt.arg.flags", "O_RDONLY|O_CLOEXEC"),
            ("evt.arg.dirfd", "AT_FDCWD"),
            ("evt.arg[2]", "/etc/shadow"),
            ("evt.arg.nosuch", "-"),
            ("evt.rawarg.flags", "1001"),
            ("evt.rawarg.fd", "3"),
            ("evt.is_open_read", "true"),
            ("evt.is_open_write", "false"),
            ("evt.is_open_create", "false"),
            ("evt.abspath", "/etc/shadow"),
            ("fd.num", "3"),
            ("fd.type", "file"),
            ("fd.typechar", "f"),
            ("fd.name", "/etc/shadow"),
            ("fd.nameraw", "../etc/./shadow"),
            ("fd.directory", "/etc"),
            ("fd.filename", "shadow"),
            ("fd.dev", "FE00"),
            ("fd.dev.major", "254"),
            ("fd.ino", "7"),
            ("fd.name_changed", "true"),
            ("fd.sip", "-"),
            ("fd.containername", ":/etc/shadow"),
            ("fs.path.name", "/etc/shadow"),
            ("fs.path.nameraw", "../etc//./shadow"),
            ("evt.time", "00:00:01.000000000"),
            ("evt.reltime.s", "1"),
            ("syscall.type", "openat"),
        ],
    );
}

#[test]
fn a_failed_open_is_known_by_its_arguments() {
    let spec = EventSpec::new("openat").ret(-2).arg(0, -100).text("name", "missing").number("flags", 0o101);
    check(
        &mut world(),
        &spec.number("mode", 0o755),
        &[
            ("evt.res", "ENOENT"),
            ("evt.failed", "true"),
            ("evt.arg.fd", "ENOENT"),
            ("evt.arg.mode", "0755"),
            ("evt.rawarg.fd", "-2"),
            ("fd.num", "-1"),
            ("fd.typechar", "f"),
            ("fd.type", "-"),
            ("fd.name", "/root/missing"),
            ("fd.directory", "/root"),
            ("fd.filename", "-"),
            ("evt.is_open_write", "true"),
            ("evt.is_open_exec", "true"),
            ("evt.count.error", "1"),
            ("evt.count.error.file", "1"),
        ],
    );
    let unreadable = EventSpec::new("openat").ret(-14).arg(0, -100);
    let args = "fd=-14(EFAULT) dirfd=-100(AT_FDCWD) name=<NA> flags=1(O_RDONLY) mode=0 dev=0 ino=0";
    check(&mut world(), &unreadable, &[("evt.args", args), ("fd.typechar", "f"), ("fd.name", "<NA>")]);
    // Nothing is told of one below a directory that is none.
    let below = EventSpec::new("openat").ret(-14).arg(0, -1);
    check(&mut world(), &below, &[("fd.typechar", "f"), ("fd.name", "-"), ("fd.nameraw", "-"), ("fd.directory", "-")]);
}

#[test]
fn a_link_has_two_names() {
    let spec = EventSpec::new("openat").fd("fd", 3, Fd::file("/etc/shadow")).arg(0, -100).text("name", "/tmp/link");
    let mut world = world();
    let record = world.event(&spec);
    let event = world.view(&record);
    assert!(event.paths_differ(&Bump::new()));
    assert_eq!(text(&event, "fd.name"), "/tmp/link");
    let opened = event.with_paths(PathView::AsOpened);
    assert_eq!(text(&opened, "fd.name"), "/etc/shadow");
    assert_eq!(text(&opened, "fd.filename"), "shadow");
    assert_eq!(text(&opened, "fs.path.name"), "/etc/shadow");

    let same = EventSpec::new("openat").fd("fd", 3, Fd::file("/etc/shadow")).arg(0, -100).text("name", "/etc/./shadow");
    let record = world.event(&same);
    assert!(!world.view(&record).paths_differ(&Bump::new()));
}

#[test]
fn relative_to_a_directory() {
    let spec = EventSpec::new("unlinkat").fd("dirfd", 3, Fd::directory("/tmp/fo/sub")).text("name", "sym");
    check(
        &mut world(),
        &spec,
        &[
            ("evt.args", "res=0 dirfd=3(<d>/tmp/fo/sub) name=sym(/tmp/fo/sub/sym) flags=0"),
            ("fd.num", "3"),
            ("fd.typechar", "d"),
            ("fd.name", "/tmp/fo/sub"),
            ("fd.directory", "/tmp/fo/sub"),
            ("fs.path.name", "/tmp/fo/sub/sym"),
            ("evt.abspath", "/tmp/fo/sub/sym"),
        ],
    );
    let unknown = EventSpec::new("unlinkat").ret(-9).arg(0, 99).text("name", "x");
    check(
        &mut world(),
        &unknown,
        &[
            ("evt.arg.name", "x"),
            ("evt.abspath", "<UNKNOWN>x"),
            ("evt.arg.dirfd", "99"),
            ("fs.path.name", "-"),
            ("fd.typechar", "o"),
            ("fd.name", ""),
        ],
    );
    let linkat = EventSpec::new("linkat").arg(0, -100).arg(2, -100).text("oldpath", "/etc/shadow").text("newpath", "h");
    check(
        &mut world(),
        &linkat,
        &[
            ("fs.path.source", "/root/h"),
            ("fs.path.target", "/etc/shadow"),
            ("evt.abspath.src", "/etc/shadow"),
            ("evt.abspath.dst", "/root/h"),
            ("fd.name", "-"),
        ],
    );
}

#[test]
fn connections() {
    let connect = |ret, role| {
        EventSpec::new("connect")
            .ret(ret)
            .fd(
                "fd",
                3,
                Fd::Socket {
                    local: Some("198.51.100.7:51332".parse().expect("address")),
                    remote: Some("203.0.113.9:443".parse().expect("address")),
                    kind: libc::SOCK_STREAM,
                    role,
                },
            )
            .address("addr", "203.0.113.9:443".parse().expect("address"))
    };
    let args = "res=-115(EINPROGRESS) tuple=198.51.100.7:51332->203.0.113.9:443 \
                fd=3(<4t>198.51.100.7:51332->203.0.113.9:443) addr=203.0.113.9:443";
    check(
        &mut world(),
        &connect(-115, abi::FSN_ROLE_CLIENT),
        &[
            ("evt.args", args),
            ("fd.type", "ipv4"),
            ("fd.typechar", "4"),
            ("fd.l4proto", "tcp"),
            ("fd.sockfamily", "ip"),
            ("fd.name", "198.51.100.7:51332->203.0.113.9:443"),
            ("fd.cip", "198.51.100.7"),
            ("fd.sip", "203.0.113.9"),
            ("fd.lip", "198.51.100.7"),
            ("fd.rip", "203.0.113.9"),
            ("fd.cport", "51332"),
            ("fd.sport", "443"),
            ("fd.lport", "51332"),
            ("fd.rport", "443"),
            ("fd.ip", "(198.51.100.7,203.0.113.9)"),
            ("fd.net", "(<IPNET>,<IPNET>)"),
            ("fd.snet", "<IPNET>"),
            ("fd.sip.name", "203.0.113.9"),
            ("fd.port", "(51332,443)"),
            ("fd.connected", "true"),
            ("fd.name_changed", "true"),
            ("fd.is_server", "false"),
            ("fd.filename", "-"),
            ("fd.directory", "-"),
            ("evt.category", "net"),
        ],
    );
    let accepted = EventSpec::new("accept4").fd(
        "fd",
        4,
        Fd::Socket {
            local: Some("[::ffff:10.0.0.1]:80".parse().expect("address")),
            remote: Some("[::ffff:10.9.9.9]:5555".parse().expect("address")),
            kind: libc::SOCK_STREAM,
            role: abi::FSN_ROLE_NONE,
        },
    );
    check(
        &mut world(),
        &accepted,
        &[
            ("fd.type", "ipv4"),
            ("fd.name", "10.9.9.9:5555->10.0.0.1:80"),
            ("fd.cip", "10.9.9.9"),
            ("fd.lport", "80"),
            ("evt.arg.tuple", "10.9.9.9:5555->10.0.0.1:80"),
        ],
    );
    let refused = EventSpec::new("connect")
        .ret(-111)
        .fd(
            "fd",
            7,
            Fd::Socket {
                local: Some("[2001:db8::7]:39294".parse().expect("address")),
                remote: None,
                kind: libc::SOCK_STREAM,
                role: abi::FSN_ROLE_CLIENT,
            },
        )
        .address("addr", "[2001:db8::9]:9".parse().expect("address"));
    check(
        &mut world(),
        &refused,
        &[
            ("fd.name", "2001:db8::7:39294->2001:db8::9:9"),
            ("fd.typechar", "6"),
            ("fd.sip", "2001:db8::9"),
            ("fd.sport", "9"),
            ("fd.connected", "false"),
            ("fd.name_changed", "false"),
            ("evt.arg.addr", "2001:db8::9:9"),
        ],
    );
    let failed = EventSpec::new("accept4").ret(-11);
    check(&mut world(), &failed, &[("fd.num", "-1"), ("fd.typechar", "4"), ("evt.arg.tuple", "NULL"), ("fd.sip", "-")]);
}

#[test]
fn datagrams_name_their_peer() {
    let socket = Fd::Socket {
        local: Some("127.0.0.1:57507".parse().expect("address")),
        remote: None,
        kind: libc::SOCK_DGRAM,
        role: abi::FSN_ROLE_NONE,
    };
    let sent = EventSpec::new("sendto")
        .ret(4)
        .bytes("data", b"udp1")
        .fd("fd", 4, socket.clone())
        .number("size", 4)
        .address("tuple", "127.0.0.1:7000".parse().expect("address"));
    let args = "res=4 data=udp1 fd=4(<4u>127.0.0.1:57507->127.0.0.1:7000) size=4 tuple=127.0.0.1:57507->127.0.0.1:7000";
    check(
        &mut world(),
        &sent,
        &[
            ("evt.args", args),
            ("fd.name", "127.0.0.1:57507->127.0.0.1:7000"),
            ("fd.sport", "7000"),
            ("fd.name_changed", "true"),
            ("fd.connected", "false"),
            ("evt.buffer", "udp1"),
            ("evt.buflen", "4"),
            ("evt.buflen.net.out", "4"),
            ("evt.io_dir", "write"),
            ("evt.is_io_write", "true"),
        ],
    );
    let bound = EventSpec::new("bind").fd("fd", 3, socket).address("addr", "127.0.0.1:57507".parse().expect("address"));
    check(
        &mut world(),
        &bound,
        &[
            ("fd.name", "127.0.0.1:57507"),
            ("fd.sip", "127.0.0.1"),
            ("fd.cip", "-"),
            ("fd.lip", "-"),
            ("fd.sport", "57507"),
            ("fd.ip", "(127.0.0.1)"),
            ("fd.is_server", "true"),
            ("fd.cproto", ""),
            ("evt.arg.addr", "127.0.0.1:57507"),
        ],
    );
}

#[test]
fn descriptors_without_a_path() {
    for (name, typechar, kind, fd_name) in [
        ("pipe:[77]", "p", "pipe", ""),
        ("anon_inode:[eventfd]", "e", "event", ""),
        ("anon_inode:[eventpoll]", "l", "eventpoll", ""),
        ("/memfd:oracle-mem (deleted)", "m", "memfd", "oracle-mem"),
    ] {
        let spec = EventSpec::new("fcntl").fd("fd", 5, Fd::anonymous(name));
        let expected = [("fd.typechar", typechar), ("fd.type", kind), ("fd.name", fd_name), ("fd.filename", "-")];
        check(&mut world(), &spec, &expected);
    }
    let unix = EventSpec::new("connect").ret(-2).fd("fd", 3, Fd::Unix { name: String::new(), ino: 0x10, peer: 0 });
    check(
        &mut world(),
        &unix,
        &[("fd.name", ""), ("fd.typechar", "u"), ("fd.sockfamily", "unix"), ("evt.arg.fd", "<u>"), ("fd.sip", "-")],
    );
    let copied =
        EventSpec::new("dup2").fd("res", 77, Fd::file("/a")).fd("oldfd", 3, Fd::file("/a")).number("newfd", 77);
    check(&mut world(), &copied, &[("evt.args", "res=77(<f>/a) oldfd=3(<f>/a) newfd=77(<f>/a)"), ("fd.num", "77")]);
    let closed = EventSpec::new("close").ret(-9).arg(0, 12345);
    check(
        &mut world(),
        &closed,
        &[
            ("fd.num", "12345"),
            ("fd.typechar", "o"),
            ("fd.name", ""),
            ("fd.directory", "/"),
            ("evt.args", "res=-9(EBADF) fd=12345"),
        ],
    );
}

#[test]
fn the_process_and_its_lineage() {
    let spec = EventSpec::new("execve").tracepoint();
    check(
        &mut world(),
        &spec,
        &[
            ("evt.type", "execve"),
            ("evt.res", "SUCCESS"),
            ("evt.rawres", "0"),
            ("evt.arg.exe", "cat"),
            ("evt.arg.args", "/etc/shadow.two words."),
            ("evt.arg.flags", "EXE_WRITABLE"),
            ("evt.arg.uid", "root"),
            ("evt.arg.loginuid", "<NONE>"),
            ("evt.arg.pid", "cat"),
            ("evt.arg.ptid", "bash"),
            ("evt.arg.filename", "/usr/bin/cat"),
            ("evt.arg.trusted_exepath", "/usr/bin/cat"),
            ("fd.name", "-"),
            ("proc.name", "cat"),
            ("proc.exe", "cat"),
            ("proc.exepath", "/usr/bin/cat"),
            ("proc.args", "/etc/shadow two words"),
            ("proc.args[1]", "two words"),
            ("proc.args[7]", ""),
            ("proc.cmdline", "cat /etc/shadow two words"),
            ("proc.exeline", "cat /etc/shadow two words"),
            ("proc.cmdnargs", "2"),
            ("proc.cmdlenargs", "20"),
            ("proc.env", "HOME=/root A="),
            ("proc.env[HOME]", "/root"),
            ("proc.env[NOSUCH]", ""),
            ("proc.cwd", "/root/"),
            ("proc.pid", "152"),
            ("proc.ppid", "150"),
            ("proc.pname", "bash"),
            ("proc.pexe", "bash"),
            ("proc.pexepath", "/usr/bin/bash"),
            ("proc.pcmdline", "bash -c x"),
            ("proc.aname[0]", "cat"),
            ("proc.aname[2]", "timeout"),
            ("proc.aname[4]", "-"),
            ("proc.aname", "bash timeout init"),
            ("proc.apid[1]", "150"),
            ("proc.acmdline[3]", "init"),
            ("proc.aexepath[2]", "/usr/bin/timeout"),
            ("proc.loginshellid", "150"),
            ("proc.sname", "cat"),
            ("proc.is_sid_leader", "true"),
            ("proc.is_exe_upper_layer", "false"),
            ("proc.duration", "0"),
            ("proc.tty", "0"),
            ("thread.tid", "152"),
            ("thread.nametid", "cat152"),
            ("thread.cap_effective", ""),
            ("thread.cgroup.cpu", "/"),
            ("user.uid", "0"),
            ("user.name", "root"),
            ("user.homedir", "/root"),
            ("user.loginuid", "-1"),
            ("user.loginname", "<NA>"),
            ("group.name", "root"),
            ("container.id", "host"),
            ("container.name", "host"),
            ("container.type", "host"),
            ("container.image.repository", ""),
            ("k8s.ns.name", "-"),
        ],
    );
    let failed = EventSpec::new("execve").ret(-2).text("filename", "/nosuch").texts("args", &["nosuch", "-x"]);
    check(
        &mut world(),
        &failed,
        &[
            ("evt.res", "ENOENT"),
            ("evt.arg.exe", "nosuch"),
            ("evt.arg.args", "-x."),
            ("evt.arg.filename", "/nosuch"),
            ("proc.exepath", "/usr/bin/cat"),
        ],
    );
}

#[test]
fn times_of_a_process_and_its_executable() {
    let mut process = Process::new(9, "/tmp/dropped", &["dropped"]);
    process.exec.exe_ctime = START + 1_500_000_000;
    process.exec.exe_mtime = START + 1_000_000_000;
    let mut task = Task::new(process).parent(Process::new(1, "/sbin/init", &["init"]));
    // Started 2 s after the boot, in a namespace that started 1 s after it; the event comes after 1 s of the module.
    task.head.pid_start = 2_000_000_000;
    task.head.pidns_init_start = 1_000_000_000;
    (task.head.vtid, task.head.vpid) = (1, 1);
    let id = "c0ffee0000000000000000000000000000000000000000000000000000000001";
    let mut world = World::new();
    world.host.clock.wall_minus_module += 4_000_000_000;
    world.task(&task.cgroup(&format!("/docker/{id}")));
    check(
        &mut world,
        &EventSpec::new("execve").tracepoint(),
        &[
            ("evt.num", "1"),
            ("proc.pid.ts", "1767225602000000000"),
            ("proc.duration", "3000000000"),
            ("proc.ppid.duration", "4000000000"),
            ("proc.exe_ino", "109"),
            ("proc.exe_ino.ctime", "1767225601500000000"),
            ("proc.exe_ino.mtime", "1767225601000000000"),
            ("proc.exe_ino.ctime_duration_proc_start", "500000000"),
            ("proc.exe_ino.ctime_duration_pidns_start", "500000000"),
            ("proc.pidns_init_start_ts", "1767225601000000000"),
            ("container.start_ts", "1767225601000000000"),
            ("container.duration", "4000000000"),
        ],
    );
}

/// Who rebuilds processes from events must not take the result for the child's number then.
#[test]
fn a_fork_into_another_pid_namespace_says_so() {
    let mut world = world();
    for (flags, expected) in [(0, "CLONE_VM"), (abi::FSN_TASK_CHILD_PIDNS, "CLONE_VM|CLONE_CHILD_IN_PIDNS")] {
        let mut task = Task::new(Process::new(7, "/usr/bin/cat", &["cat"]));
        task.head.flags |= flags;
        world.task(&task);
        check(&mut world, &EventSpec::new("clone").ret(2).arg(0, 0x100), &[("evt.arg.flags", expected)]);
        let unshare = EventSpec::new("unshare").arg(0, 0x2000_0000);
        check(&mut world, &unshare, &[("evt.arg.flags", "CLONE_NEWPID")]);
    }
}

#[test]
fn an_executable_in_memory_has_no_directory() {
    let mut process = Process::new(163, "/memfd:payload (deleted)", &["memtrue"]).comm("11");
    process.exec_flags = abi::FSN_EXEC_MEMFD | abi::FSN_EXEC_DELETED;
    let mut world = World::new();
    world.task(&Task::new(process).cwd("/tmp"));
    check(
        &mut world,
        &EventSpec::new("execve").tracepoint(),
        &[
            ("proc.exepath", "memfd:payload"),
            ("proc.is_exe_from_memfd", "true"),
            ("evt.arg.trusted_exepath", "memfd:payload"),
            ("evt.arg.flags", "EXE_WRITABLE|EXE_FROM_MEMFD"),
            ("proc.cmdline", "11"),
        ],
    );
}

#[test]
fn a_container_is_told_by_its_control_group() {
    let id = "c0ffee0000000000000000000000000000000000000000000000000000000001";
    let mut world = World::new();
    world.task(&Task::new(Process::new(9, "/bin/sh", &["sh"])).cgroup(&format!("/system.slice/docker-{id}.scope")));
    let spec = EventSpec::new("openat").fd("fd", 3, Fd::file("/x")).arg(0, -100).text("name", "x");
    check(
        &mut world,
        &spec,
        &[
            ("container.id", "c0ffee000000"),
            ("container.full_id", id),
            ("container.type", "docker"),
            ("container.image.repository", "-"),
            ("fd.containername", "c0ffee000000:/x"),
            ("proc.cmdline", "sh"),
            ("proc.args", ""),
            ("proc.exeline", "sh "),
            ("proc.pname", "-"),
        ],
    );
}

#[test]
fn calls_without_an_event_of_their_own() {
    check(
        &mut world(),
        &EventSpec::new("getpid"),
        &[
            ("evt.type", "getpid"),
            ("syscall.type", "getpid"),
            ("evt.args", ""),
            ("evt.arg[0]", "getpid"),
            ("evt.res", "-"),
            ("evt.failed", "-"),
            ("evt.category", "other"),
            ("fd.num", "-"),
        ],
    );
}

#[test]
fn numbers_of_calls() {
    for (spec, args) in [
        (EventSpec::new("kill").arg(0, 150).arg(1, 15), "res=0 pid=150(bash) sig=15(SIGTERM)"),
        (EventSpec::new("tgkill").ret(-22).arg(0, -1).arg(1, -1).arg(2, 255), "res=-22(EINVAL) pid=-1 tid=-1 sig=255"),
        (
            EventSpec::new("setresuid").arg(0, -1).arg(1, 1000).arg(2, 77),
            "res=0 ruid=-1(<NONE>) euid=1000(alice) suid=77(<NA>)",
        ),
        (EventSpec::new("mkdir").text("path", "/a").arg(1, 0o777), "res=0 path=/a mode=1FF"),
        (
            EventSpec::new("fchmodat").arg(0, -100).text("filename", "f").arg(2, 0o4755),
            "res=0 dirfd=-100(AT_FDCWD) filename=f(/root/f) \
             mode=04755(S_IXOTH|S_IROTH|S_IXGRP|S_IRGRP|S_IXUSR|S_IWUSR|S_IRUSR|S_ISUID)",
        ),
        (
            EventSpec::new("prctl").arg(0, 15).text("arg2_str", "me"),
            "res=0 option=15(PR_SET_NAME) arg2_str=me arg2_int=0",
        ),
        (
            EventSpec::new("ptrace").arg(0, 16).arg(1, 150),
            "res=0 addr=0 data=0 request=11(PTRACE_ATTACH) pid=150(bash)",
        ),
        (
            EventSpec::new("socket").ret(-22).arg(0, 16).arg(1, 0o2_000_003).arg(2, 4),
            "fd=-22(EINVAL) domain=16(AF_ROUTE|AF_NETLINK) type=524291 proto=4 flags=4096(O_CLOEXEC)",
        ),
        (
            EventSpec::new("mount").text("dev", "tmpfs").text("dir", "/mnt/t").text("type", "tmpfs").arg(3, 6),
            "res=0 dev=tmpfs dir=/mnt/t type=tmpfs flags=6(NOSUID|NODEV)",
        ),
    ] {
        check(&mut world(), &spec, &[("evt.args", args)]);
    }
}

/// What the reference shows for calls with nonsense in their registers.
#[test]
fn a_failed_call_has_the_numbers_that_it_would_have_filled() {
    const FD: i64 = 0x100_0000;
    let failed = |name, error| EventSpec::new(name).ret(error);
    for (spec, args, raw) in [
        (
            failed("getrlimit", -22).arg(0, -1),
            "res=-22(EINVAL) cur=-1 max=-1 resource=255(RLIMIT_UNKNOWN)",
            [("evt.rawarg.cur", "-1"), ("evt.rawarg.max", "-1")],
        ),
        (
            failed("prlimit", -3).arg(0, FD),
            "res=-3(ESRCH) newcur=0 newmax=0 oldcur=-1 oldmax=-1 pid=16777216 resource=0(RLIMIT_CPU)",
            [("evt.rawarg.oldcur", "-1"), ("evt.rawarg.oldmax", "-1")],
        ),
        (
            failed("readv", -9).arg(0, FD),
            "res=-9(EBADF) size=0 data=NULL fd=16777216",
            [("evt.rawarg.size", "0"), ("evt.rawarg.data", "-")],
        ),
        (
            failed("preadv", -9).arg(0, FD),
            "res=-9(EBADF) size=0 data=NULL fd=16777216 pos=0",
            [("evt.rawarg.size", "0"), ("evt.rawarg.data", "-")],
        ),
        (
            failed("recvmsg", -9).arg(0, FD),
            "res=-9(EBADF) size=0 data=NULL tuple=NULL msgcontrol=NULL fd=16777216",
            [("evt.rawarg.size", "0"), ("evt.rawarg.msgcontrol", "-")],
        ),
        (
            failed("recvmmsg", -9).arg(0, FD),
            "res=-9(EBADF) fd=16777216 size=0 data=NULL tuple=NULL msgcontrol=NULL",
            [("evt.rawarg.size", "0"), ("evt.rawarg.msgcontrol", "-")],
        ),
        (
            failed("getsockopt", -9).arg(0, FD),
            "res=-9(EBADF) fd=16777216 level=0(UNKNOWN) optname=0(UNKNOWN) val= optlen=0",
            [("evt.rawarg.optlen", "0"), ("evt.rawarg.val", "-")],
        ),
    ] {
        check(&mut world(), &spec, &[("evt.args", args)]);
        check(&mut world(), &spec, &raw);
    }
    // A size that is told stays what it is.
    let read = EventSpec::new("readv").ret(3).number("size", 8);
    check(&mut world(), &read, &[("evt.rawarg.size", "8")]);
}

#[test]
fn an_event_of_a_lost_task_has_placeholders() {
    let mut world = World::new();
    check(
        &mut world,
        // No process has this number.
        &EventSpec::new("kill").arg(0, 99_999_999),
        &[
            ("proc.name", "<NA>"),
            ("proc.cmdline", "<NA>"),
            ("proc.pid", "-"),
            ("user.name", "-"),
            ("evt.arg.pid", "99999999"),
        ],
    );
}
