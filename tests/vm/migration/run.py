#!/usr/bin/env python3
"""Does an alert know its process when the process never stays on a CPU?

usage: run.py [--seeds N] [--steps N] [--show N]      (root, in a guest: scripts/vm KERNEL --smp 4 -- ...)

A script of everything that can happen to a family of processes (script.txt), and scripts made at random, are
played by puppets twice: on one CPU, and moving to another CPU before every system call. Of every alert

  * the fields must be what the model of the family says (tests/vm/puppets/puppets.py),
  * and all fields of the moving run must equal those of the run on one CPU, numbers of processes and times aside,
  * and there must be one alert for every step, no more.

  --seeds N   random scripts (default 2)
  --steps N   lines in each (default 150)
  --show N    differences shown of each kind (default 12)

Ends with `N passed, N failed, N skipped`.
"""
import argparse
import os
import random
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [os.path.dirname(HERE), f"{os.path.dirname(HERE)}/puppets"]

import guest  # noqa: E402
import puppets  # noqa: E402
from report import Failure, Report, wants  # noqa: E402
from sensor import Sensor  # noqa: E402

# Fields that hold the number of a process or thread; they are compared as the role that has it.
NUMBERS = ("proc.pid", "proc.ppid", "thread.tid", "proc.sid", "proc.pgid", "proc.vpid", "thread.vtid") + tuple(
    f"proc.apid[{k}]" for k in range(2, 7)
)
UNEQUAL = ("evt.time", "evt.cpu")


def random_script(seed, steps):
    """A script that makes sense, always the same one for a seed. Keeps just enough of a family to know what is possible."""
    rng = random.Random(seed)
    lines = ["r0 start root0 of seed"]
    processes = {"r0": ["r0"]}  # leader's role -> roles of its threads
    sessions, count = set(), 0
    commands = (
        ["mark"] * 8 + ["fork"] * 4 + ["exec"] * 4 + ["vfork", "sibling", "thread", "thread", "end", "exit", "exit"]
        + ["name", "chdir", "chdir", "setsid", "setpgid", "subreaper", "group", "cgroup", "everybody", "all"]
    )
    while len(lines) < steps:
        leader = rng.choice(sorted(processes))
        role = rng.choice(processes[leader])
        command = rng.choice(commands)
        full = len(processes) > 10
        count += 1
        new = f"r{count}"
        if command in ("fork", "sibling") and not full:
            lines.append(f"{role} {command} {new}")
            processes[new] = [new]
        elif command == "vfork" and not full:
            lines.append(f"{role} vfork {new} vf{count} {seed}")
            processes[new] = [new]
        elif command == "thread" and len(processes[leader]) < 4:
            lines.append(f"{role} thread {new}")
            processes[leader].append(new)
        elif command == "end" and role != leader:
            lines.append(f"{role} end")
            processes[leader].remove(role)
        elif command == "exec":
            lines.append(f"{role} exec x{count} {'y' * rng.randrange(60)} z")
            del processes[leader]
            processes[role] = [role]
            if leader in sessions:
                sessions.add(role)
        elif command == "exit" and len(processes) > 4:
            lines.append(f"{role} exit")
            del processes[leader]
        elif command == "setsid" and leader not in sessions:
            # refused to the leader of a group
            lines.append(f"{role} fork {new}")
            lines.append(f"{new} setsid")
            processes[new] = [new]
            sessions.add(new)
        elif command == "setpgid" and leader not in sessions:
            lines.append(f"{role} setpgid")
        elif command == "name":
            lines.append(f"{role} name n{count}")
        elif command == "chdir":
            lines.append(f"{role} chdir {rng.choice(['/', '/usr', '/etc', '/usr/lib', '/tmp', '..'])}")
        elif command == "group":
            lines.append(f"{role} group {rng.randrange(1000)}")
        elif command == "cgroup":
            lines.append(f"{role} cgroup /sys/fs/cgroup/{rng.choice(['plain', 'docker-' + 'feed' * 16 + '.scope'])}")
        elif command == "subreaper":
            lines.append(f"{role} subreaper")
        elif command == "mark":
            lines.append(f"{role} mark")
        elif command == "everybody":
            lines.append("* mark")
        elif command == "all":
            lines.append(rng.choice(["& marks 3", "& storm 2"]))
    return "\n".join([*lines, "* mark"])


