//! The store of one hub: questions about the alerts in its spool, in SQLite.
//!
//! Invariant: every value goes into a statement as a parameter.
//!
//! Whatever asks about times and labels alone is counted from [`counts`](super::counts). Anything else is counted in one pass over times and
//! numbers of labels, in an index or in the narrow table `moments`; bodies are read only where a field must be compared, and
//! of the alerts that are shown. Names are looked up at the end.

mod counts;
pub mod field;

use super::counts::can_count;
use super::{Acknowledged, Change, Filter, Found, Group, Intervals, Label, Order, Overview, Totals};
use crate::hub::alert::Priority;
use crate::hub::spool::{Spool, SpoolError, now};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
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
#[derive(Clone)]
struct Where {
    /// Where `seq`, `time` and `label` are found.
    tables: &'static str,
    sql: String,
    values: Vec<Value>,
}

/// The numbers of alerts that may fit, from the first to the last.
fn numbers(connection: &Connection, filter: &Filter) -> rusqlite::Result<[i64; 2]> {
    let after = filter.after.unwrap_or(0);
    if filter.from.is_none() && filter.to.is_none() {
        return Ok([after.saturating_add(1), i64::MAX]);
    }
    // Alerts come about in the order of their times: of the index of words a part is read.
    let sql = "SELECT coalesce(min(seq), 1), coalesce(max(seq), 0) FROM alerts WHERE time >= ?1 AND time < ?2";
    let range = (filter.from.unwrap_or(i64::MIN), filter.to.unwrap_or(i64::MAX));
    let (first, last): (i64, i64) =
        connection.prepare_cached(sql)?.query_row(range, |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok([first.max(after.saturating_add(1)), last])
}

impl Where {
    fn all() -> Where {
        Where { tables: "alerts", sql: "1".to_owned(), values: Vec::new() }
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

    /// The alerts whose labels fit.
    fn of_labels(labels: Where) -> Where {
        let mut all = Where::all();
        if !labels.values.is_empty() {
            all.and(&format!("label IN (SELECT id FROM labels WHERE {})", labels.sql), labels.values);
        }
        all
    }

    /// What is asked of alerts, labels included.
    fn of(connection: &Connection, filter: &Filter) -> rusqlite::Result<Where> {
        let mut all = Where::of_labels(Where::labels(filter));
        // The words of a field are beside each other in the index: few alerts remain whose body must be read.
        let phrase = |text: &str| format!("\"{}\"", text.replace(['"', '\0'], " "));
        let mut words: Vec<String> =
            filter.fields.iter().map(|(name, value)| phrase(&format!("{name} {value}"))).collect();
        // Each word quoted, so that nothing of the search's own language is read from it; the last may go on.
        words.extend(filter.text.split_whitespace().map(|word| phrase(word) + "*"));
        if !words.is_empty() {
            all.tables = match filter.fields.is_empty() && filter.acknowledged.is_none() {
                true => "words CROSS JOIN moments ON moments.seq = words.rowid",
                false => "words CROSS JOIN alerts ON alerts.seq = words.rowid",
            };
            let [first, last] = numbers(connection, filter)?;
            let values = vec![Value::Text(words.join(" ")), Value::Integer(first), Value::Integer(last)];
            all.and("words MATCH ? AND words.rowid BETWEEN ? AND ?", values);
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
        for (name, value) in &filter.fields {
            all.and("has_field(body, ?, ?)", vec![Value::Text(name.clone()), Value::Text(value.clone())]);
        }
        Ok(all)
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

/// Start of the interval of `width` nanoseconds in which a time is.
fn start(time: i64, width: i64) -> i64 {
    time.div_euclid(width).saturating_mul(width)
}

/// Counts by label, and per interval of `width` nanoseconds and label.
fn count(connection: &Connection, filter: &Filter, width: Option<i64>) -> rusqlite::Result<(Totals, Intervals)> {
    let (mut totals, mut intervals) = (Totals::new(), Intervals::new());
    if can_count(filter) {
        counts::add(connection, filter, width, (&mut totals, &mut intervals))?;
    } else {
        let Where { tables, sql, values } = Where::of(connection, filter)?;
        let mut statement = connection.prepare_cached(&format!("SELECT label, time FROM {tables} WHERE {sql}"))?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            let label = row.get(0)?;
            match width {
                None => *totals.entry(label).or_default() += 1,
                Some(width) => *intervals.entry((start(row.get(1)?, width), label)).or_default() += 1,
            }
        }
    }
    for ((_, label), number) in &intervals {
        *totals.entry(*label).or_default() += number;
    }
    Ok((totals, intervals))
}

fn ordered(
    connection: &Connection,
    filter: &Filter,
    order: Order,
    skip: usize,
    limit: usize,
) -> rusqlite::Result<Vec<Found>> {
    let Where { tables, sql, mut values } = Where::of(connection, filter)?;
    let number = |n: usize| Value::Integer(i64::try_from(n).unwrap_or(i64::MAX));
    values.extend([number(limit), number(skip)]);
    let order = order.sql();
    // Put in order without their bodies.
    let sql = format!(
        "SELECT {COLUMNS} FROM (SELECT seq AS chosen FROM {tables} WHERE {sql} ORDER BY {order} LIMIT ? OFFSET ?) \
         CROSS JOIN alerts ON seq = chosen ORDER BY {order}"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_map(params_from_iter(values), found)?.collect()
}

/// A page of the newest, and how many there are, of one pass.
fn page(connection: &Connection, filter: &Filter, skip: usize, limit: usize) -> rusqlite::Result<(Vec<Found>, i64)> {
    let Where { tables, sql, values } = Where::of(connection, filter)?;
    let mut statement = connection.prepare_cached(&format!("SELECT time, seq FROM {tables} WHERE {sql}"))?;
    let mut rows = statement.query(params_from_iter(values))?;
    let (mut newest, mut all) = (BinaryHeap::new(), 0);
    while let Some(row) = rows.next()? {
        all += 1;
        let moment: (i64, i64) = (row.get(0)?, row.get(1)?);
        if newest.len() < skip.saturating_add(limit) {
            newest.push(Reverse(moment));
        } else if let Some(mut oldest) = newest.peek_mut()
            && oldest.0 < moment
        {
            *oldest = Reverse(moment);
        }
    }
    let sql = format!("SELECT {COLUMNS} FROM alerts WHERE seq = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let newest = newest.into_sorted_vec().into_iter().skip(skip);
    let page = newest.map(|Reverse((_, seq))| statement.query_row([seq], found)).collect::<Result<_, _>>()?;
    Ok((page, all))
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
            let (totals, intervals) = count(connection, &filter, width)?;
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
        self.with_reader(move |connection| Ok(ordered(connection, &filter, order, skip, limit)?)).await
    }

    /// Some of the newest, and how many there are.
    pub(super) async fn page(
        self: &Arc<Self>,
        filter: Filter,
        skip: usize,
        limit: usize,
    ) -> Result<(Vec<Found>, i64), SpoolError> {
        self.with_reader(move |connection| {
            if !can_count(&filter) {
                return Ok(page(connection, &filter, skip, limit)?);
            }
            let all = count(connection, &filter, None)?.0.values().sum();
            Ok((ordered(connection, &filter, Order::Newest, skip, limit)?, all))
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
