//! From the text of a template to a tree.

use super::TemplateError;
use super::eval::FUNCTIONS;
use crate::hub::json::Json;

#[derive(Clone, Debug)]
pub enum Node {
    Text(String),
    Print(Pipeline),
    /// The names, and whether they are new.
    Assign(Vec<String>, bool, Pipeline),
    If(Pipeline, Vec<Node>, Vec<Node>),
    With(Pipeline, Vec<Node>, Vec<Node>),
    Range {
        names: Vec<String>,
        over: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
}

/// Commands, each of which gets what the one before gave as its last argument.
pub type Pipeline = Vec<Command>;
/// A value, or a function and its arguments.
pub type Command = Vec<Operand>;

#[derive(Clone, Debug)]
pub enum Operand {
    Constant(Json),
    Function(&'static str),
    /// Where it starts, and the fields that follow.
    Path(Start, Vec<String>),
}

#[derive(Clone, Debug)]
pub enum Start {
    Dot,
    Variable(String),
    Pipeline(Pipeline),
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Field(String),
    /// A field right behind a variable, a field or a parenthesis.
    Chained(String),
    Variable(String),
    Text(String),
    Number(String),
    /// One of `. | ( ) , = :=`.
    Sign(&'static str),
}

enum Piece {
    Text(String),
    Action(Vec<Token>),
}

fn fail<T>(what: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError(what.into()))
}

pub fn parse(text: &str) -> Result<Vec<Node>, TemplateError> {
    let mut parser = Parser { pieces: pieces(text)?.into_iter(), variables: vec!["$".to_owned()], depth: 0 };
    let (nodes, end) = parser.block()?;
    match end {
        Ended::Text => Ok(nodes),
        Ended::End => fail("'end' without 'if', 'range' or 'with'"),
        Ended::Else(_) => fail("'else' without 'if', 'range' or 'with'"),
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim = false;
    while !rest.is_empty() {
        let start = rest.find("{{").unwrap_or(rest.len());
        let (mut before, tail) = rest.split_at(start);
        if trim {
            before = before.trim_start();
        }
        let Some(action) = tail.strip_prefix("{{") else {
            pieces.push(Piece::Text(before.to_owned()));
            break;
        };
        let trims = |text: &str| text.strip_prefix('-').is_some_and(|t| t.starts_with([' ', '\t', '\n', '\r']));
        let action = if trims(action) {
            before = before.trim_end();
            &action[1..]
        } else {
            action
        };
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        if let Some(comment) = action.trim_start().strip_prefix("/*") {
            let Some((_, after)) = comment.split_once("*/") else { return fail("a comment is not closed") };
            let Some((between, after)) = after.split_once("}}") else { return fail("'{{' is not closed by '}}'") };
            trim = between.trim() == "-";
            rest = after;
            continue;
        }
        let (tokens, end) = tokens(action)?;
        trim = end.trimmed;
        rest = end.rest;
        pieces.push(Piece::Action(tokens));
    }
    Ok(pieces)
}

struct Closed<'t> {
    rest: &'t str,
    trimmed: bool,
}

/// The tokens of an action up to its `}}`.
fn tokens(action: &str) -> Result<(Vec<Token>, Closed<'_>), TemplateError> {
    let mut tokens = Vec::new();
    let mut rest = action;
    loop {
        let blank = rest.starts_with(char::is_whitespace);
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("}}") {
            return Ok((tokens, Closed { rest: after, trimmed: false }));
        }
        if let Some(after) = rest.strip_prefix("-}}").filter(|_| blank) {
            return Ok((tokens, Closed { rest: after, trimmed: true }));
        }
        let Some(first) = rest.chars().next() else { return fail("'{{' is not closed by '}}'") };
        let name_end = |from: usize| {
            let tail = &rest[from..];
            from + tail.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(tail.len())
        };
        let end = match first {
            '"' | '\'' | '`' => {
                let end = closing(&rest[1..], first).map(|end| end + 2);
                let Some(end) = end else { return fail("a text is not closed") };
                let quoted = &rest[..end];
                tokens.push(Token::Text(if first == '`' {
                    quoted[1..end - 1].to_owned()
                } else {
                    unquote(&quoted[1..end - 1])?
                }));
                end
            }
            ':' if rest.starts_with(":=") => {
                tokens.push(Token::Sign(":="));
                2
            }
            '|' | '(' | ')' | ',' | '=' => {
                let signs = ["|", "(", ")", ",", "="];
                tokens.extend(signs.into_iter().find(|s| rest.starts_with(*s)).map(Token::Sign));
                1
            }
            '$' => {
                let end = name_end(1);
                tokens.push(Token::Variable(rest[..end].to_owned()));
                end
            }
            '.' => {
                let end = name_end(1);
                let name = rest[1..end].to_owned();
                let behind = matches!(
                    tokens.last(),
                    Some(Token::Variable(_) | Token::Field(_) | Token::Chained(_) | Token::Sign(")"))
                );
                tokens.push(match end {
                    1 => Token::Sign("."),
                    _ if behind && !blank => Token::Chained(name),
                    _ => Token::Field(name),
                });
                end
            }
            '0'..='9' | '-' | '+' => {
                let tail = &rest[1..];
                let end = 1 + tail.find(|c: char| !c.is_alphanumeric() && c != '.').unwrap_or(tail.len());
                let number = rest[..end].trim_start_matches('+');
                if serde_json::from_str::<f64>(number).is_err() {
                    return fail(format!("'{number}' is not a number"));
                }
                tokens.push(Token::Number(number.to_owned()));
                end
            }
            c if c.is_alphabetic() || c == '_' => {
                let end = name_end(0);
                tokens.push(Token::Word(rest[..end].to_owned()));
                end
            }
            c => return fail(format!("'{c}' is not understood")),
        };
        rest = &rest[end..];
    }
}

/// Where the quote that closes a text is.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        if escaped {
            escaped = false;
        } else if c == '\\' && quote != '`' {
            escaped = true;
        } else if c == quote {
            return Some(at);
        }
        None
    })
}

