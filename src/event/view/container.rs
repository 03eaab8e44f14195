//! Where: container.* and k8s.*.
//!
//! Id, kind and pod are known from control groups and namespaces alone. What only the runtime knows (image, labels, mounts) has a
//! value where events tell it: those of captures.

use super::{Payload, View, answer};
use crate::enrich::runtime::{Described, Mount};
use crate::event::arena_text::ArenaText;
use crate::event::value::{FieldArg, Value};
use bumpalo::Bump;
use regex::RegexBuilder;
use std::collections::BTreeMap;

/// The text of every field for a process of the host.
const HOST: &[u8] = b"host";

/// A text that was told; an empty one was not.
fn text(text: &str) -> Option<Value<'_>> {
    (!text.is_empty()).then_some(Value::Str(text.as_bytes()))
}

/// What the container's runtime told of it.
fn told<'a, P: Payload>(ev: &'a View<'_, P>) -> Option<&'a Described> {
    P::described(ev, ev.task?.cgroups().container_id()?)
}

/// A text about the image. The host has an empty one, which rules compare with names of images.
fn image<'a, P: Payload>(ev: &'a View<'_, P>, of: impl FnOnce(&'a Described) -> &'a str) -> Option<Value<'a>> {
    if ev.task?.cgroups().container_kind().is_none() { Some(Value::Str(b"")) } else { text(of(told(ev)?)) }
}

/// A text of the container itself, else of its pod's sandbox; only in pods.
fn of_pod<'a, P: Payload>(ev: &'a View<'_, P>, of: impl Fn(&'a Described) -> &'a str) -> Option<Value<'a>> {
    let own = told(ev)?;
    if own.sandbox_id().is_empty() {
        return None;
    }
    text(of(own)).or_else(|| text(of(P::described(ev, own.short_sandbox_id().as_bytes())?)))
}

/// The mount of an index, or the first of which `by` matches a regular expression as a whole.
fn mount<'a, P: Payload>(ev: &'a View<'_, P>, arg: &FieldArg, by: impl Fn(&Mount) -> &str) -> Option<&'a Mount> {
    /// Memory that a compiled expression may take.
    const EXPRESSION: usize = 1 << 20;
    let mounts = &told(ev)?.mounts;
    match arg {
        FieldArg::None => None,
        FieldArg::Index(at) => mounts.get(*at as usize),
        FieldArg::Key(expression) => {
            let whole = RegexBuilder::new(&format!("^(?:{expression})$")).size_limit(EXPRESSION).build().ok()?;
            mounts.iter().find(|mount| whole.is_match(by(mount)))
        }
    }
}

fn key(arg: &FieldArg) -> Option<&str> {
    match arg {
        FieldArg::Key(key) => Some(key),
        _ => None,
    }
}

/// Mounts, each with a comma before the next; None when there are none.
fn mounts<'a>(all: &[Mount], arena: &'a Bump) -> Option<Value<'a>> {
    let mut out = ArenaText::new(arena);
    for (at, Mount { source, destination, mode, writable, propagation }) in all.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        out.push_fmt(format_args!("{comma}{source}:{destination}:{mode}:{writable}:{propagation}"));
    }
    (!all.is_empty()).then(|| Value::Str(out.finish()))
}

/// All labels but those that are the runtime's own; None when there are none.
fn labels<'a>(all: &BTreeMap<String, String>, arena: &'a Bump) -> Option<Value<'a>> {
    let mut out = ArenaText::new(arena);
    for (name, value) in all.iter().filter(|(n, _)| !n.starts_with("io.kubernetes.") && !n.starts_with("annotation.")) {
        let comma = if out.as_bytes().is_empty() { "" } else { ", " };
        out.push_fmt(format_args!("{comma}{name}:{value}"));
    }
    let out = out.finish();
    (!out.is_empty()).then_some(Value::Str(out))
}

