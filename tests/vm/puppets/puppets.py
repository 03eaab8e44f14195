"""Puppets: processes whose every step is told (puppet.c), and a model of what a sensor has to say of them.

A line of a script is `ROLE COMMAND ARGUMENT...`: the puppet of that name does it, and the next line begins when it is
done. `* mark` makes every living puppet mark, one after another, `& marks N` all at the same time. The model keeps what
rules are asked about - names, arguments, lineage, ids, folder - by Falco's definitions.
"""
import os
import shutil
import subprocess
import time

import guest
from report import Failure, wants

STAGE = f"{guest.WORK}/stage"
MARKS = f"{STAGE}/mark/"
PATIENCE = 120


class Image:
    """What an exec makes: shared by all that are forked from it."""

    def __init__(self, name, words):
        self.name, self.words = name, words

    def cmdline(self, comm):
        return " ".join([comm, *self.words[1:]])


class Process:
    """What the threads of one process share."""

    def __init__(self, pid, parent, like=None):
        self.pid, self.parent = pid, parent
        self.children, self.threads = [], []
        self.image = like.image if like else None
        self.cwd = like.cwd if like else "/"
        self.sid = like.sid if like else 0
        self.pgid = like.pgid if like else 0
        self.tty = like.tty if like else 0
        self.cgroup = like.cgroup if like else None
        self.subreaper = False
        if parent:
            parent.children.append(self)

    @property
    def name(self):
        return self.threads[0].name


class Outside(Process):
    """A process above the puppets: told by /proc once, does not change."""

    class Thread:
        def __init__(self, name):
            self.name = name

    def __init__(self, pid):
        parent = None
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            text = file.read()
        comm, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
        ppid = int(rest[1])
        if ppid:
            parent = Outside(ppid)
        super().__init__(pid, parent)
        self.pgid, self.sid = int(rest[2]), int(rest[3])
        self.threads = [Outside.Thread(comm)]
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            self.image = Image(comm, file.read().rstrip("\0").split("\0"))


class Puppet:
    """A thread with a string."""

    def __init__(self, role, tid, process, name, like=None):
        self.role, self.tid, self.process, self.name, self.name_now = role, tid, process, name, name
        self.uid, self.gid = (like.uid, like.gid) if like else (0, 0)
        process.threads.append(self)


