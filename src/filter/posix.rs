//! `regex`: POSIX patterns, matched against the whole subject.
//!
//! The `regex` crate speaks Perl's dialect; this translates the POSIX dialect Falco's engine accepts (no `\d`, no
//! `(?:`, brackets taken literally) so that a pattern means the same in both. Longest-match plays no part in a match
//! of the whole subject. Invariant: linear time in the subject, whatever the pattern.
//!
//! Subjects are UTF-8. Any number of any characters, or of all but some ASCII ones, is looked for byte by byte (`(?-u:.)*`), which
//! makes automata a tenth as large and is the same: within a character no byte is ASCII, so whatever takes one of its bytes may take
//! the others, and everything else begins with whole characters.

use hashbrown::HashMap;
use regex_automata::meta;
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::util::syntax;
use regex_syntax::hir::{Class, Hir, HirKind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A pattern that is valid. Its automaton is made when it is asked for the first time, as most patterns never are; one that may be
/// large at once, since the loop that asks it would stand still.
#[derive(Clone, Debug)]
pub struct Pattern(Arc<Valid>);

#[derive(Debug)]
struct Valid {
    translated: String,
    most: usize,
    automaton: OnceLock<meta::Regex>,
}

/// The largest automaton, in bytes. What may be as large is not left to whoever asks it first.
pub const MOST: usize = 1 << 20;

impl Pattern {
    /// The error says what is wrong with it.
    pub fn new(pattern: &str) -> Result<Pattern, String> {
        let translated = format!(r"\A(?:{})\z", translate(pattern)?);
        let parsed = syntax::parse_with(&translated, &syntax())
            .map_err(|error| error.to_string().lines().last().unwrap_or_default().trim().to_owned())?;
        let (most, automaton) = (most(&parsed), OnceLock::new());
        if most > MOST {
            let built = meta::Builder::new().configure(config().nfa_size_limit(Some(MOST))).build_from_hir(&parsed);
            let built = built.map_err(|error| match error.size_limit() {
                Some(_) => "pattern too large".to_owned(),
                None => error.to_string(),
            })?;
            let _ = automaton.set(built);
        }
        Ok(Pattern(Arc::new(Valid { translated, most, automaton })))
    }

    /// In the dialect of the `regex` crate, to be read with [`syntax`].
    pub fn translated(&self) -> &str {
        &self.0.translated
    }

    /// Its automaton is not larger, in bytes, and most are far smaller.
    pub fn most(&self) -> usize {
        self.0.most
    }

    #[inline]
    pub fn is_match(&self, subject: &[u8]) -> bool {
        self.0.automaton.get_or_init(|| self.build()).is_match(subject)
    }

    #[cold]
    fn build(&self) -> meta::Regex {
        let built = meta::Builder::new().configure(config()).syntax(syntax()).build(&self.0.translated);
        built.expect("its text was parsed before, and its size has no limit")
    }
}

/// More bytes than an automaton for this takes. What may be too large is built to see whether it is; nothing else is.
fn most(pattern: &Hir) -> usize {
    // A state and what belongs to it; a range of characters in UTF-8 is as many sequences of four bytes as this.
    const STATE: usize = 100;
    const SEQUENCES: usize = 10;
    let states = match pattern.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Class(Class::Bytes(class)) => class.ranges().len(),
        HirKind::Class(Class::Unicode(class)) => class.ranges().len().saturating_mul(SEQUENCES * 4),
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min).max(repetition.min).max(1) as usize;
            return most(&repetition.sub).saturating_add(2 * STATE).saturating_mul(times.saturating_add(1));
        }
        HirKind::Capture(capture) => return most(&capture.sub).saturating_add(2 * STATE),
        HirKind::Concat(all) | HirKind::Alternation(all) => {
            return all.iter().fold(2 * STATE, |sum, one| sum.saturating_add(most(one)).saturating_add(STATE));
        }
    };
    states.saturating_add(1).saturating_mul(STATE)
}

