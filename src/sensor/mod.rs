//! The running sensor: options, configuration, one loop per CPU, and what surrounds them.

pub mod command;
pub mod config;
pub mod cpu_loop;
pub mod fleet;
pub mod log;
pub mod options;
pub mod records;
pub mod signals;
