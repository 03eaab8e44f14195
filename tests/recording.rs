//! Live events recorded to a capture say the same when they are replayed.

#[path = "support/live.rs"]
mod live;

use bumpalo::Bump;
use falco_sensor::capture::{Group, Metadata, Reader, Readers, Replay, User, Writer, encode};
use falco_sensor::event::fields;
use falco_sensor::event::params::Param;
use falco_sensor::event::synthetic::{EventSpec, Process, RecordBuf, Task, World};
use falco_sensor::event::text::{Buffers, push_text};
use falco_sensor::event::value::{Extract, FieldArg, FieldUse, Type};
use falco_sensor::sensor::record::{OnMatch, Recorder, Trigger};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn world() -> World {
    let mut world = World::new();
    // An hour ahead: a recording whose end the wall clock has passed is closed, and its events may come late on a slow machine.
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970") + Duration::from_secs(3600);
    world.host.clock.wall_minus_module = wall.as_nanos() as i64;
    let parent = Process::new(3_999_999, "/usr/bin/bash", &["bash"]);
    let child = Process::new(4_000_000, "/usr/bin/cat", &["cat", "/etc/shadow"]).env(&["A=b"]);
    world.task(&Task::new(child).parent(parent).cwd("/root").uid(1000));
    world
}

/// What a descriptor or process is called depends on the state, which an event that is recorded alone does not have.
/// A number that a failed call left unset is written as 0: the 0 of a user or group then has a name.
fn is_compared(param: &Param) -> bool {
    let may_be_unset = param.on_success && matches!(param.ty, Type::Uid | Type::Gid);
    !may_be_unset && !matches!(param.ty, Type::Fd | Type::Pid | Type::FdList) && param.dirfd.is_none()
}

fn texts(event: &impl Extract, params: &[Param]) -> Vec<(String, String)> {
    let arena = Bump::new();
    let mut texts = Vec::new();
    for param in params.iter().filter(|param| is_compared(param)) {
        let id = fields::lookup("evt.arg").expect("a field");
        let field_use = FieldUse { id, arg: FieldArg::Key(param.name.into()) };
        let value = event.extract(&field_use, &arena);
        let mut text = Vec::new();
        push_text(value.as_ref(), fields::def(id), event.number_format(&field_use), Buffers::Printable, &mut text);
        texts.push((param.name.to_owned(), String::from_utf8_lossy(&text).into_owned()));
    }
    texts
}

#[test]
fn every_type_of_event_says_the_same_when_replayed() {
    let mut world = world();
    let records: Vec<RecordBuf> = live::specs().iter().map(|spec| world.event(spec)).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let mut differences = Vec::new();
    // Names are those of the recording's host.
    let user = |uid, name: &[u8]| User { uid, name: name.into(), ..User::default() };
    let users = vec![user(0, b"root"), user(1000, b"alice")];
    let metadata = Metadata { users, groups: vec![Group { gid: 0, name: b"root".into() }], ..Metadata::default() };
    for readers in [Readers::Today, Readers::Older] {
        let file = folder.path().join("x.scap.gz");
        let mut writer = Writer::create(&file).expect("a file").for_readers(readers);
        writer.section(&metadata).expect("room");
        let mut event = Default::default();
        for record in &records {
            assert!(encode(&world.view(record), 3, &mut event));
            writer.event(&event.view(0)).expect("room");
        }
        assert_eq!(writer.refused, 0);
        writer.finish().expect("room");

        let mut replay = Replay::open(&file, 0).expect("a capture");
        for record in &records {
            let live = world.view(record);
            let replayed = replay.next().expect("an event").expect("as many events");
            let params = &live.def().expect("a schema").params;
            let (name, sent) = (live.code().info().name, replayed.event());
            assert_eq!((sent.code, sent.tid, sent.cpu, sent.time), (live.code(), 4_000_000, 3, live.time()), "{name}");
            // These are read as their default where they were left out.
            let late = readers == Readers::Older && matches!(name, "socket" | "fcntl");
            let compared = if late { &params[..params.len() - 1] } else { &params[..] };
            let differ = |(was, is): &(_, _)| was != is;
            let pairs = texts(&live, compared).into_iter().zip(texts(&replayed, compared));
            differences.extend(pairs.filter(differ).map(|(was, is)| format!("{name}: {was:?} became {is:?}")));
        }
        assert!(replay.next().expect("an end").is_none());
    }
    assert!(differences.is_empty(), "{differences:#?}");
}

/// A descriptor of a kind that has no name is one of the types of its process.
#[test]
fn types_of_descriptors_have_a_place_for_what_has_none() {
    let mut world = world();
    let packets = EventSpec::new("socket").ret(3).arg(0, libc::AF_PACKET.into()).arg(1, libc::SOCK_RAW.into());
    let records = [packets, EventSpec::new("eventfd2").ret(4)].map(|spec| world.event(&spec));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x.scap");
    let mut writer = Writer::create(&file).expect("a file");
    writer.section(&Metadata::default()).expect("room");
    let mut event = Default::default();
    for record in &records {
        assert!(encode(&world.view(record), 0, &mut event));
        writer.event(&event.view(0)).expect("room");
    }
    writer.finish().expect("room");
    let mut replay = Replay::open(&file, 0).expect("a capture");
    for (of_process, of_one) in [("(<NA>)", "(<NA>)"), ("(<NA>,event)", "(<NA>)")] {
        let event = replay.next().expect("an event").expect("as many events");
        let types = |arg| {
            let (arena, mut text) = (Bump::new(), Vec::new());
            let field = FieldUse { id: fields::lookup("fd.types").expect("a field"), arg };
            let value = event.extract(&field, &arena);
            push_text(
                value.as_ref(),
                fields::def(field.id),
                event.number_format(&field),
                Buffers::Printable,
                &mut text,
            );
            String::from_utf8_lossy(&text).into_owned()
        };
        assert_eq!((types(FieldArg::None).as_str(), types(FieldArg::Index(3)).as_str()), (of_process, of_one));
    }
}

