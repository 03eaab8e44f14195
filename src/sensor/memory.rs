//! What the sensor leaves of the machine's memory to others: it takes much while it loads rules, and hardly anything afterwards.

/// To be called while there is one thread. What it asks for is not there everywhere, and then things are as they were.
pub fn be_modest() {
    // A huge page behind each stack and each arena would be megabytes for kilobytes. Programs that are started have none either.
    // SAFETY: it takes numbers and sets a flag of this process.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    // One arena: each thread would have its own, with what it freed in it, and those that run for long allocate next to nothing.
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets a number of the allocator, which may be done at any time.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1)
    };
}

/// Gives back what was needed to load rules.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time, by any thread.
    unsafe {
        libc::malloc_trim(0)
    };
}
