//! Ports for servers that a test starts: each is given once, and none is one that the kernel gives to anybody by itself.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below what connections and listeners without a wish get (32768), above what browsers refuse (10080).
const FIRST: u16 = 11_000;
const COUNT: u16 = 20_000;

/// A port nobody listens at. Another process of tests begins elsewhere.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 200) as u16 * 100;
    for _ in 0..COUNT {
        let port = FIRST + start.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port of {FIRST} to {} is free", FIRST + COUNT);
}
