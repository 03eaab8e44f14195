//! YAML of rules files as a tree with positions.
//!
//! Every scalar stays text, as its author wrote it: what it means is decided by the key it stands under. Not a general
//! YAML loader: no merge keys, no types. Invariant: aliases cannot blow a small file up (the tree is bounded).

use hashbrown::HashMap;
use libyaml_safer::{Event, EventData, Parser, ScalarStyle};
use std::borrow::Cow;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

/// Position in a file: all from 0, as the results report them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    pub line: usize,
    pub column: usize,
    /// In bytes.
    pub offset: usize,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub mark: Mark,
    pub value: Yaml,
}

#[derive(Clone, Debug)]
pub enum Yaml {
    Null,
    Scalar { text: String, plain: bool },
    Sequence(Vec<Node>),
    Mapping(Vec<(Node, Node)>),
}

/// The file is not YAML.
#[derive(Clone, Debug, thiserror::Error)]
#[error("yaml-cpp: error at line {}, column {}: {what}", mark.line + 1, mark.column + 1)]
pub struct YamlError {
    pub mark: Mark,
    pub what: String,
}

/// More nodes than any rules file has; aliases of aliases get there quickly.
const MAX_NODES: usize = 4_000_000;
const MAX_DEPTH: usize = 64;

impl Node {
    pub fn is_null(&self) -> bool {
        matches!(self.value, Yaml::Null)
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Yaml::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    pub fn sequence(&self) -> Option<&[Node]> {
        match &self.value {
            Yaml::Sequence(items) => Some(items),
            _ => None,
        }
    }

    pub fn mapping(&self) -> Option<&[(Node, Node)]> {
        match &self.value {
            Yaml::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    /// Value of a key of a mapping; the first one when a key is repeated.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.mapping()?.iter().find(|(k, _)| k.text() == Some(key)).map(|(_, v)| v)
    }
}

/// Byte offset of every line, to turn character positions into bytes.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
    /// The position asked for last: the next one of its line is counted from there, or a long line would be gone through for every
    /// item in it.
    last: Cell<Mark>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        Lines { text, starts, last: Cell::default() }
    }

    fn mark(&self, mark: libyaml_safer::Mark) -> Mark {
        // Positions in a text that is in memory fit.
        let (line, column) = (mark.line as usize, mark.column as usize);
        let last = self.last.get();
        let (start, counted) = if last.line == line && last.column <= column {
            (last.offset, last.column)
        } else {
            (self.starts.get(line).copied().unwrap_or(self.text.len()), 0)
        };
        let mut rest = self.text[start..].char_indices();
        let offset = rest.nth(column - counted).map_or(self.text.len(), |(i, _)| start + i);
        let mark = Mark { line, column, offset };
        self.last.set(mark);
        mark
    }
}

/// Reads all documents of a file.
pub fn parse(text: &str) -> Result<Vec<Node>, YamlError> {
    // The library gives up on a block scalar that the end of the file ends, not a line break.
    let ended: Cow<'_, str> = match text.ends_with(['\n', '\r']) {
        true => text.into(),
        false => format!("{text}\n").into(),
    };
    let mut bytes = ended.as_bytes();
    let mut parser = Parser::new();
    parser.set_input_string(&mut bytes);
    let mut build = Build { lines: Lines::new(text), parser, anchors: HashMap::new(), nodes: 0, last: Mark::default() };
    let mut documents = Vec::new();
    loop {
        match build.next()?.data {
            EventData::StreamEnd => return Ok(documents),
            EventData::DocumentStart { .. } => {
                let event = build.next()?;
                documents.push(build.node(event, 0)?);
                build.anchors.clear();
            }
            _ => {}
        }
    }
}

struct Build<'t, R> {
    lines: Lines<'t>,
    parser: Parser<R>,
    anchors: HashMap<String, Node>,
    nodes: usize,
    /// Where the last event started.
    last: Mark,
}

impl<R: std::io::BufRead> Build<'_, R> {
    fn next(&mut self) -> Result<Event, YamlError> {
        let Some(event) = quietly(|| self.parser.parse()) else {
            return Err(YamlError { mark: self.last, what: "cannot be read as YAML from here on".to_owned() });
        };
        let event = event.map_err(|error| {
            let what = match error.problem() {
                "mapping values are not allowed in this context" => "illegal map value",
                problem => problem,
            };
            let mark = error.problem_mark().map(|mark| self.lines.mark(mark)).unwrap_or_default();
            YamlError { mark, what: what.to_owned() }
        })?;
        self.last = self.lines.mark(event.start_mark);
        Ok(event)
    }

    fn node(&mut self, event: Event, depth: usize) -> Result<Node, YamlError> {
        let mark = self.lines.mark(event.start_mark);
        let fail = |what: &str| YamlError { mark, what: what.to_owned() };
        self.nodes += 1;
        if self.nodes > MAX_NODES || depth > MAX_DEPTH {
            return Err(fail("the file is nested too deeply or too large"));
        }
        let (anchor, value) = match event.data {
            EventData::Scalar { anchor, tag, mut value, style, .. } => {
                let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                if block && event.end_mark.index > self.lines.text.len() as u64 {
                    // The line break was ours.
                    value.truncate(value.strip_suffix('\n').unwrap_or(&value).len());
                }
                (anchor, scalar(value, style, tag.as_deref()))
            }
            EventData::SequenceStart { anchor, .. } => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Event { data: EventData::SequenceEnd, .. } => break,
                        event => items.push(self.node(event, depth + 1)?),
                    }
                }
                (anchor, Yaml::Sequence(items))
            }
            EventData::MappingStart { anchor, .. } => {
                let mut entries = Vec::new();
                loop {
                    match self.next()? {
                        Event { data: EventData::MappingEnd, .. } => break,
                        event => {
                            let key = self.node(event, depth + 1)?;
                            let value = self.next()?;
                            entries.push((key, self.node(value, depth + 1)?));
                        }
                    }
                }
                (anchor, Yaml::Mapping(entries))
            }
            EventData::Alias { anchor } => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(fail("the referenced anchor is not defined"));
                };
                self.nodes += count(&node);
                return Ok(Node { mark, value: node.value });
            }
            _ => (None, Yaml::Null),
        };
        let node = Node { mark, value };
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }
}

