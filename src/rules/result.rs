//! What loading a file said: errors, warnings, where, and how both are shown.
//!
//! The symbols, the shape of the JSON and the messages are those tools of Falco's users read. Invariant: a result
//! with an error is not successful, and its file changed nothing.

use super::place;
use super::yaml::{self, Mark, Node};
use serde_json::{Value, json};
use std::fmt::Write;
use std::sync::{Arc, OnceLock};

macro_rules! codes {
    ($(#[$m:meta])* $name:ident { $($variant:ident = $symbol:literal, $short:literal, $long:literal);+ $(;)? }) => {
        $(#[$m])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($variant),+ }
        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),+];
            /// Falco's symbol.
            pub const fn symbol(self) -> &'static str { match self { $($name::$variant => $symbol),+ } }
            /// A short phrase.
            pub const fn phrase(self) -> &'static str { match self { $($name::$variant => $short),+ } }
            /// A sentence.
            pub const fn description(self) -> &'static str { match self { $($name::$variant => $long),+ } }
        }
    };
}

codes! {
    /// Why a file cannot be loaded.
    ErrorCode {
        FileRead = "LOAD_ERR_FILE_READ", "File read error", "The rules file cannot be opened or read.";
        YamlParse = "LOAD_ERR_YAML_PARSE", "YAML parse error", "The rules file is not valid YAML.";
        YamlValidate = "LOAD_ERR_YAML_VALIDATE", "Error validating internal structure of YAML file",
            "The rules file is YAML, but not made of rules, macros, lists and requirements.";
        CompileCondition = "LOAD_ERR_COMPILE_CONDITION", "Error compiling condition",
            "A condition is not valid: its syntax, a field, an operator or a value.";
        CompileOutput = "LOAD_ERR_COMPILE_OUTPUT", "Error compiling output",
            "An output is not valid: an unknown field, or a percent sign without one.";
        Validate = "LOAD_ERR_VALIDATE", "Error validating rule/macro/list/exception objects",
            "An item cannot be used as written, or does not fit the items before it.";
        Extension = "LOAD_ERR_EXTENSION", "Error in extension item", "An extension item is not valid.";
    }
}

codes! {
    /// What is suspicious, but loads.
    WarningCode {
        UnknownSource = "LOAD_UNKNOWN_SOURCE", "Unknown event source",
            "No loaded component provides the rule's event source; the rule is left out.";
        UnsafeNaCheck = "LOAD_UNSAFE_NA_CHECK", "Unsafe <NA> comparison in condition",
            "The condition compares a field with <NA>, which it never is: use exists.";
        NoEvttype = "LOAD_NO_EVTTYPE", "Condition has no event-type restriction",
            "The rule listens to too many event types, which costs performance: name the types with evt.type.";
        UnknownFilter = "LOAD_UNKNOWN_FILTER", "Unknown field or event-type in condition or output",
            "A field or event type is unknown and the rule asks to be skipped then; it is left out.";
        UnusedMacro = "LOAD_UNUSED_MACRO", "Unused macro", "No rule or macro refers to this macro.";
        UnusedList = "LOAD_UNUSED_LIST", "Unused list", "No rule, macro or list refers to this list.";
        UnknownItem = "LOAD_UNKNOWN_ITEM", "Unknown rules file item",
            "An item is neither a rule, a macro, a list nor a requirement; it is ignored.";
        UnknownKey = "LOAD_UNKNOWN_KEY", "Unknown key", "A key means nothing here and is ignored.";
        DeprecatedItem = "LOAD_DEPRECATED_ITEM", "Used deprecated item", "Something used will go away.";
        WarningExtension = "LOAD_WARNING_EXTENSION", "Warning in extension item",
            "Something looks like an extension of a later version.";
        AppendNoValues = "LOAD_APPEND_NO_VALUES", "Overriding/appending exception with no values",
            "An exception is appended or replaced without values and changes nothing.";
        ExceptionNameNotUnique = "LOAD_EXCEPTION_NAME_NOT_UNIQUE", "Multiple exceptions defined with the same name",
            "Two exceptions of one rule have the same name.";
        InvalidMacroName = "LOAD_INVALID_MACRO_NAME", "Invalid macro name",
            "The macro's name cannot be written in a condition.";
        InvalidListName = "LOAD_INVALID_LIST_NAME", "Invalid list name",
            "The list's name cannot be written in a condition.";
        CompileCondition = "LOAD_COMPILE_CONDITION", "Warning in rule condition",
            "The condition does something else than it seems to, or could be simpler.";
    }
}

