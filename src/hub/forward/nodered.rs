//! Node-RED: each alert to an `http in` node.

use super::http::{Payload, endpoint};
use super::whole::Whole;
use super::{Context, Kind, Work};
use crate::hub::config::keys::{HTTP, Key, Type};

pub const KIND: Kind = Kind {
    section: "nodered",
    label: "NodeRed",
    destination: "nodered",
    category: "workflow",
    meaning: "Each alert as JSON, to an HTTP node of a flow.",
    required: &["address"],
    keys: &[
        &[
            Key::text("address", "", "address of the node"),
            Key::text("user", "", "user of Basic authentication"),
            Key::secret("password", "its password"),
            Key::new("customheaders", Type::Map, "", "further headers"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    Ok(Box::new(Whole {
        url: endpoint(settings.text("address"))?,
        user: settings.text("user").to_owned(),
        password: settings.text("password").to_owned(),
        headers: settings.map("customheaders").to_vec(),
    }))
}
