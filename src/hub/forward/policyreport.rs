//! Policy reports: alerts as results of a PolicyReport in the namespace they are about, or of a ClusterPolicyReport.
//!
//! A report is read, changed and written again with the version that was read; when somebody else was quicker, it is tried
//! again. A result carries its alert's uuid, so that a repetition adds nothing.

use super::http::{Answer, Request, outcome, send};
use super::kubernetes::Cluster;
use super::{Context, Failure, Forward, Kind, Work};
use crate::hub::alert::{Alert, Priority};
use crate::hub::config::keys::Key;
use crate::hub::json::go;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;

pub const KIND: Kind = Kind {
    section: "policyreport",
    label: "PolicyReport",
    destination: "policyreport",
    category: "Kubernetes",
    meaning: "A result of a policy report for each alert of the sources syscall and k8s_audit; others are left out.",
    required: &["enabled"],
    keys: &[&[
        Key::flag("enabled", "false", "write reports"),
        Key::text("kubeconfig", "", "kubeconfig, where the hub does not run in the cluster"),
        Key::int("maxevents", "1000", "results of a report; the oldest go"),
        Key::flag("prunebypriority", "false", "of those, the least severe go first"),
        Key::text("falconamespace", "", "namespace of reports whose own is not there; the hub's when empty"),
    ]],
    shared: &[],
    work: Work::Forward(make),
};

const API: &str = "wgpolicyk8s.io/v1alpha2";

struct PolicyReport {
    cluster: Cluster,
    most: usize,
    by_priority: bool,
    fallback: String,
}

fn make(context: &Context) -> Result<Box<dyn Forward>, String> {
    let settings = context.settings;
    let cluster = Cluster::new(context)?;
    let fallback = settings.text_or("falconamespace", &cluster.namespace);
    let most = usize::try_from(settings.int("maxevents")).ok().filter(|most| *most > 0);
    let most = most.ok_or("maxevents: it must be 1 or more")?;
    Ok(Box::new(PolicyReport { cluster, most, by_priority: settings.flag("prunebypriority"), fallback }))
}

fn severity(priority: Priority) -> &'static str {
    match priority {
        Priority::Unknown | Priority::Debug | Priority::Informational => "info",
        Priority::Notice => "low",
        Priority::Warning => "medium",
        Priority::Error => "high",
        Priority::Critical | Priority::Alert | Priority::Emergency => "critical",
    }
}

const SEVERITIES: [&str; 5] = ["info", "low", "medium", "high", "critical"];

/// The namespace that an alert is about.
fn namespace(alert: &Alert) -> Option<&str> {
    ["k8s.ns.name", "ka.target.namespace"].into_iter().find_map(|field| alert.field(field)).filter(|n| !n.is_empty())
}

/// The object that an alert is about.
fn resource(alert: &Alert) -> Value {
    let namespace = namespace(alert).unwrap_or_default();
    if let Some(pod) = alert.field("k8s.pod.name") {
        return json!({"apiVersion": "v1", "kind": "Pod", "name": pod, "namespace": namespace});
    }
    match (alert.field("ka.target.resource"), alert.field("ka.target.name")) {
        (Some(kind), Some(name)) => json!({"kind": kind, "name": name, "namespace": namespace}),
        _ => json!({"apiVersion": "v1", "kind": "Namespace", "name": namespace}),
    }
}

fn result(alert: &Alert) -> Value {
    let mut properties: serde_json::Map<_, _> =
        alert.output_fields.iter().map(|(name, value)| (name.clone(), json!(value.to_string()))).collect();
    properties.insert("uuid".to_owned(), json!(alert.uuid));
    let outcome = match alert.priority {
        Priority::Unknown | Priority::Debug | Priority::Informational | Priority::Notice => "skip",
        Priority::Warning => "warn",
        _ => "fail",
    };
    let nanoseconds = alert.time.at.as_nanosecond();
    let mut result = json!({
        "policy": alert.source,
        "rule": alert.rule,
        "category": "SI - System and Information Integrity",
        "source": "Falco",
        "severity": severity(alert.priority),
        "result": outcome,
        "message": alert.output,
        "properties": properties,
        "timestamp": {
            "seconds": nanoseconds.div_euclid(1_000_000_000) as i64, "nanos": nanoseconds.rem_euclid(1_000_000_000) as i64,
        },
    });
    if namespace(alert).is_some() {
        result["resources"] = json!([resource(alert)]);
    }
    result
}

