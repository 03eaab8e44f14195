//! What the configuration says of metrics.

use super::table::Group;
use std::path::PathBuf;
use std::time::Duration;

/// `metrics` of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub interval: Duration,
    /// A snapshot is an alert.
    pub output_rule: bool,
    /// Snapshots are lines of this file.
    pub output_file: Option<PathBuf>,
    /// Groups that are on.
    pub groups: Vec<Group>,
    pub megabytes: bool,
    pub empty_values: bool,
}