/// Events of a file by type, and the processes it describes.
fn read(file: &Path) -> (Vec<u64>, usize) {
    let mut reader = Reader::open(file).expect("a capture");
    let processes = reader.take_metadata().processes.len();
    let mut times = Vec::new();
    while let Some(event) = reader.next().expect("an event") {
        times.push(event.time);
    }
    (times, processes)
}

#[test]
fn a_recording_has_the_events_of_all_loops_in_order() {
    let mut world = world();
    let records: Vec<RecordBuf> = (0..100).map(|_| world.event(&EventSpec::new("getpid"))).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("all.scap");
    let recorder = Recorder::start(Some(&file), None, Path::new("/")).expect("a file");
    let mut taps = [recorder.taps().tap(), recorder.taps().tap()];
    recorder.begin();
    for (at, record) in records.iter().enumerate() {
        // The second loop is behind.
        let view = world.view(record);
        assert!(taps[at % 2].wants(view.time()));
        taps[at % 2].event(&view, (at % 2) as u32);
    }
    let [first, second] = taps;
    drop(second);
    drop(first);
    recorder.finish();
    let (times, processes) = read(&file);
    let expected: Vec<u64> = records.iter().map(|record| world.view(record).time()).collect();
    assert_eq!(times, expected);
    assert!(processes > 0);
}

/// However long that takes.
#[test]
fn a_loop_that_is_behind_is_waited_for() {
    let mut world = world();
    let records: Vec<RecordBuf> = (0..10).map(|_| world.event(&EventSpec::new("getpid"))).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("all.scap");
    let recorder = Recorder::start(Some(&file), None, Path::new("/")).expect("a file");
    let [mut ahead, mut behind] = [recorder.taps().tap(), recorder.taps().tap()];
    recorder.begin();
    let (older, newer) = records.split_at(5);
    newer.iter().for_each(|record| ahead.event(&world.view(record), 0));
    for _ in 0..3 {
        ahead.looking();
        ahead.idle();
        // The recorder writes what it may several times meanwhile.
        std::thread::sleep(Duration::from_millis(300));
    }
    older.iter().for_each(|record| behind.event(&world.view(record), 1));
    drop(behind);
    drop(ahead);
    recorder.finish();
    let expected: Vec<u64> = records.iter().map(|record| world.view(record).time()).collect();
    assert_eq!(read(&file).0, expected);
}

/// The file ends at the limit, and whoever asks is told so once: the control thread makes an alert of it.
#[test]
fn a_recording_ends_at_its_limit_which_is_told() {
    let mut world = world();
    let records: Vec<RecordBuf> = (0..10).map(|_| world.event(&EventSpec::new("getpid"))).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let prefix = folder.path().join("x").display().to_string();
    let on_match = OnMatch { prefix: prefix.clone(), all_rules: true, default_ms: 5000, max_bytes: 1 };
    let recorder = Recorder::start(None, Some(on_match), Path::new("/")).expect("a thread");
    let mut tap = recorder.taps().tap();
    recorder.begin();
    let first = world.view(&records[0]).time();
    tap.matched(Trigger { starts: true, duration: Duration::from_secs(60) }, first, 0);
    records.iter().for_each(|record| tap.event(&world.view(record), 0));
    drop(tap);
    let told: Vec<_> = recorder.limited().into_iter().chain(recorder.finish()).collect();
    let file = Path::new(&format!("{prefix}_{first:020}_{:020}.scap", 0)).to_owned();
    assert_eq!(told, std::slice::from_ref(&file));
    assert_eq!(read(&file).0, [first]);
}

#[test]
fn a_match_starts_a_recording_that_ends_in_time() {
    let mut world = world();
    let records: Vec<RecordBuf> = (0..10).map(|_| world.event(&EventSpec::new("getpid"))).collect();
    let times: Vec<u64> = records.iter().map(|record| world.view(record).time()).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let prefix = folder.path().join("x").display().to_string();
    let on_match = OnMatch { prefix: prefix.clone(), all_rules: false, default_ms: 5000, max_bytes: 0 };
    let recorder = Recorder::start(None, Some(on_match), Path::new("/")).expect("a thread");
    let mut tap = recorder.taps().tap();
    recorder.begin();
    let mut lasts = 0;
    for (at, record) in records.iter().enumerate() {
        let view = world.view(record);
        if at == 1 {
            // It only makes a running one longer.
            tap.matched(Trigger { starts: false, duration: Duration::from_secs(1) }, view.time(), at as u64);
            assert!(!tap.wants(view.time()));
        }
        if at == 2 {
            lasts = times[6] - times[2];
            tap.matched(Trigger { starts: true, duration: Duration::from_nanos(lasts) }, view.time(), at as u64);
        }
        if tap.wants(view.time()) {
            tap.event(&view, 0);
        }
    }
    drop(tap);
    recorder.finish();
    assert!(lasts > 0);
    let file = format!("{prefix}_{:020}_{:020}.scap", times[2], 2);
    assert_eq!(read(Path::new(&file)).0, times[2..=6]);
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
}
