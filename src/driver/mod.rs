//! The kernel module as user space sees it: loading it, its device, its rings.
//!
//! [`load`] gets the module into the kernel, [`device`] opens and configures it, [`ring`] reads one CPU's ring
//! in place, [`seed`] tells it about processes older than itself, [`abi`] and [`table`] are the C sources it
//! shares with this program. What a record means is [`crate::event`]'s business.
//!
//! Invariant: whatever bytes the shared memory holds, reading them is memory-safe; a record handed out lies
//! wholly inside the ring.

pub mod abi;
pub mod cpus;
pub mod device;
pub mod dump;
pub mod error;
pub mod load;
pub mod ring;
pub mod seed;
pub mod table;

pub use device::Device;
pub use error::Error;
pub use ring::{Record, Ring};
