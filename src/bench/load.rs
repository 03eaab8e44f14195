//! The mixed load: what the ring of a busy host holds, made by rule, the same in every run.
//!
//! Two dozen tasks of a server that also builds software, and the system calls that default rules ask for, mostly files being
//! opened. A few events in 10,000 are ones that default rules report.

use crate::enrich::users::Users;
use crate::event::clock::Clock;
use crate::event::live::LiveEvent;
use crate::event::record::{self, Record};
use crate::event::synthetic::{EventSpec, Fd, Process, RecordBuf, Task, World};

/// Records as a ring holds them.
pub struct Load {
    /// Images and tasks.
    pub tasks: Vec<RecordBuf>,
    pub events: Vec<RecordBuf>,
}

/// Programs and how they were started, the parent first.
const PROGRAMS: [&[&str]; 24] = [
    &["/usr/lib/systemd/systemd --switched-root"],
    &["/usr/sbin/nginx -g daemon off;", "/usr/lib/systemd/systemd"],
    &["/usr/sbin/nginx worker", "/usr/sbin/nginx -g", "/usr/lib/systemd/systemd"],
    &["/usr/sbin/sshd -D", "/usr/lib/systemd/systemd"],
    &["/usr/sbin/sshd -R", "/usr/sbin/sshd -D", "/usr/lib/systemd/systemd"],
    &["/usr/bin/bash -l", "/usr/sbin/sshd -R", "/usr/sbin/sshd -D", "/usr/lib/systemd/systemd"],
    &["/usr/bin/make -j8", "/usr/bin/bash -l", "/usr/sbin/sshd -R", "/usr/lib/systemd/systemd"],
    &["/usr/bin/dash -c cc -c x.c", "/usr/bin/make -j8", "/usr/bin/bash -l", "/usr/sbin/sshd -R"],
    &["/usr/bin/gcc -O2 -c x.c", "/usr/bin/dash -c cc", "/usr/bin/make -j8", "/usr/bin/bash -l"],
    &["/usr/libexec/gcc/cc1 -quiet x.c", "/usr/bin/gcc -O2", "/usr/bin/dash -c cc", "/usr/bin/make -j8"],
    &["/usr/bin/as -o x.o", "/usr/bin/gcc -O2", "/usr/bin/dash -c cc", "/usr/bin/make -j8"],
    &["/usr/bin/ld -o x", "/usr/bin/gcc -O2", "/usr/bin/dash -c cc", "/usr/bin/make -j8"],
    &["/usr/bin/python3 app.py", "/usr/lib/systemd/systemd"],
    &["/usr/lib/postgresql/15/bin/postgres -D /var/lib/postgresql", "/usr/lib/systemd/systemd"],
    &[
        "/usr/lib/postgresql/15/bin/postgres writer",
        "/usr/lib/postgresql/15/bin/postgres -D",
        "/usr/lib/systemd/systemd",
    ],
    &["/usr/sbin/cron -f", "/usr/lib/systemd/systemd"],
    &["/usr/bin/dash -c /usr/local/bin/job", "/usr/sbin/cron -f", "/usr/lib/systemd/systemd"],
    &["/usr/bin/find /srv -name *.log", "/usr/bin/dash -c job", "/usr/sbin/cron -f", "/usr/lib/systemd/systemd"],
    &["/usr/bin/grep -r pattern /srv", "/usr/bin/bash -l", "/usr/sbin/sshd -R", "/usr/lib/systemd/systemd"],
    &["/usr/bin/git status", "/usr/bin/bash -l", "/usr/sbin/sshd -R", "/usr/lib/systemd/systemd"],
    &["/usr/bin/java -jar app.jar", "/usr/lib/systemd/systemd"],
    &["/usr/bin/redis-server *:6379", "/usr/lib/systemd/systemd"],
    &["/usr/bin/containerd", "/usr/lib/systemd/systemd"],
    &["/usr/bin/node server.js", "/usr/bin/containerd-shim-runc-v2 -id x", "/usr/lib/systemd/systemd"],
];

const READ: [&str; 12] = [
    "/usr/lib/x86_64-linux-gnu/libc.so.6",
    "/etc/ld.so.cache",
    "/usr/include/linux/types.h",
    "/usr/include/x86_64-linux-gnu/bits/types/struct_timespec.h",
    "/srv/www/htdocs/index.html",
    "/proc/self/status",
    "/home/alice/src/project/src/main.c",
    "/var/lib/postgresql/15/main/base/5/2619",
    "/sys/fs/cgroup/system.slice/memory.current",
    "/usr/lib/python3/dist-packages/yaml/__init__.py",
    "/etc/passwd",
    "/dev/null",
];
const WRITTEN: [&str; 4] =
    ["/tmp/cc7Zk3Qa.s", "/home/alice/src/project/build/main.o", "/var/log/nginx/access.log", "/dev/null"];

