//! Any bytes as a capture, plain and compressed: it ends, with its events or with an error.
#![no_main]

use falco_sensor::capture::Reader;
use libfuzzer_sys::fuzz_target;
use std::io::Cursor;
use std::path::Path;

fuzz_target!(|data: &[u8]| {
    let Some((&first, rest)) = data.split_first() else { return };
    let Ok(mut reader) = Reader::new(Cursor::new(rest.to_vec()), first & 1 == 1, Path::new("fuzz.scap")) else {
        return;
    };
    loop {
        match reader.next() {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => {
                let _ = error.to_string();
                assert!(matches!(reader.next(), Ok(None)), "nothing follows an error");
                break;
            }
        }
        let _ = reader.take_metadata();
    }
});
