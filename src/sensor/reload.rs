//! Rules and configuration loaded anew while the sensor runs.
//!
//! Everything is read and compiled aside first, outputs are opened, and only then anything changes; what does not load changes nothing
//! and is told by an alert. The change goes in steps, because three parties have to agree on what an event is worth: the module
//! (which calls are captured, and in which class each one is), the masks by which loops tell the module that no rule of theirs can
//! match, and the rules.
//!
//! 1. Every loop takes its masks back and tells no more of them: what is captured is sent.
//! 2. The module captures what either set of rules wants, under the new classes. No mask is left that meant the old ones.
//! 3. Every loop exchanges the rules between two records, and tells masks again, the new rules'.
//! 4. The module captures what the new rules want.
//!
//! The conditions that the module tests before it makes events (`pushdown`) are taken away before the first step, and those of the new
//! rules are handed over after the last.
//!
//! Invariants: every event that was captured is evaluated once, by the old or by the new rules; what both want is captured
//! throughout; no mask computed from one set of rules stops an event while the loop of that CPU has the other. Tasks are kept.

use super::config::Config;
use super::control::Control;
use super::fleet::Fleet;
use super::log::{self, Level};
use super::memory;
use super::plan::Plan;
use super::prepare::{self, Prepared};
use super::record::Recorder;
use super::run;
use super::service::{self, Snapshots};
use super::watch::{Order, Replacement, Watch};
use super::web::{Change, Server};
use crate::driver::abi::{self, fsn_config};
use crate::event::statics;
use crate::output::alert::Writer;
use crate::output::threads::Output;
use crate::output::{internal, queue};
use crate::rules::Priority;
use std::time::Instant;

/// The module and the loops, as far as a reload goes.
pub trait Parties {
    /// Has the module capture what this says.
    fn configure(&self, config: &fsn_config) -> Result<(), String>;
    /// Gives every loop an order and waits until all have obeyed.
    fn tell(&self, order: &dyn Fn() -> Order);
}

impl Parties for Fleet<Watch> {
    fn configure(&self, config: &fsn_config) -> Result<(), String> {
        self.device().configure(config).map_err(run::text)
    }

    fn tell(&self, order: &dyn Fn() -> Order) {
        Fleet::tell(self, order);
    }
}

/// Steps 1 and 2. The inner error: the module did not take it, and all is as it was.
pub fn capture_both(parties: &impl Parties, old: &fsn_config, new: &fsn_config) -> Result<Result<(), String>, String> {
    parties.tell(&|| Order::Widen);
    let Err(error) = parties.configure(&either(old, new)) else { return Ok(Ok(())) };
    // It may have let go of its tracepoints.
    parties.configure(old)?;
    parties.tell(&|| Order::Narrow);
    Ok(Err(format!("the module did not take what the new rules want: {error}")))
}

/// Steps 3 and 4.
pub fn exchange(parties: &impl Parties, new: &fsn_config, replacement: &dyn Fn() -> Replacement) -> Result<(), String> {
    parties.tell(&|| Order::Swap(Box::new(replacement())));
    parties.configure(new)
}

