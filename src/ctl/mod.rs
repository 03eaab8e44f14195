//! `falco-ctl`: what an operator does around the sensor. So far: the kernel module.
//!
//! [`options`] and [`command`] take the command line apart. [`host`] is the machine as its files tell it, [`family`] the
//! distributions' commands, [`doctor`] what is missing, [`build`] and [`sign`] make a module that this kernel takes,
//! [`module`] loads, unloads and describes it.
//!
//! Rule of this room: what a machine is like is read below a root folder that tests choose; nothing is changed but by the
//! command that was asked for; whatever is missing is told with the command that mends it.

pub mod build;
pub mod command;
pub mod doctor;
pub mod family;
pub mod host;
pub mod module;
pub mod options;
pub mod sign;
