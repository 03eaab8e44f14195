//! Alerts and where they go.
