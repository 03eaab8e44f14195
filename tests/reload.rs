//! Rules are exchanged under load: the loop and the steps of the sensor, a ring in ordinary memory, and a module made by hand that
//! sends what the masks, classes and calls it was told of leave.

use falco_sensor::driver::abi::{FSN_CLASSES, FSN_SLOTS, fsn_config, fsn_consumer, fsn_producer};
use falco_sensor::driver::ring::{Memory, Ring};
use falco_sensor::driver::table;
use falco_sensor::enrich::users::Users;
use falco_sensor::event::clock::Clock;
use falco_sensor::event::live::Host;
use falco_sensor::event::synthetic::{EventSpec, Process, Task};
use falco_sensor::output::channel::Channel;
use falco_sensor::output::queue::{self, Message};
use falco_sensor::output::threads::{Manner, Output};
use falco_sensor::rules::Loader;
use falco_sensor::sensor::cpu_loop::{CpuLoop, Remote};
use falco_sensor::sensor::reload::{Parties, capture_both, exchange};
use falco_sensor::sensor::tally::Tally;
use falco_sensor::sensor::watch::{Order, Replacement, Shared, Watch};
use falco_sensor::sensor::{config, plan};
use std::cell::UnsafeCell;
use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

const SIZE: usize = 1 << 20;

/// A ring in ordinary memory; the socket is what its reader polls.
struct Plain {
    consumer: Box<UnsafeCell<fsn_consumer>>,
    producer: Box<UnsafeCell<fsn_producer>>,
    data: Box<[UnsafeCell<u64>]>,
    wake: (UnixDatagram, UnixDatagram),
}

// SAFETY: shared words are read and written as atomics; data between tail and head is not written, and what lies elsewhere is
// touched by the producer alone.
unsafe impl Sync for Plain {}

// SAFETY: boxes do not move; data is twice SIZE long and aligned to 8.
unsafe impl Memory for Plain {
    fn consumer(&self) -> NonNull<fsn_consumer> {
        NonNull::new(self.consumer.get()).expect("a box")
    }
    fn producer(&self) -> NonNull<fsn_producer> {
        NonNull::new(self.producer.get()).expect("a box")
    }
    fn data(&self) -> NonNull<u8> {
        NonNull::new(self.data.as_ptr() as *mut u8).expect("a box")
    }
    fn size(&self) -> u32 {
        SIZE as u32
    }
}

impl AsRawFd for Plain {
    fn as_raw_fd(&self) -> RawFd {
        self.wake.0.as_raw_fd()
    }
}

/// What a module does, on one CPU.
struct Module {
    memory: Arc<Plain>,
    /// Events are probes, and a change of what is captured waits for the one that runs.
    config: Mutex<fsn_config>,
}

impl Module {
    fn new(config: fsn_config) -> Module {
        let wake = UnixDatagram::pair().expect("sockets");
        wake.1.set_nonblocking(true).expect("can be set");
        wake.0.set_nonblocking(true).expect("can be set");
        let data = (0..2 * SIZE / 8).map(|_| UnsafeCell::new(0)).collect();
        let memory = Plain { consumer: Box::default(), producer: Box::default(), data, wake };
        Module { memory: Arc::new(memory), config: Mutex::new(config) }
    }

    /// SAFETY: the words live as long as the memory and are only used as atomics.
    fn words(&self) -> (&AtomicU64, &AtomicU64, &AtomicU32) {
        let (consumer, producer) = (self.memory.consumer().as_ptr(), self.memory.producer().as_ptr());
        // SAFETY: as above.
        unsafe {
            let head = AtomicU64::from_ptr(&raw mut (*producer).head);
            let tail = AtomicU64::from_ptr(&raw mut (*consumer).tail);
            (head, tail, AtomicU32::from_ptr(&raw mut (*consumer).sleeping))
        }
    }

    fn masked(&self, slot: u16, generation: u32, class: u8) -> bool {
        assert!(u32::from(slot) < FSN_SLOTS);
        let consumer = self.memory.consumer().as_ptr();
        // SAFETY: as `words`; the slot is one.
        let (gen_word, mask) = unsafe {
            let entry = &raw mut (*consumer).interest[usize::from(slot)];
            (AtomicU32::from_ptr(&raw mut (*entry).gen_), AtomicU64::from_ptr(&raw mut (*entry).mask))
        };
        gen_word.load(Ordering::Acquire) == generation
            && mask.load(Ordering::Relaxed) >> (u32::from(class) & (FSN_CLASSES - 1)) & 1 == 0
    }