impl Control<'_> {
    /// Reads everything anew, for the reason given, and runs what was read. An error is one after which nothing is watched any
    /// more; that the new files do not load is none.
    pub fn reload(&mut self, reason: &str) -> Result<(), String> {
        log::write(Level::Info, format_args!("{reason}, restarting in place: reading configuration and rules again"));
        let started = Instant::now();
        let fields = statics::all().to_vec();
        let prepared = prepare::again(self.options, self.file, &mut self.inputs);
        self.files.iter_mut().for_each(|files| files.watch(&self.inputs, Instant::now()));
        let refused = match prepared.and_then(|prepared| self.open(prepared)) {
            Ok(opened) => match self.capture_both(&opened.plan.driver)? {
                Ok(()) => {
                    let what = opened.announcement();
                    self.replace(opened)?;
                    self.tell_conditions()?;
                    self.telemetry.state().reloads[0] += 1;
                    memory::give_back();
                    let took = started.elapsed().as_millis();
                    log::write(Level::Info, format_args!("reloaded in {took} ms: {what}"));
                    return Ok(());
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        statics::set(fields);
        memory::give_back();
        self.telemetry.state().reloads[1] += 1;
        log::write(Level::Error, format_args!("not reloaded, what ran before goes on: {refused}"));
        let message = format!("{}: {refused}", internal::RELOAD);
        self.tell(internal::RELOAD, Priority::Critical, &message);
        Ok(())
    }

    /// Steps 1 and 2, without the old rules' conditions, which say nothing of the new ones.
    fn capture_both(&self, new: &fsn_config) -> Result<Result<(), String>, String> {
        let Some(fleet) = &self.fleet else { return Ok(Ok(())) };
        fleet.device().filter(&[]).map_err(run::text)?;
        let taken = capture_both(fleet, &self.driver, new)?;
        if taken.is_err() {
            self.tell_conditions()?;
        }
        Ok(taken)
    }

    /// Has the module test the conditions of the rules that run.
    fn tell_conditions(&self) -> Result<(), String> {
        let Some(fleet) = &self.fleet else { return Ok(()) };
        fleet.device().filter(run::conditions(&self.shared, self.recorder.as_ref())).map_err(run::text)
    }

    /// Opens what the new configuration writes to: what can fail, while nothing has changed.
    fn open(&self, prepared: Prepared) -> Result<Opened, String> {
        let Prepared { mut config, mut plan, style } = prepared;
        keep_what_needs_a_restart(&self.config, &mut config);
        // Rings keep their size.
        plan.driver.ring_bytes = self.driver.ring_bytes;
        plan.driver.watermark = self.driver.watermark;
        let channels = run::channels(&config)?;
        let recorder = if self.options.record.is_none() && config.capture != self.config.capture {
            Some(run::recorder(None, &config)?)
        } else {
            None
        };
        let snapshots = config.metrics.as_ref().map(Snapshots::new).transpose()?;
        let web = self.web(&config)?;
        let (sender, queue) = self.sender.successor(config.queue_capacity);
        let output = Output::start(queue, channels, run::manner(&config)).map_err(run::text)?;
        Ok(Opened { config, plan, style, recorder, sender, output, snapshots, web })
    }

    /// Another server, or other answers of the one there is.
    fn web(&self, config: &Config) -> Result<Web, String> {
        let Some(settings) = &config.web else { return Ok(Web::Server(None)) };
        match &self.web {
            Some(server) if !server.listens_elsewhere(settings) => {
                let site = service::site(settings, config, &self.telemetry);
                Ok(Web::Change(Server::prepare(settings.clone(), site)?))
            }
            _ => Ok(Web::Server(Some(service::start(settings, config, &self.telemetry)?))),
        }
    }

    /// The rest of the steps, and all that is not the loops'.
    fn replace(&mut self, opened: Opened) -> Result<(), String> {
        let Opened { config, plan, style, recorder, sender, output, snapshots, web } = opened;
        let (old, new) = (self.driver, plan.driver);
        let counters = self.tally.counters(&plan);
        let shared = run::shared(&config, self.options, plan, self.shared.clock.clone(), counters);
        self.hosts.keep(shared.plan.program.hosts());
        if let Some(fleet) = &mut self.fleet {
            let current = recorder.as_ref().map_or(self.recorder.as_ref(), Option::as_ref);
            exchange(fleet, &new, &|| {
                let (shared, style, sender) = (shared.clone(), style.clone(), sender.clone());
                Replacement {
                    shared,
                    style,
                    sender,
                    tap: recorder.as_ref().map(|new| new.as_ref().map(|new| new.taps().tap())),
                }
            })?;
            fleet.set_make(run::make(&shared, &style, &sender, current, &self.telemetry, &self.own_users));
        }
        if new.features & !old.features & abi::FSN_CAP_ENV != 0 {
            let message = "the new rules look at environments: those of programs that run already are not known";
            log::write(Level::Notice, format_args!("{message}"));
        }
        log::configure(config.log_level, config.log_stderr, config.log_syslog);
        if let Some(new) = recorder {
            let limited = std::mem::replace(&mut self.recorder, new).map_or_else(Vec::new, Recorder::finish);
            self.tell_limited(&limited);
            self.recorder.iter().for_each(Recorder::begin);
        }
        // No loop has the old queue any more: its outputs end when they have written what is in it.
        self.dropped_before += std::mem::replace(&mut self.sender, sender).dropped();
        self.retired.push(std::mem::replace(&mut self.output, output));
        self.writer = Writer::new(style);
        self.monitor.configure(config.drops.clone());
        // Freed here, not by the loop that happens to let go of it last.
        (self.shared, self.driver) = (shared, new);
        if config.metrics != self.config.metrics {
            self.snapshots = snapshots;
        }
        match (web, &mut self.web) {
            (Web::Change(change), Some(server)) => server.change(change),
            (Web::Change(_), None) => {}
            (Web::Server(server), old) => std::mem::replace(old, server).into_iter().for_each(Server::stop),
        }
        self.config = config;
        self.publish(true);
        Ok(())
    }
}

/// What is about to run.
struct Opened {
    config: Config,
    plan: Plan,
    style: crate::output::alert::Style,
    /// Another recorder, or none any more; None when the one there is goes on.
    recorder: Option<Option<Recorder>>,
    sender: queue::Sender,
    output: Output,
    snapshots: Option<Snapshots>,
    web: Web,
}

enum Web {
    Server(Option<Server>),
    Change(Change),
}

impl Opened {
    /// Says what the new rules should be known for, and in one line what they are.
    fn announcement(&self) -> String {
        for warning in &self.plan.warnings {
            log::write(Level::Warning, format_args!("{warning}"));
        }
        let running = self.plan.forms.iter().flatten().count();
        format!(
            "{running} of {} rules run, {} system calls are captured",
            self.plan.forms.len(),
            self.plan.captured.len()
        )
    }
}

/// Says which changes wait for the next start.
fn keep_what_needs_a_restart(old: &Config, new: &mut Config) {
    let fixed = [
        ("engine.kind", old.driver == new.driver && old.replay == new.replay),
        ("engine.*.buf_size_preset", old.ring_bytes == new.ring_bytes),
        ("engine.module.path", old.module == new.module),
        ("watch_config_files", old.watch_files == new.watch_files),
    ];
    for (key, _) in fixed.iter().filter(|(_, same)| !same) {
        log::write(Level::Warning, format_args!("{key} has changed: that takes a restart, the old value stays"));
    }
    (new.driver, new.ring_bytes, new.watch_files) = (old.driver, old.ring_bytes, old.watch_files);
    (new.replay, new.module) = (old.replay.clone(), old.module.clone());
}

/// What captures whatever one of two configurations asks for; in all else it is the second one.
fn either(one: &fsn_config, other: &fsn_config) -> fsn_config {
    let mut both = *other;
    both.tracepoints |= one.tracepoints;
    both.features |= one.features;
    both.snaplen = both.snaplen.max(one.snaplen);
    both.wanted.iter_mut().zip(one.wanted).for_each(|(a, b)| *a |= b);
    both
}
