//! The state that events leave behind: threads, descriptors, users.
//!
//! Each event is taken in two steps around the rules' look at it: [`Inspector::before`] changes what the call has changed when it
//! returned, [`Inspector::after`] what goes only then (a closed descriptor, a dead thread). What rules see of a thread is a task
//! filled as the kernel module would ([`Inspector::describe`]), so it is compared and built only when something has changed. Not the
//! fields, and not the file. Invariant: an event of an unknown type or thread, or with nonsense in it, changes nothing else.

mod columns;
mod descriptors;
pub mod fd;
mod mirror;
mod numbers;
mod processes;
pub mod thread;

use columns::{Column, Named};
pub use descriptors::{CapturedTuple, address, tuple};

use super::bounds;
use super::event::{Event, EventBuf, STATE_ONLY};
use super::meta::{Interface, Machine, Metadata};
use super::reader::Plain;
use crate::enrich::runtime::Containers;
use crate::enrich::users::Users;
use crate::event::cgroups::Met;
use crate::event::clock::Clock;
use crate::event::exec::Execs;
use crate::event::params;
use crate::event::types::{Age, EVENTS, EventCode, Origin, flag};
use crate::event::view::Host;
use fd::{Fd, FdTable, FdsMut, Room, Slot};
use numbers::Numbers;
use std::borrow::Cow;
use std::rc::Rc;
use std::sync::LazyLock;
use thread::{Thread, ThreadId, Threads};

/// What an event does to the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Nothing,
    Open,
    OpenByHandle,
    Close,
    CloseRange,
    Socket,
    Bind,
    Connect,
    Accept,
    Send,
    Receive,
    SocketPair,
    Pipe,
    /// A descriptor of a kind that has no other properties.
    Make(super::meta::FdKind),
    Memfd,
    PidfdGetfd,
    Dup,
    Fcntl,
    Chdir,
    Fchdir,
    Getcwd,
    Chroot,
    SetUid,
    SetGid,
    Setsid,
    Setpgid,
    Capset,
    Namespace,
    Rlimit,
    Memory,
    Prctl,
    Clone,
    Exec,
    Exit,
    Switch,
    User(bool),
    Group(bool),
    Container,
    /// A call's enter event: kept for its exit.
    Enter,
}

/// What is asked about the type of every event.
#[derive(Clone, Copy, Debug)]
struct Shape {
    action: Action,
    /// The parameter with the number of the descriptor it is about.
    main_fd: Option<u8>,
}

impl Shape {
    const NOTHING: Shape = Shape { action: Action::Nothing, main_fd: None };
}

static SHAPES: LazyLock<Vec<Shape>> = LazyLock::new(|| {
    let action_of = |code: EventCode| {
        let info = code.info();
        if code.is_enter() && info.origin == Origin::Syscall {
            return Action::Enter;
        }
        if info.age != Age::Current {
            return Action::Nothing;
        }
        action(info.name, code.is_enter())
    };
    let of = |code: u16| {
        let code = EventCode(code);
        let main_fd = params::event(code).and_then(|def| def.main_fd).filter(|_| code.info().has(flag::USES_FD));
        Shape { action: action_of(code), main_fd }
    };
    (0..EVENTS.len() as u16).map(of).collect()
});

