//! Falco Talon: each alert to the response engine.

use super::http::{Payload, endpoint};
use super::whole::Whole;
use super::{Context, Kind, Work};
use crate::hub::config::keys::{HTTP, Key};

pub const KIND: Kind = Kind {
    section: "talon",
    label: "Talon",
    destination: "talon",
    category: "FaaS",
    meaning: "Each alert as JSON, to Falco Talon.",
    required: &["address"],
    keys: &[&[Key::text("address", "", "address of Talon: http://host:2803")], HTTP],
    shared: &[],
    work: Work::Http(make),
};

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    Ok(Box::new(Whole { url: endpoint(settings.text("address"))?, ..Whole::default() }))
}