/// How patterns are compiled: their automata grow while they are asked, which most of them never are, and nobody asks where
/// one matches.
pub fn config() -> meta::Config {
    meta::Config::new()
        .which_captures(WhichCaptures::None)
        .utf8_empty(false)
        .nfa_size_limit(None)
        .dfa(false)
        .onepass(false)
}

/// How translated patterns are read.
pub fn syntax() -> syntax::Config {
    syntax::Config::new().multi_line(true).utf8(false)
}

/// Patterns that are known: whoever loads rules asks for each several times.
#[derive(Clone, Debug, Default)]
pub struct Patterns(Arc<Mutex<HashMap<String, Pattern>>>);

impl Patterns {
    /// A pattern, made once.
    pub fn get(&self, pattern: &str) -> Result<Pattern, String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pattern) = known.get(pattern) {
            return Ok(pattern.clone());
        }
        let compiled = Pattern::new(pattern)?;
        known.insert(pattern.to_owned(), compiled.clone());
        Ok(compiled)
    }
}

fn push_literal(out: &mut String, c: char) {
    use std::fmt::Write;
    if c.is_alphanumeric() {
        out.push(c);
    } else {
        // Writing into a String cannot fail.
        let _ = write!(out, r"\x{{{:x}}}", c as u32);
    }
}

fn translate(pattern: &str) -> Result<String, String> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut i = 0;
    // Where what matches nearly any character begins, if that was the last thing.
    let mut wide = None;
    while i < chars.len() {
        let last = std::mem::take(&mut wide);
        match chars[i] {
            '\\' => {
                let (c, next) = escape(&chars, i)?;
                push_literal(&mut out, c);
                i = next;
                continue;
            }
            '[' => {
                let start = out.len();
                let (next, is_wide) = bracket(&chars, i, &mut out)?;
                wide = is_wide.then_some(start);
                i = next;
                continue;
            }
            '(' if chars.get(i + 1) == Some(&'?') => {
                return Err("missing argument to repetition operator: ?".into());
            }
            '{' => match repetition(&chars, i) {
                Some(next) => {
                    out.extend(&chars[i..next]);
                    i = next;
                    continue;
                }
                // Not a count: the character itself.
                None => push_literal(&mut out, '{'),
            },
            '*' | '+' | '?' => {
                // `a+?` is `(a+)?` here, not a lazy plus.
                let run = chars[i..].iter().take_while(|c| matches!(c, '*' | '+' | '?')).count();
                let all = |c| chars[i..i + run].iter().all(|&x| x == c);
                let repeated = if all('+') {
                    '+'
                } else if all('?') {
                    '?'
                } else {
                    '*'
                };
                match last.filter(|_| repeated != '?') {
                    None => out.push(repeated),
                    Some(start) => {
                        let one = out.split_off(start);
                        out.push_str(&match repeated {
                            '*' => format!("(?-u:{one})*"),
                            // One character, and bytes behind it.
                            _ => format!("(?:{one}(?-u:{one})*)"),
                        });
                    }
                }
                i += run;
                continue;
            }
            '.' => {
                wide = Some(out.len());
                out.push('.');
            }
            c @ ('^' | '$' | '|' | '(' | ')') => out.push(c),
            c => push_literal(&mut out, c),
        }
        i += 1;
    }
    Ok(out)
}

