//! Lists: their items, and the textual replacement of their names in conditions.
//!
//! Replacement is by text, before parsing, because that is the language: a list's name is replaced wherever it stands
//! alone, even inside quotes. Invariant: text put in is not looked at again for the same list.

use super::collect::List;
use super::exceptions::quoted;
use hashbrown::HashMap;
use std::collections::BTreeSet;

/// A list with its references to earlier lists replaced by their raw items.
#[derive(Clone, Debug)]
pub struct ResolvedList {
    pub name: String,
    pub items: Vec<String>,
    pub used: bool,
    /// Names of the lists it refers to.
    pub refers: Vec<String>,
}

/// All lists in the order of their definition, found by name.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    all: Vec<ResolvedList>,
    /// By name, in order.
    places: HashMap<String, Vec<usize>>,
    /// Those whose names have characters in them that end a word.
    several_words: Vec<usize>,
}

impl Lists {
    fn new(all: Vec<ResolvedList>) -> Lists {
        let mut lists = Lists { all, ..Lists::default() };
        for (at, list) in lists.all.iter().enumerate() {
            lists.places.entry(list.name.clone()).or_default().push(at);
            if list.name.bytes().any(|b| delimits(Some(&b))) {
                lists.several_words.push(at);
            }
        }
        lists
    }

    /// In the order of their definition.
    pub fn as_slice(&self) -> &[ResolvedList] {
        &self.all
    }

    /// Adds the places of the lists that words of a text name, from a place on.
    fn named_in(&self, text: &str, from: usize, out: &mut BTreeSet<usize>) {
        for word in text.split(|c: char| u8::try_from(c).is_ok_and(|b| delimits(Some(&b)))) {
            out.extend(self.places.get(word).into_iter().flatten().filter(|at| **at >= from));
        }
    }
}

/// Resolves every list; one level deep, as Falco does.
pub fn resolve(lists: &[List]) -> Lists {
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, list) in lists.iter().enumerate() {
        places.entry(&list.name).or_default().push(at);
    }
    let mut used = vec![false; lists.len()];
    let mut out: Vec<ResolvedList> = Vec::with_capacity(lists.len());
    for list in lists {
        let mut items = Vec::with_capacity(list.items.len());
        let mut refers = Vec::new();
        for item in &list.items {
            let mut named = places.get(&**item).into_iter().flatten();
            match named.find(|at| lists[**at].index < list.visibility) {
                Some(&at) => {
                    used[at] = true;
                    refers.push(item.clone());
                    items.extend(lists[at].items.iter().cloned());
                }
                None => items.push(item.clone()),
            }
        }
        out.push(ResolvedList { name: list.name.clone(), items, used: false, refers });
    }
    for (list, used) in out.iter_mut().zip(used) {
        list.used = used;
    }
    Lists::new(out)
}

fn delimits(b: Option<&u8>) -> bool {
    matches!(b, None | Some(b' ' | b'\t' | b'\n' | b'\r' | b'(' | b')' | b',' | b'='))
}

/// Bytes a condition may grow to; lists of lists get there in a few lines.
const MAX_BYTES: usize = 4 << 20;

