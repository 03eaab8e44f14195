//! Events that match no rule cost no allocation: counted, with the loop's own handler and records made by hand.

use falco_sensor::driver::abi::{
    self, fsn_att, fsn_consumer, fsn_event, fsn_exec, fsn_fd, fsn_producer, fsn_record, fsn_relative, fsn_task,
};
use falco_sensor::driver::ring::{Memory, Ring};
use falco_sensor::driver::table;
use falco_sensor::enrich::users::Users;
use falco_sensor::event::clock::Clock;
use falco_sensor::event::live::Host;
use falco_sensor::output::queue;
use falco_sensor::rules::Loader;
use falco_sensor::sensor::cpu_loop::Handler;
use falco_sensor::sensor::watch::{Shared, Watch};
use falco_sensor::sensor::{config, plan};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The system's allocator, counting what the current thread asks of it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: forwards to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const SIZE: usize = 1 << 20;

/// A ring in ordinary memory.
struct Plain {
    consumer: Box<fsn_consumer>,
    producer: Box<fsn_producer>,
    data: Vec<u64>,
}

// SAFETY: the vector is twice SIZE long and aligned to 8; the boxes and the vector's buffer never move, and
// nothing writes to the data while records are borrowed.
unsafe impl Memory for Plain {
    fn consumer(&self) -> NonNull<fsn_consumer> {
        NonNull::from(&*self.consumer)
    }
    fn producer(&self) -> NonNull<fsn_producer> {
        NonNull::from(&*self.producer)
    }
    fn data(&self) -> NonNull<u8> {
        NonNull::from(&self.data[0]).cast()
    }
    fn size(&self) -> u32 {
        SIZE as u32
    }
}

/// A ring that holds `records`.
fn ring(records: &[Vec<u8>]) -> Ring<Plain> {
    let bytes: Vec<u8> = records.concat();
    assert!(bytes.len() < SIZE);
    let mut data = vec![0u64; 2 * SIZE / 8];
    for (word, eight) in data.iter_mut().zip(bytes.chunks(8)) {
        *word = u64::from_ne_bytes(eight.try_into().expect("records are multiples of 8"));
    }
    let producer = fsn_producer { head: bytes.len() as u64, ..fsn_producer::default() };
    Ring::new(Plain { consumer: Box::default(), producer: Box::new(producer), data })
}