def play(script, cpus):
    """Alerts and expectations of one run, by mark, with numbers replaced by roles."""
    with Sensor(f"{os.path.dirname(HERE)}/puppets/rules.yaml") as sensor:
        stage = puppets.Stage(cpus)
        stage.play(script)
        # A mark on each CPU: when these have been seen, so has everything before.
        stage.start("last", "last")
        for cpu in guest.online():
            stage.do(f"last cpu {cpu}")
            stage.do("last mark")
            end = puppets.MARKS + sorted(stage.expected)[-1]
            sensor.wait_alert(lambda fields, end=end: fields.get("fd.name") == end)
        alerts = sensor.alerts()
        stage.close()
        sensor.stop()
    got = {}
    for alert in alerts:
        fields = alert["output_fields"]
        mark = puppets.mark_of(alert)
        wants(mark not in got, f"two alerts of mark {mark}")
        got[mark] = fields
    names = {number: f"<{role}>" for number, role in stage.names.items()}
    # Children of a storm: known by their marks.
    for mark, fields in sorted(got.items()):
        if mark not in stage.expected:
            names[fields["proc.pid"]] = "<" + mark.rsplit(".", 1)[0] + ">"

    def with_roles(fields):
        return {key: names.get(value, value) if key in NUMBERS else value for key, value in fields.items()}

    return {m: with_roles(f) for m, f in got.items()}, {m: with_roles(f) for m, f in stage.expected.items()}


class Play:
    """One script, on one CPU and moving."""

    def __init__(self, name, script, options):
        self.name, self.script, self.options = name, script, options
        self.still = self.moving = None

    def _agrees(self, run):
        alerts, model = run
        puppets.wants_no(puppets.differences("model", model, alerts, sorted(next(iter(model.values())))), self.options.show)
        return f"{len(alerts)} alerts"

    def one_cpu(self):
        self.still = play(self.script, guest.online()[:1])
        return self._agrees(self.still)

    def many_cpus(self):
        self.moving = play(self.script, guest.online())
        cpus = {fields["evt.cpu"] for fields in self.moving[0].values()}
        wants(len(cpus) == len(guest.online()), f"alerts came from CPUs {cpus} only")
        return self._agrees(self.moving)

    def equal(self):
        if not self.still or not self.moving:
            raise Failure("one of the runs did not get to its end")
        lines = puppets.differences("on one CPU", self.still[0], self.moving[0], ignored=UNEQUAL)
        lines += [f"{mark}: only in the moving run" for mark in sorted(self.moving[0].keys() - self.still[0].keys())]
        puppets.wants_no(lines, self.options.show)
        return f"{sum(len(fields) for fields in self.still[0].values())} values"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--show", type=int, default=12)
    options = parser.parse_args()
    guest.must_be_guest()
    report = Report()
    if len(guest.online()) < 2:
        sys.exit("run.py: one CPU only: start the guest with --smp 2 or more")
    guest.insert()
    with open(f"{HERE}/script.txt", encoding="utf-8") as file:
        scripts = {"script": file.read()}
    scripts.update({f"seed {seed}": random_script(seed, options.steps) for seed in range(1, options.seeds + 1)})
    for name, script in scripts.items():
        one = Play(name, script, options)
        report.check(f"{name}: on one CPU, as the model says", one.one_cpu)
        report.check(f"{name}: moving, as the model says", one.many_cpus)
        report.check(f"{name}: moving as on one CPU", one.equal)
    report.check("the module can be removed", guest.remove)
    report.end()


if __name__ == "__main__":
    main()