/// A file as it was loaded: what snippets are cut from.
#[derive(Debug)]
pub struct Source {
    pub name: String,
    pub text: String,
    /// Its YAML, read again when an error is shown.
    documents: OnceLock<Vec<Node>>,
    /// Where its lines begin.
    lines: OnceLock<Vec<usize>>,
}

impl Source {
    pub fn new(name: &str, text: String) -> Self {
        Source { name: name.to_owned(), text, documents: OnceLock::new(), lines: OnceLock::new() }
    }

    fn documents(&self) -> &[Node] {
        self.documents.get_or_init(|| yaml::parse(&self.text).unwrap_or_default())
    }

    fn lines(&self) -> &[usize] {
        let breaks = || memchr::memchr_iter(b'\n', self.text.as_bytes()).map(|at| at + 1);
        self.lines.get_or_init(|| std::iter::once(0).chain(breaks()).collect())
    }

    /// The place of a byte.
    fn mark(&self, offset: usize) -> Option<Mark> {
        let starts = self.lines();
        let line = starts.partition_point(|start| *start <= offset).checked_sub(1)?;
        Some(Mark { line, column: self.text.get(starts[line]..offset)?.chars().count(), offset })
    }

    /// A line, counted from 0; empty when there is none.
    fn line(&self, number: usize) -> &str {
        let starts = self.lines();
        let Some(start) = starts.get(number) else { return "" };
        let end = starts.get(number + 1).map_or(self.text.len(), |next| next - 1);
        &self.text[*start..end]
    }
}

/// One link of the chain from the file to the offending item.
#[derive(Clone, Debug)]
pub struct Location {
    pub item_type: &'static str,
    pub item_name: String,
    /// File, or the text of a condition.
    pub position_name: String,
    pub mark: Mark,
}

/// Where something happened: the chain of items, outermost first, and the text to show.
#[derive(Clone, Debug)]
pub struct Context {
    source: Arc<Source>,
    pub locations: Vec<Location>,
    /// A condition or output, when the position is inside one rather than in the file.
    inner: Option<Arc<str>>,
}

impl Context {
    pub fn file(source: &Arc<Source>) -> Self {
        let context = Context { source: source.clone(), locations: Vec::new(), inner: None };
        context.at("rules content", "", Mark::default())
    }

    /// A link deeper into the file.
    pub fn at(&self, item_type: &'static str, item_name: &str, mark: Mark) -> Self {
        let mut context = self.clone();
        context.locations.push(Location {
            item_type,
            item_name: item_name.to_owned(),
            position_name: self.source.name.clone(),
            mark,
        });
        context
    }

    /// A place inside a text of the item (its condition).
    pub fn inside(&self, item_type: &'static str, text: &str, pos: crate::filter::ast::Pos) -> Self {
        let mut context = self.clone();
        let mark = Mark {
            line: pos.line.saturating_sub(1) as usize,
            column: pos.column.saturating_sub(1) as usize,
            offset: pos.offset as usize,
        };
        context.locations.push(Location { item_type, item_name: String::new(), position_name: text.to_owned(), mark });
        context.inner = Some(text.into());
        context
    }

    /// The innermost item that has a name.
    pub fn item(&self) -> Option<&Location> {
        self.locations.iter().rev().find(|l| !l.item_name.is_empty())
    }

    /// The offending line with a caret below.
    pub fn snippet(&self) -> String {
        let Some(last) = self.locations.last() else { return String::new() };
        // Marks of a file count characters, those of a condition bytes.
        let (line, column) = match self.inner.as_deref() {
            Some(text) => (text.split('\n').nth(last.mark.line).unwrap_or(""), last.mark.column),
            None => {
                let line = self.source.line(last.mark.line);
                (line, line.char_indices().nth(last.mark.column).map_or(line.len(), |(i, _)| i))
            }
        };
        crate::filter::error::caret(line, column) + "\n"
    }

    fn json(&self) -> Value {
        let locations: Vec<Value> = self
            .locations
            .iter()
            .map(|l| {
                json!({
                    "item_type": l.item_type,
                    "item_name": l.item_name,
                    "position": {
                        "name": l.position_name,
                        "line": l.mark.line,
                        "column": l.mark.column,
                        "offset": l.mark.offset,
                    },
                })
            })
            .collect();
        json!({ "locations": locations, "snippet": self.snippet() })
    }

