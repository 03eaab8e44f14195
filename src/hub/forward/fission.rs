//! Fission: a function is called with each alert, through the router.

use super::function::{Function, Service};
use super::http::Payload;
use super::{Context, Kind, Work};
use crate::hub::config::keys::{HTTP, Key};

pub const KIND: Kind = Kind {
    section: "fission",
    label: "Fission",
    destination: "Fission",
    category: "FaaS",
    meaning: "A call of a function with each alert as JSON.",
    required: &["function"],
    keys: &[
        &[
            Key::text("function", "", "name of the function"),
            Key::text("routerservice", "router", "service of the router"),
            Key::text("routernamespace", "fission", "its namespace"),
            Key::int("routerport", "80", "its port"),
            Key::text("kubeconfig", "", "kubeconfig, where the hub does not run in the cluster"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let (namespace, name) = (settings.text("routernamespace"), settings.text("routerservice"));
    let host = format!("{name}.{namespace}.svc.cluster.local");
    let service = Service { namespace, name, host, port: settings.int("routerport") };
    let mut function = Function::new(context, &service, &format!("/fission-function/{}", settings.text("function")))?;
    function.id = Some("event-id");
    Ok(Box::new(function))
}
