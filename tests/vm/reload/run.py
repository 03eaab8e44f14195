#!/usr/bin/env python3
"""Rules are reloaded a hundred times while a generator triggers one at a fixed rate: each trigger is exactly one alert.

usage, in a guest: tests/vm/reload/run.py [--reloads N] [--rate PER_SECOND]

The rules change with each reload: other system calls are captured, the classes of the interest masks mean other
things, and a call of the generator that was masked a moment ago has a rule. Every tenth set of rules does not load.
"""
import argparse
import os
import re
import signal
import sys
import threading
import time
from collections import Counter

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

import guest  # noqa: E402
from report import Failure, Report, wants, wants_equal  # noqa: E402
from sensor import Sensor  # noqa: E402

MARKS = "/marks/"
TRIGGER = """
- rule: trigger
  desc: in all sets
  condition: evt.type in (mkdir, mkdirat) and proc.pid = PID and evt.arg.path startswith /marks/
  output: "%evt.arg.path"
  priority: NOTICE
"""
RULE = """
- rule: {name}
  desc: d
  condition: {condition}
  output: "%evt.type %evt.arg.name %evt.arg.path"
  priority: NOTICE
"""
# Nothing but the trigger; the generator's unlinks captured but masked; alerted; other calls, other classes.
SETS = [
    {},
    {"nobody": "evt.type in (unlink, unlinkat) and proc.name = nobody"},
    {"unlinked": "evt.type in (unlink, unlinkat) and proc.pid = PID"},
    {
        "opened": "evt.type in (open, openat, openat2) and proc.name = nobody",
        "renamed": "evt.type in (rename, renameat, renameat2) and proc.name = nobody",
        "unlinked": "evt.type in (unlink, unlinkat) and proc.name = nobody",
    },
]
ALERTED = 2
BROKEN = "- rule: broken\n  desc: d\n  condition: evt.type = nothing_like_it\n  output: x\n  priority: NOTICE\n"


class Generator(threading.Thread):
    """Makes a directory that cannot be made, and unlinks a file that is not there, now on one CPU, now on the next."""

    def __init__(self, rate):
        super().__init__(daemon=True)
        self.pause, self.made, self.ended, self.late = 1 / rate, 0, threading.Event(), 0

    def run(self):
        cpus, due = guest.online(), time.monotonic()
        while not self.ended.is_set():
            os.sched_setaffinity(0, {cpus[self.made // 3 % len(cpus)]})
            for call in (os.mkdir, os.unlink):
                try:
                    call(f"{MARKS}{self.made}")
                except FileNotFoundError:
                    pass
            self.made += 1
            due += self.pause
            left = due - time.monotonic()
            if left > 0:
                time.sleep(left)
            elif left < -1:
                # The guest is emulated: the rate is held from here on.
                self.late, due = self.late + 1, time.monotonic()

    def end(self):
        self.ended.set()
        self.join()


def rules(path, number):
    """Writes the set of a reload, as editors do: a new file in the place of the old one."""
    # Every set follows every other one.
    at = number * 3 % len(SETS) if number % 2 else number // 2 % len(SETS)
    text = "".join(RULE.format(name=name, condition=condition) for name, condition in SETS[at].items()) + TRIGGER
    text = f"# {number}\n" + text.replace("PID", str(os.getpid()))
    broken = number % 10 == 5
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        file.write(text + (BROKEN if broken else ""))
    os.rename(f"{path}.new", path)
    return at, broken


def reload(reloads, rate, asked):
    """`asked`: by a signal each time; else the sensor notices that the file is another one."""
    path = f"{guest.WORK}/rules.yaml"
    os.makedirs(guest.WORK, exist_ok=True)
    at, _ = rules(path, 0)
    with Sensor(path, options=(f"watch_config_files={'false' if asked else 'true'}",)) as sensor:
        generator, must = Generator(rate), []
        generator.start()

        def done():
            said = sensor.messages()
            return said.count(": reloaded in "), said.count(": not reloaded, ")

        good, bad, first = 0, 0, 0
        for number in range(1, reloads + 1):
            # Long enough for masks to be told.
            guest.wait_for("triggers", lambda first=first: generator.made >= first + 20, 300)
            if at == ALERTED:
                must.append((first, generator.made - 1))
            now, broken = rules(path, number)
            if asked:
                sensor.signal(signal.SIGHUP)
            good, bad = good + (not broken), bad + broken
            try:
                guest.wait_for(f"reload {number}", lambda good=good, bad=bad: sum(done()) >= good + bad, 300)
            except Failure as failure:
                raise Failure(f"{failure}; the sensor says:\n{sensor.messages()[-3000:]}") from None
            wants_equal(f"reload {number}: done, refused", done(), (good, bad))
            at = at if broken else now
            # A trigger that is being made may have begun before.
            first = generator.made + 2
        generator.end()
        made = generator.made
        sensor.wait_alert(lambda fields: fields.get("evt.arg.path") == f"{MARKS}{made - 1}")
        said = sensor.messages()
        sensor.stop()
        alerts = sensor.alerts()
    wants_equal("events lost", sensor.lost, 0)
    by_rule = {name: Counter() for name in ("trigger", "unlinked", "Falco internal: hot restart failure")}
    for alert in alerts:
        fields = alert["output_fields"] or {}
        by_rule[alert["rule"]][fields.get("evt.arg.path") or fields.get("evt.arg.name")] += 1
    failures = sum(by_rule.pop("Falco internal: hot restart failure").values())
    wants_equal("alerts about rules that do not load", failures, bad)
    wanted, got = Counter({f"{MARKS}{number}": 1 for number in range(made)}), by_rule["trigger"]
    wants_equal("triggers without exactly one alert", sorted((wanted - got) + (got - wanted)), [])
    unlinked = by_rule["unlinked"]
    hidden = [n for first, last in must for n in range(first, last) if unlinked[f"{MARKS}{n}"] != 1]
    wants(must, "no set of rules wanted the other call")
    wants_equal("calls that the rules of the time wanted and that did not alert once", hidden, [])
    wants(all(count == 1 for count in unlinked.values()), "a call alerted twice")
    masked = int(re.search(r"(\d+) events that no rule could match were not sent", said + sensor.messages())[1])
    wants(masked > 0, "no mask ever held")
    return f"{good} reloads, {bad} refused; {made} triggers, {masked} calls masked, late {generator.late} times"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument("--rate", type=int, default=200)
    options = parser.parse_args()
    guest.must_be_guest()
    report = Report()
    guest.insert()
    report.check("rules are exchanged under load, by signals", reload, options.reloads, options.rate, True)
    report.check("rules are exchanged under load, by new files", reload, options.reloads // 4, options.rate, False)
    report.check("the module can be removed", guest.remove)
    report.end()


if __name__ == "__main__":
    main()
