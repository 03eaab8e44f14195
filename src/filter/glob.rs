//! Shell patterns as `fnmatch(3)` without flags reads them: `*` and `?` match `/` and leading dots too.
//!
//! Not a path matcher. Invariant: matching is iterative and takes at most pattern x text steps; only the last `*` is
//! ever returned to.

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Atom {
    Byte(u8),
    Any,
    Star,
    Set(Box<ByteSet>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ByteSet([u64; 4]);

impl ByteSet {
    fn insert(&mut self, b: u8) {
        self.0[b as usize / 64] |= 1 << (b % 64);
    }

    fn contains(&self, b: u8) -> bool {
        self.0[b as usize / 64] >> (b % 64) & 1 == 1
    }
}

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Glob {
    atoms: Box<[Atom]>,
    fold: bool,
}

impl Glob {
    pub fn new(pattern: &[u8]) -> Self {
        Self::build(pattern, false)
    }

    /// ASCII letters match either case.
    pub fn ignoring_case(pattern: &[u8]) -> Self {
        Self::build(pattern, true)
    }

    fn build(pattern: &[u8], fold: bool) -> Self {
        let lower = |b: u8| if fold { b.to_ascii_lowercase() } else { b };
        let mut atoms = Vec::new();
        let mut i = 0;
        while i < pattern.len() {
            match pattern[i] {
                b'*' => {
                    if atoms.last() != Some(&Atom::Star) {
                        atoms.push(Atom::Star);
                    }
                }
                b'?' => atoms.push(Atom::Any),
                b'\\' if i + 1 < pattern.len() => {
                    i += 1;
                    atoms.push(Atom::Byte(lower(pattern[i])));
                }
                b'[' => match bracket(pattern, i, fold) {
                    Some((set, next)) => {
                        atoms.push(Atom::Set(Box::new(set)));
                        i = next;
                        continue;
                    }
                    // Never closed: an ordinary character.
                    None => atoms.push(Atom::Byte(b'[')),
                },
                b => atoms.push(Atom::Byte(lower(b))),
            }
            i += 1;
        }
        Glob { atoms: atoms.into(), fold }
    }

    /// The text that whatever matches begins with; empty when the case of letters does not count.
    pub fn literal_prefix(&self) -> Vec<u8> {
        let plain = self.atoms.iter().take(if self.fold { 0 } else { self.atoms.len() });
        plain.map_while(|atom| if let Atom::Byte(b) = atom { Some(*b) } else { None }).collect()
    }

    pub fn is_match(&self, text: &[u8]) -> bool {
        let lower = |b: u8| if self.fold { b.to_ascii_lowercase() } else { b };
        let (mut t, mut p) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        while t < text.len() {
            match self.atoms.get(p) {
                Some(Atom::Star) => {
                    p += 1;
                    retry = Some((p, t));
                    continue;
                }
                Some(atom) if matches_one(atom, lower(text[t])) => {
                    p += 1;
                    t += 1;
                    continue;
                }
                _ => {}
            }
            // Let the last star swallow one byte more.
            let Some((star, from)) = retry else { return false };
            retry = Some((star, from + 1));
            p = star;
            t = from + 1;
        }
        self.atoms[p..].iter().all(|atom| *atom == Atom::Star)
    }
}

fn matches_one(atom: &Atom, b: u8) -> bool {
    match atom {
        Atom::Byte(c) => *c == b,
        Atom::Any => true,
        Atom::Set(set) => set.contains(b),
        Atom::Star => false,
    }
}

/// Reads a bracket expression that starts at `i`; gives the set and the index behind it.
fn bracket(pattern: &[u8], i: usize, fold: bool) -> Option<(ByteSet, usize)> {
    let mut set = ByteSet([0; 4]);
    let mut add = |b: u8| {
        set.insert(b);
        if fold {
            set.insert(b.to_ascii_lowercase());
            set.insert(b.to_ascii_uppercase());
        }
    };
    let mut at = i + 1;
    let negate = matches!(pattern.get(at), Some(b'!' | b'^'));
    at += usize::from(negate);
    let mut first = true;
    loop {
        let b = *pattern.get(at)?;
        if b == b']' && !first {
            break;
        }
        first = false;
        if b == b'[' && pattern.get(at + 1) == Some(&b':') {
            let end = pattern[at + 2..].windows(2).position(|w| w == b":]").map(|n| at + 2 + n);
            if let Some(class) = end.and_then(|end| class(&pattern[at + 2..end])) {
                (0..=255u8).filter(class).for_each(&mut add);
                at = end? + 2;
                continue;
            }
        }
        let (low, next) = member(pattern, at)?;
        at = next;
        // A dash before the closing bracket is a dash.
        if pattern.get(at) == Some(&b'-') && pattern.get(at + 1).is_some_and(|&b| b != b']') {
            let (high, next) = member(pattern, at + 1)?;
            at = next;
            (low..=high).for_each(&mut add);
        } else {
            add(low);
        }
    }
    if negate {
        set.0.iter_mut().for_each(|word| *word = !*word);
    }
    Some((set, at + 1))
}

fn member(pattern: &[u8], at: usize) -> Option<(u8, usize)> {
    match *pattern.get(at)? {
        b'\\' => Some((*pattern.get(at + 1)?, at + 2)),
        b => Some((b, at + 1)),
    }
}

fn class(name: &[u8]) -> Option<fn(&u8) -> bool> {
    Some(match name {
        b"alpha" => u8::is_ascii_alphabetic,
        b"digit" => u8::is_ascii_digit,
        b"alnum" => u8::is_ascii_alphanumeric,
        b"upper" => u8::is_ascii_uppercase,
        b"lower" => u8::is_ascii_lowercase,
        b"space" => |b| b.is_ascii_whitespace() || *b == 0x0b,
        b"blank" => |b| matches!(b, b' ' | b'\t'),
        b"punct" => u8::is_ascii_punctuation,
        b"print" => |b| (0x20..0x7f).contains(b),
        b"graph" => u8::is_ascii_graphic,
        b"cntrl" => u8::is_ascii_control,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "a/b/c", true),
            ("a?c", "a/c", true),
            ("*.log", ".log", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            (r"\*", "*", true),
            (r"\*", "x", false),
            ("[[:digit:]]*", "7up", true),
            ("[", "[", true),
            ("a*b*c", "aXbXbXc", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(Glob::new(pattern.as_bytes()).is_match(text.as_bytes()), expected, "{pattern} {text}");
        }
        assert!(Glob::ignoring_case(b"A[B-C]*").is_match(b"abzz"));
        assert!(!Glob::new(b"A*").is_match(b"abzz"));
    }

    #[test]
    fn many_stars_stay_cheap() {
        let text = vec![b'a'; 4000];
        assert!(!Glob::new(b"a*a*a*a*a*a*a*a*a*a*a*a*b").is_match(&text));
    }

    /// The C library is the definition; agree with it on what proptest can think of.
    #[test]
    fn agrees_with_fnmatch() {
        use proptest::prelude::*;
        let text = proptest::collection::vec(prop::sample::select(b"ab/.]-".to_vec()), 0..8);
        let pattern = proptest::collection::vec(prop::sample::select(b"ab/.*?[]!-\\".to_vec()), 0..8);
        let config = ProptestConfig { cases: 4000, max_global_rejects: 100_000, ..ProptestConfig::default() };
        proptest!(config, |(text in text, pattern in pattern)| {
            // A pattern that ends in a backslash or opens a bracket after one is undefined by POSIX.
            prop_assume!(!pattern.ends_with(b"\\") && !ambiguous(&pattern));
            let (p, t) = (CString::new(pattern.clone()).unwrap(), CString::new(text.clone()).unwrap());
            // SAFETY: both are NUL-terminated strings that live through the call.
            let theirs = unsafe { libc::fnmatch(p.as_ptr(), t.as_ptr(), 0) } == 0;
            prop_assert_eq!(Glob::new(&pattern).is_match(&text), theirs);
        });
    }

    /// Brackets that are not closed, or hold escapes, reversed ranges or what could open a collating symbol (`[.`):
    /// implementations differ.
    fn ambiguous(pattern: &[u8]) -> bool {
        if pattern.windows(2).any(|pair| pair == b"[.") {
            return true;
        }
        let Some(open) = pattern.iter().position(|&b| b == b'[') else { return false };
        let rest = &pattern[open..];
        rest.contains(&b'\\') || bracket(pattern, open, false).is_none() || {
            let (_, end) = bracket(pattern, open, false).unwrap();
            pattern[open..end].contains(&b'-') || ambiguous(&pattern[end..])
        }
    }
}
