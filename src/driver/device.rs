//! The device file: what the module says of itself, what it is told to do, and the mapping of its rings.
//!
//! One [`Device`] controls the module; every ring has an open file of its own, because a file is bound to one ring
//! and is what its reader polls. All of them belong to one process: the module serves one consumer.

use super::abi::{self, fsn_config, fsn_consumer, fsn_filter_at, fsn_info, fsn_producer, fsn_seed};
use super::error::Error;
use super::ring::{Memory, Ring};
use super::table;
use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;

/// Where the device is: `/dev/falco-sensor`.
pub fn path() -> PathBuf {
    let name = std::ffi::CStr::from_bytes_with_nul(abi::FSN_DEVICE_NAME).ok().and_then(|n| n.to_str().ok());
    Path::new("/dev").join(name.unwrap_or("falco-sensor"))
}

/// What the module says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    pub abi: (u16, u16),
    pub table_hash: u32,
    /// Highest possible CPU + 1.
    pub nr_cpus: u32,
    /// Process that consumes, 0 if none.
    pub consumer: i32,
    /// `FSN_TP_*` attached now.
    pub attached: u32,
    /// The module's clock, ns.
    pub clock: u64,
    pub execs_live: u64,
    pub threads_live: u64,
    /// Events lost on a CPU without a ring.
    pub no_ring: u64,
    /// Identities that could not be stored.
    pub no_memory: u64,
    pub version: String,
}

/// The module, open for control.
pub struct Device {
    file: File,
}

impl Device {
    /// Opens the device of a loaded module and checks that it and this program are of one make.
    pub fn open() -> Result<Device, Error> {
        let device = Device { file: open_file()? };
        let info = device.info()?;
        let ours = (abi::FSN_ABI_MAJOR as u16, abi::FSN_ABI_MINOR as u16);
        // A module with a higher minor only adds what this program skips.
        if info.abi.0 != ours.0 || info.abi.1 < ours.1 {
            let text = |v: (u16, u16)| format!("{}.{}", v.0, v.1);
            return Err(Error::AbiMismatch { theirs: text(info.abi), ours: text(ours), version: info.version });
        }
        if info.table_hash != table::hash() {
            return Err(Error::TableMismatch { theirs: info.table_hash, ours: table::hash(), version: info.version });
        }
        Ok(device)
    }

    pub fn info(&self) -> Result<Info, Error> {
        let mut raw = fsn_info { size: size_of::<fsn_info>() as u32, ..fsn_info::default() };
        self.ioctl(abi::FSN_IOCTL_INFO, (&raw mut raw).cast()).map_err(Error::device("reading the module's state"))?;
        Ok(Info {
            abi: (raw.abi_major, raw.abi_minor),
            table_hash: raw.table_hash,
            nr_cpus: raw.nr_cpus,
            consumer: raw.consumer,
            attached: raw.attached,
            clock: raw.clock,
            execs_live: raw.execs_live,
            threads_live: raw.threads_live,
            no_ring: raw.no_ring,
            no_memory: raw.no_memory,
            version: String::from_utf8_lossy(abi::text(&raw.version)).into_owned(),
        })
    }

    /// Says what to capture. The first one decides the size of the rings.
    pub fn configure(&self, config: &fsn_config) -> Result<(), Error> {
        let mut config = fsn_config { size: size_of::<fsn_config>() as u32, ..*config };
        let ring_bytes = config.ring_bytes;
        self.ioctl(abi::FSN_IOCTL_CONFIG, (&raw mut config).cast()).map_err(|e| match e.raw_os_error() {
            Some(libc::ENOMEM) => Error::RingMemory { bytes: ring_bytes, source: e },
            _ => self.or_busy(e, "configuring the module"),
        })
    }

    /// Hands over the conditions that calls have to meet (`struct fsn_filter`); an empty table lets everything pass. What the
    /// module filters changes at once: before rules are replaced by others, take the old ones' conditions away.
    pub fn filter(&self, table: &[u8]) -> Result<(), Error> {
        let mut at = fsn_filter_at { size: table.len() as u32, reserved: 0, address: table.as_ptr() as u64 };
        self.ioctl(abi::FSN_IOCTL_FILTER, (&raw mut at).cast())
            .map_err(|e| self.or_busy(e, "handing over the rules' conditions"))
    }

    /// Allocates and maps the ring of `cpu`, `ring_bytes` long as configured.
    pub fn attach(&self, cpu: u32, ring_bytes: u32) -> Result<Ring<Arc<Mapped>>, Error> {
        let file = open_file()?;
        ioctl(&file, abi::FSN_IOCTL_ATTACH, cpu as usize as *mut c_void).map_err(|e| match e.raw_os_error() {
            Some(libc::ENOMEM) => Error::RingMemory { bytes: ring_bytes, source: e },
            _ => self.or_busy(e, &format!("attaching to the ring of CPU {cpu}")),
        })?;
        let memory =
            Mapped::new(file, cpu, ring_bytes).map_err(Error::device(format!("mapping the ring of CPU {cpu}")))?;
        Ok(Ring::new(Arc::new(memory)))
    }

    /// Attaches the tracepoints: events flow.
    pub fn start(&self) -> Result<(), Error> {
        self.ioctl(abi::FSN_IOCTL_START, std::ptr::null_mut()).map_err(|e| self.or_busy(e, "starting the capture"))
    }

    /// Detaches the tracepoints.
    pub fn stop(&self) -> Result<(), Error> {
        self.ioctl(abi::FSN_IOCTL_STOP, std::ptr::null_mut()).map_err(Error::device("stopping the capture"))
    }

