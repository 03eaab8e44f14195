//! Output formats: text with `%field`, `%12field`, `%tolower(field)`.
//!
//! Parsed and checked when rules load; rendering is the output room's. Invariant: segments in order make up the whole
//! text, and every field in them exists.

use super::ast::{Operand, Pos};
use super::ast::{Text, TransformerName};
use super::details::Details;
use super::error::{ErrorKind, FilterError};
use super::lower::Lower;
use super::parser::parse_operand_prefix;
use super::predicate::{TermId, TermKind};
use super::scheme::{Scheme, find_field};
use super::transform;
use crate::event::value::{Extract, FieldArg, FieldUse, Value};
use bumpalo::Bump;

/// A compiled output format.
#[derive(Clone, Debug, Default)]
pub struct Format {
    pub segments: Vec<Segment>,
}

#[derive(Clone, Debug)]
pub enum Segment {
    Text(Box<str>),
    Value(Token),
}

/// One `%...` of a format.
#[derive(Clone, Debug)]
pub struct Token {
    /// As written, without percent sign and width: the key in `output_fields`.
    pub text: Box<str>,
    /// Cut or padded on the right to this many bytes.
    pub width: Option<u32>,
    pub source: Source,
}

impl Token {
    /// The fields inside, as written.
    pub fn field_names(&self) -> Vec<String> {
        match parse_operand_prefix(&self.text) {
            Some((operand @ Operand::Transform { .. }, _)) => {
                Details::of_operand(&operand).fields.into_iter().collect()
            }
            _ => vec![self.text.to_string()],
        }
    }
}

/// What is printed.
#[derive(Clone, Debug)]
pub enum Source {
    Field(FieldUse),
    Literal(Text),
    List(Box<[Source]>),
    Apply { name: TransformerName, args: Box<[Source]>, selector: Option<Text> },
}

impl Source {
    /// The value to print, None when a field is missing.
    pub fn evaluate<'e, E: Extract>(&'e self, event: &'e E, arena: &'e Bump) -> Option<Value<'e>> {
        let all = |sources: &'e [Source]| {
            let mut out = bumpalo::collections::Vec::with_capacity_in(sources.len(), arena);
            for source in sources {
                out.push(source.evaluate(event, arena)?);
            }
            Some(out.into_bump_slice())
        };
        match self {
            Source::Field(field) => event.extract(field, arena),
            Source::Literal(text) => Some(Value::Str(text)),
            Source::List(items) => all(items).map(Value::List),
            Source::Apply { name, args, selector } => transform::apply(*name, all(args)?, selector.as_deref(), arena),
        }
    }

    /// Visits every field inside, with its text as written.
    pub fn fields<'a>(&'a self, visit: &mut dyn FnMut(&'a FieldUse)) {
        match self {
            Source::Field(field) => visit(field),
            Source::Literal(_) => {}
            Source::List(items) => items.iter().for_each(|s| s.fields(visit)),
            Source::Apply { args, .. } => args.iter().for_each(|s| s.fields(visit)),
        }
    }
}

impl Format {
    /// Reads a format. A leading `*` is not part of it.
    pub fn parse(text: &str, scheme: &dyn Scheme) -> Result<Format, FilterError> {
        let mut segments = Vec::new();
        let mut rest = 0;
        while let Some(percent) = text[rest..].find('%').map(|i| rest + i) {
            if percent > rest {
                segments.push(Segment::Text(text[rest..percent].into()));
            }
            let digits = text[percent + 1..].bytes().take_while(u8::is_ascii_digit).count();
            let start = percent + 1 + digits;
            let width = match digits {
                0 => None,
                _ => Some(text[percent + 1..start].parse().map_err(|_| bad_token(text, percent))?),
            };
            let (token, source) = token(&text[start..], scheme).ok_or_else(|| bad_token(text, start))?;
            segments.push(Segment::Value(Token { text: text[start..start + token].into(), width, source }));
            rest = start + token;
        }
        if rest < text.len() {
            segments.push(Segment::Text(text[rest..].into()));
        }
        Ok(Format { segments })
    }

    /// The format that is a field alone, by its name as it is written in a rule.
    pub fn of_field(name: &str, scheme: &dyn Scheme) -> Option<Format> {
        let format = Format::parse(&format!("%{name}"), scheme).ok()?;
        (format.segments.len() == 1 && format.single_field().is_some()).then_some(format)
    }

    /// The field, where there is one and nothing is done with it.
    pub fn single_field(&self) -> Option<&FieldUse> {
        let mut tokens = self.tokens();
        match (tokens.next().map(|token| &token.source), tokens.next()) {
            (Some(Source::Field(field)), None) => Some(field),
            _ => None,
        }
    }

