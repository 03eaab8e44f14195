//! The running sensor.
//!
//! [`options`] and [`command`] take the command line apart, [`config`] reads the configuration, [`plan`] turns it and
//! the rules into what runs. [`run`] starts and stops, [`control`] looks after the rest from second to second, and [`reload`]
//! replaces what runs by what [`prepare`] has read anew; `hosts` keeps the addresses of the hosts that rules name. [`service`] tells of it: [`web`], [`metrics`]. [`fleet`] has one [`cpu_loop`] per CPU, whose records [`watch`]
//! evaluates.
//!
//! Rule of this room: no lock, no allocation and no system call per event that matches nothing.

pub mod clock;
pub mod command;
pub mod config;
pub mod control;
pub mod cpu_loop;
pub mod drops;
pub mod files;
pub mod fleet;
mod hosts;
pub mod interval;
pub mod listing;
pub mod log;
mod memory;
pub mod metric_name;
pub mod metrics;
pub mod notify;
pub mod options;
pub mod plan;
pub mod prepare;
pub mod record;
pub mod records;
pub mod reload;
pub mod replay;
pub mod run;
pub mod service;
pub mod signals;
pub mod statistics;
pub mod tally;
pub mod watch;
pub mod web;
