//! Hosts that conditions name, and the addresses they have.
//!
//! No name is looked up while rules load: a resolver that does not answer would hold up the start of a sensor. Whoever runs beside
//! the loops keeps the addresses ([`Host::keep`], [`Host::set`]); a host that nobody keeps is looked up when it is asked for the
//! first time, as in a replay. Invariant: asking for a host that is kept takes no lock and waits for nothing.

use arc_swap::ArcSwapOption;
use hashbrown::HashSet;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

type Addresses = HashSet<IpAddr>;

#[derive(Debug)]
pub struct Host {
    name: Box<str>,
    /// None until the first answer.
    addresses: ArcSwapOption<Addresses>,
    kept: AtomicBool,
}

impl Host {
    pub fn new(name: &str) -> Host {
        Host { name: name.into(), addresses: ArcSwapOption::empty(), kept: AtomicBool::new(false) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    #[inline]
    pub fn has(&self, ip: IpAddr) -> bool {
        match &*self.addresses.load() {
            Some(addresses) => addresses.contains(&ip),
            None if self.kept.load(Ordering::Relaxed) => false,
            None => self.find_out(ip),
        }
    }

    #[cold]
    fn find_out(&self, ip: IpAddr) -> bool {
        let found = self.look_up().unwrap_or_default();
        let has = found.contains(&ip);
        self.set(found);
        has
    }

    /// What the system's resolver says, which may take as long as it likes.
    pub fn look_up(&self) -> io::Result<Addresses> {
        Ok((&*self.name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
    }

    /// From now on somebody else looks it up. What `before`, which has the same name, is known to have is its beginning.
    pub fn keep(&self, before: Option<&Host>) {
        self.kept.store(true, Ordering::Relaxed);
        if let Some(before) = before {
            self.addresses.store(before.addresses.load_full());
        }
    }

    /// Returns whether these are others than before.
    pub fn set(&self, addresses: Addresses) -> bool {
        if self.addresses.load().as_ref().is_some_and(|known| **known == addresses) {
            return false;
        }
        self.addresses.store(Some(Arc::new(addresses)));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn one_that_nobody_keeps_is_looked_up_once() {
        let host = Host::new("127.0.0.1");
        assert!(host.has(HERE));
        host.set(Addresses::new());
        assert!(!host.has(HERE), "what was answered stays");
    }

    #[test]
    fn one_that_is_kept_has_what_it_was_given() {
        let host = Host::new("127.0.0.1");
        host.keep(None);
        assert!(!host.has(HERE), "it is not looked up where it is asked for");
        assert!(host.set([HERE].into()) && !host.set([HERE].into()));
        assert!(host.has(HERE));
        let next = Host::new("127.0.0.1");
        next.keep(Some(&host));
        assert!(next.has(HERE), "the next one begins with it");
    }
}