/// `{n}`, `{n,}`, `{n,m}`: the index behind it.
fn repetition(chars: &[char], i: usize) -> Option<usize> {
    let close = i + chars[i..].iter().position(|&c| c == '}')?;
    let inner: String = chars[i + 1..close].iter().collect();
    let (low, high) = inner.split_once(',').unwrap_or((&inner, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    (!low.is_empty() && digits(low) && digits(high)).then_some(close + 1)
}

fn escape(chars: &[char], i: usize) -> Result<(char, usize), String> {
    let Some(&c) = chars.get(i + 1) else { return Err("trailing \\".into()) };
    let simple = |c| Ok((c, i + 2));
    match c {
        'a' => simple('\x07'),
        'f' => simple('\x0c'),
        'n' => simple('\n'),
        'r' => simple('\r'),
        't' => simple('\t'),
        'v' => simple('\x0b'),
        'x' => {
            let (from, to, next) = if chars.get(i + 2) == Some(&'{') {
                let close = chars[i..].iter().position(|&c| c == '}').map_or(0, |n| i + n);
                (i + 3, close, close + 1)
            } else {
                (i + 2, i + 4, i + 4)
            };
            chars
                .get(from..to)
                .and_then(|hex| u32::from_str_radix(&hex.iter().collect::<String>(), 16).ok())
                .and_then(char::from_u32)
                .map(|c| (c, next))
                .ok_or_else(|| r"invalid escape sequence: \x".into())
        }
        c if c.is_ascii_alphanumeric() => Err(format!(r"invalid escape sequence: \{c}")),
        c => simple(c),
    }
}

const CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// Translates a bracket expression that starts at `i`; gives the index behind it, and whether it is all but some ASCII characters.
fn bracket(chars: &[char], i: usize, out: &mut String) -> Result<(usize, bool), String> {
    let missing = || "missing ]".to_owned();
    let mut at = i + 1;
    out.push('[');
    let mut is_wide = chars.get(at) == Some(&'^');
    if is_wide {
        out.push('^');
        at += 1;
    }
    let mut first = true;
    loop {
        match *chars.get(at).ok_or_else(missing)? {
            ']' if !first => {
                out.push(']');
                return Ok((at + 1, is_wide));
            }
            '[' if chars.get(at + 1) == Some(&':') => {
                let end = (at + 2..chars.len().saturating_sub(1))
                    .find(|&n| chars[n] == ':' && chars[n + 1] == ']')
                    .ok_or_else(missing)?;
                let name: String = chars[at + 2..end].iter().collect();
                if !CLASSES.contains(&name.trim_start_matches('^')) {
                    return Err(format!("invalid character class: [:{name}:]"));
                }
                is_wide &= !name.starts_with('^');
                out.extend(&chars[at..end + 2]);
                at = end + 2;
            }
            _ => {
                let (low, next) = member(chars, at)?;
                is_wide &= low.is_ascii();
                push_literal(out, low);
                at = next;
                if chars.get(at) == Some(&'-') && chars.get(at + 1).is_some_and(|&c| c != ']') {
                    let (high, next) = member(chars, at + 1)?;
                    is_wide &= high.is_ascii();
                    out.push('-');
                    push_literal(out, high);
                    at = next;
                }
            }
        }
        first = false;
    }
}

fn member(chars: &[char], at: usize) -> Result<(char, usize), String> {
    match chars[at] {
        '\\' => escape(chars, at),
        c => Ok((c, at + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex_automata::nfa::thompson;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern).unwrap().is_match(text.as_bytes())
    }

    #[test]
    fn the_whole_subject_must_match() {
        assert!(matches("a|ab", "ab") && !matches("a", "ab"));
        assert!(matches("^/etc/.*$", "/etc/passwd"));
        assert!(!matches("a.b", "a\nb"));
        assert!(matches("[[:alpha:]_]+", "abc_d") && matches("[]a]+", "]a"));
        assert!(matches("[a&&b]+", "a&b"));
        assert!(matches("a{2,3}", "aaa") && matches("a{x", "a{x"));
        assert!(matches("(a+?)", "") && matches(r"\.\/x", "./x"));
        assert!(matches("caf.", "café"));
    }

    #[test]
    fn perl_only_syntax_is_an_error() {
        for bad in [r"\d+", r"\bword", "(?i)x", "(", "[a", r"a\", "[[:nope:]]", "*a"] {
            assert!(Pattern::new(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        /// Looking byte by byte is the same as looking character by character.
        #[test]
        fn bytes_do_as_well_as_characters(pattern in pattern(), texts in prop::collection::vec("[aébß€ \u{10348}.]{0,6}", 8)) {
            let translated = translate(&pattern).unwrap();
            let built = |body: &str| regex::bytes::Regex::new(&format!(r"\A(?m:{body})\z")).unwrap();
            let (bytes, characters) = (built(&translated), built(&translated.replace("(?-u:", "(?:")));
            for text in texts {
                prop_assert_eq!(
                    bytes.is_match(text.as_bytes()), characters.is_match(text.as_bytes()), "{:?} {:?}", translated, text
                );
            }
        }
    }

    fn size(pattern: &Hir, reverse: bool) -> usize {
        let config = thompson::Config::new().which_captures(WhichCaptures::None).utf8(false).reverse(reverse);
        thompson::Compiler::new().configure(config).build_from_hir(pattern).unwrap().memory_usage()
    }

    proptest! {
        /// What is not built to see how large it is has room below the limit.
        #[test]
        fn no_automaton_is_larger_than_it_may_be(pattern in pattern(), times in prop::sample::select(vec!["", "{7}", "{2,9}", "{3,}"])) {
            let translated = translate(&format!("([[:alpha:]_]+|x|[^\u{e9}-\u{20ac}]|{pattern}){times}")).unwrap();
            let parsed = syntax::parse_with(&translated, &syntax()).unwrap();
            for reverse in [false, true] {
                prop_assert!(size(&parsed, reverse) <= most(&parsed), "{translated}: {} {}", size(&parsed, reverse), most(&parsed));
            }
        }
    }

    #[test]
    fn what_cannot_be_large_is_not_built_before_it_is_asked() {
        let small = Pattern::new("(docker[.]io|ghcr[.]io)/.*").unwrap();
        assert!(small.0.automaton.get().is_none());
        assert!(small.is_match(b"ghcr.io/a") && small.clone().0.automaton.get().is_some());
        let odd = Pattern::new(&"[^é]".repeat(300)).unwrap();
        assert!(odd.0.automaton.get().is_some(), "which may be");
    }

    fn pattern() -> impl Strategy<Value = String> {
        let one = prop::sample::select(vec![
            ".",
            ".",
            "[^a]",
            "[^ab]",
            "[^é]",
            r"[^\x{e9}]",
            "[^[:space:]]",
            "[^[:^alpha:]]",
            "[^[:ascii:]]",
            "[^[:^ascii:]]",
            "a",
            "é",
            "ß",
            "€",
            "[aé]",
            "[a-€]",
            "^",
            "$",
        ]);
        let times = prop::sample::select(vec!["", "*", "*", "+", "+", "?", "+?", "*{2}", "+{2}", "{2}*", "{1,2}"]);
        let piece = (one, times)
            .prop_filter("anchors are not repeated", |(one, times)| times.is_empty() || !["^", "$"].contains(one));
        let pieces = prop::collection::vec(piece.prop_map(|(one, times)| format!("{one}{times}")), 1..4)
            .prop_map(|all| all.concat());
        pieces.prop_recursive(2, 6, 3, |inner| {
            (inner.clone(), inner, prop::sample::select(vec!["", "*", "+", "?"]), any::<bool>())
                .prop_map(|(a, b, times, or)| format!("({a}{}{b}){times}", if or { "|" } else { "" }))
        })
    }

    #[test]
    fn what_is_too_large_is_an_error() {
        for large in ["(.{100}){100}".to_owned(), "[^é]".repeat(20_000)] {
            assert_eq!(Pattern::new(&large).unwrap_err(), "pattern too large");
        }
    }

    #[test]
    fn whatever_is_looked_for_byte_by_byte() {
        for (pattern, expected) in [
            (".*a", "(?-u:.)*a"),
            (".+", "(?:.(?-u:.)*)"),
            (".?.", ".?."),
            ("[^a]*", "(?-u:[^a])*"),
            ("[^é]*", "[^é]*"),
            ("[a]*", "[a]*"),
            (".{2}*", ".{2}*"),
        ] {
            assert_eq!(translate(pattern).unwrap(), expected);
        }
    }
}
