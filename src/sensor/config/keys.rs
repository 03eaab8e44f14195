//! Every configuration key: type, default, whether this build acts on it, meaning. The one table that reading,
//! checking and documenting go by.
//!
//! Keys and meanings are Falco's; defaults are those of its code, which hold where a file does not give the key.
//! Differences: `engine.kind` is `module`, `log_stderr` is on. Keys of our own: `engine.module.*`, `path_views`,
//! `alert_limits`, `syslog_output.*` but for `enabled`.

use crate::output::syslog::{FACILITIES, Protocol};

use Effect::{Meaningless, NotYet, PartOf, Works};
use Kind::{Anything, Bool, Choice, Int, MapList, Number, Text, TextList};

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    /// A whole number.
    Int,
    Number,
    Text,
    Choice(&'static [&'static str]),
    /// A sequence of texts; one text is taken for a sequence of one.
    TextList,
    /// A sequence of maps, whose keys have rows of their own; one map is taken for a sequence of one.
    MapList,
    /// Read by code of its own.
    Anything,
}

/// Whether this build acts on a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Works,
    /// Warned about when set to anything but this.
    NotYet(&'static str),
    /// Detail of a feature whose own switch is warned about.
    PartOf(&'static str),
    /// About machinery this sensor does not have; why nothing is lost.
    Meaningless(&'static str),
}

/// One key. `[]` in a path stands for every element of a sequence.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub path: &'static str,
    pub kind: Kind,
    /// Text of the default; elements of a list separated by commas; empty for none.
    pub default: &'static str,
    pub effect: Effect,
    pub meaning: &'static str,
}

/// Least to most verbose.
pub const LOG_LEVELS: &[&str] = &["emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"];

const fn key(path: &'static str, kind: Kind, default: &'static str, effect: Effect, meaning: &'static str) -> Key {
    Key { path, kind, default, effect, meaning }
}

/// The row of a path.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|k| k.path == path)
}

