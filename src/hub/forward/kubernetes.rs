//! Reaching a Kubernetes API server: from a pod, or with a kubeconfig. Not an output.
//!
//! Of a kubeconfig the current context is taken: its server, authorities, client certificate, token, user and password.
//! Plugins that fetch credentials (`exec`, `auth-provider`) are not started: the hub runs no programs.

use super::Context;
use super::http::{Request, endpoint};
use crate::hub::tls;
use crate::rules::yaml::{self, Node};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Client;
use std::path::{Path, PathBuf};
use std::time::Duration;

const POD: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

enum Who {
    Nobody,
    Token(String),
    /// Read for each request: tokens of pods are replaced before they end.
    TokenFile(PathBuf),
    Password(String, String),
}

pub struct Cluster {
    /// Address of the API server, without a slash behind.
    pub server: String,
    pub client: Client,
    pub namespace: String,
    who: Who,
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn client(config: rustls::ClientConfig) -> Result<Client, String> {
    Client::builder()
        .tls_backend_preconfigured(config)
        .user_agent("Falcosidekick")
        .connect_timeout(Duration::from_secs(10))
        .build()
        .map_err(|error| error.to_string())
}

impl Cluster {
    /// By the kubeconfig that is named, or from within a pod.
    pub fn new(context: &Context) -> Result<Cluster, String> {
        match context.settings.text("kubeconfig") {
            "" => Cluster::of_the_pod(),
            path => Cluster::of_file(Path::new(path)),
        }
    }

    fn of_the_pod() -> Result<Cluster, String> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (Some(host), Some(port)) = (variable("KUBERNETES_SERVICE_HOST"), variable("KUBERNETES_SERVICE_PORT"))
        else {
            return Err("kubeconfig is not set, and the hub does not run in a pod".to_owned());
        };
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let pod = Path::new(POD);
        let namespace = std::fs::read_to_string(pod.join("namespace")).unwrap_or_default();
        Ok(Cluster {
            server: format!("https://{host}:{port}"),
            client: client(tls::client_of(Some(&read(&pod.join("ca.crt"))?), None, true)?)?,
            namespace: namespace.trim().to_owned(),
            who: Who::TokenFile(pod.join("token")),
        })
    }

    fn of_file(path: &Path) -> Result<Cluster, String> {
        let text = String::from_utf8_lossy(&read(path)?).into_owned();
        Cluster::of_text(&text, path.parent().unwrap_or(Path::new("")))
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    /// `folder`: where relative paths begin.
    fn of_text(text: &str, folder: &Path) -> Result<Cluster, String> {
        let documents = yaml::parse(text).map_err(|error| format!("not valid YAML: {}", error.what))?;
        let root = documents.first().ok_or("it is empty")?;
        let current = value(root, "current-context").ok_or("there is no current-context")?;
        let context = named(root, "contexts", current, "context")?;
        let name = value(context, "cluster").ok_or("the context names no cluster")?;
        let cluster = named(root, "clusters", name, "cluster")?;
        let nobody = Node { mark: yaml::Mark::default(), value: yaml::Yaml::Null };
        let user = match value(context, "user") {
            Some(user) => named(root, "users", user, "user")?,
            None => &nobody,
        };
        for plugin in ["exec", "auth-provider"] {
            if user.get(plugin).is_some() {
                return Err(format!(
                    "the user's credentials come from '{plugin}', which is not supported: use a token"
                ));
            }
        }
        // Inline and base64, or a file.
        let data = |of: &Node, key: &str| -> Result<Option<Vec<u8>>, String> {
            if let Some(inline) = value(of, &format!("{key}-data")) {
                return STANDARD.decode(inline).map(Some).map_err(|_| format!("{key}-data is not base64"));
            }
            value(of, key).map(|path| read(&folder.join(path))).transpose()
        };
        let check = value(cluster, "insecure-skip-tls-verify") != Some("true");
        let authorities = data(cluster, "certificate-authority")?;
        let certificate = match (data(user, "client-certificate")?, data(user, "client-key")?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err("client-certificate and client-key belong together".to_owned()),
        };
        let certificate = certificate.as_ref().map(|(certificate, key)| (&**certificate, &**key));
        let who = match (value(user, "token"), value(user, "tokenFile"), value(user, "username")) {
            (Some(token), ..) => Who::Token(token.to_owned()),
            (None, Some(file), _) => Who::TokenFile(folder.join(file)),
            (None, None, Some(name)) => {
                Who::Password(name.to_owned(), value(user, "password").unwrap_or_default().to_owned())
            }
            (None, None, None) => Who::Nobody,
        };
        let server = value(cluster, "server").ok_or("the cluster has no server")?;
        Ok(Cluster {
            server: endpoint(server.trim_end_matches('/'))?,
            client: client(tls::client_of(authorities.as_deref(), certificate, check)?)?,
            namespace: value(context, "namespace").unwrap_or("default").to_owned(),
            who,
        })
    }

    /// Says who the hub is.
    pub fn authorized(&self, request: Request) -> Request {
        let bearer = |token: &str| format!("Bearer {}", token.trim());
        match &self.who {
            Who::Nobody => request,
            Who::Token(token) => request.header("Authorization", bearer(token)),
            // Without it the server says what is missing.
            Who::TokenFile(path) => match std::fs::read_to_string(path) {
                Ok(token) => request.header("Authorization", bearer(&token)),
                Err(_) => request,
            },
            Who::Password(user, password) => request.basic(user, password),
        }
    }
}

fn value<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    node.get(key)?.text().filter(|text| !text.is_empty())
}

/// In a list of named things, the `inner` of the one of that name.
fn named<'n>(root: &'n Node, list: &str, name: &str, inner: &str) -> Result<&'n Node, String> {
    let items = root.get(list).and_then(Node::sequence).unwrap_or_default();
    let found = items.iter().find(|item| value(item, "name") == Some(name)).and_then(|item| item.get(inner));
    found.ok_or_else(|| format!("there is no '{name}' in {list}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u, namespace: n}}]\n\
        clusters: [{name: k, cluster: {server: 'https://k:6443/', insecure-skip-tls-verify: true}}]\n";

    #[test]
    fn a_kubeconfig() {
        let text = format!("{CONFIG}users: [{{name: u, user: {{token: t}}}}]\n");
        let cluster = Cluster::of_text(&text, Path::new("/")).expect("valid");
        assert_eq!((&*cluster.server, &*cluster.namespace), ("https://k:6443", "n"));
        let request = cluster.authorized(Request::default());
        assert_eq!(request.headers, [("Authorization".to_owned(), "Bearer t".to_owned())]);
    }

    #[test]
    fn what_is_not_understood_is_told() {
        for (users, expected) in [
            ("[{name: u, user: {exec: {command: x}}}]", "'exec', which is not supported"),
            ("[{name: u, user: {client-certificate-data: eA==}}]", "belong together"),
            ("[]", "there is no 'u' in users"),
        ] {
            let text = format!("{CONFIG}users: {users}\n");
            let error = Cluster::of_text(&text, Path::new("/")).err().unwrap_or_default();
            assert!(error.contains(expected), "{users}: {error}");
        }
    }
}
