//! How the sensor tells of itself while it runs: the web server's answers, and metrics snapshots.

use super::config::Config;
use super::listing;
use super::log::{self, Level};
use super::metrics::{Settings, Telemetry, text};
use super::web::{self, Server, Site};
use crate::output::alert::{EventTime, Writer};
use crate::output::internal;
use crate::rules::Priority;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

/// Starts the web server of a configuration.
pub fn start(settings: &web::Settings, config: &Config, telemetry: &Arc<Telemetry>) -> Result<Server, String> {
    let server = Server::start(settings.clone(), site(settings, config, telemetry))?;
    let scheme = if settings.certificate.is_some() { "https" } else { "http" };
    log::write(Level::Info, format_args!("web server: {scheme}://{}", server.address()));
    Ok(server)
}

/// What the web server answers under a configuration.
pub fn site(settings: &web::Settings, config: &Config, telemetry: &Arc<Telemetry>) -> Site {
    let metrics = config.metrics.as_ref().filter(|_| settings.metrics).map(|metrics| {
        let (telemetry, groups) = (telemetry.clone(), metrics.groups.clone());
        let text = move || text::prometheus(&telemetry.collect(&groups));
        Box::new(text) as Box<dyn Fn() -> String + Send + Sync>
    });
    Site { healthz: settings.healthz.clone(), versions: listing::version(true), metrics }
}

/// Snapshots of the metrics, one after each interval.
pub struct Snapshots {
    pub due: Instant,
    file: Option<File>,
    file_failed: bool,
}

impl Snapshots {
    /// Opens the file, if there is to be one.
    pub fn new(settings: &Settings) -> Result<Snapshots, String> {
        let open = |path: &std::path::PathBuf| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.map_err(|e| format!("metrics.output_file: {}: {e}", path.display()))
        };
        let file = settings.output_file.as_ref().map(open).transpose()?;
        Ok(Snapshots { due: Instant::now() + settings.interval, file, file_failed: false })
    }

    /// Takes one; the line of its alert, if it is to be one.
    pub fn take(
        &mut self,
        now: Instant,
        settings: &Settings,
        telemetry: &Telemetry,
        time: EventTime,
        writer: &mut Writer,
    ) -> Option<Vec<u8>> {
        // Those that were missed are not made up for.
        self.due = (self.due + settings.interval).max(now);
        let (number, members) = telemetry.snapshot(settings);
        if let Some(file) = &mut self.file {
            let fields: serde_json::Map<_, _> = members.iter().cloned().collect();
            let line = format!("{}\n", serde_json::json!({"sample": number, "output_fields": fields}));
            let written = file.write_all(line.as_bytes());
            if let Err(error) = &written
                && !self.file_failed
            {
                log::write(Level::Error, format_args!("metrics.output_file: {error}; snapshots are lost"));
            }
            self.file_failed = written.is_err();
        }
        settings.output_rule.then(|| {
            let mut members: Vec<(&str, serde_json::Value)> =
                members.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
            let message = "Falco metrics snapshot";
            internal::line(writer, internal::METRICS, Priority::Informational, message, time, &mut members)
        })
    }
}
