//! Capture files: what is written reads the same, and no bytes make reading panic, go on for ever or take more memory than it may.
//!
//! Files are made here; where `FALCO_CONFORMANCE` (default ../shared/conformance) has real ones, these are used as well. That the
//! original tools read what is written is `tests/vm`'s and docs/testing.md's business.

use falco_sensor::capture::{
    CaptureError, EventBuf, FdEntry, FdKind, Group, Interface, Machine, Metadata, ProcessEntry, Reader, Replay, User,
    Writer, bounds,
};
use falco_sensor::event::types::{Age, EVENTS, EventCode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Cursor;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

// ---- memory: what a thread has, and the most it had -------------------------------------------------------------------------------

struct Counting;

thread_local! {
    static HELD: std::cell::Cell<(i64, i64)> = const { std::cell::Cell::new((0, 0)) };
}

fn count(bytes: i64) {
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        held.set((now + bytes, most.max(now + bytes)));
    });
}

// SAFETY: hands everything to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most memory `work` held at a time.
fn most_held<T>(work: impl FnOnce() -> T) -> (T, i64) {
    let before = HELD.get().0;
    HELD.set((before, before));
    let result = work();
    (result, HELD.get().1 - before)
}

// ---- writing to and reading from memory -------------------------------------------------------------------------------------------

/// A file that stays readable when its writer is gone.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic while writing").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a capture holds: sections, each with what is said before its events.
type Content = Vec<(Metadata, Vec<EventBuf>)>;

fn written(content: &Content, gzip: bool) -> Vec<u8> {
    let memory = Memory::default();
    let mut writer = Writer::new(memory.clone(), gzip);
    for (metadata, events) in content {
        writer.section(metadata).expect("memory takes everything");
        events.iter().for_each(|event| writer.event(&event.view(0)).expect("memory takes everything"));
    }
    assert_eq!(writer.refused, 0);
    writer.finish().expect("memory takes everything");
    memory.0.lock().expect("no panic while writing").clone()
}

fn open(bytes: &[u8], gzip: bool) -> Result<Reader, CaptureError> {
    Reader::new(Cursor::new(bytes.to_vec()), gzip, Path::new("memory"))
}

/// Everything a reader gives, and how it ended.
fn content(mut reader: Reader) -> (Content, Result<(), CaptureError>) {
    let mut all = vec![(reader.take_metadata(), Vec::new())];
    loop {
        match reader.next() {
            Ok(Some(event)) => {
                let event = owned(&event);
                if reader.has_metadata() {
                    all.push((reader.take_metadata(), Vec::new()));
                }
                all.last_mut().expect("one at least").1.push(event);
            }
            Ok(None) => return (all, Ok(())),
            Err(error) => {
                assert!(reader.next().expect("after an error comes the end").is_none());
                return (all, Err(error));
            }
        }
    }
}

fn owned(event: &falco_sensor::capture::Event<'_>) -> EventBuf {
    let mut copy = EventBuf::new(event.code, event.time, event.tid);
    (copy.cpu, copy.flags) = (event.cpu, event.flags);
    event.params().for_each(|param| copy.push(param));
    copy
}

// ---- captures that are made -------------------------------------------------------------------------------------------------------

fn text(len: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(Vec::new()), vec(any::<u8>(), 0..24), vec(any::<u8>(), len..=len)]
}