#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("config_files", Anything, "", Works, "extra configuration files or directories to merge, each a path or {path,strategy}; relative order kept; directories read in sorted order"),
    key("watch_config_files", Bool, "true", Works, "watch configuration and rules files, and load them anew when they change"),
    key("rules_files", TextList, "", Works, "ordered rules files/directories to load"),
    key("engine.kind", Choice(&["module", "kmod", "ebpf", "modern_ebpf", "replay", "nodriver", "gvisor"]), "module", Works, "event producer"),
    key("engine.module.buf_size_preset", Int, "4", Works, "index 1..10 of the ring size: 1,2,4,8,16,32,64,128,256,512 MiB per CPU"),
    key("engine.module.path", Text, "", Works, "module file to load in place of the installed one (as --module)"),
    key("engine.kmod.buf_size_preset", Int, "4", Works, "index 1..10 of the ring size: 1,2,4,8,16,32,64,128,256,512 MiB"),
    key("engine.kmod.drop_failed_exit", Bool, "false", NotYet("false"), "do not send exit events of failed syscalls"),
    key("engine.modern_ebpf.cpus_for_each_buffer", Int, "2", Meaningless("every CPU has a ring of its own"), "how many online CPUs share a ring (0 = one ring for all)"),
    key("engine.modern_ebpf.buf_size_preset", Int, "4", Works, "index 1..10 of the ring size: 1,2,4,8,16,32,64,128,256,512 MiB"),
    key("engine.modern_ebpf.drop_failed_exit", Bool, "false", NotYet("false"), "do not send exit events of failed syscalls"),
    key("engine.modern_ebpf.disable_iterators", Bool, "false", Meaningless("the module needs no scan of processes"), "do not use BPF iterators for the initial process scan"),
    key("engine.replay.capture_file", Text, "", Works, ".scap file to read; empty is an error when kind=replay"),
    key("capture.enabled", Bool, "false", Works, "allow rules to start a .scap recording"),
    key("capture.path_prefix", Text, "/tmp/falco", Works, "path prefix of recording files"),
    key("capture.mode", Choice(&["rules", "all_rules"]), "rules", Works, "rules = only rules with capture:true start a recording; all_rules = every match does"),
    key("capture.default_duration", Int, "5000", Works, "recording length in milliseconds when the rule gives none"),
    key("load_plugins", TextList, "", NotYet(""), "names of plugins to load; key absent = all of `plugins`, present but empty = none"),
    key("plugins", MapList, "", PartOf("load_plugins"), "plugin definitions"),
    key("plugins_hostinfo", Bool, "true", Meaningless("there are no plugins yet"), "give the host machine information to plugin-only inspectors"),
    key("time_format_iso_8601", Bool, "false", Works, "text alerts use evt.time.iso8601 rather than evt.time"),
    key("buffer_format_base64", Bool, "false", Works, "byte buffers printed in base64 rather than dotted ASCII"),
    key("priority", Text, "debug", Works, "least severe priority of rules that are loaded as active"),
    key("json_output", Bool, "false", Works, "alerts as JSON lines"),
    key("json_include_output_property", Bool, "true", Works, "include `output`"),
    key("json_include_message_property", Bool, "false", Works, "include `message` (output without the time and priority head)"),
    key("json_include_output_fields_property", Bool, "true", Works, "include `output_fields`"),
    key("json_include_tags_property", Bool, "true", Works, "include `tags`"),
    key("buffered_outputs", Bool, "false", Works, "do not flush after each alert"),
    key("rule_matching", Choice(&["first", "all"]), "first", Works, "first = stop at first matching rule for an event, all = every match alerts"),
    key("outputs_queue.capacity", Int, "0", Works, "alerts that may wait for each output, more are dropped and counted; 0 = 16384"),
    key("alert_limits.rules", MapList, "", Works, "rules whose repeated alerts are told together: the first of a window at once, the others in one line when it closes (outputs.md). The first entry that names a rule counts for it; none: no limits"),
    key("alert_limits.rules[].rule", Text, "*", Works, "rule name, `*` stands for anything"),
    key("alert_limits.rules[].keys", TextList, "", Works, "fields: alerts are the same when rule and values are"),
    key("alert_limits.rules[].window", Text, "", Works, "Prometheus duration, at least 1s; 0s = these rules have no limit"),
    key("alert_limits.capacity", Int, "8192", Works, "different alerts that are remembered at a time; others are written, and counted"),
    key("append_output", MapList, "", Works, "additions to outputs of chosen rules"),
    key("stdout_output.enabled", Bool, "false", Works, "alerts to standard output"),
    key("syslog_output.enabled", Bool, "false", Works, "alerts to syslog"),
    key("syslog_output.protocol", Choice(Protocol::NAMES), "local", Works, "local = the socket of this host's system log; else to a server in the form of RFC 5424 (outputs.md)"),
    key("syslog_output.host", Text, "", Works, "name or address of the server"),
    key("syslog_output.port", Int, "0", Works, "port of the server, 0 = 514 for udp, 601 for tcp, 6514 for tls"),
    key("syslog_output.facility", Choice(FACILITIES), "user", Works, "facility of messages to a server"),
    key("syslog_output.ca_cert", Text, "", Works, "file with the certificates of those who may vouch for a tls server"),
    key("syslog_output.ca_path", Text, "/etc/ssl/certs", Works, "folder of them, where no file is given"),
    key("syslog_output.client_cert", Text, "", Works, "client certificate for a tls server, given with client_key"),
    key("syslog_output.client_key", Text, "", Works, "client key"),
    key("file_output.enabled", Bool, "false", Works, "alerts to a file"),
    key("file_output.keep_alive", Bool, "false", Works, "keep the file open between alerts"),
    key("file_output.filename", Text, "", Works, "path, appended to"),
    key("http_output.enabled", Bool, "false", Works, "POST each alert"),
    key("http_output.url", Text, "", Works, "http:// or https:// URL of the server, or unix://PATH of its socket on this host; empty is an error when enabled"),
    key("http_output.user_agent", Text, "falcosecurity/falco", Works, "User-Agent header"),
    key("http_output.insecure", Bool, "false", Works, "skip peer verification"),
    key("http_output.ca_cert", Text, "", Works, "CA file"),
    key("http_output.ca_bundle", Text, "", Works, "CA bundle file"),
    key("http_output.ca_path", Text, "/etc/ssl/certs", Works, "CA directory"),
    key("http_output.mtls", Bool, "false", Works, "send a client certificate"),
    key("http_output.client_cert", Text, "/etc/ssl/certs/client.crt", Works, "client certificate"),
    key("http_output.client_key", Text, "/etc/ssl/certs/client.key", Works, "client key"),
    key("http_output.echo", Bool, "false", Works, "write the server answer to stdout"),
    key("http_output.compress_uploads", Bool, "false", Works, "gzip-encode the body"),
    key("http_output.keep_alive", Bool, "false", Works, "keep the connection between alerts for up to an hour, else for 15 seconds"),
    key("http_output.max_consecutive_timeouts", Int, "5", Works, "retries after connection time-outs before the alert is given up"),
    key("program_output.enabled", Bool, "false", Works, "pipe alerts to a shell command"),
    key("program_output.keep_alive", Bool, "false", Works, "keep the pipe open between alerts"),
    key("program_output.program", Text, "", Works, "shell command"),
    key("webserver.enabled", Bool, "false", Works, "serve HTTP"),
    key("webserver.threadiness", Int, "0", Works, "clients answered at a time, 0 = number of CPUs, at least 8; a newcomer takes the place of one that is slow"),
    key("webserver.listen_port", Int, "8765", Works, "TCP port"),
    key("webserver.listen_address", Text, "0.0.0.0", Works, "address to bind"),
    key("webserver.k8s_healthz_endpoint", Text, "/healthz", Works, "health path"),
    key("webserver.prometheus_metrics_enabled", Bool, "false", Works, "serve /metrics (needs metrics.enabled as well)"),
    key("webserver.ssl_enabled", Bool, "false", Works, "TLS"),
    key("webserver.ssl_certificate", Text, "/etc/falco/falco.pem", Works, "PEM with key and certificate"),
    key("log_stderr", Bool, "true", Works, "log lines to stderr"),
    key("log_syslog", Bool, "true", Works, "log lines to syslog"),
    key("log_level", Choice(LOG_LEVELS), "info", Works, "least severe own log level"),
    key("libs_logger.enabled", Bool, "true", Meaningless("there is no library log"), "forward library logs"),
    key("libs_logger.severity", Text, "info", Meaningless("there is no library log"), "least severe library log level"),
    key("output_timeout", Int, "2000", Works, "milliseconds a single output may take before a watchdog logs it as blocked"),
    key("syscall_event_timeouts.max_consecutives", Int, "1000", Meaningless("a loop sleeps until the module wakes it"), "consecutive empty reads before a warning that no events arrive; 0 invalid"),
    key("syscall_event_drops.threshold", Number, "0.1", Works, "share of dropped events (0..1) above which the actions apply"),
    key("syscall_event_drops.actions", TextList, "ignore", Works, "any of ignore, log, alert, exit (ignore excludes log and alert)"),
    key("syscall_event_drops.rate", Number, "0.03333", Works, "token refill per second of the action limiter"),
    key("syscall_event_drops.max_burst", Int, "1", Works, "bucket size of the action limiter"),
    key("syscall_event_drops.simulate_drops", Bool, "false", Works, "pretend that drops occur"),
    key("metrics.enabled", Bool, "false", Works, "collect metrics"),
    key("metrics.interval", Text, "5000", Works, "Prometheus duration (at least 100ms)"),
    key("metrics.output_rule", Bool, "false", Works, "emit the snapshot as an internal alert"),
    key("metrics.output_file", Text, "", Works, "append snapshots as JSON lines"),
    key("metrics.rules_counters_enabled", Bool, "true", Works, "per-rule counters: alerts, and estimated time"),
    key("metrics.resource_utilization_enabled", Bool, "true", Works, "CPU and memory use"),
    key("metrics.state_counters_enabled", Bool, "true", Works, "state engine counters"),
    key("metrics.kernel_event_counters_enabled", Bool, "true", Works, "driver event and drop counters"),
    key("metrics.kernel_event_counters_per_cpu_enabled", Bool, "true", Works, "per-CPU variants"),
    key("metrics.libbpf_stats_enabled", Bool, "true", Meaningless("there is no BPF"), "BPF program run statistics (needs the kernel.bpf_stats_enabled sysctl)"),
    key("metrics.plugins_metrics_enabled", Bool, "true", Meaningless("there are no plugins yet"), "metrics of plugins"),
    key("metrics.kernel_iter_event_counters_enabled", Bool, "true", Meaningless("there are no iterators"), "iterator counters"),
    key("metrics.jemalloc_stats_enabled", Bool, "true", Meaningless("there is no jemalloc"), "allocator statistics"),
    key("metrics.convert_memory_to_mb", Bool, "true", Works, "memory values in MB in snapshots"),
    key("metrics.include_empty_values", Bool, "false", Works, "keep zero or empty metrics in snapshots"),
    key("base_syscalls.custom_set", TextList, "", Works, "syscalls added (or `!name` removed) in place of the state set"),
    key("base_syscalls.repair", Bool, "false", Works, "choose the minimum set that keeps state right for the loaded rules"),
    key("base_syscalls.all", Bool, "false", Works, "do not take the high-volume I/O syscalls out"),
    key("falco_libs.thread_table_size", Int, "262144", Meaningless("there is no thread table"), "most threads kept in the state table"),
    key("falco_libs.thread_table_auto_purging_interval_s", Int, "300", Meaningless("there is no thread table"), "seconds between thread-table purges"),
    key("falco_libs.thread_table_auto_purging_thread_timeout_s", Int, "300", Meaningless("there is no thread table"), "idle seconds before a thread may be purged"),
    key("falco_libs.snaplen", Int, "0", Works, "bytes captured of I/O buffers (0 = driver default 80)"),
    key("append_output[].match.source", Text, "", Works, "source the rule must have"),
    key("append_output[].match.tags", TextList, "", Works, "tags the rule must all have"),
    key("append_output[].match.rule", Text, "", Works, "exact rule name"),
    key("append_output[].extra_output", Text, "", Works, "text appended to the output format"),
    key("append_output[].extra_fields", Anything, "", Works, "fields added to output_fields only: scalar names, or one-key maps name:format"),
    key("append_output[].suggested_output", Bool, "", Works, "append every field marked suggested (and its plugin loaded)"),
    key("static_fields", Anything, "", Works, "name:value pairs exposed as static.NAME"),
    key("rules[].disable.rule", Text, "", Works, "wildcard on rule names"),
    key("rules[].disable.tag", Text, "", Works, "tag"),
    key("rules[].enable.rule", Text, "", Works, "wildcard on rule names"),
    key("rules[].enable.tag", Text, "", Works, "tag"),
    key("capture.max_file_size_mb", Int, "0", Works, "stop a recording at this size, 0 = no limit"),
    key("plugins[].name", Text, "", PartOf("load_plugins"), "plugin name"),
    key("plugins[].library_path", Text, "", PartOf("load_plugins"), "path of the shared library; relative paths are under the engine plugin directory"),
    key("plugins[].init_config", Anything, "", PartOf("load_plugins"), "map (serialised to JSON) or string passed to init"),
    key("plugins[].open_params", Text, "", PartOf("load_plugins"), "string passed when opening the source"),
    key("rules_file", TextList, "", Works, "older spelling of rules_files; giving both is an error"),
    key("rules", MapList, "", Works, "ordered enable/disable selection applied after load"),
    key("path_views", Bool, "true", Works, "a file event is compared with the path the program gave and with the path the kernel opened; false: only with the given one"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_unique_and_refer_to_rows() {
        for (i, k) in KEYS.iter().enumerate() {
            assert!(KEYS[..i].iter().all(|other| other.path != k.path), "{}", k.path);
            if let PartOf(switch) = k.effect {
                assert!(find(switch).is_some(), "{}: {switch}", k.path);
            }
            assert!(!k.meaning.is_empty());
        }
    }
}
