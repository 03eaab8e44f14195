//! What captures tell of containers, in events of every form, is what fields say of the processes in them from then on.

use bumpalo::Bump;
use falco_sensor::capture::thread::Thread;
use falco_sensor::capture::{Converter, EventBuf, Inspector, ProcessEntry, ReplayedEvent};
use falco_sensor::enrich::runtime::{self, Containers};
use falco_sensor::event::fields;
use falco_sensor::event::text::{Buffers, push_text};
use falco_sensor::event::types::EventCode;
use falco_sensor::event::value::Extract;
use falco_sensor::filter::SyscallScheme;
use falco_sensor::filter::scheme::find_field;

const ID: &str = "3ad7b26ded6d8e7b23da7d48fe889434573036c27ae5a74837233de441c3601e";
const SANDBOX: &str = "b1a0eb51bdbc11bd1a0eb51bdbc11bd1a0eb51bdbc11bd1a0eb51bdbc11b0001";
const OLD: EventCode = EventCode(228);
const JSON: EventCode = EventCode(272);
const JSON_2: EventCode = EventCode(324);
const ASYNC: EventCode = EventCode(402);

/// A process in a container, and what fields of an event of it say.
struct World {
    state: Inspector,
    converter: Converter,
}

impl World {
    fn new() -> World {
        let mut state = Inspector::new(0);
        let cgroups = format!("cpuset=/system.slice/docker-{ID}.scope\0").into_bytes();
        let entry = ProcessEntry { tid: 7, pid: 7, vtid: 1, vpid: 1, cgroups, ..ProcessEntry::default() };
        state.add_thread(Thread::listed(entry));
        state.add_thread(Thread::listed(ProcessEntry { tid: 8, pid: 8, vtid: 8, vpid: 8, ..ProcessEntry::default() }));
        World { state, converter: Converter::default() }
    }

    /// Gives an event as a reader does.
    fn event(&mut self, code: EventCode, params: &[&[u8]]) {
        let mut event = EventBuf::new(code, 1_700_000_000_000_000_000, -1);
        params.iter().for_each(|param| event.push(param));
        let converted = self.converter.convert(event.view(1)).expect("is converted").expect("is delivered");
        let subject = self.state.before(&converted);
        self.state.after(&subject);
    }

    fn describe(&mut self, json: &str) {
        self.event(JSON_2, &[format!("{{\"container\":{json}}}\0").as_bytes()]);
    }

    /// A field of an event of a thread; None when it has no value.
    fn says(&mut self, tid: i64, field: &str) -> Option<String> {
        let mut getpid = EventBuf::new(EventCode(1), 1_700_000_000_000_000_001, tid);
        [&[0, 0][..], &[0, 0]].iter().for_each(|param| getpid.push(param));
        let event = getpid.view(2);
        let subject = self.state.before(&event);
        self.state.describe(subject.thread.expect("a thread"));
        let event = ReplayedEvent::of_capture(event, &self.state, subject, 0);
        let (name, arg) = match field.split_once('[') {
            Some((name, arg)) => (name, Some(arg.trim_end_matches(']').as_bytes())),
            None => (field, None),
        };
        let field = find_field(&SyscallScheme, name, arg).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let arena = Bump::new();
        let value = event.extract(&field, &arena)?;
        let mut text = Vec::new();
        push_text(Some(&value), fields::def(field.id), event.number_format(&field), Buffers::Printable, &mut text);
        Some(String::from_utf8(text).expect("UTF-8"))
    }

    fn check(&mut self, expected: &[(&str, Option<&str>)]) {
        for (field, value) in expected {
            assert_eq!(self.says(7, field).as_deref(), *value, "{field}");
        }
    }
}

