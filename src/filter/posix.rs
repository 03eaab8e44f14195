//! `regex`: POSIX patterns, matched against the whole subject.
//!
//! The `regex` crate speaks Perl's dialect; this translates the POSIX dialect Falco's engine accepts (no `\d`, no
//! `(?:`, brackets taken literally) so that a pattern means the same in both. Longest-match plays no part in a match
//! of the whole subject. Invariant: linear time in the subject, whatever the pattern.

use hashbrown::HashMap;
use regex::bytes::Regex;
use std::sync::{Arc, Mutex, PoisonError};

/// Patterns that were compiled: whoever loads rules asks for each several times, and that takes longer than all the rest.
#[derive(Clone, Debug, Default)]
pub struct Patterns(Arc<Mutex<HashMap<String, Regex>>>);

impl Patterns {
    /// A pattern, compiled once.
    pub fn get(&self, pattern: &str) -> Result<Regex, String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(regex) = known.get(pattern) {
            return Ok(regex.clone());
        }
        let regex = compile(pattern)?;
        known.insert(pattern.to_owned(), regex.clone());
        Ok(regex)
    }
}

/// Compiles a pattern. The error says what is wrong with it.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    let body = translate(pattern)?;
    regex::bytes::RegexBuilder::new(&format!(r"\A(?:{body})\z")).multi_line(true).size_limit(1 << 20).build().map_err(
        |error| match error {
            regex::Error::CompiledTooBig(_) => "pattern too large".to_owned(),
            error => error.to_string().lines().last().unwrap_or_default().trim().to_owned(),
        },
    )
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
    while i < chars.len() {
        match chars[i] {
            '\\' => {
                let (c, next) = escape(&chars, i)?;
                push_literal(&mut out, c);
                i = next;
                continue;
            }
            '[' => {
                i = bracket(&chars, i, &mut out)?;
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
                out.push(if all('+') {
                    '+'
                } else if all('?') {
                    '?'
                } else {
                    '*'
                });
                i += run;
                continue;
            }
            c @ ('.' | '^' | '$' | '|' | '(' | ')') => out.push(c),
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

/// Translates a bracket expression that starts at `i`; gives the index behind it.
fn bracket(chars: &[char], i: usize, out: &mut String) -> Result<usize, String> {
    let missing = || "missing ]".to_owned();
    let mut at = i + 1;
    out.push('[');
    if chars.get(at) == Some(&'^') {
        out.push('^');
        at += 1;
    }
    let mut first = true;
    loop {
        match *chars.get(at).ok_or_else(missing)? {
            ']' if !first => {
                out.push(']');
                return Ok(at + 1);
            }
            '[' if chars.get(at + 1) == Some(&':') => {
                let end = (at + 2..chars.len().saturating_sub(1))
                    .find(|&n| chars[n] == ':' && chars[n + 1] == ']')
                    .ok_or_else(missing)?;
                let name: String = chars[at + 2..end].iter().collect();
                if !CLASSES.contains(&name.trim_start_matches('^')) {
                    return Err(format!("invalid character class: [:{name}:]"));
                }
                out.extend(&chars[at..end + 2]);
                at = end + 2;
            }
            _ => {
                let (low, next) = member(chars, at)?;
                push_literal(out, low);
                at = next;
                if chars.get(at) == Some(&'-') && chars.get(at + 1).is_some_and(|&c| c != ']') {
                    let (high, next) = member(chars, at + 1)?;
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

    fn matches(pattern: &str, text: &str) -> bool {
        compile(pattern).unwrap().is_match(text.as_bytes())
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
            assert!(compile(bad).is_err(), "{bad}");
        }
    }
}
