//! Outputs, and brokers that alerts come from, as an operator sees them: their state, a test, dead letters, what became of one alert.

use super::login::{Operator, Viewer};
use super::{Answer, Failed, Shared, answer};
use crate::hub::alert::Alert;
use crate::hub::forward::Forward;
use crate::hub::forward::worker::{self, Route};
use crate::hub::spool::{Delivery, Seq};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::sync::{Arc, PoisonError};

/// An output and who delivers to it.
pub struct Output {
    pub status: worker::Shared,
    pub forward: Arc<dyn Forward>,
    pub route: Route,
}

impl Output {
    fn status(&self) -> worker::Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Dead letters in one answer.
const DEAD_LETTERS_MAX: usize = 1000;

/// What became of an alert at an output. Whether it is for it is asked of the configuration there is now.
pub fn delivery(output: &Output, seq: Seq, alert: &Alert, deliveries: &[Delivery]) -> Value {
    let name = output.status().name;
    let known = deliveries.iter().find(|delivery| delivery.output == name);
    let state = match known {
        _ if !output.route.takes(alert) => "not for it",
        Some(delivery) => match &delivery.held {
            Some(held) if held.dead => "dead letter",
            Some(_) => "tried again",
            None if seq <= delivery.start => "before its time",
            None if seq <= delivery.cursor => "delivered",
            None => "waiting",
        },
        None => "waiting",
    };
    let held = known
        .and_then(|delivery| delivery.held.as_ref())
        .map(|held| json!({"attempts": held.attempts, "error": held.error, "due": (!held.dead).then_some(held.due)}));
    json!({"name": name, "state": state, "held": held})
}

/// As Falcosidekick UI: names.
pub async fn names(State(ui): Shared, _: Viewer) -> Answer {
    let names: Vec<_> = ui.outputs.iter().map(|output| output.status().name).collect();
    answer(&json!(names), false)
}

pub async fn state(State(ui): Shared, _: Viewer) -> Answer {
    let outputs: Vec<_> = ui.outputs.iter().map(Output::status).collect();
    let spool = *ui.spool.state().borrow();
    let limit = ui.settings.int("hub.maxsize");
    let spool = json!({"used": spool.used, "limit": limit, "full": spool.full, "removed": spool.removed});
    let inputs: Vec<_> =
        ui.input.inputs.iter().map(|input| input.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect();
    answer(&json!({"inputs": inputs, "outputs": outputs, "spool": spool}), false)
}

fn find<'u>(ui: &'u super::Ui, name: &str) -> Result<&'u Output, Failed> {
    let unknown = || Failed::new(StatusCode::NOT_FOUND, format!("no output '{name}' is configured"));
    ui.outputs.iter().find(|output| output.status().name == name).ok_or_else(unknown)
}

/// Sends a test alert past the queue and says what the receiver answered.
pub async fn test(State(ui): Shared, Operator(operator): Operator, Path(name): Path<String>) -> Answer {
    let output = find(&ui, &name)?;
    let mut alert = Alert::test();
    alert.uuid = uuid::Uuid::new_v4().to_string();
    tracing::info!(output = name, user = operator.name, "a test alert is sent");
    let outcome = tokio::time::timeout(ui.timeout, output.forward.deliver(&[Arc::new(alert)])).await;
    let error = match outcome {
        Ok(outcomes) => outcomes.into_iter().find_map(Result::err).map(|failure| failure.to_string()),
        Err(_) => Some(format!("no answer within {:?}", ui.timeout)),
    };
    answer(&json!({"taken": error.is_none(), "error": error}), false)
}

/// Dead letters of an output are offered again.
pub async fn retry(State(ui): Shared, _: Operator, Path(name): Path<String>) -> Answer {
    find(&ui, &name)?;
    let number = ui.spool.revive(&name).await?;
    answer(&json!({"retried": number}), false)
}

pub async fn dead_letters(State(ui): Shared, _: Viewer) -> Answer {
    let letters = ui.spool.dead_letters(DEAD_LETTERS_MAX + 1).await?;
    let more = letters.len() > DEAD_LETTERS_MAX;
    answer(&json!({"results": &letters[..letters.len().min(DEAD_LETTERS_MAX)], "more": more}), false)
}