fn bytes_of<T: abi::Plain>(value: &T) -> &[u8] {
    // SAFETY: Plain has no padding that matters; the slice is as long as the value.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// A whole record: its struct, whose header is filled in, and what follows.
fn record(kind: u32, slot: u16, body: &[u8], rest: &[u8]) -> Vec<u8> {
    let len = (body.len() + rest.len()).next_multiple_of(8);
    let header = fsn_record { len: len as u32, type_: kind as u16, slot, time: 1_000_000 };
    let mut bytes = bytes_of(&header).to_vec();
    bytes.extend(&body[size_of::<fsn_record>()..]);
    bytes.extend(rest);
    bytes.resize(len, 0);
    bytes
}

fn name(text: &str) -> [std::ffi::c_char; 16] {
    let mut array = [0; 16];
    for (to, from) in array.iter_mut().zip(text.bytes()) {
        *to = from as std::ffi::c_char;
    }
    array
}

fn exec(id: u64, exe: &str, args: &[u8]) -> Vec<u8> {
    let head = fsn_exec {
        id,
        exe_len: exe.len() as u16,
        args_len: args.len() as u16,
        comm: name(exe.rsplit('/').next().unwrap_or(exe)),
        ..fsn_exec::default()
    };
    record(abi::FSN_REC_EXEC, abi::FSN_SLOT_NONE as u16, bytes_of(&head), &[exe.as_bytes(), args].concat())
}

fn task(slot: u16, comm: &str) -> Vec<u8> {
    task_of(slot, comm, 1)
}

fn task_of(slot: u16, comm: &str, generation: u32) -> Vec<u8> {
    task_in(slot, comm, generation, 0, "")
}

/// A task of this user and group, in these control groups.
fn task_in(slot: u16, comm: &str, generation: u32, id: u32, cgroups: &str) -> Vec<u8> {
    let head = fsn_task {
        euid: id,
        egid: id,
        cgroups_len: cgroups.len() as u16,
        gen_: generation,
        exec_id: 1,
        tid: 42,
        pid: 42,
        ppid: 1,
        comm: name(comm),
        nrelatives: 1,
        cwd_len: 4,
        ..fsn_task::default()
    };
    let parent =
        fsn_relative { exec_id: 2, pid: 1, flags: abi::FSN_REL_PARENT, comm: name("init"), ..Default::default() };
    record(abi::FSN_REC_TASK, slot, bytes_of(&head), &[bytes_of(&parent), b"/tmp", cgroups.as_bytes()].concat())
}

/// `openat(AT_FDCWD, path)`, whose descriptor the kernel calls `opened`.
fn openat(path: &str, opened: &str) -> Vec<u8> {
    let call = table::syscalls().iter().find(|s| table::syscall_name(s) == "openat").expect("in the table");
    let event = table::event(call.event).expect("in the table");
    let param =
        |name: &str| table::params(event).iter().position(|p| table::param_name(p) == name).expect("it has one");
    let mut atts = Vec::new();
    let mut attach = |kind: u32, name: &str, content: &[u8]| {
        let head = fsn_att { kind: kind as u8, param: param(name) as u8, flags: 0, len: content.len() as u32 };
        atts.extend(bytes_of(&head));
        atts.extend(content);
        atts.resize(atts.len().next_multiple_of(8), 0);
    };
    let fd = fsn_fd { fd: 3, mode: 0o100_644, name_len: opened.len() as u32, nlink: 1, ..fsn_fd::default() };
    attach(abi::FSN_ATT_FD, "fd", &[bytes_of(&fd), opened.as_bytes()].concat());
    attach(abi::FSN_ATT_STR, "name", path.as_bytes());
    let head = fsn_event {
        gen_: 1,
        code: call.event,
        sc: call.sc,
        ret: 3,
        args: [libc::AT_FDCWD as u32 as u64, 0, 0, 0, 0, 0],
        natts: 2,
        ..fsn_event::default()
    };
    record(abi::FSN_REC_EVENT, 7, bytes_of(&head), &atts)
}

const RULES: &str = r#"
- list: shells
  items: [sh, bash]
- macro: opens
  condition: evt.type in (open, openat, openat2) and fd.typechar = 'f'
- rule: shadow
  desc: d
  condition: opens and fd.name = /etc/shadow
  output: "%fd.name %proc.name %proc.pname"
  priority: NOTICE
- rule: below
  desc: d
  condition: opens and (fd.name startswith /etc/pam.d or fd.directory = /root or fd.name glob '/home/*/.ssh/*')
  output: "%fd.name"
  priority: NOTICE
- rule: lineage
  desc: d
  condition: opens and proc.aname in (shells) and proc.cmdline contains secret and user.name = root
  output: "%proc.cmdline"
  priority: NOTICE
- rule: regex
  desc: d
  condition: opens and fd.name regex '.*[.](key|pem)' and not proc.pname in (shells)
  output: "%fd.name"
  priority: NOTICE
- rule: gone
  desc: d
  condition: evt.type = unlinkat and proc.name = nobody
  output: "%fd.name"
  priority: NOTICE
- rule: own user
  desc: d
  condition: evt.type = unlinkat and user.name = app and group.name = web
  output: "%user.name %group.name"
  priority: NOTICE
"#;

fn watch() -> (Watch, queue::Queue, Arc<Shared>) {
    let users = Users::from_texts(b"root:x:0:0::/root:/bin/sh\n", b"");
    watch_on(Host::new(users, Clock::default(), "host", 0))
}

fn watch_on(host: Host) -> (Watch, queue::Queue, Arc<Shared>) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("c.yaml");
    std::fs::write(&file, "append_output: [{suggested_output: true}]").expect("writable");
    let config = config::load(&file, &[]).expect("valid").config;
    let environment = plan::environment(&config, None);
    let mut loader = Loader::new(&environment);
    let result = loader.load("rules", RULES.to_owned());
    assert!(result.successful(), "{}", result.text(true));
    let style = plan::style(&config, "host".into());
    let plan = plan::plan(&config, loader.loaded(), &style).expect("compiles");
    let counters = plan.labels.iter().map(|_| Arc::default()).collect();
    let shared = Arc::new(Shared {
        plan,
        path_views: true,
        match_all: false,
        pushdown: true,
        clock: Default::default(),
        counters,
        timed: true,
    });
    let (sender, queue) = queue::bounded(100);
    (Watch::new(shared.clone(), host, style, sender), queue, shared)
}

fn feed(watch: &mut Watch, records: &[Vec<u8>]) -> u64 {
    let mut ring = ring(records);
    let before = ALLOCATIONS.get();
    while let Some(record) = ring.next_record().expect("sound") {
        watch.record(record);
    }
    ALLOCATIONS.get() - before
}

