//! n8n: each alert to a webhook node.

use super::http::{Payload, endpoint};
use super::whole::Whole;
use super::{Context, Kind, Work};
use crate::hub::config::keys::{HTTP, Key};

pub const KIND: Kind = Kind {
    section: "n8n",
    label: "n8n",
    destination: "n8n",
    category: "workflow",
    meaning: "Each alert as JSON, to a webhook of a workflow.",
    required: &["address"],
    keys: &[
        &[
            Key::text("address", "", "address of the webhook"),
            Key::text("user", "", "user of Basic authentication"),
            Key::secret("password", "its password"),
            Key::text("headerauthname", "", "name of a header that authenticates"),
            Key::secret("headerauthvalue", "its value"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let header = (settings.text("headerauthname").to_owned(), settings.text("headerauthvalue").to_owned());
    Ok(Box::new(Whole {
        url: endpoint(settings.text("address"))?,
        user: settings.text("user").to_owned(),
        password: settings.text("password").to_owned(),
        headers: if header.0.is_empty() || header.1.is_empty() { Vec::new() } else { vec![header] },
    }))
}
