//! Paths as text: made absolute and tidied without asking the file system.
//!
//! That is what a path means in rules: the names the program used, not what they resolve to. Links are not followed.

use super::arena_text::ArenaText;
use bumpalo::Bump;

/// Longest path that is resolved.
pub const MAX_PATH: usize = 1024;
/// What stands for a longer one.
const TOO_LONG: &[u8] = b"/DIR_TOO_LONG/FILENAME_TOO_LONG";
/// What stands for a directory that is not known.
pub const UNKNOWN_DIR: &[u8] = b"<UNKNOWN>";

/// `path` as seen from the directory `base`, without `.`, `..` and superfluous slashes. An unknown base is put in front as it
/// is; to any other that is not absolute the path's names are joined as they come.
pub fn absolute<'a>(base: &[u8], path: &'a [u8], arena: &'a Bump) -> &'a [u8] {
    let rooted = path.first() == Some(&b'/');
    if rooted && is_tidy(path) {
        return if path.len() > MAX_PATH { TOO_LONG } else { path };
    }
    let mut text = ArenaText::with_capacity(base.len() + path.len() + 2, arena);
    if !rooted {
        if base == UNKNOWN_DIR {
            text.push(base);
            text.push(path);
            return cut(text.finish());
        }
        if base.first() != Some(&b'/') {
            join_relative(base, path, &mut text);
            return cut(text.finish());
        }
        push_components(base, &mut text);
    }
    push_components(path, &mut text);
    if text.is_empty() {
        text.push(b"/");
    }
    cut(text.finish())
}

/// The first name continues the base: one that is a directory ends in a slash.
fn join_relative(base: &[u8], path: &[u8], text: &mut ArenaText<'_>) {
    text.push(base);
    let mut first = true;
    for component in path.split(|b| *b == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => {
                let so_far = text.as_bytes();
                let end = so_far.iter().rposition(|b| *b != b'/').map_or(0, |at| at + 1);
                let parent = memchr::memrchr(b'/', &so_far[..end]).map_or(0, |at| at + 1);
                text.truncate(parent);
            }
            name => {
                if !first && !text.is_empty() && !text.as_bytes().ends_with(b"/") {
                    text.push(b"/");
                }
                text.push(name);
            }
        }
        first = false;
    }
}

fn cut(path: &[u8]) -> &[u8] {
    if path.len() > MAX_PATH { TOO_LONG } else { path }
}

fn push_components(path: &[u8], text: &mut ArenaText<'_>) {
    for component in path.split(|b| *b == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                let parent = memchr::memrchr(b'/', text.as_bytes()).unwrap_or(0);
                text.truncate(parent);
            }
            name => {
                text.push(b"/");
                text.push(name);
            }
        }
    }
}

/// Whether two bytes side by side are `.` or `/`: without that no name but the first is empty, `.` or `..`. Eight bytes at a time,
/// for nearly all paths have none.
fn has_pair(path: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const LOW: u64 = 0x7f * ONES;
    // The high bit of each byte that is one of the two: they differ in their lowest bit.
    let marks = |word: [u8; 8]| {
        let other = (u64::from_le_bytes(word) | ONES) ^ (ONES * u64::from(b'/'));
        !(((other & LOW) + LOW) | other | LOW)
    };
    let (words, rest) = path.as_chunks();
    let (mut found, mut last) = (0, 0);
    for word in words {
        let marked = marks(*word);
        found |= marked & (marked << 8 | last);
        last = marked >> 56;
    }
    if !rest.is_empty() {
        match path.last_chunk() {
            Some(word) => {
                let marked = marks(*word);
                found |= marked & marked << 8;
            }
            None => return path.windows(2).any(|pair| pair.iter().all(|byte| matches!(byte, b'.' | b'/'))),
        }
    }
    found != 0
}

