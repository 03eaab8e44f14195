//! The configuration: Falco's file format and keys, read into the values this build acts on.
//!
//! [`tree`] is the YAML with places, [`merge`] makes one tree of files and options, [`keys`] is the table of all keys,
//! [`check`] holds the tree against it. Here the checked tree becomes a [`Config`].

pub mod check;
pub mod keys;
pub mod merge;
pub mod schema;
pub mod tree;

use super::interval;
use super::metrics::settings as metrics;
use super::metrics::table::Group;
use super::record::OnMatch;
use super::web;
use crate::filter::SyscallScheme;
use crate::filter::format::Format;
use crate::output::{http, syslog};
use keys::LOG_LEVELS;
pub use merge::Override;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tree::{ConfigError, Node, Value, parse_path};

/// Where a configuration is looked for when none is named: our own place first, then Falco's.
pub const DEFAULT_FILES: [&str; 2] = ["/etc/falco-sensor/falco-sensor.yaml", "/etc/falco/falco.yaml"];

/// `{enable|disable: {rule|tag: text}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    pub enable: bool,
    pub by: SelectBy,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SelectBy {
    /// Name with `*` wildcards.
    Rule(String),
    Tag(String),
}

/// One entry of `append_output`. Absent conditions match every rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppendOutput {
    pub source: Option<String>,
    pub rule: Option<String>,
    /// All of them.
    pub tags: Vec<String>,
    /// Put behind the rule's text.
    pub text: Option<String>,
    /// Fields for `output_fields` alone: by name ...
    pub raw_fields: Vec<String>,
    /// ... or formatted under a name.
    pub formatted_fields: Vec<(String, String)>,
    pub suggested: bool,
}

/// `alert_limits`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertLimits {
    /// Different alerts that are remembered at a time.
    pub capacity: usize,
    /// Of the entries that name a rule the first one counts.
    pub rules: Vec<AlertLimit>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertLimit {
    /// Name with `*` wildcards.
    pub rule: String,
    /// Names of fields.
    pub keys: Vec<String>,
    /// 0: no limit.
    pub window: Duration,
}

/// What a JSON alert has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonFormat {
    pub output: bool,
    pub message: bool,
    pub fields: bool,
    pub tags: bool,
}

