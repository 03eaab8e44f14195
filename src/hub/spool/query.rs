//! Questions about the alerts that are kept, and changes an operator makes to them.
//!
//! The filters are those of Falcosidekick UI (`priority`, `rule`, `source`, `hostname`, `tags`, `since`, free text), and
//! more: an interval, fields, exclusion. Not here: HTTP. Invariant: every value goes into a statement as a parameter.

use super::{Seq, Spool, SpoolError, now};
use crate::hub::alert::Priority;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which alerts. Lists: one of them; everything that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub priorities: Vec<Priority>,
    pub rules: Vec<String>,
    pub sources: Vec<String>,
    pub hostnames: Vec<String>,
    pub tags: Vec<String>,
    /// Rules that are left out.
    pub not_rules: Vec<String>,
    /// Fields and the text they must have.
    pub fields: Vec<(String, String)>,
    /// Words that must all occur, in the text, the rule, the tags or the fields.
    pub text: String,
    /// The alert's own time, nanoseconds since 1970: not before, and before.
    pub from: Option<i64>,
    pub to: Option<i64>,
    pub acknowledged: Option<bool>,
}

/// What alerts are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Priority,
    Rule,
    Source,
    Hostname,
    Tags,
}

impl Group {
    pub fn from_name(name: &str) -> Option<Group> {
        Some(match name {
            "priority" => Group::Priority,
            "rule" => Group::Rule,
            "source" => Group::Source,
            "hostname" => Group::Hostname,
            "tags" => Group::Tags,
            _ => return None,
        })
    }

    fn column(self) -> &'static str {
        match self {
            Group::Priority => "priority",
            Group::Rule => "rule",
            Group::Source => "source",
            Group::Hostname => "hostname",
            Group::Tags => "tag",
        }
    }
}

/// An alert as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub seq: Seq,
    pub received: i64,
    /// The alert as JSON.
    pub body: String,
    pub acknowledged: Option<Acknowledged>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Milliseconds since 1970.
    pub at: i64,
    pub by: String,
    pub note: String,
}

/// A change to alerts.
#[derive(Clone, Debug)]
pub enum Change {
    Acknowledge { uuid: String, by: String, note: String },
    Unacknowledge { uuid: String },
    Delete { uuid: String },
}

impl Change {
    /// Returns how many alerts were changed.
    pub(super) fn apply(self, connection: &Connection) -> rusqlite::Result<usize> {
        match self {
            Change::Acknowledge { uuid, by, note } => connection.execute(
                "UPDATE alerts SET acknowledged = ?2, acknowledged_by = ?3, note = ?4 WHERE uuid = ?1",
                (uuid, now(), by, note),
            ),
            Change::Unacknowledge { uuid } => connection.execute(
                "UPDATE alerts SET acknowledged = NULL, acknowledged_by = NULL, note = NULL WHERE uuid = ?1",
                [uuid],
            ),
            Change::Delete { uuid } => {
                let sql = "SELECT seq FROM alerts WHERE uuid = ?1";
                let Some(seq) = connection.query_row(sql, [uuid], |row| row.get::<_, Seq>(0)).optional()? else {
                    return Ok(0);
                };
                connection.execute("DELETE FROM tags WHERE seq = ?1", [seq])?;
                connection.execute("DELETE FROM words WHERE rowid = ?1", [seq])?;
                connection.execute("DELETE FROM held WHERE seq = ?1", [seq])?;
                connection.execute("DELETE FROM alerts WHERE seq = ?1", [seq])
            }
        }
    }
}

/// A condition and its parameters.
struct Where {
    sql: String,
    values: Vec<Value>,
}

impl Where {
    fn of(filter: &Filter) -> Where {
        let mut all = Where { sql: "1".to_owned(), values: Vec::new() };
        let priorities = filter.priorities.iter().map(|p| Value::Integer(*p as i64)).collect();
        all.one_of("priority", "IN", priorities);
        let texts = |list: &[String]| list.iter().cloned().map(Value::Text).collect::<Vec<_>>();
        all.one_of("rule", "IN", texts(&filter.rules));
        all.one_of("rule", "NOT IN", texts(&filter.not_rules));
        all.one_of("source", "IN", texts(&filter.sources));
        all.one_of("hostname", "IN", texts(&filter.hostnames));
        if !filter.tags.is_empty() {
            let marks = vec!["?"; filter.tags.len()].join(",");
            all.and(&format!("seq IN (SELECT seq FROM tags WHERE tag IN ({marks}))"), texts(&filter.tags));
        }
        for (name, value) in &filter.fields {
            // A path of JSON has no other way to name a key with dots.
            let path = format!("$.output_fields.\"{}\"", name.replace('"', ""));
            let values = vec![Value::Text(path), Value::Text(value.clone())];
            all.and("CAST(json_extract(body, ?) AS TEXT) = ?", values);
        }
        // Each word quoted, so that nothing of the search's own language is read from it; the last may go on.
        let words: Vec<_> =
            filter.text.split_whitespace().map(|word| format!("\"{}\"*", word.replace('"', "\"\""))).collect();
        if !words.is_empty() {
            let words = vec![Value::Text(words.join(" "))];
            all.and("seq IN (SELECT rowid FROM words WHERE words MATCH ?)", words);
        }
        if let Some(from) = filter.from {
            all.and("time >= ?", vec![Value::Integer(from)]);
        }
        if let Some(to) = filter.to {
            all.and("time < ?", vec![Value::Integer(to)]);
        }
        match filter.acknowledged {
            Some(true) => all.and("acknowledged IS NOT NULL", Vec::new()),
            Some(false) => all.and("acknowledged IS NULL", Vec::new()),
            None => {}
        }
        all
    }

