//! What the sensor and its host use, as /proc tells it.

use std::path::{Path, PathBuf};

/// Clock ticks, of the sensor and of the whole host.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ticks {
    pub own: u64,
    pub busy: u64,
    pub all: u64,
}

/// A number behind a word that begins a line: `VmRSS:   123 kB`.
fn number(text: &str, word: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(word))?;
    line.split_whitespace().next()?.parse().ok()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// A host's /proc, and the own one.
#[derive(Clone, Debug)]
pub struct Host {
    proc: PathBuf,
    cgroup_memory: PathBuf,
}

impl Host {
    /// `root` is where the host's file system is.
    pub fn new(root: &Path) -> Host {
        let cgroup_memory = std::env::var_os("FALCO_CGROUP_MEM_PATH").filter(|path| !path.is_empty());
        let default = || "/sys/fs/cgroup/memory/memory.usage_in_bytes".into();
        Host { proc: root.join("proc"), cgroup_memory: cgroup_memory.unwrap_or_else(default).into() }
    }

    pub fn ticks(&self) -> Ticks {
        let own = read(Path::new("/proc/self/stat"));
        // Behind the name, which may hold anything: utime and stime are the 12th and 13th.
        let fields: Vec<&str> = own.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let field = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let stat = read(&self.proc.join("stat"));
        let cpu: Vec<u64> = stat.lines().next().unwrap_or("").split_whitespace().skip(1).flat_map(str::parse).collect();
        // user nice system idle iowait irq softirq steal; guests are part of the first two.
        let all: u64 = cpu.iter().take(8).sum();
        let idle: u64 = cpu.iter().skip(3).take(2).sum();
        Ticks { own: field(11) + field(12), busy: all - idle, all }
    }

    /// Metrics' names with their values in base units; what cannot be read is left out.
    pub fn usage(&self, since: Ticks, seconds: f64) -> Vec<(&'static str, f64)> {
        let now = self.ticks();
        // SAFETY: no preconditions.
        let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as f64;
        let own = now.own.saturating_sub(since.own) as f64 / per_second / seconds.max(0.01);
        let (busy, all) = (now.busy.saturating_sub(since.busy), now.all.saturating_sub(since.all));
        let status = read(Path::new("/proc/self/status"));
        let rollup = read(Path::new("/proc/self/smaps_rollup"));
        let (memory, stat) = (read(&self.proc.join("meminfo")), read(&self.proc.join("stat")));
        let kilobytes = |text: &str, word: &str| number(text, word).map(|value| value * 1024.0);
        let used = || Some(kilobytes(&memory, "MemTotal:")? - kilobytes(&memory, "MemAvailable:")?);
        let files = read(&self.proc.join("sys/fs/file-nr"));
        [
            ("falcosecurity_falco_cpu_usage_ratio", Some(own)),
            ("falcosecurity_falco_memory_rss_bytes", kilobytes(&status, "VmRSS:")),
            ("falcosecurity_falco_memory_vsz_bytes", kilobytes(&status, "VmSize:")),
            ("falcosecurity_falco_memory_pss_bytes", kilobytes(&rollup, "Pss:")),
            ("falcosecurity_falco_container_memory_used_bytes", read(&self.cgroup_memory).trim().parse().ok()),
            ("falcosecurity_falco_host_cpu_usage_ratio", Some(busy as f64 / all.max(1) as f64)),
            ("falcosecurity_falco_host_memory_used_bytes", used()),
            ("falcosecurity_falco_host_procs_running_total", number(&stat, "procs_running")),
            ("falcosecurity_falco_host_open_fds_total", files.split_whitespace().next().and_then(|n| n.parse().ok())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }

    /// When the host started, ns since 1970.
    pub fn boot(&self) -> u64 {
        number(&read(&self.proc.join("stat")), "btime").unwrap_or(0.0) as u64 * 1_000_000_000
    }

    /// The release of the kernel.
    pub fn kernel() -> String {
        let name = nix::sys::utsname::uname();
        name.map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Name, protocol (`ipv4`, `ipv6`) and addresses of each interface but the loopback.
    pub fn addresses() -> Vec<(String, &'static str, String)> {
        let mut all: std::collections::BTreeMap<(String, &'static str), Vec<String>> =
            std::collections::BTreeMap::new();
        for one in nix::ifaddrs::getifaddrs().into_iter().flatten().filter(|one| one.interface_name != "lo") {
            let Some(address) = &one.address else { continue };
            let (protocol, text) = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
                (Some(v4), _) => ("ipv4", v4.ip().to_string()),
                (_, Some(v6)) => ("ipv6", v6.ip().to_string()),
                _ => continue,
            };
            all.entry((one.interface_name.clone(), protocol)).or_default().push(text);
        }
        all.into_iter().map(|((name, protocol), addresses)| (name, protocol, addresses.join(","))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_tells() {
        let host = Host::new(Path::new("/"));
        let usage = host.usage(Ticks::default(), 1.0);
        let of = |name: &str| usage.iter().find(|(known, _)| known.ends_with(name)).map(|(_, value)| *value);
        let (rss, vsz) = (of("memory_rss_bytes").expect("told"), of("memory_vsz_bytes").expect("told"));
        assert!(rss > 1e5 && vsz > rss);
        assert!((0.0..=1.0).contains(&of("host_cpu_usage_ratio").expect("told")));
        for name in ["cpu_usage_ratio", "host_memory_used_bytes", "host_procs_running_total", "host_open_fds_total"] {
            assert!(of(name).is_some_and(|value| value >= 0.0), "{name}");
        }
        assert!(host.boot() > 1_000_000_000_000_000_000);
        assert!(!Host::kernel().is_empty());
    }
}
