//! Prometheus: it comes and asks for the hub's metrics; there is nothing to send.

use super::{Kind, Work};

pub const KIND: Kind = Kind {
    section: "prometheus",
    label: "Prometheus",
    destination: "prometheus",
    category: "metrics",
    meaning: "The hub's metrics, for whoever asks GET /metrics.",
    required: &[],
    // `prometheus.extralabels` is in the table of what belongs to no output.
    keys: &[],
    shared: &[],
    work: Work::Asked,
};
