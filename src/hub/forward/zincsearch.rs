//! ZincSearch: one document for each alert.

use super::http::{Payload, endpoint};
use super::whole::Whole;
use super::{Context, Kind, Work};
use crate::hub::config::keys::{HTTP, Key};

pub const KIND: Kind = Kind {
    section: "zincsearch",
    label: "Zincsearch",
    destination: "zincsearch",
    category: "logs",
    meaning: "Each alert as a document of an index.",
    required: &["hostport"],
    keys: &[
        &[
            Key::text("hostport", "", "address: http://host:port"),
            Key::text("index", "falco", "name of the index"),
            Key::text("username", "", "user of Basic authentication"),
            Key::secret("password", "its password"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let host = settings.text("hostport").trim_end_matches('/');
    Ok(Box::new(Whole {
        url: endpoint(&format!("{host}/api/{}/_doc", settings.text("index")))?,
        user: settings.text("username").to_owned(),
        password: settings.text("password").to_owned(),
        ..Whole::default()
    }))
}