prop_compose! {
    fn a_process()(
        ids in any::<[i64; 7]>(),
        pgid in any::<Option<i64>>(),
        texts in (text(1024), text(1024), text(1024), text(1024), text(1024)),
        long in (text(4096), text(4096), text(4096)),
        words in any::<[u32; 8]>(),
        numbers in any::<[u64; 10]>(),
        bits in any::<[bool; 4]>(),
    ) -> ProcessEntry {
        let [tid, pid, ptid, sid, vpgid, vtid, vpid] = ids;
        let (comm, exe, exepath, cwd, root) = texts;
        let (args, env, cgroups) = long;
        let [flags, uid, gid, vmsize_kb, vmrss_kb, vmswap_kb, tty, loginuid] = words;
        let [fdlimit, pfmajor, pfminor, pidns_init_start, i, p, e, exe_ino, exe_ctime, exe_mtime] = numbers;
        let [exe_writable, exe_upper_layer, exe_lower_layer, exe_from_memfd] = bits;
        ProcessEntry {
            tid, pid, ptid, sid, vpgid, pgid, comm, exe, exepath, args, cwd, fdlimit, flags, uid, gid, vmsize_kb, vmrss_kb,
            vmswap_kb, pfmajor, pfminor, env, vtid, vpid, cgroups, root, pidns_init_start, tty, loginuid, exe_writable,
            cap_inheritable: i, cap_permitted: p, cap_effective: e, exe_upper_layer, exe_lower_layer, exe_from_memfd,
            exe_ino, exe_ctime, exe_mtime,
        }
    }
}

fn v4() -> impl Strategy<Value = IpAddr> {
    any::<Ipv4Addr>().prop_map(IpAddr::from)
}

fn v6() -> impl Strategy<Value = IpAddr> {
    any::<Ipv6Addr>().prop_map(IpAddr::from)
}

fn a_descriptor() -> impl Strategy<Value = FdEntry> {
    // Kinds by their numbers; those above are not known.
    let kind = (0u8..22).prop_map(FdKind::of);
    let ends = ((v4(), v4()), (v6(), v6()), any::<(u16, u16)>());
    (any::<(i64, u64)>(), kind, ends, text(1024), any::<(u32, u32, u8)>(), any::<(u64, u64)>()).prop_map(
        |((fd, ino), kind, (four, six, ports), name, (open_flags, dev, l4), unix)| {
            let entry = FdEntry { fd, ino, kind, ..FdEntry::default() };
            let (source, destination) = match kind {
                FdKind::Ipv4 | FdKind::Ipv4Server => four,
                _ => six,
            };
            match kind {
                FdKind::Ipv4 | FdKind::Ipv6 => {
                    FdEntry { source: Some((source, ports.0)), destination: Some((destination, ports.1)), l4, ..entry }
                }
                FdKind::Ipv4Server | FdKind::Ipv6Server => FdEntry { source: Some((source, ports.0)), l4, ..entry },
                FdKind::Unix => FdEntry { unix, name, ..entry },
                FdKind::File => FdEntry { open_flags, dev, name, ..entry },
                _ => FdEntry { name, ..entry },
            }
        },
    )
}

fn an_interface() -> impl Strategy<Value = Interface> {
    let ends = prop_oneof![(v4(), v4(), v4()), (v6(), v6(), v6())];
    (text(64), ends, any::<u64>()).prop_map(|(name, (address, netmask, broadcast), linkspeed)| Interface {
        name,
        address,
        netmask,
        broadcast,
        linkspeed,
    })
}

fn a_user() -> impl Strategy<Value = User> {
    (any::<(u32, u32)>(), text(1024), text(1024), text(1024)).prop_map(|((uid, gid), name, home, shell)| User {
        uid,
        gid,
        name,
        home,
        shell,
    })
}

fn a_group() -> impl Strategy<Value = Group> {
    (any::<u32>(), text(1024)).prop_map(|(gid, name)| Group { gid, name })
}

prop_compose! {
    fn metadata()(
        (cpus, memory, max_pid, boot_time) in any::<(u32, u64, u64, u64)>(),
        hostname in "[ -~]{0,127}",
        processes in vec(a_process(), 0..4),
        fds in vec((any::<i64>(), vec(a_descriptor(), 0..5)), 0..3),
        interfaces in vec(an_interface(), 0..4),
        users in vec(a_user(), 0..3),
        groups in vec(a_group(), 0..3),
    ) -> Metadata {
        let machine = Some(Machine { cpus, memory, max_pid, hostname: hostname.into_bytes(), boot_time });
        Metadata { machine, processes, fds, interfaces, users, groups }
    }
}

