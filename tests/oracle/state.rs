//! Events that no rule looks at are taken in where they are read, many of them by less than the others: what they leave behind is
//! the same.

use super::{captures, folder};
use falco_sensor::capture::thread::Thread;
use falco_sensor::capture::{Demand, Inspector, Replay};

/// All that is known of a thread but for its sizes and its environment.
fn told(state: &Inspector, thread: &Thread) -> String {
    let (tid, pid, ptid) = (thread.tid, thread.pid(), thread.ptid());
    let ids = (tid, pid, ptid, thread.sid, thread.vpgid, thread.uid, thread.loginuid, thread.threads, thread.dead);
    let texts = (thread.comm, thread.image.exepath(), thread.image.exe(), thread.image.args(), &thread.cwd);
    let mut fds: Vec<_> = state.threads().find(tid).map(|id| state.fds(id).iter().collect()).unwrap_or_default();
    fds.sort_by_key(|(number, _)| *number);
    format!("{ids:?} {texts:?} {fds:?}")
}

fn all(state: &Inspector) -> Vec<String> {
    let mut threads: Vec<String> = state.threads().iter().map(|thread| told(state, thread)).collect();
    threads.sort_unstable();
    threads
}

#[test]
fn what_is_passed_over_leaves_the_same_state() {
    let Some(folder) = folder() else { return };
    for capture in captures(&folder) {
        let open = || Replay::open(&folder.join(format!("{capture}.scap.gz")), 0).expect("a capture");
        let (mut whole, mut passing) = (open(), open());
        passing.limit_to(Demand { memory: false, env: false });
        // Enough of them to see every state, and few enough that most are passed over.
        let wanted = |time: u64| (time / 1_000).is_multiple_of(50);
        let mut looked = 0;
        loop {
            let seen = passing.next_wanted(|head| wanted(head.time)).expect("an event").map(|event| event.event().num);
            let mut same = None;
            while let Some(event) = whole.next().expect("an event") {
                if wanted(event.event().time) {
                    same = Some(event.event().num);
                    break;
                }
            }
            assert_eq!(seen, same, "{capture}");
            assert_eq!(all(passing.state()), all(whole.state()), "{capture}: at event {seen:?}");
            if seen.is_none() {
                break;
            }
            looked += 1;
        }
        assert!(looked > 20, "{capture}: {looked}");
        assert_eq!(passing.seen(), whole.seen(), "{capture}");
    }
}
