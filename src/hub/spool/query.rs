//! Questions about the alerts that are kept, and changes an operator makes to them.
//!
//! The filters are those of Falcosidekick UI (`priority`, `rule`, `source`, `hostname`, `tags`, `since`, free text), and
//! more: an interval, fields, exclusion. Not here: HTTP. Invariant: every value goes into a statement as a parameter.
//!
//! Whatever is counted is counted in one pass over an index of times and label numbers; names are looked up at the end.

use super::{Seq, Spool, SpoolError, now};
use crate::hub::alert::Priority;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use std::collections::{BTreeMap, HashMap};
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
    /// Received after this one.
    pub after: Option<Seq>,
    /// Behind this time and number, in the order of a search.
    pub behind: Option<(i64, Seq)>,
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
    pub const ALL: [Group; 5] = [Group::Priority, Group::Rule, Group::Source, Group::Hostname, Group::Tags];

    pub fn name(self) -> &'static str {
        match self {
            Group::Priority => "priority",
            Group::Rule => "rule",
            Group::Source => "source",
            Group::Hostname => "hostname",
            Group::Tags => "tags",
        }
    }

    pub fn from_name(name: &str) -> Option<Group> {
        Self::ALL.into_iter().find(|group| group.name() == name)
    }
}

/// How many alerts, by the names of something. By tags, an alert counts for each; no hostname is the empty text.
pub type Counts = BTreeMap<String, i64>;

/// What was counted in one pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    pub all: i64,
    /// For each group that was asked for.
    pub groups: Vec<Counts>,
    /// The same per interval, by its start.
    pub timelines: Vec<BTreeMap<i64, Counts>>,
}

/// How an output stands to an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub output: String,
    /// Up to there everything is settled.
    pub cursor: Seq,
    /// Alerts up to there were never for the output.
    pub start: Seq,
    pub held: Option<HeldState>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldState {
    pub attempts: i64,
    /// Milliseconds since 1970.
    pub due: i64,
    pub dead: bool,
    pub error: String,
}

/// An alert as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub seq: Seq,
    /// Nanoseconds since 1970, as the alert says.
    pub time: i64,
    /// Milliseconds since 1970.
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
    Acknowledge {
        uuid: String,
        by: String,
        note: String,
    },
    Unacknowledge {
        uuid: String,
    },
    Delete {
        uuid: String,
    },
    /// A new user, or a new role and password of one.
    User(super::users::User),
    RemoveUser(String),
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
            // What belongs to an alert goes with it.
            Change::Delete { uuid } => connection.execute("DELETE FROM alerts WHERE uuid = ?1", [uuid]),
            Change::User(user) => connection.execute(
                "INSERT OR REPLACE INTO users (name, role, hash) VALUES (?1, ?2, ?3)",
                (user.name, user.role.name(), user.hash),
            ),
            Change::RemoveUser(name) => connection.execute("DELETE FROM users WHERE name = ?1", [name]),
        }
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
            // A path of JSON has no other way to name a key with dots. Texts as they are, other values as JSON.
            let path = Value::Text(format!("$.output_fields.\"{}\"", name.replace('"', "")));
            let value = Value::Text(value.clone());
            all.and("(body ->> ? = ? OR body -> ? = ?)", vec![path.clone(), value.clone(), path, value]);
        }
        // The words of a field are beside each other in the index: few alerts remain whose body must be read.
        let phrase = |text: &str| format!("\"{}\"", text.replace('"', " "));
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
    Ok(Found { seq: row.get(0)?, time: row.get(1)?, received: row.get(2)?, body: row.get(3)?, acknowledged })
}

/// The names under which an alert with a label counts.
fn names(group: Group, row: &Row) -> rusqlite::Result<Vec<String>> {
    Ok(match group {
        Group::Priority => vec![Priority::from_number(row.get("priority")?).name().to_owned()],
        Group::Tags => serde_json::from_str(row.get_ref("tags")?.as_str()?).unwrap_or_default(),
        Group::Rule | Group::Source | Group::Hostname => vec![row.get(group.name())?],
    })
}