/// Where `syslog_output` goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogOutput {
    /// The system log of this host.
    Local,
    Server(syslog::Settings),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOutput {
    pub path: PathBuf,
    pub keep_alive: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramOutput {
    /// For the shell.
    pub command: String,
    pub keep_alive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropAction {
    Log,
    Alert,
    Exit,
}

/// What happens when events are lost.
#[derive(Clone, Debug, PartialEq)]
pub struct Drops {
    /// Share of the second's events, 0 to 1.
    pub threshold: f64,
    /// Empty: ignore.
    pub actions: Vec<DropAction>,
    /// Actions per second in the long run.
    pub rate: f64,
    pub max_burst: u32,
    pub simulate: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BaseSyscalls {
    /// Names; `!name` takes one out.
    pub custom: Vec<String>,
    pub repair: bool,
    pub all: bool,
}

/// The values this build acts on.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// As named; [`Config::rules_paths`] gives the files.
    pub rules_files: Vec<PathBuf>,
    pub selection: Vec<Selection>,
    /// Word for the least severe rules that run, lower case.
    pub priority: String,
    /// Every rule that matches alerts, not the first only.
    pub match_all: bool,
    pub json_output: bool,
    pub json: JsonFormat,
    pub iso_time: bool,
    pub base64_buffers: bool,
    pub append_output: Vec<AppendOutput>,
    pub limits: AlertLimits,
    pub static_fields: Vec<(String, String)>,
    pub stdout: bool,
    pub syslog: Option<SyslogOutput>,
    pub file: Option<FileOutput>,
    pub program: Option<ProgramOutput>,
    pub http: Option<http::Settings>,
    pub buffered: bool,
    /// Alerts that may wait; 0: as many as the bound of this build.
    pub queue_capacity: usize,
    pub output_timeout_ms: u64,
    /// Per CPU.
    pub ring_bytes: u32,
    /// A capture to be evaluated instead of this host's events.
    pub replay: Option<PathBuf>,
    /// Recordings that rules start, when they may.
    pub capture: Option<OnMatch>,
    pub module: Option<PathBuf>,
    /// The module's events are watched; else nothing is, and the sensor only answers.
    pub driver: bool,
    /// Read files anew when they change.
    pub watch_files: bool,
    pub snaplen: u32,
    pub path_views: bool,
    pub base_syscalls: BaseSyscalls,
    pub drops: Drops,
    pub metrics: Option<metrics::Settings>,
    pub web: Option<web::Settings>,
    pub log_stderr: bool,
    pub log_syslog: bool,
    /// Index into [`LOG_LEVELS`].
    pub log_level: usize,
}

/// A configuration with what is to be said about it.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    pub tree: Node,
    pub files: Vec<PathBuf>,
    /// Files and folders that `config_files` names, there or not.
    pub named: Vec<PathBuf>,
    /// What does not fit the table of keys and is ignored.
    pub schema: Vec<ConfigError>,
    pub warnings: Vec<ConfigError>,
    pub infos: Vec<ConfigError>,
}

/// Reads the configuration in `main`, changed by `overrides`.
pub fn load(main: &Path, overrides: &[Override]) -> Result<Loaded, ConfigError> {
    checked(merge::load(main, overrides)?)
}

/// Reads the text of one configuration file; other files it names are left alone.
pub fn read(text: &str, name: &Path) -> Result<Loaded, ConfigError> {
    let tree = Node::parse(text, &name.display().to_string())?;
    checked(merge::Merged { tree, files: vec![name.to_owned()], named: Vec::new(), warnings: Vec::new() })
}

fn checked(merged: merge::Merged) -> Result<Loaded, ConfigError> {
    let merge::Merged { tree, files, named, warnings: mut schema } = merged;
    let mut remarks = check::check(&tree)?;
    schema.append(&mut remarks.schema);
    let mut reader = Reader { tree: &tree, infos: remarks.infos, warnings: remarks.warnings };
    let config = reader.config()?;
    let Reader { infos, warnings, .. } = reader;
    Ok(Loaded { config, files, named, schema, warnings, infos, tree })
}

/// The configuration file to use when none is named.
pub fn default_file() -> Option<PathBuf> {
    DEFAULT_FILES.iter().map(PathBuf::from).find(|path| path.exists())
}

impl Config {
    /// The rules files: named ones as they are, folders by their .yaml and .yml files in order. What does not exist
    /// is left out.
    pub fn rules_paths(&self) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        for path in &self.rules_files {
            if path.is_dir() {
                paths.append(&mut yaml_files(path));
            } else if path.exists() {
                paths.push(path.clone());
            }
        }
        paths
    }
}

/// The .yaml and .yml files of a folder, in the order of their names.
pub fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_yaml = |p: &PathBuf| p.extension().is_some_and(|e| e == "yaml" || e == "yml") && p.is_file();
    let mut files: Vec<_> = entries.filter(is_yaml).collect();
    files.sort();
    files
}

/// Reads a checked tree; where a key is missing the table's default holds.
struct Reader<'t> {
    tree: &'t Node,
    warnings: Vec<ConfigError>,
    infos: Vec<ConfigError>,
}

