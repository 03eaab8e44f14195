//! From the text of a condition to its tree.
//!
//! Nesting of parentheses is kept on an explicit stack, so a hostile condition costs heap up to the depth limit and
//! never the thread's stack. Invariant: what is accepted is exactly the grammar; what a name means is not
//! looked at here.

use super::ast::{Expr, Modifier, Op, OpClass, Operand, Pos, Right, Text, TransformerName};
use super::error::{ErrorKind, FilterError};
use super::lexer::Lexer;

/// Nesting accepted when nobody says otherwise.
pub const DEFAULT_MAX_DEPTH: usize = 100;
/// Nesting accepted in rules files.
pub const RULES_MAX_DEPTH: usize = 1000;

/// Parses a whole condition.
pub fn parse(text: &str) -> Result<Expr, FilterError> {
    parse_with(text, DEFAULT_MAX_DEPTH).map(|(expr, _)| expr)
}

/// Parses a whole condition with a depth limit; also gives the position behind it.
pub fn parse_with(text: &str, max_depth: usize) -> Result<(Expr, Pos), FilterError> {
    if u32::try_from(text.len()).is_err() {
        return Err(FilterError::new(ErrorKind::Syntax, Pos::default(), "condition too long"));
    }
    let mut parser = Parser { lex: Lexer::new(text), max_depth };
    let expr = parser.expression()?;
    Ok((expr, parser.lex.pos()))
}

/// Parses the left side of a comparison alone (`proc.name`, `tolower(proc.name)`): the whole text must be one.
pub fn parse_operand(text: &str) -> Result<Operand, FilterError> {
    let mut parser = Parser { lex: Lexer::new(text), max_depth: DEFAULT_MAX_DEPTH };
    parser.lex.blank();
    let operand = match parser.operand(0)? {
        Some(operand) => operand,
        None => return Err(parser.syntax("expected a field or a transformer")),
    };
    parser.lex.blank();
    if parser.lex.at_end() {
        Ok(operand)
    } else {
        Err(parser.syntax(format!("unexpected token after '{}'", parser.lex.last())))
    }
}

/// Parses the longest operand `text` starts with (the tokens of an output format); gives its length too.
pub fn parse_operand_prefix(text: &str) -> Option<(Operand, usize)> {
    let mut parser = Parser { lex: Lexer::new(text), max_depth: DEFAULT_MAX_DEPTH };
    let operand = parser.operand(0).ok()??;
    Some((operand, parser.lex.pos().offset as usize))
}

struct Parser<'t> {
    lex: Lexer<'t>,
    max_depth: usize,
}

/// One open parenthesis (or the whole text): the `or` being collected, the `and` being collected inside it, and a
/// `not` waiting for its operand.
struct Level {
    or_pos: Pos,
    or: Vec<Expr>,
    and_pos: Pos,
    and: Vec<Expr>,
    not_pos: Pos,
    negate: bool,
}

impl Level {
    fn new(pos: Pos) -> Self {
        Level { or_pos: pos, or: Vec::new(), and_pos: pos, and: Vec::new(), not_pos: pos, negate: false }
    }

    fn add(&mut self, expr: Expr) {
        self.and.push(match std::mem::take(&mut self.negate) {
            true => Expr::Not { pos: self.not_pos, child: Box::new(expr) },
            false => expr,
        });
    }

    fn close_and(&mut self) {
        let mut children = std::mem::take(&mut self.and);
        self.or.push(match children.len() {
            1 => children.remove(0),
            _ => Expr::And { pos: self.and_pos, children },
        });
    }

    fn close(mut self) -> Expr {
        self.close_and();
        match self.or.len() {
            1 => self.or.remove(0),
            _ => Expr::Or { pos: self.or_pos, children: self.or },
        }
    }
}

enum Next {
    /// A blank follows the connective: any operand.
    Operand,
    /// A parenthesis follows it directly.
    Parenthesis,
}

