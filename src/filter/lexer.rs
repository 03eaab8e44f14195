//! The cursor over a condition's text: one method per token of the grammar.
//!
//! There is no separate token stream, because the language has none: what a piece of text is depends on what the
//! parser asks for at that place. Invariant: a method that finds nothing leaves the position where it was.

use super::ast::{Pos, Text};
use super::error::{ErrorKind, FilterError};
use super::escape::{is_bare, is_blank, unescape};

pub(super) struct Lexer<'t> {
    text: &'t [u8],
    pos: Pos,
    /// The token read last, for "unexpected token after ...".
    last: &'t [u8],
}

impl<'t> Lexer<'t> {
    pub fn new(text: &'t str) -> Self {
        Lexer { text: text.as_bytes(), pos: Pos { offset: 0, line: 1, column: 1 }, last: b"" }
    }

    pub fn pos(&self) -> Pos {
        self.pos
    }

    pub fn at_end(&self) -> bool {
        self.rest().is_empty()
    }

    pub fn last(&self) -> String {
        String::from_utf8_lossy(self.last).into_owned()
    }

    fn rest(&self) -> &'t [u8] {
        &self.text[self.pos.offset as usize..]
    }

    fn advance(&mut self, n: usize) -> &'t [u8] {
        let token = &self.rest()[..n];
        for &b in token {
            if b == b'\n' {
                self.pos.line += 1;
                self.pos.column = 1;
            } else {
                self.pos.column += 1;
            }
        }
        self.pos.offset += n as u32;
        token
    }

    fn take(&mut self, n: usize) -> &'t [u8] {
        let token = self.advance(n);
        self.last = token;
        token
    }

    fn count(&self, from: usize, test: impl Fn(u8) -> bool) -> usize {
        self.rest().get(from..).unwrap_or(&[]).iter().take_while(|&&b| test(b)).count()
    }

    /// Skips blanks; was there one?
    pub fn blank(&mut self) -> bool {
        let n = self.count(0, is_blank);
        self.advance(n);
        n > 0
    }

    pub fn peek(&self, byte: u8) -> bool {
        self.rest().first() == Some(&byte)
    }

    /// The byte `n` further on.
    pub fn peek_at(&self, n: usize) -> Option<u8> {
        self.rest().get(n).copied()
    }

    pub fn peek_word(&self, word: &str) -> bool {
        let rest = self.rest();
        rest.starts_with(word.as_bytes()) && rest.get(word.len()).is_some_and(|&b| is_blank(b))
    }

    /// The text behind a word and the blanks that follow it.
    pub fn after_word(&self, word: &str) -> &'t [u8] {
        let rest = self.rest().get(word.len()..).unwrap_or(&[]);
        &rest[rest.iter().take_while(|&&b| is_blank(b)).count()..]
    }

    /// A fixed text, matched as a raw prefix.
    pub fn literal(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word.as_bytes());
        if found {
            self.take(word.len());
        }
        found
    }

    /// A fixed text that must be followed by a blank; the blanks are not consumed.
    pub fn word(&mut self, word: &str) -> bool {
        let found = self.peek_word(word);
        if found {
            self.take(word.len());
        }
        found
    }

    fn identifier_len(&self, from: usize) -> usize {
        match self.rest().get(from) {
            Some(b) if b.is_ascii_alphabetic() => self.count(from, |b| b.is_ascii_alphanumeric() || b == b'_'),
            _ => 0,
        }
    }

    fn str_of(token: &'t [u8]) -> &'t str {
        // The callers cut at ASCII bytes only, so the slice of the original `&str` is valid.
        std::str::from_utf8(token).unwrap_or("")
    }

    pub fn identifier(&mut self) -> Option<&'t str> {
        match self.identifier_len(0) {
            0 => None,
            n => Some(Self::str_of(self.take(n))),
        }
    }

    /// Looks at an identifier without taking it.
    pub fn peek_identifier(&self) -> Option<&'t str> {
        match self.identifier_len(0) {
            0 => None,
            n => Some(Self::str_of(&self.rest()[..n])),
        }
    }

    /// `class.name(.name)*`: at least one dot.
    pub fn field_name(&mut self) -> Option<&'t str> {
        let mut n = self.identifier_len(0);
        let mut parts = 1;
        while n > 0 && self.rest().get(n) == Some(&b'.') {
            let more = self.identifier_len(n + 1);
            if more == 0 {
                break;
            }
            n += 1 + more;
            parts += 1;
        }
        (n > 0 && parts > 1).then(|| Self::str_of(self.take(n)))
    }

    /// Contents of the brackets of a field, unquoted form.
    pub fn bare_argument(&mut self) -> Option<Text> {
        let n = self.count(0, |b| !matches!(b, b'[' | b']' | b'"' | b'\'') && !is_blank(b));
        (n > 0).then(|| self.take(n).into())
    }

    pub fn bare(&mut self) -> Option<Text> {
        let n = self.count(0, is_bare);
        (n > 0).then(|| self.take(n).into())
    }

    pub fn hex_number(&mut self) -> Option<Text> {
        let rest = self.rest();
        if !(rest.starts_with(b"0x") || rest.starts_with(b"0X")) {
            return None;
        }
        match self.count(2, |b| b.is_ascii_hexdigit()) {
            0 => None,
            n => Some(self.take(2 + n).into()),
        }
    }

    /// Sign, digits, fraction, exponent; the exponent's sign is mandatory.
    pub fn number(&mut self) -> Option<Text> {
        let rest = self.rest();
        let digits = |from| self.count(from, |b| b.is_ascii_digit());
        let sign = usize::from(matches!(rest.first(), Some(b'+' | b'-')));
        let whole = digits(sign);
        if whole == 0 {
            return None;
        }
        let mut n = sign + whole;
        if rest.get(n) == Some(&b'.') {
            n += match digits(n + 1) {
                0 => 0,
                fraction => 1 + fraction,
            };
        }
        if rest.get(n).is_some_and(|b| b.eq_ignore_ascii_case(&b'e')) && matches!(rest.get(n + 1), Some(b'+' | b'-')) {
            n += match digits(n + 2) {
                0 => 0,
                exponent => 2 + exponent,
            };
        }
        Some(self.take(n).into())
    }

    /// A literal in quotes. It ends at the first same quote that no backslash precedes.
    pub fn quoted(&mut self) -> Result<Option<Text>, FilterError> {
        let rest = self.rest();
        let Some(&quote @ (b'"' | b'\'')) = rest.first() else { return Ok(None) };
        let end = (1..rest.len()).find(|&i| rest[i] == quote && rest[i - 1] != b'\\');
        let Some(end) = end else {
            return Err(FilterError::new(
                ErrorKind::Syntax,
                self.pos,
                format!("expected a closing {} of the string that starts here", quote as char),
            ));
        };
        let start = self.pos;
        let body = &rest[1..end];
        let text = unescape(body, quote).map_err(|bad| {
            let mut pos = start;
            pos.offset += 1 + bad.at as u32;
            pos.column += 1 + bad.at as u32;
            FilterError::new(ErrorKind::Syntax, pos, bad.to_string())
        })?;
        self.take(end + 1);
        Ok(Some(text.into()))
    }
}