impl Reader<'_> {
    fn node(&self, path: &str) -> Option<&Node> {
        debug_assert!(keys::find(path).is_some(), "{path} is not in the table");
        let node = self.tree.get(&parse_path(path).ok()?)?;
        (node.value != Value::Null).then_some(node)
    }

    fn text(&self, path: &str) -> String {
        let given = self.node(path).and_then(Node::text);
        given.or_else(|| keys::find(path).map(|k| k.default)).unwrap_or_default().to_owned()
    }

    fn bool(&self, path: &str) -> bool {
        let default = || keys::find(path).is_some_and(|k| k.default == "true");
        self.node(path).and_then(check::bool_of).unwrap_or_else(default)
    }

    fn number(&self, path: &str) -> f64 {
        self.text(path).parse().unwrap_or_default()
    }

    /// A whole number within bounds.
    fn int(&self, path: &str, min: i64, max: i64) -> Result<i64, ConfigError> {
        let value = self.text(path).parse().unwrap_or_default();
        if (min..=max).contains(&value) {
            return Ok(value);
        }
        let place = self.node(path).map_or(&self.tree.place, |n| &n.place);
        Err(ConfigError::new(place, format!("{path}: {value} is not between {min} and {max}")))
    }

    fn list(&self, path: &str) -> Vec<String> {
        match self.node(path).map(|n| &n.value) {
            Some(Value::Seq(items)) => items.iter().filter_map(Node::text).map(str::to_owned).collect(),
            Some(Value::Scalar { text, .. }) => vec![text.clone()],
            _ => {
                let default = keys::find(path).map_or("", |k| k.default);
                default.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect()
            }
        }
    }

    fn error<T>(&self, path: &str, message: impl Into<String>) -> Result<T, ConfigError> {
        let place = self.node(path).map_or(&self.tree.place, |n| &n.place);
        Err(ConfigError::new(place, format!("{path}: {}", message.into())))
    }

    fn config(&mut self) -> Result<Config, ConfigError> {
        self.other_features()?;
        let ring_bytes = self.ring_bytes()?;
        let snaplen = match self.int("falco_libs.snaplen", 0, 4096)? {
            0 => 80,
            bytes => bytes as u32,
        };
        let level = self.text("log_level").to_ascii_lowercase();
        Ok(Config {
            rules_files: self.rules_files()?,
            selection: self.selection()?,
            priority: self.text("priority").to_ascii_lowercase(),
            match_all: self.text("rule_matching").eq_ignore_ascii_case("all"),
            json_output: self.bool("json_output"),
            json: JsonFormat {
                output: self.bool("json_include_output_property"),
                message: self.bool("json_include_message_property"),
                fields: self.bool("json_include_output_fields_property"),
                tags: self.bool("json_include_tags_property"),
            },
            iso_time: self.bool("time_format_iso_8601"),
            base64_buffers: self.bool("buffer_format_base64"),
            append_output: self.append_output()?,
            limits: self.alert_limits()?,
            static_fields: self.static_fields()?,
            stdout: self.bool("stdout_output.enabled"),
            syslog: self.syslog()?,
            file: self.file()?,
            program: self.program()?,
            http: self.http()?,
            buffered: self.bool("buffered_outputs"),
            queue_capacity: self.int("outputs_queue.capacity", 0, 1 << 30)? as usize,
            output_timeout_ms: self.int("output_timeout", 1, 1 << 31)? as u64,
            ring_bytes,
            module: Some(self.text("engine.module.path")).filter(|p| !p.is_empty()).map(PathBuf::from),
            driver: !self.text("engine.kind").eq_ignore_ascii_case("nodriver"),
            watch_files: self.bool("watch_config_files"),
            snaplen,
            path_views: self.bool("path_views"),
            replay: self.replay()?,
            capture: self.capture()?,
            base_syscalls: BaseSyscalls {
                custom: self.list("base_syscalls.custom_set"),
                repair: self.bool("base_syscalls.repair"),
                all: self.bool("base_syscalls.all"),
            },
            drops: self.drops()?,
            metrics: self.metrics()?,
            web: self.web()?,
            log_stderr: self.bool("log_stderr"),
            log_syslog: self.bool("log_syslog"),
            log_level: LOG_LEVELS.iter().position(|l| *l == level).unwrap_or(6),
        })
    }

    /// Ring size by preset; the engine's kind is told apart only to say that it makes no difference.
    fn ring_bytes(&mut self) -> Result<u32, ConfigError> {
        let kind = self.text("engine.kind").to_ascii_lowercase();
        let preset = match kind.as_str() {
            "module" => "engine.module.buf_size_preset",
            "kmod" | "ebpf" => "engine.kmod.buf_size_preset",
            "modern_ebpf" => "engine.modern_ebpf.buf_size_preset",
            "replay" | "nodriver" => return Ok(0),
            other => return self.error("engine.kind", format!("'{other}' is not in this sensor: use 'module'")),
        };
        if kind != "module"
            && let Some(node) = self.node("engine.kind")
        {
            let message =
                format!("engine.kind '{kind}' is taken as 'module': this sensor has one driver, its own kernel module");
            let remark = ConfigError::new(&node.place, message);
            self.infos.push(remark);
        }
        Ok(1 << (19 + self.int(preset, 1, 10)?))
    }

    /// The capture to evaluate, when that is the engine's kind.
    fn replay(&mut self) -> Result<Option<PathBuf>, ConfigError> {
        if !self.text("engine.kind").eq_ignore_ascii_case("replay") {
            return Ok(None);
        }
        let file = self.text("engine.replay.capture_file").to_owned();
        if file.is_empty() {
            return self.error("engine.kind", "'replay' wants a file to read: set engine.replay.capture_file");
        }
        Ok(Some(file.into()))
    }

    /// Recordings that rules start, when that is enabled.
    fn capture(&mut self) -> Result<Option<OnMatch>, ConfigError> {
        let on_match = OnMatch {
            prefix: self.text("capture.path_prefix"),
            all_rules: self.text("capture.mode").eq_ignore_ascii_case("all_rules"),
            default_ms: self.int("capture.default_duration", 1, 1 << 31)? as u64,
            max_bytes: (self.int("capture.max_file_size_mb", 0, 1 << 31)? as u64) << 20,
        };
        Ok(Some(on_match).filter(|_| self.bool("capture.enabled")))
    }

    fn rules_files(&mut self) -> Result<Vec<PathBuf>, ConfigError> {
        let (new, old) = (self.node("rules_files").is_some(), self.node("rules_file").is_some());
        if new && old {
            return self.error("rules_file", "given together with rules_files: move its entries there");
        }
        let list = self.list(if old { "rules_file" } else { "rules_files" });
        Ok(list.into_iter().map(PathBuf::from).collect())
    }

    fn selection(&self) -> Result<Vec<Selection>, ConfigError> {
        let mut selection = Vec::new();
        for item in self.node("rules").map_or(&[][..], Node::maps) {
            let usage = "an entry of rules is {enable: {rule: NAME}}, {enable: {tag: TAG}} or the same with disable";
            let refused = || ConfigError::new(&item.place, usage);
            let (op, what) = match item.entries() {
                [(op, what)] => (op, what),
                _ => return Err(refused()),
            };
            let enable = match op.as_str() {
                "enable" => true,
                "disable" => false,
                _ => return Err(refused()),
            };
            let mut found = false;
            for (key, value) in what.entries() {
                let text = value.text().ok_or_else(refused)?.to_owned();
                let by = match key.as_str() {
                    "rule" => SelectBy::Rule(text),
                    "tag" => SelectBy::Tag(text),
                    _ => continue, // warned about
                };
                selection.push(Selection { enable, by });
                found = true;
            }
            if !found {
                return Err(refused());
            }
        }
        Ok(selection)
    }

    fn append_output(&self) -> Result<Vec<AppendOutput>, ConfigError> {
        self.node("append_output").map_or(&[][..], Node::maps).iter().map(append_entry).collect()
    }

    fn alert_limits(&self) -> Result<AlertLimits, ConfigError> {
        let entries = self.node("alert_limits.rules").map_or(&[][..], Node::maps);
        let rules = entries.iter().map(alert_limit).collect::<Result<_, _>>()?;
        Ok(AlertLimits { capacity: self.int("alert_limits.capacity", 1, 1 << 20)? as usize, rules })
    }

    fn static_fields(&self) -> Result<Vec<(String, String)>, ConfigError> {
        let Some(node) = self.node("static_fields") else { return Ok(Vec::new()) };
        let pair = |(name, value): &(String, Node)| {
            let text = value.text().ok_or_else(|| ConfigError::new(&value.place, "a static field is a text"))?;
            Ok((name.clone(), text.to_owned()))
        };
        if !matches!(node.value, Value::Map(_)) {
            return self.error("static_fields", "must be a map of names and texts");
        }
        node.entries().iter().map(pair).collect()
    }

    fn file(&self) -> Result<Option<FileOutput>, ConfigError> {
        if !self.bool("file_output.enabled") {
            return Ok(None);
        }
        let path = self.text("file_output.filename");
        if path.is_empty() {
            return self.error("file_output.enabled", "no file_output.filename is given: name the file to append to");
        }
        Ok(Some(FileOutput { path: path.into(), keep_alive: self.bool("file_output.keep_alive") }))
    }

    fn syslog(&self) -> Result<Option<SyslogOutput>, ConfigError> {
        let protocol = match self.text("syslog_output.protocol").to_ascii_lowercase().as_str() {
            "udp" => syslog::Protocol::Udp,
            "tcp" => syslog::Protocol::Tcp,
            "tls" => syslog::Protocol::Tls,
            _ => return Ok(self.bool("syslog_output.enabled").then_some(SyslogOutput::Local)),
        };
        let host = self.text("syslog_output.host");
        let port = match self.int("syslog_output.port", 0, i64::from(u16::MAX))? as u16 {
            0 => protocol.port(),
            port => port,
        };
        let facility = self.text("syslog_output.facility").to_ascii_lowercase();
        let path = |key: &str| Some(PathBuf::from(self.text(key))).filter(|path| !path.as_os_str().is_empty());
        let folder = || http::Authorities::Folder(PathBuf::from(self.text("syslog_output.ca_path")));
        let client = match (path("syslog_output.client_cert"), path("syslog_output.client_key")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => {
                return self.error("syslog_output.client_cert", "client_key is missing: they go together");
            }
            (None, Some(_)) => {
                return self.error("syslog_output.client_key", "client_cert is missing: they go together");
            }
        };
        if !self.bool("syslog_output.enabled") {
            return Ok(None);
        }
        if host.is_empty() {
            return self.error("syslog_output.protocol", "no syslog_output.host is given: name the server");
        }
        Ok(Some(SyslogOutput::Server(syslog::Settings {
            protocol,
            host,
            port,
            facility: syslog::FACILITIES.iter().position(|name| *name == facility).unwrap_or_default() as u8,
            authorities: path("syslog_output.ca_cert").map_or_else(folder, http::Authorities::File),
            client,
        })))
    }

    fn program(&self) -> Result<Option<ProgramOutput>, ConfigError> {
        if !self.bool("program_output.enabled") {
            return Ok(None);
        }
        let command = self.text("program_output.program");
        if command.is_empty() {
            return self
                .error("program_output.enabled", "no program_output.program is given: name the command to start");
        }
        Ok(Some(ProgramOutput { command, keep_alive: self.bool("program_output.keep_alive") }))
    }

    fn metrics(&self) -> Result<Option<metrics::Settings>, ConfigError> {
        if !self.bool("metrics.enabled") {
            return Ok(None);
        }
        let every = self.text("metrics.interval");
        let Some(interval) = interval::parse(&every).filter(|every| *every >= Duration::from_millis(100)) else {
            let message = format!("'{every}' is no duration of at least 100ms: write 1h, 90s or 500ms");
            return self.error("metrics.interval", message);
        };
        let groups = [Group::Rules, Group::Resources, Group::State, Group::Kernel, Group::PerCpu];
        Ok(Some(metrics::Settings {
            interval,
            output_rule: self.bool("metrics.output_rule"),
            output_file: Some(self.text("metrics.output_file")).filter(|path| !path.is_empty()).map(PathBuf::from),
            groups: groups.into_iter().filter(|group| self.bool(group.key())).collect(),
            megabytes: self.bool("metrics.convert_memory_to_mb"),
            empty_values: self.bool("metrics.include_empty_values"),
        }))
    }

    fn web(&self) -> Result<Option<web::Settings>, ConfigError> {
        let address = self.text("webserver.listen_address");
        if address.parse::<std::net::IpAddr>().is_err() {
            return self.error("webserver.listen_address", format!("'{address}' is not an IP address"));
        }
        let port = self.int("webserver.listen_port", 1, i64::from(u16::MAX))? as u16;
        let healthz = self.text("webserver.k8s_healthz_endpoint");
        if !healthz.starts_with('/') {
            return self.error("webserver.k8s_healthz_endpoint", format!("'{healthz}' does not begin with '/'"));
        }
        let places = match self.int("webserver.threadiness", 0, 1024)? as usize {
            0 => std::thread::available_parallelism().map_or(0, usize::from).max(web::LEAST_PLACES),
            threads => threads,
        };
        let metrics = self.bool("webserver.prometheus_metrics_enabled") && self.bool("metrics.enabled");
        let certificate = PathBuf::from(self.text("webserver.ssl_certificate"));
        let certificate = Some(certificate).filter(|_| self.bool("webserver.ssl_enabled"));
        let settings = web::Settings { address, port, places, healthz, metrics, certificate };
        Ok(Some(settings).filter(|_| self.bool("webserver.enabled")))
    }

    fn http(&self) -> Result<Option<http::Settings>, ConfigError> {
        if !self.bool("http_output.enabled") {
            return Ok(None);
        }
        let url = self.text("http_output.url");
        if url.is_empty() {
            return self.error("http_output.enabled", "no http_output.url is given: name the server to send alerts to");
        }
        let path = |key: &str| PathBuf::from(self.text(key));
        let named =
            ["http_output.ca_cert", "http_output.ca_bundle"].map(path).into_iter().find(|p| !p.as_os_str().is_empty());
        Ok(Some(http::Settings {
            url,
            user_agent: self.text("http_output.user_agent"),
            insecure: self.bool("http_output.insecure"),
            authorities: named
                .map_or_else(|| http::Authorities::Folder(path("http_output.ca_path")), http::Authorities::File),
            client: self
                .bool("http_output.mtls")
                .then(|| (path("http_output.client_cert"), path("http_output.client_key"))),
            echo: self.bool("http_output.echo"),
            compress: self.bool("http_output.compress_uploads"),
            keep_alive: self.bool("http_output.keep_alive"),
            retries: self.int("http_output.max_consecutive_timeouts", 0, 1000)? as u32,
            json: self.bool("json_output"),
        }))
    }

    fn drops(&self) -> Result<Drops, ConfigError> {
        let key = "syscall_event_drops.actions";
        let mut actions = Vec::new();
        let mut ignore = false;
        for word in self.list(key) {
            match word.as_str() {
                "ignore" => ignore = true,
                "log" => actions.push(DropAction::Log),
                "alert" => actions.push(DropAction::Alert),
                "exit" => actions.push(DropAction::Exit),
                _ => return self.error(key, format!("'{word}' is not one of ignore, log, alert, exit")),
            }
        }
        if ignore && (actions.contains(&DropAction::Log) || actions.contains(&DropAction::Alert)) {
            let other = if actions.contains(&DropAction::Log) { "log" } else { "alert" };
            let message =
                format!("syscall event drop action \"{other}\" does not make sense with the \"ignore\" action");
            return self.error(key, message);
        }
        actions.sort();
        actions.dedup();
        let threshold = self.number("syscall_event_drops.threshold");
        if !(0.0..=1.0).contains(&threshold) {
            let message =
                format!("syscall event drops threshold must be a double in the range [0, 1], not {threshold}");
            return self.error("syscall_event_drops.threshold", message);
        }
        let rate = self.number("syscall_event_drops.rate");
        if rate < 0.0 {
            return self.error("syscall_event_drops.rate", format!("{rate} is negative"));
        }
        Ok(Drops {
            threshold,
            actions,
            rate,
            max_burst: self.int("syscall_event_drops.max_burst", 0, i64::from(u32::MAX))? as u32,
            simulate: self.bool("syscall_event_drops.simulate_drops"),
        })
    }

    /// Values of features that are not there yet are held to the same rules, so that they are right when they come.
    fn other_features(&mut self) -> Result<(), ConfigError> {
        let plugins = self.node("plugins").map_or(&[][..], Node::maps);
        let mut names = Vec::new();
        for plugin in plugins {
            let part = |key: &str| plugin.child(key).and_then(Node::text);
            let Some(name) = part("name") else {
                return Err(ConfigError::new(&plugin.place, "an entry of plugins has no name"));
            };
            names.push(name);
            let library = part("library_path").unwrap_or_default();
            if Path::new(library).components().any(|c| c == std::path::Component::ParentDir) {
                return Err(ConfigError::new(
                    &plugin.place,
                    format!("plugins: library_path '{library}' may not contain '..'"),
                ));
            }
        }
        let given = self.node("load_plugins").is_some();
        let wanted = self.list("load_plugins");
        if let Some(missing) = wanted.iter().find(|name| !names.contains(&name.as_str())) {
            return self.error("load_plugins", format!("'{missing}' is not defined under plugins"));
        }
        if !given && names.iter().any(|name| *name != "container") {
            let place = self.node("plugins").map_or(&self.tree.place, |n| &n.place);
            let remark = ConfigError::new(place, "plugins: this version loads no plugins yet, the key has no effect");
            self.warnings.push(remark);
        }
        Ok(())
    }
}

