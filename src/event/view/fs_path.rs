//! Paths a call works on: fs.path.*.
//!
//! Only of calls that succeeded, except opens. A relative path of an `*at` call is made absolute with the directory
//! it was given; Falco does not always manage, and a capture is told as Falco tells it ([`Payload::operand`]).

use super::{PathView, Payload, View, answer};
use crate::driver::abi;
use crate::event::params::Family;
use crate::event::value::Value;
use bumpalo::Bump;

impl<P: Payload> View<'_, P> {
    /// Calls whose paths these fields speak of: those that change names or open them.
    fn has_paths(&self) -> bool {
        let name = self.def.map_or("", |def| def.name);
        match name {
            // Falco takes only this number for a failure; of other failed opens the path is told.
            "open" | "openat" | "openat2" => self.payload.ret() != -i64::from(libc::EPERM),
            "getcwd" | "mknod" | "mknodat" | "access" | "stat" | "lstat" | "stat64" | "lstat64" | "newfstatat"
            | "chdir" | "chroot" | "creat" | "open_by_handle_at" => false,
            _ => self.payload.ret() >= 0,
        }
    }

    fn operand<'a>(&'a self, index: Option<u8>, raw: bool, arena: &'a Bump) -> Option<Value<'a>> {
        if !self.has_paths() {
            return None;
        }
        let index = index?;
        if raw {
            return self.text_of_param(index).map(Value::Str);
        }
        if self.view == PathView::AsOpened
            && self.family() == Family::Open
            && let Some(fd) = self.opened_by_path()
        {
            return Some(Value::Str(fd.path));
        }
        P::operand(self, index, arena).map(Value::Str)
    }

    /// The file of a call that changes one through its descriptor.
    fn changed_file<'a>(&'a self, arena: &'a Bump) -> Option<Value<'a>> {
        let by_descriptor = matches!(self.def?.name, "fchmod" | "fchown") && self.payload.ret() >= 0;
        (by_descriptor && self.descriptor().is_some()).then(|| Value::Str(self.fd_name(arena)))
    }

    /// The path of a call that takes a directory descriptor.
    fn beside_descriptor<'a>(&'a self, index: Option<u8>, arena: &'a Bump) -> Option<Value<'a>> {
        let index = index?;
        self.def?.at(index)?.dirfd?;
        self.path_of_param(index, arena).map(Value::Str)
    }
}

/// `evt.abspath`: `.src` and `.dst` choose of two paths, without them it is the first. Given whether or not the call
/// succeeded.
pub(super) fn absolute<'a, P: Payload>(ev: &'a View<'_, P>, which: Option<&str>, arena: &'a Bump) -> Option<Value<'a>> {
    let def = ev.def?;
    match (def.name, def.main_path) {
        ("openat" | "openat2" | "unlinkat" | "fchmodat" | "fchownat" | "mkdirat", path) => {
            return ev.beside_descriptor(path, arena);
        }
        // The kernel's path, from the root.
        ("open_by_handle_at", Some(path)) => return ev.path_of_param(path, arena).map(Value::Str),
        ("renameat" | "renameat2" | "linkat" | "symlinkat", _) => {}
        _ => return None,
    }
    // In the order of the parameters: from where, to where.
    let (mut first, mut second) = (def.path_source, def.path_target);
    if first > second {
        std::mem::swap(&mut first, &mut second);
    }
    let symlink = def.has(abi::FSN_P_USES_FD);
    match which {
        Some("dst") => ev.beside_descriptor(second, arena),
        _ if symlink => ev.beside_descriptor(second, arena),
        _ => ev.beside_descriptor(first, arena),
    }
}

answer! {
    /// fs.path.*
    fn extract(ev, _field, arena) {
        "fs.path.name" => ev.operand(ev.def?.main_path, false, arena).or_else(|| ev.changed_file(arena)),
        "fs.path.nameraw" => ev.operand(ev.def?.main_path, true, arena).or_else(|| ev.changed_file(arena)),
        "fs.path.source" => ev.operand(ev.def?.path_source, false, arena),
        "fs.path.sourceraw" => ev.operand(ev.def?.path_source, true, arena),
        "fs.path.target" => ev.operand(ev.def?.path_target, false, arena),
        "fs.path.targetraw" => ev.operand(ev.def?.path_target, true, arena),
    }
}
