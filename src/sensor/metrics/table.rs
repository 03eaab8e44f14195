//! Every metric: its name for Prometheus, its name in snapshots, unit, group, meaning. The one table that collecting, writing and
//! documenting go by.
//!
//! Names that begin with `falcosecurity_` are Falco's and mean what they mean there; `falco_sensor_` are ours.

use Group::{Always, Kernel, PerCpu, Resources, Rules, State};
use Kind::{Counter, Gauge};
use Unit::{Bytes, Info, Plain, Ratio};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
}

/// What switches a metric on, beside `metrics.enabled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Always,
    Rules,
    Resources,
    State,
    Kernel,
    PerCpu,
}

impl Group {
    /// The key of the configuration.
    pub const fn key(self) -> &'static str {
        match self {
            Always => "metrics.enabled",
            Rules => "metrics.rules_counters_enabled",
            Resources => "metrics.resource_utilization_enabled",
            State => "metrics.state_counters_enabled",
            Kernel => "metrics.kernel_event_counters_enabled",
            PerCpu => "metrics.kernel_event_counters_per_cpu_enabled",
        }
    }
}

/// How a value is written in snapshots; for Prometheus it is in base units always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// As it is.
    Plain,
    /// 1, with the fact in the last label; in snapshots the fact itself.
    Info,
    /// In snapshots kilobytes or bytes, as the name there ends.
    Bytes,
    /// In snapshots percent.
    Ratio,
}

#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    pub kind: Kind,
    /// Label names, or words for them.
    pub labels: &'static str,
    /// `{}` stands for the first label's value; empty when snapshots do not have it.
    pub native: &'static str,
    pub unit: Unit,
    pub group: Group,
    pub help: &'static str,
}

const fn row(
    name: &'static str,
    kind: Kind,
    labels: &'static str,
    native: &'static str,
    unit: Unit,
    group: Group,
    help: &'static str,
) -> Row {
    Row { name, kind, labels, native, unit, group, help }
}