class Stage:
    """The puppets of one play. `cpus`: where they are; several: they move on before every system call."""

    def __init__(self, cpus):
        self.cpus = ",".join(str(cpu) for cpu in cpus)
        self.puppets = {}
        self.outside = Outside(os.getpid())
        self.init = self.outside
        while self.init.parent:
            self.init = self.init.parent
        self.started = []
        self.pending = ""
        self.marks = 0
        self.names = {}  # number of a process or thread -> role that had it first
        self.expected = {}  # mark -> fields
        shutil.rmtree(STAGE, ignore_errors=True)
        for folder in ("in", "bin", "mark"):
            os.makedirs(f"{STAGE}/{folder}")
            os.chmod(f"{STAGE}/{folder}", 0o1777)
        os.chmod(STAGE, 0o755)
        self.program = guest.program("puppet")
        os.mkfifo(f"{STAGE}/done")
        os.chmod(f"{STAGE}/done", 0o666)
        self.done = os.open(f"{STAGE}/done", os.O_RDWR | os.O_NONBLOCK)

    # ---- strings

    def _program(self, name):
        path = f"{STAGE}/bin/{name}"
        if not os.path.exists(path):
            os.link(self.program, path)
        return path

    def _string(self, role):
        path = f"{STAGE}/in/{role}"
        if not os.path.exists(path):
            os.mkfifo(path)
            os.chmod(path, 0o666)

    def tell(self, role, *words):
        with open(f"{STAGE}/in/{role}", "w", encoding="utf-8") as file:
            file.write(" ".join(str(word) for word in words) + "\n")

    def _answers(self):
        try:
            self.pending += os.read(self.done, 65536).decode()
        except BlockingIOError:
            time.sleep(0.001)
        *lines, self.pending = self.pending.split("\n")
        return [line.split() for line in lines]

    def await_all(self, wanted):
        """Waits until every role of `wanted` ({role: first word}) has answered; the rest of each answer."""
        left, got, end = dict(wanted), {}, time.monotonic() + PATIENCE
        while left:
            for role, word, *rest in self._answers():
                wants(left.pop(role, None) == word, f"puppet {role} said {word}, wanted were {wanted}")
                got[role] = rest
            wants(time.monotonic() < end, f"no answer from {', '.join(left)} within {PATIENCE} s")
            for process in self.started:
                wants(not process.poll(), f"a puppet ended with {process.poll()}")
        return got

    # ---- commands

    def start(self, role, name, *arguments):
        """A puppet that is our own child."""
        self._string(role)
        process = subprocess.Popen(  # pylint: disable=consider-using-with
            [name, *arguments], executable=self._program(name), cwd="/", stdin=subprocess.DEVNULL,
            env={"PUPPET_DIR": STAGE, "PUPPET_ROLE": role, "PUPPET_CPUS": self.cpus},
        )
        self.started.append(process)
        pid = int(self.await_all({role: "born"})[role][0])
        new = Process(pid, self.outside)
        new.image = Image(name, [name, *arguments])
        new.sid, new.pgid = self.outside.sid, self.outside.pgid
        self._born(Puppet(role, pid, new, name))

    def _born(self, puppet):
        self.puppets[puppet.role] = puppet
        self.names.setdefault(puppet.tid, puppet.role)

    def do(self, line):
        role, command, *words = line.split()
        if command == "start":
            self.start(role, *words)
        elif role == "*":
            for one in sorted(self.puppets):
                self.do(f"{one} {command} {' '.join(words)}")
        elif role == "&":
            self._together(command, words)
        else:
            wants(role in self.puppets, f"{line}: no such puppet")
            getattr(self, "_" + command.replace("-", "_"), self._plain)(self.puppets[role], command, words)

    def play(self, script):
        for line in script.splitlines():
            if line.strip() and not line.startswith("#"):
                try:
                    self.do(line)
                except Failure as failure:
                    raise Failure(f"at `{line}`: {failure}") from None

    def _mark_name(self, puppet):
        self.marks += 1
        return f"{self.marks:05}.{puppet.role}"

    def _together(self, command, words):
        if command == "storm":
            self._program("gust")
            self._program("squall")
        for role in sorted(self.puppets):
            puppet = self.puppets[role]
            name = self._mark_name(puppet)
            self.tell(role, command, name, *words)
            if command == "calls":
                self.expected[name] = self.fields(puppet)
            elif command == "marks":
                for i in range(int(words[0])):
                    self.expected[f"{name}.{i}"] = self.fields(puppet)
        self.await_all({role: "ok" for role in self.puppets})

    def _mark(self, puppet, command, _):
        name = self._mark_name(puppet)
        self.expected[name] = self.fields(puppet)
        self.tell(puppet.role, command, name)
        self.await_all({puppet.role: "ok"})

    def _calls(self, puppet, command, words):
        name = self._mark_name(puppet)
        self.expected[name] = self.fields(puppet)
        self.tell(puppet.role, command, name, *words)
        self.await_all({puppet.role: "ok"})

    def _plain(self, puppet, command, words):
        self.tell(puppet.role, command, *words)
        return self.await_all({puppet.role: "tty" if command == "tty" else "ok"})[puppet.role]

    def _fork(self, puppet, command, words, parent=None):
        self._string(words[0])
        self.tell(puppet.role, command, words[0])
        pid = int(self.await_all({puppet.role: "ok", words[0]: "born"})[words[0]][0])
        new = Process(pid, parent or puppet.process, like=puppet.process)
        self._born(Puppet(words[0], pid, new, puppet.name_now, like=puppet))

    def _sibling(self, puppet, command, words):
        self._fork(puppet, command, words, parent=puppet.process.parent)

    def _vfork(self, puppet, command, words):
        role, name = words[:2]
        self._string(role)
        self._program(name)
        self.tell(puppet.role, command, *words)
        pid = int(self.await_all({puppet.role: "ok", role: "born"})[role][0])
        new = Process(pid, puppet.process, like=puppet.process)
        new.image = Image(name, words[1:])
        self._born(Puppet(role, pid, new, name[:15], like=puppet))

    def _thread(self, puppet, command, words):
        self._string(words[0])
        self.tell(puppet.role, command, *words)
        tid = int(self.await_all({puppet.role: "ok", words[0]: "born"})[words[0]][0])
        self._born(Puppet(words[0], tid, puppet.process, puppet.name_now, like=puppet))

    def _exec(self, puppet, command, words):
        self._program(words[0])
        self.tell(puppet.role, command, *words)
        self.await_all({puppet.role: "born"})
        process = puppet.process
        for other in process.threads:
            if other is not puppet:
                del self.puppets[other.role]
        process.threads = [puppet]
        process.image = Image(words[0], list(words))
        puppet.tid = process.pid
        puppet.name = puppet.name_now = words[0][:15]

    def _end(self, puppet, command, words):
        self._plain(puppet, command, words)
        puppet.process.threads.remove(puppet)
        del self.puppets[puppet.role]
        guest.wait_for("the end of a thread", lambda: not os.path.exists(f"/proc/{puppet.process.pid}/task/{puppet.tid}"))

    def _exit(self, puppet, command, _):
        process = puppet.process
        self.tell(puppet.role, command)
        for child in self.started:
            if child.pid == process.pid:
                child.wait(PATIENCE)
        guest.wait_for("the end of a process", lambda: is_gone(process.pid))
        reaper = process.parent
        while not reaper.subreaper and reaper is not self.init:
            reaper = reaper.parent
        for child in process.children:
            child.parent = reaper
            reaper.children.append(child)
        process.parent.children.remove(process)
        for thread in process.threads:
            del self.puppets[thread.role]

    def _name(self, puppet, command, words):
        self._plain(puppet, command, words)
        puppet.name_now = words[0][:15]

    def _chdir(self, puppet, command, words):
        self._plain(puppet, command, words)
        puppet.process.cwd = os.path.normpath(os.path.join(puppet.process.cwd, words[0]))

    def _rename(self, puppet, command, words):
        self._plain(puppet, command, words)
        for process in {one.process for one in self.puppets.values()}:
            if f"{process.cwd}/".startswith(f"{words[0]}/"):
                process.cwd = words[1] + process.cwd[len(words[0]) :]

    def _setsid(self, puppet, command, words):
        self._plain(puppet, command, words)
        puppet.process.sid = puppet.process.pgid = puppet.process.pid
        puppet.process.tty = 0

    def _setpgid(self, puppet, command, words):
        self._plain(puppet, command, words)
        puppet.process.pgid = puppet.process.pid

    def _tty(self, puppet, command, words):
        puppet.process.tty = int(self._plain(puppet, command, words)[0])

    def _user(self, puppet, command, words):
        self._plain(puppet, command, words)
        for thread in puppet.process.threads:
            thread.uid = int(words[0])

    def _group(self, puppet, command, words):
        self._plain(puppet, command, words)
        for thread in puppet.process.threads:
            thread.gid = int(words[0])

    def _thread_user(self, puppet, command, words):
        self._plain(puppet, command, words)
        puppet.uid = int(words[0])

    def _cgroup(self, puppet, command, words):
        os.makedirs(words[0], exist_ok=True)
        os.chmod(f"{words[0]}/cgroup.procs", 0o666)
        self._plain(puppet, command, words)
        puppet.process.cgroup = words[0]

    def _subreaper(self, puppet, command, words):
        self._plain(puppet, command, words)
        puppet.process.subreaper = True

    # ---- what a sensor has to say

    def fields(self, puppet):
        """The fields of an alert that `puppet` raises now."""
        process = puppet.process
        line = [process]
        while line[-1].parent:
            line.append(line[-1].parent)

        def relative(k):
            return line[k] if k < len(line) else None

        def name(k):
            return relative(k).name if relative(k) else None

        parent = relative(1)
        found = {
            "proc.name": puppet.name,
            "proc.cmdline": process.image.cmdline(puppet.name),
            "proc.pname": parent.name,
            "proc.pcmdline": parent.image.cmdline(parent.name),
            "proc.cwd": process.cwd.rstrip("/") + "/",
            "proc.pid": process.pid,
            "proc.ppid": parent.pid,
            "thread.tid": puppet.tid,
            "proc.sid": process.sid,
            "proc.pgid": process.pgid,
            "proc.tty": process.tty,
            "user.uid": puppet.uid,
            "group.gid": puppet.gid,
            "container.id": container_of(process.cgroup),
        }
        for k in range(2, 7):
            found[f"proc.aname[{k}]"] = name(k)
            found[f"proc.apid[{k}]"] = relative(k).pid if relative(k) else None
        return found

    def close(self):
        """Ends every puppet."""
        ended = set()
        for puppet in list(self.puppets.values()):
            if puppet.process.pid not in ended:
                ended.add(puppet.process.pid)
                self.tell(puppet.role, "exit")
        for pid in ended:
            guest.wait_for("the end of a puppet", lambda pid=pid: is_gone(pid))
        for process in self.started:
            process.wait(PATIENCE)
        os.close(self.done)


