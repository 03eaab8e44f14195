//! The event itself: evt.*, syscall.type and util.cnt.

use super::args::Arg;
use super::descriptor::Kind;
use super::{Payload, View, answer, fs_path};
use crate::driver::abi;
use crate::event::arena_text::decimal;
use crate::event::clock::{self, Form};
use crate::event::flags::{self, open_bit};
use crate::event::params::Family;
use crate::event::types::{self, Category, EventInfo, Origin};
use crate::event::value::{FieldArg, Type, Value};
use bumpalo::Bump;

const SECOND: u64 = 1_000_000_000;

impl<P: Payload> View<'_, P> {
    fn info(&self) -> &'static EventInfo {
        self.code.info()
    }

    /// `evt.type`: the event's name, or the system call's when it has no event of its own.
    fn type_name(&self) -> &'static str {
        if self.code.is_generic() {
            types::syscall(self.payload.syscall()).map_or("syscall", |call| call.name)
        } else {
            self.info().name
        }
    }

    fn is_syscall(&self) -> bool {
        self.info().origin == Origin::Syscall
    }

    fn category(&self) -> &'static str {
        self.io_category(self.info().category)
    }

    fn reads(&self) -> bool {
        self.def.is_some_and(|def| def.has(abi::FSN_P_READS_FD))
    }

    fn writes(&self) -> bool {
        self.def.is_some_and(|def| def.has(abi::FSN_P_WRITES_FD))
    }

    /// It moves bytes out: also sendfile, whose event does not say that it writes to its descriptor.
    fn sends(&self) -> bool {
        self.writes() || self.info().category == Category::IoWrite
    }

    /// Bytes moved, of an input or output event on a known descriptor.
    fn moved(&self) -> Option<u64> {
        let known = self.info().category.is_io() && self.descriptor().is_some();
        known.then_some(())?;
        u64::try_from(self.ret()?).ok()
    }

    /// A directory is none.
    fn is_on_file(&self) -> bool {
        self.descriptor().is_some_and(|fd| fd.kind == Kind::File)
    }

    fn opened_for(&self, bit: u32) -> bool {
        self.family() == Family::Open && P::access(self).is_some_and(|flags| flags & bit != 0)
    }

    /// A file is made that can be executed.
    fn opens_executable(&self) -> bool {
        let name = self.def.map_or("", |def| def.name);
        let makes = match name {
            "creat" => true,
            "open" | "openat" | "openat2" => {
                self.open_flags().is_some_and(|flags| flags & (open_bit::CREAT | open_bit::TMPFILE) != 0)
            }
            _ => false,
        };
        makes && self.named_number("mode").is_some_and(|mode| mode & 0o111 != 0)
    }

    fn creates_file(&self) -> bool {
        match self.family() {
            Family::Open => self.open_flags().is_some_and(|flags| {
                flags & open_bit::F_CREATED != 0 || flags & open_bit::TMPFILE != 0 && self.payload.ret() >= 0
            }),
            _ => false,
        }
    }

    fn named_number(&self, name: &str) -> Option<u64> {
        let (index, param) = self.def?.param(name)?;
        match self.arg(index, param)? {
            Arg::Number(n) => Some(n),
            _ => None,
        }
    }

    /// Which counter an error goes to.
    fn error_kind(&self) -> ErrorKind {
        let category = self.info().category;
        let failed_open = matches!(self.family(), Family::Open | Family::Creat);
        let on = self.descriptor().map(|fd| fd.kind);
        ErrorKind {
            file: matches!(on, Some(Kind::File | Kind::Directory)) || failed_open,
            net: matches!(on, Some(Kind::Ipv4 | Kind::Ipv6 | Kind::Unix))
                || matches!(self.family(), Family::Accept | Family::Connect),
            memory: category == Category::Memory,
            // What is about a descriptor counts for that too.
            other: category != Category::Memory || on.is_some(),
        }
    }

    fn error_count<'a>(&self, of: impl Fn(ErrorKind) -> bool) -> Option<Value<'a>> {
        let failed = self.ret()? < 0;
        of(self.error_kind()).then_some(Value::U64(u64::from(failed)))
    }

    fn is_type(&self, arg: &FieldArg) -> bool {
        match arg {
            FieldArg::Key(name) => self.info().name == &**name,
            FieldArg::Index(code) => u32::from(self.code.0) == *code,
            FieldArg::None => false,
        }
    }
}

