#!/usr/bin/env python3
"""Does the host survive everything, and is every refusal a sentence?

usage: run.py [--only PART...]        (root, in a guest: scripts/vm KERNEL -- ...)

The module and the sensor under load: killed, unloaded, stopped, processors that come and go, a second sensor, processes
and files of extreme shape, a hostile consumer, and everything that can be wrong with an installation. The kernel's log
is looked at by scripts/vm: a report of the kernel about itself fails the run.

The last checks lock the kernel down, which only a reboot undoes. Ends with `N passed, N failed, N skipped`.
"""
import argparse
import contextlib
import fcntl
import glob
import os
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [TESTS, f"{TESTS}/puppets"]

import guest  # noqa: E402
import puppets  # noqa: E402
import sensor as sensors  # noqa: E402
from report import Failure, Report, Skip, wants, wants_equal, wants_part  # noqa: E402
from sensor import Sensor, refused  # noqa: E402

RULES = (f"{TESTS}/puppets/rules.yaml", f"{HERE}/rules.yaml")


# ---- load, and what is left when it is over


@contextlib.contextmanager
def load():
    """Every CPU makes processes that open, exec and exit, whenever nobody else wants it."""
    line = "while :; do for f in /etc/*.conf; do : <$f; done; /bin/true; (exit 3); done"
    started = [
        # pylint: disable-next=consider-using-with
        subprocess.Popen(["nice", "-n", "19", "setpriv", "--pdeathsig", "KILL", "bash", "-c", line], stderr=subprocess.DEVNULL,
                         start_new_session=True)
        for _ in guest.online()
    ]
    try:
        yield
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def stage(cpus=None):
    made = puppets.Stage(cpus or guest.online()[:1])
    try:
        yield made
    finally:
        made.close()


def info():
    """struct fsn_info of the module."""
    with open("/dev/falco-sensor", "rb+", buffering=0) as file:
        raw = fcntl.ioctl(file, 2 << 30 | 96 << 16 | ord("N") << 8 | 0x51, bytes(96))
    names = ("size", "major", "minor", "hash", "nr_cpus", "consumer", "attached", "clock", "execs", "threads", "no_ring")
    return dict(zip(names, struct.unpack_from("=IHHIIiIQQQQ", raw)))


def idle():
    """The module is loaded, nobody uses it, and it holds nothing."""
    guest.wait_for("the device's release", lambda: guest.consumer() == 0)
    with open(f"/sys/module/{guest.NAME}/refcnt", encoding="ascii") as file:
        wants_equal("references to the module", int(file.read()), 0)
    state = info()
    wants_equal("tracepoints attached", state["attached"], 0)
    wants_equal("exec records, identities left", (state["execs"], state["threads"]), (0, 0))


def sees(sensor, play, cpu=None):
    """A mark made now raises an alert, which is returned."""
    if cpu is not None:
        play.do(f"a cpu {cpu}")
    play.do("a mark")
    name = puppets.MARKS + sorted(play.expected)[-1]
    alert = sensor.wait_alert(lambda fields: fields.get("fd.name") == name)
    if cpu is not None:
        wants_equal("CPU of the alert", alert["output_fields"]["evt.cpu"], cpu)
    return alert["output_fields"]


def sees_again(sensor, play, patience=120):
    """A mark made from now on raises an alert; those that find the ring still full are lost."""
    end = time.monotonic() + patience
    while True:
        play.do("a mark")
        name = puppets.MARKS + sorted(play.expected)[-1]
        try:
            return sensor.wait_alert(lambda fields, name=name: fields.get("fd.name") == name, patience=3)
        except Failure:
            if sensor.process.poll() is not None or time.monotonic() > end:
                raise


# ---- consumers that die, modules that go


def killed_readers():
    guest.insert()
    rng = random.Random(1)
    with load():
        for turn in range(6):
            with Sensor(*RULES) as sensor, stage() as play:
                play.start("a", "alpha")
                if turn % 3 == 0:
                    sees(sensor, play)
                else:
                    time.sleep(rng.random() * 0.3)
                sensor.kill()
            idle()


