//! Start, second by second, stop.
//!
//! The order of the start is the order of what can fail without a trace: outputs, module, device, rings. The stop is
//! the reverse, so that nothing is lost on the way out: the capture ends, the loops drain their rings, the output
//! thread drains its queue, the module goes if this program brought it.

use super::clock::SharedClock;
use super::config::{Config, SyslogOutput};
use super::control::{Control, State};
use super::drops::Monitor;
use super::files::Files;
use super::fleet::Fleet;
use super::hosts::Keeper;
use super::log::{self, Level};
use super::metrics::Telemetry;
use super::metrics::table::Group;
use super::notify::Notifier;
use super::options::Options;
use super::prepare::{Inputs, Prepared};
use super::record::{Recorder, Taps};
use super::service::{self, Snapshots};
use super::signals::Signals;
use super::tally::{Counters, Tally};
use super::watch::{Shared, Watch};
use crate::driver::{Device, abi, load, seed};
use crate::enrich::own_users::Reader;
use crate::enrich::users::Users;
use crate::event::live::Host;
use crate::output::alert::{Style, Writer};
use crate::output::channel::Channel;
use crate::output::http::Http;
use crate::output::queue;
use crate::output::syslog::Syslog;
use crate::output::threads::{Manner, Output};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a run is to go.
pub struct Run<'c> {
    pub options: &'c Options,
    /// The configuration's main file.
    pub file: &'c Path,
    pub inputs: Inputs,
    pub prepared: Prepared,
}

/// Outputs get this long to take what is queued when the run ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// Watches until a signal or the end of the duration. What it returns is the sentence for the operator.
pub fn run(run: Run<'_>) -> Result<(), String> {
    let signals = Signals::block().map_err(text)?;
    let notifier = Notifier::from_environment().map_err(text)?;
    let Run { options, file, inputs, prepared } = run;
    let Prepared { config, plan, style } = prepared;
    let (sender, queue) = queue::bounded(config.queue_capacity);
    let output = Output::start(queue, channels(&config)?, manner(&config)).map_err(text)?;

    let loaded = match &config.module {
        _ if options.no_load || !config.driver => None,
        configured => Some(load::load(options.module.as_deref().or(configured.as_deref())).map_err(text)?),
    };
    let clock = Arc::new(SharedClock::default());
    let mut tally = Tally::default();
    let driver = plan.driver;
    let counters = tally.counters(&plan);
    let shared = shared(&config, options, plan, clock, counters);
    let mut hosts = Keeper::default();
    hosts.keep(shared.plan.program.hosts());
    let engine = if config.driver { "module" } else { "nodriver" };
    let telemetry = Arc::new(Telemetry::new(&style.hostname, engine, &host_root()));
    telemetry.state().running = shared.plan.forms.iter().flatten().count();
    let recorder = recorder(options.record.as_deref(), &config)?;
    let own_users = Reader::start(&host_root()).map_err(|error| format!("the thread that reads names: {error}"))?;
    let fleet = if config.driver {
        let device = Device::open().map_err(text)?;
        shared.clock.update(|| device.info().map(|info| info.clock)).map_err(text)?;
        device.filter(conditions(&shared, recorder.as_ref())).map_err(text)?;
        let make = make(&shared, &style, &sender, recorder.as_ref(), &telemetry, &own_users);
        let fleet = Fleet::start(device, &driver, make).map_err(text)?;
        let seeded = seed::seed(fleet.device(), &host_root().join("proc"), driver.features & abi::FSN_CAP_ENV != 0);
        log::write(Level::Debug, format_args!("told the module of {} older processes", seeded.told));
        Some(fleet)
    } else {
        shared.clock.update(|| Ok::<_, String>(0))?;
        None
    };
    recorder.iter().for_each(Recorder::begin);
    let snapshots = config.metrics.as_ref().map(Snapshots::new).transpose()?;
    let web = config.web.as_ref().map(|settings| service::start(settings, &config, &telemetry)).transpose()?;
    let files = config.watch_files.then(|| Files::new(&inputs, Instant::now()));
    let cpus = fleet.as_ref().map_or(0, Fleet::cpus);
    log::ready(cpus);
    notifier.ready(cpus);

    let end = options.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut control = Control {
        options,
        file,
        inputs,
        files,
        fleet,
        driver,
        shared,
        tally,
        sender,
        output,
        retired: Vec::new(),
        dropped_before: 0,
        recorder,
        own_users,
        hosts,
        writer: Writer::new(style),
        monitor: Monitor::new(config.drops.clone(), Instant::now()),
        config,
        notifier,
        telemetry,
        snapshots,
        web,
        state: State::default(),
    };
    control.publish(true);
    let result = control.watch(&signals, end);
    control.finish();
    let unloaded = loaded.map_or(Ok(()), |loaded| loaded.unload().map_err(text));
    result.and(unloaded)
}

