//! Where: container.* and k8s.*.
//!
//! Known from control groups and namespaces alone. What only the runtime knows (image, labels, mounts) has no value
//! until it is asked.

use super::answer;
use crate::event::value::Value;

/// The text of every field for a process of the host.
const HOST: &[u8] = b"host";

answer! {
    /// container.*, k8s.*; missing without a task.
    fn extract(ev, _field, _arena) {
        "container.id" | "container.name" => Some(Value::Str(ev.task?.container_id().unwrap_or(HOST))),
        "container.full_id" => Some(Value::Str(ev.task?.container_full_id().unwrap_or(HOST))),
        "container.type" => Some(Value::Str(ev.task?.container_kind().map_or(HOST, |kind| kind.name().as_bytes()))),
        "container.start_ts" => {
            let task = ev.task?;
            task.container_kind()?;
            (task.head.vpid != task.head.pid).then_some(())?;
            ev.host.clock.wall_of_boot(task.head.pidns_init_start).map(Value::U64)
        },
        "container.duration" => {
            let task = ev.task?;
            task.container_kind()?;
            (task.head.vpid != task.head.pid).then_some(())?;
            let start = ev.host.clock.wall_of_boot(task.head.pidns_init_start)?;
            Some(Value::U64(ev.time().saturating_sub(start)))
        },
        "k8s.pod.uid" | "k8s.pod.id" => ev.task?.pod_uid().map(Value::Str),
        // The host has no image, which rules compare with names of images.
        "container.image" | "container.image.id" | "container.image.repository" | "container.image.tag"
            | "container.image.digest" => {
            if ev.task?.container_kind().is_none() { Some(Value::Str(b"")) } else { None }
        },
        "container.privileged" | "container.mounts" | "container.mount"
            | "container.mount.source" | "container.mount.dest" | "container.mount.mode" | "container.mount.rdwr"
            | "container.mount.propagation" | "container.ip" | "container.cni.json" | "container.host_pid"
            | "container.host_network" | "container.host_ipc" | "container.label" | "container.labels"
            | "k8s.pod.name" | "k8s.ns.name" | "k8s.pod.sandbox_id" | "k8s.pod.full_sandbox_id" | "k8s.pod.label"
            | "k8s.pod.labels" | "k8s.pod.ip" | "k8s.pod.cni.json" => None,
        // Removed from Falco too; the names stay so that rules load.
        "container.healthcheck" | "container.liveness_probe" | "container.readiness_probe"
            | "proc.is_container_healthcheck" | "proc.is_container_liveness_probe"
            | "proc.is_container_readiness_probe" | "k8s.rc.name" | "k8s.rc.id" | "k8s.rc.label" | "k8s.rc.labels"
            | "k8s.svc.name" | "k8s.svc.id" | "k8s.svc.label" | "k8s.svc.labels" | "k8s.ns.id" | "k8s.ns.label"
            | "k8s.ns.labels" | "k8s.rs.name" | "k8s.rs.id" | "k8s.rs.label" | "k8s.rs.labels"
            | "k8s.deployment.name" | "k8s.deployment.id" | "k8s.deployment.label" | "k8s.deployment.labels" => None,
    }
}