impl Parser<'_> {
    fn syntax(&self, message: impl Into<String>) -> FilterError {
        FilterError::new(ErrorKind::Syntax, self.lex.pos(), message)
    }

    fn too_deep(&self) -> FilterError {
        FilterError::new(ErrorKind::TooDeep, self.lex.pos(), format!("exceeded max depth limit of {}", self.max_depth))
    }

    fn expression(&mut self) -> Result<Expr, FilterError> {
        self.lex.blank();
        if self.lex.at_end() {
            return Err(self.syntax("filter condition is empty"));
        }
        let mut levels = vec![Level::new(self.lex.pos())];
        loop {
            let level = levels.last_mut().expect("the outermost level is popped only when returning");
            // Operand of a connective: nots, then a parenthesis or a check.
            level.not_pos = self.lex.pos();
            while self.lex.word("not") {
                level.negate = !level.negate;
                self.lex.blank();
            }
            let open = if self.lex.literal("not(") {
                level.negate = !level.negate;
                true
            } else {
                self.lex.literal("(")
            };
            if open {
                if levels.len() >= self.max_depth {
                    return Err(self.too_deep());
                }
                self.lex.blank();
                levels.push(Level::new(self.lex.pos()));
                continue;
            }
            let check = self.check()?;
            levels.last_mut().expect("not empty, see above").add(check);

            // What can follow: a connective, or the end of one or more levels.
            loop {
                self.lex.blank();
                let level = levels.last_mut().expect("not empty, see above");
                let next = if self.lex.literal("and") {
                    Some(self.after_connective("and")?)
                } else if self.lex.literal("or") {
                    level.close_and();
                    Some(self.after_connective("or")?)
                } else {
                    None
                };
                if let Some(next) = next {
                    if level.and.is_empty() {
                        level.and_pos = self.lex.pos();
                    }
                    if matches!(next, Next::Parenthesis) && levels.len() >= self.max_depth {
                        return Err(self.too_deep());
                    }
                    break;
                }
                let done = levels.pop().expect("not empty, see above").close();
                let Some(outer) = levels.last_mut() else {
                    if self.lex.at_end() {
                        return Ok(done);
                    }
                    return Err(
                        self.syntax(format!("unexpected token after '{}', expecting 'or', 'and'", self.lex.last()))
                    );
                };
                if !self.lex.literal(")") {
                    return Err(self.syntax("expected a ')' token, 'or', 'and'"));
                }
                outer.add(done);
            }
        }
    }

    fn after_connective(&mut self, word: &str) -> Result<Next, FilterError> {
        if self.lex.blank() {
            if self.lex.at_end() {
                return Err(self.syntax(format!("expected an expression after '{word}'")));
            }
            Ok(Next::Operand)
        } else if self.lex.peek(b'(') {
            Ok(Next::Parenthesis)
        } else {
            Err(self.syntax(format!("expected blank or '(' after '{word}'")))
        }
    }

    fn check(&mut self) -> Result<Expr, FilterError> {
        let pos = self.lex.pos();
        if let Some(left) = self.operand(0)? {
            return self.condition(pos, left);
        }
        match self.lex.identifier() {
            Some(name) => Ok(Expr::Identifier { pos, name: name.into() }),
            None => Err(self.syntax("expected a '(' token, a field check, or an identifier")),
        }
    }

    /// A field or a transformer.
    fn operand(&mut self, depth: usize) -> Result<Option<Operand>, FilterError> {
        match self.field()? {
            Some(field) => Ok(Some(field)),
            None => self.transformer(depth),
        }
    }

    fn field(&mut self) -> Result<Option<Operand>, FilterError> {
        let pos = self.lex.pos();
        let Some(name) = self.lex.field_name() else { return Ok(None) };
        let arg = self.argument()?;
        Ok(Some(Operand::Field { pos, name: name.into(), arg }))
    }

    fn argument(&mut self) -> Result<Option<Text>, FilterError> {
        if !self.lex.literal("[") {
            return Ok(None);
        }
        let arg = match self.lex.quoted()? {
            Some(text) => text,
            None => self
                .lex
                .bare_argument()
                .ok_or_else(|| self.syntax("expected a valid field argument: a quoted string or a bare string"))?,
        };
        if !self.lex.literal("]") {
            return Err(self.syntax("expected a ']' token"));
        }
        Ok(Some(arg))
    }

    fn transformer(&mut self, depth: usize) -> Result<Option<Operand>, FilterError> {
        let pos = self.lex.pos();
        let Some(name) =
            self.lex.peek_identifier().and_then(TransformerName::from_word).filter(|name| self.opens(name.as_str()))
        else {
            return Ok(None);
        };
        if depth >= self.max_depth {
            return Err(self.too_deep());
        }
        self.lex.literal(name.as_str());
        self.lex.literal("(");
        let mut args = Vec::new();
        loop {
            self.lex.blank();
            args.push(self.transformer_argument(depth)?);
            self.lex.blank();
            if !self.lex.literal(",") {
                break;
            }
        }
        if !self.lex.literal(")") {
            return Err(self.syntax("expected a ')' token closing the transformer"));
        }
        let arg = self.argument()?;
        Ok(Some(Operand::Transform { pos, name, args, arg }))
    }

    /// Is `word` followed by a parenthesis at this position?
    fn opens(&self, word: &str) -> bool {
        self.lex.peek_at(word.len()) == Some(b'(')
    }

    fn transformer_argument(&mut self, depth: usize) -> Result<Operand, FilterError> {
        let pos = self.lex.pos();
        if let Some(literal) = self.number_or_quoted()? {
            return Ok(literal);
        }
        if self.lex.literal("(") {
            let mut items = Vec::new();
            self.lex.blank();
            if self.lex.literal(")") {
                return Ok(Operand::List { pos, items });
            }
            loop {
                self.lex.blank();
                items.push(match self.operand(depth + 1)? {
                    Some(operand) => operand,
                    None => self
                        .number_or_quoted()?
                        .ok_or_else(|| self.syntax("expected a field, a transformer, a quoted string or a number"))?,
                });
                self.lex.blank();
                if !self.lex.literal(",") {
                    break;
                }
            }
            if !self.lex.literal(")") {
                return Err(self.syntax("expected a ')' token closing the list"));
            }
            return Ok(Operand::List { pos, items });
        }
        match self.transformer(depth + 1)? {
            Some(transformer) => Ok(transformer),
            None => self.field()?.ok_or_else(|| self.syntax("expected a field or a valid transformer argument")),
        }
    }

    fn number_or_quoted(&mut self) -> Result<Option<Operand>, FilterError> {
        let pos = self.lex.pos();
        let text = match self.lex.hex_number().or_else(|| self.lex.number()) {
            Some(number) => Some(number),
            None => self.lex.quoted()?,
        };
        Ok(text.map(|text| Operand::Literal { pos, text }))
    }

    fn condition(&mut self, pos: Pos, left: Operand) -> Result<Expr, FilterError> {
        self.lex.blank();
        if self.lex.literal("exists") {
            return Ok(Expr::Exists { pos, left });
        }
        let Some(op) = self.operator() else {
            return Err(self.syntax(format!(
                "unexpected token after '{}', expecting an operator: {}",
                self.lex.last(),
                operator_list()
            )));
        };
        let (modifier, right) = match op.class() {
            OpClass::Numeric => {
                self.lex.blank();
                (None, self.numeric_right()?)
            }
            OpClass::String => self.string_right()?,
            OpClass::List => {
                self.lex.blank();
                (None, self.list_right()?)
            }
        };
        Ok(Expr::Compare { pos, left, op, modifier, right })
    }

    fn operator(&mut self) -> Option<Op> {
        // Numeric before string before list; longer spellings of one start come first in each group.
        const SYMBOLS: [Op; 7] = [Op::Le, Op::Lt, Op::Ge, Op::Gt, Op::EqEq, Op::Eq, Op::Ne];
        const WORDS: [Op; 9] = [
            Op::Glob,
            Op::IGlob,
            Op::Contains,
            Op::IContains,
            Op::BContains,
            Op::StartsWith,
            Op::BStartsWith,
            Op::EndsWith,
            Op::Regex,
        ];
        const LISTS: [Op; 3] = [Op::Intersects, Op::In, Op::PMatch];
        let lex = &mut self.lex;
        SYMBOLS
            .into_iter()
            .find(|op| lex.literal(op.as_str()))
            .or_else(|| WORDS.into_iter().find(|op| lex.word(op.as_str())))
            .or_else(|| LISTS.into_iter().find(|op| lex.literal(op.as_str())))
    }

    fn numeric_right(&mut self) -> Result<Right, FilterError> {
        let pos = self.lex.pos();
        if let Some(right) = self.right_operand()? {
            return Ok(right);
        }
        match self.lex.hex_number().or_else(|| self.lex.number()) {
            Some(text) => Ok(Right::Value { pos, text }),
            None => Err(self.syntax("expected a number value")),
        }
    }

    fn string_right(&mut self) -> Result<(Option<Modifier>, Right), FilterError> {
        let blank = self.lex.blank();
        if blank && let Some(modifier) = self.modifier() {
            let right = self.list_or_identifier()?;
            return Ok((Some(modifier), right));
        }
        let pos = self.lex.pos();
        if let Some(right) = self.right_operand()? {
            return Ok((None, right));
        }
        let text = match self.lex.quoted()? {
            Some(text) => text,
            None => self.lex.bare().ok_or_else(|| self.syntax("expected a string value"))?,
        };
        Ok((None, Right::Value { pos, text }))
    }

    /// A modifier word counts as one only when a list or a name follows; else it is a plain value.
    fn modifier(&mut self) -> Option<Modifier> {
        let modifier = *Modifier::ALL.iter().find(|m| self.lex.peek_word(m.as_str()))?;
        let after = self.lex.after_word(modifier.as_str());
        let follows = after.first() == Some(&b'(') || {
            let n = after.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
            after.first().is_some_and(u8::is_ascii_alphabetic) && !matches!(&after[..n], b"and" | b"or" | b"not")
        };
        if !follows {
            return None;
        }
        self.lex.literal(modifier.as_str());
        self.lex.blank();
        Some(modifier)
    }

    fn list_or_identifier(&mut self) -> Result<Right, FilterError> {
        let pos = self.lex.pos();
        if let Some(values) = self.list()? {
            return Ok(Right::List { pos, values: values.into() });
        }
        match self.lex.identifier() {
            Some(name) => Ok(Right::Value { pos, text: name.as_bytes().into() }),
            None => Err(self.syntax("expected a list")),
        }
    }

    fn list_right(&mut self) -> Result<Right, FilterError> {
        let pos = self.lex.pos();
        if let Some(values) = self.list()? {
            return Ok(Right::List { pos, values: values.into() });
        }
        match self.right_operand()? {
            Some(right) => Ok(right),
            None => match self.lex.identifier() {
                Some(name) => Ok(Right::Value { pos, text: name.as_bytes().into() }),
                None => Err(self.syntax("expected a list or an identifier")),
            },
        }
    }

    fn list(&mut self) -> Result<Option<Vec<Text>>, FilterError> {
        if !self.lex.literal("(") {
            return Ok(None);
        }
        self.lex.blank();
        let mut values = Vec::new();
        if self.lex.literal(")") {
            return Ok(Some(values));
        }
        loop {
            self.lex.blank();
            values.push(match self.lex.quoted()? {
                Some(text) => text,
                None => self.lex.bare().ok_or_else(|| self.syntax("expected a string value"))?,
            });
            self.lex.blank();
            if !self.lex.literal(",") {
                break;
            }
        }
        match self.lex.literal(")") {
            true => Ok(Some(values)),
            false => Err(self.syntax("expected a ')' token closing the list")),
        }
    }

    /// `val(field)` or a transformer.
    fn right_operand(&mut self) -> Result<Option<Right>, FilterError> {
        let pos = self.lex.pos();
        if self.lex.literal("val(") {
            self.lex.blank();
            let field = self.field()?.ok_or_else(|| self.syntax("expected a field inside val()"))?;
            self.lex.blank();
            if !self.lex.literal(")") {
                return Err(self.syntax("expected a ')' token closing val()"));
            }
            return Ok(Some(Right::Field { pos, field }));
        }
        Ok(self.transformer(0)?.map(Right::Operand))
    }
}

fn operator_list() -> String {
    let mut out = String::from("'exists'");
    for op in Op::ALL {
        out.push_str(", '");
        out.push_str(op.as_str());
        out.push('\'');
    }
    out
}
