//! OpenFaaS: a function is called with each alert, through the gateway.

use super::function::{Function, Service};
use super::http::Payload;
use super::{Context, Kind, Work};
use crate::hub::config::keys::{HTTP, Key};

pub const KIND: Kind = Kind {
    section: "openfaas",
    label: "OpenFaaS",
    destination: "openfaas",
    category: "FaaS",
    meaning: "A call of a function with each alert as JSON.",
    required: &["functionname"],
    keys: &[
        &[
            Key::text("functionname", "", "name of the function"),
            Key::text("functionnamespace", "openfaas-fn", "its namespace"),
            Key::text("gatewayservice", "gateway", "service of the gateway"),
            Key::text("gatewaynamespace", "openfaas", "its namespace"),
            Key::int("gatewayport", "8080", "its port"),
            Key::text("kubeconfig", "", "kubeconfig, where the hub does not run in the cluster"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let (namespace, name) = (settings.text("gatewaynamespace"), settings.text("gatewayservice"));
    let service = Service { namespace, name, host: format!("{name}.{namespace}"), port: settings.int("gatewayport") };
    let path = format!("/function/{}.{}", settings.text("functionname"), settings.text("functionnamespace"));
    Ok(Box::new(Function::new(context, &service, &path)?))
}
