//! The control groups of a task: what rules see of them, and the container they tell of.
//!
//! Taking them apart costs more than all else that a task record says, and most tasks have those of another one: they share it.
//! Invariant: a text that was taken apart does not change.

use super::exec::strings;
use crate::enrich::container::{self, Kind};
use std::ops::Range;
use std::sync::Arc;

/// Control groups, taken apart.
#[derive(Debug, Default)]
pub struct Cgroups {
    /// As the module sent them; behind that the texts made of them.
    text: Vec<u8>,
    raw: usize,
    shown: Range<usize>,
    container: Option<Found>,
    number: u64,
}

/// None at all.
pub static NONE: Cgroups = Cgroups { text: Vec::new(), raw: 0, shown: 0..0, container: None, number: 1 };

/// A container, as places in the text.
#[derive(Debug)]
struct Found {
    kind: Kind,
    id: Range<usize>,
    full_id: Range<usize>,
    pod_uid: Range<usize>,
}

impl Cgroups {
    /// Of `controllers=path`, each NUL-terminated.
    pub fn new(raw: &[u8]) -> Cgroups {
        let mut text = raw.to_vec();
        let mut append = |write: &dyn Fn(&mut Vec<u8>)| {
            let start = text.len();
            write(&mut text);
            start..text.len()
        };
        let shown = append(&|text| show(raw, text));
        let container = container::find(entries(raw).map(|(_, path)| path)).map(|found| Found {
            kind: found.kind,
            id: append(&|text| text.extend_from_slice(found.id())),
            full_id: append(&|text| text.extend_from_slice(found.full_id)),
            // systemd's form of the uid has underscores.
            pod_uid: append(&|text| {
                text.extend(found.pod_uid.unwrap_or_default().iter().map(|b| if *b == b'_' { b'-' } else { *b }));
            }),
        });
        Cgroups { text, raw: raw.len(), shown, container, number: 0 }
    }

    fn part(&self, range: &Range<usize>) -> &[u8] {
        &self.text[range.clone()]
    }

    /// Not twice the same for two texts of one [`Met`]; 0 for those of none.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// As sent: `controllers=path`, each NUL-terminated.
    pub fn raw(&self) -> &[u8] {
        &self.text[..self.raw]
    }

    /// One `controller=path` for each, separated by blanks.
    pub fn text(&self) -> &[u8] {
        self.part(&self.shown)
    }

    /// The path of a controller; the unified one when no hierarchy of its own has it.
    pub fn path(&self, controller: &[u8]) -> Option<&[u8]> {
        entries(self.raw())
            .find(|(controllers, _)| {
                let is_it = |c: &[u8]| c == controller || (c == b"io" && controller == b"blkio");
                controllers.split(|b| *b == b',').any(is_it)
            })
            .or_else(|| entries(self.raw()).find(|(controllers, _)| controllers.is_empty()))
            .map(|(_, path)| path)
    }

    /// The container's kind, or None on the host.
    pub fn container_kind(&self) -> Option<Kind> {
        self.container.as_ref().map(|c| c.kind)
    }

    /// The container's id as rules see it, or None on the host.
    pub fn container_id(&self) -> Option<&[u8]> {
        self.container.as_ref().map(|c| self.part(&c.id))
    }

    /// The container's id as the control groups have it, or None on the host.
    pub fn container_full_id(&self) -> Option<&[u8]> {
        self.container.as_ref().map(|c| self.part(&c.full_id))
    }

    /// The uid of the container's Kubernetes pod, or None.
    pub fn pod_uid(&self) -> Option<&[u8]> {
        self.container.as_ref().map(|c| self.part(&c.pod_uid)).filter(|uid| !uid.is_empty())
    }
}

/// Those taken apart last.
#[derive(Debug, Default)]
pub struct Met {
    last: [Option<Arc<Cgroups>>; 8],
    next: usize,
    /// Control groups taken apart so far.
    taken: u64,
}

impl Met {
    /// Control groups as sent, taken apart.
    pub fn of(&mut self, raw: &[u8]) -> Arc<Cgroups> {
        if let Some(known) = self.last.iter().flatten().find(|known| known.raw() == raw) {
            return known.clone();
        }
        self.taken += 1;
        let new = Arc::new(Cgroups { number: NONE.number + self.taken, ..Cgroups::new(raw) });
        self.last[self.next] = Some(new.clone());
        self.next = (self.next + 1) % self.last.len();
        new
    }
}

/// `controllers=path` in two.
fn entries(raw: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    strings(raw).filter_map(|entry| {
        let at = memchr::memchr(b'=', entry)?;
        Some((&entry[..at], &entry[at + 1..]))
    })
}

/// The controllers of the unified hierarchy, which has one path for all.
const UNIFIED: [&[u8]; 8] = [b"cpuset", b"cpu", b"blkio", b"memory", b"hugetlb", b"pids", b"rdma", b"misc"];

fn show(raw: &[u8], text: &mut Vec<u8>) {
    let start = text.len();
    let mut entry = |controller: &[u8], path: &[u8]| {
        if text.len() > start {
            text.push(b' ');
        }
        // Rules know it by its older name.
        text.extend_from_slice(if controller == b"io" { b"blkio" } else { controller });
        text.push(b'=');
        text.extend_from_slice(path);
    };
    // On a host with both, the unified hierarchy usually has no controllers.
    let others = entries(raw).any(|(controllers, _)| !controllers.is_empty());
    for (controllers, path) in entries(raw) {
        if !controllers.is_empty() {
            controllers.split(|b| *b == b',').for_each(|c| entry(c, path));
        } else if !others {
            UNIFIED.iter().for_each(|c| entry(c, path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let text = |raw: &[u8]| String::from_utf8_lossy(Cgroups::new(raw).text()).into_owned();
        assert_eq!(text(b"=/a\0"), "cpuset=/a cpu=/a blkio=/a memory=/a hugetlb=/a pids=/a rdma=/a misc=/a");
        assert_eq!(text(b"=/u\0cpu,cpuacct=/b\0pids=/c\0"), "cpu=/b cpuacct=/b pids=/c");
        assert_eq!(text(b""), "");
        assert_eq!(text(b"junk\0"), "");
    }

    #[test]
    fn the_same_are_shared_and_old_ones_forgotten() {
        let mut met = Met::default();
        let of = |n: usize| format!("=/group/{n}\0").into_bytes();
        let first = met.of(&of(0));
        assert!(Arc::ptr_eq(&first, &met.of(&of(0))));
        assert_eq!(first.path(b"cpu"), Some(&b"/group/0"[..]));
        (1..=8).for_each(|n| assert_eq!(met.of(&of(n)).raw(), of(n)));
        let again = met.of(&of(0));
        assert!(!Arc::ptr_eq(&first, &again));
        assert_eq!(first.text(), again.text());
    }
}
