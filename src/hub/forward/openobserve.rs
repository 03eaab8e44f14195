//! OpenObserve: one record for each alert, through its `_multi` interface, which takes lines of JSON.

use super::http::{Payload, endpoint};
use super::whole::Whole;
use super::{Context, Kind, Work};
use crate::hub::config::keys::{HTTP, Key, Type};

pub const KIND: Kind = Kind {
    section: "openobserve",
    label: "OpenObserve",
    destination: "openobserve",
    category: "logs",
    meaning: "Each alert as a record of a stream.",
    required: &["hostport"],
    keys: &[
        &[
            Key::text("hostport", "", "address: http://host:port"),
            Key::text("organizationname", "default", "name of the organisation"),
            Key::text("streamname", "falco", "name of the stream"),
            Key::text("username", "", "user of Basic authentication"),
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
    let host = settings.text("hostport").trim_end_matches('/');
    let (organization, stream) = (settings.text("organizationname"), settings.text("streamname"));
    Ok(Box::new(Whole {
        url: endpoint(&format!("{host}/api/{organization}/{stream}/_multi"))?,
        user: settings.text("username").to_owned(),
        password: settings.text("password").to_owned(),
        headers: settings.map("customheaders").to_vec(),
    }))
}
