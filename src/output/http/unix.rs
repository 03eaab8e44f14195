//! The way to a web server on this host: a unix socket in place of a name and a port.

use nix::sys::socket::sockopt::SendTimeout;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket};
use nix::sys::time::TimeVal;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};

/// What "no time limit" is to the kernel, which knows no such thing.
const LONGEST: Duration = Duration::from_secs(3600);

/// The server's socket.
#[derive(Debug)]
pub struct Server(pub PathBuf);

impl Connector for Server {
    type Out = Connection;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Connection>, ureq::Error> {
        let within = left(&details.timeout, Instant::now())?;
        let stream = in_time(self.open(within), &details.timeout)?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Connection { stream, buffers }))
    }
}

impl Server {
    /// A server with more connections than it takes makes this wait.
    fn open(&self, within: Duration) -> io::Result<UnixStream> {
        let made = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&made, SendTimeout, &TimeVal::new(within.as_secs() as i64, i64::from(within.subsec_micros())))?;
        connect(made.as_raw_fd(), &UnixAddr::new(&self.0)?)?;
        Ok(made.into())
    }
}

#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let (timeout, began) = (timeout.for_write(), Instant::now());
        let mut rest = &self.buffers.output()[..amount];
        while !rest.is_empty() {
            self.stream.set_write_timeout(Some(left(&timeout, began)?))?;
            match self.stream.write(rest) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                failed => _ = in_time(failed, &timeout)?,
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let (timeout, began) = (timeout.for_read(), Instant::now());
        loop {
            self.stream.set_read_timeout(Some(left(&timeout, began)?))?;
            match self.stream.read(self.buffers.input_append_buf()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => {
                    let amount = in_time(read, &timeout)?;
                    self.buffers.input_appended(amount);
                    return Ok(amount > 0);
                }
            }
        }
    }

    /// A server that says something unasked is one that closes the connection.
    fn is_open(&mut self) -> bool {
        let silent = self.stream.set_nonblocking(true).is_ok()
            && matches!(self.stream.read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        silent && self.stream.set_nonblocking(false).is_ok()
    }
}

/// What is left of the time, which began to run at `began`; never nothing.
fn left(timeout: &NextTimeout, began: Instant) -> Result<Duration, ureq::Error> {
    let left = (*timeout.after).min(LONGEST).saturating_sub(began.elapsed());
    // Less than the kernel's unit would be no limit.
    if left < Duration::from_micros(1) { Err(ureq::Error::Timeout(timeout.reason)) } else { Ok(left) }
}

/// The kernel tells of a socket's time limit as of a call that would wait.
fn in_time<T>(result: io::Result<T>, timeout: &NextTimeout) -> Result<T, ureq::Error> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ureq::Error::Timeout(timeout.reason),
        _ => error.into(),
    })
}