/// Replaces the names of all lists in a condition, and marks those used. None when it grows too large.
pub fn substitute(condition: &str, lists: &mut Lists) -> Option<String> {
    let mut text = condition.to_owned();
    // Only lists that a word names are looked for: there may be thousands.
    let mut named: BTreeSet<usize> = lists.several_words.iter().copied().collect();
    lists.named_in(&text, 0, &mut named);
    while let Some(at) = named.pop_first() {
        for item in &lists.all[at].items {
            lists.named_in(item, at + 1, &mut named);
        }
        let list = &mut lists.all[at];
        if list.name.is_empty() {
            continue;
        }
        let new = list.items.iter().map(|i| quoted_item(i)).collect::<Vec<_>>().join(", ");
        let mut out = String::with_capacity(text.len());
        // Text before `from` is in `out`, as it was or replaced.
        let (mut from, mut search) = (0, 0);
        while let Some(at) = text[search..].find(&list.name).map(|i| search + i) {
            let end = at + list.name.len();
            let bytes = text.as_bytes();
            if !(delimits(at.checked_sub(1).map(|i| &bytes[i])) && delimits(bytes.get(end))) {
                // Names may start with any character; step over it whole.
                search = at + text[at..].chars().next().map_or(1, char::len_utf8);
                continue;
            }
            list.used = true;
            out.push_str(&text[from..at]);
            out.push_str(&new);
            (from, search) = (end, end);
            if list.items.is_empty() {
                from = without_comma(&mut out, bytes, end);
                search = from;
            }
            if out.len() > MAX_BYTES {
                return None;
            }
        }
        out.push_str(&text[from..]);
        text = out;
    }
    Some(text)
}

/// Does a condition name this list, before anything is replaced?
pub fn mentions(condition: &str, name: &str) -> bool {
    let bytes = condition.as_bytes();
    !name.is_empty()
        && condition
            .match_indices(name)
            .any(|(at, _)| delimits(at.checked_sub(1).map(|i| &bytes[i])) && delimits(bytes.get(at + name.len())))
}

/// Only items with a blank are quoted; an empty item stays empty.
fn quoted_item(item: &str) -> String {
    match item.contains(' ') {
        true => quoted(item),
        false => item.to_owned(),
    }
}

/// Removes one comma beside an empty replacement: the last one before it, else the one that follows. Gives where the
/// text goes on.
fn without_comma(out: &mut String, bytes: &[u8], end: usize) -> usize {
    let blank = |b: &&u8| matches!(**b, b' ' | b'\t' | b'\n' | b'\r');
    if let Some(kept) = out.trim_end_matches([' ', '\t', '\n', '\r']).strip_suffix(',') {
        out.truncate(kept.len());
        return end;
    }
    let right = bytes[end..].iter().take_while(blank).count();
    if bytes.get(end + right) == Some(&b',') { end + right + 1 } else { end }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(condition: &str, lists: &[(&str, &[&str])]) -> String {
        let lists = lists
            .iter()
            .map(|(name, items)| ResolvedList {
                name: (*name).into(),
                items: items.iter().map(|i| (*i).into()).collect(),
                used: false,
                refers: Vec::new(),
            })
            .collect();
        substitute(condition, &mut Lists::new(lists)).unwrap()
    }

    #[test]
    fn names_are_replaced_where_they_stand_alone() {
        let lists: &[(&str, &[&str])] = &[("l", &["a", "b c", "\"q q\""]), ("e", &[])];
        assert_eq!(run("x in (l)", lists), "x in (a, \"b c\", \"q q\")");
        assert_eq!(run("x=l", lists), "x=a, \"b c\", \"q q\"");
        assert_eq!(run("x in (la, _l, l.)", lists), "x in (la, _l, l.)");
        assert_eq!(run("x in (p, e, q)", lists), "x in (p, q)");
        assert_eq!(run("x in (e , q)", lists), "x in ( q)");
        assert_eq!(run("x in (e)", lists), "x in ()");
        assert_eq!(run("x = 'see l here'", &[("l", &["m"])]), "x = 'see m here'");
    }

    #[test]
    fn lists_that_name_themselves_end() {
        assert_eq!(run("x in (l)", &[("l", &["l", "l"])]), "x in (l, l)");
        assert_eq!(run("x in (l)", &[("m", &["no"]), ("l", &["m", "n"]), ("n", &["yes"])]), "x in (m, yes)");
        assert_eq!(run("x in (a b)", &[("l", &["a b"]), ("a b", &["c"])]), "x in (c)");
        // Words join to a name.
        assert_eq!(run("x in (l m)", &[("l", &["a"]), ("a m", &["c"])]), "x in (c)");
    }
}