fn known_tasks() -> Vec<Vec<u8>> {
    vec![exec(1, "/usr/bin/cat", b"cat\0/etc/hosts\0"), exec(2, "/sbin/init", b"/sbin/init\0"), task(7, "cat")]
}

#[test]
fn events_without_a_match_allocate_nothing() {
    let (mut watch, _queue, shared) = watch();
    feed(&mut watch, &known_tasks());
    let same = openat("/usr/lib/libc.so.6", "/usr/lib/libc.so.6");
    let relative = openat("../var/log/x", "/var/log/x");
    let link = openat("/lib/x.so", "/usr/lib/x.so.1");
    let events: Vec<Vec<u8>> = [same, relative, link].iter().cycle().take(3000).cloned().collect();
    feed(&mut watch, &events);
    assert_eq!(feed(&mut watch, &events), 0, "allocations in 3000 events");
    // A task that is sent again, as after a chdir, is filled in place.
    feed(&mut watch, &known_tasks()[2..]);
    assert_eq!(feed(&mut watch, &known_tasks()[2..]), 0, "allocations for a task record");
    assert_eq!(watch.seen().events, 6000);
    assert_eq!(watch.seen().without_task, 0);
    assert!(shared.counters.iter().all(|count| count.alerts.load(Ordering::Relaxed) == 0));
    // The counter counts: an alert is a line of its own.
    assert_ne!(feed(&mut watch, &[openat("/etc/shadow", "/etc/shadow")]), 0);
}

/// An event that differs in one bit from one that was met, whichever it is, is not passed over; nor is one that contradicts its lengths.
#[test]
fn only_what_says_the_same_is_passed_over() {
    let (mut watch, _queue, _) = watch();
    feed(&mut watch, &known_tasks());
    let event = openat("/usr/lib/libc.so.6", "/usr/lib/libc.so.6");
    let met = |watch: &mut Watch, event: &[u8]| {
        let before = watch.seen();
        feed(watch, &[event.to_vec()]);
        let now = watch.seen();
        assert_eq!(now.events + now.broken, before.events + before.broken + 1);
        now.met - before.met
    };
    assert_eq!([1, 2, 3, 4].map(|_| met(&mut watch, &event)), [0, 0, 1, 1]);
    let (slot, time, generation, args) = (6..8, 8..16, 16..20, 32..80);
    // Behind its length.
    for bit in u32::BITS as usize..event.len() * 8 {
        let at = bit / 8;
        let mut other = event.clone();
        other[at] ^= 1 << (bit % 8);
        if (4..6).contains(&at) || slot.contains(&at) || generation.contains(&at) || args.contains(&at) {
            // Another kind of record, another task; registers are told apart by type: tests/said.rs.
            continue;
        }
        let known = met(&mut watch, &other);
        assert_eq!(known, u64::from(time.contains(&at)), "bit {bit}");
    }
    assert!(watch.seen().broken > 0, "lengths were among them");
    assert_eq!(met(&mut watch, &event), 1);
}

#[test]
fn rules_are_timed_now_and_then_and_that_allocates_nothing() {
    let (mut watch, _queue, shared) = watch();
    feed(&mut watch, &known_tasks());
    // Different ones: what was met before is not evaluated.
    let paths = (0..3000).map(|number| format!("/usr/lib/lib{number}.so"));
    let events: Vec<Vec<u8>> = paths.map(|path| openat(&path, &path)).collect();
    feed(&mut watch, &events);
    let time = || shared.counters[0].nanoseconds.load(Ordering::Relaxed);
    let before = time();
    assert_ne!(before, 0);
    feed(&mut watch, &events[..2000]);
    assert_eq!(feed(&mut watch, &events), 0, "allocations in 3000 events");
    assert!(time() > before);
}

#[test]
fn a_rule_fires_once_for_either_path() {
    let (mut watch, queue, shared) = watch();
    feed(&mut watch, &known_tasks());
    let cases = [
        (openat("/etc/shadow", "/etc/shadow"), Some("/etc/shadow cat init container_id=host")),
        (openat("/tmp/link", "/etc/shadow"), Some("/tmp/link cat init container_id=host")),
        (openat("/etc/shadow", "/tmp/decoy"), Some("/etc/shadow cat init container_id=host")),
        (openat("shadow", "/tmp/shadow"), None),
        (openat("/tmp/k.pem", "/root/k"), Some("/tmp/k.pem")),
    ];
    let mut fired = 0;
    for (event, expected) in cases {
        feed(&mut watch, &[event]);
        let got = queue.next(Duration::ZERO, false).ok();
        match (expected, &got) {
            (None, None) => {}
            (Some(expected), Some(queue::Message::Alert { line, .. })) => {
                let line = String::from_utf8_lossy(line);
                assert!(line.contains(expected), "{line} lacks {expected}");
                fired += 1;
            }
            _ => panic!("{expected:?}, got {got:?}"),
        }
        assert!(queue.next(Duration::ZERO, false).is_err(), "only once");
    }
    let counts: Vec<u64> = shared.counters.iter().map(|count| count.alerts.load(Ordering::Relaxed)).collect();
    // The last case holds for `below` by the opened path and for `regex` by the given one: the first rule fires.
    assert_eq!((fired, counts), (4, vec![3, 1, 0, 0, 0, 0]));
}