    fn and(&mut self, sql: &str, values: Vec<Value>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(sql);
        self.values.extend(values);
    }

    fn one_of(&mut self, column: &str, operator: &str, values: Vec<Value>) {
        if !values.is_empty() {
            let marks = vec!["?"; values.len()].join(",");
            self.and(&format!("{column} {operator} ({marks})"), values);
        }
    }
}

const COLUMNS: &str = "seq, received, body, acknowledged, acknowledged_by, note";

fn found(row: &Row) -> rusqlite::Result<Found> {
    let at: Option<i64> = row.get(3)?;
    let acknowledged = match at {
        Some(at) => Some(Acknowledged { at, by: row.get(4)?, note: row.get(5)? }),
        None => None,
    };
    Ok(Found { seq: row.get(0)?, received: row.get(1)?, body: row.get(2)?, acknowledged })
}

impl Spool {
    pub async fn count(self: &Arc<Self>, filter: Filter) -> Result<i64, SpoolError> {
        self.with_reader(move |connection| {
            let Where { sql, values } = Where::of(&filter);
            let sql = format!("SELECT count(*) FROM alerts WHERE {sql}");
            Ok(connection.prepare_cached(&sql)?.query_row(params_from_iter(values), |row| row.get(0))?)
        })
        .await
    }

    /// Counts by what alerts have; by tags, an alert counts for each of its tags. No hostname counts as empty text.
    pub async fn count_by(self: &Arc<Self>, group: Group, filter: Filter) -> Result<BTreeMap<String, i64>, SpoolError> {
        self.with_reader(move |connection| {
            let Where { sql, values } = Where::of(&filter);
            let column = group.column();
            let from = if group == Group::Tags { "tags JOIN alerts USING (seq)" } else { "alerts" };
            let sql = format!("SELECT {column}, count(*) FROM {from} WHERE {sql} GROUP BY {column}");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params_from_iter(values), |row| {
                let key = match row.get(0)? {
                    Value::Integer(number) => Priority::from_number(number).name().to_owned(),
                    Value::Text(text) => text,
                    _ => String::new(),
                };
                Ok((key, row.get(1)?))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Alerts by their own time, the newest first.
    pub async fn search(self: &Arc<Self>, filter: Filter, skip: usize, limit: usize) -> Result<Vec<Found>, SpoolError> {
        self.with_reader(move |connection| {
            let Where { sql, mut values } = Where::of(&filter);
            let number = |n: usize| Value::Integer(i64::try_from(n).unwrap_or(i64::MAX));
            values.extend([number(limit), number(skip)]);
            let sql = format!("SELECT {COLUMNS} FROM alerts WHERE {sql} ORDER BY time DESC, seq DESC LIMIT ? OFFSET ?");
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params_from_iter(values), found)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    pub async fn by_uuid(self: &Arc<Self>, uuid: &str) -> Result<Option<Found>, SpoolError> {
        let uuid = uuid.to_owned();
        self.with_reader(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM alerts WHERE uuid = ?1");
            Ok(connection.query_row(&sql, [uuid], found).optional()?)
        })
        .await
    }

    /// Counts per interval of `width` nanoseconds: its start, what is counted by, how many.
    pub async fn timeline(
        self: &Arc<Self>,
        group: Group,
        filter: Filter,
        width: i64,
    ) -> Result<Vec<(i64, String, i64)>, SpoolError> {
        self.with_reader(move |connection| {
            let Where { sql, mut values } = Where::of(&filter);
            let (column, width) = (group.column(), width.max(1));
            let from = if group == Group::Tags { "tags JOIN alerts USING (seq)" } else { "alerts" };
            values.splice(0..0, [Value::Integer(width), Value::Integer(width)]);
            let sql = format!(
                "SELECT time / ? * ? AS start, {column}, count(*) FROM {from} WHERE {sql} GROUP BY start, {column} \
                 ORDER BY start"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params_from_iter(values), |row| {
                let key = match row.get(1)? {
                    Value::Integer(number) => Priority::from_number(number).name().to_owned(),
                    Value::Text(text) => text,
                    _ => String::new(),
                };
                Ok((row.get(0)?, key, row.get(2)?))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}
