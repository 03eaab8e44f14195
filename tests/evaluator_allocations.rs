//! Evaluating an event allocates nothing once the context and the arena have grown.

use bumpalo::Bump;
use falco_sensor::event::value::{Extract, FieldUse, Multi, Type, Value, Versioned};
use falco_sensor::filter::{EvalContext, Matching, SyscallScheme};
use falco_sensor::rules::{Environment, Loader, Priority, Selection};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system allocator unchanged; counting touches a thread-local without
// a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// An event that has some value for every field; `salt` varies them.
struct Everything {
    code: u16,
    salt: u64,
}

const TEXTS: [&[u8]; 5] = [b"bash", b"/etc/shadow", b"<NA>", b"sshd", b"\xff/tmp/x"];

impl Extract for Everything {
    fn extract<'a>(&'a self, field: &FieldUse, arena: &'a Bump) -> Option<Value<'a>> {
        let def = falco_sensor::event::fields::def(field.id);
        let text = TEXTS[(self.salt as usize + field.id.0 as usize) % TEXTS.len()];
        let one = match def.ty {
            Type::Bool => Value::Bool(self.salt.is_multiple_of(2)),
            Type::IpAddr | Type::IpNet => Value::Ip([10, 0, 0, self.salt as u8].into()),
            Type::Double => Value::F64(1.0),
            Type::Bytebuf => Value::Bytes(text),
            Type::Int64 | Type::Int32 | Type::Int16 => Value::I64(self.salt as i64),
            Type::Charbuf => Value::Str(arena.alloc_slice_copy(text)),
            _ => Value::U64(self.salt),
        };
        if def.list || (def.multi != Multi::One && field.arg == Default::default()) {
            return Some(Value::List(arena.alloc_slice_copy(&[one, one])));
        }
        Some(one)
    }
    fn event_code(&self) -> u16 {
        self.code
    }
    fn task(&self) -> Option<Versioned> {
        // One place whose task is another at nearly every event, and events without a task.
        let stamp = self.salt + 1;
        (self.salt != 7).then_some(Versioned { place: 0, stamp, facts: 0 })
    }
}

const RULES: &str = r#"
- list: shells
  items: [bash, sh, "a shell"]
- macro: shell
  condition: proc.name in (shells) and proc.aname != init
- rule: everything at once
  desc: one comparison of every kind
  condition: >
    (shell or proc.cmdline contains passwd or proc.exepath startswith /tmp or fd.name pmatch (/etc, /home/*/x)
     or proc.cmdline icontains SHADOW or fd.name glob "/etc/s*w" or proc.name regex "(ba|z)+sh" or proc.pid in (1, 2, 3)
     or fd.sip in (10.0.0.1) or fd.snet in ("10.0.0.0/8") or fd.net != 192.168.0.0/16 or tolower(proc.name) = x
     or basename(fd.name) endswith ow or len(proc.cmdline) > 100 or join("-", (proc.name, proc.pid)) = "bash-1"
     or proc.name = val(proc.pname) or fd.name != anyof (a, b) or evt.buffer contains ELF or b64(evt.buffer) = x
     or concat(proc.name, fd.name) = x or evt.rawres < 0 or evt.is_open_write = true)
    and never_enough
  output: "%proc.name"
  priority: INFO
  warn_evttypes: false
- macro: never_enough
  condition: proc.name = "no process has this name"
"#;

#[test]
fn evaluation_does_not_allocate() {
    let env = Environment::syscalls();
    let mut loader = Loader::new(&env);
    let result = loader.load("inline", RULES.to_owned());
    assert!(result.successful(), "{}", result.text(true));
    if let Ok(root) = std::env::var("FALCO_CONFORMANCE").or(Ok::<_, ()>("../shared/conformance".to_owned())) {
        let path = std::path::Path::new(&root).join("rules/upstream/falco_rules.yaml");
        if path.is_file() {
            assert!(loader.load_file(&path).successful());
        }
    }
    let loaded = loader.loaded();
    let selection = Selection::of(loaded, Priority::Debug);
    let program = loaded
        .program("syscall", &SyscallScheme, selection.rules().iter().copied(), Matching::All)
        .expect("what loaded compiles");
    let (mut ctx, mut arena) = (EvalContext::new(), Bump::new());
    let round = |ctx: &mut EvalContext, arena: &mut Bump| {
        for code in 0..454 {
            for salt in 0..8 {
                let event = Everything { code, salt };
                program.evaluate(&event, ctx, arena, |_| {});
                arena.reset();
            }
        }
    };
    // The first rounds grow the context with what it keeps of tasks, the arena and the caches inside the regex engine.
    round(&mut ctx, &mut arena);
    round(&mut ctx, &mut arena);
    let before = COUNT.with(Cell::get);
    round(&mut ctx, &mut arena);
    assert_eq!(COUNT.with(Cell::get) - before, 0, "allocations in {} events", 454 * 8);
}
