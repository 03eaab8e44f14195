//! The path of an event does not touch the heap: decoding, looking up the task, extracting fields.

use bumpalo::Bump;
use falco_sensor::driver::abi;
use falco_sensor::event::fields::{self, FIELDS};
use falco_sensor::event::synthetic::{EventSpec, Fd, Process, Task, World};
use falco_sensor::event::value::{ArgKind, Extract, FieldArg, FieldId, FieldUse};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

struct Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);

// SAFETY: hands everything to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Fields that are read from /proc when asked for.
fn is_from_proc(name: &str) -> bool {
    name.starts_with("proc.std")
        || name.starts_with("proc.vm")
        || name.starts_with("thread.vm")
        || name.starts_with("thread.pf")
        || ["proc.fdopencount", "proc.fdusage", "proc.nthreads", "proc.nchilds", "fd.types", "fdlist.names"]
            .contains(&name)
}

#[test]
fn extracting_every_field_allocates_nothing() {
    let mut world = World::new();
    let child = Process::new(152, "/usr/bin/cat", &["cat", "/etc/shadow"]).env(&["A=b"]);
    world.task(&Task::new(child).parent(Process::new(1, "/sbin/init", &["init"])).cwd("/root"));
    let socket = Fd::Socket {
        local: Some("198.51.100.7:51332".parse().expect("address")),
        remote: Some("203.0.113.9:443".parse().expect("address")),
        kind: libc::SOCK_STREAM,
        role: abi::FSN_ROLE_CLIENT,
    };
    let specs = [
        EventSpec::new("openat").fd("fd", 3, Fd::file("/etc/shadow")).arg(0, -100).text("name", "../etc/shadow"),
        EventSpec::new("execve").tracepoint(),
        EventSpec::new("connect").fd("fd", 3, socket).address("addr", "203.0.113.9:443".parse().expect("address")),
        EventSpec::new("unlinkat").fd("dirfd", 3, Fd::directory("/tmp")).text("name", "a"),
        EventSpec::new("getpid"),
    ];
    let records: Vec<_> = specs.iter().map(|spec| world.event(spec)).collect();
    let uses: Vec<FieldUse> = FIELDS
        .iter()
        .zip(0..)
        .filter(|(def, _)| !is_from_proc(def.name))
        .map(|(def, id)| {
            let arg = match def.arg {
                ArgKind::RequiredEither | ArgKind::RequiredKey => FieldArg::Key("flags".into()),
                ArgKind::RequiredIndex => FieldArg::Index(1),
                _ => FieldArg::None,
            };
            FieldUse { id: FieldId(id), arg }
        })
        .collect();
    let mut arena = Bump::with_capacity(1 << 20);
    // The first round builds the tables that are made at first use.
    for round in 0..3 {
        let before = COUNT.load(Ordering::Relaxed);
        for record in &records {
            let event = world.view(record);
            for field in &uses {
                let start = COUNT.load(Ordering::Relaxed);
                let found = event.extract(field, &arena).is_some();
                let made = COUNT.load(Ordering::Relaxed) - start;
                assert!(round == 0 || made == 0, "{} ({found}) allocates {made} times", fields::def(field.id).name);
            }
            event.paths_differ(&arena);
        }
        arena.reset();
        assert!(round == 0 || COUNT.load(Ordering::Relaxed) == before);
    }
}
