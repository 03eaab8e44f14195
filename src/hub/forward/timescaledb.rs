//! TimescaleDB, or a plain table of PostgreSQL: a row for each alert.
//!
//! Values are sent as texts, which the server reads as the columns' types say. The table must be there.

use super::{Batch, Context, Failure, Forward, Kind, Work};
use crate::hub::alert::Alert;
use crate::hub::config::keys::{Key, Type};
use crate::hub::postgresql::{SSL_MODE_MEANING, SSL_MODES, Server, refuses_data};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio_postgres::Client;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{Format, IsNull, ToSql};

pub const KIND: Kind = Kind {
    section: "timescaledb",
    label: "TimescaleDB",
    destination: "timescaledb",
    category: "database",
    meaning: "A row for each alert: time, rule, priority, source, output, tags, hostname, and the custom and templated fields.",
    required: &["host"],
    keys: &[&[
        Key::text("host", "", "name or address of the server"),
        Key::int("port", "5432", "its port"),
        Key::text("user", "postgres", "user"),
        Key::new("password", Type::Secret, "postgres", "its password"),
        Key::text("database", "falcosidekick", "name of the database"),
        Key::text("hypertablename", "falcosidekick_events", "name of the table"),
        Key::new("sslmode", SSL_MODES, "prefer", SSL_MODE_MEANING),
    ]],
    shared: &[],
    work: Work::Forward(make),
};

struct TimescaleDb {
    server: Server,
    table: String,
    /// Fields that are columns.
    fields: Vec<String>,
    client: Mutex<Option<Client>>,
}

/// A word that needs no quotes in SQL.
fn is_word(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
}

/// The name of a column: as it is where that can be, as the table may be written in other letters.
fn column(name: &str) -> String {
    if is_word(name) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn make(context: &Context) -> Result<Box<dyn Forward>, String> {
    let settings = context.settings;
    let table = settings.text("hypertablename");
    if !table.split('.').all(is_word) {
        return Err(format!("hypertablename: '{table}' is not the name of a table"));
    }
    let core = context.core;
    let mut fields = Vec::new();
    for (name, _) in core.map("customfields").iter().chain(core.map("templatedfields")) {
        if !fields.contains(name) {
            fields.push(name.clone());
        }
    }
    Ok(Box::new(TimescaleDb {
        server: Server::new(settings, "", context.tls)?,
        table: table.to_owned(),
        fields,
        client: Mutex::new(None),
    }))
}

/// A value as a text, whatever the column's type is.
#[derive(Debug)]
struct Text(Option<String>);

impl ToSql for Text {
    fn to_sql(
        &self,
        _: &tokio_postgres::types::Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        Ok(match &self.0 {
            None => IsNull::Yes,
            Some(text) => {
                // The server has no character zero.
                out.extend_from_slice(text.replace('\0', "\u{fffd}").as_bytes());
                IsNull::No
            }
        })
    }

    fn accepts(_: &tokio_postgres::types::Type) -> bool {
        true
    }

    fn encode_format(&self, _: &tokio_postgres::types::Type) -> Format {
        Format::Text
    }

    tokio_postgres::types::to_sql_checked!();
}

/// The statement for an alert, and its values by their columns.
pub fn row(table: &str, fields: &[String], alert: &Alert) -> (String, Vec<(String, Option<String>)>) {
    let mut row = Vec::new();
    let mut value = |name: &str, text: String| row.push((name.to_owned(), (text != "null").then_some(text)));
    value("time", alert.time.rfc3339());
    value("rule", alert.rule.clone());
    value("priority", alert.priority.name().to_owned());
    value("source", alert.source.clone());
    value("output", alert.output.clone());
    if !alert.tags.is_empty() {
        value("tags", alert.tags.join(","));
    }
    if !alert.hostname.is_empty() {
        value("hostname", alert.hostname.clone());
    }
    for name in fields {
        if let Some(field) = alert.output_fields.get(name) {
            value(name, field.to_string());
        }
    }
    let names: Vec<_> = row.iter().map(|(name, _)| column(name)).collect();
    let places: Vec<_> = (1..=row.len()).map(|i| format!("${i}")).collect();
    (format!("INSERT INTO {table} ({}) VALUES ({})", names.join(","), places.join(",")), row)
}

impl TimescaleDb {
    async fn connect(&self) -> Result<Client, Failure> {
        self.server.connect().await.map_err(Failure::down)
    }

    async fn insert(&self, client: &Client, alert: &Alert) -> Result<(), Failure> {
        let (statement, row) = row(&self.table, &self.fields, alert);
        let values: Vec<_> = row.into_iter().map(|(_, value)| Text(value)).collect();
        let values: Vec<_> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        match client.execute(&statement, &values).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let what = crate::hub::causes::causes(&error);
                // Data that does not fit, and constraints, are the alert's own.
                Err(if refuses_data(&error) { Failure::Refused(what) } else { Failure::down(what) })
            }
        }
    }
}

#[async_trait::async_trait]
impl Forward for TimescaleDb {
    fn batch(&self) -> Batch {
        Batch { alerts: 64, bytes: 1 << 20, linger: Duration::ZERO }
    }

    async fn reach(&self) -> Option<Result<(), Failure>> {
        let mut kept = self.client.lock().await;
        if kept.as_ref().is_none_or(Client::is_closed) {
            match self.connect().await {
                Ok(client) => *kept = Some(client),
                Err(failure) => return Some(Err(failure)),
            }
        }
        Some(Ok(()))
    }

    async fn deliver(&self, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
        let mut kept = self.client.lock().await;
        let client = match kept.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => match self.connect().await {
                Ok(client) => client,
                Err(failure) => return super::all(alerts, Err(failure)),
            },
        };
        let mut outcomes = Vec::with_capacity(alerts.len());
        for alert in alerts {
            outcomes.push(self.insert(&client, alert).await);
        }
        *kept = Some(client);
        outcomes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row() {
        let mut alert = Alert::test();
        alert.output_fields.insert("a.b".to_owned(), "null".into());
        let (statement, row) = row("t", &["a.b".to_owned(), "proc.name".to_owned(), "nosuch".to_owned()], &alert);
        assert_eq!(
            statement,
            "INSERT INTO t (time,rule,priority,source,output,tags,hostname,\"a.b\",\"proc.name\") \
             VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9)"
        );
        assert_eq!((&row[7].1, row[8].1.as_deref()), (&None, Some("falcosidekick")));
        assert_eq!(column("x\"; DROP TABLE t;--"), "\"x\"\"; DROP TABLE t;--\"");
    }
}