    pub fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.segments.iter().filter_map(|s| match s {
            Segment::Value(token) => Some(token),
            Segment::Text(_) => None,
        })
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.segments.iter().try_for_each(|s| match s {
            Segment::Text(text) => f.write_str(text),
            Segment::Value(Token { text, width: Some(width), .. }) => write!(f, "%{width}{text}"),
            Segment::Value(token) => write!(f, "%{}", token.text),
        })
    }
}

fn bad_token(text: &str, at: usize) -> FilterError {
    let token: String =
        text[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_')).collect();
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    let pos =
        Pos { offset: at as u32, line: before.matches('\n').count() as u32 + 1, column: (at - line_start) as u32 + 1 };
    FilterError::new(ErrorKind::FormatToken, pos, format!("invalid formatting token {token}"))
}

/// The longest token `text` starts with: its length and what it prints.
fn token(text: &str, scheme: &dyn Scheme) -> Option<(usize, Source)> {
    if let Some((operand @ Operand::Transform { .. }, len)) = parse_operand_prefix(text) {
        return Some((len, source(&operand, scheme)?));
    }
    let run = text.bytes().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_')).count();
    (1..=run).rev().find_map(|len| {
        // With brackets behind it first, when the name is taken whole.
        if let Some((operand @ Operand::Field { arg: Some(_), .. }, whole)) = parse_operand_prefix(text)
            && text.as_bytes().get(len) == Some(&b'[')
            && let Some(source) = source(&operand, scheme)
        {
            return Some((whole, source));
        }
        let field = find_field(scheme, &text[..len], None).ok()?;
        Some((len, printed(field, scheme)))
    })
}

fn source(operand: &Operand, scheme: &dyn Scheme) -> Option<Source> {
    let mut lower = Lower::new(scheme);
    lower.printing = true;
    let id = lower.term(operand, false).ok()?;
    Some(of_term(&lower, id))
}

/// Fields of ancestors that are printed for the process itself when they have no index.
const PRINTED_FOR_ITSELF: [&str; 2] = ["proc.apid", "proc.aenv"];

fn printed(mut field: FieldUse, scheme: &dyn Scheme) -> Source {
    if field.arg == FieldArg::None && PRINTED_FOR_ITSELF.contains(&scheme.def(field.id).name) {
        field.arg = FieldArg::Index(0);
    }
    Source::Field(field)
}

fn of_term(lower: &Lower<'_>, id: TermId) -> Source {
    let all = |ids: &[TermId]| ids.iter().map(|id| of_term(lower, *id)).collect();
    match &lower.table.term(id).kind {
        TermKind::Field(field) => Source::Field(field.clone()),
        TermKind::Literal(text) => Source::Literal(text.clone()),
        TermKind::List(items) => Source::List(all(items)),
        TermKind::Apply { name, args, selector } => {
            Source::Apply { name: *name, args: all(args), selector: selector.clone() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::SyscallScheme;

    fn show(text: &str) -> String {
        match Format::parse(text, &SyscallScheme) {
            Err(error) => format!("{} at {}", error.message, error.pos),
            Ok(format) => format
                .segments
                .iter()
                .map(|s| match s {
                    Segment::Text(text) => format!("<{text}>"),
                    Segment::Value(t) => match t.width {
                        Some(width) => format!("[{width}:{}]", t.text),
                        None => format!("[{}]", t.text),
                    },
                })
                .collect(),
        }
    }

    #[test]
    fn tokens_are_the_longest_prefix_that_is_a_field() {
        assert_eq!(show("a %proc.name."), "<a >[proc.name]<.>");
        assert_eq!(show("%proc.nameX"), "[proc.name]<X>");
        assert_eq!(show("%proc.aname[2]]"), "[proc.aname[2]]<]>");
        assert_eq!(show("%12proc.name|%evt.arg.flags)"), "[12:proc.name]<|>[evt.arg.flags]<)>");
        assert_eq!(show("%toupper(proc.name)!"), "[toupper(proc.name)]<!>");
        assert_eq!(show("%proc.name[1]"), "[proc.name]<[1]>");
        assert_eq!(show("no field"), "<no field>");
    }

    #[test]
    fn a_percent_sign_needs_a_field() {
        assert_eq!(show("x\n%nope.field y"), "invalid formatting token nope.field at 2:2");
        for bad in ["100%", "%%", "% proc.name", "%(proc.name)", "%nope(proc.name)", "%99999999999proc.name"] {
            assert!(show(bad).starts_with("invalid"), "{bad}: {}", show(bad));
        }
    }
}
