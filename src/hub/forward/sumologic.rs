//! Sumo Logic: each alert to a hosted HTTP collector.

use super::http::{Payload, endpoint};
use super::whole::Whole;
use super::{Context, Kind, Work};
use crate::hub::config::keys::{HTTP, Key};

pub const KIND: Kind = Kind {
    section: "sumologic",
    label: "SumoLogic",
    destination: "sumologic",
    category: "logs",
    meaning: "Each alert as JSON, to an HTTP source.",
    required: &["receiverurl"],
    keys: &[
        &[
            Key::secret("receiverurl", "address of the HTTP source"),
            Key::text("sourcecategory", "", "category of the source, where it is not its own"),
            Key::text("sourcehost", "", "host of the source, where it is not its own"),
            Key::text("name", "", "name of the source, where it is not its own"),
        ],
        HTTP,
    ],
    shared: &[],
    work: Work::Http(make),
};

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    let headers = [("X-Sumo-Category", "sourcecategory"), ("X-Sumo-Host", "sourcehost"), ("X-Sumo-Name", "name")];
    let headers = headers.map(|(header, key)| (header.to_owned(), settings.text(key).to_owned()));
    Ok(Box::new(Whole {
        url: endpoint(settings.text("receiverurl"))?,
        headers: headers.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
        ..Whole::default()
    }))
}