def mark_of(alert):
    """Name of the mark or of the calls that an alert is about."""
    fields = alert.get("output_fields") or {}
    return str(fields.get("fd.name") or fields.get("evt.arg.path") or "").removeprefix(MARKS)


def differences(what, wanted, got, keys=None, ignored=()):
    """Where fields by mark differ, as lines; `keys`: these fields only."""
    lines = [f"{mark}: no alert ({what})" for mark in sorted(wanted.keys() - got.keys())]
    for mark in sorted(wanted.keys() & got.keys()):
        for key in keys or sorted(wanted[mark].keys() | got[mark].keys()):
            want, have = wanted[mark].get(key), got[mark].get(key)
            if key not in ignored and want != have:
                lines.append(f"{mark}: {key}: {what} {want!r}, alert {have!r}")
    return lines


def wants_no(lines, shown=12):
    """Fails when there are differences."""
    more = [f"... {len(lines) - shown} more"] * (len(lines) > shown)
    wants(not lines, "\n".join([f"{len(lines)} differences", *lines[:shown], *more]))


def is_gone(pid):
    """Its end has been seen: also a zombie of ours counts."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rsplit(") ", 1)[1].startswith("Z")
    except OSError:
        return True


def container_of(cgroup):
    """The id that a cgroup's name tells, as Docker names them."""
    name = os.path.basename(cgroup or "")
    return name.removeprefix("docker-")[:12] if name.startswith("docker-") else "host"
