//! Any bytes as records of a ring: decoded or refused, applied, and every field of every event asked for.
//!
//! The input is a run of records as they lie in a ring: each as long as its header says, all aligned to 8 bytes.
#![no_main]

mod ask;

use ask::ask_everything;
use falco_sensor::event::live::LiveEvent;
use falco_sensor::event::record::{self, Record};
use falco_sensor::event::synthetic::{Process, Task, World};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut words = vec![0u64; data.len().div_ceil(8)];
    for (word, bytes) in words.iter_mut().zip(data.chunks(8)) {
        let mut eight = [0; 8];
        eight[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_ne_bytes(eight);
    }
    // SAFETY: u64 has no padding and u8 any alignment; the length is that of the words.
    let mut rest = unsafe { std::slice::from_raw_parts(words.as_ptr().cast::<u8>(), words.len() * 8) };
    let mut world = World::new();
    world.task(&Task::new(Process::new(7, "/usr/bin/app", &["app", "x"])).parent(Process::new(1, "/sbin/init", &[])));
    let mut events = 0;
    while let Some(len) = rest.first_chunk().map(|len| u32::from_ne_bytes(*len) as usize) {
        let len = len.next_multiple_of(8);
        let Some((record, behind)) = rest.split_at_checked(len).filter(|_| len > 0) else { break };
        rest = behind;
        let Ok(record) = record::decode(record) else { continue };
        let Record::Event(event) = record else {
            world.tasks.apply(&record);
            continue;
        };
        events += 1;
        // Asking for everything takes a while: a few events per input are enough.
        if events <= 4 {
            ask_everything(&LiveEvent::of_ring(event, &world.tasks, &world.host, events, 0));
        }
    }
});
