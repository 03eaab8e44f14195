//! The addresses of the hosts that rules name: looked up beside the loops, again and again.
//!
//! One thread, and only where a rule names a host. A resolver may take its time or never answer: nothing waits for it, and
//! a host of which nothing is known yet has no address. What was answered stays until there is another answer.

use super::log::{self, Level};
use crate::filter::host::Host;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// After an answer, and the longest after a failure.
const EVERY: Duration = Duration::from_secs(60);
/// After the first failure; twice as long after each further one.
const SOON: Duration = Duration::from_secs(1);

/// Has the addresses of some hosts kept.
#[derive(Default)]
pub struct Keeper {
    hosts: Vec<Arc<Host>>,
    orders: Option<Sender<Vec<Arc<Host>>>>,
}

impl Keeper {
    /// Keeps these instead of others. To be called before anybody asks for them.
    pub fn keep(&mut self, hosts: Vec<Arc<Host>>) {
        let known = |host: &Host| self.hosts.iter().find(|known| known.name() == host.name()).map(|known| &**known);
        hosts.iter().for_each(|host| host.keep(known(host)));
        self.hosts = hosts;
        if self.orders.is_none() && !self.hosts.is_empty() {
            let (sender, orders) = mpsc::channel();
            match thread::Builder::new().name("hosts".into()).spawn(move || run(&orders)) {
                Ok(_) => self.orders = Some(sender),
                Err(error) => log::write(
                    Level::Error,
                    format_args!("no host that rules name is looked up, none has an address: {error}"),
                ),
            }
        }
        // Without the thread what is known stays as it is.
        self.orders.iter().for_each(|orders| drop(orders.send(self.hosts.clone())));
    }
}

/// Hosts of one name.
struct Named {
    hosts: Vec<Arc<Host>>,
    due: Instant,
    failures: u32,
}

fn run(orders: &Receiver<Vec<Arc<Host>>>) {
    let mut all: Vec<Named> = Vec::new();
    loop {
        let next = all.iter_mut().min_by_key(|named| named.due);
        let order = match &next {
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(next) => orders.recv_timeout(next.due.saturating_duration_since(Instant::now())),
        };
        match (order, next) {
            (Ok(hosts), _) => all = by_name(hosts),
            (Err(RecvTimeoutError::Timeout), Some(next)) => next.look_up(),
            (Err(_), _) => return,
        }
    }
}

fn by_name(hosts: Vec<Arc<Host>>) -> Vec<Named> {
    let mut all: Vec<Named> = Vec::new();
    for host in hosts {
        match all.iter_mut().find(|named| named.hosts[0].name() == host.name()) {
            Some(named) => named.hosts.push(host),
            None => all.push(Named { hosts: vec![host], due: Instant::now(), failures: 0 }),
        }
    }
    all
}

impl Named {
    fn look_up(&mut self) {
        let name = self.hosts[0].name();
        let pause = match self.hosts[0].look_up() {
            Ok(found) => {
                let changed = self.hosts.iter().fold(false, |changed, host| host.set(found.clone()) | changed);
                if changed {
                    let mut addresses: Vec<_> = found.iter().collect();
                    addresses.sort_unstable();
                    log::write(Level::Debug, format_args!("host {name:?}, which rules name: {addresses:?}"));
                }
                self.failures = 0;
                EVERY
            }
            Err(error) => {
                if self.failures == 0 {
                    log::write(Level::Debug, format_args!("host {name:?}, which rules name: {error}; asking again"));
                }
                self.failures += 1;
                (SOON * (1 << (self.failures - 1).min(6))).min(EVERY)
            }
        };
        self.due = Instant::now() + pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    #[test]
    fn hosts_get_their_addresses_and_leave_them_to_the_next() {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (one, same, none) = (Host::new("127.0.0.1"), Host::new("127.0.0.1"), Host::new("no host has this name"));
        let [one, same, none] = [one, same, none].map(Arc::new);
        let mut keeper = Keeper::default();
        keeper.keep(vec![none.clone(), one.clone(), same.clone()]);
        let end = Instant::now() + Duration::from_secs(60);
        while !(one.has(here) && same.has(here)) {
            assert!(Instant::now() < end, "never looked up");
            thread::sleep(Duration::from_millis(1));
        }
        assert!(!none.has(here));
        let next = Arc::new(Host::new("127.0.0.1"));
        keeper.keep(vec![next.clone()]);
        assert!(next.has(here), "at once");
    }

    #[test]
    fn no_thread_where_no_rule_names_a_host() {
        let mut keeper = Keeper::default();
        keeper.keep(Vec::new());
        assert!(keeper.orders.is_none());
    }
}
