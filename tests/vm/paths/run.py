#!/usr/bin/env python3
"""What the module stops and what it sends: while directories and mounts move, while rules change, of connections.

usage, in a guest: tests/vm/paths/run.py [--steps N] [--opens N] [--seed N]

Every open has the name that the kernel has for it then. A rule looks for files below /run/paths/secret. A walk renames directories, moves, makes and
ends mounts, removes directories and makes others, and opens new files after each step by ways whose own text says nothing: a descriptor of a
directory, a current directory, a link. An open alerts if, and only if, /proc/self/fd says that the file lies there. Two files are opened again and
again by the same texts, as themselves or through a link that took the place of the file, or of its directory. What the module remembers of
directories and of opens that it has stopped must never be old.
"""
import argparse
import contextlib
import ctypes
import os
import random
import re
import shutil
import signal
import socket
import sys
from collections import Counter

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

import guest  # noqa: E402
from report import Report, wants, wants_equal  # noqa: E402
from sensor import Sensor  # noqa: E402

TOP, SECRET = "/run/paths", "/run/paths/secret"
# Opened again and again, and what of it a link takes the place of.
KEPT = {f"{TOP}/kept": f"{TOP}/kept", f"{TOP}/way/kept": f"{TOP}/way"}
RULE = """
- rule: secret
  desc: opened there, by its name as given or as opened
  condition: evt.type in (open, openat, openat2) and fd.name startswith /run/paths/secret/
  output: "%fd.name"
  priority: NOTICE
- rule: end
  desc: the walk is over
  condition: evt.type in (open, openat, openat2) and fd.name = /run/paths/end
  output: "%fd.name"
  priority: NOTICE
"""
MS_MOVE, MS_REC, MS_PRIVATE, MNT_DETACH = 8192, 16384, 1 << 18, 2
libc = ctypes.CDLL(None, use_errno=True)


def must(result, what):
    if result:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(source, target, kind=None, flags=0):
    words = [word.encode() if word else None for word in (source, target, kind)]
    must(libc.mount(*words, ctypes.c_ulong(flags), None), f"mount {source} on {target}")