/// Counts by label, and per interval of `width` nanoseconds and label.
type Passed = (HashMap<i64, i64>, HashMap<(i64, i64), i64>);

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
    pub async fn count(self: &Arc<Self>, filter: Filter) -> Result<i64, SpoolError> {
        Ok(self.overview(filter, Vec::new(), None).await?.all)
    }

    pub async fn count_by(self: &Arc<Self>, group: Group, filter: Filter) -> Result<Counts, SpoolError> {
        Ok(self.overview(filter, vec![group], None).await?.groups.remove(0))
    }

    /// Counts by each of `groups`; with a `width` in nanoseconds, per interval as well.
    pub async fn overview(
        self: &Arc<Self>,
        filter: Filter,
        groups: Vec<Group>,
        width: Option<i64>,
    ) -> Result<Overview, SpoolError> {
        self.with_reader(move |connection| {
            let (totals, intervals) = pass(connection, &filter, width.map(|width| width.max(1)))?;
            let mut overview = Overview {
                all: totals.values().sum(),
                groups: vec![Counts::new(); groups.len()],
                timelines: vec![BTreeMap::new(); if width.is_some() { groups.len() } else { 0 }],
            };
            if groups.is_empty() {
                return Ok(overview);
            }
            let mut of_label: HashMap<i64, Vec<Vec<String>>> = HashMap::new();
            let sql = "SELECT id, priority, rule, source, hostname, tags FROM labels";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let id = row.get(0)?;
                let Some(number) = totals.get(&id) else { continue };
                let names: Vec<_> = groups.iter().map(|group| names(*group, row)).collect::<Result<_, _>>()?;
                for (counts, names) in overview.groups.iter_mut().zip(&names) {
                    for name in names {
                        *counts.entry(name.clone()).or_default() += number;
                    }
                }
                if width.is_some() {
                    of_label.insert(id, names);
                }
            }
            for ((start, label), number) in &intervals {
                // A label that went meanwhile has no names any more.
                let names = of_label.get(label).into_iter().flatten();
                for (timeline, names) in overview.timelines.iter_mut().zip(names) {
                    for name in names {
                        *timeline.entry(*start).or_default().entry(name.clone()).or_default() += number;
                    }
                }
            }
            Ok(overview)
        })
        .await
    }

    /// The alerts' own times, from the first to the last; nothing when there are none.
    pub async fn span(self: &Arc<Self>) -> Result<Option<(i64, i64)>, SpoolError> {
        self.with_reader(|connection| {
            let sql = "SELECT (SELECT min(time) FROM alerts), (SELECT max(time) FROM alerts)";
            let span: (Option<i64>, Option<i64>) =
                connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(span.0.zip(span.1))
        })
        .await
    }

    /// How every output that ever had a cursor stands to an alert.
    pub async fn deliveries(self: &Arc<Self>, seq: Seq) -> Result<Vec<Delivery>, SpoolError> {
        self.with_reader(move |connection| {
            let sql = "SELECT cursors.output, cursors.seq, start, attempts, due, dead, error FROM cursors \
                       LEFT JOIN held ON held.output = cursors.output AND held.seq = ?1 ORDER BY cursors.output";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(params![seq], |row| {
                let held = match row.get::<_, Option<i64>>(3)? {
                    Some(attempts) => {
                        Some(HeldState { attempts, due: row.get(4)?, dead: row.get(5)?, error: row.get(6)? })
                    }
                    None => None,
                };
                Ok(Delivery { output: row.get(0)?, cursor: row.get(1)?, start: row.get(2)?, held })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Alerts by their own time, the newest first.
    pub async fn search(self: &Arc<Self>, filter: Filter, skip: usize, limit: usize) -> Result<Vec<Found>, SpoolError> {
        self.ordered(filter, "time DESC, seq DESC", skip, limit).await
    }

    /// Alerts by their own time, the oldest first.
    pub async fn nearest(self: &Arc<Self>, filter: Filter, limit: usize) -> Result<Vec<Found>, SpoolError> {
        self.ordered(filter, "time, seq", 0, limit).await
    }

    /// Alerts in the order in which they were received.
    pub async fn arrived(self: &Arc<Self>, filter: Filter, limit: usize) -> Result<Vec<Found>, SpoolError> {
        self.ordered(filter, "seq", 0, limit).await
    }

    async fn ordered(
        self: &Arc<Self>,
        filter: Filter,
        order: &'static str,
        skip: usize,
        limit: usize,
    ) -> Result<Vec<Found>, SpoolError> {
        self.with_reader(move |connection| {
            let Where { sql, mut values } = Where::of(&filter);
            let number = |n: usize| Value::Integer(i64::try_from(n).unwrap_or(i64::MAX));
            values.extend([number(limit), number(skip)]);
            let sql = format!("SELECT {COLUMNS} FROM alerts WHERE {sql} ORDER BY {order} LIMIT ? OFFSET ?");
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
}
