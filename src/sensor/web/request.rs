//! One request and its answer, over anything that reads and writes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// A request's first line and headers.
const MOST_BYTES: usize = 8 << 10;
const MOST_HEADERS: usize = 64;
/// What a client sends besides is taken in up to here, so that it gets to read the answer.
const MOST_IGNORED: usize = 64 << 10;

/// A 200.
pub struct Answer {
    pub kind: &'static str,
    pub body: String,
}

/// A socket whose every use ends by one deadline.
pub struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

impl Timed {
    pub fn new(stream: TcpStream, deadline: Instant) -> Timed {
        Timed { stream, deadline }
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    /// Says that all is said, and waits a little for the client to close: closing on unread bytes would take the answer back.
    pub fn linger(mut self) {
        self.deadline = self.deadline.min(Instant::now() + Duration::from_secs(1));
        if self.stream.shutdown(Shutdown::Write).is_ok() {
            let _ = io::copy(&mut (&mut self).take(MOST_IGNORED as u64), &mut io::sink());
        }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Reads one request and answers it; `site` knows the paths. Gives the stream back.
pub fn serve<S: Read + Write>(mut stream: S, site: impl Fn(&str) -> Option<Answer>) -> io::Result<S> {
    let mut head = Vec::new();
    let response = loop {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&head) {
            Ok(httparse::Status::Complete(_)) => {
                break respond(request.method.unwrap_or(""), request.path.unwrap_or(""), site);
            }
            Ok(httparse::Status::Partial) if head.len() < MOST_BYTES => {}
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                break refuse("431 Request Header Fields Too Large", "");
            }
            Err(_) => break refuse("400 Bad Request", ""),
        }
        let mut more = [0; 1024];
        match stream.read(&mut more)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => head.extend_from_slice(&more[..count]),
        }
    };
    stream.write_all(response.as_bytes())?;
    stream.flush()?;
    Ok(stream)
}

fn respond(method: &str, target: &str, site: impl Fn(&str) -> Option<Answer>) -> String {
    let path = target.split(['?', '#']).next().unwrap_or(target);
    // A proxy's form has the server in front.
    let path = path.split_once("://").map_or(path, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
    let Some(Answer { kind, body }) = site(path) else { return refuse("404 Not Found", "") };
    let shown = match method {
        "GET" => body.as_str(),
        "HEAD" => "",
        _ => return refuse("405 Method Not Allowed", "Allow: GET, HEAD\r\n"),
    };
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{shown}",
        body.len()
    )
}

fn refuse(status: &str, header: &str) -> String {
    let length = status.len() + 1;
    format!(
        "HTTP/1.1 {status}\r\n{header}Content-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{status}\n"
    )
}