def killed_early():
    """Killed while it starts, at any moment of it."""
    guest.insert()
    rng = random.Random(2)
    with load():
        for _ in range(8):
            with Sensor(*RULES, wait=False) as sensor:
                time.sleep(rng.random() * 1.5)
                sensor.kill()
            idle()
    with Sensor(*RULES) as sensor, stage() as play:
        play.start("a", "alpha")
        sees(sensor, play)
        sensor.stop()
    idle()


def rmmod_and_insmod():
    """rmmod with a consumer is refused and does no harm; without one it works, again and again."""
    with load():
        for turn in range(7):
            guest.insert()
            if turn % 3 == 0:
                with Sensor(*RULES) as sensor, stage() as play:
                    play.start("a", "alpha")
                    for _ in range(3):
                        wants_part("rmmod", guest.run("rmmod", guest.NAME, wanted=1), "in use")
                    sees(sensor, play)
                    if turn:
                        sensor.kill()
                    else:
                        sensor.stop()
            guest.remove()


def loads_its_module():
    """A sensor that loaded the module takes it out again; a sensor that found it leaves it."""
    guest.remove()
    with Sensor(*RULES, module=guest.MODULE) as sensor, stage() as play:
        play.start("a", "alpha")
        sees(sensor, play)
        sensor.stop()
    wants(not guest.is_loaded(), "the module is still loaded")
    guest.insert()
    with Sensor(*RULES, module=guest.MODULE) as sensor:
        sensor.stop()
    wants(guest.is_loaded(), "the module was removed by a sensor that had not loaded it")
    idle()


def stopped_sensor():
    """A sensor that does not read holds nobody up, and goes on afterwards."""
    guest.insert()
    with load(), Sensor(*RULES, options=["engine.kind=kmod", "engine.kmod.buf_size_preset=1"]) as sensor, stage() as play:
        play.start("a", "alpha")
        sensor.signal(signal.SIGSTOP)
        started = time.monotonic()
        play.do("& marks 6000")
        seconds = time.monotonic() - started
        wants_part("rmmod", guest.run("rmmod", guest.NAME, wanted=1), "in use")
        sensor.signal(signal.SIGCONT)
        sees_again(sensor, play)
        sensor.stop()
    return f"6000 opens took {seconds:.1f} s"


def second_sensor():
    guest.insert()
    with Sensor(*RULES) as first, stage() as play:
        play.start("a", "alpha")
        for _ in range(3):
            said = refused("-c", f"{guest.WORK}/falco.yaml", "-r", RULES[0])
            wants_part("the second sensor", said, f"pid {first.process.pid}")
            sees(first, play)
        first.stop()
    idle()


# ---- processors


def set_online(cpu, state):
    with open(f"/sys/devices/system/cpu/cpu{cpu}/online", "w", encoding="ascii") as file:
        file.write(str(state))


def cpu_hotplug():
    cpu = 1
    if not os.path.exists(f"/sys/devices/system/cpu/cpu{cpu}/online"):
        raise Skip("no second CPU that can go offline")
    guest.insert()
    with load(), Sensor(*RULES) as sensor, stage() as play:
        play.start("a", "alpha")
        for _ in range(4):
            sees(sensor, play, cpu)
            set_online(cpu, 0)
            sees(sensor, play, 0)
            set_online(cpu, 1)
            sees(sensor, play, cpu)
        sensor.stop()


def cpu_comes_later():
    cpu = 1
    if not os.path.exists(f"/sys/devices/system/cpu/cpu{cpu}/online"):
        raise Skip("no second CPU that can go offline")
    guest.insert()
    set_online(cpu, 0)
    try:
        with Sensor(*RULES) as sensor, stage([0]) as play:
            play.start("a", "alpha")
            sees(sensor, play)
            set_online(cpu, 1)
            play.do("a exec beta new here")
            play.do(f"a cpu {cpu}")
            started = time.monotonic()
            # The sensor looks now and then: from then on everything is seen, with all there is to know.
            while True:
                play.do("a mark")
                name = puppets.MARKS + sorted(play.expected)[-1]
                time.sleep(0.2)
                found = [a["output_fields"] for a in sensor.alerts() if a["output_fields"].get("fd.name") == name]
                if found:
                    break
                wants(time.monotonic() < started + 30, "no events of the new CPU within 30 s")
            seconds = time.monotonic() - started
            wants_equal("its CPU, name, arguments", [found[0][k] for k in ("evt.cpu", "proc.name", "proc.cmdline")],
                        [cpu, "beta", "beta new here"])
            for _ in range(20):
                sees(sensor, play)
            sensor.stop()
    finally:
        set_online(cpu, 1)
    return f"after {seconds:.1f} s"