answer! {
    /// container.*, k8s.*; missing without a task.
    fn extract(ev, field, arena) {
        "container.id" => Some(Value::Str(ev.task?.cgroups().container_id().unwrap_or(HOST))),
        "container.name" => {
            told(ev).and_then(|c| text(&c.name)).or(Some(Value::Str(ev.task?.cgroups().container_id().unwrap_or(HOST))))
        },
        "container.full_id" => Some(Value::Str(ev.task?.cgroups().container_full_id().unwrap_or(HOST))),
        "container.type" => match told(ev).and_then(Described::kind) {
            Some(kind) => text(kind),
            None => Some(Value::Str(ev.task?.cgroups().container_kind().map_or(HOST, |kind| kind.name().as_bytes()))),
        },
        "container.start_ts" => {
            let task = ev.task?;
            task.cgroups().container_kind()?;
            (task.head.vpid != task.head.pid).then_some(())?;
            ev.host.clock.wall_of_boot(task.head.pidns_init_start).map(Value::U64)
        },
        "container.duration" => {
            let task = ev.task?;
            task.cgroups().container_kind()?;
            (task.head.vpid != task.head.pid).then_some(())?;
            let start = ev.host.clock.wall_of_boot(task.head.pidns_init_start)?;
            Some(Value::U64(ev.time().saturating_sub(start)))
        },
        "container.image" => image(ev, |c| &c.image),
        "container.image.id" => image(ev, |c| &c.image_id),
        "container.image.repository" => image(ev, |c| &c.image_repository),
        "container.image.tag" => image(ev, |c| &c.image_tag),
        "container.image.digest" => image(ev, |c| &c.image_digest),
        "container.privileged" => told(ev)?.privileged.map(Value::Bool),
        "container.host_pid" => told(ev)?.host_pid.map(Value::Bool),
        "container.host_network" => told(ev)?.host_network.map(Value::Bool),
        "container.host_ipc" => told(ev)?.host_ipc.map(Value::Bool),
        "container.mounts" => mounts(&told(ev)?.mounts, arena),
        "container.mount" => mounts(std::slice::from_ref(mount(ev, &field.arg, |m| &m.source)?), arena),
        "container.mount.source" => text(&mount(ev, &field.arg, |m| &m.destination)?.source),
        "container.mount.dest" => text(&mount(ev, &field.arg, |m| &m.source)?.destination),
        "container.mount.mode" => text(&mount(ev, &field.arg, |m| &m.source)?.mode),
        "container.mount.rdwr" => text(if mount(ev, &field.arg, |m| &m.source)?.writable { "true" } else { "false" }),
        "container.mount.propagation" => text(&mount(ev, &field.arg, |m| &m.source)?.propagation),
        "container.ip" => text(&told(ev)?.ip),
        "container.cni.json" => text(&told(ev)?.cni_json),
        "container.label" => text(told(ev)?.label(key(&field.arg)?)?),
        "container.labels" => labels(&told(ev)?.labels, arena),
        "k8s.pod.uid" | "k8s.pod.id" => {
            let of_label = told(ev).and_then(|c| text(c.label("io.kubernetes.pod.uid")?));
            of_label.or_else(|| ev.task?.cgroups().pod_uid().map(Value::Str))
        },
        "k8s.pod.name" => text(told(ev)?.label("io.kubernetes.pod.name")?),
        "k8s.ns.name" => text(told(ev)?.label("io.kubernetes.pod.namespace")?),
        "k8s.pod.sandbox_id" => text(told(ev)?.short_sandbox_id()),
        "k8s.pod.full_sandbox_id" => text(told(ev)?.sandbox_id()),
        "k8s.pod.label" => text(told(ev)?.pod_sandbox_labels.get(key(&field.arg)?)?),
        "k8s.pod.labels" => labels(&told(ev)?.pod_sandbox_labels, arena),
        "k8s.pod.ip" => of_pod(ev, |c| &c.ip),
        "k8s.pod.cni.json" => of_pod(ev, |c| &c.cni_json),
        // Removed from Falco too; the names stay so that rules load.
        "container.healthcheck" | "container.liveness_probe" | "container.readiness_probe"
            | "proc.is_container_healthcheck" | "proc.is_container_liveness_probe"
            | "proc.is_container_readiness_probe" | "k8s.rc.name" | "k8s.rc.id" | "k8s.rc.label" | "k8s.rc.labels"
            | "k8s.svc.name" | "k8s.svc.id" | "k8s.svc.label" | "k8s.svc.labels" | "k8s.ns.id" | "k8s.ns.label"
            | "k8s.ns.labels" | "k8s.rs.name" | "k8s.rs.id" | "k8s.rs.label" | "k8s.rs.labels"
            | "k8s.deployment.name" | "k8s.deployment.id" | "k8s.deployment.label" | "k8s.deployment.labels" => None,
    }
}