    fn send(&self, bytes: &[u8]) {
        let (head, tail, sleeping) = self.words();
        let at = head.load(Ordering::Relaxed);
        while at + bytes.len() as u64 - tail.load(Ordering::Acquire) > SIZE as u64 {
            thread::yield_now();
        }
        // SAFETY: behind head and not before tail, so the reader does not look there; the second half takes what runs over.
        unsafe {
            let to = self.memory.data().as_ptr().add(at as usize & (SIZE - 1));
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
        head.store(at + bytes.len() as u64, Ordering::Release);
        fence(Ordering::SeqCst);
        if sleeping.swap(0, Ordering::Relaxed) == 1 {
            let _ = self.memory.wake.1.send(b"x");
        }
    }

    /// A call of a task: whether it was sent.
    fn call(&self, name: &str, slot: u16, path: &str) -> bool {
        let call = table::syscalls().iter().find(|s| table::syscall_name(s) == name).expect("in the table");
        let config = self.config.lock().expect("not poisoned");
        let sc = usize::from(call.sc);
        if config.wanted[sc / 64] >> (sc % 64) & 1 == 0 || self.masked(slot, 1, config.class[sc]) {
            return false;
        }
        let parameter = match name {
            "mkdirat" => "path",
            "renameat2" => "oldpath",
            _ => "name",
        };
        let spec = EventSpec::new(name).ret(0).text(parameter, path);
        self.send(spec.record(slot, 1, 1_000_000).bytes());
        true
    }
}

/// The module and its one loop.
struct Host1<'m> {
    module: &'m Module,
    remote: Remote<Order>,
    refuse: AtomicBool,
}

impl Parties for Host1<'_> {
    fn configure(&self, config: &fsn_config) -> Result<(), String> {
        if self.refuse.swap(false, Ordering::Relaxed) {
            return Err("no memory".to_owned());
        }
        *self.module.config.lock().expect("not poisoned") = *config;
        Ok(())
    }

    fn tell(&self, order: &dyn Fn() -> Order) {
        let (obeyed, all) = mpsc::channel();
        self.remote.tell(order(), obeyed);
        let _ = all.recv();
    }
}

/// In all sets. What the others add changes which calls there are, which class each is in, and what the task can match.
const TRIGGER: &str = "
- rule: trigger
  desc: d
  condition: evt.type = mkdirat and proc.name = maker and evt.arg.path startswith /marks/
  output: \"%evt.arg.path by %proc.name\"
  priority: NOTICE
";
const OTHERS: [&str; 4] = [
    "",
    "
- rule: unlinked
  desc: d
  condition: evt.type = unlinkat and proc.name = nobody
  output: x
  priority: NOTICE
",
    "
- rule: unlinked
  desc: d
  condition: evt.type = unlinkat and proc.name = maker
  output: \"%evt.arg.name by %proc.name\"
  priority: NOTICE
",
    "
- rule: opened
  desc: d
  condition: evt.type in (open, openat, openat2) and proc.name = nobody
  output: x
  priority: NOTICE
- rule: renamed
  desc: d
  condition: evt.type in (rename, renameat, renameat2, linkat) and proc.name = nobody
  output: x
  priority: NOTICE
- rule: unlinked
  desc: d
  condition: evt.type = unlinkat and proc.name = other
  output: x
  priority: NOTICE
",
];

fn shared(others: &str, config: &str, tally: &mut Tally) -> Arc<Shared> {
    let config = config::read(config, Path::new("none")).expect("valid").config;
    let environment = plan::environment(&config, None);
    let mut loader = Loader::new(&environment);
    // First in the file, so that the trigger's index and class change as well.
    let result = loader.load("rules", format!("{others}{TRIGGER}"));
    assert!(result.successful(), "{}", result.text(true));
    let style = plan::style(&config, "host".into());
    let plan = plan::plan(&config, loader.loaded(), &style).expect("compiles");
    let counters = tally.counters(&plan);
    Arc::new(Shared {
        plan,
        path_views: true,
        match_all: false,
        pushdown: true,
        clock: Default::default(),
        counters,
        timed: false,
    })
}

/// What the load may know of the reloads.
struct Now {
    ended: AtomicBool,
    /// The number of reloads, and the set in the lowest three bits; [`CHANGING`] while there is one.
    state: AtomicU64,
}

const CHANGING: u64 = u64::MAX;