#[test]
fn the_module_is_told_once_what_a_task_cannot_match() {
    use falco_sensor::sensor::cpu_loop::Wanted;
    let (mut watch, _queue, shared) = watch();
    let program = &shared.plan.program;
    feed(&mut watch, &known_tasks());
    feed(&mut watch, &[openat("/etc/hosts", "/etc/hosts")]);
    assert_eq!(watch.interest(), None, "rules are live for what is opened");
    let unlink = falco_sensor::event::synthetic::EventSpec::new("unlinkat").ret(0);
    let unlink = unlink.record(7, 1, 1_000_000).bytes().to_vec();
    let code_of = |name: &str| table::syscalls().iter().find(|s| table::syscall_name(s) == name).expect("known").event;
    let class = |name: &str| program.class_of(code_of(name));
    feed(&mut watch, std::slice::from_ref(&unlink));
    let Some(Wanted { slot: 7, generation: 1, mask }) = watch.interest() else { panic!("nothing was told") };
    assert_eq!(mask >> class("unlinkat") & 1, 0);
    assert_eq!(mask >> class("openat") & 1, 1);
    assert_eq!(mask & 1, 1, "what no rule listens to was asked for by somebody else");
    let classes = &shared.plan.driver.class;
    let unlinkat = table::syscalls().iter().find(|s| table::syscall_name(s) == "unlinkat").expect("known");
    assert_eq!(classes[usize::from(unlinkat.sc)], class("unlinkat"), "the module maps calls to the same classes");
    feed(&mut watch, std::slice::from_ref(&unlink));
    assert_eq!(watch.interest(), None, "once");
    // The task is another now.
    let other = task_of(7, "cat", 2);
    feed(&mut watch, &[known_tasks(), vec![other]].concat());
    let unlink = falco_sensor::event::synthetic::EventSpec::new("unlinkat").ret(0);
    let unlink = unlink.record(7, 2, 1_000_000).bytes().to_vec();
    feed(&mut watch, &[unlink]);
    assert!(watch.interest().is_some_and(|wanted| wanted.generation == 2));
}

#[test]
fn names_of_a_container_come_late_and_are_asked_for_again() {
    use falco_sensor::enrich::own_users::Reader;
    let machine = tempfile::tempdir().expect("temporary folder");
    let process = machine.path().join("proc/42");
    std::fs::create_dir_all(process.join("root/etc")).expect("made");
    let group = format!("/docker/{}", "0123456789abcdef".repeat(4));
    std::fs::write(process.join("cgroup"), format!("0::{group}\n")).expect("written");
    std::fs::write(process.join("root/etc/passwd"), "app:x:999:999::/:/bin/sh\n").expect("written");
    std::fs::write(process.join("root/etc/group"), "web:x:999:\n").expect("written");
    let users = Users::from_texts(b"host:x:999:999::/:/bin/sh\n", b"host:x:999:\n");
    let reader = Reader::start(machine.path()).expect("started");
    let (mut watch, _queue, shared) = watch_on(Host::new(users, Clock::default(), "host", 0).with_own_users(reader));
    let mut tasks = known_tasks();
    tasks[2] = task_in(7, "cat", 1, 999, &format!("={group}\0"));
    let unlink = falco_sensor::event::synthetic::EventSpec::new("unlinkat").ret(0);
    let unlink = unlink.record(7, 1, 1_000_000).bytes().to_vec();
    feed(&mut watch, &tasks);
    feed(&mut watch, std::slice::from_ref(&unlink));
    assert!(watch.interest().is_some(), "no rule can match: the module need not send more");
    let end = std::time::Instant::now() + Duration::from_secs(20);
    watch.between();
    while !watch.forgets_interest() {
        assert!(std::time::Instant::now() < end, "the names never came");
        std::thread::sleep(Duration::from_millis(1));
        watch.woken();
    }
    feed(&mut watch, &[unlink]);
    assert_eq!(shared.counters[5].alerts.load(Ordering::Relaxed), 1);
}
