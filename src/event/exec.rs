//! Process images: the dictionary that task records refer to.
//!
//! The module sends each image once per ring and never says that one is gone, so the dictionary is bounded here:
//! when it is full the reader asks the module to forget what it has sent ([`Execs::is_full`]), and starts empty.
//! Images are only ever added between two resets, so an index stays valid as long as the tasks that hold it.

use super::record::{ExecId, ExecRecord};
use crate::driver::abi::{self, fsn_exec};
use hashbrown::HashMap;

/// Images and bytes of text kept per ring before a reset is asked for.
pub const MAX_EXECS: usize = 32 * 1024;
/// See [`MAX_EXECS`].
pub const MAX_TEXT: usize = 16 << 20;

/// Place of an image in the dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExecIndex(u32);

/// A process image. Every text is built once, when the record arrives.
#[derive(Debug)]
pub struct Exec {
    /// Numbers and flags as the module sent them.
    pub head: fsn_exec,
    text: Box<[u8]>,
    exe: u32,
    filename: u32,
    args: u32,
    env: u32,
    joined: u32,
    arg_count: u32,
    /// See [`ExecRecord::writable`].
    pub writable: Option<bool>,
}

impl Exec {
    fn new(record: &ExecRecord<'_>) -> Exec {
        let mut exe = record.exe;
        if record.head.flags & abi::FSN_EXEC_DELETED != 0 {
            exe = exe.strip_suffix(DELETED).unwrap_or(exe);
        }
        if record.head.flags & abi::FSN_EXEC_MEMFD != 0 {
            // The kernel's own file system has no root the path could start at.
            exe = exe.strip_prefix(b"/").unwrap_or(exe);
        }
        let mut text = Vec::with_capacity(exe.len() + record.filename.len() + 2 * record.args.len() + record.env.len());
        let mut end_of = |part: &[u8]| {
            text.extend_from_slice(part);
            text.len() as u32
        };
        let exe = end_of(exe);
        let filename = end_of(record.filename);
        let args = end_of(record.args);
        let env = end_of(record.env);
        let mut arg_count = 0;
        for (i, arg) in strings(record.args).skip(1).enumerate() {
            if i > 0 {
                text.push(b' ');
            }
            text.extend_from_slice(arg);
            arg_count += 1;
        }
        let joined = text.len() as u32;
        Exec {
            head: *record.head,
            text: text.into(),
            exe,
            filename,
            args,
            env,
            joined,
            arg_count,
            writable: record.writable,
        }
    }

    fn part(&self, from: u32, to: u32) -> &[u8] {
        self.text.get(from as usize..to as usize).unwrap_or_default()
    }

    /// Path of the executable, without what the kernel adds to deleted files.
    pub fn exe_path(&self) -> &[u8] {
        self.part(0, self.exe)
    }

    /// What was given to exec.
    pub fn filename(&self) -> &[u8] {
        self.part(self.exe, self.filename)
    }

    /// argv as it was, each text NUL-terminated.
    pub fn argv(&self) -> &[u8] {
        self.part(self.filename, self.args)
    }

    /// argv[0]; empty when there is none.
    pub fn argv0(&self) -> &[u8] {
        strings(self.argv()).next().unwrap_or_default()
    }

    /// The arguments after argv[0].
    pub fn args(&self) -> impl Iterator<Item = &[u8]> {
        strings(self.argv()).skip(1)
    }

    /// Number of arguments after argv[0].
    pub fn arg_count(&self) -> u32 {
        self.arg_count
    }

    /// The arguments after argv[0], NUL-terminated each.
    pub fn raw_args(&self) -> &[u8] {
        let argv = self.argv();
        memchr::memchr(0, argv).map_or(&[], |end| &argv[end + 1..])
    }

    /// The arguments after argv[0] joined by blanks.
    pub fn joined_args(&self) -> &[u8] {
        self.part(self.env, self.joined)
    }

    /// Environment, each text NUL-terminated; empty when it was not asked for.
    pub fn environ(&self) -> &[u8] {
        self.part(self.args, self.env)
    }

    /// The value of an environment variable, or None.
    pub fn env(&self, name: &[u8]) -> Option<&[u8]> {
        strings(self.environ()).find_map(|entry| entry.strip_prefix(name)?.strip_prefix(b"="))
    }
}

