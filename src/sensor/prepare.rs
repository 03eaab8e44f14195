//! From the command line to what runs, as often as that is asked for: at the start, and whenever files are to be read again.
//!
//! Nothing here changes what runs already. What was read is kept with its hashes, so that a later look tells whether it would be read
//! differently now. Invariant: a file is hashed before it is read for use, so a change that comes between is seen, never missed.

use super::config::{self, Config, Loaded};
use super::log::{self, Level};
use super::options::Options;
use super::plan::{self, Plan};
use super::run::hostname;
use crate::event::statics;
use crate::output::alert::Style;
use crate::rules::{Environment, LoadedRules};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Everything that a reload replaces.
pub struct Prepared {
    pub config: Config,
    pub plan: Plan,
    pub style: Style,
}

/// The files that configuration and rules come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    pub config: Vec<Hashed>,
    pub rules: Vec<Hashed>,
    /// Files and folders as they were named, there or not: what appears in them belongs to the inputs as well.
    pub named: Vec<PathBuf>,
}

/// A file, and the SHA-256 of its content in hexadecimal digits; empty when it could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashed {
    pub path: PathBuf,
    pub sha256: String,
}

impl Hashed {
    fn all(paths: &[PathBuf]) -> Vec<Hashed> {
        let hash = |path: &PathBuf| {
            let digest = std::fs::read(path).map(Sha256::digest).ok();
            digest.iter().flatten().map(|byte| format!("{byte:02x}")).collect()
        };
        paths.iter().map(|path| Hashed { path: path.clone(), sha256: hash(path) }).collect()
    }
}

impl Inputs {
    /// The first file that has changed, appeared or gone since.
    pub fn changed(&self, options: &Options) -> Option<PathBuf> {
        let read = |files: &[Hashed]| Hashed::all(&files.iter().map(|file| file.path.clone()).collect::<Vec<_>>());
        let differs = |old: &[Hashed], new: &[Hashed]| {
            old.iter().chain(new).find(|file| !old.contains(file) || !new.contains(file)).map(|file| file.path.clone())
        };
        if let Some(path) =
            differs(&self.config, &read(&self.config)).or_else(|| differs(&self.rules, &read(&self.rules)))
        {
            return Some(path);
        }
        // The same files in other folders: what has appeared, or gone.
        let main = self.config.first()?;
        let now = Inputs::of(options, &configuration(options, &main.path).ok()?);
        differs(&self.config, &now.config).or_else(|| differs(&self.rules, &now.rules))
    }

    fn of(options: &Options, loaded: &Loaded) -> Inputs {
        let rules = rules_files(options, &loaded.config).unwrap_or_default();
        let named_rules = if options.rules.is_empty() { &loaded.config.rules_files } else { &options.rules };
        Inputs {
            config: Hashed::all(&loaded.files),
            rules: Hashed::all(&rules),
            named: loaded.named.iter().chain(named_rules).cloned().collect(),
        }
    }
}

/// The configuration in `file`, as the command line changes it.
pub fn configuration(options: &Options, file: &Path) -> Result<Loaded, String> {
    let mut loaded = config::load(file, &options.overrides).map_err(|e| e.to_string())?;
    if options.verbose {
        loaded.config.log_level = Level::Debug as usize;
    }
    if options.unbuffered {
        loaded.config.buffered = false;
    }
    Ok(loaded)
}

/// Says what is worth saying of a configuration.
pub fn remark(loaded: &Loaded) {
    for warning in loaded.schema.iter().chain(&loaded.warnings) {
        log::write(Level::Warning, format_args!("{warning}"));
    }
    for info in &loaded.infos {
        log::write(Level::Info, format_args!("{info}"));
    }
}

/// What rules are loaded against.
pub fn environment(options: &Options, config: &Config) -> Environment<'static> {
    Environment { tables: options.match_tables, ..plan::environment(config, options.print.as_deref()) }
}

/// The rules files to load.
pub fn rules_files(options: &Options, config: &Config) -> Result<Vec<PathBuf>, String> {
    let files = if options.rules.is_empty() { config.rules_paths() } else { plan::rules_files(&options.rules)? };
    if files.is_empty() {
        return Err("no rules: none of the files of rules_files exists. You must specify at least one rules file: in \
                    rules_files, or with -r"
            .to_owned());
    }
    Ok(files)
}

/// Loads rules; what is to be said about them is logged.
pub fn load_rules(files: &[PathBuf], environment: &Environment<'_>) -> Result<LoadedRules, String> {
    let (results, rules) = plan::load_rules(files, environment);
    for result in &results {
        if result.successful() && result.has_warnings() {
            log::write(Level::Warning, format_args!("{}", result.text(true).trim_end()));
        } else if result.successful() {
            log::write(Level::Debug, format_args!("{}", result.text(false).trim_end()));
        }
    }
    let failed = results.iter().find(|r| !r.successful());
    rules.map_err(|why| failed.map_or(why, |result| result.text(true).trim_end().to_owned()))
}

/// Compiles what runs.
pub fn prepare(options: &Options, config: Config, rules: &LoadedRules) -> Result<Prepared, String> {
    let style = plan::style(&config, hostname());
    let mut plan = plan::plan(&config, rules, &style)?;
    if options.record.is_some() {
        plan.capture_also(|call| config.base_syscalls.all || !call.ignored_by_default);
    }
    Ok(Prepared { config, plan, style })
}

/// Says what runs.
pub fn announce(plan: &Plan) {
    for warning in &plan.warnings {
        log::write(Level::Warning, format_args!("{warning}"));
    }
    let (running, all, calls) = (plan.forms.iter().flatten().count(), plan.forms.len(), plan.captured.len());
    log::write(Level::Info, format_args!("{running} of {all} rules run, {calls} system calls are captured"));
    log::write(Level::Debug, format_args!("captured: {}", plan.captured.join(" ")));
}

/// The files that would be read now. For the first reading: later ones have [`again`].
pub fn inputs(options: &Options, loaded: &Loaded) -> Inputs {
    Inputs::of(options, loaded)
}

/// Reads everything anew. `inputs` becomes what was looked at, also where that does not load. The static fields are the new ones
/// afterwards in any case.
pub fn again(options: &Options, file: &Path, inputs: &mut Inputs) -> Result<Prepared, String> {
    // Hashes first: which files there are is known only when the configuration has been read once.
    match configuration(options, file) {
        Ok(loaded) => *inputs = Inputs::of(options, &loaded),
        Err(error) => {
            inputs.config = Hashed::all(&inputs.config.iter().map(|file| file.path.clone()).collect::<Vec<_>>());
            return Err(error);
        }
    }
    let loaded = configuration(options, file)?;
    remark(&loaded);
    let files = rules_files(options, &loaded.config)?;
    statics::set(loaded.config.static_fields.clone());
    let environment = environment(options, &loaded.config);
    let rules = load_rules(&files, &environment)?;
    prepare(options, loaded.config, &rules)
}
