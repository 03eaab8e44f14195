//! Kubeless: a function is called with each alert. The project is archived; its functions are plain services.

use super::function::{Function, Service};
use super::http::Payload;
use super::{Context, Kind, Work};
use crate::hub::config::keys::{HTTP, Key};

pub const KIND: Kind = Kind {
    section: "kubeless",
    label: "Kubeless",
    destination: "kubeless",
    category: "FaaS",
    meaning: "A call of a function with each alert as JSON, as an event of type falco.",
    required: &["namespace", "function"],
    keys: &[
        &[
            Key::text("namespace", "", "namespace of the function"),
            Key::text("function", "", "name of the function"),
            Key::int("port", "8080", "port of its service"),
            Key::text("kubeconfig", "", "kubeconfig, where the hub does not run in the cluster"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let (namespace, name) = (settings.text("namespace"), settings.text("function"));
    let host = format!("{name}.{namespace}.svc.cluster.local");
    let service = Service { namespace, name, host, port: settings.int("port") };
    let mut function = Function::new(context, &service, "/")?;
    function.id = Some("event-id");
    function.headers = [("event-type", "falco"), ("event-namespace", namespace)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    Ok(Box::new(function))
}
