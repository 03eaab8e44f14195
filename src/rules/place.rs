//! From a place in a condition back to the file it was written in.
//!
//! A condition is text that YAML folded and lists were put into, so its lines and columns are not the file's. What stays is the
//! order of its words: the expanded text is walked beside the written one, and that beside the file. Invariant: a place is
//! given only where all three agree; everywhere else there is none.

use super::yaml::{Mark, Node};

/// The offset in `file` of what is at `offset` of `expanded`: `expanded` was made of the value of `key` of the item that starts
/// at `item`.
pub fn find(file: &str, documents: &[Node], item: Mark, key: &str, expanded: &str, offset: usize) -> Option<usize> {
    let at = |items: &[Node]| items.binary_search_by_key(&item.offset, |node| node.mark.offset);
    let item = documents.iter().filter_map(Node::sequence).find_map(|items| Some(&items[at(items).ok()?]))?;
    let node = item.get(key)?;
    let written = node.text()?;
    let offset = unexpanded(written, expanded, offset)?;
    Some(node.mark.offset + in_scalar(file.get(node.mark.offset..)?, written, offset)?)
}

/// What separates the words of a condition: the characters that delimit the names of lists.
fn separates(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r' | b'(' | b')' | b',' | b'=')
}

/// Words with their offsets.
fn words(text: &str) -> Vec<(usize, &str)> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let len = bytes[at..].iter().take_while(|b| !separates(**b)).count();
        if len > 0 {
            out.push((at, &text[at..at + len]));
        }
        at += len.max(1);
    }
    out
}

/// The offset in `written` of what is at `offset` in `expanded`, which has other words only where a list's name was.
fn unexpanded(written: &str, expanded: &str, offset: usize) -> Option<usize> {
    let (from, to) = (words(written), words(expanded));
    // The word at the offset or the last one before it.
    let target = to.partition_point(|(at, _)| *at <= offset).checked_sub(1)?;
    let (mut i, mut j) = (0, 0);
    loop {
        let (start, word) = *from.get(i)?;
        if to[j].1 == word {
            if j == target {
                return Some((start + offset - to[j].0).min(written.len()));
            }
            (i, j) = (i + 1, j + 1);
            continue;
        }
        // A list: its items go on until the next two written words.
        let next: Vec<&str> = from.get(i + 1..)?.iter().take(2).map(|(_, word)| *word).collect();
        let goes_on = |at: usize| {
            let rest = to.get(at..).unwrap_or_default();
            rest.len() >= next.len() && rest.iter().zip(&next).all(|((_, word), next)| word == next)
        };
        let end = (j..=to.len()).find(|at| goes_on(*at))?;
        if target < end {
            return Some(start);
        }
        (i, j) = (i + 1, end);
    }
}

/// The offset in the source of a scalar, `raw` from its first character on, of what is at `offset` of its value.
fn in_scalar(raw: &str, value: &str, offset: usize) -> Option<usize> {
    let head = match raw.as_bytes().first()? {
        b'|' | b'>' => raw.find('\n')? + 1,
        b'"' | b'\'' => 1,
        _ => 0,
    };
    let blank = |c: &char| c.is_ascii_whitespace();
    // Blanks are what folding changes: only the others are counted.
    let mut wanted = value.get(..offset)?.chars().filter(|c| !blank(c));
    let mut rest = raw[head..].char_indices().filter(|(_, c)| !blank(c)).peekable();
    let mut end = head;
    for c in &mut wanted {
        let mut found = rest.next()?;
        // An escape inside quotes.
        if found.1 != c && head == 1 {
            found = rest.next()?;
        }
        if found.1 != c {
            return None;
        }
        end = head + found.0 + c.len_utf8();
    }
    match (value[offset..].chars().next(), rest.peek()) {
        // The next character is a word's: where that stands. At the end, or at a blank: behind what came last.
        (Some(c), Some((at, found))) if !blank(&c) && (*found == c || head == 1) => Some(head + at),
        (Some(c), _) if !blank(&c) => None,
        _ => Some(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rest of the file's line from the place of `needle` in the expanded condition.
    fn rest(file: &str, expanded: &str, needle: &str) -> Option<String> {
        let documents = super::super::yaml::parse(file).unwrap();
        let item = documents[0].sequence().unwrap()[0].mark;
        let at = find(file, &documents, item, "condition", expanded, expanded.find(needle).unwrap())?;
        file[at..].lines().next().map(str::to_owned)
    }

    #[test]
    fn places_survive_folding_quoting_and_lists() {
        let expanded = "a.b = 1 and (c.d in (x, \"y z\", w) or e.f = 2)";
        for condition in [
            "a.b = 1 and (c.d in (l) or e.f = 2)",
            "\"a.b = 1 and (c.d in (l) or e.f = 2)\"",
            "'a.b = 1 and (c.d in (l) or e.f = 2)'",
            ">\n    a.b = 1\n    and (c.d in (l)\n      or e.f = 2)",
            "|-\n    a.b = 1 and\n    (c.d in (l) or e.f = 2)",
            "a.b = 1 and\n    (c.d in (l)\n    or e.f = 2)",
        ] {
            let file = format!("- rule: r\n  condition: {condition}\n  output: o\n");
            let at = |needle| rest(&file, expanded, needle).unwrap_or_else(|| panic!("{needle} in {condition}"));
            assert!(at("a.b").starts_with("a.b = 1"), "{condition}");
            assert!(at("c.d").starts_with("c.d in (l)"), "{condition}");
            assert!(at("y z").starts_with("l)"), "{condition}");
            assert!(at("e.f").starts_with("e.f = 2)"), "{condition}");
            assert!(at("2)").starts_with("2)"), "{condition}");
        }
    }

    #[test]
    fn what_is_not_in_the_file_has_no_place() {
        let file = "- rule: r\n  condition: a.b = 1\n";
        // Appended by another item, and wrapped by exceptions.
        assert_eq!(rest(file, "a.b = 1 and c.d = 2", "c.d"), None);
        assert_eq!(rest(file, "(a.b = 1) and not (c.d in (x))", "a.b").as_deref(), Some("a.b = 1"));
        assert_eq!(rest(file, "(a.b = 1) and not (c.d in (x))", "c.d"), None);
        assert_eq!(rest("- rule: r\n  condition: \"a \\\"b\\\" c\"\n", "a \"b\" c", "c").as_deref(), Some("c\""));
    }
}