fn alert_limit(item: &Node) -> Result<AlertLimit, ConfigError> {
    let rule = item.child("rule").and_then(Node::text).unwrap_or("*").to_owned();
    let keys = item.child("keys");
    let alone = keys.filter(|node| node.text().is_some()).map(std::slice::from_ref);
    let keys = alone.or_else(|| keys.map(Node::items)).unwrap_or_default();
    let field = |node: &Node| {
        let name = node.text().unwrap_or_default();
        let refused = |why: &str| ConfigError::new(&node.place, format!("alert_limits.rules[].keys: '{name}' {why}"));
        Format::of_field(name, &SyscallScheme).map(|_| name.to_owned()).ok_or_else(|| refused("is not a field"))
    };
    let keys = keys.iter().map(field).collect::<Result<_, _>>()?;
    let Some(given) = item.child("window") else {
        let message = "alert_limits.rules: an entry has no window: write how long repeated alerts are told together, as in window: 60s";
        return Err(ConfigError::new(&item.place, message));
    };
    let text = given.text().unwrap_or_default();
    let is_window = |window: &Duration| window.is_zero() || *window >= Duration::from_secs(1);
    let window = interval::parse(text).filter(is_window).ok_or_else(|| {
        let why = "is no duration of at least 1s: write 1h, 90s, or 0s for no limit";
        ConfigError::new(&given.place, format!("alert_limits.rules[].window: '{text}' {why}"))
    })?;
    Ok(AlertLimit { rule, keys, window })
}

