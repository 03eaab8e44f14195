//! A fixed load of system calls: without a sensor, with one whose module stops what no rule can match, and with one that is sent
//! everything its rules listen to.
//!
//! The sensor is a process of its own, started as an operator starts it; another one makes the calls. What is timed is what a call takes its
//! caller: each round is the least of many batches, so what other processes do on this CPU, the sensor's own work included, is not in it
//! (but in that of the last load, which has one batch). In a guest that counts instructions (`scripts/vm --icount`) a nanosecond is one instruction.

use super::{Request, Row, rounds};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What is done, in how many batches of how many: a round is the least of its batches.
const LOADS: [(&str, u64, u64); 6] = [
    ("getpid", 50, 100),
    ("read", 50, 100),
    (OPEN, 50, 100),
    (OPEN_SHORT, 50, 100),
    (PROCESS, 50, 1),
    (PROCESSES, 1, 500),
];
/// A file in a folder of this run, whose path has some 35 bytes: as many as most that programs open.
const OPEN: &str = "openat+close";
/// A file with a short path.
const OPEN_SHORT: &str = "openat+close, /dev/zero";
const SHORT: &str = "/dev/zero";
/// A process is made, ends and is waited for. It runs no program: how long that takes depends on where its file lies.
const PROCESS: &str = "fork+exit+wait";
/// The same of processes that open a file, one after the other as fast as they come; on one CPU with what the sensor does of them.
const PROCESSES: &str = "fork+openat+exit+wait, 500 in a row";
/// An open that a rule looks for.
const TRIGGER: u8 = LOADS.len() as u8;
/// Calls that have to raise an alert, to see that the sensor was there.
const TRIGGERS: u64 = 20;
const PATIENCE: Duration = Duration::from_secs(120);
const RULE: &str = "Call of falco-sensor --bench live";

/// What each stage starts the sensor with; None: there is none.
const STAGES: [(&str, Option<&[&str]>); 3] =
    [("no sensor", None), ("stopped if useless", Some(&[])), ("all sent", Some(&["--no-pushdown"]))];

/// The rows, and what the sensors said at their end: what was not sent, what was lost.
pub fn run(request: &Request<'_>) -> Result<(Vec<Row>, Vec<String>), String> {
    let folder = Folder::new()?;
    let mut worker = Worker::start(&Load::new(&folder.0)?)?;
    let time = request.time / (STAGES.len() * LOADS.len()) as u32;
    let (mut rows, mut said) = (Vec::new(), Vec::new());
    for (stage, options) in STAGES {
        let sensor = options.map(|options| Sensor::start(request, &folder.0, options)).transpose()?;
        let mut measured = Vec::new();
        for (load, (name, _, batch)) in (0..).zip(LOADS) {
            measured.push((format!("{name}, {stage}"), batch, rounds(time, || worker.round(load))?));
        }
        let mut alerts = 0;
        if let Some(mut sensor) = sensor {
            worker.round(TRIGGER)?;
            alerts = sensor.alerts(TRIGGERS);
            said.push(format!("{stage}: {}", sensor.stop()?));
            if alerts != TRIGGERS {
                return Err(format!("{stage}: {TRIGGERS} calls had to raise an alert each, {alerts} came"));
            }
        }
        rows.extend(measured.into_iter().map(|(name, batch, rounds)| Row::of(&name, batch, alerts, &rounds)));
    }
    Ok((rows, said))
}

/// Makes the calls: a process of one thread, as most are. This one has threads that read what a sensor says, and a table of descriptors
/// that threads share is dearer for whoever looks into it.
struct Worker {
    /// Open as long as this is there: then the process ends.
    talk: UnixStream,
}

impl Worker {
    /// To be called while there is one thread.
    fn start(load: &Load) -> Result<Worker, String> {
        let (talk, mut other) = UnixStream::pair().map_err(|e| format!("a pair of sockets: {e}"))?;
        // SAFETY: there is one thread.
        match unsafe { fork() }.map_err(|e| format!("fork: {e}"))? {
            ForkResult::Parent { .. } => Ok(Worker { talk }),
            ForkResult::Child => {
                drop(talk);
                let mut asked = [0];
                while other.read_exact(&mut asked).is_ok() {
                    let least = load.round(asked[0]).map_or(u64::MAX, |least| least.as_nanos() as u64);
                    if other.write_all(&least.to_ne_bytes()).is_err() {
                        break;
                    }
                }
                // SAFETY: it does not return.
                unsafe { libc::_exit(0) }
            }
        }
    }

    /// The least of the batches of a load.
    fn round(&mut self, load: u8) -> Result<Duration, String> {
        let mut least = [0; 8];
        let told = self.talk.write_all(&[load]).and_then(|()| self.talk.read_exact(&mut least));
        told.map_err(|e| format!("the process that makes the calls: {e}"))?;
        match u64::from_ne_bytes(least) {
            u64::MAX => Err("a call of the load failed".to_owned()),
            least => Ok(Duration::from_nanos(least)),
        }
    }
}