# ---- processes and files of extreme shape


def long_command_line():
    resource.setrlimit(resource.RLIMIT_STACK, (64 << 20, resource.RLIM_INFINITY))
    guest.insert()
    with Sensor(*RULES) as sensor, stage() as play:
        play.start("a", "alpha", "first", *["x" * 120000] * 9, "last")
        play.do("a fork b")
        sizes = []
        for role in "ab":
            play.do(f"{role} mark")
            name = puppets.MARKS + sorted(play.expected)[-1]
            got = sensor.wait_alert(lambda fields, name=name: fields.get("fd.name") == name)["output_fields"]
            line = got["proc.cmdline"]
            wants(line.startswith("alpha first xxxx"), f"the command line begins {line[:60]!r}")
            wants(set(line[12:].replace(" ", "")) == {"x"}, f"the command line ends {line[-60:]!r}")
            wants(4000 <= len(line) <= 4200, f"the command line has {len(line)} characters")
            sizes.append(len(line))
        wants_part("command line of the parent", got["proc.pcmdline"], "alpha first xxxx")
        # the ring's other records are not the worse for it
        play.do("b exec beta short")
        play.do("b mark")
        name = puppets.MARKS + sorted(play.expected)[-1]
        got = sensor.wait_alert(lambda fields: fields.get("fd.name") == name)["output_fields"]
        wants_equal("the next command line", got["proc.cmdline"], "beta short")
        sensor.stop()
    return f"kept: {sizes[0]} characters"


def longest_paths():
    """A path of 4095 bytes, as many as a system call takes; a folder deeper than any path can say."""
    guest.insert()
    with Sensor(*RULES) as sensor, stage() as play:
        path = puppets.MARKS.rstrip("/")
        home = os.getcwd()
        os.chdir(path)
        try:
            while len(path) + 201 < 4095 - 60:
                os.mkdir("d" * 200)
                os.chdir("d" * 200)
                path += "/" + "d" * 200
            path += "/" + "f" * (4095 - 1 - len(path))
            wants_equal("length", len(path), 4095)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
            got = sensor.wait_alert(lambda fields: fields.get("fd.name.opened") == path)["output_fields"]
            # what Falco says of a path that it does not keep
            wants_equal("fd.name", got["fd.name"], "/DIR_TOO_LONG/FILENAME_TOO_LONG")
            # further down, where only relative paths lead
            for _ in range(30):
                os.mkdir("d" * 200)
                os.chdir("d" * 200)
            play.start("a", "alpha")
            os.close(os.open(puppets.MARKS + "from-below", os.O_CREAT | os.O_WRONLY))
            got = sensor.wait_alert(lambda fields: fields.get("fd.name") == puppets.MARKS + "from-below")["output_fields"]
            wants_equal("proc.pid", got["proc.pid"], os.getpid())
            sees(sensor, play)
        finally:
            os.chdir(home)
        sensor.stop()


