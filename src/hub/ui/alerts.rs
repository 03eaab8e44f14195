//! Alerts one by one: found, shown with what is around them, acknowledged, deleted.

use super::ask::Ask;
use super::login::{Operator, Viewer};
use super::outputs::delivery;
use super::{Answer, Failed, Shared, answer, in_json};
use crate::hub::alert::{self, Alert};
use crate::hub::store::{Change, Filter, Found};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::json;

/// The longest note.
const NOTE_MAX: usize = 4096;
/// Alerts around one, before and after each.
const NEIGHBOURS: usize = 20;
const NEIGHBOURS_WITHIN_MINUTES: i64 = 10;

/// The alert's own JSON, digit by digit, with what the hub knows of it.
pub fn shown(found: &Found) -> String {
    let acknowledged = found.acknowledged.as_ref().map(|a| json!({"at": a.at, "by": a.by, "note": a.note}));
    let mut ours = json!({"seq": found.seq, "received": found.received, "acknowledged": acknowledged});
    if let Some(hub) = &found.hub {
        ours["hub"] = json!(hub);
    }
    let ours = ours.to_string();
    let body = found.body.strip_suffix('}').unwrap_or(&found.body);
    format!("{body},{}", &ours[1..])
}

pub fn list(found: &[Found]) -> String {
    format!("[{}]", found.iter().map(shown).collect::<Vec<_>>().join(","))
}

pub async fn search(State(ui): Shared, _: Viewer, ask: Ask) -> Answer {
    let skip = (ask.page - 1).saturating_mul(ask.limit);
    let (found, all) = ui.store.page(ask.filter, skip, ask.limit).await?;
    let returned = found.len();
    let statistics = json!({"returned": returned, "all": all});
    let text = format!("{{\"results\":{},\"statistics\":{statistics}}}", list(&found));
    if !ask.pretty {
        return Ok(in_json(text));
    }
    let value = serde_json::from_str(&text).map_err(|error| Failed::new(StatusCode::INTERNAL_SERVER_ERROR, error))?;
    answer(&value, true)
}

fn gone() -> Failed {
    Failed::new(StatusCode::NOT_FOUND, "there is no such alert (any more)")
}

/// An alert, and how every output stands to it. Outputs are those of the hub that received it: in a shared store others
/// know nothing of them, and neither does that hub when its spool has no room for the alert any more.
pub async fn one(State(ui): Shared, _: Viewer, Path(uuid): Path<String>) -> Answer {
    let found = ui.store.by_uuid(&uuid).await?.ok_or_else(gone)?;
    let alert = decoded(&found)?;
    let outputs = match ui.spool.seq_of(&uuid).await? {
        None => json!(null),
        Some(seq) => {
            let deliveries = ui.spool.deliveries(seq).await?;
            json!(ui.outputs.iter().map(|output| delivery(output, seq, &alert, &deliveries)).collect::<Vec<_>>())
        }
    };
    Ok(in_json(format!("{{\"event\":{},\"outputs\":{}}}", shown(&found), outputs)))
}

fn decoded(found: &Found) -> Result<Alert, Failed> {
    let read = alert::first_value(found.body.as_bytes()).and_then(|value| alert::decode(&value));
    read.map_err(|error| Failed::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the alert cannot be read: {error}")))
}

/// What the same process and the same host did before and after, the newest first.
pub async fn neighbours(State(ui): Shared, _: Viewer, Path(uuid): Path<String>, ask: Ask) -> Answer {
    let found = ui.store.by_uuid(&uuid).await?.ok_or_else(gone)?;
    let alert = decoded(&found)?;
    let minutes = match ask.own("minutes") {
        None => NEIGHBOURS_WITHIN_MINUTES,
        Some(text) => text
            .parse()
            .ok()
            .filter(|minutes| (1..=10_080).contains(minutes))
            .ok_or_else(|| Failed::bad("minutes: a number from 1 to 10080"))?,
    };
    let within = minutes * 60_000_000_000;
    let around = async |fields: Vec<(String, String)>| -> Result<String, Failed> {
        let of = Filter { hostnames: vec![alert.hostname.clone()], fields, ..Filter::default() };
        let after = Filter { from: Some(found.time), to: Some(found.time.saturating_add(within)), ..of.clone() };
        let before =
            Filter { from: Some(found.time.saturating_sub(within)), behind: Some((found.time, found.seq)), ..of };
        // Of those after it, the nearest.
        let mut all = ui.store.nearest(after, NEIGHBOURS + 1).await?;
        all.extend(ui.store.search(before, 0, NEIGHBOURS).await?);
        all.retain(|other| other.seq != found.seq);
        all.sort_by_key(|other| std::cmp::Reverse((other.time, other.seq)));
        all.dedup_by_key(|other| other.seq);
        Ok(list(&all))
    };
    let process = match alert.output_fields.get("proc.pid") {
        Some(pid) => around(vec![("proc.pid".to_owned(), pid.to_string())]).await?,
        None => "null".to_owned(),
    };
    let host = around(Vec::new()).await?;
    Ok(in_json(format!("{{\"process\":{process},\"host\":{host},\"minutes\":{minutes}}}")))
}

#[derive(Deserialize)]
struct Note {
    #[serde(default)]
    note: String,
}

pub async fn acknowledge(
    State(ui): Shared,
    Operator(operator): Operator,
    Path(uuid): Path<String>,
    body: Bytes,
) -> Result<StatusCode, Failed> {
    let given: Note = match body.is_empty() {
        true => Note { note: String::new() },
        false => serde_json::from_slice(&body).map_err(|error| Failed::bad(format!("the body: {error}")))?,
    };
    if given.note.len() > NOTE_MAX {
        return Err(Failed::bad(format!("a note has at most {NOTE_MAX} bytes")));
    }
    changed(ui.store.change(Change::Acknowledge { uuid, by: operator.name, note: given.note }).await?)
}

pub async fn unacknowledge(State(ui): Shared, _: Operator, Path(uuid): Path<String>) -> Result<StatusCode, Failed> {
    changed(ui.store.change(Change::Unacknowledge { uuid }).await?)
}

pub async fn remove(
    State(ui): Shared,
    Operator(operator): Operator,
    Path(uuid): Path<String>,
) -> Result<StatusCode, Failed> {
    let done = changed(ui.store.change(Change::Delete { uuid: uuid.clone() }).await?)?;
    tracing::info!(uuid, user = operator.name, "an alert was deleted");
    Ok(done)
}

fn changed(number: usize) -> Result<StatusCode, Failed> {
    if number > 0 { Ok(StatusCode::NO_CONTENT) } else { Err(gone()) }
}
