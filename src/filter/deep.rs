//! Room for recursion over deep conditions.
//!
//! A legal condition nests 1000 parentheses, and macros nest further (`rules::macros` bounds that); what walks the tree
//! recurses that deep. Threads of tests and services may have small stacks, so loading gets one of its own.
//! Invariant: nothing that runs per event comes through here.

/// Far more than the deepest tree needs in a debug build; only what is touched is ever backed by memory.
const STACK_BYTES: usize = 64 << 20;

/// Runs `f` on a thread with a large stack and waits for it; here, when no thread can be had.
pub fn on_large_stack<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    let mut f = Some(f);
    let mut result = None;
    let (task, slot) = (&mut f, &mut result);
    std::thread::scope(|scope| {
        let run = || *slot = task.take().map(|f| f());
        let spawned = std::thread::Builder::new().name("rules".into()).stack_size(STACK_BYTES).spawn_scoped(scope, run);
        if let Ok(handle) = spawned
            && let Err(panic) = handle.join()
        {
            std::panic::resume_unwind(panic);
        }
    });
    match (result, f) {
        (Some(result), _) => result,
        (None, Some(f)) => f(),
        (None, None) => unreachable!("a task that was taken has run or panicked"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_recursion_fits() {
        fn depth(n: usize) -> usize {
            let filler = std::hint::black_box([n; 64]);
            if n == 0 { 0 } else { 1 + depth(n - 1) + filler[0] - n }
        }
        assert_eq!(on_large_stack(|| depth(20_000)), 20_000);
    }
}
