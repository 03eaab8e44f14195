//! What a container runtime told about containers, as the events of captures carry it: JSON with the keys of Falco's container plugin.
//!
//! Not where the events come from. Invariant: what is kept is bounded; a text that is no such JSON changes nothing.

use hashbrown::HashMap;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// Bytes of JSON that are kept of all containers.
pub const BOUND: usize = 64 << 20;
/// Digits of an id that rules see.
const ID: usize = 12;

/// A container, as its runtime described it. What the runtime did not say is empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Described {
    #[serde(deserialize_with = "or_default")]
    id: String,
    #[serde(rename = "type", deserialize_with = "or_default")]
    kind: Option<u32>,
    #[serde(deserialize_with = "or_default")]
    pub full_id: String,
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub image: String,
    #[serde(rename = "imageid", deserialize_with = "or_default")]
    pub image_id: String,
    #[serde(rename = "imagerepo", deserialize_with = "or_default")]
    pub image_repository: String,
    #[serde(rename = "imagetag", deserialize_with = "or_default")]
    pub image_tag: String,
    #[serde(rename = "imagedigest", deserialize_with = "or_default")]
    pub image_digest: String,
    #[serde(deserialize_with = "or_default")]
    pub privileged: Option<bool>,
    #[serde(deserialize_with = "or_default")]
    pub host_pid: Option<bool>,
    #[serde(deserialize_with = "or_default")]
    pub host_network: Option<bool>,
    #[serde(deserialize_with = "or_default")]
    pub host_ipc: Option<bool>,
    #[serde(rename = "Mounts", deserialize_with = "or_default")]
    pub mounts: Vec<Mount>,
    #[serde(deserialize_with = "or_default")]
    pub ip: String,
    #[serde(deserialize_with = "or_default")]
    pub cni_json: String,
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub is_pod_sandbox: bool,
    #[serde(deserialize_with = "or_default")]
    pod_sandbox_id: String,
    #[serde(deserialize_with = "or_default")]
    pub pod_sandbox_labels: BTreeMap<String, String>,
}

/// A value of another type than it should be is none: the rest of what was said still holds.
fn or_default<'de, D: Deserializer<'de>, T: Default + serde::de::DeserializeOwned>(from: D) -> Result<T, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// A mount of a container.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Mount {
    pub source: String,
    pub destination: String,
    pub mode: String,
    #[serde(rename = "RW")]
    pub writable: bool,
    pub propagation: String,
}

impl Described {
    /// `container.type`, where the runtime is one that has a name.
    pub fn kind(&self) -> Option<&'static str> {
        Some(match self.kind? {
            0 => "docker",
            1 => "lxc",
            2 => "libvirt-lxc",
            3 => "mesos",
            4 => "rkt",
            6 => "cri",
            7 => "containerd",
            8 => "cri-o",
            9 => "bpm",
            11 => "podman",
            _ => return None,
        })
    }

    /// A label; None when the container has none of this name.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    /// The id of its pod's sandbox, in full; empty outside pods.
    pub fn sandbox_id(&self) -> &str {
        if !self.pod_sandbox_id.is_empty() {
            &self.pod_sandbox_id
        } else if self.is_pod_sandbox {
            &self.full_id
        } else {
            self.label("io.kubernetes.sandbox.id").unwrap_or_default()
        }
    }

    /// The same as rules see it.
    pub fn short_sandbox_id(&self) -> &str {
        short(self.sandbox_id())
    }
}

/// The first digits of an id.
fn short(id: &str) -> &str {
    id.get(..ID).unwrap_or(id)
}

/// All containers that were described, by the id that rules see.
#[derive(Debug, Default)]
pub struct Containers {
    all: HashMap<Vec<u8>, (Described, usize)>,
    bytes: usize,
    /// Descriptions that there was no room for.
    pub refused: u64,
}

impl Containers {
    pub fn find(&self, id: &[u8]) -> Option<&Described> {
        self.all.get(id).map(|(described, _)| described)
    }

    /// Takes in `{"container": {...}}`; another description of a container replaces the one before.
    pub fn describe(&mut self, json: &[u8]) {
        let Some(described) = read(json) else { return };
        let id = short(&described.id).as_bytes().to_vec();
        self.forget(&id);
        if self.bytes + json.len() > BOUND {
            self.refused += 1;
            return;
        }
        self.bytes += json.len();
        self.all.insert(id, (described, json.len()));
    }

    /// The same of one that is gone.
    pub fn remove(&mut self, json: &[u8]) {
        if let Some(described) = read(json) {
            self.forget(short(&described.id).as_bytes());
        }
    }

    fn forget(&mut self, id: &[u8]) {
        if let Some((_, bytes)) = self.all.remove(id) {
            self.bytes -= bytes;
        }
    }
}

fn read(json: &[u8]) -> Option<Described> {
    #[derive(Deserialize)]
    struct Outer {
        container: Described,
    }
    let json = &json[..memchr::memchr(0, json).unwrap_or(json.len())];
    let text = String::from_utf8_lossy(json);
    let outer: Outer = serde_json::from_str(&text).ok()?;
    (!outer.container.id.is_empty()).then_some(outer.container)
}