/// True when an absolute path has nothing to tidy.
fn is_tidy(path: &[u8]) -> bool {
    path == b"/"
        || (!has_pair(path) && path.last() != Some(&b'/'))
        || memchr::memchr_iter(b'/', path).all(|slash| {
            let untidy = matches!(
                path[slash + 1..],
                [] | [b'/', ..] | [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..]
            );
            !untidy
        })
}

/// The directory part: up to the last slash, `/` where there is none or only a leading one.
pub fn directory(path: &[u8]) -> &[u8] {
    match memchr::memrchr(b'/', path) {
        None | Some(0) => b"/",
        Some(at) => &path[..at],
    }
}

/// What follows the last slash.
pub fn file_name(path: &[u8]) -> &[u8] {
    memchr::memrchr(b'/', path).map_or(path, |at| &path[at + 1..])
}

/// `path` with every run of slashes made one.
pub fn single_slashes<'a>(path: &'a [u8], arena: &'a Bump) -> &'a [u8] {
    if !has_pair(path) || memchr::memchr_iter(b'/', path).all(|slash| path.get(slash + 1) != Some(&b'/')) {
        return path;
    }
    let mut text = ArenaText::with_capacity(path.len(), arena);
    let mut last = 0;
    for byte in path {
        if *byte != b'/' || last != b'/' {
            text.push(&[*byte]);
        }
        last = *byte;
    }
    text.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_found_wherever_they_stand() {
        for len in 0..26 {
            for at in 0..len {
                for (first, second) in
                    [(b'/', b'/'), (b'/', b'.'), (b'.', b'/'), (b'.', b'.'), (b'/', b'0'), (b'-', b'/')]
                {
                    let mut path = vec![b'x'; len];
                    path[at] = first;
                    path.get_mut(at + 1).into_iter().for_each(|byte| *byte = second);
                    let expected = path.windows(2).any(|pair| pair.iter().all(|byte| matches!(byte, b'.' | b'/')));
                    assert_eq!(has_pair(&path), expected, "{}", String::from_utf8_lossy(&path));
                }
            }
        }
    }

    #[test]
    fn made_absolute_and_tidied() {
        let arena = Bump::new();
        for (base, path, expected) in [
            ("/", "etc/passwd", "/etc/passwd"),
            ("/root", "a", "/root/a"),
            ("/root/", "./a//b/", "/root/a/b"),
            ("/tmp/fo/sub", "../escape", "/tmp/fo/escape"),
            ("/a", "/etc/../etc//shadow", "/etc/shadow"),
            ("/a", "../../../..", "/"),
            ("/a", "", "/a"),
            ("/a", "/", "/"),
            ("/a", "/b/", "/b"),
            ("<UNKNOWN>", "a/../b", "<UNKNOWN>a/../b"),
            ("<UNKNOWN>", "/b", "/b"),
            ("", "a/b", "a/b"),
            ("a", "b/../../c", "c"),
            ("a//", "b//c/.", "a//b/c"),
            ("x/y/", "../z", "x/z"),
            ("", "b", "b"),
        ] {
            let got = absolute(base.as_bytes(), path.as_bytes(), &arena);
            assert_eq!(String::from_utf8_lossy(got), expected, "{base} {path}");
        }
    }

    #[test]
    fn too_long_is_said_so() {
        let arena = Bump::new();
        let long = vec![b'a'; 1025];
        assert_eq!(absolute(b"/", &long, &arena), TOO_LONG);
    }

    #[test]
    fn parts_of_a_path() {
        assert_eq!(directory(b"/etc/passwd"), b"/etc");
        assert_eq!(directory(b"/etc"), b"/");
        assert_eq!(directory(b"name"), b"/");
        assert_eq!(directory(b""), b"/");
        assert_eq!(file_name(b"/etc/passwd"), b"passwd");
        assert_eq!(file_name(b"name"), b"name");
        let arena = Bump::new();
        assert_eq!(single_slashes(b"//a///b/", &arena), b"/a/b/");
    }
}
