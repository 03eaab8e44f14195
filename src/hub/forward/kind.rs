//! A row of the table of outputs.

use super::Forward;
use super::http::{Http, Payload};
use crate::hub::config::Section;
use crate::hub::config::keys::Key;
use crate::hub::metrics::Counts;
use crate::hub::tls::Tls;
use std::sync::Arc;

pub struct Kind {
    /// Its section in the configuration, and its name on the command line.
    pub section: &'static str,
    /// What it is called in messages.
    pub label: &'static str,
    /// Label `destination` of Falcosidekick's metrics.
    pub destination: &'static str,
    pub category: &'static str,
    /// One sentence: where alerts go and in which form.
    pub meaning: &'static str,
    /// The keys that enable it when all are set.
    pub required: &'static [&'static str],
    /// Tables of keys below the section. What every instance has ([`keys::INSTANCE`](crate::hub::config::keys::INSTANCE))
    /// need not be named.
    pub keys: &'static [&'static [Key]],
    /// Keys shared with other kinds, by their whole path (`aws.region`).
    pub shared: &'static [Key],
    pub work: Work,
}

/// What a kind does.
#[derive(Clone, Copy)]
pub enum Work {
    /// Alerts are sent as requests over HTTP.
    Http(fn(&Context) -> Result<Box<dyn Payload>, String>),
    /// Alerts are sent in another way.
    Forward(fn(&Context) -> Result<Box<dyn Forward>, String>),
    /// Not alerts but the hub's counters are sent.
    Counts(fn(&Context) -> Result<Box<dyn Counts>, String>),
    /// Others come and ask; there is nothing to send.
    Asked,
    /// The service is no more, and why.
    Discontinued(&'static str),
}

impl Kind {
    /// Whether alerts are sent, so that there are instances with cursors.
    pub fn forwards(&self) -> bool {
        matches!(self.work, Work::Http(_) | Work::Forward(_))
    }

    /// The output for an instance; `None` when this kind sends no alerts.
    pub fn forward(&self, context: &Context) -> Option<Result<Box<dyn Forward>, String>> {
        match self.work {
            Work::Http(make) => {
                let payload = make(context);
                Some(payload.and_then(|payload| Ok(Box::new(Http::new(payload, context)?) as Box<dyn Forward>)))
            }
            Work::Forward(make) => Some(make(context)),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.section)
    }
}

/// What an output is made from.
pub struct Context<'c> {
    pub settings: &'c Section,
    /// Keys that belong to no output.
    pub core: &'c Section,
    pub tls: &'c Arc<Tls>,
    /// What the enabled outputs are called.
    pub enabled: &'c [&'static str],
}
