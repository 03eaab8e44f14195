//! The store of one hub: questions about the alerts in its spool, in SQLite.
//!
//! Invariant: every value goes into a statement as a parameter.
//!
//! Whatever is counted is counted in one pass over an index of times and label numbers; names are looked up at the end.

use super::{Acknowledged, Change, Filter, Found, Group, Intervals, Label, Order, Overview, Totals};
use crate::hub::alert::Priority;
use crate::hub::spool::{Spool, SpoolError, now};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use std::sync::Arc;

/// Returns how many alerts were changed.
fn apply(change: Change, connection: &Connection) -> rusqlite::Result<usize> {
    match change {
        Change::Acknowledge { uuid, by, note } => connection.execute(
            "UPDATE alerts SET acknowledged = ?2, acknowledged_by = ?3, note = ?4 WHERE uuid = ?1",
            (uuid, now(), by, note),
        ),
        Change::Unacknowledge { uuid } => connection.execute(
            "UPDATE alerts SET acknowledged = NULL, acknowledged_by = NULL, note = NULL WHERE uuid = ?1",
            [uuid],
        ),
        // What belongs to an alert goes with it.
        Change::Delete { uuid } => connection.execute("DELETE FROM alerts WHERE uuid = ?1", [uuid]),
    }
}

/// A condition and its parameters.
struct Where {
    sql: String,
    values: Vec<Value>,
}

impl Where {
    fn all() -> Where {
        Where { sql: "1".to_owned(), values: Vec::new() }
    }

    /// What is asked of labels.
    fn labels(filter: &Filter) -> Where {
        let mut all = Where::all();
        let priorities = filter.priorities.iter().map(|p| Value::Integer(*p as i64)).collect();
        all.one_of("priority", "IN", priorities);
        let texts = |list: &[String]| list.iter().cloned().map(Value::Text).collect::<Vec<_>>();
        all.one_of("rule", "IN", texts(&filter.rules));
        all.one_of("rule", "NOT IN", texts(&filter.not_rules));
        all.one_of("source", "IN", texts(&filter.sources));
        all.one_of("hostname", "IN", texts(&filter.hostnames));
        if !filter.tags.is_empty() {
            let marks = vec!["?"; filter.tags.len()].join(",");
            all.and(&format!("EXISTS (SELECT 1 FROM json_each(tags) WHERE value IN ({marks}))"), texts(&filter.tags));
        }
        all
    }