def unmount(target):
    must(libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


class Walk:
    """Two directories change names and places: one of the names is secret. Each has a directory `in` in it."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.number, self.wanted, self.opened = 0, set(), 0
        self.kept_there, self.kept_opened = 0, 0
        mount(None, "/", flags=MS_REC | MS_PRIVATE)
        os.makedirs(TOP)
        mount("paths", TOP, "tmpfs")
        mount(None, TOP, flags=MS_PRIVATE)
        self.mounted = None
        for name in ("secret", "plain"):
            os.makedirs(f"{TOP}/{name}/in")
        # Ways in that do not say where they lead.
        self.held = [os.open(f"{TOP}/{name}/in", os.O_RDONLY) for name in ("secret", "plain")]
        os.symlink("secret", f"{TOP}/link")
        os.mkdir(f"{TOP}/way")
        for path in KEPT:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR))

    def end(self):
        for fd in self.held:
            os.close(fd)
        unmount(TOP)
        os.rmdir(TOP)

    def step(self):
        kinds = [self.swap, self.swap_above, self.relink, self.renew, self.move_kept]
        kinds.append(self.move_mount if self.mounted else self.make_mount)
        if self.mounted:
            kinds.append(self.end_mount)
        self.random.choice(kinds)()

    def swap(self):
        """What was secret is plain, and the other way round."""
        if self.mounted:
            return self.move_mount()
        os.rename(SECRET, f"{TOP}/third")
        os.rename(f"{TOP}/plain", SECRET)
        os.rename(f"{TOP}/third", f"{TOP}/plain")
        return None

    def swap_above(self):
        """The directories within change places."""
        if self.mounted:
            return self.relink()
        os.rename(f"{SECRET}/in", f"{TOP}/third")
        os.rename(f"{TOP}/plain/in", f"{SECRET}/in")
        os.rename(f"{TOP}/third", f"{TOP}/plain/in")
        return None

    def relink(self):
        at = os.readlink(f"{TOP}/link")
        os.unlink(f"{TOP}/link")
        os.symlink("plain" if at == "secret" else "secret", f"{TOP}/link")

    def move_kept(self):
        """One of them goes into a directory and a link takes its place, or it comes back."""
        if self.mounted:
            return self.relink()
        path = self.random.choice(list(KEPT.values()))
        name = os.path.basename(path)
        places = [f"{TOP}/{place}/{name}" for place in ("secret", "plain")]
        if not os.path.islink(path):
            place = self.random.choice(places)
            os.rename(path, place)
            os.symlink(place, path)
            return None
        os.unlink(path)
        os.rename(next(place for place in places if os.path.exists(place)), path)
        return None

    def renew(self):
        """Directories go, others come, perhaps in the memory of those."""
        for name in ("secret", "plain"):
            shutil.rmtree(f"{TOP}/{name}/in")
        names = ["secret", "plain"]
        self.random.shuffle(names)
        for name in names:
            os.mkdir(f"{TOP}/{name}/in")
        self.hold()

    def hold(self):
        for fd in self.held:
            os.close(fd)
        self.held = [os.open(f"{TOP}/{name}/in", os.O_RDONLY) for name in ("secret", "plain")]

    def make_mount(self):
        self.mounted = self.random.choice(("secret", "plain"))
        mount("moved", f"{TOP}/{self.mounted}", "tmpfs")
        mount(None, f"{TOP}/{self.mounted}", flags=MS_PRIVATE)
        os.mkdir(f"{TOP}/{self.mounted}/in")
        self.hold()

    def move_mount(self):
        other = "plain" if self.mounted == "secret" else "secret"
        mount(f"{TOP}/{self.mounted}", f"{TOP}/{other}", flags=MS_MOVE)
        self.mounted = other

    def end_mount(self):
        unmount(f"{TOP}/{self.mounted}")
        self.mounted = None
        self.hold()

    def open_all(self):
        ways = [lambda name, fd=fd: os.open(name, os.O_CREAT | os.O_RDWR, dir_fd=fd) for fd in self.held]
        ways.append(lambda name: os.open(f"{TOP}/link/in/{name}", os.O_CREAT | os.O_RDWR))
        ways.append(lambda name: os.open(f"{TOP}/link/{name}", os.O_CREAT | os.O_RDWR))
        for way in ways:
            self.open(way)
        os.chdir(self.held[0])
        self.open(lambda name: os.open(name, os.O_CREAT | os.O_RDWR))
        os.chdir("/")
        for path in 4 * list(KEPT):
            self.open_kept(path)

    def open_kept(self, path):
        # The link may lead to where it was before directories changed places.
        with contextlib.suppress(FileNotFoundError):
            fd = os.open(path, os.O_RDONLY)
            self.kept_there += os.readlink(f"/proc/self/fd/{fd}").startswith(f"{SECRET}/")
            self.kept_opened += 1
            os.close(fd)

    def open(self, way):
        self.number += 1
        name = f"f{self.number}"
        # A directory that was removed takes no new files.
        with contextlib.suppress(FileNotFoundError):
            fd = way(name)
            if os.readlink(f"/proc/self/fd/{fd}").startswith(f"{SECRET}/"):
                self.wanted.add(name)
            self.opened += 1
            os.close(fd)


def walk(steps, opens, seed):
    rules = f"{guest.WORK}/rules.yaml"
    with open(rules, "w", encoding="utf-8") as file:
        file.write(RULE)
    cpus = guest.online()
    with Sensor(rules) as sensor:
        walked = Walk(seed)
        for number in range(steps):
            # Mostly on one CPU, which is the one that remembers.
            if number % 16 == 0:
                os.sched_setaffinity(0, {walked.random.choice(cpus)})
            walked.step()
            for _ in range(opens):
                walked.open_all()
        os.close(os.open(f"{TOP}/end", os.O_CREAT | os.O_RDWR))
        sensor.wait_alert(lambda fields: fields.get("fd.name") == f"{TOP}/end")
        walked.end()
        sensor.stop()
        alerts = [alert for alert in sensor.alerts() if alert["rule"] == "secret"]
    wants_equal("events lost", sensor.lost, 0)
    names = [os.path.basename(alert["output_fields"]["fd.name"]) for alert in alerts]
    kept = names.count("kept")
    names = [name for name in names if name not in ("in", "kept")]  # the walk opens the first by its name, too
    wants(0 < walked.kept_there < walked.kept_opened, "the files that are opened again went nowhere")
    wants_equal("alerts of files that are opened again", kept, walked.kept_there)
    wants(0 < len(walked.wanted) < walked.opened, "the walk went nowhere")
    wants_equal("opened there without an alert", sorted(walked.wanted - set(names))[:20], [])
    wants_equal("alerts of files elsewhere", sorted(set(names) - walked.wanted)[:20], [])
    wants_equal("alerts", len(names), len(walked.wanted))
    return f"{walked.opened} opened, {len(names)} of them there; two files {walked.kept_opened} times, {kept} of them there"


def reloaded():
    """Files that were stopped until now are in a rule of the rules that come, while they are opened without a pause."""
    rules, paths, after = f"{guest.WORK}/rules.yaml", [f"/run/reloaded{number}" for number in range(8)], 20

    def write(names):
        with open(f"{rules}.new", "w", encoding="utf-8") as file:
            file.write(RULE.replace("startswith /run/paths/secret/", f"in ({', '.join(names)})"))
        os.rename(f"{rules}.new", rules)

    def opens(number):
        for path in number * paths:
            os.close(os.open(path, os.O_RDONLY))

    for path in paths:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR))
    write(f"{path}-not" for path in paths)
    with Sensor(rules, options=("watch_config_files=false",)) as sensor:
        opens(after)
        write(paths)
        sensor.signal(signal.SIGHUP)

        def done():
            opens(after)
            return ": reloaded in " in sensor.messages()

        guest.wait_for("the rules that come", done, 60)
        opens(after)
        os.makedirs(TOP, exist_ok=True)
        os.close(os.open(f"{TOP}/end", os.O_CREAT | os.O_RDWR))
        sensor.wait_alert(lambda fields: fields.get("fd.name") == f"{TOP}/end")
        sensor.stop()
        alerts = sum(alert["rule"] == "secret" for alert in sensor.alerts())
    wants_equal("events lost", sensor.lost, 0)
    wants(alerts >= after * len(paths), f"{alerts} alerts of {after * len(paths)} opens after the rules had come")
    return f"{alerts} alerts"


def ports():
    """Of connections to four servers, both ends, those to one port are sent."""
    rules, wanted, number = f"{guest.WORK}/rules.yaml", 6001, 50
    with open(rules, "w", encoding="utf-8") as file:
        file.write(
            RULE.replace("(open, openat, openat2) and fd.name startswith", "(connect, accept4, sendto) and fd.sport =")
            .replace("/run/paths/secret/", str(wanted))
            .replace("%fd.name", "%evt.type %fd.name", 1)
        )
    with Sensor(rules) as sensor:
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            for port in range(wanted - 1, wanted + 3):
                with socket.create_server((address, port), family=family, backlog=8) as server:
                    for _ in range(number):
                        with socket.socket(family) as client:
                            client.connect((address, port))
                            accepted, _ = server.accept()
                            client.send(b"x")
                            accepted.close()
        os.makedirs(TOP, exist_ok=True)
        os.close(os.open(f"{TOP}/end", os.O_CREAT | os.O_RDWR))
        sensor.wait_alert(lambda fields: fields.get("fd.name") == f"{TOP}/end")
        sensor.stop()
        alerts = Counter(alert["output_fields"]["evt.type"] for alert in sensor.alerts() if alert["rule"] == "secret")
        stopped = int(re.search(r"(\d+) by their paths or descriptors", sensor.messages())[1])
    wants_equal("events lost", sensor.lost, 0)
    wants_equal("alerts", alerts, Counter(connect=2 * number, accept4=2 * number, sendto=2 * number))
    wants(stopped >= 3 * 3 * 2 * number, f"{stopped} events of {3 * 3 * 2 * number} were not sent")
    return f"{stopped} not sent"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--opens", type=int, default=3)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    guest.must_be_guest()
    report = Report()
    guest.insert()
    os.makedirs(guest.WORK, exist_ok=True)
    report.check(f"directories and mounts move (--seed {options.seed})", walk, options.steps, options.opens, options.seed)
    report.check("rules change while a file is opened", reloaded)
    report.check("connections to other ports", ports)
    report.check("the module can be removed", guest.remove)
    report.end()


if __name__ == "__main__":
    main()