#[test]
fn fields_say_what_the_runtime_told() {
    let mut world = World::new();
    world.check(&[
        ("container.id", Some("3ad7b26ded6d")),
        ("container.name", Some("3ad7b26ded6d")),
        ("container.type", Some("docker")),
        ("container.image", None),
        ("container.image.repository", None),
        ("container.privileged", None),
        ("container.mounts", None),
        ("container.labels", None),
        ("k8s.pod.name", None),
        ("k8s.pod.sandbox_id", None),
    ]);
    world.describe(&format!(
        r#"{{"id":"{SANDBOX}","type":7,"full_id":"{SANDBOX}","is_pod_sandbox":true,"ip":"10.1.2.3","cni_json":"{{\"a\":1}}"}}"#
    ));
    world.describe(&format!(
        r#"{{"id":"3ad7b26ded6d","type":7,"full_id":"{ID}","name":"web","image":"docker.io/library/nginx:1.27","imageid":"sha256:aa",
            "imagerepo":"docker.io/library/nginx","imagetag":"1.27","imagedigest":"sha256:bb","privileged":false,"host_pid":true,
            "host_network":false,"host_ipc":false,"ip":"","is_pod_sandbox":false,"pod_sandbox_id":"{SANDBOX}",
            "labels":{{"io.kubernetes.pod.name":"web-0","io.kubernetes.pod.namespace":"shop","io.kubernetes.pod.uid":"u-1","b":"2","a":"1",
                       "annotation.x":"y"}},
            "pod_sandbox_labels":{{"app":"web"}},
            "Mounts":[{{"Source":"/srv/a","Destination":"/data","Mode":"ro","RW":false,"Propagation":"rprivate"}},
                      {{"Source":"/var/run/docker.sock","Destination":"/sock","Mode":"","RW":true,"Propagation":"rshared"}}]}}"#
    ));
    world.check(&[
        ("container.id", Some("3ad7b26ded6d")),
        ("container.full_id", Some(ID)),
        ("container.name", Some("web")),
        ("container.type", Some("containerd")),
        ("container.image", Some("docker.io/library/nginx:1.27")),
        ("container.image.id", Some("sha256:aa")),
        ("container.image.repository", Some("docker.io/library/nginx")),
        ("container.image.tag", Some("1.27")),
        ("container.image.digest", Some("sha256:bb")),
        ("container.privileged", Some("false")),
        ("container.host_pid", Some("true")),
        ("container.host_network", Some("false")),
        ("container.host_ipc", Some("false")),
        ("container.ip", None),
        ("container.cni.json", None),
        ("container.mounts", Some("/srv/a:/data:ro:false:rprivate,/var/run/docker.sock:/sock::true:rshared")),
        ("container.mount[1]", Some("/var/run/docker.sock:/sock::true:rshared")),
        ("container.mount[2]", None),
        ("container.mount[/srv/.*]", Some("/srv/a:/data:ro:false:rprivate")),
        ("container.mount[/srv]", None),
        ("container.mount[(]", None),
        ("container.mount.source[/data]", Some("/srv/a")),
        ("container.mount.dest[/srv/a]", Some("/data")),
        ("container.mount.mode[0]", Some("ro")),
        ("container.mount.rdwr[/var/run/.*]", Some("true")),
        ("container.mount.propagation[1]", Some("rshared")),
        ("container.label[b]", Some("2")),
        ("container.label[c]", None),
        ("container.labels", Some("a:1, b:2")),
        ("k8s.pod.name", Some("web-0")),
        ("k8s.ns.name", Some("shop")),
        ("k8s.pod.uid", Some("u-1")),
        ("k8s.pod.id", Some("u-1")),
        ("k8s.pod.sandbox_id", Some("b1a0eb51bdbc")),
        ("k8s.pod.full_sandbox_id", Some(SANDBOX)),
        ("k8s.pod.label[app]", Some("web")),
        ("k8s.pod.labels", Some("app:web")),
        ("k8s.pod.ip", Some("10.1.2.3")),
        ("k8s.pod.cni.json", Some("{\"a\":1}")),
        ("k8s.rs.name", None),
    ]);
    // The host's processes are in none.
    assert_eq!(world.says(8, "container.image").as_deref(), Some(""));
    assert_eq!(world.says(8, "container.name").as_deref(), Some("host"));
    assert_eq!(world.says(8, "container.privileged"), None);
}

#[test]
fn every_form_of_the_event_is_taken() {
    let json = format!("{{\"container\":{{\"id\":\"{ID}\",\"type\":0,\"name\":\"web\",\"image\":\"nginx\"}}}}\0");
    let kind = 0u32.to_le_bytes();
    let forms: [(EventCode, Vec<&[u8]>); 4] = [
        (OLD, vec![&b"3ad7b26ded6d\0"[..], &kind, b"web\0", b"nginx\0"]),
        (JSON, vec![json.as_bytes()]),
        (JSON_2, vec![json.as_bytes()]),
        (ASYNC, vec![&kind[..], b"container\0", json.trim_end_matches('\0').as_bytes()]),
    ];
    for (code, params) in forms {
        let mut world = World::new();
        world.event(code, &params);
        world.check(&[
            ("container.name", Some("web")),
            ("container.image", Some("nginx")),
            ("container.type", Some("docker")),
        ]);
        world.event(ASYNC, &[&kind, b"another\0", json.as_bytes()]);
        world.check(&[("container.name", Some("web"))]);
        world.event(ASYNC, &[&kind, b"container_removed\0", json.as_bytes()]);
        world.check(&[("container.name", Some("3ad7b26ded6d")), ("container.image", None)]);
    }
}

#[test]
fn nonsense_changes_nothing() {
    let mut containers = Containers::default();
    for json in ["", "{}", "[]", r#"{"container":7}"#, r#"{"container":{"name":"x"}}"#, "{\"container\":{\"id\":\"a\""]
    {
        containers.describe(json.as_bytes());
        containers.remove(json.as_bytes());
    }
    assert!(containers.find(b"").is_none() && containers.find(b"a").is_none());
    // What has another type than it should have is left out, and the rest holds.
    containers.describe(
        br#"{"container":{"id":"3ad7b26ded6d8e7b","type":"?","name":"web","labels":7,"privileged":true,"Mounts":[{}]}}"#,
    );
    let found = containers.find(b"3ad7b26ded6d").expect("by the short id");
    assert_eq!((found.kind(), &*found.name, found.labels.len(), found.privileged), (None, "web", 0, Some(true)));
    assert_eq!(found.mounts.len(), 1);
}

#[test]
fn what_is_kept_is_bounded_and_its_room_is_given_back() {
    let mut containers = Containers::default();
    let count = runtime::BOUND / (1 << 20) + 6;
    let of = |id: usize| format!(r#"{{"container":{{"id":"{id:012}","name":"{}"}}}}"#, "x".repeat(1 << 20));
    (0..count).for_each(|id| containers.describe(of(id).as_bytes()));
    let refused = containers.refused;
    assert!(refused > 0 && containers.find(format!("{:012}", count - 1).as_bytes()).is_none());
    (0..count).for_each(|id| containers.remove(of(id).as_bytes()));
    (0..count / 2).for_each(|id| containers.describe(of(id).as_bytes()));
    assert_eq!(containers.refused, refused);
}