fn action(name: &str, even: bool) -> Action {
    use super::meta::FdKind;
    match (name, even) {
        ("procexit", true) => Action::Exit,
        ("switch", true) => Action::Switch,
        ("useradded", true) => Action::User(true),
        ("userdeleted", true) => Action::User(false),
        ("groupadded", true) => Action::Group(true),
        ("groupdeleted", true) => Action::Group(false),
        ("container" | "asyncevent", true) => Action::Container,
        (_, true) => Action::Nothing,
        ("open" | "openat" | "openat2" | "creat", _) => Action::Open,
        ("open_by_handle_at", _) => Action::OpenByHandle,
        ("close", _) => Action::Close,
        ("close_range", _) => Action::CloseRange,
        ("socket", _) => Action::Socket,
        ("bind", _) => Action::Bind,
        ("connect", _) => Action::Connect,
        ("accept" | "accept4", _) => Action::Accept,
        ("send" | "sendto" | "sendmsg" | "sendmmsg", _) => Action::Send,
        ("recv" | "recvfrom" | "recvmsg" | "recvmmsg", _) => Action::Receive,
        ("socketpair", _) => Action::SocketPair,
        ("pipe" | "pipe2", _) => Action::Pipe,
        ("eventfd" | "eventfd2", _) => Action::Make(FdKind::Event),
        ("signalfd" | "signalfd4", _) => Action::Make(FdKind::Signalfd),
        ("timerfd_create", _) => Action::Make(FdKind::Timerfd),
        ("inotify_init" | "inotify_init1", _) => Action::Make(FdKind::Inotify),
        ("epoll_create" | "epoll_create1", _) => Action::Make(FdKind::Eventpoll),
        ("bpf", _) => Action::Make(FdKind::Bpf),
        ("userfaultfd", _) => Action::Make(FdKind::Userfaultfd),
        ("io_uring_setup", _) => Action::Make(FdKind::IoUring),
        ("pidfd_open", _) => Action::Make(FdKind::Pidfd),
        ("memfd_create", _) => Action::Memfd,
        ("pidfd_getfd", _) => Action::PidfdGetfd,
        ("dup" | "dup2" | "dup3", _) => Action::Dup,
        ("fcntl", _) => Action::Fcntl,
        ("chdir", _) => Action::Chdir,
        ("fchdir", _) => Action::Fchdir,
        ("getcwd", _) => Action::Getcwd,
        ("chroot", _) => Action::Chroot,
        ("setuid" | "setreuid" | "setresuid", _) => Action::SetUid,
        ("setgid" | "setregid" | "setresgid", _) => Action::SetGid,
        ("setsid", _) => Action::Setsid,
        ("setpgid", _) => Action::Setpgid,
        ("capset", _) => Action::Capset,
        ("unshare" | "setns", _) => Action::Namespace,
        ("setrlimit" | "prlimit", _) => Action::Rlimit,
        ("brk" | "mmap" | "mmap2" | "munmap", _) => Action::Memory,
        ("prctl", _) => Action::Prctl,
        ("clone" | "clone3" | "fork" | "vfork", _) => Action::Clone,
        ("execve" | "execveat", _) => Action::Exec,
        _ => Action::Nothing,
    }
}

/// What an event is about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject {
    pub thread: Option<ThreadId>,
    /// The descriptor's number; None when the event is not about one.
    pub fd: Option<i64>,
    /// Its number is an error's, and there is a descriptor all the same.
    pub fd_of_failure: bool,
    /// The event gave the descriptor its name.
    pub renamed: bool,
    /// It made a descriptor, or failed to, and itself tells all of it: nothing comes from the process or from an event before.
    pub told: bool,
    /// Rules do not see it.
    pub hidden: bool,
    /// Of a switch: ns since the one before on its CPU.
    pub exec_time: u64,
    after: After,
}

/// What is left to do when rules have seen an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum After {
    #[default]
    Nothing,
    CloseFd(i64),
    RemoveThread,
}

/// What rules and outputs ask of processes, beside what is always known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// How much memory they take.
    pub memory: bool,
    /// Their environment.
    pub env: bool,
}

impl Demand {
    pub const ALL: Demand = Demand { memory: true, env: true };
}

/// The state of the machine a capture was made on.
#[derive(Debug)]
pub struct Inspector {
    threads: Threads,
    room: Rc<Room>,
    /// Calls that have begun, by thread, of those events that tell what the kernel read first.
    enters: hashbrown::HashMap<i64, EventBuf>,
    /// When each CPU took up another thread last.
    switches: hashbrown::HashMap<u16, u64>,
    /// By event code.
    shapes: Cow<'static, [Shape]>,
    host: Host,
    container_users: hashbrown::HashMap<Vec<u8>, Users>,
    nobody: Users,
    containers: Containers,
    machine: Machine,
    interfaces: Vec<Interface>,
    execs: Execs,
    cgroups: Met,
    numbers: Numbers,
    /// Generation of the dictionary of images.
    dictionary: u32,
    next_image: u64,
    /// Grows when somebody's ancestors may have changed.
    lineage_seq: u64,
    /// Descriptions of threads so far.
    fills: u64,
    /// Grows when names of users may have changed.
    facts: u32,
    demand: Demand,
    scratch: mirror::Scratch,
}

