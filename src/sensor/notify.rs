//! What the service manager is told: ready, alive, reloading, stopping. One datagram each, to the socket that systemd
//! names in the environment (sd_notify(3)); without one nothing happens.
//!
//! Alive means that every loop has gone round since the last time, not that this thread runs: outputs do not count,
//! because a loop never waits for one.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// The service manager's end, if there is one.
#[derive(Debug)]
pub struct Notifier {
    to: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Watchdog>,
}

#[derive(Debug)]
struct Watchdog {
    /// The manager wants to hear of us at least this often.
    limit: Duration,
    fed: Instant,
}

impl Notifier {
    /// As the environment says.
    pub fn from_environment() -> io::Result<Notifier> {
        let socket = std::env::var_os("NOTIFY_SOCKET");
        // The watchdog may be meant for another process of the service.
        let ours = std::env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        let limit = std::env::var("WATCHDOG_USEC").ok().filter(|_| ours);
        Notifier::new(socket.as_deref(), limit.and_then(|us| us.parse().ok()).map(Duration::from_micros))
    }

    fn new(socket: Option<&OsStr>, limit: Option<Duration>) -> io::Result<Notifier> {
        let to = socket.filter(|name| !name.is_empty()).map(address).transpose()?;
        let to = to.map(|to| UnixDatagram::unbound().map(|socket| (socket, to))).transpose()?;
        if let Some((socket, _)) = &to {
            // The control thread must not hang on a manager that does not read.
            socket.set_nonblocking(true)?;
        }
        let watchdog = limit.filter(|_| to.is_some()).map(|limit| Watchdog { limit, fed: Instant::now() });
        Ok(Notifier { to, watchdog })
    }

    /// Everything is attached, or the reload is over, and events are watched.
    pub fn ready(&self, cpus: usize) {
        self.send(&format!("READY=1\nSTATUS=watching {cpus} CPUs"));
    }

    /// New files are being read; [`Notifier::ready`] ends it.
    pub fn reloading(&self) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_us()));
    }

    /// The end has begun: draining may take a while.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Tells the manager that the loops run, when it is time to, and `alive` says so for the time since the last call that
    /// it said so. `alive` is asked only when it is time.
    pub fn watchdog(&mut self, now: Instant, alive: impl FnOnce() -> bool) {
        let Some(watchdog) = &mut self.watchdog else { return };
        // Three chances within the limit.
        if now.saturating_duration_since(watchdog.fed) < watchdog.limit / 3 || !alive() {
            return;
        }
        watchdog.fed = now;
        self.send("WATCHDOG=1");
    }

    fn send(&self, state: &str) {
        let Some((socket, to)) = &self.to else { return };
        // A manager that is gone or full has no use for it; the next one follows.
        let _ = socket.send_to_addr(state.as_bytes(), to);
    }
}

/// A path, or a name of the abstract kind, which begins with `@`.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor an abstract name")),
    };
    address.map_err(|e| io::Error::new(e.kind(), format!("NOTIFY_SOCKET={}: {e}", OsString::from(name).display())))
}

fn monotonic_us() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    time.map_or(0, |time| Duration::from(time).as_micros() as u64)
}

/// Which loops have gone round since they were asked last.
#[derive(Debug, Default)]
pub struct Pulse(Vec<u64>);

impl Pulse {
    /// True when every count differs from the last call's; counts that were not there then are new loops, which run.
    pub fn all_moved(&mut self, counts: impl Iterator<Item = u64>) -> bool {
        let counts: Vec<u64> = counts.collect();
        let moved = counts.iter().zip(&self.0).all(|(now, then)| now != then);
        if moved {
            self.0 = counts;
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        let len = socket.recv(&mut bytes).expect("a datagram");
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    }

    #[test]
    fn states_reach_the_manager() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("binds");
        let notifier = Notifier::new(Some(path.as_os_str()), None).expect("an address");
        notifier.ready(4);
        assert_eq!(received(&manager), "READY=1\nSTATUS=watching 4 CPUs");
        notifier.reloading();
        let text = received(&manager);
        let time = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("its form");
        assert!(time.parse::<u64>().expect("a number") > 0);
        notifier.stopping();
        assert_eq!(received(&manager), "STOPPING=1");
        drop(manager);
        // Nobody listens, nothing hangs.
        notifier.ready(4);
    }

    #[test]
    fn abstract_names_are_names() {
        let name = format!("falco-sensor-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).expect("short enough");
        let manager = UnixDatagram::bind_addr(&address).expect("binds");
        Notifier::new(Some(OsStr::new(&format!("@{name}"))), None).expect("an address").stopping();
        assert_eq!(received(&manager), "STOPPING=1");
        let error = Notifier::new(Some(OsStr::new("relative")), None).expect_err("no address");
        assert_eq!(error.to_string(), "NOTIFY_SOCKET=relative: neither a path nor an abstract name");
    }

    #[test]
    fn the_watchdog_is_fed_when_loops_run_and_it_is_time() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("binds");
        manager.set_nonblocking(true).expect("a socket");
        let fed = || manager.recv(&mut [0; 64]).is_ok();
        let mut notifier = Notifier::new(Some(path.as_os_str()), Some(Duration::from_secs(30))).expect("an address");
        let start = Instant::now();
        notifier.watchdog(start, || panic!("it is not time"));
        assert!(!fed());
        notifier.watchdog(start + Duration::from_secs(11), || false);
        assert!(!fed(), "a loop that stands still is not hidden");
        notifier.watchdog(start + Duration::from_secs(12), || true);
        assert!(fed());
        notifier.watchdog(start + Duration::from_secs(13), || panic!("it was fed a second ago"));
        // Without a manager nothing is asked.
        Notifier::new(None, Some(Duration::ZERO)).expect("none").watchdog(start, || panic!("nobody wants to know"));
    }

    #[test]
    fn a_loop_that_stands_still_is_seen() {
        let mut pulse = Pulse::default();
        let mut asked = |counts: &[u64]| pulse.all_moved(counts.iter().copied());
        assert!(asked(&[1, 1]));
        assert!(asked(&[2, 5]));
        assert!(!asked(&[3, 5]), "the second one has not moved");
        assert!(!asked(&[9, 5]));
        assert!(asked(&[9, 6]));
        assert!(asked(&[10, 7, 1]), "a CPU that came");
    }
}