/// What the kernel puts behind the path of an unlinked file.
pub const DELETED: &[u8] = b" (deleted)";

/// The texts of a block of NUL-terminated ones; the last may lack its NUL (it was cut).
pub fn strings(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let block = block.strip_suffix(b"\0").unwrap_or(block);
    let empty = block.is_empty();
    block.split(|b| *b == 0).skip(usize::from(empty))
}

/// The images of one ring.
#[derive(Debug, Default)]
pub struct Execs {
    all: Vec<Exec>,
    by_id: HashMap<u64, ExecIndex>,
    text: usize,
}

impl Execs {
    /// Keeps an image. One that is known already is replaced for tasks to come; those that hold it keep the old.
    pub(crate) fn insert(&mut self, record: &ExecRecord<'_>) {
        let exec = Exec::new(record);
        self.text += exec.text.len();
        let index = ExecIndex(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        self.by_id.insert(exec.head.id, index);
        self.all.push(exec);
    }

    pub(crate) fn clear(&mut self) {
        *self = Execs::default();
    }

    /// Where the image with an id is; None for 0 and for one that was never sent.
    pub fn find(&self, id: ExecId) -> Option<ExecIndex> {
        self.by_id.get(&id.0).copied()
    }

    /// The image at an index, or None when there was a reset since.
    pub fn get(&self, index: ExecIndex) -> Option<&Exec> {
        self.all.get(index.0 as usize)
    }

    /// Images known.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// True when the module should be asked to forget what it has sent (`fsn_consumer.reset`), so that images of
    /// processes long gone leave memory.
    pub fn is_full(&self) -> bool {
        self.all.len() >= MAX_EXECS || self.text >= MAX_TEXT
    }

    /// Images and text at which even a module that does not answer is not listened to any more.
    pub(super) fn is_overfull(&self) -> bool {
        self.all.len() >= 2 * MAX_EXECS || self.text >= 2 * MAX_TEXT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_strings() {
        let all = |b: &'static [u8]| strings(b).collect::<Vec<_>>();
        assert_eq!(all(b""), Vec::<&[u8]>::new());
        assert_eq!(all(b"a\0b c\0"), [b"a".as_slice(), b"b c"]);
        assert_eq!(all(b"a\0\0c"), [b"a".as_slice(), b"", b"c"]);
        assert_eq!(all(b"a\0\0"), [b"a".as_slice(), b""]);
    }

    #[test]
    fn texts_of_an_image() {
        let head = fsn_exec { flags: abi::FSN_EXEC_DELETED | abi::FSN_EXEC_MEMFD, id: 7, ..Default::default() };
        let exec = Exec::new(&ExecRecord {
            head: &head,
            exe: b"/memfd:x (deleted)",
            filename: b"/proc/self/fd/3",
            args: b"name\0-c\0two words\0",
            env: b"HOME=/root\0A=\0HOMER=no\0",
            writable: None,
        });
        assert_eq!(exec.exe_path(), b"memfd:x");
        assert_eq!(exec.filename(), b"/proc/self/fd/3");
        assert_eq!(exec.argv0(), b"name");
        assert_eq!(exec.joined_args(), b"-c two words");
        assert_eq!(exec.raw_args(), b"-c\0two words\0");
        assert_eq!(exec.arg_count(), 2);
        assert_eq!(exec.env(b"HOME"), Some(b"/root".as_slice()));
        assert_eq!(exec.env(b"A"), Some(b"".as_slice()));
        assert_eq!(exec.env(b"B"), None);
    }

    #[test]
    fn the_dictionary_knows_when_it_is_full() {
        let mut execs = Execs::default();
        let head = fsn_exec { id: 3, ..Default::default() };
        let record = ExecRecord { head: &head, exe: b"/a", filename: b"", args: b"", env: b"", writable: None };
        for _ in 0..MAX_EXECS {
            assert!(!execs.is_full());
            execs.insert(&record);
        }
        assert!(execs.is_full() && !execs.is_overfull());
        assert!(execs.find(ExecId(3)).and_then(|i| execs.get(i)).is_some());
        execs.clear();
        assert!(execs.find(ExecId(3)).is_none());
    }
}
