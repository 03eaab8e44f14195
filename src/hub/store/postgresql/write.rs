//! Changes to the shared store: alerts that come, what operators do, what goes when it is old or too much.
//!
//! Invariant: alerts come and go only under [`LOCK`], and in the same transaction the sums of their labels and
//! the counts of their hours and days change.

use super::super::{Change, Label, StoreError};
use super::query::indexed;
use super::schema::LOCK;
use super::{PostgreSql, cleaned};
use crate::hub::alert::Alert;
use crate::hub::json::Json;
use crate::hub::metrics::Metrics;
use crate::hub::spool::now;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Transaction};

/// Alerts removed in one transaction, so that nobody who brings some waits long.
const REMOVED_AT_ONCE: i64 = 500;
/// How often somebody who watches is told of alerts, and how often old ones are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const TIDY_EVERY: Duration = Duration::from_secs(5);
/// What a row and its places in indexes cost beside its texts, about.
const ROW: usize = 400;

/// An alert that is brought, with what its hub knows of it.
pub struct Brought {
    pub alert: Arc<Alert>,
    pub received: i64,
    pub body: String,
    pub words: Vec<String>,
    pub acknowledged: Option<super::super::Acknowledged>,
}

/// Columns of alerts, as many values in each.
#[derive(Default)]
struct Columns {
    uuid: Vec<String>,
    time: Vec<i64>,
    received: Vec<i64>,
    label: Vec<i64>,
    bytes: Vec<i64>,
    body: Vec<String>,
    words: Vec<String>,
    tokens: Vec<String>,
    fields: Vec<String>,
    acknowledged: Vec<Option<i64>>,
    acknowledged_by: Vec<Option<String>>,
    note: Vec<Option<String>>,
}

