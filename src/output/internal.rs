//! Alerts that no rule made: events were dropped, and the like.

use super::alert::{EventTime, Writer};
use crate::rules::Priority;

/// The name of the alert about lost events.
pub const DROP: &str = "Falco internal: syscall event drop";
/// The name of the alert about a configuration that does not load while another one runs.
pub const RELOAD: &str = "Falco internal: hot restart failure";

/// The name of the alert with the sensor's own numbers.
pub const METRICS: &str = "Falco internal: metrics snapshot";

/// The line of an internal alert; `members` go to `output_fields`, and behind the message in text.
pub fn line(
    writer: &mut Writer,
    rule: &str,
    priority: Priority,
    message: &str,
    time: EventTime,
    members: &mut [(&str, serde_json::Value)],
) -> Vec<u8> {
    members.sort_by(|a, b| a.0.cmp(b.0));
    let mut line = Vec::new();
    writer.write_internal((rule, priority, message), time, members, &mut line);
    line
}
