//! How the module's clock relates to the wall clock, kept by the control thread and read by the loops.

use crate::event::clock::Clock;
use std::sync::atomic::{AtomicI32, AtomicI64, Ordering};

/// A [`Clock`] that one thread sets and others read. The parts are set one after the other: a reader may see a mixture
/// of two clocks a second apart, which are the same but for the drift of a second, or for the moment the wall clock is
/// set.
#[derive(Debug, Default)]
pub struct SharedClock {
    wall_minus_module: AtomicI64,
    wall_minus_boot: AtomicI64,
    utc_offset: AtomicI32,
}

impl SharedClock {
    pub fn get(&self) -> Clock {
        Clock {
            wall_minus_module: self.wall_minus_module.load(Ordering::Relaxed),
            wall_minus_boot: self.wall_minus_boot.load(Ordering::Relaxed),
            utc_offset: self.utc_offset.load(Ordering::Relaxed),
        }
    }

    /// Takes the relation anew. `module` asks the module for its time; when asking took long, it is asked again, and
    /// the quickest answer counts.
    pub fn update<E>(&self, module: impl Fn() -> Result<u64, E>) -> Result<(), E> {
        let mut best: Option<(std::time::Duration, Clock)> = None;
        for _ in 0..3 {
            let asked = std::time::Instant::now();
            let clock = Clock::now(module()?);
            let took = asked.elapsed();
            if best.is_none_or(|(shortest, _)| took < shortest) {
                best = Some((took, clock));
            }
        }
        if let Some((_, clock)) = best {
            self.wall_minus_module.store(clock.wall_minus_module, Ordering::Relaxed);
            self.wall_minus_boot.store(clock.wall_minus_boot, Ordering::Relaxed);
            self.utc_offset.store(clock.utc_offset, Ordering::Relaxed);
        }
        Ok(())
    }
}
