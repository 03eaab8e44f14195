use super::super::queue::{self, Sender};
use super::*;
use std::fs;
use std::path::PathBuf;

const LONG: Duration = Duration::from_secs(60);

fn start(channels: Vec<Channel>, capacity: usize, buffered: bool) -> (Sender, Output) {
    let (sender, queue) = queue::bounded(1000);
    (sender, Output::start(queue, channels, Manner { capacity, buffered, ..Manner::default() }).expect("starts"))
}

fn file(path: PathBuf) -> Channel {
    Channel::file(path, true).expect("opens")
}

fn until(mut what: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !what() {
        assert!(Instant::now() < end, "waited in vain");
        thread::sleep(Duration::from_millis(1));
    }
}

fn failed(output: &Output) -> u64 {
    output.lost().map(|(_, _, failed)| failed).sum()
}

#[test]
fn a_file_gets_every_line_and_is_reopened() {
    for keep_alive in [true, false] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("events.txt");
        let (sender, output) = start(vec![Channel::file(path.clone(), keep_alive).expect("writable")], 10, false);
        assert!(sender.alert(b"one", Priority::Notice));
        until(|| !fs::read(&path).expect("there").is_empty());
        fs::rename(&path, folder.path().join("old")).expect("renamed");
        assert!(sender.reopen());
        until(|| !keep_alive || path.exists());
        assert!(sender.alert(b"two", Priority::Notice) && sender.alert(b"three", Priority::Notice));
        drop(sender);
        assert!(output.finish(LONG));
        assert_eq!(fs::read_to_string(folder.path().join("old")).expect("there"), "one\n");
        assert_eq!(fs::read_to_string(&path).expect("there"), "two\nthree\n");
    }
}

#[test]
fn a_program_gets_every_line() {
    for (keep_alive, starts) in [(true, 1), (false, 3)] {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (out, log) = (folder.path().join("out"), folder.path().join("starts"));
        let command = format!("echo started >> {}; cat >> {}", log.display(), out.display());
        let (sender, output) = start(vec![Channel::program(command, keep_alive)], 10, true);
        for line in ["one", "two \"x\"", "three"] {
            assert!(sender.alert(line.as_bytes(), Priority::Notice));
        }
        drop(sender);
        assert!(output.finish(LONG));
        assert_eq!(fs::read_to_string(&out).expect("written"), "one\ntwo \"x\"\nthree\n");
        assert_eq!(fs::read_to_string(&log).expect("written").lines().count(), starts);
    }
}

#[test]
fn what_cannot_be_written_is_counted() {
    let full = Channel::file("/dev/full".into(), true).expect("opens");
    for (channel, buffered) in [(full, true), (Channel::program("exit 3".to_owned(), false), false)] {
        let (sender, output) = start(vec![channel], 10, buffered);
        assert!(sender.alert(b"one", Priority::Notice) && sender.alert(b"two", Priority::Notice));
        drop(sender);
        until(|| output.is_finished());
        assert_eq!(failed(&output), 2);
        assert!(!output.finish(LONG));
    }
}

#[test]
fn a_program_that_dies_is_started_again() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let out = folder.path().join("out");
    let command = format!("read line; echo \"$line\" >> {}; exit 1", out.display());
    let (sender, output) = start(vec![Channel::program(command, true)], 10, false);
    until(|| {
        sender.alert(b"alert", Priority::Notice);
        fs::read_to_string(&out).is_ok_and(|text| text.lines().count() >= 3)
    });
    drop(sender);
    until(|| output.is_finished());
}

/// Lines that come one by one, faster than the buffer is written by itself, are written all the same.
#[test]
fn buffered_lines_are_written_within_seconds() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("events.txt");
    let (sender, output) = start(vec![file(path.clone())], 1000, true);
    until(|| {
        sender.alert(b"again", Priority::Notice);
        thread::sleep(LONGEST_BUFFERED / 20);
        fs::read_to_string(&path).is_ok_and(|text| !text.is_empty())
    });
    drop(sender);
    assert!(output.finish(LONG));
}

/// It does not read, has more to read than a pipe holds, and has started another process that has its input as well.
#[test]
fn a_program_that_is_stuck_can_be_given_up() {
    let (sender, output) = start(vec![Channel::program("sleep 1000; :".to_owned(), true)], 1000, false);
    let line = vec![b'x'; 16 << 10];
    (0..20).for_each(|_| assert!(sender.alert(&line, Priority::Notice)));
    until(|| output.lanes[0].state.busy_since.load(Ordering::Relaxed) > 0);
    drop(sender);
    thread::sleep(LONGEST_BUFFERED / 10);
    assert!(!output.is_finished());
    output.give_up_programs(Duration::ZERO);
    until(|| output.is_finished());
    let lost: Vec<_> = output.lost().map(|(_, dropped, failed)| (dropped, failed > 0)).collect();
    assert_eq!(lost, [(0, true)]);
}

/// One output never takes anything; the other gets every alert, and what the first did not get is counted for it.
#[test]
fn a_stuck_output_costs_the_others_nothing() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (path, release) = (folder.path().join("events.txt"), folder.path().join("release"));
    nix::unistd::mkfifo(&release, nix::sys::stat::Mode::S_IRWXU).expect("made");
    // Opening the FIFO to read waits for a writer.
    let stuck = Channel::program(format!("cat {} > /dev/null", release.display()), false);
    let (sender, mut output) = start(vec![stuck, file(path.clone())], 10, false);
    let is_told = |output: &mut Output| output.newly_blocked(Duration::ZERO).any(|(name, _)| name.contains("release"));
    for i in 0..500 {
        let line = format!("alert {i}");
        while !sender.alert(line.as_bytes(), Priority::Notice) {
            thread::yield_now();
        }
        // The file's own queue is short as well.
        until(|| fs::read_to_string(&path).is_ok_and(|text| text.lines().count() == i + 1));
        if i == 0 {
            until(|| is_told(&mut output));
        }
        assert!(!is_told(&mut output), "once is enough");
    }
    let lost: Vec<_> = output.lost().map(|(_, dropped, failed)| (dropped, failed)).collect();
    // One is being written, ten wait.
    assert_eq!(lost, [(489, 0), (0, 0)]);
    assert_eq!(sender.dropped(), 489);
    until(|| sender.waiting() == 11);
    drop(sender);
    assert!(!output.is_finished());
    // Lets the program go, as often as it is started.
    thread::spawn(move || while fs::OpenOptions::new().write(true).open(&release).is_ok() {});
    until(|| output.is_finished());
    assert!(!output.finish(LONG), "something was lost");
}
