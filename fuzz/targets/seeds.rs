//! The first corpora, from the project's own data: rules, configuration, records, and captures when
//! $FALCO_CONFORMANCE (default ../../shared/conformance) has some. Usage: seeds FOLDER

use falco_sensor::event::synthetic::{EventSpec, Fd, Process, Task, World};
use falco_sensor::rules::{Environment, Loader};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

struct Corpus(PathBuf, usize);

impl Corpus {
    fn new(root: &Path, target: &str) -> Corpus {
        let folder = root.join(target);
        fs::create_dir_all(&folder).expect("the folder of a corpus");
        Corpus(folder, 0)
    }

    fn add(&mut self, bytes: impl AsRef<[u8]>) {
        self.1 += 1;
        fs::write(self.0.join(format!("seed-{:04}", self.1)), bytes).expect("a seed");
    }
}

fn main() {
    let root = PathBuf::from(std::env::args().nth(1).expect("the folder to write to"));
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(project.join("rules/default.yaml")).expect("our rules");

    let mut rules = Corpus::new(&root, "rules");
    for item in text.split("\n- ").skip(1) {
        rules.add(format!("- {item}\n"));
    }
    rules.add(
        "- list: a\n  items: [x, &y z, *y]\n- macro: m\n  condition: proc.name in (a) or fd.name pmatch (/etc)\n- rule: r\n  desc: d\n  \
         condition: >\n    evt.type = open\n    and m\n  output: o %proc.name\n  priority: error\n  exceptions:\n  - name: e\n    \
         fields: [proc.name, fd.name]\n    comps: [=, startswith]\n    values: [[a, /b]]\n- rule: r\n  override: {condition: \
         append}\n  condition: and not fd.num = 3\n- required_engine_version: 0.40.0\n",
    );

    let environment = Environment::syscalls();
    let mut loader = Loader::new(&environment);
    assert!(loader.load("default.yaml", text).successful());
    let loaded = loader.finish();
    let (mut condition, mut output) = (Corpus::new(&root, "condition"), Corpus::new(&root, "output"));
    for rule in &loaded.collected.rules {
        condition.add(&rule.condition);
        output.add(&rule.output);
    }
    loaded.collected.macros.iter().for_each(|item| condition.add(&item.condition));
    for text in [
        r#"evt.rawarg.res<0 and proc.aname[2] exists and not proc.env[A] = "x\x41\"y""#,
        "fd.net in (10.0.0.0/8, ::1/128) or fd.sport >= 1024",
        "getopt(proc.args, \"a:b\")[a] = val(proc.name) and len(fd.name) > 3",
        "proc.name startswith oneof (a, 'b c') and join(\",\", (proc.name, \"x\")) regex '^a.*$'",
        "evt.buffer bcontains 4142 and fd.types intersects (file, ipv4) and evt.type!=open",
    ] {
        condition.add(text);
    }
    output.add("%12proc.name|%evt.arg.flags %proc.aname[2] %toupper(basename(proc.exepath)) %evt.args");

    let mut config = Corpus::new(&root, "config");
    let text = fs::read_to_string(project.join("packaging/config/falco-sensor.yaml")).expect("our configuration");
    config.add(&text);
    config.add(
        "rules_files: [/etc/falco, ${HOME}/x]\njson_output: true\nengine: {kind: replay, replay: {capture_file: x}}\n",
    );
    config.add("rules:\n- disable: {rule: '*'}\n- enable: {tag: network}\nbase_syscalls: {custom_set: [open, '!close'], all: true}\n");
    config.add("append_output:\n- match: {source: syscall, tags: [a], rule: r}\n  extra_output: on %evt.hostname\n  extra_fields: [proc.name, {x: '%a.b'}]\n");

    let mut record = Corpus::new(&root, "record");
    let mut world = World::new();
    world.task(&Task::new(Process::new(7, "/usr/bin/app", &["app", "x"])));
    let socket = Fd::Socket {
        local: Some("10.0.0.1:40000".parse().expect("an address")),
        remote: Some("10.0.0.2:443".parse().expect("an address")),
        kind: 1,
        role: 1,
    };
    for spec in [
        EventSpec::new("openat").text("name", "../etc/shadow").fd("fd", 3, Fd::file("/etc/shadow")),
        EventSpec::new("execve").tracepoint(),
        EventSpec::new("connect").fd("fd", 4, socket),
        EventSpec::new("write").fd("fd", 1, Fd::anonymous("pipe:[7]")).bytes("data", b"hello"),
        EventSpec::new("getpid").ret(7),
        EventSpec::new("renameat2").text("oldpath", "a").text("newpath", "/b"),
        EventSpec::new("fchdir").fd("fd", 5, Fd::directory("/tmp")),
    ] {
        record.add(world.event(&spec).bytes());
    }

    let data = std::env::var("FALCO_CONFORMANCE").map_or_else(|_| project.join("../shared/conformance"), PathBuf::from);
    let mut capture = Corpus::new(&root, "capture");
    // The target's first byte says whether the rest is compressed.
    let captures =
        ["captures/falco", "captures/libs"].into_iter().filter_map(|folder| fs::read_dir(data.join(folder)).ok());
    for file in captures.flatten().flatten() {
        let bytes = fs::read(file.path()).expect("a capture");
        let plain = match bytes.starts_with(&[0x1f, 0x8b]) {
            true => {
                let gzip = Command::new("gzip").arg("-dc").stdin(File::open(file.path()).expect("a capture")).output();
                capture.add([&[1], &bytes[..]].concat());
                gzip.expect("gzip").stdout
            }
            false => bytes,
        };
        // The rest is cut off: a damaged end is what captures have.
        capture.add([&[0], &plain[..plain.len().min(48_000)]].concat());
    }
    // None: an empty section at least.
    capture.add(
        [
            &[0][..],
            &[0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 2, 0],
            &[0xff; 8],
            &[28, 0, 0, 0],
        ]
        .concat(),
    );
    println!(
        "seeds: {} rules, {} condition, {} output, {} config, {} record, {} capture",
        rules.1, condition.1, output.1, config.1, record.1, capture.1
    );
}