/// A sensor of one loop, and what its alerts said at the end.
fn under_load(reloads: u64, load: impl FnOnce(&Module, &Now) + Send) -> (BTreeMap<String, u32>, Tally) {
    let config = config::read("", Path::new("none")).expect("valid").config;
    let style = plan::style(&config, "host".into());
    let mut tally = Tally::default();
    let sets: Vec<Arc<Shared>> = OTHERS.iter().map(|others| shared(others, "", &mut tally)).collect();
    let module = Module::new(sets[0].plan.driver);
    let (sender, queue) = queue::bounded(1 << 20);
    let alerts = Mutex::new(BTreeMap::new());
    let (cpu_loop, remote) = CpuLoop::new(Ring::new(module.memory.clone())).expect("can be polled");
    let users = Users::from_texts(b"root:x:0:0::/root:/bin/sh\n", b"");
    let mut watch =
        Watch::new(sets[0].clone(), Host::new(users, Clock::default(), "host", 0), style.clone(), sender.clone());
    // Once, and never again: that its name is known after every reload shows that tasks are kept.
    let task = Task::new(Process::new(42, "/usr/bin/maker", &["maker"]));
    task.records(7, 1, &mut 0).iter().for_each(|record| module.send(record.bytes()));
    let now = Now { ended: AtomicBool::new(false), state: AtomicU64::new(0) };
    thread::scope(|scope| {
        let running = scope.spawn(move || {
            cpu_loop.run(&mut watch).expect("runs");
            watch.seen()
        });
        let alerts = &alerts;
        scope.spawn(move || {
            while let Ok(message) = queue.next(Duration::from_secs(3600), false) {
                let Message::Alert { line, .. } = message else { continue };
                let line = String::from_utf8_lossy(&line).into_owned();
                let mark = line.split(' ').find(|word| word.starts_with("/marks/")).expect("a mark").to_owned();
                assert!(line.contains(" by maker"), "{line}");
                *alerts.lock().expect("not poisoned").entry(mark).or_insert(0) += 1;
            }
        });
        let load = scope.spawn(|| load(&module, &now));
        let host = Host1 { module: &module, remote, refuse: AtomicBool::new(false) };
        let mut at = 0;
        for turn in 0..reloads {
            // Every set follows every other one.
            let next = (at + 1 + turn as usize / sets.len() % (sets.len() - 1)) % sets.len();
            now.state.store(CHANGING, Ordering::SeqCst);
            let (old, new) = (&sets[at].plan.driver, &sets[next].plan.driver);
            host.refuse.store(turn % 7 == 3, Ordering::Relaxed);
            if capture_both(&host, old, new).expect("the old one is taken").is_err() {
                assert_eq!(turn % 7, 3);
                now.state.store(turn << 3 | at as u64, Ordering::SeqCst);
                continue;
            }
            let replacement =
                || Replacement { shared: sets[next].clone(), style: style.clone(), sender: sender.clone(), tap: None };
            exchange(&host, new, &replacement).expect("taken");
            at = next;
            now.state.store(turn << 3 | at as u64, Ordering::SeqCst);
            if load.is_finished() {
                break;
            }
            thread::yield_now();
        }
        now.ended.store(true, Ordering::Relaxed);
        let loaded = load.join();
        host.remote.stop();
        let seen = running.join();
        // Before anything is said of them: the thread that takes the alerts would wait for ever.
        drop(sender);
        loaded.expect("no panic");
        let seen = seen.expect("no panic");
        assert_eq!((seen.without_task, seen.broken, seen.damaged), (0, 0, 0));
    });
    (alerts.into_inner().expect("not poisoned"), tally)
}

