#!/usr/bin/env python3
"""Are losses counted exactly, and do they cost the lost events and nothing else?

usage: run.py [--calls N]        (root, in a guest: scripts/vm KERNEL -- ...)

The reader is stopped, then puppets make N counted calls on every CPU, far more than the rings hold, while others
are born, become another program, move. Then the reader goes on. Twice: with a plain consumer of the module
(tests/vm/reader.c), which also checks that each ring's stream makes sense by itself, and with the sensor.

  * calls made on a CPU = events received from it + drops counted for it, to the one;
  * the sensor reports exactly that many drops;
  * the very next alert of every process tells everything: name, arguments, lineage up to init, folder, ids.

Ends with `N passed, N failed, N skipped`.
"""
import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [os.path.dirname(HERE), f"{os.path.dirname(HERE)}/puppets"]

import guest  # noqa: E402
import puppets  # noqa: E402
from report import Failure, Report, wants, wants_equal  # noqa: E402
from sensor import Sensor  # noqa: E402

# What happens while nobody reads: each of the family is a different process afterwards.
MEANWHILE = """
b exec changed while nobody read
c fork born
c fork born2
born2 exec born-and-changed arg
d chdir /usr/lib
e exit
d setpgid
"""
FAMILY = """
a start parent-of-all --first
a fork b
b fork c
c exec third generation
a fork d
d exec of-a d1 d2
a fork e
e fork f
"""


class Family:
    """Processes on the first CPU, one on each CPU that makes many calls, and how many calls were made where."""

    def __init__(self):
        self.first = guest.online()[0]
        self.made = Counter()
        self.stage = puppets.Stage([self.first])
        self.stage.play(FAMILY)
        for cpu in guest.online():
            self.stage.play(f"a fork load{cpu}\nload{cpu} exec load{cpu}\nload{cpu} cpu {cpu}")

    def one_call_each(self):
        """Every process makes one call; what alerts have to say of them, by mark."""
        before = set(self.stage.expected)
        self.stage.do("* calls 1")
        for role in self.stage.puppets:
            self.made[int(role.removeprefix("load")) if role.startswith("load") else self.first] += 1
        return {mark: fields for mark, fields in self.stage.expected.items() if mark not in before}

    def many_calls(self, count):
        """The same number on each CPU, all CPUs at the same time."""
        loads = {f"load{cpu}": "ok" for cpu in guest.online()}
        for role in loads:
            self.stage.tell(role, "calls", "many", count)
        self.stage.await_all(loads)
        for cpu in guest.online():
            self.made[cpu] += count

    def while_nobody_reads(self, count):
        self.many_calls(count)
        self.stage.play(MEANWHILE)
        self.many_calls(count)


class Reader:
    """tests/vm/reader.c"""

    def __init__(self, *options):
        program = guest.program("reader")
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(
            [program, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        self.lines = []
        self.until("ready")

    def until(self, word):
        for line in self.process.stdout:
            if line.strip() == word:
                return
            self.lines.append(line)
        raise Failure(f"the reader ended ({self.process.wait()}) before it said {word}")

    def hold(self):
        self.process.send_signal(signal.SIGUSR2)
        self.until("held")

    def read(self):
        self.process.send_signal(signal.SIGUSR1)
        self.until("reading")

    def end(self):
        """Its summary, by CPU; the lines before it stay in self.lines."""
        self.process.send_signal(signal.SIGTERM)
        self.lines += self.process.stdout
        wants_equal("the reader's exit status", self.process.wait(60), 0)
        return {one["cpu"]: one for one in json.loads(self.lines.pop())["cpus"]}


def without_the_sensor(calls):
    """The module's counters and the stream of each ring."""
    reader = Reader("--ring", "65536", "--calls", "mkdirat", "--print", "mkdirat")
    family = Family()
    family.one_call_each()
    reader.hold()
    family.while_nobody_reads(calls)
    reader.read()
    time.sleep(1)  # what it reads first makes the room for what is checked below
    wanted = family.one_call_each()
    end = reader.end()
    family.stage.close()

    for cpu, one in end.items():
        wants(not one["errors"], f"CPU {cpu}: {one['errors']} errors in the stream: {one['error']}")
        wants_equal(f"CPU {cpu}: task records without the whole lineage", one["lineageless"], 0)
        wants(sum(one["drops"]) > calls, f"CPU {cpu}: the ring did not overflow: {one}")
        wants_equal(f"CPU {cpu}: received + dropped", one["calls"]["mkdirat"] + sum(one["drops"]), family.made[cpu])
    last = {}  # pid -> its last event
    for line in reader.lines:
        found = re.fullmatch(r"event (\d+) (\d+) -?\d+ (.*) \[(.*)\] (\d+) (\d+)\n", line)
        wants(found, f"the reader said {line!r}")
        last[int(found[2])] = found[3], found[4], int(found[6])
    for fields in wanted.values():
        name, text, ancestor = last.get(fields["proc.pid"], ("", "", 0))
        wants_equal("name, rest of the command line, last ancestor of the next event",
                    (name, text.partition(" ")[2], ancestor),
                    (fields["proc.name"].strip("[]"), fields["proc.cmdline"].partition(" ")[2], 1))
    return f"{sum(family.made.values())} calls, {sum(sum(one['drops']) for one in end.values())} lost"


def with_the_sensor(calls):
    options = ("engine.kind=kmod", "engine.kmod.buf_size_preset=1", "base_syscalls.custom_set[]=mkdirat")
    with Sensor(f"{HERE}/rules.yaml", options=options) as sensor:
        family = Family()
        first = family.one_call_each()
        sensor.signal(signal.SIGSTOP)
        family.while_nobody_reads(calls)
        sensor.signal(signal.SIGCONT)
        sensor.settle()
        wanted = family.one_call_each()
        for mark in wanted:
            sensor.wait_alert(lambda fields, mark=mark: fields.get("evt.arg.path") == puppets.MARKS + mark)
        family.stage.close()
        sensor.stop()
    alerts = sensor.alerts()
    by_mark = {puppets.mark_of(alert): alert["output_fields"] for alert in alerts}
    keys = sorted(next(iter(wanted.values())))
    puppets.wants_no(puppets.differences("model", {**first, **wanted}, by_mark, keys))
    received = Counter(alert["output_fields"]["evt.cpu"] for alert in alerts)
    lost = {cpu: family.made[cpu] - received[cpu] for cpu in guest.online()}
    wants(all(count > 0 for count in lost.values()), f"the rings did not overflow: {received}")
    by_second = [int(n) for n in re.findall(r"events lost in the last second: (\d+)", sensor.messages())]
    wants_equal("drops the sensor tells while it runs, and at its end", (sum(by_second), sensor.lost),
                (sum(lost.values()), sum(lost.values())))
    return f"{sum(family.made.values())} calls, lost by CPU: {lost}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20000)
    options = parser.parse_args()
    guest.must_be_guest()
    report = Report()
    guest.insert()
    report.check("a plain consumer: counts and stream", without_the_sensor, options.calls)
    report.check("the sensor: counts and context", with_the_sensor, options.calls)
    report.check("the module can be removed", guest.remove)
    report.end()


if __name__ == "__main__":
    main()
