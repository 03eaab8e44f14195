//! Tekton: each alert to an event listener, which starts a pipeline.

use super::http::{Payload, endpoint};
use super::whole::Whole;
use super::{Context, Kind, Work};
use crate::hub::config::keys::{HTTP, Key};

pub const KIND: Kind = Kind {
    section: "tekton",
    label: "Tekton",
    destination: "tekton",
    category: "FaaS",
    meaning: "Each alert as JSON, to an EventListener.",
    required: &["eventlistener"],
    keys: &[&[Key::text("eventlistener", "", "address of the EventListener")], HTTP],
    shared: &[],
    work: Work::Http(make),
};

fn make(context: &Context) -> Result<Box<dyn Payload>, String> {
    let settings = context.settings;
    Ok(Box::new(Whole { url: endpoint(settings.text("eventlistener"))?, ..Whole::default() }))
}