#[derive(Clone, Copy)]
struct ErrorKind {
    file: bool,
    net: bool,
    memory: bool,
    /// Nothing of the above, unless it is about a file or a socket.
    other: bool,
}

fn str(text: &str) -> Option<Value<'_>> {
    Some(Value::Str(text.as_bytes()))
}

fn number<'a>(n: u64) -> Option<Value<'a>> {
    Some(Value::U64(n))
}

fn time<'a, P: Payload>(ev: &View<'_, P>, form: Form, nanoseconds: bool, arena: &'a Bump) -> Option<Value<'a>> {
    Some(Value::Str(clock::format_time(ev.time(), ev.host.clock.utc_offset, form, nanoseconds, arena)))
}

/// `SUCCESS`, or the name of the error.
fn result<'a>(ret: i64, arena: &'a Bump) -> Value<'a> {
    if ret >= 0 {
        return Value::Str(b"SUCCESS");
    }
    match flags::errno_name(ret.unsigned_abs()) {
        Some(name) => Value::Str(name.as_bytes()),
        None => Value::Str(decimal(ret, arena)),
    }
}

/// The data of an event that has any: the text of what is not a buffer, and of an empty one.
fn buffer<'a, P: Payload>(ev: &'a View<'_, P>, arena: &'a Bump) -> Option<Value<'a>> {
    let (index, param) = ev.def?.param("data")?;
    match ev.arg(index, param) {
        Some(Arg::Bytes(bytes @ [_, ..])) => Some(Value::Bytes(bytes)),
        _ => Some(Value::Bytes(ev.raw_text(index, param, arena))),
    }
}

/// How far the event is from a time (ns since 1970), in ns: `evt.around[T]=D` means at most D ms.
fn distance<'a, P: Payload>(ev: &View<'_, P>, arg: &FieldArg) -> Option<Value<'a>> {
    let from: u64 = match arg {
        FieldArg::Key(time) => time.parse().ok()?,
        FieldArg::Index(time) => u64::from(*time),
        FieldArg::None => return None,
    };
    number(ev.time().abs_diff(from))
}

