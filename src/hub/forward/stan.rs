//! NATS Streaming: a server that is no longer made. Its clients are not either.

use super::{Kind, Work};
use crate::hub::config::keys::{HTTP, Key};

pub const KIND: Kind = Kind {
    section: "stan",
    label: "STAN",
    destination: "stan",
    category: "queue",
    meaning: "Nothing.",
    required: &["hostport", "clusterid", "clientid"],
    keys: &[
        &[
            Key::text("hostport", "", "without effect"),
            Key::text("clusterid", "", "without effect"),
            Key::text("clientid", "", "without effect"),
            Key::text("subjecttemplate", "", "without effect"),
            Key::text("minimumpriority", "", "without effect"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Discontinued("NATS Streaming ended in 2023; use the output nats with jetstream: true."),
};