/// A folder of this run, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Folder, String> {
        let path = std::env::temp_dir().join(format!("falco-sensor-bench.{}", std::process::id()));
        fs::create_dir(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The calls.
struct Load {
    zero: File,
    /// A file that is there, and one that is not.
    plain: CString,
    short: CString,
    missing: CString,
}

impl Load {
    fn new(folder: &Path) -> Result<Load, String> {
        let text = |path: PathBuf| CString::new(path.as_os_str().as_bytes()).map_err(|e| e.to_string());
        let plain = folder.join("plain");
        fs::write(&plain, "").map_err(|e| format!("{}: {e}", plain.display()))?;
        let zero = File::open("/dev/zero").map_err(|e| format!("/dev/zero: {e}"))?;
        Ok(Load { zero, plain: text(plain)?, short: text(SHORT.into())?, missing: text(missing(folder))? })
    }

    fn round(&self, load: u8) -> Result<Duration, String> {
        let Some((name, batches, batch)) = LOADS.get(usize::from(load)) else {
            (0..TRIGGERS).for_each(|_| self.open(&self.missing));
            return Ok(Duration::ZERO);
        };
        (0..*batches).try_fold(Duration::MAX, |least, _| Ok(least.min(self.batch(name, *batch)?)))
    }

    fn batch(&self, name: &str, batch: u64) -> Result<Duration, String> {
        let call: fn(&Load) -> Result<(), String> = match name {
            "getpid" => |_| {
                // SAFETY: no argument, no memory.
                unsafe { libc::syscall(libc::SYS_getpid) };
                Ok(())
            },
            "read" => |load| (&load.zero).read(&mut [0]).map(drop).map_err(|e| format!("/dev/zero: {e}")),
            PROCESS => |_| process(|| ()),
            PROCESSES => |load| process(|| load.open(&load.plain)),
            OPEN_SHORT => |load| {
                load.open(&load.short);
                Ok(())
            },
            _ => |load| {
                load.open(&load.plain);
                Ok(())
            },
        };
        let start = Instant::now();
        for _ in 0..batch {
            call(self)?;
        }
        Ok(start.elapsed())
    }

    fn open(&self, path: &CString) {
        // SAFETY: a path that ends in NUL; the descriptor is closed by nobody else.
        unsafe {
            let fd = libc::openat(libc::AT_FDCWD, path.as_ptr(), libc::O_RDONLY);
            if fd >= 0 {
                libc::close(fd);
            }
        }
    }
}

/// A process that does this and ends.
fn process(work: impl FnOnce()) -> Result<(), String> {
    // SAFETY: there is one thread.
    match unsafe { fork() }.map_err(|e| format!("fork: {e}"))? {
        ForkResult::Child => {
            work();
            // SAFETY: it does not return.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child } => waitpid(child, None).map(drop).map_err(|e| format!("wait: {e}")),
    }
}

fn missing(folder: &Path) -> PathBuf {
    folder.join("missing")
}

/// A sensor that runs; killed when it is dropped.
struct Sensor {
    child: Child,
    alerts: Arc<AtomicU64>,
    reader: Option<JoinHandle<()>>,
    messages: Receiver<String>,
}

impl Sensor {
    fn start(request: &Request<'_>, folder: &Path, options: &[&str]) -> Result<Sensor, String> {
        let (rules, empty) = (folder.join("rules.yaml"), folder.join("config.yaml"));
        let condition = format!("evt.type in (open, openat, openat2) and fd.name = {}", missing(folder).display());
        let rule = format!("- rule: {RULE}\n  desc: d\n  condition: {condition}\n  output: o\n  priority: DEBUG\n");
        fs::write(&rules, rule).map_err(|e| format!("{}: {e}", rules.display()))?;
        fs::write(&empty, "").map_err(|e| format!("{}: {e}", empty.display()))?;
        let program = std::env::current_exe().map_err(|e| format!("this program's file: {e}"))?;
        let mut command = Command::new(program);
        // The rule that is looked for comes first: with rule_matching 'first' no other takes its event.
        command.arg("-c").arg(request.file.unwrap_or(&empty)).arg("-r").arg(&rules);
        for file in request.rules {
            command.arg("-r").arg(file);
        }
        for output in ["file_output", "syslog_output", "program_output", "http_output", "webserver", "metrics"] {
            command.arg("-o").arg(format!("{output}.enabled=false"));
        }
        command.args(["-o", "stdout_output.enabled=true", "-o", "json_output=true", "-o", "priority=debug", "-U"]);
        match request.module {
            Some(module) => command.arg("--module").arg(module),
            None => &mut command,
        };
        command.args(options).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("starting the sensor: {e}"))?;
        let alerts = Arc::new(AtomicU64::new(0));
        let reader = child.stdout.take().map(|stdout| count(stdout, alerts.clone()));
        let (send, messages) = mpsc::channel();
        if let Some(stderr) = child.stderr.take() {
            thread::spawn(move || {
                BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| send.send(line))
            });
        }
        let sensor = Sensor { child, alerts, reader, messages };
        let mut said = Vec::new();
        while let Ok(line) = sensor.messages.recv_timeout(PATIENCE) {
            if line.contains("ready: ") {
                return Ok(sensor);
            }
            said.push(line);
        }
        Err(format!("the sensor did not start:\n{}", said.join("\n")))
    }

    /// The alerts that came: all that are wanted, or those within the time that is given.
    fn alerts(&self, wanted: u64) -> u64 {
        let start = Instant::now();
        while self.alerts.load(Ordering::Relaxed) < wanted && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(20));
        }
        self.alerts.load(Ordering::Relaxed)
    }

    /// Ends it; its statistics.
    fn stop(&mut self) -> Result<String, String> {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM)
            .map_err(|e| format!("stopping the sensor: {e}"))?;
        let status = self.child.wait().map_err(|e| format!("waiting for the sensor: {e}"))?;
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        let said: Vec<String> = self.messages.iter().collect();
        let statistics = said.iter().find_map(|line| line.split_once("statistics: "));
        match (status.success(), statistics) {
            (true, Some((_, statistics))) => Ok(statistics.to_owned()),
            _ => Err(format!("the sensor ended with {status}:\n{}", said.join("\n"))),
        }
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Counts the alerts of the rule.
fn count(from: ChildStdout, alerts: Arc<AtomicU64>) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            alerts.fetch_add(u64::from(line.contains(RULE)), Ordering::Relaxed);
        }
    })
}