    /// Tells of a process older than the module. An error means that the module did not want it.
    pub fn seed(&self, pid: i32, args: &[u8], env: &[u8], exe: &[u8]) -> io::Result<()> {
        let cut = |bytes: &[u8]| bytes.len().min(abi::FSN_ARGS_MAX as usize) as u32;
        let mut seed = fsn_seed {
            pid,
            args_len: cut(args),
            env_len: cut(env),
            exe_len: cut(exe),
            args: args.as_ptr() as u64,
            env: env.as_ptr() as u64,
            exe: exe.as_ptr() as u64,
        };
        self.ioctl(abi::FSN_IOCTL_SEED, (&raw mut seed).cast())
    }

    fn ioctl(&self, request: u32, argument: *mut c_void) -> io::Result<()> {
        ioctl(&self.file, request, argument)
    }

    /// EBUSY has a reason that can be told.
    fn or_busy(&self, error: io::Error, action: &str) -> Error {
        if error.raw_os_error() == Some(libc::EBUSY)
            && let Ok(info) = self.info()
            && info.consumer != 0
            && info.consumer as u32 != std::process::id()
        {
            return busy(info.consumer);
        }
        Error::device(action)(error)
    }
}

/// The sentence for "somebody else consumes".
fn busy(pid: i32) -> Error {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
    Error::Busy { pid, name: name.map_or_else(|_| String::new(), |n| format!(", {}", n.trim())) }
}

fn open_file() -> Result<File, Error> {
    let path = path();
    OpenOptions::new().read(true).write(true).open(&path).map_err(|source| match source.raw_os_error() {
        Some(libc::ENOENT | libc::ENXIO | libc::ENODEV) => Error::NotLoaded,
        Some(libc::EACCES | libc::EPERM) => Error::DeviceDenied { path },
        Some(libc::EBUSY) => busy(consumer_in_sysfs()),
        _ => Error::File { path, source },
    })
}

/// Who consumes, as the module tells those it does not let in.
fn consumer_in_sysfs() -> i32 {
    let text = std::fs::read_to_string("/sys/module/falco_sensor/parameters/consumer");
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn ioctl(file: &File, request: u32, argument: *mut c_void) -> io::Result<()> {
    loop {
        // SAFETY: the callers pass what the request takes (kmod/abi.h): a pointer to a live struct of its type, or a
        // number.
        let result = unsafe { libc::ioctl(file.as_raw_fd(), request as _, argument) };
        match Errno::result(result) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// One mapping, unmapped when dropped.
struct Area {
    start: NonNull<c_void>,
    len: usize,
}

impl Area {
    fn new(file: &File, offset: u64, len: usize, protection: ProtFlags) -> io::Result<Area> {
        let length = NonZeroUsize::new(len).ok_or(Errno::EINVAL)?;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, file, offset as libc::off_t)? };
        Ok(Area { start, len })
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: this mapping is ours and nothing borrows from it any more.
        let _ = unsafe { munmap(self.start, self.len) };
    }
}

/// The memory of a ring shared with the module.
pub struct Mapped {
    consumer: Area,
    producer: Area,
    page: usize,
    size: u32,
    cpu: u32,
    // After the areas: the file is closed last.
    file: File,
}

impl Mapped {
    fn new(file: File, cpu: u32, size: u32) -> io::Result<Mapped> {
        let page = page_size();
        if !size.is_power_of_two() || (size as usize) < page {
            return Err(io::Error::other(format!("a ring of {size} bytes is not a power of two of at least a page")));
        }
        let base = u64::from(cpu) * abi::FSN_MMAP_CPU_STRIDE;
        let consumer_len = size_of::<fsn_consumer>().next_multiple_of(page);
        let consumer = Area::new(&file, base, consumer_len, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?;
        let producer_len = page + 2 * size as usize;
        let producer = Area::new(&file, base + abi::FSN_MMAP_PRODUCER_OFFSET, producer_len, ProtFlags::PROT_READ)?;
        let mapped = Mapped { consumer, producer, page, size, cpu, file };
        // SAFETY: the producer's page is mapped; the field is written once, before the ring can be mapped.
        let actual = unsafe { (&raw const (*mapped.producer().as_ptr()).data_size).read_volatile() };
        if actual != size {
            return Err(io::Error::other(format!("the ring is {actual} bytes long, not {size}")));
        }
        Ok(mapped)
    }

    /// The CPU whose ring it is.
    pub fn cpu(&self) -> u32 {
        self.cpu
    }
}

impl AsRawFd for Mapped {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl AsFd for Mapped {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

// SAFETY: both areas stay mapped until drop; their sizes are those of the structs and of page + 2 * size; the module
// maps the data twice in a row and writes only outside tail..head.
unsafe impl Memory for Mapped {
    fn consumer(&self) -> NonNull<fsn_consumer> {
        self.consumer.start.cast()
    }

    fn producer(&self) -> NonNull<fsn_producer> {
        self.producer.start.cast()
    }

    fn data(&self) -> NonNull<u8> {
        // SAFETY: the area is a page and the data.
        unsafe { self.producer.start.cast::<u8>().add(self.page) }
    }

    fn size(&self) -> u32 {
        self.size
    }
}

// SAFETY: mappings and file are not bound to a thread.
unsafe impl Send for Mapped {}
// SAFETY: the words written after the mapping are accessed atomically, or as whole words where only counters are read.
unsafe impl Sync for Mapped {}

/// Bytes of a page of this machine.
pub fn page_size() -> usize {
    // SAFETY: no preconditions.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}
