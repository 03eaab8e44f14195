//! Live events of every type, for the tests that compare sources.

use falco_sensor::driver::abi;
use falco_sensor::event::synthetic::{EventSpec, Fd};
use falco_sensor::event::types::{Age, EVENTS, EventCode, Origin};

/// One event of each type that a live source has, and some with more to say.
pub fn specs() -> Vec<EventSpec> {
    let of_call = |code: &u16| {
        let info = EventCode(*code).info();
        info.age == Age::Current && info.origin == Origin::Syscall && !EventCode(*code).is_enter() && *code > 1
    };
    let mut names: Vec<&str> =
        (0..EVENTS.len() as u16).filter(of_call).map(|code| EventCode(code).info().name).collect();
    names.dedup();
    let mut specs: Vec<EventSpec> = names.iter().map(|name| EventSpec::new(name)).collect();
    specs.extend(names.iter().map(|name| EventSpec::new(name).ret(-2)));
    let socket = |local: &str, remote: &str, kind, role| Fd::Socket {
        local: Some(local.parse().expect("an address")),
        remote: Some(remote.parse().expect("an address")),
        kind,
        role,
    };
    let client = socket("198.51.100.7:51332", "203.0.113.9:443", libc::SOCK_STREAM, abi::FSN_ROLE_CLIENT);
    let six = socket("[2001:db8::7]:1024", "[2001:db8::1]:53", libc::SOCK_DGRAM, abi::FSN_ROLE_CLIENT);
    let error = (libc::ENOENT as u32).to_ne_bytes();
    specs.extend([
        EventSpec::new("getpid"),
        EventSpec::new("execve").tracepoint(),
        EventSpec::new("clone").ret(4_000_001).arg(0, 0x11),
        EventSpec::new("openat")
            .fd("fd", 3, Fd::file("/etc/shadow"))
            .arg(0, -100)
            .text("name", "../etc/shadow")
            .arg(2, 0o102),
        EventSpec::new("connect")
            .fd("fd", 3, client.clone())
            .address("addr", "203.0.113.9:443".parse().expect("address")),
        EventSpec::new("sendto").ret(5).fd("fd", 4, six).bytes("data", b"hello"),
        EventSpec::new("accept4").ret(6).fd("fd", 6, client),
        EventSpec::new("read").ret(4).fd("fd", 3, Fd::file("/tmp/x")).bytes("data", b"a\0b\xff"),
        EventSpec::new("poll").ret(1).bytes("fds", &[3, 0, 0, 0, 1, 0, 1, 0, 4, 0, 0, 0, 4, 0, 4, 0]),
        EventSpec::new("setsockopt")
            .arg(1, i64::from(libc::SOL_SOCKET))
            .arg(2, i64::from(libc::SO_ERROR))
            .bytes("val", &error),
        EventSpec::new("setsockopt")
            .arg(1, i64::from(libc::SOL_SOCKET))
            .arg(2, i64::from(libc::SO_KEEPALIVE))
            .bytes("val", &error),
        EventSpec::new("setsockopt").arg(1, 6).arg(2, 13).bytes("val", b"reno"),
        EventSpec::new("ptrace").arg(0, 7).number("data", 11),
        EventSpec::new("renameat2").arg(0, -100).text("oldpath", "/a").arg(2, -100).text("newpath", "b").arg(4, 1),
    ]);
    specs
}