#[test]
fn no_event_is_lost_while_rules_are_exchanged() {
    let (triggers, others, sure) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let (alerts, tally) = under_load(400, |module, now| {
        while !now.ended.load(Ordering::Relaxed) {
            let number = triggers.fetch_add(1, Ordering::Relaxed);
            let sent = module.call("mkdirat", 7, &format!("/marks/{number}"));
            assert!(sent, "a mask or a class hid what all rules want");
            for name in ["openat", "renameat2"] {
                module.call(name, 7, "/other");
            }
            let before = now.state.load(Ordering::SeqCst);
            let sent = module.call("unlinkat", 7, &format!("/marks/{number}/other"));
            others.fetch_add(u64::from(sent), Ordering::Relaxed);
            if before == now.state.load(Ordering::SeqCst) && before != CHANGING && before & 7 == 2 {
                assert!(sent, "a mask of older rules hid what the present ones want");
                sure.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let (triggers, sure) = (triggers.into_inner(), sure.into_inner());
    assert!(triggers > 0 && sure > 0, "{triggers} {sure}");
    assert!(alerts.values().all(|count| *count == 1));
    let of_others = alerts.keys().filter(|mark| mark.ends_with("/other")).count() as u64;
    assert_eq!(alerts.len() as u64 - of_others, triggers);
    assert!((sure..=others.into_inner()).contains(&of_others), "{of_others} alerts, at least {sure} wanted");
    let count = |name: &str| tally.rules().iter().find(|rule| rule.name == name).map(|rule| rule.count());
    assert_eq!(count("trigger"), Some(triggers), "the counter goes on through all exchanges");
    assert_eq!(count("unlinked"), Some(of_others));
}

/// What was held back is told by the outputs of before the reload, and the next alert begins a window at those of after it.
#[test]
fn a_reload_closes_the_windows_of_limits() {
    let config = "alert_limits: {rules: [{rule: trigger, keys: [proc.name], window: 1h}]}";
    let patience = Duration::from_secs(60);
    let until = |what: &dyn Fn() -> bool| {
        let end = Instant::now() + patience;
        while !what() {
            assert!(Instant::now() < end, "waited too long");
            thread::sleep(Duration::from_millis(1));
        }
    };
    let mut tally = Tally::default();
    let [before, after] = [OTHERS[0], OTHERS[1]].map(|others| shared(others, config, &mut tally));
    let style = plan::style(&config::read("", Path::new("none")).expect("valid").config, "host".into());
    let folder = tempfile::tempdir().expect("a folder");
    let files = ["before", "after"].map(|name| folder.path().join(name));
    let output = |queue, file: &Path| {
        let file = Channel::file(file.to_owned(), true).expect("a file");
        Output::start(queue, vec![file], Manner { limited: 8, ..Manner::default() }).expect("threads")
    };
    let (sender, queue) = queue::bounded(16);
    let (next, next_queue) = sender.successor(16);
    let limits = queue.limits();
    let counts = || (limits.outcomes().map(|(_, count)| count), limits.open());
    let outputs = [output(queue, &files[0]), output(next_queue, &files[1])];
    let module = Module::new(before.plan.driver);
    let (cpu_loop, remote) = CpuLoop::new(Ring::new(module.memory.clone())).expect("can be polled");
    let users = Users::from_texts(b"root:x:0:0::/root:/bin/sh\n", b"");
    let host = Host::new(users, Clock::default(), "host", 0);
    let mut watch = Watch::new(before.clone(), host, style.clone(), sender.clone());
    let task = Task::new(Process::new(42, "/usr/bin/maker", &["maker"]));
    task.records(7, 1, &mut 0).iter().for_each(|record| module.send(record.bytes()));
    let running = thread::spawn(move || cpu_loop.run(&mut watch).expect("runs"));
    let host = Host1 { module: &module, remote, refuse: AtomicBool::new(false) };

    (0..3).for_each(|mark| assert!(module.call("mkdirat", 7, &format!("/marks/{mark}"))));
    until(&|| counts() == ([2, 0, 0], 1));
    let (old, new) = (&before.plan.driver, &after.plan.driver);
    capture_both(&host, old, new).expect("the old one is taken").expect("so is the new one");
    let replacement = || Replacement { shared: after.clone(), style: style.clone(), sender: next.clone(), tap: None };
    exchange(&host, new, &replacement).expect("taken");
    drop(sender);
    let [of_before, of_after] = outputs;
    assert!(of_before.finish(patience));
    assert_eq!(counts(), ([2, 1, 0], 0));
    let said = |file: &Path| std::fs::read_to_string(file).expect("a file");
    let told = said(&files[0]);
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines.len() == 2 && lines[0].contains("/marks/0 by maker") && !lines[0].contains("alert.count"), "{told}");
    assert!(lines[1].contains("/marks/2 by maker") && lines[1].contains(" alert.count=3 alert.first="), "{told}");

    assert!(module.call("mkdirat", 7, "/marks/3"));
    until(&|| counts() == ([2, 1, 0], 1));
    host.remote.stop();
    running.join().expect("no panic");
    drop(next);
    assert!(of_after.finish(patience));
    assert_eq!(counts(), ([2, 1, 0], 0), "nothing was held back");
    let told = said(&files[1]);
    assert!(told.lines().count() == 1 && told.contains("/marks/3 by maker") && !told.contains("alert.count"), "{told}");
}