    /// The place in the file of one inside a condition or an output, where it can be told.
    fn in_file(&self) -> Option<Mark> {
        let [.., item, inner] = &self.locations[..] else { return None };
        let key = inner.item_type.strip_suffix(" expression")?;
        let Source { text, .. } = &*self.source;
        let expanded = self.inner.as_deref()?;
        let at = place::find(text, self.source.documents(), item.mark, key, expanded, inner.mark.offset)?;
        self.source.mark(at)
    }

    fn text(&self) -> String {
        let mut out = String::new();
        for (i, l) in self.locations.iter().enumerate() {
            let lead = if i == 0 { "In " } else { "    " };
            let name = match l.item_name.is_empty() {
                true => String::new(),
                false => format!(" '{}'", l.item_name),
            };
            // A condition is shown below, not as the name of a place. Lines and columns for people count from 1.
            let inner = self.inner.is_some() && i + 1 == self.locations.len();
            let (place, mark) = match self.in_file().filter(|_| inner) {
                Some(mark) => (&*self.source.name, mark),
                None if inner => ("in the text", l.mark),
                None => (&*l.position_name, l.mark),
            };
            // Writing into a String cannot fail.
            let _ = writeln!(out, "{lead}{}{name}: ({place}:{}:{})", l.item_type, mark.line + 1, mark.column + 1);
        }
        let _ = write!(out, "------\n{}------\n", self.snippet());
        out
    }

    pub fn file_name(&self) -> &str {
        &self.source.name
    }
}

#[derive(Clone, Debug)]
pub struct LoadError {
    pub code: ErrorCode,
    pub message: String,
    pub context: Context,
}

#[derive(Clone, Debug)]
pub struct LoadWarning {
    pub code: WarningCode,
    pub message: String,
    pub context: Context,
}

/// Result of loading one file.
#[derive(Clone, Debug)]
pub struct FileResult {
    pub name: String,
    /// None when no schema check ran.
    pub schema_warnings: Option<Vec<String>>,
    pub errors: Vec<LoadError>,
    pub warnings: Vec<LoadWarning>,
}

impl FileResult {
    pub fn new(name: &str) -> Self {
        FileResult { name: name.to_owned(), schema_warnings: None, errors: Vec::new(), warnings: Vec::new() }
    }

    pub fn successful(&self) -> bool {
        self.errors.is_empty()
    }

    pub fn has_warnings(&self) -> bool {
        !self.warnings.is_empty()
    }

    /// One element of `falco_load_results`.
    pub fn json(&self) -> Value {
        // Of an error the short phrase is given as its description, of a warning the sentence; readers rely on it.
        let errors: Vec<Value> = self
            .errors
            .iter()
            .map(|e| {
                json!({"code": e.code.symbol(), "codedesc": e.code.phrase(), "message": e.message, "context": e.context.json()})
            })
            .collect();
        let warnings: Vec<Value> = self
            .warnings
            .iter()
            .map(|w| {
                json!({"code": w.code.symbol(), "codedesc": w.code.description(), "message": w.message, "context": w.context.json()})
            })
            .collect();
        let mut out = json!({
            "name": self.name,
            "successful": self.successful(),
            "errors": errors,
            "warnings": warnings,
        });
        if let Some(schema) = &self.schema_warnings {
            out["schema_valid"] = json!(schema.is_empty());
            out["schema_warnings"] = json!(schema);
        }
        out
    }

    /// `<path>: Ok` and the like, followed by details when `verbose`.
    pub fn text(&self, verbose: bool) -> String {
        let verdict = match (self.successful(), self.has_warnings()) {
            (false, _) => "Invalid",
            (true, true) => "Ok, with warnings",
            (true, false) => "Ok",
        };
        let mut out = format!("{}: {verdict}\n", self.name);
        if !verbose {
            return out;
        }
        // Writing into a String cannot fail.
        if !self.errors.is_empty() {
            let _ = writeln!(out, "{} Errors:", self.errors.len());
            for e in &self.errors {
                let _ = writeln!(out, "{}{} ({}): {}", e.context.text(), e.code.symbol(), e.code.phrase(), e.message);
            }
        }
        if !self.warnings.is_empty() {
            let _ = writeln!(out, "{} Warnings:", self.warnings.len());
            for w in &self.warnings {
                let _ = writeln!(out, "{}{} ({}): {}", w.context.text(), w.code.symbol(), w.code.phrase(), w.message);
            }
        }
        out
    }
}

/// The object `-V` prints with `json_output`.
pub fn results_json(results: &[FileResult]) -> Value {
    json!({ "falco_load_results": results.iter().map(FileResult::json).collect::<Vec<_>>() })
}