fn unquote(text: &str) -> Result<String, TemplateError> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some(c @ ('\\' | '"' | '\'')) => out.push(c),
            Some(c @ ('u' | 'x')) => {
                let digits: String = chars.by_ref().take(if c == 'u' { 4 } else { 2 }).collect();
                match u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32) {
                    Some(c) => out.push(c),
                    None => return fail(format!("'\\{c}{digits}' is no character")),
                }
            }
            other => return fail(format!("'\\{}' is not understood", other.unwrap_or(' '))),
        }
    }
    Ok(out)
}

/// What ended a block.
enum Ended {
    Text,
    End,
    Else(Vec<Token>),
}

/// More blocks within blocks than a message needs.
const DEPTH_MAX: usize = 50;

struct Parser {
    pieces: std::vec::IntoIter<Piece>,
    variables: Vec<String>,
    depth: usize,
}

impl Parser {
    fn block(&mut self) -> Result<(Vec<Node>, Ended), TemplateError> {
        let scope = self.variables.len();
        let mut nodes = Vec::new();
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return fail(format!("blocks are nested more than {DEPTH_MAX} deep"));
        }
        let end = loop {
            let Some(piece) = self.pieces.next() else { break Ended::Text };
            match piece {
                Piece::Text(text) => nodes.push(Node::Text(text)),
                Piece::Action(tokens) => {
                    let word = match tokens.first() {
                        Some(Token::Word(word)) => word.clone(),
                        Some(_) => String::new(),
                        None => return fail("an empty action: '{{ }}'"),
                    };
                    match word.as_str() {
                        "end" => break Ended::End,
                        "else" => break Ended::Else(tokens),
                        "if" | "with" | "range" => nodes.push(self.control(&word, &tokens[1..])?),
                        "define" | "template" | "block" | "break" | "continue" => {
                            return fail(format!("'{word}' is not supported"));
                        }
                        _ => nodes.push(self.action(&tokens)?),
                    }
                }
            }
        };
        self.depth -= 1;
        self.variables.truncate(scope);
        Ok((nodes, end))
    }

    /// Names before `:=` or `=`, whether they are new, and the tokens behind.
    fn assignment<'t>(&self, tokens: &'t [Token]) -> Option<(Vec<String>, bool, &'t [Token])> {
        let sign = tokens.iter().position(|token| matches!(token, Token::Sign(":=" | "=")))?;
        let names = tokens[..sign].iter().filter_map(|token| match token {
            Token::Variable(name) => Some(name.clone()),
            _ => None,
        });
        Some((names.collect(), tokens[sign] == Token::Sign(":="), &tokens[sign + 1..]))
    }

    fn action(&mut self, tokens: &[Token]) -> Result<Node, TemplateError> {
        let Some((names, new, rest)) = self.assignment(tokens) else {
            return Ok(Node::Print(self.pipeline(tokens)?));
        };
        let value = self.pipeline(rest)?;
        if names.len() != 1 {
            return fail("one variable stands before '='");
        }
        if new {
            self.variables.extend(names.clone());
        } else {
            self.declared(&names[0])?;
        }
        Ok(Node::Assign(names, new, value))
    }

    fn control(&mut self, word: &str, tokens: &[Token]) -> Result<Node, TemplateError> {
        let scope = self.variables.len();
        let (names, tokens) = match self.assignment(tokens) {
            Some((names, _, rest)) => (names, rest),
            None => (Vec::new(), tokens),
        };
        let over = self.pipeline(tokens)?;
        if names.len() > if word == "range" { 2 } else { 1 } {
            return fail(format!("too many variables for '{word}'"));
        }
        self.variables.extend(names.clone());
        let (body, end) = self.block()?;
        let otherwise = match end {
            Ended::End => Vec::new(),
            Ended::Text => return fail(format!("'{word}' has no 'end'")),
            Ended::Else(tokens) => match tokens.get(1) {
                None => match self.block()? {
                    (nodes, Ended::End) => nodes,
                    _ => return fail(format!("'{word}' has no 'end' after its 'else'")),
                },
                // `else if` and `else with` share the end.
                Some(Token::Word(next)) if next == "if" || next == "with" => {
                    let next = next.clone();
                    vec![self.control(&next, &tokens[2..])?]
                }
                Some(_) => return fail("after 'else' may stand 'if' or 'with'"),
            },
        };
        self.variables.truncate(scope);
        Ok(match word {
            "range" => Node::Range { names, over, body, otherwise },
            "if" if names.is_empty() => Node::If(over, body, otherwise),
            "with" if names.is_empty() => Node::With(over, body, otherwise),
            _ => return fail(format!("'{word}' cannot set a variable here")),
        })
    }

    fn declared(&self, name: &str) -> Result<(), TemplateError> {
        if self.variables.iter().any(|known| known == name) {
            Ok(())
        } else {
            fail(format!("there is no variable '{name}'"))
        }
    }

    fn pipeline(&mut self, tokens: &[Token]) -> Result<Pipeline, TemplateError> {
        let mut at = 0;
        let pipeline = self.commands(tokens, &mut at)?;
        match tokens.get(at) {
            None => Ok(pipeline),
            Some(_) => fail("')' without '('"),
        }
    }

    fn commands(&mut self, tokens: &[Token], at: &mut usize) -> Result<Pipeline, TemplateError> {
        let mut commands = vec![Vec::new()];
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return fail(format!("parentheses are nested more than {DEPTH_MAX} deep"));
        }
        while let Some(token) = tokens.get(*at) {
            if *token == Token::Sign(")") {
                break;
            }
            *at += 1;
            let operand = match token {
                Token::Sign("|") => {
                    commands.push(Vec::new());
                    continue;
                }
                Token::Sign("(") => {
                    let inner = self.commands(tokens, at)?;
                    if tokens.get(*at) != Some(&Token::Sign(")")) {
                        return fail("')' is missing");
                    }
                    *at += 1;
                    Operand::Path(Start::Pipeline(inner), self.fields(tokens, at))
                }
                Token::Sign(".") => Operand::Path(Start::Dot, Vec::new()),
                Token::Sign(sign) => return fail(format!("'{sign}' is not understood here")),
                Token::Chained(name) => return fail(format!("'.{name}' is not understood here")),
                Token::Field(name) => {
                    let mut fields = vec![name.clone()];
                    fields.extend(self.fields(tokens, at));
                    Operand::Path(Start::Dot, fields)
                }
                Token::Variable(name) => {
                    self.declared(name)?;
                    Operand::Path(Start::Variable(name.clone()), self.fields(tokens, at))
                }
                Token::Text(text) => Operand::Constant(Json::String(text.clone())),
                Token::Number(text) => Operand::Constant(Json::Number(text.as_str().into())),
                Token::Word(word) => match word.as_str() {
                    "true" => Operand::Constant(Json::Bool(true)),
                    "false" => Operand::Constant(Json::Bool(false)),
                    "nil" => Operand::Constant(Json::Null),
                    _ => match FUNCTIONS.iter().find(|name| *name == word) {
                        Some(name) => Operand::Function(name),
                        None => return fail(format!("there is no function '{word}'")),
                    },
                },
            };
            // There is always a last command.
            if let Some(command) = commands.last_mut() {
                command.push(operand);
            }
        }
        self.depth -= 1;
        for command in &commands {
            match command.as_slice() {
                [] => return fail("a value is missing"),
                [Operand::Function(_), ..] | [_] => {}
                _ => return fail("only a function takes arguments"),
            }
        }
        Ok(commands)
    }

    /// The fields that follow: `b` and `c` of `.a.b.c`.
    fn fields(&self, tokens: &[Token], at: &mut usize) -> Vec<String> {
        let mut fields = Vec::new();
        while let Some(Token::Chained(name)) = tokens.get(*at) {
            fields.push(name.clone());
            *at += 1;
        }
        fields
    }
}