#[rustfmt::skip]
pub static ROWS: &[Row] = &[
    row("falcosecurity_falco_version_info", Gauge, "version", "falco.version", Info, Always, "version of the program"),
    row("falcosecurity_falco_sha256_rules_files_info", Gauge, "file_name,sha256", "falco.sha256_rules_file.{}", Info, Always, "hash of each loaded rules file"),
    row("falcosecurity_falco_sha256_config_files_info", Gauge, "file_name,sha256", "falco.sha256_config_file.{}", Info, Always, "hash of each loaded configuration file"),
    row("falcosecurity_falco_kernel_release_info", Gauge, "kernel_release", "falco.kernel_release", Info, Always, "release of the kernel"),
    row("falcosecurity_evt_hostname_info", Gauge, "hostname", "evt.hostname", Info, Always, "name of the host"),
    row("falcosecurity_scap_engine_name_info", Gauge, "engine_name,evt_source", "", Info, Always, "where events come from"),
    row("falcosecurity_falco_outputs_queue_num_drops_total", Counter, "", "falco.outputs_queue_num_drops", Plain, Always, "alerts lost because the queue was full"),
    row("falcosecurity_falco_reload_timestamp_nanoseconds", Gauge, "", "falco.reload_ts", Plain, Always, "when rules were loaded last, since 1970"),
    row("falcosecurity_falco_start_timestamp_nanoseconds", Gauge, "", "falco.start_ts", Plain, Always, "when the sensor started, since 1970"),
    row("falcosecurity_falco_duration_seconds_total", Counter, "", "falco.duration_sec", Plain, Always, "seconds since the start"),
    row("falcosecurity_falco_host_boot_timestamp_nanoseconds", Gauge, "", "falco.host_boot_ts", Plain, Always, "when the host started, since 1970"),
    row("falcosecurity_falco_host_num_cpus_total", Gauge, "", "falco.host_num_cpus", Plain, Always, "CPUs of the host that are online"),
    row("falco_sensor_reloads_total", Counter, "result", "falco_sensor.reloads_{}", Plain, Always, "reloads asked for: done, or refused because something did not load"),
    row("falco_sensor_outputs_queue_waiting", Gauge, "", "falco_sensor.outputs_queue_waiting", Plain, Always, "alerts that wait for the outputs"),
    row("falco_sensor_alert_limits_total", Counter, "outcome", "falco_sensor.alert_limits_{}", Plain, Always, "alerts that a limit held back (held_back), lines that told of them (summary), alerts written because there was no room to remember them (no_room)"),
    row("falco_sensor_alert_limits_open", Gauge, "", "falco_sensor.alert_limits_open", Plain, Always, "different alerts whose window is open"),
    row("falco_sensor_rules_loaded", Gauge, "", "falco_sensor.rules_loaded", Plain, Always, "rules that run"),
    row("falcosecurity_falco_rules_matches_total", Counter, "rule_name,priority,source,tag_TAG=\"true\"", "falco.rules.{}", Plain, Rules, "alerts of each rule that has alerted; the priority is a number, 0 for emergency"),
    row("falco_sensor_rules_time_seconds_total", Counter, "rule_name,source", "falco_sensor.rules_time_seconds.{}", Plain, Rules, "CPU time that the condition of each rule takes by itself, estimated from one of 1021 evaluated events; what rules share counts for each of them"),
    row("falcosecurity_falco_cpu_usage_ratio", Gauge, "", "falco.cpu_usage_perc", Ratio, Resources, "CPU time of the sensor since its start, in CPUs"),
    row("falcosecurity_falco_memory_rss_bytes", Gauge, "", "falco.memory_rss_kb", Bytes, Resources, "resident memory of the sensor"),
    row("falcosecurity_falco_memory_vsz_bytes", Gauge, "", "falco.memory_vsz_kb", Bytes, Resources, "virtual memory of the sensor"),
    row("falcosecurity_falco_memory_pss_bytes", Gauge, "", "falco.memory_pss_kb", Bytes, Resources, "memory of the sensor, shared pages by their share"),
    row("falcosecurity_falco_container_memory_used_bytes", Gauge, "", "falco.container_memory_used_bytes", Bytes, Resources, "memory of the control group named by FALCO_CGROUP_MEM_PATH; absent when that cannot be read"),
    row("falcosecurity_falco_host_cpu_usage_ratio", Gauge, "", "falco.host_cpu_usage_perc", Ratio, Resources, "share of the host's CPU time that was not idle since the sensor's start"),
    row("falcosecurity_falco_host_memory_used_bytes", Gauge, "", "falco.host_memory_used_kb", Bytes, Resources, "memory of the host that is not available"),
    row("falcosecurity_falco_host_procs_running_total", Gauge, "", "falco.host_procs_running", Plain, Resources, "runnable tasks of the host"),
    row("falcosecurity_falco_host_open_fds_total", Gauge, "", "falco.host_open_fds", Plain, Resources, "open files of the host"),
    row("falcosecurity_scap_n_threads_total", Gauge, "", "scap.n_threads", Plain, State, "threads the module keeps an identity of"),
    row("falcosecurity_scap_n_drops_full_threadtable_total", Counter, "", "scap.n_drops_full_threadtable", Plain, State, "identities of threads that could not be stored"),
    row("falco_sensor_images", Gauge, "", "falco_sensor.images", Plain, State, "program images the module keeps"),
    row("falco_sensor_task_records_total", Counter, "", "falco_sensor.task_records", Plain, State, "descriptions of tasks sent"),
    row("falco_sensor_exec_records_total", Counter, "", "falco_sensor.exec_records", Plain, State, "descriptions of program images sent"),
    row("falco_sensor_events_without_task_total", Counter, "", "falco_sensor.events_without_task", Plain, State, "events whose task was not known to the loop"),
    row("falco_sensor_broken_records_total", Counter, "", "falco_sensor.broken_records", Plain, State, "records that contradicted themselves, and places that could not be read"),
    row("falcosecurity_scap_n_evts_total", Counter, "", "scap.n_evts", Plain, Kernel, "events of all CPUs, the lost ones included"),
    row("falcosecurity_scap_n_drops_total", Counter, "", "scap.n_drops", Plain, Kernel, "lost events"),
    row("falcosecurity_scap_n_preemptions_total", Counter, "", "scap.n_preemptions", Plain, Kernel, "events lost because a probe interrupted a probe"),
    row("falco_sensor_drops_total", Counter, "cause", "falco_sensor.drops_{}", Plain, Kernel, "lost events by cause"),
    row("falco_sensor_filtered_total", Counter, "reason", "falco_sensor.filtered_{}", Plain, Kernel, "calls that were not sent: no rule can match in that task (mask), with those arguments and that result (call), or with those paths or that descriptor (object); or the sensor's own (self)"),
    row("falco_sensor_wakeups_total", Counter, "", "falco_sensor.wakeups", Plain, Kernel, "times a loop was woken"),
    row("falco_sensor_faults_total", Counter, "", "falco_sensor.faults", Plain, Kernel, "values that could not be read from the memory of a program"),
    row("falco_sensor_truncated_total", Counter, "", "falco_sensor.truncated", Plain, Kernel, "values cut at their limit"),
    row("falcosecurity_scap_n_evts_cpu_total", Counter, "cpu", "scap.n_evts_cpu_{}", Plain, PerCpu, "events of a CPU, the lost ones included"),
    row("falcosecurity_scap_n_drops_cpu_total", Counter, "cpu", "scap.n_drops_cpu_{}", Plain, PerCpu, "lost events of a CPU"),
    row("falco_sensor_drops_cpu_total", Counter, "cpu,cause", "", Plain, PerCpu, "lost events of a CPU by cause"),
    row("falco_sensor_filtered_cpu_total", Counter, "cpu", "falco_sensor.filtered_cpu_{}", Plain, PerCpu, "calls of a CPU that were not sent because no rule can match them"),
    row("falco_sensor_ring_used_bytes", Gauge, "cpu", "", Plain, PerCpu, "bytes in the ring of a CPU that its loop has not read"),
    row("falco_sensor_ring_size_bytes", Gauge, "cpu", "", Plain, PerCpu, "bytes of the ring of a CPU"),
];

/// The row of a metric's name for Prometheus.
pub fn find(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_good() {
        for (at, row) in ROWS.iter().enumerate() {
            assert!(ROWS[..at].iter().all(|other| other.name != row.name), "{}", row.name);
            assert!(
                row.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{}",
                row.name
            );
            // Falco's gauges may end in it as well.
            assert!(row.kind == Gauge || row.name.ends_with("_total"), "{}", row.name);
            assert!(row.name.starts_with("falcosecurity_") || row.name.starts_with("falco_sensor_"), "{}", row.name);
            assert!(crate::sensor::config::keys::find(row.group.key()).is_some());
            assert!(!row.help.is_empty() && !row.help.contains(['\n', '\\']));
        }
    }
}