def deleted_things():
    guest.insert()
    with Sensor(*RULES) as sensor, stage() as play:
        folder = f"{puppets.STAGE}/doomed/folder"
        os.makedirs(folder)
        play.start("a", "alpha", "of a doomed program")
        play.do(f"a chdir {folder}")
        os.unlink(f"{puppets.STAGE}/bin/alpha")
        shutil.rmtree(f"{puppets.STAGE}/doomed")
        got = sees(sensor, play)
        wants_equal("proc.exepath of a deleted program", got["proc.exepath"], f"{puppets.STAGE}/bin/alpha")
        wants_equal("proc.cwd, deleted", got["proc.cwd"], folder + "/")
        wants_equal("proc.cmdline", got["proc.cmdline"], "alpha of a doomed program")
        path = puppets.MARKS + "doomed-file"
        file = os.open(path, os.O_CREAT | os.O_WRONLY)
        os.unlink(path)
        os.fchmod(file, 0o600)
        os.close(file)
        sensor.wait_alert(lambda fields: fields.get("evt.rawres") == 0 and fields.get("fd.name") == path)
        play.do("a exec beta")
        wants_equal("proc.name", sees(sensor, play)["proc.name"], "beta")
        sensor.stop()


def strange_names():
    """Bytes that are no UTF-8, quotes, control characters: an alert is one line of JSON, U+FFFD for what cannot be shown."""
    guest.insert()
    names = [b"\xff\xfe\x80", b'"quoted"', b"back\\slash", b"tab\tnew\nline\x01\x7f", "übergröße".encode(), b"\xc3"]
    with Sensor(*RULES) as sensor, stage() as play:
        play.start("a", "alpha")
        for number, name in enumerate(names):
            wanted = re.sub(r"[\0-\x1f\x7f]", "\ufffd", name.decode(errors="replace"))
            os.close(os.open(puppets.MARKS.encode() + b"%d" % number + name, os.O_CREAT | os.O_WRONLY))
            got = sensor.wait_alert(
                lambda fields, number=number: str(fields.get("fd.name", "")).startswith(f"{puppets.MARKS}{number}")
            )
            wants_equal(f"fd.name of {name!r}", got["output_fields"]["fd.name"], f"{puppets.MARKS}{number}{wanted}")
            wants("\n" not in got["output"], f"the text has a line end: {got['output']!r}")
        program = puppets.STAGE.encode() + b"/bin/\xffprogram"
        os.link(play.program, program)
        environment = {"PUPPET_DIR": puppets.STAGE, "PUPPET_ROLE": "none", "PUPPET_CPUS": "0"}
        subprocess.run([program, b"storm", b"strange"], env=environment, check=True)
        name = puppets.MARKS + "strange.execed"
        got = sensor.wait_alert(lambda fields: fields.get("fd.name") == name)["output_fields"]
        wants_equal("proc.name", got["proc.name"], "\ufffdprogram")
        sees(sensor, play)
        sensor.stop()


def deep_tree():
    """300 processes in a line: every ancestor up to init is there, by name and by number."""
    depth = 300
    guest.insert()
    rules = f"{guest.WORK}/deep.yaml"
    line = list(range(2, depth + 12))
    with open(rules, "w", encoding="utf-8") as file:
        file.write(
            "- rule: Deep\n  desc: All of the lineage.\n"
            f"  condition: evt.type = openat and evt.rawres >= 0 and fd.name startswith {puppets.MARKS}\n"
            "  output: \"%fd.name %proc.name %proc.pname %proc.ppid "
            + " ".join(f"%proc.aname[{k}] %proc.apid[{k}]" for k in line) + "\"\n  priority: DEBUG\n"
        )
    with Sensor(rules) as sensor, stage() as play:
        play.start("p0", "n0")
        for number in range(1, depth):
            play.do(f"p{number - 1} fork p{number}")
            if number % 7 == 0:
                play.do(f"p{number} exec n{number} of the line")
        play.do(f"p{depth - 1} mark")
        name = sorted(play.expected)[-1]
        got = sensor.wait_alert(lambda fields: fields.get("fd.name") == puppets.MARKS + name)["output_fields"]
        one, wanted = play.puppets[f"p{depth - 1}"].process, []
        while one:
            wanted.append((one.name, one.pid))
            one = one.parent
        found = [(got["proc.name"], wanted[0][1]), (got["proc.pname"], got["proc.ppid"])]
        found += [(got[f"proc.aname[{k}]"], got[f"proc.apid[{k}]"]) for k in line]
        found = [entry for entry in found if entry[0] is not None]
        wants_equal("number of ancestors", len(found), len(wanted))
        for k, (have, want) in enumerate(zip(found, wanted)):
            wants_equal(f"ancestor {k}", have, want)
        sensor.stop()
    return f"{len(wanted) - 1} ancestors"


