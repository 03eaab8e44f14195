//! Bringing a hub's alerts into the shared store, as an output.
//!
//! When to try again is decided where it is for every output ([`worker`](crate::hub::forward::worker)); but an alert
//! never becomes a dead letter because the server was away. Invariant: what was confirmed is in the store once, or was
//! deleted there.

use super::super::words;
use super::PostgreSql;
use super::write::{Brought, Ended};
use crate::hub::alert::Alert;
use crate::hub::forward::{self, Batch, Failure, Forward};
use crate::hub::spool::now;
use std::sync::Arc;
use std::time::Duration;

impl PostgreSql {
    /// What is brought of alerts, in the form the spool has them. A test of the output is in no spool.
    async fn brought(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Brought>, Failure> {
        let uuids = alerts.iter().map(|alert| alert.uuid.clone()).collect();
        let kept = self.spool.kept(uuids).await.map_err(Failure::down)?;
        let texts = alerts.iter().map(|alert| words::text(alert)).collect();
        let words = self.words_of(texts).await.map_err(Failure::down)?;
        let brought = alerts.iter().zip(kept).zip(words).map(|((alert, kept), words)| {
            let alert = alert.clone();
            match kept {
                Some(kept) => {
                    let (received, body, acknowledged) = (kept.received, kept.body, kept.acknowledged);
                    Brought { alert, received, body, words, acknowledged }
                }
                None => Brought { body: alert.line(), alert, received: now(), words, acknowledged: None },
            }
        });
        Ok(brought.collect())
    }

    async fn bring(&self, alerts: &[Arc<Alert>]) -> Result<(), Failure> {
        let brought = self.brought(alerts).await?;
        self.add(brought).await.map_err(|ended| match ended {
            Ended::Refused(what) => Failure::Refused(what),
            Ended::Failed(error) => Failure::down(error),
        })
    }
}

#[async_trait::async_trait]
impl Forward for PostgreSql {
    fn batch(&self) -> Batch {
        Batch { alerts: 256, bytes: 4 << 20, linger: Duration::ZERO }
    }

    async fn reach(&self) -> Option<Result<(), Failure>> {
        Some(self.latest().await.map(drop).map_err(Failure::down))
    }

    async fn deliver(&self, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
        let outcome = self.bring(alerts).await;
        if !matches!(outcome, Err(Failure::Refused(_))) || alerts.len() == 1 {
            return forward::all(alerts, outcome);
        }
        // One of them is refused: which?
        let mut outcomes = Vec::with_capacity(alerts.len());
        for alert in alerts {
            outcomes.push(self.bring(std::slice::from_ref(alert)).await);
        }
        outcomes
    }
}