impl Inspector {
    /// Nothing is known. `utc_offset` is the local time of texts, in seconds east of UTC.
    pub fn new(utc_offset: i32) -> Inspector {
        let clock = Clock { wall_minus_module: 0, wall_minus_boot: 0, utc_offset };
        Inspector {
            threads: Threads::default(),
            room: Rc::default(),
            enters: hashbrown::HashMap::new(),
            switches: hashbrown::HashMap::new(),
            shapes: Cow::Borrowed(&SHAPES),
            host: Host::new(Users::none(), clock, "", 0),
            container_users: hashbrown::HashMap::new(),
            nobody: Users::none(),
            containers: Containers::default(),
            machine: Machine::default(),
            interfaces: Vec::new(),
            execs: Execs::default(),
            cgroups: Met::default(),
            numbers: Numbers::default(),
            dictionary: 1,
            next_image: 0,
            lineage_seq: 1,
            fills: 0,
            facts: 1,
            demand: Demand::ALL,
            scratch: mirror::Scratch::default(),
        }
    }

    /// Takes in what a capture says before its events.
    pub fn describe_machine(&mut self, metadata: Metadata) {
        let Metadata { machine, processes, fds, interfaces, users, groups } = metadata;
        if let Some(machine) = machine {
            self.machine = machine;
        }
        let room = bounds::INTERFACES.saturating_sub(self.interfaces.len());
        self.interfaces.extend(interfaces.into_iter().take(room));
        self.change_users(b"host", |known| {
            users.iter().for_each(|u| known.set_user(u.uid, &u.name, &u.home, &u.shell));
            groups.iter().for_each(|g| known.set_group(g.gid, &g.name));
        });
        for entry in processes {
            self.add_thread(Thread::listed(entry));
        }
        for (tid, entries) in fds {
            let Some(id) = self.threads.find(tid) else { continue };
            let table = &mut self.threads.get_mut(id).fds;
            for entry in entries {
                let slot = |fd| Slot { fd: Rc::new(fd), close_on_exec: false };
                FdsMut { table: &mut *table, room: &self.room }.set(entry.fd, slot(Fd::listed(entry)));
            }
        }
        self.count_threads();
    }

    /// Adds a thread as if it had been there when the capture began.
    pub fn add_thread(&mut self, thread: Thread) {
        self.threads.insert(thread);
        self.lineage_seq += 1;
    }

    /// Adds a descriptor to a thread's process.
    pub fn add_fd(&mut self, tid: i64, number: i64, fd: Fd) {
        if let Some(id) = self.threads.find(tid) {
            self.fds_mut(id).set(number, Slot { fd: Rc::new(fd), close_on_exec: false });
        }
    }

    pub const fn threads(&self) -> &Threads {
        &self.threads
    }

