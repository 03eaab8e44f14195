//! The running sensor.
//!
//! [`options`] and [`command`] take the command line apart, [`config`] reads the configuration, [`plan`] turns it and
//! the rules into what runs. [`run`] starts and stops; [`fleet`] has one [`cpu_loop`] per CPU, whose records [`watch`]
//! evaluates.
//!
//! Rule of this room: no lock, no allocation and no system call per event that matches nothing.

pub mod clock;
pub mod command;
pub mod config;
pub mod cpu_loop;
pub mod drops;
pub mod fleet;
pub mod interval;
pub mod listing;
pub mod log;
pub mod metric_name;
pub mod options;
pub mod plan;
pub mod record;
pub mod records;
pub mod replay;
pub mod run;
pub mod signals;
pub mod statistics;
pub mod watch;