/// What `f` gives; None when it panics, without a word on standard error. The YAML library has a few malformed inputs that
/// it panics on (a tag before a comma in a flow sequence); nothing of it is used afterwards.
fn quietly<T>(f: impl FnOnce() -> T) -> Option<T> {
    thread_local!(static QUIET: Cell<bool> = const { Cell::new(false) });
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                others(info);
            }
        }));
    });
    QUIET.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    QUIET.set(false);
    result.ok()
}

fn count(node: &Node) -> usize {
    1 + match &node.value {
        Yaml::Sequence(items) => items.iter().map(count).sum(),
        Yaml::Mapping(entries) => entries.iter().map(|(k, v)| count(k) + count(v)).sum(),
        _ => 0,
    }
}

fn scalar(text: String, style: ScalarStyle, tag: Option<&str>) -> Yaml {
    let plain = style == ScalarStyle::Plain;
    // `desc: != after x` is a tag by the grammar of YAML; its author meant text.
    if let Some(tag) = tag.filter(|tag| tag.starts_with('!') && !tag.contains(char::is_alphanumeric)) {
        return Yaml::Scalar { text: format!("{tag} {text}").trim_end().to_owned(), plain };
    }
    match &*text {
        "" | "~" | "null" | "Null" | "NULL" if plain => Yaml::Null,
        _ => Yaml::Scalar { text, plain },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_stay_text_and_have_positions() {
        let docs = parse("- a: 0x10\n  b: [=, 'no']\n---\n- desc: != after\n").unwrap();
        assert_eq!(docs.len(), 2);
        let item = &docs[0].sequence().unwrap()[0];
        assert_eq!(item.get("a").unwrap().text(), Some("0x10"));
        let b = item.get("b").unwrap();
        assert_eq!((b.mark.line, b.mark.column, b.mark.offset), (1, 5, 15));
        assert_eq!(b.sequence().unwrap()[0].text(), Some("="));
        assert_eq!(docs[1].sequence().unwrap()[0].get("desc").unwrap().text(), Some("!= after"));
    }

    #[test]
    fn a_list_in_one_long_line_is_gone_through_once() {
        let items = vec!["\u{e9}"; 200_000];
        let text = format!("- list: l\n  items: [{}]\n- list: m\n", items.join(","));
        let docs = parse(&text).unwrap();
        let lists = docs[0].sequence().unwrap();
        let list = lists[0].get("items").unwrap().sequence().unwrap();
        let mark = list[199_999].mark;
        assert_eq!((list.len(), mark.line, mark.column, mark.offset), (200_000, 1, 10 + 399_998, 20 + 599_997));
        assert_eq!(lists[1].mark.offset, text.len() - 8);
    }

    #[test]
    fn a_block_scalar_may_end_with_the_file() {
        for (text, expected) in
            [("a: >\n s", "s"), ("a: |\n s\n", "s\n"), ("a: |-\n s", "s"), ("a: |+\n s\n\n", "s\n\n"), ("a: s", "s")]
        {
            let docs = parse(text).unwrap();
            assert_eq!(docs[0].get("a").unwrap().text(), Some(expected), "{text:?}");
        }
    }

    #[test]
    fn what_the_library_panics_on_is_an_error() {
        let error = parse("- a: [x, !t,]\n").unwrap_err();
        assert_eq!((error.mark.line, error.mark.column), (0, 6));
        assert!(error.to_string().contains("cannot be read as YAML from here on"));
    }

    #[test]
    fn aliases_are_followed_but_not_for_ever() {
        let docs = parse("- a: &x [1, 2]\n  b: *x\n").unwrap();
        assert_eq!(docs[0].sequence().unwrap()[0].get("b").unwrap().sequence().unwrap().len(), 2);
        let mut bomb = String::from("- &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for i in 1..12 {
            bomb += &format!("- &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(","));
        }
        assert!(parse(&bomb).is_err());
        let error = parse("this : is : not : yaml").unwrap_err();
        assert_eq!(error.to_string(), "yaml-cpp: error at line 1, column 11: illegal map value");
    }
}