    /// What is asked of alerts, labels included.
    fn of(filter: &Filter) -> Where {
        let mut all = Where::all();
        let labels = Where::labels(filter);
        if !labels.values.is_empty() {
            all.and(&format!("label IN (SELECT id FROM labels WHERE {})", labels.sql), labels.values);
        }
        let mut words = Vec::new();
        for (name, value) in &filter.fields {
            // A path of JSON has no other way to name a key with dots. Texts as they are, other values as JSON; no objects.
            let path = Value::Text(format!("$.output_fields.\"{}\"", name.replace('"', "")));
            let sql =
                "CASE json_type(body, ?) WHEN 'text' THEN body ->> ? WHEN 'object' THEN NULL ELSE body -> ? END = ?";
            all.and(sql, vec![path.clone(), path.clone(), path, Value::Text(value.clone())]);
        }
        // The words of a field are beside each other in the index: few alerts remain whose body must be read.
        let phrase = |text: &str| format!("\"{}\"", text.replace(['"', '\0'], " "));
        words.extend(filter.fields.iter().map(|(name, value)| phrase(&format!("{name} {value}"))));
        // Each word quoted, so that nothing of the search's own language is read from it; the last may go on.
        words.extend(filter.text.split_whitespace().map(|word| phrase(word) + "*"));
        if !words.is_empty() {
            // Of a live view's question only the newest rows of that index are read.
            let words = vec![Value::Text(words.join(" ")), Value::Integer(filter.after.unwrap_or(0))];
            all.and("seq IN (SELECT rowid FROM words WHERE words MATCH ? AND rowid > ?)", words);
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
        if let Some(after) = filter.after {
            all.and("seq > ?", vec![Value::Integer(after)]);
        }
        if let Some((time, seq)) = filter.behind {
            // The first part is for the index, so that each chunk of an export starts where the last one ended.
            let values = [time, time, seq].map(Value::Integer).to_vec();
            all.and("time <= ? AND (time < ? OR seq < ?)", values);
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

const COLUMNS: &str = "seq, time, received, body, acknowledged, acknowledged_by, note";

fn found(row: &Row) -> rusqlite::Result<Found> {
    let at: Option<i64> = row.get(4)?;
    let acknowledged = match at {
        Some(at) => Some(Acknowledged { at, by: row.get(5)?, note: row.get(6)? }),
        None => None,
    };
    let (seq, time, received, body) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
    Ok(Found { seq, time, received, body, acknowledged, hub: None })
}

fn label(row: &Row) -> rusqlite::Result<Label> {
    Ok(Label {
        priority: Priority::from_number(row.get("priority")?),
        rule: row.get("rule")?,
        source: row.get("source")?,
        hostname: row.get("hostname")?,
        tags: serde_json::from_str(row.get_ref("tags")?.as_str()?).unwrap_or_default(),
    })
}

/// Counts by label, and per interval of `width` nanoseconds and label.
type Passed = (Totals, Intervals);

fn pass(connection: &Connection, filter: &Filter, width: Option<i64>) -> rusqlite::Result<Passed> {
    let (mut totals, mut intervals) = Passed::default();
    let Where { sql, values } = Where::of(filter);
    if width.is_none() && sql == "1" {
        let mut statement = connection.prepare_cached("SELECT id, alerts FROM labels")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        totals = rows.collect::<Result<_, _>>()?;
        return Ok((totals, intervals));
    }
    let mut statement = connection.prepare_cached(&format!("SELECT label, time FROM alerts WHERE {sql}"))?;
    let mut rows = statement.query(params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        let label = row.get(0)?;
        match width {
            None => *totals.entry(label).or_default() += 1,
            Some(width) => {
                let time: i64 = row.get(1)?;
                *intervals.entry((time.div_euclid(width).saturating_mul(width), label)).or_default() += 1;
            }
        }
    }
    for ((_, label), number) in &intervals {
        *totals.entry(*label).or_default() += number;
    }
    Ok((totals, intervals))
}

impl Spool {
    /// Counts by each of `groups`; with a `width` in nanoseconds, per interval as well.
    pub(super) async fn overview(
        self: &Arc<Self>,
        filter: Filter,
        groups: Vec<Group>,
        width: Option<i64>,
    ) -> Result<Overview, SpoolError> {
        self.with_reader(move |connection| {
            let (totals, intervals) = pass(connection, &filter, width)?;
            let mut labels = Vec::new();
            if !groups.is_empty() {
                let sql = "SELECT id, priority, rule, source, hostname, tags FROM labels";
                let mut statement = connection.prepare_cached(sql)?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    let id = row.get(0)?;
                    if totals.contains_key(&id) {
                        labels.push((id, label(row)?));
                    }
                }
            }
            Ok(Overview::of(&groups, &totals, width.map(|_| &intervals), &labels))
        })
        .await
    }

    /// The alerts' own times, from the first to the last; nothing when there are none.
    pub(super) async fn span(self: &Arc<Self>) -> Result<Option<(i64, i64)>, SpoolError> {
        self.with_reader(|connection| {
            let sql = "SELECT (SELECT min(time) FROM alerts), (SELECT max(time) FROM alerts)";
            let span: (Option<i64>, Option<i64>) =
                connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(span.0.zip(span.1))
        })
        .await
    }

    pub(super) async fn ordered(
        self: &Arc<Self>,
        filter: Filter,
        order: Order,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<Found>, SpoolError> {
        self.with_reader(move |connection| {
            let Where { sql, mut values } = Where::of(&filter);
            let number = |n: usize| Value::Integer(i64::try_from(n).unwrap_or(i64::MAX));
            values.extend([number(limit), number(skip)]);
            let sql = format!("SELECT {COLUMNS} FROM alerts WHERE {sql} ORDER BY {} LIMIT ? OFFSET ?", order.sql());
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_map(params_from_iter(values), found)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Returns how many alerts were changed.
    pub(super) async fn change(&self, change: Change) -> Result<usize, SpoolError> {
        self.write(move |connection| apply(change, connection)).await
    }

    pub(super) async fn by_uuid(self: &Arc<Self>, uuid: &str) -> Result<Option<Found>, SpoolError> {
        let uuid = uuid.to_owned();
        self.with_reader(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM alerts WHERE uuid = ?1");
            Ok(connection.query_row(&sql, [uuid], found).optional()?)
        })
        .await
    }

    /// Alerts by their uuids, as far as they are still there.
    pub(super) async fn kept(self: &Arc<Self>, uuids: Vec<String>) -> Result<Vec<Option<Found>>, SpoolError> {
        self.with_reader(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM alerts WHERE uuid = ?1");
            let mut statement = connection.prepare_cached(&sql)?;
            uuids.iter().map(|uuid| Ok(statement.query_row([uuid], found).optional()?)).collect()
        })
        .await
    }
}