# ---- a hostile consumer


def hostile(*arguments):
    def check():
        guest.insert()
        program = guest.program("hostile")
        with load():
            guest.run(program, *arguments, timeout=300)
        idle()
        # the next consumer is not the worse for it
        with Sensor(*RULES) as sensor, stage() as play:
            play.start("a", "alpha")
            sees(sensor, play)
            sensor.stop()

    return check


def hostile_and_killed():
    guest.insert()
    program = guest.program("hostile")
    with load():
        for turn in range(6):
            # pylint: disable-next=consider-using-with
            process = subprocess.Popen([program, *(("pages", "60") if turn % 2 else ("ioctl", "60", str(turn)))])
            time.sleep(1)
            process.kill()
            process.wait()
            idle()


# ---- installations that cannot work


def refusal(name, *parts, arguments=(), loaded=False, rules=RULES[0], lines=2, **more):
    """A sensor that is refused with these words, in so many lines, and leaves nothing behind."""

    def check():
        if loaded:
            guest.insert()
        else:
            guest.remove()
        words = ["-c", f"{guest.WORK}/falco.yaml", "-r", rules, *arguments]
        said = refused(*words, **more)
        for part in parts:
            wants(re.search(part, said), f"{part!r} is not in what it said: {said!r}")
        wants_equal("the module is loaded", guest.is_loaded(), loaded)
        said = "\n".join(line for line in said.splitlines() if line.strip() and ": info: " not in line)
        wants(len(said.splitlines()) <= lines, f"more than a sentence: {said!r}")
        killed = [line for line in guest.run("dmesg").splitlines() if "Out of memory" in line or "oom-kill" in line]
        wants(not killed, "\n".join(killed))
        return said.splitlines()[-1][:100]

    return name, check


def write(name, text):
    path = f"{guest.WORK}/{name}"
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def refusals():
    release = os.uname().release
    others = [m for m in glob.glob(f"{guest.REPOSITORY}/target/kmod/*/falco_sensor.ko") if m != guest.MODULE]
    others = [m for m in others if f"/{guest.KERNEL}/" not in m and "/debug/" not in m and guest.KERNEL != "debug"]
    module = ["--module", guest.MODULE]
    bad_field = write("bad-field.yaml", "- rule: One\n  desc: d\n  condition: proc.nmae = x\n  output: x\n  priority: DEBUG\n")
    bad_yaml = write("bad-yaml.yaml", "- rule: One\n  desc: [d\n  condition: evt.num=0\n")
    yield refusal("no module for this kernel", f"no module for kernel {re.escape(release)}", "linux-headers|dkms|--module")
    yield refusal("the module's file is missing", "/nonexistent.ko: No such file", arguments=["--module", "/nonexistent.ko"])
    yield refusal("the module's file is no module", "no ELF file", arguments=["--module", "/etc/passwd"])
    if others:
        yield refusal("a module for another kernel", "built for another kernel", re.escape(release),
                      arguments=["--module", others[0]])
    yield refusal("not root, module not loaded", "root", arguments=module, user="nobody")
    yield refusal("not root, module loaded", "[Pp]ermission denied.*root", loaded=True, user="nobody")
    yield refusal("--no-load without the module", "not loaded", arguments=["--no-load"])
    yield refusal("rules with an unknown field", r"bad-field\.yaml:1", "proc.nmae", "LOAD_ERR_COMPILE_CONDITION",
                  arguments=module, rules=bad_field, lines=12)
    yield refusal("rules that are no YAML", r"bad-yaml\.yaml:3", "LOAD_ERR_YAML_PARSE", arguments=module, rules=bad_yaml,
                  lines=12)
    yield refusal("rules that are missing", "/nonexistent.yaml", arguments=module, rules="/nonexistent.yaml")
    yield refusal("a ring that does not fit into memory", "buf_size_preset", arguments=[
        *module, "-o", "engine.kind=kmod", "-o", "engine.kmod.buf_size_preset=10"])
    yield refusal("a ring size that there is not", "buf_size_preset", arguments=[
        *module, "-o", "engine.kind=kmod", "-o", "engine.kmod.buf_size_preset=99"])
    other = f"{guest.REPOSITORY}/target/tests/other-abi/{guest.KERNEL}/falco_sensor.ko"
    if os.path.exists(other):
        yield refusal("a module of another version", "ABI 99", "one version", arguments=["--module", other])
    else:
        yield "a module of another version", lambda: skip(f"tests/vm/lifecycle/other-abi {guest.KERNEL} builds it")


