//! Fields that a live event and one of a capture cannot answer alike: what each has. The field table names these, docs/falco-compat.md
//! lists them field by field.

/// What events of one source have for a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A value; where it comes from, when that needs to be said.
    Value(&'static str),
    /// Never a value, and why.
    Never(&'static str),
}

use Answer::{Never, Value};

/// What both sources have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sources {
    pub live: Answer,
    pub capture: Answer,
}

const fn apart(live: &'static str, capture: &'static str) -> Sources {
    Sources { live: Value(live), capture: Value(capture) }
}

const fn never(why: &'static str) -> Sources {
    Sources { live: Never(why), capture: Never(why) }
}

impl Sources {
    /// The same value.
    pub const ALIKE: Sources = apart("", "");

    pub const NUMBER: Sources = apart("counts the events of its CPU", "counts the events of the file");
    pub const SINCE: Sources = apart("since the event before on its CPU", "since the event before in the file");
    pub const SINCE_FIRST: Sources = apart("since the first event of its CPU", "since the first event in the file");
    pub const EVALUATIONS: Sources = apart("of the rules of its CPU", "of the file's rules");
    pub const HOSTNAME: Sources =
        apart("the host's name, or `FALCO_HOSTNAME`", "empty: captures have no such field for rules");
    pub const ASYNC: Sources = Sources {
        live: Never("system calls are no such events"),
        capture: Value("of events that tell of containers and the like"),
    };
    pub const PLUGIN: Sources = never("system calls come from no plugin");
    pub const INFRASTRUCTURE: Sources = never("nothing sends such events, as in Falco");
    pub const PEOPLE: Sources = apart(
        "names behind a pid: relatives as of the event, others as /proc has them when asked for; of users and groups as in `user.name`",
        "names behind a pid: as of the event; of users and groups as in `user.name`",
    );
    pub const DESCRIPTORS: Sources = apart(
        "read from /proc when asked for; an IPv6 socket with an IPv4 connection is `ipv6`",
        "from the table of descriptors that the events made",
    );
    pub const ADDRESSES: Sources = Sources {
        live: Never("/proc does not tell the addresses of a process's sockets"),
        capture: Value("from the table of descriptors that the events made"),
    };
    pub const THREADS: Sources = apart("read from /proc when asked for", "counted from clone and exit");
    pub const MEMORY: Sources = apart("read from /proc when asked for", "as of the last event that carried it");
    pub const START: Sources = apart(
        "from when the kernel started the process",
        "from when its clone was captured; missing for processes older than the capture",
    );
    pub const PARENT_START: Sources = apart(
        "from when the kernel started the process",
        "from when its clone was captured; 0 for processes older than the capture",
    );
    pub const SWITCHES: Sources = apart("0: nothing tells of switches", "from switch events");
    pub const PROCESSOR: Sources = never("nothing sends procinfo events");
    pub const USERS: Sources = apart(
        "the host's files; in a container those below its own root, until they have been read `root` alone",
        "the capture's list, and its events of users and groups; in a container only those of it that they name, and root",
    );
    pub const PATH: Sources = apart("a rule is tried with the path given and the path opened", "the path given");
    pub const SIDES: Sources = apart(
        "from the kernel's socket",
        "from the addresses of the machine's interfaces; in a container nothing is local",
    );
    pub const SESSION: Sources = apart(
        "as the kernel has it at the event; numbers are those of the task's pid namespace",
        "as of the list of processes, the last clone, or a setsid since; in a pid namespace the leader is sought among the ancestors",
    );
    pub const GROUP: Sources = apart(
        "as the kernel has it at the event",
        "as of the last clone or exec: setsid and setpgid do not change it; in a pid namespace the leader is sought among the ancestors",
    );
    pub const LAST_EXEC: Sources = apart("as the kernel has it at the event", "as of the last clone or exec");
    pub const IDENTITY: Sources = apart(
        "as the kernel has it at the event",
        "as of the last clone, exec or call that sets it; -1, which leaves it as it is, is taken for a number",
    );
    pub const CAPABILITIES: Sources = apart(
        "as the kernel has them at the event",
        "as of the last clone, exec, capset or new user namespace: that another user has fewer is not seen",
    );
    pub const FILE_LIMIT: Sources = apart(
        "as the kernel has it at the event",
        "as of the last clone, exec or call that sets it; asking for it (prlimit) makes it 0",
    );
    pub const CGROUPS: Sources =
        apart("as the kernel has them at the event", "as of the last clone or exec: who moves a process is not seen");
    pub const CONTAINER: Sources =
        apart("from the control groups at the event", "from the control groups as of the last clone or exec");
    pub const OPENED: Sources = apart("the path opened", "the path given");
    pub const CONTAINER_START: Sources = apart(
        "from the boot, whose time the sensor measures",
        "from the boot, whose time the recorder measured: within a microsecond",
    );
    pub const NAME: Sources = apart("the id: no container runtime is asked", "the id until an event has told the name");
    pub const KIND: Sources = apart("told from the control group", "the same until an event has told it");
    pub const IMAGE: Sources = apart(
        "empty on the host; missing in a container: no container runtime is asked",
        "empty on the host; from events that tell of containers",
    );
    pub const RUNTIME: Sources =
        Sources { live: Never("no container runtime is asked"), capture: Value("from events that tell of containers") };
    pub const POD: Sources = apart("told from the control group", "the same until an event has told the pod's labels");
    pub const REMOVED: Sources = never("as in Falco, where nothing fills it any more");
}