/// Types that are delivered as they are when complete, and their numbers of parameters.
static DELIVERED: LazyLock<Vec<(u16, usize)>> = LazyLock::new(|| {
    let current = |code: &u16| EventCode(*code).info().age == Age::Current && !EventCode(*code).is_enter();
    let params = |code| falco_sensor::event::params::event(EventCode(code)).map(|def| (code, def.params.len()));
    (0..EVENTS.len() as u16).filter(current).filter_map(params).collect()
});

fn an_event() -> impl Strategy<Value = EventBuf> {
    let params = vec(prop_oneof![3 => vec(any::<u8>(), 0..9), 1 => vec(any::<u8>(), 0..300)], 0..40);
    (any::<prop::sample::Index>(), params, any::<(u64, i64, u16)>(), 0u32..2).prop_map(
        |(which, params, (time, tid, cpu), flags)| {
            let (code, count) = DELIVERED[which.index(DELIVERED.len())];
            let mut event = EventBuf::new(EventCode(code), time, tid);
            (event.cpu, event.flags) = (cpu, flags);
            (0..count).for_each(|i| event.push(params.get(i).map_or(&[], |bytes| bytes)));
            event
        },
    )
}

fn a_capture() -> impl Strategy<Value = Content> {
    vec((metadata(), vec(an_event(), 1..20)), 1..3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_written_reads_the_same(capture in a_capture(), gzip: bool) {
        let bytes = written(&capture, gzip);
        let (read, end) = content(open(&bytes, gzip).expect("a capture"));
        end.expect("a whole capture");
        prop_assert_eq!(read, capture);
    }
}

// ---- captures that are there ------------------------------------------------------------------------------------------------------

fn real() -> Vec<PathBuf> {
    let root = std::env::var("FALCO_CONFORMANCE").unwrap_or_else(|_| "../shared/conformance".into());
    let folders = ["captures/falco", "captures/libs", "oracle"].map(|f| Path::new(&root).join(f));
    let entries = folders.iter().flat_map(|f| std::fs::read_dir(f).into_iter().flatten().flatten());
    let mut files: Vec<PathBuf> = entries.map(|e| e.path()).filter(|p| is_capture(p)).collect();
    files.sort();
    if files.is_empty() {
        println!("skipped: no captures below {root} (set FALCO_CONFORMANCE)");
    }
    files
}

fn is_capture(path: &Path) -> bool {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    name.ends_with(".scap") || name.ends_with(".scap.gz")
}

#[test]
fn real_captures_read_the_same_when_written_anew() {
    for file in real() {
        let (capture, end) = content(Reader::open(&file).expect("a capture"));
        end.unwrap_or_else(|error| panic!("{error}"));
        for gzip in [false, true] {
            let bytes = written(&capture, gzip);
            let (read, end) = content(open(&bytes, gzip).expect("a capture"));
            end.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            assert!(read == capture, "{} is another when written anew", file.display());
        }
    }
}

// ---- captures that are damaged ----------------------------------------------------------------------------------------------------

/// One thing that happens to a file.
#[derive(Clone, Debug)]
enum Damage {
    Flip(prop::sample::Index, u8),
    /// A word becomes one that lengths are wrong with.
    Word(prop::sample::Index, u32),
    Cut(prop::sample::Index),
    /// Some bytes are gone.
    Lose(prop::sample::Index, usize),
    /// Some bytes come twice.
    Repeat(prop::sample::Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<prop::sample::Index>;
    let word = prop_oneof![
        any::<u32>(),
        0u32..64,
        Just(u32::MAX),
        Just(u32::MAX - 3),
        Just(1 << 31),
        Just(1 << 28),
        Just(64 << 20),
        (0u32..31).prop_map(|bit| 1 << bit),
    ];
    prop_oneof![
        4 => (place(), 1u8..).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        4 => (place(), word).prop_map(|(at, word)| Damage::Word(at, word)),
        1 => place().prop_map(Damage::Cut),
        1 => (place(), 1usize..200).prop_map(|(at, len)| Damage::Lose(at, len)),
        1 => (place(), 1usize..5000).prop_map(|(at, len)| Damage::Repeat(at, len)),
    ]
}

fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        if bytes.is_empty() {
            break;
        }
        let len = bytes.len();
        match damage {
            Damage::Flip(at, bits) => bytes[at.index(len)] ^= bits,
            Damage::Word(at, word) => {
                // Lengths stand at multiples of four.
                let at = at.index(len) & !3;
                let end = len.min(at + 4);
                bytes[at..end].copy_from_slice(&word.to_ne_bytes()[..end - at]);
            }
            Damage::Cut(at) => bytes.truncate(at.index(len)),
            Damage::Lose(at, count) => {
                let at = at.index(len);
                bytes.drain(at..len.min(at + count));
            }
            Damage::Repeat(at, count) => {
                let at = at.index(len);
                let again = bytes[at..len.min(at + count)].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
    bytes
}

/// Memory that reading may take: buffers, and some for each byte of the file (a thread for each event, its lists).
const BUFFERS: i64 = 8 << 20;
const FOR_EACH_BYTE: i64 = 64;

/// Replays a file to its end, asking for fields on the way.
fn replay(bytes: Vec<u8>) -> Result<u64, TestCaseError> {
    use falco_sensor::event::fields;
    use falco_sensor::event::value::{Extract, FieldArg, FieldUse};

    let asked = ["fd.name", "proc.cmdline", "proc.aname", "evt.args", "fs.path.name", "fd.sip", "container.id"]
        .map(|name| FieldUse { id: fields::id(name), arg: FieldArg::None });
    let len = bytes.len() as i64;
    let (count, most) = most_held(move || {
        let Ok(reader) = Reader::new(Cursor::new(bytes), false, Path::new("memory")) else { return 0 };
        let mut replay = Replay::new(reader, 0);
        let mut arena = bumpalo::Bump::new();
        let mut count = 0;
        loop {
            match replay.next() {
                Ok(Some(event)) => {
                    count += 1;
                    for field in &asked {
                        let _ = event.extract(field, &arena);
                    }
                    arena.reset();
                }
                Ok(None) => return count,
                Err(error) => {
                    assert!(error.offset <= len as u64, "{error}");
                    assert!(replay.next().expect("after an error comes the end").is_none());
                    return count;
                }
            }
        }
    });
    prop_assert!(count as i64 <= len / 34, "{count} events in {len} bytes");
    prop_assert!(most <= BUFFERS + FOR_EACH_BYTE * len, "{most} bytes were held for a file of {len}");
    Ok(count)
}

/// Bytes of real captures, unpacked; of made ones when there are none.
static WHOLE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut whole: Vec<Vec<u8>> = real()
        .iter()
        .map(|file| {
            let bytes = std::fs::read(file).expect("a file");
            let mut unpacked = Vec::new();
            if bytes.starts_with(&[0x1f, 0x8b]) {
                let mut from = flate2::read::MultiGzDecoder::new(&*bytes);
                std::io::Read::read_to_end(&mut from, &mut unpacked).expect("gzip");
                return unpacked;
            }
            bytes
        })
        // Enough for every kind of block, and quick.
        .filter(|bytes| bytes.len() < 400_000)
        .collect();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..8 {
        let tree = a_capture().new_tree(&mut runner).expect("a capture");
        whole.push(written(&tree.current(), false));
    }
    whole
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_damage_makes_replaying_fail_otherwise_than_by_an_error(
        which in any::<prop::sample::Index>(),
        damages in vec(damage(), 1..6),
    ) {
        let whole = &WHOLE[which.index(WHOLE.len())];
        replay(damaged(whole.clone(), &damages))?;
    }

    #[test]
    fn no_damage_to_a_packed_file_makes_reading_fail_otherwise_than_by_an_error(
        capture in a_capture(),
        damages in vec(damage(), 1..6),
    ) {
        let bytes = damaged(written(&capture, true), &damages);
        if let Ok(reader) = open(&bytes, true) {
            let (_, _) = content(reader);
        }
    }

    #[test]
    fn any_bytes_after_a_header_are_read_without_harm(body in vec(0u8..9, 0..2000)) {
        let mut bytes = written(&vec![(Metadata::default(), Vec::new())], false);
        bytes.extend(body);
        replay(bytes)?;
    }
}

#[test]
fn whole_captures_stay_within_the_memory_that_damaged_ones_may_take() {
    let events = |bytes: &Vec<u8>| replay(bytes.clone()).unwrap_or_else(|error| panic!("{error}"));
    assert!(WHOLE.iter().map(events).sum::<u64>() > 0);
}

/// The exit event of a call, with these parameters.
fn call(name: &str, time: u64, tid: i64, values: &[(&str, i64)]) -> EventBuf {
    let codes = falco_sensor::event::types::codes_of_event(name);
    let code = codes.iter().copied().filter(|code| code.info().age == Age::Current && !code.is_enter()).max();
    let code = code.expect("an event");
    let mut event = EventBuf::new(code, time, tid);
    for param in &falco_sensor::event::params::event(code).expect("a schema").params {
        let given = values.iter().find(|(name, _)| *name == param.name).map_or(0, |(_, value)| *value);
        event.push(&given.to_le_bytes()[..usize::from(param.width)]);
    }
    event
}

/// A process with as many descriptors as are kept forks again and again, and each child changes its table: what is shared is not
/// copied without end.
#[test]
fn children_of_a_process_with_many_descriptors_take_bounded_memory() {
    const CHILDREN: i64 = 20_000;
    let first = ProcessEntry { tid: 1, pid: 1, vtid: 1, vpid: 1, ..ProcessEntry::default() };
    let file = |fd| FdEntry { fd, kind: FdKind::File, name: format!("/{fd}").into_bytes(), ..FdEntry::default() };
    let fds = vec![(1, (0..bounds::FDS as i64).map(file).collect())];
    let metadata = Metadata { processes: vec![first], fds, ..Metadata::default() };
    let events = (1000..1000 + CHILDREN).flat_map(|child| {
        let time = child as u64;
        [call("clone", time, 1, &[("res", child), ("tid", 1), ("pid", 1)]), call("close", time, child, &[("fd", 7)])]
    });
    let bytes = written(&vec![(metadata, events.collect())], false);
    let len = bytes.len() as i64;
    let ((count, known, room, refused), most) = most_held(move || {
        let mut replay =
            Replay::new(Reader::new(Cursor::new(bytes), false, Path::new("memory")).expect("a capture"), 0);
        let mut count = 0;
        while replay.next().expect("a whole capture").is_some() {
            count += 1;
        }
        let state = replay.state();
        let known = |tid| state.threads().find(tid).map(|id| (state.fd(id, 7).is_some(), state.fd(id, 8).is_some()));
        (count, [known(1), known(1000)], state.room().bytes(), state.room().refused())
    });
    assert_eq!(count, 2 * CHILDREN);
    // The first child's is a copy without the closed one, the parent's what it was.
    assert_eq!(known, [Some((true, true)), Some((false, true))]);
    assert!(room <= bounds::FD_TABLES && refused > 0, "{room} bytes, {refused} refused");
    assert!(most <= bounds::FD_TABLES as i64 + BUFFERS + FOR_EACH_BYTE * len, "{most} bytes were held for {len}");
}

/// What was whole before the end is delivered, and the message says where the end is.
#[test]
fn a_truncated_capture_gives_its_good_part() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let capture = vec![(Metadata::default(), vec(an_event(), 9..10).new_tree(&mut runner).expect("events").current())];
    let bytes = written(&capture, false);
    let mut last = vec![(Metadata::default(), capture[0].1[..8].to_vec())];
    let whole = written(&last, false).len();
    for len in whole..bytes.len() {
        let (read, end) = content(open(&bytes[..len], false).expect("a capture"));
        assert!(read == last);
        match end {
            Ok(()) => assert_eq!(len, whole),
            Err(error) => {
                assert!(error.to_string().contains(&format!("at byte {whole}: the file is truncated")), "{error}")
            }
        }
    }
    last[0].1.push(capture[0].1[8].clone());
    assert!(content(open(&bytes, false).expect("a capture")).0 == last);
}
