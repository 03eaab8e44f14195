//! The loops of all CPUs: one thread per ring, each pinned to its CPU where that is allowed.

use super::cpu_loop::{CpuLoop, Handler, Remote};
use super::log::{self, Level};
use crate::driver::device::{Device, Mapped};
use crate::driver::error::Error;
use crate::driver::ring::{self, Counters, Ring};
use crate::driver::{abi, cpus};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

struct Member<H: Handler> {
    cpu: u32,
    memory: Arc<Mapped>,
    remote: Remote<H::Order>,
    thread: JoinHandle<H>,
}

/// All loops, and the device they belong to.
pub struct Fleet<H: Handler> {
    device: Device,
    ring_bytes: u32,
    make: Box<dyn Fn(u32) -> H>,
    members: Vec<Member<H>>,
}

/// A ring that is attached but not read yet.
type Attached = (u32, Ring<Arc<Mapped>>);

impl<H: Handler + Send + 'static> Fleet<H> {
    /// Configures the module, attaches the ring of every online CPU, starts the capture and the loops. `make` gives
    /// each CPU its handler.
    pub fn start(device: Device, config: &abi::fsn_config, make: Box<dyn Fn(u32) -> H>) -> Result<Self, Error> {
        device.configure(config)?;
        let ring_bytes = config.ring_bytes;
        let attached = cpus::online()
            .into_iter()
            .map(|cpu| Ok((cpu, device.attach(cpu, ring_bytes)?)))
            .collect::<Result<Vec<Attached>, Error>>()?;
        let mut fleet = Fleet { device, ring_bytes, make, members: Vec::new() };
        fleet.device.start()?;
        for ring in attached {
            fleet.begin(ring)?;
        }
        Ok(fleet)
    }

    /// Attaches CPUs that came online since. Returns how many.
    pub fn adopt_new_cpus(&mut self) -> Result<usize, Error> {
        let new = cpus::online().into_iter().filter(|cpu| self.members.iter().all(|m| m.cpu != *cpu));
        let mut count = 0;
        for cpu in new.collect::<Vec<_>>() {
            let ring = self.device.attach(cpu, self.ring_bytes)?;
            self.begin((cpu, ring))?;
            count += 1;
        }
        Ok(count)
    }

    fn begin(&mut self, (cpu, ring): Attached) -> Result<(), Error> {
        let memory = ring.memory().clone();
        let failed = || Error::device(format!("starting the loop of CPU {cpu}"));
        let (cpu_loop, remote) = CpuLoop::new(ring).map_err(failed())?;
        let mut handler = (self.make)(cpu);
        let thread = thread::Builder::new()
            .name(format!("cpu{cpu}"))
            .spawn(move || {
                pin(cpu);
                if let Err(error) = cpu_loop.run(&mut handler) {
                    log::write(Level::Critical, format_args!("the loop of CPU {cpu} ended: {error}"));
                }
                handler
            })
            .map_err(failed())?;
        self.members.push(Member { cpu, memory, remote, thread });
        Ok(())
    }

    /// What gives CPUs that come online from now on their handlers.
    pub fn set_make(&mut self, make: Box<dyn Fn(u32) -> H>) {
        self.make = make;
    }

    /// Gives every loop an order and waits until all have obeyed; loops that have ended are not waited for.
    pub fn tell(&self, order: impl Fn() -> H::Order) {
        let (obeyed, all) = mpsc::channel();
        self.members.iter().for_each(|m| m.remote.tell(order(), obeyed.clone()));
        drop(obeyed);
        // Nothing is ever sent: it ends when the last loop drops its end.
        let _ = all.recv();
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The memory of every ring, by CPU. Whoever keeps it keeps the device open.
    pub fn rings(&self) -> Vec<(u32, Arc<Mapped>)> {
        self.members.iter().map(|m| (m.cpu, m.memory.clone())).collect()
    }

    pub fn cpus(&self) -> usize {
        self.members.len()
    }

    /// How often each loop has gone round.
    pub fn rounds(&self) -> impl Iterator<Item = u64> {
        self.members.iter().map(|m| m.remote.rounds())
    }

    /// True when a loop has ended by itself.
    pub fn is_broken(&self) -> bool {
        self.members.iter().any(|m| m.thread.is_finished())
    }

    /// The module's counters, all rings together.
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.members.iter().for_each(|m| sum += ring::counters(&m.memory));
        sum
    }

    /// Stops the capture, lets every loop drain its ring, and gives the handlers back with the last counters.
    /// The device and the rings are closed when this returns.
    pub fn stop(mut self) -> (Vec<H>, Counters) {
        let _ = self.device.stop();
        self.members.iter().for_each(|m| m.remote.stop());
        let mut sum = Counters::default();
        let mut handlers = Vec::new();
        for member in self.members.drain(..) {
            if let Ok(handler) = member.thread.join() {
                handlers.push(handler);
            }
            sum += ring::counters(&member.memory);
        }
        (handlers, sum)
    }
}

/// A start that failed half-way leaves no loop behind.
impl<H: Handler> Drop for Fleet<H> {
    fn drop(&mut self) {
        let _ = self.device.stop();
        self.members.iter().for_each(|m| m.remote.stop());
        self.members.drain(..).for_each(|m| drop(m.thread.join()));
    }
}

/// Keeps the calling thread on `cpu`; where that is not allowed it runs anywhere, only slower.
pub fn pin(cpu: u32) {
    use nix::sched::{CpuSet, sched_setaffinity};
    let mut set = CpuSet::new();
    if set.set(cpu as usize).is_ok() {
        let _ = sched_setaffinity(nix::unistd::Pid::from_raw(0), &set);
    }
}
