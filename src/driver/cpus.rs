//! Which CPUs are online, from sysfs.

use std::fs;

/// The CPUs online now, ascending. Where sysfs is missing: those this process may run on.
pub fn online() -> Vec<u32> {
    fs::read_to_string("/sys/devices/system/cpu/online").ok().and_then(|text| parse(text.trim())).unwrap_or_else(|| {
        let count = std::thread::available_parallelism().map_or(1, |n| n.get());
        (0..count as u32).collect()
    })
}

/// A list such as `0-3,8,10-11`.
fn parse(list: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last < first || last > 1 << 16 {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn lists_of_cpus() {
        assert_eq!(parse("0-3,8,10-11"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
        assert_eq!(parse("0"), Some(vec![0]));
        for bad in ["", "a", "3-1", "0-99999999", "1,"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