impl Columns {
    fn push(&mut self, brought: Brought, label: i64) {
        let (words, tokens) = indexed(&brought.words);
        let fields = fields(&brought.alert);
        let bytes = ROW + brought.body.len() + words.len() + tokens.len() + fields.len();
        self.uuid.push(brought.alert.uuid.clone());
        self.time.push(brought.alert.time.nanoseconds());
        self.received.push(brought.received);
        self.label.push(label);
        self.bytes.push(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.body.push(cleaned(&brought.body));
        self.words.push(words);
        self.tokens.push(tokens);
        self.fields.push(fields);
        let done = brought.acknowledged;
        self.acknowledged.push(done.as_ref().map(|done| done.at));
        self.acknowledged_by.push(done.as_ref().map(|done| cleaned(&done.by)));
        self.note.push(done.as_ref().map(|done| cleaned(&done.note)));
    }
}

/// Fields by name as a search for one compares them: texts as they are, other values as JSON. No search finds an object
/// or nothing.
fn fields(alert: &Alert) -> String {
    let text = |value: &Json| match value {
        Json::String(text) => Some(cleaned(text)),
        Json::Object(_) | Json::Null => None,
        value => serde_json::to_string(value).ok(),
    };
    let fields: BTreeMap<String, String> =
        alert.output_fields.iter().filter_map(|(name, value)| Some((cleaned(name), text(value)?))).collect();
    serde_json::json!(fields).to_string()
}

/// What a label is known by, in hexadecimal digits.
fn key(label: &Label) -> String {
    let all = serde_json::json!([label.priority as i64, label.rule, label.source, label.hostname, label.tags]);
    Sha256::digest(all.to_string()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn cleaned_label(alert: &Alert) -> Label {
    let label = Label::of(alert);
    Label {
        rule: cleaned(&label.rule),
        source: cleaned(&label.source),
        hostname: cleaned(&label.hostname),
        tags: label.tags.iter().map(|tag| cleaned(tag)).collect(),
        ..label
    }
}

async fn lock(change: &Transaction<'_>) -> Result<(), Error> {
    change.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await.map(drop)
}

/// Adds what is not there and was not deleted.
async fn insert(change: &Transaction<'_>, hub: &str, alerts: Vec<Brought>) -> Result<(), Error> {
    lock(change).await?;
    let labels: Vec<(String, Label)> = alerts
        .iter()
        .map(|brought| {
            let label = cleaned_label(&brought.alert);
            (key(&label), label)
        })
        .collect();
    let distinct: BTreeMap<&str, serde_json::Value> = labels
        .iter()
        .map(|(key, Label { priority, rule, source, hostname, tags })| {
            let row = serde_json::json!({
                "key": key, "priority": *priority as i16, "rule": rule, "source": source, "hostname": hostname,
                "tags": tags,
            });
            (key.as_str(), row)
        })
        .collect();
    let sql = "INSERT INTO labels (key, priority, rule, source, hostname, tags, alerts, bytes) \
               SELECT decode(key, 'hex'), priority, rule, source, hostname, \
                      ARRAY (SELECT jsonb_array_elements_text(tags)), 0, 0 \
               FROM jsonb_to_recordset($1::text::jsonb) \
                    AS brought (key text, priority int2, rule text, source text, hostname text, tags jsonb) \
               ON CONFLICT (key) DO UPDATE SET alerts = labels.alerts RETURNING encode(key, 'hex'), id";
    let distinct = serde_json::json!(distinct.values().collect::<Vec<_>>()).to_string();
    let rows = change.query(sql, &[&distinct]).await?;
    let ids: HashMap<String, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let mut columns = Columns::default();
    for (brought, (key, _)) in alerts.into_iter().zip(&labels) {
        // Every key that was given comes back.
        columns.push(brought, ids.get(key).copied().unwrap_or(0));
    }
    let c = &columns;
    let sql = "WITH added AS ( \
                   INSERT INTO alerts (uuid, time, received, label, bytes, hub, body, words, tokens, fields, \
                                       acknowledged, acknowledged_by, note) \
                   SELECT uuid, time, received, label, bytes, $13, body, words, \
                          array_to_tsvector(string_to_array(tokens, ' ')), fields::jsonb, \
                          acknowledged, acknowledged_by, note \
                   FROM unnest($1::text[], $2::int8[], $3::int8[], $4::int8[], $5::int8[], $6::text[], $7::text[], \
                               $8::text[], $9::text[], $10::int8[], $11::text[], $12::text[]) WITH ORDINALITY \
                        AS brought (uuid, time, received, label, bytes, body, words, tokens, fields, \
                                    acknowledged, acknowledged_by, note, place) \
                   WHERE NOT EXISTS (SELECT 1 FROM deleted WHERE deleted.uuid = brought.uuid) ORDER BY place \
                   ON CONFLICT (uuid) DO NOTHING RETURNING time, label, bytes), \
               counted AS ( \
                   INSERT INTO counts SELECT width, time / width - (time % width < 0)::int, label, count(*) \
                   FROM added, widths GROUP BY 1, 2, 3 \
                   ON CONFLICT (width, number, label) DO UPDATE SET alerts = counts.alerts + excluded.alerts), \
               sums AS (SELECT label, count(*) AS alerts, sum(bytes)::int8 AS bytes FROM added GROUP BY label) \
               UPDATE labels SET alerts = labels.alerts + sums.alerts, bytes = labels.bytes + sums.bytes \
               FROM sums WHERE labels.id = sums.label";
    let values: [&(dyn ToSql + Sync); 13] = [
        &c.uuid,
        &c.time,
        &c.received,
        &c.label,
        &c.bytes,
        &c.body,
        &c.words,
        &c.tokens,
        &c.fields,
        &c.acknowledged,
        &c.acknowledged_by,
        &c.note,
        &hub,
    ];
    change.execute(sql, &values).await?;
    unused_labels(change).await
}

async fn unused_labels(change: &Transaction<'_>) -> Result<(), Error> {
    change.execute("DELETE FROM labels WHERE alerts <= 0", &[]).await.map(drop)
}

/// Removes the alerts of a condition. Returns how many. With `forever` they do not come again.
async fn remove(
    change: &Transaction<'_>,
    condition: &str,
    value: &(dyn ToSql + Sync),
    forever: bool,
) -> Result<i64, Error> {
    let sql = format!(
        "WITH gone AS (DELETE FROM alerts WHERE {condition} RETURNING uuid, time, received, label, bytes), \
              noted AS (INSERT INTO deleted (uuid, received) SELECT uuid, received FROM gone WHERE {forever} \
                        ON CONFLICT DO NOTHING), \
              sums AS (SELECT label, count(*) AS alerts, sum(bytes)::int8 AS bytes FROM gone GROUP BY label), \
              counted AS (UPDATE labels SET alerts = labels.alerts - sums.alerts, bytes = labels.bytes - sums.bytes \
                          FROM sums WHERE labels.id = sums.label), \
              less AS (SELECT width, time / width - (time % width < 0)::int AS number, label, count(*) AS alerts \
                       FROM gone, widths GROUP BY 1, 2, 3), \
              fewer AS (UPDATE counts SET alerts = counts.alerts - less.alerts FROM less \
                        WHERE (counts.width, counts.number, counts.label) = (less.width, less.number, less.label) \
                              AND counts.alerts > less.alerts), \
              emptied AS (DELETE FROM counts USING less \
                       WHERE (counts.width, counts.number, counts.label) = (less.width, less.number, less.label) \
                             AND counts.alerts <= less.alerts) \
         SELECT count(*) FROM gone"
    );
    let number = change.query_one(&sql, &[value]).await?.get(0);
    unused_labels(change).await?;
    Ok(number)
}

/// How an attempt to bring alerts ends.
pub enum Ended {
    /// The server finds fault with what it was given.
    Refused(String),
    Failed(StoreError),
}

impl PostgreSql {
    /// Adds alerts, all or none.
    pub(super) async fn add(&self, alerts: Vec<Brought>) -> Result<(), Ended> {
        let (mut client, _permit) = self.take(&self.writing).await.map_err(Ended::Failed)?;
        let work = async {
            let change = client.transaction().await?;
            insert(&change, &self.settings.hub, alerts).await?;
            change.commit().await
        };
        if let Err(error) = work.await {
            return Err(match crate::hub::postgresql::refuses_data(&error) {
                true => Ended::Refused(crate::hub::causes::causes(&error)),
                false => Ended::Failed(self.refused(&error)),
            });
        }
        self.give(client);
        Ok(())
    }

    /// Returns how many alerts were changed.
    pub(in crate::hub::store) async fn change(&self, change: Change) -> Result<usize, StoreError> {
        let failed = |error: Error| self.refused(&error);
        let number = self.within(async {
            let (mut client, _permit) = self.take(&self.writing).await?;
            let number = match change {
                Change::Acknowledge { uuid, by, note } => {
                    let sql = "UPDATE alerts SET acknowledged = $2, acknowledged_by = $3, note = $4 WHERE uuid = $1";
                    let (uuid, by, note) = (cleaned(&uuid), cleaned(&by), cleaned(&note));
                    client.execute(sql, &[&uuid, &now(), &by, &note]).await.map_err(failed)?
                }
                Change::Unacknowledge { uuid } => {
                    let sql = "UPDATE alerts SET acknowledged = NULL, acknowledged_by = NULL, note = NULL \
                               WHERE uuid = $1";
                    client.execute(sql, &[&cleaned(&uuid)]).await.map_err(failed)?
                }
                Change::Delete { uuid } => {
                    let change = client.transaction().await.map_err(failed)?;
                    lock(&change).await.map_err(failed)?;
                    let number = remove(&change, "uuid = $1", &cleaned(&uuid), true).await.map_err(failed)?;
                    change.commit().await.map_err(failed)?;
                    number.unsigned_abs()
                }
            };
            self.give(client);
            Ok(number)
        });
        Ok(usize::try_from(number.await?).unwrap_or(usize::MAX))
    }

    /// Tells those who watch of new alerts, and removes old ones, until `stop` changes.
    pub async fn tend(self: Arc<Self>, metrics: Arc<Metrics>, mut stop: watch::Receiver<bool>) {
        let work = async {
            let mut tidied: Option<Instant> = None;
            let mut well = true;
            loop {
                if self.state.receiver_count() > 0
                    && let Ok(latest) = self.latest().await
                {
                    self.state.send_if_modified(|state| std::mem::replace(&mut state.latest, latest) != latest);
                }
                if tidied.is_none_or(|at| at.elapsed() >= TIDY_EVERY) {
                    match self.tidy(&metrics).await {
                        Ok(()) => well = true,
                        Err(error) => {
                            // That it is down, the one who brings alerts says as well, again and again.
                            if std::mem::replace(&mut well, false) {
                                tracing::error!(%error, "old alerts cannot be removed from the shared store now");
                            }
                        }
                    }
                    tidied = Some(Instant::now());
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            () = work => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    /// Removes what is too old, then the oldest while there is too much. Every hub does so, by its own configuration.
    async fn tidy(&self, metrics: &Metrics) -> Result<(), StoreError> {
        let mut removed = 0;
        let retention = self.settings.retention;
        if !retention.is_zero() {
            let oldest = now().saturating_sub(i64::try_from(retention.as_millis()).unwrap_or(i64::MAX));
            let old = format!(
                "seq IN (SELECT seq FROM alerts WHERE received < $1 ORDER BY received LIMIT {REMOVED_AT_ONCE})"
            );
            while self.any("SELECT 1 FROM alerts WHERE received < $1 LIMIT 1", oldest).await? {
                removed += self.remove_some(&old, oldest).await?;
            }
            if self.any("SELECT 1 FROM deleted WHERE received < $1 LIMIT 1", oldest).await? {
                self.rows("DELETE FROM deleted WHERE received < $1", &[&oldest]).await?;
            }
        }
        // Just as many as are too many, of the oldest.
        let surplus = format!(
            "seq IN (SELECT seq FROM ( \
                 SELECT seq, sum(bytes) OVER (ORDER BY seq) - bytes AS before FROM ( \
                     SELECT seq, bytes FROM alerts ORDER BY seq LIMIT {REMOVED_AT_ONCE}) AS oldest) AS counted \
             WHERE before < (SELECT sum(bytes) FROM labels) - $1::int8)"
        );
        let size = self.settings.size;
        let used = loop {
            let rows = self.rows("SELECT coalesce(sum(bytes), 0)::int8 FROM labels", &[]).await?;
            let used = rows.first().map_or(0, |row| row.get(0));
            if used <= size {
                break used;
            }
            removed += self.remove_some(&surplus, size).await?;
        };
        metrics.store_used.set(used);
        metrics.store_limit.set(size);
        metrics.store_removed.inc_by(removed);
        self.state.send_if_modified(|state| {
            state.used = used;
            state.removed += removed;
            false
        });
        Ok(())
    }

    async fn any(&self, sql: &str, value: i64) -> Result<bool, StoreError> {
        Ok(!self.rows(sql, &[&value]).await?.is_empty())
    }

    async fn remove_some(&self, condition: &str, value: i64) -> Result<u64, StoreError> {
        let failed = |error: Error| self.refused(&error);
        self.within(async {
            let (mut client, _permit) = self.take(&self.writing).await?;
            let change = client.transaction().await.map_err(failed)?;
            lock(&change).await.map_err(failed)?;
            let number = remove(&change, condition, &value, false).await.map_err(failed)?;
            change.commit().await.map_err(failed)?;
            self.give(client);
            Ok(number.unsigned_abs())
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_as_they_are_compared() {
        let mut alert = Alert::test();
        let number = |text: &str| Json::Number(text.into());
        alert.output_fields = [
            ("a\0b".to_owned(), Json::from("x\0\"y\"")),
            ("list".to_owned(), Json::Array(vec![number("1.10"), Json::from("z")])),
            ("map".to_owned(), Json::Object(Default::default())),
            ("no".to_owned(), Json::Null),
            ("number".to_owned(), number("18446744073709551617")),
            ("yes".to_owned(), Json::Bool(true)),
        ]
        .into();
        let expected = serde_json::json!({
            "a\u{fffd}b": "x\u{fffd}\"y\"", "list": "[1.10,\"z\"]", "number": "18446744073709551617", "yes": "true",
        });
        assert_eq!(fields(&alert), expected.to_string());
    }

    #[test]
    fn labels_differ_in_every_part() {
        let label = Label::of(&Alert::test());
        let mut keys: Vec<_> = vec![key(&label)];
        keys.push(key(&Label { rule: "x".to_owned(), ..label.clone() }));
        keys.push(key(&Label { source: "x".to_owned(), ..label.clone() }));
        keys.push(key(&Label { hostname: "x".to_owned(), ..label.clone() }));
        keys.push(key(&Label { tags: Vec::new(), ..label.clone() }));
        keys.push(key(&Label { priority: crate::hub::alert::Priority::Error, ..label }));
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 6);
    }
}
