//! Rules files: reading them ([`load`]), merging their items ([`collect`]), telling what is wrong ([`result`]),
//! describing them ([`describe`]) and choosing which run ([`select`]).
//!
//! Not the condition language (see `filter`). Invariant: a file either loads whole or changes nothing.

pub mod collect;
pub mod describe;
pub mod exceptions;
pub mod item;
pub mod lists;
pub mod load;
pub mod macros;
pub mod output;
mod place;
pub mod require;
pub mod result;
pub mod schema;
pub mod select;
pub mod yaml;

use crate::filter::Tables;
use crate::filter::scheme::Scheme;
pub use item::{PluginVersion, Priority};
pub use load::{LoadedRules, Loader, Rule};
pub use output::OutputAdditions;
pub use result::FileResult;
pub use select::{Selected, Selection, Selector};

/// The version of the rules language spoken here, as rules files require it.
pub const ENGINE_VERSION: &str = "0.63.0";

/// What is built in and counts as a loaded plugin.
pub const BUILT_IN_PLUGINS: &[(&str, &str)] = &[("container", "0.7.1")];

/// What rules are loaded against.
#[derive(Default)]
pub struct Environment<'e> {
    /// Every source that some component provides.
    pub sources: Vec<(&'e str, &'e dyn Scheme)>,
    pub output: OutputAdditions,
    /// How the conditions of what is loaded are decided.
    pub tables: Tables,
}

impl<'e> Environment<'e> {
    /// The system calls of this host and nothing else.
    pub fn syscalls() -> Self {
        static SCHEME: crate::filter::SyscallScheme = crate::filter::SyscallScheme;
        Environment { sources: vec![("syscall", &SCHEME)], ..Environment::default() }
    }

    pub fn scheme(&self, source: &str) -> Option<&'e dyn Scheme> {
        self.sources.iter().find(|(name, _)| *name == source).map(|(_, scheme)| *scheme)
    }
}

/// The plugins loaded when no other is: those built in.
pub fn built_in_plugins() -> Vec<PluginVersion> {
    BUILT_IN_PLUGINS
        .iter()
        .filter_map(|(name, version)| {
            Some(PluginVersion { name: (*name).to_owned(), version: semver::Version::parse(version).ok()? })
        })
        .collect()
}
