//! Words: what of an alert is searched, and how a text falls into words.
//!
//! SQLite's full-text index does the latter itself. For PostgreSQL it is asked how it would: a table in memory, of the
//! same kind as the spool's, is given texts and tells their words. So a search finds the same in both stores, whatever
//! letters it is about. Not here: SQL of the stores.

use crate::hub::alert::Alert;
use crate::hub::json::Json;
use rusqlite::Connection;
use std::sync::{Mutex, PoisonError};

/// What of an alert is searched: a field is its name and its value, beside each other.
pub fn text(alert: &Alert) -> String {
    let mut text = format!("{}\n{}\n{}\n{}", alert.output, alert.rule, alert.hostname, alert.tags.join(" "));
    for (name, value) in &alert.output_fields {
        text.push('\n');
        text.push_str(name);
        text.push(' ');
        match value {
            Json::String(value) => text.push_str(value),
            value => text.push_str(&value.to_string()),
        }
    }
    text
}

/// Tells words apart as the spool's table `words` does.
pub struct Tokenizer(Mutex<Connection>);

impl Tokenizer {
    pub fn new() -> rusqlite::Result<Tokenizer> {
        let connection = Connection::open_in_memory()?;
        connection.execute_batch(
            "CREATE VIRTUAL TABLE words USING fts5 (text, content = '');
             CREATE VIRTUAL TABLE found USING fts5vocab (words, instance);",
        )?;
        Ok(Tokenizer(Mutex::new(connection)))
    }

    /// The words of each text, in their order. Takes a moment: some 20 ms for a thousand texts.
    pub fn words<T: AsRef<str>>(&self, texts: &[T]) -> rusqlite::Result<Vec<Vec<String>>> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Not committed: what was put in is gone at the end.
        let change = connection.transaction()?;
        let mut words = vec![Vec::new(); texts.len()];
        {
            let mut insert = change.prepare_cached("INSERT INTO words (rowid, text) VALUES (?1, ?2)")?;
            for (at, text) in texts.iter().enumerate() {
                insert.execute((at, text.as_ref()))?;
            }
            let mut select = change.prepare_cached("SELECT doc, term FROM found ORDER BY doc, offset")?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                let of: usize = row.get(0)?;
                if let Some(of) = words.get_mut(of) {
                    of.push(row.get(1)?);
                }
            }
        }
        change.rollback()?;
        Ok(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_index() {
        let tokenizer = Tokenizer::new().expect("a database in memory");
        let long = "x".repeat(40_000);
        for _ in 0..2 {
            let words = tokenizer.words(&["Été: a.b-c_d 'X'", "", "日本語 Ω1", &long, "b a b"]).expect("words");
            assert_eq!(words[0], ["ete", "a", "b", "c", "d", "x"]);
            assert_eq!(words[1], Vec::<String>::new());
            assert_eq!(words[2], ["日本語", "ω1"]);
            assert!(words[3].len() == 1 && words[3][0].len() <= 40_000, "{}", words[3].len());
            assert_eq!(words[4], ["b", "a", "b"], "in their order, each as often as it is there");
        }
    }
}
