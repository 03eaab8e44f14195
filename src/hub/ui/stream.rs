//! Answers that have no bounded size: alerts as they come, and the export of all that fit.
//!
//! Invariant: a reader that is slow costs a few alerts in memory, and a hub that stops ends them all.

use super::alerts::shown;
use super::ask::Ask;
use super::login::Viewer;
use super::{Failed, Shared, Ui};
use crate::hub::alert::{self, Alert};
use crate::hub::store::{Filter, Found, StoreError};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use http_body_util::channel::{Channel, Sender};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// Read from the database at once.
const CHUNK: usize = 500;
/// Alerts that come faster are sent together.
const PAUSE: Duration = Duration::from_millis(250);
/// Something is sent at least that often, so that a connection that is gone is noticed.
const BEAT: Duration = Duration::from_secs(15);

type Out = Sender<Bytes, Infallible>;

/// False when nobody reads any more.
async fn send(out: &mut Out, text: String) -> bool {
    out.send_data(Bytes::from(text)).await.is_ok()
}

/// Server-sent events: `alert` for each that fits and comes from now on. After a break the browser says what it had.
pub async fn live(State(ui): Shared, _: Viewer, headers: HeaderMap, ask: Ask) -> Result<Response, Failed> {
    let had = match headers.get("last-event-id").map(HeaderValue::to_str) {
        None => ui.store.latest().await?,
        Some(text) => text
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Failed::bad("Last-Event-ID: not the number of an alert"))?,
    };
    let (mut out, body) = Channel::new(4);
    tokio::spawn(async move {
        if let Err(error) = follow(&ui, &mut out, ask.filter, had).await {
            tracing::error!(%error, "a live view ends");
        }
    });
    Ok(([(header::CONTENT_TYPE, "text/event-stream")], Body::new(body)).into_response())
}

async fn follow(ui: &Arc<Ui>, out: &mut Out, filter: Filter, mut had: i64) -> Result<(), StoreError> {
    let mut state = ui.store.state();
    let mut stop = ui.stop.clone();
    if !send(out, format!("retry: 2000\nid: {had}\nevent: start\ndata: {{}}\n\n")).await {
        return Ok(());
    }
    while !*stop.borrow() {
        let latest = state.borrow_and_update().latest;
        while had < latest {
            let next = Filter { after: Some(had), ..filter.clone() };
            let found = ui.store.arrived(next, CHUNK).await?;
            let whole = found.len() < CHUNK;
            // There may be more than `latest` by now.
            let last = found.last().map_or(had, |last| last.seq);
            had = if whole { latest.max(last) } else { last };
            for found in found {
                if !send(out, format!("id: {}\nevent: alert\ndata: {}\n\n", found.seq, shown(&found))).await {
                    return Ok(());
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
        let more = tokio::select! {
            changed = state.changed() => changed.is_ok(),
            _ = stop.changed() => false,
            () = tokio::time::sleep(BEAT) => send(out, ": still here\n\n".to_owned()).await,
        };
        if !more {
            break;
        }
    }
    Ok(())
}

/// Everything that fits, the newest first, as lines of JSON or as CSV.
pub async fn export(State(ui): Shared, _: Viewer, ask: Ask) -> Result<Response, Failed> {
    let (kind, line, first): (_, fn(&Found) -> String, _) = match ask.own("format") {
        None | Some("ndjson") => ("ndjson", |found| shown(found) + "\n", String::new()),
        Some("csv") => ("csv", csv_line, CSV_COLUMNS.join(",") + "\r\n"),
        Some(other) => return Err(Failed::bad(format!("format: '{other}' is neither ndjson nor csv"))),
    };
    let content = if kind == "csv" { "text/csv; charset=utf-8" } else { "application/x-ndjson" };
    let (mut out, body) = Channel::<Bytes, StoreError>::new(4);
    tokio::spawn(async move {
        let mut filter = ask.filter;
        if !first.is_empty() && out.send_data(Bytes::from(first)).await.is_err() {
            return;
        }
        loop {
            match ui.store.search(filter.clone(), 0, CHUNK).await {
                // The connection breaks off: half an export must not look like a whole one.
                Err(error) => return out.abort(error),
                Ok(found) => {
                    let Some(last) = found.last() else { return };
                    filter.behind = Some((last.time, last.seq));
                    let text: String = found.iter().map(line).collect();
                    if out.send_data(Bytes::from(text)).await.is_err() || *ui.stop.borrow() {
                        return out.abort(StoreError::Stopping);
                    }
                }
            }
        }
    });
    let mut response = Body::new(body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content));
    let name = HeaderValue::from_str(&format!("attachment; filename=\"falco-alerts.{kind}\""));
    response.headers_mut().extend(name.ok().map(|name| (header::CONTENT_DISPOSITION, name)));
    Ok(response)
}

const CSV_COLUMNS: [&str; 12] = [
    "time",
    "priority",
    "rule",
    "source",
    "hostname",
    "output",
    "tags",
    "uuid",
    "output_fields",
    "acknowledged_at",
    "acknowledged_by",
    "note",
];

fn csv_line(found: &Found) -> String {
    let read = alert::first_value(found.body.as_bytes()).and_then(|value| alert::decode(&value));
    let alert = read.unwrap_or_else(|error| Alert {
        output: format!("alert {} cannot be read: {error}", found.seq),
        ..Alert::test()
    });
    let fields = String::from_utf8(crate::hub::json::go(&alert.output_fields)).unwrap_or_default();
    let (at, by, note) = match &found.acknowledged {
        Some(a) => (a.at.to_string(), a.by.clone(), a.note.clone()),
        None => Default::default(),
    };
    let columns = [
        alert.time.rfc3339(),
        alert.priority.name().to_owned(),
        alert.rule,
        alert.source,
        alert.hostname,
        alert.output,
        alert.tags.join(" "),
        alert.uuid,
        fields.trim_end().to_owned(),
        at,
        by,
        note,
    ];
    columns.map(|text| csv(&text)).join(",") + "\r\n"
}

/// A value of CSV, quoted where it must be. What a spreadsheet would take for a formula is made a text.
fn csv(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::csv;

    #[test]
    fn values_of_csv() {
        assert_eq!(csv("plain"), "plain");
        assert_eq!(csv("a, \"b\"\n"), "\"a, \"\"b\"\"\n\"");
        assert_eq!(csv("=HYPERLINK(1)"), "'=HYPERLINK(1)", "the text of an alert is chosen by whoever is watched");
    }
}