/// How many results there are of each outcome.
fn summary(results: &[Value]) -> Value {
    let count = |outcome: &str| results.iter().filter(|result| result["result"] == outcome).count();
    json!({"pass": 0, "fail": count("fail"), "warn": count("warn"), "error": 0, "skip": count("skip")})
}

impl PolicyReport {
    /// Which result goes when there are too many.
    fn surplus(&self, results: &[Value]) -> usize {
        if !self.by_priority {
            return 0;
        }
        let rank = |result: &Value| SEVERITIES.iter().position(|s| result["severity"] == *s).unwrap_or(0);
        results.iter().enumerate().min_by_key(|(i, result)| (rank(result), *i)).map_or(0, |(i, _)| i)
    }

    /// Adds the alert's result; false when it is there already.
    fn add(&self, report: &mut Value, alert: &Alert) -> bool {
        if !report["results"].is_array() {
            report["results"] = json!([]);
        }
        let Some(results) = report["results"].as_array_mut() else { return false };
        if results.iter().any(|result| result["properties"]["uuid"] == *alert.uuid) {
            return false;
        }
        results.push(result(alert));
        while results.len() > self.most {
            results.remove(self.surplus(results));
        }
        let counted = summary(results);
        report["summary"] = counted;
        true
    }

    async fn ask(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Answer, Failure> {
        let request = Request::post(format!("{}/apis/{API}/{path}", self.cluster.server), body);
        let request = Request { method, ..request.header("Content-Type", "application/json") };
        send(&self.cluster.client, self.cluster.authorized(request)).await
    }

    /// Writes to the report at `path`, of that kind and name.
    async fn write(&self, path: &str, kind: &str, name: &str, alert: &Alert) -> Result<Answer, Failure> {
        let there = self.ask(Method::GET, &format!("{path}/{name}"), Vec::new()).await?;
        if there.status == StatusCode::NOT_FOUND {
            let labels = json!({"app.kubernetes.io/managed-by": "falcosidekick"});
            let mut report = json!({"apiVersion": API, "kind": kind, "metadata": {"name": name, "labels": labels}});
            self.add(&mut report, alert);
            return self.ask(Method::POST, path, go(&report)).await;
        }
        if !there.status.is_success() {
            return Ok(there);
        }
        let mut report: Value = serde_json::from_str(&there.body)
            .map_err(|_| Failure::down("the report that is there is not understood"))?;
        if !self.add(&mut report, alert) {
            return Ok(there);
        }
        self.ask(Method::PUT, &format!("{path}/{name}"), go(&report)).await
    }

    async fn report(&self, alert: &Alert) -> Result<(), Failure> {
        // Falco's plugin says k8s_audit, Falcosidekick looks for k8saudit.
        if !["syscall", "syscalls", "k8s_audit", "k8saudit"].contains(&&*alert.source) {
            return Ok(());
        }
        const NAME: &str = "falco-policy-report";
        let Some(namespace) = namespace(alert) else {
            let name = "falco-cluster-policy-report";
            return judge(&self.write("clusterpolicyreports", "ClusterPolicyReport", name, alert).await?);
        };
        let path = |namespace: &str| format!("namespaces/{}/policyreports", super::aws::uri_encoded(namespace));
        let answer = self.write(&path(namespace), "PolicyReport", NAME, alert).await?;
        // The namespace is not, or no more.
        if answer.status == StatusCode::NOT_FOUND && !self.fallback.is_empty() && self.fallback != namespace {
            return judge(&self.write(&path(&self.fallback), "PolicyReport", NAME, alert).await?);
        }
        judge(&answer)
    }
}

/// A conflict is not the alert's fault.
fn judge(answer: &Answer) -> Result<(), Failure> {
    match answer.status {
        StatusCode::CONFLICT => Err(Failure::down("somebody else changed the report")),
        _ => outcome(answer),
    }
}

#[async_trait::async_trait]
impl Forward for PolicyReport {
    async fn deliver(&self, alerts: &[Arc<Alert>]) -> Vec<Result<(), Failure>> {
        let mut outcomes = Vec::with_capacity(alerts.len());
        for alert in alerts {
            outcomes.push(self.report(alert).await);
        }
        outcomes
    }
}