fn append_entry(item: &Node) -> Result<AppendOutput, ConfigError> {
    let mut entry = AppendOutput::default();
    let text = |node: &Node, key: &str| node.child(key).and_then(Node::text).map(str::to_owned);
    if let Some(wanted) = item.child("match") {
        entry.source = text(wanted, "source");
        entry.rule = text(wanted, "rule");
        let tags = wanted.child("tags").map_or(&[][..], Node::items);
        entry.tags = tags.iter().filter_map(Node::text).map(str::to_owned).collect();
    }
    entry.text = text(item, "extra_output");
    entry.suggested = item.child("suggested_output").and_then(check::bool_of).unwrap_or(false);
    if let Some(fields) = item.child("extra_fields") {
        let usage = "extra_fields is a sequence of field names and of maps {name: format}";
        if !matches!(fields.value, Value::Seq(_) | Value::Null) {
            return Err(ConfigError::new(&fields.place, usage));
        }
        for field in fields.items() {
            match (&field.value, field.entries()) {
                (Value::Scalar { text, .. }, _) => entry.raw_fields.push(text.clone()),
                (_, [(name, Node { value: Value::Scalar { text, .. }, .. })]) => {
                    entry.formatted_fields.push((name.clone(), text.clone()));
                }
                _ => return Err(ConfigError::new(&field.place, usage)),
            }
        }
    }
    Ok(entry)
}

#[cfg(test)]
mod tests;