fn process(pid: i32, line: &str) -> Process {
    let argv: Vec<&str> = line.split(' ').collect();
    Process::new(pid, argv[0], &argv)
}

fn open(path: &str, flags: i32) -> EventSpec {
    let spec = EventSpec::new("openat").arg(0, -100).text("name", path).number("flags", flags as u64);
    spec.fd("fd", 7, Fd::file(path))
}

fn connect(local: &str, remote: &str) -> EventSpec {
    let address = |text: &str| text.parse().expect("an address");
    let socket = Fd::Socket { local: Some(address(local)), remote: Some(address(remote)), kind: 1, role: 0 };
    EventSpec::new("connect").ret(0).fd("fd", 9, socket).address("addr", address(remote))
}

/// The specification of the event at a place of the load.
fn event(at: usize) -> EventSpec {
    // The first 99 of 100 are the same in every hundred but for their paths and tasks.
    let turn = at / 100;
    match at % 100 {
        0..58 => open(READ[(at + turn) % READ.len()], libc::O_RDONLY | libc::O_CLOEXEC),
        58..70 => open(WRITTEN[(at + turn) % WRITTEN.len()], libc::O_WRONLY | libc::O_CREAT),
        70..76 => EventSpec::new("openat").ret(-2).arg(0, -100).text("name", "/usr/local/lib/libc.so.6"),
        76..82 => connect("10.0.0.5:40022", "10.0.0.9:5432"),
        82..84 => connect("192.0.2.10:51000", "203.0.113.7:443"),
        84..88 => EventSpec::new("execve").tracepoint(),
        88..92 => EventSpec::new("unlinkat").arg(0, -100).text("name", "/tmp/cc7Zk3Qa.s"),
        92..95 => EventSpec::new("dup2").fd("res", 1, Fd::anonymous("pipe:[4711]")),
        95..98 => EventSpec::new("renameat2").text("oldpath", "/tmp/a").text("newpath", "/srv/a"),
        98 if turn.is_multiple_of(100) => EventSpec::new("ptrace").ret(0),
        98 => EventSpec::new("openat").ret(-13).arg(0, -100).text("name", "/root/secret"),
        _ if turn.is_multiple_of(100) => open("/etc/shadow", libc::O_RDONLY),
        _ => open("/srv/data/table", libc::O_RDWR),
    }
}

impl Load {
    /// So many events.
    pub fn mixed(count: usize) -> Load {
        let mut last_exec = 0;
        let mut tasks = Vec::new();
        for (slot, lines) in (0u16..).zip(PROGRAMS) {
            let pid = 1000 + i32::from(slot) * 10;
            let mut task = Task::new(process(pid, lines[0])).cwd("/srv");
            for (level, line) in (1..).zip(&lines[1..]) {
                task = task.parent(process(pid - level, line));
            }
            if lines.iter().any(|line| line.contains("shim")) {
                task = task.cgroup(&format!("/docker/{}", "a1".repeat(32)));
            }
            task.head.tty = u32::from(lines.iter().any(|line| line.contains("bash"))) * 34816;
            tasks.extend(task.records(slot, 1, &mut last_exec));
        }
        let events = (0..count)
            .map(|at| event(at).record((at * 7 % PROGRAMS.len()) as u16, 1, 1_000_000_000 + at as u64 * 2_000))
            .collect();
        Load { tasks, events }
    }

    /// The tasks as a loop keeps them, and a host without users.
    pub fn world(&self) -> World {
        let mut world = World::new();
        (world.host.users, world.host.clock) = (Users::none(), Clock::default());
        self.tasks.iter().for_each(|record| world.send(record));
        world
    }

    /// The events as a loop sees them.
    pub fn views<'r>(&'r self, world: &'r World) -> impl Iterator<Item = LiveEvent<'r>> {
        let decoded = self.events.iter().map(|record| record::decode(record.bytes()));
        let events = decoded.filter_map(|r| if let Ok(Record::Event(event)) = r { Some(event) } else { None });
        (1..).zip(events).map(|(number, event)| LiveEvent::of_ring(event, &world.tasks, &world.host, number, 0))
    }

    pub fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.tasks.iter().chain(&self.events).map(RecordBuf::bytes)
    }
}
