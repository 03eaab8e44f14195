//! What the outputs that call a function in a Kubernetes cluster have in common: the function's service, or a way to it
//! through the API server. Not an output.

use super::http::{Payload, Request, endpoint};
use super::kubernetes::Cluster;
use super::{Context, Failure};
use crate::hub::alert::Alert;
use reqwest::Client;
use std::sync::Arc;

/// Calls with the whole alert.
pub struct Function {
    url: String,
    cluster: Option<Cluster>,
    pub headers: Vec<(String, String)>,
    /// Header that carries the alert's uuid.
    pub id: Option<&'static str>,
}

/// A service of the cluster.
pub struct Service<'s> {
    pub namespace: &'s str,
    pub name: &'s str,
    /// Its name in the cluster's network.
    pub host: String,
    pub port: i64,
}

impl Function {
    /// `path` begins with a slash.
    pub fn new(context: &Context, service: &Service, path: &str) -> Result<Function, String> {
        let Service { namespace, name, host, port } = service;
        let (url, cluster) = match context.settings.text("kubeconfig") {
            "" => (endpoint(&format!("http://{host}:{port}{path}"))?, None),
            _ => {
                let cluster = Cluster::new(context)?;
                let url =
                    format!("{}/api/v1/namespaces/{namespace}/services/{name}:{port}/proxy{path}", cluster.server);
                (url, Some(cluster))
            }
        };
        Ok(Function { url, cluster, headers: Vec::new(), id: None })
    }
}

impl Payload for Function {
    fn requests(&self, alerts: &[Arc<Alert>]) -> Result<Vec<Request>, Failure> {
        let request = |alert: &Arc<Alert>| {
            let mut request = Request::post(&*self.url, alert.body()).headers(&self.headers);
            if let Some(name) = self.id {
                request = request.header(name, &*alert.uuid);
            }
            match &self.cluster {
                Some(cluster) => cluster.authorized(request),
                None => request,
            }
        };
        Ok(alerts.iter().map(request).collect())
    }

    fn client(&self) -> Option<Client> {
        Some(self.cluster.as_ref()?.client.clone())
    }
}