def skip(why):
    raise Skip(why)


def lockdown():
    path = "/sys/kernel/security/lockdown"
    if not os.path.exists(path):
        guest.run("mount", "-t", "securityfs", "securityfs", "/sys/kernel/security", wanted=None)
    if not os.path.exists(path):
        raise Skip("this kernel cannot be locked down")
    guest.remove()
    with open(path, "w", encoding="ascii") as file:
        file.write("integrity")
    return refusal("", "locked down", "integrity", arguments=["--module", guest.MODULE])[1]()


def modules_disabled():
    guest.remove()
    with open("/proc/sys/kernel/modules_disabled", "w", encoding="ascii") as file:
        file.write("1")
    return refusal("", "cannot load modules", "modules_disabled", arguments=["--module", guest.MODULE])[1]()


def no_leaks():
    """What kmemleak finds, on a kernel that has it."""
    path = "/sys/kernel/debug/kmemleak"
    if not os.path.exists(path):
        raise Skip("this kernel has no kmemleak")
    time.sleep(6)  # younger than this nothing counts as lost
    for _ in range(2):
        with open(path, "w", encoding="ascii") as file:
            file.write("scan")
        time.sleep(1)
    with open(path, encoding="utf-8", errors="replace") as file:
        found = file.read()
    wants(guest.NAME not in found, found[:3000])


PARTS = {
    "kill": [("readers killed under load", killed_readers), ("readers killed while they start", killed_early),
             ("a reader that stands still", stopped_sensor)],
    "module": [("rmmod and insmod under load", rmmod_and_insmod), ("who loads the module unloads it", loads_its_module),
               ("a second sensor", second_sensor)],
    "cpu": [("a CPU goes and comes back", cpu_hotplug), ("a CPU that comes later", cpu_comes_later)],
    "shape": [("a command line of 1 MiB", long_command_line), ("the longest paths", longest_paths),
              ("deleted program, folder, file", deleted_things), ("names of any bytes", strange_names),
              ("a tree 300 deep", deep_tree)],
    "hostile": [("hostile: mappings and ioctls refused", hostile("map")), ("hostile: nonsense in the shared page",
                hostile("pages", "10")), ("hostile: random ioctls", hostile("ioctl", "10", "7")),
                ("hostile: killed at any moment", hostile_and_killed)],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[*PARTS, "refused", "locked"], metavar="PART",
                        help=f"{', '.join(PARTS)}, refused, locked")
    only = parser.parse_args().only
    guest.must_be_guest()
    # A copy that nobody may run as well, wherever the repository is.
    shutil.copy(sensors.PROGRAM, f"{guest.WORK}/falco-sensor")
    sensors.PROGRAM = f"{guest.WORK}/falco-sensor"
    report = Report()
    for part, checks in PARTS.items():
        for name, check in checks if not only or part in only else []:
            report.check(name, check)
    if guest.is_loaded():
        report.check("the module can be removed", guest.remove)
    report.check("no memory is lost", no_leaks)
    write("falco.yaml", sensors.CONFIG)
    for name, check in refusals() if not only or "refused" in only else []:
        report.check(f"refused: {name}", check)
    for name, check in (("lockdown", lockdown), ("no modules any more", modules_disabled)):
        if not only or "locked" in only:
            report.check(f"refused: {name}", check)
    report.end()


if __name__ == "__main__":
    main()
