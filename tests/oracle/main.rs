//! Captures of real work, against what the original library and program computed from them: the values of every field, the events
//! each of many filters matches, and the alerts of the published rules.
//!
//! The data's folder is `$FALCO_ORACLE` (default ../shared/conformance/oracle); without it nothing is tested. Every difference is
//! written to target/oracle.txt, the first of each kind are printed.

mod alerts;
mod fields;
mod filters;
mod state;

use flate2::read::GzDecoder;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// Where the original's answer is not followed, and why: these are counted as skipped.
pub const DELIBERATE: &[(&str, &str)] = &[
    ("container.type", "told from the control group; the original waits for the runtime"),
    ("container.full_id", "told from the control group; the original waits for the runtime"),
    ("evt.abspath", "below the root directory the original doubles the slash"),
    ("evt.abspath.src", "below the root directory the original doubles the slash"),
    ("evt.abspath.dst", "below the root directory the original doubles the slash"),
    ("evt.buffer", "of an event without data the original gives bytes of earlier events"),
    ("proc.ppid.duration", "of a parent older than the capture the original gives the value of another field"),
];

/// The same of filters, by a part of their text.
pub const FILTERS: &[(&str, &str)] = &[
    ("proc.apid in (", "numbers are found in a list; the original finds none"),
    ("evt.rawarg.fd in (", "numbers are found in a list; the original finds none"),
    ("evt.rawarg.flags in (", "numbers are found in a list; the original finds none"),
    ("evt.rawarg.mode in (", "numbers are found in a list; the original finds none"),
    ("evt.rawarg.res in (", "numbers are found in a list; the original finds none"),
    ("evt.rawarg.size in (", "numbers are found in a list; the original finds none"),
    ("fd.ip in (127.0.0.1, ::1)", "addresses of both families may stand in a list; the original finds none"),
    ("evt.type.is.openat", "is about the event of today's name; the original's about its oldest version only"),
    ("tolower(fd.types)", "a list keeps its elements; the original's is empty"),
    ("toupper(fd.types)", "a list keeps its elements; the original's is empty"),
    ("container.type", "told from the control group; the original waits for the runtime"),
    ("container.full_id", "told from the control group; the original waits for the runtime"),
    ("container.start_ts", "told from the control group; the original waits for the runtime"),
    ("container.duration", "told from the control group; the original waits for the runtime"),
    ("evt.abspath", "below the root directory the original doubles the slash"),
    ("len(evt.buffer)", "of parameters that are no data the original takes the raw length"),
    ("\\x", "escapes of bytes came with a later version of the language"),
    ("::ffff:127.0.0.1", "an IPv4 address in IPv6 clothes is an address"),
];

/// The same of what is said of some events of a capture: by fields and filters with this text, or by all of them (`""`).
pub const EVENTS: &[(&str, &str, &[u64], &str)] = &[
    ("c03_net4", "", &[4017, 4018, 4020], "a socket of IPv6 that connects to unspecified addresses keeps its protocol"),
    (
        "c14_fds",
        "evt.rawarg.size",
        &[1759, 2050],
        "the size of a sendmsg that failed is missing; the original prints 0",
    ),
    // Flags of 8 bits: of signalfd, timerfd_create and inotify_init. All but those of 1457 are 0.
    ("c14_fds", "evt.rawarg.flags = 4096", ZERO_FLAGS, TOO_WIDE),
    ("c14_fds", "evt.rawarg.flags != 4096", ZERO_FLAGS, TOO_WIDE),
    ("c14_fds", "evt.rawarg.flags < 4096", ZERO_FLAGS, TOO_WIDE),
    ("c14_fds", "evt.rawarg.flags < 4096", &[1457], TOO_WIDE),
    ("c14_fds", "evt.rawarg.flags >= 4096", ZERO_FLAGS, TOO_WIDE),
    ("c14_fds", "evt.rawarg.flags >= 4096", &[1457], TOO_WIDE),
];
const ZERO_FLAGS: &[u64] = &[1456, 1464, 1493, 1910, 1935, 1936, 2302, 2355, 2356];
const TOO_WIDE: &str = "a number is compared as it is; the original cuts it to the parameter's width first";

/// The deliberate events of a capture for a field or filter.
pub fn deliberate(capture: &str, subject: &str) -> impl Iterator<Item = (u64, &'static str)> {
    let of_capture = EVENTS.iter().filter(move |(name, part, ..)| *name == capture && subject.contains(part));
    of_capture.flat_map(|(_, _, events, why)| events.iter().map(move |event| (*event, *why)))
}

pub fn folder() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var("FALCO_ORACLE").unwrap_or_else(|_| "../shared/conformance/oracle".into()));
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no folder {} (set FALCO_ORACLE to the reference captures)", folder.display());
    None
}

/// The captures' names, in order.
pub fn captures(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| Some(e.file_name().to_str()?.strip_suffix(".scap.gz")?.to_owned()))
        .collect();
    names.sort();
    names
}

/// Lines of a packed or plain file; none when it is missing.
pub fn lines(path: &Path) -> Vec<serde_json::Value> {
    let Ok(file) = std::fs::File::open(path) else { return Vec::new() };
    let packed = path.extension().is_some_and(|e| e == "gz");
    let reader: Box<dyn BufRead> =
        if packed { Box::new(BufReader::new(GzDecoder::new(file))) } else { Box::new(BufReader::new(file)) };
    reader.lines().map(|line| serde_json::from_str(&line.expect("a line")).expect("JSON")).collect()
}

/// Counts and differences of one kind.
#[derive(Default)]
pub struct Report {
    pub passed: u64,
    pub skipped: BTreeMap<&'static str, u64>,
    failed: BTreeMap<String, Vec<String>>,
}

/// Differences of one subject that are printed.
const SHOWN: usize = 3;

impl Report {
    /// A difference: what it is about (a field, a filter, a rule), and where with what was expected and what came.
    pub fn fail(&mut self, subject: &str, what: String) {
        let is_about =
            |name: &str| subject == name || FILTERS.iter().any(|(part, _)| *part == name && subject.contains(part));
        match DELIBERATE.iter().chain(FILTERS).find(|(name, _)| is_about(name)) {
            Some((_, why)) => self.skip(why),
            None => self.failed.entry(subject.to_owned()).or_default().push(what),
        }
    }

    /// A difference that is meant.
    pub fn skip(&mut self, why: &'static str) {
        *self.skipped.entry(why).or_default() += 1;
    }

    pub fn failed(&self) -> u64 {
        self.failed.values().map(|all| all.len() as u64).sum()
    }

    /// Prints the counts; gives the number of failures.
    pub fn finish(&self, name: &str) -> u64 {
        let mut subjects: Vec<_> = self.failed.iter().collect();
        subjects.sort_by_key(|(_, what)| std::cmp::Reverse(what.len()));
        let mut all = String::new();
        subjects.iter().for_each(|(subject, what)| {
            what.iter().for_each(|line| {
                let _ = writeln!(all, "{subject}\t{line}");
            });
        });
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
        let _ = std::fs::write(target.join(format!("oracle-{name}.txt")), all);
        for (subject, what) in &subjects {
            println!("{subject}: {} differ", what.len());
            for line in what.iter().take(SHOWN) {
                println!("    {}", line.chars().take(400).collect::<String>());
            }
        }
        for (why, count) in &self.skipped {
            println!("skipped {count}: {why}");
        }
        let (failed, skipped) = (self.failed(), self.skipped.values().sum::<u64>());
        println!("{} passed, {failed} failed, {skipped} skipped", self.passed);
        failed
    }
}
