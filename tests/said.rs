//! What an event says of itself decides the fields that are said to depend on nothing else.

#[path = "support/live.rs"]
mod live;

use bumpalo::Bump;
use falco_sensor::event::fields;
use falco_sensor::event::live::PathView;
use falco_sensor::event::synthetic::{EventSpec, Process, RecordBuf, Task, World};
use falco_sensor::event::value::{ArgKind, Depends, Extract, FieldArg, FieldUse, Room};

/// Two tasks that have nothing in common, in the slots 0 and 1.
fn world() -> World {
    let mut world = World::new();
    let shell = Process::new(10, "/usr/bin/bash", &["bash", "-c", "x"]).env(&["A=b"]);
    let server = Process::new(4_000_000, "/usr/sbin/nginx", &["nginx"]);
    let tasks = [
        Task::new(shell).parent(Process::new(1, "/usr/sbin/init", &["init"])).cwd("/root"),
        Task::new(server).cwd("/srv/www").uid(1000).cgroup(&format!("/docker/{}", "a1".repeat(32))),
    ];
    let mut last_exec = 0;
    for (slot, task) in (0..).zip(tasks) {
        task.records(slot, 1, &mut last_exec).iter().for_each(|record| world.send(record));
    }
    world
}

/// Every way to ask an event of `params` for a field.
fn uses(params: &[&'static str]) -> Vec<FieldUse> {
    let mut uses = Vec::new();
    for (def, id) in fields::FIELDS.iter().zip(0..).filter(|(def, _)| def.depends == Depends::Record) {
        let id = fields::lookup(def.name).unwrap_or_else(|| panic!("{id}: {}", def.name));
        let keys = params.iter().map(|name| FieldArg::Key((*name).into()));
        let places = (0..params.len() as u32).map(FieldArg::Index);
        let args: Vec<FieldArg> = match def.arg {
            ArgKind::None => vec![FieldArg::None],
            ArgKind::RequiredKey => keys.collect(),
            _ if def.name == "evt.type.is" => vec![FieldArg::Key("open".into()), FieldArg::Index(3)],
            _ => keys.chain(places).collect(),
        };
        uses.extend(args.into_iter().map(|arg| FieldUse { id, arg }));
    }
    uses
}

#[test]
fn events_that_say_the_same_have_the_same_fields() {
    let world = world();
    let (mut same, mut compared) = (0, 0);
    for spec in live::specs() {
        // Addresses, and what lies in registers that the call does not use.
        let garbage = |spec: EventSpec, world: &World, record: &RecordBuf| {
            let event = world.view(record);
            let registers = event.def().and_then(|def| def.registers).unwrap_or_default();
            let kept = |n: &usize| {
                registers.used >> n & 1 == 1 || registers.open_mode.is_some_and(|(_, f)| usize::from(f) == *n)
            };
            (0..6).filter(|n| !kept(n)).fold(spec, |spec, n| spec.arg(n, 0x7f00_dead_0000 + n as i64))
        };
        let first = spec.record(0, 1, 1_000_000_000);
        let second = garbage(spec.clone(), &world, &first).record(1, 1, 77_000_000_000);
        let (one, other) = (world.view(&first), world.view(&second));
        let (mut room, mut second_room) = (Room::default(), Room::default());
        if one.said(&mut room).is_none_or(|said| other.said(&mut second_room) != Some(said)) {
            continue;
        }
        same += 1;
        let def = one.def().expect("it says something");
        let params: Vec<&'static str> = def.params.iter().map(|param| param.name).collect();
        let arena = Bump::new();
        for view in [PathView::AsGiven, PathView::AsOpened] {
            let (one, other) = (one.with_paths(view), other.with_paths(view));
            for field in uses(&params) {
                let (a, b) = (one.extract(&field, &arena), other.extract(&field, &arena));
                assert_eq!(a, b, "{} of {:?} {spec:?}", fields::def(field.id).name, field.arg);
                compared += 1;
            }
        }
    }
    println!("{same} events, {compared} values");
    assert!(same > 250 && compared > 30_000, "{same} events, {compared} values");
    // What lists of descriptors say is found in the process.
    let poll = EventSpec::new("poll").ret(1).bytes("fds", &[3, 0, 0, 0, 1, 0, 1, 0]).record(0, 1, 1);
    let mut rooms = [Room::default(), Room::default()];
    assert_eq!(world.view(&poll).said(&mut rooms[0]), None);
    // A relative path is another one in another directory.
    let open = EventSpec::new("openat").arg(0, -100).text("name", "etc/passwd");
    let (first, second) = (open.record(0, 1, 1), open.record(1, 1, 2));
    let (views, [one, other]) = ((world.view(&first), world.view(&second)), &mut rooms);
    assert_ne!(views.0.said(one), views.1.said(other));
}