    /// What is known of the machine that rules can ask for: users, times.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    pub const fn host_mut(&mut self) -> &mut Host {
        self.facts += 1;
        &mut self.host
    }

    /// Changes with what fields of a task come from beside the thread itself.
    pub const fn facts(&self) -> u32 {
        self.facts
    }

    pub const fn machine(&self) -> &Machine {
        &self.machine
    }

    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    pub const fn execs(&self) -> &Execs {
        &self.execs
    }

    /// The descriptors of a thread's process.
    pub fn fds(&self, id: ThreadId) -> &FdTable {
        &self.threads.get(self.threads.owner_of_fds(id)).fds
    }

    fn fds_mut(&mut self, id: ThreadId) -> FdsMut<'_> {
        let owner = self.threads.owner_of_fds(id);
        FdsMut { table: &mut self.threads.get_mut(owner).fds, room: &self.room }
    }

    /// What all tables of descriptors take.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// A descriptor of a thread's process.
    pub fn fd(&self, id: ThreadId, number: i64) -> Option<&Fd> {
        self.fds(id).get(number)
    }

    /// From now on only what is asked for is kept.
    pub fn limit_to(&mut self, demand: Demand) {
        self.demand = demand;
        if !demand.memory {
            let sizes = self.shapes.to_mut().iter_mut().filter(|shape| shape.action == Action::Memory);
            sizes.for_each(|shape| shape.action = Action::Nothing);
        }
    }

    /// Takes in an event that rules do not look at, if it leaves all that is known as it is, but for a descriptor that it closes:
    /// most do.
    #[inline(always)]
    pub(super) fn settle(&mut self, event: &Plain<'_>) -> bool {
        let head = &event.head;
        let action = self.shapes.get(usize::from(head.code)).unwrap_or(&Shape::NOTHING).action;
        if !matches!(action, Action::Nothing | Action::Close)
            || head.flags & STATE_ONLY != 0
            || self.host.first_event == 0
        {
            return false;
        }
        let Some(thread) = self.threads.find(head.tid) else { return false };
        if action == Action::Nothing {
            return true;
        }
        let Some([result, fd]) = event.two_numbers() else { return false };
        if result >= 0 {
            self.fds_mut(thread).remove(fd);
        }
        true
    }

    /// Changes what an event has changed by the time its call returned.
    #[inline(always)]
    pub fn before(&mut self, event: &Event<'_>) -> Subject {
        self.host.cpu = u32::from(event.cpu);
        let Shape { action, main_fd } = *self.shapes.get(usize::from(event.code.0)).unwrap_or(&Shape::NOTHING);
        let hidden = match action {
            Action::User(_) | Action::Group(_) => true,
            // Those of the oldest captures tell nothing that their exits could use; rules see them, as in Falco.
            Action::Enter => event.params().any(|param| !param.is_empty()),
            _ => false,
        } || event.flags & STATE_ONLY != 0;
        if !hidden && self.host.first_event == 0 {
            self.host.first_event = event.time;
        }
        let thread = self.thread_of(event, action);
        let fd = main_fd.and_then(|main| event.signed(usize::from(main)));
        let mut subject = Subject { thread, fd, hidden, ..Subject::default() };
        match (action, thread) {
            (Action::Nothing, _) => {}
            // Half of those that change anything.
            (Action::Memory | Action::Close, None) => {}
            // Sizes are told whether or not the call succeeded. They are no part of what makes a task another one.
            (Action::Memory, Some(id)) => processes::set_memory(self.threads.get_mut(id), &Named::new(event)),
            (Action::Close, Some(_)) => {
                if let (Some(fd), true) = (fd, Named::new(event).result() >= 0) {
                    subject.after = After::CloseFd(fd);
                }
            }
            _ => self.change(action, event, &mut subject),
        }
        subject
    }

    /// What [`Inspector::before`] does not do itself.
    fn change(&mut self, action: Action, event: &Event<'_>, subject: &mut Subject) {
        let thread = subject.thread;
        match action {
            Action::Enter => self.entered(event),
            Action::Clone | Action::Exec | Action::Exit => self.process(action, event, subject),
            Action::User(added) => self.user(event, added),
            Action::Group(added) => self.group(event, added),
            Action::Container => self.container(event),
            Action::Switch => {
                subject.exec_time = self.switched(event);
                if let Some(id) = thread {
                    let thread = self.threads.get_mut(id);
                    thread.exec_total += subject.exec_time;
                    processes::set_counters(thread, &Named::new(event));
                }
            }
            Action::Chdir
            | Action::Fchdir
            | Action::Getcwd
            | Action::Chroot
            | Action::SetUid
            | Action::SetGid
            | Action::Setsid
            | Action::Setpgid
            | Action::Capset
            | Action::Namespace
            | Action::Rlimit
            | Action::Prctl => {
                if let Some(id) = thread {
                    self.property(action, event, id);
                }
            }
            _ => {
                if let Some(id) = thread {
                    self.descriptor(action, event, id, subject);
                }
            }
        }
    }

    /// ns since the switch before on the same CPU; 0 for the first.
    fn switched(&mut self, event: &Event<'_>) -> u64 {
        let before = self.switches.insert(event.cpu, event.time);
        before.map_or(0, |before| event.time.saturating_sub(before))
    }

    /// Changes what rules were to see once more.
    #[inline]
    pub fn after(&mut self, subject: &Subject) {
        if let Some(id) = subject.thread
            && subject.after != After::Nothing
        {
            self.change_after(id, subject.after);
        }
    }

    fn change_after(&mut self, id: ThreadId, after: After) {
        match after {
            After::Nothing => {}
            After::CloseFd(number) => self.fds_mut(id).remove(number),
            After::RemoveThread => self.remove_thread(id),
        }
    }

    /// The thread of an event; one of which nothing is known when the table has none.
    #[inline]
    fn thread_of(&mut self, event: &Event<'_>, action: Action) -> Option<ThreadId> {
        self.threads.find(event.tid).or_else(|| self.unknown_thread(event, action))
    }

    #[cold]
    fn unknown_thread(&mut self, event: &Event<'_>, action: Action) -> Option<ThreadId> {
        if event.tid < 0 || matches!(action, Action::Exit | Action::Switch | Action::User(_) | Action::Group(_)) {
            return None;
        }
        // The child's own event makes it.
        if action == Action::Clone {
            return None;
        }
        if !EventCode(event.code.0).info().has(flag::STATE) && event.code.info().origin == Origin::Meta {
            return None;
        }
        self.threads.insert(Thread::unknown(event.tid))
    }

    fn entered(&mut self, event: &Event<'_>) {
        if let Some(kept) = self.enters.get_mut(&event.tid) {
            kept.assign(event);
        } else if self.enters.len() < bounds::PENDING_ENTERS {
            let mut kept = EventBuf::default();
            kept.assign(event);
            self.enters.insert(event.tid, kept);
        }
    }

    /// The enter event that belongs to an exit, which uses it up.
    fn enter_of(&mut self, exit: &Event<'_>) -> Option<EventBuf> {
        if self.enters.is_empty() {
            return None;
        }
        let enter = self.enters.remove(&exit.tid)?;
        (EventCode(enter.code).info().name == exit.code.info().name).then_some(enter)
    }

    fn user(&mut self, event: &Event<'_>, added: bool) {
        let named = Named::new(event);
        let text = |c| named.text(c).unwrap_or_default();
        let Some(uid) = named.unsigned(Column::Uid) else { return };
        let (name, home, shell) = (text(Column::Name), text(Column::Home), text(Column::Shell));
        self.change_users(text(Column::Container), |users| {
            if added { users.set_user(uid as u32, name, home, shell) } else { users.remove_user(uid as u32) }
        });
    }

    fn group(&mut self, event: &Event<'_>, added: bool) {
        let named = Named::new(event);
        let text = |c| named.text(c).unwrap_or_default();
        let Some(gid) = named.unsigned(Column::Gid) else { return };
        self.change_users(text(Column::Container), |users| {
            if added { users.set_group(gid as u32, text(Column::Name)) } else { users.remove_group(gid as u32) }
        });
    }

    /// A runtime told of a container: by an event of its own, or as the container plugin does.
    fn container(&mut self, event: &Event<'_>) {
        let named = Named::new(event);
        if let Some(json) = named.bytes(Column::Json) {
            self.containers.describe(json);
        } else if let (Some(name), Some(json)) = (named.text(Column::Name), named.bytes(Column::Data)) {
            match name {
                b"container" => self.containers.describe(json),
                b"container_removed" => self.containers.remove(json),
                _ => return,
            }
        }
        self.facts += 1;
    }

    /// What runtimes told of containers so far.
    pub const fn containers(&self) -> &Containers {
        &self.containers
    }

    /// Changes the users of a container; of the host when it has no id. Recorders tell the same more than once.
    fn change_users(&mut self, container: &[u8], change: impl FnOnce(&mut Users)) {
        let users = match container {
            b"" | b"host" => &mut self.host.users,
            id => self.container_users.entry_ref(id).or_insert_with(Users::none),
        };
        let before = users.generation();
        change(users);
        self.facts += u32::from(users.generation() != before);
    }

    /// Users of a container: nobody's names but root's are known unless the capture has them.
    pub fn users_of_container(&self, container: &[u8]) -> &Users {
        self.container_users.get(container).unwrap_or(&self.nobody)
    }

    fn count_threads(&mut self) {
        let mut counts = hashbrown::HashMap::new();
        self.threads.iter().for_each(|t| *counts.entry(t.pid()).or_insert(0u32) += 1);
        self.threads.iter_mut().filter(|t| t.is_main()).for_each(|t| {
            t.threads = counts.get(&t.pid()).copied().unwrap_or(1);
        });
    }
}