answer! {
    /// evt.*, syscall.type, util.cnt
    fn extract(ev, field, arena) {
        "evt.num" => number(ev.number),
        "evt.type" => str(ev.type_name()),
        "syscall.type" => ev.is_syscall().then(|| Value::Str(ev.type_name().as_bytes())),
        "evt.type.is" => number(u64::from(ev.is_type(&field.arg))),
        "evt.category" => str(ev.category()),
        "evt.arg" => {
            let (index, param) = ev.param_of(&field.arg)?;
            Some(Value::Str(ev.param_text(index, param, arena)))
        },
        "evt.rawarg" => ev.raw_value(&field.arg, arena),
        "evt.args" | "evt.info" => Some(Value::Str(ev.all_args(arena))),
        "evt.res" => {
            let ret = ev.ret()?;
            // A result that is declared as a number has no names for its errors.
            let named = ev.def.and_then(|def| def.at(0)).is_none_or(|param| param.ty != Type::Int64);
            Some(if named || ret >= 0 { result(ret, arena) } else { Value::Str(decimal(ret, arena)) })
        },
        "evt.rawres" => Some(Value::I64(ev.ret()?)),
        "evt.failed" => Some(Value::Bool(ev.ret()? < 0)),
        "evt.is_open_read" => Some(Value::Bool(ev.opened_for(open_bit::READ))),
        "evt.is_open_write" => Some(Value::Bool(ev.opened_for(open_bit::WRITE))),
        "evt.is_open_exec" => Some(Value::Bool(ev.opens_executable())),
        "evt.is_open_create" => Some(Value::Bool(ev.creates_file())),
        "evt.dir" => str(if ev.code.is_enter() { ">" } else { "<" }),
        "evt.time" | "evt.outputtime" => time(ev, Form::Time, true, arena),
        "evt.time.s" => time(ev, Form::Time, false, arena),
        "evt.time.iso8601" => time(ev, Form::Iso8601, true, arena),
        "evt.datetime" => time(ev, Form::DateTime, true, arena),
        "evt.datetime.s" => time(ev, Form::DateTime, false, arena),
        "evt.rawtime" => number(ev.time()),
        "evt.rawtime.s" => number(ev.time() / SECOND),
        "evt.rawtime.ns" => number(ev.time() % SECOND),
        "evt.reltime" => number(ev.time().saturating_sub(ev.host.first_event)),
        "evt.reltime.s" => number(ev.time().saturating_sub(ev.host.first_event) / SECOND),
        "evt.reltime.ns" => number(ev.time().saturating_sub(ev.host.first_event) % SECOND),
        "evt.deltatime" => number(since(ev)),
        "evt.deltatime.s" => number(since(ev) / SECOND),
        "evt.deltatime.ns" => number(since(ev) % SECOND),
        "evt.cpu" => Some(Value::I64(i64::from(ev.host.cpu))),
        "evt.hostname" => str(&ev.host.name),
        "evt.source" => str("syscall"),
        "evt.is_async" => Some(Value::Bool(ev.info().origin == Origin::Meta)),
        "evt.asynctype" => match ev.info() {
            info if info.origin != Origin::Meta => None,
            info if info.name == "asyncevent" => ev.text_of_param(1).map(Value::Str),
            info => str(info.name),
        },
        "evt.infra.docker.name" | "evt.infra.docker.container.id" | "evt.infra.docker.container.name"
            | "evt.infra.docker.container.image" => None,
        "evt.pluginname" | "evt.plugininfo" => None,
        "evt.latency" | "evt.latency.s" | "evt.latency.ns" | "evt.latency.quantized" | "evt.wait_latency" => number(0),
        "evt.latency.human" => str("0ns"),
        "evt.buffer" => buffer(ev, arena),
        "evt.buflen" => number(ev.moved()?),
        "evt.buflen.in" => number(ev.moved().filter(|_| ev.reads())?),
        "evt.buflen.out" => number(ev.moved().filter(|_| ev.sends())?),
        "evt.buflen.file" => number(ev.moved().filter(|_| ev.is_on_file())?),
        "evt.buflen.file.in" => number(ev.moved().filter(|_| ev.is_on_file() && ev.reads())?),
        "evt.buflen.file.out" => number(ev.moved().filter(|_| ev.is_on_file() && ev.sends())?),
        "evt.buflen.net" => number(ev.moved().filter(|_| ev.category() == "net")?),
        "evt.buflen.net.in" => number(ev.moved().filter(|_| ev.category() == "net" && ev.reads())?),
        "evt.buflen.net.out" => number(ev.moved().filter(|_| ev.category() == "net" && ev.sends())?),
        "evt.is_io" => Some(Value::Bool(ev.reads() || ev.writes())),
        "evt.is_io_read" => Some(Value::Bool(ev.reads())),
        "evt.is_io_write" => Some(Value::Bool(ev.writes())),
        "evt.io_dir" => {
            if ev.writes() { str("write") } else if ev.reads() { str("read") } else { None }
        },
        "evt.is_wait" => Some(Value::Bool(ev.def?.has(abi::FSN_P_WAITS))),
        "evt.is_syslog" => Some(Value::Bool(ev.writes() && ev.fd_name(arena).ends_with(b"/dev/log"))),
        "evt.count" => number(1),
        "evt.count.error" => number(u64::from(ev.ret()? < 0)),
        "evt.count.error.file" => ev.error_count(|kind| kind.file),
        "evt.count.error.net" => ev.error_count(|kind| kind.net),
        "evt.count.error.memory" => ev.error_count(|kind| kind.memory),
        "evt.count.error.other" => ev.error_count(|kind| kind.other && !kind.file && !kind.net),
        "evt.count.exit" => (!ev.code.is_enter()).then_some(Value::U64(1)),
        "evt.count.procinfo" => number(u64::from(ev.info().name == "procinfo" && ev.task.is_some_and(|t| t.is_main()))),
        "evt.count.threadinfo" => number(u64::from(ev.info().name == "procinfo")),
        "evt.around" => distance(ev, &field.arg),
        "evt.abspath" => {
            let which = match &field.arg {
                FieldArg::Key(which) => Some(&**which),
                _ => None,
            };
            fs_path::absolute(ev, which, arena)
        },
        "util.cnt" => {
            let count = ev.host.evaluations.get() + 1;
            ev.host.evaluations.set(count);
            number(count)
        },
    }
}

/// ns since the event before.
fn since<P: Payload>(ev: &View<'_, P>) -> u64 {
    if ev.previous == 0 { 0 } else { ev.time().saturating_sub(ev.previous) }
}