/// What all loops share under a configuration.
pub(super) fn shared(
    config: &Config,
    options: &Options,
    plan: super::plan::Plan,
    clock: Arc<SharedClock>,
    counters: Box<[Arc<Counters>]>,
) -> Arc<Shared> {
    if !options.no_pushdown {
        // Now, not while a module waits for them.
        plan.conditions();
    }
    Arc::new(Shared {
        plan,
        path_views: config.path_views,
        match_all: config.match_all,
        pushdown: !options.no_pushdown,
        clock,
        counters,
        timed: config.metrics.as_ref().is_some_and(|metrics| metrics.groups.contains(&Group::Rules)),
    })
}

/// What gives a CPU its loop.
pub(super) fn make(
    shared: &Arc<Shared>,
    style: &Style,
    sender: &queue::Sender,
    recorder: Option<&Recorder>,
    telemetry: &Arc<Telemetry>,
    own_users: &Reader,
) -> Box<dyn Fn(u32) -> Watch> {
    let (telemetry, own_users) = (telemetry.clone(), own_users.clone());
    let (shared, style, sender) = (shared.clone(), style.clone(), sender.clone());
    let taps = recorder.map(Recorder::taps);
    let root = host_root();
    Box::new(move |cpu| {
        let host = Host::new(Users::new(&root), shared.clock.get(), &style.hostname, cpu);
        let host = host.with_own_users(own_users.clone());
        let watch = Watch::new(shared.clone(), host, style.clone(), sender.clone());
        watch.recorded_by(taps.as_ref().map(Taps::tap)).told_by(telemetry.of_loop(cpu))
    })
}

/// What calls have to meet to be sent. A recording has what no rule matches, too.
pub(super) fn conditions<'s>(shared: &'s Shared, recorder: Option<&Recorder>) -> &'s [u8] {
    if shared.pushdown && recorder.is_none() { shared.plan.conditions() } else { &[] }
}

/// What records, when anything is to be or may be recorded.
pub(super) fn recorder(all: Option<&Path>, config: &Config) -> Result<Option<Recorder>, String> {
    if all.is_none() && config.capture.is_none() {
        return Ok(None);
    }
    let failed = |error| format!("{}: {error}", all.unwrap_or(Path::new("the recorder")).display());
    Recorder::start(all, config.capture.clone(), &host_root()).map(Some).map_err(failed)
}

pub(super) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Where the host's root file system is, seen from here.
pub(super) fn host_root() -> PathBuf {
    std::env::var_os("HOST_ROOT").filter(|root| !root.is_empty()).map_or_else(|| Path::new("/").into(), PathBuf::from)
}

/// The name alerts carry: `FALCO_HOSTNAME`, or what the host calls itself.
pub fn hostname() -> String {
    std::env::var("FALCO_HOSTNAME").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| {
        nix::unistd::gethostname().map_or_else(|_| "<NA>".to_owned(), |name| name.to_string_lossy().into_owned())
    })
}

pub(super) fn channels(config: &Config) -> Result<Vec<Channel>, String> {
    let mut channels = Vec::new();
    if config.stdout {
        channels.push(Channel::Stdout);
    }
    if let Some(file) = &config.file {
        let opened = Channel::file(file.path.clone(), file.keep_alive);
        channels.push(opened.map_err(|e| format!("file_output.filename: {}: {e}", file.path.display()))?);
    }
    if let Some(program) = &config.program {
        channels.push(Channel::program(program.command.clone(), program.keep_alive));
    }
    match &config.syslog {
        None => {}
        Some(SyslogOutput::Local) => channels.push(Channel::syslog()),
        Some(SyslogOutput::Server(server)) => {
            channels.push(Channel::RemoteSyslog(Box::new(Syslog::new(server.clone(), hostname())?)));
        }
    }
    if let Some(http) = &config.http {
        channels.push(Channel::Http(Box::new(Http::new(http.clone())?)));
    }
    if channels.is_empty() {
        return Err("no output is enabled: set stdout_output.enabled, syslog_output.enabled, file_output.enabled, \
             program_output.enabled or http_output.enabled to true"
            .to_owned());
    }
    Ok(channels)
}

/// How outputs are run while events happen.
pub(super) const fn manner(config: &Config) -> Manner {
    let limited = config.limits.capacity;
    Manner { capacity: config.queue_capacity, buffered: config.buffered, patient: false, limited }
}

/// Waits for the outputs to take what is queued, within reason, and says what was lost; the senders must be gone.
pub(super) fn finish_outputs(output: Output) {
    output.finish(PATIENCE);
}
