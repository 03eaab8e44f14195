//! Any bytes as a capture, plain and compressed: it ends, with its events or with an error, and every field of an event can be
//! asked for.
#![no_main]

mod ask;

use ask::ask_everything;
use falco_sensor::capture::{Reader, Replay};
use libfuzzer_sys::fuzz_target;
use std::io::Cursor;
use std::path::Path;

fuzz_target!(|data: &[u8]| {
    // The first byte says whether the rest is compressed, and how many events are passed over before one is asked.
    let Some((&first, rest)) = data.split_first() else { return };
    let reader = match Reader::new(Cursor::new(rest.to_vec()), first & 1 == 1, Path::new("fuzz.scap")) {
        Ok(reader) => reader,
        Err(error) => return drop(error.to_string()),
    };
    let (mut replay, mut events) = (Replay::new(reader, 0), 0usize);
    loop {
        match replay.next() {
            Ok(Some(event)) => {
                events += 1;
                // Asking for everything takes a while: a few events per input are enough.
                if events % (usize::from(first >> 1) + 1) == 0 && events / (usize::from(first >> 1) + 1) < 4 {
                    ask_everything(&event);
                }
            }
            Ok(None) => break,
            Err(error) => {
                let _ = error.to_string();
                assert!(matches!(replay.next(), Ok(None)), "nothing follows an error");
                break;
            }
        }
    }
});
