//! Users, groups, containers: names for what the kernel gives as numbers.
//!
//! Nothing here is asked on the path of an event beyond a look-up in memory.

pub mod container;
pub mod own_users;
pub mod runtime;
pub mod users;
